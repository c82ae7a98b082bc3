//! Rounds: in which order a sink's lanes are emptied.
//!
//! In each round a class may hand over as many records as its guaranteed minimum is part of all minima, at least one, the most important
//! class first; the lanes of one class, one for each worker, take turns. So under overload each class gets its share of what the client
//! takes, and what is idle leaves its share to the others.

use std::sync::Arc;

use super::batch::Batch;
use super::{Facts, Sink};
use crate::class::Class;
use crate::lane::Lane;

/// Records in a round, about.
const ROUND: u64 = 128;
const CLASSES: usize = Class::ALL.len();

/// The lanes of a sink, and whose turn it is.
#[derive(Default)]
pub(super) struct Rounds {
    lanes: Vec<Entry>,
    /// The numbers of the lanes of each class.
    of_class: [Vec<usize>; CLASSES],
    /// Which of these is next.
    turn: [usize; CLASSES],
    /// How many records each class may still hand over in this round.
    credit: [u64; CLASSES],
}

/// A lane, and what only the thread knows of it.
struct Entry {
    lane: Arc<Lane>,
    /// Records that came out of its ring and could not be written.
    lost: u64,
}

impl Rounds {
    /// Looks whether the sink has got new lanes.
    pub fn refresh(&mut self, sink: &Sink) {
        for lane in sink.lanes_after(self.lanes.len()) {
            self.of_class[lane.class as usize].push(self.lanes.len());
            self.lanes.push(Entry { lost: lane.outcome.errors.sum(), lane });
        }
    }

    /// Whether all rings are empty.
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(|entry| entry.lane.ring.is_empty())
    }

    /// The lane of that number.
    pub fn lane(&self, number: usize) -> &Lane {
        &self.lanes[number].lane
    }

    /// One more record of that lane could not be written.
    pub fn lost(&mut self, number: usize) {
        self.lanes[number].lost += 1;
    }

    /// Fills the batch from the rings, until it is full or they are empty.
    pub fn fill(&mut self, batch: &mut Batch, facts: &dyn Facts) {
        let mut fresh = false;
        while !batch.is_full() {
            let taken =
                Class::ALL.into_iter().rev().map(|class| self.hand_over(class as usize, batch)).sum::<u64>();
            if taken == 0 {
                if fresh || self.is_empty() {
                    return;
                }
                self.begin(facts);
            }
            fresh = taken == 0;
        }
    }

    /// Begins a round.
    fn begin(&mut self, facts: &dyn Facts) {
        let minima = Class::ALL.map(|class| facts.minimum(class) as u64);
        let all = minima.iter().sum::<u64>().max(1);
        self.credit = minima.map(|minimum| (minimum * ROUND / all).max(1));
    }

    /// Takes what this class may hand over. Returns how many records that were.
    fn hand_over(&mut self, class: usize, batch: &mut Batch) -> u64 {
        let (lanes, before) = (&self.of_class[class], self.credit[class]);
        let mut empty = 0;
        while empty < lanes.len() && self.credit[class] > 0 && !batch.is_full() {
            let number = lanes[self.turn[class] % lanes.len()];
            self.turn[class] = (self.turn[class] + 1) % lanes.len();
            let entry = &self.lanes[number];
            if batch.take(&entry.lane, number, entry.lost) {
                empty = 0;
                self.credit[class] -= 1;
            } else {
                empty += 1;
            }
        }
        before - self.credit[class]
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::split;
    use super::super::facts::{Interface, Settled};
    use super::*;
    use crate::record::Header;

    struct Nothing;

    impl Facts for Nothing {
        fn reason(&self, _: u32) -> Option<String> {
            None
        }
        fn interface(&self, _: u32) -> Option<Interface> {
            None
        }
        fn registration(&self, _: u32) -> Option<Arc<Settled>> {
            None
        }
    }

    /// A sink with lanes of these (worker, class), each with as many records as asked for.
    fn sink(lanes: &[(u16, Class, usize)]) -> (Sink, Rounds) {
        let sink = Sink::new("test".into(), 0);
        for (worker, class, records) in lanes {
            let lane = Arc::new(Lane::new(*worker, *class, 1 << 20));
            for _ in 0..*records {
                let header = Header { class: *class as u8, worker: *worker, ..Header::default() };
                assert!(lane.write(header, []));
            }
            lane.ring.publish();
            sink.add(lane);
        }
        let mut rounds = Rounds::default();
        rounds.refresh(&sink);
        (sink, rounds)
    }

    /// The (worker, class, sequence) of the next `n` records.
    fn next(rounds: &mut Rounds, n: usize) -> Vec<(u16, u8, u64)> {
        let mut seen = Vec::new();
        while seen.len() < n {
            let mut batch = Batch::default();
            rounds.fill(&mut batch, &Nothing);
            if batch.is_empty() {
                break;
            }
            seen.extend(batch.records().map(|record| {
                let header = split(record).0;
                (header.worker, header.class, header.sequence)
            }));
        }
        seen
    }

    #[test]
    fn each_class_gets_its_share_and_link_goes_first() {
        let full: Vec<_> = Class::ALL.into_iter().map(|class| (0, class, 1000)).collect();
        let (_sink, mut rounds) = sink(&full);
        let seen = next(&mut rounds, 1280);
        assert!(seen[..56].iter().all(|(_, class, _)| *class == Class::Link as u8));
        let count = |class: Class| seen.iter().filter(|(_, other, _)| *other == class as u8).count();
        for class in Class::ALL {
            let expected = (class.minimum() as usize * 1280 / 45_500).max(10);
            let got = count(class);
            assert!(got.abs_diff(expected) <= expected / 2 + 10, "{class}: {got}, about {expected} expected");
        }
    }

    #[test]
    fn workers_take_turns_and_an_idle_class_costs_nothing() {
        let (_sink, mut rounds) = sink(&[(0, Class::Miss, 100), (1, Class::Miss, 50), (2, Class::Link, 0)]);
        let seen = next(&mut rounds, 1000);
        assert_eq!(seen.len(), 150);
        assert_eq!(&seen[..4], [(0, 1, 0), (1, 1, 0), (0, 1, 1), (1, 1, 1)]);
        assert!(rounds.is_empty());
        assert_eq!(next(&mut rounds, 1), []);
    }

    #[test]
    fn lanes_that_come_later_are_found() {
        let (sink, mut rounds) = sink(&[(0, Class::Route, 1)]);
        let lane = Arc::new(Lane::new(1, Class::Link, 1024));
        lane.write(Header { class: 7, worker: 1, ..Header::default() }, []);
        lane.ring.publish();
        sink.add(lane);
        rounds.refresh(&sink);
        assert_eq!(next(&mut rounds, 2), [(1, 7, 0), (0, 6, 0)]);
    }
}

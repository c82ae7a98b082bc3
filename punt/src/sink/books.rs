//! What a sink's thread counts of each record that is finished with.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{Facts, Settled};
use crate::lane::Outcome;
use crate::ledger::Tally;

/// Registrations that are remembered.
const REMEMBERED: usize = 1024;

/// The books of all registrations that a thread has met.
pub(super) struct Books {
    facts: Arc<dyn Facts>,
    settled: FxHashMap<u32, Arc<Settled>>,
}

impl Books {
    pub fn new(facts: Arc<dyn Facts>) -> Books {
        Books { facts, settled: FxHashMap::default() }
    }

    /// The client has these records of the lane whose outcome this is.
    #[inline]
    pub fn delivered(&mut self, outcome: &Outcome, tally: &Tally) {
        outcome.delivered_bytes.add(tally.bytes);
        outcome.truncated.add(tally.truncated);
        outcome.delivered.add(tally.records);
        self.settle(tally.registration, |settled| settled.delivered.add(tally.records));
    }

    /// Nobody gets these records; the lane has counted them.
    pub fn lost(&mut self, tally: &Tally) {
        self.settle(tally.registration, |settled| settled.errors.add(tally.records));
    }

    /// Counts something for a registration.
    #[inline]
    fn settle(&mut self, id: u32, count: impl Fn(&Settled)) {
        if let Some(settled) = self.settled.get(&id) {
            return count(settled);
        }
        if let Some(settled) = self.facts.registration(id) {
            count(&settled);
            if self.settled.len() >= REMEMBERED {
                self.settled.clear();
            }
            self.settled.insert(id, settled);
        }
    }
}

/// Records of one lane that are counted at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// The lane, as the thread numbers it.
    pub lane: usize,
    pub tally: Tally,
}

impl Run {
    /// More records; if they are of another run, that one begins, and this one is returned.
    #[inline]
    pub fn add(&mut self, lane: usize, tally: Tally) -> Option<Run> {
        if lane == self.lane && self.tally.add(&tally) {
            return None;
        }
        std::mem::replace(self, Run { lane, tally }).whole()
    }

    /// The run, if anything is in it.
    #[inline]
    pub fn whole(self) -> Option<Run> {
        self.tally.any().map(|tally| Run { tally, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_with_another_lane_registration_or_time() {
        let tally = |registration, received, records| Tally {
            registration,
            received,
            records,
            bytes: 60 * records,
            truncated: records,
        };
        let mut run = Run::default();
        assert_eq!(run.add(0, tally(1, 5, 1)), None);
        assert_eq!(run.add(0, tally(1, 5, 2)), None);
        assert_eq!(run.add(0, tally(2, 5, 1)), Some(Run { lane: 0, tally: tally(1, 5, 3) }));
        assert_eq!(run.add(0, tally(2, 6, 1)), Some(Run { lane: 0, tally: tally(2, 5, 1) }));
        assert_eq!(run.add(1, tally(2, 6, 1)), Some(Run { lane: 0, tally: tally(2, 6, 1) }));
        assert_eq!(run.whole(), Some(Run { lane: 1, tally: tally(2, 6, 1) }));
        assert_eq!(Run::default().whole(), None);
    }
}

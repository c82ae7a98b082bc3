//! What a sink's thread counts of each record that is finished with.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{Facts, Settled};
use crate::lane::Outcome;
use crate::record::{Header, TRUNCATED};

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
    pub fn delivered(&mut self, outcome: &Outcome, run: &Run) {
        outcome.delivered_bytes.add(run.bytes);
        outcome.truncated.add(run.truncated);
        outcome.delivered.add(run.records);
        self.settle(run.registration, |settled| settled.delivered.add(run.records));
    }

    /// Nobody gets this record; the lane has counted it.
    pub fn lost(&mut self, header: &Header) {
        self.settle(header.registration, |settled| settled.errors.add(1));
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

/// Records of one lane and registration that came in at the same time, as most of a burst do: they are counted at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// The lane, as the thread numbers it.
    pub lane: usize,
    pub registration: u32,
    /// When they were received, in nanoseconds since 1970.
    pub received: u64,
    pub records: u64,
    pub bytes: u64,
    pub truncated: u64,
}

impl Run {
    #[inline]
    fn of(lane: usize, header: &Header) -> Run {
        Run {
            lane,
            registration: header.registration,
            received: header.received,
            records: 1,
            bytes: header.captured as u64,
            truncated: (header.flags & TRUNCATED != 0) as u64,
        }
    }

    /// One more record; if it is of another run, that one begins, and this one is returned.
    #[inline]
    pub fn add(&mut self, lane: usize, header: &Header) -> Option<Run> {
        let next = Run::of(lane, header);
        if (next.lane, next.registration, next.received) != (self.lane, self.registration, self.received) {
            return std::mem::replace(self, next).whole();
        }
        self.records += 1;
        self.bytes += next.bytes;
        self.truncated += next.truncated;
        None
    }

    /// The run, if anything is in it.
    #[inline]
    pub fn whole(self) -> Option<Run> {
        Some(self).filter(|run| run.records > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_with_another_lane_registration_or_time() {
        let header = |registration, received, captured, flags| Header {
            registration,
            received,
            captured,
            flags,
            ..Header::default()
        };
        let mut run = Run::default();
        assert_eq!(run.add(0, &header(1, 5, 60, 0)), None);
        assert_eq!(run.add(0, &header(1, 5, 100, TRUNCATED)), None);
        let first = Run { lane: 0, registration: 1, received: 5, records: 2, bytes: 160, truncated: 1 };
        assert_eq!(run.add(0, &header(2, 5, 60, 0)), Some(first));
        let second = Run { lane: 0, registration: 2, received: 5, records: 1, bytes: 60, truncated: 0 };
        assert_eq!(run.add(0, &header(2, 6, 60, 0)), Some(second));
        let third = Run { received: 6, ..second };
        assert_eq!(run.add(1, &header(2, 6, 60, 0)), Some(third));
        assert_eq!(run.whole(), Some(Run { lane: 1, ..third }));
        assert_eq!(Run::default().whole(), None);
    }
}

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

    /// The client has this record of the lane whose outcome this is.
    #[inline]
    pub fn delivered(&mut self, outcome: &Outcome, header: &Header) {
        outcome.delivered_bytes.add(header.captured as u64);
        outcome.truncated.add((header.flags & TRUNCATED != 0) as u64);
        outcome.delivered.add(1);
        self.settle(header.registration, |settled| settled.delivered.add(1));
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

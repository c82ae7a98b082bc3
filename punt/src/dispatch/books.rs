//! The books that a worker keeps while it dispatches: of a reason, and of a registration.

use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::{FATES, Fates};
use crate::lane::Count;
use crate::sink::Settled;

/// What one worker counts of a reason. `packets` = the sum of all fates.
#[derive(Default)]
pub struct Counts {
    /// Packets that left the graph for it, or were copied on their way.
    pub packets: Count,
    /// Bytes of those, as received.
    pub bytes: Count,
    /// Of those, how many were copied and went on.
    pub copies: Count,
    /// What became of them.
    pub fates: [Count; FATES],
    /// Those that sampling has looked at.
    pub(super) seen: Count,
}

impl Counts {
    /// Packets of so many bytes together. They are counted before their fates, so that whoever reads meanwhile finds no fate without a packet.
    #[inline(always)]
    pub(super) fn count(&self, packets: u64, bytes: u64, copied: bool, fates: &Fates) {
        self.packets.add(packets);
        self.bytes.add(bytes);
        if copied {
            self.copies.add(packets);
        }
        fates.iter().for_each(|(fate, packets)| self.fates[fate as usize].add(packets));
    }
}

/// The books of one registration.
pub struct Registered {
    /// Its id, as records show it; 0 for a passive entry.
    pub id: u32,
    /// What each worker counts.
    pub workers: Box<[CachePadded<Offered>]>,
    /// What its sink's thread counts.
    pub settled: Arc<Settled>,
}

/// What one worker counts of a registration.
#[derive(Default)]
pub struct Offered {
    /// Packets that it covered.
    pub packets: Count,
    /// Refused by its policer.
    pub refused: Count,
    /// Refused by its sink's policer.
    pub refused_sink: Count,
    /// For which there was no room.
    pub ring_full: Count,
    /// That came while the sink was suspended.
    pub errors: Count,
}

impl Registered {
    /// Empty books of the registration with this id.
    pub fn new(id: u32, workers: usize) -> Arc<Registered> {
        let workers = (0..workers).map(|_| CachePadded::default()).collect();
        Arc::new(Registered { id, workers, settled: Arc::default() })
    }

    /// A count, over all workers.
    pub fn sum(&self, what: impl Fn(&Offered) -> &Count) -> u64 {
        self.workers.iter().map(|worker| what(worker).get()).sum()
    }
}

impl Registered {
    /// What the worker with this number counts.
    #[inline(always)]
    pub(super) fn of(&self, worker: u16) -> &Offered {
        &self.workers[worker as usize]
    }
}

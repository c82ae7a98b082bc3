//! A sink: where packets go, by a thread of its own.
//!
//! What workers, the control plane and the sink's thread share is [`Sink`]. Workers only look at whether it is open and write to its lanes.
//! [`Running`] is the thread: it takes records out of the lanes, in rounds by class, and puts them where [`Output`] says.

mod batch;
mod books;
mod connection;
mod facts;
mod output;
mod pcapng;
mod queue;
mod rounds;
mod running;
mod shm;
mod tap;
mod unix;
mod waits;
mod wake;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use parking_lot::RwLock;

use crate::class::Class;
use crate::lane::{Count, Errors, Lane};
use crate::ring::Ring;
use crate::segment::Segment;

pub use facts::{Facts, Interface, Settled};
pub use output::Output;
pub use queue::Record;
pub use running::{Running, State};
pub use waits::{Wait, Waits};
pub use wake::Wake;

/// Something for a new thread to do first, such as giving back the affinity that its parent gave up.
pub type Prologue = Box<dyn FnOnce() + Send>;

/// Sinks that there can be at once: each has a bit in a worker's dirty word.
pub const MAX_SINKS: usize = 64;

/// One sink, as everybody sees it.
pub struct Sink {
    /// What the operator calls it.
    pub name: String,
    /// Its bit in the workers' [`Dirty`] words, from 0.
    pub slot: usize,
    /// The errno that suspended it, or 0: all that workers look at, so apart from what the thread writes.
    suspended: CachePadded<AtomicI32>,
    /// How long records were on their way.
    pub waits: Waits,
    /// One for each (worker, class) that has a registration. The control plane adds; workers have their own references.
    lanes: RwLock<Vec<Arc<Lane>>>,
    /// Where its rings are, if a client reads them by itself.
    segment: Option<Arc<Segment>>,
    /// Rings whose client said that it has read what was not there; nobody gets what is in them until the next client comes.
    pub closed_rings: Count,
    /// Clients that could not be given the shared memory, by errno.
    pub refused_clients: Errors,
}

impl Sink {
    /// A sink without lanes, open.
    pub fn new(name: String, slot: usize) -> Sink {
        Sink {
            name,
            slot,
            suspended: CachePadded::default(),
            waits: Waits::default(),
            lanes: RwLock::default(),
            segment: None,
            closed_rings: Count::default(),
            refused_clients: Errors::default(),
        }
    }

    /// The same for an [`Output::Shm`]: its rings, of so many workers, are in memory that a client can map.
    ///
    /// # Errors
    /// What the system says.
    pub fn shared(name: String, slot: usize, workers: usize) -> io::Result<Sink> {
        Ok(Sink { segment: Some(Segment::new(workers)?), ..Sink::new(name, slot) })
    }

    /// For workers: the errno that suspended it, if it is.
    #[inline(always)]
    pub fn suspended(&self) -> Option<i32> {
        match self.suspended.load(Ordering::Relaxed) {
            0 => None,
            errno => Some(errno),
        }
    }

    /// For its thread: nobody is there (`Some(errno)`), or somebody is again.
    pub fn suspend(&self, errno: Option<i32>) {
        self.suspended.store(errno.unwrap_or(0), Ordering::Relaxed);
    }

    /// For the control plane: the lanes of a class, one for each of so many workers, whose rings hold at least `bytes` each.
    ///
    /// # Errors
    /// If the system has no memory that can be shared; then there are none.
    pub fn make(&self, class: Class, workers: usize, bytes: usize) -> io::Result<Box<[Arc<Lane>]>> {
        let rings = match &self.segment {
            Some(segment) => segment.make(class, bytes)?.into_iter().map(Ring::shared).collect(),
            None => (0..workers).map(|_| Ring::new(bytes)).collect::<Vec<Ring>>(),
        };
        let lane = |(worker, ring)| Arc::new(Lane::over(worker, class, ring));
        let lanes: Box<[Arc<Lane>]> = (0..).zip(rings).map(lane).collect();
        lanes.iter().for_each(|lane| self.add(lane.clone()));
        Ok(lanes)
    }

    /// For the control plane: one more lane.
    pub fn add(&self, lane: Arc<Lane>) {
        self.lanes.write().push(lane);
    }

    /// All lanes, in the order in which they came.
    pub fn lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes.read().clone()
    }

    /// The lanes that came after the first `known`.
    fn lanes_after(&self, known: usize) -> Vec<Arc<Lane>> {
        self.lanes.read().get(known..).map_or_else(Vec::new, <[_]>::to_vec)
    }
}

/// One worker's word: which sinks have something new. Workers set bits and wake nobody; the waker looks.
#[derive(Default)]
pub struct Dirty(CachePadded<AtomicU64>);

impl Dirty {
    /// For the worker: there is something for the sink in this slot.
    #[inline(always)]
    pub fn set(&self, slot: usize) {
        let bit = 1 << (slot % MAX_SINKS);
        if self.0.load(Ordering::Relaxed) & bit == 0 {
            self.0.fetch_or(bit, Ordering::Release);
        }
    }

    /// For the waker: the slots that have something new since it last looked.
    pub fn take(&self) -> u64 {
        if self.0.load(Ordering::Relaxed) == 0 { 0 } else { self.0.swap(0, Ordering::AcqRel) }
    }
}

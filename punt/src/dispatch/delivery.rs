//! How packets of one reason get to one sink.

use std::sync::Arc;

use super::{Interests, Registered};
use crate::class::Class;
use crate::facts::Facts;
use crate::lane::Lane;
use crate::policer::Policer;
use crate::sink::Sink;

/// How packets of one reason get to one sink.
pub struct Delivery {
    /// Where to.
    pub sink: Arc<Sink>,
    /// The sink's limit.
    pub policer: Arc<Policer>,
    /// The lanes, by class and worker; a class without any is not used.
    pub lanes: Arc<Lanes>,
    /// Registrations that cover some of these packets: those more specific than `all`.
    pub some: Interests<Candidate>,
    /// The most specific registration that covers all of them.
    pub all: Option<Candidate>,
}

/// Lanes of one sink, by class and worker.
pub type Lanes = [Box<[Arc<Lane>]>; Class::ALL.len()];

/// A registration that may cover a packet.
#[derive(Clone)]
pub struct Candidate {
    /// Its books.
    pub registration: Arc<Registered>,
    /// Its limit.
    pub policer: Arc<Policer>,
    /// At most so many bytes of a frame.
    pub snaplen: u32,
}

impl Delivery {
    /// The lane of this worker for a class. There is one for each class a packet can have; if not, any is better than none.
    #[inline(always)]
    pub(super) fn lane(&self, class: Class, worker: u16) -> Option<&Arc<Lane>> {
        self.own_lane(class, worker).or_else(|| self.any_lane(worker))
    }

    /// The lane of this worker for just that class.
    #[inline(always)]
    pub(super) fn own_lane(&self, class: Class, worker: u16) -> Option<&Arc<Lane>> {
        self.lanes.get(class as usize)?.get(worker as usize)
    }

    /// A lane of this worker, of whichever class.
    #[cold]
    fn any_lane(&self, worker: u16) -> Option<&Arc<Lane>> {
        self.lanes.iter().find_map(|lanes| lanes.get(worker as usize))
    }

    /// The most specific registration that covers a packet.
    #[inline(always)]
    pub(super) fn candidate(&self, facts: &Facts) -> Option<&Candidate> {
        if self.some.is_empty() {
            return self.all.as_ref();
        }
        self.some.find(facts).or(self.all.as_ref())
    }
}

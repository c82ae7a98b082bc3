//! What is to become of packets that nobody claimed.

use std::sync::Arc;

use super::{Delivery, HashMap, Registered};
use crate::policer::Policer;

/// What is to become of packets that nobody claimed, by ingress interface.
#[derive(Default)]
pub struct Passives {
    /// Of single interfaces.
    pub interfaces: HashMap<u32, Arc<Passive>>,
    /// Of all others.
    pub all: Option<Arc<Passive>>,
}

impl Passives {
    /// Whether nothing is set for such packets.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_none() && self.interfaces.is_empty()
    }

    /// What is to become of a packet from there.
    #[inline]
    pub fn of(&self, interface: u32) -> Option<&Arc<Passive>> {
        match self.interfaces.is_empty() {
            true => self.all.as_ref(),
            false => self.interfaces.get(&interface).or(self.all.as_ref()),
        }
    }
}

/// What is to become of packets that nobody claimed.
pub struct Passive {
    /// Its own limit, which takes the place of the reason's.
    pub policer: Option<Arc<Policer>>,
    /// Its books.
    pub registration: Arc<Registered>,
    /// What becomes of them.
    pub to: PassiveTo,
}

/// Where packets go that nobody claimed.
pub enum PassiveTo {
    /// To a sink: the delivery's one candidate stands for the passive entry.
    Sink(Delivery),
    /// Out of an interface, by the engine's number of a way there.
    Redirect(u32),
    /// Nowhere.
    Drop,
}

//! Everything that is set for one reason.

use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::{Counts, Delivery, Fate, Interests, Passives, Punted};
use crate::class::Class;
use crate::facts::Facts;
use crate::policer::{Budget, Policer, ReasonShare};

/// Everything that is set for one reason.
pub struct Entry {
    /// The reason's id, as records show it.
    pub id: u32,
    /// The queue its packets wait in.
    pub class: Class,
    /// A packet that can go on goes on and is copied; else it is trapped.
    pub copy: bool,
    /// The operator wants its packets dropped, whoever asks.
    pub drop: bool,
    /// One of so many is offered, if not all.
    pub sample: Option<u32>,
    /// The reason's limit.
    pub policer: Arc<Policer>,
    /// How its limit is shared by those who send.
    pub share: Arc<ReasonShare>,
    /// The reason's books, by worker.
    pub counts: Arc<[CachePadded<Counts>]>,
    /// The budget of all classes.
    pub budget: Arc<Budget>,
    /// Registrations that make a reason of their own for packets of this one: that reason's index.
    pub scopes: Interests<u32>,
    /// What is to become of packets that nobody claimed.
    pub passive: Passives,
    /// One for each sink that may want such packets.
    pub deliveries: Box<[Delivery]>,
    /// Whether it takes a look at the packet to say who wants it.
    pub looks: bool,
}

impl Entry {
    /// Whether anybody may want packets of this reason as they are, or of one that a registration makes of it.
    #[inline(always)]
    pub fn is_wanted(&self) -> bool {
        !self.deliveries.is_empty() || !self.scopes.is_empty()
    }

    /// Whether a registration covers this packet, which left the graph for the reason at index `reason`.
    pub fn wants(&self, reason: u32, packet: &impl Punted) -> bool {
        !self.deliveries.is_empty() && (!self.looks || self.wants_such(&Facts { reason, ..packet.facts() }))
    }

    fn wants_such(&self, facts: &Facts) -> bool {
        self.deliveries.iter().any(|delivery| delivery.candidate(facts).is_some())
    }

    /// What becomes of all packets, if that can be said without a look at any.
    #[inline(always)]
    pub(super) fn fate_of_all(&self) -> Option<Fate> {
        if self.drop {
            return Some(Fate::ActionDrop);
        }
        (self.deliveries.is_empty() && self.passive.is_empty()).then_some(Fate::NoSink)
    }

    /// Whether every packet is wanted alike: by every sink, through the same registration.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        !self.looks && self.sample.is_none() && self.passive.is_empty()
    }

    /// Whether neither `policer` nor what else limits packets of this reason can refuse one, so that none has to be asked.
    #[inline(always)]
    pub(super) fn is_unlimited(&self, policer: &Policer) -> bool {
        policer.is_unlimited() && !self.share.has_ceilings() && self.budget.is_unlimited(self.class)
    }
}

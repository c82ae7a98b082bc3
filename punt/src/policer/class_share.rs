//! What the source share knows of a class: which of its reasons had more than the others lately.
//!
//! Reasons stand on the class's clock as interfaces do on that of their reason (see [`share`](super::share)): a reason that lags behind the
//! busiest one has credit, and a reason without any must leave as many of the class's packets as there are sources of other reasons.

use super::activity::Activity;
use super::part::Part;
use super::share::{ReasonShare, advance};
use super::sync::{AtomicU64, Ordering};

/// How many packets a reason may lag behind the busiest one of its class.
pub(crate) const REASON_CREDIT: u64 = 64;

/// What the share knows of one class.
pub(crate) struct ClassShare {
    /// Where the busiest reason stands.
    clock: AtomicU64,
    /// Of all its reasons.
    pub activity: Activity,
    /// How many reasons want something.
    pub reasons: Activity,
}

/// What a class has for one of its reasons at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    /// Packets that could pass.
    pub tokens: u64,
    /// Those of them that are of its minimum.
    pub sure: u64,
    /// Packets that it is sure to have when nobody has taken any for long.
    pub depth: u64,
    /// How long a packet of its minimum takes to earn, in 2^-16 ticks; 0 if it has none.
    pub step: u64,
}

/// What holds for all sources of a reason in its class at one moment.
#[derive(Clone, Copy)]
pub(crate) struct ClassGate {
    /// Packets that it has room for.
    pub tokens: u64,
    /// Of these, kept for whoever is within its part.
    pub floor: u64,
    /// The part of this interface of this reason.
    pub part: Part,
    /// So few are left of the minimum that all that is taken is taken of parts.
    pub low: bool,
    /// How far the reason lags behind.
    pub credit: u64,
    /// Packets to be kept for other reasons, for other interfaces of this one, and for other sources of the interface.
    pub for_reasons: u64,
    pub for_interfaces: u64,
    pub for_sources: u64,
}

impl ClassGate {
    /// Nothing limits the class.
    pub const OPEN: ClassGate = ClassGate {
        tokens: u64::MAX,
        floor: 0,
        part: Part::NONE,
        low: false,
        credit: 0,
        for_reasons: 0,
        for_interfaces: 0,
        for_sources: 0,
    };
}

impl ClassShare {
    pub fn new() -> ClassShare {
        ClassShare { clock: AtomicU64::new(1 << 32), activity: Activity::new(), reasons: Activity::new() }
    }

    /// How far a reason lags behind.
    #[inline]
    pub fn credit(&self, of: &ReasonShare) -> u64 {
        let lag = self.clock.load(Ordering::Relaxed).wrapping_sub(of.stands.load(Ordering::Relaxed));
        lag.min(REASON_CREDIT)
    }

    /// The reason had one more packet.
    #[inline]
    pub fn charge(&self, of: &ReasonShare) {
        let stands = advance(&self.clock, of.stands.load(Ordering::Relaxed), REASON_CREDIT);
        of.stands.store(stands, Ordering::Relaxed);
    }
}

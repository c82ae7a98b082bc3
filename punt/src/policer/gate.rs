//! What a worker needs to know of a reason and an interface, during one burst, to judge their sources.

use super::class_share::{ClassGate, REASON_CREDIT};
use super::seat::{SOURCE_CREDIT, Seat};
use super::share::ReasonShare;
use super::source::Source;

/// How many packets an interface may lag behind the busiest one of the reason.
pub(super) const INTERFACE_CREDIT: u64 = 64;
/// What is no source.
const NOBODY: u64 = 0xfffd << 48;
/// Pairs that a worker remembers during a burst.
const GATES: usize = 16;

/// Who had more than its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The source, among those of its interface; or it is above its `--source-rate`.
    Source,
    /// The interface, among those of the reason; or it is above its `--interface-rate`.
    Interface,
    /// Nobody: there is no other source, and the reason's last tokens are kept for whoever else may come. To be
    /// counted as refused by the reason.
    Reason,
    /// The source, interface or reason, among those of the class, which has less left than the reason. To be counted as refused by the
    /// class.
    Class,
}

/// What one worker knows, during one burst, of the pairs of reason and interface that it has met. A worker makes
/// its own, and uses it with one [`Share`](super::Share).
///
/// What a burst brings is judged by one look at the reason; what is admitted makes it look again.
pub struct Gates([Gate; GATES]);

impl Default for Gates {
    fn default() -> Gates {
        Gates([Gate::NONE; GATES])
    }
}

impl Gates {
    /// The place of this pair, which another may have.
    #[inline]
    pub(super) fn of(&mut self, reason: u32, interface: u32) -> &mut Gate {
        &mut self.0[(reason.wrapping_mul(5) ^ interface) as usize % GATES]
    }
}

/// What holds for all sources of one interface in one reason at one moment.
#[derive(Clone, Copy)]
pub(super) struct Gate {
    pub now: u64,
    pub key: u64,
    /// Nothing is to be said here.
    pub open: bool,
    /// There is but one source, or none.
    pub alone: bool,
    pub pair: Option<usize>,
    pub tokens: u64,
    /// How far the interface lags behind.
    pub credit: u64,
    /// Where its busiest source stands.
    pub clock: u64,
    /// Active sources of other interfaces, and others of this one.
    pub others: (u64, u64),
    /// Tokens to be kept for other interfaces, and for other sources of this one.
    pub for_interfaces: u64,
    pub for_sources: u64,
    /// With so many tokens nobody from here passes, as all are kept for other interfaces; 0 where one has to look.
    pub least: u64,
    /// What the class has, once a packet has got as far as that.
    pub class: Option<ClassGate>,
    /// It is noted that tokens are short.
    pub marked: bool,
    /// Who was refused last, and why.
    pub source: u64,
    pub why: Refused,
}

impl Gate {
    pub const NONE: Gate = Gate {
        now: u64::MAX,
        key: 0,
        open: false,
        alone: false,
        pair: None,
        tokens: 0,
        credit: 0,
        clock: 1 << 32,
        others: (0, 0),
        for_interfaces: 0,
        for_sources: 0,
        least: 0,
        class: None,
        marked: false,
        source: NOBODY,
        why: Refused::Source,
    };

    /// Whether there are more tokens than have to be kept from this source.
    #[inline]
    pub fn judge(&self, seat: &Seat<'_>) -> Result<(), Refused> {
        let lack = SOURCE_CREDIT - seat.credit(self.clock);
        let (of_interface, of_source) = self.kept(lack, self.for_interfaces, self.for_sources);
        if self.tokens > of_interface + of_source {
            return Ok(());
        }
        Err(match () {
            _ if self.alone && seat.way.is_some() => Refused::Reason,
            _ if self.tokens > of_interface => Refused::Source,
            _ => Refused::Interface,
        })
    }

    /// Whether the class has more room than has to be kept from this source.
    #[inline]
    pub fn fits(&self, class: &ClassGate, seat: &Seat<'_>) -> bool {
        let lack = SOURCE_CREDIT - seat.credit(self.clock);
        let (of_interface, of_source) = self.kept(lack, class.for_interfaces, class.for_sources);
        // A part of its reason's credit is kept from the source, too.
        let lent = class.credit.saturating_sub(lack);
        let of_reason = class.for_reasons * (REASON_CREDIT - lent) / REASON_CREDIT;
        class.tokens > of_reason + of_interface + of_source
    }

    /// What is kept from a source that lacks so much credit, of what is to be kept for other interfaces and for other sources.
    #[inline]
    pub fn kept(&self, lack: u64, for_interfaces: u64, for_sources: u64) -> (u64, u64) {
        // A part of its interface's credit is kept from the source, too, for the others there.
        let lent = self.credit.saturating_sub(for_sources.min(SOURCE_CREDIT) * lack / SOURCE_CREDIT);
        let of_interface = for_interfaces * (INTERFACE_CREDIT - lent) / INTERFACE_CREDIT;
        (of_interface, for_sources * lack / SOURCE_CREDIT)
    }

    /// Notes who is refused, and that tokens are short, of whichever has too few.
    #[inline]
    pub fn refuse(&mut self, of: &ReasonShare, epoch: u16, source: Source, why: Refused) -> Refused {
        if why != Refused::Class && !self.marked {
            of.activity.mark_short(epoch);
            self.marked = true;
        }
        (self.source, self.why) = (source.bits(), why);
        why
    }
}

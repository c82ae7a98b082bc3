//! What a worker needs to know of a reason and an interface, during one burst, to judge their sources.

use super::class_share::{ClassGate, REASON_CREDIT};
use super::part::Part;
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
    /// Nobody: the reason has no token, or there is no other source, and its last tokens are kept for whoever else may come. To be
    /// counted as refused by the reason.
    Reason,
    /// The source, interface or reason, among those of the class, which has less left than the reason. To be counted as refused by the
    /// class.
    Class,
}

/// What a packet is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// The part of its interface.
    Part,
    /// What nobody is sure to have.
    Rest,
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
    /// Nothing is to be said but what ceilings say.
    pub free: bool,
    /// There is but one source, or none.
    pub alone: bool,
    pub pair: Option<usize>,
    pub tokens: u64,
    /// Of these, kept for interfaces that are within their part.
    pub floor: u64,
    /// The part of this interface.
    pub part: Part,
    /// So few are left that all that is taken is taken of parts.
    pub low: bool,
    /// Bytes that stand for a packet; 0 where packets count.
    pub unit: u64,
    /// How many interfaces want something.
    pub interfaces: u64,
    /// How far the interface lags behind.
    pub credit: u64,
    /// Where its busiest source stands.
    pub clock: u64,
    /// Active sources of other interfaces, and others of this one.
    pub others: (u64, u64),
    /// Tokens to be kept for other interfaces, and for other sources of this one.
    pub for_interfaces: u64,
    pub for_sources: u64,
    /// Why nobody passes, whoever it is.
    pub shut: Option<Refused>,
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
        free: false,
        alone: false,
        pair: None,
        tokens: 0,
        floor: 0,
        part: Part::NONE,
        low: false,
        unit: 0,
        interfaces: 1,
        credit: 0,
        clock: 1 << 32,
        others: (0, 0),
        for_interfaces: 0,
        for_sources: 0,
        shut: None,
        class: None,
        marked: false,
        source: NOBODY,
        why: Refused::Source,
    };

    /// Whether this source may have a token: of those that are nobody's, if there are more than have to be kept from it, or of its
    /// interface's part.
    #[inline]
    pub fn judge(&self, seat: &Seat<'_>) -> Result<Of, Refused> {
        let lack = SOURCE_CREDIT - seat.credit(self.clock);
        let (of_interface, of_source) = self.kept(lack, self.for_interfaces, self.for_sources);
        if self.tokens > self.floor + of_interface + of_source {
            return Ok(if self.low { Of::Part } else { Of::Rest });
        }
        if self.part.holds(lack, SOURCE_CREDIT) {
            return Ok(Of::Part);
        }
        Err(match () {
            _ if self.alone && seat.way.is_some() => Refused::Reason,
            _ if self.tokens > self.floor + of_interface || self.part.holds(0, 1) => Refused::Source,
            _ => Refused::Interface,
        })
    }

    /// The same of the class's room.
    #[inline]
    pub fn fits(&self, class: &ClassGate, seat: &Seat<'_>) -> Option<Of> {
        let lack = SOURCE_CREDIT - seat.credit(self.clock);
        let (of_interface, of_source) = self.kept(lack, class.for_interfaces, class.for_sources);
        // A part of its reason's credit is kept from the source, too.
        let lent = class.credit.saturating_sub(lack);
        let of_reason = class.for_reasons * (REASON_CREDIT - lent) / REASON_CREDIT;
        if class.tokens > class.floor + of_reason + of_interface + of_source {
            return Some(if class.low { Of::Part } else { Of::Rest });
        }
        (class.tokens > 0 && class.part.holds(lack, SOURCE_CREDIT)).then_some(Of::Part)
    }

    /// Whether nobody passes, whatever credit it has: the interface has had its part, and what is left is for others.
    #[inline]
    pub fn is_shut(&self) -> bool {
        let (of_interface, _) = self.kept(0, self.for_interfaces, self.for_sources);
        !self.alone && self.tokens <= self.floor + of_interface && !self.part.holds(0, 1)
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
    pub fn refuse(&mut self, of: &ReasonShare, epoch: u32, source: Source, why: Refused) -> Refused {
        if why != Refused::Class && !self.marked {
            of.activity.mark_short(epoch);
            self.marked = true;
        }
        (self.source, self.why) = (source.bits(), why);
        why
    }
}

//! Policers: who may pass, and how often. Shared by all workers, without locks.
//!
//! Every policer is handed `now` in ticks of a monotonic clock that all workers read alike (the TSC, once per
//! burst); a worker may come with a `now` somewhat older than another's. A packet that is red costs loads only; one
//! that is green or yellow costs one compare-and-swap, also where yellow ones are dropped; an unlimited policer
//! stores nothing.
//!
//! - [`rate`]: rates, bursts and their units as an operator writes them.
//! - [`config`]: what can be said of a policer.
//! - [`share`]: what one source and one interface may take of a reason that runs short.
//! - [`talkers`]: who sends most, and who is refused.
//! - [`budget`]: one budget for all classes, with a minimum and a cap for each.
//!
//! `docs/decisions/policers.md` says why they are as they are.

pub mod budget;
pub mod config;
pub mod rate;
pub mod share;
pub mod talkers;

mod activity;
mod bucket;
mod ceiling;
mod class_share;
mod gate;
mod meter;
mod pair;
mod part;
mod scale;
mod seat;
mod source;
mod sync;

use std::fmt;

use bucket::Bucket;
use meter::Meter;
use sync::{AtomicU64, Ordering};

use crate::class::Class;

pub use budget::{Budget, BudgetError, Shape};
pub use config::{Colour, Config, ConfigError, Kind, Verdict};
pub use gate::{Gates, Refused};
pub use rate::{Limit, ParseRateError, Rate, Unit};
pub use share::{Limits, ReasonShare, Share};
pub use source::Source;
pub use talkers::{Talker, Talkers};

/// Whether this machine can change both counts of a policer at once, as one that colours needs; every x86-64 of the last fifteen years can.
pub fn is_lock_free() -> bool {
    portable_atomic::AtomicU128::is_lock_free()
}

/// A policer, shared by all workers: exact over all of them, whoever takes when.
///
/// Its figures may change in place while workers take ([`set`](Policer::set), [`configure`](Policer::configure)):
/// every packet is judged by the old terms or by the new ones, and what was earned stays. Only what changes the
/// shape (single or two buckets, packets or bytes) needs [another policer](Policer::with_config).
pub struct Policer {
    inner: Inner,
    /// What is done with yellow (bits 8–15) and red (bits 0–7) packets.
    actions: AtomicU64,
    /// How long a packet's worth takes to earn, in 2^-16 ticks; 0 = for ever, or no time.
    step: AtomicU64,
    /// Bytes that stand for a packet where bytes count; 0 where packets do.
    unit: AtomicU64,
    /// When a change of figures last gave what was not earned, or took what was, in ticks from 1; 0 = never.
    changed: AtomicU64,
    hz: u64,
}

/// What a policer could let pass at one moment, in packets.
#[derive(Clone, Copy)]
pub(crate) struct Fill {
    pub tokens: u64,
    pub depth: u64,
    /// How long one takes to earn, in 2^-16 ticks; 0 where none is sure to come.
    pub step: u64,
    /// Bytes that stand for a packet; 0 where packets count.
    pub unit: u64,
    /// Nothing can pass, of however many bytes it is.
    pub empty: bool,
}

enum Inner {
    Single(Bucket),
    Coloured(Meter),
}

impl Policer {
    /// A single bucket of packets, full at `now`, that drops what it has no token for. `hz` ticks per second.
    pub fn packets(limit: Limit, hz: u64, now: u64) -> Policer {
        Policer::new(&Config::packets(limit.rate, limit.burst), hz, now)
    }

    /// Any policer, its buckets full at `now`. `hz` ticks per second.
    ///
    /// What [`Config::check`] objects to is made all the same, as well as it can be.
    pub fn new(config: &Config, hz: u64, now: u64) -> Policer {
        let limit = Limit { rate: config.rate, burst: config.burst };
        let inner = match config.kind {
            Kind::Single => Inner::Single(Bucket::new(limit, config.unit, hz, now)),
            _ => Inner::Coloured(Meter::new(config, hz, now)),
        };
        let [step, unit, changed] = [0; 3].map(AtomicU64::new);
        let policer = Policer { inner, actions: AtomicU64::new(pack(config)), step, unit, changed, hz };
        policer.note_pace(config);
        policer
    }

    /// Writes down how fast packets are earned.
    fn note_pace(&self, config: &Config) {
        let (rate, depth) = Policer::pace(config);
        let (unit, tokens) = match config.unit {
            Unit::Packets => (0, 1),
            Unit::Bits => ((depth / UNITS).clamp(1, 1_500), 8 * (depth / UNITS).clamp(1, 1_500)),
        };
        let step = match rate {
            Rate::Unlimited | Rate::PerSecond(0) => 0,
            Rate::PerSecond(rate) => ((u128::from(self.hz) * u128::from(tokens)) << 16) / u128::from(rate),
        };
        self.unit.store(unit, Ordering::Relaxed);
        self.step.store(u64::try_from(step).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Another policer with what this one has earned: as many packets or bytes, or from one to the other as great a part of the bursts.
    /// One that is full stays full, as with [`configure`](Policer::configure).
    ///
    /// While both are in use, what had been earned may be spent in both, once.
    pub fn with_config(&self, config: &Config, now: u64) -> Policer {
        let (new, old) = (Policer::new(config, self.hz, now), self.config());
        new.changed.store(self.changed.load(Ordering::Relaxed), Ordering::Relaxed);
        let (was_full, may_fill) = (self.is_full(now), new.may_fill(config, now));
        new.note_change(was_full, may_fill, now);
        if was_full && may_fill {
            return new;
        }
        let (first, second) = match &self.inner {
            Inner::Single(bucket) => (bucket.tokens(now), None),
            Inner::Coloured(meter) => (meter.tokens(now).0, Some(meter.tokens(now).1)),
        };
        let carry = |tokens: u64, depth: u64, into: u64| match old.unit == config.unit {
            true => tokens,
            false => (u128::from(tokens.min(depth)) * u128::from(into) / u128::from(depth.max(1))) as u64,
        };
        let ((_, old_excess), (_, excess)) = (old.second(), config.second());
        let first = carry(first, old.burst, config.burst);
        let second = match second {
            Some(second) => carry(second, old_excess, excess),
            // The peak's bucket holds all that the committed one does; the others are for what overflows or is beyond.
            None if config.kind == Kind::Rfc2698 => first,
            None => 0,
        };
        match &new.inner {
            Inner::Single(bucket) => bucket.lower(first, now),
            Inner::Coloured(meter) => meter.lower(first, second, now),
        }
        new
    }

    /// Whether it holds all that it can.
    fn is_full(&self, now: u64) -> bool {
        let config = self.config();
        match &self.inner {
            Inner::Single(bucket) => bucket.tokens(now) >= config.burst,
            Inner::Coloured(meter) => {
                let (first, second) = meter.tokens(now);
                first >= config.burst && second >= config.second().1
            }
        }
    }

    /// Whether what was full before a change to `after` may be full after it: if, since the last change that gave or took something, it had
    /// the time to earn what it can hold then. So changes that are made again and again refill nothing.
    fn may_fill(&self, after: &Config, now: u64) -> bool {
        let (step, unit) = (self.step.load(Ordering::Relaxed), self.unit.load(Ordering::Relaxed));
        let (_, depth) = Policer::pace(after);
        let fills = (u128::from(depth.checked_div(unit).unwrap_or(depth)) * u128::from(step)) >> 16;
        let changed = self.changed.load(Ordering::Relaxed);
        changed == 0 || u128::from((now + 1).saturating_sub(changed)) >= fills
    }

    /// Notes a change, unless it left less than there was.
    fn note_change(&self, was_full: bool, may_fill: bool, now: u64) {
        if may_fill || !was_full {
            self.changed.store(now.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// How fast what passes can come, and how much of it at once: what is yellow, too, unless that is dropped.
    fn pace(config: &Config) -> (Rate, u64) {
        let (peak, excess) = config.second();
        let both = match (config.rate, peak) {
            (Rate::PerSecond(rate), Rate::PerSecond(peak)) => Rate::PerSecond(rate.saturating_add(peak)),
            _ => Rate::Unlimited,
        };
        match config.kind {
            Kind::Single => (config.rate, config.burst),
            Kind::Rfc2698 if config.yellow == Verdict::Drop => (config.rate, config.burst.min(excess)),
            _ if config.yellow == Verdict::Drop => (config.rate, config.burst),
            Kind::Rfc2697 => (config.rate, config.burst.saturating_add(excess)),
            Kind::Rfc2698 => (peak, excess),
            Kind::Rfc4115 => (both, config.burst.saturating_add(excess)),
        }
    }

    /// Whether it lets everything pass, so that it need not be asked.
    #[inline]
    pub fn is_unlimited(&self) -> bool {
        match &self.inner {
            Inner::Single(bucket) => bucket.is_unlimited(),
            Inner::Coloured(_) => false,
        }
    }

    /// What to do with a packet of so many bytes that no policer has coloured before; its tokens are taken.
    #[inline]
    pub fn take(&self, now: u64, bytes: u32) -> Verdict {
        match &self.inner {
            Inner::Single(bucket) => {
                if bucket.take(now, bytes) {
                    return Verdict::Pass;
                }
                self.action(Colour::Red)
            }
            Inner::Coloured(meter) => self.action(meter.take(now, bytes, Colour::Green)),
        }
    }

    /// The colour of a packet that came with one (colour-aware); its tokens are taken.
    ///
    /// A single bucket knows green and red, and takes yellow for green.
    #[inline]
    pub fn colour(&self, now: u64, bytes: u32, before: Colour) -> Colour {
        match &self.inner {
            Inner::Single(_) if before == Colour::Red => Colour::Red,
            Inner::Single(bucket) if bucket.take(now, bytes) => before,
            Inner::Single(_) => Colour::Red,
            Inner::Coloured(meter) => meter.take(now, bytes, before),
        }
    }

    /// What is done with packets of that colour.
    #[inline]
    pub fn action(&self, colour: Colour) -> Verdict {
        let actions = self.actions.load(Ordering::Relaxed);
        match colour {
            Colour::Green => Verdict::Pass,
            Colour::Yellow => unpack(actions >> 8),
            Colour::Red => unpack(actions),
        }
    }

    /// Whole packets or bytes that would pass green now; `u64::MAX` when unlimited.
    #[inline]
    pub fn tokens(&self, now: u64) -> u64 {
        match &self.inner {
            Inner::Single(bucket) => bucket.tokens(now),
            Inner::Coloured(meter) => meter.tokens(now).0,
        }
    }

    /// What could pass now; `None` when it refuses nothing: it is unlimited, or red packets go on, too. Where yellow packets are dropped,
    /// only green ones pass.
    ///
    /// Where bytes count, 1,500 of them stand for a packet, or fewer where the burst would hold only a few packets.
    #[inline]
    pub(crate) fn fill(&self, now: u64) -> Option<Fill> {
        if self.action(Colour::Red) != Verdict::Drop {
            return None;
        }
        let (tokens, depth) = match &self.inner {
            Inner::Single(bucket) => bucket.fill(now)?,
            Inner::Coloured(meter) => meter.fill(now, self.action(Colour::Yellow) != Verdict::Drop)?,
        };
        let (step, unit) = (self.step.load(Ordering::Relaxed), self.unit.load(Ordering::Relaxed));
        let fill = Fill { tokens, depth, step, unit, empty: tokens == 0 };
        let packets = |tokens: u64| tokens.checked_div(unit).unwrap_or(tokens);
        Some(Fill { tokens: packets(tokens), depth: packets(depth), ..fill })
    }

    /// Whether a packet of so many bytes would go to a lower class now.
    #[inline]
    pub(crate) fn would_demote(&self, now: u64, bytes: u32) -> bool {
        match &self.inner {
            Inner::Single(_) => false,
            Inner::Coloured(meter) => {
                matches!(self.action(Colour::Yellow), Verdict::Demote(_))
                    && meter.tokens(now).0 < if meter.bytes() { bytes.into() } else { 1 }
            }
        }
    }

    /// The committed rate and burst.
    pub fn limit(&self) -> Limit {
        match &self.inner {
            Inner::Single(bucket) => bucket.limit(),
            Inner::Coloured(meter) => {
                let config = meter.config();
                Limit { rate: config.rate, burst: config.burst }
            }
        }
    }

    /// All that was asked for.
    pub fn config(&self) -> Config {
        let config = match &self.inner {
            Inner::Single(bucket) => {
                let limit = bucket.limit();
                Config { unit: bucket.unit(), ..Config::packets(limit.rate, limit.burst) }
            }
            Inner::Coloured(meter) => meter.config(),
        };
        Config { yellow: self.action(Colour::Yellow), red: self.action(Colour::Red), ..config }
    }

    /// Another committed rate and burst from now on, while workers take; what was earned stays, up to the burst, and what is full stays full.
    pub fn set(&self, limit: Limit, now: u64) {
        self.change(&Config { rate: limit.rate, burst: limit.burst, ..self.config() }, now);
    }

    /// Any other figures from now on, while workers take; what was earned stays, up to the bursts, and what is full stays full, but not
    /// twice within the time that it takes to fill.
    ///
    /// Returns `false`, and changes nothing, when it takes [another policer](Policer::with_config): from a single
    /// bucket to two or back, or from packets to bytes or back.
    pub fn configure(&self, config: &Config, now: u64) -> bool {
        let before = self.config();
        let alike =
            (config.kind == Kind::Single) == (before.kind == Kind::Single) && config.unit == before.unit;
        if alike {
            self.actions.store(pack(config), Ordering::Relaxed);
            self.change(config, now);
        }
        alike
    }

    fn change(&self, after: &Config, now: u64) {
        let before = self.config();
        let same = (before.burst, before.excess, before.kind) == (after.burst, after.excess, after.kind);
        self.note_pace(after);
        let may_fill = !same && self.may_fill(after, now);
        let was_full = match &self.inner {
            Inner::Single(bucket) => {
                bucket.set(Limit { rate: after.rate, burst: after.burst }, now, may_fill)
            }
            Inner::Coloured(meter) => meter.set(after, now, may_fill),
        };
        if !same {
            self.note_change(was_full, may_fill, now);
        }
    }

    /// Drags an idle bucket forward; the control thread calls it daily.
    pub fn refresh(&self, now: u64) {
        match &self.inner {
            Inner::Single(bucket) => bucket.refresh(now),
            Inner::Coloured(meter) => meter.refresh(now),
        }
    }
}

impl fmt::Debug for Policer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Policer").field(&self.config()).finish()
    }
}

/// A burst of bytes holds as many packets as this, in the eyes of the share, however small it is.
const UNITS: u64 = 64;

const PASS: u8 = 0xff;
const DROP: u8 = 0xfe;

fn pack(config: &Config) -> u64 {
    let code = |verdict| match verdict {
        Verdict::Pass => PASS,
        Verdict::Drop => DROP,
        Verdict::Demote(class) => class as u8,
    };
    u64::from(code(config.yellow)) << 8 | u64::from(code(config.red))
}

#[inline]
fn unpack(code: u64) -> Verdict {
    match code as u8 {
        PASS => Verdict::Pass,
        class if usize::from(class) < Class::ALL.len() => Verdict::Demote(Class::ALL[usize::from(class)]),
        _ => Verdict::Drop,
    }
}

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod oracle_tests;
#[cfg(all(test, not(loom)))]
mod tests;

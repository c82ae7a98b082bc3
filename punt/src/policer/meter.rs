//! The three-colour meters of RFC 2697, RFC 2698 and RFC 4115, exact over all workers.
//!
//! Both buckets are in one atomic word of 128 bits, so a packet is measured against both at one moment. As with the
//! single [`bucket`](super::bucket), the lowest bit names the terms that apply. The lower half is the position at
//! which the committed bucket was empty; the upper half is the same for the second bucket, but for RFC 2697: there
//! the second bucket gets what overflows the first, so it has a number of tokens, brought up to date whenever the
//! first bucket is found to have overflowed.
//!
//! Colour-blind is colour-aware with green packets: so it is in all three RFCs.

use std::cell::Cell;

use super::config::{Colour, Config, Kind};
use super::rate::Unit;
use super::scale::{Scale, convert, fraction};
use super::sync::{AtomicU64, AtomicU128, Mutex, Ordering};

/// Both buckets' terms as plain values.
#[derive(Clone, Copy)]
struct Read {
    first: Scale,
    second: Scale,
    fraction: u32,
    bytes: bool,
    kind: Kind,
}

/// Where the buckets were empty, or for RFC 2697's second one how much it has.
#[derive(Clone, Copy)]
struct State {
    first: u64,
    second: u64,
}

impl State {
    #[inline]
    fn of(word: u128) -> State {
        State { first: word as u64 >> 1, second: (word >> 64) as u64 }
    }

    #[inline]
    fn word(self, set: u128) -> u128 {
        u128::from(self.second) << 64 | u128::from(self.first << 1) | set
    }
}

/// Units in both buckets.
#[derive(Clone, Copy)]
struct Tokens {
    first: u64,
    second: u64,
}

impl Read {
    fn of(config: &Config, hz: u64) -> Read {
        let (peak, excess) = config.second();
        let fraction = fraction(config.rate, config.burst).min(fraction(peak, excess));
        Read {
            first: Scale::new(config.rate, config.unit, config.burst, fraction, hz),
            second: Scale::new(peak, config.unit, excess, fraction, hz),
            fraction,
            bytes: config.unit == Unit::Bits,
            kind: config.kind,
        }
    }

    /// What a packet costs, in units.
    #[inline]
    fn cost(self, bytes: u32) -> u64 {
        (if self.bytes { u64::from(bytes) } else { 1 }) << self.fraction
    }

    /// What is in the buckets, and their state with all that overflowed forgotten.
    #[inline]
    fn settle(self, state: State, ticks: u64) -> (Tokens, State) {
        let (first, first_at, over) = settle_one(self.first, state.first, ticks);
        if self.kind == Kind::Rfc2697 {
            let second = if self.first.unlimited() {
                self.second.depth
            } else {
                state.second.saturating_add(over).min(self.second.depth)
            };
            return (Tokens { first, second }, State { first: first_at, second });
        }
        let (second, second_at, _) = settle_one(self.second, state.second, ticks);
        (Tokens { first, second }, State { first: first_at, second: second_at })
    }

    /// The colour of a packet, as its RFC has it.
    #[inline]
    fn colour(self, tokens: Tokens, cost: u64, before: Colour) -> Colour {
        let (first, second) = (tokens.first >= cost, tokens.second >= cost);
        match (self.kind, before) {
            (_, Colour::Red) => Colour::Red,
            (Kind::Rfc2698, _) if !second => Colour::Red,
            (Kind::Rfc2698, Colour::Green) if first => Colour::Green,
            (Kind::Rfc2698, _) => Colour::Yellow,
            (_, Colour::Green) if first => Colour::Green,
            (_, _) if second => Colour::Yellow,
            (_, _) => Colour::Red,
        }
    }

    /// The state after a packet of that colour.
    #[inline]
    fn charge(self, state: State, cost: u64, colour: Colour) -> State {
        let (mut first, mut second) = (state.first, state.second);
        if colour == Colour::Green && !self.first.unlimited() {
            first = Scale::forward(first, cost);
        }
        if (colour == Colour::Yellow || self.kind == Kind::Rfc2698) && !self.second.unlimited() {
            second = match self.kind {
                Kind::Rfc2697 => second - cost,
                _ => Scale::forward(second, cost),
            };
        }
        State { first, second }
    }

    /// The state that stands for so many units.
    fn with(self, tokens: Tokens, ticks: u64) -> State {
        let at = |scale: Scale, units| {
            if scale.unlimited() { 0 } else { Scale::back(scale.position(ticks), units) }
        };
        let first = at(self.first, tokens.first);
        State {
            first,
            second: if self.kind == Kind::Rfc2697 { tokens.second } else { at(self.second, tokens.second) },
        }
    }
}

/// Units in one bucket, where it was empty at the earliest, and how much ran over.
#[inline]
fn settle_one(scale: Scale, empty: u64, ticks: u64) -> (u64, u64, u64) {
    if scale.unlimited() {
        return (u64::MAX, empty, 0);
    }
    let here = scale.position(ticks);
    let earned = Scale::earned(empty, here);
    match earned.checked_sub(scale.depth) {
        // Another worker may have seen a newer clock, up to which all that a bucket without a depth earns has run over already.
        Some(0) => (scale.depth, empty, 0),
        Some(over) => (scale.depth, Scale::back(here, scale.depth), over),
        None => (earned, empty, 0),
    }
}

/// One set of terms. Relaxed is enough: the word that names the set is released after it was written.
struct Terms {
    first: [AtomicU64; 2],
    second: [AtomicU64; 2],
    /// Bits 0–7 and 8–15 the shifts, 16–23 the fraction, 24 whether bytes count, 25–26 the kind.
    form: AtomicU64,
}

impl Terms {
    fn new(read: Read) -> Terms {
        let pair = || [AtomicU64::new(0), AtomicU64::new(0)];
        let terms = Terms { first: pair(), second: pair(), form: AtomicU64::new(0) };
        terms.write(read);
        terms
    }

    fn write(&self, read: Read) {
        for (into, scale) in [(&self.first, read.first), (&self.second, read.second)] {
            into[0].store(scale.multiplier, Ordering::Relaxed);
            into[1].store(scale.depth, Ordering::Relaxed);
        }
        let form = u64::from(read.first.shift)
            | u64::from(read.second.shift) << 8
            | u64::from(read.fraction) << 16
            | u64::from(read.bytes) << 24
            | (read.kind as u64) << 25;
        self.form.store(form, Ordering::Relaxed);
    }

    #[inline]
    fn read(&self) -> Read {
        let form = self.form.load(Ordering::Relaxed);
        let scale = |from: &[AtomicU64; 2], shift: u64| Scale {
            multiplier: from[0].load(Ordering::Relaxed),
            depth: from[1].load(Ordering::Relaxed),
            shift: shift as u32 & 63,
        };
        Read {
            first: scale(&self.first, form),
            second: scale(&self.second, form >> 8),
            fraction: (form >> 16) as u32 & 63,
            bytes: form >> 24 & 1 == 1,
            kind: match form >> 25 & 3 {
                0 => Kind::Single,
                1 => Kind::Rfc2697,
                2 => Kind::Rfc2698,
                _ => Kind::Rfc4115,
            },
        }
    }
}

/// Two token buckets that judge together; full when made.
#[repr(align(64))]
pub(crate) struct Meter {
    state: AtomicU128,
    terms: [Terms; 2],
    /// The clock when it was made.
    start: u64,
    hz: u64,
    /// What was asked for; held while terms change, never by a worker.
    config: Mutex<Config>,
}

impl Meter {
    /// Full buckets. `hz` ticks per second, `now` in ticks.
    pub(crate) fn new(config: &Config, hz: u64, now: u64) -> Meter {
        let terms = Read::of(config, hz);
        let full = Tokens { first: terms.first.depth, second: terms.second.depth };
        Meter {
            state: AtomicU128::new(terms.with(full, 0).word(0)),
            terms: [Terms::new(terms), Terms::new(terms)],
            start: now,
            hz,
            config: Mutex::new(*config),
        }
    }

    #[inline]
    fn ticks(&self, now: u64) -> u64 {
        now.saturating_sub(self.start)
    }

    #[inline]
    fn terms(&self, word: u128) -> Read {
        self.terms[(word & 1) as usize].read()
    }

    /// The colour of a packet, with its tokens taken.
    #[inline]
    pub(crate) fn take(&self, now: u64, bytes: u32, before: Colour) -> Colour {
        self.take_if(now, bytes, before, |_| true)
    }

    /// The same, but what would be green or yellow and is not admitted is red, and takes nothing.
    #[inline]
    pub(crate) fn take_if(
        &self,
        now: u64,
        bytes: u32,
        before: Colour,
        admit: impl Fn(Colour) -> bool,
    ) -> Colour {
        let mut word = self.state.load(Ordering::Acquire);
        loop {
            let terms = self.terms(word);
            let (tokens, settled) = terms.settle(State::of(word), self.ticks(now));
            let cost = terms.cost(bytes);
            let colour = terms.colour(tokens, cost, before);
            if colour == Colour::Red || !admit(colour) {
                return Colour::Red;
            }
            let next = terms.charge(settled, cost, colour).word(word & 1);
            if next == word {
                return colour; // unlimited
            }
            match self.state.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return colour,
                Err(newer) => word = newer,
            }
        }
    }

    /// Packets or bytes in the two buckets.
    pub(crate) fn tokens(&self, now: u64) -> (u64, u64) {
        let word = self.state.load(Ordering::Acquire);
        let terms = self.terms(word);
        let (tokens, _) = terms.settle(State::of(word), self.ticks(now));
        let whole =
            |scale: Scale, units: u64| if scale.unlimited() { u64::MAX } else { units >> terms.fraction };
        (whole(terms.first, tokens.first), whole(terms.second, tokens.second))
    }

    /// Packets or bytes that could pass before any is red, or before any is not green if `yellow` ones do not pass, and how many could at most;
    /// `None` when unlimited.
    pub(crate) fn fill(&self, now: u64, yellow: bool) -> Option<(u64, u64)> {
        let word = self.state.load(Ordering::Acquire);
        let terms = self.terms(word);
        let (tokens, _) = terms.settle(State::of(word), self.ticks(now));
        let bucket = |scale: Scale, units| (!scale.unlimited()).then_some((units, scale.depth));
        let (first, second) = (bucket(terms.first, tokens.first), bucket(terms.second, tokens.second));
        let (units, depth) = match (terms.kind, yellow) {
            (Kind::Rfc2698, true) => first.and(second)?,
            // What is green is taken of both.
            (Kind::Rfc2698, false) => match (first, second) {
                (Some(first), Some(second)) => (first.0.min(second.0), first.1.min(second.1)),
                (first, second) => first.or(second)?,
            },
            (_, false) => first?,
            (_, true) => (first?.0 + second?.0, first?.1 + second?.1),
        };
        Some((units >> terms.fraction, depth >> terms.fraction))
    }

    /// What it counts.
    pub(crate) fn bytes(&self) -> bool {
        self.terms(self.state.load(Ordering::Acquire)).bytes
    }

    /// What was asked for.
    pub(crate) fn config(&self) -> Config {
        *self.config.lock()
    }

    /// Other terms from now on; what was earned stays, up to the new bursts.
    ///
    /// The unit cannot change: a packet is not so many bytes.
    pub(crate) fn set(&self, config: &Config, now: u64, stays_full: bool) -> bool {
        let mut held = self.config.lock();
        let config = Config { unit: held.unit, ..*config };
        *held = config;
        let new = Read::of(&config, self.hz);
        let ticks = self.ticks(now);
        let word = self.state.load(Ordering::Acquire);
        // Only who holds the lock changes the set of terms that is in use.
        self.terms[(word & 1 ^ 1) as usize].write(new);
        let was_full = Cell::new(false);
        self.replace(word, |word| {
            let old = self.terms(word);
            let (tokens, _) = old.settle(State::of(word), ticks);
            let is_full = |units: u64, scale: Scale| scale.unlimited() || units >= scale.depth;
            let full = is_full(tokens.first, old.first) && is_full(tokens.second, old.second);
            was_full.set(full);
            let keep = |units: u64, old_scale: Scale, scale: Scale| {
                if old_scale.unlimited() || scale.unlimited() || (full && stays_full) {
                    return scale.depth;
                }
                convert(units, old.fraction, new.fraction).min(scale.depth)
            };
            let tokens = Tokens {
                first: keep(tokens.first, old.first, new.first),
                second: keep(tokens.second, old.second, new.second),
            };
            Some(new.with(tokens, ticks).word(word & 1 ^ 1))
        });
        was_full.get()
    }

    /// Drags full buckets along, so that they are never idle for as long as positions take to come around.
    pub(crate) fn refresh(&self, now: u64) {
        let _held = self.config.lock();
        let ticks = self.ticks(now);
        self.replace(self.state.load(Ordering::Acquire), |word| {
            let (_, settled) = self.terms(word).settle(State::of(word), ticks);
            let next = settled.word(word & 1);
            (next != word).then_some(next)
        });
    }

    /// Leaves at most so many tokens, as a meter that takes over from another one has to begin.
    pub(crate) fn lower(&self, first: u64, second: u64, now: u64) {
        let _held = self.config.lock();
        let ticks = self.ticks(now);
        self.replace(self.state.load(Ordering::Acquire), |word| {
            let terms = self.terms(word);
            let (tokens, _) = terms.settle(State::of(word), ticks);
            let left = Tokens {
                first: tokens.first.min(convert(first, 0, terms.fraction)),
                second: tokens.second.min(convert(second, 0, terms.fraction)),
            };
            Some(terms.with(left, ticks).word(word & 1))
        });
    }

    fn replace(&self, mut word: u128, next: impl Fn(u128) -> Option<u128>) {
        while let Some(new) = next(word) {
            match self.state.compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(newer) => word = newer,
            }
        }
    }
}

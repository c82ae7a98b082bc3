//! A token bucket in one atomic word: GCRA, shared by all workers without a lock.
//!
//! The word holds the position at which the bucket was empty (see [`scale`](super::scale)), and in its lowest bit
//! which of two sets of terms (rate, depth) it is to be read with. New terms are written into the set that nobody
//! uses; then one compare-and-swap brings in both the terms and the position that stands for the same tokens in
//! them. So a worker that read the old word with the old terms either came first, or has to look again: nothing
//! is lost and nothing is given twice, whatever interleaves.

use super::rate::{Limit, Rate, Unit};
use super::scale::{Scale, convert, fraction};
use super::sync::{AtomicU64, Mutex, Ordering};

/// One set of terms. Relaxed is enough: the word that names the set is released after it was written.
struct Terms {
    multiplier: AtomicU64,
    depth: AtomicU64,
    /// Bits 0–7 shift, 8–15 fraction, 16 whether bytes count.
    form: AtomicU64,
}

/// The same, as plain values.
#[derive(Clone, Copy)]
struct Read {
    scale: Scale,
    fraction: u32,
    bytes: bool,
}

impl Terms {
    fn new(read: Read) -> Terms {
        let terms =
            Terms { multiplier: AtomicU64::new(0), depth: AtomicU64::new(0), form: AtomicU64::new(0) };
        terms.write(read);
        terms
    }

    fn write(&self, read: Read) {
        let form = u64::from(read.scale.shift) | u64::from(read.fraction) << 8 | u64::from(read.bytes) << 16;
        self.multiplier.store(read.scale.multiplier, Ordering::Relaxed);
        self.depth.store(read.scale.depth, Ordering::Relaxed);
        self.form.store(form, Ordering::Relaxed);
    }

    #[inline]
    fn read(&self) -> Read {
        let form = self.form.load(Ordering::Relaxed);
        let scale = Scale {
            multiplier: self.multiplier.load(Ordering::Relaxed),
            shift: form as u32 & 63,
            depth: self.depth.load(Ordering::Relaxed),
        };
        Read { scale, fraction: (form >> 8) as u32 & 63, bytes: form >> 16 & 1 == 1 }
    }
}

impl Read {
    fn of(limit: Limit, unit: Unit, hz: u64) -> Read {
        let fraction = fraction(limit.rate, limit.burst);
        let scale = Scale::new(limit.rate, unit, limit.burst, fraction, hz);
        Read { scale, fraction, bytes: unit == Unit::Bits }
    }

    /// What a packet costs, in units.
    #[inline]
    fn cost(self, bytes: u32) -> u64 {
        (if self.bytes { u64::from(bytes) } else { 1 }) << self.fraction
    }
}

/// A token bucket; full when it is made.
#[repr(align(64))]
pub(crate) struct Bucket {
    /// Position × 2 + the set of terms.
    state: AtomicU64,
    terms: [Terms; 2],
    /// The clock when it was made.
    start: u64,
    hz: u64,
    unit: Unit,
    /// What was asked for; held while terms change, never by a worker.
    limit: Mutex<Limit>,
}

impl Bucket {
    /// A full bucket. `hz` ticks per second, `now` in ticks.
    pub(crate) fn new(limit: Limit, unit: Unit, hz: u64, now: u64) -> Bucket {
        let terms = Read::of(limit, unit, hz);
        let state = if terms.scale.unlimited() { 0 } else { Scale::back(0, terms.scale.depth) << 1 };
        Bucket {
            state: AtomicU64::new(state),
            terms: [Terms::new(terms), Terms::new(terms)],
            start: now,
            hz,
            unit,
            limit: Mutex::new(limit),
        }
    }

    /// Whether it lets everything pass.
    #[inline]
    pub(crate) fn is_unlimited(&self) -> bool {
        let state = self.state.load(Ordering::Acquire);
        self.terms[(state & 1) as usize].depth.load(Ordering::Relaxed) == u64::MAX
    }

    /// Takes what a packet of so many bytes costs, or nothing and says no.
    #[inline]
    pub(crate) fn take(&self, now: u64, bytes: u32) -> bool {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let terms = self.terms[(state & 1) as usize].read();
            if terms.scale.unlimited() {
                return true;
            }
            let here = terms.scale.position(now.saturating_sub(self.start));
            let earned = Scale::earned(state >> 1, here);
            let cost = terms.cost(bytes);
            if earned.min(terms.scale.depth) < cost {
                return false;
            }
            // What is earned beyond the depth is forgotten: the bucket was empty one depth ago at the earliest.
            let empty =
                if earned > terms.scale.depth { Scale::back(here, terms.scale.depth) } else { state >> 1 };
            let next = Scale::forward(empty, cost) << 1 | state & 1;
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(newer) => state = newer,
            }
        }
    }

    /// Takes one packet whether there is a token or not; what is owed grows to one burst at most.
    #[inline]
    pub(crate) fn charge(&self, now: u64) {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let terms = self.terms[(state & 1) as usize].read();
            if terms.scale.unlimited() {
                return;
            }
            let here = terms.scale.position(now.saturating_sub(self.start));
            let earned = Scale::earned(state >> 1, here);
            let empty =
                if earned > terms.scale.depth { Scale::back(here, terms.scale.depth) } else { state >> 1 };
            if Scale::earned(here, empty) > terms.scale.depth && earned == 0 {
                return;
            }
            let next = Scale::forward(empty, 1 << terms.fraction) << 1 | state & 1;
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(newer) => state = newer,
            }
        }
    }

    /// Packets or bytes that could be taken now; `u64::MAX` when the rate is unlimited.
    #[inline]
    pub(crate) fn tokens(&self, now: u64) -> u64 {
        let state = self.state.load(Ordering::Acquire);
        let terms = self.terms[(state & 1) as usize].read();
        if terms.scale.unlimited() {
            return u64::MAX;
        }
        self.units(state, terms, now) >> terms.fraction
    }

    /// The same beside the burst; `None` when the rate is unlimited.
    #[inline]
    pub(crate) fn fill(&self, now: u64) -> Option<(u64, u64)> {
        let state = self.state.load(Ordering::Acquire);
        let terms = self.terms[(state & 1) as usize].read();
        if terms.scale.unlimited() {
            return None;
        }
        Some((self.units(state, terms, now) >> terms.fraction, terms.scale.depth >> terms.fraction))
    }

    /// Units that could be taken now.
    #[inline]
    fn units(&self, state: u64, terms: Read, now: u64) -> u64 {
        let here = terms.scale.position(now.saturating_sub(self.start));
        Scale::earned(state >> 1, here).min(terms.scale.depth)
    }

    /// What was asked for.
    pub(crate) fn limit(&self) -> Limit {
        *self.limit.lock()
    }

    /// What it counts.
    pub(crate) fn unit(&self) -> Unit {
        self.unit
    }

    /// Other terms from now on; what was earned stays, up to the new burst, and with `stays_full` what is full is full again. Returns whether it
    /// was full.
    pub(crate) fn set(&self, limit: Limit, now: u64, stays_full: bool) -> bool {
        let mut held = self.limit.lock();
        *held = limit;
        let new = Read::of(limit, self.unit, self.hz);
        let ticks = now.saturating_sub(self.start);
        let mut state = self.state.load(Ordering::Acquire);
        // Only who holds the lock changes the set of terms that is in use.
        self.terms[(state & 1 ^ 1) as usize].write(new);
        loop {
            let old = self.terms[(state & 1) as usize].read();
            let units = self.units(state, old, now);
            let full = old.scale.unlimited() || units >= old.scale.depth;
            let tokens = if old.scale.unlimited() || (full && stays_full) {
                new.scale.depth
            } else {
                convert(units, old.fraction, new.fraction).min(new.scale.depth)
            };
            let position = if new.scale.unlimited() {
                state >> 1
            } else {
                Scale::back(new.scale.position(ticks), tokens)
            };
            let next = position << 1 | state & 1 ^ 1;
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return full,
                Err(newer) => state = newer,
            }
        }
    }

    /// Drags a full bucket along, so that it is never idle for as long as its positions take to come around.
    pub(crate) fn refresh(&self, now: u64) {
        let _held = self.limit.lock();
        let ticks = now.saturating_sub(self.start);
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let terms = self.terms[(state & 1) as usize].read();
            let here = terms.scale.position(ticks);
            if terms.scale.unlimited() || Scale::earned(state >> 1, here) <= terms.scale.depth {
                return;
            }
            let next = Scale::back(here, terms.scale.depth) << 1 | state & 1;
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(newer) => state = newer,
            }
        }
    }

    /// Leaves at most so many tokens, as a bucket that takes over from another one has to begin.
    pub(crate) fn lower(&self, tokens: u64, now: u64) {
        let _held = self.limit.lock();
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let terms = self.terms[(state & 1) as usize].read();
            let left = convert(tokens, 0, terms.fraction);
            if terms.scale.unlimited() || self.units(state, terms, now) <= left {
                return;
            }
            let here = terms.scale.position(now.saturating_sub(self.start));
            let next = Scale::back(here, left) << 1 | state & 1;
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(newer) => state = newer,
            }
        }
    }
}

impl Rate {
    /// Whether anything may pass at any time.
    pub const fn is_unlimited(self) -> bool {
        matches!(self, Rate::Unlimited)
    }
}

//! `--source-rate` and `--interface-rate`: what nobody may exceed, however much there is to spare.

use super::rate::Rate;
use super::sync::{AtomicU64, Ordering};

/// A rate that nobody may exceed, in ticks; 0 ticks = none.
pub(super) struct Ceiling {
    step: AtomicU64,
    /// Ticks that a burst takes to earn.
    depth: AtomicU64,
}

/// Added to all ticks, so that 0 (never seen) is long ago even at the clock's beginning.
const ORIGIN: u64 = 1 << 62;

impl Ceiling {
    pub fn none() -> Ceiling {
        Ceiling { step: AtomicU64::new(0), depth: AtomicU64::new(0) }
    }

    /// What comes at once is four tenths of a second's worth, but never less than 16 packets.
    pub fn set(&self, rate: Rate, hz: u64) {
        let step = match rate {
            Rate::Unlimited => 0,
            Rate::PerSecond(0) => u64::MAX >> 8,
            Rate::PerSecond(rate) => (hz / rate).max(1),
        };
        let burst = if step == u64::MAX >> 8 { 0 } else { step.saturating_mul(16).max(hz / 5 * 2) };
        self.depth.store(burst, Ordering::Relaxed);
        self.step.store(step, Ordering::Relaxed);
    }

    /// When whoever was empty at `empty` is empty after one more packet; `None` when that has to wait.
    #[inline]
    pub fn next(&self, empty: u64, now: u64) -> Option<u64> {
        let step = self.step.load(Ordering::Relaxed);
        if step == 0 {
            return Some(empty);
        }
        let now = now.saturating_add(ORIGIN);
        let next = empty.max(now - self.depth.load(Ordering::Relaxed).min(now)) + step;
        (next <= now).then_some(next)
    }

    /// Whether there is one.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.step.load(Ordering::Relaxed) != 0
    }
}

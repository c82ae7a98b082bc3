//! What an interface is sure to have of tokens that it shares with others: an equal part, whatever the others do.
//!
//! Half of the tokens are kept for those who are within their part. A part is earned by the clock, at the rate of all divided by how
//! many there are, and up to what their half holds; so all parts together are never more than the half, and who is within its own
//! finds a token there. What is taken while there are more tokens than that half is taken of no part.

use super::sync::{AtomicU64, Ordering};

/// The part of one interface at one moment, in ticks of the clock.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// For so long nothing was taken of it, at most what can be saved.
    unused: u64,
    /// How long one packet's worth takes to earn; 0 where there are no parts.
    step: u64,
    /// What of it is kept from a source that had more than others of the interface.
    kept: u64,
    /// There are others; else it is written down how much is used, and nothing is kept for anybody.
    shared: bool,
}

/// Of how many tokens, earned how fast, a part is one.
#[derive(Clone, Copy)]
pub(super) struct Whole {
    /// How long a packet's worth takes to earn, in 2^-16 ticks; 0 = nothing is sure to be earned.
    pub step: u64,
    /// Packets that the half holds that is kept for parts.
    pub half: u64,
    /// How many share it.
    pub of: u64,
    /// Other sources that the interface may have.
    pub sources: u64,
}

/// A part that is this small can save as many packets nevertheless.
const LEAST: u64 = 4;

impl Part {
    /// Of nothing.
    pub const NONE: Part = Part { unused: 0, step: 0, kept: 0, shared: false };

    /// The part that was used up to `used`.
    #[inline]
    pub fn new(whole: Whole, used: &AtomicU64, now: u64) -> Part {
        if whole.step == 0 {
            return Part::NONE;
        }
        // One in seventeen is nobody's: the half fills again when all take what they may, and what is beyond it goes to all alike.
        let step = (whole.step + whole.step / 16).saturating_mul(whole.of) >> 16;
        let step = step.max(1);
        let span = (whole.step.saturating_mul(whole.half) >> 16).max(step.saturating_mul(LEAST));
        let unused = now.saturating_sub(used.load(Ordering::Relaxed)).min(span);
        let kept = (span / 8 * 3).min(step.saturating_mul(whole.sources));
        Part { unused, step, kept, shared: whole.of > 1 }
    }

    /// Whether it holds a packet for a source that lacks so much of so much credit.
    #[inline]
    pub fn holds(&self, lack: u64, credit: u64) -> bool {
        self.shared && self.unused >= self.step + self.kept / credit * lack
    }

    /// So many packets' worth of it is used, given in 2^-8 packets.
    #[inline]
    pub fn take(&self, used: &AtomicU64, now: u64, packets: u64) {
        if self.step > 0 {
            let cost = self.step.saturating_mul(packets) >> 8;
            used.store(now - self.unused.min(now).saturating_sub(cost), Ordering::Relaxed);
        }
    }
}

//! How many sources were active lately, in one atomic word.

use super::sync::{AtomicU64, Ordering};

/// Counts what happens in this epoch and remembers the one before.
///
/// Bits 0–19 count this epoch, 20–39 the one before, 40 and 41 say whether tokens were short in this one and in the one
/// before, 48–63 are the epoch.
pub(crate) struct Activity(AtomicU64);

const COUNT: u64 = (1 << 20) - 1;
const SHORT: u64 = 1 << 40;
const SHORT_BEFORE: u64 = 1 << 41;

impl Activity {
    pub(crate) fn new() -> Activity {
        Activity(AtomicU64::new(0))
    }

    /// How many there are, and whether tokens are short.
    #[inline]
    pub(crate) fn count(&self, epoch: u16) -> (u64, bool) {
        let word = at(self.0.load(Ordering::Relaxed), epoch);
        ((word & COUNT).max(word >> 20 & COUNT), word & (SHORT | SHORT_BEFORE) != 0)
    }

    /// One more in this epoch.
    pub(crate) fn add(&self, epoch: u16) {
        self.change(epoch, |word| if word & COUNT == COUNT { word } else { word + 1 });
    }

    /// Tokens are short in this epoch.
    #[inline]
    pub(crate) fn mark_short(&self, epoch: u16) {
        let word = self.0.load(Ordering::Relaxed);
        if word >> 48 != u64::from(epoch) || word & SHORT == 0 {
            self.change(epoch, |word| word | SHORT);
        }
    }

    /// When there was something last.
    pub(crate) fn latest(&self) -> u64 {
        self.0.load(Ordering::Relaxed) >> 48
    }

    /// Nobody was here.
    pub(crate) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn change(&self, epoch: u16, edit: impl Fn(u64) -> u64) {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let next = edit(at(word, epoch));
            match self.0.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(newer) => word = newer,
            }
        }
    }
}

/// The word as it reads in that epoch. A worker whose clock is a little older counts in the newer epoch.
#[inline]
fn at(word: u64, epoch: u16) -> u64 {
    let passed = epoch.wrapping_sub((word >> 48) as u16);
    let before = || (word & COUNT) << 20 | (word & SHORT) << 1;
    match passed {
        0 | 0xffff => word,
        1 => u64::from(epoch) << 48 | before(),
        _ => u64::from(epoch) << 48,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_remembered_for_one_more() {
        let activity = Activity::new();
        (0..5).for_each(|_| activity.add(7));
        activity.mark_short(7);
        assert_eq!(activity.count(7), (5, true));
        assert_eq!(activity.count(8), (5, true));
        activity.add(8);
        assert_eq!(activity.count(8), (5, true));
        assert_eq!(activity.count(7), (5, true), "an older clock");
        assert_eq!(activity.count(9), (1, false));
        assert_eq!(activity.count(10), (0, false));
        assert_eq!(activity.latest(), 8);
    }
}

//! How many sources were active lately, in one atomic word.

use super::sync::{AtomicU64, Ordering};

/// Counts what happens in this epoch and remembers the one before.
///
/// Bits 0–15 count this epoch, 16–31 the one before, 32 and 33 say whether tokens were short in this one and in the one
/// before, 34–63 are the epoch: at a second each they come around after 34 years.
pub(crate) struct Activity(AtomicU64);

const COUNT: u64 = (1 << 16) - 1;
const SHORT: u64 = 1 << 32;
const SHORT_BEFORE: u64 = 1 << 33;
/// Where the epoch begins, and how many bits of it there are.
const EPOCH: u32 = 34;
pub(crate) const EPOCHS: u32 = (1 << (64 - EPOCH)) - 1;

impl Activity {
    pub(crate) fn new() -> Activity {
        Activity(AtomicU64::new(0))
    }

    /// How many there are, and whether tokens are short.
    #[inline]
    pub(crate) fn count(&self, epoch: u32) -> (u64, bool) {
        let word = at(self.0.load(Ordering::Relaxed), epoch);
        ((word & COUNT).max(word >> 16 & COUNT), word & (SHORT | SHORT_BEFORE) != 0)
    }

    /// One more in this epoch.
    pub(crate) fn add(&self, epoch: u32) {
        self.change(epoch, |word| if word & COUNT == COUNT { word } else { word + 1 });
    }

    /// One more in this epoch, if `wanted` says that it was not there yet.
    #[inline]
    pub(crate) fn add_once(&self, wanted: &AtomicU64, epoch: u32) {
        let now = u64::from(epoch) + 1;
        if wanted.load(Ordering::Relaxed) < now && wanted.fetch_max(now, Ordering::Relaxed) < now {
            self.add(epoch);
        }
    }

    /// Tokens are short in this epoch.
    #[inline]
    pub(crate) fn mark_short(&self, epoch: u32) {
        let word = self.0.load(Ordering::Relaxed);
        if word >> EPOCH != u64::from(epoch) || word & SHORT == 0 {
            self.change(epoch, |word| word | SHORT);
        }
    }

    /// Nobody was here.
    pub(crate) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn change(&self, epoch: u32, edit: impl Fn(u64) -> u64) {
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
fn at(word: u64, epoch: u32) -> u64 {
    let passed = epoch.wrapping_sub((word >> EPOCH) as u32) & EPOCHS;
    let before = || (word & COUNT) << 16 | (word & SHORT) << 1;
    match passed {
        0 | EPOCHS => word,
        1 => u64::from(epoch) << EPOCH | before(),
        _ => u64::from(epoch) << EPOCH,
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
    }

    #[test]
    fn what_was_there_hours_ago_is_not_there_now() {
        let activity = Activity::new();
        (0..5).for_each(|_| activity.add(7));
        for hours in [9, 18, 19, 1_000, 100_000] {
            assert_eq!(activity.count(7 + hours * 3_600), (0, false), "{hours} hours");
        }
        assert_eq!(activity.count(7 + (1 << 16)), (0, false));
    }

    #[test]
    fn who_wants_something_counts_once_an_epoch() {
        let (activity, wanted) = (Activity::new(), AtomicU64::new(0));
        for epoch in [7, 7, 8, 7, 8] {
            activity.add_once(&wanted, epoch);
        }
        assert_eq!((activity.count(7), activity.count(8)), ((1, false), (1, false)));
    }
}

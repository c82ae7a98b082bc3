//! The clock: from a worker's ticks to nanoseconds since 1970.
//!
//! Workers read the processor's time stamp counter once a burst. How long a tick is is measured at start; where the ticks stand against the
//! time of day is renewed each second, so that what a record says stays within microseconds of `CLOCK_REALTIME`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often [`Clock::renew`] is to be called.
pub const RENEWAL: Duration = Duration::from_secs(1);

/// Looks at the two clocks at each renewal.
const LOOKS: usize = 8;

/// Turns ticks into the time of day.
pub struct Clock {
    hz: u64,
    start: u64,
    /// Nanoseconds of a tick, times 2³².
    scale: u64,
    /// Nanoseconds from 1970 to `start`.
    offset: AtomicU64,
}

impl Clock {
    /// A clock of `hz` ticks a second which stands at `now`.
    ///
    /// # Panics
    /// If `hz` is 0.
    pub fn new(hz: u64, now: u64) -> Clock {
        let scale = ((1_000_000_000u128 << 32) / hz as u128) as u64;
        let clock = Clock { hz, start: now, scale, offset: AtomicU64::new(0) };
        clock.renew(|| now);
        clock
    }

    /// Ticks in a second.
    pub fn hz(&self) -> u64 {
        self.hz
    }

    /// Looks where the ticks, which `now` tells, stand at this moment of the day. Of some looks the quickest counts: whoever is held up between
    /// the two clocks would be off by that until the next time.
    pub fn renew(&self, now: impl Fn() -> u64) {
        let look = |_| {
            let before = now();
            let since_1970 =
                SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
            let took = now().wrapping_sub(before);
            (took, since_1970.wrapping_sub(self.since_start(before.wrapping_add(took / 2))))
        };
        if let Some((_, offset)) = (0..LOOKS).map(look).min() {
            self.offset.store(offset, Ordering::Relaxed);
        }
    }

    /// Nanoseconds since 1970 when the ticks stood at `then`.
    #[inline(always)]
    pub fn nanoseconds(&self, then: u64) -> u64 {
        self.offset.load(Ordering::Relaxed).wrapping_add(self.since_start(then))
    }

    #[inline(always)]
    fn since_start(&self, now: u64) -> u64 {
        ((now.wrapping_sub(self.start) as u128 * self.scale as u128) >> 32) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_the_time_of_day() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let clock = Clock::new(2_500_000_000, 1 << 40);
        let start = clock.nanoseconds(1 << 40);
        assert!((before..before + 1_000_000_000).contains(&start));
        assert_eq!(clock.nanoseconds((1 << 40) + 2_500_000_000), start + 999_999_999);
        let held_up = std::cell::Cell::new(0);
        clock.renew(|| {
            // Between the first two looks at the ticks a second passes, between others none.
            held_up.set(held_up.get() + 1);
            (1 << 40) + if held_up.get() == 1 { 0 } else { 2_500_000_000 }
        });
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        assert!(now.abs_diff(clock.nanoseconds((1 << 40) + 2_500_000_000)) < 400_000_000);
        clock.renew(|| 1 << 40);
        let start = clock.nanoseconds(1 << 40);
        let year = 365 * 86_400;
        let later = clock.nanoseconds((1 << 40) + year * 2_500_000_000) - start;
        assert!(later.abs_diff(year * 1_000_000_000) < 20_000_000, "without renewal: {later}");
    }
}

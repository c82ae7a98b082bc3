//! Where sources are written down: sets of four seats, each set a cache line.

use super::sync::{AtomicU64, Ordering};

/// How many packets a source may lag behind the busiest one of its interface.
pub(super) const SOURCE_CREDIT: u64 = 16;
/// What a source that is not in the table has.
pub(super) const NEW_SOURCE: u64 = SOURCE_CREDIT / 4;
/// Sources of one set; they fill one cache line.
pub(super) const WAYS: usize = 4;

/// Four sources that share a cache line.
#[repr(align(64))]
pub(super) struct Set {
    /// Bits 40–63 who (0: nobody), 32–39 in which epoch last, 0–31 where it stands.
    pub seats: [AtomicU64; WAYS],
    /// When it was empty, in ticks, where the reason has a `--source-rate`.
    pub empty: [AtomicU64; WAYS],
}

/// A source that was looked for.
pub(super) struct Seat<'a> {
    pub set: &'a Set,
    /// Where it was found.
    pub way: Option<usize>,
    /// What was found there.
    pub word: u64,
}

impl Seat<'_> {
    /// How far it lags behind the clock of its interface.
    #[inline]
    pub fn credit(&self, clock: u64) -> u64 {
        let lag = (clock as u32).wrapping_sub(self.word as u32);
        match lag {
            _ if self.way.is_none() => NEW_SOURCE,
            0..=0x7fff_ffff => u64::from(lag).min(SOURCE_CREDIT),
            _ => 0,
        }
    }

    /// The seat that a newcomer may take, and what is there: a free one, or that of whoever came last longest ago.
    pub fn oldest(&self, epoch: u8) -> (usize, u64) {
        let age = |word: u64| if word == 0 { 256 } else { u64::from(epoch.wrapping_sub((word >> 32) as u8)) };
        let seat = |way: usize| (way, self.set.seats[way].load(Ordering::Relaxed));
        (1..WAYS).map(seat).fold(seat(0), |a, b| if age(b.1) > age(a.1) { b } else { a })
    }
}

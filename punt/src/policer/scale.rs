//! From clock ticks to tokens: the arithmetic that every bucket shares.
//!
//! A bucket does not store how many tokens it has, but *where it was empty*: a position on the line of all tokens
//! ever earned. With `position(now)` = ticks × rate, the tokens are the distance between the two, at most the burst.
//! Positions are computed from the ticks since the start, not by adding up, so that no rounding ever accumulates.
//!
//! Positions are counted in units, 2^fraction to the token, modulo 2^63. At 2^36 units per second that comes around
//! after four years, and it may: a distance is taken modulo 2^63 too. Of that range the last 1/128 stands for "ahead
//! of this worker's clock", for a worker with a newer clock may have been here before; so a bucket may be idle
//! for 0.99 of the range, and whoever drags it forward once a day never needs to think of it.

use super::rate::{Rate, Unit};

/// Positions are modulo 2^63; the bit that is left says which terms apply.
const MASK: u64 = (1 << 63) - 1;
/// So many units ahead of a worker's clock a position may be: 1/128 of the range.
const AHEAD: u64 = 1 << 56;
/// The greatest depth of a bucket in units.
const DEPTH_BITS: u32 = 55;
/// Positions advance by at most 2^36 units per second where the rate allows it.
const SPEED_BITS: u32 = 36;
/// A token has at most 2^30 units, so that the cost of 4 GiB fits.
const FRACTION_BITS: u32 = 30;

/// How fast tokens come, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    /// Units per tick × 2^shift.
    pub(crate) multiplier: u64,
    /// 0..=63.
    pub(crate) shift: u32,
    /// The burst in units; `u64::MAX` when the rate is unlimited.
    pub(crate) depth: u64,
}

/// How many bits of a token's fraction can be kept at this rate and this burst.
pub(crate) fn fraction(rate: Rate, burst: u64) -> u32 {
    let Rate::PerSecond(rate) = rate else { return FRACTION_BITS };
    let bits = |value: u64| u64::BITS - value.leading_zeros();
    FRACTION_BITS.min(SPEED_BITS.saturating_sub(bits(rate))).min(DEPTH_BITS.saturating_sub(bits(burst)))
}

impl Scale {
    /// `rate` in `unit` per second, `burst` tokens deep, 2^`fraction` units to the token, `hz` ticks per second.
    pub(crate) fn new(rate: Rate, unit: Unit, burst: u64, fraction: u32, hz: u64) -> Scale {
        let Rate::PerSecond(rate) = rate else {
            return Scale { multiplier: 0, shift: 0, depth: u64::MAX };
        };
        let tokens = match unit {
            Unit::Packets => u128::from(hz.max(1)),
            Unit::Bits => u128::from(hz.max(1)) * 8, // tokens are bytes
        };
        // What passes nothing has nothing to start with either.
        let burst = if rate == 0 { 0 } else { burst.min(1 << (DEPTH_BITS - fraction)) };
        let mut shift = 63;
        let multiplier = loop {
            // Rounded up, by 2^-50 or less, so that after a second the rate is there, and not one unit short of it.
            let multiplier = (u128::from(rate) << fraction << shift).div_ceil(tokens);
            match u64::try_from(multiplier) {
                Ok(multiplier) => break multiplier,
                Err(_) if shift == 0 => break u64::MAX,
                Err(_) => shift -= 1,
            }
        };
        Scale { multiplier, shift, depth: burst << fraction }
    }

    /// Whether the rate is unlimited.
    pub(crate) const fn unlimited(self) -> bool {
        self.depth == u64::MAX
    }

    /// Where the line of tokens stands `ticks` after the start.
    #[inline]
    pub(crate) const fn position(self, ticks: u64) -> u64 {
        ((ticks as u128 * self.multiplier as u128) >> (self.shift & 63)) as u64 & MASK
    }

    /// Units earned between `empty` and `here`, however many; 0 when `empty` lies ahead of this worker's clock.
    #[inline]
    pub(crate) const fn earned(empty: u64, here: u64) -> u64 {
        let distance = here.wrapping_sub(empty) & MASK;
        if distance > MASK - AHEAD { 0 } else { distance }
    }

    /// `position` advanced by so many units.
    #[inline]
    pub(crate) const fn forward(position: u64, units: u64) -> u64 {
        position.wrapping_add(units) & MASK
    }

    /// `position` taken back by so many units.
    #[inline]
    pub(crate) const fn back(position: u64, units: u64) -> u64 {
        position.wrapping_sub(units) & MASK
    }
}

/// Units of one fraction in units of another; what cannot be expressed is not earned.
pub(crate) fn convert(units: u64, from: u32, to: u32) -> u64 {
    if to >= from {
        u64::try_from(u128::from(units) << (to - from)).unwrap_or(u64::MAX)
    } else {
        units >> (from - to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_earns_the_rate_at_every_rate_and_clock() {
        for hz in [1_000, 1_000_000, 1_000_000_000, 2_600_000_000, 5_000_000_003, 10_000_000_000] {
            for rate in [1, 3, 10, 999, 1_000, 600_000, 14_880_952, 1_000_000_000] {
                let per = Rate::PerSecond(rate);
                let bits = fraction(per, 1_000);
                let scale = Scale::new(per, Unit::Packets, 1_000, bits, hz);
                for seconds in [1_u64, 10, 86_400] {
                    let exact = (u128::from(rate * seconds) << bits) as u64 & MASK;
                    let is = scale.position(hz * seconds);
                    assert!(
                        is.wrapping_sub(exact) & MASK <= 1,
                        "{rate} pps at {hz} Hz: {is} after {seconds} s, not {exact}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_range_is_years_up_to_68_gigabytes_per_second() {
        for rate in [1, 1_000, 1_000_000_000, 1 << 36] {
            let bits = fraction(Rate::PerSecond(rate), 1_000);
            let seconds = (MASK >> bits) / rate;
            assert!(seconds > 4 * 365 * 86_400, "{rate}: {seconds} s");
        }
    }

    #[test]
    fn what_is_idle_for_most_of_the_range_is_in_the_past() {
        let range = u128::from(MASK) + 1;
        for hundredths in [1, 49, 51, 99] {
            let idle = (range * hundredths / 100) as u64;
            for start in [0, 1, MASK / 2, MASK - 5, MASK] {
                assert_eq!(Scale::earned(start, Scale::forward(start, idle)), idle);
            }
        }
        assert_eq!(Scale::earned(5, 3), 0, "another worker's clock is newer");
        assert_eq!(Scale::earned(3, MASK), 0, "the same across the wrap");
    }
}

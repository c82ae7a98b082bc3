//! Every policer beside an exact oracle: token buckets as the RFCs write them, in exact arithmetic.
//!
//! Arrivals, lengths, colours, workers with older clocks and changes of the figures are random. The oracle counts in
//! 2^-33 of what a tick earns at one per second, so it never rounds. The policer may differ from it by the last bits of a token
//! and no more; where these decide, both answers are right, and the oracle goes on with the policer's.

use proptest::prelude::*;

use super::*;

/// Bits of a tick's worth: 3 for bits to bytes, 30 for the finest fraction of a token.
const BITS: u32 = 33;

/// The two buckets, as of `last`.
struct Oracle {
    config: Config,
    hz: u64,
    first: i128,
    second: i128,
    last: u64,
    /// What roundings may have cost so far, in the same measure as the tokens.
    slack: i128,
}

impl Oracle {
    fn new(config: Config, hz: u64, now: u64) -> Oracle {
        let mut oracle = Oracle { config, hz, first: 0, second: 0, last: now, slack: 0 };
        (oracle.first, oracle.second) = oracle.depths();
        oracle.slack = oracle.rounding();
        oracle
    }

    /// One packet or byte.
    fn token(&self) -> i128 {
        i128::from(self.hz) << BITS
    }

    fn depths(&self) -> (i128, i128) {
        (i128::from(self.config.burst) * self.token(), i128::from(self.config.second().1) * self.token())
    }

    /// What a second tick may be wrong by: two units of the coarser bucket.
    fn rounding(&self) -> i128 {
        let (peak, excess) = self.config.second();
        let fraction = match self.config.kind {
            Kind::Single => scale::fraction(self.config.rate, self.config.burst),
            _ => scale::fraction(self.config.rate, self.config.burst).min(scale::fraction(peak, excess)),
        };
        (self.token() >> fraction) * 2
    }

    /// What so many ticks earn at a rate.
    fn earn(&self, rate: Rate, ticks: u64) -> i128 {
        let Rate::PerSecond(rate) = rate else { panic!("not here") };
        let bits = if self.config.unit == Unit::Bits { BITS - 3 } else { BITS };
        (i128::from(ticks) * i128::from(rate)) << bits
    }

    /// The tokens that a worker sees whose clock says `now`.
    fn tokens(&self, now: u64) -> (i128, i128) {
        let (rate, (peak, _)) = (self.config.rate, self.config.second());
        if now < self.last {
            let ago = self.last - now;
            let first = (self.first - self.earn(rate, ago)).max(0);
            let second = match self.config.kind {
                Kind::Rfc2697 => self.second,
                _ => (self.second - self.earn(peak, ago)).max(0),
            };
            return (first, second);
        }
        let (ticks, (depth, excess)) = (now - self.last, self.depths());
        let first = self.first + self.earn(rate, ticks);
        let second = match self.config.kind {
            // "If Tc is less than CBS, Tc is incremented by one, else if Te is less than EBS, Te is"
            Kind::Rfc2697 => self.second + (first - depth).max(0),
            _ => self.second + self.earn(peak, ticks),
        };
        (first.min(depth), second.min(excess))
    }

    fn cost(&self, bytes: u32) -> i128 {
        self.token() * if self.config.unit == Unit::Bits { i128::from(bytes) } else { 1 }
    }

    /// The colour, in the words of the RFCs.
    fn judge(&self, (c, e): (i128, i128), b: i128, before: Colour) -> Colour {
        use Colour::{Green, Red, Yellow};
        match self.config.kind {
            Kind::Single => {
                if before != Red && c - b >= 0 {
                    before
                } else {
                    Red
                }
            }
            Kind::Rfc2697 | Kind::Rfc4115 => {
                if before == Green && c - b >= 0 {
                    Green
                } else if before != Red && e - b >= 0 {
                    Yellow
                } else {
                    Red
                }
            }
            Kind::Rfc2698 => {
                if before == Red || e - b < 0 {
                    Red
                } else if before == Yellow || c - b < 0 {
                    Yellow
                } else {
                    Green
                }
            }
        }
    }

    /// Whether the policer's colour is right; goes on with it.
    fn agrees(&mut self, now: u64, bytes: u32, before: Colour, said: Colour) -> bool {
        let ((first, second), cost) = (self.tokens(now), self.cost(bytes));
        // The policer's rate is above the configured one by 2^-50 at the most.
        let slack = self.slack + (self.earn(self.config.second().0, now) >> 50);
        let right = [-slack, slack].into_iter().any(|a| {
            [-slack, slack].into_iter().any(|b| self.judge((first + a, second + b), cost, before) == said)
        });
        if said == Colour::Red {
            return right;
        }
        if now >= self.last {
            (self.first, self.second, self.last) = (first, second, now);
        }
        let single = self.config.kind == Kind::Single;
        if said == Colour::Green || single {
            self.first -= cost;
        }
        if said == Colour::Yellow && !single || self.config.kind == Kind::Rfc2698 {
            self.second -= cost;
        }
        right
    }

    /// Whether both buckets are full: `None` where roundings decide.
    fn is_full(&self, now: u64) -> Option<bool> {
        let ((first, second), (depth, excess)) = (self.tokens(now), self.depths());
        let slack = self.slack + (self.earn(self.config.second().0, now) >> 50);
        let two = self.config.kind != Kind::Single;
        let lack = (depth - first).max(if two { excess - second } else { 0 });
        (lack == 0 || lack > slack).then_some(lack == 0)
    }

    /// Other figures; `full` says that what was full stays so.
    fn set(&mut self, config: Config, now: u64, full: bool) {
        let (first, second) = if full { (i128::MAX, i128::MAX) } else { self.tokens(now) };
        self.config = config;
        let (depth, excess) = self.depths();
        (self.first, self.second, self.last) = (first.min(depth), second.min(excess), now);
        self.slack += self.rounding();
    }
}

/// From 1 to 2^bits, all magnitudes alike.
fn magnitude(bits: u32) -> impl Strategy<Value = u64> {
    (0..bits, any::<u64>()).prop_map(|(bits, any)| (1 << bits) | any & ((1 << bits) - 1))
}

/// Rates up to 10^9, bursts up to a million, and such as hold nothing or one.
fn figures() -> impl Strategy<Value = (u64, u64, u64, u64)> {
    let burst = || prop_oneof![6 => magnitude(20), 1 => Just(0), 1 => Just(1)];
    (magnitude(30), burst(), magnitude(30), burst()).prop_map(|(rate, burst, peak, excess)| {
        (rate.min(1_000_000_000), burst, peak.min(1_000_000_000), excess)
    })
}

fn config(kind: Kind, unit: Unit, (rate, burst, peak, excess): (u64, u64, u64, u64)) -> Config {
    let two = kind != Kind::Single;
    let peak = if kind == Kind::Rfc2698 { peak.max(rate) } else { peak };
    Config {
        kind,
        unit,
        peak: (two && kind != Kind::Rfc2697).then_some(Rate::PerSecond(peak)),
        excess: two.then_some(excess),
        ..Config::packets(Rate::PerSecond(rate), burst)
    }
}

#[derive(Clone, Debug)]
enum Event {
    /// A packet so many packet times (in 1/256) after the last, seen by a worker whose clock is older by so much.
    Packet { gap: u64, late: u64, bytes: u32, before: Colour },
    /// Other figures.
    Set((u64, u64, u64, u64)),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let colour = prop_oneof![8 => Just(Colour::Green), 2 => Just(Colour::Yellow), 1 => Just(Colour::Red)];
    let packet = (magnitude(16), prop_oneof![4 => Just(0), 1 => magnitude(12)], 1..9_000_u32, colour)
        .prop_map(|(gap, late, bytes, before)| Event::Packet { gap: gap - 1, late, bytes, before });
    prop::collection::vec(prop_oneof![40 => packet, 1 => figures().prop_map(Event::Set)], 1..300)
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Single, Kind::Rfc2697, Kind::Rfc2698, Kind::Rfc4115])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_policer_agrees_with_the_oracle(
        kind in kinds(),
        unit in prop::sample::select(vec![Unit::Packets, Unit::Bits]),
        hz in prop::sample::select(vec![1_000_000_u64, 1_000_000_000, 2_599_999_999, 4_000_000_007]),
        first in figures(),
        start in prop::sample::select(vec![0, 1 << 40, u64::MAX - (1 << 62)]),
        events in events(),
    ) {
        let mut policy = config(kind, unit, first);
        let policer = Policer::new(&policy, hz, start);
        let mut oracle = Oracle::new(policy, hz, 0);
        let mut ticks = 0_u64;
        for event in events {
            match event {
                Event::Packet { gap, late, bytes, before } => {
                    let Rate::PerSecond(rate) = policy.rate else { unreachable!() };
                    let per = match unit {
                        Unit::Packets => u128::from(hz),
                        Unit::Bits => u128::from(hz) * 8 * 500,
                    };
                    let time = |parts: u64| (per * u128::from(parts) / u128::from(rate) / 256) as u64;
                    ticks += time(gap).min(hz * 3_600);
                    let now = ticks.saturating_sub(time(late).min(hz / 100));
                    let said = policer.colour(start + now, bytes, before);
                    prop_assert!(
                        oracle.agrees(now, bytes, before, said),
                        "{said:?} at {now} for {bytes} bytes, {before:?} before; the oracle has {:?} of {}",
                        oracle.tokens(now),
                        oracle.token(),
                    );
                }
                Event::Set(figures) => {
                    policy = config(kind, unit, figures);
                    let full = oracle.is_full(ticks).unwrap_or_else(|| policer.is_full(start + ticks));
                    prop_assert_eq!(policer.is_full(start + ticks), full);
                    prop_assert!(policer.configure(&policy, start + ticks));
                    // Whether it may be is a matter of what changed before.
                    oracle.set(policy, ticks, full && policer.is_full(start + ticks));
                }
            }
        }
    }

    #[test]
    fn no_packet_larger_than_the_burst_ever_passes(
        burst in 1..9_000_u64, more in 1..100_000_u32, rate in magnitude(40), ticks in 0..1_u64 << 55, // half a year
    ) {
        let policy = config(Kind::Single, Unit::Bits, (rate, burst, 1, 1));
        let policer = Policer::new(&policy, 2_600_000_000, 0);
        prop_assert_eq!(policer.take(ticks, burst as u32 + more), Verdict::Drop);
        prop_assert_eq!(policer.take(ticks, burst as u32), Verdict::Pass);
        prop_assert_eq!(policer.take(ticks, u32::MAX), Verdict::Drop);
    }
}

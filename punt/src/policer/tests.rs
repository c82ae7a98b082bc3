//! Policers beside exact oracles, and what operators see of them.

use super::*;

const HZ: u64 = 2_600_000_000;

fn passes(policer: &Policer, now: u64, offered: u32) -> u32 {
    (0..offered).filter(|_| policer.take(now, 60) == Verdict::Pass).count() as u32
}

#[test]
fn a_thousand_a_second_is_a_thousand_a_second() {
    let policer = Policer::packets(Limit::new(1_000, 100), HZ, 5);
    assert_eq!(passes(&policer, 5, 200), 100, "the burst");
    let mut passed = 0;
    for step in 1..=1_000_000_u64 {
        passed += passes(&policer, 5 + step * (HZ / 100_000), 1);
    }
    assert_eq!(passed, 10_000);
}

#[test]
fn unlimited_passes_all_and_zero_passes_none() {
    let all = Policer::packets(Limit::UNLIMITED, HZ, 0);
    assert_eq!(passes(&all, 0, 10_000), 10_000);
    let none = Policer::packets(Limit::new(0, 100), HZ, 0);
    assert_eq!(passes(&none, HZ * 100, 10), 0);
}

#[test]
fn another_rate_keeps_what_was_earned() {
    let policer = Policer::packets(Limit::new(10, 100), HZ, 0);
    assert_eq!(passes(&policer, 0, 40), 40);
    policer.set(Limit::new(1_000_000, 1_000), HZ / 2);
    assert_eq!(policer.tokens(HZ / 2), 65);
    policer.set(Limit::new(1, 50), HZ / 2);
    assert_eq!(passes(&policer, HZ / 2, 100), 50);
    policer.set(Limit::UNLIMITED, HZ);
    assert_eq!(passes(&policer, HZ, 1_000), 1_000);
    policer.set(Limit::new(7, 7), HZ);
    assert_eq!((passes(&policer, HZ, 100), policer.limit()), (7, Limit::new(7, 7)));
}

#[test]
fn what_is_full_stays_full_with_a_larger_burst_but_not_again_and_again() {
    let policer = Policer::packets(Limit::new(10, 10), HZ, 0);
    policer.set(Limit::new(10, 150), HZ * 2);
    assert_eq!(passes(&policer, HZ * 2, 300), 150);
    for second in 3..=16 {
        policer.set(Limit::new(10, 10), HZ * second);
        policer.set(Limit::new(10, 150), HZ * second);
        assert_eq!(passes(&policer, HZ * second, 300), 10, "what a second earns, in second {second}");
    }
    // One that is not full keeps what it has, and lowering it takes no more than it has to.
    let policer = Policer::packets(Limit::new(10, 150), HZ, 0);
    assert_eq!(passes(&policer, 0, 90), 90);
    policer.set(Limit::new(10, 200), 0);
    assert_eq!(policer.tokens(0), 60);
    policer.set(Limit::new(10, 10), 0);
    policer.set(Limit::new(10, 150), 0);
    assert_eq!(policer.tokens(0), 10);
}

#[test]
fn another_type_or_unit_gives_nothing_that_was_not_earned() {
    let single = Config::packets(Rate::PerSecond(1_000), 400);
    let two = Config { kind: Kind::Rfc2697, excess: Some(400), ..single };
    let bytes = Config { unit: Unit::Bits, ..Config::packets(Rate::PerSecond(480_000), 24_000) };
    for other in [two, bytes, Config { kind: Kind::Rfc4115, peak: Some(Rate::PerSecond(1)), ..two }] {
        let mut policer = Policer::new(&single, HZ, 0);
        let mut passed = 0;
        for tenth in 0..100_u64 {
            passed += passes(&policer, HZ / 10 * tenth, 5_000);
            let next = if tenth % 2 == 0 { &other } else { &single };
            policer = policer.with_config(next, HZ / 10 * tenth);
        }
        // Ten seconds, and what came at once.
        assert!((10_200..=10_420).contains(&passed), "{passed} with {other:?}");
    }
    // What is full is so as another one, too.
    let policer = Policer::new(&single, HZ, 0).with_config(&two, HZ);
    assert_eq!(passes(&policer, HZ, 5_000), 800);
}

#[test]
fn a_worker_with_an_older_clock_earns_nothing_twice_for_a_bucket_that_holds_nothing() {
    let none =
        Config { kind: Kind::Rfc2697, excess: Some(1_000), ..Config::packets(Rate::PerSecond(100), 0) };
    let policer = Policer::new(&none, HZ, 0);
    assert_eq!(passes(&policer, 0, 2_000), 1_000);
    assert_eq!(passes(&policer, HZ, 1), 1, "of a hundred");
    assert_eq!(passes(&policer, HZ / 2, 1), 1, "the other worker has read its clock half a second before");
    assert_eq!(passes(&policer, HZ, 1_000), 98);
}

/// Ticks until positions come around, at a rate of packets per second.
fn range(rate: u64, burst: u64) -> u64 {
    let units = u128::from(rate) << scale::fraction(Rate::PerSecond(rate), burst);
    ((1_u128 << 63) * u128::from(HZ) / units).try_into().unwrap_or(u64::MAX)
}

#[test]
fn nothing_happens_when_positions_come_around() {
    for rate in [10, 1_000, 60_000, 14_880_952, 1_000_000_000] {
        let policer = Policer::packets(Limit::new(rate, 16), HZ, 0);
        // A hundred packet times before and after, twice as many packets as may pass.
        let first = range(rate, 16) - 100 * HZ / rate;
        policer.refresh(first / 2);
        policer.refresh(first);
        let passed: u32 = (0..400_u64).map(|half| passes(&policer, first + half * HZ / rate / 2, 1)).sum();
        assert!(passed.abs_diff(215) <= 1, "{rate} pps: {passed}");
    }
}

#[test]
fn a_bucket_idle_for_most_of_the_range_is_full_and_no_more() {
    for rate in [1_000, 600_000, 1_000_000_000] {
        for hundredths in [1, 49, 51, 99] {
            let policer = Policer::packets(Limit::new(rate, 64), HZ, 0);
            assert_eq!(passes(&policer, 0, 100), 64);
            let now = (u128::from(range(rate, 64)) * hundredths / 100) as u64;
            assert_eq!(passes(&policer, now, 100), 64, "{rate} pps, idle for {hundredths} % of the range");
        }
    }
}

#[test]
fn a_year_of_days_is_like_the_first() {
    for rate in [1, 1_000, 1_000_000_000] {
        let policer = Policer::packets(Limit::new(rate, 100), HZ, 0);
        for day in 1..=400_u64 {
            let now = day * 86_400 * HZ;
            policer.refresh(now);
            assert_eq!(passes(&policer, now, 300), 100, "day {day}");
            // The clock moves in ticks: one more than the packet's time is enough, one less is not.
            let packet = HZ.div_ceil(rate);
            assert_eq!(passes(&policer, now + packet, 1), 1, "{rate} pps, day {day}");
        }
    }
}

#[test]
fn two_workers_get_what_one_would() {
    use std::sync::atomic::AtomicU64;

    let limit = Limit::new(1_000, 100);
    let config = Config {
        kind: Kind::Rfc4115,
        peak: Some(limit.rate),
        excess: Some(0),
        ..Config::packets(limit.rate, 100)
    };
    for policer in [Policer::packets(limit, HZ, 0), Policer::new(&config, HZ, 0)] {
        let clock = AtomicU64::new(0);
        let end = 10 * HZ;
        let worker = || {
            let mut passed = 0;
            loop {
                // A burst of 32 packets with one reading of the clock, some 2 Mpps together.
                let now = clock.fetch_add(HZ / 62_500, Ordering::Relaxed);
                if now > end {
                    return passed;
                }
                passed += passes(&policer, now, 32);
            }
        };
        let passed: u32 = std::thread::scope(|scope| {
            let workers = [scope.spawn(worker), scope.spawn(worker)];
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert!((10_098..=10_101).contains(&passed), "{passed}");
    }
}

#[test]
fn figures_change_under_two_workers_and_nothing_is_given_twice() {
    use std::sync::atomic::AtomicU64;

    let (slow, fast) = (Limit::new(1_000, 100), Limit::new(3_000, 200));
    let policer = Policer::packets(slow, HZ, 0);
    let clock = AtomicU64::new(0);
    let end = 20 * HZ;
    let step = HZ / 50_000;
    let worker = || {
        let mut passed = 0;
        loop {
            let now = clock.fetch_add(step, Ordering::Relaxed);
            if now > end {
                return passed;
            }
            passed += u64::from(passes(&policer, now, 4));
        }
    };
    let control = || {
        // By its own reading of the clock: so many tokens at each rate. What `set` does not know of is one step.
        let (mut earned, mut since, mut changes, mut rate) = (0_u128, 0, 0_u64, 1_000_u64);
        loop {
            let now = clock.load(Ordering::Relaxed).min(end);
            earned += u128::from(now - since) * u128::from(rate);
            since = now;
            if now == end {
                return ((earned / u128::from(HZ)) as u64, changes);
            }
            let next = if rate == 1_000 { fast } else { slow };
            policer.set(next, now);
            rate = if rate == 1_000 { 3_000 } else { 1_000 };
            changes += 1;
            std::thread::yield_now();
        }
    };
    let (passed, (earned, changes)) = std::thread::scope(|scope| {
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        let control = scope.spawn(control);
        (workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>(), control.join().unwrap())
    });
    // Workers may be ahead of the control thread's clock, or behind it, by the little that passes meanwhile.
    assert!(passed <= earned + 100 + 2 + earned / 50, "{passed} passed, {earned} earned, {changes} changes");
    assert!(passed + earned / 50 + 200 >= earned, "{passed} passed, {earned} earned, {changes} changes");
}

#[test]
fn colours_lead_to_actions() {
    let config = Config {
        kind: Kind::Rfc2698,
        peak: Some(Rate::PerSecond(20)),
        excess: Some(4),
        yellow: Verdict::Demote(Class::Miss),
        ..Config::packets(Rate::PerSecond(10), 2)
    };
    let policer = Policer::new(&config, HZ, 0);
    let said: Vec<Verdict> = (0..5).map(|_| policer.take(0, 60)).collect();
    let low = Verdict::Demote(Class::Miss);
    assert_eq!(said, [Verdict::Pass, Verdict::Pass, low, low, Verdict::Drop]);
    assert_eq!(policer.config(), config);

    let red = Config { red: Verdict::Demote(Class::Sample), ..Config::packets(Rate::PerSecond(1), 1) };
    assert!(!policer.configure(&red, 0), "two buckets are not one");
    let single = policer.with_config(&red, HZ / 10);
    assert_eq!(single.take(HZ / 10, 60), Verdict::Pass, "one packet was earned");
    assert_eq!(single.take(HZ / 10, 60), Verdict::Demote(Class::Sample));
}

/// RFC 2697: C is filled before E, and E only by what C has no room for.
#[test]
fn rfc2697_fills_the_excess_bucket_by_what_overflows() {
    let config = Config {
        kind: Kind::Rfc2697,
        unit: Unit::Bits,
        excess: Some(3_000),
        ..Config::packets(Rate::PerSecond(8_000), 1_500)
    };
    let policer = Policer::new(&config, HZ, 0);
    let colours =
        |now: u64, bytes: u32| (0..4).map(|_| policer.colour(now, bytes, Colour::Green)).collect::<Vec<_>>();
    use Colour::{Green, Red, Yellow};
    assert_eq!(colours(0, 1_500), [Green, Yellow, Yellow, Red]);
    assert_eq!(colours(HZ * 3 / 2, 1_500), [Green, Red, Red, Red], "1,500 bytes in a second and a half");
    assert_eq!(colours(HZ * 9 / 2, 1_500), [Green, Yellow, Red, Red], "1,500 in C, 1,500 over");
    assert_eq!(policer.colour(HZ * 60, 1_500, Yellow), Yellow, "colour-aware: C is for green ones");
    assert_eq!(policer.colour(HZ * 90, 1_501, Green), Yellow, "larger than C, not than E");
    assert_eq!(policer.colour(HZ * 90, 1_500, Red), Red, "colour-aware: red stays red");
    assert_eq!(policer.colour(HZ * 90, 1_500, Green), Green);
}

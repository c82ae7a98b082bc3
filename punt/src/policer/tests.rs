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

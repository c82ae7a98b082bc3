//! Every interleaving of a few operations, by a model checker:
//! `RUSTFLAGS="--cfg loom" cargo test -p punt --release --lib policer::loom`.

use loom::sync::Arc;
use loom::thread;

use super::*;

const HZ: u64 = 1_000_000;

/// Runs each as a thread of its own and adds up what they return.
fn together<T: Send + Sync + 'static>(shared: Arc<T>, threads: Vec<fn(&T) -> u32>) -> u32 {
    let threads: Vec<_> = threads
        .into_iter()
        .map(|body| {
            let shared = shared.clone();
            thread::spawn(move || body(&shared))
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).sum()
}

fn passes(policer: &Policer, now: u64, offered: u32) -> u32 {
    (0..offered).filter(|_| policer.take(now, 60) == Verdict::Pass).count() as u32
}

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

fn meter(kind: Kind) -> Config {
    let peak = (kind != Kind::Rfc2697).then_some(Rate::PerSecond(1));
    Config { kind, peak, excess: Some(1), ..Config::packets(Rate::PerSecond(1), 2) }
}

#[test]
fn workers_share_a_bucket_to_the_last_token() {
    model(|| {
        let policer = Arc::new(Policer::packets(Limit::new(1, 3), HZ, 0));
        let passed = together(policer, vec![|p: &Policer| passes(p, 0, 2), |p: &Policer| passes(p, 0, 2)]);
        assert_eq!(passed, 3);
    });
}

#[test]
fn workers_with_different_clocks_lose_nothing() {
    model(|| {
        let policer = Arc::new(Policer::packets(Limit::new(1, 1), HZ, 0));
        let passed = together(
            policer.clone(),
            vec![|p: &Policer| passes(p, HZ, 1), |p: &Policer| passes(p, HZ - 1, 1)],
        );
        assert_eq!(passed, 1);
        assert_eq!(passes(&policer, HZ * 2, 2), 1, "the second one is earned by then, and no more");
    });
}

#[test]
fn another_rate_neither_loses_nor_gives_a_token() {
    model(|| {
        let policer = Arc::new(Policer::packets(Limit::new(1, 3), HZ, 0));
        let passed = together(
            policer.clone(),
            vec![|p: &Policer| passes(p, 0, 2), |p: &Policer| {
                p.set(Limit::new(1_000, 5), 0);
                0
            }],
        );
        assert_eq!(passed, 2);
        let rest = passes(&policer, 0, 5);
        assert!(
            rest == 1 || rest == 3,
            "{rest}: what was left of 3, or of 5 if it was full when it got them"
        );
        assert_eq!(passes(&policer, HZ, 9), 5);
    });
}

#[test]
fn a_rate_that_changes_twice_under_a_worker_does_not_confuse_it() {
    model(|| {
        let policer = Arc::new(Policer::packets(Limit::new(1, 2), HZ, 0));
        let passed = together(
            policer.clone(),
            vec![|p: &Policer| passes(p, 0, 1), |p: &Policer| {
                p.set(Limit::new(1_000, 5), 0);
                p.set(Limit::new(7, 3), 0);
                0
            }],
        );
        assert!(passed <= 1);
        let all = passes(&policer, 0, 9) + passed;
        assert!(
            (2..=4).contains(&all),
            "{all}: the 2 that there were, or 3 after it was full, and one of the 5 before"
        );
    });
}

#[test]
fn refreshing_takes_nothing_away() {
    model(|| {
        let policer = Arc::new(Policer::packets(Limit::new(1, 2), HZ, 0));
        let passed = together(
            policer.clone(),
            vec![|p: &Policer| passes(p, 100 * HZ, 1), |p: &Policer| {
                p.refresh(100 * HZ);
                0
            }],
        );
        assert_eq!(passed + passes(&policer, 100 * HZ, 3), 2);
    });
}

#[test]
fn workers_share_both_buckets_of_a_meter() {
    for kind in [Kind::Rfc2697, Kind::Rfc2698, Kind::Rfc4115] {
        model(move || {
            let policer = Arc::new(Policer::new(&meter(kind), HZ, 0));
            let passed =
                together(policer, vec![|p: &Policer| passes(p, 0, 2), |p: &Policer| passes(p, 0, 2)]);
            assert_eq!(passed, if kind == Kind::Rfc2698 { 1 } else { 3 }, "{kind}");
        });
    }
}

#[test]
fn other_figures_of_a_meter_neither_lose_nor_give_a_token() {
    model(|| {
        let policer = Arc::new(Policer::new(&meter(Kind::Rfc4115), HZ, 0));
        let passed = together(
            policer.clone(),
            vec![|p: &Policer| passes(p, 0, 2), |p: &Policer| {
                let other = Config { burst: 7, excess: Some(7), ..meter(Kind::Rfc4115) };
                assert!(p.configure(&other, 0));
                0
            }],
        );
        let rest = passes(&policer, 0, 20);
        assert!(
            passed == 2 && (rest == 1 || rest == 12),
            "{rest}: what was left of 3, or of 14 if it was full when it got them"
        );
    });
}

#[test]
fn the_budget_is_never_overdrawn() {
    model(|| {
        let budget = Arc::new(Budget::new(HZ, 0));
        let figures = |total| Shape { total: Rate::PerSecond(total), classes: [(0, Rate::PerSecond(1)); 8] };
        budget.set_all(figures(1), 0).unwrap();
        let take: fn(&Budget) -> u32 =
            |b| u32::from(b.take(Class::Miss, 0)) + u32::from(b.take(Class::Miss, 0));
        assert_eq!(together(budget, vec![take, take]), 4, "of 16 at once");
    });
}

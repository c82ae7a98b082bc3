//! What each policer, the budget, the source share and the count of talkers cost, in nanoseconds per packet.
//!
//! `cargo run --release -p punt --example policers`. Figures are the best of 41 runs.

use std::hint::black_box;
use std::time::Instant;

use punt::policer::*;
use punt::reason::Class;

const HZ: u64 = 1_000_000_000;
const ROUNDS: u64 = 400_000;

/// The best of 41 runs, for others use the machine, too; `body` is called with 0, 1, 2, …
fn cost(what: &str, mut body: impl FnMut(u64)) {
    let mut runs: Vec<f64> = (0..41)
        .map(|run| {
            let begin = Instant::now();
            (run * ROUNDS..(run + 1) * ROUNDS).for_each(&mut body);
            begin.elapsed().as_secs_f64() * 1e9 / ROUNDS as f64
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    println!("{what:<44} {:6.2} ns", runs[0]);
}

/// The same, while another thread does it, too.
fn fought(what: &str, body: impl Fn(u64) + Sync) {
    use std::sync::atomic::{AtomicBool, Ordering};
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                (0..1_000).for_each(|step| body(round * 1_000 + step));
                round += 1;
            }
        });
        cost(what, &body);
        stop.store(true, Ordering::Relaxed);
    });
}

fn main() {
    cost("nothing", |n| {
        black_box(n);
    });
    let take = |policer: &Policer, n| {
        black_box(policer.take(black_box(n), 60));
    };
    let fast = Policer::packets(Limit::new(1_000_000_000, 1 << 30), HZ, 0);
    let slow = Policer::packets(Limit::new(1, 1), HZ, 0);
    let lifted = Policer::packets(Limit::UNLIMITED, HZ, 0);
    cost("single, passes", |n| take(&fast, n));
    cost("single, refused", |n| take(&slow, n));
    cost("single, unlimited", |n| take(&lifted, n));
    fought("single, passes, two threads", |n| take(&fast, n));
    fought("single, refused, two threads", |n| take(&slow, n));

    let two = |rate| Config {
        kind: Kind::Rfc2698,
        peak: Some(Rate::PerSecond(rate)),
        excess: Some(rate),
        ..Config::packets(Rate::PerSecond(rate), rate)
    };
    let fast = Policer::new(&two(1_000_000_000), HZ, 0);
    let slow = Policer::new(&two(1), HZ, 0);
    cost("rfc2698, passes", |n| take(&fast, n));
    cost("rfc2698, refused", |n| take(&slow, n));
    fought("rfc2698, passes, two threads", |n| take(&fast, n));

    let budget = Budget::new(HZ, 0);
    let figures =
        Shape { total: Rate::PerSecond(1 << 30), classes: [(1 << 20, Rate::PerSecond(1 << 30)); 8] };
    budget.set_all(figures, 0).expect("they fit");
    cost("budget, passes", |n| {
        black_box(budget.take(Class::Miss, n * 8));
    });
    let budget = Budget::new(HZ, 0);
    cost("budget, refused", |n| {
        black_box(budget.take(Class::Miss, n));
    });

    let share = Share::new([0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9], HZ, 0);
    let policer = Policer::packets(Limit::new(600, 300), HZ, 0);
    let of = ReasonShare::new(1);
    let budget = Budget::new(HZ, 0);
    let limits = Limits { share: &of, policer: &policer, budget: &budget, class: Class::Except };
    let mut gates = Gates::default();
    // Eight of a burst of 64 are punted.
    let mut offer = |n: u64, source: u32| {
        let (n, source) = (n / 8 * 100, Source::ip4(source.to_be_bytes()));
        if share.take(&mut gates, n, &limits, 1, source, 60).is_ok() {
            black_box(policer.take(n, 60));
        }
    };
    for source in 0..100 {
        offer(0, source);
    }
    cost("share and policer, one flooder", |n| offer(n, 7));
    cost("share and policer, 64 flooders", |n| offer(n, n as u32 % 64));
    cost("share and policer, 65,536 sources", |n| offer(n, n.wrapping_mul(40_503) as u32 & 0xffff));
    let mut gates = Gates::default();
    let fast = Policer::packets(Limit::new(1_000_000_000, 1_000_000), HZ, 0);
    let budget = Budget::new(HZ, 0);
    budget.set_all(figures, 0).expect("they fit");
    let limits = Limits { policer: &fast, budget: &budget, ..limits };
    cost("share, passes", |n| {
        black_box(share.take(&mut gates, n, &limits, 1, Source::ip4([10, 0, 0, 1]), 60)).ok();
    });
    let limits = Limits { policer: &lifted, ..limits };
    cost("share, unlimited", |n| {
        black_box(share.take(&mut gates, n / 8, &limits, 1, Source::ip4([10, 0, 0, 1]), 60)).ok();
    });

    let talkers = Talkers::new(12_345, HZ, 0);
    cost("talkers, one flooder", |n| talkers.count(n * 50, 1, 1, Source::ip4([10, 0, 0, 1]), true));
    cost("talkers, 65,536 sources", |n| {
        let source = Source::ip4((n.wrapping_mul(40_503) as u32 & 0xffff).to_be_bytes());
        talkers.count(n * 50, 1, 1, source, true);
    });
}

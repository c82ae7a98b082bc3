//! How far apart the two cores are today: a cache line goes to and fro between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dpdk_sys::{Eal, tsc};

use crate::slices::Spread;

const TRIPS: u64 = 2_000;
const ROUNDS: u64 = 50;

/// TSC cycles of a round trip, or nothing where there is one lcore only.
pub fn round_trip(eal: &Eal) -> Option<Spread> {
    let lcore = *eal.worker_lcores().first()?;
    let ball = Arc::new(AtomicU64::new(0));
    let other = ball.clone();
    let serve = move || (0..TRIPS * ROUNDS).for_each(|trip| hit(&other, 2 * trip + 1));
    eal.launch(lcore, serve).ok()?;
    let round = |round: u64| {
        let start = tsc();
        (round * TRIPS..(round + 1) * TRIPS).for_each(|trip| hit(&ball, 2 * trip));
        (tsc() - start) as f64 / TRIPS as f64
    };
    let trips = (0..ROUNDS).map(round).collect();
    eal.wait(lcore);
    Some(Spread::of(trips))
}

/// Waits for the ball to be `at`, and hits it back.
fn hit(ball: &AtomicU64, at: u64) {
    while ball.load(Ordering::Acquire) != at {
        std::hint::spin_loop();
    }
    ball.store(at + 1, Ordering::Release);
}

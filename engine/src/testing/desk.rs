//! A desk without threads: packets stay in the rings of its sinks.

use std::sync::Arc;

use punt::clock::Clock;
use punt::desk::{self, ByHand, Desk};

use crate::quiescent::Domain;

/// A desk without threads: packets stay in the rings of its sinks.
pub fn desk(plan: &crate::graph::Plan, domain: Arc<Domain>, workers: usize) -> Desk {
    let statics = crate::reasons::statics(plan);
    let tables = Arc::new(desk::Tables::new(statics.len()));
    let means = Box::new(ByHand);
    let setup = desk::Setup {
        tables,
        domain,
        workers,
        now: || 0,
        clock: clock(),
        means,
        memory: desk::MEMORY,
        fairness: crate::sinks::fairness(workers),
    };
    Desk::new(setup, statics)
}

/// A clock of a gigahertz that stands at 0.
pub fn clock() -> Arc<Clock> {
    Arc::new(Clock::new(1_000_000_000, 0))
}

//! A desk without threads: packets stay in the rings of its sinks.

use std::sync::Arc;

use punt::Target;
use punt::clock::Clock;
use punt::desk::{self, Desk, Means, Open};
use punt::sink::{Settled, Sink};

use crate::quiescent::Domain;

/// A desk without threads: packets stay in the rings of its sinks.
pub fn desk(plan: &crate::graph::Plan, domain: Arc<Domain>, workers: usize) -> Desk {
    let statics = crate::reasons::statics(plan);
    let tables = Arc::new(desk::Tables::new(statics.len()));
    let means = Box::new(NoThreads);
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

struct NoThreads;

impl Means for NoThreads {
    fn open(&self, _: Arc<Sink>, _: &Target) -> Result<Arc<dyn Open>, String> {
        Ok(Arc::new(NoThreads))
    }

    fn name(&self, _: u32, _: Option<&str>) {}

    fn settle(&self, _: u32, _: Option<Arc<Settled>>) {}
}

impl Open for NoThreads {
    fn state(&self) -> punt::control::types::SinkState {
        punt::control::types::SinkState::Active
    }

    fn inject(&self) -> Option<String> {
        None
    }

    fn injected(&self) -> [u64; 3] {
        [0; 3]
    }

    fn close(&self) {}
}

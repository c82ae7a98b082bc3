//! Sinks without threads: whoever owns the lanes empties them. For programs that poll, benchmarks and tests.

use std::sync::Arc;

use super::{Means, Open};
use crate::control::types::sink::SinkState;
use crate::sink::{Settled, Sink};
use crate::target::Target;

/// Opens no target, so every target opens; what reasons and registrations are called is not kept.
pub struct ByHand;

impl Means for ByHand {
    fn open(&self, _: Arc<Sink>, _: &Target) -> Result<Arc<dyn Open>, String> {
        Ok(Arc::new(ByHand))
    }

    fn name(&self, _: u32, _: Option<&str>) {}

    fn settle(&self, _: u32, _: Option<Arc<Settled>>) {}
}

impl Open for ByHand {
    fn state(&self) -> SinkState {
        SinkState::Active
    }

    fn inject(&self) -> Option<String> {
        None
    }

    fn injected(&self) -> [u64; 3] {
        [0; 3]
    }

    fn close(&self) {}
}

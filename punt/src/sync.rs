//! What threads share, replaced under the model checker: `RUSTFLAGS="--cfg loom" cargo test -p punt --release`.

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic;

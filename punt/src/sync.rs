//! What threads share, replaced under the model checker: `RUSTFLAGS="--cfg loom" cargo test -p punt --release --lib model::`.

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic;

/// A pause in a wait for another thread, after so many already.
#[cfg(not(loom))]
pub(crate) fn wait(tries: u32) {
    match tries {
        ..100 => std::hint::spin_loop(),
        _ => std::thread::sleep(std::time::Duration::from_micros(20)),
    }
}

/// The same for the model checker, which must let somebody else go on.
#[cfg(loom)]
pub(crate) fn wait(_: u32) {
    loom::thread::yield_now();
}

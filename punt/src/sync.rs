//! What threads share, replaced under the model checker: `RUSTFLAGS="--cfg loom" cargo test -p punt --release --lib model::`.

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic;

/// So often a wait looks again at once: for 20 µs or more, several times what a busy worker's loop takes. The shortest sleep takes longer than
/// that, and its timer and the waking disturb whoever has the CPU.
#[cfg(not(loom))]
const SPINS: u32 = 1_000;

/// A pause in a wait for another thread, after so many already.
#[cfg(not(loom))]
pub(crate) fn wait(tries: u32) {
    match tries {
        ..SPINS => std::hint::spin_loop(),
        _ => std::thread::sleep(std::time::Duration::from_micros(20)),
    }
}

/// The same for the model checker, which must let somebody else go on.
#[cfg(loom)]
pub(crate) fn wait(_: u32) {
    loom::thread::yield_now();
}

//! The waker: one thread that looks at what workers marked, and wakes the sinks concerned, so that workers never wake anybody.
//!
//! It looks every 50 µs while there is something, and less often, up to every millisecond, while there is not.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use crate::sink::{Dirty, MAX_SINKS, Prologue, Wake};

/// Between two looks while there is something.
const BUSY: Duration = Duration::from_micros(50);
/// Between two looks while there has long been nothing.
const IDLE: Duration = Duration::from_millis(1);

/// The thread that wakes sinks. Dropped, it ends.
pub struct Waker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// One for each worker.
    dirty: Vec<Arc<Dirty>>,
    /// By slot, whom to wake.
    wakes: Mutex<[Option<Arc<Wake>>; MAX_SINKS]>,
    stop: AtomicBool,
}

impl Waker {
    /// Starts the thread; it looks at the words of all workers.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(dirty: Vec<Arc<Dirty>>, prologue: Option<Prologue>) -> io::Result<Waker> {
        let wakes = Mutex::new([const { None }; MAX_SINKS]);
        let shared = Arc::new(Shared { dirty, wakes, stop: AtomicBool::new(false) });
        let of_thread = shared.clone();
        let thread = thread::Builder::new().name("punt-waker".into()).spawn(move || {
            prologue.into_iter().for_each(|prologue| prologue());
            of_thread.run();
        })?;
        Ok(Waker { shared, thread: Some(thread) })
    }

    /// From now on, wakes `wake` when a worker marks `slot`.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn attach(&self, slot: usize, wake: Arc<Wake>) {
        // What was marked before is looked at, too.
        wake.wake();
        self.shared.wakes.lock()[slot] = Some(wake);
    }

    /// From now on, wakes nobody for `slot`.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn detach(&self, slot: usize) {
        self.shared.wakes.lock()[slot] = None;
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends within a pause; if it panicked, that was said where it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        // A sleep of 50 µs is to take 50 and not 100; without that we are merely later.
        let _ = nix::sys::prctl::set_timerslack(1_000);
        let mut pause = BUSY;
        while !self.stop.load(Ordering::Relaxed) {
            pause = if self.look() { BUSY } else { (pause * 5 / 4).min(IDLE) };
            thread::sleep(pause);
        }
    }

    /// Wakes whom workers marked. Returns whether there was anybody.
    fn look(&self) -> bool {
        let mut marked = self.dirty.iter().fold(0, |marked, dirty| marked | dirty.take());
        if marked == 0 {
            return false;
        }
        let wakes = self.wakes.lock();
        while marked != 0 {
            if let Some(wake) = &wakes[marked.trailing_zeros() as usize] {
                wake.wake();
            }
            marked &= marked - 1;
        }
        true
    }
}

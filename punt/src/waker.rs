//! The waker: one thread that looks at what workers marked, and wakes the sinks concerned, so that workers never wake anybody.
//!
//! It looks every 50 µs while there is somebody to wake, and less often while there is not: up to every 250 µs while sinks are awake and get
//! something, for they look by themselves then and each look takes some of a CPU, and up to every millisecond while there is nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use crate::sink::{Dirty, MAX_SINKS, Prologue, Wake};

/// Between two looks while there is somebody to wake.
const BUSY: Duration = Duration::from_micros(50);
/// Between two looks while those who get something have long been awake.
const AWAKE: Duration = Duration::from_micros(250);
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

/// What a look found.
enum Found {
    /// Somebody who slept.
    Sleepers,
    /// Marks, but only of those who are awake.
    Marks,
    /// No mark.
    Nothing,
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
            pause = match self.look() {
                Found::Sleepers => BUSY,
                Found::Marks => (pause * 5 / 4).min(AWAKE),
                Found::Nothing => (pause * 5 / 4).min(IDLE),
            };
            thread::sleep(pause);
        }
    }

    /// Wakes whom workers marked.
    fn look(&self) -> Found {
        let mut marked = self.dirty.iter().fold(0, |marked, dirty| marked | dirty.take());
        if marked == 0 {
            return Found::Nothing;
        }
        let wakes = self.wakes.lock();
        let mut found = Found::Marks;
        while marked != 0 {
            if let Some(wake) = &wakes[marked.trailing_zeros() as usize]
                && wake.wake()
            {
                found = Found::Sleepers;
            }
            marked &= marked - 1;
        }
        found
    }
}

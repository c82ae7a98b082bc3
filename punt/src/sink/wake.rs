//! How a sink's thread sleeps, and is woken by the waker.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// The bell of one thread. Ringing it while the thread is awake costs a fence and a load.
pub struct Wake {
    asleep: AtomicBool,
    event: EventFd,
}

impl Wake {
    pub(super) fn new() -> io::Result<Wake> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Wake { asleep: AtomicBool::new(false), event: EventFd::from_flags(flags)? })
    }

    /// Wakes the thread if it sleeps, and returns whether it did. Never blocks.
    pub fn wake(&self) -> bool {
        // Against `falls_asleep`: either the thread sees what was published before this, or we see that it sleeps.
        fence(Ordering::SeqCst);
        let asleep = self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed);
        if asleep {
            // Fails only if the counter is full: then the thread is woken already.
            let _ = self.event.write(1);
        }
        asleep
    }

    /// For the thread: from here on it is woken. It must look once more for something to do before it sleeps.
    pub(super) fn falls_asleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// For the thread: it is awake again.
    pub(super) fn is_awake(&self) {
        if !self.asleep.swap(false, Ordering::Relaxed) {
            // Somebody rang; what was rung is silenced, or the next sleep would end at once.
            let _ = self.event.read();
        }
    }

    /// What becomes readable when somebody rings.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

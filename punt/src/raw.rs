//! What the compiler cannot check: the only file of the crate with `unsafe` in it.
//!
//! A value that is replaced while others look at it, words that another process maps, and what the system hands over as bare numbers. Each
//! is a small safe type or function; what they are for is said where they are used, in `quiescent.rs`, `mapped.rs` and `ring.rs`.

#![allow(unsafe_code, reason = "the only file that may; each block says why it is sound")]

use std::mem;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::{io, ptr, slice};

use memmap2::MmapRaw;
use nix::errno::Errno;
use nix::libc;

use crate::quiescent::{Guard, Passed};
use crate::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// A value that one thread replaces while readers of the same domain look at it.
pub struct Slot<T>(AtomicPtr<T>);

// SAFETY: a slot gives out `&T` on any thread (T: Sync) and what it held is freed on another thread than made it (T: Send).
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

impl<T> Default for Slot<T> {
    fn default() -> Slot<T> {
        Slot(AtomicPtr::new(ptr::null_mut()))
    }
}

impl<T: Send + 'static> Slot<T> {
    /// The value now, for as long as the reader's loop lasts.
    #[inline(always)]
    pub fn get<'guard>(&'guard self, _: &'guard Guard<'_>) -> Option<&'guard T> {
        // SAFETY: the pointer is null or came from `Box::into_raw`; what it points to is freed only after the reader whose guard this is
        // has entered again, which it cannot while the guard lives.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// Puts `value` in, and adds what was there to `retired` for [`Domain::reclaim`](crate::quiescent::Domain::reclaim).
    pub fn replace(&self, value: Option<T>, retired: &mut Vec<Retired>) {
        let new = value.map_or(ptr::null_mut(), |value| Box::into_raw(Box::new(value)));
        let old = self.0.swap(new, Ordering::AcqRel);
        if !old.is_null() {
            retired.push(Retired { pointer: old.cast(), free: free::<T> });
        }
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        let value = self.0.load(Ordering::Relaxed);
        if !value.is_null() {
            // SAFETY: `&mut self` says that nobody reads any more; the pointer came from `Box::into_raw`.
            drop(unsafe { Box::from_raw(value) });
        }
    }
}

/// What a slot held and readers may still look at. Forgotten, it leaks; it is never freed too early.
pub struct Retired {
    pointer: *mut (),
    free: unsafe fn(*mut ()),
}

impl Retired {
    /// Frees it, once every reader has passed since it was taken out.
    pub(crate) fn free(self, _: &Passed) {
        // SAFETY: it came out of a slot before the readers passed, so none of them holds it; it is freed once, for `self` is gone.
        unsafe { (self.free)(self.pointer) };
    }
}

// SAFETY: only values that are `Send` are retired (`Slot::replace` asks for it).
unsafe impl Send for Retired {}

/// Frees a value of type `T`.
///
/// # Safety
/// `pointer` came from `Box::<T>::into_raw`, and nobody holds it.
unsafe fn free<T>(pointer: *mut ()) {
    // SAFETY: as the caller promises.
    drop(unsafe { Box::from_raw(pointer.cast::<T>()) });
}

/// All of a mapping of memory that never shrinks. What was not mapped to be written is only to be loaded from: a store ends the process.
///
/// # Panics
/// Under the model checker, whose atomics are not mapped.
#[inline]
pub(crate) fn words(memory: &MmapRaw) -> &[AtomicU64] {
    let length = memory.len() / mem::size_of::<u64>();
    assert!(
        mem::size_of::<AtomicU64>() == mem::size_of::<u64>(),
        "the model checker's atomics are not mapped"
    );
    // SAFETY: the mapping starts at a page and lives as long as `memory`; `Mapping` maps only files that are sealed against shrinking, so all
    // of it can be loaded. Any bits are an atomic number, and other processes change them behind our back only as another thread might.
    unsafe { slice::from_raw_parts(memory.as_ptr().cast::<AtomicU64>(), length) }
}

/// Bytes of a mapping that somebody has published and nobody writes to while they are looked at, which
/// [`Mapping::published`](crate::mapped::Mapping::published) sees to.
///
/// # Panics
/// If the range is not within the memory.
#[inline]
pub(crate) fn bytes(memory: &MmapRaw, range: Range<usize>) -> &[u8] {
    assert!(range.start <= range.end && range.end <= memory.len(), "{range:?} is not mapped");
    // SAFETY: the bytes are within the mapping, which lives as long as `memory` and can be loaded, as above. They were published by a release
    // store that the caller has seen, and nobody writes to them until they are given back.
    unsafe { slice::from_raw_parts(memory.as_ptr().add(range.start), range.len()) }
}

/// Fetches the cache line of a word that will soon be read.
#[inline(always)]
pub(crate) fn fetch(word: &AtomicU64) {
    let address: *const AtomicU64 = word;
    // SAFETY: a hint, which never faults.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    let _ = address;
}

/// The same for one that will soon be written, which takes the line from whoever has read it.
#[inline(always)]
pub(crate) fn fetch_to_write(word: &AtomicU64) {
    let address: *const AtomicU64 = word;
    // SAFETY: a hint, which never faults; a processor that does not know it passes over it.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("prfm pstl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    let _ = address;
}

/// Memory that what was sent on this Unix stream takes until the other end receives it, in bytes; 0 once it has received all, or is closed.
///
/// # Errors
/// What the system says.
pub(crate) fn unreceived(stream: &UnixStream) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open, and the system writes one `int` there.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &mut bytes) };
    Errno::result(result)?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Takes descriptors over that the system has just opened for this process, with a message, and whose numbers nobody else knows.
pub(crate) fn own(numbers: Vec<RawFd>) -> impl Iterator<Item = OwnedFd> {
    // SAFETY: as said above; each is closed once, by what is returned.
    numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::quiescent::Domain;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    /// What a slot holds: the model checker sees who looks at it while it is freed.
    struct Canary {
        value: UnsafeCell<u64>,
        freed: Arc<AtomicU64>,
    }

    // SAFETY: readers only read `value`, and it is written once more only when nobody holds it, which is what the model checks.
    unsafe impl Sync for Canary {}
    // SAFETY: as above.
    unsafe impl Send for Canary {}

    impl Canary {
        fn new(value: u64, freed: &Arc<AtomicU64>) -> Option<Canary> {
            Some(Canary { value: UnsafeCell::new(value), freed: freed.clone() })
        }

        fn read(&self) -> u64 {
            // SAFETY: the model fails if anybody writes meanwhile.
            self.value.with(|value| unsafe { *value })
        }
    }

    impl Drop for Canary {
        fn drop(&mut self) {
            // SAFETY: the model fails if anybody reads meanwhile.
            self.value.with_mut(|value| unsafe { *value = 0xdead });
            self.freed.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A reader in its loop, then asleep, and a writer that replaces and reclaims: whatever the order of steps, what is freed is seen by
    /// nobody, and all is freed once.
    fn replace_under_a_reader(rounds: usize, sleeps: bool) {
        loom::model(move || {
            let domain = Domain::new(1);
            let freed = Arc::new(AtomicU64::new(0));
            let slot = Arc::new(Slot::default());
            let mut retired = Vec::new();
            slot.replace(Canary::new(1, &freed), &mut retired);
            let (mut reader, read) = (domain.reader(0), slot.clone());
            let thread = loom::thread::spawn(move || {
                let mut last = 0;
                for _ in 0..rounds {
                    let guard = reader.enter();
                    let value = read.get(&guard).expect("never empty").read();
                    assert!(value == 1 || value == 2, "{value}");
                    assert!(value >= last, "{value} after {last}");
                    last = value;
                    if sleeps {
                        reader.offline();
                    }
                }
            });
            slot.replace(Canary::new(2, &freed), &mut retired);
            domain.reclaim(&mut retired);
            assert_eq!(freed.load(Ordering::SeqCst), 1, "the first");
            thread.join().expect("the reader");
            drop(slot);
            assert_eq!(freed.load(Ordering::SeqCst), 2, "both, each once");
        });
    }

    #[test]
    fn nothing_is_freed_under_a_reader_that_goes_on() {
        replace_under_a_reader(2, false);
    }

    #[test]
    fn nothing_is_freed_under_a_reader_that_sleeps_and_wakes() {
        replace_under_a_reader(2, true);
    }
}

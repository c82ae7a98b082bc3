//! Changing what workers read, while they read it.
//!
//! A [`Slot`] holds one value behind one pointer. The control thread replaces it; workers that loaded the old value go on using it until
//! their loop comes round, when they pass [`Reader::enter`]. Once every reader has passed, nobody can hold the old value any more and
//! [`Domain::reclaim`] frees it. Readers never wait and pay one load and one store a loop.
//!
//! Beside `mapped.rs` this is the only file of the crate with `unsafe` in it.

#![allow(
    unsafe_code,
    reason = "a value is freed only after every reader has passed; that is what this file is for"
)]

use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence};
use crate::sync::wait;

/// A reader that is not reading, and for whom nobody need wait.
const OFFLINE: u64 = u64::MAX;

/// The readers of one set of tables, and how far each has come.
pub struct Domain {
    epoch: AtomicU64,
    readers: Box<[CachePadded<AtomicU64>]>,
    /// Which of them there are.
    given: Box<[AtomicBool]>,
}

impl Domain {
    /// A domain of `readers` readers, all offline.
    pub fn new(readers: usize) -> Arc<Domain> {
        let given = (0..readers).map(|_| AtomicBool::new(false)).collect();
        let readers = (0..readers).map(|_| CachePadded::new(AtomicU64::new(OFFLINE))).collect();
        Arc::new(Domain { epoch: AtomicU64::new(0), readers, given })
    }

    /// The reader numbered `index`.
    ///
    /// # Panics
    /// If the domain was made for fewer readers, or there is one of that number already: two would hide each other.
    pub fn reader(self: &Arc<Domain>, index: usize) -> Reader {
        assert!(index < self.readers.len(), "reader {index} of {}", self.readers.len());
        assert!(!self.given[index].swap(true, Ordering::AcqRel), "there is a reader {index} already");
        Reader { domain: self.clone(), index, online: false }
    }

    /// Waits until every reader has passed since the call: one grace period, as long as a worker's longest loop.
    /// Must not be called by a thread whose own reader is online.
    pub fn synchronize(&self) {
        fence(Ordering::SeqCst);
        let target = self.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        for reader in &self.readers {
            let mut tries = 0;
            while reader.load(Ordering::SeqCst) < target {
                tries += 1;
                wait(tries);
            }
        }
        fence(Ordering::SeqCst);
    }

    /// Frees what was replaced, after a grace period that all of it shares.
    pub fn reclaim(&self, retired: &mut Vec<Retired>) {
        if !retired.is_empty() {
            self.synchronize();
            for old in retired.drain(..) {
                // SAFETY: `old` came out of a slot before the grace period began, so no reader holds it; it is freed once.
                unsafe { (old.free)(old.pointer) };
            }
        }
    }
}

/// One worker's pass through the domain.
pub struct Reader {
    domain: Arc<Domain>,
    index: usize,
    online: bool,
}

impl Reader {
    /// Begins a loop: everything read through an earlier guard is given up, what is read through this one stays until the next call.
    #[inline(always)]
    pub fn enter(&mut self) -> Guard<'_> {
        let epoch = self.domain.epoch.load(Ordering::Acquire);
        self.domain.readers[self.index].store(epoch, Ordering::Release);
        if !self.online {
            self.online = true;
            // A reader that was offline must be seen before it loads anything; one that was online is waited for anyway.
            fence(Ordering::SeqCst);
        }
        Guard(PhantomData)
    }

    /// Nothing is read until the next [`enter`](Reader::enter): the control thread does not wait for a sleeper.
    pub fn offline(&mut self) {
        self.domain.readers[self.index].store(OFFLINE, Ordering::Release);
        self.online = false;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.offline();
        self.domain.given[self.index].store(false, Ordering::Release);
    }
}

/// Proof that a reader is inside its loop.
pub struct Guard<'reader>(PhantomData<&'reader mut Reader>);

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

    /// Puts `value` in, and adds what was there to `retired` for [`Domain::reclaim`].
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Says when it is freed, and is caught being read after that.
    struct Canary(Arc<AtomicU64>, u64);

    impl Drop for Canary {
        fn drop(&mut self) {
            self.1 = 0xdead;
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_sleeping_reader_is_not_waited_for() {
        let domain = Domain::new(2);
        let (mut awake, mut asleep) = (domain.reader(0), domain.reader(1));
        let slot = Slot::default();
        let mut retired = Vec::new();
        slot.replace(Some(1), &mut retired);
        assert_eq!(slot.get(&awake.enter()), Some(&1));
        assert_eq!(slot.get(&asleep.enter()), Some(&1));
        awake.offline();
        asleep.offline();
        slot.replace(Some(2), &mut retired);
        domain.reclaim(&mut retired);
        assert_eq!(slot.get(&awake.enter()), Some(&2));
    }

    #[test]
    fn there_is_one_reader_of_a_number() {
        let domain = Domain::new(1);
        drop(domain.reader(0));
        let reader = domain.reader(0);
        let second = domain.clone();
        std::thread::spawn(move || drop(second.reader(0))).join().expect_err("there is one already");
        drop(reader);
    }

    #[test]
    fn nothing_is_freed_under_a_reader_and_all_of_it_in_the_end() {
        const CHANGES: u64 = 20_000;
        let domain = Domain::new(2);
        let slot = Arc::new(Slot::default());
        let freed = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let mut retired = Vec::new();
        slot.replace(Some(Canary(freed.clone(), 1)), &mut retired);
        let readers: Vec<_> = (0..2)
            .map(|index| {
                let (mut reader, slot, stop) = (domain.reader(index), slot.clone(), stop.clone());
                std::thread::spawn(move || {
                    let mut last = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let guard = reader.enter();
                        let value = slot.get(&guard).expect("never empty").1;
                        assert!(value >= last && value != 0xdead, "{value} after {last}");
                        last = value;
                    }
                })
            })
            .collect();
        for value in 2..=CHANGES {
            slot.replace(Some(Canary(freed.clone(), value)), &mut retired);
            if value % 16 == 0 {
                domain.reclaim(&mut retired);
            }
        }
        domain.reclaim(&mut retired);
        assert_eq!(freed.load(Ordering::SeqCst), CHANGES - 1);
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().expect("no reader saw a freed value"));
        drop(slot);
        assert_eq!(freed.load(Ordering::SeqCst), CHANGES);
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
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

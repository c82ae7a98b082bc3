//! Changing what workers read, while they read it.
//!
//! A [`Slot`] holds one value behind one pointer. The control thread replaces it; workers that loaded the old value go on using it until
//! their loop comes round, when they pass [`Reader::enter`]. Once every reader has passed, nobody can hold the old value any more and
//! [`Domain::reclaim`] frees it. Readers never wait and pay one load and one store a loop.

use std::marker::PhantomData;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

pub use crate::raw::{Retired, Slot};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
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
        self.pass();
    }

    /// The same; returns the proof.
    fn pass(&self) -> Passed {
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
        Passed(())
    }

    /// Frees what was replaced, after a grace period that all of it shares.
    pub fn reclaim(&self, retired: &mut Vec<Retired>) {
        if !retired.is_empty() {
            let passed = self.pass();
            retired.drain(..).for_each(|old| old.free(&passed));
        }
    }
}

/// Proof that every reader has passed since something was taken out of its slot.
pub(crate) struct Passed(());

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

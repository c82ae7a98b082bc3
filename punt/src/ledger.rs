//! The ledger: what a worker notes of the records that it puts into a ring whose client reads by itself.
//!
//! The sink's thread counts these records once the client has read them. Their headers lie in cache lines that the worker's CPU hands to the
//! client's, each found only through the one before, so a third reader waits for every one of them. Here it finds those of a burst in one
//! line. A ledger that is full notes nothing, and that is looked up in the ring: it saves looks, and nothing depends on it.

use crossbeam_utils::CachePadded;

use crate::record::{Header, TRUNCATED};
use crate::sync::atomic::{AtomicU64, Ordering};

/// Entries that may wait for the sink's thread.
const ENTRIES: usize = if cfg!(loom) { 2 } else { 512 };

/// Records of one registration that came in at the same time, as most of a burst do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub registration: u32,
    /// When they were received, in nanoseconds since 1970.
    pub received: u64,
    pub records: u64,
    /// Of frames in them.
    pub bytes: u64,
    /// How many lack the end of their frame.
    pub truncated: u64,
}

impl Tally {
    /// Of one record.
    #[inline(always)]
    pub fn of(header: &Header) -> Tally {
        Tally {
            registration: header.registration,
            received: header.received,
            records: 1,
            bytes: header.captured as u64,
            truncated: (header.flags & TRUNCATED != 0) as u64,
        }
    }

    /// Adds others, if they are of the same registration and time. Returns whether they are.
    #[inline(always)]
    pub fn add(&mut self, other: &Tally) -> bool {
        let alike = (self.registration, self.received) == (other.registration, other.received);
        if alike {
            self.records += other.records;
            self.bytes += other.bytes;
            self.truncated += other.truncated;
        }
        alike
    }

    /// Itself, if it counts anything.
    #[inline(always)]
    pub fn any(self) -> Option<Tally> {
        Some(self).filter(|tally| tally.records > 0)
    }
}

/// Records that follow one another in a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u64,
    end: u64,
    tally: Tally,
}

/// A span in words of atomics, in a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Entry([AtomicU64; 7]);

impl Entry {
    #[inline(always)]
    fn store(&self, span: &Span) {
        let Span { start, end, tally } = *span;
        let Tally { registration, received, records, bytes, truncated } = tally;
        let values = [start, end, registration as u64, received, records, bytes, truncated];
        self.0.iter().zip(values).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
    }

    #[inline(always)]
    fn load(&self) -> Span {
        let [start, end, registration, received, records, bytes, truncated] =
            std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed));
        let registration = registration as u32;
        Span { start, end, tally: Tally { registration, received, records, bytes, truncated } }
    }
}

/// One ring's ledger. The worker is its producer and the sink's thread its consumer.
pub(crate) struct Ledger {
    entries: Box<[Entry]>,
    /// Up to here the sink's thread may look.
    published: CachePadded<AtomicU64>,
    /// Up to here the worker may overwrite.
    taken: CachePadded<AtomicU64>,
    producer: CachePadded<Producer>,
}

/// What only the producer changes.
#[derive(Default)]
struct Producer {
    /// Entries written.
    noted: AtomicU64,
    /// Where the consumer was when the producer last looked.
    taken: AtomicU64,
    /// What grows, and is not among the entries.
    open: Entry,
}

impl Ledger {
    pub fn new() -> Ledger {
        Ledger {
            entries: (0..ENTRIES).map(|_| Entry::default()).collect(),
            published: CachePadded::default(),
            taken: CachePadded::default(),
            producer: CachePadded::default(),
        }
    }

    /// For the producer: the record that lies between these positions, with what fills the ring up before it.
    #[inline(always)]
    pub fn note(&self, header: &Header, start: u64, end: u64) {
        let (mut open, tally) = (self.producer.open.load(), Tally::of(header));
        if open.tally.records > 0 && open.tally.add(&tally) {
            open.end = end;
        } else {
            self.close(&open);
            open = Span { start, end, tally };
        }
        self.producer.open.store(&open);
    }

    /// For the producer, before it publishes the records.
    #[inline(always)]
    pub fn publish(&self) {
        let open = self.producer.open.load();
        if open.tally.records > 0 {
            self.close(&open);
            self.producer.open.store(&Span::default());
        }
        self.published.store(self.producer.noted.load(Ordering::Relaxed), Ordering::Release);
    }

    #[inline(always)]
    fn close(&self, span: &Span) {
        let Producer { noted, taken, .. } = &*self.producer;
        let at = noted.load(Ordering::Relaxed);
        if span.tally.records == 0 {
            return;
        }
        if at - taken.load(Ordering::Relaxed) == ENTRIES as u64 {
            taken.store(self.taken.load(Ordering::Acquire), Ordering::Relaxed);
            if at - taken.load(Ordering::Relaxed) == ENTRIES as u64 {
                return;
            }
        }
        self.entries[at as usize % ENTRIES].store(span);
        noted.store(at + 1, Ordering::Relaxed);
    }

    /// For the consumer, who has got as far as `head`: the records that were noted together from there on, and where they end, if that is
    /// not after `last`.
    #[inline]
    pub fn take(&self, head: u64, last: u64) -> Option<(Tally, u64)> {
        let published = self.published.load(Ordering::Acquire);
        let mut taken = self.taken.load(Ordering::Relaxed);
        while taken != published {
            let Span { start, end, tally } = self.entries[taken as usize % ENTRIES].load();
            let here = start == head;
            // What began before was looked up in the ring.
            if start > head || (here && end > last) {
                break;
            }
            taken += 1;
            self.taken.store(taken, Ordering::Release);
            if here {
                return Some((tally, end));
            }
        }
        None
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn header(registration: u32, received: u64, captured: u32, flags: u16) -> Header {
        Header { registration, received, captured, flags, ..Header::default() }
    }

    #[test]
    fn records_of_one_registration_and_time_are_one_entry() {
        let ledger = Ledger::new();
        ledger.note(&header(1, 5, 60, 0), 0, 16);
        ledger.note(&header(1, 5, 100, TRUNCATED), 16, 37);
        ledger.note(&header(2, 5, 60, 0), 37, 53);
        ledger.note(&header(2, 6, 60, 0), 53, 69);
        assert_eq!(ledger.take(0, 69), None, "not published");
        ledger.publish();
        let tally = |registration, received, records, bytes, truncated| Tally {
            registration,
            received,
            records,
            bytes,
            truncated,
        };
        assert_eq!(ledger.take(0, 36), None, "not all of it was read");
        assert_eq!(ledger.take(0, 37), Some((tally(1, 5, 2, 160, 1), 37)));
        assert_eq!(ledger.take(37, 69), Some((tally(2, 5, 1, 60, 0), 53)));
        assert_eq!(ledger.take(53, 69), Some((tally(2, 6, 1, 60, 0), 69)));
        assert_eq!(ledger.take(69, 99), None);
    }

    #[test]
    fn what_was_looked_up_in_the_ring_is_passed_over() {
        let ledger = Ledger::new();
        for at in 0..4 {
            ledger.note(&header(1, at, 0, 0), at * 8, at * 8 + 8);
        }
        ledger.publish();
        assert_eq!(ledger.take(20, 99), None, "within the third");
        assert_eq!(ledger.take(24, 99).map(|(tally, end)| (tally.received, end)), Some((3, 32)));
    }

    #[test]
    fn what_finds_no_room_is_not_noted_and_what_comes_later_is() {
        let ledger = Ledger::new();
        let note = |at: u64| ledger.note(&header(1, at, 0, 0), at * 8, at * 8 + 8);
        let most = ENTRIES as u64;
        (0..most + 3).for_each(note);
        ledger.publish();
        assert!((0..most).all(|at| ledger.take(at * 8, u64::MAX).is_some()));
        assert_eq!(ledger.take(most * 8, u64::MAX), None);
        note(most + 3);
        ledger.publish();
        assert_eq!(ledger.take(most * 8, u64::MAX), None, "a gap");
        assert!(ledger.take((most + 3) * 8, u64::MAX).is_some());
    }
}

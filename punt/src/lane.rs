//! The lane: how records of one class get from one worker to one sink, and the books of both ends.
//!
//! The worker is the ring's producer and the sink's thread its consumer. Each counts what it does itself, with a load and a store; anybody may
//! read. Every record that is offered is refused, lost to a full ring or an error, delivered, or still on its way.

use crossbeam_utils::CachePadded;

use crate::class::Class;
use crate::record::Header;
use crate::ring::Ring;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Errors are counted by their number, up to this one; what is above counts as this one.
pub const MAX_ERRNO: usize = 133;

/// One (sink, worker, class).
pub struct Lane {
    /// The worker at one end, from 0.
    pub worker: u16,
    /// The class of its records.
    pub class: Class,
    /// The records on their way.
    pub ring: Ring,
    /// What the worker counts.
    pub offers: CachePadded<Offers>,
    /// What the sink's thread counts, in cache lines of its own.
    pub outcome: CachePadded<Outcome>,
    /// Records that the sink's thread gave up in the ring of a client that reads by itself; other losses it writes into the next record.
    given_up: CachePadded<Count>,
}

/// What became of records before they were in the ring. `offered` = refused + ring full + errors + written.
#[derive(Default)]
pub struct Offers {
    /// Packets for which this sink had a covering registration.
    pub offered: Count,
    /// Refused by the registration's policer.
    pub refused_registration: Count,
    /// Refused by the sink's policer.
    pub refused_sink: Count,
    /// For which there was no room.
    pub ring_full: Count,
    /// That came while the sink was suspended, by the errno that suspended it.
    pub errors: Errors,
    /// Whether the worker has the lane among those that it will publish.
    touched: AtomicBool,
    /// The burst, by the worker's count, in which the ring was full: for the rest of it the worker does not look where the thread is, for every
    /// look takes a cache line from it.
    full: AtomicU64,
}

/// What became of records that were in the ring.
#[derive(Default)]
pub struct Outcome {
    /// Records that the client took.
    pub delivered: Count,
    /// Bytes of frames in those.
    pub delivered_bytes: Count,
    /// Of those, how many lack the end of their frame.
    pub truncated: Count,
    /// Records that could not be written, by errno.
    pub errors: Errors,
}

impl Lane {
    /// An empty lane whose ring holds `bytes`.
    pub fn new(worker: u16, class: Class, bytes: usize) -> Lane {
        Lane::over(worker, class, Ring::new(bytes))
    }

    /// An empty lane over this ring.
    pub(crate) fn over(worker: u16, class: Class, ring: Ring) -> Lane {
        Lane {
            worker,
            class,
            ring,
            offers: CachePadded::default(),
            outcome: CachePadded::default(),
            given_up: CachePadded::default(),
        }
    }

    /// For the worker: writes a record with the next number. Returns whether there was room; it is counted either way.
    #[inline(always)]
    pub fn write<'a>(&self, header: Header, segments: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let fits = self.try_write(header, segments);
        if !fits {
            self.lose(1, &self.offers.ring_full);
        }
        fits
    }

    /// For the worker: the same, but a record for which there was no room is not counted.
    #[inline(always)]
    pub(crate) fn try_write<'a>(
        &self,
        mut header: Header,
        segments: impl IntoIterator<Item = &'a [u8]>,
    ) -> bool {
        header.sequence = self.offers.offered.get();
        header.lost = header.sequence - self.ring.written() + self.given_up.get();
        let fits = self.ring.write(&header, segments);
        if fits {
            self.offers.offered.add(1);
        }
        fits
    }

    /// For the worker: counts packets that were offered and go no further, because of `why`, one of [`Offers`]' counts.
    #[inline]
    pub fn lose(&self, packets: u64, why: &Count) {
        self.offers.offered.add(packets);
        why.add(packets);
    }

    /// For the worker: whether the ring was full, in this burst; bursts are counted from 1.
    #[inline(always)]
    pub(crate) fn is_full(&self, burst: u64) -> bool {
        self.offers.full.load(Ordering::Relaxed) == burst
    }

    /// For the worker: it is, in this burst.
    #[inline(always)]
    pub(crate) fn was_full(&self, burst: u64) {
        self.offers.full.store(burst, Ordering::Relaxed);
    }

    /// For the worker: it will be published. Returns whether that is new.
    #[inline(always)]
    pub(crate) fn touch(&self) -> bool {
        let new = !self.offers.touched.load(Ordering::Relaxed);
        if new {
            self.offers.touched.store(true, Ordering::Relaxed);
        }
        new
    }

    /// For the worker: it is published.
    #[inline(always)]
    pub(crate) fn untouch(&self) {
        self.offers.touched.store(false, Ordering::Relaxed);
    }

    /// For the sink's thread: records are lost in the ring, and those that the worker writes from now on say so.
    pub(crate) fn give_up(&self, errno: i32, records: u64) {
        self.outcome.errors.of(errno).add(records);
        self.given_up.add(records);
    }

    /// Records that the sink's thread has not finished with.
    pub fn backlog(&self) -> u64 {
        let finished = self.outcome.delivered.get() + self.outcome.errors.sum();
        self.ring.written().saturating_sub(finished)
    }
}

/// A count with one writer.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`: a load and a store, for only one thread does.
    #[inline(always)]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// As it is now.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts by errno.
pub struct Errors(Box<[Count]>);

impl Default for Errors {
    fn default() -> Errors {
        Errors((0..=MAX_ERRNO).map(|_| Count::default()).collect())
    }
}

impl Errors {
    /// The count of `errno`.
    #[inline]
    pub fn of(&self, errno: i32) -> &Count {
        &self.0[(errno.max(0) as usize).min(MAX_ERRNO)]
    }

    /// All of them together.
    pub fn sum(&self) -> u64 {
        self.0.iter().map(Count::get).sum()
    }

    /// Those that are not 0, with their errno.
    pub fn iter(&self) -> impl Iterator<Item = (i32, u64)> {
        self.0
            .iter()
            .map(Count::get)
            .enumerate()
            .filter(|(_, count)| *count > 0)
            .map(|(errno, count)| (errno as i32, count))
    }
}

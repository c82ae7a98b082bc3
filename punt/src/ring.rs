//! The ring: records from one worker to one sink's thread, without a lock and without a system call.
//!
//! A byte ring of 64-bit words with one producer and one consumer. A record is a [`Header`] and its frame, whole and in one piece, filled up
//! to a word; one that does not fit before the end of the ring stands at its beginning, and a filler says so. The producer writes several
//! records and [publishes](Ring::publish) them at once. Positions count words since the ring was made and never wrap.
//!
//! All words are atomic, stored and loaded relaxed: on the machines we run on these are plain moves, and what a hostile or late reader sees
//! is old or mixed bytes, never undefined behaviour. So a client may map the words: of a ring in a [`Segment`](crate::segment::Segment) it
//! reads the records itself, and the sink's thread only [settles](Ring::settle) what the client says that it has read.

use crossbeam_utils::CachePadded;

use crate::ledger::{Ledger, Tally};
use crate::raw;
use crate::record::{HEADER, HEADER_WORDS, Header};
use crate::segment::Slot;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The first word of what fills the ring up to its end.
const FILLER: u64 = 0;
/// Words of a cache line.
const LINE: usize = 8;
/// Words between the end of the record that is written and the lines that are fetched meanwhile.
const AHEAD: usize = 64;

/// A ring of records.
pub struct Ring {
    memory: Memory,
    /// What the sink's thread need not look up, where the client reads by itself.
    ledger: Option<Ledger>,
    /// Up to here the producer may overwrite. Always the engine's own, for the producer believes it.
    head: CachePadded<AtomicU64>,
    producer: CachePadded<Producer>,
}

/// Where the words are, and up to where the consumer may read.
enum Memory {
    Own { words: Box<[AtomicU64]>, tail: CachePadded<AtomicU64> },
    Shared(Slot),
}

/// What only the producer changes.
struct Producer {
    /// Where the next record goes.
    next: AtomicU64,
    /// How far the consumer was when the producer last looked.
    head: AtomicU64,
    /// Records written.
    written: AtomicU64,
}

impl Ring {
    /// A ring of at least `bytes` bytes, rounded up to a power of two.
    pub fn new(bytes: usize) -> Ring {
        let words = (bytes.div_ceil(8)).next_power_of_two();
        let words = (0..words).map(|_| AtomicU64::new(0)).collect();
        Ring::at(Memory::Own { words, tail: CachePadded::new(AtomicU64::new(0)) }, None)
    }

    /// A ring that a client reads.
    pub(crate) fn shared(slot: Slot) -> Ring {
        Ring::at(Memory::Shared(slot), Some(Ledger::new()))
    }

    /// As [`shared`](Ring::shared), in memory of its own.
    #[cfg(test)]
    fn kept(bytes: usize) -> Ring {
        Ring { ledger: Some(Ledger::new()), ..Ring::new(bytes) }
    }

    fn at(memory: Memory, ledger: Option<Ledger>) -> Ring {
        let producer =
            Producer { next: AtomicU64::new(0), head: AtomicU64::new(0), written: AtomicU64::new(0) };
        let head = CachePadded::new(AtomicU64::new(0));
        Ring { memory, ledger, head, producer: CachePadded::new(producer) }
    }

    #[inline(always)]
    fn words(&self) -> &[AtomicU64] {
        match &self.memory {
            Memory::Own { words, .. } => words,
            Memory::Shared(slot) => slot.words(),
        }
    }

    #[inline(always)]
    fn tail(&self) -> &AtomicU64 {
        match &self.memory {
            Memory::Own { tail, .. } => tail,
            Memory::Shared(slot) => slot.tail(),
        }
    }

    /// The ring as its consumer sees it.
    fn view(&self) -> View<'_> {
        View(self.words())
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.words().len() * 8
    }

    /// Records written so far, published or not.
    pub fn written(&self) -> u64 {
        self.producer.written.load(Ordering::Relaxed)
    }

    /// For the producer: writes a record, `header.captured` bytes of `segments`, to be seen after [`publish`](Ring::publish). Returns whether
    /// there was room.
    #[inline]
    pub fn write<'a>(&self, header: &Header, segments: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let start = self.producer.next.load(Ordering::Relaxed);
        let Some(place) = self.reserve(HEADER_WORDS + (header.captured as usize).div_ceil(8)) else {
            return false;
        };
        self.fetch_ahead(place.len());
        let (head, frame) = place.split_at(HEADER_WORDS);
        for (word, value) in head.iter().zip(header.words()) {
            word.store(value, Ordering::Relaxed);
        }
        copy_in(frame, header.captured as usize, segments);
        let written = &self.producer.written;
        written.store(written.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        if let Some(ledger) = &self.ledger {
            ledger.note(header, start, self.producer.next.load(Ordering::Relaxed));
        }
        true
    }

    /// The next `need` words in one piece, if the consumer has left as many.
    #[inline]
    fn reserve(&self, need: usize) -> Option<&[AtomicU64]> {
        let words = self.words();
        let size = words.len();
        let next = self.producer.next.load(Ordering::Relaxed);
        let at = next as usize & (size - 1);
        let rest = if need > size - at { size - at } else { 0 };
        let end = next + (rest + need) as u64;
        if end - self.producer.head.load(Ordering::Relaxed) > size as u64 {
            let head = self.head.load(Ordering::Acquire);
            self.producer.head.store(head, Ordering::Relaxed);
            if end.wrapping_sub(head) > size as u64 {
                return None;
            }
        }
        let at = if rest > 0 {
            words[at].store(FILLER, Ordering::Relaxed);
            0
        } else {
            at
        };
        self.producer.next.store(end, Ordering::Relaxed);
        words.get(at..at + need)
    }

    /// Takes cache lines back from the consumer that as long a record as this one will be written to a little later, so that it need not wait.
    #[inline(always)]
    fn fetch_ahead(&self, record: usize) {
        let (words, next) = (self.words(), self.producer.next.load(Ordering::Relaxed) as usize);
        for line in 0..record.div_ceil(LINE) {
            raw::fetch_to_write(&words[(next + AHEAD + line * LINE) & (words.len() - 1)]);
        }
    }

    /// For the producer: lets the consumer see what was written. Returns whether there was anything new.
    #[inline]
    pub fn publish(&self) -> bool {
        let next = self.producer.next.load(Ordering::Relaxed);
        let tail = self.tail();
        let new = next != tail.load(Ordering::Relaxed);
        if new {
            self.ledger.iter().for_each(Ledger::publish);
            tail.store(next, Ordering::Release);
        }
        new
    }

    /// For the consumer: takes the oldest record out, into `record` (which is overwritten). Returns false where there is none.
    pub fn read(&self, record: &mut Vec<u8>) -> bool {
        let len = self.read_at(record, 0);
        record.truncate(len.unwrap_or(0));
        len.is_some()
    }

    /// The same, into `buffer` from its byte `start` on; it grows as needed, and what is there is overwritten. Returns how many bytes the
    /// record has; up to seven more behind it are overwritten, too.
    pub fn read_at(&self, buffer: &mut Vec<u8>, start: usize) -> Option<usize> {
        let tail = self.tail().load(Ordering::Acquire);
        let (len, head) = self.view().read(self.head.load(Ordering::Relaxed), tail, buffer, start)?;
        self.head.store(head, Ordering::Release);
        Some(len)
    }

    /// Whether there is nothing published to take out.
    pub fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed) == self.tail().load(Ordering::Acquire)
    }

    /// How far records are taken out or settled.
    pub(crate) fn head(&self) -> u64 {
        self.head.load(Ordering::Relaxed)
    }

    /// For the consumer, whose client reads by itself: the client says that it has read everything before `claimed`. Passes what those
    /// records are to `each`, until there were `most`, and lets the producer overwrite them. Returns whether there are more.
    ///
    /// # Errors
    /// If `claimed` is no place between two records that are there. Records before it were passed on, if there are any.
    pub(crate) fn settle(
        &self,
        claimed: u64,
        most: u64,
        mut each: impl FnMut(Tally),
    ) -> Result<bool, Disbelieved> {
        let before = self.head();
        let view = self.view();
        let tail = self.tail().load(Ordering::Acquire);
        let read = claimed.wrapping_sub(before);
        if read > tail - before {
            return Err(Disbelieved);
        }
        let (mut head, mut passed, mut believed) = (before, 0, true);
        while head != claimed && passed < most {
            let noted = self.ledger.as_ref().and_then(|ledger| ledger.take(head, claimed));
            if let Some((tally, end)) = noted {
                each(tally);
                (head, passed) = (end, passed + tally.records);
                continue;
            }
            // What fills the ring up to its end may be left behind by itself.
            let Some((at, start)) = view.record(head, tail).filter(|(_, start)| *start != claimed) else {
                head = claimed;
                break;
            };
            let end = start + view.size(at).1 as u64;
            believed = end.wrapping_sub(before) <= read;
            if !believed {
                break;
            }
            each(Tally::of(&view.header(at)));
            (head, passed) = (end, passed + 1);
        }
        self.head.store(head, Ordering::Release);
        if believed { Ok(head != claimed) } else { Err(Disbelieved) }
    }

    /// For the consumer, who gives up everything that is there: as [`settle`](Ring::settle).
    pub(crate) fn discard(&self, most: u64, each: impl FnMut(Tally)) -> bool {
        let tail = self.tail().load(Ordering::Acquire);
        // The tail is always a place between two records.
        self.settle(tail, most, each).unwrap_or(false)
    }
}

/// What a client says that it has read is not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disbelieved;

/// The words of a ring, a power of two, as its consumer sees them, be it in this process or another.
#[derive(Clone, Copy)]
pub(crate) struct View<'a>(pub &'a [AtomicU64]);

/// Where a record lies: its first word in the ring, how many bytes it has, and at which position the next one comes.
pub(crate) struct Place {
    pub word: usize,
    pub bytes: usize,
    pub next: u64,
}

impl View<'_> {
    /// Copies the record at `head` into `buffer` from its byte `start` on, if there is one before `tail`: how many bytes it has, and where the
    /// next is.
    #[inline]
    pub fn read(&self, head: u64, tail: u64, buffer: &mut Vec<u8>, start: usize) -> Option<(usize, u64)> {
        let Place { word, bytes, next } = self.find(head, tail)?;
        let record = &self.0[word..word + bytes.div_ceil(8)];
        let end = start + record.len() * 8;
        if buffer.len() < end {
            buffer.resize(end, 0);
        }
        let (eights, _) = buffer[start..end].as_chunks_mut::<8>();
        for (eight, word) in eights.iter_mut().zip(record) {
            *eight = word.load(Ordering::Relaxed).to_le_bytes();
        }
        Some((bytes, next))
    }

    /// The record at `head`, if there is one before `tail`; all of it is within the ring.
    #[inline]
    pub fn find(&self, head: u64, tail: u64) -> Option<Place> {
        let (word, head) = self.record(head, tail)?;
        let (bytes, words) = self.size(word);
        (word + words <= self.0.len()).then_some(Place { word, bytes, next: head + words as u64 })
    }

    /// Fetches the cache line at this position, which may be anywhere ahead.
    #[inline(always)]
    pub fn fetch(&self, position: u64) {
        raw::fetch(&self.0[position as usize & (self.0.len() - 1)]);
    }

    /// Where among the words the record is that comes at `head`, and its position, which is further on if the end is filled up.
    #[inline]
    fn record(&self, mut head: u64, tail: u64) -> Option<(usize, u64)> {
        let mut at = head as usize & (self.0.len() - 1);
        if head != tail && self.0[at].load(Ordering::Relaxed) == FILLER {
            head += (self.0.len() - at) as u64;
            at = 0;
        }
        (head != tail).then_some((at, head))
    }

    /// Bytes and words of the record there.
    #[inline]
    fn size(&self, at: usize) -> (usize, usize) {
        // No record is so short that this goes round the end; the mask only spares a panic.
        let lengths = self.0[(at + 1) & (self.0.len() - 1)].load(Ordering::Relaxed);
        let len = HEADER + lengths as u32 as usize;
        (len, len.div_ceil(8))
    }

    fn header(&self, at: usize) -> Header {
        let mut words = [0; HEADER_WORDS];
        for (value, word) in words.iter_mut().zip(&self.0[at..]) {
            *value = word.load(Ordering::Relaxed);
        }
        Header::from_words(&words)
    }
}

/// Copies `len` bytes of `segments` into `words`, the last of which is filled up with zeros.
#[inline]
fn copy_in<'a>(words: &[AtomicU64], len: usize, segments: impl IntoIterator<Item = &'a [u8]>) {
    let mut words = words.iter();
    let mut put = |word: u64| {
        if let Some(place) = words.next() {
            place.store(word, Ordering::Relaxed);
        }
    };
    let (mut left, mut carry, mut carried) = (len, 0u64, 0);
    for segment in segments {
        let segment = &segment[..segment.len().min(left)];
        left -= segment.len();
        let (eights, rest) = segment.as_chunks::<8>();
        for eight in eights {
            let word = u64::from_le_bytes(*eight);
            put(carry | word << carried);
            carry = if carried == 0 { 0 } else { word >> (64 - carried) };
        }
        for byte in rest {
            carry |= (*byte as u64) << carried;
            carried += 8;
            if carried == 64 {
                put(carry);
                (carry, carried) = (0, 0);
            }
        }
    }
    if carried > 0 {
        put(carry);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn write(ring: &Ring, sequence: u64, frame: &[u8]) -> bool {
        let captured = frame.len() as u32;
        ring.write(&Header { sequence, received: sequence, captured, ..Header::default() }, [frame])
    }

    fn read(ring: &Ring) -> Option<(u64, Vec<u8>)> {
        let mut record = Vec::new();
        ring.read(&mut record).then(|| {
            let (header, frame) = Header::read(&record).expect("a record");
            (header.sequence, frame.to_vec())
        })
    }

    #[test]
    fn nothing_is_seen_before_it_is_published() {
        let ring = Ring::new(1024);
        assert!(write(&ring, 0, b"first"));
        assert_eq!(read(&ring), None);
        assert!(ring.publish() && !ring.publish());
        assert_eq!(read(&ring), Some((0, b"first".to_vec())));
        assert_eq!(read(&ring), None);
    }

    #[test]
    fn a_full_ring_takes_nothing_more_and_loses_nothing() {
        let ring = Ring::new(1024);
        let fit = (0..).take_while(|sequence| write(&ring, *sequence, &[7; 60])).count() as u64;
        assert_eq!((fit, ring.written()), (8, 8));
        ring.publish();
        for sequence in 0..fit {
            assert_eq!(read(&ring), Some((sequence, vec![7; 60])));
            assert!(write(&ring, fit + sequence, &[8; 60]), "one goes, one comes");
        }
        ring.publish();
        assert_eq!(read(&ring), Some((fit, vec![8; 60])));
    }

    #[test]
    fn a_record_larger_than_the_ring_never_fits() {
        let ring = Ring::new(1024);
        assert!(!write(&ring, 0, &[0; 1000]));
        assert!(write(&ring, 0, &[0; 960]));
    }

    /// Two records of two words' frames in a ring of 32 words; a third goes round the end, where six words are left.
    fn three_records(ring: Ring) -> Ring {
        assert!(write(&ring, 0, &[1; 40]) && write(&ring, 1, &[2; 40]));
        ring.publish();
        assert_eq!(
            ring.settle(13, 9, |tally| assert_eq!((tally.received, tally.records), (0, 1))),
            Ok(false)
        );
        assert!(write(&ring, 2, &[3; 16]));
        ring.publish();
        ring
    }

    #[test]
    fn only_places_between_records_are_believed() {
        let claims = (0..80).chain([u64::MAX, u64::MAX - 12, 1 << 32, 1 << 63]);
        for (claimed, ring) in
            claims.flat_map(|claimed| [Ring::new(256), Ring::kept(256)].map(|ring| (claimed, ring)))
        {
            let ring = three_records(ring);
            let mut seen = Vec::new();
            let believed = ring.settle(claimed, 9, |tally| seen.push(tally.received));
            let (expected, passed, head) = match claimed {
                13 => (Ok(false), vec![], 13),
                26 | 32 => (Ok(false), vec![1], claimed),
                42 => (Ok(false), vec![1, 2], 42),
                27..42 => (Err(Disbelieved), vec![1], 26),
                _ => (Err(Disbelieved), vec![], 13),
            };
            assert_eq!((believed, seen, ring.head()), (expected, passed, head), "{claimed}");
            // The rest can still be given up.
            let mut rest = 0;
            assert!(!ring.discard(9, |_| rest += 1));
            assert!(ring.is_empty());
        }
    }

    #[test]
    fn settling_goes_on_where_it_stopped() {
        for ring in [Ring::new(256), Ring::kept(256)] {
            let ring = three_records(ring);
            let mut seen = Vec::new();
            assert_eq!(ring.settle(42, 1, |tally| seen.push(tally.received)), Ok(true));
            assert_eq!(ring.settle(42, 1, |tally| seen.push(tally.received)), Ok(false));
            assert_eq!((seen, ring.is_empty()), (vec![1, 2], true));
        }
    }

    #[test]
    fn what_is_claimed_within_a_burst_is_settled_all_the_same() {
        let ring = Ring::kept(1024);
        let header = Header { captured: 16, registration: 7, ..Header::default() };
        (0..4).for_each(|_| assert!(ring.write(&header, [[0; 16].as_slice()])));
        ring.publish();
        let settle = |claimed| {
            let mut seen = Vec::new();
            ring.settle(claimed, 9, |tally| seen.push(tally.records)).map(|_| seen)
        };
        assert_eq!(settle(10), Ok(vec![1]));
        assert_eq!(settle(25), Err(Disbelieved));
        assert_eq!(settle(40), Ok(vec![1, 1]));
        (0..4).for_each(|_| assert!(ring.write(&header, [[0; 16].as_slice()])));
        ring.publish();
        assert_eq!(settle(80), Ok(vec![4]));
    }

    proptest! {
        #[test]
        fn what_comes_out_is_what_went_in(
            steps in proptest::collection::vec((any::<bool>(), 0usize..700, 1usize..4), 1..400)
        ) {
            let ring = Ring::new(4096);
            let mut inside = VecDeque::new();
            for (number, (writes, len, pieces)) in steps.into_iter().enumerate() {
                let frame: Vec<u8> = (0..len).map(|at| (at + number) as u8).collect();
                if writes {
                    let header = Header { sequence: number as u64, captured: len as u32, ..Header::default() };
                    if ring.write(&header, frame.chunks(len.div_ceil(pieces).max(1))) {
                        inside.push_back((number as u64, frame));
                    } else {
                        prop_assert!(!inside.is_empty());
                    }
                    ring.publish();
                } else {
                    prop_assert_eq!(read(&ring), inside.pop_front());
                }
            }
            while let Some(record) = inside.pop_front() {
                prop_assert_eq!(read(&ring), Some(record));
            }
            prop_assert!(ring.is_empty());
        }
    }

    #[test]
    fn two_threads_see_every_record_once_and_whole() {
        const RECORDS: u64 = 200_000;
        let ring = Ring::new(16 << 10);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut sequence = 0;
                while sequence < RECORDS {
                    let len = (sequence % 300) as usize;
                    if write(&ring, sequence, &vec![sequence as u8; len]) {
                        sequence += 1;
                    } else {
                        std::thread::yield_now();
                    }
                    ring.publish();
                }
            });
            let mut expected = 0;
            while expected < RECORDS {
                match read(&ring) {
                    None => std::thread::yield_now(),
                    Some((sequence, frame)) => {
                        assert_eq!(sequence, expected);
                        assert_eq!(frame, vec![sequence as u8; (sequence % 300) as usize]);
                        expected += 1;
                    }
                }
            }
        });
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc;

    /// Two records that fit, one that must wait for room and goes round the end: whatever the order of steps, the consumer sees them whole.
    #[test]
    fn no_order_of_steps_tears_or_loses_a_record() {
        loom::model(|| {
            let ring = Arc::new(Ring::new(256));
            let producer = ring.clone();
            let thread = loom::thread::spawn(move || {
                let mut written = 0;
                for sequence in 0..3u64 {
                    let header = Header { sequence, captured: 40, ..Header::default() };
                    let fits = producer.write(&header, [[sequence as u8; 40].as_slice()]);
                    producer.publish();
                    if !fits {
                        break;
                    }
                    written += 1;
                }
                written
            });
            let mut record = Vec::new();
            let mut seen = 0;
            for _ in 0..2 {
                if ring.read(&mut record) {
                    let (header, frame) = Header::read(&record).expect("a whole record");
                    assert_eq!((header.sequence, frame), (seen, [seen as u8; 40].as_slice()));
                    seen += 1;
                }
            }
            let written = thread.join().expect("the producer");
            while ring.read(&mut record) {
                let (header, frame) = Header::read(&record).expect("a whole record");
                assert_eq!((header.sequence, frame), (seen, [seen as u8; 40].as_slice()));
                seen += 1;
            }
            assert_eq!(seen, written);
        });
    }

    /// The same where the reader is a client in another process, who says in a word of its own how far it has read: the keeper believes it
    /// and the producer believes the keeper. No order of steps lets the producer overwrite what the client has yet to read.
    #[test]
    fn no_order_of_steps_overwrites_what_a_client_reads() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let (ring, claimed) = (Arc::new(Ring::kept(128)), Arc::new(AtomicU64::new(0)));
            let producer = ring.clone();
            let worker = loom::thread::spawn(move || {
                let mut written = 0;
                for sequence in 0..3u64 {
                    let header = Header { sequence, received: sequence, ..Header::default() };
                    written += u64::from(producer.write(&header, []));
                    producer.publish();
                    if written <= sequence {
                        break;
                    }
                }
                written
            });
            let (view_of, says) = (ring.clone(), claimed.clone());
            let client = loom::thread::spawn(move || {
                let (mut buffer, mut head, mut seen) = (Vec::new(), 0, 0);
                for _ in 0..2 {
                    let tail = view_of.tail().load(Ordering::Acquire);
                    if let Some((len, next)) = view_of.view().read(head, tail, &mut buffer, 0) {
                        let (header, _) = Header::read(&buffer[..len]).expect("a whole record");
                        assert_eq!(header.sequence, seen);
                        (head, seen) = (next, seen + 1);
                        says.store(head, Ordering::Release);
                    }
                }
                seen
            });
            let mut settled = 0;
            let mut settle = || {
                let more = ring.settle(claimed.load(Ordering::Acquire), 9, |tally| {
                    assert_eq!(tally.received, settled);
                    settled += tally.records;
                });
                assert_eq!(more, Ok(false));
            };
            settle();
            let (written, seen) = (worker.join().expect("the worker"), client.join().expect("the client"));
            settle();
            assert!(settled == seen && seen <= written);
        });
    }

    /// A client that falls asleep, and a record that comes just then: it has seen the record, or it is woken.
    #[test]
    fn no_order_of_steps_lets_a_client_sleep_beside_a_record() {
        use crate::segment::{falls_asleep, is_to_be_woken};
        loom::model(|| {
            let (ring, asleep) = (Arc::new(Ring::new(128)), Arc::new(AtomicU64::new(0)));
            let (of_engine, its_sleep) = (ring.clone(), asleep.clone());
            let engine = loom::thread::spawn(move || {
                of_engine.write(&Header::default(), []);
                of_engine.publish();
                !of_engine.is_empty() && is_to_be_woken(&its_sleep)
            });
            falls_asleep(&asleep);
            let sleeps = ring.is_empty();
            let woken = engine.join().expect("the engine");
            assert!(!sleeps || woken);
        });
    }
}

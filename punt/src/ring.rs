//! The ring: records from one worker to one sink's thread, without a lock and without a system call.
//!
//! A byte ring of 64-bit words with one producer and one consumer. A record is a [`Header`] and its frame, whole and in one piece, filled up
//! to a word; one that does not fit before the end of the ring stands at its beginning, and a filler says so. The producer writes several
//! records and [publishes](Ring::publish) them at once. Positions count words since the ring was made and never wrap.
//!
//! All words are atomic, stored and loaded relaxed: on the machines we run on these are plain moves, and what a hostile or late reader sees
//! is old or mixed bytes, never undefined behaviour. So a client may map the words.

use crossbeam_utils::CachePadded;

use crate::record::{HEADER, HEADER_WORDS, Header};
use crate::sync::atomic::{AtomicU64, Ordering};

/// The first word of what fills the ring up to its end.
const FILLER: u64 = 0;

/// A ring of records.
pub struct Ring {
    words: Box<[AtomicU64]>,
    /// Up to here the consumer may read.
    tail: CachePadded<AtomicU64>,
    /// Up to here the producer may overwrite.
    head: CachePadded<AtomicU64>,
    producer: CachePadded<Producer>,
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
        Ring {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            tail: CachePadded::new(AtomicU64::new(0)),
            head: CachePadded::new(AtomicU64::new(0)),
            producer: CachePadded::new(Producer {
                next: AtomicU64::new(0),
                head: AtomicU64::new(0),
                written: AtomicU64::new(0),
            }),
        }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.words.len() * 8
    }

    /// Records written so far, published or not.
    pub fn written(&self) -> u64 {
        self.producer.written.load(Ordering::Relaxed)
    }

    /// For the producer: writes a record, `header.captured` bytes of `segments`, to be seen after [`publish`](Ring::publish). Returns whether
    /// there was room.
    #[inline]
    pub fn write<'a>(&self, header: &Header, segments: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let Some(place) = self.reserve(HEADER_WORDS + (header.captured as usize).div_ceil(8)) else {
            return false;
        };
        let (head, frame) = place.split_at(HEADER_WORDS);
        for (word, value) in head.iter().zip(header.words()) {
            word.store(value, Ordering::Relaxed);
        }
        copy_in(frame, header.captured as usize, segments);
        let written = &self.producer.written;
        written.store(written.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        true
    }

    /// The next `need` words in one piece, if the consumer has left as many.
    #[inline]
    fn reserve(&self, need: usize) -> Option<&[AtomicU64]> {
        let size = self.words.len();
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
            self.words[at].store(FILLER, Ordering::Relaxed);
            0
        } else {
            at
        };
        self.producer.next.store(end, Ordering::Relaxed);
        self.words.get(at..at + need)
    }

    /// For the producer: lets the consumer see what was written. Returns whether there was anything new.
    #[inline]
    pub fn publish(&self) -> bool {
        let next = self.producer.next.load(Ordering::Relaxed);
        let new = next != self.tail.load(Ordering::Relaxed);
        if new {
            self.tail.store(next, Ordering::Release);
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
        let mut head = self.head.load(Ordering::Relaxed);
        let tail = self.tail.load(Ordering::Acquire);
        let mut at = head as usize & (self.words.len() - 1);
        if head != tail && self.words[at].load(Ordering::Relaxed) == FILLER {
            head += (self.words.len() - at) as u64;
            at = 0;
        }
        if head == tail {
            return None;
        }
        let lengths = self.words[at + 1].load(Ordering::Relaxed);
        let len = HEADER + lengths as u32 as usize;
        let words = len.div_ceil(8);
        let end = start + words * 8;
        if buffer.len() < end {
            buffer.resize(end, 0);
        }
        let (eights, _) = buffer[start..end].as_chunks_mut::<8>();
        for (eight, word) in eights.iter_mut().zip(&self.words[at..at + words]) {
            *eight = word.load(Ordering::Relaxed).to_le_bytes();
        }
        self.head.store(head + words as u64, Ordering::Release);
        Some(len)
    }

    /// Whether there is nothing published to take out.
    pub fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed) == self.tail.load(Ordering::Acquire)
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
        let header = Header { sequence, captured: frame.len() as u32, ..Header::default() };
        ring.write(&header, [frame])
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
}

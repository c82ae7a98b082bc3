//! The segment: the memory that a sink shares with its client, and where in it everything is.
//!
//! Two memory files. *Records* is the engine's and the client only reads it: a table with an entry for each ring, and then the rings, all
//! as far apart as the largest is long, so that one map holds every ring that there will ever be and a new one need not be announced. Memory
//! is taken only for rings that are made. *Heads* is new with each client, which writes there how far it has read; only the sink's thread
//! looks at it. `docs/decisions/shm.md` says why.
//!
//! ```text
//! records   table: for each ring 128 bytes: tail, then bytes of the ring (0: not made yet)
//!           rings: ring 0 at `data`, the next `stride` bytes further, and so on
//! heads     at 0: not 0 while the client sleeps;  at 128: head of ring 0, at 256: of ring 1, and so on
//! ```
//!
//! Rings of one class stand together, the most important class last: ring `class * workers + worker`. Numbers are 64 bits, little-endian;
//! heads and tails count 8-byte words since the ring was made.

use std::io;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use crate::class::Class;
use crate::mapped::{Mapping, Writers};
use crate::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the largest ring.
pub const RING: usize = 2 << 20;
/// Bytes between two entries of the table, and between two heads.
const ENTRY: usize = 128;
const ENTRY_WORDS: usize = ENTRY / 8;
const PAGE: usize = 4096;
/// The version of all this.
const VERSION: u32 = 1;

/// Where everything is; the line that a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// How many rings the table holds.
    pub rings: usize,
    /// Where the first ring begins, in bytes.
    data: usize,
    /// Bytes from one ring to the next.
    stride: usize,
}

impl Layout {
    fn new(workers: usize) -> Layout {
        let rings = workers * Class::ALL.len();
        Layout { rings, data: (rings * ENTRY).next_multiple_of(PAGE), stride: RING }
    }

    /// Bytes of the records' file.
    pub fn records(&self) -> usize {
        self.data + self.rings * self.stride
    }

    /// Bytes of the heads' file.
    pub fn heads(&self) -> usize {
        ((self.rings + 1) * ENTRY).next_multiple_of(PAGE)
    }

    /// The line that describes it.
    pub fn line(&self) -> String {
        let Layout { rings, data, stride } = self;
        format!("punt-shm {VERSION} rings {rings} data {data} stride {stride}\n")
    }

    /// The word that says where the ring of this number ends.
    pub fn tail(ring: usize) -> usize {
        ring * ENTRY_WORDS
    }

    /// The word that says how large the ring of this number is.
    pub fn size(ring: usize) -> usize {
        ring * ENTRY_WORDS + 1
    }

    /// The word that says how far the client has read the ring of this number.
    pub fn head(ring: usize) -> usize {
        (ring + 1) * ENTRY_WORDS
    }

    /// The words of the ring of this number, if it has so many bytes; `None` if it cannot.
    pub fn words(&self, ring: usize, bytes: u64) -> Option<Range<usize>> {
        let bytes = usize::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two())?;
        let start = (self.data + ring * self.stride) / 8;
        (ring < self.rings && (8..=self.stride).contains(&bytes)).then(|| start..start + bytes / 8)
    }
}

/// The word in which a client says that it sleeps.
pub(crate) const ASLEEP: usize = 0;

impl FromStr for Layout {
    type Err = String;

    /// Reads the line; what it says fits together.
    fn from_str(line: &str) -> Result<Layout, String> {
        let fault = || format!("the engine says {:?}, which describes no shared memory", line.trim_end());
        let mut words = line.split_ascii_whitespace();
        let mut number = |name: &str| {
            words.next().filter(|word| *word == name)?;
            words.next()?.parse::<usize>().ok()
        };
        let version = number("punt-shm").ok_or_else(fault)?;
        if version != VERSION as usize {
            return Err(format!(
                "the engine's shared memory has version {version}, and this program knows {VERSION}"
            ));
        }
        let (rings, data, stride) = (number("rings"), number("data"), number("stride"));
        let (Some(rings), Some(data), Some(stride)) = (rings, data, stride) else { return Err(fault()) };
        let table = rings.checked_mul(ENTRY).filter(|table| *table <= data && data.is_multiple_of(8));
        let all = rings.checked_mul(stride).and_then(|bytes| bytes.checked_add(data));
        if table.is_none() || all.is_none() || !stride.is_multiple_of(8) {
            return Err(fault());
        }
        Ok(Layout { rings, data, stride })
    }
}

/// The engine's side of it.
pub struct Segment {
    layout: Layout,
    workers: usize,
    records: Mapping,
}

impl Segment {
    /// Room for the rings of so many workers; takes no memory yet.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(workers: usize) -> io::Result<Arc<Segment>> {
        let layout = Layout::new(workers);
        let records = Mapping::create("punt-records", layout.records(), Writers::Us)?;
        Ok(Arc::new(Segment { layout, workers, records }))
    }

    /// The ring of this worker and class.
    pub(crate) fn ring(&self, worker: u16, class: Class) -> usize {
        class as usize * self.workers + worker as usize
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn records(&self) -> &Mapping {
        &self.records
    }

    /// Makes the rings of a class, one for each worker, of at least `bytes` bytes, rounded up to a power of two. Clients see them at once.
    ///
    /// # Errors
    /// If they were made already, are too large, or the system has no memory; then nothing is made.
    pub(crate) fn make(self: &Arc<Segment>, class: Class, bytes: usize) -> io::Result<Vec<Slot>> {
        let words = self.records.words();
        let bytes = bytes.next_power_of_two().max(PAGE);
        let slot = |worker: usize| {
            let ring = self.ring(worker as u16, class);
            let range = self.layout.words(ring, bytes as u64);
            let free = words[Layout::size(ring)].load(Ordering::Relaxed) == 0;
            range.filter(|_| free).map(|range| Slot {
                segment: self.clone(),
                tail: Layout::tail(ring),
                words: range,
            })
        };
        let slots: Option<Vec<Slot>> = (0..self.workers).map(slot).collect();
        let slots = slots.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        for slot in &slots {
            self.records.reserve(slot.words.start * 8, bytes)?;
            // Each page is mapped now, so that no worker faults on it.
            slot.words().iter().step_by(PAGE / 8).for_each(|word| word.store(0, Ordering::Relaxed));
        }
        for worker in 0..self.workers {
            let size = Layout::size(self.ring(worker as u16, class));
            words[size].store(bytes as u64, Ordering::Release);
        }
        Ok(slots)
    }
}

/// The memory of one ring in a segment.
pub(crate) struct Slot {
    segment: Arc<Segment>,
    tail: usize,
    words: Range<usize>,
}

impl Slot {
    /// Where records are.
    #[inline]
    pub fn words(&self) -> &[AtomicU64] {
        &self.segment.records.words()[self.words.clone()]
    }

    /// Up to where the client may read.
    #[inline]
    pub fn tail(&self) -> &AtomicU64 {
        &self.segment.records.words()[self.tail]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_where_everything_is() {
        let layout = Layout::new(3);
        assert_eq!(layout.line(), "punt-shm 1 rings 24 data 4096 stride 2097152\n");
        assert_eq!(layout.line().parse(), Ok(layout));
        assert_eq!(layout.words(0, 4096), Some(512..1024));
        assert_eq!(layout.words(23, RING as u64).map(|words| words.end * 8), Some(layout.records()));
        for (ring, bytes) in [(24, 4096), (0, 0), (0, 5000), (0, 4 << 20), (0, u64::MAX)] {
            assert_eq!(layout.words(ring, bytes), None);
        }
        for line in
            ["", "punt-shm 1 rings 24\n", "punt-shm 1 rings 99 data 4096 stride 8\n", "refused: busy\n"]
        {
            let fault = format!("the engine says {:?}, which describes no shared memory", line.trim_end());
            assert_eq!(line.parse::<Layout>(), Err(fault));
        }
        let newer = "punt-shm 2 rings 24".parse::<Layout>();
        assert_eq!(newer, Err("the engine's shared memory has version 2, and this program knows 1".into()));
    }

    #[test]
    fn rings_are_made_once_and_apart() {
        let segment = Segment::new(2).expect("memory");
        let link = segment.make(Class::Link, 100_000).expect("fits");
        assert_eq!(link.iter().map(|slot| slot.words().len() * 8).collect::<Vec<_>>(), [131_072; 2]);
        assert!(segment.make(Class::Link, 4096).is_err(), "it is there already");
        assert!(segment.make(Class::Miss, RING + 1).is_err(), "too large");
        let miss = segment.make(Class::Miss, RING).expect("fits");
        for (number, slot) in link.iter().chain(&miss).enumerate() {
            slot.words().iter().for_each(|word| word.store(number as u64, Ordering::Relaxed));
        }
        for (number, slot) in link.iter().chain(&miss).enumerate() {
            assert!(slot.words().iter().all(|word| word.load(Ordering::Relaxed) == number as u64));
        }
        let words = segment.records().words();
        let sizes: Vec<u64> = (0..16).map(|ring| words[Layout::size(ring)].load(Ordering::Relaxed)).collect();
        let mut expected = [0; 16];
        expected[segment.ring(0, Class::Miss)..][..2].fill(RING as u64);
        expected[segment.ring(0, Class::Link)..][..2].fill(131_072);
        assert_eq!(sizes, expected);
    }
}

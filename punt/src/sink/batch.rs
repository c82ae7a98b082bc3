//! Records on their way from the rings to the client: taken out together, written together.

use std::sync::Arc;

use crate::lane::Lane;
use crate::record::{HEADER, Header};

/// Records in a batch, at most. While the next is made up, a client that keeps up takes all that is in its socket's queue and falls asleep; to wake it
/// takes as long as to send some records, and the more are in a batch, the less often.
pub(super) const RECORDS: usize = 128;
/// A batch that has as many bytes takes no more records.
const BYTES: usize = 256 << 10;

/// Where a header keeps how many records were lost.
const LOST: std::ops::Range<usize> = 24..32;

/// Taken out of their rings, not yet finished with.
#[derive(Default)]
pub(super) struct Batch {
    /// Never cleared, so that it need not be filled with zeros again.
    bytes: Vec<u8>,
    /// How much of it is taken.
    used: usize,
    records: Vec<Taken>,
    /// Records before this one are finished with.
    first: usize,
}

/// One record of a batch.
struct Taken {
    /// Its lane, as the rounds number it.
    lane: usize,
    start: usize,
    end: usize,
}

impl Batch {
    /// Whether everything that was taken is finished with.
    pub fn is_empty(&self) -> bool {
        self.first == self.records.len()
    }

    /// Whether it takes no more.
    pub fn is_full(&self) -> bool {
        self.records.len() >= RECORDS || self.used >= BYTES
    }

    /// Takes the oldest record out of `lane`, which the rounds know as `number` and whose thread lost `lost` records so far.
    pub fn take(&mut self, lane: &Arc<Lane>, number: usize, lost: u64) -> bool {
        let start = self.used;
        let Some(len) = lane.ring.read_at(&mut self.bytes, start) else { return false };
        self.used += len;
        self.records.push(Taken { lane: number, start, end: self.used });
        add_lost(&mut self.bytes[start..], lost);
        true
    }

    /// The records that are still to be written, oldest first.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.records[self.first..].iter().map(|taken| &self.bytes[taken.start..taken.end])
    }

    /// Finishes with the oldest record: the number of its lane, and the record.
    pub fn finish(&mut self) -> Option<(usize, &[u8])> {
        let taken = self.records.get(self.first)?;
        self.first += 1;
        Some((taken.lane, &self.bytes[taken.start..taken.end]))
    }

    /// The records of this lane that are still here come after one more loss.
    pub fn lost(&mut self, lane: usize) {
        for taken in self.records[self.first..].iter().filter(|taken| taken.lane == lane) {
            add_lost(&mut self.bytes[taken.start..taken.end], 1);
        }
    }

    /// Forgets what is finished with, so that the next can be taken.
    pub fn clear(&mut self) {
        debug_assert!(self.is_empty());
        self.used = 0;
        self.records.clear();
        self.first = 0;
    }
}

/// Adds to the count of lost records in a header.
fn add_lost(record: &mut [u8], lost: u64) {
    if lost > 0
        && let Some(field) = record.get_mut(LOST).and_then(|field| field.first_chunk_mut::<8>())
    {
        *field = u64::from_le_bytes(*field).wrapping_add(lost).to_le_bytes();
    }
}

/// The header of a record that came out of a ring, and its frame.
pub(super) fn split(record: &[u8]) -> (Header, &[u8]) {
    // A ring holds nothing but whole records; the fallback only spares a panic.
    Header::read(record).unwrap_or((Header::default(), record.get(HEADER..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Class;

    fn lost(batch: &Batch) -> Vec<u64> {
        batch.records().map(|record| split(record).0.lost).collect()
    }

    #[test]
    fn what_the_thread_loses_is_told_from_the_next_record_on() {
        let lanes = [0, 1].map(|worker| Arc::new(Lane::new(worker, Class::Link, 4096)));
        let mut batch = Batch::default();
        for lane in &lanes {
            for _ in 0..2 {
                assert!(lane.write(Header { captured: 3, ..Header::default() }, [b"abc".as_slice()]));
            }
            lane.ring.publish();
        }
        for number in [0, 1, 0, 1] {
            assert!(batch.take(&lanes[number], number, 5));
        }
        assert!(!batch.take(&lanes[0], 0, 5), "no more in it");
        assert_eq!(lost(&batch), [5, 5, 5, 5]);
        assert_eq!(
            batch.finish().map(|(lane, record)| (lane, &record[HEADER..])),
            Some((0, b"abc".as_slice()))
        );
        batch.lost(0);
        assert_eq!(lost(&batch), [5, 6, 5]);
        while batch.finish().is_some() {}
        batch.clear();
        assert!(batch.is_empty() && !batch.is_full());
    }
}

//! Records on their way from the rings to the client: taken out together, written together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::lane::Lane;
use crate::record::{HEADER, Header};

/// Records in a batch, at most. While the next is made up, a client that keeps up takes all that is in its socket's queue and falls asleep; to wake it
/// takes as long as to send some records, and the more are in a batch, the less often.
pub(super) const RECORDS: usize = 128;
/// A batch that has as many bytes takes no more records.
const BYTES: usize = 256 << 10;
/// What comes while a batch is written waits for it, however important it is. So for a client to which one took longer than this, the next has
/// half as many records.
const LONG: Duration = Duration::from_micros(500);
/// Fewer records than this are no better.
const FEW: usize = 4;

/// Where a header keeps how many records were lost.
const LOST: std::ops::Range<usize> = 24..32;

/// Taken out of their rings, not yet finished with.
pub(super) struct Batch {
    /// Never cleared, so that it need not be filled with zeros again.
    bytes: Vec<u8>,
    /// How much of it is taken.
    used: usize,
    records: Vec<Taken>,
    /// Records before this one are finished with.
    first: usize,
    /// How many records the client takes in good time.
    most: usize,
    /// When the first was taken.
    begun: Option<Instant>,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch { bytes: Vec::new(), used: 0, records: Vec::new(), first: 0, most: RECORDS, begun: None }
    }
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
        self.records.len() >= self.most || self.used >= BYTES
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

    /// Forgets what is finished with at `now`, so that the next can be taken.
    pub fn clear(&mut self, now: Instant) {
        debug_assert!(self.is_empty());
        if let Some(begun) = self.begun.replace(now)
            && !self.records.is_empty()
        {
            let in_time = now.saturating_duration_since(begun) < LONG;
            self.most = if in_time { (self.most * 2).min(RECORDS) } else { (self.most / 2).max(FEW) };
        }
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
        batch.clear(Instant::now());
        assert!(batch.is_empty() && !batch.is_full());
    }

    #[test]
    fn a_client_that_takes_long_is_given_less_at_once() {
        let lane = Arc::new(Lane::new(0, Class::Miss, 64 << 10));
        let (mut batch, mut now) = (Batch::default(), Instant::now());
        batch.clear(now);
        let mut took = |micros| {
            (0..RECORDS).for_each(|_| assert!(lane.write(Header::default(), [])));
            lane.ring.publish();
            while !batch.is_full() && batch.take(&lane, 0, 0) {}
            let records = batch.records().len();
            while batch.finish().is_some() {}
            now += Duration::from_micros(micros);
            batch.clear(now);
            while lane.ring.read(&mut Vec::new()) {}
            records
        };
        let given: Vec<usize> = [100, 600, 900, 900, 900, 900, 900, 100, 100].map(&mut took).into();
        assert_eq!(given, [128, 128, 64, 32, 16, 8, 4, 4, 8]);
    }
}

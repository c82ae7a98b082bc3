//! What a client can say of records that did not come: each (worker, class) counts from 0, and a gap is a loss.

use rustc_hash::FxHashMap;

use crate::record::Header;

/// Where each (worker, class) is.
#[derive(Default)]
pub(super) struct Losses {
    epoch: u32,
    /// By (worker, class), which of `next` is its.
    places: FxHashMap<(u16, u8), usize>,
    /// The number that its next record should have.
    next: Vec<u64>,
    /// Whose the record before was: most come in runs.
    last: Option<((u16, u8), usize)>,
    total: u64,
}

impl Losses {
    /// How many records are missing before this one. Of what came before the first one nothing is known: the client may have come late.
    pub fn missed(&mut self, header: &Header) -> u64 {
        if self.epoch != header.epoch {
            // Another start of the engine counts from 0 again.
            *self = Losses { epoch: header.epoch, total: self.total, ..Losses::default() };
        }
        let whose = (header.worker, header.class);
        let place = match self.last {
            Some((last, place)) if last == whose => place,
            _ => self.place(whose, header.sequence),
        };
        let next = &mut self.next[place];
        let missed = header.sequence.saturating_sub(*next);
        *next = header.sequence.wrapping_add(1);
        self.total += missed;
        missed
    }

    /// Where in `next` it is; one that is new has begun at `sequence`.
    fn place(&mut self, whose: (u16, u8), sequence: u64) -> usize {
        let next = &mut self.next;
        let place = *self.places.entry(whose).or_insert_with(|| {
            next.push(sequence);
            next.len() - 1
        });
        self.last = Some((whose, place));
        place
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_by_worker_and_class_and_within_one_start_of_the_engine() {
        let mut losses = Losses::default();
        for (epoch, worker, class, sequence, missed) in [
            (1, 0, 7, 100, 0),
            (1, 0, 7, 101, 0),
            (1, 0, 6, 5, 0),
            (1, 1, 7, 0, 0),
            (1, 0, 7, 105, 3),
            (1, 0, 6, 7, 1),
            (2, 0, 7, 3, 0),
            (2, 0, 7, 4, 0),
        ] {
            let header = Header { epoch, worker, class, sequence, ..Header::default() };
            assert_eq!(losses.missed(&header), missed, "{header:?}");
        }
        assert_eq!(losses.total(), 4);
    }
}

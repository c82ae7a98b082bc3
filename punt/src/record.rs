//! The record: what a sink receives and what it may send back.
//!
//! One datagram, one slot of a ring, one inject request is a header of 64 bytes, little-endian, and the frame from its Ethernet header on.

/// Bytes of a header.
pub const HEADER: usize = 64;
/// 64-bit words of a header.
pub const HEADER_WORDS: usize = HEADER / 8;
/// The first four bytes of every header.
pub const MAGIC: [u8; 4] = *b"PUNT";
/// The version of the header that this is.
pub const VERSION: u8 = 1;
/// An offset that is not there.
pub const NO_OFFSET: u16 = 0xffff;

/// The frame was longer than what follows.
pub const TRUNCATED: u16 = 1;
/// The packet was forwarded as well.
pub const COPY: u16 = 2;
/// The packet is a fragment.
pub const FRAGMENT: u16 = 4;
/// The packet was put together of fragments.
pub const REASSEMBLED: u16 = 8;
/// The frame stands as it was rewritten for its egress: it was dropped after that.
pub const REWRITTEN: u16 = 16;

/// Inject: send this frame out of the interface.
pub const SEND: u8 = 0;
/// Inject: route this IPv4 packet.
pub const ROUTE4: u8 = 1;
/// Inject: route this IPv6 packet.
pub const ROUTE6: u8 = 2;
/// Inject: take this frame as if the interface had received it.
pub const RECEIVE: u8 = 3;

/// What stands before the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// [`TRUNCATED`], [`COPY`], …
    pub flags: u16,
    /// Bytes of the frame that follow.
    pub captured: u32,
    /// Bytes that the frame had.
    pub original: u32,
    /// Its number in this (sink, worker, class), from 0; those that were lost count too, so a gap is a loss.
    pub sequence: u64,
    /// Records lost so far in this (sink, worker, class).
    pub lost: u64,
    /// When it was received, in nanoseconds since 1970.
    pub received: u64,
    /// The interface it came in on; for inject the one it is meant for.
    pub interface: u32,
    /// Id of the reason.
    pub reason: u32,
    /// The worker that received it, from 0.
    pub worker: u16,
    /// Where the L3 header begins in the frame; [`NO_OFFSET`] if it has none.
    pub l3: u16,
    /// Where the L4 header begins in the frame; [`NO_OFFSET`] if it has none.
    pub l4: u16,
    /// Number of the [`Class`](crate::Class).
    pub class: u8,
    /// Inject: [`SEND`], [`ROUTE4`], [`ROUTE6`] or [`RECEIVE`].
    pub action: u8,
    /// The most specific registration that covers the packet for this sink.
    pub registration: u32,
    /// Changes at each start of the engine; ids are valid within one.
    pub epoch: u32,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end within the header.
    #[error("{0} bytes, and a record's header has {HEADER}")]
    Short(usize),
    /// They begin otherwise.
    #[error("a record begins with PUNT")]
    Magic,
    /// It is a version that this program does not know.
    #[error("version {0}, and this program knows {VERSION}")]
    Version(u8),
    /// The header says that it is shorter than every header is, or longer than the record.
    #[error("a header of {0} bytes")]
    HeaderLength(u8),
    /// More or less of the frame follows than the header says.
    #[error("{is} bytes of frame, and the header says {says}")]
    Length {
        /// What the header says.
        says: u32,
        /// What follows.
        is: usize,
    },
}

impl Header {
    /// The header as words; the first byte on the wire is the lowest of the first word.
    #[inline(always)]
    pub fn words(&self) -> [u64; HEADER_WORDS] {
        let magic = u32::from_le_bytes(MAGIC) as u64;
        let pair = |low: u32, high: u32| low as u64 | (high as u64) << 32;
        [
            magic | (VERSION as u64) << 32 | (HEADER as u64) << 40 | (self.flags as u64) << 48,
            pair(self.captured, self.original),
            self.sequence,
            self.lost,
            self.received,
            pair(self.interface, self.reason),
            self.worker as u64
                | (self.l3 as u64) << 16
                | (self.l4 as u64) << 32
                | (self.class as u64) << 48
                | (self.action as u64) << 56,
            pair(self.registration, self.epoch),
        ]
    }

    /// The header as bytes.
    pub fn bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        for (eight, word) in bytes.chunks_exact_mut(8).zip(self.words()) {
            eight.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The header in these words, which are known to be one.
    pub fn from_words(words: &[u64; HEADER_WORDS]) -> Header {
        let [first, lengths, sequence, lost, received, ids, places, last] = *words;
        let (low, high) = (|word: u64| word as u32, |word: u64| (word >> 32) as u32);
        Header {
            flags: (first >> 48) as u16,
            captured: low(lengths),
            original: high(lengths),
            sequence,
            lost,
            received,
            interface: low(ids),
            reason: high(ids),
            worker: places as u16,
            l3: (places >> 16) as u16,
            l4: (places >> 32) as u16,
            class: (places >> 48) as u8,
            action: (places >> 56) as u8,
            registration: low(last),
            epoch: high(last),
        }
    }

    /// Reads one record: the header and the frame.
    ///
    /// # Errors
    /// If the bytes are no whole record of a version that this program knows. A longer header is none: what is not known is skipped.
    #[inline]
    pub fn read(record: &[u8]) -> Result<(Header, &[u8]), Malformed> {
        let head: &[u8; HEADER] = record.first_chunk().ok_or(Malformed::Short(record.len()))?;
        if head[..4] != MAGIC {
            return Err(Malformed::Magic);
        }
        let (version, length) = (head[4], head[5]);
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        let frame = match length as usize {
            HEADER.. => record.get(length as usize..).ok_or(Malformed::HeaderLength(length))?,
            _ => return Err(Malformed::HeaderLength(length)),
        };
        let (eights, _) = head.as_chunks();
        let mut words = [0; HEADER_WORDS];
        for (word, eight) in words.iter_mut().zip(eights) {
            *word = u64::from_le_bytes(*eight);
        }
        let header = Header::from_words(&words);
        if header.captured as usize != frame.len() {
            return Err(Malformed::Length { says: header.captured, is: frame.len() });
        }
        Ok((header, frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            flags: TRUNCATED | FRAGMENT,
            captured: 3,
            original: 0x0102_0304,
            sequence: 0x1112_1314_1516_1718,
            lost: 0x21,
            received: 0x31,
            interface: 0x41,
            reason: 0x42,
            worker: 0x51,
            l3: 14,
            l4: 34,
            class: 7,
            action: RECEIVE,
            registration: 0x61,
            epoch: 0x62,
        }
    }

    #[test]
    fn every_field_is_where_the_table_says() {
        let mut expected = Vec::new();
        expected.extend(b"PUNT");
        expected.extend([1, 64]);
        expected.extend([5, 0]);
        expected.extend([3, 0, 0, 0]);
        expected.extend([4, 3, 2, 1]);
        expected.extend([0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11]);
        expected.extend([0x21, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0x31, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0x41, 0, 0, 0]);
        expected.extend([0x42, 0, 0, 0]);
        expected.extend([0x51, 0]);
        expected.extend([14, 0]);
        expected.extend([34, 0]);
        expected.extend([7, 3]);
        expected.extend([0x61, 0, 0, 0]);
        expected.extend([0x62, 0, 0, 0]);
        assert_eq!(header().bytes().as_slice(), expected);
    }

    #[test]
    fn what_is_written_is_read() {
        let mut record = header().bytes().to_vec();
        record.extend([9, 8, 7]);
        assert_eq!(Header::read(&record), Ok((header(), [9, 8, 7].as_slice())));
        let read = |record: &[u8]| Header::read(record).map(|_| ()).unwrap_err();
        assert_eq!(read(&record[..63]), Malformed::Short(63));
        assert_eq!(read(&record[..66]), Malformed::Length { says: 3, is: 2 });
        for (at, byte, expected) in [
            (0, b'Q', Malformed::Magic),
            (4, 2, Malformed::Version(2)),
            (5, 63, Malformed::HeaderLength(63)),
            (5, 70, Malformed::HeaderLength(70)),
        ] {
            let mut wrong = record.clone();
            wrong[at] = byte;
            assert_eq!(read(&wrong), expected);
        }
    }

    #[test]
    fn a_longer_header_is_skipped() {
        let mut record = header().bytes().to_vec();
        record[5] = 72;
        record.extend([0xff; 8]);
        record.extend([9, 8, 7]);
        assert_eq!(Header::read(&record), Ok((header(), [9, 8, 7].as_slice())));
    }
}

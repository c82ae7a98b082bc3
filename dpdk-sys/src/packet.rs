//! A packet: an mbuf, or a chain of them, that somebody owns.
//!
//! Its way ends with a verdict: [`Packet::free`], [`free_bulk`] or a tx queue. One that just goes out of scope is freed
//! too, but counted in [`lost`]: whoever forgot it has a bug.

use std::{
    mem::{ManuallyDrop, offset_of},
    ptr::NonNull,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use crate::{
    ffi, heap,
    mbuf::{DEFAULT_TAG_OFFSET, Mbuf},
};

/// An owned packet, all its segments included. Eight bytes, as is `Option<Packet>`.
#[repr(transparent)]
pub struct Packet(NonNull<Mbuf>);

// SAFETY: a packet is the only owner of its mbufs (reference count 1), and DPDK takes back mbufs from any thread.
unsafe impl Send for Packet {}

/// What a punted packet carries with it, in an mbuf dynamic field; set when it takes a punt edge, kept until it is
/// freed. Of a packet that was never tagged it is whatever the buffer's last user left there.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tag {
    /// Id of the reason.
    pub reason: u32,
    /// Index of the ingress interface.
    pub interface: u32,
    /// Offset of the L3 header in the frame, 0xffff if none.
    pub l3: u16,
    /// Offset of the L4 header in the frame, 0xffff if none.
    pub l4: u16,
    /// Flags of the record.
    pub flags: u16,
    /// Not used yet.
    pub spare: u16,
    /// When it was received, in ticks of the TSC.
    pub received: u64,
}

/// Offset of the tag in the mbuf; set once, by `Eal::init`.
pub(crate) static TAG_OFFSET: AtomicUsize = AtomicUsize::new(DEFAULT_TAG_OFFSET);

static LOST: AtomicU64 = AtomicU64::new(0);

/// Packets that went out of scope without a verdict, in this process; anything but 0 is a bug.
pub fn lost() -> u64 {
    LOST.load(Relaxed)
}

impl Packet {
    /// A packet on the heap, for tests of what needs no EAL. One segment with 128 bytes of headroom, or several where
    /// `frame` is longer than a segment can be. A port or a ring does not take it.
    pub fn from_bytes(frame: &[u8]) -> Packet {
        Packet(heap::chain(&[frame]))
    }

    /// A packet on the heap of these segments, as [`Packet::from_bytes`] makes it of one.
    pub fn from_segments(segments: &[&[u8]]) -> Packet {
        Packet(heap::chain(segments))
    }

    /// The first segment's bytes: the whole frame, unless it is longer than a buffer.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        self.first().data()
    }

    /// The first segment's bytes, to be changed.
    #[inline(always)]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.first_mut().data_mut()
    }

    /// Length of the whole frame in bytes, all segments, without FCS.
    #[inline(always)]
    #[expect(clippy::len_without_is_empty, reason = "an empty frame is nobody's question")]
    pub fn len(&self) -> u32 {
        self.first().pkt_len
    }

    /// Number of segments, 1 for all but frames longer than a buffer.
    #[inline(always)]
    pub fn segment_count(&self) -> u16 {
        self.first().nb_segs
    }

    /// The frame's bytes, segment by segment.
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        let mut next = Some(self.first());
        std::iter::from_fn(move || {
            let segment = next?;
            // SAFETY: `next` is null or a further mbuf that this packet owns, hence lives as long as &self.
            next = segment.next.map(|next| unsafe { next.as_ref() });
            Some(segment.data())
        })
    }

    /// Copies the frame from its start, across segments, as far as `out` has room; returns the bytes copied.
    pub fn copy_to(&self, out: &mut [u8]) -> usize {
        let mut copied = 0;
        for segment in self.segments() {
            let length = segment.len().min(out.len() - copied);
            out[copied..copied + length].copy_from_slice(&segment[..length]);
            copied += length;
        }
        copied
    }

    /// The whole frame as a vector; for tests, it allocates.
    pub fn to_vec(&self) -> Vec<u8> {
        self.segments().flatten().copied().collect()
    }

    /// Grows the frame by `n` bytes at its front, into the headroom; false, and nothing done, if that is too small.
    /// What the new bytes hold is for the caller to write.
    #[inline]
    pub fn prepend(&mut self, n: u16) -> bool {
        let mbuf = self.first_mut();
        if mbuf.data_off < n {
            return false;
        }
        mbuf.data_off -= n;
        mbuf.data_len += n;
        mbuf.pkt_len += u32::from(n);
        true
    }

    /// Cuts `n` bytes from the frame's front; false, and nothing done, if the first segment has fewer.
    #[inline]
    pub fn trim_front(&mut self, n: u16) -> bool {
        let mbuf = self.first_mut();
        if mbuf.data_len < n {
            return false;
        }
        mbuf.data_off += n;
        mbuf.data_len -= n;
        mbuf.pkt_len -= u32::from(n);
        true
    }

    /// Grows the frame by these bytes at its end; false, and nothing done, if the last segment has no room for them.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let mut last = self.0;
        // SAFETY: every mbuf of the chain is this packet's own, so reading its link is reading our own memory.
        while let Some(next) = unsafe { last.as_ref() }.next {
            last = next;
        }
        // SAFETY: as above, and &mut self makes this the only reference into the chain.
        let last = unsafe { last.as_mut() };
        if usize::from(last.tailroom()) < bytes.len() {
            return false;
        }
        let old = usize::from(last.data_len);
        last.data_len += bytes.len() as u16;
        last.data_mut()[old..].copy_from_slice(bytes);
        self.first_mut().pkt_len += bytes.len() as u32;
        true
    }

    /// Cuts the frame's end so that `len` bytes are left, and frees segments that hold none of them; false, and nothing
    /// done, if the frame is shorter.
    pub fn truncate(&mut self, len: u32) -> bool {
        if len >= self.len() {
            return len == self.len();
        }
        let mut last = self.0;
        let (mut left, mut segments) = (len, 1);
        // SAFETY: every mbuf of the chain is this packet's own, and &mut self makes this the only way to it.
        let tail = unsafe {
            while left > u32::from(last.as_ref().data_len) {
                left -= u32::from(last.as_ref().data_len);
                segments += 1;
                // The lengths of the segments sum up to more than len, so there is a next one.
                last = last.as_ref().next.expect("an mbuf chain is as long as it says");
            }
            last.as_mut().data_len = left as u16;
            last.as_mut().next.take()
        };
        let first = self.first_mut();
        first.pkt_len = len;
        first.nb_segs = segments;
        if let Some(tail) = tail {
            Packet(tail).free();
        }
        true
    }

    /// The hash that the receiver spread by, if it computed one.
    #[inline(always)]
    pub fn rss_hash(&self) -> Option<u32> {
        (self.first().ol_flags & ffi::DP_RX_RSS_HASH != 0).then_some(self.first().rss)
    }

    /// Whether the IPv4 header checksum is right: as the receiver says, or else as its sum says. That is made in any case: it costs no more than
    /// to find out whether it is needed.
    #[inline(always)]
    pub fn is_ip_checksum_right(&self, sum_is_right: bool) -> bool {
        const GOOD: u64 = ffi::DP_RX_IP_CKSUM_GOOD;
        const BAD: u64 = ffi::DP_RX_IP_CKSUM_BAD;
        #[cold]
        #[inline(never)]
        fn said_good(flags: u64) -> bool {
            flags & (GOOD | BAD) == GOOD
        }
        /// Bad and good is DPDK's word for one that does not matter, for the packet never was on a wire.
        #[cold]
        #[inline(never)]
        fn said_both(flags: u64) -> bool {
            flags & GOOD != 0
        }
        // One test after the other, and what is rare in functions of its own: all in one makes the sum twice as long.
        let flags = self.first().ol_flags;
        if !sum_is_right {
            return said_good(flags);
        }
        if flags & BAD != 0 {
            return said_both(flags);
        }
        true
    }

    /// Fetches the first cache line of the mbuf, for [`Packet::bytes`] later.
    #[inline(always)]
    pub fn prefetch(&self) {
        crate::cpu::prefetch(self.0.as_ptr().cast());
    }

    /// Fetches the first cache line of the frame; reads the mbuf, so that should be there by now.
    #[inline(always)]
    pub fn prefetch_data(&self) {
        crate::cpu::prefetch(self.bytes().as_ptr());
    }

    /// The tag that was set last.
    #[inline]
    pub fn tag(&self) -> Tag {
        // SAFETY: TAG_OFFSET is that of a field of this size in every mbuf, registered with DPDK (heap packets: within
        // dynfield1), and any bytes are a Tag.
        unsafe { self.0.as_ptr().byte_add(TAG_OFFSET.load(Relaxed)).cast::<Tag>().read_unaligned() }
    }

    /// Sets the tag.
    #[inline]
    pub fn set_tag(&mut self, tag: Tag) {
        // SAFETY: as in tag(); &mut self is the only way to this mbuf.
        unsafe { self.0.as_ptr().byte_add(TAG_OFFSET.load(Relaxed)).cast::<Tag>().write_unaligned(tag) }
    }

    /// The verdict: back to its pool.
    #[inline]
    pub fn free(self) {
        let packet = ManuallyDrop::new(self);
        if packet.is_heap() {
            // SAFETY: a heap packet, ours, forgotten here.
            unsafe { heap::free(packet.0) }
        } else {
            // SAFETY: an mbuf of a pool, ours, forgotten here.
            unsafe { ffi::dp_free(packet.0.as_ptr()) }
        }
    }

    /// Whether it was made by [`Packet::from_bytes`]. Costs nothing in a process that made none.
    #[inline(always)]
    pub(crate) fn is_heap(&self) -> bool {
        heap::in_use() && self.first().pool.is_null()
    }

    /// Bytes that [`Packet::append`] has room for in a packet of one segment.
    pub(crate) fn room(&self) -> usize {
        self.first().tailroom().into()
    }

    /// Appends another packet's segments to this one's.
    pub(crate) fn chain(&mut self, tail: Packet) {
        let tail = ManuallyDrop::new(tail);
        let mut last = self.0;
        // SAFETY: every mbuf of both chains is ours alone; the tail's owner is forgotten, so they become this packet's.
        unsafe {
            while let Some(next) = last.as_ref().next {
                last = next;
            }
            last.as_mut().next = Some(tail.0);
        }
        let (length, segments) = (tail.len(), tail.segment_count());
        self.first_mut().pkt_len += length;
        self.first_mut().nb_segs += segments;
    }

    /// Takes over an mbuf that DPDK handed out.
    ///
    /// # Safety
    /// Nobody else owns it.
    #[inline(always)]
    pub(crate) unsafe fn from_raw(mbuf: NonNull<Mbuf>) -> Packet {
        Packet(mbuf)
    }

    #[inline(always)]
    fn first(&self) -> &Mbuf {
        // SAFETY: the mbuf is valid and ours for as long as the packet.
        unsafe { self.0.as_ref() }
    }

    #[inline(always)]
    fn first_mut(&mut self) -> &mut Mbuf {
        // SAFETY: as in first(), and &mut self is the only way to it.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Packet {
    #[cold]
    fn drop(&mut self) {
        LOST.fetch_add(1, Relaxed);
        Packet(self.0).free();
    }
}

impl std::fmt::Debug for Packet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packet({} bytes in {} segments)", self.len(), self.segment_count())
    }
}

/// The verdict on many at once: returns them to their pools, in one call. The vector keeps its capacity.
#[inline]
pub fn free_bulk(packets: &mut Vec<Packet>) {
    if heap::in_use() {
        packets.drain(..).for_each(Packet::free);
        return;
    }
    let count = packets.len();
    // SAFETY: Packet is a transparent pointer to an mbuf; these are ours, and the vector forgets them.
    unsafe {
        packets.set_len(0);
        ffi::dp_free_bulk(packets.as_mut_ptr().cast(), count as u32);
    }
}

const _: () = assert!(size_of::<Tag>() == 24 && size_of::<Option<Packet>>() == 8);
const _: () = assert!(
    DEFAULT_TAG_OFFSET >= offset_of!(Mbuf, dynfield1)
        && DEFAULT_TAG_OFFSET + size_of::<Tag>() <= size_of::<Mbuf>()
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_from_bytes_is_those_bytes() {
        let packet = Packet::from_bytes(&[1, 2, 3]);
        assert_eq!((packet.bytes(), packet.len(), packet.segment_count()), (&[1, 2, 3][..], 3, 1));
        assert_eq!(packet.rss_hash(), None);
        assert_eq!(format!("{packet:?}"), "Packet(3 bytes in 1 segments)");
        packet.free();
        let empty = Packet::from_bytes(&[]);
        assert_eq!((empty.bytes(), empty.len(), empty.segment_count()), (&[][..], 0, 1));
        empty.free();
        assert_eq!(lost(), 0);
    }

    #[test]
    fn a_frame_longer_than_a_segment_can_be_takes_several() {
        let frame: Vec<u8> = (0..200_000).map(|i| i as u8).collect();
        let packet = Packet::from_bytes(&frame);
        assert_eq!((packet.len(), packet.segment_count()), (200_000, 4));
        assert_eq!(packet.to_vec(), frame);
        packet.free();
    }

    #[test]
    fn segments_are_read_in_order_and_copied_as_far_as_there_is_room() {
        let packet = Packet::from_segments(&[b"one", b"", b"three"]);
        assert_eq!((packet.len(), packet.segment_count(), packet.bytes()), (8, 3, &b"one"[..]));
        assert_eq!(packet.segments().collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
        let mut out = [b'.'; 10];
        assert_eq!(packet.copy_to(&mut out), 8);
        assert_eq!(&out, b"onethree..");
        assert_eq!(packet.copy_to(&mut out[..5]), 5);
        assert_eq!(packet.copy_to(&mut []), 0);
        packet.free();
    }

    #[test]
    fn it_grows_at_the_front_as_far_as_the_headroom_goes() {
        let mut packet = Packet::from_bytes(b"frame");
        assert!(packet.prepend(4));
        packet.bytes_mut()[..4].copy_from_slice(b"vlan");
        assert_eq!((packet.bytes(), packet.len()), (&b"vlanframe"[..], 9));
        assert!(!packet.prepend(125), "124 bytes of headroom are left");
        assert_eq!(packet.len(), 9);
        assert!(packet.prepend(124));
        assert_eq!((packet.len(), &packet.bytes()[124..]), (133, &b"vlanframe"[..]));
        packet.free();
    }

    #[test]
    fn it_is_trimmed_at_the_front_within_its_first_segment() {
        let mut packet = Packet::from_segments(&[b"vlanframe", b"tail"]);
        assert!(packet.trim_front(4));
        assert_eq!((packet.bytes(), packet.len()), (&b"frame"[..], 9));
        assert!(!packet.trim_front(6));
        assert!(packet.trim_front(5));
        assert_eq!((packet.bytes(), packet.to_vec()), (&b""[..], b"tail".to_vec()));
        packet.free();
    }

    #[test]
    fn it_grows_at_the_end_as_far_as_the_last_segment_goes() {
        let mut packet = Packet::from_segments(&[b"one", b"two"]);
        assert!(packet.append(b"-end"));
        assert_eq!(
            (packet.to_vec(), packet.len(), packet.bytes()),
            (b"onetwo-end".to_vec(), 10, &b"one"[..])
        );
        assert!(!packet.append(&[0; 1000]));
        assert_eq!(packet.len(), 10);
        packet.free();
    }

    #[test]
    fn its_end_is_cut_off_and_with_it_segments_that_hold_nothing_any_more() {
        let lengths_after = |len| {
            let mut packet = Packet::from_segments(&[b"123", b"", b"456", b"789"]);
            let done = packet.truncate(len);
            let left = (done, packet.to_vec(), packet.len(), packet.segment_count());
            packet.free();
            left
        };
        assert_eq!(lengths_after(10), (false, b"123456789".to_vec(), 9, 4));
        assert_eq!(lengths_after(9), (true, b"123456789".to_vec(), 9, 4));
        assert_eq!(lengths_after(8), (true, b"12345678".to_vec(), 8, 4));
        assert_eq!(lengths_after(6), (true, b"123456".to_vec(), 6, 3));
        assert_eq!(lengths_after(3), (true, b"123".to_vec(), 3, 1));
        assert_eq!(lengths_after(0), (true, Vec::new(), 0, 1));
        assert_eq!(lost(), 0);
    }

    #[test]
    fn the_tag_stays_with_the_packet_and_touches_nothing_else() {
        let tag = Tag { reason: 7, interface: 3, l3: 14, l4: 34, flags: 4, spare: 0, received: u64::MAX };
        let mut packet = Packet::from_segments(&[b"one", b"two"]);
        packet.set_tag(tag);
        packet.prefetch();
        packet.prefetch_data();
        assert_eq!((packet.tag(), packet.to_vec()), (tag, b"onetwo".to_vec()));
        packet.free();
    }

    #[test]
    fn a_packet_without_a_verdict_is_counted_and_freed() {
        drop(Packet::from_segments(&[b"one", b"two"]));
        assert_eq!(lost(), 1);
        let mut packets = vec![Packet::from_bytes(b"a"), Packet::from_bytes(b"b")];
        free_bulk(&mut packets);
        assert_eq!((packets.len(), lost()), (0, 1));
    }

    #[test]
    fn what_the_receiver_said_is_read_from_the_flags() {
        let mut packet = Packet::from_bytes(b"frame");
        let (good, bad) = (ffi::DP_RX_IP_CKSUM_GOOD, ffi::DP_RX_IP_CKSUM_BAD);
        packet.first_mut().rss = 0xfeed;
        for (flags, hash, by_sum) in [
            (0, None, [false, true]),
            (ffi::DP_RX_RSS_HASH | bad, Some(0xfeed), [false, false]),
            (good, None, [true, true]),
            (good | bad, None, [false, true]),
        ] {
            packet.first_mut().ol_flags = flags;
            assert_eq!(packet.rss_hash(), hash);
            assert_eq!([false, true].map(|sum| packet.is_ip_checksum_right(sum)), by_sum, "flags {flags:x}");
        }
        packet.free();
    }
}

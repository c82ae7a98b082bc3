//! A packet on its way through the graph: the mbuf, and what nodes tell each other about it.

use std::fmt;
use std::ops::BitOr;

use crate::tables::{Adjacency, Exit};

/// A packet in a frame. Nodes read it, keep offsets in it, and never move its bytes: only a rewrite node does. Half a cache line, and never
/// over two of them.
#[repr(align(32))]
pub struct Packet {
    /// The frame as received.
    pub mbuf: dpdk_sys::Packet,
    /// What nodes found out about it.
    pub meta: Meta,
}

/// What a node tells the next one. It rides beside the mbuf pointer, so that reading it costs no cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The L3 interface it came in on: a port's own, or a sub-interface once the tags are read.
    pub interface: u32,
    /// What the lookup found: an index into [`Tables::hops`](crate::tables::Tables::hops). Before `ip4-lookup`, what that looks up: the
    /// destination, which `ip4-input` has just read.
    pub hop: u32,
    /// The reason, where the node chooses it at run time (an edge of the form `chosen reason`).
    pub reason: u32,
    /// The L3 interface it leaves by, once rewritten.
    pub egress: u32,
    /// Where the L3 header begins, in bytes from the start of the frame; [`NO_OFFSET`] if it has none.
    pub l3: u16,
    /// Where the L4 header begins, in bytes from the start of the frame; [`NO_OFFSET`] if nobody looked.
    pub l4: u16,
    /// The DPDK port it leaves by, once rewritten.
    pub port: u16,
    /// What is unusual about it; no flag is set on a packet that is simply forwarded.
    pub flags: Flags,
    /// The IP protocol, or for IPv6 the one behind the extension headers, once the local node has looked.
    pub protocol: u8,
}

/// Bytes of a frame that are shown to people: all headers, as a rule.
const SHOWN: usize = 128;

/// A packet as a panic names it: what nodes know of it, and how its frame begins in hexadecimal.
pub(crate) struct Shown<'a>(pub Meta, pub &'a dpdk_sys::Packet);

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(self.meta, &self.mbuf).fmt(f)
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Shown(Meta { interface, l3, l4, .. }, mbuf), mut bytes) = (self, [0; SHOWN]);
        write!(f, "{} bytes, in on interface {interface}", mbuf.len())?;
        for (name, offset) in [("L3", *l3), ("L4", *l4)] {
            if offset != NO_OFFSET {
                write!(f, ", {name} at {offset}")?;
            }
        }
        f.write_str(": ")?;
        let shown = mbuf.copy_to(&mut bytes);
        bytes[..shown].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(if shown < mbuf.len() as usize { "…" } else { "" })
    }
}

impl Meta {
    /// It has been rewritten, and leaves there.
    #[inline(always)]
    pub fn leaves_by(&mut self, exit: Exit) {
        (self.egress, self.port) = (exit.interface(), exit.port());
        self.flags.set(Flags::REWRITTEN);
    }
}

/// The offset of a header that is not there.
pub const NO_OFFSET: u16 = 0xffff;

/// What is unusual about a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// It was sent to the broadcast address of the link.
    pub const LINK_BROADCAST: Flags = Flags(1);
    /// It was sent to a multicast address of the link.
    pub const LINK_MULTICAST: Flags = Flags(2);
    /// It has IPv4 options.
    pub const OPTIONS: Flags = Flags(4);
    /// It begins with an IPv6 hop-by-hop header.
    pub const HOP_BY_HOP: Flags = Flags(16);
    /// Its source must not be forwarded beyond its link (RFC 4291 §2.5.6), or is unspecified.
    pub const STAYS_ON_LINK: Flags = Flags(32);
    /// It has been rewritten for its egress.
    pub const REWRITTEN: Flags = Flags(64);

    /// Is there any of `flags`?
    #[inline(always)]
    pub const fn any(self, flags: Flags) -> bool {
        self.0 & flags.0 != 0
    }

    /// Is there none at all?
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Sets `flags`.
    #[inline(always)]
    pub const fn set(&mut self, flags: Flags) {
        self.0 |= flags.0;
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl Packet {
    /// A packet that came in on `interface`. Its mbuf is fetched, for the first node to find it.
    #[inline(always)]
    pub fn received(mbuf: dpdk_sys::Packet, interface: u32) -> Packet {
        mbuf.prefetch();
        Packet::new(mbuf, interface)
    }

    /// The same without fetching anything.
    #[inline(always)]
    pub fn new(mbuf: dpdk_sys::Packet, interface: u32) -> Packet {
        let meta = Meta { interface, l3: NO_OFFSET, l4: NO_OFFSET, ..Meta::default() };
        Packet { mbuf, meta }
    }

    /// It has been rewritten for this egress.
    #[inline(always)]
    pub fn leaves_by(&mut self, adjacency: &Adjacency) {
        self.meta.leaves_by(adjacency.exit);
    }

    /// The first segment's bytes, from the Ethernet header on.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        self.mbuf.bytes()
    }

    /// The first `N` bytes of the L3 header, if the first segment holds them.
    #[inline(always)]
    pub fn l3<const N: usize>(&self) -> Option<&[u8; N]> {
        let start = self.meta.l3 as usize;
        self.bytes().get(start..start + N)?.first_chunk()
    }

    /// The first `N` bytes of the L4 header, if the first segment holds them.
    #[inline(always)]
    pub fn l4<const N: usize>(&self) -> Option<&[u8; N]> {
        let start = self.meta.l4 as usize;
        self.bytes().get(start..start + N)?.first_chunk()
    }

    /// Bytes of the whole frame, over all segments, from the L3 header on.
    #[inline(always)]
    pub fn l3_len(&self) -> u32 {
        self.mbuf.len().saturating_sub(self.meta.l3 as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_in_a_frame_is_half_a_cache_line() {
        assert_eq!(size_of::<Packet>(), 32);
    }

    #[test]
    fn it_is_shown_as_its_first_bytes_and_what_is_known_of_it() {
        let shown = |segments: &[&[u8]], l3, l4| {
            let mut packet = Packet::new(dpdk_sys::Packet::from_segments(segments), 3);
            (packet.meta.l3, packet.meta.l4) = (l3, l4);
            let shown = format!("{packet:?}");
            packet.mbuf.free();
            shown
        };
        assert_eq!(shown(&[&[2, 0xff], &[7]], NO_OFFSET, NO_OFFSET), "3 bytes, in on interface 3: 02ff07");
        let beginning = format!("203 bytes, in on interface 3, L3 at 14, L4 at 34: {}…", "01".repeat(128));
        assert_eq!(shown(&[&[1; 100], &[1; 103]], 14, 34), beginning);
    }

    #[test]
    fn offsets_beyond_the_first_segment_give_nothing() {
        let mut packet = Packet::received(dpdk_sys::Packet::from_bytes(&[7; 20]), 1);
        assert_eq!(packet.l3::<1>(), None);
        packet.meta.l3 = 14;
        assert_eq!(packet.l3::<6>(), Some(&[7; 6]));
        assert_eq!(packet.l3::<7>(), None);
        assert_eq!(packet.l3_len(), 6);
        packet.mbuf.free();
    }
}

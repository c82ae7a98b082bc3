//! The ordinary way of a packet in transit: one look at all of its headers, and one change to them.
//!
//! Nodes say everything that can happen to a packet; these functions only know the packets to which nothing happens. One for which they say
//! no is as it was, and goes through the nodes. The benchmark's reference, a loop fused by hand, uses them too.

use crate::tables::{Adjacency, MacAddress, UNTAGGED};
use crate::wire::{ETHERTYPE_IP6, Ip4, part};

/// Bytes of an Ethernet header without tags and an IPv4 header without options.
pub const HEADERS4: usize = UNTAGGED + 20;
/// Bytes of an Ethernet header without tags and an IPv6 header.
pub const HEADERS6: usize = UNTAGGED + 40;

/// What an ordinary frame carries.
pub enum Ordinary {
    /// IPv4 to this address: `ip4-input` has nothing to say about it either.
    Ip4(u32),
    /// IPv6, at which nobody has looked.
    Ip6,
}

/// What the frame carries if it has no tags, is for us, where our address is `ours`, and from a possible neighbour.
#[inline(always)]
pub fn ordinary(ours: MacAddress, mbuf: &dpdk_sys::Packet) -> Option<Ordinary> {
    const IP4: u32 = u32::from_ne_bytes([8, 0, 0x45, 0]);
    const WITHOUT_TOS: u32 = u32::from_ne_bytes([0xff, 0xff, 0xff, 0]);
    const IP6: u16 = ETHERTYPE_IP6.to_be();
    let frame = mbuf.bytes().first_chunk::<HEADERS4>()?;
    let (destination, source) = (MacAddress::at(frame, 0), MacAddress::at(frame, 6));
    if destination != ours || source == ours || source.is_group() || source.is_zero() {
        return None;
    }
    let kind = u32::from_ne_bytes(part(frame, 12));
    if kind & WITHOUT_TOS == IP4 {
        return ordinary4(frame, mbuf).map(Ordinary::Ip4);
    }
    (u16::from_ne_bytes(part(frame, 12)) == IP6).then_some(Ordinary::Ip6)
}

/// The destination of an IPv4 packet without options whose length, checksum and addresses are in order.
#[inline(always)]
fn ordinary4(frame: &[u8; HEADERS4], mbuf: &dpdk_sys::Packet) -> Option<u32> {
    let ip = Ip4(frame.last_chunk()?);
    let (source, destination) = (ip.source(), ip.destination());
    let total = ip.total_len() as u32;
    if total < 20 || UNTAGGED as u32 + total > mbuf.len() {
        return None;
    }
    if !mbuf.is_ip_checksum_right(|| ip.is_checksum_right()) {
        return None;
    }
    let closer = needs_closer_look(frame[26]) | needs_closer_look(frame[30]);
    (!closer && source != destination).then_some(destination)
}

/// First octets that need a closer look: 0, 127, 169 and everything from 224 on.
const CLOSER: [bool; 256] = {
    let mut closer = [false; 256];
    (closer[0], closer[127], closer[169]) = (true, true, true);
    let mut first = 224;
    while first < 256 {
        closer[first] = true;
        first += 1;
    }
    closer
};

/// May an IPv4 address that begins like this be more than some host's?
#[inline(always)]
pub fn needs_closer_look(first_octet: u8) -> bool {
    CLOSER[first_octet as usize]
}

/// Makes an untagged IPv4 packet without options what is to leave: another L2 header without tags, and one less to live. `false` if it would
/// not fit its egress as it is, or expires.
#[inline(always)]
pub fn forward4(mbuf: &mut dpdk_sys::Packet, adjacency: &Adjacency) -> bool {
    if !adjacency.takes_untagged(mbuf.len()) {
        return false;
    }
    let Some(frame) = mbuf.bytes_mut().first_chunk_mut::<HEADERS4>() else { return false };
    let word = u32::from_le_bytes(part(frame, 22));
    if word as u8 <= 1 {
        return false;
    }
    frame[22..26].copy_from_slice(&one_less(word).to_le_bytes());
    let header = adjacency.header();
    frame[..8].copy_from_slice(&header[..8]);
    frame[6..14].copy_from_slice(&header[6..14]);
    true
}

/// TTL, protocol and checksum of a packet with one less to live, as a word with the TTL in its lowest byte. The TTL is the high byte of its
/// 16-bit word, so one less there is 0x0100 more in the complement, which is 1 more for us: HC' = ~(~HC + ~m + m'), RFC 1624 eqn. 3.
#[inline(always)]
pub fn one_less(word: u32) -> u32 {
    /// 0xffff is the other zero, which a sum over a header never is: it carries as 0x10000 does.
    #[cold]
    fn carrying(word: u32) -> u32 {
        word.wrapping_add(0x1_ffff)
    }
    if word >= 0xfffe_0000 { carrying(word) } else { word + 0xffff }
}

/// As [`forward4`], for an IPv6 packet.
#[inline(always)]
pub fn forward6(mbuf: &mut dpdk_sys::Packet, adjacency: &Adjacency) -> bool {
    if !adjacency.takes_untagged(mbuf.len()) {
        return false;
    }
    let Some(frame) = mbuf.bytes_mut().first_chunk_mut::<HEADERS6>() else { return false };
    if frame[21] <= 1 {
        return false;
    }
    frame[21] -= 1;
    frame[..12].copy_from_slice(&adjacency.header()[..12]);
    frame[12..14].copy_from_slice(&ETHERTYPE_IP6.to_be_bytes());
    true
}

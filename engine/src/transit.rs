//! The ordinary way of a packet in transit: one look at all of its headers, and one change to them.
//!
//! Nodes say everything that can happen to a packet; these functions only know the packets to which nothing happens. One for which they say
//! no is as it was, and goes through the nodes. The benchmark's reference, a loop fused by hand, uses them too.

use std::fmt;

use dpdk_sys::Burst;

use crate::packet::{Meta, NO_OFFSET, Packet, Shown};
use crate::tables::{Adjacency, Exit, MacAddress, NO_INTERFACE, UNTAGGED};
use crate::wire::{ETHERTYPE_IP6, Ip4, part};

/// Bytes of an Ethernet header without tags and an IPv4 header without options.
pub const HEADERS4: usize = UNTAGGED + 20;
/// Bytes of an Ethernet header without tags and an IPv6 header.
pub const HEADERS6: usize = UNTAGGED + 40;

/// Ordinary IPv4 packets of one burst on their way together: all that is known of them is the same for all, but for a word or two. So they
/// have no metadata until something is to be said of one. A node takes the whole of them further along its first edge, and makes a [`Packet`] of
/// each that it has another edge for.
pub struct Transit {
    /// What they came in on.
    pub interface: u32,
    /// The frames.
    pub mbufs: Burst,
    /// Beside each of them, the address it is sent to, once `ip4-input` has passed it.
    pub destinations: Box<[u32]>,
    /// Beside each of them, the hop that the lookup found, and then the [`Exit`] it has been rewritten for.
    pub words: Box<[u64]>,
    /// Places of those for which a node found something to say: for the node to take them out.
    pub unusual: Places,
}

/// As a panic names them, each with what is known of it and how its frame begins.
impl fmt::Debug for Transit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meta = Meta { l3: NO_OFFSET, l4: NO_OFFSET, ..Transit::meta(self.interface) };
        f.debug_list().entries(self.mbufs.as_slice().iter().map(|mbuf| Shown(meta, mbuf))).finish()
    }
}

/// Places in a burst, ascending.
pub struct Places {
    places: Box<[u16]>,
    count: usize,
}

impl Places {
    /// One more; as many as a burst has.
    #[inline(always)]
    pub fn add(&mut self, place: usize) {
        if let Some(next) = self.places.get_mut(self.count) {
            *next = place as u16;
            self.count += 1;
        }
    }

    /// Are there none?
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them, which are then forgotten.
    #[inline(always)]
    pub fn take(&mut self) -> &[u16] {
        let count = std::mem::take(&mut self.count);
        &self.places[..count]
    }
}

impl Transit {
    /// Room for so many.
    pub fn new(burst: usize) -> Transit {
        Transit {
            interface: NO_INTERFACE,
            mbufs: Burst::new(burst as u16),
            destinations: vec![0; burst].into(),
            words: vec![0; burst].into(),
            unusual: Places { places: vec![0; burst].into(), count: 0 },
        }
    }

    /// What is known of each of them.
    #[inline(always)]
    pub fn meta(interface: u32) -> Meta {
        Meta { interface, l3: UNTAGGED as u16, l4: HEADERS4 as u16, ..Meta::default() }
    }

    /// Takes them all, each with its metadata as `ip4-input` leaves it.
    pub fn packets(&mut self) -> impl Iterator<Item = Packet> {
        let meta = Transit::meta(self.interface);
        let packet = move |(mbuf, &hop)| Packet { mbuf, meta: Meta { hop, ..meta } };
        self.mbufs.drain().zip(&*self.destinations).map(packet)
    }

    /// The metadata of those that have been rewritten for this port, in order, once the frames are gone.
    pub fn gone_to(&self, port: u16, packets: usize) -> impl Iterator<Item = Meta> {
        let meta = Transit::meta(self.interface);
        let exits = self.words.iter().take(packets).map(|&word| Exit::of(word));
        exits.filter(move |exit| exit.port() == port).map(move |exit| {
            let mut meta = meta;
            meta.leaves_by(exit);
            meta
        })
    }
}

/// The destination of an ordinary IPv4 packet, as it was received where our address is `ours`: a frame without tags, for us, from a possible
/// neighbour, and in it a packet without options whose length, checksum and addresses are in order. Neither `ether-input` nor `ip4-input` has
/// anything to say about it.
#[inline(always)]
pub fn ordinary4(ours: MacAddress, mbuf: &dpdk_sys::Packet) -> Option<u32> {
    const IP4: u32 = u32::from_ne_bytes([8, 0, 0x45, 0]);
    const WITHOUT_TOS: u32 = u32::from_ne_bytes([0xff, 0xff, 0xff, 0]);
    let frame = addressed(ours, mbuf)?;
    if u32::from_ne_bytes(part(frame, 12)) & WITHOUT_TOS != IP4 {
        return None;
    }
    let ip = Ip4(frame.last_chunk()?);
    let total = ip.total_len() as u32;
    if total < 20 || UNTAGGED as u32 + total > mbuf.len() {
        return None;
    }
    if !mbuf.is_ip_checksum_right(ip.is_checksum_right()) {
        return None;
    }
    let (source, destination) = (ip.source(), ip.destination());
    if source == destination || needs_closer_look(frame[26]) | needs_closer_look(frame[30]) {
        return None;
    }
    Some(destination)
}

/// Is it IPv6 in such a frame? At the packet nobody has looked.
#[inline(always)]
pub fn is_ordinary6(ours: MacAddress, mbuf: &dpdk_sys::Packet) -> bool {
    addressed(ours, mbuf).is_some_and(|frame| part(frame, 12) == ETHERTYPE_IP6.to_be_bytes())
}

/// The headers of a frame that is for us and from a possible neighbour.
#[inline(always)]
fn addressed(ours: MacAddress, mbuf: &dpdk_sys::Packet) -> Option<&[u8; HEADERS4]> {
    let frame = mbuf.bytes().first_chunk::<HEADERS4>()?;
    let (destination, source) = (MacAddress::at(frame, 0), MacAddress::at(frame, 6));
    (destination == ours && source != ours && source.is_host()).then_some(frame)
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

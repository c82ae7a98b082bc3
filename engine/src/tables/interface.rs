//! L3 interfaces: a port's own (untagged) and sub-interfaces by 802.1Q and 802.1ad tags.

use std::collections::HashMap;

/// Six bytes of a MAC address as the high 48 bits of a word, first byte lowest: one load, one shift and one comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MacAddress(u64);

impl MacAddress {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: MacAddress = MacAddress(!0xffff);

    /// The address of these bytes, in the order of the wire.
    #[inline(always)]
    pub const fn new(bytes: [u8; 6]) -> MacAddress {
        let [a, b, c, d, e, f] = bytes;
        MacAddress(u64::from_le_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// The address at `start` of a header.
    ///
    /// # Panics
    /// If `start` is beyond the header. Of less than eight bytes there it makes the address of zeros: this is one load of eight.
    #[inline(always)]
    pub fn at(header: &[u8], start: usize) -> MacAddress {
        let word = header[start..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        MacAddress(word << 16)
    }

    /// Its bytes, in the order of the wire.
    pub const fn bytes(self) -> [u8; 6] {
        let [_, _, a, b, c, d, e, f] = self.0.to_le_bytes();
        [a, b, c, d, e, f]
    }

    /// Is it a group address (multicast or broadcast)?
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        self.0 & 1 << 16 != 0
    }

    /// Is it a host's: neither a group's nor all zeros?
    #[inline(always)]
    pub const fn is_host(self) -> bool {
        // With the bit that says so as the sign, groups are negative.
        self.0.rotate_right(17) as i64 > 0
    }

    /// Is it all zeros?
    #[inline(always)]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// The index of no interface.
pub const NO_INTERFACE: u32 = 0;

/// What forwarding needs to know of an L3 interface.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Frames to this address are for us.
    pub mac: MacAddress,
    /// Up, and its parent too.
    pub up: bool,
    /// The largest L3 packet, in bytes.
    pub mtu: u16,
    /// The DPDK port.
    pub port: u16,
    /// Our link-local IPv6 addresses here.
    pub link_local: Box<[[u8; 16]]>,
}

/// The ethertype of a VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tpid {
    /// 0x8100, 802.1Q.
    Dot1q,
    /// 0x88a8, 802.1ad.
    Dot1ad,
}

impl Tpid {
    /// The tag's kind by its ethertype.
    #[inline(always)]
    pub const fn of(ethertype: u16) -> Option<Tpid> {
        match ethertype {
            0x8100 => Some(Tpid::Dot1q),
            0x88a8 => Some(Tpid::Dot1ad),
            _ => None,
        }
    }

    /// Its ethertype.
    pub const fn ethertype(self) -> u16 {
        match self {
            Tpid::Dot1q => 0x8100,
            Tpid::Dot1ad => 0x88a8,
        }
    }
}

/// Which interface of a port a frame belongs to, by its tags.
#[derive(Clone, Debug, Default)]
pub struct PortTags {
    /// The interface of untagged and priority-tagged (VLAN 0) frames.
    pub untagged: u32,
    single: HashMap<(Tpid, u16), u32>,
    double: HashMap<(Tpid, u16, u16), u32>,
}

impl PortTags {
    /// For a port whose own interface is `untagged`.
    pub fn new(untagged: u32) -> PortTags {
        PortTags { untagged, ..PortTags::default() }
    }

    /// Frames with this tag, and with `inner` in a 0x8100 tag behind it, belong to the interface `index`.
    pub fn insert(&mut self, tpid: Tpid, vlan: u16, inner: Option<u16>, index: u32) {
        match inner {
            None => self.single.insert((tpid, vlan), index),
            Some(inner) => self.double.insert((tpid, vlan, inner), index),
        };
    }

    /// The interface of frames with one tag.
    pub fn single(&self, tpid: Tpid, vlan: u16) -> Option<u32> {
        self.single.get(&(tpid, vlan)).copied()
    }

    /// The interface of frames with two.
    pub fn double(&self, tpid: Tpid, vlan: u16, inner: u16) -> Option<u32> {
        self.double.get(&(tpid, vlan, inner)).copied()
    }
}

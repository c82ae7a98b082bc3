//! Where a route leads.

use super::interface::{MacAddress, Tpid};
use crate::wire::ETHERTYPE_IP4;

/// What the number in the FIB stands for. One cache line, so that looking at it is one miss at the most.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub enum Hop {
    /// No route leads there.
    NoRoute,
    /// To a neighbour whose MAC address is known.
    Forward(Adjacency),
    /// To one of several, by flow.
    Ecmp(Box<Ecmp>),
    /// To us.
    Local,
    /// To the broadcast address of this interface's subnet: to us if it came in there, dropped otherwise (RFC 2644).
    Broadcast(u32),
    /// To a neighbour on this interface whose MAC address is not known.
    Unresolved(u32),
    /// Out of an interface that is down.
    Down,
    /// Dropped without a word.
    Blackhole,
    /// Refused: the sender is to be told.
    Unreachable,
    /// To the control plane.
    Punt,
}

/// The longest L2 header an adjacency writes: two MAC addresses, two tags, the ethertype.
const MAX_HEADER: usize = 22;

/// How to reach a neighbour.
#[derive(Clone, Copy, Debug)]
pub struct Adjacency {
    /// Where packets leave.
    pub exit: Exit,
    /// The egress L3 interface, as `exit` says, too.
    pub interface: u32,
    /// The largest L3 packet it takes, in bytes.
    pub mtu: u16,
    untagged: u32,
    header_len: u8,
    header: [u8; MAX_HEADER],
}

/// Where packets leave: the egress L3 interface, and the DPDK port. In one word, that it is copied at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(u64);

impl Exit {
    /// By `interface`, on `port`.
    pub const fn new(interface: u32, port: u16) -> Exit {
        Exit((interface as u64) << 32 | port as u64)
    }

    /// The one that [`word`](Exit::word) has given.
    #[inline(always)]
    pub const fn of(word: u64) -> Exit {
        Exit(word)
    }

    /// As a word, for a row of words.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// The egress L3 interface.
    #[inline(always)]
    pub const fn interface(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The DPDK port.
    #[inline(always)]
    pub const fn port(self) -> u16 {
        self.0 as u16
    }
}

/// Bytes of an L2 header without tags.
pub const UNTAGGED: usize = 14;

impl Adjacency {
    /// To the neighbour `destination`, out of `interface` on `port`, with `tags` from the outermost inwards.
    pub fn new(
        interface: u32,
        port: u16,
        mtu: u16,
        destination: MacAddress,
        source: MacAddress,
        tags: &[(Tpid, u16)],
    ) -> Adjacency {
        let mut header = [0; MAX_HEADER];
        header[..6].copy_from_slice(&destination.bytes());
        header[6..12].copy_from_slice(&source.bytes());
        let mut len = 12;
        if tags.is_empty() {
            header[12..14].copy_from_slice(&ETHERTYPE_IP4.to_be_bytes());
        }
        for (tpid, vlan) in tags.iter().take(2) {
            header[len..len + 2].copy_from_slice(&tpid.ethertype().to_be_bytes());
            header[len + 2..len + 4].copy_from_slice(&vlan.to_be_bytes());
            len += 4;
        }
        let untagged = if tags.is_empty() { UNTAGGED as u32 + mtu as u32 } else { 0 };
        Adjacency {
            exit: Exit::new(interface, port),
            interface,
            mtu,
            untagged,
            header_len: len as u8 + 2,
            header,
        }
    }

    /// Does a frame of `len` bytes, with a header without tags, leave with another one like it and nothing to trim?
    #[inline(always)]
    pub fn takes_untagged(&self, len: u32) -> bool {
        len <= self.untagged
    }

    /// Bytes of the L2 header: 14, 18 or 22.
    #[inline(always)]
    pub fn header_len(&self) -> u16 {
        self.header_len as u16
    }

    /// The L2 header but for the ethertype, which the node knows; where there are no tags that of IPv4 is in its place.
    #[inline(always)]
    pub fn header(&self) -> &[u8; MAX_HEADER] {
        &self.header
    }
}

/// The most paths a route can have.
pub const MAX_PATHS: usize = 64;
/// Flows are spread over so many buckets.
const BUCKETS: usize = 1024;

/// Several ways to one destination.
#[derive(Clone, Debug)]
pub struct Ecmp {
    hops: Box<[u32]>,
    buckets: [u8; BUCKETS],
}

impl Ecmp {
    /// Spreads flows over `paths`: each a hop and a name for it that is the same wherever the hop is used (a hash of interface and
    /// address). Each bucket takes the path with the highest rank for it (rendezvous hashing), so when one path goes, only its own flows
    /// move, and when it comes back, they return.
    ///
    /// Paths beyond [`MAX_PATHS`] are not used; without any, nothing is reached.
    pub fn new(paths: &[(u32, u64)]) -> Ecmp {
        let paths = &paths[..paths.len().min(MAX_PATHS)];
        let mut buckets = [0; BUCKETS];
        for (bucket, best) in buckets.iter_mut().enumerate() {
            let rank = |&(_, &(_, name)): &(usize, &(u32, u64))| mix(name ^ mix(bucket as u64 + 1));
            *best = paths.iter().enumerate().max_by_key(rank).map_or(0, |(index, _)| index as u8);
        }
        Ecmp { hops: paths.iter().map(|(hop, _)| *hop).collect(), buckets }
    }

    /// The hop for a flow of this hash.
    #[inline(always)]
    pub fn pick(&self, hash: u32) -> u32 {
        let bucket = self.buckets[hash as usize % BUCKETS];
        self.hops.get(bucket as usize).copied().unwrap_or(super::HOP_NO_ROUTE)
    }

    /// Its hops.
    pub fn hops(&self) -> &[u32] {
        &self.hops
    }
}

/// Scatters the bits of a word (the finaliser of MurmurHash3).
const fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ (word >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[u64]) -> Ecmp {
        Ecmp::new(&names.iter().map(|&name| (name as u32 + 100, name)).collect::<Vec<_>>())
    }

    #[test]
    fn a_hop_is_a_cache_line() {
        assert_eq!((size_of::<Hop>(), align_of::<Hop>()), (64, 64));
    }

    #[test]
    fn paths_share_the_flows_evenly() {
        let group = paths(&[1, 2, 3, 4]);
        for path in 101..=104 {
            let share = (0..1024).filter(|&hash| group.pick(hash) == path).count();
            assert!((216..=296).contains(&share), "path {path} has {share} of 1024 buckets");
        }
    }

    #[test]
    fn a_flow_stays_on_its_path_when_another_goes_and_returns_with_it() {
        let (all, fewer) = (paths(&[1, 2, 3, 4]), paths(&[4, 2, 1]));
        for hash in 0..1024 {
            let (before, after) = (all.pick(hash), fewer.pick(hash));
            assert!(before == after || before == 103, "hash {hash} went from {before} to {after}");
        }
    }

    #[test]
    fn no_path_is_no_route() {
        assert_eq!(paths(&[]).pick(7), super::super::HOP_NO_ROUTE);
    }
}

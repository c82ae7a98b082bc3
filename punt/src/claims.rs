//! Claims: who wants what is addressed to us. For each port, type and protocol the index of a reason.
//!
//! The rows are set in place while workers read; one thread sets them.

use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicU32, Ordering};

use rpds::HashTrieMapSync;
use rustc_hash::FxHasher;

use crate::matching::Match;
use crate::value::Mac;

/// A row of reason indices; 0 is nobody.
pub struct Listeners(Box<[AtomicU32]>);

/// Who wants a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The index of the reason.
    pub reason: u32,
    /// It is for a range of keys.
    pub wide: bool,
}

/// Set beside the index of a reason that claims a range.
const WIDE: u32 = 1 << 31;

impl Listeners {
    /// A row of `len`, with nobody in it.
    pub fn new(len: usize) -> Listeners {
        Listeners((0..len).map(|_| AtomicU32::new(0)).collect())
    }

    /// The index of the reason that wants `key`.
    #[inline(always)]
    pub fn get(&self, key: u16) -> Option<u32> {
        self.claim(key).map(|claim| claim.reason)
    }

    /// Who wants `key`?
    #[inline(always)]
    pub fn claim(&self, key: u16) -> Option<Claim> {
        match self.0.get(key as usize)?.load(Ordering::Relaxed) {
            0 => None,
            cell => Some(Claim { reason: cell & !WIDE, wide: cell & WIDE != 0 }),
        }
    }

    /// Packets with `key` are punted for `reason` from now on, which is `wide` if it wants other keys, too; 0 takes it back. A key beyond the
    /// row is ignored.
    pub fn set(&self, key: u16, reason: u32, wide: bool) {
        if let Some(listener) = self.0.get(key as usize) {
            listener.store(if wide { reason | WIDE } else { reason }, Ordering::Relaxed);
        }
    }
}

/// What a listener can be keyed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// UDP destination port.
    Udp,
    /// TCP destination port.
    Tcp,
    /// TCP source port: the answers to a session that we opened.
    TcpSource,
    /// ICMP type, of the family's ICMP.
    Icmp,
    /// IGMP type.
    Igmp,
    /// IP protocol.
    Ip,
}

/// The listeners of one family.
pub struct Claims {
    udp: Listeners,
    tcp: Listeners,
    tcp_source: Listeners,
    icmp: Listeners,
    igmp: Listeners,
    ip: Listeners,
}

impl Default for Claims {
    fn default() -> Claims {
        Claims {
            udp: Listeners::new(1 << 16),
            tcp: Listeners::new(1 << 16),
            tcp_source: Listeners::new(1 << 16),
            icmp: Listeners::new(1 << 8),
            igmp: Listeners::new(1 << 8),
            ip: Listeners::new(1 << 8),
        }
    }
}

impl Claims {
    /// The index of the reason that wants a TCP segment with these ports: the more specific of what is claimed by destination and by source.
    #[inline(always)]
    pub fn tcp(&self, source: u16, destination: u16) -> Option<u32> {
        let claim = match self.tcp.claim(destination) {
            Some(claim) if !claim.wide => Some(claim),
            by_destination => match self.tcp_source.claim(source) {
                Some(claim) if !claim.wide => Some(claim),
                by_source => by_destination.or(by_source),
            },
        };
        claim.map(|claim| claim.reason)
    }

    /// The listeners keyed by `protocol`.
    #[inline(always)]
    pub fn of(&self, protocol: Protocol) -> &Listeners {
        match protocol {
            Protocol::Udp => &self.udp,
            Protocol::Tcp => &self.tcp,
            Protocol::TcpSource => &self.tcp_source,
            Protocol::Icmp => &self.icmp,
            Protocol::Igmp => &self.igmp,
            Protocol::Ip => &self.ip,
        }
    }
}

type Map<K> = HashTrieMapSync<K, u32, BuildHasherDefault<FxHasher>>;

/// Who wants frames that are neither IP nor ARP and have no reason of their own. Replaced whole; a copy shares all that is the same.
#[derive(Clone)]
pub struct LinkClaims {
    /// By the group they are sent to.
    macs: Map<Mac>,
    /// By ethertype.
    ethertypes: Map<u16>,
    /// By LLC destination service access point.
    llcs: Map<u8>,
}

impl Default for LinkClaims {
    fn default() -> LinkClaims {
        fn none<K: Eq + std::hash::Hash>() -> Map<K> {
            HashTrieMapSync::new_with_hasher_and_ptr_kind(BuildHasherDefault::default())
        }
        LinkClaims { macs: none(), ethertypes: none(), llcs: none() }
    }
}

impl LinkClaims {
    /// Whether nobody wants any.
    pub fn is_empty(&self) -> bool {
        self.macs.is_empty() && self.ethertypes.is_empty() && self.llcs.is_empty()
    }

    /// Frames that `matching` matches are punted for this reason, or nobody's. A match that is not by frame is ignored.
    pub fn set(&mut self, matching: &Match, reason: Option<u32>) {
        fn put<K: Eq + std::hash::Hash>(map: &mut Map<K>, key: K, reason: Option<u32>) {
            match reason {
                Some(reason) => map.insert_mut(key, reason),
                None => drop(map.remove_mut(&key)),
            }
        }
        match matching {
            Match::Mac(mac) => put(&mut self.macs, *mac, reason),
            Match::Ethertype(ethertype) => put(&mut self.ethertypes, *ethertype, reason),
            Match::Llc(llc) => put(&mut self.llcs, *llc, reason),
            _ => {}
        }
    }

    /// The index of the reason of the most specific claim: the group, then the ethertype or LLC.
    pub fn find(&self, destination: Mac, ethertype: Option<u16>, llc: Option<u8>) -> Option<u32> {
        let of_type = || self.ethertypes.get(&ethertype?);
        let of_llc = || self.llcs.get(&llc?);
        self.macs.get(&destination).or_else(of_type).or_else(of_llc).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_segments_ports_an_exact_one_comes_before_a_range_and_then_the_destination_before_the_source() {
        let claims = Claims::default();
        (1024..=u16::MAX).for_each(|port| claims.of(Protocol::Tcp).set(port, 7, true));
        claims.of(Protocol::Tcp).set(179, 1, false);
        claims.of(Protocol::TcpSource).set(179, 1, false);
        assert_eq!(claims.tcp(179, 40_000), Some(1), "what a session that we opened is answered");
        assert_eq!(claims.tcp(180, 40_000), Some(7));
        claims.of(Protocol::Tcp).set(40_000, 8, false);
        assert_eq!(claims.tcp(179, 40_000), Some(8));
        claims.of(Protocol::TcpSource).set(180, 9, true);
        assert_eq!((claims.tcp(180, 40_001), claims.tcp(180, 22)), (Some(7), Some(9)));
        claims.of(Protocol::Tcp).set(40_000, 0, false);
        assert_eq!((claims.tcp(1, 40_000), claims.tcp(1, 22)), (None, None));
    }
}

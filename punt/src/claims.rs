//! Claims: who wants what is addressed to us. For each port, type and protocol the index of a reason.
//!
//! The rows are set in place while workers read; one thread sets them.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::value::Mac;

/// A row of reason indices; 0 is nobody.
pub struct Listeners(Box<[AtomicU32]>);

impl Listeners {
    /// A row of `len`, with nobody in it.
    pub fn new(len: usize) -> Listeners {
        Listeners((0..len).map(|_| AtomicU32::new(0)).collect())
    }

    /// Who wants `key`?
    #[inline(always)]
    pub fn get(&self, key: u16) -> Option<u32> {
        match self.0.get(key as usize)?.load(Ordering::Relaxed) {
            0 => None,
            reason => Some(reason),
        }
    }

    /// Packets with `key` are punted for `reason` from now on; 0 takes it back. A key beyond the row is ignored.
    pub fn set(&self, key: u16, reason: u32) {
        if let Some(listener) = self.0.get(key as usize) {
            listener.store(reason, Ordering::Relaxed);
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

/// Who wants frames that are neither IP nor ARP and have no reason of their own. Replaced whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkClaims {
    /// By the group they are sent to.
    pub macs: Vec<(Mac, u32)>,
    /// By ethertype.
    pub ethertypes: Vec<(u16, u32)>,
    /// By LLC destination service access point.
    pub llcs: Vec<(u8, u32)>,
}

impl LinkClaims {
    /// The index of the reason of the most specific claim: the group, then the ethertype or LLC.
    pub fn find(&self, destination: Mac, ethertype: Option<u16>, llc: Option<u8>) -> Option<u32> {
        let group = self.macs.iter().find(|(mac, _)| *mac == destination).map(|(_, reason)| *reason);
        group
            .or_else(|| {
                self.ethertypes.iter().find(|(key, _)| Some(*key) == ethertype).map(|(_, reason)| *reason)
            })
            .or_else(|| self.llcs.iter().find(|(key, _)| Some(*key) == llc).map(|(_, reason)| *reason))
    }
}

//! Who wants what is addressed to us: for each port, type and protocol, the id of a reason.

use std::sync::atomic::{AtomicU32, Ordering};

/// A row of reason ids, set in place while workers read; 0 is nobody.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// UDP destination port.
    Udp,
    /// TCP destination port.
    Tcp,
    /// TCP source port: the answers to a session that we opened.
    TcpSource,
    /// ICMP type.
    Icmp4,
    /// ICMPv6 type.
    Icmp6,
    /// IGMP type.
    Igmp,
    /// IP protocol.
    Ip,
}

/// The listeners of one VRF.
pub struct Local {
    udp: Listeners,
    tcp: Listeners,
    tcp_source: Listeners,
    icmp4: Listeners,
    icmp6: Listeners,
    igmp: Listeners,
    ip: Listeners,
}

impl Default for Local {
    fn default() -> Local {
        Local {
            udp: Listeners::new(1 << 16),
            tcp: Listeners::new(1 << 16),
            tcp_source: Listeners::new(1 << 16),
            icmp4: Listeners::new(1 << 8),
            icmp6: Listeners::new(1 << 8),
            igmp: Listeners::new(1 << 8),
            ip: Listeners::new(1 << 8),
        }
    }
}

impl Local {
    /// The listeners keyed by `protocol`.
    #[inline(always)]
    pub fn of(&self, protocol: Protocol) -> &Listeners {
        match protocol {
            Protocol::Udp => &self.udp,
            Protocol::Tcp => &self.tcp,
            Protocol::TcpSource => &self.tcp_source,
            Protocol::Icmp4 => &self.icmp4,
            Protocol::Icmp6 => &self.icmp6,
            Protocol::Igmp => &self.igmp,
            Protocol::Ip => &self.ip,
        }
    }
}

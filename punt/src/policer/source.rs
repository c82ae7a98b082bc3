//! Who sent a packet, as far as fairness tells senders apart.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Who sent a packet, as far as it is told apart: an IPv4 address, an IPv6 /64, a MAC for what is not IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(u64);

impl Source {
    /// An IPv4 address.
    #[inline]
    pub const fn ip4(address: [u8; 4]) -> Source {
        Source(0xffff << 48 | u32::from_be_bytes(address) as u64) // ff00::/8 is the source of nothing
    }

    /// The /64 of an IPv6 address.
    #[inline]
    pub const fn ip6(address: [u8; 16]) -> Source {
        Source((u128::from_be_bytes(address) >> 64) as u64)
    }

    /// A MAC.
    #[inline]
    pub const fn mac(address: [u8; 6]) -> Source {
        let [a, b, c, d, e, f] = address;
        Source(0xfffe << 48 | u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// The same in 64 bits.
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u64) -> Source {
        Source(bits)
    }
}

impl std::fmt::Display for Source {
    /// `192.0.2.1`, `2001:db8::/64` or `02:00:00:00:00:01`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 >> 48 {
            0xffff => f.pad(&Ipv4Addr::from(self.0 as u32).to_string()),
            0xfffe => {
                let [_, _, a, b, c, d, e, g] = self.0.to_be_bytes();
                f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
            }
            _ => f.pad(&format!("{}/64", Ipv6Addr::from(u128::from(self.0) << 64))),
        }
    }
}

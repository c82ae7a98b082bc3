//! Longest prefix match: DPDK's FIB, or in tests of nodes a plain list that needs no EAL.

/// An IPv4 FIB. Addresses in host byte order.
pub enum Lpm4 {
    /// `rte_fib`.
    Dpdk(dpdk_sys::Fib4),
    /// Prefix, length and hop.
    #[cfg(any(test, fuzzing))]
    Plain(Vec<(u32, u8, u32)>),
}

/// An IPv6 FIB. Addresses in network byte order.
pub enum Lpm6 {
    /// `rte_fib6`.
    Dpdk(dpdk_sys::Fib6),
    /// Prefix, length and hop.
    #[cfg(any(test, fuzzing))]
    Plain(Vec<([u8; 16], u8, u32)>),
}

impl Lpm4 {
    /// The hop of each address.
    #[inline(always)]
    pub fn lookup(&self, addresses: &[u32], hops: &mut [u64]) {
        match self {
            Lpm4::Dpdk(fib) => fib.lookup(addresses, hops),
            #[cfg(any(test, fuzzing))]
            Lpm4::Plain(routes) => {
                let routes: Vec<_> =
                    routes.iter().map(|&(address, len, hop)| (address as u128, len, hop)).collect();
                for (address, hop) in addresses.iter().zip(hops) {
                    *hop = longest(&routes, *address as u128, 32);
                }
            }
        }
    }
}

impl Lpm6 {
    /// The hop of each address.
    #[inline(always)]
    pub fn lookup(&self, addresses: &[[u8; 16]], hops: &mut [u64]) {
        match self {
            Lpm6::Dpdk(fib) => fib.lookup(addresses, hops),
            #[cfg(any(test, fuzzing))]
            Lpm6::Plain(routes) => {
                let routes: Vec<_> = routes
                    .iter()
                    .map(|&(address, len, hop)| (u128::from_be_bytes(address), len, hop))
                    .collect();
                for (address, hop) in addresses.iter().zip(hops) {
                    *hop = longest(&routes, u128::from_be_bytes(*address), 128);
                }
            }
        }
    }
}

#[cfg(any(test, fuzzing))]
fn longest(routes: &[(u128, u8, u32)], address: u128, width: u8) -> u64 {
    let covers = |&&(prefix, len, _): &&(u128, u8, u32)| len == 0 || (prefix ^ address) >> (width - len) == 0;
    let best = routes.iter().filter(covers).max_by_key(|(_, len, _)| *len);
    best.map_or(super::HOP_NO_ROUTE, |(_, _, hop)| *hop) as u64
}

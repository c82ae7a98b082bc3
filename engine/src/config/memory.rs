//! How large the tables are, and what memory that takes.

use std::fmt;

use dpdk_sys::{HEADROOM, memory_of_fib4, memory_of_fib6, memory_of_pool};

use super::Config;

/// `[tables]`: what is reserved at start, and cannot grow while the engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// IPv4 prefixes with routes of the operator's.
    pub routes4: u32,
    /// IPv6 prefixes with routes of the operator's.
    pub routes6: u32,
    /// Neighbours with a known MAC address, of both families.
    pub neighbors: u32,
    /// Next hops of routes: each address on an interface, and each set of equal-cost ones.
    pub next_hops: u32,
    /// Blocks of 256 entries for IPv4 prefixes longer than /24; by default enough for `routes4` and `neighbors` as they usually lie: one route in
    /// sixteen is longer than /24, and four neighbours share one.
    pub groups4: Option<u32>,
    /// The same for IPv6 prefixes longer than /24, which take one for each octet behind the third that they share with no other: a neighbour with
    /// a random interface identifier up to seven. By default one for each of `neighbors`, and one for two of `routes6`.
    pub groups6: Option<u32>,
    /// Packet buffers on each NUMA node; without hugepages each takes a page of its own.
    pub packets: Option<u32>,
    /// Bytes of frame that one buffer holds; longer frames take several.
    pub packet_size: u16,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            routes4: 65_536,
            routes6: 16_384,
            neighbors: 4_096,
            next_hops: 4_096,
            groups4: None,
            groups6: None,
            packets: None,
            packet_size: 2_048,
        }
    }
}

/// Addresses that all interfaces may have together, of each family.
pub const MAX_ADDRESSES: u32 = 1_024;
/// Link-local addresses of one interface beside the one it has from its MAC.
pub const MAX_LINK_LOCAL: usize = 16;
/// Prefixes that an address makes: itself, its subnet, and the subnet's first and last address.
const PREFIXES_OF_ADDRESS: u32 = 4;
/// DPDK wants some groups while it changes a route that it gives back at the end.
const SPARE_GROUPS: u32 = 16;

/// With what sizes a FIB is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FibSize {
    /// Prefixes.
    pub routes: u32,
    /// Blocks of 256 entries for what is longer than /24.
    pub groups: u32,
}

impl Sizes {
    /// Groups that IPv4 prefixes longer than /24 may take.
    pub fn groups4(&self) -> u32 {
        self.groups4.unwrap_or_else(|| (self.routes4 / 16 + self.neighbors / 4).max(1_024))
    }

    /// Groups that IPv6 prefixes longer than /24 may take.
    pub fn groups6(&self) -> u32 {
        self.groups6.unwrap_or_else(|| (self.routes6 / 2 + self.neighbors).max(1_024))
    }

    /// With what the IPv4 FIB is to be made: routes, addresses and neighbours.
    pub fn fib4(&self) -> FibSize {
        FibSize { routes: self.prefixes(self.routes4), groups: self.groups4() + SPARE_GROUPS }
    }

    /// With what the IPv6 FIB is to be made.
    pub fn fib6(&self) -> FibSize {
        FibSize { routes: self.prefixes(self.routes6), groups: self.groups6() + SPARE_GROUPS }
    }

    fn prefixes(&self, routes: u32) -> u32 {
        routes + self.neighbors + MAX_ADDRESSES * PREFIXES_OF_ADDRESS
    }

    /// Slots for hops that [`Tables::new`](crate::tables::Tables::new) is to make, for so many interfaces.
    pub fn hops(&self, max_interfaces: u32) -> u32 {
        crate::tables::FIRST_FREE_HOP + 4 + 2 * max_interfaces + self.neighbors + self.next_hops
    }

    /// How many packet buffers to try for, the first being the best: the number that the operator wants, or as many as fit.
    pub fn packets(&self) -> Vec<u32> {
        match self.packets {
            Some(packets) => vec![packets],
            None => vec![32_768, 16_384, 8_192, 4_096],
        }
    }

    /// Bytes of a packet buffer, its headroom included.
    pub fn data_room(&self) -> u16 {
        self.packet_size + HEADROOM
    }
}

/// Bytes that a configuration takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// DPDK memory for the IPv4 FIB.
    pub fib4: u64,
    /// DPDK memory for the IPv6 FIB.
    pub fib6: u64,
    /// DPDK memory for the packets of one NUMA node, as many as are wanted.
    pub packets: u64,
    /// The same, as few as will do.
    pub least_packets: u64,
    /// The engine's own tables and its list of routes, when they are full.
    pub tables: u64,
}

impl Memory {
    /// What the EAL must have where there is one NUMA node.
    pub fn dpdk(&self) -> u64 {
        self.fib4 + self.fib6 + self.packets
    }

    /// The least that the EAL must have: where there is less room than for [`dpdk`](Memory::dpdk), fewer packets are taken.
    pub fn least(&self) -> u64 {
        self.fib4 + self.fib6 + self.least_packets
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [("IPv4 routes", self.fib4), ("IPv6 routes", self.fib6), ("packets", self.packets)];
        for (what, bytes) in rows {
            writeln!(f, "{:>6} MiB  {what}", bytes.div_ceil(1 << 20))?;
        }
        writeln!(f, "{:>6} MiB  of DPDK memory for each NUMA node", self.dpdk().div_ceil(1 << 20))?;
        writeln!(f, "{:>6} MiB  of other memory", self.tables.div_ceil(1 << 20))
    }
}

impl Config {
    /// What its tables take.
    pub fn memory(&self) -> Memory {
        let sizes = &self.tables;
        let (fib4, fib6) = (sizes.fib4(), sizes.fib6());
        let hops = u64::from(sizes.neighbors) + u64::from(sizes.next_hops);
        let packets = |packets: Option<u32>| memory_of_pool(packets.unwrap_or(0), sizes.data_room());
        Memory {
            fib4: memory_of_fib4(fib4.routes, fib4.groups),
            fib6: memory_of_fib6(fib6.routes, fib6.groups),
            packets: packets(sizes.packets().into_iter().max()),
            least_packets: packets(sizes.packets().into_iter().min()),
            tables: hops * 1_280 + (u64::from(fib4.routes) + u64::from(fib6.routes)) * 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_and_16384_packets_fit_into_256_mib() {
        let mut config = Config::default();
        config.tables.packets = Some(16_384);
        let memory = config.memory();
        assert!(memory.dpdk() <= 256 << 20, "{memory}");
    }

    #[test]
    fn a_million_routes_are_counted() {
        let mut config = Config::default();
        config.tables.routes4 = 1_000_000;
        let more = config.memory().fib4 - Config::default().memory().fib4;
        assert!((300..500).contains(&(more >> 20)), "{} MiB more", more >> 20);
    }
}

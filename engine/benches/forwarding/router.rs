//! The router that is measured: three interfaces, a neighbour for each hop, and as many routes as asked for.

use std::collections::HashSet;
use std::sync::Arc;

use dpdk_sys::{ANY_SOCKET, Fib4, Fib4Writer, Fib6, Fib6Writer, Result, fib4, fib6};
use engine::tables::{
    Adjacency, FIRST_FREE_HOP, HOP_NO_ROUTE, Hop, Interface, Lpm4, Lpm6, MacAddress, Tables,
};

use crate::random::Random;

/// Where packets come in; its port is 0.
pub const LAN: u32 = 1;
/// Where they leave: interface and port.
pub const EGRESS: [(u32, u16); 2] = [(2, 1), (3, 2)];
/// Ports, the one of `LAN` included.
pub const PORTS: usize = 3;
/// Interfaces.
pub const INTERFACES: usize = 3;
/// `LAN`'s address.
pub const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Neighbours, one half on each egress.
const NEIGHBORS: u32 = 256;

/// Its tables, and an address in each of its routes.
pub struct Router {
    pub tables: Arc<Tables>,
    pub destinations4: Vec<u32>,
    pub destinations6: Vec<[u8; 16]>,
    fibs: (Fib4, Fib6),
    _writers: (Fib4Writer, Fib6Writer),
}

impl Router {
    /// Groups of 256 entries that its IPv4 table is made for.
    pub const GROUPS4: u32 = 32_768;
    /// Those of its IPv6 table.
    pub const GROUPS6: u32 = 1_024;
    /// IPv6 routes.
    pub const ROUTES6: u32 = 256;

    /// With `routes4` IPv4 routes: 256 of them are 10.n.0.0/16, more are random, as long as those of the Internet.
    pub fn new(name: &str, routes4: usize) -> Result<Router> {
        let (lpm4, mut writer4) =
            fib4(&format!("{name}-4"), routes4 as u32 + 1, Self::GROUPS4, HOP_NO_ROUTE, ANY_SOCKET)?;
        let (lpm6, mut writer6) =
            fib6(&format!("{name}-6"), Self::ROUTES6 + 1, Self::GROUPS6, HOP_NO_ROUTE, ANY_SOCKET)?;
        let mut random = Random::new(7);
        let mut destinations4 = Vec::with_capacity(routes4);
        for (route, (prefix, depth)) in prefixes(routes4).into_iter().enumerate() {
            writer4.add(prefix, depth, FIRST_FREE_HOP + route as u32 % NEIGHBORS)?;
            destinations4.push(prefix | random.next32() & !mask(depth));
        }
        let mut destinations6 = Vec::new();
        for route in 0..Self::ROUTES6 {
            let mut address = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
            address[4..6].copy_from_slice(&(route as u16).to_be_bytes());
            writer6.add(address, 48, FIRST_FREE_HOP + route % NEIGHBORS)?;
            destinations6.push(address);
        }
        let fibs = (lpm4, lpm6);
        let tables = tables(&fibs, punting());
        Ok(Router { tables, destinations4, destinations6, fibs, _writers: (writer4, writer6) })
    }

    /// Tables that differ from its own in who asked for what.
    pub fn tables_with(&self, punting: Arc<punt::desk::Tables>) -> Arc<Tables> {
        tables(&self.fibs, punting)
    }
}

fn tables((lpm4, lpm6): &(Fib4, Fib6), punting: Arc<punt::desk::Tables>) -> Arc<Tables> {
    let hops = (FIRST_FREE_HOP + NEIGHBORS) as usize;
    let (lpm4, lpm6) = (Lpm4::Dpdk(lpm4.clone()), Lpm6::Dpdk(lpm6.clone()));
    let tables = Tables::new(INTERFACES, PORTS, hops, lpm4, lpm6, punting);
    fill(&tables);
    Arc::new(tables)
}

/// Nobody asks for anything.
fn punting() -> Arc<punt::desk::Tables> {
    Arc::new(punt::desk::Tables::new(300))
}

/// Interfaces and neighbours.
fn fill(tables: &Tables) {
    let mac = |last: u8| MacAddress::new([2, 0, 0, 0, 0, last]);
    for (index, port) in [(LAN, 0)].into_iter().chain(EGRESS) {
        let interface =
            Interface { mac: mac(index as u8), up: true, mtu: 1500, port, link_local: Box::default() };
        tables.interfaces[index as usize].replace(Some(interface), &mut Vec::new());
    }
    for neighbor in 0..NEIGHBORS {
        let (interface, port) = EGRESS[neighbor as usize % EGRESS.len()];
        let (to, from) = (MacAddress::new([2, 0, 0, 0, 1, neighbor as u8]), mac(interface as u8));
        let hop = Hop::Forward(Adjacency::new(interface, port, 1500, to, from, &[]));
        tables.hops[(FIRST_FREE_HOP + neighbor) as usize].replace(Some(hop), &mut Vec::new());
    }
}

/// So many different prefixes, in random order beyond the first 256.
fn prefixes(count: usize) -> Vec<(u32, u8)> {
    let mut prefixes: Vec<_> = (0..256.min(count as u32)).map(|n| (0x0a00_0000 | n << 16, 16)).collect();
    let mut random = Random::new(1);
    let mut known = HashSet::new();
    while prefixes.len() < count {
        let depth = match random.next32() % 100 {
            0..60 => 24,
            60..80 => 22 + (random.next32() % 2) as u8,
            80..98 => 16 + (random.next32() % 6) as u8,
            _ => 25 + (random.next32() % 4) as u8,
        };
        let prefix = random.next32() & mask(depth);
        let routable = (11..224).contains(&(prefix >> 24)) && !matches!(prefix >> 24, 127 | 169);
        if routable && known.insert((prefix, depth)) {
            prefixes.push((prefix, depth));
        }
    }
    prefixes
}

/// The bits of a prefix of this length.
fn mask(depth: u8) -> u32 {
    u32::MAX << (32 - depth)
}

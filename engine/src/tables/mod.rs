//! What workers look up: interfaces, hops, the FIBs, and who wants what is addressed to us.
//!
//! The arrays are made once, with the sizes of the configuration. What stands in them is replaced while packets flow (see
//! [`quiescent`](crate::quiescent)); one control thread does that, workers only read.

mod fib;
mod hop;
mod interface;

pub use fib::{Lpm4, Lpm6};
pub use hop::{Adjacency, Ecmp, Exit, Hop, MAX_PATHS, UNTAGGED};
pub use interface::{Interface, MacAddress, NO_INTERFACE, PortTags, Tpid};

use std::sync::Arc;

use crate::losses::Watched;
use crate::quiescent::{Guard, Slot};
use crate::run::InjectRing;

/// Workers that there can be.
pub const MAX_WORKERS: usize = 256;

/// The hop of a lookup that met the table in the middle of a change: never given to a route, so look again.
pub const HOP_TORN: u32 = 0;
/// The hop where no route leads: there is none.
pub const HOP_NO_ROUTE: u32 = 1;
/// Hops below this one are fixed.
pub const FIRST_FREE_HOP: u32 = 2;

/// Everything a worker looks up. One VRF, `default`.
pub struct Tables {
    /// L3 interfaces by index; 0 is never used.
    pub interfaces: Box<[Slot<Interface>]>,
    /// For each DPDK port, which interface a frame with which tags belongs to.
    pub ports: Box<[Slot<PortTags>]>,
    /// Where routes lead, by the number in the FIB.
    pub hops: Box<[Slot<Hop>]>,
    /// IPv4 longest prefix match; addresses in host byte order.
    pub fib4: Lpm4,
    /// IPv6 longest prefix match; addresses in network byte order.
    pub fib6: Lpm6,
    /// By worker: what clients want injected.
    pub injected: Box<[Slot<Box<[InjectRing]>>]>,
    /// What becomes of packets that leave the graph for a reason.
    pub punt: Arc<punt::desk::Tables>,
    /// Which of the punt path's own losses somebody wants to see.
    pub watched: Arc<Watched>,
}

impl Tables {
    /// Empty tables for so many interfaces, ports and hops.
    pub fn new(
        interfaces: usize,
        ports: usize,
        hops: usize,
        fib4: Lpm4,
        fib6: Lpm6,
        punt: Arc<punt::desk::Tables>,
    ) -> Tables {
        Tables {
            interfaces: slots(interfaces + 1),
            ports: slots(ports),
            hops: slots(hops.max(FIRST_FREE_HOP as usize)),
            fib4,
            fib6,
            punt,
            watched: Arc::default(),
            injected: slots(MAX_WORKERS),
        }
    }

    /// What clients want this worker to inject, if any does.
    #[inline(always)]
    pub fn injected<'a>(&'a self, worker: usize, guard: &'a Guard<'_>) -> Option<&'a [InjectRing]> {
        self.injected.get(worker)?.get(guard).map(|rings| &**rings)
    }

    /// The interface of this index.
    #[inline(always)]
    pub fn interface<'a>(&'a self, index: u32, guard: &'a Guard<'_>) -> Option<&'a Interface> {
        self.interfaces.get(index as usize)?.get(guard)
    }

    /// The neighbour that the hop numbered `hop` leads to; `None` if it leads elsewhere.
    #[inline(always)]
    pub fn neighbor<'a>(&'a self, hop: u32, guard: &'a Guard<'_>) -> Option<&'a Adjacency> {
        neighbor(&self.hops, hop, guard)
    }

    /// Where the hop numbered `hop` leads; nowhere, if it is not in use.
    #[inline(always)]
    pub fn hop<'a>(&'a self, hop: u32, guard: &'a Guard<'_>) -> &'a Hop {
        self.hops.get(hop as usize).and_then(|slot| slot.get(guard)).unwrap_or(&Hop::NoRoute)
    }
}

/// [`Tables::neighbor`], for loops that keep the row of hops at hand.
#[inline(always)]
pub fn neighbor<'a>(hops: &'a [Slot<Hop>], hop: u32, guard: &'a Guard<'_>) -> Option<&'a Adjacency> {
    match hops.get(hop as usize)?.get(guard)? {
        Hop::Forward(adjacency) => Some(adjacency),
        _ => None,
    }
}

fn slots<T>(count: usize) -> Box<[Slot<T>]> {
    (0..count).map(|_| Slot::default()).collect()
}

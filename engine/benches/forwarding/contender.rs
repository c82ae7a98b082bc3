//! Who takes part: the floor, which only receives and sends, and the graph. The third is the [`fused`](crate::fused) loop.

use std::sync::Arc;

use dpdk_sys::{Burst, free_bulk, tsc};
use engine::counters::{Counters, Total};
use engine::graph::{Graph, Plan, Stages};
use engine::node::{Context, Named};
use engine::nodes::ether::EtherInput;
use engine::nodes::transmit::{Egress, Queue, Transmit};
use engine::quiescent::{Domain, Reader};
use engine::tables::Tables;
use punt::clock::Clock;
use punt::dispatch::Outbox;

use crate::router::{INTERFACES, LAN, PORTS};
use crate::wire::{Wire, is_expired};

/// Something that takes packets from the wire and puts them back.
pub trait Contender {
    /// One burst. Returns how many packets there were.
    fn turn(&mut self) -> usize;
}

/// Receives and sends, and frees as many packets as the others punt.
pub struct Floor {
    wire: Wire,
    burst: Burst,
    freed: Vec<dpdk_sys::Packet>,
    /// Are there packets to free?
    exceptions: bool,
}

impl Floor {
    pub fn new(wire: &Wire, burst: u16, exceptions: bool) -> Floor {
        Floor {
            wire: wire.end(),
            burst: Burst::new(burst),
            freed: Vec::with_capacity(burst.into()),
            exceptions,
        }
    }
}

impl Contender for Floor {
    fn turn(&mut self) -> usize {
        let count = self.wire.receive(&mut self.burst);
        if self.exceptions {
            // Which ones does not matter, and so the floor has no branch to mispredict.
            let expired: usize = self.burst.as_slice().iter().map(|packet| is_expired(packet) as usize).sum();
            self.freed.extend((0..expired).filter_map(|_| self.burst.pop()));
            free_bulk(&mut self.freed);
        } else {
            prefetch(&self.burst);
        }
        self.wire.send(&mut self.burst);
        if self.exceptions {
            self.wire.refill();
        }
        count
    }
}

/// Even the floor would otherwise wait for every cold packet in turn.
#[inline(always)]
fn prefetch(burst: &Burst) {
    burst.as_slice().iter().for_each(|packet| packet.prefetch());
    burst.as_slice().iter().for_each(|packet| packet.prefetch_data());
}

/// The graph with all its nodes, run as a worker runs it.
pub struct InGraph {
    graph: Graph,
    first: usize,
    wire: Wire,
    received: Burst,
    tables: Arc<Tables>,
    reader: Reader,
    counters: Counters,
    exceptions: bool,
}

/// All nodes, with the wire at every port.
pub fn stages(wire: &Wire, burst: u16) -> Stages {
    let ways = (0..PORTS).map(|_| Egress::Queue(wire.end())).collect();
    let mut stages = engine::nodes::all(Transmit::new(Vec::new(), burst.into()));
    stages.pop();
    stages.push(Box::new(Transmit::new(ways, burst.into())));
    stages
}

/// By which nobody gets anything.
pub fn outbox() -> Outbox {
    let clock = Clock::new(dpdk_sys::tsc_hz(), dpdk_sys::tsc());
    Outbox::new(0, 1, Arc::new(clock), Arc::default(), engine::sinks::fairness(1).remove(0))
}

/// What the stages can do.
pub fn plan(stages: &Stages) -> Plan {
    Plan::new(stages, INTERFACES).expect("the graph is wired rightly")
}

impl InGraph {
    pub fn new(wire: &Wire, tables: &Arc<Tables>, burst: u16, exceptions: bool) -> InGraph {
        InGraph::punting(wire, tables, burst, exceptions, Domain::new(1).reader(0), outbox())
    }

    /// One whose punted packets go by `outbox`; `reader` is of the domain of whoever changes the tables.
    pub fn punting(
        wire: &Wire,
        tables: &Arc<Tables>,
        burst: u16,
        exceptions: bool,
        reader: Reader,
        outbox: Outbox,
    ) -> InGraph {
        let stages = stages(wire, burst);
        let plan = plan(&stages);
        let graph = Graph::new(stages, &plan, burst.into(), outbox);
        InGraph {
            first: graph.stage(<EtherInput as Named>::NAME).expect("the graph has an ether-input"),
            graph,
            wire: wire.end(),
            received: Burst::new(burst),
            tables: tables.clone(),
            reader,
            counters: Counters::new(plan.layout.clone()),
            exceptions,
        }
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Contender for InGraph {
    fn turn(&mut self) -> usize {
        let guard = self.reader.enter();
        let count = self.wire.receive(&mut self.received);
        let context = Context { tables: &self.tables, guard: &guard, counters: &self.counters, now: tsc() };
        self.counters.add_total(Total::Received, count as u64);
        self.counters.add_total(Total::Bursts, 1);
        self.graph.receive(self.first, LAN, &mut self.received, &context);
        self.graph.run(&context);
        if self.exceptions {
            self.wire.refill();
        }
        count
    }
}

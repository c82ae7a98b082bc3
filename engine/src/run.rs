//! The loop of a worker: receive, run the graph, do it again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dpdk_sys::{Burst, Pool, RxQueue, tsc};
use punt::record::{HEADER, Header, ROUTE4, ROUTE6};
use punt::ring::Ring;

use crate::counters::{Counters, Total};
use crate::graph::Graph;
use crate::node::{Context, Edges, Named};
use crate::nodes::ether::EtherInput;
use crate::nodes::inject::{self, Inject};
use crate::nodes::transmit::Transmit;
use crate::packet::Packet;
use crate::quiescent::Reader;
use crate::tables::Tables;

/// What a worker does when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Looks again at once: for cores of its own and real NICs.
    Spin,
    /// Sleeps for at most [`NAP`] after [`EMPTY_LOOPS`]: for virtual devices and shared cores.
    Nap,
}

/// Loops without a packet before a nap.
pub const EMPTY_LOOPS: u32 = 1000;
/// The longest nap.
pub const NAP: Duration = Duration::from_micros(50);

/// A receive queue and the interface of its untagged frames.
pub struct Input {
    /// The driver's queue.
    pub queue: RxQueue,
    /// The port's name.
    pub port: String,
    /// The port's own interface.
    pub interface: u32,
}

impl Input {
    /// `port:queue`, for people.
    pub fn name(&self) -> String {
        format!("{}:{}", self.port, self.queue.queue())
    }
}

/// What one client wants injected.
pub struct InjectRing {
    /// Its records; the sink's thread is the producer.
    pub ring: Arc<Ring>,
    /// Whether there is something new.
    pub pending: Arc<AtomicBool>,
}

/// What a worker is made of.
pub struct Parts {
    /// Its number, from 0.
    pub number: usize,
    /// Its graph.
    pub graph: Graph,
    /// Where packets come from that are injected.
    pub pool: Pool,
    /// The queues it polls.
    pub inputs: Vec<Input>,
    /// What other workers have for the ports whose queue is here.
    pub handed: Vec<rtrb::Consumer<Packet>>,
    /// What it looks up.
    pub tables: Arc<Tables>,
    /// How it says that it has passed.
    pub reader: Reader,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// What it does when there is nothing to do.
    pub idle: Idle,
}

/// One lcore's share of the engine. It owns all that it touches but the tables.
pub struct Worker {
    inputs: Vec<Input>,
    /// What other workers have for the ports whose queue is here.
    handed: Vec<rtrb::Consumer<Packet>>,
    graph: Graph,
    first: usize,
    inject: usize,
    transmit: usize,
    /// Its number, from 0.
    number: usize,
    /// Where packets come from that are injected.
    pool: Pool,
    /// A record that is injected, while it becomes a packet.
    record: Vec<u8>,
    received: Burst,
    tables: Arc<Tables>,
    reader: Reader,
    counters: Arc<Counters>,
    idle: Idle,
}

impl Worker {
    /// Puts a worker together.
    ///
    /// # Panics
    /// If the graph lacks `ether-input` or `transmit`.
    pub fn new(parts: Parts) -> Worker {
        let Parts { number, graph, pool, inputs, handed, tables, reader, counters, idle } = parts;
        let stage = |name| graph.stage(name).unwrap_or_else(|| panic!("the graph has no {name}"));
        Worker {
            first: stage(<EtherInput as Named>::NAME),
            inject: stage(<Inject as Named>::NAME),
            number,
            pool,
            record: Vec::with_capacity(inject::LONGEST),
            transmit: stage(<Transmit as Named>::NAME),
            received: Burst::new(graph.burst() as u16),
            inputs,
            handed,
            graph,
            tables,
            reader,
            counters,
            idle,
        }
    }

    /// Runs until `stop` is set.
    pub fn run(&mut self, stop: &AtomicBool) {
        let mut empty = 0;
        while !stop.load(Ordering::Relaxed) {
            match self.turn() {
                0 => empty += 1,
                _ => empty = 0,
            }
            if empty > EMPTY_LOOPS && self.idle == Idle::Nap {
                self.rest();
                std::thread::sleep(NAP);
            }
        }
        self.rest();
    }

    /// One loop: a burst from every queue and every ring, each run through the graph. Returns how many packets there were.
    pub fn turn(&mut self) -> usize {
        let now = tsc();
        let guard = self.reader.enter();
        let mut context = Context { tables: &self.tables, guard: &guard, counters: &self.counters, now };
        let mut packets = 0;
        for input in &mut self.inputs {
            let count = input.queue.receive(&mut self.received);
            if count > 0 {
                context.now = tsc();
                packets += count;
                self.counters.add_total(Total::Received, count as u64);
                self.counters.add_total(Total::Bursts, 1);
                self.graph.receive(self.first, input.interface, &mut self.received, &context);
                self.graph.run(&context);
            }
        }
        for ring in &mut self.handed {
            let count = ring.slots().min(self.graph.burst());
            if count > 0 {
                packets += count;
                self.counters.add_total(Total::TakenOver, count as u64);
                if let Ok(chunk) = ring.read_chunk(count) {
                    self.graph.frame(self.transmit).extend(chunk);
                }
                self.graph.run(&context);
            }
        }
        if let Some(rings) = self.tables.injected(self.number, &guard) {
            packets +=
                inject_from(rings, &mut self.graph, self.inject, &self.pool, &mut self.record, &context);
        }
        self.counters.add_total(Total::Loops, 1);
        match packets {
            0 => self.counters.add_total(Total::Idle, 1),
            _ => self.counters.add_total(Total::BusyCycles, tsc() - now),
        }
        self.counters.snapshot_if_wanted();
        packets
    }

    /// Between two loops, when the next may be long in coming: nobody need wait for this worker.
    pub fn rest(&mut self) {
        self.reader.offline();
    }
}

/// Takes up to a burst of what clients want injected from each ring.
#[inline(never)]
fn inject_from(
    rings: &[InjectRing],
    graph: &mut Graph,
    inject: usize,
    pool: &Pool,
    record: &mut Vec<u8>,
    context: &Context,
) -> usize {
    let mut packets = 0;
    // One burst for all of them together: nobody who injects keeps the receive queues waiting for longer than a port would.
    let share = (graph.burst() / rings.len().max(1)).max(1);
    for InjectRing { ring, pending } in rings {
        if !pending.load(Ordering::Relaxed) || !pending.swap(false, Ordering::AcqRel) {
            continue;
        }
        let mut taken = 0;
        while taken < share && ring.read(record) {
            taken += 1;
            context.counters.add_total(Total::Injected, 1);
            match made(pool, record) {
                Some(packet) => graph.frame(inject).push(packet),
                None => graph.never_made(inject, inject::Next::NoBuffer.index(), context.counters),
            }
        }
        if !ring.is_empty() {
            pending.store(true, Ordering::Release);
        }
        packets += taken;
        graph.run(context);
    }
    packets
}

/// The packet that a record is to become.
fn made(pool: &Pool, record: &mut [u8]) -> Option<Packet> {
    let header = Header::read(record).ok()?.0;
    let mut start = HEADER;
    if matches!(header.action, ROUTE4 | ROUTE6) {
        // The last bytes of the header become room for the L2 header.
        start -= inject::LINK_HEADER.len();
        record[start..HEADER].copy_from_slice(&inject::LINK_HEADER);
    }
    let mut packet = Packet::received(pool.alloc_frame(&record[start..])?, header.interface);
    packet.meta.protocol = header.action;
    Some(packet)
}

impl Drop for Worker {
    /// Frees what other workers handed over and nobody sent.
    fn drop(&mut self) {
        for ring in &mut self.handed {
            while let Ok(packet) = ring.pop() {
                packet.mbuf.free();
            }
        }
    }
}

//! The reference: what the graph does with IPv4 packets in transit, written by hand as one loop over a burst.
//!
//! The same checks in the same order, the same tables, the same counters of interfaces, reasons and verdicts, two egress ports. What is
//! unusual (tagged, with options, for us, …) goes to a graph, as it would in any router written like this; only packets whose TTL ran out
//! are punted here, for those are measured.

use std::sync::Arc;

use dpdk_sys::{Burst, Tag, free_bulk, tsc};
use engine::counters::{Counters, PerInterface, Total};
use engine::graph::{Graph, Plan};
use engine::node::{Context, Named};
use engine::nodes::ether::EtherInput;
use engine::nodes::transmit::Queue;
use engine::packet::Packet;
use engine::quiescent::{Domain, Reader};
use engine::tables::{Adjacency, NO_INTERFACE, Tables};
use engine::transit::{HEADERS4, forward4, ordinary4};
use punt::dispatch::Fate;

use crate::contender::{Contender, outbox, plan, stages};
use crate::router::{LAN, PORTS};
use crate::wire::Wire;

/// The largest burst.
const BURST: usize = 256;
/// The destination of a packet that is not for this loop: the graph drops what is sent to it.
const UNUSUAL: u32 = 0;

/// The loop and what it needs.
pub struct Fused {
    wire: Wire,
    received: Burst,
    destinations: Box<[u32; BURST]>,
    hops: Box<[u64; BURST]>,
    ports: Vec<Port>,
    verdicts: Verdicts,
    tables: Arc<Tables>,
    reader: Reader,
    counters: Counters,
    exceptions: bool,
}

struct Port {
    queue: Wire,
    burst: Burst,
    /// The egress of the last packet in the burst, the packets before it that are counted, and the bytes of those that are not.
    interface: u32,
    counted: usize,
    bytes: u64,
}

/// What becomes of packets that are not sent, and how many there were of each.
struct Verdicts {
    sent: u64,
    full: u64,
    ttl_expired: u32,
    freed: Vec<dpdk_sys::Packet>,
    unusual: Vec<Packet>,
    graph: Graph,
    first: usize,
}

impl Fused {
    pub fn new(wire: &Wire, tables: &Arc<Tables>, burst: u16, exceptions: bool) -> Fused {
        let stages = stages(wire, burst);
        let plan: Plan = plan(&stages);
        let graph = Graph::new(stages, &plan, burst.into(), outbox());
        let port = |_| Port {
            queue: wire.end(),
            burst: Burst::new(burst),
            interface: NO_INTERFACE,
            counted: 0,
            bytes: 0,
        };
        Fused {
            wire: wire.end(),
            received: Burst::new(burst),
            destinations: Box::new([0; BURST]),
            hops: Box::new([0; BURST]),
            ports: (0..PORTS).map(port).collect(),
            verdicts: Verdicts {
                sent: 0,
                full: 0,
                ttl_expired: plan.registry.by_name("ip4.ttl-expired").expect("a reason of the graph").id,
                freed: Vec::with_capacity(burst.into()),
                unusual: Vec::with_capacity(burst.into()),
                first: graph.stage(<EtherInput as Named>::NAME).expect("the graph has an ether-input"),
                graph,
            },
            tables: tables.clone(),
            reader: Domain::new(1).reader(0),
            counters: Counters::new(plan.layout.clone()),
            exceptions,
        }
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Contender for Fused {
    fn turn(&mut self) -> usize {
        let guard = self.reader.enter();
        let count = self.wire.receive(&mut self.received);
        let context = Context { tables: &self.tables, guard: &guard, counters: &self.counters, now: tsc() };
        self.counters.add_total(Total::Received, count as u64);
        self.counters.add_total(Total::Bursts, 1);

        let (destinations, hops) = (&mut self.destinations[..count], &mut self.hops[..count]);
        examine(&context, self.received.as_slice(), destinations);
        context.tables.fib4.lookup(destinations, hops);

        let (mut packets, mut bytes) = (0, 0);
        let routed = destinations.iter().zip(&*hops);
        for ((&destination, &hop), mut mbuf) in routed.zip(self.received.drain()) {
            match route(&context, &mut mbuf, destination, hop as u32) {
                Ok(adjacency) => {
                    let len = mbuf.len();
                    packets += 1;
                    bytes += len as u64;
                    self.ports[adjacency.exit.port() as usize].add(
                        &self.counters,
                        adjacency.interface,
                        len,
                        mbuf,
                    );
                }
                Err(Exception::Expired) => {
                    packets += 1;
                    bytes += mbuf.len() as u64;
                    self.verdicts.punt(&context, mbuf);
                }
                Err(Exception::Unusual) => self.verdicts.unusual.push(Packet::received(mbuf, LAN)),
            }
        }
        self.counters.add_interface(LAN, PerInterface::RxPackets, packets);
        self.counters.add_interface(LAN, PerInterface::RxBytes, bytes);
        for port in &mut self.ports {
            if !port.burst.is_empty() {
                port.send(&self.counters, &mut self.verdicts);
            }
        }
        self.verdicts.conclude(&context);
        if self.exceptions {
            self.wire.refill();
        }
        count
    }
}

/// Checks Ethernet and IPv4 headers, and notes where the packets go.
#[inline(always)]
fn examine(context: &Context, packets: &[dpdk_sys::Packet], destinations: &mut [u32]) {
    packets.iter().for_each(|packet| packet.prefetch());
    packets.iter().for_each(|packet| packet.prefetch_data());
    let interface = context.tables.interface(LAN, context.guard).filter(|interface| interface.up);
    let Some(ours) = interface.map(|interface| interface.mac) else {
        return destinations.fill(UNUSUAL);
    };
    for (packet, destination) in packets.iter().zip(destinations) {
        *destination = UNUSUAL;
        if let Some(address) = ordinary4(ours, packet) {
            *destination = address;
        }
    }
}

/// Why a packet is not sent.
enum Exception {
    Expired,
    Unusual,
}

/// Resolves the hop, checks TTL and MTU, and rewrites.
#[inline(always)]
fn route<'a>(
    context: &'a Context,
    mbuf: &mut dpdk_sys::Packet,
    destination: u32,
    hop: u32,
) -> Result<&'a Adjacency, Exception> {
    let Some(adjacency) = context.tables.neighbor(hop, context.guard) else {
        return Err(Exception::Unusual);
    };
    if destination == UNUSUAL || adjacency.interface == LAN {
        return Err(Exception::Unusual);
    }
    if forward4(mbuf, adjacency) { Ok(adjacency) } else { Err(why_not(mbuf)) }
}

/// Why a packet is not forwarded that is otherwise ordinary.
#[cold]
fn why_not(mbuf: &dpdk_sys::Packet) -> Exception {
    match mbuf.bytes().first_chunk::<HEADERS4>() {
        Some(frame) if frame[22] <= 1 => Exception::Expired,
        _ => Exception::Unusual,
    }
}

impl Port {
    #[inline(always)]
    fn add(&mut self, counters: &Counters, egress: u32, len: u32, mbuf: dpdk_sys::Packet) {
        if egress != self.interface {
            self.count(counters);
            self.interface = egress;
        }
        // The burst holds as many as can be received.
        let _ = self.burst.push(mbuf);
        self.bytes += len as u64;
    }

    #[cold]
    fn count(&mut self, counters: &Counters) {
        let packets = self.burst.len() - self.counted;
        counters.add_interface(self.interface, PerInterface::TxPackets, packets as u64);
        counters.add_interface(self.interface, PerInterface::TxBytes, self.bytes);
        (self.counted, self.bytes) = (self.burst.len(), 0);
    }

    #[inline(always)]
    fn send(&mut self, counters: &Counters, verdicts: &mut Verdicts) {
        self.count(counters);
        verdicts.sent += self.queue.send(&mut self.burst) as u64;
        if !self.burst.is_empty() {
            // Not measured: the wire has room for all.
            verdicts.full += self.burst.len() as u64;
            self.burst.clear_freeing();
        }
        self.counted = 0;
    }
}

impl Verdicts {
    fn punt(&mut self, context: &Context, mut mbuf: dpdk_sys::Packet) {
        mbuf.set_tag(Tag {
            reason: self.ttl_expired,
            interface: LAN,
            l3: 14,
            l4: HEADERS4 as u16,
            received: context.now,
            ..Tag::default()
        });
        context.counters.add_fates(Fate::NoSink, 1);
        self.freed.push(mbuf);
    }

    #[inline(always)]
    fn conclude(&mut self, context: &Context) {
        if !self.unusual.is_empty() {
            self.graph.frame(self.first).append(&mut self.unusual);
            self.graph.run(context);
        }
        if !self.freed.is_empty() {
            free_bulk(&mut self.freed);
        }
    }
}

/// What an interface counted.
pub fn of_interface(counters: &Counters, interface: u32) -> Vec<u64> {
    use PerInterface::*;
    [RxPackets, RxBytes, TxPackets, TxBytes, TxDropped]
        .map(|what| counters.read(counters.layout.interface(interface, what)))
        .to_vec()
}

//! A router without an EAL, for tests of nodes: bytes in, edge and bytes out.
//!
//! It has two interfaces, `LAN` (02:00:00:00:00:01, 10.0.0.1/24, fd00:a::1/64) and `WAN` (02:00:00:00:00:02, 10.0.1.1/24, fd00:b::1/64),
//! and `VLAN`, the sub-interface of `LAN` with tag 100. The neighbour 02:00:00:00:00:99 on `WAN` (10.0.1.2, fd00:b::2) is the way to
//! 10.2.0.0/16 and fd00:2::/32.

use std::sync::Arc;

use dpdk_sys::Burst;
use etherparse::PacketBuilder;

use punt::Target;
use punt::clock::Clock;
use punt::desk::{self, Desk, Means, Open};
use punt::dispatch::{FATES, Outbox};
use punt::sink::{Dirty, Settled, Sink};

use crate::counters::{Counters, FIRST_FATE};
use crate::graph::{Graph, Stages};
use crate::node::{Context, Edges, Node, Stage, To};
use crate::nodes::{self, transmit::Transmit};
use crate::packet::{Meta, NO_OFFSET, Packet};
use crate::quiescent::{Domain, Reader};
use crate::tables::{
    Adjacency, Ecmp, HOP_TORN, Hop, Interface, Lpm4, Lpm6, MacAddress, PortTags, Tables, Tpid,
};

pub const LAN: u32 = 1;
pub const WAN: u32 = 2;
pub const VLAN: u32 = 3;
pub const LAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const WAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub const NEIGHBOR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x99];
/// Somebody on `LAN`.
pub const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x77];

/// Ours on `LAN`.
pub const LAN4: [u8; 4] = [10, 0, 0, 1];
pub const LAN6: [u8; 16] = ip6_address(0xfd00, 0xa, 1);
/// Ours on every interface.
pub const LINK_LOCAL6: [u8; 16] = ip6_address(0xfe80, 0, 1);
/// Somebody on `LAN`.
pub const HOST4: [u8; 4] = [10, 0, 0, 0x77];
pub const HOST6: [u8; 16] = ip6_address(0xfd00, 0xa, 0x77);
pub const HOST_LINK_LOCAL6: [u8; 16] = ip6_address(0xfe80, 0, 0x77);
/// Somebody behind the neighbour on `WAN`.
pub const FAR4: [u8; 4] = [10, 2, 0, 9];
pub const FAR6: [u8; 16] = ip6_address(0xfd00, 2, 9);

/// `a:b::last`.
pub const fn ip6_address(a: u16, b: u16, last: u16) -> [u8; 16] {
    ((a as u128) << 112 | (b as u128) << 96 | last as u128).to_be_bytes()
}

pub const TO_US: u32 = 2;
pub const TO_NEIGHBOR: u32 = 3;
pub const CONNECTED_WAN: u32 = 4;
pub const BACK_TO_LAN: u32 = 5;
pub const BLACKHOLE: u32 = 6;
pub const UNREACHABLE: u32 = 7;
pub const PUNT: u32 = 8;
pub const LAN_BROADCAST: u32 = 9;
pub const DOWN: u32 = 10;
/// Over `TO_NEIGHBOR` and `TO_VLAN`.
pub const SPREAD: u32 = 11;
pub const TO_VLAN: u32 = 12;

/// The router.
pub struct Router {
    pub tables: Tables,
    pub counters: Arc<Counters>,
    pub plan: crate::graph::Plan,
    /// Where a test asks for packets.
    pub desk: Desk,
    reader: Reader,
}

impl Router {
    pub fn new() -> Router {
        let routes4 = vec![
            (0x0a00_0001, 32, TO_US),
            (0x0a00_00ff, 32, LAN_BROADCAST),
            (0x0a00_0101, 32, TO_US),
            (0x0a00_0102, 32, TO_NEIGHBOR),
            (0x0a00_0100, 24, CONNECTED_WAN),
            (0x0a02_0000, 16, TO_NEIGHBOR),
            (0x0a03_0000, 16, BLACKHOLE),
            (0x0a04_0000, 16, UNREACHABLE),
            (0x0a05_0000, 16, PUNT),
            (0x0a06_0000, 16, BACK_TO_LAN),
            (0x0a07_0000, 16, DOWN),
            (0x0a08_0000, 16, SPREAD),
            (0x0a09_0000, 16, HOP_TORN),
            (0xa9fe_0000, 16, TO_NEIGHBOR),
        ];
        let routes6 = vec![
            (ip6_address(0xfd00, 0xa, 1), 128, TO_US),
            (ip6_address(0xfd00, 0xb, 1), 128, TO_US),
            (ip6_address(0xfd00, 0xb, 2), 128, TO_NEIGHBOR),
            (ip6_address(0xfd00, 0xb, 0), 64, CONNECTED_WAN),
            (ip6_address(0xfd00, 2, 0), 32, TO_NEIGHBOR),
            (ip6_address(0xfd00, 3, 0), 32, BLACKHOLE),
            (ip6_address(0xfd00, 4, 0), 32, UNREACHABLE),
            (ip6_address(0xfd00, 5, 0), 32, PUNT),
            (ip6_address(0xfd00, 6, 0), 32, BACK_TO_LAN),
            (ip6_address(0xfd00, 7, 0), 32, DOWN),
            (ip6_address(0xfd00, 8, 0), 32, SPREAD),
            (ip6_address(0xfd00, 9, 0), 32, HOP_TORN),
        ];
        let stages = nodes::all(Transmit::new(Vec::new(), 64));
        let plan = crate::graph::Plan::new(&stages, 8).expect("the graph is wired rightly");
        let domain = Domain::new(1);
        let desk = desk(&plan, domain.clone(), 1);
        let tables = Tables::new(8, 2, 64, Lpm4::Plain(routes4), Lpm6::Plain(routes6), desk.tables().clone());
        let router = Router {
            counters: Arc::new(Counters::new(plan.layout.clone())),
            reader: domain.reader(0),
            desk,
            plan,
            tables,
        };
        router.fill();
        router
    }

    fn fill(&self) {
        for (index, mac, port) in [(LAN, LAN_MAC, 0), (WAN, WAN_MAC, 1), (VLAN, LAN_MAC, 0)] {
            let mac = MacAddress::new(mac);
            self.interface(
                index,
                Interface { mac, up: true, mtu: 1500, port, link_local: [LINK_LOCAL6].into() },
            );
        }
        let mut tags = PortTags::new(LAN);
        tags.insert(Tpid::Dot1q, 100, None, VLAN);
        self.tables.ports[0].replace(Some(tags), &mut Vec::new());
        let to = |interface, port, source, tags: &[_]| {
            let (destination, source) = (MacAddress::new(NEIGHBOR_MAC), MacAddress::new(source));
            Hop::Forward(Adjacency::new(interface, port, 1500, destination, source, tags))
        };
        self.hop(TO_US, Hop::Local);
        self.hop(TO_NEIGHBOR, to(WAN, 1, WAN_MAC, &[]));
        self.hop(CONNECTED_WAN, Hop::Unresolved(WAN));
        self.hop(BACK_TO_LAN, to(LAN, 0, LAN_MAC, &[]));
        self.hop(BLACKHOLE, Hop::Blackhole);
        self.hop(UNREACHABLE, Hop::Unreachable);
        self.hop(PUNT, Hop::Punt);
        self.hop(LAN_BROADCAST, Hop::Broadcast(LAN));
        self.hop(DOWN, Hop::Down);
        self.hop(SPREAD, Hop::Ecmp(Box::new(Ecmp::new(&[(TO_NEIGHBOR, 7), (TO_VLAN, 9)]))));
        self.hop(TO_VLAN, to(VLAN, 0, LAN_MAC, &[(Tpid::Dot1q, 100)]));
    }

    /// Sets an interface.
    pub fn interface(&self, index: u32, interface: Interface) {
        self.tables.interfaces[index as usize].replace(Some(interface), &mut Vec::new());
    }

    /// Sets a hop.
    pub fn hop(&self, index: u32, hop: Hop) {
        self.tables.hops[index as usize].replace(Some(hop), &mut Vec::new());
    }

    /// Runs one packet through one node.
    pub fn run<N: Node>(&mut self, node: &mut N, mut packet: Packet) -> (N::Next, Packet) {
        let guard = self.reader.enter();
        let context = Context { tables: &self.tables, guard: &guard, counters: &self.counters, now: 0 };
        (node.packet(&context, &mut packet), packet)
    }

    /// The edge that one packet takes out of one node.
    pub fn edge<N: Node>(&mut self, node: &mut N, packet: Packet) -> N::Next {
        let (next, packet) = self.run(node, packet);
        packet.mbuf.free();
        next
    }

    /// Runs a frame through a stage: the edges of those packets that it leaves there.
    pub fn stage(&mut self, stage: &mut dyn Stage, frame: &mut Vec<Packet>) -> Vec<u8> {
        let at = self.plan.node(stage.name()).expect("a node of the graph");
        let mut row = vec![u8::MAX; frame.len()];
        let guard = self.reader.enter();
        let context = Context { tables: &self.tables, guard: &guard, counters: &self.counters, now: 0 };
        stage.run(&context, frame, &mut row, self.plan.layout.node(at).edges.start);
        row.truncate(frame.len());
        row
    }

    /// How often the runtime or a stage has counted this edge.
    pub fn taken(&self, node: &str, edge: impl Edges) -> u64 {
        let at = self.plan.node(node).expect("a node of the graph");
        self.counters.read(self.plan.layout.node(at).edges.start + edge.index() as usize)
    }

    /// The name of the reason that a node chose.
    pub fn chosen(&self, packet: &Packet) -> &'static str {
        self.plan.registry.by_id(packet.meta.reason).map_or("none", |registered| registered.reason.name)
    }
}

/// A desk without threads: packets stay in the rings of its sinks.
pub fn desk(plan: &crate::graph::Plan, domain: Arc<Domain>, workers: usize) -> Desk {
    let statics = crate::reasons::statics(plan);
    let tables = Arc::new(desk::Tables::new(statics.len()));
    let means = Box::new(NoThreads);
    let setup = desk::Setup {
        tables,
        domain,
        workers,
        now: || 0,
        clock: clock(),
        means,
        memory: desk::MEMORY,
        fairness: crate::sinks::fairness(workers),
    };
    Desk::new(setup, statics)
}

/// A clock of a gigahertz that stands at 0.
pub fn clock() -> Arc<Clock> {
    Arc::new(Clock::new(1_000_000_000, 0))
}

struct NoThreads;

impl Means for NoThreads {
    fn open(&self, _: Arc<Sink>, _: &Target) -> Result<Arc<dyn Open>, String> {
        Ok(Arc::new(NoThreads))
    }

    fn name(&self, _: u32, _: Option<&str>) {}

    fn settle(&self, _: u32, _: Option<Arc<Settled>>) {}
}

impl Open for NoThreads {
    fn state(&self) -> punt::control::types::SinkState {
        punt::control::types::SinkState::Active
    }

    fn inject(&self) -> Option<String> {
        None
    }

    fn injected(&self) -> [u64; 3] {
        [0; 3]
    }

    fn close(&self) {}
}

/// The router with its whole graph, and no port to send to.
pub struct Whole {
    pub router: Router,
    graph: Graph,
    put: u64,
}

impl Whole {
    /// Packets that it takes at once.
    pub const BURST: usize = 64;

    pub fn new() -> Whole {
        Whole::of(nodes::all(Transmit::new(Vec::new(), Self::BURST)))
    }

    /// Of other stages that do the same.
    pub fn of(stages: Stages) -> Whole {
        let router = Router::new();
        let fairness = crate::sinks::fairness(1).remove(0);
        let outbox = Outbox::new(0, 1, clock(), Arc::<Dirty>::default(), fairness);
        let graph = Graph::new(stages, &router.plan, Self::BURST, outbox);
        Whole { router, graph, put: 0 }
    }

    /// Runs up to a burst of frames that came in on `LAN`.
    pub fn pass(&mut self, frames: impl IntoIterator<Item = dpdk_sys::Packet>) {
        let Router { tables, counters, reader, .. } = &mut self.router;
        let guard = reader.enter();
        let context = Context { tables, guard: &guard, counters, now: 0 };
        let first = self.graph.stage("ether-input").expect("a node of the graph");
        let mut burst = Burst::new(Self::BURST as u16);
        for mbuf in frames {
            burst.push(mbuf).expect("a burst at the most");
        }
        self.put += burst.len() as u64;
        self.graph.receive(first, LAN, &mut burst, &context);
        self.graph.run(&context);
    }

    /// The way of one frame: every node with the edge taken there, and the reason if it is punted.
    pub fn way(&mut self, frame: &[u8]) -> String {
        let before = self.edges();
        let reasons = self.reasons();
        self.pass([dpdk_sys::Packet::from_bytes(frame)]);
        let taken = self.edges().into_iter().zip(before).filter(|((_, after), (_, before))| after > before);
        let steps = taken.map(|(((node, edge), _), _)| format!("{node} {edge}"));
        let punted =
            self.reasons().into_iter().zip(reasons).filter(|((_, after), (_, before))| after > before);
        steps.chain(punted.map(|((name, _), _)| name)).collect::<Vec<_>>().join(", ")
    }

    /// Where one frame ended: its reason, or the node and its edge.
    pub fn end(&mut self, frame: &[u8]) -> String {
        self.way(frame).rsplit(", ").next().unwrap_or_default().to_owned()
    }

    /// Every packet is accounted for: what goes into a node comes out of it, and what was put in has one verdict.
    pub fn assert_balanced(&self) {
        let (plan, counters) = (&self.router.plan, &self.router.counters);
        let mut into = vec![0; plan.nodes.len()];
        into[plan.node("ether-input").expect("a node of the graph")] = self.put;
        let (mut punted, mut verdicts) = (0, 0);
        for (at, (node, edges)) in plan.nodes.iter().enumerate() {
            let stands = plan.layout.node(at);
            assert_eq!(counters.read(stands.packets), into[at], "packets into {node}");
            let taken: Vec<u64> = stands.edges.clone().map(|edge| counters.read(edge)).collect();
            assert_eq!(taken.iter().sum::<u64>(), into[at], "packets out of {node}");
            for ((edge, count), trapped) in edges.iter().zip(taken).zip(stands.trapped.clone()) {
                match edge.to {
                    To::Node(name) => into[plan.node(name).expect(name)] += count,
                    To::PuntElse(_, name) => {
                        into[plan.node(name).expect(name)] += count - counters.read(trapped);
                        punted += counters.read(trapped);
                    }
                    To::Punt(_) | To::Chosen => punted += count,
                    To::Drop(_) | To::Sent | To::Handed => verdicts += count,
                }
            }
        }
        let fates = FIRST_FATE..FIRST_FATE + FATES;
        assert_eq!(fates.map(|fate| counters.read(fate)).sum::<u64>(), punted, "packets punted");
        assert_eq!(verdicts + punted, self.put, "verdicts");
    }

    fn edges(&self) -> Vec<((&'static str, &'static str), u64)> {
        let (plan, counters) = (&self.router.plan, &self.router.counters);
        let of = |(at, (node, edges)): (usize, &(&'static str, &'static [crate::node::Edge]))| {
            let row = plan.layout.node(at).edges.clone().zip(*edges);
            let read =
                |(index, edge): (usize, &crate::node::Edge)| ((*node, edge.name), counters.read(index));
            row.map(read).collect::<Vec<_>>()
        };
        plan.nodes.iter().enumerate().flat_map(of).collect()
    }

    fn reasons(&self) -> Vec<(String, u64)> {
        let rows = self.router.desk.reason_rows().into_iter();
        rows.map(|row| (row.name, row.counters.packets)).collect()
    }
}

/// A packet of these bytes as `ether-input` gets it from `LAN`.
pub fn received(frame: &[u8]) -> Packet {
    Packet::received(dpdk_sys::Packet::from_bytes(frame), LAN)
}

/// The same, split over two segments.
pub fn split(mut packet: Packet, at: usize) -> Packet {
    let bytes = packet.mbuf.to_vec();
    let halves = dpdk_sys::Packet::from_segments(&[&bytes[..at], &bytes[at..]]);
    std::mem::replace(&mut packet.mbuf, halves).free();
    packet
}

/// A packet of these bytes from the L3 header on, as a node behind `ether-input` gets it.
pub fn at_l3(l3: &[u8], ethertype: u16) -> Packet {
    let mut frame = [&LAN_MAC[..], &HOST_MAC, &ethertype.to_be_bytes()].concat();
    frame.extend_from_slice(l3);
    let destination = l3.get(16..20).filter(|_| ethertype == crate::wire::ETHERTYPE_IP4);
    let hop = destination.map_or(0, |address| crate::wire::be32(address, 0));
    let meta = Meta { interface: LAN, hop, l3: 14, l4: NO_OFFSET, ..Meta::default() };
    Packet { mbuf: dpdk_sys::Packet::from_bytes(&frame), meta }
}

/// The bytes of a text of hexadecimal digits.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// `bytes` with others in the place of some, each at its offset.
pub fn changed(bytes: &[u8], changes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, new) in changes {
        bytes[*at..at + new.len()].copy_from_slice(new);
    }
    bytes
}

/// An IPv4 packet with a right checksum.
pub fn sealed(mut packet: Vec<u8>) -> Vec<u8> {
    let len = ((packet[0] & 15) as usize * 4).clamp(20, packet.len());
    packet[10..12].fill(0);
    let sum = !crate::wire::sum(&packet[..len]);
    packet[10..12].copy_from_slice(&sum.to_ne_bytes());
    packet
}

/// An IPv4 packet from `HOST4`, TTL 64.
pub fn ip4(protocol: u8, destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, protocol, 0, 0];
    packet.extend([HOST4, destination].concat());
    packet.extend(payload);
    let len = packet.len() as u16;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    sealed(packet)
}

/// An IPv6 packet from `HOST6`, hop limit 64.
pub fn ip6(next_header: u8, destination: [u8; 16], payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, high, low, next_header, 64];
    packet.extend([HOST6, destination].concat());
    packet.extend(payload);
    packet
}

/// A UDP datagram from port 40000 to `port`, over IPv4 from `HOST4`.
pub fn udp4(destination: [u8; 4], port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(HOST4, destination, 64)
        .udp(40000, port)
        .write(&mut packet, b"hello")
        .expect("to memory");
    packet
}

/// A UDP datagram from port 40000 to `port`, over IPv6 from `HOST6`.
pub fn udp6(destination: [u8; 16], port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv6(HOST6, destination, 64)
        .udp(40000, port)
        .write(&mut packet, b"hello")
        .expect("to memory");
    packet
}

//! The router: its tables, and nodes run in it one at a time.

use std::sync::Arc;

use punt::desk::Desk;

use super::addresses::*;
use super::desk::desk;
use crate::counters::Counters;
use crate::node::{Context, Edges, Node, Stage};
use crate::nodes::{self, transmit::Transmit};
use crate::packet::Packet;
use crate::quiescent::{Domain, Reader};
use crate::tables::{
    Adjacency, Ecmp, HOP_TORN, Hop, Interface, Lpm4, Lpm6, MacAddress, PortTags, Tables, Tpid,
};

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
    pub(crate) reader: Reader,
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

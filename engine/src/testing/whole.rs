//! The whole graph without an EAL: frames in, their ways and the books out.

use std::sync::Arc;

use punt::dispatch::{FATES, Outbox};
use punt::sink::Dirty;

use super::{LAN, Router, clock};
use crate::counters::FIRST_FATE;
use crate::graph::Graph;
use crate::node::{Context, To};
use crate::nodes::{self, transmit::Transmit};
use crate::packet::Packet;

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
        let router = Router::new();
        let stages = nodes::all(Transmit::new(Vec::new(), Self::BURST));
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
        let first = self.graph.frame(self.graph.stage("ether-input").expect("a node of the graph"));
        first.extend(frames.into_iter().map(|mbuf| Packet::received(mbuf, LAN)));
        self.put += first.len() as u64;
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

//! The graph of one worker: its nodes in the order packets meet them, and the loop that runs frames through them.
//!
//! Each node has one input frame. A loop begins with a burst in the frame of a first node and runs, by a bitmask of nodes that have
//! something to do, every node at most once, for the nodes stand in topological order. A frame whose packets all take one edge changes
//! owner whole; otherwise those that leave the common way are taken out of it first.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use dpdk_sys::Tag;
use punt::dispatch::{Entry, Fate, Outbox, PassiveTo, Punted};
use punt::reason::Registry;

use crate::counters::{Counters, Layout};
use crate::node::{Context, Edge, Stage, To};
use crate::nodes::redirect::leads_somewhere;
use crate::packet::Packet;
use crate::punted::Leaving;

/// Times every so many loops: two clock reads for each node would cost 4 cycles a packet.
const TIMED_LOOP: u64 = 256;

/// One worker's instance of the graph.
pub struct Graph {
    stages: Vec<Slot>,
    /// Which stages have packets in their frame, the first in the lowest bit.
    pending: u64,
    /// The edge of each packet of the frame at hand.
    next: Box<[u8]>,
    /// What leaves the graph without being sent: freed in bulk.
    freed: Vec<dpdk_sys::Packet>,
    /// By which packets get to those who asked for them.
    outbox: Outbox,
    burst: usize,
    loops: u64,
}

struct Slot {
    name: &'static str,
    stage: Box<dyn Stage>,
    frame: Vec<Packet>,
    targets: Box<[Target]>,
    /// The first of this node's counters: calls, packets, cycles, timed; its edges follow.
    calls: usize,
    first_edge: usize,
}

/// Where an edge leads, with names resolved.
#[derive(Clone, Copy)]
enum Target {
    Stage(u8),
    Punt(u32),
    /// The reason, the stage where those go that go on, and the counter of those that do not.
    PuntElse(u32, u8, usize),
    Chosen,
    /// The reason for which drops of this kind can be asked for.
    Drop(u32),
    /// The stage has taken the packets out of the frame and counted them; nobody else takes such an edge.
    Gone,
}

/// What is wrong with a graph, all of it.
#[derive(Debug, thiserror::Error)]
#[error("the graph is wired wrongly: {}", .0.join("; "))]
pub struct Miswired(Vec<String>);

/// The nodes of a graph before it is wired, the first being where packets come in.
pub type Stages = Vec<Box<dyn Stage>>;

/// What a graph can do, independent of any worker: for statistics, the list of reasons and the drawing.
#[derive(Clone)]
pub struct Plan {
    /// Nodes in the order packets meet them, each with its edges.
    pub nodes: Vec<(&'static str, &'static [Edge])>,
    /// Every reason that a node can punt for.
    pub registry: Arc<Registry>,
    /// Where each counter stands in a worker's row.
    pub layout: Arc<Layout>,
}

impl Plan {
    /// Orders and checks `stages`. `interfaces` is how many L3 interfaces there may be.
    ///
    /// # Errors
    /// Lists everything that is wrong: edges to nodes that are not there, two nodes or reasons of one name, nodes that nobody reaches,
    /// a circle.
    pub fn new(stages: &Stages, interfaces: usize) -> Result<Plan, Miswired> {
        let mut wrong = Vec::new();
        let order = topological(stages, &mut wrong);
        let reasons = stages.iter().flat_map(|stage| {
            let named = stage.edges().iter().filter_map(|edge| match edge.to {
                To::Punt(reason) | To::PuntElse(reason, _) => Some(reason),
                _ => None,
            });
            named.chain(stage.reasons().iter().copied()).map(|reason| (reason, stage.name()))
        });
        let registry = match Registry::new(reasons.collect::<Vec<_>>()) {
            Ok(registry) => Some(registry),
            Err(duplicates) => {
                wrong.push(duplicates.to_string());
                None
            }
        };
        let (Some(registry), true) = (registry, wrong.is_empty()) else { return Err(Miswired(wrong)) };
        let nodes: Vec<_> = order.iter().map(|&at| (stages[at].name(), stages[at].edges())).collect();
        let layout = Layout::new(nodes.iter().map(|(_, edges)| edges.len()), interfaces);
        Ok(Plan { nodes, registry: Arc::new(registry), layout: Arc::new(layout) })
    }

    /// The index of the node called `name`.
    pub fn node(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|(node, _)| *node == name)
    }

    /// Every edge that drops, with its node and text, in the order of the graph. The index of the reason for which such drops can be asked
    /// for is its place among them, behind all other reasons.
    pub fn drops(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.nodes.iter().flat_map(|(node, edges)| {
            edges.iter().filter_map(|edge| match edge.to {
                To::Drop(text) => Some((*node, text)),
                _ => None,
            })
        })
    }
}

/// The order in which a packet can meet the stages, or everything that is wrong with them.
fn topological(stages: &Stages, wrong: &mut Vec<String>) -> Vec<usize> {
    let mut index = HashMap::new();
    for (at, stage) in stages.iter().enumerate() {
        if index.insert(stage.name(), at).is_some() {
            wrong.push(format!("two nodes are called {}", stage.name()));
        }
    }
    if stages.len() > 64 {
        wrong.push(format!("{} nodes, and a graph holds 64", stages.len()));
    }
    let mut order = Vec::new();
    let mut state = vec![Visit::New; stages.len()];
    let entries = (0..stages.len()).filter(|&at| at == 0 || stages[at].is_entry());
    for at in entries {
        if state[at] == Visit::New {
            visit(at, stages, &index, &mut state, &mut order, wrong);
        }
    }
    for (at, stage) in stages.iter().enumerate() {
        if state[at] == Visit::New {
            wrong.push(format!("no edge leads to {}", stage.name()));
        }
    }
    order.reverse();
    order
}

#[derive(Clone, Copy, PartialEq)]
enum Visit {
    New,
    Open,
    Done,
}

fn visit(
    at: usize,
    stages: &Stages,
    index: &HashMap<&str, usize>,
    state: &mut [Visit],
    order: &mut Vec<usize>,
    wrong: &mut Vec<String>,
) {
    state[at] = Visit::Open;
    for edge in stages[at].edges() {
        let (To::Node(name) | To::PuntElse(_, name)) = edge.to else { continue };
        match index.get(name) {
            None => wrong.push(format!("{} leads to {name}, which is not in the graph", stages[at].name())),
            Some(&to) => match state[to] {
                Visit::New => visit(to, stages, index, state, order, wrong),
                Visit::Open => wrong.push(format!("a packet can come from {name} back to it")),
                Visit::Done => {}
            },
        }
    }
    state[at] = Visit::Done;
    order.push(at);
}

impl Graph {
    /// Wires `stages` as `plan` (made of the same stages) has ordered them, for bursts of up to `burst` packets.
    ///
    /// # Panics
    /// If the plan was made of other stages.
    pub fn new(mut stages: Stages, plan: &Plan, burst: usize, outbox: Outbox) -> Graph {
        let mut drops = plan.registry.len() as u32;
        let mut resolve = |edge: &Edge, trapped: usize| match edge.to {
            To::Node(name) => Target::Stage(plan.node(name).expect("the plan has every node") as u8),
            To::Punt(reason) => Target::Punt(plan.registry.id_of(reason)),
            To::PuntElse(reason, name) => Target::PuntElse(
                plan.registry.id_of(reason),
                plan.node(name).expect("the plan has every node") as u8,
                trapped,
            ),
            To::Chosen => Target::Chosen,
            To::Drop(_) => {
                drops += 1;
                Target::Drop(drops)
            }
            To::Sent | To::Handed => Target::Gone,
        };
        stages.sort_by_key(|stage| plan.node(stage.name()));
        let stages = stages
            .into_iter()
            .enumerate()
            .map(|(at, stage)| Slot {
                name: stage.name(),
                targets: stage
                    .edges()
                    .iter()
                    .zip(plan.layout.node(at).trapped.clone())
                    .map(|(edge, trapped)| resolve(edge, trapped))
                    .collect(),
                stage,
                frame: Vec::with_capacity(burst),
                calls: plan.layout.node(at).calls,
                first_edge: plan.layout.node(at).edges.start,
            })
            .collect();
        Graph {
            stages,
            pending: 0,
            next: vec![0; burst].into(),
            freed: Vec::with_capacity(burst),
            outbox,
            burst,
            loops: 0,
        }
    }

    /// The index of the stage called `name`.
    pub fn stage(&self, name: &str) -> Option<usize> {
        self.stages.iter().position(|slot| slot.name == name)
    }

    /// The frame of the stage at `at`, to be filled with up to a burst before [`run`](Graph::run).
    #[inline(always)]
    pub fn frame(&mut self, at: usize) -> &mut Vec<Packet> {
        self.pending |= 1 << at;
        &mut self.stages[at].frame
    }

    /// Runs until every packet has its verdict. The frames hold no more than a burst together.
    #[inline]
    pub fn run(&mut self, context: &Context) {
        self.loops += 1;
        let timed = self.loops.is_multiple_of(TIMED_LOOP);
        while self.pending != 0 {
            let at = self.pending.trailing_zeros() as usize;
            self.pending &= self.pending - 1;
            if timed {
                self.run_timed(at, context);
            } else {
                self.run_stage(at, context);
            }
        }
        if !self.freed.is_empty() {
            dpdk_sys::free_bulk(&mut self.freed);
        }
        self.outbox.publish();
    }

    #[cold]
    fn run_timed(&mut self, at: usize, context: &Context) {
        let before = dpdk_sys::tsc();
        let packets = self.run_stage(at, context);
        let calls = self.stages[at].calls;
        context.counters.add(calls + 2, dpdk_sys::tsc() - before);
        context.counters.add(calls + 3, packets as u64);
    }

    /// Runs one stage over its frame and sends each packet along its edge.
    #[inline(always)]
    fn run_stage(&mut self, at: usize, context: &Context) -> usize {
        let Graph { stages, next, .. } = self;
        let slot = &mut stages[at];
        let given = slot.frame.len().min(next.len());
        if given == 0 {
            return 0;
        }
        context.counters.add(slot.calls, 1);
        context.counters.add(slot.calls + 1, given as u64);
        crate::panic::entering(slot.name);
        slot.stage.run(context, &mut slot.frame, &mut next[..given], slot.first_edge);
        if !slot.frame.is_empty() {
            self.dispatch(at, context);
        }
        given
    }

    /// Sends the packets that are left in the frame of the stage at `at` along their edges.
    #[inline(always)]
    fn dispatch(&mut self, at: usize, context: &Context) {
        // An edge leads to a later stage.
        let (before, after) = self.stages.split_at_mut(at + 1);
        let slot = &mut before[at];
        let len = slot.frame.len().min(self.next.len());
        let common = self.next[0];
        let different = self.next[..len].iter().fold(0, |different, &edge| different | (edge ^ common));
        if different == 0
            && let Some(&Target::Stage(to)) = slot.targets.get(common as usize)
            && let Some(target) = after.get_mut(to as usize - at - 1)
            && target.frame.is_empty()
        {
            context.counters.add(slot.first_edge + common as usize, len as u64);
            std::mem::swap(&mut slot.frame, &mut target.frame);
            self.pending |= 1 << to;
        } else {
            self.part(at, context, common);
        }
    }

    /// Sends the packets of a frame along their edges where not all can go one way whole. Most take the edge `common`.
    #[inline(never)]
    fn part(&mut self, at: usize, context: &Context, common: u8) {
        let mut frame = std::mem::take(&mut self.stages[at].frame);
        self.take_exceptions(at, context, &mut frame, common);
        let slot = &self.stages[at];
        context.counters.add(slot.first_edge + common as usize, frame.len() as u64);
        match slot.targets.get(common as usize).copied().unwrap_or(Target::Gone) {
            Target::Stage(to) if self.stages[to as usize].frame.is_empty() => {
                std::mem::swap(&mut frame, &mut self.stages[to as usize].frame);
                self.pending |= 1 << to;
            }
            target => frame.drain(..).for_each(|packet| self.follow(target, context, packet)),
        }
        self.stages[at].frame = frame;
    }

    /// Takes those that do not take the edge `common` out of the frame, and sends each along its own.
    fn take_exceptions(&mut self, at: usize, context: &Context, frame: &mut Vec<Packet>, common: u8) {
        let next = std::mem::take(&mut self.next);
        let mut edges = next.iter().copied();
        let edge = Cell::new(common);
        let exceptions = frame.extract_if(.., |_| {
            edge.set(edges.next().unwrap_or(common));
            edge.get() != common
        });
        for packet in exceptions {
            let slot = &self.stages[at];
            context.counters.add(slot.first_edge + edge.get() as usize, 1);
            let target = slot.targets.get(edge.get() as usize).copied().unwrap_or(Target::Gone);
            self.follow(target, context, packet);
        }
        self.next = next;
    }

    /// Sends one packet along one edge, which has been counted.
    #[inline(always)]
    fn follow(&mut self, target: Target, context: &Context, packet: Packet) {
        match target {
            Target::Stage(to) => {
                self.stages[to as usize].frame.push(packet);
                self.pending |= 1 << to;
            }
            Target::Punt(reason) => self.punt(reason, context, packet),
            Target::PuntElse(reason, to, trapped) => self.punt_else(reason, to, trapped, context, packet),
            Target::Chosen => self.punt(packet.meta.reason, context, packet),
            Target::Drop(reason) => {
                self.show_drop(reason, context, &packet);
                self.freed.push(packet.mbuf);
            }
            Target::Gone => self.freed.push(packet.mbuf),
        }
    }

    /// Takes a packet out of the graph for a reason.
    #[inline(never)]
    fn punt(&mut self, reason: u32, context: &Context, packet: Packet) {
        let leaving = Leaving { packet: &packet, received: context.now };
        let (_, entry) = context.tables.punt.reasons.resolve(reason, &leaving, context.guard);
        self.take(reason, entry, context, packet);
    }

    /// Takes a packet out of the graph, or sends it on: as a copy was made of it, or to where the passive punt redirects it.
    #[inline(never)]
    fn punt_else(&mut self, reason: u32, to: u8, trapped: usize, context: &Context, mut packet: Packet) {
        let leaving = Leaving { packet: &packet, received: context.now };
        let (index, entry) = context.tables.punt.reasons.resolve(reason, &leaving, context.guard);
        match entry {
            Some(entry) if entry.copy => {
                self.outbox.offer(entry, reason, &leaving, true, context.now);
                self.follow(Target::Stage(to), context, packet);
            }
            Some(entry)
                if index == reason
                    && entry.deliveries.is_empty()
                    && self.redirects(entry, context, &mut packet) =>
            {
                self.follow(Target::Stage(to), context, packet);
            }
            entry => {
                context.counters.add(trapped, 1);
                self.take(reason, entry, context, packet);
            }
        }
    }

    /// Whether the passive punt redirects a packet that nobody claimed; then it knows where to.
    fn redirects(&mut self, entry: &Entry, context: &Context, packet: &mut Packet) -> bool {
        let Some(passive) = entry.passive.of(packet.meta.interface) else { return false };
        let PassiveTo::Redirect(way) = passive.to else { return false };
        let passes = self.outbox.redirect(passive, packet.mbuf.len(), context.now);
        if passes {
            if !leads_somewhere(context, way) {
                self.outbox.missed(passive);
            }
            packet.meta.hop = way;
        }
        passes
    }

    /// Offers a packet to those who asked for it, and frees it.
    #[inline(always)]
    fn take(&mut self, reason: u32, entry: Option<&Entry>, context: &Context, mut packet: Packet) {
        let leaving = Leaving { packet: &packet, received: context.now };
        let fate = match entry {
            Some(entry) => self.outbox.offer(entry, reason, &leaving, false, context.now),
            None => Fate::NoSink,
        };
        context.counters.add_fate(fate);
        let punt::dispatch::Tag { interface, l3, l4, flags, received } = leaving.tag();
        let reason = entry.map_or(reason, |entry| entry.id);
        packet.mbuf.set_tag(Tag { reason, interface, l3, l4, flags, received, ..Tag::default() });
        self.freed.push(packet.mbuf);
    }

    /// Shows a packet that is dropped to those who asked for such drops. It stays dropped.
    #[inline(always)]
    fn show_drop(&mut self, reason: u32, context: &Context, packet: &Packet) {
        if let Some(entry) = context.tables.punt.reasons.get(reason, context.guard)
            && entry.is_wanted()
        {
            self.show_wanted_drop(reason, context, packet);
        }
    }

    #[inline(never)]
    fn show_wanted_drop(&mut self, reason: u32, context: &Context, packet: &Packet) {
        let leaving = Leaving { packet, received: context.now };
        if let (_, Some(entry)) = context.tables.punt.reasons.resolve(reason, &leaving, context.guard) {
            self.outbox.offer(entry, reason, &leaving, false, context.now);
        }
    }

    /// Counts a packet that was to come in at the stage at `at` and could not be made, as dropped there on `edge`.
    pub fn never_made(&self, at: usize, edge: u8, counters: &Counters) {
        let slot = &self.stages[at];
        counters.add(slot.calls + 1, 1);
        counters.add(slot.first_edge + edge as usize, 1);
    }

    /// Packets that one frame holds.
    pub fn burst(&self) -> usize {
        self.burst
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        for slot in &mut self.stages {
            slot.frame.drain(..).for_each(|packet| packet.mbuf.free());
        }
        dpdk_sys::free_bulk(&mut self.freed);
    }
}

impl fmt::Display for Plan {
    /// The graph in Graphviz' language: `puntd --graph | dot -Tsvg`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "digraph puntd {{\n  rankdir=LR; node [shape=box, fontname=monospace];")?;
        for (node, edges) in &self.nodes {
            for edge in *edges {
                if let To::Node(to) | To::PuntElse(_, to) = edge.to {
                    writeln!(f, "  \"{node}\" -> \"{to}\" [label=\"{}\"];", edge.name)?;
                }
            }
            let exits = |kind: &str, names: Vec<&str>, f: &mut fmt::Formatter<'_>| match names.len() {
                0 => Ok(()),
                _ => writeln!(
                    f,
                    "  \"{node}\" -> \"{node} {kind}\"; \"{node} {kind}\" [shape=note, label=\"{kind}\\l{}\\l\"];",
                    names.join("\\l")
                ),
            };
            let punts = edges.iter().filter_map(|edge| match edge.to {
                To::Punt(reason) | To::PuntElse(reason, _) => Some(reason.name),
                To::Chosen => Some("(chosen)"),
                _ => None,
            });
            exits("punt", punts.collect(), f)?;
            let drops = edges.iter().filter_map(|edge| match edge.to {
                To::Drop(text) => Some(text),
                _ => None,
            });
            exits("drop", drops.collect(), f)?;
        }
        writeln!(f, "}}")
    }
}

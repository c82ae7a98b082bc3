//! The graph of one worker: its nodes in the order packets meet them, and the loop that runs frames through them.
//!
//! Each node has one input frame. A loop begins with a burst in the frame of a first node and runs, by a bitmask of nodes that have
//! something to do, every node at most once, for the nodes stand in topological order. A frame whose packets all take one edge changes
//! owner whole; otherwise those that leave the common way are taken out of it first.

use std::cell::Cell;
use std::slice;
use std::sync::atomic::Ordering;

use dpdk_sys::at_hand::hold;
use dpdk_sys::{Burst, Tag};
use punt::dispatch::{Entry, Fate, Fates, Outbox, PassiveTo, Punted};

use crate::counters::Counters;
use crate::losses;
use crate::node::{Context, Stage, To};
use crate::nodes::redirect::leads_somewhere;
use crate::packet::Packet;
pub use crate::plan::{Miswired, Plan, Stages};
use crate::transit::Transit;

/// Times every so many loops: two clock reads for each node would cost 4 cycles a packet.
const TIMED_LOOP: u64 = 256;

/// What a panic names behind the last node.
const OFFERING: &str = "the offer to sinks";

/// One worker's instance of the graph.
pub struct Graph {
    stages: Vec<Slot>,
    /// Which stages have packets in their frame, the first in the lowest bit.
    pending: u64,
    /// Ordinary packets on their way together, and the stage that they have come to.
    transit: Transit,
    transit_at: usize,
    /// The edge of each packet of the frame at hand.
    next: Box<[u8]>,
    /// What leaves the graph for a reason: offered in runs of one reason.
    leaving: Vec<Packet>,
    /// What leaves the graph without being sent: freed in bulk.
    freed: Vec<dpdk_sys::Packet>,
    /// By which packets get to those who asked for them.
    outbox: Outbox,
    /// The index of the first of the punt path's own losses.
    first_loss: u32,
    burst: usize,
    loops: u64,
}

struct Slot {
    name: &'static str,
    stage: Box<dyn Stage>,
    frame: Vec<Packet>,
    /// By the number of the edge in the row.
    ways: Box<[Way]>,
    /// The first of this node's counters: calls, packets, cycles, timed; its edges follow.
    calls: usize,
    first_edge: usize,
    joined: Option<Joined>,
}

/// A way out of a stage.
struct Way {
    target: Target,
    /// The counters of packets that go it: of the edge, and where a joined node's edge it is, of the edge to it and what that was given.
    counted: Box<[usize]>,
}

/// The node that a stage takes packets through; its ways are the first and those from `first` on.
struct Joined {
    calls: usize,
    first: u8,
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

impl Way {
    #[inline(always)]
    fn count(&self, context: &Context, packets: usize) {
        self.counted.iter().for_each(|&counter| context.counters.add(counter, packets as u64));
    }
}

impl Slot {
    /// Counts packets that go a way, and says where it leads.
    fn take(&self, number: u8, context: &Context, packets: usize) -> Target {
        let Some(way) = self.ways.get(number as usize) else { return Target::Gone };
        way.count(context, packets);
        way.target
    }

    /// Counts a call of the joined node, if any of these packets went through it.
    #[inline(always)]
    fn count_joined(&self, context: &Context, numbers: &[u8]) {
        if let Some(Joined { calls, first }) = self.joined
            && numbers.iter().fold(false, |any, &number| any | (number == 0) | (number >= first))
        {
            context.counters.add(calls, 1);
        }
    }
}

impl Graph {
    /// Wires `stages` as `plan` (made of the same stages) has ordered them, for bursts of up to `burst` packets.
    ///
    /// # Panics
    /// If the plan was made of other stages.
    pub fn new(mut stages: Stages, plan: &Plan, burst: usize, outbox: Outbox) -> Graph {
        let target = |at: usize, index: usize| match plan.nodes[at].1[index].to {
            To::Node(name) => Target::Stage(plan.node(name).expect("the plan has every node") as u8),
            To::Punt(reason) => Target::Punt(plan.registry.id_of(reason)),
            To::PuntElse(reason, name) => Target::PuntElse(
                plan.registry.id_of(reason),
                plan.node(name).expect("the plan has every node") as u8,
                plan.layout.node(at).trapped.start + index,
            ),
            To::Chosen => Target::Chosen,
            To::Drop(_) => Target::Drop(plan.drop_reason(at, index)),
            To::Sent | To::Handed => Target::Gone,
        };
        let way = |at: usize, index: usize, before: &[usize]| {
            let edge = plan.layout.node(at).edges.start + index;
            let counted = before.iter().copied().chain([edge]).collect();
            Way { target: target(at, index), counted }
        };
        let slot = |(at, stage): (usize, Box<dyn Stage>)| {
            let (node, edges) = (plan.layout.node(at), plan.nodes[at].1.len());
            let mut ways: Vec<_> = (0..edges).map(|index| way(at, index, &[])).collect();
            let joined = stage.joined().and_then(|name| plan.node(name)).map(|at| {
                let (to, joined) = (node.edges.start, plan.layout.node(at));
                let mut others =
                    (0..plan.nodes[at].1.len()).map(|index| way(at, index, &[to, joined.packets]));
                ways.splice(..1, others.next());
                ways.extend(others);
                Joined { calls: joined.calls, first: edges as u8 }
            });
            Slot {
                name: stage.name(),
                stage,
                frame: Vec::with_capacity(burst),
                ways: ways.into(),
                calls: node.calls,
                first_edge: node.edges.start,
                joined,
            }
        };
        stages.sort_by_key(|stage| plan.node(stage.name()));
        let stages = stages.into_iter().enumerate().map(slot).collect();
        Graph {
            stages,
            pending: 0,
            transit: Transit::new(burst),
            transit_at: 0,
            next: vec![0; burst].into(),
            leaving: Vec::with_capacity(burst),
            freed: Vec::with_capacity(burst),
            outbox,
            first_loss: losses::first(plan),
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

    /// Has the stage at `at`, which has nothing else to do, run over a burst that `interface` received. The burst is no longer than those that
    /// the graph was made for; [`run`](Graph::run) does the rest.
    #[inline]
    pub fn receive(&mut self, at: usize, interface: u32, burst: &mut Burst, context: &Context) {
        let given = burst.len();
        std::mem::swap(burst, &mut self.transit.mbufs);
        (self.transit.interface, self.transit_at) = (interface, at);
        let timed = (self.loops + 1).is_multiple_of(TIMED_LOOP);
        let before = if timed { dpdk_sys::tsc() } else { 0 };
        self.step(at, context, given, |slot, transit, next| {
            let Slot { stage, frame, first_edge, .. } = slot;
            hold(transit, |transit| stage.receive(context, transit, frame, next, *first_edge));
        });
        if timed {
            self.time(at, context, before, given);
        }
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
        if !self.leaving.is_empty() {
            crate::panic::entering(OFFERING);
            self.offer_leaving(context);
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
        self.time(at, context, before, packets);
    }

    #[cold]
    fn time(&self, at: usize, context: &Context, before: u64, packets: usize) {
        let calls = self.stages[at].calls;
        context.counters.add(calls + 2, dpdk_sys::tsc() - before);
        context.counters.add(calls + 3, packets as u64);
    }

    /// Runs one stage over its frame and sends each packet along its edge.
    #[inline(always)]
    fn run_stage(&mut self, at: usize, context: &Context) -> usize {
        let in_transit = if self.transit_at == at { self.transit.mbufs.len() } else { 0 };
        let given = self.stages[at].frame.len() + in_transit;
        self.step(at, context, given, |slot, transit, next| {
            let Slot { stage, frame, first_edge, .. } = slot;
            match in_transit {
                0 => hold(frame, |frame| stage.run(context, frame, next, *first_edge)),
                _ => hold(transit, |transit| stage.transit(context, transit, frame, next, *first_edge)),
            }
        });
        given
    }

    /// Has one stage see to so many packets and sends each along its edge.
    #[inline(always)]
    fn step(
        &mut self,
        at: usize,
        context: &Context,
        given: usize,
        run: impl FnOnce(&mut Slot, &mut Transit, &mut [u8]),
    ) {
        if given == 0 {
            return;
        }
        let Graph { stages, transit, next, .. } = self;
        let slot = &mut stages[at];
        context.counters.add(slot.calls, 1);
        context.counters.add(slot.calls + 1, given as u64);
        crate::panic::entering(slot.name);
        let next = next.get_mut(..given).unwrap_or_default();
        run(slot, transit, next);
        let goes_on = self.transit_at == at && !self.transit.mbufs.is_empty();
        if !slot.frame.is_empty() {
            if !goes_on {
                slot.count_joined(context, &next[..slot.frame.len().min(next.len())]);
            }
            self.dispatch(at, context);
        }
        if goes_on {
            self.go_on(context);
        }
    }

    /// Sends the packets in transit along the first edge of the stage that they have come through.
    #[inline(always)]
    fn go_on(&mut self, context: &Context) {
        let slot = &self.stages[self.transit_at];
        if let Some(joined) = &slot.joined {
            context.counters.add(joined.calls, 1);
        }
        match slot.take(0, context, self.transit.mbufs.len()) {
            Target::Stage(to) => {
                self.transit_at = to as usize;
                self.pending |= 1 << to;
            }
            target => self.end_transit(target, context),
        }
    }

    /// No stage is where packets in transit go.
    #[cold]
    fn end_transit(&mut self, target: Target, context: &Context) {
        let mut packets = std::mem::take(&mut self.stages[self.transit_at].frame);
        packets.extend(self.transit.packets());
        packets.drain(..).for_each(|packet| self.follow(target, context, packet));
        self.stages[self.transit_at].frame = packets;
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
            && let Some(way) = slot.ways.get(common as usize)
            && let Target::Stage(to) = way.target
            && let Some(target) = after.get_mut(to as usize - at - 1)
            && target.frame.is_empty()
        {
            way.count(context, len);
            std::mem::swap(&mut slot.frame, &mut target.frame);
            self.pending |= 1 << to;
        } else {
            self.part(at, context, common, different != 0);
        }
    }

    /// Sends the packets of a frame along their edges where not all can go one way whole. Most take the edge `common`.
    #[inline(never)]
    fn part(&mut self, at: usize, context: &Context, common: u8, differ: bool) {
        let slot = &mut self.stages[at];
        let mut frame = std::mem::take(&mut slot.frame);
        if differ {
            self.take_exceptions(at, context, &mut frame, common);
        }
        let slot = &self.stages[at];
        match slot.take(common, context, frame.len()) {
            Target::Stage(to) if self.stages[to as usize].frame.is_empty() => {
                std::mem::swap(&mut frame, &mut self.stages[to as usize].frame);
                self.pending |= 1 << to;
            }
            Target::Punt(reason) => {
                frame.iter_mut().for_each(|packet| packet.meta.reason = reason);
                self.leaving.append(&mut frame);
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
            let target = self.stages[at].take(edge.get(), context, 1);
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
            Target::Punt(reason) => self.punt(reason, packet),
            Target::PuntElse(reason, to, trapped) => self.punt_else(reason, to, trapped, context, packet),
            Target::Chosen => self.punt(packet.meta.reason, packet),
            Target::Drop(reason) => {
                self.show_drop(reason, context, &packet);
                self.freed.push(packet.mbuf);
            }
            Target::Gone => self.freed.push(packet.mbuf),
        }
    }

    /// Takes a packet out of the graph for a reason.
    #[inline(always)]
    fn punt(&mut self, reason: u32, mut packet: Packet) {
        packet.meta.reason = reason;
        self.leaving.push(packet);
    }

    /// Takes a packet out of the graph, or sends it on: as a copy was made of it, or to where the passive punt redirects it.
    #[inline(never)]
    fn punt_else(&mut self, reason: u32, to: u8, trapped: usize, context: &Context, mut packet: Packet) {
        let (_, entry) = context.tables.punt.reasons.resolve(reason, &packet, context.guard);
        match entry {
            Some(entry) if entry.copy => {
                self.offer((entry, reason), slice::from_ref(&packet), true, context);
                self.follow(Target::Stage(to), context, packet);
            }
            Some(entry) if !entry.drop => match self.redirects(entry, context, &mut packet) {
                Redirected::No => self.trap(reason, trapped, context, packet),
                redirected => {
                    // Who asked for such packets gets a copy, and takes them from nobody. One that goes nowhere is punted or dropped, and no
                    // copy of it says that it was forwarded.
                    if redirected == Redirected::Somewhere && entry.wants(reason, &packet) {
                        self.offer((entry, reason), slice::from_ref(&packet), true, context);
                    }
                    self.follow(Target::Stage(to), context, packet);
                }
            },
            _ => self.trap(reason, trapped, context, packet),
        }
    }

    /// Takes a packet out of the graph that might have gone on.
    fn trap(&mut self, reason: u32, trapped: usize, context: &Context, packet: Packet) {
        context.counters.add(trapped, 1);
        self.punt(reason, packet);
    }

    /// Whether the passive punt redirects a packet that nobody claimed; then it knows where to.
    fn redirects(&mut self, entry: &Entry, context: &Context, packet: &mut Packet) -> Redirected {
        let Some(passive) = entry.passive.of(packet.meta.interface) else { return Redirected::No };
        let PassiveTo::Redirect(way) = passive.to else { return Redirected::No };
        if !self.outbox.redirect(passive, packet.mbuf.len(), context.now) {
            return Redirected::No;
        }
        packet.meta.hop = way;
        match leads_somewhere(context, packet, way) {
            true => Redirected::Somewhere,
            false => {
                self.outbox.missed(passive);
                Redirected::Nowhere
            }
        }
    }

    /// Offers what left the graph to those who asked for it, and frees it.
    #[inline(never)]
    fn offer_leaving(&mut self, context: &Context) {
        let mut leaving = std::mem::take(&mut self.leaving);
        hold(&mut leaving, |leaving| self.offer_runs(leaving, context));
        self.freed.extend(leaving.drain(..).map(|packet| packet.mbuf));
        self.leaving = leaving;
    }

    fn offer_runs(&mut self, leaving: &mut [Packet], context: &Context) {
        for packets in leaving.chunk_by_mut(|one, next| one.meta.reason == next.meta.reason) {
            let (reason, reasons) = (packets[0].meta.reason, &context.tables.punt.reasons);
            match reasons.get(reason, context.guard) {
                Some(entry) if !entry.scopes.is_empty() => {
                    for packet in packets.chunks_mut(1) {
                        let (_, entry) = reasons.resolve(reason, &packet[0], context.guard);
                        self.offer_run(reason, entry, packet, context);
                    }
                }
                entry => self.offer_run(reason, entry, packets, context),
            }
        }
    }

    /// Offers packets whose entry is the same.
    fn offer_run(&mut self, reason: u32, entry: Option<&Entry>, packets: &mut [Packet], context: &Context) {
        let nobody = || {
            let mut fates = Fates::default();
            fates.add(Fate::NoSink, packets.len());
            fates
        };
        let fates = entry.map_or_else(nobody, |entry| self.offer((entry, reason), packets, false, context));
        fates.iter().for_each(|(fate, packets)| context.counters.add_fates(fate, packets));
        let (reason, received) = (entry.map_or(reason, |entry| entry.id), context.now);
        for packet in packets {
            let punt::dispatch::Tag { interface, l3, l4, flags } = packet.tag();
            packet.mbuf.set_tag(Tag { reason, interface, l3, l4, flags, received, ..Tag::default() });
        }
    }

    /// Offers packets to those who asked for them, and what gets lost of them to those who asked for that.
    #[inline(always)]
    fn offer(
        &mut self,
        (entry, reason): (&Entry, u32),
        packets: &[Packet],
        copied: bool,
        context: &Context,
    ) -> Fates {
        match context.tables.watched.load(Ordering::Relaxed) {
            0 => self.outbox.offer_all(entry, reason, packets, copied, context.now),
            _ => losses::offer(&mut self.outbox, (entry, reason), packets, copied, context, self.first_loss),
        }
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
        if let (_, Some(entry)) = context.tables.punt.reasons.resolve(reason, packet, context.guard) {
            self.outbox.offer(entry, reason, packet, false, context.now);
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
        self.freed.extend(self.leaving.drain(..).map(|packet| packet.mbuf));
        self.freed.extend(self.transit.mbufs.drain());
        dpdk_sys::free_bulk(&mut self.freed);
    }
}

/// What the passive punt does with a packet.
#[derive(PartialEq)]
enum Redirected {
    /// It leaves the graph as any other.
    No,
    /// It goes on, and leads there now.
    Somewhere,
    /// It goes on, to where it is dropped or waits for its next hop.
    Nowhere,
}

#[cfg(test)]
mod tests {
    use crate::testing::*;

    #[test]
    fn a_joined_node_is_counted_as_if_it_stood_alone() {
        let mut whole = Whole::new();
        let frame = |ethertype: &str, l3: &[u8]| {
            let bytes = [LAN_MAC.to_vec(), HOST_MAC.to_vec(), hex(ethertype), l3.to_vec()].concat();
            dpdk_sys::Packet::from_bytes(&bytes)
        };
        let good = || frame("0800", &udp4(FAR4, 7));
        let bad = || frame("0800", &changed(&udp4(FAR4, 7), &[(10, &[0, 0])]));
        let arp = || frame("0806", &[]);
        let calls = |whole: &Whole, name| {
            let node = whole.router.plan.layout.node(whole.router.plan.node(name).expect("a node"));
            [node.calls, node.packets].map(|counter| whole.router.counters.read(counter))
        };
        whole.pass([good(), good()]);
        whole.pass([arp(), bad(), good()]);
        whole.pass([arp()]);
        whole.pass([bad()]);
        assert_eq!(calls(&whole, "ether-input"), [4, 7]);
        assert_eq!(calls(&whole, "ip4-input"), [3, 5]);
        assert_eq!(calls(&whole, "ip4-lookup"), [2, 3]);
        whole.assert_balanced();
    }
}

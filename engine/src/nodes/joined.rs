//! Joined nodes do what the same nodes do one after the other: same counters, same bytes on the same ports.

use std::sync::{Arc, Mutex};

use dpdk_sys::Burst;

use super::captures::{captured, delivered, readdressed};
use super::ether::EtherInput;
use super::ip4::Ip4Lookup;
use super::ip6::Ip6Lookup;
use super::transmit::{Egress, Queue, Transmit};
use crate::graph::Stages;
use crate::testing::*;

/// A port that notes what it sends.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Vec<u8>>>>);

impl Log {
    /// What was sent, sorted: packets that go through another node on their way may overtake others.
    fn take(&mut self) -> Vec<Vec<u8>> {
        let mut sent = std::mem::take(&mut *self.0.lock().expect("nobody panics with it"));
        sent.sort();
        sent
    }
}

impl Queue for Log {
    fn send(&mut self, burst: &mut Burst) -> usize {
        let count = burst.len();
        let mut sent = self.0.lock().expect("nobody panics with it");
        for packet in burst.drain() {
            sent.push(packet.to_vec());
            packet.free();
        }
        count
    }
}

/// The graph, and the same with no nodes joined.
struct Twins([(Whole, [Log; 2]); 2]);

impl Twins {
    fn new() -> Twins {
        Twins([joined, apart].map(|stages| {
            let logs = [Log::default(), Log::default()];
            let mut stages = stages();
            stages.pop();
            let ways = logs.iter().cloned().map(Egress::Queue).collect();
            stages.push(Box::new(Transmit::new(ways, Whole::BURST)));
            (Whole::of(stages), logs)
        }))
    }

    /// Sends both the same, and compares what they did.
    fn pass(&mut self, frames: &[Vec<u8>]) {
        for burst in frames.chunks(Whole::BURST) {
            let done = self.0.each_mut().map(|(whole, logs)| {
                whole.pass(burst.iter().map(|frame| dpdk_sys::Packet::from_bytes(frame)));
                let sent = logs.each_mut().map(Log::take);
                (sent, counted(&whole.router))
            });
            let [joined, apart] = &done;
            assert_eq!(difference(&joined.1, &apart.1), [], "counters, among {burst:02x?}");
            assert!(joined.0 == apart.0, "sent {:02x?} and {:02x?}", joined.0, apart.0);
        }
    }
}

/// All counters but those of calls and their time: a joined node may run once for the node before it and once for others, and the first
/// call's time is that node's.
fn counted(router: &Router) -> Vec<u64> {
    let mut counted = router.counters.live();
    for at in 0..router.plan.nodes.len() {
        let node = router.plan.layout.node(at);
        (counted[node.calls], counted[node.cycles], counted[node.timed]) = (0, 0, 0);
    }
    counted
}

/// The counters that differ, and how.
fn difference(joined: &[u64], apart: &[u64]) -> Vec<(usize, u64, u64)> {
    let pairs = joined.iter().zip(apart).enumerate();
    pairs.filter(|(_, (joined, apart))| joined != apart).map(|(at, (a, b))| (at, *a, *b)).collect()
}

fn joined() -> Stages {
    super::all(Transmit::new(Vec::new(), Whole::BURST))
}

fn apart() -> Stages {
    let apart = |stage: Box<dyn crate::node::Stage>| match stage.joined().map(|_| stage.name()) {
        None => stage,
        Some("ether-input") => Box::new(EtherInput),
        Some("ip4-lookup") => Box::new(Ip4Lookup),
        Some("ip6-lookup") => Box::new(Ip6Lookup),
        Some(name) => panic!("{name} is joined; which node is it?"),
    };
    joined().into_iter().map(apart).collect()
}

#[test]
fn whatever_changes_in_a_header_joined_nodes_do_what_they_do_apart() {
    let mut twins = Twins::new();
    let frame =
        |ethertype: &str, l3: Vec<u8>| [LAN_MAC.to_vec(), HOST_MAC.to_vec(), hex(ethertype), l3].concat();
    let to4 = (0..10).map(|net| frame("0800", udp4([10, net, 0, 1], 7)));
    let to6 = (0..10).map(|net| frame("86dd", udp6(ip6_address(0xfd00, net, 9), 7)));
    let long = frame("0800", ip4(17, FAR4, &[7; 1480]));
    let padded = [frame("0800", udp4(FAR4, 7)), vec![0; 1600]].concat();
    let tagged = frame("8100 0064 0800", udp4(FAR4, 7));
    let mut changes = Vec::new();
    for good in to4.chain(to6).chain([long, padded, tagged]) {
        changes.push(good.clone());
        for at in 0..62.min(good.len()) {
            for new in [0, 1, 0x7f, 0x80, 0xff, good[at] ^ 1, good[at] ^ 0x80, good[at].wrapping_add(1)] {
                changes.push(changed(&good, &[(at, &[new])]));
                // With a right checksum, that other checks are reached.
                if good[12..14] == [8, 0] && (14..34).contains(&at) {
                    let l3 = changed(&good, &[(at, &[new])]).split_off(14);
                    changes.push([good[..14].to_vec(), sealed(l3)].concat());
                }
            }
            changes.push(good[..at].to_vec());
        }
    }
    twins.pass(&changes);
}

#[test]
fn captured_traffic_goes_through_joined_nodes_as_it_does_through_them_apart() {
    let Some(frames) = captured() else { return };
    let mut twins = Twins::new();
    for (_, frame) in &frames {
        let kinds = [frame.clone(), readdressed(frame), delivered(frame)];
        let chopped =
            kinds.iter().flat_map(|frame| (0..=frame.len().min(64)).map(|len| frame[..len].to_vec()));
        twins.pass(&chopped.chain(kinds.iter().cloned()).collect::<Vec<_>>());
    }
}

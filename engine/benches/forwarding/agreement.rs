//! Before anything is measured: the graph and the reference do the same. Mixed packets go through both; what comes out, byte for byte, and
//! what interfaces and reasons counted must be equal.

use std::sync::Arc;

use dpdk_sys::{Burst, Pool, Ring};
use engine::counters::{Counters, FIRST_FATE};
use engine::tables::Tables;
use punt::dispatch::FATES;

use crate::contender::{Contender, InGraph};
use crate::fused::{Fused, of_interface};
use crate::router::INTERFACES;
use crate::wire::{Flows, Wire, mixed};

/// Says what differs, if anything does.
pub fn check(ring: Ring, pool: &Pool, tables: &Arc<Tables>, destinations: &[u32]) -> Result<(), String> {
    let wire = Wire::new(ring.clone(), pool, Arc::new(Flows::AsSent), 0);
    let mut graph = InGraph::new(&wire, tables, 64, false);
    let mut fused = Fused::new(&wire, tables, 64, false);
    let mut forwarded = 0;
    for seed in 0..64 {
        let by_graph = pass(&wire, &ring, pool, destinations, seed, &mut graph);
        let by_fused = pass(&wire, &ring, pool, destinations, seed, &mut fused);
        if by_graph != by_fused {
            return Err(format!("burst {seed} leaves the graph otherwise than the fused loop"));
        }
        forwarded += by_graph.len();
    }
    if forwarded < 1024 {
        return Err(format!("only {forwarded} of 4096 packets are forwarded"));
    }
    same_counters(graph.counters(), fused.counters())
}

/// What comes out of a contender, in any order.
fn pass(
    wire: &Wire,
    ring: &Ring,
    pool: &Pool,
    destinations: &[u32],
    seed: u64,
    contender: &mut impl Contender,
) -> Vec<Vec<u8>> {
    let mut end = wire.end();
    mixed(pool, destinations, seed).into_iter().for_each(|packet| end.put(packet));
    contender.turn();
    let mut out = Burst::new(64);
    ring.dequeue(&mut out);
    let mut frames: Vec<_> = out.as_slice().iter().map(|packet| packet.bytes().to_vec()).collect();
    out.clear_freeing();
    frames.sort();
    frames
}

fn same_counters(graph: &Counters, fused: &Counters) -> Result<(), String> {
    for interface in 1..=INTERFACES as u32 {
        let (a, b) = (of_interface(graph, interface), of_interface(fused, interface));
        if a != b {
            return Err(format!("interface {interface} counted {a:?} in the graph, {b:?} in the fused loop"));
        }
    }
    for fate in 0..FATES {
        let [a, b] = [graph, fused].map(|counters| counters.read(FIRST_FATE + fate));
        if a != b {
            return Err(format!("{a} packets have fate {fate} in the graph, {b} in the fused loop"));
        }
    }
    Ok(())
}

//! The audit: does every packet add up?
//!
//! Every worker takes a snapshot of its counters between two loops, so the sums hold to the packet while traffic flows. They are counted in
//! different places (queues, nodes, edges, reasons), and must agree.

use std::time::Duration;

use punt::control::types::{Audit, PoolRow};

use super::Control;
use crate::counters::{PerReason, Total};
use crate::node::{Named, To};
use crate::nodes::ether::EtherInput;
use crate::nodes::transmit::Transmit;

/// A worker that takes no snapshot for so long is not running; its counters are read as they are.
const PATIENCE: Duration = Duration::from_millis(200);

impl Control {
    /// Adds everything up.
    pub fn audit(&self) -> Audit {
        let workers = &self.workers;
        let wanted: Vec<u64> = workers.iter().map(|worker| worker.counters.want_snapshot()).collect();
        let rows: Vec<Vec<u64>> = workers
            .iter()
            .zip(wanted)
            .map(|(worker, wanted)| worker.counters.snapshot(wanted, PATIENCE))
            .collect();
        let mut findings = Vec::new();
        let mut balanced = true;
        for (worker, row) in workers.iter().zip(&rows) {
            self.audit_worker(worker.lcore, row, &mut findings);
        }
        let sum = |index: usize| rows.iter().map(|row| row[index]).sum::<u64>();
        let total = |what: Total| sum(what as usize);
        let verdicts = self.verdicts(sum);
        let (received, injected) = (total(Total::Received), total(Total::Injected));
        // Snapshots of two workers are not taken at one moment: what was handed over in between is seen by one of them only.
        let in_rings = verdicts.handed as i128 - total(Total::TakenOver) as i128;
        let in_flight = (received + injected) as i128 - verdicts.all() as i128;
        if in_rings > self.ring_capacity as i128 {
            findings.push(format!(
                "{in_rings} packets are between workers, and their rings hold {}",
                self.ring_capacity
            ));
        }
        match dpdk_sys::lost() {
            0 => {}
            lost => findings.push(format!("{lost} packets went out of scope without a verdict")),
        }
        balanced &= findings.is_empty();
        Audit {
            balanced,
            received,
            injected,
            transmitted: verdicts.transmitted,
            dropped: verdicts.dropped,
            punted: verdicts.punted,
            consumed: verdicts.consumed,
            in_flight: in_flight.max(0) as u64,
            pools: self.pools.iter().map(pool).collect(),
            findings,
        }
    }

    /// One worker's books: what went into every node came out of it, what came in has a verdict, what was punted has a reason.
    fn audit_worker(&self, lcore: u32, row: &[u64], findings: &mut Vec<String>) {
        let plan = &self.plan;
        let total = |what: Total| row[what as usize];
        let mut into = vec![0; plan.nodes.len()];
        into[plan.node(<EtherInput as Named>::NAME).unwrap_or(0)] +=
            total(Total::Received) + total(Total::Injected);
        into[plan.node(<Transmit as Named>::NAME).unwrap_or(0)] += total(Total::TakenOver);
        let mut punted = 0;
        for (at, (node, edges)) in plan.nodes.iter().enumerate() {
            let place = plan.layout.node(at);
            let mut out = 0;
            for (edge, index) in edges.iter().zip(place.edges.clone()) {
                out += row[index];
                match edge.to {
                    To::Node(to) | To::PuntElse(_, to) => into[plan.node(to).unwrap_or(0)] += row[index],
                    To::Punt(_) | To::Chosen => punted += row[index],
                    To::Drop(_) | To::Sent | To::Handed => {}
                }
            }
            let packets = row[place.packets];
            if packets != into[at] {
                findings.push(format!(
                    "lcore {lcore}: {node} got {packets} packets, and {} were sent to it",
                    into[at]
                ));
            }
            if packets != out {
                findings.push(format!("lcore {lcore}: {node} got {packets} packets, and {out} left it"));
            }
        }
        let reasons: u64 =
            plan.registry.iter().map(|reason| row[plan.layout.reason(reason.id, PerReason::Packets)]).sum();
        if reasons != punted {
            findings
                .push(format!("lcore {lcore}: {punted} packets were punted, and reasons count {reasons}"));
        }
    }
}

fn pool(handle: &super::PoolHandle) -> PoolRow {
    PoolRow {
        name: handle.pool.name().to_owned(),
        size: handle.pool.size() as u64,
        idle: handle.idle as u64,
        in_use: handle.pool.in_use() as u64,
    }
}

//! The audit: does every packet add up?
//!
//! Every worker takes a snapshot of its counters between two loops, so the sums hold to the packet while traffic flows. They are counted in
//! different places (queues, nodes, edges, reasons), and must agree.

use std::time::{Duration, Instant};

use punt::control::types::{Audit, PoolRow};
use punt::dispatch::FATES;

use super::stats::Verdicts;
use super::{Control, WorkerHandle};
use crate::counters::{FIRST_FATE, Total};
use crate::node::{Named, To};
use crate::nodes::ether::EtherInput;
use crate::nodes::inject::Inject;
use crate::nodes::transmit::Transmit;

/// A worker that takes no snapshot for so long is stuck, or the host has forgotten it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Drivers that have freed a packet when they have taken it: what is in use is not with them.
const KEEPS_NOTHING: [&str; 4] = ["net_pcap", "net_tap", "net_af_packet", "net_null"];

/// Every worker's counters as they were between two of its loops.
type Rows = Vec<Vec<u64>>;

impl Control {
    /// Adds everything up.
    pub fn audit(&self) -> Audit {
        let mut findings = Vec::new();
        let rows = self.snapshots(&mut findings);
        let (ports, pools) = (self.port_packets(), self.pools.iter().map(pool).collect::<Vec<_>>());
        let later = if findings.is_empty() { self.snapshots(&mut findings) } else { Vec::new() };
        for (worker, row) in self.workers.iter().zip(&rows) {
            if let Some(row) = row {
                self.audit_worker(worker.lcore, row, &mut findings);
            }
        }
        let whole = |rows: Vec<Option<Vec<u64>>>| rows.into_iter().collect::<Option<Rows>>();
        let (rows, later) = (whole(rows), whole(later).filter(|later| later.len() == self.workers.len()));
        let mut of_drivers = Vec::new();
        if let (Some(rows), Some(later)) = (&rows, &later) {
            self.audit_rings(rows, later, &mut findings);
            self.audit_verdicts(rows, later, &mut findings);
            if self.sums(rows) == self.sums(later) {
                let (received, verdicts) = self.sums(rows);
                audit_ports(ports, [received, verdicts.transmitted], &mut of_drivers);
                let between = verdicts.handed.saturating_sub(total(rows, Total::TakenOver));
                if self.drivers_keep_nothing() {
                    audit_pools(&pools, between, &mut findings);
                }
            }
        }
        findings.extend(self.desk.findings());
        match dpdk_sys::lost() {
            0 => {}
            lost => findings.push(format!("{lost} packets went out of scope without a verdict")),
        }
        let rows = rows.unwrap_or_else(|| self.workers.iter().map(|worker| worker.counters.live()).collect());
        let (received, verdicts) = self.sums(&rows);
        let injected = total(&rows, Total::Injected);
        let balanced = findings.is_empty();
        findings.extend(of_drivers);
        Audit {
            balanced,
            received,
            injected,
            transmitted: verdicts.transmitted,
            dropped: verdicts.dropped,
            punted: verdicts.punted,
            consumed: verdicts.consumed,
            // What one worker received and another sent between their snapshots has only its verdict here; more than that is a finding.
            in_flight: (received + injected).saturating_sub(verdicts.all()),
            pools,
            findings,
        }
    }

    /// A snapshot of every worker that takes one in time; of each other one a finding.
    fn snapshots(&self, findings: &mut Vec<String>) -> Vec<Option<Vec<u64>>> {
        let wanted: Vec<u64> = self.workers.iter().map(|worker| worker.counters.want_snapshot()).collect();
        let deadline = Instant::now() + PATIENCE;
        let taken = |(at, (worker, wanted)): (usize, (&WorkerHandle, u64))| {
            let row = worker.counters.snapshot(wanted, deadline);
            if row.is_none() {
                let (lcore, seconds) = (worker.lcore, PATIENCE.as_secs());
                findings.push(format!("worker {at} (lcore {lcore}) did not answer within {seconds} s"));
            }
            row
        };
        self.workers.iter().zip(wanted).enumerate().map(taken).collect()
    }

    fn drivers_keep_nothing(&self) -> bool {
        let keeps_nothing = |port: &dpdk_sys::Port| {
            port.info().is_ok_and(|info| KEEPS_NOTHING.contains(&info.driver.as_str()))
        };
        self.model.ports().iter().all(keeps_nothing)
    }

    /// What has a verdict in `rows` was received before all of `later` was taken, whichever workers did the two.
    fn audit_verdicts(&self, rows: &[Vec<u64>], later: &[Vec<u64>], findings: &mut Vec<String>) {
        let came = total(later, Total::Received) + total(later, Total::Injected);
        let verdicts = self.sums(rows).1.all();
        if verdicts > came {
            let more = verdicts - came;
            findings.push(format!("{more} packets have a verdict, and were neither received nor injected"));
        }
    }

    /// Packets received, and what became of packets.
    fn sums(&self, rows: &[Vec<u64>]) -> (u64, Verdicts) {
        let sum = |index: usize| rows.iter().map(|row| row[index]).sum();
        (total(rows, Total::Received), self.verdicts(sum))
    }

    /// Packets received and transmitted, as the ports count them.
    fn port_packets(&self) -> Option<[u64; 2]> {
        let mut sum = [0, 0];
        for port in self.model.ports() {
            let stats = port.stats().ok()?;
            sum = [sum[0] + stats.rx_packets, sum[1] + stats.tx_packets];
        }
        Some(sum)
    }

    /// What workers hand to each other. Snapshots of two workers are not taken at one moment; but all of `later` are taken after all of
    /// `rows`, so what was taken over by then must have been handed by now, and what was handed by then is taken over by now or in a ring.
    fn audit_rings(&self, rows: &[Vec<u64>], later: &[Vec<u64>], findings: &mut Vec<String>) {
        let [handed, handed_later] = [rows, later].map(|rows| self.sums(rows).1.handed);
        let [taken, taken_later] = [rows, later].map(|rows| total(rows, Total::TakenOver));
        if taken > handed_later {
            let more = taken - handed_later;
            findings.push(format!(
                "{more} packets were taken over from other workers that none of them handed over"
            ));
        }
        if handed > taken_later + self.ring_capacity {
            let between = handed - taken_later;
            let room = self.ring_capacity;
            findings.push(format!("{between} packets are between workers, and their rings hold {room}"));
        }
    }

    /// One worker's books: what went into every node came out of it, what came in has a verdict, what was punted has a reason.
    fn audit_worker(&self, lcore: u32, row: &[u64], findings: &mut Vec<String>) {
        let plan = &self.plan;
        let total = |what: Total| row[what as usize];
        let mut into = vec![0; plan.nodes.len()];
        into[plan.node(<EtherInput as Named>::NAME).unwrap_or(0)] += total(Total::Received);
        into[plan.node(<Inject as Named>::NAME).unwrap_or(0)] += total(Total::Injected);
        into[plan.node(<Transmit as Named>::NAME).unwrap_or(0)] += total(Total::TakenOver);
        let mut punted = 0;
        for (at, (node, edges)) in plan.nodes.iter().enumerate() {
            let place = plan.layout.node(at);
            let mut out = 0;
            for ((edge, index), trapped) in edges.iter().zip(place.edges.clone()).zip(place.trapped.clone()) {
                out += row[index];
                match edge.to {
                    To::Node(to) => into[plan.node(to).unwrap_or(0)] += row[index],
                    To::PuntElse(_, to) => {
                        into[plan.node(to).unwrap_or(0)] += row[index].wrapping_sub(row[trapped]);
                        punted += row[trapped];
                    }
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
        let fates: u64 = row[FIRST_FATE..FIRST_FATE + FATES].iter().sum();
        if fates != punted {
            findings.push(format!("lcore {lcore}: {punted} packets were punted, and {fates} have a fate"));
        }
    }
}

/// A total, over all workers.
fn total(rows: &[Vec<u64>], what: Total) -> u64 {
    rows.iter().map(|row| row[what as usize]).sum()
}

/// Where no traffic flows, ports and workers have counted the same packets. Where they differ a driver counts otherwise than it should, or
/// loses packets that it took: worth knowing, but the engine's books balance.
fn audit_ports(ports: Option<[u64; 2]>, workers: [u64; 2], findings: &mut Vec<String>) {
    for (what, (port, worker)) in
        ["received", "transmitted"].into_iter().zip(ports.unwrap_or(workers).into_iter().zip(workers))
    {
        if port != worker {
            findings.push(format!("ports say that they {what} {port} packets, workers say {worker}"));
        }
    }
}

/// Where no traffic flows, what is in use beyond what was so at start lies in the rings between workers, or has been forgotten somewhere.
fn audit_pools(pools: &[PoolRow], between: u64, findings: &mut Vec<String>) {
    let sum = |what: fn(&PoolRow) -> u64| pools.iter().map(what).sum::<u64>();
    let (in_use, accounted) = (sum(|pool| pool.in_use), sum(|pool| pool.idle) + between);
    if in_use > accounted {
        let more = in_use - accounted;
        findings
            .push(format!("{more} buffers are in use, and no packet that is under way accounts for them"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_that_nothing_accounts_for_are_found() {
        let pool = |idle, in_use| PoolRow { name: "packets0".into(), size: 1023, idle, in_use };
        for (pools, between, expected) in [
            (vec![pool(256, 256), pool(0, 0)], 0, None),
            (vec![pool(256, 260), pool(0, 3)], 7, None),
            (vec![pool(256, 250), pool(0, 4)], 0, None),
            (vec![pool(256, 260), pool(0, 4)], 7, Some(1)),
        ] {
            let mut findings = Vec::new();
            audit_pools(&pools, between, &mut findings);
            let sentence = |more| {
                format!("{more} buffers are in use, and no packet that is under way accounts for them")
            };
            assert_eq!(findings, expected.map(sentence).into_iter().collect::<Vec<_>>());
        }
    }
}

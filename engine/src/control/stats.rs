//! Statistics: the workers' rows of counters, added up under the names of the graph.

use punt::control::types::{DropStats, InterfaceRow, InterfaceStats, NodeStats, WorkerStats};
use serde::Serialize;

use super::Control;
use super::model::InterfaceFacts;
use crate::counters::{PerInterface, Total};
use crate::node::To;
use crate::tables::Tpid;

/// `interface.list`: what a sub-interface's tag is, beside the rest.
#[derive(Serialize)]
pub struct InterfaceAnswer {
    #[serde(flatten)]
    pub row: InterfaceRow,
    /// As in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    tpid: Option<&'static str>,
}

impl Control {
    /// A counter, over all workers.
    pub(super) fn sum(&self, index: usize) -> u64 {
        self.workers.iter().map(|worker| worker.counters.read(index)).fold(0, u64::wrapping_add)
    }

    /// What each interface received and transmitted, in the order of their indices.
    pub fn interfaces(&self) -> Vec<InterfaceStats> {
        self.interfaces_after(0).map(|(_, stats)| stats).collect()
    }

    /// The same of the interfaces behind the index `after`, with theirs.
    pub(super) fn interfaces_after(&self, after: u32) -> impl Iterator<Item = (u32, InterfaceStats)> {
        self.model.interfaces_after(after).map(|facts| (facts.index, self.interface_stats(&facts)))
    }

    /// A port's own interface counts every frame of the port in both directions, tagged ones too; those of a sub-interface count there
    /// as well. `ether-input` sees to that for what comes in. What goes out is counted where it goes, and added up here.
    fn interface_stats(&self, facts: &InterfaceFacts) -> InterfaceStats {
        let own = |index, what| self.sum(self.plan.layout.interface(index, what));
        let count = |what| own(facts.index, what);
        let tagged = self.model.parents().filter(|(_, parent)| *parent == facts.index);
        let tagged: Vec<u32> = tagged.map(|(child, _)| child).collect();
        let with_tagged = |what| count(what) + tagged.iter().map(|&child| own(child, what)).sum::<u64>();
        // What a device could not hand over belongs to no VLAN yet.
        let port = self.model.ports().get(facts.port.0).filter(|_| facts.vlan.is_none());
        let missed =
            port.and_then(|port| port.stats().ok()).map_or(0, |stats| stats.rx_missed + stats.rx_nombuf);
        InterfaceStats {
            name: facts.name.to_owned(),
            rx_packets: count(PerInterface::RxPackets),
            rx_bytes: count(PerInterface::RxBytes),
            rx_missed: missed,
            tx_packets: with_tagged(PerInterface::TxPackets),
            tx_bytes: with_tagged(PerInterface::TxBytes),
            tx_dropped: with_tagged(PerInterface::TxDropped),
        }
    }

    /// An interface as `interface list` shows it.
    pub(super) fn interface_row(&self, facts: &InterfaceFacts) -> InterfaceAnswer {
        let InterfaceStats { name, rx_packets, rx_bytes, rx_missed, tx_packets, tx_bytes, tx_dropped } =
            self.interface_stats(facts);
        let link = self.model.ports().get(facts.port.0).and_then(|port| port.link().ok());
        let tpid = facts.vlan.map(|(_, tags)| match tags.tpid {
            Tpid::Dot1q => "802.1q",
            Tpid::Dot1ad => "802.1ad",
        });
        let row = InterfaceRow {
            name,
            index: facts.index,
            port: facts.port.1.to_owned(),
            mac: facts.effective.mac,
            mtu: facts.effective.mtu as u32,
            up: facts.effective.up,
            link: link.is_some_and(|link| link.up),
            addresses: facts.addresses.clone(),
            vrf: "default".to_owned(),
            parent: facts.vlan.map(|(parent, _)| parent.to_owned()),
            vlan: facts.vlan.map(|(_, tags)| tags.vlan),
            inner: facts.vlan.and_then(|(_, tags)| tags.inner),
            rx_packets,
            rx_bytes,
            rx_missed,
            tx_packets,
            tx_bytes,
            tx_dropped,
        };
        InterfaceAnswer { row, tpid }
    }

    /// What each node did, in the order packets meet them.
    pub fn nodes(&self) -> Vec<NodeStats> {
        let plan = &self.plan;
        let row = |(at, (node, _)): (usize, &(&str, _))| {
            let place = plan.layout.node(at);
            let (calls, packets) = (self.sum(place.calls), self.sum(place.packets));
            let timed = self.sum(place.timed);
            NodeStats {
                node: node.to_string(),
                calls,
                packets,
                packets_per_call: ratio(packets, calls),
                cycles_per_packet: ratio(self.sum(place.cycles), timed),
                timed_packets: timed,
            }
        };
        plan.nodes.iter().enumerate().map(row).collect()
    }

    /// What was dropped, by node and text.
    pub fn drops(&self) -> Vec<DropStats> {
        let plan = &self.plan;
        let mut rows = Vec::new();
        for (at, (node, edges)) in plan.nodes.iter().enumerate() {
            for (edge, index) in edges.iter().zip(plan.layout.node(at).edges.clone()) {
                if let To::Drop(text) = edge.to {
                    rows.push(DropStats {
                        node: node.to_string(),
                        text: text.to_owned(),
                        packets: self.sum(index),
                    });
                }
            }
        }
        rows
    }

    /// What each worker did.
    pub fn workers(&self) -> Vec<WorkerStats> {
        let row = |(at, worker): (usize, &super::WorkerHandle)| {
            let verdicts = self.verdicts(|index| worker.counters.read(index));
            let total = |what| worker.counters.read(what as usize);
            let came = total(Total::Received) + total(Total::Injected) + total(Total::TakenOver);
            WorkerStats {
                worker: at as u32,
                lcore: worker.lcore,
                queues: worker.queues.clone(),
                loops: total(Total::Loops),
                idle_loops: total(Total::Idle),
                received: total(Total::Received),
                injected: total(Total::Injected),
                transmitted: verdicts.transmitted,
                dropped: verdicts.dropped,
                punted: verdicts.punted,
                consumed: verdicts.consumed,
                in_flight: came.saturating_sub(verdicts.all() + verdicts.handed),
            }
        };
        self.workers.iter().enumerate().map(row).collect()
    }

    /// The verdicts in one row of counters, or in the sum of several.
    pub(super) fn verdicts(&self, read: impl Fn(usize) -> u64) -> Verdicts {
        let mut verdicts = Verdicts::default();
        for (at, (_, edges)) in self.plan.nodes.iter().enumerate() {
            let place = self.plan.layout.node(at);
            for ((edge, index), trapped) in edges.iter().zip(place.edges.clone()).zip(place.trapped.clone()) {
                let packets = read(index);
                match edge.to {
                    To::Sent => verdicts.transmitted += packets,
                    To::Handed => verdicts.handed += packets,
                    To::Drop(_) => verdicts.dropped += packets,
                    To::Punt(_) | To::Chosen => verdicts.punted += packets,
                    To::PuntElse(..) => verdicts.punted += read(trapped),
                    To::Node(_) => {}
                }
            }
        }
        verdicts
    }
}

/// What became of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdicts {
    pub transmitted: u64,
    pub dropped: u64,
    pub punted: u64,
    pub consumed: u64,
    /// Given to another worker, which has the verdict: not one itself.
    pub handed: u64,
}

impl Verdicts {
    /// All of them.
    pub fn all(&self) -> u64 {
        self.transmitted + self.dropped + self.punted + self.consumed
    }
}

/// How often `part` goes into `whole`; 0 where there is nothing to divide by.
fn ratio(whole: u64, part: u64) -> f64 {
    if part == 0 { 0.0 } else { whole as f64 / part as f64 }
}

//! Which fields of which list a table shows. JSON has all of them.

use crate::args::Stats;
use crate::table::Column;
use crate::table::Show::{Average, Count, Detail, Number, Quotient, State, Word};

pub const INTERFACES: &[Column] = &[
    ("name", Word),
    ("index", Number),
    ("port", Detail),
    ("mac", Detail),
    ("mtu", Number),
    ("up", State),
    ("addresses", Detail),
];

pub const ADDRESSES: &[Column] = &[("address", Word), ("interface", Word)];

pub const NEIGHBORS: &[Column] = &[("address", Word), ("mac", Detail), ("interface", Word)];

pub const REASONS: &[Column] = &[
    ("id", Number),
    ("name", Word),
    ("class", Detail),
    ("action", Detail),
    ("rate", Number),
    ("burst", Number),
    ("node", Detail),
    ("text", Detail),
];

const INTERFACE_STATS: &[Column] = &[
    ("name", Word),
    ("rx_packets", Count),
    ("rx_bytes", Count),
    ("rx_missed", Count),
    ("tx_packets", Count),
    ("tx_bytes", Count),
    ("tx_dropped", Count),
];

const NODE_STATS: &[Column] = &[
    ("node", Word),
    ("calls", Count),
    ("packets", Count),
    ("packets_per_call", Quotient("packets", "calls")),
    ("cycles_per_packet", Average),
];

const DROP_STATS: &[Column] = &[("node", Word), ("text", Word), ("packets", Count)];

const REASON_STATS: &[Column] = &[
    ("name", Word),
    ("class", Detail),
    ("packets", Count),
    ("bytes", Count),
    ("no_sink", Count),
    ("sampled_out", Count),
    ("action_drop", Count),
    ("refused_source", Count),
    ("refused_interface", Count),
    ("refused_reason", Count),
    ("refused_class", Count),
    ("accepted", Count),
];

const WORKER_STATS: &[Column] = &[
    ("worker", Word),
    ("lcore", Number),
    ("queues", Detail),
    ("loops", Count),
    ("idle_loops", Count),
    ("received", Count),
    ("injected", Count),
    ("transmitted", Count),
    ("dropped", Count),
    ("punted", Count),
    ("consumed", Count),
    ("in_flight", Number),
];

/// The method that answers, and the fields to show.
pub fn stats(what: Stats) -> (&'static str, &'static [Column]) {
    match what {
        Stats::Interfaces => ("stats.interfaces", INTERFACE_STATS),
        Stats::Nodes => ("stats.nodes", NODE_STATS),
        Stats::Drops => ("stats.drops", DROP_STATS),
        Stats::Reasons => ("stats.reasons", REASON_STATS),
        Stats::Workers => ("stats.workers", WORKER_STATS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punt::control::types::*;
    use serde::Serialize;

    /// Every column is a field of what the engine sends.
    fn check(columns: &[Column], row: impl Serialize) {
        let row = serde_json::to_value(row).unwrap();
        for (field, _) in columns {
            assert!(row.get(field).is_some(), "{field} is no field of {row}");
        }
    }

    #[test]
    fn columns_are_fields() {
        let address: punt::InterfaceAddress = "10.0.0.1/24".parse().unwrap();
        check(INTERFACES, InterfaceRow::default());
        check(ADDRESSES, AddressRow { address, interface: String::new() });
        check(
            NEIGHBORS,
            NeighborRow { address: address.address(), mac: Default::default(), interface: String::new() },
        );
        let reason = ReasonRow {
            id: 1,
            name: String::new(),
            class: punt::Class::Miss,
            action: punt::Action::Trap,
            rate: 1.into(),
            burst: 0,
            source_rate: None,
            interface_rate: None,
            sample: 1,
            node: String::new(),
            text: String::new(),
            counters: ReasonCounters::default(),
        };
        check(REASONS, &reason);
        check(stats(Stats::Reasons).1, &reason);
        check(stats(Stats::Interfaces).1, InterfaceStats::default());
        check(stats(Stats::Nodes).1, NodeStats::default());
        check(stats(Stats::Drops).1, DropStats::default());
        check(stats(Stats::Workers).1, WorkerStats::default());
    }
}

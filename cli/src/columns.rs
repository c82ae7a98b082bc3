//! Which fields of which list a table shows. JSON has all of them.

use crate::args::Stats;
use crate::table::Column;
use crate::table::Show::{Average, Count, Detail, Number, Quotient, State, Waits, Word};

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
    ("policer", Detail),
    ("source_rate", Number),
    ("interface_rate", Number),
    ("sample", Number),
    ("node", Detail),
    ("text", Detail),
];

pub const CLASSES: &[Column] = &[
    ("name", Word),
    ("min", Number),
    ("cap", Number),
    ("packets", Count),
    ("refused", Count),
    ("accepted", Count),
];

pub const POLICERS: &[Column] = &[
    ("what", Word),
    ("type", Detail),
    ("unit", Detail),
    ("rate", Number),
    ("burst", Number),
    ("peak", Number),
    ("excess", Number),
    ("yellow", Detail),
    ("red", Detail),
];

pub const SINKS: &[Column] = &[
    ("name", Word),
    ("target", Detail),
    ("state", Detail),
    ("life", Detail),
    ("rate", Number),
    ("burst", Number),
    ("policer", Detail),
    ("memory", Number),
    ("delivered", Count),
    ("errors", Detail),
    ("inject", Detail),
];

pub const REGISTRATIONS: &[Column] = &[
    ("id", Number),
    ("match", Word),
    ("sink", Word),
    ("life", Detail),
    ("rate", Number),
    ("burst", Number),
    ("policer", Detail),
    ("interface", Detail),
    ("source", Detail),
    ("snaplen", Number),
    ("exclusive", Detail),
    ("owner", Detail),
    ("packets", Count),
    ("refused", Count),
    ("refused_sink", Count),
    ("ring_full", Count),
    ("errors", Count),
    ("delivered", Count),
];

pub const PASSIVE: &[Column] = &[
    ("family", Word),
    ("interface", Word),
    ("sink", Detail),
    ("redirect", Detail),
    ("via", Detail),
    ("drop", Detail),
    ("rate", Number),
    ("burst", Number),
    ("policer", Detail),
    ("packets", Count),
    ("refused", Count),
    ("hits", Count),
    ("misses", Count),
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
    ("cycles_per_packet", Average("timed_packets")),
];

const DROP_STATS: &[Column] = &[("node", Word), ("text", Word), ("packets", Count)];

const REASON_STATS: &[Column] = &[
    ("name", Word),
    ("class", Detail),
    ("packets", Count),
    ("bytes", Count),
    ("copies", Count),
    ("no_sink", Count),
    ("sampled_out", Count),
    ("action_drop", Count),
    ("refused_source", Count),
    ("refused_interface", Count),
    ("refused_reason", Count),
    ("refused_class", Count),
    ("accepted", Count),
];

const SINK_STATS: &[Column] = &[
    ("name", Word),
    ("state", Detail),
    ("offered", Count),
    ("refused_registration", Count),
    ("refused_sink", Count),
    ("ring_full", Count),
    ("backlog", Number),
    ("delivered", Count),
    ("delivered_bytes", Count),
    ("truncated", Count),
    ("errors", Detail),
    ("waits", Waits),
    ("injected", Count),
    ("inject_errors", Count),
    ("foreign", Count),
    ("closed_rings", Count),
];

const SOURCE_STATS: &[Column] = &[
    ("reason", Word),
    ("interface", Word),
    ("source", Word),
    ("pps", Number),
    ("packets", Count),
    ("refused", Count),
    ("error", Number),
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
        Stats::Sinks => ("stats.sinks", SINK_STATS),
        Stats::Sources => ("stats.sources", SOURCE_STATS),
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
            rate: Some(1.into()),
            burst: Some(0),
            policer: None,
            source_rate: None,
            interface_rate: None,
            sample: 1,
            node: String::new(),
            text: String::new(),
            counters: ReasonCounters::default(),
        };
        check(REASONS, &reason);
        check(stats(Stats::Reasons).1, &reason);
        let from = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        let class: ClassRow = serde_json::from_value(from(r#"{"name":"link","min":1,"cap":2}"#)).unwrap();
        check(CLASSES, class);
        let policer = r#"{"what":"sink:s","type":"single","unit":"packets","rate":1,"burst":1,"red":"drop"}"#;
        check(POLICERS, serde_json::from_value::<PolicerRow>(from(policer)).unwrap());
        let sink = r#"{"name":"s","target":"null","state":"active"}"#;
        let sink: SinkRow = serde_json::from_value(from(sink)).unwrap();
        check(SINKS, &sink);
        check(stats(Stats::Sinks).1, &sink);
        let registration =
            r#"{"id":1,"match":"udp:1","sink":"s","life":"config","exclusive":false,"owner":"o"}"#;
        check(REGISTRATIONS, serde_json::from_value::<RegistrationRow>(from(registration)).unwrap());
        let passive = r#"{"family":"ip4","drop":true}"#;
        check(PASSIVE, serde_json::from_value::<PassiveRow>(from(passive)).unwrap());
        let source = r#"{"reason":"l2.lacp","interface":"wan","packets":1,"refused":0}"#;
        check(stats(Stats::Sources).1, serde_json::from_value::<SourceRow>(from(source)).unwrap());
        check(stats(Stats::Interfaces).1, InterfaceStats::default());
        check(stats(Stats::Nodes).1, NodeStats::default());
        check(stats(Stats::Drops).1, DropStats::default());
        check(stats(Stats::Workers).1, WorkerStats::default());
    }
}

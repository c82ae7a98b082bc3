//! Captures in, captures out: every packet of mixed traffic meets its fate, and only that.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use tempfile::TempDir;
use tests::engine::{Engine, Launch, sent};
use tests::plan::{self, Port};
use tests::traffic::{self, Case};

/// Control and forwarding on one lcore.
const ALONE: &str = "0";
/// One lcore for control, one worker.
const ONE: &str = "0@0,1@1";
/// One lcore for control, two workers.
const TWO: &str = "0@0,1@0,2@1";

#[test]
fn one_of_each_exception_on_a_single_lcore() {
    forwards(&traffic::one_of_each(1), ALONE);
}

#[test]
fn mixed_traffic_on_a_single_lcore() {
    forwards(&traffic::mix(20_000, 2), ALONE);
}

#[test]
fn mixed_traffic_with_one_worker() {
    forwards(&traffic::mix(20_000, 3), ONE);
}

/// A port has one queue to send, so one of two workers sends for both. Less than the ring between them holds, however long that one is away.
#[test]
fn mixed_traffic_with_two_workers() {
    forwards(&traffic::mix(1_500, 4), TWO);
}

/// What the ring between two workers does not hold is dropped, and counted: nothing else may be missing.
#[test]
fn more_traffic_than_the_ring_between_two_workers_holds() {
    let cases = traffic::mix(20_000, 4);
    let engine = start(&cases, |launch| launch.lcores(TWO));
    engine.received(cases.len() as u64);
    engine.until("every packet has its verdict", |engine| engine.json("audit")["in_flight"] == 0);
    let expected = traffic::totals(&cases);
    reasons(&engine, &expected);
    let full = engine.drops("ring to the port's owner is full");
    let audit = engine.json("audit");
    assert_eq!(audit["dropped"], sum(&expected["dropped"]) + full, "{audit}");
    assert_eq!(audit["transmitted"], sum(&expected["transmitted"]) - full, "{audit}");
    let files = engine.finish();
    let missing = Port::ALL.map(|port| in_order(&cases, port, &files).len() as u64);
    assert_eq!(missing.iter().sum::<u64>(), full);
}

#[test]
fn mixed_traffic_in_bursts_of_one() {
    let cases = traffic::mix(5_000, 5);
    check(start(&cases, |launch| launch.lcores(ONE).option("--burst=1")), &cases);
}

#[test]
fn mixed_traffic_in_bursts_of_256() {
    let cases = traffic::mix(20_000, 6);
    check(start(&cases, |launch| launch.lcores(ONE).option("--burst=256")), &cases);
}

/// Sends the packets through a router on these lcores, and looks at everything that comes of it.
fn forwards(cases: &[Case], lcores: &str) {
    check(start(cases, |launch| launch.lcores(lcores)), cases);
}

/// A router whose ports receive the packets from captures and send into captures.
fn start(cases: &[Case], with: impl FnOnce(Launch) -> Launch) -> Engine {
    let frames = |port| cases.iter().filter(move |case| case.port == port).map(|case| &case.frame[..]);
    let launch = Launch::new().config(plan::config("net_pcap0", "net_pcap1"));
    with(launch.captures(Port::ALL.map(frames))).start()
}

fn check(engine: Engine, cases: &[Case]) {
    engine.received(cases.len() as u64);
    let expected = traffic::totals(cases);
    engine.until("every packet has its verdict", |engine| engine.json("audit")["in_flight"] == 0);
    reasons(&engine, &expected);
    drops(&engine, &expected);
    interfaces(&engine, cases, &expected);
    let audit = engine.json("audit");
    for field in ["transmitted", "punted", "dropped"] {
        assert_eq!(audit[field], sum(&expected[field]), "{field}: {audit}");
    }
    let files = engine.finish();
    for port in Port::ALL {
        let missing = in_order(cases, port, &files);
        assert!(missing.is_empty(), "{} has not sent {missing:?}", port.interface());
    }
}

fn sum(totals: &Value) -> u64 {
    let packets = |total: &Value| total.as_u64().or(total["packets"].as_u64()).unwrap();
    match totals {
        Value::Array(items) => items.iter().map(packets).sum(),
        totals => totals.as_object().unwrap().values().map(packets).sum(),
    }
}

/// Each reason has counted the packets it should have, and accounts for each of them.
fn reasons(engine: &Engine, expected: &Value) {
    let rows = engine.json("stats reasons");
    let rows = rows.as_array().unwrap();
    let number =
        |row: &Value, field: &str| row[field].as_u64().unwrap_or_else(|| panic!("no {field}: {row}"));
    let counted: BTreeMap<&str, u64> = rows
        .iter()
        .map(|row| (row["name"].as_str().unwrap(), number(row, "packets")))
        .filter(|(_, packets)| *packets > 0)
        .collect();
    let mut punted = expected["punted"].as_object().unwrap().clone();
    punted.extend(expected["copied"].as_object().unwrap().clone());
    assert_eq!(serde_json::to_value(counted).unwrap(), Value::Object(punted), "punted or copied by reason");
    for row in rows {
        let fates = ["no_sink", "sampled_out", "action_drop", "accepted"];
        let refused = ["refused_source", "refused_interface", "refused_reason", "refused_class"];
        let fates: u64 = fates.iter().chain(&refused).map(|field| number(row, field)).sum();
        assert_eq!(number(row, "packets"), fates, "{row}");
    }
}

/// Each text has counted the packets it should have.
fn drops(engine: &Engine, expected: &Value) {
    let rows = engine.json("stats drops");
    let counted = rows.as_array().unwrap().iter().filter(|row| row["packets"] != 0).map(drop_row);
    let expected = expected["dropped"].as_array().unwrap().iter().map(drop_row);
    assert_eq!(counted.collect::<BTreeMap<_, _>>(), expected.collect::<BTreeMap<_, _>>(), "dropped by text");
}

fn drop_row(row: &Value) -> ((&str, &str), u64) {
    let word = |field: &str| row[field].as_str().unwrap();
    ((word("node"), word("text")), row["packets"].as_u64().unwrap())
}

/// Each interface has counted what came in and went out.
fn interfaces(engine: &Engine, cases: &[Case], expected: &Value) {
    for port in Port::ALL {
        let received: Vec<_> = cases.iter().filter(|case| case.port == port).collect();
        let bytes: usize = received.iter().map(|case| case.frame.len()).sum();
        let name = port.interface();
        assert_eq!(engine.interface(name, "rx_packets"), received.len() as u64, "packets received on {name}");
        assert_eq!(engine.interface(name, "rx_bytes"), bytes as u64, "bytes received on {name}");
    }
    let tagged = |case: &&Case| case.frame.get(12..16) == Some(&[0x81, 0x00, 0, 100]);
    assert_eq!(
        engine.interface("lan.100", "rx_packets"),
        cases.iter().filter(tagged).count() as u64,
        "packets received on lan.100"
    );
    // A port's own interface counts what goes out with tags, too, as it does with what comes in.
    let transmitted = expected["transmitted"].as_object().unwrap();
    let with_tagged = |port: &str| {
        let is_of =
            |name: &str| name == port || name.strip_prefix(port).is_some_and(|tag| tag.starts_with('.'));
        let of = transmitted.iter().filter(|(name, _)| is_of(name));
        of.map(|(_, packets)| packets.as_u64().unwrap()).sum::<u64>()
    };
    for interface in transmitted.keys() {
        assert_eq!(engine.interface(interface, "tx_packets"), with_tagged(interface), "sent on {interface}");
        assert_eq!(engine.interface(interface, "tx_dropped"), 0, "not sent on {interface}");
    }
}

/// The port has sent what it should have, byte for byte, each flow in its order, and nothing else. Returns what it has not sent.
fn in_order(cases: &[Case], port: Port, files: &TempDir) -> Vec<&'static str> {
    let mut expected = HashMap::<Vec<u8>, Vec<usize>>::new();
    for (index, case) in cases.iter().enumerate() {
        if let Some((egress, frame)) = case.sent()
            && egress == port
        {
            expected.entry(frame).or_default().push(index);
        }
    }
    let mut last = HashMap::new();
    for frame in sent(files, port) {
        let Some(index) = expected.get_mut(&frame).and_then(|cases| match cases.len() {
            0 => None,
            _ => Some(cases.remove(0)),
        }) else {
            panic!("{} sent a frame that nobody expects: {frame:02x?}", port.interface());
        };
        if let Some(flow) = cases[index].flow {
            let before = last.insert(flow, index);
            assert!(before < Some(index), "packet {index} of flow {flow} came after packet {before:?}");
        }
    }
    expected.values().flatten().map(|index| cases[*index].about).collect()
}

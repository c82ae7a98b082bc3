//! Shared memory through a whole engine: clients that do what they should not, while it forwards and punts as fast as it can.

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tests::capture;
use tests::engine::{Engine, Launch};
use tests::packets::{self, from, router4, udp};
use tests::plan::{self, HOST, Port};

/// A router that gets the same packets again and again: of five, four go through it and one goes to `shm:`, and to a sink that only counts.
fn start() -> Engine {
    let mut launch = Launch::new();
    let host: Ipv4Addr = HOST.ip4.parse().expect("an address");
    let to = |address: Ipv4Addr, port| from(&HOST, &udp(packets::ip4(host, address), 4000, port, &[7; 40]));
    let frames: Vec<Vec<u8>> = (0..50u16)
        .map(|number| match number % 5 {
            0 => to(router4(Port::Lan), 5000),
            _ => to(Ipv4Addr::new(10, 2, 0, number as u8), number),
        })
        .collect();
    let lan = launch.file("lan.pcap");
    capture::write(&lan, frames.iter().map(Vec::as_slice)).expect("there is room for a capture");
    launch = launch.vdev(format!("net_pcap0,rx_pcap={},infinite_rx=1", lan.display()));
    let config = plan::config("net_pcap0", "net_null0")
        + "\n[punt]\nbudget = \"unlimited\"\n[class.mgmt]\ncap = \"unlimited\"\n";
    let engine = launch.vdev("net_null0,no-rx=1").config(config).start();
    engine.ok(&format!("sink add fast shm:{}", engine.file("fast").display()));
    engine.ok("sink add other null");
    for sink in ["fast", "other"] {
        engine.ok(&format!("register udp:5000 --sink {sink} --rate unlimited"));
    }
    engine
        .ok("reason set local.udp-5000 --rate unlimited --source-rate unlimited --interface-rate unlimited");
    engine
}

/// A client that does `what`, as `punt/tests/hostile_shm.py` has it.
fn client(engine: &Engine, what: &str) -> Child {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../punt/tests/hostile_shm.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(engine.file("fast")).arg(what).stdout(Stdio::piped());
    command.spawn().expect("python3 runs")
}

/// Its last line, once it has ended; while it does, packets are forwarded.
fn run(engine: &Engine, what: &str) -> String {
    let forwarded = |engine: &Engine| engine.interface("wan", "tx_packets");
    let before = forwarded(engine);
    let output = client(engine, what).wait_with_output().expect("it ends");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success() != what.starts_with("killed"), "{what}: {said}");
    let now = forwarded(engine);
    assert!(now > before, "{what}: nothing was forwarded meanwhile");
    engine.until("it goes on after that", |engine| forwarded(engine) > now);
    said.lines().last().unwrap_or_default().to_owned()
}

fn row(engine: &Engine, sink: &str) -> Value {
    let rows = engine.json("sink list");
    rows.as_array().expect("rows").iter().find(|row| row["name"] == sink).expect("the sink").clone()
}

fn number(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_else(|| panic!("{field} of {row}"))
}

#[test]
fn no_client_of_shared_memory_hurts_the_engine() {
    let engine = start();
    let fast = row(&engine, "fast");
    assert_eq!(
        (&fast["state"], &fast["inject"]),
        (&"suspended".into(), &engine.file("fast").display().to_string().into())
    );
    assert!(number(&fast, "memory") >= 512 << 10, "{fast}");
    engine.until("what comes before anybody is there is counted", |engine| {
        number(&row(engine, "fast")["errors"], "ENOTCONN") > 1000
    });
    for (what, end) in [
        ("honest", "honest done"),
        ("seals", "again punch Operation not permitted"),
        ("holes", "holes done"),
        ("honest", "honest done"),
        ("indices", "indices 32"),
        ("honest", "honest done"),
        ("thousand", "thousand done"),
        ("nonsense", "nonsense done"),
        ("killed_connected", ""),
        ("killed_with_files", ""),
        ("killed_reading", ""),
        ("killed_asleep", ""),
        ("killed_sending", ""),
        ("honest", "honest done"),
    ] {
        assert_eq!(run(&engine, what), end);
    }
    let fast = row(&engine, "fast");
    assert!(number(&fast, "closed_rings") >= 32 && number(&fast, "delivered") >= 8000, "{fast}");
    assert_eq!((number(&fast, "inject_errors"), number(&fast, "injected")), (20_004, 0), "{fast}");

    let mut stuck = client(&engine, "never_reads");
    engine.until("it is stuck", |engine| row(engine, "fast")["state"] == "stuck");
    stuck.kill().and_then(|()| stuck.wait()).expect("killed");
    engine.until("it is gone", |engine| row(engine, "fast")["state"] == "suspended");
    assert_eq!(run(&engine, "honest"), "honest done");

    // Nothing more comes, and every packet that was offered has ended somewhere.
    for registration in engine.json("registration list").as_array().expect("rows") {
        engine.ok(&format!("unregister {}", registration["id"]));
    }
    engine.until("nothing is under way", |engine| {
        ["fast", "other"].iter().all(|sink| number(&row(engine, sink), "backlog") == 0)
    });
    for sink in ["fast", "other"] {
        let row = row(&engine, sink);
        let errors: u64 = row["errors"].as_object().expect("errors").values().filter_map(Value::as_u64).sum();
        let ends = ["refused_registration", "refused_sink", "ring_full", "delivered"];
        assert_eq!(
            number(&row, "offered"),
            errors + ends.map(|end| number(&row, end)).iter().sum::<u64>(),
            "{row}"
        );
        assert_eq!(errors > 0, sink == "fast", "{row}");
    }
    assert!(number(&row(&engine, "fast"), "ring_full") > 0);
    engine.ok("sink del fast");
    assert!(!engine.file("fast").exists());
    engine.finish_busy();
}

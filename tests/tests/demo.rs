//! What `scripts/demo` shows of punting, in small: two clients and a capture that share reasons, and a slow path for what nobody asked for.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pcap_file::pcapng::{Block, PcapNgReader};
use serde_json::Value;
use tests::engine::{Engine, Launch, binary};
use tests::plan::{self, Port};
use tests::{capture, traffic};

/// Limits that the slowest machine can follow, so that nothing is lost behind them.
const PUNTING: &str = r#"
[[sink]]
name = "capture"
target = "pcapng:exceptions.pcapng"
[[sink]]
name = "slow-path"
target = "null"
[[register]]
match = "reason:ip4.ttl-expired"
sink = "capture"
[[passive]]
family = "ip4"
sink = "slow-path"
rate = 100
[reason."local.bfd"]
rate = 100
burst = 50
[reason."local.ospf"]
rate = 100
burst = 50
[reason."ip4.ttl-expired"]
rate = 100
burst = 50
"#;

/// A router through which the same packets go again and again.
fn start() -> Engine {
    let mut launch = Launch::new();
    let cases = traffic::mix(2_000, 1);
    for (index, port) in Port::ALL.into_iter().enumerate() {
        let file = launch.file(port.interface()).with_extension("pcap");
        let frames = cases.iter().filter(|case| case.port == port).map(|case| &case.frame[..]);
        capture::write(&file, frames).expect("there is room for a capture");
        launch = launch.vdev(format!("net_pcap{index},rx_pcap={},infinite_rx=1", file.display()));
    }
    let directory = launch.file("captures");
    let punt = format!("\n[punt]\ndirectory = \"{}\"\n{PUNTING}", directory.display());
    launch.config(plan::config("net_pcap0", "net_pcap1") + &punt).start()
}

/// A client that asks for these packets.
fn client(engine: &Engine, name: &str, wanted: &[&str]) -> Child {
    Command::new(binary("examples/punt-watch"))
        .arg("--quiet")
        .arg(engine.file(name).with_extension("sock"))
        .args(wanted)
        .env("PUNTD_SOCKET", engine.socket())
        .stdout(Stdio::piped())
        .spawn()
        .expect("punt-watch can be started")
}

/// Ends a client; what it says of all that it got.
fn end(client: Child) -> String {
    kill(Pid::from_raw(client.id() as i32), Signal::SIGTERM).expect("the client runs");
    let output = client.wait_with_output().expect("the client ends");
    assert!(output.status.success(), "punt-watch ended with {}", output.status);
    let said = String::from_utf8(output.stdout).expect("it speaks UTF-8");
    said.lines().last().unwrap_or_default().to_owned()
}

/// The comments of a capture's packets.
fn comments(file: &Path) -> Vec<String> {
    let mut reader = PcapNgReader::new(File::open(file).expect("it is there")).expect("it is a capture");
    let mut comments = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.expect("a whole block") {
            comments.push(format!("{:?}", packet.options));
        }
    }
    comments
}

#[test]
fn everybody_gets_what_they_asked_for() {
    let engine = start();
    let routing = client(&engine, "routing", &["proto:ospf", "udp:3784"]);
    let bfdd = client(&engine, "bfdd", &["udp:3784", "reason:ip4.ttl-expired"]);
    engine.until("both clients have registered", |engine| {
        engine.json("registration list").as_array().map(Vec::len) == Some(5)
    });
    for sink in ["routing", "bfdd", "capture", "slow-path"] {
        engine.until(&format!("{sink} has got a hundred packets"), |engine| {
            engine.number("stats sinks", "name", sink, "delivered") >= 100
        });
        for lost in ["refused_registration", "refused_sink", "ring_full"] {
            assert_eq!(engine.number("stats sinks", "name", sink, lost), 0, "{lost} of {sink}");
        }
    }
    for reason in ["local.bfd", "ip4.ttl-expired", "ip4.unclaimed"] {
        let count = |field| engine.number("stats reasons", "name", reason, field);
        let accepted = count("accepted");
        assert!(0 < accepted && accepted < count("packets"), "{reason} has a limit");
    }
    // A client ends as it should although somebody has ended a registration of its own.
    let registrations = engine.json("registration list");
    let its = |row: &&Value| row["sink"] == "bfdd" && row["match"] == "udp:3784";
    let id = registrations.as_array().and_then(|rows| rows.iter().find(its)).map(|row| row["id"].clone());
    engine.ok(&format!("unregister {}", id.expect("bfdd has registered")));
    for (client, reasons) in
        [(routing, ["local.bfd", "local.ospf"]), (bfdd, ["local.bfd", "ip4.ttl-expired"])]
    {
        let said = end(client);
        assert!(said.contains(" records, no gaps ("), "{said}");
        assert!(reasons.iter().all(|reason| said.contains(reason)), "{said}");
    }
    // Who has gone leaves nothing behind.
    assert_eq!(engine.json("sink list").as_array().map(Vec::len), Some(2));
    assert_eq!(engine.json("registration list").as_array().map(Vec::len), Some(1));
    let files = engine.finish_busy();
    let comments = comments(&files.path().join("captures/exceptions.pcapng"));
    assert!(comments.len() >= 100, "{} packets", comments.len());
    assert!(
        comments.iter().all(|comment| comment.contains("ip4.ttl-expired class except")),
        "{}",
        comments[0]
    );
}

//! A TAP sink: the router's own kernel speaks for an interface of the router.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::Value;
use tests::engine::{Engine, Launch, PATIENCE};
use tests::namespace::{Lab, Namespace};
use tests::plan::{self, HOST, Port, UPSTREAM, words};

/// What the sink and its registrations are in a configuration.
const SINK: &str = r#"
[[sink]]
name = "kernel"
target = "tap:punt0?interface=lan"
"#;

/// What the kernel is to get of what comes in by `lan`.
const MATCHES: [&str; 3] = ["ethertype:0x0806", "icmp:8", "tcp:179"];

/// Hosts on cables to a router, whose kernel has the router's address on the TAP.
fn tapped() -> Option<(Lab, Engine)> {
    let lab = Lab::new()?;
    lab.cable();
    lab.address(&HOST, &UPSTREAM);
    // What comes in by the cable is the router's, not its kernel's.
    lab.router.set("net/ipv4/conf/lan/arp_ignore", "8");
    let mut config = format!("{}{SINK}", plan::config("net_af_packet0", "net_af_packet1"));
    for wanted in MATCHES {
        config += &format!("[[register]]\nmatch = \"{wanted}\"\nsink = \"kernel\"\ninterface = \"lan\"\n");
    }
    let engine = Launch::new()
        .inside(&lab.router)
        .lcores("0@0,1@1")
        .vdev("net_af_packet0,iface=lan")
        .vdev("net_af_packet1,iface=wan")
        .config(config)
        .start();
    lab.router.ip("addr add 10.0.0.1/24 dev punt0");
    Some((lab, engine))
}

/// What the kernel knows of an interface; `None` if it is not there.
fn link(namespace: &Namespace, name: &str) -> Option<Value> {
    let output = namespace.command(&format!("ip -s -j link show {name}"));
    let rows: Value = serde_json::from_slice(&output.stdout).ok()?;
    rows.get(0).cloned()
}

fn pings(host: &Namespace, words: &str) -> bool {
    host.command(&format!("ping -q {words} 10.0.0.1")).status.success()
}

fn sink(engine: &Engine) -> Value {
    engine.json("sink list")[0].clone()
}

fn state(engine: &Engine) -> Value {
    sink(engine)["state"].clone()
}

#[test]
fn a_kernel_answers_pings_and_tcp_for_the_routers_interface() {
    let Some((lab, engine)) = tapped() else { return };
    engine.until("it has the interface's MAC and MTU", |engine| {
        let tap = link(&lab.router, "punt0").expect("it is there");
        tap["address"] == words(Port::Lan.mac()).as_str() && tap["mtu"] == engine.interface("lan", "mtu")
    });
    assert!(pings(&lab.host, "-c 5 -i 0.05 -w 30"));

    // As a BGP daemon that listens on the router's address.
    let listener = lab.router.enter(|| TcpListener::bind("10.0.0.1:179")).expect("nobody else is there");
    let echo = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a peer");
        let mut said = Vec::new();
        stream.read_to_end(&mut said).expect("what it says");
        stream.write_all(&said).expect("it listens");
    });
    let said: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    let mut stream = lab.host.enter(|| TcpStream::connect("10.0.0.1:179")).expect("somebody is there");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.write_all(&said).expect("it listens");
    stream.shutdown(std::net::Shutdown::Write).expect("a socket");
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).expect("what it says");
    echo.join().expect("it has not panicked");
    assert!(heard == said, "{} of {} bytes came back, or others", heard.len(), said.len());

    // The kernel and the engine count the same, both ways.
    let kernel = |way: &str| {
        link(&lab.router, "punt0").expect("it is there")["stats64"][way]["packets"]
            .as_u64()
            .expect("a number")
    };
    engine.until("all is counted", |engine| {
        let sink = sink(engine);
        sink["delivered"] == kernel("rx") && sink["injected"] == kernel("tx")
    });
    let sink = sink(&engine);
    assert_eq!((&sink["inject"], &sink["state"]), (&"punt0".into(), &"active".into()));
    assert_eq!((&sink["errors"], &sink["inject_errors"]), (&serde_json::json!({}), &0.into()));
    engine.finish();
    assert!(link(&lab.router, "punt0").is_none(), "it goes with the engine");
}

#[test]
fn a_tap_that_is_down_or_taken_away_is_waited_for() {
    let Some((lab, engine)) = tapped() else { return };
    lab.router.ip("link set punt0 down");
    assert!(!pings(&lab.host, "-c 1 -W 1"));
    engine.until("it is found down", |engine| state(engine) == "suspended");
    assert_eq!(sink(&engine)["errors"], serde_json::json!({ "ENETDOWN": 1 }));
    lab.router.ip("link set punt0 up");
    engine.until("it is found up", |engine| state(engine) == "active");
    assert!(pings(&lab.host, "-c 5 -i 0.05 -w 30"));

    let before = link(&lab.router, "punt0").expect("it is there")["ifindex"].clone();
    lab.router.ip("link del punt0");
    engine.until("it is made anew", |_| {
        link(&lab.router, "punt0")
            .is_some_and(|tap| tap["ifindex"] != before && tap["address"] == words(Port::Lan.mac()).as_str())
    });
    lab.router.ip("addr add 10.0.0.1/24 dev punt0");
    engine.until("it is found again", |engine| state(engine) == "active");
    assert!(pings(&lab.host, "-c 5 -i 0.05 -w 30"));
    engine.finish();
}

#[test]
fn a_name_that_the_host_uses_otherwise_is_refused() {
    let Some((lab, engine)) = tapped() else { return };
    let refused = engine.refused("sink add other tap:lan");
    assert!(refused.contains("tap:lan") && refused.contains("that is no TAP; name another"), "{refused}");
    let refused = engine.refused("sink add other tap:punt0");
    assert!(refused.contains("kernel"), "{refused}");
    engine.ok("sink add other tap:punt1");
    assert!(link(&lab.router, "punt1").is_some());
    engine.ok("sink del other");
    assert!(link(&lab.router, "punt1").is_none());
    engine.finish();
}

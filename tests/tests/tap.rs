//! A TAP sink: the router's own kernel speaks for an interface of the router.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::Value;
use tests::bird::Bird;
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
const MATCHES: [&str; 4] = ["ethertype:0x0806", "icmp:8", "tcp:179/any", "proto:ospf"];

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
fn a_routing_daemon_that_knows_nothing_of_us_speaks_bgp_and_ospf_for_the_routers_interface() {
    let Some((lab, engine)) = tapped() else { return };
    let start = |namespace, id, interface, bgp, announced| {
        Bird::start(
            namespace,
            &format!(
                r#"
                router id {id};
                protocol device {{ scan time 1; }}
                protocol static {{ ipv4; route {announced}.0/24 blackhole; }}
                protocol static lost {{ ipv4 {{ preference 1; }}; route {announced}.128/25 blackhole; }}
                protocol bgp peer {{
                    {bgp}; connect delay time 1; connect retry time 1; hold time 30;
                    ipv4 {{ import all; export where source = RTS_STATIC && net.len = 24; }};
                }}
                protocol ospf v2 {{
                    ipv4 {{ import all; export where source = RTS_STATIC && net.len = 25; }};
                    area 0 {{ interface "{interface}" {{ hello 1; wait 2; dead count 20; }}; }};
                }}
                "#
            ),
        )
    };
    let ours = "local 10.0.0.1 as 65001; neighbor 10.0.0.10 as 65010";
    let theirs = "local 10.0.0.10 as 65010; neighbor 10.0.0.1 as 65001";
    let Some(router) = start(&lab.router, "10.0.0.1", "punt0", ours, "203.0.113") else { return };
    let Some(peer) = start(&lab.host, "10.0.0.10", "eth0", theirs, "198.51.100") else { return };
    let heard = |said: &str, prefix: &str, by: &str| {
        said.lines().any(|line| line.starts_with(prefix) && line.contains(by))
    };
    for (bird, prefix) in [(&router, "198.51.100"), (&peer, "203.0.113")] {
        bird.until("show route", |said| heard(said, &format!("{prefix}.0/24"), "[peer"));
        bird.until("show route", |said| heard(said, &format!("{prefix}.128/25"), "[ospf"));
    }
    for bird in [router, peer] {
        bird.stop();
    }
    assert!(engine.reason("local.ospf@4") > 5 && engine.reason("local.bgp@3") > 5);
    engine.finish();
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

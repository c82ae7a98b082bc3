//! Routing daemons that are not ours: BIRD on a host talks to what lives behind a sink, or behind the passive punt.

use std::collections::BTreeMap;
use std::time::Instant;

use punt::client::{Client, Session};
use punt::record::Header;
use tests::bfd::{Responder, State};
use tests::bird::Bird;
use tests::engine::{Engine, Launch, PATIENCE};
use tests::namespace::{Lab, Namespace};
use tests::outgoing::Outgoing;
use tests::plan::{self, HOST, UPSTREAM};

/// Hosts on cables to a router with one worker, with `more` in its configuration and on its command line.
fn cabled(lab: &Lab, more: &str, vdev: Option<&str>) -> Engine {
    lab.cable();
    lab.address(&HOST, &UPSTREAM);
    let config = format!("{}{more}", plan::config("net_af_packet0", "net_af_packet1"));
    let launch = Launch::new()
        .inside(&lab.router)
        .lcores("0@0,1@1")
        .vdev("net_af_packet0,iface=lan")
        .vdev("net_af_packet1,iface=wan")
        .config(config);
    vdev.into_iter().fold(launch, Launch::vdev).start()
}

/// A client with a sink of its own that gets what these match.
fn client(engine: &Engine, matches: &[&str]) -> (Client, Session) {
    let address = engine.file("peer.sock");
    let mut client = Client::bind(address.to_str().expect("a path")).expect("the path is free");
    let mut session = Session::open(engine.socket(), "peer", &mut client).expect("the engine is there");
    for wanted in matches {
        session.register(wanted.parse().expect("a match")).expect("nobody is in the way");
    }
    (client, session)
}

/// The name of a reason.
fn reasons(engine: &Engine) -> BTreeMap<u32, String> {
    let rows = engine.json("reason list");
    let row = |row: &serde_json::Value| {
        (row["id"].as_u64().expect("an id") as u32, row["name"].as_str().expect("a name").to_owned())
    };
    rows.as_array().expect("a list").iter().map(row).collect()
}

/// The numbers of one class go on without a gap.
fn gapless(records: &[(Header, Vec<u8>)]) {
    let mut next = BTreeMap::new();
    for (header, _) in records {
        let expected = next.entry(header.class).or_insert(0);
        assert_eq!((header.sequence, header.lost), (*expected, 0), "class {}", header.class);
        *expected += 1;
    }
}

#[test]
fn a_bfd_session_comes_up_with_who_answers_by_injecting_and_goes_down_without() {
    let Some(lab) = Lab::new() else { return };
    let engine = cabled(&lab, "", None);
    let (mut client, session) = client(&engine, &["udp:3784"]);
    let Some(bird) = Bird::start(
        &lab.host,
        r#"
        router id 10.0.0.10;
        protocol device { scan time 1; }
        protocol bfd {
            interface "eth0" { interval 200 ms; multiplier 10; };
            neighbor 10.0.0.1 dev "eth0" local 10.0.0.10;
        }
        "#,
    ) else {
        return;
    };
    let up = |bird: &Bird| {
        bird.says("show bfd sessions")
            .lines()
            .any(|line| line.starts_with("10.0.0.1 ") && line.split_whitespace().any(|word| word == "Up"))
    };
    let (mut responder, mut records) = (Responder::default(), Vec::new());
    let deadline = Instant::now() + PATIENCE;
    while responder.state() != State::Up || !up(&bird) {
        records.extend(responder.turn(&mut client));
        assert!(Instant::now() < deadline, "the session stays {:?}", responder.state());
    }
    let so_far = records.len();
    while records.len() < so_far + 20 {
        records.extend(responder.turn(&mut client));
        assert!(Instant::now() < deadline, "BIRD falls silent");
    }

    // Nobody answers any more: BIRD notices, and takes the next one who does.
    bird.until("show bfd sessions", |said| said.contains("Down"));
    let mut responder = Responder::default();
    let deadline = Instant::now() + PATIENCE;
    while responder.state() != State::Up || !up(&bird) {
        records.extend(responder.turn(&mut client));
        assert!(Instant::now() < deadline, "the session stays {:?}", responder.state());
    }
    bird.stop();
    // The socket holds a few datagrams, so what waits behind them comes only as they are read.
    let deadline = Instant::now() + PATIENCE;
    while records.len() as u64 != engine.reason("local.bfd") {
        records.extend(responder.turn(&mut client));
        assert!(Instant::now() < deadline, "{} records and no more", records.len());
    }
    gapless(&records);
    let (names, lan) = (reasons(&engine), engine.interface("lan", "index") as u32);
    assert!(
        records.iter().all(|(header, _)| names[&header.reason] == "local.bfd" && header.interface == lan)
    );
    let count = records.len() as u64;
    engine.until("every answer went in", |engine| engine.json("audit")["injected"] == count);
    let row = &engine.json("sink list")[0];
    assert_eq!((&row["delivered"], &row["injected"]), (&count.into(), &count.into()), "{row}");
    assert_eq!((&row["inject_errors"], &row["foreign"]), (&0.into(), &0.into()), "{row}");
    session.close().expect("the engine is there");
    engine.finish();
}

#[test]
fn what_a_routing_daemon_sends_arrives_byte_for_byte() {
    let Some(lab) = Lab::new() else { return };
    let engine = cabled(&lab, "", None);
    let (mut client, session) =
        client(&engine, &["proto:ospf", "tcp:179", "udp:3784", "udp:520", "udp:521", "udp:6696"]);
    let mut outgoing = Outgoing::of(&lab.host);
    let Some(bird) = Bird::start(
        &lab.host,
        r#"
        router id 10.0.0.10;
        protocol device { scan time 1; }
        protocol direct { ipv4; ipv6; }
        protocol bfd { neighbor 10.0.0.1 dev "eth0" local 10.0.0.10; neighbor fd00:a::1 dev "eth0" local fd00:a::10; }
        protocol ospf v2 { ipv4 {}; area 0 { interface "eth0" { hello 1; }; }; }
        protocol ospf v3 { ipv6 {}; area 0 { interface "eth0" { hello 1; }; }; }
        protocol rip { ipv4 {}; interface "eth0" { update time 2; }; }
        protocol rip ng { ipv6 {}; interface "eth0" { update time 2; }; }
        protocol babel { ipv4 {}; ipv6 {}; interface "eth0" { type wired; hello interval 1 s; }; }
        protocol bgp four { local 10.0.0.10 as 65010; neighbor 10.0.0.1 as 65001; ipv4 { import all; export none; }; connect delay time 1; }
        protocol bgp six { local fd00:a::10 as 65010; neighbor fd00:a::1 as 65001; ipv6 { import all; export none; }; connect delay time 1; }
        "#,
    ) else {
        return;
    };
    const REASONS: [&str; 6] =
        ["local.ospf", "local.bgp", "local.bfd", "local.rip", "local.ripng", "local.babel"];
    engine.until("BIRD has sent some of everything", |engine| {
        // RIP has nothing to tell and asks once.
        REASONS.iter().all(|reason| engine.reason(reason) >= if reason.contains("rip") { 1 } else { 3 })
    });
    bird.stop();

    let sent: Vec<_> = outgoing.frames().into_iter().filter(|frame| is_of_a_daemon(frame)).collect();
    client.set_timeout(Some(PATIENCE)).expect("it is not zero");
    let mut records = Vec::new();
    while records.len() < sent.len() {
        let received = client.receive().expect("all that was sent arrives");
        records.extend(received.map(|record| (record.header, record.frame.to_vec())));
    }
    gapless(&records);
    let names = reasons(&engine);
    let mut counts = BTreeMap::new();
    for (header, _) in &records {
        *counts.entry(names[&header.reason].as_str()).or_insert(0) += 1;
    }
    for reason in REASONS {
        assert_eq!(engine.reason(reason), counts[reason], "{reason}");
    }
    assert_eq!(counts.len(), REASONS.len(), "{counts:?}");
    let ttl = |frame: &[u8]| if frame[12] == 8 { frame[22] } else { frame[21] };
    let of = |reason: &str| {
        let of = records.iter().filter(|(header, _)| names[&header.reason] == reason);
        of.map(|(_, frame)| frame.clone()).collect::<Vec<_>>()
    };
    assert!(of("local.bfd").iter().all(|frame| ttl(frame) == 255));
    assert!(of("local.ospf").iter().any(|frame| frame[..6] == [1, 0, 0x5e, 0, 0, 5]), "hellos to 224.0.0.5");
    assert!(of("local.ospf").iter().any(|frame| frame[..6] == [0x33, 0x33, 0, 0, 0, 5]), "hellos to ff02::5");
    let mut received: Vec<_> = records.into_iter().map(|(_, frame)| frame).collect();
    let mut sent = sent;
    received.sort();
    sent.sort();
    assert!(
        received == sent,
        "{} frames were received, and they are not the {} sent",
        received.len(),
        sent.len()
    );
    session.close().expect("the engine is there");
    engine.finish();
}

/// Whether a frame is of one of the protocols that the client asked for.
fn is_of_a_daemon(frame: &[u8]) -> bool {
    let (protocol, l4) = match frame[12..14] {
        [0x08, 0x00] => (frame[23], 14 + (frame[14] & 15) as usize * 4),
        [0x86, 0xdd] => (frame[20], 54),
        _ => return false,
    };
    let port = frame.get(l4 + 2..l4 + 4).map_or(0, |port| u16::from_be_bytes([port[0], port[1]]));
    match protocol {
        89 => true,
        6 => port == 179,
        17 => [3784, 520, 521, 6696].contains(&port),
        _ => false,
    }
}

#[test]
fn two_daemons_speak_bgp_through_the_passive_punt() {
    let Some(lab) = Lab::new() else { return };
    let Some(control) = Namespace::new() else { return };
    // What nobody claimed goes out of a TAP device to whoever has our addresses there.
    let engine = cabled(
        &lab,
        r#"
[interface.ctl]
port = "net_tap0"
mac = "02:00:00:00:0c:01"
addresses = ["10.255.0.1/24"]

[[neighbor]]
address = "10.255.0.2"
mac = "02:00:00:00:0c:02"
interface = "ctl"

[[passive]]
family = "ip4"
redirect = "ctl"
via = "10.255.0.2"
"#,
        Some("net_tap0,iface=ctl"),
    );
    lab.router.ip(&format!("link set ctl netns {} name eth0", control.name()));
    control.set("net/ipv6/conf/all/disable_ipv6", "1");
    for words in [
        "link set eth0 address 02:00:00:00:0c:02 up",
        "addr add 10.255.0.2/24 dev eth0",
        "addr add 10.0.0.1/32 dev lo",
        "neigh replace 10.255.0.1 lladdr 02:00:00:00:0c:01 dev eth0 nud permanent",
        "route add default via 10.255.0.1",
    ] {
        control.ip(words);
    }
    let bgp = |more: &str| {
        format!(
            r#"
            protocol device {{ scan time 1; }}
            protocol bgp peer {{ connect delay time 1; connect retry time 1; hold time 30; {more} }}
            "#
        )
    };
    // Port 179 has a reason of its own, which somebody may register for; nobody's port is nobody's.
    let ours = bgp("local 10.0.0.1 port 1790 as 65001; neighbor 10.0.0.10 as 65010; passive on; multihop 2;
         ipv4 { export all; import all; };");
    let theirs = bgp(
        "local 10.0.0.10 as 65010; neighbor 10.0.0.1 port 1790 as 65001; ipv4 { export all; import all; };",
    );
    let prefix = |prefix: &str| format!("protocol static {{ ipv4; route {prefix} blackhole; }}");
    let start = |namespace, id, bgp: &str, announced| {
        Bird::start(namespace, &format!("router id {id};{bgp}{}", prefix(announced)))
    };
    let Some(router) = start(&control, "10.0.0.1", &ours, "203.0.113.0/24") else { return };
    let Some(peer) = start(&lab.host, "10.0.0.10", &theirs, "198.51.100.0/24") else { return };

    peer.until("show route", |said| said.contains("203.0.113.0/24"));
    router.until("show route", |said| said.contains("198.51.100.0/24"));
    for bird in [&peer, &router] {
        bird.until("show protocols peer", |said| said.contains("Established"));
    }
    peer.stop();
    router.until("show route", |said| !said.contains("198.51.100.0/24"));
    router.stop();
    let row = &engine.json("passive list")[0];
    assert!(row["hits"].as_u64() >= Some(5), "SYN, OPEN, KEEPALIVE, UPDATE, NOTIFICATION: {row}");
    assert_eq!(
        (&row["misses"], &row["refused"], &row["packets"]),
        (&0.into(), &0.into(), &row["hits"]),
        "{row}"
    );
    assert_eq!(engine.interface("ctl", "tx_packets"), row["hits"].as_u64().expect("a number"));
    engine.finish();
}

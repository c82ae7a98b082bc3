//! A million routes come and go while packets flow, and none of those goes astray.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::capture;
use tests::engine::{Engine, Launch};
use tests::packets::{from, ip4, ip6, udp};
use tests::plan::{self, HOST, Port, UPSTREAM};

/// Room for a full table, and the packets that a port repeats for ever.
const TABLES: &str = "\n[tables]\nroutes4 = 1200000\n";

/// Routes in the file.
const ROUTES: usize = 1_000_000;

/// Two ports of the plan and a third, `elsewhere`, where all routes of the file lead and no packet may ever go.
/// `lan` receives the same packets again and again.
fn router(tables: &str) -> Engine {
    let launch = Launch::new();
    let input = launch.file("in.pcap");
    capture::write(&input, stable().iter().map(Vec::as_slice)).unwrap();
    let config = plan::config("net_pcap0", "net_null0")
        + "\n[interface.elsewhere]\nport = \"net_null1\"\naddresses = [\"10.9.0.1/24\", \"fd00:9::1/64\"]\n"
        + "\n[[neighbor]]\naddress = \"10.9.0.2\"\nmac = \"02:00:00:00:09:02\"\ninterface = \"elsewhere\"\n"
        + "\n[[neighbor]]\naddress = \"fd00:9::2\"\nmac = \"02:00:00:00:09:02\"\ninterface = \"elsewhere\"\n"
        + tables;
    launch
        .config(config)
        .lcores("0@0,1@1")
        .vdev(format!("net_pcap0,rx_pcap={},infinite_rx=1", input.display()))
        .vdev("net_null0,no-rx=1")
        .vdev("net_null1,no-rx=1")
        .start()
}

/// Packets to addresses in 10.2.0.0/16 and 198.18.0.0/15 and 2001:db8::/32 that no route of the file covers: the file has the other half
/// of each of their /25s, so that every lookup of them goes where tables are being rebuilt.
fn stable() -> Vec<Vec<u8>> {
    let source = Ipv4Addr::new(10, 10, 0, 9);
    let source6 = "fd00:10::9".parse().unwrap();
    let mut frames: Vec<Vec<u8>> = (0..=255)
        .flat_map(|third| [Ipv4Addr::new(10, 2, third, 1), Ipv4Addr::new(198, 18, third, 77)])
        .map(|to| from(&HOST, &udp(ip4(source, to), 5000, 5000, &to.octets())))
        .collect();
    frames.extend((0..100u16).map(|site| {
        let to = format!("2001:db8:{site:x}::1").parse().unwrap();
        from(&HOST, &udp(ip6(source6, to), 5000, 5000, b"stable"))
    }));
    frames
}

/// A full table: /24s, and 768 /25s beside the packets' own.
fn full_table(path: &Path) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut left = ROUTES;
    for third in 0..=255 {
        for prefix in [
            format!("10.2.{third}.128/25"),
            format!("198.18.{third}.128/25"),
            format!("198.19.{third}.128/25"),
        ] {
            writeln!(file, "{prefix} via 10.9.0.2").unwrap();
            left -= 1;
        }
    }
    // From 11.0.0.0 on, in an order that is not the table's.
    let first = u32::from(Ipv4Addr::new(11, 0, 0, 0)) >> 8;
    for index in 0..left as u32 {
        let scattered = (u64::from(index) * 616_037 % left as u64) as u32;
        writeln!(file, "{}/24 via 10.9.0.2", Ipv4Addr::from((first + scattered) << 8)).unwrap();
    }
    file.flush().unwrap();
}

/// Every packet so far went to the upstream.
fn none_astray(engine: &Engine) {
    let drops = engine.json("stats drops");
    let drops: Vec<_> = drops.as_array().unwrap().iter().filter(|row| row["packets"] != 0).collect();
    assert!(drops.is_empty(), "{drops:?}");
    let reasons = engine.json("stats reasons");
    let reasons: Vec<_> = reasons.as_array().unwrap().iter().filter(|row| row["packets"] != 0).collect();
    assert!(reasons.is_empty(), "{reasons:?}");
    assert_eq!(engine.interface("elsewhere", "tx_packets"), 0, "packets led astray");
    let audit = engine.json("audit");
    assert_eq!(
        (&audit["balanced"], &audit["dropped"], &audit["punted"]),
        (&json!(true), &json!(0), &json!(0))
    );
}

/// Waits until so many packets more are through.
fn goes_on(engine: &Engine) {
    let sent = |engine: &Engine| engine.interface("wan", "tx_packets");
    let wanted = sent(engine) + 10_000;
    engine.until("packets flow", |engine| sent(engine) >= wanted);
}

#[test]
fn a_million_routes_come_and_go_while_packets_flow() {
    let engine = router(TABLES);
    assert_eq!(Port::Wan.interface(), UPSTREAM.interface);
    goes_on(&engine);
    let before = engine.json("route list").as_array().unwrap().len();
    full_table(&engine.file("full"));
    let start = Instant::now();
    engine.ok("route load full");
    let loaded = start.elapsed();
    goes_on(&engine);
    none_astray(&engine);
    assert_eq!(engine.json("route get 11.0.0.9")["prefix"], "11.0.0.0/24");
    assert_eq!(engine.json("route get 10.2.7.200")["prefix"], "10.2.7.128/25");
    assert_eq!(engine.json("route get 10.2.7.1")["prefix"], "10.2.0.0/16");
    let start = Instant::now();
    engine.ok("route unload full");
    println!("a million routes: loaded in {loaded:.1?}, gone in {:.1?}", start.elapsed());
    // Seconds, where nobody else wants the CPUs and the compiler optimises; this is to notice when it becomes minutes.
    assert!(loaded < Duration::from_secs(120), "loading took {loaded:.1?}");
    goes_on(&engine);
    none_astray(&engine);
    assert_eq!(engine.json("route list").as_array().unwrap().len(), before);
    // And again, a part of it: what was freed is there to be used.
    let full = std::fs::read_to_string(engine.file("full")).unwrap();
    let part: Vec<&str> = full.lines().take(100_000).collect();
    std::fs::write(engine.file("part"), part.join("\n")).unwrap();
    engine.ok("route load part");
    goes_on(&engine);
    none_astray(&engine);
    engine.finish_busy();
}

#[test]
fn what_does_not_fit_is_refused_with_the_size_that_would() {
    let engine = router("\n[tables]\nroutes4 = 1000\n");
    goes_on(&engine);
    let before = engine.json("route list");
    let mut file = File::create(engine.file("many")).unwrap();
    for index in 0..2000u32 {
        writeln!(file, "{}/24 via 10.9.0.2", Ipv4Addr::from((11 << 24) + (index << 8))).unwrap();
    }
    let error = engine.refused("route load many");
    let needed: u64 = error
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .find(|number| (2000..100_000).contains(number))
        .unwrap_or_else(|| panic!("no size is named: {error}"));
    assert!(error.contains("routes4"), "{error}");
    assert_eq!(engine.json("route list"), before, "nothing of it stays");
    none_astray(&engine);
    engine.finish_busy();
    // With the size it names, it fits.
    let engine = router(&format!("\n[tables]\nroutes4 = {needed}\n"));
    let mut file = File::create(engine.file("many")).unwrap();
    for index in 0..2000u32 {
        writeln!(file, "{}/24 via 10.9.0.2", Ipv4Addr::from((11 << 24) + (index << 8))).unwrap();
    }
    engine.ok("route load many");
    goes_on(&engine);
    none_astray(&engine);
    engine.finish_busy();
}

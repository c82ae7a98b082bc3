//! The way back: what a client sends from its socket goes out, is routed, or comes in again; and what is wrong with it is counted.

mod common;

use std::io::Write;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::thread;
use std::time::Instant;

use common::Rig;
use common::client::Client;
use common::frames::*;
use common::router::*;
use punt::record::{Header, RECEIVE, ROUTE4, ROUTE6, SEND};
use serde_json::Value;

/// Injects it and lets the worker take it: how many were injected, refused and foreign so far.
fn inject(rig: &mut Rig, client: &Client, datagram: &[u8]) -> [u64; 3] {
    let row = rig.row("sink.list", "name", "a");
    let before: u64 = counts(&row).iter().sum();
    client.inject(row["inject"].as_str().expect("a path"), datagram);
    let row = rig.until("sink.list", "name", "a", |row| counts(row).iter().sum::<u64>() > before);
    rig.turn();
    counts(&row)
}

fn counts(row: &Value) -> [u64; 3] {
    ["injected", "inject_errors", "foreign"].map(|field| row[field].as_u64().expect("a number"))
}

fn record(action: u8, interface: u32, frame: &[u8]) -> Vec<u8> {
    let header = Header {
        action,
        interface,
        captured: frame.len() as u32,
        original: frame.len() as u32,
        ..Header::default()
    };
    [&header.bytes()[..], frame].concat()
}

#[test]
fn all_four_actions_do_what_they_say() {
    let mut rig = router();
    let client = client(&mut rig, "a");
    let [lan, wan] = ["lan", "wan"].map(|name| rig.index(name));
    let frame = lldp(100);
    assert_eq!(inject(&mut rig, &client, &record(SEND, wan, &frame)), [1, 0, 0]);
    assert_eq!(rig.take(WAN), std::slice::from_ref(&frame));
    assert_eq!(inject(&mut rig, &client, &record(SEND, lan, &lldp(9014))), [2, 0, 0]);
    assert_eq!(rig.take(LAN), [lldp(9014)]);

    let packet = udp4("10.0.1.1", "10.2.3.4", 64, &[7; 18]);
    inject(&mut rig, &client, &record(ROUTE4, lan, &packet));
    assert_eq!(rig.take(WAN), [ethernet(GATEWAY, WAN_MAC, &packet)], "the router's own: TTL stays");
    let packet = udp6("fd00:b::1", "fd00:2::4", 64, &[7; 18]);
    inject(&mut rig, &client, &record(ROUTE6, lan, &packet));
    assert_eq!(rig.take(WAN), [ethernet(GATEWAY, WAN_MAC, &packet)]);

    let packet = udp4("10.0.0.7", "10.2.3.4", 64, &[7; 18]);
    inject(&mut rig, &client, &record(RECEIVE, lan, &from_host(packet)));
    assert_eq!(rig.take(WAN), [ethernet(GATEWAY, WAN_MAC, &udp4("10.0.0.7", "10.2.3.4", 63, &[7; 18]))]);
    let packet = udp4("10.100.0.7", "10.2.3.4", 64, &[7; 18]);
    let tagged = tagged(LAN_MAC, HOST, &[0x81, 0, 0, 100], &packet);
    assert_eq!(inject(&mut rig, &client, &record(RECEIVE, lan, &tagged)), [6, 0, 0]);
    assert_eq!(rig.take(WAN), [ethernet(GATEWAY, WAN_MAC, &udp4("10.100.0.7", "10.2.3.4", 63, &[7; 18]))]);
    rig.finish();
}

#[test]
fn a_punted_record_may_be_sent_back_with_another_action() {
    let mut rig = router();
    let client = client(&mut rig, "a");
    register(&mut rig, "reason:ip4.no-route", "a");
    rig.put(LAN, &[no_route(100)]);
    let (header, frame) = client.records(1).remove(0);
    rig.call("route.add", r#"{"prefix": "192.0.2.0/24", "via": ["10.0.1.2"]}"#);
    let again = Header { action: ROUTE4, ..header };
    assert_eq!(inject(&mut rig, &client, &[&again.bytes()[..], &frame].concat()), [1, 0, 0]);
    assert_eq!(rig.take(WAN), [ethernet(GATEWAY, WAN_MAC, &frame[14..])]);
    let again = Header { action: RECEIVE, ..header };
    assert_eq!(inject(&mut rig, &client, &[&again.bytes()[..], &frame].concat()), [2, 0, 0]);
    assert_eq!(rig.take(WAN).len(), 1);
    rig.finish();
}

#[test]
fn what_is_wrong_is_refused_and_nothing_else_happens() {
    let mut rig = router();
    let client = client(&mut rig, "a");
    let wan = rig.index("wan");
    let frame = lldp(60);
    let good = record(SEND, wan, &frame);
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let wrong = [
        Vec::new(),
        b"hello".to_vec(),
        good[..63].to_vec(),
        good[..good.len() - 1].to_vec(),
        changed(0, b'X'),
        changed(4, 9),
        changed(5, 8),
        changed(55, 4),
        changed(55, ROUTE4),
        changed(55, ROUTE6),
        record(SEND, 99, &frame),
        record(SEND, 0, &frame),
        record(RECEIVE, 99, &frame),
        record(SEND, wan, &frame[..13]),
        record(SEND, wan, &lldp(1515)),
        record(RECEIVE, wan, &lldp(1515)),
        record(ROUTE4, wan, &udp4("10.0.1.1", "10.2.3.4", 64, &[7; 1473])),
        record(ROUTE4, wan, &[0x45; 19]),
        record(ROUTE4, wan, &[0x45; 40]),
        record(ROUTE4, wan, &udp4("10.0.1.1", "10.2.3.4", 0, &[7; 18])),
        record(ROUTE4, wan, &udp4("224.0.0.5", "10.2.3.4", 64, &[7; 18])),
        record(ROUTE4, wan, &[udp4("10.0.1.1", "10.2.3.4", 64, &[7; 18]), vec![0]].concat()),
        record(ROUTE6, wan, &[0x60; 40]),
        record(ROUTE6, wan, &udp6("ff02::1", "fd00:2::4", 64, &[7; 18])),
        record(ROUTE6, wan, &[0x60; 39]),
    ];
    for (count, datagram) in (1..).zip(&wrong) {
        assert_eq!(inject(&mut rig, &client, datagram), [0, count, 0], "{datagram:x?}");
    }
    let stranger = Client::new("stranger");
    let errors = wrong.len() as u64;
    assert_eq!(inject(&mut rig, &stranger, &good), [0, errors, 1]);
    let row = rig.row("sink.list", "name", "a");
    let nobody = UnixDatagram::unbound().expect("a socket");
    nobody.send_to(&good, row["inject"].as_str().expect("a path")).expect("it is there");
    let row = rig.until("sink.list", "name", "a", |row| row["foreign"] == 2);
    assert_eq!(counts(&row), [0, errors, 2]);
    assert_eq!((rig.take(LAN).len(), rig.take(WAN).len()), (0, 0));
    assert_eq!(inject(&mut rig, &client, &good), [1, errors, 2]);
    assert_eq!(rig.take(WAN), [frame]);
    rig.finish();
}

#[test]
fn what_the_graph_cannot_do_with_it_is_a_counted_drop() {
    let mut rig = router();
    let client = client(&mut rig, "a");
    let wan = rig.index("wan");
    inject(&mut rig, &client, &record(ROUTE4, wan, &udp4("10.0.1.1", "192.0.2.1", 64, &[])));
    assert_eq!(rig.dropped("inject", "no route to the destination"), 1);
    inject(&mut rig, &client, &record(ROUTE4, wan, &udp4("10.0.1.1", "10.0.0.1", 64, &[])));
    assert_eq!(rig.dropped("inject", "destination is our own"), 1);
    rig.call("interface.set", r#"{"name": "wan", "up": false}"#);
    inject(&mut rig, &client, &record(SEND, wan, &lldp(60)));
    assert_eq!(rig.dropped("inject", "interface is down"), 1);
    inject(&mut rig, &client, &record(ROUTE4, wan, &udp4("10.0.1.1", "10.0.1.77", 64, &[])));
    rig.finish();
}

#[test]
fn what_a_client_injects_too_fast_is_refused_and_counted_to_the_packet() {
    const RECORDS: u64 = 20_000;
    let mut rig = router();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("shm");
    rig.call("sink.add", &format!(r#"{{"name": "a", "target": "shm:{}"}}"#, path.display()));
    let wan = rig.index("wan");
    let mut stream = UnixStream::connect(&path).expect("the engine listens");
    let records = record(SEND, wan, &lldp(60)).repeat(RECORDS as usize);
    let begin = Instant::now();
    let (mut sent, [passed, refused, foreign]) = rig.meanwhile(|rig| {
        let writer = thread::spawn(move || stream.write_all(&records).map(|()| stream));
        let mut sent = 0;
        let books = loop {
            sent += rig.take(WAN).len() as u64;
            let books = counts(&rig.row("sink.list", "name", "a"));
            if books.iter().sum::<u64>() == RECORDS {
                break books;
            }
            assert!(begin.elapsed().as_secs() < 30, "{books:?}");
        };
        writer.join().expect("it does not panic").expect("the engine reads");
        (sent, books)
    });
    // A client may inject 4,096 packets at once, and 100,000 in a second.
    let may = 4_096 + begin.elapsed().as_micros() as u64 / 10 + 1;
    sent += rig.take(WAN).len() as u64;
    assert_eq!((passed + refused, foreign), (RECORDS, 0));
    assert!((4_096..=may).contains(&passed), "{passed} passed, {may} may");
    let no_room = rig.interfaces()["wan"].tx_dropped;
    assert_eq!(sent + no_room, passed, "what passed went out of the interface");
    rig.finish();
}

//! From a frame on a port to a record at a sink: the bytes, every field of the header, and the books.

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use common::client::Client;
use common::frames::*;
use common::router::*;
use punt::record::{self, Header, NO_OFFSET};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

#[test]
fn every_field_of_the_record_is_what_the_lists_say() {
    let mut rig = router();
    let client = client(&mut rig, "a");
    let all = register(&mut rig, "reason:ip4.*", "a");
    let exact = register(&mut rig, "reason:ip4.ttl-expired", "a");
    let (lldp_id, bfd) = (register(&mut rig, "ethertype:0x88cc", "a"), register(&mut rig, "udp:3784", "a"));
    let [lan, vlan, customer] = ["lan", "lan.100", "customer"].map(|name| rig.index(name));
    let tag = [0x81, 0, 0, 100];
    let tags = [0x88, 0xa8, 0, 200, 0x81, 0, 0, 7];
    let mut fragment = udp4("10.0.0.7", "10.2.3.4", 1, &[8; 24]);
    fragment[6] = 0x20;
    fix_checksum(&mut fragment);
    let mut to_bfd = udp4("10.0.0.7", "10.0.0.1", 255, &[9; 24]);
    to_bfd[22..24].copy_from_slice(&3784u16.to_be_bytes());
    let mut padded = from_host(udp4("10.0.0.7", "10.2.3.4", 1, &[1; 4]));
    padded.resize(60, 0xee);
    let route = Header { class: 7, ..Header::default() };
    let except = Header { class: 2, l3: 14, l4: 34, ..Header::default() };
    let cases = [
        ("ip4.ttl-expired", padded, lan, exact, except),
        (
            "ip4.ttl-expired",
            tagged(LAN_MAC, HOST, &tag, &udp4("10.100.0.7", "10.2.3.4", 1, &[2; 30])),
            vlan,
            exact,
            Header { l3: 18, l4: 38, ..except },
        ),
        (
            "ip4.ttl-expired",
            tagged(LAN_MAC, HOST, &tags, &udp4("10.200.0.7", "10.2.3.4", 1, &[3; 30])),
            customer,
            exact,
            Header { l3: 22, l4: 42, ..except },
        ),
        ("ip4.ttl-expired", from_host(fragment), lan, exact, Header { flags: record::FRAGMENT, ..except }),
        ("ip4.no-route", no_route(100), lan, all, except),
        ("local.bfd", from_host(to_bfd), lan, bfd, Header { l3: 14, l4: 34, ..route }),
        ("l2.lldp", lldp(70), lan, lldp_id, Header { class: 5, l3: NO_OFFSET, l4: NO_OFFSET, ..route }),
    ];
    let before = now();
    for (_, frame, ..) in &cases {
        rig.put(LAN, std::slice::from_ref(frame));
    }
    let records = client.records(cases.len());
    let mut sequences = [0; 8];
    let mut epoch = 0;
    // Classes do not keep order between them.
    for (header, frame) in &records {
        let (reason, _, interface, registration, expected) =
            cases.iter().find(|(_, sent, ..)| sent == frame).expect("a frame that was sent");
        let id = rig.row("reason.list", "name", *reason)["id"].as_u64().expect("an id") as u32;
        let late = header.received as i64 - before as i64;
        assert!(
            (-10_000_000..1_000_000_000).contains(&late),
            "{reason} was received {late} ns after it was sent"
        );
        assert!(epoch == 0 || epoch == header.epoch);
        epoch = header.epoch;
        assert_ne!(epoch, 0);
        let sequence = &mut sequences[header.class as usize];
        let expected = Header {
            captured: frame.len() as u32,
            original: frame.len() as u32,
            sequence: *sequence,
            lost: 0,
            received: header.received,
            interface: *interface,
            reason: id,
            worker: 0,
            action: 0,
            registration: *registration as u32,
            epoch,
            ..*expected
        };
        assert_eq!(*header, expected, "{reason}");
        *sequence += 1;
    }
    assert_eq!(rig.settled("a")["delivered"], cases.len());
    assert_eq!(client.rest(), []);
    rig.finish();
}

#[test]
fn frames_of_every_length_are_the_same_at_one_to_four_sinks() {
    let mut rig = router();
    let names = ["a", "b", "c", "d"];
    let clients: Vec<Client> = names.iter().map(|name| client(&mut rig, name)).collect();
    for sinks in 1..=4 {
        let sink = names[sinks - 1];
        for matching in ["reason:ip4.*", "reason:ip6.hop-limit-expired", "ethertype:0x88cc"] {
            register(&mut rig, matching, sink);
        }
        let mut frames: Vec<Vec<u8>> = Vec::new();
        for len in [60, 142, 242, 256, 270, 512, 1514, 9000] {
            frames.extend([expires(len), lldp(len), expires6(len.max(62)), no_route(len)]);
        }
        rig.put(LAN, &frames);
        let mut sent = frames;
        sent.sort();
        for client in &clients[..sinks] {
            let mut records = client.records(sent.len());
            let mut next = [None; 8];
            for (header, frame) in &records {
                assert_eq!((header.lost, header.captured as usize), (0, frame.len()));
                let expected = next[header.class as usize].unwrap_or(header.sequence);
                assert_eq!(header.sequence, expected, "class {}", header.class);
                next[header.class as usize] = Some(expected + 1);
            }
            records.sort_by(|one, other| one.1.cmp(&other.1));
            assert!(records.iter().map(|(_, frame)| frame).eq(&sent), "frames differ");
        }
    }
    for name in names {
        rig.settled(name);
    }
    rig.finish();
}

#[test]
fn a_snap_length_cuts_and_says_so() {
    let mut rig = router();
    let client = client(&mut rig, "a");
    rig.register(r#"{"match": "reason:ip4.ttl-expired", "sink": "a", "snaplen": 100}"#);
    let frames = [expires(99), expires(100), expires(101), expires(8998)];
    rig.put(LAN, &frames);
    for ((header, frame), sent) in client.records(4).into_iter().zip(&frames) {
        let cut = sent.len() > 100;
        assert_eq!(frame, sent[..sent.len().min(100)]);
        assert_eq!((header.captured as usize, header.original as usize), (frame.len(), sent.len()));
        assert_eq!(header.flags, if cut { record::TRUNCATED } else { 0 });
    }
    let row = rig.settled("a");
    assert_eq!((&row["delivered"], &row["truncated"]), (&4.into(), &2.into()));
    assert_eq!(row["delivered_bytes"], 99 + 3 * 100);
    rig.finish();
}

#[test]
fn options_and_extension_headers_arrive_as_they_were() {
    let mut rig = router();
    let client = client(&mut rig, "a");
    register(&mut rig, "proto:igmp", "a");
    register(&mut rig, "reason:ip6.mld-report", "a");
    let mut igmp =
        [&[0x46, 0xc0, 0, 40, 0, 1, 0, 0, 1, 2, 0, 0, 10, 0, 0, 7, 224, 0, 0, 22][..], &[148, 4, 0, 0]]
            .concat();
    let sum: u32 = igmp.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]) as u32).sum();
    igmp[10..12].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    igmp.extend([0x22, 0, 0xf9, 2, 0, 0, 0, 1, 4, 0, 0, 0, 239, 1, 2, 3]);
    let mut mld =
        [&[0x60, 0, 0, 0, 0, 36, 0, 1][..], &[0xfe, 0x80], &[0; 13], &[7], &[0xff, 2], &[0; 13], &[0x16]]
            .concat();
    mld.extend([58, 0, 5, 2, 0, 0, 1, 0]);
    mld.extend([
        143, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0xff, 0x0e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34,
    ]);
    let frames =
        [ethernet([1, 0, 0x5e, 0, 0, 22], HOST, &igmp), ethernet([0x33, 0x33, 0, 0, 0, 0x16], HOST, &mld)];
    // In one burst IPv6 goes before IPv4.
    rig.put(LAN, &frames[..1]);
    rig.put(LAN, &frames[1..]);
    let records = client.records(2);
    assert_eq!([&records[0].1, &records[1].1], [&frames[0], &frames[1]]);
    assert_eq!((records[0].0.l3, records[0].0.l4), (14, 38));
    assert_eq!((records[1].0.l3, records[1].0.l4), (14, 62));
    rig.finish();
}

#[test]
fn a_client_written_for_vpp_gets_the_header_of_vpp() {
    let mut rig = router();
    let client = Client::new("vpp");
    let target = format!("unix:{}?header=vpp", client.path().display());
    rig.call("sink.add", &format!(r#"{{"name": "vpp", "target": "{target}"}}"#));
    register(&mut rig, "reason:ip4.ttl-expired", "vpp");
    let lan = rig.index("lan");
    rig.put(LAN, &[expires(142)]);
    assert_eq!(client.datagram(), [&lan.to_ne_bytes()[..], &[0; 4], &expires(142)].concat());
    rig.finish();
}

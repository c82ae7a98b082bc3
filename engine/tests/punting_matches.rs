//! Which packets a registration gets: every kind of match, where from, who is most specific, and what is there again when it goes.

mod common;

use common::Rig;
use common::client::Client;
use common::frames::*;
use common::router::*;
use punt::record::Header;

/// IPv4 from the host to the router's own address.
fn to_us(protocol: u8, payload: &[u8]) -> Vec<u8> {
    from_host(ip4("10.0.0.7", "10.0.0.1", 64, protocol, payload))
}

fn to_us6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    from_host(ip6("fd00:a::7", "fd00:a::1", 255, next_header, payload))
}

/// The same from a host on `wan`.
fn on_wan(packet: Vec<u8>) -> Vec<u8> {
    ethernet(WAN_MAC, GATEWAY, &packet)
}

fn link(destination: Mac, rest: &[u8]) -> Vec<u8> {
    let mut frame = [&destination[..], &HOST, rest].concat();
    frame.resize(60, 0);
    frame
}

/// The name of the reason of a record.
fn reason(rig: &mut Rig, header: &Header) -> String {
    let row = rig.row("reason.list", "id", header.reason);
    row["name"].as_str().expect("a name").to_owned()
}

fn punted(rig: &mut Rig, reason: &str) -> u64 {
    let rows = rig.rows("reason.list");
    rows.iter().find(|row| row["name"] == reason).map_or(0, |row| row["packets"].as_u64().expect("a number"))
}

/// Registers, sends the frame, and says for which reason the client got it; unregisters. `None` if it did not.
fn got(rig: &mut Rig, client: &Client, register: &str, port: usize, frame: &[u8]) -> Option<String> {
    let id = rig.register(&format!(r#"{{"sink": "a", {register}}}"#));
    rig.put(port, &[frame.to_vec()]);
    rig.settled("a");
    let records = client.rest();
    let names: Vec<_> = records.iter().map(|(header, _)| reason(rig, header)).collect();
    for (header, bytes) in &records {
        assert_eq!((header.registration as u64, &bytes[..]), (id, frame), "{register}");
    }
    rig.call("unregister", &format!(r#"{{"id": {id}}}"#));
    rig.put(port, &[frame.to_vec()]);
    assert_eq!(client.rest(), [], "{register} is unregistered");
    assert!(records.len() <= 1, "{register}: {names:?}");
    // What a registration made is named after it.
    names.into_iter().next().map(|name| name.replace(&format!("@{id}"), "@ID"))
}

#[test]
fn every_kind_of_match_gets_what_it_says() {
    let mut rig = router();
    let client = client(&mut rig, "a");
    let echo = [8, 0, 0, 0, 0, 1, 0, 1];
    let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &[0xfd, 0, 0, 0x0a], &[0; 11], &[1]].concat();
    let lacp = link([1, 0x80, 0xc2, 0, 0, 2], &[0x88, 0x09, 1, 1]);
    let isis = link([1, 0x80, 0xc2, 0, 0, 0x14], &[0, 40, 0xfe, 0xfe, 3, 0x83]);
    let arp = link(
        [0xff; 6],
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0x77, 10, 0, 0, 7, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1],
    );
    let unknown = link(LAN_MAC, &[0x88, 0xb5, 7]);
    let reserved = link([1, 0x80, 0xc2, 0, 0, 0x0b], &[0x88, 0xb5, 7]);
    let llc = link(LAN_MAC, &[0, 40, 0x10, 0x10, 3]);
    let tagged_lldp = link(LLDP_GROUP, &[0x81, 0, 0, 100, 0x88, 0xcc, 2, 7]);
    for (register, frame, expected) in [
        ("udp:5000", to_us(17, &udp(9, 5000)), Some("local.udp-5000")),
        ("udp:5000", to_us6(17, &udp(9, 5000)), Some("local.udp-5000")),
        ("udp:5000", to_us(17, &udp(5000, 9)), None),
        ("udp4:5000", to_us(17, &udp(9, 5000)), Some("local.udp4-5000")),
        ("udp4:5000", to_us6(17, &udp(9, 5000)), None),
        ("udp6:5000", to_us6(17, &udp(9, 5000)), Some("local.udp6-5000")),
        ("udp6:5000", to_us(17, &udp(9, 5000)), None),
        ("udp:4990-5010", to_us(17, &udp(9, 5010)), Some("local.udp-4990-5010")),
        ("udp:4990-5010", to_us(17, &udp(9, 5011)), None),
        ("udp:0-65535", to_us(17, &udp(9, 3784)), Some("local.bfd")),
        ("udp:0-65535", to_us(17, &udp(9, 65535)), Some("local.udp-0-65535")),
        ("udp:3784", to_us(17, &udp(9, 3784)), Some("local.bfd")),
        ("udp:4500", to_us(17, &[&udp(9, 4500)[..8], &[0; 32]].concat()), Some("local.ike")),
        ("udp:4500", to_us(17, &udp(9, 4500)), Some("local.esp-in-udp")),
        ("udp:500", to_us(17, &udp(9, 4500)), None),
        ("udp6:3784", to_us6(17, &udp(9, 3784)), Some("local.bfd")),
        ("udp6:3784", to_us(17, &udp(9, 3784)), None),
        ("tcp:179", to_us(6, &tcp(9, 179)), Some("local.bgp")),
        ("tcp:179", to_us(6, &tcp(179, 9)), None),
        ("tcp:179/any", to_us(6, &tcp(179, 9)), Some("local.bgp")),
        ("tcp:179/any", to_us6(6, &tcp(9, 179)), Some("local.bgp")),
        ("tcp:5000", to_us(6, &tcp(9, 5000)), Some("local.tcp-5000")),
        ("tcp:5000", to_us(6, &tcp(5000, 9)), None),
        ("tcp:5000/any", to_us(6, &tcp(5000, 9)), Some("local.tcp-5000-any")),
        ("tcp:20-30", to_us(6, &tcp(9, 22)), Some("local.ssh")),
        ("tcp:20-30", to_us(6, &tcp(9, 23)), Some("local.tcp-20-30")),
        ("proto:ospf", to_us(89, &[2, 1, 0, 44]), Some("local.ospf")),
        ("proto:89", to_us6(89, &[3, 1, 0, 36]), Some("local.ospf")),
        ("proto:253", to_us(253, b"experiment"), Some("local.proto-253")),
        ("proto:253", to_us6(253, b"experiment"), Some("local.proto-253")),
        ("proto:udp", to_us(17, &udp(9, 5000)), Some("local.proto-17")),
        ("proto:udp", to_us(17, &udp(9, 3784)), Some("local.bfd")),
        ("proto:pim", to_us(103, &[0x21, 0, 0, 0]), Some("local.pim-register")),
        ("icmp:8", to_us(1, &echo), Some("local.icmp-echo")),
        ("icmp:13", to_us(1, &[13, 0, 0, 0]), Some("local.icmp-13")),
        ("icmp:13", to_us(1, &[14, 0, 0, 0]), None),
        ("icmp6:135", to_us6(58, &solicitation), Some("nd.solicitation")),
        ("icmp6:128", to_us(1, &echo), None),
        ("ethertype:0x88cc", lldp(60), Some("l2.lldp")),
        ("ethertype:0x88cc", tagged_lldp, Some("l2.lldp")),
        ("ethertype:0x88b5", unknown.clone(), Some("l2.ethertype-0x88b5")),
        ("ethertype:0x8809", lacp.clone(), Some("l2.lacp")),
        ("ethertype:0x0806", arp.clone(), Some("arp.request")),
        ("llc:0xfe", isis.clone(), Some("l2.isis")),
        ("llc:0x10", llc, Some("l2.llc-0x10")),
        ("mac:01:80:c2:00:00:02", lacp.clone(), Some("l2.lacp")),
        ("mac:01:80:c2:00:00:02", isis, None),
        ("mac:01:80:c2:00:00:0b", reserved.clone(), Some("l2.mac-01:80:c2:00:00:0b")),
        ("reason:ip4.ttl-expired", expires(60), Some("ip4.ttl-expired")),
        ("reason:ip4.*", expires(60), Some("ip4.ttl-expired")),
        ("reason:ip6.*", expires(60), None),
        ("reason:local.*", to_us(17, &udp(9, 3784)), Some("local.bfd")),
        ("reason:ip4.unclaimed", to_us(17, &udp(9, 5000)), Some("ip4.unclaimed")),
        ("reason:l2.unclaimed", unknown, Some("l2.unclaimed")),
        ("reason:l2.reserved-multicast", reserved, Some("l2.reserved-multicast")),
        ("reason:arp.request", arp, Some("arp.request")),
        ("reason:*", lacp, Some("l2.lacp")),
    ] {
        let matching = format!(r#""match": "{register}""#);
        assert_eq!(got(&mut rig, &client, &matching, LAN, &frame).as_deref(), expected, "{register}");
    }
    rig.finish();
}

#[test]
fn a_registration_may_be_only_for_an_interface_or_a_source() {
    let mut rig = router();
    let client = client(&mut rig, "a");
    let bgp = to_us(6, &tcp(9, 179));
    let bgp_on_wan = on_wan(ip4("10.0.1.2", "10.0.1.1", 64, 6, &tcp(9, 179)));
    let bgp6 = to_us6(6, &tcp(9, 179));
    let open = to_us(17, &udp(9, 5000));
    let open_on_wan = on_wan(ip4("10.0.1.2", "10.0.1.1", 64, 17, &udp(9, 5000)));
    let frag = expires(60);
    for (register, port, frame, expected) in [
        (r#""match": "tcp:179", "interface": "lan""#, LAN, &bgp, Some("local.bgp@ID")),
        (r#""match": "tcp:179", "interface": "lan""#, WAN, &bgp_on_wan, None),
        (r#""match": "tcp:179", "source": "10.0.0.0/24""#, LAN, &bgp, Some("local.bgp@ID")),
        (r#""match": "tcp:179", "source": "10.0.0.7/32""#, WAN, &bgp_on_wan, None),
        (
            r#""match": "tcp:179", "source": "10.0.0.0/8", "interface": "wan""#,
            WAN,
            &bgp_on_wan,
            Some("local.bgp@ID"),
        ),
        (r#""match": "tcp:179", "source": "10.0.0.0/8", "interface": "wan""#, LAN, &bgp, None),
        (r#""match": "tcp:179", "source": "fd00:a::/64""#, LAN, &bgp6, Some("local.bgp@ID")),
        (r#""match": "tcp:179", "source": "fd00:a::/64""#, LAN, &bgp, None),
        (r#""match": "udp:5000", "interface": "wan""#, WAN, &open_on_wan, Some("local.udp-5000@ID")),
        (r#""match": "udp:5000", "interface": "wan""#, LAN, &open, None),
        (
            r#""match": "reason:ip4.ttl-expired", "source": "10.0.0.0/24""#,
            LAN,
            &frag,
            Some("ip4.ttl-expired@ID"),
        ),
        (r#""match": "reason:ip4.ttl-expired", "interface": "wan""#, LAN, &frag, None),
        (r#""match": "reason:ip4.*", "interface": "lan""#, LAN, &frag, Some("ip4.ttl-expired")),
        (r#""match": "reason:ip4.*", "interface": "wan""#, LAN, &frag, None),
        (r#""match": "ethertype:0x88cc", "interface": "lan""#, LAN, &lldp(60), Some("l2.lldp@ID")),
        (r#""match": "ethertype:0x88cc", "interface": "wan""#, LAN, &lldp(60), None),
    ] {
        assert_eq!(got(&mut rig, &client, register, port, frame).as_deref(), expected, "{register}");
    }
    let names: Vec<_> = rig.rows("reason.list").iter().map(|row| row["name"].to_string()).collect();
    assert!(!names.iter().any(|name| name.contains('@') || name.contains("5000")), "reasons that nobody has");
    rig.finish();
}

#[test]
fn the_most_specific_registration_stands_in_the_record_and_what_was_there_returns() {
    let mut rig = router();
    let client = client(&mut rig, "a");
    let frame = to_us(17, &udp(9, 5000));
    let mut ids = Vec::new();
    // From the least to the most specific.
    for (register, expected) in [
        (r#""match": "reason:*""#, "ip4.unclaimed"),
        (r#""match": "proto:17""#, "local.proto-17"),
        (r#""match": "udp:4000-6000""#, "local.udp-4000-6000"),
        (r#""match": "udp:4900-5100""#, "local.udp-4900-5100"),
        (r#""match": "udp:5000""#, "local.udp-5000"),
        (r#""match": "udp4:5000""#, "local.udp4-5000"),
        (r#""match": "udp:5000", "interface": "lan""#, "local.udp-5000@"),
        (r#""match": "udp:5000", "source": "10.0.0.0/24""#, "local.udp-5000@"),
        (r#""match": "udp:5000", "source": "10.0.0.0/24", "interface": "lan""#, "local.udp-5000@"),
        (r#""match": "proto:17", "source": "10.0.0.7/32""#, "local.proto-17@"),
    ] {
        let id = rig.register(&format!(r#"{{"sink": "a", {register}}}"#));
        let name = if expected.ends_with('@') { format!("{expected}{id}") } else { expected.to_owned() };
        ids.push((id, name));
    }
    while let Some((id, name)) = ids.pop() {
        rig.put(LAN, std::slice::from_ref(&frame));
        let (header, bytes) = client.records(1).remove(0);
        assert_eq!(bytes, frame);
        assert_eq!((header.registration as u64, reason(&mut rig, &header)), (id, name));
        rig.call("unregister", &format!(r#"{{"id": {id}}}"#));
    }
    let before = punted(&mut rig, "ip4.unclaimed");
    rig.put(LAN, &[frame]);
    assert_eq!(punted(&mut rig, "ip4.unclaimed"), before + 1);
    assert_eq!(rig.settled("a")["delivered"], 10);
    rig.finish();
}

#[test]
fn one_packet_has_one_reason_and_goes_to_every_sink_that_asked() {
    let mut rig = router();
    let [a, b, c] = ["a", "b", "c"].map(|name| client(&mut rig, name));
    let scoped = rig.register(r#"{"match": "tcp:179", "sink": "a", "source": "10.0.0.7/32"}"#);
    let plain = register(&mut rig, "tcp:179", "b");
    let pattern = register(&mut rig, "reason:local.bgp", "c");
    let bgp = to_us(6, &tcp(9, 179));
    let other = from_host(ip4("10.0.0.8", "10.0.0.1", 64, 6, &tcp(9, 179)));
    rig.put(LAN, &[bgp.clone(), other.clone()]);
    let name = format!("local.bgp@{scoped}");
    for (client, id) in [(&b, plain), (&c, pattern)] {
        let records = client.records(2);
        assert_eq!([&records[0].1, &records[1].1], [&bgp, &other]);
        assert_eq!(records[0].0.registration as u64, id);
        assert_eq!(reason(&mut rig, &records[0].0), name, "covers what was made of it");
        assert_eq!(reason(&mut rig, &records[1].0), "local.bgp");
    }
    let records = a.records(1);
    assert_eq!((records[0].0.registration as u64, &records[0].1), (scoped, &bgp));
    let row = rig.row("reason.list", "name", name);
    assert_eq!((&row["packets"], &row["accepted"]), (&1.into(), &1.into()), "charged once");
    assert_eq!((&row["class"], &row["rate"], &row["burst"]), (&"route".into(), &10000.into(), &5000.into()));
    for sink in ["a", "b", "c"] {
        rig.settled(sink);
    }
    assert_eq!(a.rest(), []);
    for (id, packets) in [(scoped, 1), (plain, 2), (pattern, 2)] {
        let row = rig.row("registration.list", "id", id);
        assert_eq!((&row["packets"], &row["delivered"]), (&packets.into(), &packets.into()));
    }
    rig.finish();
}

#[test]
fn an_exclusive_registration_shares_with_nobody_and_says_whose_it_is() {
    let mut rig = router();
    let [_a, _b] = ["a", "b"].map(|name| client(&mut rig, name));
    let id = rig.register(r#"{"match": "udp:3000-4000", "sink": "a", "exclusive": true}"#);
    for matching in ["udp:3784", "udp6:4000", "proto:17", "reason:local.bfd", "reason:*"] {
        let refused =
            rig.try_call("register", &format!(r#"{{"match": "{matching}", "sink": "b"}}"#)).unwrap_err();
        let owner = format!("registration {id} (udp:3000-4000 for sink a, by operator)");
        assert!(refused.contains(matching) && refused.contains(&owner), "{refused}");
    }
    for matching in ["udp:4001", "tcp:3784", "reason:ip4.ttl-expired", "ethertype:0x88cc"] {
        register(&mut rig, matching, "b");
    }
    let refused =
        rig.try_call("register", r#"{"match": "udp:4001", "sink": "a", "exclusive": true}"#).unwrap_err();
    assert!(refused.contains("udp:4001 for sink b, by operator"), "{refused}");
    let refused = rig.try_call("register", r#"{"match": "udp:3000-4000", "sink": "a"}"#).unwrap_err();
    assert!(refused.contains("already") && refused.contains(&id.to_string()), "{refused}");
    rig.call("unregister", &format!(r#"{{"id": {id}}}"#));
    register(&mut rig, "udp:3784", "b");
    for (register, word) in [
        (r#"{"match": "udp:1", "sink": "nobody"}"#, "nobody"),
        (r#"{"match": "reason:ip4.ttl-expird", "sink": "a"}"#, "ip4.ttl-expired"),
        (r#"{"match": "udp:1", "sink": "a", "interface": "lam"}"#, "lam"),
        (r#"{"match": "ethertype:0x0800", "sink": "a"}"#, "transit"),
    ] {
        let refused = rig.try_call("register", register).unwrap_err();
        assert!(refused.contains(word), "{refused}");
    }
    let refused = rig.try_call("sink.del", r#"{"name": "b"}"#).unwrap_err();
    assert!(refused.contains('b') && refused.contains("unregister"), "{refused}");
    rig.finish();
}

#[test]
fn what_bgp_sessions_of_ours_are_answered_is_bgp_whoever_asks_for_all_high_ports() {
    let mut rig = router();
    let (bgpd, other) = (client(&mut rig, "bgpd"), client(&mut rig, "a"));
    register(&mut rig, "reason:local.bgp", "bgpd");
    register(&mut rig, "tcp:1024-65535", "a");
    let answer = to_us(6, &tcp(179, 40_000));
    let segment = to_us(6, &tcp(443, 40_000));
    rig.put(LAN, &[answer.clone(), segment.clone()]);
    let (header, frame) = &bgpd.records(1)[0];
    assert_eq!((reason(&mut rig, header).as_str(), frame), ("local.bgp", &answer));
    // Who asked for the port has it, too, but it is not charged to that.
    let mut got: Vec<_> =
        other.records(2).into_iter().map(|(header, frame)| (reason(&mut rig, &header), frame)).collect();
    got.sort();
    assert_eq!(got, [("local.bgp".to_owned(), answer), ("local.tcp-1024-65535".to_owned(), segment)]);
    assert_eq!((punted(&mut rig, "local.bgp"), punted(&mut rig, "local.tcp-1024-65535")), (1, 1));
    rig.finish();
}

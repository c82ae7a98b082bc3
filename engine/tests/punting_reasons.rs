//! Every reason that the engine ships with is produced by a packet, which reaches a sink as it came; and its limits are those of the list
//! that they were taken from.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::frames::*;
use common::router::*;
use serde_json::Value;

/// What the router needs beside, to meet all of them.
const MORE: &str = r#"
    [[neighbor]]
    address = "fd00:a::7"
    mac = "02:00:00:00:00:77"
    interface = "lan"
    [[route]]
    prefix = "10.4.0.0/16"
    action = "unreachable"
    [[route]]
    prefix = "fd00:4::/32"
    action = "unreachable"
    [[route]]
    prefix = "10.5.0.0/16"
    action = "punt"
    [[route]]
    prefix = "fd00:5::/32"
    action = "punt"
"#;

fn link(destination: Mac, rest: &[u8]) -> Vec<u8> {
    let mut frame = [&destination[..], &HOST, rest].concat();
    frame.resize(64, 0x11);
    frame
}

/// A frame of a slow or registration protocol, to a reserved group.
fn bridge(last: u8, rest: &[u8]) -> Vec<u8> {
    link([1, 0x80, 0xc2, 0, 0, last], rest)
}

/// SNAP, with Cisco's number.
fn cisco(protocol: [u8; 2]) -> Vec<u8> {
    let [high, low] = protocol;
    link([1, 0, 0x0c, 0xcc, 0xcc, 0xcc], &[0, 50, 0xaa, 0xaa, 3, 0, 0, 0x0c, high, low])
}

fn to_us(protocol: u8, payload: &[u8]) -> Vec<u8> {
    from_host(ip4("10.0.0.7", "10.0.0.1", 255, protocol, payload))
}

fn to6(destination: &str, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let last = destination.rsplit(':').next().and_then(|word| u8::from_str_radix(word, 16).ok()).unwrap_or(0);
    let mac = if destination.starts_with("ff") { [0x33, 0x33, 0, 0, 0, last] } else { LAN_MAC };
    ethernet(mac, HOST, &ip6("fe80::7", destination, 255, next_header, payload))
}

/// IPv4 to a group, with TTL `ttl`.
fn group4(destination: &str, ttl: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let address = destination.parse::<std::net::Ipv4Addr>().expect("an address").octets();
    let mac = [1, 0, 0x5e, address[1] & 0x7f, address[2], address[3]];
    ethernet(mac, HOST, &ip4("10.0.0.7", destination, ttl, protocol, payload))
}

/// IPv4 in transit, with these options.
fn with_options(options: &[u8]) -> Vec<u8> {
    let plain = ip4("10.0.0.7", "10.2.3.4", 64, 17, &[options, &udp(9, 9)].concat());
    let mut packet = plain;
    packet[0] = 0x45 + (options.len() / 4) as u8;
    packet[10..12].fill(0);
    let header = packet[..20 + options.len()].chunks(2);
    let sum: u32 = header.map(|pair| u16::from_be_bytes([pair[0], pair[1]]) as u32).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    from_host(packet)
}

fn transit4(destination: &str) -> Vec<u8> {
    from_host(ip4("10.0.0.8", destination, 64, 17, &udp(9, 9)))
}

fn transit6(destination: &str, next_header: u8, payload: &[u8]) -> Vec<u8> {
    from_host(ip6("fd00:a::8", destination, 64, next_header, payload))
}

fn fragment4(mut frame: Vec<u8>) -> Vec<u8> {
    frame[20] = 0x20;
    fix_checksum(&mut frame[14..]);
    frame
}

fn arp(destination: Mac, operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let fixed = [8, 6, 0, 1, 8, 0, 6, 4, 0, operation];
    link(destination, &[&fixed[..], &HOST, &sender, &[0; 6], &target].concat())
}

fn icmp6(kind: u8) -> Vec<u8> {
    let len = match kind {
        133 => 8,
        134 => 16,
        135 | 136 => 24,
        _ => 40,
    };
    [&[kind, 0, 0, 0][..], &vec![0; len - 4]].concat()
}

/// Larger than `wan` takes.
fn large4(may_fragment: bool) -> Vec<u8> {
    let mut packet = udp4("10.0.0.7", "10.2.3.4", 64, &[0; 1473]);
    if may_fragment {
        packet[6] = 0;
        fix_checksum(&mut packet);
    }
    from_host(packet)
}

/// A frame for each reason of the link.
fn of_the_link() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("l2.lacp", bridge(2, &[0x88, 0x09, 1])),
        ("l2.lacp-marker", bridge(2, &[0x88, 0x09, 2])),
        ("l2.oam-efm", bridge(2, &[0x88, 0x09, 3])),
        ("l2.esmc", bridge(2, &[0x88, 0x09, 0x0a])),
        ("l2.stp", bridge(0, &[0, 40, 0x42, 0x42, 3])),
        ("l2.pvst", link([1, 0, 0x0c, 0xcc, 0xcc, 0xcd], &[0, 50, 0xaa, 0xaa, 3, 0, 0, 0x0c, 1, 0x0b])),
        ("l2.lldp", lldp(64)),
        ("l2.cdp", cisco([0x20, 0x00])),
        ("l2.vtp", cisco([0x20, 0x03])),
        ("l2.dtp", cisco([0x20, 0x04])),
        ("l2.pagp", cisco([0x01, 0x04])),
        ("l2.udld", cisco([0x01, 0x11])),
        ("l2.eapol", bridge(3, &[0x88, 0x8e, 1])),
        ("l2.cfm", bridge(0x30, &[0x89, 0x02, 0])),
        ("l2.isis", bridge(0x14, &[0, 40, 0xfe, 0xfe, 3, 0x83])),
        ("l2.gvrp", bridge(0x21, &[0, 40, 0x42, 0x42, 3])),
        ("l2.mvrp", bridge(0x21, &[0x88, 0xf5, 0])),
        ("l2.mmrp", bridge(0x20, &[0x88, 0xf6, 0])),
        ("l2.ptp-event", bridge(0x0e, &[0x88, 0xf7, 0])),
        ("l2.ptp-general", bridge(0x0e, &[0x88, 0xf7, 0x0b])),
        ("l2.rarp", link([0xff; 6], &[0x80, 0x35, 0])),
        ("l2.nhrp", link(LAN_MAC, &[0x20, 0x01, 0])),
        ("l2.pppoe-discovery", link([0xff; 6], &[0x88, 0x63, 0x11, 9, 0, 0, 0, 0])),
        ("l2.ppp-control", link(LAN_MAC, &[0x88, 0x64, 0x11, 0, 0, 1, 0, 6, 0xc0, 0x21])),
        ("l2.reserved-multicast", bridge(0x0b, &[0x88, 0xb5, 7])),
        ("l2.unclaimed", link(LAN_MAC, &[0x88, 0xb5, 7])),
        ("arp.request", arp([0xff; 6], 1, [10, 0, 0, 7], [10, 0, 0, 1])),
        ("arp.reply", arp(LAN_MAC, 2, [10, 0, 0, 7], [10, 0, 0, 1])),
        ("arp.gratuitous", arp([0xff; 6], 1, [10, 0, 0, 7], [10, 0, 0, 7])),
    ]
}

/// A frame for each reason of IPv4 and its groups.
fn of_ip4() -> Vec<(&'static str, Vec<u8>)> {
    let igmp = |kind: u8| [kind, 0, 0, 0, 239, 1, 1, 1];
    vec![
        ("ip4.igmp-query", group4("224.0.0.1", 1, 2, &igmp(0x11))),
        ("ip4.igmp-report", group4("239.1.1.1", 1, 2, &igmp(0x16))),
        ("ip4.igmp-leave", group4("224.0.0.2", 1, 2, &igmp(0x17))),
        ("ip4.multicast-no-route", group4("239.1.1.1", 64, 17, &udp(9, 9))),
        ("ip4.ttl-expired", expires(64)),
        ("ip4.mtu-exceeded", large4(false)),
        ("ip4.needs-fragmentation", large4(true)),
        ("ip4.no-route", no_route(64)),
        ("ip4.reject-route", transit4("10.4.0.1")),
        ("ip4.punt-route", transit4("10.5.0.1")),
        ("ip4.unresolved-neighbor", transit4("10.0.1.99")),
        ("ip4.redirect", transit4("10.0.0.7")),
        ("ip4.options", with_options(&[7, 7, 4, 0, 0, 0, 0, 0])),
        ("ip4.router-alert", with_options(&[148, 4, 0, 0])),
        ("ip4.source-route", with_options(&[131, 7, 4, 10, 0, 1, 2, 0])),
        ("ip4.fragment-for-us", fragment4(to_us(17, &udp(9, 9)))),
        ("ip4.unclaimed", to_us(17, &udp(9, 9))),
    ]
}

/// A frame for each reason of IPv6 and its neighbours.
fn of_ip6() -> Vec<(&'static str, Vec<u8>)> {
    let far = "fd00:2::4";
    let router = "fe80::ff:fe00:1";
    let fragment = [&[17, 0, 0, 1, 0, 0, 0, 7][..], &udp(9, 9)].concat();
    let hop_by_hop = |options: [u8; 6]| [&[17, 0][..], &options, &udp(9, 9)].concat();
    vec![
        ("nd.router-solicitation", to6("ff02::2", 58, &icmp6(133))),
        ("nd.router-advertisement", to6("ff02::1", 58, &icmp6(134))),
        ("nd.solicitation", to6(router, 58, &icmp6(135))),
        ("nd.advertisement", to6(router, 58, &icmp6(136))),
        ("nd.redirect", to6(router, 58, &icmp6(137))),
        ("ip6.mld-query", to6("ff02::1", 58, &icmp6(130))),
        ("ip6.mld-report", to6("ff02::16", 58, &icmp6(143))),
        ("ip6.mld-done", to6("ff02::2", 58, &icmp6(132))),
        ("ip6.all-nodes", to6("ff02::1", 17, &udp(9, 9))),
        ("ip6.all-routers", to6("ff02::2", 17, &udp(9, 9))),
        ("ip6.link-local", to6(router, 17, &udp(9, 9))),
        (
            "ip6.multicast-no-route",
            ethernet([0x33, 0x33, 0, 0, 0, 1], HOST, &ip6("fd00:a::8", "ff0e::1", 64, 17, &udp(9, 9))),
        ),
        ("ip6.hop-limit-expired", expires6(64)),
        ("ip6.packet-too-big", transit6(far, 17, &[0; 1461])),
        ("ip6.no-route", transit6("2001:db8::1", 17, &udp(9, 9))),
        ("ip6.reject-route", transit6("fd00:4::1", 17, &udp(9, 9))),
        ("ip6.punt-route", transit6("fd00:5::1", 17, &udp(9, 9))),
        ("ip6.unresolved-neighbor", transit6("fd00:b::99", 17, &udp(9, 9))),
        ("ip6.redirect", transit6("fd00:a::7", 17, &udp(9, 9))),
        ("ip6.router-alert", transit6(far, 0, &hop_by_hop([5, 2, 0, 0, 1, 0]))),
        ("ip6.hop-by-hop", transit6(far, 0, &hop_by_hop([1, 4, 0, 0, 0, 0]))),
        ("ip6.fragment-for-us", transit6("fd00:a::1", 44, &fragment)),
        ("ip6.unclaimed", transit6("fd00:a::1", 17, &udp(9, 9))),
    ]
}

/// A frame for each reason of what is addressed to us; for some, one for each of their ports.
fn to_the_router() -> Vec<(&'static str, Vec<u8>)> {
    let mut cases = vec![
        ("local.icmp-echo", to_us(1, &[8, 0, 0, 0, 0, 0, 0, 0])),
        ("local.icmp-echo", transit6("fd00:a::1", 58, &icmp6(128))),
        ("local.icmp-echo-reply", to_us(1, &[0; 8])),
        ("local.icmp-error", to_us(1, &[3, 1, 0, 0, 0, 0, 0, 0])),
        ("local.icmp-error", transit6("fd00:a::1", 58, &icmp6(2))),
        ("local.ospf", to_us(89, &[2, 1, 0, 44])),
        ("local.ospf", group4("224.0.0.5", 1, 89, &[2, 1, 0, 44])),
        ("local.ospf", to6("ff02::5", 89, &[3, 1, 0, 36])),
        ("local.pim", group4("224.0.0.13", 1, 103, &[0x20, 0, 0, 0])),
        ("local.pim-register", to_us(103, &[0x21, 0, 0, 0])),
        ("local.vrrp", group4("224.0.0.18", 255, 112, &[0x31, 1, 100, 0])),
        ("local.gre", to_us(47, &[0; 8])),
        ("local.rsvp", to_us(46, &[0; 8])),
        ("local.eigrp", to_us(88, &[0; 20])),
        ("local.rip", group4("224.0.0.9", 1, 17, &udp(520, 520))),
    ];
    for (reason, port) in [
        ("local.babel", 6696),
        ("local.bfd", 3784),
        ("local.bfd-echo", 3785),
        ("local.bfd-lag", 6784),
        ("local.bfd-multihop", 4784),
        ("local.sbfd", 7784),
        ("local.dhcp4", 67),
        ("local.dhcp4", 68),
        ("local.dhcp6", 546),
        ("local.dhcp6", 547),
        ("local.hsrp", 1985),
        ("local.hsrp", 2029),
        ("local.glbp", 3222),
        ("local.rip", 520),
        ("local.ripng", 521),
        ("local.ldp-hello", 646),
        ("local.mpls-oam", 3503),
        ("local.twamp", 862),
        ("local.ntp", 123),
        ("local.dns", 53),
        ("local.radius", 1812),
        ("local.radius", 1813),
        ("local.snmp", 161),
        ("local.ike", 500),
        ("local.esp-in-udp", 4500),
    ] {
        cases.push((reason, to_us(17, &udp(9, port))));
    }
    cases.push(("local.ike", to_us(17, &[&udp(9, 4500)[..8], &[0; 32]].concat())));
    for (reason, port) in [
        ("local.bgp", 179),
        ("local.ssh", 22),
        ("local.ldp", 646),
        ("local.msdp", 639),
        ("local.pcep", 4189),
        ("local.bmp", 11019),
        ("local.tacacs", 49),
        ("local.dns", 53),
        ("local.http", 80),
        ("local.https", 443),
        ("local.gnmi", 9339),
        ("local.p4rt", 9559),
        ("local.netconf", 830),
        ("local.twamp", 862),
    ] {
        cases.push((reason, to_us(6, &tcp(9, port))));
    }
    cases
}

#[test]
fn each_has_its_packet() {
    let mut rig = router_with(MORE);
    let client = client(&mut rig, "a");
    register(&mut rig, "reason:*", "a");
    let rows = rig.rows("reason.list");
    let name_of: BTreeMap<u64, &str> = rows
        .iter()
        .map(|row| (row["id"].as_u64().expect("an id"), row["name"].as_str().expect("a name")))
        .collect();
    // Drops and the punt path's own losses have tests of their own.
    let others = |name: &&str| name.starts_with("drop.") || name.starts_with("engine.");
    let mut left: BTreeSet<&str> = name_of.values().copied().filter(|name| !others(name)).collect();
    for (reason, frame) in [of_the_link(), of_ip4(), of_ip6(), to_the_router()].concat() {
        rig.put(LAN, std::slice::from_ref(&frame));
        assert_eq!(rig.settled("a")["backlog"], 0);
        let records = client.rest();
        let got: Vec<_> =
            records.iter().map(|(header, frame)| (name_of[&(header.reason as u64)], frame)).collect();
        assert_eq!(got, [(reason, &frame)]);
        left.remove(reason);
    }
    assert_eq!(left, BTreeSet::new(), "reasons that no packet of this test produces");
    assert_eq!(rig.take(LAN).len(), 2, "what is redirected is forwarded as well");
    rig.finish();
}

/// Names of the list for what the engine does not do yet: it resolves no neighbours itself.
const LATER: [&str; 2] = ["arp.solicited-reply", "nd.solicited-advertisement"];

#[test]
fn the_list_of_reasons_is_kept_to() {
    let list = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/reference/punt-reasons.md");
    let Ok(list) = std::fs::read_to_string(list) else {
        return println!("SKIPPED: there is no ../shared/reference/punt-reasons.md");
    };
    let mut rig = router();
    let rows = rig.rows("reason.list");
    let mut seen = 0;
    for line in list.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        // | # | name in the engine | known elsewhere as | match | act | class | rate/burst | sources |
        if cells.len() < 10
            || cells[1].parse::<u32>().is_err()
            || cells[2].contains('(') && !cells[2].contains("DF")
        {
            continue;
        }
        let is_name = |word: &&str| {
            word.contains('.') && word.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-'))
        };
        let names: Vec<&str> = cells[2].split([',', ' ', ';', '/']).filter(is_name).collect();
        let limits: Vec<(u64, u64)> = cells[7]
            .split([' ', ';', ','])
            .filter_map(|word| {
                let (rate, burst) = word.split_once('/')?;
                Some((rate.parse().ok()?, burst.parse().ok()?))
            })
            .collect();
        for (at, name) in names.iter().enumerate().filter(|(_, name)| !LATER.contains(name)) {
            // Unclaimed packets have limits of their own, told above the list.
            if name.ends_with(".unclaimed") {
                continue;
            }
            let row = rows.iter().find(|row| row["name"] == **name);
            let row = row.unwrap_or_else(|| panic!("the engine has no {name}"));
            let limit = limits[if limits.len() == names.len() { at } else { 0 }];
            assert_eq!((&row["rate"], &row["burst"]), (&limit.0.into(), &limit.1.into()), "{name}");
            let class = if *name == "l2.udld" {
                "link"
            } else {
                cells[6].split([' ', '/']).next().unwrap_or_default()
            };
            assert_eq!(row["class"], class, "{name}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen} reasons were read from the list");
    for (name, class, rate, burst) in [
        ("ip4.punt-route", "miss", 1000, 400),
        ("ip6.punt-route", "miss", 1000, 400),
        ("ip4.unclaimed", "miss", 250, 100),
        ("ip6.unclaimed", "miss", 250, 100),
        ("l2.unclaimed", "miss", 250, 100),
    ] {
        let row = rig.row("reason.list", "name", name);
        let expected: [Value; 3] = [class.into(), rate.into(), burst.into()];
        assert_eq!([&row["class"], &row["rate"], &row["burst"]], expected.each_ref(), "{name}");
    }
    rig.finish();
}

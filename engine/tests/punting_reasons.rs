//! Reasons that other tables of packets leave out, each produced by a packet that reaches a sink as it came.

mod common;

use common::frames::*;
use common::router::*;

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

#[test]
fn each_has_its_packet() {
    let mut rig = router();
    let client = client(&mut rig, "a");
    register(&mut rig, "reason:*", "a");
    let icmp6 = |kind: u8| [&[kind, 0, 0, 0][..], &[0; 36]].concat();
    let mut cases = vec![
        ("l2.esmc", bridge(2, &[0x88, 0x09, 0x0a])),
        ("l2.gvrp", bridge(0x21, &[0, 40, 0x42, 0x42, 3])),
        ("l2.mvrp", bridge(0x21, &[0x88, 0xf5, 0])),
        ("l2.mmrp", bridge(0x20, &[0x88, 0xf6, 0])),
        ("l2.vtp", cisco([0x20, 0x03])),
        ("l2.dtp", cisco([0x20, 0x04])),
        ("l2.pagp", cisco([0x01, 0x04])),
        ("l2.nhrp", link(LAN_MAC, &[0x20, 0x01, 0])),
        ("l2.rarp", link([0xff; 6], &[0x80, 0x35, 0])),
        ("l2.ppp-control", link(LAN_MAC, &[0x88, 0x64, 0x11, 0, 0, 1, 0, 6, 0xc0, 0x21])),
        ("l2.ptp-event", bridge(0x0e, &[0x88, 0xf7, 0])),
        ("l2.ptp-general", bridge(0x0e, &[0x88, 0xf7, 0x0b])),
        (
            "ip4.igmp-leave",
            ethernet(
                [1, 0, 0x5e, 0, 0, 2],
                HOST,
                &ip4("10.0.0.7", "224.0.0.2", 1, 2, &[0x17, 0, 0, 0, 239, 1, 1, 1]),
            ),
        ),
        ("ip6.mld-done", to6("ff02::2", 58, &icmp6(132))),
        ("ip6.all-nodes", to6("ff02::1", 17, &udp(9, 9))),
        ("ip6.all-routers", to6("ff02::2", 17, &udp(9, 9))),
        ("ip6.link-local", to6("fe80::ff:fe00:1", 17, &udp(9, 9))),
        ("nd.redirect", to6("fe80::ff:fe00:1", 58, &icmp6(137))),
        ("local.icmp-echo-reply", to_us(1, &[0; 8])),
        ("local.gre", to_us(47, &[0; 8])),
        ("local.rsvp", to_us(46, &[0; 8])),
        ("local.eigrp", to_us(88, &[0; 20])),
    ];
    for (reason, port) in [
        ("local.babel", 6696),
        ("local.bfd-echo", 3785),
        ("local.bfd-lag", 6784),
        ("local.sbfd", 7784),
        ("local.hsrp", 1985),
        ("local.hsrp", 2029),
        ("local.glbp", 3222),
        ("local.ripng", 521),
        ("local.mpls-oam", 3503),
        ("local.twamp", 862),
        ("local.ntp", 123),
        ("local.dns", 53),
        ("local.radius", 1812),
        ("local.radius", 1813),
        ("local.ike", 500),
        ("local.ike", 4500),
    ] {
        cases.push((reason, to_us(17, &udp(9, port))));
    }
    for (reason, port) in [
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
    let names = rig.rows("reason.list");
    for (reason, frame) in cases {
        rig.put(LAN, std::slice::from_ref(&frame));
        let (header, received) = client.records(1).remove(0);
        let row = names.iter().find(|row| row["id"] == header.reason).expect("a reason of the list");
        assert_eq!((row["name"].as_str(), received), (Some(reason), frame));
    }
    rig.finish();
}

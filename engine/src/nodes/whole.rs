//! The whole graph from bytes that nobody thought of: it takes whatever comes, ends it at one edge, and its books balance.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

use crate::testing::*;

fn to_us(ethertype: &str, l3: &[u8]) -> Vec<u8> {
    [LAN_MAC.to_vec(), HOST_MAC.to_vec(), hex(ethertype), l3.to_vec()].concat()
}

#[test]
fn a_packet_goes_its_way() {
    let mut whole = Whole::new();
    let ttl1 = sealed(changed(&udp4(FAR4, 7), &[(8, &[1])]));
    let redirected = udp4([10, 6, 0, 1], 7);
    let alert = ip6(0, FAR6, &hex("11 00 0502 0000 0100"));
    for (frame, way) in [
        (
            to_us("0800", &udp4(FAR4, 7)),
            "ether-input Ip4, ip4-input Lookup, ip4-lookup Rewrite, ip4-rewrite Transmit, transmit NoPort",
        ),
        (
            to_us("86dd", &udp6(FAR6, 7)),
            "ether-input Ip6, ip6-input Lookup, ip6-lookup Rewrite, ip6-rewrite Transmit, transmit NoPort",
        ),
        (
            to_us("0800", &ttl1),
            "ether-input Ip4, ip4-input Lookup, ip4-lookup Rewrite, ip4-rewrite Expired, ip4.ttl-expired",
        ),
        (
            to_us("0800", &redirected),
            "ether-input Ip4, ip4-input Lookup, ip4-lookup Redirect, ip4-rewrite Transmit, transmit NoPort, ip4.redirect",
        ),
        (
            to_us("0800", &udp4(LAN4, 3784)),
            "ether-input Ip4, ip4-input Lookup, ip4-lookup Local, ip4-local Claimed, local.bfd",
        ),
        (
            to_us("8100 0064 86dd", &udp6(LINK_LOCAL6, 3784)),
            "ether-input Ip6, ip6-input Local, ip6-local Claimed, local.bfd",
        ),
        (
            to_us("86dd", &alert),
            "ether-input Ip6, ip6-input Lookup, ip6-lookup HopByHop, ip6-hop-by-hop RouterAlert, ip6.router-alert",
        ),
        (
            to_us("0806", &hex("0001 0800 06 04 0001 020000000077 0a000077 000000000000 0a000001")),
            "ether-input Arp, arp-input Request, arp.request",
        ),
        (to_us("8809", &[1, 1]), "ether-input Other, l2-dispatch Lacp, l2.lacp"),
        (to_us("0806", &[]), "ether-input Arp, arp-input Short"),
        (Vec::new(), "ether-input Short"),
    ] {
        // The graph stands in topological order and `way` in the order of the graph; no way visits a node twice.
        let mut steps: Vec<_> = whole.way(&frame).split(", ").map(str::to_owned).collect();
        let mut expected: Vec<_> = way.split(", ").map(str::to_owned).collect();
        steps.sort();
        expected.sort();
        assert_eq!(steps, expected, "{frame:02x?}");
    }
    whole.assert_balanced();
}

/// An IPv4 packet of any kind that may come here; most are good.
fn any_ip4() -> impl Strategy<Value = Vec<u8>> {
    let destination = prop_oneof![
        2 => Just(LAN4),
        2 => Just(FAR4),
        // The router has a route of each kind from 10.2 to 10.9.
        2 => (2_u8..=9).prop_map(|net| [10, net, 0, 1]),
        1 => select(vec![[10, 0, 1, 3], [10, 0, 0, 255], [224, 0, 0, 22], [239, 1, 1, 1], [255; 4], [127, 0, 0, 1], [0; 4]]),
    ];
    let source =
        prop_oneof![9 => Just(HOST4), 1 => any::<[u8; 4]>(), 1 => Just([0; 4]), 1 => Just([169, 254, 0, 9])];
    let protocol = prop_oneof![select(vec![1_u8, 2, 6, 17, 89, 103]), any::<u8>()];
    let option = prop_oneof![select(vec![0_u8, 1, 3, 4, 7, 8, 131, 137, 148]), any::<u8>()];
    let [alert, route] = ["94040000", "8307040a000001 00"].map(hex);
    let options =
        prop_oneof![6 => Just(Vec::new()), 2 => vec(option, 40), 1 => Just(alert), 1 => Just(route)];
    let fragment = prop_oneof![4 => Just([0_u8, 0]), 1 => Just([0x40, 0]), 1 => any::<[u8; 2]>()];
    (destination, source, protocol, ttl(), options, fragment, payload()).prop_map(
        |(destination, source, protocol, ttl, options, fragment, payload)| {
            let words = 5 + options.len() as u8 / 4;
            let l3 = ip4(protocol, destination, &[options, payload].concat());
            sealed(changed(&l3, &[(0, &[0x40 | words]), (6, &fragment), (8, &[ttl]), (12, &source)]))
        },
    )
}

/// An IPv6 packet of any kind that may come here; most are good.
fn any_ip6() -> impl Strategy<Value = Vec<u8>> {
    let destination = prop_oneof![
        2 => select(vec![LAN6, LINK_LOCAL6]),
        2 => Just(FAR6),
        2 => (2_u16..=9).prop_map(|net| ip6_address(0xfd00, net, 1)),
        2 => (0_u16..16, 1_u16..4).prop_map(|(scope, last)| ip6_address(0xff00 | scope, 0, last)),
        1 => select(vec![ip6_address(0xfd00, 0xb, 3), ip6_address(0, 0, 0), ip6_address(0, 0, 1), HOST_LINK_LOCAL6]),
        1 => Just((0xffff_0a00_0001_u128).to_be_bytes()),
    ];
    let source = prop_oneof![
        6 => Just(HOST6),
        4 => Just(HOST_LINK_LOCAL6),
        1 => select(vec![[0; 16], ip6_address(0, 0, 1), ip6_address(0xff02, 0, 1), LAN6]),
        1 => any::<[u8; 16]>(),
    ];
    let header =
        (select(EXTENSIONS.to_vec()), prop_oneof![5 => Just(0_u8), 1 => any::<u8>()], header_bytes());
    let headers = prop_oneof![3 => Just(Vec::new()), 2 => vec(header, 0..10)];
    let transport = prop_oneof![select(vec![6_u8, 17, 58, 58, 58, 59, 89, 103]), any::<u8>()];
    (destination, source, headers, transport, ttl(), payload()).prop_map(
        |(destination, source, headers, transport, ttl, payload)| {
            let first = headers.first().map_or(transport, |(kind, ..)| *kind);
            let mut behind = Vec::new();
            for (index, (_, words, bytes)) in headers.iter().enumerate() {
                behind.push(headers.get(index + 1).map_or(transport, |(kind, ..)| *kind));
                behind.push(*words);
                behind.extend(bytes);
            }
            behind.extend(payload);
            changed(&ip6(first, destination, &behind), &[(7, &[ttl]), (8, &source)])
        },
    )
}

const EXTENSIONS: [u8; 5] = [0, 43, 44, 51, 60];

/// What stands behind next header and length in an extension header of 8 bytes: router alert, padding, nothing, anything.
fn header_bytes() -> impl Strategy<Value = [u8; 6]> {
    prop_oneof![
        Just([5, 2, 0, 0, 1, 0]),
        Just([1, 4, 0, 0, 0, 0]),
        Just([0, 0, 0, 0, 0, 0]),
        Just([0, 1, 0, 0, 0, 9]),
        any::<[u8; 6]>(),
    ]
}

fn ttl() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(64_u8), 3 => Just(255), 1 => 0_u8..3]
}

/// What a transport header may begin with: ICMP types and codes, well-known ports; now and then more than an MTU of it.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![3 => select((130_u8..=137).chain([8, 128, 143, 0x16]).collect::<Vec<_>>()), 1 => any::<u8>()];
    let code = prop_oneof![3 => Just(0_u8), 1 => any::<u8>()];
    let port = prop_oneof![select(vec![22_u16, 179, 3784, 319, 68]), any::<u16>()];
    let len = prop_oneof![8 => 0_usize..64, 1 => 1400_usize..1600];
    (kind, code, port, len).prop_map(|(kind, code, port, len)| {
        let mut payload = [&[kind, code][..], &port.to_be_bytes()].concat();
        payload.resize(len, 0);
        payload
    })
}

/// A frame of the link's own protocols.
fn any_control() -> impl Strategy<Value = Vec<u8>> {
    let ethertypes =
        "0806 8809 88f7 8863 8864 8870 0020 00fe 0008 05dd 2001 8035 88f5 88f6 8902 88cc 888e 8808";
    let rests = [
        "0001 0800 06 04 0001 020000000077 0a000077 000000000000 0a000001",
        "0001 0800 06 04 0002 020000000077 0a000077 020000000001 0a000077",
        "42 42 03",
        "fe fe 03 83",
        "83",
        "aa aa 03 00000c 2000",
        "aa aa 03 00000c 2003",
        "aa aa 03 00000c 2004",
        "aa aa 03 00000c 0104",
        "aa aa 03 00000c 0111",
        "aa aa 03 00000c 010b",
        "11 00 0001 0008 c021",
        "01",
        "02",
        "03",
        "0a",
        "0b",
    ];
    let destinations =
        ["020000000001", "0180c2000000", "0180c2000002", "0180c2000021", "01000ccccccc", "ffffffffffff"];
    let ethertypes: Vec<_> = ethertypes.split(' ').collect();
    let padding = prop_oneof![1 => 0_usize..3, 3 => Just(40)];
    (select(destinations.to_vec()), select(ethertypes), select(rests.to_vec()), padding).prop_map(
        |(destination, ethertype, rest, padding)| {
            [hex(destination), HOST_MAC.to_vec(), hex(ethertype), hex(rest), vec![0; padding]].concat()
        },
    )
}

/// A frame of some kind that is good, or nearly.
fn sensible() -> impl Strategy<Value = Vec<u8>> {
    let tags = || prop_oneof![4 => Just(""), 1 => select(vec!["8100 0064", "8100 0000", "88a8 0000 8100 0064", "8100 0065"])];
    let over = |ethertype| move |(l3, tags): (Vec<u8>, &str)| to_us(&format!("{tags} {ethertype}"), &l3);
    let padded = |packets| {
        (packets, 0_usize..40).prop_map(|(packet, padding): (Vec<u8>, _)| [packet, vec![0; padding]].concat())
    };
    prop_oneof![
        2 => (padded(any_ip4().boxed()), tags()).prop_map(over("0800")),
        3 => (padded(any_ip6().boxed()), tags()).prop_map(over("86dd")),
        1 => any_control(),
    ]
}

/// Runs a burst of whatever `frames` makes, whole, chopped and in two segments, and balances the books after each.
fn survives(frames: impl Strategy<Value = Vec<u8>>, cases: u32) {
    let whole = std::cell::RefCell::new(Whole::new());
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let burst = vec((frames, any::<Index>()), 1..=Whole::BURST / 3);
    let run = runner.run(&burst, |burst| {
        let mut whole = whole.borrow_mut();
        let frames = burst.iter().flat_map(|(frame, at)| {
            let at = at.index(frame.len() + 1);
            let (front, back) = frame.split_at(at);
            [
                dpdk_sys::Packet::from_bytes(frame),
                dpdk_sys::Packet::from_bytes(front),
                dpdk_sys::Packet::from_segments(&[front, back]),
            ]
        });
        whole.pass(frames);
        whole.assert_balanced();
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
    assert_eq!(dpdk_sys::lost(), 0, "packets went out of scope without a verdict");
}

#[test]
fn any_bytes_end_at_an_edge() {
    let addressed = (prop_oneof![Just(LAN_MAC), Just([0xff; 6]), any::<[u8; 6]>()], vec(any::<u8>(), 0..256))
        .prop_map(|(destination, rest)| [destination.to_vec(), rest].concat());
    survives(prop_oneof![addressed, vec(any::<u8>(), 0..2048)], 10_000);
}

#[test]
fn any_bytes_behind_an_ethernet_header_end_at_an_edge() {
    let ethertype = prop_oneof![
        Just("0800"),
        Just("86dd"),
        Just("0806"),
        Just("8100 0064 86dd"),
        Just("8809"),
        Just("88f7")
    ];
    survives(
        (ethertype, vec(any::<u8>(), 0..256)).prop_map(|(ethertype, rest)| to_us(ethertype, &rest)),
        10_000,
    );
}

#[test]
fn sensible_packets_end_at_an_edge() {
    survives(sensible(), 10_000);
}

#[test]
fn sensible_packets_with_a_wrong_byte_end_at_an_edge() {
    let wrong = (sensible(), any::<Index>(), any::<u8>()).prop_map(|(mut frame, at, byte)| {
        let at = at.index(frame.len().min(100));
        frame[at] = byte;
        // Where only the checksum is wrong now nothing behind it would be seen.
        if frame[12..14] == [8, 0] && frame.len() >= 34 {
            let l3 = sealed(frame.split_off(14));
            frame.extend(l3);
        }
        frame
    });
    survives(wrong, 10_000);
}

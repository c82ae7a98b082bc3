//! The whole engine on ring ports: exact frames in, exact frames out, exact counters.

mod common;

use common::Rig;
use common::frames::*;
use common::router::*;

#[test]
fn a_packet_leaves_with_new_addresses_and_one_hop_less() {
    let mut rig = router();
    for (packet, expected) in [
        (udp4("10.0.0.7", "10.2.3.4", 64, &[1; 18]), udp4("10.0.0.7", "10.2.3.4", 63, &[1; 18])),
        (udp6("fd00:a::7", "fd00:2::4", 64, &[2; 18]), udp6("fd00:a::7", "fd00:2::4", 63, &[2; 18])),
        (udp4("10.0.0.7", "10.0.1.2", 2, &[3; 1400]), udp4("10.0.0.7", "10.0.1.2", 1, &[3; 1400])),
    ] {
        rig.put(LAN, &[from_host(packet)]);
        assert_eq!(rig.take(WAN), [ethernet(GATEWAY, WAN_MAC, &expected)]);
    }
    assert_eq!(rig.take(LAN), Vec::<Vec<u8>>::new());
    rig.finish();
}

#[test]
fn exceptions_are_counted_under_their_reasons_and_drops_under_their_texts() {
    let mut rig = router_with(
        r#"
        [[route]]
        prefix = "10.3.0.0/16"
        action = "blackhole"
        [[route]]
        prefix = "10.4.0.0/16"
        action = "unreachable"
        [[route]]
        prefix = "10.5.0.0/16"
        action = "punt"
    "#,
    );
    let mut bad_sum = udp4("10.0.0.7", "10.2.3.4", 64, &[]);
    bad_sum[10] ^= 1;
    let frames = [
        from_host(udp4("10.0.0.7", "10.2.3.4", 1, &[])),
        from_host(udp4("10.0.0.7", "10.9.3.4", 64, &[])),
        from_host(udp4("10.0.0.7", "10.3.3.4", 64, &[])),
        from_host(udp4("10.0.0.7", "10.4.3.4", 64, &[])),
        from_host(udp4("10.0.0.7", "10.5.3.4", 64, &[])),
        from_host(udp4("10.0.0.7", "10.0.1.99", 64, &[])),
        from_host(udp4("10.0.0.7", "10.0.1.255", 64, &[])),
        from_host(udp4("10.0.0.7", "10.0.0.1", 64, &[])),
        from_host(udp6("fd00:a::7", "fd00:2::4", 1, &[])),
        from_host(bad_sum),
        ethernet(WAN_MAC, HOST, &udp4("10.0.0.7", "10.2.3.4", 64, &[])),
        vec![0; 13],
    ];
    rig.put(LAN, &frames);
    for reason in [
        "ip4.ttl-expired",
        "ip4.no-route",
        "ip4.reject-route",
        "ip4.punt-route",
        "ip4.unresolved-neighbor",
        "ip4.unclaimed",
        "ip6.hop-limit-expired",
    ] {
        assert_eq!(rig.punted(reason), 1, "{reason}");
    }
    for (node, text) in [
        ("ip4-lookup", "blackhole route"),
        ("ip4-lookup", "broadcast of another subnet"),
        ("ip4-input", "header checksum is wrong"),
        ("ether-input", "destination MAC is not ours"),
        ("ether-input", "shorter than an Ethernet header"),
    ] {
        assert_eq!(rig.dropped(node, text), 1, "{node}: {text}");
    }
    assert_eq!(rig.take(WAN).len(), 0);
    rig.finish();
}

#[test]
fn tags_are_read_and_written() {
    let mut rig = router();
    let (vlan, customer) = ([0x81, 0, 0, 100], [0x88, 0xa8, 0, 200, 0x81, 0, 0, 7]);
    let packet = |source: &str, to: &str, ttl| udp4(source, to, ttl, &[5; 100]);
    rig.put(
        LAN,
        &[
            tagged(LAN_MAC, HOST, &vlan, &packet("10.100.0.7", "10.2.0.1", 9)),
            tagged(LAN_MAC, HOST, &customer, &packet("10.200.0.7", "10.2.0.2", 9)),
            tagged(LAN_MAC, HOST, &vlan, &packet("10.100.0.7", "10.200.0.7", 9)),
            tagged(LAN_MAC, HOST, &[0x81, 0, 0, 101], &packet("10.100.0.7", "10.2.0.1", 9)),
        ],
    );
    rig.put(
        WAN,
        &[
            ethernet(WAN_MAC, GATEWAY, &packet("10.2.0.1", "10.100.0.7", 9)),
            ethernet(WAN_MAC, GATEWAY, &packet("10.2.0.1", "10.200.0.7", 9)),
        ],
    );
    assert_eq!(
        rig.take(WAN),
        [
            ethernet(GATEWAY, WAN_MAC, &packet("10.100.0.7", "10.2.0.1", 8)),
            ethernet(GATEWAY, WAN_MAC, &packet("10.200.0.7", "10.2.0.2", 8)),
        ]
    );
    assert_eq!(
        rig.take(LAN),
        [
            tagged(HOST, LAN_MAC, &customer, &packet("10.100.0.7", "10.200.0.7", 8)),
            tagged(HOST, LAN_MAC, &vlan, &packet("10.2.0.1", "10.100.0.7", 8)),
            tagged(HOST, LAN_MAC, &customer, &packet("10.2.0.1", "10.200.0.7", 8)),
        ]
    );
    assert_eq!(rig.dropped("ether-input", "no interface has these VLAN tags"), 1);
    let interfaces = rig.interfaces();
    assert_eq!((interfaces["lan.100"].rx_packets, interfaces["lan.100"].tx_packets), (2, 1));
    assert_eq!((interfaces["customer"].rx_packets, interfaces["customer"].tx_packets), (1, 2));
    assert_eq!((interfaces["wan"].rx_packets, interfaces["wan"].tx_packets), (2, 2));
    rig.finish();
}

#[test]
fn what_is_larger_than_the_egress_takes_is_punted_and_what_only_trails_is_cut() {
    let mut rig = router();
    let mut may_fragment = udp4("10.0.0.7", "10.2.0.1", 9, &[0; 1473]);
    may_fragment[6] = 0;
    fix_checksum(&mut may_fragment);
    let mut padded = from_host(udp4("10.0.0.7", "10.2.0.1", 9, &[7; 1472]));
    padded.extend([0; 40]);
    rig.put(
        LAN,
        &[
            from_host(udp4("10.0.0.7", "10.2.0.1", 9, &[0; 1473])),
            from_host(may_fragment),
            from_host(udp6("fd00:a::7", "fd00:2::1", 9, &[0; 1453])),
            padded,
        ],
    );
    assert_eq!(rig.punted("ip4.mtu-exceeded"), 1);
    assert_eq!(rig.punted("ip4.needs-fragmentation"), 1);
    assert_eq!(rig.punted("ip6.packet-too-big"), 1);
    assert_eq!(rig.take(WAN), [ethernet(GATEWAY, WAN_MAC, &udp4("10.0.0.7", "10.2.0.1", 8, &[7; 1472]))]);
    rig.finish();
}

#[test]
fn a_frame_of_nine_kilobytes_in_five_segments_is_forwarded_whole() {
    let config = ROUTER.replace("port = \"net_ring_wan\"", "mtu = 9000\nport = \"net_ring_wan\"");
    let mut rig = Rig::new("0", &["lan", "wan"], &config);
    let payload: Vec<u8> = (0..8972u32).map(|at| at as u8).collect();
    rig.put(LAN, &[from_host(udp4("10.0.0.7", "10.2.0.1", 9, &payload))]);
    assert_eq!(rig.take(WAN), [ethernet(GATEWAY, WAN_MAC, &udp4("10.0.0.7", "10.2.0.1", 8, &payload))]);
    rig.finish();
}

#[test]
fn two_workers_share_a_port_with_one_transmit_queue() {
    let mut rig = Rig::new("0@0,1@0,2@1", &["lan", "wan"], ROUTER);
    assert_eq!(rig.workers.len(), 2);
    let there = |ttl| from_host(udp4("10.0.0.7", "10.2.3.4", ttl, &[1; 18]));
    let back = |ttl| ethernet(WAN_MAC, GATEWAY, &udp4("10.2.3.4", "10.0.0.7", ttl, &[2; 18]));
    rig.put(LAN, &vec![there(9); 300]);
    rig.put(WAN, &vec![back(9); 200]);
    let sent = ethernet(GATEWAY, WAN_MAC, &udp4("10.0.0.7", "10.2.3.4", 8, &[1; 18]));
    assert_eq!(rig.take(WAN), vec![sent; 300]);
    let sent = ethernet(HOST, LAN_MAC, &udp4("10.2.3.4", "10.0.0.7", 8, &[2; 18]));
    assert_eq!(rig.take(LAN), vec![sent; 200]);
    let interfaces = rig.interfaces();
    assert_eq!((interfaces["wan"].tx_packets, interfaces["lan"].tx_packets), (300, 200));
    rig.finish();
}

#[test]
fn what_a_full_transmit_queue_does_not_take_is_dropped_and_counted() {
    let mut rig = router();
    // A ring of 1024 takes 1023.
    let frame = from_host(udp4("10.0.0.7", "10.2.3.4", 9, &[1; 18]));
    rig.put(LAN, &vec![frame; 1100]);
    assert_eq!(rig.dropped("transmit", "transmit queue is full"), 1100 - 1023);
    assert_eq!(rig.take(WAN).len(), 1023);
    let interfaces = rig.interfaces();
    assert_eq!((interfaces["wan"].tx_packets, interfaces["wan"].tx_dropped), (1023, 77));
    rig.finish();
}

#[test]
fn flows_stay_on_their_path_when_another_goes() {
    let neighbors: String = (3..=5)
        .map(|last| {
            format!("[[neighbor]]\naddress = \"10.0.1.{last}\"\nmac = \"02:00:00:00:00:2{last}\"\ninterface = \"wan\"\n")
        })
        .collect();
    let route = "[[route]]\nprefix = \"10.6.0.0/16\"\nvia = [\"10.0.1.2\", \"10.0.1.3\", \"10.0.1.4\", \"10.0.1.5\"]\n";
    let mut rig = router_with(&format!("{neighbors}{route}"));
    let flows: Vec<_> = (0..512u16)
        .map(|flow| from_host(udp4("10.0.0.7", &format!("10.6.{}.{}", flow / 256, flow % 256), 9, &[1; 18])))
        .collect();
    let paths = |rig: &mut Rig| -> Vec<u8> {
        rig.put(LAN, &flows);
        rig.take(WAN).iter().map(|frame| frame[5]).collect()
    };
    let before = paths(&mut rig);
    for path in 0x22..=0x25 {
        let share = before.iter().filter(|there| **there == path).count();
        assert!((80..=176).contains(&share), "{share} of 512 flows by {path:x}");
    }
    let others = r#"{"prefix": "10.6.0.0/16", "via": ["10.0.1.2", "10.0.1.3", "10.0.1.5"]}"#;
    rig.call("route.replace", others);
    let after = paths(&mut rig);
    for (flow, (before, after)) in before.iter().zip(&after).enumerate() {
        assert!(before == after || *before == 0x24, "flow {flow} went from {before:x} to {after:x}");
        assert_ne!(*after, 0x24, "flow {flow} still goes by the path that is gone");
    }
    let all = r#"{"prefix": "10.6.0.0/16", "via": ["10.0.1.2", "10.0.1.3", "10.0.1.4", "10.0.1.5"]}"#;
    rig.call("route.replace", all);
    assert_eq!(paths(&mut rig), before);
    // A path whose neighbour is not known asks for it by its own flows, and the others go on.
    rig.call("neighbor.del", r#"{"address": "10.0.1.4", "interface": "wan"}"#);
    let theirs: Vec<u8> = before.iter().copied().filter(|path| *path != 0x24).collect();
    assert_eq!(paths(&mut rig), theirs);
    assert_eq!(rig.punted("ip4.unresolved-neighbor"), (before.len() - theirs.len()) as u64);
    rig.call("neighbor.add", r#"{"address": "10.0.1.4", "mac": "02:00:00:00:00:24", "interface": "wan"}"#);
    assert_eq!(paths(&mut rig), before);
    rig.finish();
}

#[test]
fn an_interface_that_is_down_neither_takes_nor_sends() {
    let mut rig = router();
    let there = from_host(udp4("10.0.0.7", "10.2.3.4", 9, &[1; 18]));
    rig.call("interface.set", r#"{"name": "wan", "up": false}"#);
    rig.put(LAN, std::slice::from_ref(&there));
    rig.put(WAN, &[ethernet(WAN_MAC, GATEWAY, &udp4("10.2.3.4", "10.0.0.7", 9, &[2; 18]))]);
    assert_eq!(rig.dropped("ip4-lookup", "egress interface is down"), 1);
    assert_eq!(rig.dropped("ether-input", "interface is down"), 1);
    rig.call("interface.set", r#"{"name": "wan", "up": true, "mac": "02:00:00:00:00:42"}"#);
    rig.put(LAN, &[there]);
    let sent = udp4("10.0.0.7", "10.2.3.4", 8, &[1; 18]);
    assert_eq!(rig.take(WAN), [ethernet(GATEWAY, [2, 0, 0, 0, 0, 0x42], &sent)]);
    rig.finish();
}

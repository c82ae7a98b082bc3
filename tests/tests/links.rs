//! Links of all kinds: tags in tags, frames of 9000 bytes, several equal ways.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use tests::engine::{Launch, sent};
use tests::packets::{forwarded, frame, from, ip4, ip6, udp, unpadded};
use tests::plan::{self, HOST, Mac, Port, UPSTREAM};

/// The router of the plan with something more in its configuration.
fn router(more: &str) -> Launch {
    Launch::new().config(plan::config("net_pcap0", "net_pcap1") + more).lcores("0@0,1@1")
}

fn frames(frames: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    frames.iter().map(Vec::as_slice)
}

fn packet(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    udp(ip4(source.into(), destination.into()), 5000, 5000, &[7; 100])
}

/// The same frame with other bytes between its addresses and its ethertype.
fn tagged(mut frame: Vec<u8>, tags: &[u8]) -> Vec<u8> {
    frame.splice(12..12, tags.iter().copied());
    frame
}

/// The same packet with one hop less.
fn hop_less(packet: &[u8]) -> Vec<u8> {
    forwarded(&from(&HOST, packet), &UPSTREAM)[14..].to_vec()
}

#[test]
fn tags_in_tags_are_interfaces_of_their_own() {
    const QINQ: [u8; 8] = [0x88, 0xa8, 0, 30, 0x81, 0x00, 0, 7];
    const QINQ_OLD: [u8; 8] = [0x81, 0x00, 0, 30, 0x81, 0x00, 0, 7];
    const OUTER: [u8; 4] = [0x88, 0xa8, 0, 30];
    let engine = router(
        r#"
[interface.ring]
parent = "lan"
vlan = 30
inner = 7
tpid = "802.1ad"
addresses = ["10.30.7.1/24"]

[interface.old]
parent = "lan"
vlan = 30
inner = 7
addresses = ["10.30.8.1/24"]

[interface.outer]
parent = "lan"
vlan = 30
tpid = "802.1ad"
addresses = ["10.30.9.1/24"]

[[neighbor]]
address = "10.30.7.7"
mac = "02:00:00:00:1e:07"
interface = "ring"
"#,
    );
    let mac: Mac = [2, 0, 0, 0, 0x1e, 7];
    let there = packet([10, 30, 7, 7], [10, 2, 0, 1]);
    let back = packet([10, 2, 0, 1], [10, 30, 7, 7]);
    let plain = unpadded(Port::Lan.mac(), mac, None, 0x0800, &there);
    let lan = [&QINQ[..], &QINQ_OLD, &OUTER, &[0x88, 0xa8, 0, 31]].map(|tags| tagged(plain.clone(), tags));
    let wan = [from(&UPSTREAM, &back)];
    let engine = engine.captures([frames(&lan), frames(&wan)]).start();
    engine.received(5);
    for (interface, packets) in [("lan", 4), ("ring", 1), ("old", 1), ("outer", 1), ("wan", 1)] {
        assert_eq!(engine.interface(interface, "rx_packets"), packets, "{interface}");
    }
    assert_eq!(engine.drops("no interface has these VLAN tags"), 1);
    assert_eq!(engine.interface("ring", "tx_packets"), 1);
    let files = engine.finish();
    let out = unpadded(UPSTREAM.mac, Port::Wan.mac(), None, 0x0800, &hop_less(&there));
    assert_eq!(sent(&files, Port::Wan), vec![out; 3]);
    let in_ring = tagged(unpadded(mac, Port::Lan.mac(), None, 0x0800, &hop_less(&back)), &QINQ);
    assert_eq!(sent(&files, Port::Lan), [in_ring]);
}

#[test]
fn frames_of_9000_bytes_come_through_whole() {
    let config = plan::config("net_pcap0", "net_pcap1")
        .replace("[interface.lan]\n", "[interface.lan]\nmtu = 9000\n")
        .replace("[interface.wan]\n", "[interface.wan]\nmtu = 9000\n");
    let payload: Vec<u8> = (0..9000 - 48).map(|index| index as u8).collect();
    let packets: Vec<Vec<u8>> = [1500, 2000, 2034, 2035, 4100, 9000 - 48]
        .into_iter()
        .flat_map(|len| {
            let ip = ip4([10, 10, 0, 9].into(), [10, 2, 0, 9].into());
            let ip6 = ip6("fd00:10::9".parse().unwrap(), "2001:db8::9".parse().unwrap());
            [udp(ip, 5000, 5000, &payload[..len]), udp(ip6, 5000, 5000, &payload[..len])]
        })
        .collect();
    let lan: Vec<Vec<u8>> = packets.iter().map(|packet| from(&HOST, packet)).collect();
    let engine = Launch::new().config(config).lcores("0@0,1@1").captures([frames(&lan), frames(&[])]).start();
    engine.received(lan.len() as u64);
    assert_eq!(engine.interface("wan", "tx_packets"), lan.len() as u64, "{}", engine.ok("stats drops"));
    let files = engine.finish();
    let mut expected: Vec<_> = lan.iter().map(|frame| forwarded(frame, &UPSTREAM)).collect();
    let mut sent = sent(&files, Port::Wan);
    expected.sort();
    sent.sort();
    assert!(sent == expected, "a frame of {:?} bytes", sent.iter().map(Vec::len).collect::<Vec<_>>());
}

/// Which of the next hops 10.0.1.LAST each of a thousand flows takes.
fn paths(last: &[u8]) -> BTreeMap<Vec<u8>, u8> {
    let neighbors: String = last
        .iter()
        .filter(|last| **last != 2)
        .map(|last| {
            format!(
                "\n[[neighbor]]\naddress = \"10.0.1.{last}\"\nmac = \"02:00:00:00:0b:{last:02x}\"\ninterface = \"wan\"\n"
            )
        })
        .collect();
    let hops: Vec<String> = last.iter().map(|last| format!("\"10.0.1.{last}\"")).collect();
    let route = format!("\n[[route]]\nprefix = \"10.20.0.0/16\"\nvia = [{}]\n", hops.join(", "));
    let flow = |index: u16| {
        let source = Ipv4Addr::new(10, 10, (index >> 8) as u8, index as u8);
        let ip = ip4(source, [10, 20, 0, 1].into());
        frame(Port::Lan.mac(), HOST.mac, None, 0x0800, &udp(ip, 1000 + index % 7, 53, b"which way?"))
    };
    // Each flow has two packets.
    let lan: Vec<Vec<u8>> = (0..1000).chain(0..1000).map(flow).collect();
    let engine = router(&(neighbors + &route)).captures([frames(&lan), frames(&[])]).start();
    engine.received(lan.len() as u64);
    let mut paths = BTreeMap::new();
    for frame in sent(&engine.finish(), Port::Wan) {
        let path = frame[5];
        let before = paths.insert(frame[14..].to_vec(), path);
        assert!(before.is_none_or(|before| before == path), "a flow takes two paths");
    }
    assert_eq!(paths.len(), 1000);
    paths
}

#[test]
fn equal_ways_share_flows_and_a_flow_keeps_its_way_when_another_goes() {
    let (all, fewer) = (paths(&[2, 3, 4, 5]), paths(&[2, 3, 5]));
    for path in 2..=5 {
        let flows = all.values().filter(|taken| **taken == path).count();
        assert!((180..=320).contains(&flows), "{flows} of 1000 flows go to 10.0.1.{path}");
    }
    for (flow, path) in &all {
        let now = fewer[flow];
        assert!(now == *path || *path == 4, "a flow went from 10.0.1.{path} to 10.0.1.{now}");
    }
}

//! An attack on a router's control plane, and whom it is to spare: what comes in on two interfaces.
//!
//! On `lan` are the good ones: 32 BFD sessions, 8 BGP peers and 20 hosts that ask for the router's MAC, all at their normal rates, and traffic
//! between hosts and customers, as much as the router forwards. On `wan` is the flood: whatever a router has to look at itself, as fast as
//! the link can, some of it from 10.0.1.66, some in the names of the good ones, some from everywhere.

use std::net::Ipv4Addr;

use fastrand::Rng;

use crate::packets::{ARP, Ip, arp, frame, from, ip4, router4, tcp, udp};
use crate::plan::{CUSTOMER, HOST, Mac, Neighbor, Port, UPSTREAM};

/// Who sends most of the flood.
pub const OFFENDER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 66);

/// A kind of good packets.
#[derive(Clone, Copy, Debug)]
pub struct Good {
    /// What people call it.
    pub name: &'static str,
    /// What asks for it.
    pub matching: &'static str,
    /// For which it is punted.
    pub reason: &'static str,
    /// Of all senders together, a second.
    pub pps: u64,
    /// The packet with this number.
    pub frame: fn(u64) -> Vec<u8>,
}

/// All of them, the most important first.
pub const GOOD: [Good; 3] = [
    // 32 sessions with a packet every 50 ms.
    Good { name: "BFD", matching: "udp:3784", reason: "local.bfd", pps: 640, frame: bfd },
    // Updates and keepalives of 8 peers.
    Good { name: "BGP", matching: "tcp:179/any", reason: "local.bgp", pps: 200, frame: bgp },
    Good { name: "ARP", matching: "reason:arp.request", reason: "arp.request", pps: 20, frame: who_has },
];

/// Limits of what the flood wants most, as an operator sets them who knows what the daemons can take.
pub const LIMITS: &str = r#"
[reason."local.bgp"]
rate = 1000
burst = 500
[reason."arp.request"]
rate = 500
burst = 250
"#;

/// The host with this number on `lan`: its MAC and address.
fn host(number: u64) -> (Mac, Ipv4Addr) {
    let number = (number % 200) as u8 + 20;
    ([2, 0, 0, 0, 0x0a, number], Ipv4Addr::new(10, 0, 0, number))
}

/// What a host on `lan` sends to the router.
fn from_host(number: u64, packet: &[u8]) -> Vec<u8> {
    let mac = host(number).0;
    from(&Neighbor { mac, ..HOST }, packet)
}

/// RFC 5881: a control packet with TTL 255, state up.
fn bfd(number: u64) -> Vec<u8> {
    let session = number % 32;
    let mut control = vec![0x20, 0xc0, 3, 24];
    for word in [session as u32 + 1, session as u32 + 101, 50_000, 50_000, 0] {
        control.extend(word.to_be_bytes());
    }
    let ip = ip4(host(session).1, router4(Port::Lan)).ttl(255);
    from_host(session, &udp(ip, 49_152 + session as u16, 3784, &control))
}

/// RFC 4271: mostly updates of 60 bytes, now and then a keepalive, within an open session.
fn bgp(number: u64) -> Vec<u8> {
    let (peer, at) = (number % 8, (number / 8) as u32);
    let mut message = vec![0xff; 16];
    if at % 10 == 0 {
        message.extend([0, 19, 4]);
    } else {
        message.extend([0, 60, 2]);
        message.resize(60, at as u8);
    }
    let ip = ip4(host(peer).1, router4(Port::Lan)).ttl(1);
    from_host(peer, &tcp(ip, (40_000 + peer as u16, 179), at * 60, Some(1), &message))
}

/// RFC 826: a host asks for the router's MAC.
fn who_has(number: u64) -> Vec<u8> {
    let (mac, address) = host(number % 20);
    frame([0xff; 6], mac, None, ARP, &arp(1, (mac, address), ([0; 6], router4(Port::Lan))))
}

/// Packets that the router forwards between `lan` and its VLAN, both ways.
pub fn transit(packets: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut rng = Rng::with_seed(seed);
    let mut packet = |number: usize| {
        let (host, customer) =
            (Ipv4Addr::new(10, 10, rng.u8(..), rng.u8(..)), Ipv4Addr::new(10, 110, rng.u8(..), rng.u8(..)));
        let payload = vec![0; [26, 26, 500, 1400][rng.usize(..4)]];
        match number % 2 {
            0 => from(&HOST, &udp(ip4(host, customer), rng.u16(1024..), 443, &payload)),
            _ => from(&CUSTOMER, &udp(ip4(customer, host), 443, rng.u16(1024..), &payload)),
        }
    };
    (0..packets).map(&mut packet).collect()
}

/// The flood: of ten packets four are TTL 1, three of them the offender's; two ARP, three for TCP port 179, one junk.
pub fn flood(packets: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut rng = Rng::with_seed(seed);
    (0..packets).map(|number| attack(number % 10, &mut rng)).collect()
}

fn attack(kind: usize, rng: &mut Rng) -> Vec<u8> {
    let anywhere = Ipv4Addr::from(rng.u32(0x0b00_0000..0x7f00_0000));
    let behind = Ipv4Addr::new(10, 10, rng.u8(..), rng.u8(..));
    let us = router4(Port::Wan);
    let syn = |source, rng: &mut Rng| {
        from(&UPSTREAM, &tcp(ip4(source, us), (rng.u16(1024..), 179), rng.u32(..), None, b""))
    };
    match kind {
        0..=2 => from(&UPSTREAM, &udp(ip4(OFFENDER, behind).ttl(1), rng.u16(1024..), 33_434, &[0; 18])),
        3 => from(&UPSTREAM, &udp(ip4(anywhere, behind).ttl(1), rng.u16(1024..), 33_434, &[0; 18])),
        4 => who_has_us(UPSTREAM.mac, Ipv4Addr::new(10, 0, 1, rng.u8(2..))),
        5 => who_has_us([2, rng.u8(..), rng.u8(..), rng.u8(..), rng.u8(..), rng.u8(..)], anywhere),
        // Of the neighbour that is there, in the name of a peer on the other interface, and from everywhere.
        6 => syn(UPSTREAM.ip4.parse().expect("an address"), rng),
        7 => syn(host(rng.u64(..8)).1, rng),
        8 => syn(anywhere, rng),
        _ => junk(anywhere, rng),
    }
}

fn who_has_us(mac: Mac, sender: Ipv4Addr) -> Vec<u8> {
    frame([0xff; 6], mac, None, ARP, &arp(1, (mac, sender), ([0; 6], router4(Port::Wan))))
}

/// What makes no sense, or is nobody's.
fn junk(source: Ipv4Addr, rng: &mut Rng) -> Vec<u8> {
    let mut frame =
        from(&UPSTREAM, &udp(ip4(source, router4(Port::Wan)), rng.u16(..), rng.u16(10_000..), &[0; 18]));
    match rng.u8(..4) {
        0 => frame[24] ^= 0xff,
        1 => frame[14] = 0x4f,
        2 => frame[12..14].copy_from_slice(&rng.u16(0x0700..0x0800).to_be_bytes()),
        _ => {}
    }
    frame
}

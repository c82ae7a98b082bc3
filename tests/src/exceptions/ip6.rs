//! IPv6 in transit that cannot go on, and IPv6 that nobody should have sent.

use std::net::Ipv6Addr;

use etherparse::Ipv6Header;
use fastrand::Rng;

use super::{Exception, bytes, client, exception};
use crate::packets::{self, Ip, fragment6, frame, from, udp, unpadded};
use crate::plan::Port::Lan;
use crate::plan::{CUSTOMER, HOST, NEARBY, TUNNEL, UPSTREAM};
use crate::traffic::Outcome::{self, Copied, Dropped, Forwarded, Punted};

/// In transit.
pub const TRANSIT: &[Exception] = &[
    exception("hop limit 1", Lan, Punted("ip6.hop-limit-expired"), |rng| from(&HOST, &probe(rng, 1))),
    exception("hop limit 0", Lan, Punted("ip6.hop-limit-expired"), |rng| from(&HOST, &probe(rng, 0))),
    exception("hop limit 1 in a VLAN", Lan, Punted("ip6.hop-limit-expired"), |rng| {
        from(&CUSTOMER, &probe(rng, 1))
    }),
    exception("IPv6, no route", Lan, Punted("ip6.no-route"), |rng| from(&HOST, &to(rng, "2001:dead::9"))),
    exception("IPv6, blackhole route", Lan, Dropped("ip6-lookup", "blackhole route"), |rng| {
        from(&HOST, &to(rng, "fd00:3::9"))
    }),
    exception("IPv6, unreachable route", Lan, Punted("ip6.reject-route"), |rng| {
        from(&HOST, &to(rng, "fd00:4::9"))
    }),
    exception("IPv6, punt route", Lan, Punted("ip6.punt-route"), |rng| from(&HOST, &to(rng, "fd00:5::9"))),
    exception("IPv6, next hop without MAC", Lan, Punted("ip6.unresolved-neighbor"), |rng| {
        from(&HOST, &to(rng, "fd00:6::9"))
    }),
    exception("IPv6, back to its link", Lan, Copied("ip6.redirect", &NEARBY), |rng| {
        from(&HOST, &to(rng, "fd00:8::9"))
    }),
    exception("IPv6, too big", Lan, Punted("ip6.packet-too-big"), |rng| {
        let ip = ip(rng, "fd00:7::9");
        from(&HOST, &udp(ip, 5000, 5000, &bytes(rng, 1280 - 48 + 1)))
    }),
    exception("IPv6, as big as it may be", Lan, Forwarded(&TUNNEL), |rng| {
        let ip = ip(rng, "fd00:7::9");
        from(&HOST, &udp(ip, 5000, 5000, &bytes(rng, 1280 - 48)))
    }),
    exception("IPv6 fragment in transit", Lan, Forwarded(&UPSTREAM), |rng| {
        let ip = ip(rng, "2001:db8::9");
        from(&HOST, &fragment6(ip, rng.u32(..), 181, false, &bytes(rng, 300)))
    }),
    exception("destination options in transit", Lan, Forwarded(&UPSTREAM), |rng| {
        let header = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &bytes(rng, 60)].concat();
        from(&HOST, &ip(rng, "2001:db8::9").packet(60, &header))
    }),
    exception("segment routing in transit", Lan, Forwarded(&UPSTREAM), |rng| {
        let segment: Ipv6Addr = "2001:db8::5".parse().expect("an address");
        let header = [&[17, 2, 4, 1, 0, 0, 0, 0][..], &segment.octets(), &bytes(rng, 60)].concat();
        from(&HOST, &ip(rng, "2001:db8::9").packet(43, &header))
    }),
    exception("hop-by-hop padding", Lan, Punted("ip6.hop-by-hop"), |rng| {
        hop_by_hop(rng, &[1, 4, 0, 0, 0, 0])
    }),
    exception("IPv6 router alert", Lan, Punted("ip6.router-alert"), |rng| {
        hop_by_hop(rng, &[5, 2, 0, 1, 1, 0])
    }),
    exception("IPv6 unicast in a multicast frame", Lan, Dropped("ip6-lookup", GROUP_FRAME), |rng| {
        packets::to_group([0x33, 0x33, 0, 0, 0, 1], &HOST, &to(rng, "2001:db8::9"))
    }),
    exception("IPv6 link-local source beyond its link", Lan, Dropped("ip6-lookup", LINK_LOCAL), |rng| {
        between(rng, "fe80::7", "2001:db8::9")
    }),
];

const GROUP_FRAME: &str = "unicast destination in a broadcast or multicast frame";
const LINK_LOCAL: &str = "link-local address beyond its link";

/// Never to be forwarded.
pub const MALFORMED: &[Exception] = &[
    exception("IPv6 of version 4", Lan, input("IP version is not 6"), |rng| {
        let mut packet = to(rng, "2001:db8::9");
        packet[0] = 0x45;
        frame(HOST.port.mac(), HOST.mac, None, packets::IP6, &packet)
    }),
    exception("IPv6 payload beyond the frame", Lan, input("payload length exceeds the frame"), |rng| {
        let mut packet = to(rng, "2001:db8::9");
        packet[4..6].copy_from_slice(&[4, 0]);
        from(&HOST, &packet)
    }),
    exception("half an IPv6 header", Lan, input("shorter than an IPv6 header"), |rng| {
        unpadded(HOST.port.mac(), HOST.mac, None, packets::IP6, &to(rng, "2001:db8::9")[..20])
    }),
    exception("from ::1", Lan, input("source is loopback"), |rng| between(rng, "::1", "2001:db8::9")),
    exception("from ::", Lan, input("source is unspecified"), |rng| between(rng, "::", "2001:db8::9")),
    exception("from an IPv6 group", Lan, input("source is multicast"), |rng| {
        between(rng, "ff02::5", "2001:db8::9")
    }),
    exception("from a mapped address", Lan, input("source is IPv4-mapped"), |rng| {
        between(rng, "::ffff:10.0.0.9", "2001:db8::9")
    }),
    exception("IPv6 from itself", Lan, input("source is the destination"), |rng| {
        between(rng, "2001:db8::9", "2001:db8::9")
    }),
    exception("to ::1", Lan, input("destination is loopback"), |rng| between(rng, "fd00:10::9", "::1")),
    exception("to ::", Lan, input("destination is unspecified"), |rng| between(rng, "fd00:10::9", "::")),
    exception("to a group of its own node", Lan, input("multicast scope is an interface"), |rng| {
        between(rng, "fd00:10::9", "ff01::1")
    }),
];

const fn input(text: &'static str) -> Outcome {
    Dropped("ip6-input", text)
}

fn ip(rng: &mut Rng, destination: &str) -> Ipv6Header {
    let source = 0xfd00_0010u128 << 96 | rng.u64(1..) as u128;
    packets::ip6(source.into(), destination.parse().expect("an address"))
}

/// A small UDP packet.
fn to(rng: &mut Rng, destination: &str) -> Vec<u8> {
    let ip = ip(rng, destination);
    udp(ip, client(rng), 9, &bytes(rng, 12))
}

/// As traceroute sends it.
fn probe(rng: &mut Rng, hop_limit: u8) -> Vec<u8> {
    let ip = ip(rng, "2001:db8::9").ttl(hop_limit);
    udp(ip, client(rng), rng.u16(33434..33534), &bytes(rng, 32))
}

/// With six bytes of hop-by-hop options.
fn hop_by_hop(rng: &mut Rng, options: &[u8; 6]) -> Vec<u8> {
    let header = [&[17, 0][..], options, &bytes(rng, 40)].concat();
    from(&HOST, &ip(rng, "2001:db8::9").packet(0, &header))
}

fn between(rng: &mut Rng, source: &str, destination: &str) -> Vec<u8> {
    let parse = |address: &str| address.parse::<Ipv6Addr>().expect("an address");
    from(&HOST, &udp(packets::ip6(parse(source), parse(destination)), client(rng), 9, b"martian"))
}

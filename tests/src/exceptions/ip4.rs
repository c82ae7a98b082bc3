//! IPv4 in transit that cannot go on, and IPv4 that nobody should have sent.

use std::net::Ipv4Addr;

use etherparse::Ipv4Header;
use fastrand::Rng;

use super::{Exception, bytes, client, exception};
use crate::packets::{self, Ip, fragment, frame, from, udp, unpadded, with_options};
use crate::plan::Port::{Lan, Wan};
use crate::plan::{CUSTOMER, HOST, NEARBY, UPSTREAM};
use crate::traffic::Outcome::{Copied, Dropped, Forwarded, Punted};

/// In transit.
pub const TRANSIT: &[Exception] = &[
    exception("TTL 1", Lan, Punted("ip4.ttl-expired"), |rng| from(&HOST, &probe(rng, 1))),
    exception("TTL 0", Lan, Punted("ip4.ttl-expired"), |rng| from(&HOST, &probe(rng, 0))),
    exception("TTL 1 in a VLAN", Lan, Punted("ip4.ttl-expired"), |rng| from(&CUSTOMER, &probe(rng, 1))),
    exception("no route", Lan, Punted("ip4.no-route"), |rng| from(&HOST, &to(rng, [172, 16, 5, 5]))),
    exception("blackhole route", Lan, Dropped("ip4-lookup", "blackhole route"), |rng| {
        from(&HOST, &to(rng, [10, 3, 0, 9]))
    }),
    exception("unreachable route", Lan, Punted("ip4.reject-route"), |rng| {
        from(&HOST, &to(rng, [10, 4, 0, 9]))
    }),
    exception("punt route", Lan, Punted("ip4.punt-route"), |rng| from(&HOST, &to(rng, [10, 5, 0, 9]))),
    exception("next hop without MAC", Lan, Punted("ip4.unresolved-neighbor"), |rng| {
        from(&HOST, &to(rng, [10, 6, 0, 9]))
    }),
    exception("neighbour without MAC", Lan, Punted("ip4.unresolved-neighbor"), |rng| {
        let host = rng.u8(100..250);
        from(&HOST, &to(rng, [10, 0, 1, host]))
    }),
    exception("back to its link", Lan, Copied("ip4.redirect", &NEARBY), |rng| {
        from(&HOST, &to(rng, [10, 8, 0, 9]))
    }),
    exception("record route", Lan, Punted("ip4.options"), |rng| {
        options(rng, &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }),
    exception("timestamp option", Lan, Punted("ip4.options"), |rng| {
        options(rng, &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }),
    exception("router alert", Lan, Punted("ip4.router-alert"), |rng| options(rng, &[148, 4, 0, 0])),
    exception("loose source route", Lan, Punted("ip4.source-route"), |rng| {
        options(rng, &[131, 7, 4, 10, 2, 0, 1, 0])
    }),
    exception("option beyond the header", Lan, Dropped("ip4-options", "options are malformed"), |rng| {
        options(rng, &[7, 40, 4, 0])
    }),
    exception("too big, not to be fragmented", Lan, Punted("ip4.mtu-exceeded"), |rng| {
        let ip = Ipv4Header { dont_fragment: true, ..ip(rng, [10, 7, 0, 9]) };
        from(&HOST, &udp(ip, 5000, 5000, &bytes(rng, 1472)))
    }),
    exception("too big, to be fragmented", Lan, Punted("ip4.needs-fragmentation"), |rng| {
        let ip = Ipv4Header { dont_fragment: false, ..ip(rng, [10, 7, 0, 9]) };
        from(&HOST, &udp(ip, 5000, 5000, &bytes(rng, 1253)))
    }),
    exception("as big as it may be", Lan, Forwarded(&crate::plan::TUNNEL), |rng| {
        let ip = ip(rng, [10, 7, 0, 9]);
        from(&HOST, &udp(ip, 5000, 5000, &bytes(rng, 1252)))
    }),
    exception("first fragment in transit", Lan, Forwarded(&UPSTREAM), |rng| {
        let ip = ip(rng, [10, 2, 0, 9]);
        from(&HOST, &fragment(ip, 0, true, &bytes(rng, 1480)))
    }),
    exception("last fragment in transit", Lan, Forwarded(&UPSTREAM), |rng| {
        let ip = ip(rng, [10, 2, 0, 9]);
        from(&HOST, &fragment(ip, 185, false, &bytes(rng, 77)))
    }),
    exception("unicast in a broadcast frame", Lan, Dropped("ip4-lookup", GROUP_FRAME), |rng| {
        packets::to_group([0xff; 6], &HOST, &to(rng, [10, 2, 0, 9]))
    }),
    exception(
        "broadcast of another subnet",
        Wan,
        Dropped("ip4-lookup", "broadcast of another subnet"),
        |rng| {
            let ip = packets::ip4([10, 2, 0, 9].into(), [10, 0, 0, 255].into());
            from(&UPSTREAM, &udp(ip, client(rng), 9, &bytes(rng, 12)))
        },
    ),
    exception("link-local address beyond its link", Lan, Dropped("ip4-lookup", LINK_LOCAL), |rng| {
        let ip = packets::ip4([169, 254, 7, 7].into(), [10, 2, 0, 9].into());
        from(&HOST, &udp(ip, client(rng), 9, &bytes(rng, 12)))
    }),
];

const GROUP_FRAME: &str = "unicast destination in a broadcast or multicast frame";
const LINK_LOCAL: &str = "link-local address beyond its link";

/// Never to be forwarded.
pub const MALFORMED: &[Exception] = &[
    exception("wrong checksum", Lan, input("header checksum is wrong"), |rng| {
        broken(rng, |packet| packet[10] ^= 0x40)
    }),
    exception("version 7", Lan, input("IP version is not 4"), |rng| broken(rng, |packet| packet[0] = 0x75)),
    exception("header of 16 bytes", Lan, input("header length is below 20 bytes"), |rng| {
        broken(rng, |packet| packet[0] = 0x44)
    }),
    exception("total length of 19", Lan, input("total length is below the header length"), |rng| {
        broken(rng, |packet| packet[2..4].copy_from_slice(&[0, 19]))
    }),
    exception("total length beyond the frame", Lan, input("total length exceeds the frame"), |rng| {
        broken(rng, |packet| packet[2..4].copy_from_slice(&[2, 0]))
    }),
    exception("half an IPv4 header", Lan, input("shorter than an IPv4 header"), |rng| {
        let packet = to(rng, [10, 2, 0, 9]);
        unpadded(HOST.port.mac(), HOST.mac, None, packets::IP4, &packet[..10])
    }),
    exception("from 127.0.0.1", Lan, input("source is loopback"), |_| between([127, 0, 0, 1], [10, 2, 0, 9])),
    exception("from a group", Lan, input("source is multicast"), |_| between([224, 0, 0, 9], [10, 2, 0, 9])),
    exception("from class E", Lan, input("source is reserved"), |_| between([240, 0, 0, 9], [10, 2, 0, 9])),
    exception("from everybody", Lan, input("source is broadcast"), |_| between([255; 4], [10, 2, 0, 9])),
    exception("from nobody", Lan, input("source is unspecified"), |_| between([0; 4], [10, 2, 0, 9])),
    exception("from itself", Lan, input("source is the destination"), |_| {
        between([10, 2, 0, 9], [10, 2, 0, 9])
    }),
    exception("to 127.0.0.1", Lan, input("destination is loopback"), |_| {
        between([10, 10, 0, 9], [127, 0, 0, 1])
    }),
    exception("to class E", Lan, input("destination is reserved"), |_| {
        between([10, 10, 0, 9], [250, 0, 0, 1])
    }),
    exception("to nobody", Lan, input("destination is unspecified"), |_| between([10, 10, 0, 9], [0; 4])),
];

const fn input(text: &'static str) -> crate::traffic::Outcome {
    Dropped("ip4-input", text)
}

fn ip(rng: &mut Rng, destination: [u8; 4]) -> Ipv4Header {
    let source = Ipv4Addr::new(10, 10, rng.u8(..), rng.u8(1..255));
    Ipv4Header { identification: rng.u16(..), ..packets::ip4(source, destination.into()) }
}

/// A small UDP packet.
fn to(rng: &mut Rng, destination: [u8; 4]) -> Vec<u8> {
    let ip = ip(rng, destination);
    udp(ip, client(rng), 9, &bytes(rng, 12))
}

/// As traceroute sends it.
fn probe(rng: &mut Rng, ttl: u8) -> Vec<u8> {
    let ip = ip(rng, [10, 2, 0, 9]).ttl(ttl);
    udp(ip, client(rng), rng.u16(33434..33534), &bytes(rng, 32))
}

fn options(rng: &mut Rng, options: &[u8]) -> Vec<u8> {
    let ip = ip(rng, [10, 2, 0, 9]);
    from(&HOST, &with_options(ip, options, 253, &bytes(rng, 20)))
}

/// A packet of which one thing is wrong; the checksum is that of what it should have been.
fn broken(rng: &mut Rng, damage: fn(&mut [u8])) -> Vec<u8> {
    let mut packet = to(rng, [10, 2, 0, 9]);
    damage(&mut packet);
    frame(HOST.port.mac(), HOST.mac, None, packets::IP4, &packet)
}

fn between(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    from(&HOST, &udp(packets::ip4(source.into(), destination.into()), 9, 9, b"martian"))
}

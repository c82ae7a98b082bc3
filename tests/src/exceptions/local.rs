//! Packets for the router itself: what routing daemons, operators and neighbours say to it.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{Ipv4Header, Ipv6Header};
use fastrand::Rng;

use super::{Exception, bytes, client, exception};
use crate::packets::{
    self, Ip, fragment, fragment6, from, icmp6, multicast, ping, router4, router6, tcp, udp, with_options,
};
use crate::plan::Port::{self, Lan, Wan};
use crate::plan::{CUSTOMER, HOST, UPSTREAM};
use crate::traffic::Outcome::{Dropped, Punted};

/// Addressed to the router, or to a group that routers listen to.
pub const TO_US: &[Exception] = &[
    exception("BGP opens", Wan, Punted("local.bgp"), |rng| {
        from(&UPSTREAM, &tcp(peer().ttl(1), (client(rng), 179), rng.u32(..), None, b""))
    }),
    exception("BGP answers", Wan, Punted("local.bgp"), |rng| {
        from(&UPSTREAM, &tcp(peer().ttl(1), (179, client(rng)), rng.u32(..), Some(1), &bytes(rng, 19)))
    }),
    exception("BGP over IPv6", Wan, Punted("local.bgp"), |rng| {
        from(&UPSTREAM, &tcp(peer6().ttl(1), (client(rng), 179), rng.u32(..), None, b""))
    }),
    exception("OSPF hello", Wan, Punted("local.ospf"), |rng| {
        multicast(&UPSTREAM, &group(5).ttl(1).packet(89, &[&[2, 1, 0, 44][..], &bytes(rng, 40)].concat()))
    }),
    exception("OSPFv3 hello", Wan, Punted("local.ospf"), |rng| {
        let hello = [&[3, 1, 0, 36][..], &bytes(rng, 32)].concat();
        multicast(&UPSTREAM, &link("ff02::5").ttl(1).packet(89, &hello))
    }),
    exception("OSPF to our address", Wan, Punted("local.ospf"), |rng| {
        from(&UPSTREAM, &peer().ttl(1).packet(89, &[&[2, 4, 0, 44][..], &bytes(rng, 40)].concat()))
    }),
    exception("BFD", Wan, Punted("local.bfd"), |rng| {
        from(&UPSTREAM, &udp(peer().ttl(255), rng.u16(49152..), 3784, &bfd(rng)))
    }),
    exception("BFD over IPv6", Wan, Punted("local.bfd"), |rng| {
        from(&UPSTREAM, &udp(peer6().ttl(255), rng.u16(49152..), 3784, &bfd(rng)))
    }),
    exception("BFD, multihop", Wan, Punted("local.bfd-multihop"), |rng| {
        from(&UPSTREAM, &udp(peer().ttl(250), rng.u16(49152..), 4784, &bfd(rng)))
    }),
    exception("VRRP", Lan, Punted("local.vrrp"), |rng| {
        multicast(&HOST, &on_lan([224, 0, 0, 18]).ttl(255).packet(112, &bytes(rng, 12)))
    }),
    exception("PIM hello", Wan, Punted("local.pim"), |rng| {
        multicast(&UPSTREAM, &group(13).ttl(1).packet(103, &[&[0x20, 0][..], &bytes(rng, 20)].concat()))
    }),
    exception("PIM register", Wan, Punted("local.pim-register"), |rng| {
        from(&UPSTREAM, &peer().packet(103, &[&[0x21, 0][..], &bytes(rng, 40)].concat()))
    }),
    exception("RIP", Lan, Punted("local.rip"), |rng| {
        multicast(&HOST, &udp(on_lan([224, 0, 0, 9]).ttl(1), 520, 520, &bytes(rng, 24)))
    }),
    exception("LDP hello", Wan, Punted("local.ldp-hello"), |rng| {
        multicast(&UPSTREAM, &udp(group(2).ttl(1), 646, 646, &bytes(rng, 42)))
    }),
    exception("IGMP report", Lan, Punted("ip4.igmp-report"), |rng| {
        let report = [&[0x22, 0][..], &bytes(rng, 14)].concat();
        multicast(&HOST, &with_options(on_lan([224, 0, 0, 22]).ttl(1), &[148, 4, 0, 0], 2, &report))
    }),
    exception("IGMP query", Lan, Punted("ip4.igmp-query"), |rng| {
        let query = [&[0x11, 100][..], &bytes(rng, 6)].concat();
        multicast(&HOST, &with_options(on_lan([224, 0, 0, 1]).ttl(1), &[148, 4, 0, 0], 2, &query))
    }),
    exception("IGMP report to its group", Lan, Punted("ip4.igmp-report"), |rng| {
        let report = [&[0x16, 0][..], &bytes(rng, 2), &[239, 1, 2, 3]].concat();
        multicast(&HOST, &with_options(on_lan([239, 1, 2, 3]).ttl(1), &[148, 4, 0, 0], 2, &report))
    }),
    exception("MLD report", Lan, Punted("ip6.mld-report"), |rng| mld(rng, 143)),
    exception("MLD query", Lan, Punted("ip6.mld-query"), |rng| mld(rng, 130)),
    exception("neighbour solicitation", Lan, Punted("nd.solicitation"), |_| {
        let body = [&[0; 4][..], &router6(Lan).octets(), &[1, 1], &HOST.mac].concat();
        multicast(&HOST, &icmp6(host6("ff02::1:ff00:1").ttl(255), 135, &body))
    }),
    exception("neighbour advertisement", Lan, Punted("nd.advertisement"), |_| {
        let target: Ipv6Addr = HOST.ip6.parse().expect("an address");
        let body = [&[0x60, 0, 0, 0][..], &target.octets(), &[2, 1], &HOST.mac].concat();
        from(&HOST, &icmp6(host6("fd00:a::1").ttl(255), 136, &body))
    }),
    exception("router solicitation", Lan, Punted("nd.router-solicitation"), |_| {
        multicast(&HOST, &icmp6(link("ff02::2").ttl(255), 133, &[0; 4]))
    }),
    exception("router advertisement", Wan, Punted("nd.router-advertisement"), |rng| {
        multicast(&UPSTREAM, &icmp6(link("ff02::1").ttl(255), 134, &bytes(rng, 12)))
    }),
    exception("neighbour discovery from afar", Lan, Dropped("ip6-local", FAR_NEIGHBOR), |_| {
        let body = [&[0; 4][..], &router6(Lan).octets()].concat();
        from(&HOST, &icmp6(host6("fd00:a::1").ttl(254), 135, &body))
    }),
    exception("ping", Lan, Punted("local.icmp-echo"), |rng| {
        from(&HOST, &ping(on_lan(router4(Lan).octets()), rng.u16(..), &bytes(rng, 56)))
    }),
    exception("ping to another interface of ours", Lan, Punted("local.icmp-echo"), |rng| {
        from(&HOST, &ping(on_lan(router4(Wan).octets()), rng.u16(..), &bytes(rng, 56)))
    }),
    exception("ping in a VLAN", Lan, Punted("local.icmp-echo"), |rng| {
        let ip = packets::ip4([10, 100, 0, 10].into(), [10, 100, 0, 1].into());
        from(&CUSTOMER, &ping(ip, rng.u16(..), &bytes(rng, 56)))
    }),
    exception("ping over IPv6", Lan, Punted("local.icmp-echo"), |rng| {
        from(&HOST, &icmp6(host6("fd00:a::1"), 128, &bytes(rng, 60)))
    }),
    exception("ICMP error to us", Wan, Punted("local.icmp-error"), |rng| {
        from(&UPSTREAM, &peer().packet(1, &[&[3, 1, 0, 0][..], &bytes(rng, 32)].concat()))
    }),
    exception("SSH", Lan, Punted("local.ssh"), |rng| {
        from(&HOST, &tcp(on_lan(router4(Lan).octets()), (client(rng), 22), rng.u32(..), None, b""))
    }),
    exception("SNMP", Lan, Punted("local.snmp"), |rng| {
        from(&HOST, &udp(on_lan(router4(Lan).octets()), client(rng), 161, &bytes(rng, 40)))
    }),
    exception("DHCP discover", Lan, Punted("local.dhcp4"), |rng| {
        let ip = packets::ip4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
        packets::to_group([0xff; 6], &HOST, &udp(ip, 68, 67, &bytes(rng, 240)))
    }),
    exception("DHCPv6 solicit", Lan, Punted("local.dhcp6"), |rng| {
        multicast(&HOST, &udp(link("ff02::1:2"), 546, 547, &bytes(rng, 60)))
    }),
    exception("fragment for us", Lan, Punted("ip4.fragment-for-us"), |rng| {
        from(&HOST, &fragment(on_lan(router4(Lan).octets()), 0, true, &bytes(rng, 600)))
    }),
    exception("IPv6 fragment for us", Lan, Punted("ip6.fragment-for-us"), |rng| {
        from(&HOST, &fragment6(host6("fd00:a::1"), rng.u32(..), 0, true, &bytes(rng, 600)))
    }),
    exception("UDP port nobody asked for", Lan, Punted("ip4.unclaimed"), |rng| {
        from(&HOST, &udp(on_lan(router4(Lan).octets()), client(rng), 9999, &bytes(rng, 12)))
    }),
    exception("IPv6 port nobody asked for", Lan, Punted("ip6.unclaimed"), |rng| {
        from(&HOST, &udp(host6("fd00:a::1"), client(rng), 9999, &bytes(rng, 12)))
    }),
    exception("broadcast of its own subnet", Lan, Punted("ip4.unclaimed"), |rng| {
        packets::to_group([0xff; 6], &HOST, &udp(on_lan([10, 0, 0, 255]), 137, 137, &bytes(rng, 50)))
    }),
    exception("group that nobody routes", Lan, Punted("ip4.multicast-no-route"), |rng| {
        multicast(&HOST, &udp(on_lan([239, 255, 255, 250]), client(rng), 1900, &bytes(rng, 100)))
    }),
    exception("IPv6 group that nobody routes", Lan, Punted("ip6.multicast-no-route"), |rng| {
        multicast(&HOST, &udp(host6("ff0e::1234"), client(rng), 1900, &bytes(rng, 100)))
    }),
    exception("half a UDP header", Lan, Dropped("ip4-local", "shorter than its transport header"), |_| {
        from(&HOST, &on_lan(router4(Lan).octets()).packet(17, &[0, 9, 0, 161]))
    }),
];

const FAR_NEIGHBOR: &str = "neighbour discovery with a hop limit below 255";

fn address(port: Port) -> (Ipv4Addr, Ipv6Addr) {
    let neighbor = if port == Lan { &HOST } else { &UPSTREAM };
    (neighbor.ip4.parse().expect("an address"), neighbor.ip6.parse().expect("an address"))
}

/// From the upstream to the router.
fn peer() -> Ipv4Header {
    packets::ip4(address(Wan).0, router4(Wan))
}

/// From the upstream to the router.
fn peer6() -> Ipv6Header {
    packets::ip6(address(Wan).1, router6(Wan))
}

/// From the upstream to 224.0.0.N.
fn group(last: u8) -> Ipv4Header {
    packets::ip4(address(Wan).0, [224, 0, 0, last].into())
}

/// From the host.
fn on_lan(destination: [u8; 4]) -> Ipv4Header {
    packets::ip4(address(Lan).0, destination.into())
}

/// From the host.
fn host6(destination: &str) -> Ipv6Header {
    packets::ip6(address(Lan).1, destination.parse().expect("an address"))
}

/// From a link-local address.
fn link(destination: &str) -> Ipv6Header {
    packets::ip6("fe80::10".parse().expect("an address"), destination.parse().expect("an address"))
}

/// A BFD control packet (RFC 5880 §4.1).
fn bfd(rng: &mut Rng) -> Vec<u8> {
    [&[0x20, 0xc0, 3, 24][..], &bytes(rng, 20)].concat()
}

/// MLD comes from a link-local address, with a router alert (RFC 3810 §5). The checksum is of no interest to the router, and left out.
fn mld(rng: &mut Rng, kind: u8) -> Vec<u8> {
    let message = [&[58, 0, 5, 2, 0, 0, 1, 0, kind, 0, 0, 0][..], &bytes(rng, 20)].concat();
    let group = if kind == 143 { "ff02::16" } else { "ff02::1" };
    multicast(&HOST, &link(group).ttl(1).packet(0, &message))
}

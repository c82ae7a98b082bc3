//! `ip4-local`: addressed to us, so who wants it? The most specific listener: port, then type, then protocol.

use punt::reason::{Class, Reason};

use super::options::{Found, SOURCE_ROUTE, options};
use crate::edges;
use crate::node::{Context, Node};
use crate::nodes::local::{BUILT_IN, ESP_IN_UDP, PIM_REGISTER, Transport, is_esp_in_udp, listener};
use crate::nodes::redirect::Redirect;
use crate::packet::{Flags, Packet};
use crate::wire::{Ip4, protocol};

/// A fragment of a packet for us; it is to be reassembled before anybody can say whose it is.
pub static FRAGMENT_FOR_US: Reason =
    Reason::new("ip4.fragment-for-us", Class::Mgmt, "a fragment, addressed to us").limit(1000, 400);
/// A packet to a group that no multicast route covers.
pub static MULTICAST_NO_ROUTE: Reason =
    Reason::new("ip4.multicast-no-route", Class::Mcast, "no multicast route covers the group")
        .limit(200, 100);
/// A packet for us that nobody asked for.
pub static UNCLAIMED: Reason =
    Reason::new("ip4.unclaimed", Class::Miss, "addressed to us, and nobody asked for it").limit(250, 100);

edges! {
    /// Where `ip4-local` sends a packet.
    pub enum Next {
        Claimed => chosen reason,
        PimRegister => punt PIM_REGISTER,
        EspInUdp => punt ESP_IN_UDP,
        SourceRoute => punt SOURCE_ROUTE,
        Fragment => punt FRAGMENT_FOR_US,
        MulticastNoRoute => punt MULTICAST_NO_ROUTE,
        Unclaimed => punt UNCLAIMED else Redirect,
        Options => drop "options are malformed",
        ShortTransport => drop "shorter than its transport header",
        SplitHeader => drop "header is split over segments",
        Short => drop "shorter than an IPv4 header",
    }
}

/// Finds who listens to a packet that is for us.
pub struct Ip4Local;

impl Node for Ip4Local {
    const NAME: &'static str = "ip4-local";
    const REASONS: &'static [&'static Reason] = BUILT_IN;
    type Next = Next;

    fn packet(&mut self, context: &Context, packet: &mut Packet) -> Next {
        let Some(header) = packet.l3::<20>().copied() else { return Next::Short };
        let ip = Ip4(&header);
        if packet.meta.flags.any(Flags::OPTIONS) {
            match Found::among(options(packet)) {
                None => return Next::Options,
                Some(found) if found.source_route => return Next::SourceRoute,
                Some(_) => {}
            }
        }
        let multicast = ip.destination() >> 28 == 14;
        if multicast && ip.protocol() != protocol::IGMP && !is_for_routers(ip.destination()) {
            return Next::MulticastNoRoute;
        }
        if ip.is_fragment() {
            return Next::Fragment;
        }
        if ip.protocol() == protocol::PIM && !multicast {
            return Next::PimRegister;
        }
        packet.meta.protocol = ip.protocol();
        let payload = ip.total_len().saturating_sub(ip.header_len());
        let transport = Transport::over_ip4(ip.protocol());
        match listener(&context.tables.punt.local4, packet, transport, payload) {
            Ok(_) if is_esp_in_udp(packet, transport, payload) => Next::EspInUdp,
            Ok(Some(reason)) => {
                packet.meta.reason = reason;
                Next::Claimed
            }
            Ok(None) => Next::Unclaimed,
            Err(_) if payload >= 4 && packet.l4::<4>().is_none() => Next::SplitHeader,
            Err(_) => Next::ShortTransport,
        }
    }
}

/// Groups that a router listens to without being asked: 224.0.0.0/24 never leaves its link (RFC 5771 §4), 224.0.1.129 to .132 are PTP's.
pub fn is_for_routers(group: u32) -> bool {
    const PTP: u32 = 0xe000_0181;
    group >> 8 == 0xe0_0000 || (PTP..PTP + 4).contains(&group)
}

#[cfg(test)]
mod tests {
    use punt::dispatch::Punted;

    use super::*;
    use crate::testing::*;
    use crate::wire::ETHERTYPE_IP4;

    const SUBNET_BROADCAST: [u8; 4] = [10, 0, 0, 255];
    const ALL_HOSTS: [u8; 4] = [224, 0, 0, 1];
    const ROUTED_GROUP: [u8; 4] = [239, 1, 1, 1];

    /// A packet as it comes here, its options flagged as `ip4-input` does.
    fn packet(l3: &[u8]) -> Packet {
        let mut packet = at_l3(l3, ETHERTYPE_IP4);
        let header_len = (l3[0] & 15) as u16 * 4;
        packet.meta.l4 = 14 + header_len;
        if header_len > 20 {
            packet.meta.flags.set(Flags::OPTIONS);
        }
        packet
    }

    /// The reason that was chosen, or the edge.
    fn outcome(router: &mut Router, packet: Packet) -> String {
        let (next, packet) = router.run(&mut Ip4Local, packet);
        let outcome = match next {
            Next::Claimed => router.chosen(&packet).to_owned(),
            other => format!("{other:?}"),
        };
        packet.mbuf.free();
        outcome
    }

    /// The first 20 bytes of a TCP segment between these ports.
    fn tcp(source: u16, destination: u16) -> Vec<u8> {
        let mut segment = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        segment.resize(20, 0);
        segment
    }

    /// The first 8 bytes of a UDP datagram between these ports.
    fn udp(source: u16, destination: u16) -> Vec<u8> {
        tcp(source, destination)[..8].to_vec()
    }

    #[test]
    fn what_a_router_listens_to_finds_its_reason() {
        let mut router = Router::new();
        for (what, protocol, destination, payload, expected) in [
            ("BGP from a peer", 6, LAN4, tcp(50000, 179), "local.bgp"),
            ("BGP that we opened", 6, LAN4, tcp(179, 50000), "local.bgp"),
            ("SSH", 6, LAN4, tcp(50000, 22), "local.ssh"),
            ("an answer to our own SSH is nobody's", 6, LAN4, tcp(22, 50000), "Unclaimed"),
            ("BFD", 17, LAN4, udp(49152, 3784), "local.bfd"),
            ("PTP event over UDP", 17, [224, 0, 1, 129], udp(319, 319), "l2.ptp-event"),
            ("IKE", 17, LAN4, udp(500, 500), "local.ike"),
            ("IKE behind a translation", 17, LAN4, [udp(4500, 4500), vec![0; 32]].concat(), "local.ike"),
            ("ESP behind a translation", 17, LAN4, [udp(4500, 4500), vec![0, 0, 1, 0]].concat(), "EspInUdp"),
            ("what keeps a translation alive", 17, LAN4, [udp(4500, 4500), vec![0xff]].concat(), "EspInUdp"),
            ("RIP to its group", 17, [224, 0, 0, 9], udp(520, 520), "local.rip"),
            ("DHCP to the subnet", 17, SUBNET_BROADCAST, udp(68, 67), "local.dhcp4"),
            ("DHCP to everybody", 17, [255; 4], udp(68, 67), "local.dhcp4"),
            ("OSPF to its group", 89, [224, 0, 0, 5], vec![2, 1], "local.ospf"),
            ("OSPF to us", 89, LAN4, vec![2, 1], "local.ospf"),
            ("PIM to its group", 103, [224, 0, 0, 13], vec![0x20, 0], "local.pim"),
            ("PIM to us", 103, LAN4, vec![0x21, 0], "PimRegister"),
            ("VRRP", 112, [224, 0, 0, 18], vec![0x31, 1], "local.vrrp"),
            ("ping", 1, LAN4, vec![8, 0, 0, 0, 0, 1, 0, 1], "local.icmp-echo"),
            ("pong", 1, LAN4, vec![0, 0, 0, 0], "local.icmp-echo-reply"),
            ("port unreachable", 1, LAN4, vec![3, 3, 0, 0], "local.icmp-error"),
            ("timestamp request", 1, LAN4, vec![13, 0, 0, 0], "Unclaimed"),
            ("IGMP query", 2, ALL_HOSTS, vec![0x11, 0, 0, 0, 0, 0, 0, 0], "ip4.igmp-query"),
            (
                "IGMPv2 report, to the group itself",
                2,
                ROUTED_GROUP,
                vec![0x16, 0, 0, 0, 239, 1, 1, 1],
                "ip4.igmp-report",
            ),
            ("IGMPv3 report", 2, [224, 0, 0, 22], vec![0x22, 0, 0, 0, 0, 0, 0, 0], "ip4.igmp-report"),
            ("IGMP leave", 2, [224, 0, 0, 2], vec![0x17, 0, 0, 0, 0, 0, 0, 0], "ip4.igmp-leave"),
            ("UDP to no listener", 17, LAN4, udp(1, 9999), "Unclaimed"),
            ("TCP to no listener", 6, LAN4, tcp(1, 9999), "Unclaimed"),
            ("a protocol of nobody's", 200, LAN4, vec![], "Unclaimed"),
            ("SNMP to a routed group is no SNMP to us", 17, ROUTED_GROUP, udp(1, 161), "MulticastNoRoute"),
            ("OSPF to a routed group", 89, ROUTED_GROUP, vec![2, 1], "MulticastNoRoute"),
            ("behind the link's groups", 17, [224, 0, 1, 1], udp(1, 123), "MulticastNoRoute"),
        ] {
            assert_eq!(
                outcome(&mut router, packet(&ip4(protocol, destination, &payload))),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn a_registration_claims_and_gives_back() {
        use punt::claims::Protocol;
        let mut router = Router::new();
        let id = router.plan.registry.by_name("local.ssh").expect("built in").id;
        let ping = ip4(6, LAN4, &tcp(1, 2222));
        assert_eq!(outcome(&mut router, packet(&ping)), "Unclaimed");
        router.tables.punt.local4.of(Protocol::Ip).set(6, id, false);
        assert_eq!(outcome(&mut router, packet(&ping)), "local.ssh");
        let bgp = ip4(6, LAN4, &tcp(1, 179));
        assert_eq!(
            outcome(&mut router, packet(&bgp)),
            "local.bgp",
            "a port is more specific than a protocol"
        );
        router.tables.punt.local4.of(Protocol::Ip).set(6, 0, false);
        assert_eq!(outcome(&mut router, packet(&ping)), "Unclaimed");
    }

    #[test]
    fn a_fragment_is_nobodys_until_it_is_whole() {
        let mut router = Router::new();
        let whole = ip4(17, LAN4, &udp(1, 3784));
        for (what, flags, expected) in [
            ("more to come", 0x2000_u16, "Fragment"),
            ("the last", 0x0001, "Fragment"),
            ("in the middle", 0x3fff, "Fragment"),
            ("not to be fragmented", 0x4000, "local.bfd"),
            ("evil (RFC 3514)", 0x8000, "local.bfd"),
        ] {
            let l3 = sealed(changed(&whole, &[(6, &flags.to_be_bytes())]));
            assert_eq!(outcome(&mut router, packet(&l3)), expected, "{what}");
        }
        let (_, fragment) = router.run(&mut Ip4Local, packet(&sealed(changed(&whole, &[(6, &[0x20])]))));
        assert_eq!(fragment.tag().flags, punt::record::FRAGMENT);
        fragment.mbuf.free();
        let to_group = sealed(changed(&ip4(17, ROUTED_GROUP, &udp(1, 3784)), &[(6, &[0x20])]));
        assert_eq!(outcome(&mut router, packet(&to_group)), "MulticastNoRoute");
    }

    #[test]
    fn options_do_not_hide_a_listener() {
        let mut router = Router::new();
        let with = |options: [u8; 4]| {
            let mut l3 = ip4(2, [224, 0, 0, 22], &[0x22, 0, 0, 0, 0, 0, 0, 0]);
            l3.splice(20..20, options);
            sealed(changed(&l3, &[(0, &[0x46]), (3, &[32])]))
        };
        assert_eq!(outcome(&mut router, packet(&with([148, 4, 0, 0]))), "ip4.igmp-report", "router alert");
        assert_eq!(outcome(&mut router, packet(&with([131, 4, 4, 0]))), "SourceRoute", "loose source route");
        assert_eq!(outcome(&mut router, packet(&with([148, 9, 0, 0]))), "Options", "too long");
    }

    #[test]
    fn a_transport_header_is_there_or_the_packet_is_dropped() {
        let mut router = Router::new();
        for (protocol, len) in [(6, 20), (17, 8), (1, 4), (2, 8)] {
            for there in 0..len {
                let l3 = ip4(protocol, LAN4, &vec![0; there]);
                // What follows the packet in its frame is not part of it.
                let padded = [l3, vec![0; 40]].concat();
                assert_eq!(
                    outcome(&mut router, packet(&padded)),
                    "ShortTransport",
                    "{protocol}: {there} bytes"
                );
            }
            let l3 = ip4(protocol, LAN4, &vec![0xee; len]);
            assert_eq!(outcome(&mut router, packet(&l3)), "Unclaimed", "{protocol}: {len} bytes");
            for at in 0..4 {
                let halves = split(packet(&l3), 34 + at);
                assert_eq!(outcome(&mut router, halves), "SplitHeader", "{protocol}: split at {at}");
            }
        }
    }
}

//! `ip6-local`: addressed to us, so who wants it? The most specific listener: port, then type, then protocol.

use punt::reason::{Class, Reason};

use super::walk::{self, Stop};
use super::{is_for_routers, is_link_local, is_multicast};
use crate::edges;
use crate::node::{Context, Node};
use crate::nodes::local::{BUILT_IN, ESP_IN_UDP, PIM_REGISTER, Transport, is_esp_in_udp, listener};
use crate::nodes::redirect::Redirect;
use crate::packet::Packet;
use crate::wire::{Ip6, protocol};

/// A fragment of a packet for us; it is to be reassembled before anybody can say whose it is.
pub static FRAGMENT_FOR_US: Reason =
    Reason::new("ip6.fragment-for-us", Class::Mgmt, "a fragment, addressed to us").limit(1000, 400);
/// A packet to a group that no multicast route covers.
pub static MULTICAST_NO_ROUTE: Reason =
    Reason::new("ip6.multicast-no-route", Class::Mcast, "no multicast route covers the group")
        .limit(200, 100);
/// A packet to all nodes of the link that nobody asked for.
pub static ALL_NODES: Reason =
    Reason::new("ip6.all-nodes", Class::Mcast, "to all nodes, and nobody asked for it").limit(200, 100);
/// A packet to all routers of the link that nobody asked for.
pub static ALL_ROUTERS: Reason =
    Reason::new("ip6.all-routers", Class::Mcast, "to all routers, and nobody asked for it").limit(200, 100);
/// A packet to a link-local address, ours or not, that nobody asked for.
pub static LINK_LOCAL: Reason =
    Reason::new("ip6.link-local", Class::Mgmt, "to a link-local address, and nobody asked for it")
        .limit(500, 250);
/// A packet for us that nobody asked for.
pub static UNCLAIMED: Reason =
    Reason::new("ip6.unclaimed", Class::Miss, "addressed to us, and nobody asked for it").limit(250, 100);

edges! {
    /// Where `ip6-local` sends a packet.
    pub enum Next {
        Claimed => chosen reason,
        PimRegister => punt PIM_REGISTER,
        EspInUdp => punt ESP_IN_UDP,
        Fragment => punt FRAGMENT_FOR_US,
        MulticastNoRoute => punt MULTICAST_NO_ROUTE,
        AllNodes => punt ALL_NODES,
        AllRouters => punt ALL_ROUTERS,
        LinkLocal => punt LINK_LOCAL,
        Unclaimed => punt UNCLAIMED else Redirect,
        NeighborHopLimit => drop "neighbour discovery with a hop limit below 255",
        NeighborCode => drop "neighbour discovery with a code other than 0",
        NeighborSource => drop "router advertisement or redirect from beyond the link",
        NeighborFragment => drop "neighbour discovery in a fragment",
        NeighborShort => drop "shorter than its neighbour discovery message",
        NeighborTarget => drop "neighbour discovery about a group",
        NeighborOption => drop "neighbour discovery option of length 0",
        ListenerSource => drop "MLD from an address that is not link-local",
        RoutingType0 => drop "routing header of type 0",
        HopByHopLate => drop "hop-by-hop header is not the first",
        Exceeds => drop "extension header exceeds the packet",
        TooManyHeaders => drop "more than 8 extension headers",
        NoNextHeader => drop "no next header",
        SplitHeader => drop "header is split over segments",
        ShortTransport => drop "shorter than its transport header",
        Short => drop "shorter than an IPv6 header",
    }
}

impl From<Stop> for Next {
    fn from(stop: Stop) -> Next {
        match stop {
            Stop::Fragment => Next::Fragment,
            Stop::SourceRouted => Next::Unclaimed,
            Stop::RoutingType0 => Next::RoutingType0,
            Stop::HopByHopLate => Next::HopByHopLate,
            Stop::Exceeds => Next::Exceeds,
            Stop::Nothing => Next::NoNextHeader,
            Stop::TooMany => Next::TooManyHeaders,
            Stop::Split => Next::SplitHeader,
            Stop::Short => Next::Short,
        }
    }
}

/// Finds who listens to a packet that is for us.
pub struct Ip6Local;

impl Node for Ip6Local {
    const NAME: &'static str = "ip6-local";
    const REASONS: &'static [&'static Reason] = BUILT_IN;
    type Next = Next;

    fn packet(&mut self, context: &Context, packet: &mut Packet) -> Next {
        let Some(header) = packet.l3::<40>().copied() else { return Next::Short };
        let ip = Ip6(&header);
        let next = deliver(context, packet, ip);
        match next {
            // Only a report may be sent to the group that it is about.
            Next::Claimed | Next::EspInUdp | Next::Fragment | Next::Unclaimed
                if is_foreign_group(packet, ip.destination()) =>
            {
                Next::MulticastNoRoute
            }
            Next::Unclaimed => unclaimed(ip.destination()),
            next => next,
        }
    }
}

/// Who wants what is behind the extension headers.
fn deliver(context: &Context, packet: &mut Packet, ip: Ip6) -> Next {
    let found = match walk::transport(packet) {
        Ok(found) => found,
        Err(stop) => return stop.into(),
    };
    (packet.meta.l4, packet.meta.protocol) = (found.start, found.protocol);
    if found.protocol == protocol::PIM && !is_multicast(ip.destination()) {
        return Next::PimRegister;
    }
    if found.protocol == protocol::ICMP6
        && let Err(next) = icmp(packet, ip, found.len, found.atomic_fragment)
    {
        return next;
    }
    let transport = Transport::over_ip6(found.protocol);
    match listener(&context.tables.punt.local6, packet, transport, found.len) {
        Ok(_) if is_esp_in_udp(packet, transport, found.len) => Next::EspInUdp,
        Ok(Some(reason)) => {
            packet.meta.reason = reason;
            Next::Claimed
        }
        Ok(None) => Next::Unclaimed,
        Err(_) if found.len >= 4 && packet.l4::<4>().is_none() => Next::SplitHeader,
        Err(_) => Next::ShortTransport,
    }
}

/// What neighbour discovery (RFC 4861 §6.1, §7.1, §8.1; RFC 6980 §5) and MLD (RFC 3810 §5) ask of a message before anybody believes it.
fn icmp(packet: &Packet, ip: Ip6, len: u16, fragment: bool) -> Result<(), Next> {
    let Some([kind, code]) = packet.l4::<2>().filter(|_| len >= 4) else { return Ok(()) };
    let shortest = match kind {
        133 => 8,
        134 => 16,
        135 | 136 => 24,
        137 => 40,
        130 | 131 | 132 | 143 if is_link_local(ip.source()) || *ip.source() == [0; 16] => return Ok(()),
        130 | 131 | 132 | 143 => return Err(Next::ListenerSource),
        _ => return Ok(()),
    };
    let from_the_link = is_link_local(ip.source());
    match kind {
        _ if ip.hop_limit() != 255 => Err(Next::NeighborHopLimit),
        _ if *code != 0 => Err(Next::NeighborCode),
        _ if fragment => Err(Next::NeighborFragment),
        _ if len < shortest => Err(Next::NeighborShort),
        134 | 137 if !from_the_link => Err(Next::NeighborSource),
        135..=137 if packet.l4::<9>().is_some_and(|message| message[8] == 0xff) => Err(Next::NeighborTarget),
        _ if has_empty_option(packet, shortest as usize, len as usize) => Err(Next::NeighborOption),
        _ => Ok(()),
    }
}

/// Whether one of the options from `start` on, of a message of `len` bytes, says that it has no length; then nobody knows where the next
/// begins.
fn has_empty_option(packet: &Packet, start: usize, len: usize) -> bool {
    let message = packet.bytes().get(packet.meta.l4 as usize..).unwrap_or_default();
    let mut options = message.get(start..len.min(message.len())).unwrap_or_default();
    while let Some(&length) = options.get(1) {
        if length == 0 {
            return true;
        }
        options = options.get(length as usize * 8..).unwrap_or_default();
    }
    false
}

/// Is it to a group that no router listens to, and not about that group?
fn is_foreign_group(packet: &Packet, destination: &[u8; 16]) -> bool {
    let is_mld = || packet.meta.protocol == protocol::ICMP6 && matches!(packet.l4(), Some([130..=132 | 143]));
    is_multicast(destination) && !is_for_routers(destination) && !is_mld()
}

/// A packet that nobody wants, by whom it is to.
fn unclaimed(destination: &[u8; 16]) -> Next {
    const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const ALL_ROUTERS: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    match destination {
        &ALL_NODES => Next::AllNodes,
        &ALL_ROUTERS => Next::AllRouters,
        group if is_multicast(group) => Next::MulticastNoRoute,
        address if is_link_local(address) => Next::LinkLocal,
        _ => Next::Unclaimed,
    }
}

#[cfg(test)]
mod tests {
    use punt::dispatch::Punted;

    use super::*;
    use crate::packet::NO_OFFSET;
    use crate::testing::*;
    use crate::wire::ETHERTYPE_IP6;

    const TCP: u8 = 6;
    const UDP: u8 = 17;
    const ICMP6: u8 = 58;
    const ALL_NODES: [u8; 16] = ip6_address(0xff02, 0, 1);
    const ALL_ROUTERS: [u8; 16] = ip6_address(0xff02, 0, 2);
    const MLD_ROUTERS: [u8; 16] = ip6_address(0xff02, 0, 0x16);
    const OSPF_ROUTERS: [u8; 16] = ip6_address(0xff02, 0, 5);
    const ROUTED_GROUP: [u8; 16] = ip6_address(0xff05, 0, 0x4711);
    const SOLICITED: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 1];

    /// BFD, from its UDP header on.
    const BFD: &str = "c000 0ec8 0020 0000";
    /// Router alert and padding; the next header stands before it.
    const ALERT: &str = "00 0502 0000 0100";

    /// The reason that was chosen, or the edge.
    fn outcome(router: &mut Router, packet: Packet) -> String {
        let (next, packet) = router.run(&mut Ip6Local, packet);
        let outcome = match next {
            Next::Claimed => router.chosen(&packet).to_owned(),
            other => format!("{other:?}"),
        };
        packet.mbuf.free();
        outcome
    }

    fn to_us(next_header: u8, payload: &str) -> Packet {
        to(LAN6, next_header, payload)
    }

    fn to(destination: [u8; 16], next_header: u8, payload: &str) -> Packet {
        at_l3(&ip6(next_header, destination, &hex(payload)), ETHERTYPE_IP6)
    }

    #[test]
    fn what_a_router_listens_to_finds_its_reason() {
        let mut router = Router::new();
        for (what, next_header, destination, payload, expected) in [
            ("BFD", UDP, LAN6, BFD, "local.bfd"),
            ("BFD to our link-local address", UDP, LINK_LOCAL6, BFD, "local.bfd"),
            ("BGP", TCP, LAN6, "c350 00b3 00000000 00000000 5002 0000 0000 0000", "local.bgp"),
            ("BGP that we opened", TCP, LAN6, "00b3 c350 00000000 00000000 5012 0000 0000 0000", "local.bgp"),
            ("OSPFv3 to its group", 89, OSPF_ROUTERS, "0301", "local.ospf"),
            ("OSPFv3 to us", 89, LINK_LOCAL6, "0301", "local.ospf"),
            ("VRRP", 112, ip6_address(0xff02, 0, 0x12), "3101", "local.vrrp"),
            ("PIM to its group", 103, ip6_address(0xff02, 0, 0xd), "2000", "local.pim"),
            ("PIM to us", 103, LAN6, "2100", "PimRegister"),
            (
                "DHCPv6 to relays",
                UDP,
                [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2],
                "0222 0223 0008 0000",
                "local.dhcp6",
            ),
            (
                "DHCPv6 to servers",
                UDP,
                [0xff, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 3],
                "0223 0223 0008 0000",
                "local.dhcp6",
            ),
            ("PTP event", UDP, ip6_address(0xff0e, 0, 0x181), "013f 013f 0008 0000", "l2.ptp-event"),
            ("ping", ICMP6, LAN6, "80000000 00010001", "local.icmp-echo"),
            ("ping to all nodes", ICMP6, ALL_NODES, "80000000 00010001", "local.icmp-echo"),
            ("pong", ICMP6, LAN6, "81000000 00010001", "local.icmp-echo-reply"),
            ("packet too big", ICMP6, LAN6, "02000000 00000500", "local.icmp-error"),
            ("UDP to no listener", UDP, LAN6, "0001 270f 0008 0000", "Unclaimed"),
            ("ICMPv6 of no known type", ICMP6, LAN6, "c8000000", "Unclaimed"),
            ("a protocol of nobody's", 200, LAN6, "", "Unclaimed"),
            ("IKE behind a translation", UDP, LAN6, "1194 1194 0010 0000 00000000 11111111", "local.ike"),
            ("ESP behind a translation", UDP, LAN6, "1194 1194 0010 0000 11111111 00000001", "EspInUdp"),
            ("ESP", 50, LAN6, "00000001 00000001", "Unclaimed"),
        ] {
            assert_eq!(outcome(&mut router, to(destination, next_header, payload)), expected, "{what}");
        }
    }

    #[test]
    fn what_nobody_wants_goes_by_whom_it_is_to() {
        let mut router = Router::new();
        for (destination, expected) in [
            (ALL_NODES, "AllNodes"),
            (ALL_ROUTERS, "AllRouters"),
            (LINK_LOCAL6, "LinkLocal"),
            (OSPF_ROUTERS, "MulticastNoRoute"),
            (LAN6, "Unclaimed"),
        ] {
            let nobodys = to(destination, UDP, "0001 270f 0008 0000");
            assert_eq!(outcome(&mut router, nobodys), expected, "{destination:02x?}");
        }
    }

    #[test]
    fn extension_headers_are_walked() {
        let mut router = Router::new();
        for (what, next_header, headers, l4) in [
            ("none", UDP, "", 54),
            ("hop-by-hop", 0, "11 00 0104 00000000", 62),
            ("destination options of 16 bytes", 60, "11 01 010c 000000000000000000000000", 70),
            ("routing, at its end", 43, "11 00 04 00 00000000", 62),
            ("routing of type 0, at its end", 43, "11 00 00 00 00000000", 62),
            ("atomic fragment (RFC 6946)", 44, "11 00 0000 12345678", 62),
            ("atomic fragment with reserved bits", 44, "11 ff 0006 12345678", 62),
            ("authentication of 12 bytes", 51, "11 01 0000 00000001 00000001", 66),
            ("authentication of 24 bytes", 51, "11 04 0000 00000001 00000001 000000000000000000000000", 78),
            (
                "all of them",
                0,
                "3c 00 010400000000 2b 00 010400000000 2c 00 0400 00000000 3c 00 0000 00000000 11 00 010400000000",
                94,
            ),
        ] {
            let packet = to_us(next_header, &format!("{headers} {BFD}"));
            let (next, packet) = router.run(&mut Ip6Local, packet);
            assert_eq!((next, router.chosen(&packet)), (Next::Claimed, "local.bfd"), "{what}");
            assert_eq!((packet.meta.l4, packet.meta.protocol), (l4, UDP), "{what}");
            packet.mbuf.free();
        }
    }

    #[test]
    fn extension_headers_that_nobody_obeys() {
        let mut router = Router::new();
        let eight = |last: &str| format!("{} {last} 00 010400000000 {BFD}", "3c 00 010400000000".repeat(7));
        for (what, next_header, payload, expected) in [
            (
                "hop-by-hop behind another",
                60,
                format!("00 00 010400000000 11 00 010400000000 {BFD}"),
                "HopByHopLate",
            ),
            ("hop-by-hop twice", 0, format!("00 00 010400000000 11 00 010400000000 {BFD}"), "HopByHopLate"),
            ("routing of type 0 (RFC 5095)", 43, format!("11 00 00 01 00000000 {BFD}"), "RoutingType0"),
            ("segments left", 43, format!("11 00 04 01 00000000 {BFD}"), "Unclaimed"),
            ("nothing behind the header", 59, String::new(), "NoNextHeader"),
            ("nothing behind options", 60, "3b 00 010400000000 deadbeef".into(), "NoNextHeader"),
            ("eight headers", 60, eight("11"), "local.bfd"),
            (
                "nine headers",
                60,
                format!("{} 11 00 010400000000 {BFD}", "3c 00 010400000000".repeat(8)),
                "TooManyHeaders",
            ),
            ("a header of 7 bytes", 60, "11 00 0103 000000".into(), "Exceeds"),
            ("a header longer than the packet", 60, "11 01 0104 00000000".into(), "Exceeds"),
            ("a header of 2048 bytes", 60, "11 ff 0104 00000000".into(), "Exceeds"),
            ("authentication longer than the packet", 51, "11 04 0000 00000001 00000001".into(), "Exceeds"),
            ("no header at all", 0, String::new(), "Exceeds"),
        ] {
            assert_eq!(outcome(&mut router, to_us(next_header, &payload)), expected, "{what}");
        }
    }

    #[test]
    fn a_fragment_is_nobodys_until_it_is_whole() {
        let mut router = Router::new();
        for (what, next_header, headers) in [
            ("the first", 44, "11 00 0001 12345678"),
            ("in the middle", 44, "11 00 0009 12345678"),
            ("the last", 44, "11 00 0008 12345678"),
            ("the last there can be", 44, "11 00 fff8 12345678"),
            ("behind options", 60, "2c 00 010400000000 11 00 0001 12345678"),
        ] {
            let (next, packet) = router.run(&mut Ip6Local, to_us(next_header, &format!("{headers} {BFD}")));
            assert_eq!((next, packet.meta.l4), (Next::Fragment, NO_OFFSET), "{what}");
            assert_eq!(packet.tag().flags, punt::record::FRAGMENT, "{what}");
            packet.mbuf.free();
        }
    }

    #[test]
    fn neighbour_discovery_comes_from_the_link() {
        let mut router = Router::new();
        let messages = [
            (133, 8, "nd.router-solicitation"),
            (134, 16, "nd.router-advertisement"),
            (135, 24, "nd.solicitation"),
            (136, 24, "nd.advertisement"),
            (137, 40, "nd.redirect"),
        ];
        for (kind, len, reason) in messages {
            let message = |changes: &[(usize, &[u8])]| {
                let mut body = vec![0; len];
                body[0] = kind;
                let good = changed(&ip6(ICMP6, SOLICITED, &body), &[(7, &[255]), (8, &HOST_LINK_LOCAL6)]);
                at_l3(&changed(&good, changes), ETHERTYPE_IP6)
            };
            assert_eq!(outcome(&mut router, message(&[])), reason);
            assert_eq!(outcome(&mut router, message(&[(7, &[254])])), "NeighborHopLimit", "{reason}");
            assert_eq!(outcome(&mut router, message(&[(7, &[1])])), "NeighborHopLimit", "{reason}");
            assert_eq!(outcome(&mut router, message(&[(41, &[1])])), "NeighborCode", "{reason}");
            assert_eq!(outcome(&mut router, message(&[(5, &[len as u8 - 1])])), "NeighborShort", "{reason}");
            let far = if matches!(kind, 134 | 137) { "NeighborSource" } else { reason };
            assert_eq!(outcome(&mut router, message(&[(8, &HOST6)])), far, "{reason} from a global address");
            // An atomic fragment is whole, but no neighbour sends one (RFC 6980 §5).
            let body = [hex("3a 00 0000 12345678"), vec![kind, 0, 0, 0], vec![0; len - 4]].concat();
            let fragment = changed(&ip6(44, SOLICITED, &body), &[(7, &[255]), (8, &HOST_LINK_LOCAL6)]);
            assert_eq!(outcome(&mut router, at_l3(&fragment, ETHERTYPE_IP6)), "NeighborFragment", "{reason}");
        }
    }

    #[test]
    fn duplicate_address_detection_has_no_source() {
        let mut router = Router::new();
        let solicitation = ip6(ICMP6, SOLICITED, &[vec![135, 0, 0, 0, 0, 0, 0, 0], vec![0; 16]].concat());
        let solicitation = changed(&solicitation, &[(7, &[255]), (8, &[0; 16])]);
        assert_eq!(outcome(&mut router, at_l3(&solicitation, ETHERTYPE_IP6)), "nd.solicitation");
    }

    #[test]
    fn mld_comes_from_the_link_with_a_router_alert() {
        let mut router = Router::new();
        for (kind, destination, reason) in [
            (130, ALL_NODES, "ip6.mld-query"),
            (131, ROUTED_GROUP, "ip6.mld-report"),
            (131, MLD_ROUTERS, "ip6.mld-report"),
            (132, ALL_ROUTERS, "ip6.mld-done"),
            (143, MLD_ROUTERS, "ip6.mld-report"),
        ] {
            let message = format!("3a {ALERT} {kind:02x}000000 0000 0000");
            for (source, expected) in [
                (HOST_LINK_LOCAL6, reason),
                ([0; 16], reason),
                (HOST6, "ListenerSource"),
                (FAR6, "ListenerSource"),
            ] {
                let l3 = changed(&ip6(0, destination, &hex(&message)), &[(7, &[1]), (8, &source)]);
                assert_eq!(
                    outcome(&mut router, at_l3(&l3, ETHERTYPE_IP6)),
                    expected,
                    "{reason} from {source:02x?}"
                );
            }
        }
    }

    #[test]
    fn hop_by_hop_options_do_not_make_a_routed_group_ours() {
        let mut router = Router::new();
        for (what, next_header, behind) in [
            ("BFD", "11", BFD),
            ("ping", "3a", "80000000 00010001"),
            ("a fragment", "2c", "11 00 0001 12345678"),
            ("a segment routed packet", "2b", "11 00 04 01 00000000"),
        ] {
            let packet = to(ROUTED_GROUP, 0, &format!("{next_header} {ALERT} {behind}"));
            assert_eq!(outcome(&mut router, packet), "MulticastNoRoute", "{what}");
        }
    }

    #[test]
    fn a_transport_header_is_there_or_the_packet_is_dropped() {
        let mut router = Router::new();
        for (next_header, len) in [(TCP, 20), (UDP, 8), (ICMP6, 4)] {
            for there in 0..len {
                // What follows the packet in its frame is not part of it.
                let padded = [ip6(next_header, LAN6, &vec![0; there]), vec![0; 40]].concat();
                let packet = at_l3(&padded, ETHERTYPE_IP6);
                assert_eq!(outcome(&mut router, packet), "ShortTransport", "{next_header}: {there} bytes");
            }
            let l3 = ip6(next_header, LAN6, &vec![0xee; len]);
            assert_eq!(outcome(&mut router, at_l3(&l3, ETHERTYPE_IP6)), "Unclaimed", "{next_header}");
        }
    }

    #[test]
    fn headers_split_over_segments_are_dropped() {
        let mut router = Router::new();
        let l3 = ip6(0, LAN6, &hex(&format!("3c 00 010400000000 11 00 010400000000 {BFD}")));
        let whole = || at_l3(&l3, ETHERTYPE_IP6);
        assert_eq!(outcome(&mut router, whole()), "local.bfd");
        for at in 0..l3.len() {
            let expected = match at {
                ..40 => "Short",
                40..60 => "SplitHeader",
                _ => "local.bfd",
            };
            assert_eq!(outcome(&mut router, split(whole(), 14 + at)), expected, "split at {at}");
        }
        let solicitation = ip6(ICMP6, SOLICITED, &[vec![135, 0, 0, 0], vec![0; 20]].concat());
        for at in 40..44 {
            let halves = split(at_l3(&changed(&solicitation, &[(7, &[255])]), ETHERTYPE_IP6), 14 + at);
            assert_eq!(outcome(&mut router, halves), "SplitHeader", "split at {at}");
        }
    }
}

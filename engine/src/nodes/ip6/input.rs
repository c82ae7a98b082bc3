//! `ip6-input`: is this a packet that a router may forward or accept? (RFC 8200 §3, RFC 4291 §2.5 and §2.7)

use super::local::{LINK_LOCAL, MULTICAST_NO_ROUTE};
use super::{Ip6Local, Ip6Lookup, LINK, is_for_routers, is_link_local, is_multicast};
use crate::edges;
use crate::node::{Context, Node};
use crate::packet::{Flags, Packet};
use crate::wire::{Ip6, be16, protocol};

edges! {
    /// Where `ip6-input` sends a packet.
    pub enum Next {
        Lookup => to Ip6Lookup,
        /// To a group of this link, or to our address on it.
        Local => to Ip6Local,
        LinkLocal => punt LINK_LOCAL,
        MulticastNoRoute => punt MULTICAST_NO_ROUTE,
        Short => drop "shorter than an IPv6 header",
        Version => drop "IP version is not 6",
        Truncated => drop "payload length exceeds the frame",
        Jumbogram => drop "payload length is 0 with hop-by-hop options, as of a jumbogram",
        SplitHeader => drop "header is split over segments",
        SourceMulticast => drop "source is multicast",
        SourceLoopback => drop "source is loopback",
        SourceMapped => drop "source is IPv4-mapped",
        SourceUnspecified => drop "source is unspecified",
        SourceIsDestination => drop "source is the destination",
        DestinationLoopback => drop "destination is loopback",
        DestinationMapped => drop "destination is IPv4-mapped",
        DestinationUnspecified => drop "destination is unspecified",
        ScopeReserved => drop "multicast scope is reserved",
        ScopeInterface => drop "multicast scope is an interface",
    }
}

/// Checks version, length and addresses.
pub struct Ip6Input;

impl Node for Ip6Input {
    const NAME: &'static str = "ip6-input";
    type Next = Next;

    #[inline(always)]
    fn packet(&mut self, context: &Context, packet: &mut Packet) -> Next {
        let Some(header) = packet.l3::<40>() else { return short(packet) };
        let ip = Ip6(header);
        if ip.version() != 6 {
            return Next::Version;
        }
        if 40 + ip.payload_len() as u32 > packet.l3_len() {
            return Next::Truncated;
        }
        let (source, destination) = (ip.source(), ip.destination());
        if is_unusual(source)
            || is_unusual(destination)
            || is_extension(ip.next_header())
            || source == destination
        {
            return closer(context, packet);
        }
        packet.meta.l4 = packet.meta.l3 + 40;
        Next::Lookup
    }
}

/// First words that need a closer look: 0, and everything from fe00 on.
#[inline(always)]
fn is_unusual(address: &[u8; 16]) -> bool {
    be16(address, 0).wrapping_sub(1) >= 0xfdff
}

/// Does something stand between this header and the transport's?
#[inline(always)]
pub fn is_extension(next_header: u8) -> bool {
    const EXTENSIONS: u64 = 1 << protocol::HOP_BY_HOP
        | 1 << protocol::ROUTING
        | 1 << protocol::FRAGMENT
        | 1 << protocol::AUTHENTICATION
        | 1 << protocol::NONE
        | 1 << protocol::DESTINATION_OPTIONS;
    next_header < 64 && EXTENSIONS >> next_header & 1 != 0
}

#[cold]
fn short(packet: &Packet) -> Next {
    if packet.l3_len() >= 40 { Next::SplitHeader } else { Next::Short }
}

/// A packet with extension headers, or from or to an address of a special kind.
#[cold]
fn closer(context: &Context, packet: &mut Packet) -> Next {
    let Some(header) = packet.l3::<40>().copied() else { return Next::Short };
    let ip = Ip6(&header);
    if ip.next_header() == protocol::HOP_BY_HOP {
        if ip.payload_len() == 0 {
            return Next::Jumbogram;
        }
        packet.meta.flags.set(Flags::HOP_BY_HOP);
    }
    if !is_extension(ip.next_header()) {
        packet.meta.l4 = packet.meta.l3 + 40;
    }
    let hop_by_hop = ip.next_header() == protocol::HOP_BY_HOP;
    if let Err(next) = from(packet, ip, hop_by_hop) {
        return next;
    }
    match kind(ip.destination()) {
        Kind::Unspecified => Next::DestinationUnspecified,
        Kind::Loopback => Next::DestinationLoopback,
        Kind::Mapped => Next::DestinationMapped,
        Kind::Multicast => to_group(ip.destination(), hop_by_hop),
        Kind::LinkLocal => to_link_local(context, packet, ip.destination()),
        Kind::Global if ip.source() == ip.destination() => Next::SourceIsDestination,
        Kind::Global => Next::Lookup,
    }
}

/// May anything come from there? An unspecified source only talks to groups of its link, for who has no address yet asks whether it may
/// take one, or for routers; or it reports that it joins a group, to that group and with hop-by-hop options (RFC 3590 §4).
fn from(packet: &mut Packet, ip: Ip6, hop_by_hop: bool) -> Result<(), Next> {
    let destination = ip.destination();
    match kind(ip.source()) {
        Kind::Global => return Ok(()),
        Kind::LinkLocal => {}
        Kind::Unspecified if is_multicast(destination) && (hop_by_hop || destination[1] & 15 == LINK) => {}
        Kind::Unspecified => return Err(Next::SourceUnspecified),
        Kind::Loopback => return Err(Next::SourceLoopback),
        Kind::Mapped => return Err(Next::SourceMapped),
        Kind::Multicast => return Err(Next::SourceMulticast),
    }
    packet.meta.flags.set(Flags::STAYS_ON_LINK);
    Ok(())
}

/// To a group, by its scope (RFC 4291 §2.7, RFC 7346). No other group is routed here, but one who joins it says so by a report that is sent
/// to it, with hop-by-hop options (RFC 2710 §3).
pub fn to_group(group: &[u8; 16], hop_by_hop: bool) -> Next {
    match group[1] & 15 {
        0 => Next::ScopeReserved,
        1 => Next::ScopeInterface,
        _ if hop_by_hop || is_for_routers(group) => Next::Local,
        _ => Next::MulticastNoRoute,
    }
}

/// To a link-local address: ours, or nobody's business here.
fn to_link_local(context: &Context, packet: &Packet, address: &[u8; 16]) -> Next {
    let interface = context.tables.interface(packet.meta.interface, context.guard);
    let ours = interface.is_some_and(|interface| interface.link_local.contains(address));
    if ours { Next::Local } else { Next::LinkLocal }
}

/// Kinds of addresses (RFC 4291 §2.4).
enum Kind {
    Unspecified,
    Loopback,
    Mapped,
    Multicast,
    LinkLocal,
    Global,
}

fn kind(address: &[u8; 16]) -> Kind {
    match u128::from_be_bytes(*address) {
        0 => Kind::Unspecified,
        1 => Kind::Loopback,
        word if word >> 32 == 0xffff => Kind::Mapped,
        _ if is_multicast(address) => Kind::Multicast,
        _ if is_link_local(address) => Kind::LinkLocal,
        _ => Kind::Global,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::NO_OFFSET;
    use crate::testing::*;
    use crate::wire::ETHERTYPE_IP6;

    const UDP: u8 = 17;
    const ICMP6: u8 = 58;

    fn edge(router: &mut Router, l3: &[u8]) -> Next {
        router.edge(&mut Ip6Input, at_l3(l3, ETHERTYPE_IP6))
    }

    /// The address that is written so.
    fn address(text: &str) -> [u8; 16] {
        text.parse::<std::net::Ipv6Addr>().expect("an address").octets()
    }

    fn between(source: &str, destination: &str) -> Vec<u8> {
        changed(&udp6(FAR6, 7), &[(8, &address(source)), (24, &address(destination))])
    }

    #[test]
    fn a_good_packet_is_looked_up() {
        let mut router = Router::new();
        let (next, packet) = router.run(&mut Ip6Input, at_l3(&udp6(FAR6, 7), ETHERTYPE_IP6));
        assert_eq!((next, packet.meta.l4), (Next::Lookup, 54));
        assert!(packet.meta.flags.is_empty());
        packet.mbuf.free();
    }

    #[test]
    fn version_and_length_are_checked() {
        let mut router = Router::new();
        let good = udp6(FAR6, 7);
        let payload = (good.len() - 40) as u16;
        for (what, at, bytes, expected) in [
            ("version 4", 0, [0x40, 0], Next::Version),
            ("version 0", 0, [0, 0], Next::Version),
            ("any traffic class and flow label", 0, [0x6f, 0xff], Next::Lookup),
            ("one byte too long", 4, (payload + 1).to_be_bytes(), Next::Truncated),
            ("far too long", 4, [0xff, 0xff], Next::Truncated),
            ("shorter than its frame", 4, (payload - 1).to_be_bytes(), Next::Lookup),
            ("empty", 4, [0, 0], Next::Lookup),
        ] {
            let l3 = changed(&good, &[(at, &bytes)]);
            assert_eq!(edge(&mut router, &l3), expected, "{what}");
        }
        assert_eq!(edge(&mut router, &[good, vec![0; 9]].concat()), Next::Lookup, "padding is no error");
        assert_eq!(edge(&mut router, &ip6(59, FAR6, &[])), Next::Lookup, "no next header needs no payload");
    }

    #[test]
    fn a_jumbogram_is_dropped_under_its_name() {
        let mut router = Router::new();
        let jumbo = ip6(0, FAR6, &hex("11 00 c2 04 00010000"));
        assert_eq!(edge(&mut router, &changed(&jumbo, &[(4, &[0, 0])])), Next::Jumbogram);
        assert_eq!(edge(&mut router, &jumbo), Next::Lookup, "with a length it is what it says it is");
    }

    #[test]
    fn addresses_that_are_nobodys_are_dropped() {
        let mut router = Router::new();
        let (host, far) = ("fd00:a::77", "fd00:2::9");
        for (source, destination, expected) in [
            (host, far, Next::Lookup),
            ("2001:db8::1", "2001:db8::2", Next::Lookup),
            ("64:ff9b::192.0.2.1", far, Next::Lookup),
            (host, "::192.0.2.1", Next::Lookup),
            ("fec0::1", "fec0::2", Next::Lookup),
            ("ff02::1", far, Next::SourceMulticast),
            ("ff0e::1", "ff02::1", Next::SourceMulticast),
            ("::1", far, Next::SourceLoopback),
            ("::ffff:192.0.2.1", far, Next::SourceMapped),
            ("::", far, Next::SourceUnspecified),
            ("::", "fe80::1", Next::SourceUnspecified),
            ("::", "ff05::1:3", Next::SourceUnspecified),
            (far, far, Next::SourceIsDestination),
            (host, "::1", Next::DestinationLoopback),
            (host, "::ffff:192.0.2.1", Next::DestinationMapped),
            (host, "::", Next::DestinationUnspecified),
            ("::1", "::1", Next::SourceLoopback),
            ("::", "::", Next::SourceUnspecified),
        ] {
            assert_eq!(
                edge(&mut router, &between(source, destination)),
                expected,
                "{source} to {destination}"
            );
        }
    }

    #[test]
    fn groups_go_by_their_scope() {
        let mut router = Router::new();
        for (group, expected) in [
            ("ff00::1", Next::ScopeReserved),
            ("ff10::1", Next::ScopeReserved),
            ("ff01::1", Next::ScopeInterface),
            ("ff02::1", Next::Local),
            ("ff02::2", Next::Local),
            ("ff02::5", Next::Local),
            ("ff02::1:ff00:1", Next::Local),
            ("ff02::1:ffab:cdef", Next::Local),
            ("ff12::4711", Next::Local),
            ("ff05::2", Next::Local),
            ("ff05::1:3", Next::Local),
            ("ff0e::181", Next::Local),
            ("ff05::184", Next::Local),
            ("ff05::185", Next::MulticastNoRoute),
            ("ff15::181", Next::MulticastNoRoute),
            ("ff03::1", Next::MulticastNoRoute),
            ("ff0e::4711", Next::MulticastNoRoute),
            ("ff3e:30:2001:db8::1", Next::MulticastNoRoute),
        ] {
            assert_eq!(edge(&mut router, &between("fd00:a::77", group)), expected, "{group}");
        }
    }

    #[test]
    fn who_has_no_address_yet_talks_to_its_link() {
        let mut router = Router::new();
        for destination in ["ff02::1:ff00:77", "ff02::2", "ff02::16"] {
            let (next, packet) = router.run(&mut Ip6Input, at_l3(&between("::", destination), ETHERTYPE_IP6));
            assert_eq!((next, packet.meta.flags), (Next::Local, Flags::STAYS_ON_LINK), "{destination}");
            packet.mbuf.free();
        }
    }

    #[test]
    fn a_report_may_go_to_the_group_it_is_about() {
        let mut router = Router::new();
        // Router alert, padding, and then MLD.
        let report = ip6(0, address("ff05::4711"), &hex("3a 00 0502 0000 0100 83000000"));
        for source in ["fe80::77", "::"] {
            let report = changed(&report, &[(8, &address(source))]);
            assert_eq!(edge(&mut router, &report), Next::Local, "{source}");
        }
        let without = ip6(ICMP6, address("ff05::4711"), &hex("83000000"));
        assert_eq!(edge(&mut router, &without), Next::MulticastNoRoute);
    }

    #[test]
    fn link_local_addresses_stay_on_their_link() {
        let mut router = Router::new();
        for (source, destination, expected, flags) in [
            ("fe80::77", "fd00:2::9", Next::Lookup, Flags::STAYS_ON_LINK),
            ("febf:ffff::77", "fd00:2::9", Next::Lookup, Flags::STAYS_ON_LINK),
            ("fe80::77", "fe80::1", Next::Local, Flags::STAYS_ON_LINK),
            ("fe80::77", "fe80::2", Next::LinkLocal, Flags::STAYS_ON_LINK),
            ("fd00:a::77", "fe80::1", Next::Local, Flags::default()),
            ("fd00:a::77", "febf::1", Next::LinkLocal, Flags::default()),
            ("fe80::77", "ff02::1", Next::Local, Flags::STAYS_ON_LINK),
            ("fec0::77", "fd00:2::9", Next::Lookup, Flags::default()),
        ] {
            let (next, packet) =
                router.run(&mut Ip6Input, at_l3(&between(source, destination), ETHERTYPE_IP6));
            assert_eq!((next, packet.meta.flags), (expected, flags), "{source} to {destination}");
            packet.mbuf.free();
        }
        let mut elsewhere = at_l3(&between("fe80::77", "fe80::1"), ETHERTYPE_IP6);
        elsewhere.meta.interface = 7;
        assert_eq!(
            router.edge(&mut Ip6Input, elsewhere),
            Next::LinkLocal,
            "an interface has its own addresses"
        );
    }

    #[test]
    fn extension_headers_hide_the_transport() {
        let mut router = Router::new();
        for (next_header, flags, l4) in [
            (0, Flags::HOP_BY_HOP, NO_OFFSET),
            (43, Flags::default(), NO_OFFSET),
            (44, Flags::default(), NO_OFFSET),
            (51, Flags::default(), NO_OFFSET),
            (59, Flags::default(), NO_OFFSET),
            (60, Flags::default(), NO_OFFSET),
            (6, Flags::default(), 54),
            (50, Flags::default(), 54),
            (58, Flags::default(), 54),
            (64, Flags::default(), 54),
            (64 + 43, Flags::default(), 54),
            (255, Flags::default(), 54),
        ] {
            let packet = at_l3(&ip6(next_header, FAR6, &[0; 8]), ETHERTYPE_IP6);
            let (next, packet) = router.run(&mut Ip6Input, packet);
            assert_eq!((next, packet.meta.flags, packet.meta.l4), (Next::Lookup, flags, l4), "{next_header}");
            packet.mbuf.free();
        }
    }

    #[test]
    fn a_header_that_is_not_all_there_is_dropped() {
        let mut router = Router::new();
        let good = ip6(UDP, FAR6, &[0; 8]);
        for len in 0..40 {
            assert_eq!(edge(&mut router, &good[..len]), Next::Short, "{len} bytes");
            let halves = split(at_l3(&good, ETHERTYPE_IP6), 14 + len);
            assert_eq!(router.edge(&mut Ip6Input, halves), Next::SplitHeader, "split at {len}");
        }
        let halves = split(at_l3(&good, ETHERTYPE_IP6), 54);
        assert_eq!(router.edge(&mut Ip6Input, halves), Next::Lookup, "payload may lie in another segment");
    }
}

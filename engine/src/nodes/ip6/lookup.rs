//! `ip6-lookup`: where does the longest prefix lead, and may the packet go there? (RFC 8200, RFC 4007 §9)

use dpdk_sys::at_hand::hold;
use punt::reason::{Class, Reason};

use super::rewrite::HOP_LIMIT_EXPIRED;
use super::{Ip6HopByHop, Ip6Local, Ip6Rewrite};
use crate::edges;
use crate::node::{Context, Leads, Node, Rest};
use crate::nodes::flow::flow6;
use crate::packet::{Flags, Packet};
use crate::tables::{Adjacency, HOP_TORN, Hop, UNTAGGED};
use crate::transit::forward6;
use crate::wire::Ip6;

/// A packet to a destination that no route covers; a router answers it with ICMPv6 no route to destination.
pub static NO_ROUTE: Reason =
    Reason::new("ip6.no-route", Class::Except, "no route covers the destination").limit(200, 100).drop();
/// A packet to a destination with an `unreachable` route; a router answers it with ICMPv6 reject route to destination.
pub static REJECT_ROUTE: Reason =
    Reason::new("ip6.reject-route", Class::Except, "an unreachable route covers the destination")
        .limit(200, 100);
/// A packet to a destination with a `punt` route.
pub static PUNT_ROUTE: Reason =
    Reason::new("ip6.punt-route", Class::Miss, "a punt route covers the destination").limit(1000, 400);
/// A packet to a neighbour whose MAC address is not known; a router resolves it with neighbour discovery.
pub static UNRESOLVED_NEIGHBOR: Reason =
    Reason::new("ip6.unresolved-neighbor", Class::Miss, "the next hop's MAC address is not known")
        .limit(200, 200);
/// A packet that leaves by the interface it came in on; a router tells the sender of the shorter way.
pub static REDIRECT: Reason =
    Reason::new("ip6.redirect", Class::Except, "leaves by the interface it came in on").limit(100, 64).copy();

edges! {
    /// Where `ip6-lookup` sends a packet.
    pub enum Next {
        Rewrite => to Ip6Rewrite,
        Local => to Ip6Local,
        HopByHop => to Ip6HopByHop,
        Redirect => punt REDIRECT else Ip6Rewrite,
        NoRoute => punt NO_ROUTE,
        Unreachable => punt REJECT_ROUTE,
        Punt => punt PUNT_ROUTE,
        Unresolved => punt UNRESOLVED_NEIGHBOR,
        /// Who resolves the neighbour sends it on, so it expires before that.
        Expired => punt HOP_LIMIT_EXPIRED,
        Blackhole => drop "blackhole route",
        Down => drop "egress interface is down",
        GroupFrame => drop "unicast destination in a broadcast or multicast frame",
        LinkLocal => drop "link-local address beyond its link",
        Broadcast => drop "IPv6 has no broadcast",
        Torn => drop "route changed three times during its lookup",
    }
}

/// Packets looked up at once: as many as the FIB keeps in flight, few enough for the stack.
const BULK: usize = 64;
/// Lookups of one packet that may meet a change, the first of them in bulk.
const TRIES: usize = 3;

/// Finds the hop of each packet.
pub struct Ip6Lookup;

impl Node for Ip6Lookup {
    const NAME: &'static str = "ip6-lookup";
    type Next = Next;

    fn packet(&mut self, context: &Context, packet: &mut Packet) -> Next {
        let mut hop = [HOP_TORN as u64];
        context.tables.fib6.lookup(&[destination(packet)], &mut hop);
        along(context, packet, hop[0] as u32)
    }
}

impl Leads<Ip6Rewrite> for Ip6Lookup {
    fn lead(&mut self, context: &Context, packets: &mut [Packet], rest: &mut Rest<Ip6Rewrite>) {
        let (mut addresses, mut hops) = ([[0; 16]; BULK], [0; BULK]);
        for (bulk, packets) in packets.chunks_mut(BULK).enumerate() {
            for (address, packet) in addresses.iter_mut().zip(&*packets) {
                *address = destination(packet);
            }
            context.tables.fib6.lookup(&addresses[..packets.len()], &mut hops[..packets.len()]);
            for (at, (packet, &hop)) in packets.iter_mut().zip(&hops).enumerate() {
                let hop = hop as u32;
                if !goes_ordinarily(context, packet, hop) {
                    let edge = hold(packet, |packet| along(context, packet, hop));
                    rest.take(bulk * BULK + at, edge, packet);
                }
            }
        }
    }
}

/// The address that is looked up; `ip6-input` has seen to it that there is one.
#[inline(always)]
fn destination(packet: &Packet) -> [u8; 16] {
    packet.l3::<40>().map_or([0; 16], |header| *Ip6(header).destination())
}

/// Sends it all the way to its egress if the hop leads to a neighbour and there is nothing to say about the packet.
#[inline(always)]
fn goes_ordinarily(context: &Context, packet: &mut Packet, hop: u32) -> bool {
    let Some(adjacency) = context.tables.neighbor(hop, context.guard) else { return false };
    let ordinary = packet.meta.l3 as usize == UNTAGGED
        && is_plain(packet, adjacency)
        && forward6(&mut packet.mbuf, adjacency);
    if ordinary {
        packet.leaves_by(adjacency);
    }
    ordinary
}

/// Is there nothing to say about this packet but that it leaves by another interface?
#[inline(always)]
fn is_plain(packet: &Packet, adjacency: &Adjacency) -> bool {
    packet.meta.flags.is_empty() && adjacency.interface != packet.meta.interface
}

/// Where the hop leads this packet.
#[inline(never)]
fn along(context: &Context, packet: &mut Packet, hop: u32) -> Next {
    if hop == HOP_TORN {
        return again(context, packet);
    }
    packet.meta.hop = match context.tables.hop(hop, context.guard) {
        Hop::Ecmp(group) => group.pick(flow6(packet)),
        _ => hop,
    };
    match context.tables.hop(packet.meta.hop, context.guard) {
        Hop::Forward(adjacency) if is_plain(packet, adjacency) => Next::Rewrite,
        Hop::Forward(adjacency) => unusual(packet, adjacency),
        other => elsewhere(packet, other),
    }
}

/// The table changed during the lookup.
#[cold]
fn again(context: &Context, packet: &mut Packet) -> Next {
    let mut hop = [HOP_TORN as u64];
    for _ in 1..TRIES {
        context.tables.fib6.lookup(&[destination(packet)], &mut hop);
        if hop[0] != HOP_TORN as u64 {
            return along(context, packet, hop[0] as u32);
        }
    }
    packet.meta.hop = HOP_TORN;
    Next::Torn
}

/// A packet that may not be forwarded, or not without a word.
#[cold]
fn unusual(packet: &mut Packet, adjacency: &Adjacency) -> Next {
    if let Some(drop) = confined(packet, adjacency.interface) {
        return drop;
    }
    // One that expires here is answered for that, and once: whatever else is unusual about it.
    let Some(ip) = packet.l3::<40>().map(Ip6).filter(|ip| ip.hop_limit() > 1) else { return Next::Rewrite };
    if packet.meta.flags.any(Flags::HOP_BY_HOP) {
        return Next::HopByHop;
    }
    // Nor is one redirected that is too long to be sent on.
    let fits = 40 + ip.payload_len() as u32 <= adjacency.mtu as u32;
    if adjacency.interface == packet.meta.interface && fits { Next::Redirect } else { Next::Rewrite }
}

/// Why a packet may not leave by the interface `egress`. One from a link-local address may go back to its link (RFC 4007 §9).
fn confined(packet: &Packet, egress: u32) -> Option<Next> {
    let flags = packet.meta.flags;
    if flags.any(Flags::LINK_BROADCAST | Flags::LINK_MULTICAST) {
        return Some(Next::GroupFrame);
    }
    (flags.any(Flags::STAYS_ON_LINK) && egress != packet.meta.interface).then_some(Next::LinkLocal)
}

/// A hop that is not a neighbour.
#[cold]
fn elsewhere(packet: &Packet, hop: &Hop) -> Next {
    // What everybody on the link has received is answered with no ICMPv6 error (RFC 4443 §2.4 e).
    let group = packet.meta.flags.any(Flags::LINK_BROADCAST | Flags::LINK_MULTICAST);
    match hop {
        Hop::Unresolved(egress) => confined(packet, *egress).unwrap_or_else(|| {
            let expires = packet.l3::<40>().is_none_or(|header| Ip6(header).hop_limit() <= 1);
            if expires { Next::Expired } else { Next::Unresolved }
        }),
        Hop::Unreachable | Hop::NoRoute if group => Next::GroupFrame,
        Hop::Local if packet.meta.flags.any(Flags::LINK_BROADCAST) => Next::GroupFrame,
        hop => plainly(hop),
    }
}

/// Where a hop that is not a neighbour leads a packet of which there is nothing else to say.
pub fn plainly(hop: &Hop) -> Next {
    match hop {
        Hop::Local => Next::Local,
        Hop::Broadcast(_) => Next::Broadcast,
        Hop::Unresolved(_) => Next::Unresolved,
        Hop::Down => Next::Down,
        Hop::Blackhole => Next::Blackhole,
        Hop::Unreachable => Next::Unreachable,
        Hop::Punt => Next::Punt,
        // A group of groups is never made; a group whose hop has just gone is no route.
        Hop::NoRoute | Hop::Forward(_) | Hop::Ecmp(_) => Next::NoRoute,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Edges, Joined};
    use crate::testing::*;
    use crate::wire::ETHERTYPE_IP6;

    const BACK: [u8; 16] = ip6_address(0xfd00, 6, 1);
    const SILENT: [u8; 16] = ip6_address(0xfd00, 0xb, 3);
    const NOWHERE: [u8; 16] = ip6_address(0x2001, 0xdb8, 1);

    fn to(destination: [u8; 16]) -> Packet {
        at_l3(&udp6(destination, 7), ETHERTYPE_IP6)
    }

    fn flagged(destination: [u8; 16], flags: Flags) -> Packet {
        let mut packet = to(destination);
        packet.meta.flags.set(flags);
        packet
    }

    #[test]
    fn the_longest_prefix_leads() {
        let mut router = Router::new();
        for (what, destination, expected, hop) in [
            ("routed", FAR6, Next::Rewrite, TO_NEIGHBOR),
            ("the neighbour itself", ip6_address(0xfd00, 0xb, 2), Next::Rewrite, TO_NEIGHBOR),
            ("connected, unknown", SILENT, Next::Unresolved, CONNECTED_WAN),
            ("ours", LAN6, Next::Local, TO_US),
            ("blackhole", ip6_address(0xfd00, 3, 1), Next::Blackhole, BLACKHOLE),
            ("unreachable", ip6_address(0xfd00, 4, 1), Next::Unreachable, UNREACHABLE),
            ("punt", ip6_address(0xfd00, 5, 1), Next::Punt, PUNT),
            ("back", BACK, Next::Redirect, BACK_TO_LAN),
            ("down", ip6_address(0xfd00, 7, 1), Next::Down, DOWN),
            ("in the middle of a change", ip6_address(0xfd00, 9, 1), Next::Torn, 0),
            ("nowhere", NOWHERE, Next::NoRoute, crate::tables::HOP_NO_ROUTE),
        ] {
            let (next, packet) = router.run(&mut Ip6Lookup, to(destination));
            assert_eq!((next, packet.meta.hop), (expected, hop), "{what}");
            packet.mbuf.free();
        }
        router.hop(DOWN, Hop::Broadcast(LAN));
        assert_eq!(router.edge(&mut Ip6Lookup, to(ip6_address(0xfd00, 7, 1))), Next::Broadcast);
    }

    #[test]
    fn a_hop_that_has_gone_is_no_route() {
        let mut router = Router::new();
        router.tables.hops[TO_NEIGHBOR as usize].replace(None, &mut Vec::new());
        assert_eq!(router.edge(&mut Ip6Lookup, to(FAR6)), Next::NoRoute);
        router.hop(TO_NEIGHBOR, Hop::Ecmp(Box::new(crate::tables::Ecmp::new(&[(SPREAD, 1)]))));
        assert_eq!(router.edge(&mut Ip6Lookup, to(FAR6)), Next::NoRoute, "a group of groups");
    }

    #[test]
    fn what_is_unusual_goes_its_own_way() {
        let mut router = Router::new();
        let on_link = Flags::STAYS_ON_LINK;
        let group = Flags::LINK_MULTICAST;
        for (what, destination, flags, expected) in [
            ("group frame", FAR6, group, Next::GroupFrame),
            ("broadcast frame", FAR6, Flags::LINK_BROADCAST, Next::GroupFrame),
            ("group frame back", BACK, group, Next::GroupFrame),
            ("group frame, neighbour unknown", SILENT, group, Next::GroupFrame),
            ("group frame nowhere", NOWHERE, group, Next::GroupFrame),
            ("group frame to the unreachable", ip6_address(0xfd00, 4, 1), group, Next::GroupFrame),
            ("group frame to us", LAN6, Flags::LINK_MULTICAST, Next::Local),
            ("frame to everybody, to us", LAN6, Flags::LINK_BROADCAST, Next::GroupFrame),
            ("hop-by-hop", FAR6, Flags::HOP_BY_HOP, Next::HopByHop),
            ("hop-by-hop back", BACK, Flags::HOP_BY_HOP, Next::HopByHop),
            ("hop-by-hop to us", LAN6, Flags::HOP_BY_HOP, Next::Local),
            ("hop-by-hop nowhere", NOWHERE, Flags::HOP_BY_HOP, Next::NoRoute),
            ("link-local", FAR6, on_link, Next::LinkLocal),
            ("link-local, neighbour unknown", SILENT, on_link, Next::LinkLocal),
            ("link-local, hop-by-hop", FAR6, on_link | Flags::HOP_BY_HOP, Next::LinkLocal),
            ("link-local to us", LAN6, on_link, Next::Local),
            // It does not leave its zone (RFC 4007 §9).
            ("link-local back to its link", BACK, on_link, Next::Redirect),
        ] {
            assert_eq!(router.edge(&mut Ip6Lookup, flagged(destination, flags)), expected, "{what}");
        }
        let mut from_wan = flagged(SILENT, on_link);
        from_wan.meta.interface = WAN;
        assert_eq!(router.edge(&mut Ip6Lookup, from_wan), Next::Unresolved, "unknown, on its own link");
    }

    #[test]
    fn what_expires_here_is_not_redirected() {
        let mut router = Router::new();
        for (hop_limit, expected) in [(2, Next::Redirect), (1, Next::Rewrite), (0, Next::Rewrite)] {
            let packet = at_l3(&changed(&udp6(BACK, 7), &[(7, &[hop_limit])]), ETHERTYPE_IP6);
            assert_eq!(router.edge(&mut Ip6Lookup, packet), expected, "hop limit {hop_limit}");
        }
    }

    #[test]
    fn a_flow_takes_one_path_and_flows_take_all() {
        let mut router = Router::new();
        let spread = ip6_address(0xfd00, 8, 1);
        for by_label in [false, true] {
            let mut share = 0;
            for flow in 0..64 {
                let l3 = match by_label {
                    true => changed(&udp6(spread, 7), &[(3, &[flow])]),
                    false => udp6(spread, flow.into()),
                };
                let (next, first) = router.run(&mut Ip6Lookup, at_l3(&l3, ETHERTYPE_IP6));
                let (_, second) = router.run(&mut Ip6Lookup, at_l3(&l3, ETHERTYPE_IP6));
                assert_eq!((next, first.meta.hop), (Next::Rewrite, second.meta.hop));
                assert!([TO_NEIGHBOR, TO_VLAN].contains(&first.meta.hop));
                share += (first.meta.hop == TO_VLAN) as u32;
                first.mbuf.free();
                second.mbuf.free();
            }
            assert!((16..=48).contains(&share), "{share} of 64 flows take one of two paths");
        }
    }

    #[test]
    fn a_frame_longer_than_one_bulk_is_looked_up_whole() {
        let mut router = Router::new();
        let destinations = [FAR6, LAN6, ip6_address(0xfd00, 9, 1), NOWHERE, SILENT];
        let edges = [Next::Rewrite, Next::Local, Next::Torn, Next::NoRoute, Next::Unresolved];
        let mut packets: Vec<_> = (0..150).map(|index| to(destinations[index % 5])).collect();
        let expected: Vec<u8> = (0..150).map(|index| edges[index % 5].index()).collect();
        let mut stage = Joined(Ip6Lookup, Ip6Rewrite);
        assert_eq!(router.stage(&mut stage, &mut packets), expected);
        packets.into_iter().for_each(|packet| packet.mbuf.free());
    }
}

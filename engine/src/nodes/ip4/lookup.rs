//! `ip4-lookup`: where does the longest prefix lead? (RFC 1812 §5.2.4)

use dpdk_sys::at_hand::hold;
use punt::reason::{Class, Reason};

use super::rewrite::TTL_EXPIRED;
use super::{Ip4Local, Ip4Options, Ip4Rewrite};
use crate::edges;
use crate::node::{Context, Leads, Node, Rest};
use crate::nodes::flow::flow4;
use crate::packet::{Flags, Meta, Packet};
use crate::quiescent::{Guard, Slot};
use crate::tables::{Adjacency, Exit, HOP_TORN, Hop, UNTAGGED, neighbor};
use crate::transit::{Transit, forward4};
use crate::wire::Ip4;

/// A packet to a destination that no route covers; a router answers it with ICMP network unreachable.
pub static NO_ROUTE: Reason =
    Reason::new("ip4.no-route", Class::Except, "no route covers the destination").limit(200, 100).drop();
/// A packet to a destination with an `unreachable` route; a router answers it with ICMP host unreachable.
pub static REJECT_ROUTE: Reason =
    Reason::new("ip4.reject-route", Class::Except, "an unreachable route covers the destination")
        .limit(200, 100);
/// A packet to a destination with a `punt` route.
pub static PUNT_ROUTE: Reason =
    Reason::new("ip4.punt-route", Class::Miss, "a punt route covers the destination").limit(1000, 400);
/// A packet to a neighbour whose MAC address is not known; a router resolves it with ARP.
pub static UNRESOLVED_NEIGHBOR: Reason =
    Reason::new("ip4.unresolved-neighbor", Class::Miss, "the next hop's MAC address is not known")
        .limit(200, 200);
/// A packet that leaves by the interface it came in on; a router tells the sender of the shorter way.
pub static REDIRECT: Reason =
    Reason::new("ip4.redirect", Class::Except, "leaves by the interface it came in on").limit(100, 64).copy();

edges! {
    /// Where `ip4-lookup` sends a packet.
    pub enum Next {
        Rewrite => to Ip4Rewrite,
        Local => to Ip4Local,
        Options => to Ip4Options,
        Redirect => punt REDIRECT else Ip4Rewrite,
        NoRoute => punt NO_ROUTE,
        Unreachable => punt REJECT_ROUTE,
        Punt => punt PUNT_ROUTE,
        Unresolved => punt UNRESOLVED_NEIGHBOR,
        /// Who resolves the neighbour sends it on, so it expires before that.
        Expired => punt TTL_EXPIRED,
        Blackhole => drop "blackhole route",
        Down => drop "egress interface is down",
        GroupFrame => drop "unicast destination in a broadcast or multicast frame",
        LinkLocal => drop "link-local address beyond its link",
        DirectedBroadcast => drop "broadcast of another subnet",
        Torn => drop "route changed three times during its lookup",
    }
}

/// Packets looked up at once: as many as the FIB keeps in flight, few enough for the stack.
const BULK: usize = 64;
/// Lookups of one packet that may meet a change, the first of them in bulk.
const TRIES: usize = 3;

/// Finds the hop of each packet.
pub struct Ip4Lookup;

impl Node for Ip4Lookup {
    const NAME: &'static str = "ip4-lookup";
    type Next = Next;

    fn packet(&mut self, context: &Context, packet: &mut Packet) -> Next {
        let mut hop = [HOP_TORN as u64];
        context.tables.fib4.lookup(&[packet.meta.hop], &mut hop);
        along(context, packet, hop[0] as u32)
    }
}

impl Leads<Ip4Rewrite> for Ip4Lookup {
    fn lead(&mut self, context: &Context, packets: &mut [Packet], rest: &mut Rest<Ip4Rewrite>) {
        let (mut addresses, mut hops) = ([0; BULK], [0; BULK]);
        for (bulk, packets) in packets.chunks_mut(BULK).enumerate() {
            for (address, packet) in addresses.iter_mut().zip(&*packets) {
                *address = packet.meta.hop;
            }
            context.tables.fib4.lookup(&addresses[..packets.len()], &mut hops[..packets.len()]);
            for (at, (packet, &hop)) in packets.iter_mut().zip(&hops).enumerate() {
                let hop = hop as u32;
                if !goes_ordinarily(context, packet, hop) {
                    let edge = hold(packet, |packet| along(context, packet, hop));
                    rest.take(bulk * BULK + at, edge, packet);
                }
            }
        }
    }

    fn lead_transit(
        &mut self,
        context: &Context,
        transit: &mut Transit,
        frame: &mut Vec<Packet>,
        rest: &mut Rest<Ip4Rewrite>,
    ) {
        let Transit { interface, mbufs, destinations, words, unusual } = transit;
        let (interface, len) = (*interface, mbufs.len());
        context.tables.fib4.lookup(&destinations[..len], &mut words[..len]);
        let hops = &*context.tables.hops;
        for (at, (mbuf, word)) in mbufs.as_mut_slice().iter_mut().zip(&mut **words).enumerate() {
            match goes_on(hops, context.guard, interface, mbuf, *word as u32) {
                Some(exit) => *word = exit.word(),
                None => unusual.add(at),
            }
        }
        if !unusual.is_empty() {
            set_aside(context, transit, frame, rest);
        }
    }
}

/// Sends a packet in transit all the way to its egress if the hop leads to a neighbour and there is nothing to say about the packet.
#[inline(always)]
fn goes_on(
    hops: &[Slot<Hop>],
    guard: &Guard,
    interface: u32,
    mbuf: &mut dpdk_sys::Packet,
    hop: u32,
) -> Option<Exit> {
    let adjacency = neighbor(hops, hop, guard)?;
    (adjacency.interface != interface && forward4(mbuf, adjacency)).then_some(adjacency.exit)
}

/// Takes all packets out of transit that have not been rewritten. In the place of their exits there are still their hops.
#[inline(never)]
fn set_aside(context: &Context, transit: &mut Transit, frame: &mut Vec<Packet>, rest: &mut Rest<Ip4Rewrite>) {
    let Transit { interface, mbufs, destinations, words, unusual } = transit;
    let meta = Transit::meta(*interface);
    mbufs.take_out(unusual.take(), words, |at, mbuf, hop| {
        let mut packet = Packet { mbuf, meta: Meta { hop: destinations[at], ..meta } };
        let edge = hold(&mut packet, |packet| along(context, packet, hop as u32));
        rest.put(edge, packet, frame);
    });
}

/// Sends it all the way to its egress if the hop leads to a neighbour and there is nothing to say about the packet.
#[inline(always)]
fn goes_ordinarily(context: &Context, packet: &mut Packet, hop: u32) -> bool {
    let Some(adjacency) = context.tables.neighbor(hop, context.guard) else { return false };
    let ordinary = packet.meta.l3 as usize == UNTAGGED
        && is_plain(packet, adjacency)
        && forward4(&mut packet.mbuf, adjacency);
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
        Hop::Ecmp(group) => group.pick(flow4(packet)),
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
        context.tables.fib4.lookup(&[packet.meta.hop], &mut hop);
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
    let flags = packet.meta.flags;
    if flags.any(Flags::LINK_BROADCAST | Flags::LINK_MULTICAST) {
        return Next::GroupFrame;
    }
    if flags.any(Flags::STAYS_ON_LINK) {
        return Next::LinkLocal;
    }
    // One that expires here is answered for that, and once: whatever else is unusual about it.
    let Some(ip) = packet.l3::<20>().map(Ip4).filter(|ip| ip.ttl() > 1) else { return Next::Rewrite };
    if flags.any(Flags::OPTIONS) {
        return Next::Options;
    }
    // Nor is one redirected that is too long to be sent on.
    let redirected = adjacency.interface == packet.meta.interface && ip.total_len() <= adjacency.mtu;
    if redirected { Next::Redirect } else { Next::Rewrite }
}

/// A hop that is not a neighbour.
#[cold]
fn elsewhere(packet: &Packet, hop: &Hop) -> Next {
    // What everybody on the link has received is answered with no ICMP error (RFC 1812 §4.3.2.7), resolved for nobody, and not ours alone
    // (RFC 1122 §3.3.6); but in a frame to a group it may be (RFC 7130 §2.3).
    let group = packet.meta.flags.any(Flags::LINK_BROADCAST | Flags::LINK_MULTICAST);
    match hop {
        Hop::Broadcast(interface) if *interface != packet.meta.interface => Next::DirectedBroadcast,
        Hop::Unresolved(_) | Hop::Unreachable | Hop::NoRoute if group => Next::GroupFrame,
        Hop::Local if packet.meta.flags.any(Flags::LINK_BROADCAST) => Next::GroupFrame,
        Hop::Unresolved(_) if packet.meta.flags.any(Flags::STAYS_ON_LINK) => Next::LinkLocal,
        Hop::Unresolved(_) if packet.l3::<20>().is_none_or(|header| Ip4(header).ttl() <= 1) => Next::Expired,
        hop => plainly(hop),
    }
}

/// Where a hop that is not a neighbour leads a packet of which there is nothing else to say.
pub fn plainly(hop: &Hop) -> Next {
    match hop {
        Hop::Local | Hop::Broadcast(_) => Next::Local,
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
    use crate::wire::ETHERTYPE_IP4;

    fn to(destination: [u8; 4]) -> Packet {
        let mut packet = at_l3(&udp4(destination, 7), ETHERTYPE_IP4);
        packet.meta.l4 = 34;
        packet
    }

    fn flagged(destination: [u8; 4], flags: Flags) -> Packet {
        let mut packet = to(destination);
        packet.meta.flags.set(flags);
        packet
    }

    #[test]
    fn the_longest_prefix_leads() {
        let mut router = Router::new();
        for (destination, expected, hop) in [
            (FAR4, Next::Rewrite, TO_NEIGHBOR),
            ([10, 0, 1, 2], Next::Rewrite, TO_NEIGHBOR),
            ([10, 0, 1, 3], Next::Unresolved, CONNECTED_WAN),
            (LAN4, Next::Local, TO_US),
            ([10, 0, 1, 1], Next::Local, TO_US),
            ([10, 3, 0, 1], Next::Blackhole, BLACKHOLE),
            ([10, 4, 0, 1], Next::Unreachable, UNREACHABLE),
            ([10, 5, 0, 1], Next::Punt, PUNT),
            ([10, 6, 0, 1], Next::Redirect, BACK_TO_LAN),
            ([10, 7, 0, 1], Next::Down, DOWN),
            ([10, 9, 0, 1], Next::Torn, 0),
            ([192, 0, 2, 1], Next::NoRoute, crate::tables::HOP_NO_ROUTE),
        ] {
            let (next, packet) = router.run(&mut Ip4Lookup, to(destination));
            assert_eq!((next, packet.meta.hop), (expected, hop), "{destination:?}");
            packet.mbuf.free();
        }
    }

    #[test]
    fn a_hop_that_has_gone_is_no_route() {
        let mut router = Router::new();
        router.tables.hops[TO_NEIGHBOR as usize].replace(None, &mut Vec::new());
        assert_eq!(router.edge(&mut Ip4Lookup, to(FAR4)), Next::NoRoute);
        router.hop(TO_NEIGHBOR, Hop::Ecmp(Box::new(crate::tables::Ecmp::new(&[]))));
        assert_eq!(router.edge(&mut Ip4Lookup, to(FAR4)), Next::NoRoute, "a group without a path");
        router.hop(TO_NEIGHBOR, Hop::Ecmp(Box::new(crate::tables::Ecmp::new(&[(SPREAD, 1)]))));
        assert_eq!(router.edge(&mut Ip4Lookup, to(FAR4)), Next::NoRoute, "a group of groups");
    }

    #[test]
    fn a_broadcast_is_ours_on_its_subnet_and_nobodys_elsewhere() {
        let mut router = Router::new();
        let broadcast = [10, 0, 0, 255];
        assert_eq!(router.edge(&mut Ip4Lookup, flagged(broadcast, Flags::LINK_BROADCAST)), Next::Local);
        assert_eq!(router.edge(&mut Ip4Lookup, to(broadcast)), Next::Local);
        let mut from_wan = to(broadcast);
        from_wan.meta.interface = WAN;
        assert_eq!(router.edge(&mut Ip4Lookup, from_wan), Next::DirectedBroadcast);
    }

    #[test]
    fn a_group_frame_is_neither_forwarded_nor_answered() {
        let mut router = Router::new();
        for flags in [Flags::LINK_BROADCAST, Flags::LINK_MULTICAST, Flags::LINK_BROADCAST | Flags::OPTIONS] {
            for destination in
                [FAR4, [10, 6, 0, 1], [10, 0, 1, 3], [10, 8, 0, 1], [10, 4, 0, 1], [192, 0, 2, 1]]
            {
                let packet = flagged(destination, flags);
                assert_eq!(router.edge(&mut Ip4Lookup, packet), Next::GroupFrame, "{destination:?}");
            }
            let ours = if flags == Flags::LINK_MULTICAST { Next::Local } else { Next::GroupFrame };
            assert_eq!(router.edge(&mut Ip4Lookup, flagged(LAN4, flags)), ours, "ours alone");
        }
    }

    #[test]
    fn what_is_unusual_goes_its_own_way() {
        let mut router = Router::new();
        for (what, destination, flags, expected) in [
            ("options", FAR4, Flags::OPTIONS, Next::Options),
            ("options to us", LAN4, Flags::OPTIONS, Next::Local),
            ("options, without a route", [192, 0, 2, 1], Flags::OPTIONS, Next::NoRoute),
            ("options, back where it came from", [10, 6, 0, 1], Flags::OPTIONS, Next::Options),
            ("link-local", FAR4, Flags::STAYS_ON_LINK, Next::LinkLocal),
            (
                "link-local back to its link (RFC 3927 §7)",
                [10, 6, 0, 1],
                Flags::STAYS_ON_LINK,
                Next::LinkLocal,
            ),
            ("link-local, neighbour unknown", [10, 0, 1, 3], Flags::STAYS_ON_LINK, Next::LinkLocal),
            ("link-local to us", LAN4, Flags::STAYS_ON_LINK, Next::Local),
        ] {
            assert_eq!(router.edge(&mut Ip4Lookup, flagged(destination, flags)), expected, "{what}");
        }
    }

    #[test]
    fn what_is_too_long_to_be_sent_back_is_not_redirected() {
        let mut router = Router::new();
        for (len, expected) in [(1500, Next::Redirect), (1501, Next::Rewrite)] {
            let packet = ip4(17, [10, 6, 0, 1], &vec![7; len - 20]);
            assert_eq!(router.edge(&mut Ip4Lookup, at_l3(&packet, ETHERTYPE_IP4)), expected, "{len} bytes");
        }
    }

    #[test]
    fn what_expires_here_is_not_resolved_for() {
        let mut router = Router::new();
        for (ttl, expected) in [(2, Next::Unresolved), (1, Next::Expired), (0, Next::Expired)] {
            let packet = sealed(changed(&udp4([10, 0, 1, 3], 7), &[(8, &[ttl])]));
            assert_eq!(router.edge(&mut Ip4Lookup, at_l3(&packet, ETHERTYPE_IP4)), expected, "TTL {ttl}");
        }
    }

    #[test]
    fn what_expires_here_is_not_redirected() {
        let mut router = Router::new();
        for (ttl, expected) in [(2, Next::Redirect), (1, Next::Rewrite), (0, Next::Rewrite)] {
            let packet = sealed(changed(&udp4([10, 6, 0, 1], 7), &[(8, &[ttl])]));
            assert_eq!(router.edge(&mut Ip4Lookup, at_l3(&packet, ETHERTYPE_IP4)), expected, "TTL {ttl}");
        }
    }

    #[test]
    fn a_flow_takes_one_path_and_flows_take_all() {
        let mut router = Router::new();
        let mut taken = Vec::new();
        for port in 0..64 {
            let flow = || {
                let mut packet = at_l3(&udp4([10, 8, 0, 1], port), ETHERTYPE_IP4);
                packet.meta.l4 = 34;
                packet
            };
            let (next, first) = router.run(&mut Ip4Lookup, flow());
            let (_, second) = router.run(&mut Ip4Lookup, flow());
            assert_eq!((next, first.meta.hop), (Next::Rewrite, second.meta.hop));
            taken.push(first.meta.hop);
            first.mbuf.free();
            second.mbuf.free();
        }
        assert!(taken.iter().all(|hop| [TO_NEIGHBOR, TO_VLAN].contains(hop)));
        let share = taken.iter().filter(|hop| **hop == TO_VLAN).count();
        assert!((16..=48).contains(&share), "{share} of 64 flows take one of two paths");
    }

    #[test]
    fn a_frame_longer_than_one_bulk_is_looked_up_whole() {
        let mut router = Router::new();
        let destinations = [FAR4, LAN4, [10, 9, 0, 1], [192, 0, 2, 1], [10, 3, 0, 1]];
        let edges = [Next::Rewrite, Next::Local, Next::Torn, Next::NoRoute, Next::Blackhole];
        let mut packets: Vec<_> = (0..150).map(|index| to(destinations[index % 5])).collect();
        let expected: Vec<u8> = (0..150).map(|index| edges[index % 5].index()).collect();
        let mut stage = Joined(Ip4Lookup, Ip4Rewrite);
        assert_eq!(router.stage(&mut stage, &mut packets), expected);
        packets.into_iter().for_each(|packet| packet.mbuf.free());
    }
}

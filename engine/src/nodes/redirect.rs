//! `punt-redirect`: what nobody claimed, and the passive punt sends on (INTERFACE `passive set … --redirect`).
//!
//! Via a next hop an IP packet gets the L2 header that any route there would give it; TTL, checksum and all else stay, for it was addressed to
//! us. Without one the frame leaves as it came.

use crate::edges;
use crate::node::{Context, Node};
use crate::nodes::rewrite::write_link_header;
use crate::nodes::transmit::Transmit;
use crate::nodes::{ip4, ip6};
use crate::packet::{Flags, NO_OFFSET, Packet};
use crate::punted::link_header;
use crate::tables::Hop;
use crate::wire::{ETHERTYPE_IP4, ETHERTYPE_IP6};
use ip4::lookup::UNRESOLVED_NEIGHBOR as UNRESOLVED4;
use ip6::lookup::UNRESOLVED_NEIGHBOR as UNRESOLVED6;

edges! {
    /// Where `punt-redirect` sends a packet.
    pub enum Next {
        Transmit => to Transmit,
        Unresolved4 => punt UNRESOLVED4,
        Unresolved6 => punt UNRESOLVED6,
        Down => drop "egress interface is down",
        TooLong => drop "longer than the MTU of the egress interface",
        NoWay => drop "no way to the next hop",
        NoRoom => drop "no room for the link header",
    }
}

/// Set in a way that is an interface: the frame leaves by it as it came. Any other way is a hop.
pub const AS_IT_CAME: u32 = 1 << 31;

/// Sends on what nobody claimed.
pub struct Redirect;

impl Node for Redirect {
    const NAME: &'static str = "punt-redirect";
    type Next = Next;

    fn packet(&mut self, context: &Context, packet: &mut Packet) -> Next {
        match packet.meta.hop {
            way if way & AS_IT_CAME != 0 => as_it_came(context, packet, way & !AS_IT_CAME),
            way => via(context, packet, way),
        }
    }
}

/// Whether a packet can go that way now.
pub fn leads_somewhere(context: &Context, packet: &Packet, way: u32) -> bool {
    match way & AS_IT_CAME {
        0 => match context.tables.hop(way, context.guard) {
            Hop::Forward(adjacency) => packet.l3_len() <= adjacency.mtu as u32,
            _ => false,
        },
        _ => {
            let egress = context.tables.interface(way & !AS_IT_CAME, context.guard);
            egress.is_some_and(|egress| egress.up && behind_link_header(packet) <= egress.mtu as u32)
        }
    }
}

/// Bytes of a frame that count for an MTU.
fn behind_link_header(packet: &Packet) -> u32 {
    let header = match packet.meta.l3 {
        // Tags count for no MTU, whatever is behind them.
        NO_OFFSET => link_header(packet.bytes()).map_or(0, |(_, behind)| behind as u32),
        l3 => l3 as u32,
    };
    packet.mbuf.len().saturating_sub(header)
}

fn as_it_came(context: &Context, packet: &mut Packet, interface: u32) -> Next {
    let Some(egress) = context.tables.interface(interface, context.guard) else { return Next::NoWay };
    if !egress.up {
        return Next::Down;
    }
    if behind_link_header(packet) > egress.mtu as u32 {
        return Next::TooLong;
    }
    packet.meta.egress = interface;
    packet.meta.port = egress.port;
    Next::Transmit
}

fn via(context: &Context, packet: &mut Packet, hop: u32) -> Next {
    let is_ip4 = packet.l3::<1>().is_some_and(|[first]| first >> 4 == 4);
    match context.tables.hop(hop, context.guard) {
        Hop::Forward(adjacency) => {
            if packet.l3_len() > adjacency.mtu as u32 {
                return Next::TooLong;
            }
            let ethertype = if is_ip4 { ETHERTYPE_IP4 } else { ETHERTYPE_IP6 };
            if write_link_header(packet, adjacency, ethertype).is_none() {
                return Next::NoRoom;
            }
            packet.meta.flags.set(Flags::REWRITTEN);
            packet.meta.egress = adjacency.interface;
            packet.meta.port = adjacency.exit.port();
            Next::Transmit
        }
        Hop::Unresolved(_) if is_ip4 => Next::Unresolved4,
        Hop::Unresolved(_) => Next::Unresolved6,
        Hop::Down => Next::Down,
        _ => Next::NoWay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    fn redirected(l3: &[u8], ethertype: u16, way: u32) -> (Next, Vec<u8>) {
        let mut router = Router::new();
        let mut packet = at_l3(l3, ethertype);
        packet.meta.hop = way;
        let (next, packet) = router.run(&mut Redirect, packet);
        let bytes = packet.mbuf.to_vec();
        packet.mbuf.free();
        (next, bytes)
    }

    #[test]
    fn via_a_next_hop_only_the_link_header_is_another() {
        let datagram = udp4(LAN4, 9999);
        let (next, bytes) = redirected(&datagram, ETHERTYPE_IP4, TO_NEIGHBOR);
        assert_eq!(next, Next::Transmit);
        assert_eq!(bytes[..12], [NEIGHBOR_MAC, WAN_MAC].concat());
        assert_eq!(bytes[14..], datagram, "TTL and checksum stay");
        let (next, bytes) = redirected(&udp6(LAN6, 9999), ETHERTYPE_IP6, TO_NEIGHBOR);
        assert_eq!((next, &bytes[12..14]), (Next::Transmit, [0x86, 0xdd].as_slice()));
    }

    #[test]
    fn without_one_the_frame_leaves_as_it_came() {
        let datagram = udp4(LAN4, 9999);
        let (next, bytes) = redirected(&datagram, ETHERTYPE_IP4, AS_IT_CAME | WAN);
        assert_eq!(next, Next::Transmit);
        assert_eq!(bytes[..12], [LAN_MAC, HOST_MAC].concat());
        assert_eq!(bytes[14..], datagram);
    }

    #[test]
    fn tags_count_for_no_mtu() {
        let mut router = Router::new();
        let tags = [&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 7][..], &[0x81, 0, 0, 7], &[]];
        for (tags, length, expected) in
            tags.iter().flat_map(|tags| [(tags, 1500, Next::Transmit), (tags, 1501, Next::TooLong)])
        {
            let mut frame = [&LAN_MAC[..], &HOST_MAC, tags, &[0x88, 0xb5]].concat();
            frame.resize(frame.len() + length, 0);
            let mut packet = received(&frame);
            (packet.meta.l3, packet.meta.hop) = (NO_OFFSET, AS_IT_CAME | WAN);
            let (next, packet) = router.run(&mut Redirect, packet);
            packet.mbuf.free();
            assert_eq!(next, expected, "{tags:?}, {length}");
        }
    }

    #[test]
    fn what_cannot_go_there_says_why() {
        let datagram = udp4(LAN4, 9999);
        for (way, expected) in [
            (CONNECTED_WAN, Next::Unresolved4),
            (DOWN, Next::Down),
            (BLACKHOLE, Next::NoWay),
            (AS_IT_CAME | 7, Next::NoWay),
        ] {
            assert_eq!(redirected(&datagram, ETHERTYPE_IP4, way).0, expected);
        }
        assert_eq!(redirected(&udp6(LAN6, 9), ETHERTYPE_IP6, CONNECTED_WAN).0, Next::Unresolved6);
        let jumbo = ip4(17, LAN4, &[0; 1481]);
        assert_eq!(redirected(&jumbo, ETHERTYPE_IP4, TO_NEIGHBOR).0, Next::TooLong);
        assert_eq!(redirected(&jumbo, ETHERTYPE_IP4, AS_IT_CAME | WAN).0, Next::TooLong);
    }
}

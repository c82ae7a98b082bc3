//! `ip6-rewrite`: the last look before a packet is changed, and the change (RFC 8200 §3, RFC 4443 §3.2 and §3.3).

use punt::reason::{Class, Reason};

use crate::edges;
use crate::node::{Context, Node};
use crate::nodes::rewrite::{split, write_link_header};
use crate::nodes::transmit::Transmit;
use crate::packet::Packet;
use crate::tables::{Adjacency, UNTAGGED};
use crate::transit::forward6;
use crate::wire::{ETHERTYPE_IP6, Ip6};

/// A packet whose hop limit ran out here; a router answers it with ICMPv6 time exceeded.
pub static HOP_LIMIT_EXPIRED: Reason =
    Reason::new("ip6.hop-limit-expired", Class::Except, "hop limit ran out in transit").limit(600, 300);
/// A packet that is larger than its egress takes; a router answers it with ICMPv6 packet too big.
pub static PACKET_TOO_BIG: Reason =
    Reason::new("ip6.packet-too-big", Class::Except, "larger than the egress MTU").limit(600, 300);

edges! {
    /// Where `ip6-rewrite` sends a packet.
    pub enum Next {
        Transmit => to Transmit,
        Expired => punt HOP_LIMIT_EXPIRED,
        TooBig => punt PACKET_TOO_BIG,
        Gone => drop "next hop went during this burst",
        NoRoom => drop "no room for the L2 header",
        Short => drop "shorter than an IPv6 header",
    }
}

/// Checks hop limit and MTU; takes one from the hop limit and writes the egress' L2 header.
pub struct Ip6Rewrite;

impl Node for Ip6Rewrite {
    const NAME: &'static str = "ip6-rewrite";
    type Next = Next;

    #[inline(always)]
    fn packet(&mut self, context: &Context, packet: &mut Packet) -> Next {
        let Some(adjacency) = context.tables.neighbor(packet.meta.hop, context.guard) else {
            return Next::Gone;
        };
        let plain = packet.meta.l3 as usize == UNTAGGED && forward6(&mut packet.mbuf, adjacency);
        if !plain && let Err(next) = trim_and_write(packet, adjacency) {
            return next;
        }
        packet.leaves_by(adjacency);
        Next::Transmit
    }
}

/// A packet that expires here, that has tags or gets some, or whose frame is longer than its egress takes: because of the packet, or only of
/// what trails it.
#[cold]
fn trim_and_write(packet: &mut Packet, adjacency: &Adjacency) -> Result<(), Next> {
    let Some(ip) = packet.l3::<40>().map(Ip6) else { return Err(Next::Short) };
    if ip.hop_limit() <= 1 {
        return Err(Next::Expired);
    }
    let len = 40 + ip.payload_len() as u32;
    if len > adjacency.mtu as u32 {
        return Err(Next::TooBig);
    }
    if packet.l3_len() > adjacency.mtu as u32 {
        packet.mbuf.truncate(packet.meta.l3 as u32 + len);
    }
    write_link_header(packet, adjacency, ETHERTYPE_IP6).ok_or(Next::NoRoom)?;
    let (_, header) = split(packet).ok_or(Next::Short)?;
    decrement_hop_limit(header);
    Ok(())
}

#[inline(always)]
fn decrement_hop_limit(header: &mut [u8; 40]) {
    header[7] -= 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Flags;
    use crate::tables::{Hop, MacAddress, Tpid};
    use crate::testing::*;

    /// A packet that the lookup sent along `hop`.
    fn along(hop: u32, l3: &[u8]) -> Packet {
        let mut packet = at_l3(l3, ETHERTYPE_IP6);
        packet.meta.hop = hop;
        packet
    }

    /// A hop out of `WAN` with this MTU and these tags.
    fn wan(mtu: u16, tags: &[(Tpid, u16)]) -> Hop {
        let (destination, source) = (MacAddress::new(NEIGHBOR_MAC), MacAddress::new(WAN_MAC));
        Hop::Forward(Adjacency::new(WAN, 1, mtu, destination, source, tags))
    }

    #[test]
    fn a_packet_leaves_with_its_neighbours_header_and_one_hop_less() {
        let mut router = Router::new();
        let l3 = udp6(FAR6, 7);
        for (hop_limit, left) in [(64, 63), (255, 254), (2, 1)] {
            let received = changed(&l3, &[(7, &[hop_limit])]);
            let (next, packet) = router.run(&mut Ip6Rewrite, along(TO_NEIGHBOR, &received));
            assert_eq!(next, Next::Transmit);
            assert_eq!((packet.meta.egress, packet.meta.port), (WAN, 1));
            assert!(packet.meta.flags.any(Flags::REWRITTEN));
            let expected = [hex("020000000099 020000000002 86dd"), changed(&l3, &[(7, &[left])])].concat();
            assert_eq!(packet.mbuf.to_vec(), expected);
            packet.mbuf.free();
        }
    }

    #[test]
    fn tags_come_and_go() {
        let mut router = Router::new();
        let l3 = udp6(FAR6, 7);
        let two = [(Tpid::Dot1ad, 200), (Tpid::Dot1q, 7)];
        for (received, tags, header) in [
            ("", &two[1..], "020000000099 020000000002 8100 0007 86dd"),
            ("", &two[..], "020000000099 020000000002 88a8 00c8 8100 0007 86dd"),
            ("81000005", &[][..], "020000000099 020000000002 86dd"),
            ("81000005", &two[1..], "020000000099 020000000002 8100 0007 86dd"),
            ("88a8000581000006", &two[1..], "020000000099 020000000002 8100 0007 86dd"),
        ] {
            router.hop(TO_NEIGHBOR, wan(1500, tags));
            let frame =
                [LAN_MAC.to_vec(), HOST_MAC.to_vec(), hex(received), hex("86dd"), l3.clone()].concat();
            let mut packet = crate::testing::received(&frame);
            packet.meta.l3 = 14 + hex(received).len() as u16;
            packet.meta.hop = TO_NEIGHBOR;
            let (next, packet) = router.run(&mut Ip6Rewrite, packet);
            assert_eq!((next, packet.meta.l3), (Next::Transmit, hex(header).len() as u16));
            let expected = [hex(header), changed(&l3, &[(7, &[63])])].concat();
            assert_eq!(packet.mbuf.to_vec(), expected, "{received} becomes {header}");
            packet.mbuf.free();
        }
    }

    #[test]
    fn what_may_not_leave_stays_as_it_was_received() {
        let mut router = Router::new();
        router.hop(TO_NEIGHBOR, wan(1280, &[]));
        let long = ip6(17, FAR6, &[0; 1241]);
        for (what, l3, hop, expected) in [
            ("hop limit 1", changed(&long, &[(7, &[1])]), TO_NEIGHBOR, Next::Expired),
            ("hop limit 0", changed(&long, &[(7, &[0])]), TO_NEIGHBOR, Next::Expired),
            ("too long", long.clone(), TO_NEIGHBOR, Next::TooBig),
            ("hop gone", long.clone(), CONNECTED_WAN, Next::Gone),
            ("no header", long[..39].to_vec(), TO_NEIGHBOR, Next::Short),
        ] {
            let before = along(hop, &l3);
            let (bytes, meta) = (before.mbuf.to_vec(), before.meta);
            let (next, after) = router.run(&mut Ip6Rewrite, before);
            assert_eq!(next, expected, "{what}");
            assert_eq!((after.mbuf.to_vec(), after.meta), (bytes, meta), "{what}");
            after.mbuf.free();
        }
    }

    #[test]
    fn padding_is_no_part_of_a_packet() {
        let mut router = Router::new();
        router.hop(TO_NEIGHBOR, wan(1280, &[]));
        for padding in [0, 1, 300] {
            let padded = [ip6(17, FAR6, &[7; 1240]), vec![0; padding]].concat();
            let (next, packet) = router.run(&mut Ip6Rewrite, along(TO_NEIGHBOR, &padded));
            assert_eq!((next, packet.mbuf.len()), (Next::Transmit, 14 + 1280), "{padding} bytes of padding");
            packet.mbuf.free();
        }
    }
}

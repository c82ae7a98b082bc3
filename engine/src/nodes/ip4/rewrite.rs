//! `ip4-rewrite`: the last look before a packet is changed, and the change (RFC 1812 §5.2.1, §5.3.1; RFC 1624).

use punt::reason::{Class, Reason};

use crate::edges;
use crate::node::{Context, Node};
use crate::nodes::rewrite::{split, write_link_header};
use crate::nodes::transmit::Transmit;
use crate::packet::Packet;
use crate::tables::{Adjacency, UNTAGGED};
use crate::transit::{forward4, one_less};
use crate::wire::{ETHERTYPE_IP4, Ip4, part};

/// A packet whose TTL ran out here; a router answers it with ICMP time exceeded.
pub static TTL_EXPIRED: Reason =
    Reason::new("ip4.ttl-expired", Class::Except, "TTL ran out in transit").limit(600, 300);
/// A packet that is larger than its egress takes and may not be fragmented; a router answers it with ICMP fragmentation needed.
pub static MTU_EXCEEDED: Reason =
    Reason::new("ip4.mtu-exceeded", Class::Except, "larger than the egress MTU, and not to be fragmented")
        .limit(600, 300);
/// A packet that is larger than its egress takes and that a slow path may fragment.
pub static NEEDS_FRAGMENTATION: Reason =
    Reason::new("ip4.needs-fragmentation", Class::Except, "larger than the egress MTU, to be fragmented")
        .limit(500, 200);

edges! {
    /// Where `ip4-rewrite` sends a packet.
    pub enum Next {
        Transmit => to Transmit,
        Expired => punt TTL_EXPIRED,
        TooBig => punt MTU_EXCEEDED,
        Fragment => punt NEEDS_FRAGMENTATION,
        Gone => drop "next hop went during this burst",
        NoRoom => drop "no room for the L2 header",
        Short => drop "shorter than an IPv4 header",
    }
}

/// Checks TTL and MTU; takes one from the TTL and writes the egress' L2 header.
pub struct Ip4Rewrite;

impl Node for Ip4Rewrite {
    const NAME: &'static str = "ip4-rewrite";
    type Next = Next;

    #[inline(always)]
    fn packet(&mut self, context: &Context, packet: &mut Packet) -> Next {
        let Some(adjacency) = context.tables.neighbor(packet.meta.hop, context.guard) else {
            return Next::Gone;
        };
        let plain = packet.meta.l3 as usize == UNTAGGED && forward4(&mut packet.mbuf, adjacency);
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
    let Some(ip) = packet.l3::<20>().map(Ip4) else { return Err(Next::Short) };
    if ip.ttl() <= 1 {
        return Err(Next::Expired);
    }
    let (total, dont_fragment) = (ip.total_len(), ip.dont_fragment());
    if total > adjacency.mtu {
        return Err(if dont_fragment { Next::TooBig } else { Next::Fragment });
    }
    if packet.l3_len() > adjacency.mtu as u32 {
        packet.mbuf.truncate(packet.meta.l3 as u32 + total as u32);
    }
    write_link_header(packet, adjacency, ETHERTYPE_IP4).ok_or(Next::NoRoom)?;
    let (_, header) = split(packet).ok_or(Next::Short)?;
    decrement_ttl(header);
    Ok(())
}

fn decrement_ttl(header: &mut [u8; 20]) {
    let word = u32::from_le_bytes(part(header, 8));
    header[8..12].copy_from_slice(&one_less(word).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Flags, NO_OFFSET};
    use crate::tables::{Hop, MacAddress, Tpid};
    use crate::testing::*;
    use crate::wire::sum;

    /// A packet that the lookup sent along `hop`.
    fn along(hop: u32, l3: &[u8]) -> Packet {
        let mut packet = at_l3(l3, ETHERTYPE_IP4);
        (packet.meta.hop, packet.meta.l4) = (hop, 34);
        packet
    }

    /// A hop out of `WAN` with this MTU and these tags.
    fn wan(mtu: u16, tags: &[(Tpid, u16)]) -> Hop {
        let (destination, source) = (MacAddress::new(NEIGHBOR_MAC), MacAddress::new(WAN_MAC));
        Hop::Forward(Adjacency::new(WAN, 1, mtu, destination, source, tags))
    }

    /// `l3` with one less TTL and a checksum computed anew.
    fn forwarded(l3: &[u8]) -> Vec<u8> {
        sealed(changed(l3, &[(8, &[l3[8] - 1])]))
    }

    #[test]
    fn a_packet_leaves_with_its_neighbours_header_and_one_less_to_live() {
        let mut router = Router::new();
        let l3 = udp4(FAR4, 7);
        let (next, packet) = router.run(&mut Ip4Rewrite, along(TO_NEIGHBOR, &l3));
        assert_eq!(next, Next::Transmit);
        assert_eq!((packet.meta.egress, packet.meta.port), (WAN, 1));
        assert!(packet.meta.flags.any(Flags::REWRITTEN));
        let expected = [&hex("020000000099 020000000002 0800"), &forwarded(&l3)[..]].concat();
        assert_eq!(packet.mbuf.to_vec(), expected);
        packet.mbuf.free();
    }

    #[test]
    fn tags_come_and_go() {
        let mut router = Router::new();
        let l3 = udp4(FAR4, 7);
        let none = "020000000099 020000000002 0800";
        let one = "020000000099 020000000002 8100 0064 0800";
        let two = "020000000099 020000000002 88a8 00c8 8100 0007 0800";
        let q = (Tpid::Dot1q, 100);
        let ad = (Tpid::Dot1ad, 200);
        for (received, tags, header) in [
            ("", &[][..], none),
            ("", &[q], one),
            ("", &[ad, (Tpid::Dot1q, 7)], two),
            ("81000005", &[], none),
            ("81000005", &[q], one),
            ("81000005", &[ad, (Tpid::Dot1q, 7)], two),
            ("88a8000581000006", &[], none),
            ("88a8000581000006", &[q], one),
            ("88a8000581000006", &[ad, (Tpid::Dot1q, 7)], two),
        ] {
            router.hop(TO_NEIGHBOR, wan(1500, tags));
            let frame =
                [LAN_MAC.to_vec(), HOST_MAC.to_vec(), hex(received), hex("0800"), l3.clone()].concat();
            for l4 in [20, NO_OFFSET] {
                let mut packet = crate::testing::received(&frame);
                packet.meta.l3 = 14 + hex(received).len() as u16;
                packet.meta.l4 = if l4 == NO_OFFSET { l4 } else { packet.meta.l3 + l4 };
                packet.meta.hop = TO_NEIGHBOR;
                let (next, packet) = router.run(&mut Ip4Rewrite, packet);
                let len = hex(header).len() as u16;
                assert_eq!((next, packet.meta.l3), (Next::Transmit, len), "{received} becomes {header}");
                assert_eq!(packet.meta.l4, if l4 == NO_OFFSET { l4 } else { len + l4 });
                assert_eq!(
                    packet.mbuf.to_vec(),
                    [hex(header), forwarded(&l3)].concat(),
                    "{received} becomes {header}"
                );
                packet.mbuf.free();
            }
        }
    }

    #[test]
    fn what_may_not_leave_stays_as_it_was_received() {
        let mut router = Router::new();
        let mtu = 100;
        router.hop(TO_NEIGHBOR, wan(mtu, &[]));
        let long = ip4(17, FAR4, &[0; 81]);
        let whole = sealed(changed(&long, &[(6, &[0x40])]));
        let ends = |ttl| sealed(changed(&long, &[(8, &[ttl])]));
        for (what, l3, hop, expected) in [
            ("TTL 1", ends(1), TO_NEIGHBOR, Next::Expired),
            ("TTL 0", ends(0), TO_NEIGHBOR, Next::Expired),
            ("too long", long.clone(), TO_NEIGHBOR, Next::Fragment),
            ("too long, don't fragment", whole, TO_NEIGHBOR, Next::TooBig),
            ("hop gone", long.clone(), CONNECTED_WAN, Next::Gone),
        ] {
            let before = along(hop, &l3);
            let (bytes, meta) = (before.mbuf.to_vec(), before.meta);
            let (next, after) = router.run(&mut Ip4Rewrite, before);
            assert_eq!(next, expected, "{what}");
            assert_eq!((after.mbuf.to_vec(), after.meta), (bytes, meta), "{what}");
            after.mbuf.free();
        }
    }

    #[test]
    fn padding_is_no_part_of_a_packet() {
        let mut router = Router::new();
        router.hop(TO_NEIGHBOR, wan(100, &[]));
        let fits = ip4(17, FAR4, &[7; 80]);
        for (padding, left) in [(0, 114), (1, 114), (46, 114)] {
            let padded = [fits.clone(), vec![0; padding]].concat();
            let (next, packet) = router.run(&mut Ip4Rewrite, along(TO_NEIGHBOR, &padded));
            assert_eq!((next, packet.mbuf.len()), (Next::Transmit, left), "{padding} bytes of padding");
            packet.mbuf.free();
        }
        // Where it does no harm it stays: a minimum frame goes out as it came in.
        let (next, packet) =
            router.run(&mut Ip4Rewrite, along(TO_NEIGHBOR, &[udp4(FAR4, 7), vec![0; 13]].concat()));
        assert_eq!((next, packet.mbuf.len()), (Next::Transmit, 60));
        packet.mbuf.free();
    }

    #[test]
    fn without_room_for_its_tags_a_packet_is_dropped_as_it_was() {
        let mut router = Router::new();
        router.hop(TO_NEIGHBOR, wan(1500, &[(Tpid::Dot1q, 100)]));
        let mut packet = along(TO_NEIGHBOR, &ip4(17, FAR4, &[0; 200]));
        let bytes = packet.mbuf.to_vec();
        // The frame begins 3 bytes behind the start of its buffer; a tag takes 4.
        assert!(packet.mbuf.prepend(125) && packet.mbuf.truncate(bytes.len() as u32));
        packet.mbuf.bytes_mut().copy_from_slice(&bytes);
        let meta = packet.meta;
        let (next, packet) = router.run(&mut Ip4Rewrite, packet);
        assert_eq!((next, packet.mbuf.to_vec(), packet.meta), (Next::NoRoom, bytes, meta));
        packet.mbuf.free();
    }

    /// Every checksum there is, with every TTL that is forwarded: the sum that is updated is the sum computed anew (RFC 1624).
    #[test]
    fn the_checksum_is_updated_as_if_it_were_computed_anew() {
        let mut header: [u8; 20] = *udp4(FAR4, 7).first_chunk().expect("a header");
        for ttl in 1..=255 {
            for id in 0..=u16::MAX {
                header[4..6].copy_from_slice(&id.to_be_bytes());
                header[8] = ttl;
                header[10..12].fill(0);
                let before = !sum(&header);
                header[10..12].copy_from_slice(&before.to_ne_bytes());
                decrement_ttl(&mut header);
                let updated = u16::from_ne_bytes([header[10], header[11]]);
                assert_eq!(header[8], ttl - 1);
                header[10..12].fill(0);
                assert_eq!(updated, !sum(&header), "TTL {ttl}, checksum {before:04x}");
            }
        }
    }
}

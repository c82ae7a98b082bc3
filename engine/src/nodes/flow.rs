//! Which flow a packet belongs to: packets of one flow take one path.

use crate::packet::Packet;
use crate::wire::{Ip4, Ip6, be32, protocol};

/// A hash of an IPv4 packet's flow: the NIC's, or made of addresses, protocol and ports. All fragments of a packet go one way, so a fragment
/// has no ports.
#[inline(never)]
pub fn flow4(packet: &Packet) -> u32 {
    if let Some(hash) = packet.mbuf.rss_hash() {
        return hash;
    }
    let Some(ip) = packet.l3::<20>().map(Ip4) else { return 0 };
    let ports = match ip.protocol() {
        protocol::TCP | protocol::UDP if !ip.is_fragment() => {
            packet.l4::<4>().map_or(0, |ports| be32(ports, 0))
        }
        _ => 0,
    };
    let addresses = (ip.source() as u64) << 32 | ip.destination() as u64;
    scatter(addresses, (ports as u64) << 8 | ip.protocol() as u64)
}

/// A hash of an IPv6 packet's flow: the NIC's, or made of addresses, flow label (RFC 6438), protocol and ports where they follow the header.
#[inline(never)]
pub fn flow6(packet: &Packet) -> u32 {
    if let Some(hash) = packet.mbuf.rss_hash() {
        return hash;
    }
    let Some(header) = packet.l3::<40>() else { return 0 };
    let ip = Ip6(header);
    let ports = match ip.next_header() {
        protocol::TCP | protocol::UDP => packet.l3::<44>().map_or(0, |bytes| be32(bytes, 40)),
        _ => 0,
    };
    let label = be32(header, 0) & 0xf_ffff;
    let halves = [8, 16, 24, 32].map(|at| (be32(header, at) as u64) << 32 | be32(header, at + 4) as u64);
    let addresses = halves
        .into_iter()
        .fold(label as u64, |sum, half| (sum ^ half).wrapping_mul(MULTIPLIER).rotate_left(29));
    scatter(addresses, (ports as u64) << 8 | ip.next_header() as u64)
}

/// Odd, and without a pattern: 2⁶⁴ divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

fn scatter(addresses: u64, rest: u64) -> u32 {
    let word = (addresses ^ rest.wrapping_mul(MULTIPLIER).rotate_left(32)).wrapping_mul(MULTIPLIER);
    ((word ^ (word >> 29)).wrapping_mul(MULTIPLIER) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::testing::*;
    use crate::wire::{ETHERTYPE_IP4, ETHERTYPE_IP6};

    fn hash4(l3: &[u8]) -> u32 {
        let mut packet = at_l3(l3, ETHERTYPE_IP4);
        packet.meta.l4 = 34;
        let hash = flow4(&packet);
        packet.mbuf.free();
        hash
    }

    fn hash6(l3: &[u8]) -> u32 {
        let packet = at_l3(l3, ETHERTYPE_IP6);
        let hash = flow6(&packet);
        packet.mbuf.free();
        hash
    }

    #[test]
    fn what_makes_a_flow_is_in_the_hash_and_the_rest_is_not() {
        let good = udp4(FAR4, 7);
        for (what, at, byte, same) in [
            ("TTL", 8, 3, true),
            ("identification", 5, 3, true),
            ("type of service", 1, 3, true),
            ("payload", 28, 3, true),
            ("source", 15, 3, false),
            ("destination", 19, 3, false),
            ("source port", 21, 3, false),
            ("destination port", 23, 3, false),
            ("protocol", 9, 6, false),
        ] {
            assert_eq!(hash4(&changed(&good, &[(at, &[byte])])) == hash4(&good), same, "{what}");
        }
        let good = udp6(FAR6, 7);
        for (what, at, byte, same) in [
            ("hop limit", 7, 3, true),
            ("traffic class", 0, 0x6f, true),
            ("payload", 48, 3, true),
            ("flow label", 3, 3, false),
            ("source", 23, 3, false),
            ("destination", 39, 3, false),
            ("source port", 41, 3, false),
            ("destination port", 43, 3, false),
            ("protocol", 6, 6, false),
        ] {
            assert_eq!(hash6(&changed(&good, &[(at, &[byte])])) == hash6(&good), same, "{what}");
        }
    }

    #[test]
    fn fragments_of_one_packet_go_one_way() {
        let whole = udp4(FAR4, 7);
        let first = changed(&whole, &[(6, &[0x20])]);
        let second = changed(&whole, &[(7, &[0x10]), (20, b"anything")]);
        assert_eq!(hash4(&first), hash4(&second));
        let [first, second] = ["11000001 00000007 00280007", "11000010 00000007 deadbeef"]
            .map(|rest| ip6(44, FAR6, &hex(rest)));
        assert_eq!(hash6(&first), hash6(&second));
    }

    #[test]
    fn flows_that_differ_by_little_are_spread_over_all_buckets() {
        for lowest_bits in [
            |port: u16| hash4(&udp4(FAR4, port)),
            |port: u16| hash6(&udp6(FAR6, port)),
            |host: u16| hash4(&udp4([10, 2, (host >> 8) as u8, host as u8], 7)),
            |host: u16| hash6(&udp6(ip6_address(0xfd00, 2, host), 7)),
        ] {
            let buckets: HashSet<u32> = (0..1024).map(|number| lowest_bits(number) % 1024).collect();
            // As good as chance: 1024 × (1 − 1/e) = 647.
            assert!(buckets.len() > 600, "1024 flows in {} buckets of 1024", buckets.len());
        }
    }

    #[test]
    fn a_packet_without_headers_has_a_flow_too() {
        let packet = received(&[0; 20]);
        assert_eq!((flow4(&packet), flow6(&packet)), (0, 0));
        packet.mbuf.free();
        assert_eq!(hash4(&udp4(FAR4, 7)[..20]), hash4(&changed(&udp4(FAR4, 7), &[(20, &[0; 4])])));
    }
}

//! `ip4-input`: is this a packet that a router may forward or accept? (RFC 1812 §5.2.2, §5.3.7)

use super::{Ip4Local, Ip4Lookup};
use crate::edges;
use crate::node::{Context, Node};
use crate::packet::{Flags, Packet};
use crate::transit::needs_closer_look;
use crate::wire::{Ip4, sum};

edges! {
    /// Where `ip4-input` sends a packet.
    pub enum Next {
        Lookup => to Ip4Lookup,
        /// To a multicast group of this link, or to everybody on it.
        Local => to Ip4Local,
        Short => drop "shorter than an IPv4 header",
        Version => drop "IP version is not 4",
        HeaderLength => drop "header length is below 20 bytes",
        TotalLength => drop "total length is below the header length",
        Truncated => drop "total length exceeds the frame",
        Checksum => drop "header checksum is wrong",
        SplitHeader => drop "header is split over segments",
        SourceMulticast => drop "source is multicast",
        SourceLoopback => drop "source is loopback",
        SourceReserved => drop "source is reserved",
        SourceBroadcast => drop "source is broadcast",
        SourceUnspecified => drop "source is unspecified",
        SourceIsDestination => drop "source is the destination",
        DestinationLoopback => drop "destination is loopback",
        DestinationReserved => drop "destination is reserved",
        DestinationUnspecified => drop "destination is unspecified",
    }
}

/// Checks version, lengths, checksum and addresses.
pub struct Ip4Input;

impl Node for Ip4Input {
    const NAME: &'static str = "ip4-input";
    type Next = Next;

    #[inline(always)]
    fn packet(&mut self, _: &Context, packet: &mut Packet) -> Next {
        let Some(header) = packet.l3::<20>() else { return short(packet) };
        let ip = Ip4(header);
        if ip.version_and_length() != 0x45 {
            return with_options(packet);
        }
        let (source, destination) = (ip.source(), ip.destination());
        if !is_length_right(packet, ip) || !packet.mbuf.is_ip_checksum_right(ip.is_checksum_right()) {
            return unsound(packet);
        }
        packet.meta.l4 = packet.meta.l3 + 20;
        packet.meta.hop = destination;
        if needs_closer_look((source >> 24) as u8)
            || needs_closer_look((destination >> 24) as u8)
            || source == destination
        {
            return by_address(packet);
        }
        Next::Lookup
    }
}

/// Is there room for its header in it, and for all of it in the frame?
#[inline(always)]
fn is_length_right(packet: &Packet, ip: Ip4) -> bool {
    ip.total_len() >= 20 && packet.meta.l3 as u32 + ip.total_len() as u32 <= packet.mbuf.len()
}

#[cold]
fn short(packet: &Packet) -> Next {
    if packet.l3_len() >= 20 { Next::SplitHeader } else { Next::Short }
}

/// What is wrong with a packet whose length or checksum is.
#[cold]
fn unsound(packet: &Packet) -> Next {
    let Some(ip) = packet.l3::<20>().map(Ip4) else { return Next::Short };
    if is_length_right(packet, ip) {
        Next::Checksum
    } else if ip.total_len() < 20 {
        Next::TotalLength
    } else {
        Next::Truncated
    }
}

/// A header of another length than 20 bytes, or of another version.
#[cold]
fn with_options(packet: &mut Packet) -> Next {
    let start = packet.meta.l3 as usize;
    let Some(ip) = packet.l3::<20>().map(Ip4) else { return Next::Short };
    let (len, total) = (ip.header_len(), ip.total_len());
    if ip.version_and_length() >> 4 != 4 {
        return Next::Version;
    }
    if len < 20 {
        return Next::HeaderLength;
    }
    if total < len {
        return Next::TotalLength;
    }
    if total as u32 > packet.l3_len() {
        return Next::Truncated;
    }
    let Some(header) = packet.bytes().get(start..start + len as usize) else { return Next::SplitHeader };
    if sum(header) != 0xffff {
        return Next::Checksum;
    }
    let destination = ip.destination();
    packet.meta.l4 = packet.meta.l3 + len;
    packet.meta.hop = destination;
    packet.meta.flags.set(Flags::OPTIONS);
    by_address(packet)
}

/// Martians are dropped (RFC 1812 §5.3.7, RFC 6890), what concerns this link only is ours, the rest is looked up.
#[cold]
fn by_address(packet: &mut Packet) -> Next {
    let Some(ip) = packet.l3::<20>().map(Ip4) else { return Next::Short };
    let (source, destination) = (ip.source(), ip.destination());
    const BROADCAST: u32 = u32::MAX;
    let broadcast = destination == BROADCAST;
    match source >> 24 {
        0 if source == 0 && (broadcast || destination >> 28 == 14) => {}
        0 => return Next::SourceUnspecified,
        127 => return Next::SourceLoopback,
        224..=239 => return Next::SourceMulticast,
        240.. if source == BROADCAST => return Next::SourceBroadcast,
        240.. => return Next::SourceReserved,
        _ => {}
    }
    if is_link_local(source) || is_link_local(destination) {
        packet.meta.flags.set(Flags::STAYS_ON_LINK);
    }
    match destination >> 24 {
        0 => Next::DestinationUnspecified,
        127 => Next::DestinationLoopback,
        240.. if broadcast => Next::Local,
        240.. => Next::DestinationReserved,
        224..=239 => Next::Local,
        _ if source == destination => Next::SourceIsDestination,
        _ => Next::Lookup,
    }
}

/// 169.254.0.0/16 stays on its link (RFC 3927 §2.7).
fn is_link_local(address: u32) -> bool {
    address >> 16 == 0xa9fe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use crate::wire::ETHERTYPE_IP4;

    const UDP: u8 = 17;

    fn edge(router: &mut Router, l3: &[u8]) -> Next {
        router.edge(&mut Ip4Input, at_l3(l3, ETHERTYPE_IP4))
    }

    /// A packet with four bytes of options: three that do nothing and an end.
    fn with_options() -> Vec<u8> {
        let mut packet = ip4(UDP, FAR4, &[0; 8]);
        packet.splice(20..20, [1, 1, 1, 0]);
        sealed(changed(&packet, &[(0, &[0x46]), (3, &[32])]))
    }

    #[test]
    fn a_good_packet_is_looked_up() {
        let mut router = Router::new();
        let (next, packet) = router.run(&mut Ip4Input, at_l3(&udp4(FAR4, 7), ETHERTYPE_IP4));
        assert_eq!((next, packet.meta.l4), (Next::Lookup, 34));
        assert!(packet.meta.flags.is_empty());
        packet.mbuf.free();
        let (next, packet) = router.run(&mut Ip4Input, at_l3(&with_options(), ETHERTYPE_IP4));
        assert_eq!((next, packet.meta.l4, packet.meta.flags), (Next::Lookup, 38, Flags::OPTIONS));
        packet.mbuf.free();
    }

    #[test]
    fn each_field_has_its_drop() {
        let mut router = Router::new();
        let good = udp4(FAR4, 7);
        let len = good.len() as u8;
        for (what, at, byte, expected) in [
            ("version 6", 0, 0x65, Next::Version),
            ("version 0", 0, 0x05, Next::Version),
            ("version and header length wrong", 0, 0x50, Next::Version),
            ("header of 16 bytes", 0, 0x44, Next::HeaderLength),
            ("no header", 0, 0x40, Next::HeaderLength),
            ("header longer than the packet", 0, 0x4f, Next::TotalLength),
            ("total length 19", 3, 19, Next::TotalLength),
            ("total length 0", 3, 0, Next::TotalLength),
            ("total length one too long", 3, len + 1, Next::Truncated),
            ("total length far too long", 2, 0xff, Next::Truncated),
        ] {
            assert_eq!(edge(&mut router, &sealed(changed(&good, &[(at, &[byte])]))), expected, "{what}");
        }
        assert_eq!(
            edge(&mut router, &sealed(changed(&good, &[(3, &[20])]))),
            Next::Lookup,
            "a header is a packet"
        );
        let padded = [good, vec![0; 13]].concat();
        assert_eq!(edge(&mut router, &padded), Next::Lookup, "padding is no error");
    }

    #[test]
    fn options_do_not_hide_a_wrong_length() {
        let mut router = Router::new();
        assert_eq!(edge(&mut router, &sealed(changed(&with_options(), &[(3, &[23])]))), Next::TotalLength);
        assert_eq!(edge(&mut router, &sealed(changed(&with_options(), &[(3, &[24])]))), Next::Lookup);
        assert_eq!(edge(&mut router, &sealed(changed(&with_options(), &[(3, &[33])]))), Next::Truncated);
        assert_eq!(edge(&mut router, &changed(&with_options(), &[(20, &[7])])), Next::Checksum);
    }

    #[test]
    fn every_bit_of_the_header_is_summed() {
        let mut router = Router::new();
        let good = udp4(FAR4, 7);
        for bit in 0..160 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let dropped = !matches!(edge(&mut router, &bad), Next::Lookup | Next::Local);
            assert!(dropped, "bit {bit} is wrong, and nobody sees it");
        }
        for (at, word) in [(10, 0), (10, 0xffff_u16), (8, 0x3f11)] {
            let bad = changed(&good, &[(at, &word.to_be_bytes())]);
            assert_eq!(edge(&mut router, &bad), Next::Checksum, "{word:04x} at {at}");
        }
    }

    #[test]
    fn addresses_that_are_nobodys_are_dropped() {
        let mut router = Router::new();
        let good = udp4(FAR4, 7);
        for (source, destination, expected) in [
            (HOST4, FAR4, Next::Lookup),
            ([0, 0, 0, 0], FAR4, Next::SourceUnspecified),
            ([0, 1, 2, 3], FAR4, Next::SourceUnspecified),
            ([0, 1, 2, 3], [255; 4], Next::SourceUnspecified),
            ([127, 0, 0, 1], FAR4, Next::SourceLoopback),
            ([224, 0, 0, 1], FAR4, Next::SourceMulticast),
            ([239, 255, 255, 255], FAR4, Next::SourceMulticast),
            ([240, 0, 0, 1], FAR4, Next::SourceReserved),
            ([255, 255, 255, 254], FAR4, Next::SourceReserved),
            ([255, 255, 255, 255], FAR4, Next::SourceBroadcast),
            (FAR4, FAR4, Next::SourceIsDestination),
            ([169, 254, 0, 1], [169, 254, 0, 1], Next::SourceIsDestination),
            (HOST4, [0, 0, 0, 0], Next::DestinationUnspecified),
            (HOST4, [127, 1, 2, 3], Next::DestinationLoopback),
            (HOST4, [240, 0, 0, 1], Next::DestinationReserved),
            (HOST4, [255, 255, 255, 254], Next::DestinationReserved),
            (HOST4, [255, 255, 255, 255], Next::Local),
            (HOST4, [224, 0, 0, 5], Next::Local),
            (HOST4, [239, 1, 1, 1], Next::Local),
            // Who asks for an address has none (RFC 2131 §4.1); a querier may have none either (RFC 4541 §2.1.1).
            ([0, 0, 0, 0], [255, 255, 255, 255], Next::Local),
            ([0, 0, 0, 0], [224, 0, 0, 1], Next::Local),
            // The neighbours of what is special are not.
            ([126, 255, 255, 255], [128, 0, 0, 0], Next::Lookup),
            ([1, 0, 0, 0], [223, 255, 255, 255], Next::Lookup),
        ] {
            let packet = sealed(changed(&good, &[(12, &source), (16, &destination)]));
            assert_eq!(edge(&mut router, &packet), expected, "{source:?} to {destination:?}");
        }
    }

    #[test]
    fn link_local_addresses_stay_on_their_link() {
        let mut router = Router::new();
        for (source, destination, stays) in [
            ([169, 254, 0, 1], FAR4, true),
            (HOST4, [169, 254, 255, 255], true),
            ([169, 253, 0, 1], FAR4, false),
            (HOST4, [169, 255, 0, 0], false),
        ] {
            let packet = sealed(changed(&udp4(FAR4, 7), &[(12, &source), (16, &destination)]));
            let (next, packet) = router.run(&mut Ip4Input, at_l3(&packet, ETHERTYPE_IP4));
            assert_eq!(
                (next, packet.meta.flags.any(Flags::STAYS_ON_LINK)),
                (Next::Lookup, stays),
                "{source:?}"
            );
            packet.mbuf.free();
        }
    }

    #[test]
    fn a_header_that_is_not_all_there_is_dropped() {
        let mut router = Router::new();
        let good = udp4(FAR4, 7);
        for len in 0..20 {
            assert_eq!(edge(&mut router, &good[..len]), Next::Short, "{len} bytes");
            let halves = split(at_l3(&good, ETHERTYPE_IP4), 14 + len);
            assert_eq!(router.edge(&mut Ip4Input, halves), Next::SplitHeader, "split at {len}");
        }
        let halves = split(at_l3(&good, ETHERTYPE_IP4), 34);
        assert_eq!(router.edge(&mut Ip4Input, halves), Next::Lookup, "payload may lie in another segment");
        let halves = split(at_l3(&with_options(), ETHERTYPE_IP4), 36);
        assert_eq!(router.edge(&mut Ip4Input, halves), Next::SplitHeader, "options may not");
    }
}

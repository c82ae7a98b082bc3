//! A packet as the punt library sees it when it leaves the graph.

use std::net::{Ipv4Addr, Ipv6Addr};

use punt::dispatch::{Punted, Tag};
use punt::facts::Facts;
use punt::policer::Source;
use punt::record;

use crate::nodes::ip6::{fragment, is_extension};
use crate::packet::{Flags, NO_OFFSET, Packet};
use crate::wire::{ETHERTYPE_ARP, ETHERTYPE_IP4, ETHERTYPE_IP6, be16, protocol};

/// Whether it is a fragment, and where its L4 header begins: only the first fragment of a packet has that.
#[inline(always)]
fn layout(packet: &Packet) -> (bool, u16) {
    const OFFSET: u16 = 0x1fff;
    const MORE: u16 = 0x2000;
    match packet.l3::<8>() {
        Some(header) if header[0] >> 4 == 4 => {
            let place = be16(header, 6);
            let l4 = if place & OFFSET == 0 { packet.meta.l4 } else { NO_OFFSET };
            (place & (OFFSET | MORE) != 0, l4)
        }
        Some(header) if header[0] >> 4 == 6 && is_extension(header[6]) => {
            let (fragment, l4) = fragment(packet);
            (fragment, l4.unwrap_or(NO_OFFSET))
        }
        _ => (false, packet.meta.l4),
    }
}

impl Punted for Packet {
    #[inline(always)]
    fn len(&self) -> u32 {
        self.mbuf.len()
    }

    #[inline(always)]
    fn segments(&self) -> impl Iterator<Item = &[u8]> {
        self.mbuf.segments()
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        self.meta.interface
    }

    #[inline(always)]
    fn tag(&self) -> Tag {
        let meta = &self.meta;
        let (fragment, l4) = layout(self);
        let flag = |is: bool, flag: u16| if is { flag } else { 0 };
        Tag {
            interface: meta.interface,
            l3: meta.l3,
            l4,
            flags: flag(fragment, record::FRAGMENT)
                | flag(meta.flags.any(Flags::REWRITTEN), record::REWRITTEN),
        }
    }

    #[inline(always)]
    fn source(&self) -> Source {
        match self.l3::<16>() {
            Some(&[first, .., a, b, c, d]) if first >> 4 == 4 => Source::ip4([a, b, c, d]),
            _ => other_source(self),
        }
    }

    fn facts(&self) -> Facts {
        let (bytes, meta) = (self.bytes(), &self.meta);
        let mut facts = Facts { interface: meta.interface, ..Facts::default() };
        facts.destination = bytes.first_chunk().copied().unwrap_or_default();
        let Some(l3) = link_layer(bytes, &mut facts) else { return facts };
        let l3 = bytes.get(l3..).unwrap_or_default();
        match facts.ethertype {
            Some(ETHERTYPE_ARP) => {
                facts.source =
                    l3.get(14..).and_then(<[u8]>::first_chunk::<4>).map(|ip| Ipv4Addr::from(*ip).into());
            }
            Some(ETHERTYPE_IP4) => {
                facts.source =
                    l3.get(12..).and_then(<[u8]>::first_chunk::<4>).map(|ip| Ipv4Addr::from(*ip).into());
                facts.protocol = l3.get(9).copied();
            }
            Some(ETHERTYPE_IP6) => {
                facts.source =
                    l3.get(8..).and_then(<[u8]>::first_chunk::<16>).map(|ip| Ipv6Addr::from(*ip).into());
                facts.protocol = if meta.protocol == 0 { l3.get(6).copied() } else { Some(meta.protocol) };
            }
            _ => return facts,
        }
        let (_, l4) = layout(self);
        if l4 == NO_OFFSET {
            return facts;
        }
        let l4 = bytes.get(l4 as usize..).unwrap_or_default();
        match facts.protocol {
            Some(protocol::TCP | protocol::UDP) => {
                facts.ports = l4.first_chunk::<4>().map(|ports| (be16(ports, 0), be16(ports, 2)));
            }
            Some(protocol::ICMP | protocol::ICMP6) => facts.kind = l4.first().copied(),
            _ => {}
        }
        facts
    }
}

/// Who sent what is not IPv4.
#[inline(never)]
fn other_source(packet: &Packet) -> Source {
    match packet.l3::<24>() {
        Some(header) if header[0] >> 4 == 6 => {
            Source::ip6(header[8..].first_chunk().copied().unwrap_or_default())
        }
        _ => {
            Source::mac(packet.bytes().get(6..12).and_then(<[u8]>::first_chunk).copied().unwrap_or_default())
        }
    }
}

/// Finds the ethertype or LLC behind the tags, and where what follows the ethertype begins.
pub fn link_layer(bytes: &[u8], facts: &mut Facts) -> Option<usize> {
    const MIN_TYPE: u16 = 0x0600;
    const LLC: u16 = 0x8870;
    let (field, behind) = link_header(bytes)?;
    match field {
        // IS-IS' jumbo hellos: LLC in a frame too long for an 802.3 length.
        LLC => facts.llc = bytes.get(behind).copied(),
        MIN_TYPE.. => {
            facts.ethertype = Some(field);
            return Some(behind);
        }
        _ => facts.llc = bytes.get(behind).copied(),
    }
    None
}

/// The ethertype or 802.3 length of a frame behind its tags, and where what it is of begins.
pub fn link_header(bytes: &[u8]) -> Option<(u16, usize)> {
    const TAGS: [u16; 2] = [0x8100, 0x88a8];
    let mut at = 12;
    loop {
        let field = u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?);
        if !(TAGS.contains(&field) && at < 20) {
            return Some((field, at + 2));
        }
        at += 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    #[test]
    fn a_datagram_shows_its_source_and_ports() {
        let mut packet = at_l3(&udp4(LAN4, 3784), ETHERTYPE_IP4);
        packet.meta.l4 = 34;
        let expected = Facts {
            interface: LAN,
            source: Some(HOST4.into()),
            protocol: Some(17),
            ports: Some((40000, 3784)),
            ethertype: Some(ETHERTYPE_IP4),
            destination: LAN_MAC,
            ..Facts::default()
        };
        assert_eq!(packet.facts(), expected);
        packet.mbuf.free();
    }

    #[test]
    fn only_the_first_fragment_has_ports() {
        let tag = |l3: &[u8], ethertype: u16| {
            let mut packet = at_l3(l3, ethertype);
            // As the input nodes leave it.
            packet.meta.l4 = if ethertype == ETHERTYPE_IP4 { 34 } else { NO_OFFSET };
            let (tag, ports) = (packet.tag(), packet.facts().ports);
            packet.mbuf.free();
            (tag.l4, tag.flags & record::FRAGMENT != 0, ports.is_some())
        };
        for (what, place, expected) in [
            ("a whole packet", "0000", (34, false, true)),
            ("one that nobody may fragment", "4000", (34, false, true)),
            ("the first", "2000", (34, true, true)),
            ("one in the middle", "2001", (NO_OFFSET, true, false)),
            ("the last", "0009", (NO_OFFSET, true, false)),
        ] {
            let packet = sealed(changed(&udp4(LAN4, 7), &[(6, &hex(place))]));
            assert_eq!(tag(&packet, ETHERTYPE_IP4), expected, "IPv4: {what}");
        }
        let udp = "9c40 0007 0008 0000";
        let options = "2c 00 0104 00000000";
        for (what, next, headers, expected) in [
            ("the first", 44, format!("11 00 0001 00000001 {udp}"), (62, true)),
            ("one in the middle", 44, format!("11 00 0009 00000001 {udp}"), (NO_OFFSET, true)),
            ("the last", 44, format!("11 00 0010 00000001 {udp}"), (NO_OFFSET, true)),
            ("a whole packet (RFC 6946)", 44, format!("11 00 0000 00000001 {udp}"), (62, false)),
            ("the first behind options", 60, format!("{options} 11 00 0001 00000001 {udp}"), (70, true)),
            (
                "the last behind options",
                60,
                format!("{options} 11 00 0010 00000001 {udp}"),
                (NO_OFFSET, true),
            ),
            ("options of a whole packet", 60, format!("11 00 0104 00000000 {udp}"), (62, false)),
        ] {
            let (l4, fragment, _) = tag(&ip6(next, LAN6, &hex(&headers)), ETHERTYPE_IP6);
            assert_eq!((l4, fragment), expected, "IPv6: {what}");
        }
    }

    #[test]
    fn frames_show_their_type_or_llc_behind_the_tags() {
        for (rest, ethertype, llc) in [
            ("88cc 0207", Some(0x88cc), None),
            ("8100 0064 88cc 0207", Some(0x88cc), None),
            ("88a8 0064 8100 0007 8809 01", Some(0x8809), None),
            ("0010 fe fe 03", None, Some(0xfe)),
            ("8100 0064 0010 42 42 03", None, Some(0x42)),
            ("8100", None, None),
        ] {
            let packet = received(&hex(&format!("0180c200000e 020000000077 {rest}")));
            let facts = packet.facts();
            assert_eq!((facts.ethertype, facts.llc), (ethertype, llc), "{rest}");
            assert_eq!(facts.destination, [1, 0x80, 0xc2, 0, 0, 0x0e]);
            packet.mbuf.free();
        }
    }
}

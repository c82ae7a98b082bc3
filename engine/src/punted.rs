//! A packet as the punt library sees it when it leaves the graph.

use std::net::{Ipv4Addr, Ipv6Addr};

use punt::dispatch::{Punted, Tag};
use punt::facts::Facts;
use punt::policer::Source;
use punt::record;

use crate::packet::{Flags, NO_OFFSET, Packet};
use crate::wire::{ETHERTYPE_ARP, ETHERTYPE_IP4, ETHERTYPE_IP6, be16, protocol};

/// Whether it is a fragment: as local delivery found out, or as its header says where it did not get there.
#[inline(always)]
fn is_fragment(packet: &Packet) -> bool {
    const IP6_FRAGMENT: u8 = 44;
    if packet.meta.flags.any(Flags::FRAGMENT) {
        return true;
    }
    match packet.l3::<8>() {
        Some(header) if header[0] >> 4 == 4 => be16(header, 6) & 0x3fff != 0,
        Some(header) if header[0] >> 4 == 6 => header[6] == IP6_FRAGMENT,
        _ => false,
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
    fn tag(&self) -> Tag {
        let meta = &self.meta;
        let flag = |of: Flags, flag: u16| if meta.flags.any(of) { flag } else { 0 };
        Tag {
            interface: meta.interface,
            l3: meta.l3,
            l4: meta.l4,
            flags: if is_fragment(self) { record::FRAGMENT } else { 0 }
                | flag(Flags::REWRITTEN, record::REWRITTEN),
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
        if meta.l4 == NO_OFFSET {
            return facts;
        }
        let l4 = bytes.get(meta.l4 as usize..).unwrap_or_default();
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
    const TAGS: [u16; 2] = [0x8100, 0x88a8];
    const MIN_TYPE: u16 = 0x0600;
    const LLC: u16 = 0x8870;
    let mut at = 12;
    loop {
        let field = u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?);
        match field {
            tag if TAGS.contains(&tag) && at < 20 => at += 4,
            // IS-IS' jumbo hellos: LLC in a frame too long for an 802.3 length.
            LLC => {
                facts.llc = bytes.get(at + 2).copied();
                return None;
            }
            MIN_TYPE.. => {
                facts.ethertype = Some(field);
                return Some(at + 2);
            }
            _ => {
                facts.llc = bytes.get(at + 2).copied();
                return None;
            }
        }
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

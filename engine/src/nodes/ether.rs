//! `ether-input`: whose frame is it, which interface is it on, what does it carry?

use dpdk_sys::at_hand::hold;

use crate::counters::PerInterface;
use crate::edges;
use crate::node::{Context, Leads, Node, Rest};
use crate::nodes::arp::ArpInput;
use crate::nodes::ip4::Ip4Input;
use crate::nodes::ip6::Ip6Input;
use crate::nodes::l2::L2Dispatch;
use crate::packet::{Flags, Meta, NO_OFFSET, Packet};
use crate::tables::{Interface, MacAddress, Tpid};
use crate::transit::{Places, Transit, is_ordinary6, ordinary4};
use crate::wire::{ETHERTYPE_ARP, ETHERTYPE_IP4, ETHERTYPE_IP6, be16};

edges! {
    /// Where `ether-input` sends a frame.
    pub enum Next {
        Ip4 => to Ip4Input,
        Ip6 => to Ip6Input,
        Arp => to ArpInput,
        Other => to L2Dispatch,
        NotOurs => drop "destination MAC is not ours",
        GroupSource => drop "source MAC is multicast",
        ZeroSource => drop "source MAC is zero",
        OwnSource => drop "source MAC is our own",
        Down => drop "interface is down",
        NoVlan => drop "no interface has these VLAN tags",
        ShortTag => drop "shorter than its VLAN tag",
        SplitHeader => drop "header is split over segments",
        Short => drop "shorter than an Ethernet header",
    }
}

/// Tells whose frame it is, finds its L3 interface by its tags, and sends it on by its ethertype.
pub struct EtherInput;

impl Node for EtherInput {
    const NAME: &'static str = "ether-input";
    type Next = Next;

    fn packet(&mut self, context: &Context, packet: &mut Packet) -> Next {
        count(context, packet.meta.interface, 1, packet.mbuf.len() as u64);
        let interface = context.tables.interface(packet.meta.interface, context.guard);
        anything(context, interface, packet)
    }
}

impl Leads<Ip4Input> for EtherInput {
    fn lead_received(
        &mut self,
        context: &Context,
        transit: &mut Transit,
        frame: &mut Vec<Packet>,
        rest: &mut Rest<Ip4Input>,
    ) {
        let Transit { interface, mbufs, destinations, unusual, .. } = transit;
        let interface = *interface;
        // This node is the first to look at the bytes. They are fetched for the whole burst at once, so that all waits are one wait.
        mbufs.as_slice().iter().for_each(|mbuf| mbuf.prefetch());
        let mut bytes = 0;
        for mbuf in mbufs.as_slice() {
            mbuf.prefetch_data();
            bytes += mbuf.len() as u64;
        }
        count(context, interface, mbufs.len() as u64, bytes);
        let table = context.tables.interface(interface, context.guard);
        let Some(up) = table.filter(|table| table.up) else {
            return mbufs.drain().for_each(|mbuf| any_frame(context, table, interface, mbuf, frame, rest));
        };
        if mbufs.as_slice().first().is_some_and(|first| is_ordinary6(up.mac, first)) {
            return mostly_ip6(context, up, transit, frame, rest);
        }
        examine(up.mac, mbufs.as_slice(), destinations, unusual);
        if !unusual.is_empty() {
            set_aside(context, up, transit, frame, rest);
        }
    }
}

/// Finds the destinations of ordinary IPv4 packets, and the places of all others. Not inlined: it needs all registers.
#[inline(never)]
fn examine(ours: MacAddress, mbufs: &[dpdk_sys::Packet], destinations: &mut [u32], unusual: &mut Places) {
    for (at, (mbuf, destination)) in mbufs.iter().zip(destinations).enumerate() {
        match ordinary4(ours, mbuf) {
            Some(address) => *destination = address,
            None => unusual.add(at),
        }
    }
}

/// Takes all packets out of transit for which there is something to say.
#[inline(never)]
fn set_aside(
    context: &Context,
    up: &Interface,
    transit: &mut Transit,
    frame: &mut Vec<Packet>,
    rest: &mut Rest<Ip4Input>,
) {
    let Transit { interface, mbufs, destinations, unusual, .. } = transit;
    let ip6 = Meta { l4: NO_OFFSET, ..Transit::meta(*interface) };
    mbufs.take_out(unusual.take(), destinations, |_, mbuf, _| {
        if is_ordinary6(up.mac, &mbuf) {
            rest.put(Next::Ip6, Packet { mbuf, meta: ip6 }, frame);
        } else {
            any_frame(context, Some(up), *interface, mbuf, frame, rest);
        }
    });
}

/// Takes a burst further that begins with IPv6: of it nothing is in transit together.
#[inline(never)]
fn mostly_ip6(
    context: &Context,
    up: &Interface,
    transit: &mut Transit,
    frame: &mut Vec<Packet>,
    rest: &mut Rest<Ip4Input>,
) {
    let ip6 = Meta { l4: NO_OFFSET, ..Transit::meta(transit.interface) };
    frame.extend(transit.mbufs.drain().map(|mbuf| Packet { mbuf, meta: ip6 }));
    for (at, packet) in frame.iter_mut().enumerate() {
        if is_ordinary6(up.mac, &packet.mbuf) {
            rest.take(at, Next::Ip6, packet);
        } else {
            packet.meta.l3 = NO_OFFSET;
            let edge = anything(context, Some(up), packet);
            rest.take(at, edge, packet);
        }
    }
}

/// Takes a packet further that is not ordinary.
#[inline(never)]
fn any_frame(
    context: &Context,
    table: Option<&Interface>,
    interface: u32,
    mbuf: dpdk_sys::Packet,
    frame: &mut Vec<Packet>,
    rest: &mut Rest<Ip4Input>,
) {
    let mut packet = Packet::new(mbuf, interface);
    let edge = hold(&mut packet, |packet| anything(context, table, packet));
    rest.put(edge, packet, frame);
}

/// Counts what an interface received.
#[inline(always)]
fn count(context: &Context, interface: u32, packets: u64, bytes: u64) {
    context.counters.add_interface(interface, PerInterface::RxPackets, packets);
    context.counters.add_interface(interface, PerInterface::RxBytes, bytes);
}

/// The destination and the source of a frame.
#[inline(always)]
fn addresses(header: &[u8; 16]) -> (MacAddress, MacAddress) {
    (MacAddress::at(header, 0), MacAddress::at(header, 6))
}

/// Where any frame goes. One of 14 or 15 bytes has a header and next to nothing behind it.
#[inline(never)]
fn anything(context: &Context, interface: Option<&Interface>, packet: &mut Packet) -> Next {
    let Some(interface) = interface else { return Next::Down };
    let mut header = [0; 16];
    let bytes = packet.bytes();
    if bytes.len() < 14 {
        return missing(packet, 14, Next::Short);
    }
    let len = bytes.len().min(16);
    header[..len].copy_from_slice(&bytes[..len]);
    let (destination, source) = addresses(&header);
    let ethertype = be16(&header, 12);
    by_addresses(context, interface, packet, destination, source, ethertype)
}

/// Why the first `len` bytes are not to be had: the first segment ends before them, or the frame itself does.
#[cold]
fn missing(packet: &Packet, len: u32, short: Next) -> Next {
    if packet.mbuf.len() >= len { Next::SplitHeader } else { short }
}

/// A frame with any ethertype, tagged or not, to anybody.
fn by_addresses(
    context: &Context,
    port: &Interface,
    packet: &mut Packet,
    destination: MacAddress,
    source: MacAddress,
    ethertype: u16,
) -> Next {
    let (interface, ethertype) = match Tpid::of(ethertype) {
        None => {
            packet.meta.l3 = 14;
            (port, ethertype)
        }
        Some(tpid) => match tagged(context, port, packet, tpid) {
            Ok((interface, ethertype)) => (interface, ethertype),
            Err(next) => return next,
        },
    };
    if !interface.up {
        return Next::Down;
    }
    if source.is_group() {
        return Next::GroupSource;
    }
    if source.is_zero() {
        return Next::ZeroSource;
    }
    if source == interface.mac {
        return Next::OwnSource;
    }
    if destination == MacAddress::BROADCAST {
        packet.meta.flags.set(Flags::LINK_BROADCAST);
    } else if destination.is_group() {
        packet.meta.flags.set(Flags::LINK_MULTICAST);
    } else if destination != interface.mac {
        return Next::NotOurs;
    }
    match ethertype {
        ETHERTYPE_IP4 => Next::Ip4,
        ETHERTYPE_IP6 => Next::Ip6,
        ETHERTYPE_ARP => Next::Arp,
        _ => Next::Other,
    }
}

/// The interface of a tagged frame, and the ethertype behind its tags. VLAN 0 is no VLAN but a priority (802.1Q §6.9).
fn tagged<'a>(
    context: &'a Context,
    port: &'a Interface,
    packet: &mut Packet,
    tpid: Tpid,
) -> Result<(&'a Interface, u16), Next> {
    let tags = context.tables.ports.get(port.port as usize).and_then(|slot| slot.get(context.guard));
    let Some(tags) = tags else { return Err(Next::NoVlan) };
    let tag = |at: usize| {
        let tag = packet.bytes().get(at..)?.first_chunk::<4>()?;
        Some((be16(tag, 0) & 0xfff, be16(tag, 2)))
    };
    let (vlan, behind) = tag(14).ok_or_else(|| missing(packet, 18, Next::ShortTag))?;
    let (index, l3, ethertype) = match Tpid::of(behind) {
        None if vlan == 0 => (Some(tags.untagged), 18, behind),
        None => (tags.single(tpid, vlan), 18, behind),
        Some(second) => {
            let (inner, ethertype) = tag(18).ok_or_else(|| missing(packet, 22, Next::ShortTag))?;
            let index = match (vlan, second) {
                (0, _) if inner == 0 => Some(tags.untagged),
                (0, second) => tags.single(second, inner),
                (_, Tpid::Dot1q) if inner == 0 => tags.single(tpid, vlan),
                (_, Tpid::Dot1q) => tags.double(tpid, vlan, inner),
                (_, Tpid::Dot1ad) => None,
            };
            (index, 22, ethertype)
        }
    };
    let index = index.ok_or(Next::NoVlan)?;
    let interface = context.tables.interface(index, context.guard).ok_or(Next::NoVlan)?;
    packet.meta.l3 = l3;
    if index != packet.meta.interface {
        packet.meta.interface = index;
        context.counters.add_interface(index, PerInterface::RxPackets, 1);
        context.counters.add_interface(index, PerInterface::RxBytes, packet.mbuf.len() as u64);
    }
    Ok((interface, ethertype))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::PerInterface::{RxBytes, RxPackets};
    use crate::testing::*;

    const BROADCAST: [u8; 6] = [0xff; 6];
    const GROUP: [u8; 6] = [0x01, 0x00, 0x5e, 0, 0, 5];
    const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0x55];

    /// A minimum frame: what stands behind the source address is hexadecimal text.
    fn frame(destination: [u8; 6], source: [u8; 6], rest: &str) -> Vec<u8> {
        let mut frame = [destination, source].concat();
        frame.extend(hex(rest));
        frame.resize(60, 0);
        frame
    }

    #[test]
    fn a_frame_goes_by_its_ethertype() {
        let mut router = Router::new();
        for (ethertype, expected) in [
            ("0800", Next::Ip4),
            ("86dd", Next::Ip6),
            ("0806", Next::Arp),
            ("8847", Next::Other),
            ("0026", Next::Other),
        ] {
            let (next, packet) = router.run(&mut EtherInput, received(&frame(LAN_MAC, HOST_MAC, ethertype)));
            assert_eq!((next, packet.meta.l3, packet.meta.interface), (expected, 14, LAN), "{ethertype}");
            assert!(packet.meta.flags.is_empty());
            packet.mbuf.free();
        }
    }

    #[test]
    fn the_destination_says_whose_it_is() {
        let mut router = Router::new();
        for (destination, expected, flags) in [
            (LAN_MAC, Next::Ip4, Flags::default()),
            (BROADCAST, Next::Ip4, Flags::LINK_BROADCAST),
            (GROUP, Next::Ip4, Flags::LINK_MULTICAST),
            (WAN_MAC, Next::NotOurs, Flags::default()),
            (STRANGER, Next::NotOurs, Flags::default()),
            ([0; 6], Next::NotOurs, Flags::default()),
        ] {
            let (next, packet) = router.run(&mut EtherInput, received(&frame(destination, HOST_MAC, "0800")));
            assert_eq!((next, packet.meta.flags), (expected, flags), "{destination:02x?}");
            packet.mbuf.free();
        }
    }

    #[test]
    fn nobody_sends_from_a_group_from_zero_or_from_our_own_address() {
        let mut router = Router::new();
        for destination in [LAN_MAC, BROADCAST, STRANGER] {
            for (source, expected) in [
                (GROUP, Next::GroupSource),
                (BROADCAST, Next::GroupSource),
                ([0; 6], Next::ZeroSource),
                (LAN_MAC, Next::OwnSource),
            ] {
                let packet = received(&frame(destination, source, "0800"));
                assert_eq!(router.edge(&mut EtherInput, packet), expected, "{source:02x?}");
            }
        }
    }

    #[test]
    fn a_header_alone_is_enough_and_less_is_short() {
        let mut router = Router::new();
        for (ethertype, expected) in
            [("0800", Next::Ip4), ("86dd", Next::Ip6), ("0806", Next::Arp), ("0000", Next::Other)]
        {
            let whole = frame(LAN_MAC, HOST_MAC, ethertype);
            for len in 14..18 {
                assert_eq!(router.edge(&mut EtherInput, received(&whole[..len])), expected, "{len} bytes");
            }
            for len in 0..14 {
                assert_eq!(router.edge(&mut EtherInput, received(&whole[..len])), Next::Short, "{len} bytes");
            }
            for at in 0..14 {
                let halves = split(received(&whole), at);
                assert_eq!(router.edge(&mut EtherInput, halves), Next::SplitHeader, "split at {at}");
            }
        }
    }

    #[test]
    fn nothing_comes_in_on_an_interface_that_is_down_or_not_there() {
        let mut router = Router::new();
        let good = frame(LAN_MAC, HOST_MAC, "0800");
        let mut packet = received(&good);
        packet.meta.interface = 7;
        assert_eq!(router.edge(&mut EtherInput, packet), Next::Down);
        router.interface(LAN, Interface { up: false, ..lan() });
        assert_eq!(router.edge(&mut EtherInput, received(&good)), Next::Down);
        // A sub-interface has a state of its own; that of its parent is part of it.
        assert_eq!(
            router.edge(&mut EtherInput, received(&frame(LAN_MAC, HOST_MAC, "8100 0064 0800"))),
            Next::Ip4
        );
    }

    fn lan() -> Interface {
        Interface { mac: MacAddress::new(LAN_MAC), up: true, mtu: 1500, port: 0, link_local: [].into() }
    }

    #[test]
    fn tags_choose_the_interface() {
        const OUTER: u32 = 4;
        const QINQ: u32 = 5;
        const DOUBLE_Q: u32 = 6;
        let mut router = Router::new();
        let mut tags = crate::tables::PortTags::new(LAN);
        tags.insert(Tpid::Dot1q, 100, None, VLAN);
        tags.insert(Tpid::Dot1ad, 200, None, OUTER);
        tags.insert(Tpid::Dot1ad, 200, Some(7), QINQ);
        tags.insert(Tpid::Dot1q, 300, Some(7), DOUBLE_Q);
        tags.insert(Tpid::Dot1q, 999, None, 8);
        router.tables.ports[0].replace(Some(tags), &mut Vec::new());
        for index in [OUTER, QINQ, DOUBLE_Q] {
            router.interface(index, lan());
        }
        for (rest, expected, interface, l3) in [
            ("8100 0064 0800", Next::Ip4, VLAN, 18),
            // Priority and drop eligibility do not matter.
            ("8100 f064 86dd", Next::Ip6, VLAN, 18),
            // VLAN 0 is a priority only, alone and around or within a VLAN.
            ("8100 e000 0806", Next::Arp, LAN, 18),
            ("88a8 0000 0800", Next::Ip4, LAN, 18),
            ("8100 0000 8100 0000 0800", Next::Ip4, LAN, 22),
            ("8100 0000 8100 0064 0800", Next::Ip4, VLAN, 22),
            ("8100 0064 8100 0000 0800", Next::Ip4, VLAN, 22),
            ("88a8 00c8 0800", Next::Ip4, OUTER, 18),
            ("88a8 00c8 8100 0007 0800", Next::Ip4, QINQ, 22),
            ("88a8 00c8 8100 0000 0800", Next::Ip4, OUTER, 22),
            ("8100 012c 8100 0007 88cc", Next::Other, DOUBLE_Q, 22),
            // Behind two tags a third is no tag of ours.
            ("8100 012c 8100 0007 8100 0007 0800", Next::Other, DOUBLE_Q, 22),
        ] {
            let (next, packet) = router.run(&mut EtherInput, received(&frame(LAN_MAC, HOST_MAC, rest)));
            assert_eq!((next, packet.meta.interface, packet.meta.l3), (expected, interface, l3), "{rest}");
            packet.mbuf.free();
        }
        for nobodys in [
            "8100 0065 0800",
            "88a8 0064 0800",
            "8100 00c8 0800",
            "8100 012c 0800",
            "8100 012c 8100 0008 0800",
            "8100 0064 8100 0007 0800",
            "88a8 00c8 88a8 0007 0800",
            // One that the tags name and nobody has made.
            "8100 03e7 0800",
        ] {
            let packet = received(&frame(LAN_MAC, HOST_MAC, nobodys));
            assert_eq!(router.edge(&mut EtherInput, packet), Next::NoVlan, "{nobodys}");
        }
    }

    #[test]
    fn a_tag_that_is_not_all_there_is_short() {
        let mut router = Router::new();
        let single = frame(LAN_MAC, HOST_MAC, "8100 0064 0800");
        let double = frame(LAN_MAC, HOST_MAC, "8100 0000 8100 0064 0800");
        for len in 14..18 {
            assert_eq!(router.edge(&mut EtherInput, received(&single[..len])), Next::ShortTag, "{len} bytes");
            let halves = split(received(&single), len);
            assert_eq!(router.edge(&mut EtherInput, halves), Next::SplitHeader, "split at {len}");
        }
        assert_eq!(router.edge(&mut EtherInput, received(&single[..18])), Next::Ip4);
        for len in 18..22 {
            assert_eq!(router.edge(&mut EtherInput, received(&double[..len])), Next::ShortTag, "{len} bytes");
            let halves = split(received(&double), len);
            assert_eq!(router.edge(&mut EtherInput, halves), Next::SplitHeader, "split at {len}");
        }
        assert_eq!(router.edge(&mut EtherInput, received(&double[..22])), Next::Ip4);
    }

    #[test]
    fn received_frames_count_for_the_port_and_for_the_sub_interface() {
        let mut router = Router::new();
        let untagged = frame(LAN_MAC, HOST_MAC, "0800");
        let tagged = frame(LAN_MAC, HOST_MAC, "8100 0064 0800");
        for (frame, edge) in
            [(&untagged[..], Next::Ip4), (&tagged, Next::Ip4), (&untagged[..13], Next::Short)]
        {
            assert_eq!(router.edge(&mut EtherInput, received(frame)), edge);
        }
        let count = |interface, what| router.counters.read(router.counters.layout.interface(interface, what));
        assert_eq!((count(LAN, RxPackets), count(LAN, RxBytes)), (3, 133));
        assert_eq!((count(VLAN, RxPackets), count(VLAN, RxBytes)), (1, 60));
        assert_eq!(count(WAN, RxPackets), 0);
    }
}

//! `inject`: what the control plane sends back through a sink (INTERFACE, the record's `action`).
//!
//! A packet to be routed has no TTL to lose here: it is the router's own. What is wrong with it was found by the sink's thread.

use punt::record::{RECEIVE, ROUTE4, ROUTE6, SEND};

use crate::edges;
use crate::node::{Context, Node};
use crate::nodes::ether::EtherInput;
use crate::nodes::flow::{flow4, flow6};
use crate::nodes::redirect::Redirect;
use crate::nodes::transmit::Transmit;
use crate::packet::Packet;
use crate::tables::{HOP_TORN, Hop};
use crate::wire::{ETHERTYPE_IP4, ETHERTYPE_IP6, be32};

edges! {
    /// Where `inject` sends a packet.
    pub enum Next {
        Send => to Transmit,
        Route => to Redirect,
        Receive => to EtherInput,
        NoInterface => drop "interface is not there",
        Down => drop "interface is down",
        TooLong => drop "longer than the MTU of the interface",
        Short => drop "shorter than an IP header",
        NoRoute => drop "no route to the destination",
        ToUs => drop "destination is our own",
        NoBuffer => drop "no packet buffer for it",
        NoAction => drop "no such action",
    }
}

/// Does what the record's action says.
pub struct Inject;

/// Bytes that stand before an IP packet to be routed: room for the L2 header that it will get.
pub const LINK_HEADER: [u8; 14] = [0; 14];

/// Bytes of the longest record that can be injected.
pub const LONGEST: usize = punt::record::HEADER + 65_536;

/// Lookups of one packet that may meet a change.
const TRIES: usize = 3;

impl Node for Inject {
    const NAME: &'static str = "inject";
    const ENTRY: bool = true;
    type Next = Next;

    fn packet(&mut self, context: &Context, packet: &mut Packet) -> Next {
        match packet.meta.protocol {
            SEND => send(context, packet),
            ROUTE4 => route4(context, packet),
            ROUTE6 => route6(context, packet),
            RECEIVE => receive(context, packet),
            _ => Next::NoAction,
        }
    }
}

fn send(context: &Context, packet: &mut Packet) -> Next {
    const TAGGED_HEADER: u32 = 14 + 2 * 4;
    let Some(interface) = context.tables.interface(packet.meta.interface, context.guard) else {
        return Next::NoInterface;
    };
    if !interface.up {
        return Next::Down;
    }
    if packet.mbuf.len() > interface.mtu as u32 + TAGGED_HEADER {
        return Next::TooLong;
    }
    packet.meta.egress = packet.meta.interface;
    packet.meta.port = interface.port;
    Next::Send
}

fn receive(context: &Context, packet: &mut Packet) -> Next {
    packet.meta.protocol = 0;
    match context.tables.interface(packet.meta.interface, context.guard) {
        Some(_) => Next::Receive,
        None => Next::NoInterface,
    }
}

fn route4(context: &Context, packet: &mut Packet) -> Next {
    packet.meta.l3 = LINK_HEADER.len() as u16;
    let Some(header) = packet.l3::<20>().copied() else { return Next::Short };
    packet.meta.l4 = packet.meta.l3 + (header[0] & 15) as u16 * 4;
    packet.meta.protocol = header[9];
    if let Some(ethertype) = packet.mbuf.bytes_mut().get_mut(12..14) {
        ethertype.copy_from_slice(&ETHERTYPE_IP4.to_be_bytes());
    }
    let look = || {
        let mut hop = [HOP_TORN as u64];
        context.tables.fib4.lookup(&[be32(&header, 16)], &mut hop);
        hop[0] as u32
    };
    route(context, packet, look, flow4)
}

fn route6(context: &Context, packet: &mut Packet) -> Next {
    packet.meta.l3 = LINK_HEADER.len() as u16;
    let Some(header) = packet.l3::<40>().copied() else { return Next::Short };
    packet.meta.l4 = packet.meta.l3 + 40;
    packet.meta.protocol = header[6];
    if let Some(ethertype) = packet.mbuf.bytes_mut().get_mut(12..14) {
        ethertype.copy_from_slice(&ETHERTYPE_IP6.to_be_bytes());
    }
    let mut destination = [0; 16];
    destination.copy_from_slice(&header[24..]);
    let look = || {
        let mut hop = [HOP_TORN as u64];
        context.tables.fib6.lookup(&[destination], &mut hop);
        hop[0] as u32
    };
    route(context, packet, look, flow6)
}

fn route(
    context: &Context,
    packet: &mut Packet,
    look: impl Fn() -> u32,
    flow: impl Fn(&Packet) -> u32,
) -> Next {
    let hop = (0..TRIES).map(|_| look()).find(|hop| *hop != HOP_TORN).unwrap_or(HOP_TORN);
    packet.meta.hop = match context.tables.hop(hop, context.guard) {
        Hop::Ecmp(group) => group.pick(flow(packet)),
        _ => hop,
    };
    match context.tables.hop(packet.meta.hop, context.guard) {
        Hop::Forward(_) | Hop::Unresolved(_) | Hop::Down => Next::Route,
        Hop::Local | Hop::Broadcast(_) => Next::ToUs,
        _ => Next::NoRoute,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    fn injected(action: u8, interface: u32, frame: &[u8]) -> (Next, Packet) {
        let mut router = Router::new();
        let mut packet = received(frame);
        (packet.meta.interface, packet.meta.protocol) = (interface, action);
        router.run(&mut Inject, packet)
    }

    fn next(action: u8, interface: u32, frame: &[u8]) -> Next {
        let (next, packet) = injected(action, interface, frame);
        packet.mbuf.free();
        next
    }

    fn behind_link_header(l3: &[u8]) -> Vec<u8> {
        [&LINK_HEADER, l3].concat()
    }

    #[test]
    fn each_action_goes_its_way() {
        let frame = [&NEIGHBOR_MAC[..], &WAN_MAC, &[0x88, 0xcc, 2, 7]].concat();
        let (way, packet) = injected(SEND, WAN, &frame);
        assert_eq!((way, packet.meta.egress, packet.meta.port), (Next::Send, WAN, 1));
        packet.mbuf.free();
        assert_eq!(next(RECEIVE, LAN, &frame), Next::Receive);
        let (way, packet) = injected(ROUTE4, 0, &behind_link_header(&udp4(FAR4, 5)));
        assert_eq!((way, packet.meta.hop), (Next::Route, TO_NEIGHBOR));
        packet.mbuf.free();
        assert_eq!(next(ROUTE6, 0, &behind_link_header(&udp6(FAR6, 5))), Next::Route);
    }

    #[test]
    fn what_cannot_be_done_is_dropped_with_its_cause() {
        let frame = [0x22; 60];
        assert_eq!(next(SEND, 7, &frame), Next::NoInterface);
        assert_eq!(next(RECEIVE, 7, &frame), Next::NoInterface);
        assert_eq!(next(SEND, WAN, &[0x22; 1523]), Next::TooLong);
        assert_eq!(next(9, WAN, &frame), Next::NoAction);
        assert_eq!(next(ROUTE4, 0, &behind_link_header(&[0x45; 19])), Next::Short);
        assert_eq!(next(ROUTE4, 0, &behind_link_header(&udp4([9, 9, 9, 9], 5))), Next::NoRoute);
        assert_eq!(next(ROUTE4, 0, &behind_link_header(&udp4(LAN4, 5))), Next::ToUs);
    }
}

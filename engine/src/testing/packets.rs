//! Packets for tests of nodes, from bytes.

use etherparse::PacketBuilder;

use super::addresses::*;
use crate::packet::{Meta, NO_OFFSET, Packet};

/// A packet of these bytes as `ether-input` gets it from `LAN`.
pub fn received(frame: &[u8]) -> Packet {
    Packet::received(dpdk_sys::Packet::from_bytes(frame), LAN)
}

/// The same, split over two segments.
pub fn split(mut packet: Packet, at: usize) -> Packet {
    let bytes = packet.mbuf.to_vec();
    let halves = dpdk_sys::Packet::from_segments(&[&bytes[..at], &bytes[at..]]);
    std::mem::replace(&mut packet.mbuf, halves).free();
    packet
}

/// A packet of these bytes from the L3 header on, as a node behind `ether-input` gets it.
pub fn at_l3(l3: &[u8], ethertype: u16) -> Packet {
    let mut frame = [&LAN_MAC[..], &HOST_MAC, &ethertype.to_be_bytes()].concat();
    frame.extend_from_slice(l3);
    let destination = l3.get(16..20).filter(|_| ethertype == crate::wire::ETHERTYPE_IP4);
    let hop = destination.map_or(0, |address| crate::wire::be32(address, 0));
    let meta = Meta { interface: LAN, hop, l3: 14, l4: NO_OFFSET, ..Meta::default() };
    Packet { mbuf: dpdk_sys::Packet::from_bytes(&frame), meta }
}

/// The bytes of a text of hexadecimal digits.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// `bytes` with others in the place of some, each at its offset.
pub fn changed(bytes: &[u8], changes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, new) in changes {
        bytes[*at..at + new.len()].copy_from_slice(new);
    }
    bytes
}

/// An IPv4 packet with a right checksum.
pub fn sealed(mut packet: Vec<u8>) -> Vec<u8> {
    let len = ((packet[0] & 15) as usize * 4).clamp(20, packet.len());
    packet[10..12].fill(0);
    let sum = !crate::wire::sum(&packet[..len]);
    packet[10..12].copy_from_slice(&sum.to_ne_bytes());
    packet
}

/// An IPv4 packet from `HOST4`, TTL 64.
pub fn ip4(protocol: u8, destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, protocol, 0, 0];
    packet.extend([HOST4, destination].concat());
    packet.extend(payload);
    let len = packet.len() as u16;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    sealed(packet)
}

/// An IPv6 packet from `HOST6`, hop limit 64.
pub fn ip6(next_header: u8, destination: [u8; 16], payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, high, low, next_header, 64];
    packet.extend([HOST6, destination].concat());
    packet.extend(payload);
    packet
}

/// A UDP datagram from port 40000 to `port`, over IPv4 from `HOST4`.
pub fn udp4(destination: [u8; 4], port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(HOST4, destination, 64)
        .udp(40000, port)
        .write(&mut packet, b"hello")
        .expect("to memory");
    packet
}

/// A UDP datagram from port 40000 to `port`, over IPv6 from `HOST6`.
pub fn udp6(destination: [u8; 16], port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv6(HOST6, destination, 64)
        .udp(40000, port)
        .write(&mut packet, b"hello")
        .expect("to memory");
    packet
}

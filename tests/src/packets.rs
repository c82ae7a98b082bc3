//! Frames and packets, byte for byte.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{
    IpFragOffset, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6FlowLabel, Ipv6Header,
    PacketBuilder,
};

use crate::plan::{Mac, Neighbor, Port};

/// The ethertype of IPv4.
pub const IP4: u16 = 0x0800;
/// The ethertype of IPv6.
pub const IP6: u16 = 0x86dd;
/// The ethertype of ARP.
pub const ARP: u16 = 0x0806;

/// The shortest frame a link carries, without its FCS.
const MIN_FRAME: usize = 60;

/// A frame as a station sends it: padded to what the link wants at least.
pub fn frame(destination: Mac, source: Mac, vlan: Option<u16>, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = unpadded(destination, source, vlan, ethertype, payload);
    frame.resize(frame.len().max(MIN_FRAME), 0);
    frame
}

/// The same without padding.
pub fn unpadded(destination: Mac, source: Mac, vlan: Option<u16>, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [destination, source].concat();
    if let Some(vlan) = vlan {
        frame.extend(0x8100u16.to_be_bytes());
        frame.extend(vlan.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A frame with an LLC header: the length is where others have their ethertype.
pub fn llc(destination: Mac, source: Mac, payload: &[u8]) -> Vec<u8> {
    frame(destination, source, None, payload.len() as u16, payload)
}

/// An LLC frame with a SNAP header.
pub fn snap(destination: Mac, source: Mac, oui: [u8; 3], protocol: u16, payload: &[u8]) -> Vec<u8> {
    let header = [&[0xaa, 0xaa, 0x03][..], &oui, &protocol.to_be_bytes()].concat();
    llc(destination, source, &[&header, payload].concat())
}

/// A frame from a neighbour to the router.
pub fn from(neighbor: &Neighbor, packet: &[u8]) -> Vec<u8> {
    frame(neighbor.port.mac(), neighbor.mac, neighbor.vlan, ethertype(packet), packet)
}

/// A frame from a neighbour to a group.
pub fn to_group(group: Mac, neighbor: &Neighbor, packet: &[u8]) -> Vec<u8> {
    frame(group, neighbor.mac, neighbor.vlan, ethertype(packet), packet)
}

/// A frame from a neighbour to the group of an IPv4 or IPv6 multicast packet (RFC 1112 §6.4, RFC 2464 §7).
pub fn multicast(neighbor: &Neighbor, packet: &[u8]) -> Vec<u8> {
    let group = match ethertype(packet) {
        IP4 => [0x01, 0x00, 0x5e, packet[17] & 0x7f, packet[18], packet[19]],
        _ => [0x33, 0x33, packet[36], packet[37], packet[38], packet[39]],
    };
    to_group(group, neighbor, packet)
}

fn ethertype(packet: &[u8]) -> u16 {
    match packet.first().map(|byte| byte >> 4) {
        Some(6) => IP6,
        _ => IP4,
    }
}

/// An IPv4 header without options; the lengths and the checksum are right when it is written.
pub fn ip4(source: Ipv4Addr, destination: Ipv4Addr) -> Ipv4Header {
    Ipv4Header::new(0, 64, IpNumber::UDP, source.octets(), destination.octets())
        .expect("no payload is not too much")
}

/// An IPv6 header; the length is right when it is written.
pub fn ip6(source: Ipv6Addr, destination: Ipv6Addr) -> Ipv6Header {
    Ipv6Header {
        traffic_class: 0,
        flow_label: Ipv6FlowLabel::ZERO,
        payload_length: 0,
        next_header: IpNumber::UDP,
        hop_limit: 64,
        source: source.octets(),
        destination: destination.octets(),
    }
}

/// What a packet begins with: an IPv4 or an IPv6 header.
pub trait Ip {
    /// As etherparse's builder wants it.
    fn headers(self) -> IpHeaders;
    /// The packet with this payload of protocol `protocol`, as it stands.
    fn packet(self, protocol: u8, payload: &[u8]) -> Vec<u8>;
    /// With this TTL or hop limit.
    fn ttl(self, ttl: u8) -> Self;
}

impl Ip for Ipv4Header {
    fn headers(self) -> IpHeaders {
        IpHeaders::Ipv4(self, Ipv4Extensions::default())
    }

    fn packet(mut self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        self.protocol = IpNumber(protocol);
        self.set_payload_len(payload.len()).expect("the payload fits");
        self.header_checksum = self.calc_header_checksum();
        [&self.to_bytes()[..], payload].concat()
    }

    fn ttl(mut self, ttl: u8) -> Self {
        self.time_to_live = ttl;
        self
    }
}

impl Ip for Ipv6Header {
    fn headers(self) -> IpHeaders {
        IpHeaders::Ipv6(self, Ipv6Extensions::default())
    }

    fn packet(mut self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        self.next_header = IpNumber(protocol);
        self.set_payload_length(payload.len()).expect("the payload fits");
        [&self.to_bytes()[..], payload].concat()
    }

    fn ttl(mut self, ttl: u8) -> Self {
        self.hop_limit = ttl;
        self
    }
}

/// A UDP packet.
pub fn udp(ip: impl Ip, source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ip(ip.headers()).udp(source, destination);
    let mut packet = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut packet, payload).expect("a vector takes everything");
    packet
}

/// A TCP packet: a SYN if it has neither an acknowledgment nor a payload.
pub fn tcp(ip: impl Ip, ports: (u16, u16), sequence: u32, ack: Option<u32>, payload: &[u8]) -> Vec<u8> {
    let mut builder = PacketBuilder::ip(ip.headers()).tcp(ports.0, ports.1, sequence, 64240);
    builder = match ack {
        Some(ack) => builder.ack(ack),
        None => builder.syn(),
    };
    if !payload.is_empty() {
        builder = builder.psh();
    }
    let mut packet = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut packet, payload).expect("a vector takes everything");
    packet
}

/// An ICMP echo request.
pub fn ping(ip: Ipv4Header, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ip(ip.headers()).icmpv4_echo_request(7, sequence);
    builder.write(&mut packet, payload).expect("a vector takes everything");
    packet
}

/// An ICMPv6 message of this type, its body after the checksum.
pub fn icmp6(ip: Ipv6Header, kind: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() >= 4, "an ICMPv6 message has 8 bytes at least");
    let mut packet = Vec::new();
    let [a, b, c, d] = [body[0], body[1], body[2], body[3]];
    let builder = PacketBuilder::ip(ip.headers()).icmpv6_raw(kind, 0, [a, b, c, d]);
    builder.write(&mut packet, &body[4..]).expect("a vector takes everything");
    packet
}

/// An IPv4 packet whose header has these options, a multiple of four bytes.
pub fn with_options(mut ip: Ipv4Header, options: &[u8], protocol: u8, payload: &[u8]) -> Vec<u8> {
    ip.options = options.try_into().expect("a multiple of four bytes, 40 at most");
    ip.packet(protocol, payload)
}

/// A fragment of an IPv4 packet; `offset` in units of eight bytes.
pub fn fragment(mut ip: Ipv4Header, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    ip.dont_fragment = false;
    ip.more_fragments = more;
    ip.fragment_offset = IpFragOffset::try_new(offset).expect("13 bits");
    ip.packet(17, payload)
}

/// A fragment of an IPv6 packet; `offset` in units of eight bytes.
pub fn fragment6(ip: Ipv6Header, id: u32, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![17, 0];
    header.extend((offset << 3 | more as u16).to_be_bytes());
    header.extend(id.to_be_bytes());
    header.extend(payload);
    ip.packet(44, &header)
}

/// An ARP packet for Ethernet and IPv4 (RFC 826).
pub fn arp(operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4];
    packet.extend(operation.to_be_bytes());
    for (mac, address) in [sender, target] {
        packet.extend(mac);
        packet.extend(address.octets());
    }
    packet
}

/// What the router makes of a frame that it forwards to `next`: new addresses and tags, one hop less, all else as it was.
///
/// # Panics
/// If it is no IP packet, or its time is up.
pub fn forwarded(received: &[u8], next: &Neighbor) -> Vec<u8> {
    let l3 = if received[12..14] == 0x8100u16.to_be_bytes() { 18 } else { 14 };
    let mut packet = received[l3..].to_vec();
    if ethertype(&packet) == IP4 {
        let (mut header, _) = Ipv4Header::from_slice(&packet).expect("an IPv4 packet");
        header.time_to_live -= 1;
        header.header_checksum = header.calc_header_checksum();
        let bytes = header.to_bytes();
        packet[..bytes.len()].copy_from_slice(&bytes);
    } else {
        packet[7] -= 1;
    }
    unpadded(next.mac, next.port.mac(), next.vlan, ethertype(&packet), &packet)
}

/// The port's own IPv4 address.
pub fn router4(port: Port) -> Ipv4Addr {
    match port {
        Port::Lan => Ipv4Addr::new(10, 0, 0, 1),
        Port::Wan => Ipv4Addr::new(10, 0, 1, 1),
    }
}

/// The port's own IPv6 address.
pub fn router6(port: Port) -> Ipv6Addr {
    match port {
        Port::Lan => Ipv6Addr::new(0xfd00, 0xa, 0, 0, 0, 0, 0, 1),
        Port::Wan => Ipv6Addr::new(0xfd00, 0xb, 0, 0, 0, 0, 0, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{CUSTOMER, HOST, UPSTREAM};

    #[test]
    fn forwarding_changes_addresses_tag_and_ttl_and_nothing_else() {
        let ip = ip4("10.100.0.10".parse().unwrap(), "10.2.0.1".parse().unwrap());
        let received = from(&CUSTOMER, &udp(ip, 5000, 53, b"who is there?"));
        let sent = forwarded(&received, &UPSTREAM);
        assert_eq!(sent.len(), received.len() - 4);
        assert_eq!(sent[..12], [UPSTREAM.mac, Port::Wan.mac()].concat());
        assert_eq!((received[18 + 8], sent[14 + 8]), (64, 63));
        assert_eq!(sent[14 + 12..], received[18 + 12..]);
        let (header, _) = Ipv4Header::from_slice(&sent[14..]).unwrap();
        assert_eq!(header.header_checksum, header.calc_header_checksum());
    }

    #[test]
    fn a_frame_is_never_shorter_than_the_link_wants() {
        assert_eq!(from(&HOST, &ping(ip4(router4(Port::Wan), router4(Port::Lan)), 1, b"")).len(), 60);
    }
}

//! Frames, built by a library that is not the engine's own code.

use etherparse::PacketBuilder;

/// A MAC address.
pub type Mac = [u8; 6];

/// An IPv4 packet with a UDP datagram from port 5000 to 6000 in it; not to be fragmented.
pub fn udp4(source: &str, destination: &str, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let address = |text: &str| text.parse::<std::net::Ipv4Addr>().expect("an address").octets();
    let builder = PacketBuilder::ipv4(address(source), address(destination), ttl).udp(5000, 6000);
    let mut packet = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut packet, payload).expect("a vector takes everything");
    packet
}

/// The same over IPv6.
pub fn udp6(source: &str, destination: &str, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let address = |text: &str| text.parse::<std::net::Ipv6Addr>().expect("an address").octets();
    let builder = PacketBuilder::ipv6(address(source), address(destination), hop_limit).udp(5000, 6000);
    let mut packet = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut packet, payload).expect("a vector takes everything");
    packet
}

/// The packet in a frame, with the ethertype of its version.
pub fn ethernet(destination: Mac, source: Mac, packet: &[u8]) -> Vec<u8> {
    tagged(destination, source, &[], packet)
}

/// The same with these bytes of tags.
pub fn tagged(destination: Mac, source: Mac, tags: &[u8], packet: &[u8]) -> Vec<u8> {
    let ethertype: [u8; 2] = if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
    [&destination[..], &source, tags, &ethertype, packet].concat()
}

/// Makes the header checksum of an IPv4 packet right again.
pub fn fix_checksum(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum: u32 = packet[..20].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]) as u32).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    packet[10..12].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
}

/// An IPv4 packet without options.
pub fn ip4(source: &str, destination: &str, ttl: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let address = |text: &str| text.parse::<std::net::Ipv4Addr>().expect("an address").octets();
    let [high, low] = (20 + payload.len() as u16).to_be_bytes();
    let mut packet = vec![0x45, 0, high, low, 0, 7, 0, 0, ttl, protocol, 0, 0];
    packet.extend([address(source), address(destination)].concat());
    fix_checksum(&mut packet);
    packet.extend(payload);
    packet
}

/// An IPv6 packet without extension headers.
pub fn ip6(source: &str, destination: &str, hop_limit: u8, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let address = |text: &str| text.parse::<std::net::Ipv6Addr>().expect("an address").octets();
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, high, low, next_header, hop_limit];
    packet.extend([address(source), address(destination)].concat());
    packet.extend(payload);
    packet
}

/// A UDP datagram between these ports, without a checksum.
pub fn udp(source: u16, destination: u16) -> Vec<u8> {
    let ports = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    [&ports[..], &[0, 20, 0, 0], b"twelve bytes"].concat()
}

/// A TCP segment between these ports.
pub fn tcp(source: u16, destination: u16) -> Vec<u8> {
    let ports = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    [&ports[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]].concat()
}

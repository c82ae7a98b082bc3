//! What matches look at in a packet.

use std::net::IpAddr;

/// What is known of a packet that leaves the graph, as far as it has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Index of the reason of the edge it took.
    pub reason: u32,
    /// Index of the interface it came in on.
    pub interface: u32,
    /// Its IP source, if it is IP or ARP.
    pub source: Option<IpAddr>,
    /// The IP protocol; for IPv6 the one behind the extension headers.
    pub protocol: Option<u8>,
    /// Source and destination port, if it is TCP or UDP.
    pub ports: Option<(u16, u16)>,
    /// ICMP type.
    pub kind: Option<u8>,
    /// The ethertype behind the tags, if it has one.
    pub ethertype: Option<u16>,
    /// The LLC destination service access point, if it has one instead.
    pub llc: Option<u8>,
    /// The MAC it was sent to.
    pub destination: [u8; 6],
}

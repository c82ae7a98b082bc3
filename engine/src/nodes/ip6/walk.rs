//! From the IPv6 header over the extension headers to the transport (RFC 8200 §4).

use crate::packet::Packet;
use crate::wire::{Ip6, be16, protocol};

/// Extension headers of one packet that are looked at (RFC 8504 §5.3 asks for a bound).
const MAX_HEADERS: usize = 8;

/// What stands behind the extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Its protocol.
    pub protocol: u8,
    /// Where it begins, in bytes from the start of the frame.
    pub start: u16,
    /// Its bytes, header and all.
    pub len: u16,
    /// It came in a fragment that is a whole packet (RFC 6946).
    pub atomic_fragment: bool,
}

/// Why there is no transport to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A fragment: the transport may be in another one.
    Fragment,
    /// A routing header that wants the packet sent on to somebody else.
    SourceRouted,
    /// The same, of type 0, which nobody may obey (RFC 5095).
    RoutingType0,
    /// A hop-by-hop header that is not the first.
    HopByHopLate,
    /// A header that is longer than what is left of the packet.
    Exceeds,
    /// There is nothing behind the headers.
    Nothing,
    /// More headers than anybody needs.
    TooMany,
    /// A header that does not lie in the first segment.
    Split,
    /// Not even an IPv6 header.
    Short,
}

/// Walks the extension headers of a packet that `ip6-input` has checked, to the transport of a whole packet.
pub fn transport(packet: &Packet) -> Result<Transport, Stop> {
    walk(packet, |place| place & (OFFSET | MORE) == 0)
}

/// Whether a packet is a fragment, and where its transport header begins, if it has that. A fragment that is a whole packet is none
/// (RFC 6946).
#[cold]
pub fn fragment(packet: &Packet) -> (bool, Option<u16>) {
    let mut fragment = false;
    let found = walk(packet, |place| {
        fragment |= place & (OFFSET | MORE) != 0;
        place & OFFSET == 0
    });
    (fragment, found.ok().map(|transport| transport.start))
}

/// In a fragment header: where in its packet it belongs, and whether it is not the last.
const OFFSET: u16 = 0xfff8;
const MORE: u16 = 1;

/// Walks the extension headers, past a fragment header only if `past` says so of its offset and flags.
fn walk(packet: &Packet, mut past: impl FnMut(u16) -> bool) -> Result<Transport, Stop> {
    let Some(ip) = packet.l3::<40>().map(Ip6) else { return Err(Stop::Short) };
    let mut at = packet.meta.l3 as usize + 40;
    let mut left = ip.payload_len() as usize;
    let mut next = ip.next_header();
    let mut atomic_fragment = false;
    for index in 0..=MAX_HEADERS {
        match next {
            protocol::NONE => return Err(Stop::Nothing),
            protocol::HOP_BY_HOP if index > 0 => return Err(Stop::HopByHopLate),
            protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::AUTHENTICATION
            | protocol::DESTINATION_OPTIONS => {}
            protocol => {
                let start = u16::try_from(at).map_err(|_| Stop::Split)?;
                return Ok(Transport { protocol, start, len: left as u16, atomic_fragment });
            }
        }
        if left < 8 {
            return Err(Stop::Exceeds);
        }
        let header =
            packet.bytes().get(at..).and_then(|bytes| bytes.first_chunk::<8>()).ok_or(Stop::Split)?;
        let len = match next {
            protocol::FRAGMENT => 8,
            protocol::AUTHENTICATION => 8 + header[1] as usize * 4,
            _ => 8 + header[1] as usize * 8,
        };
        if len > left {
            return Err(Stop::Exceeds);
        }
        match next {
            protocol::FRAGMENT if !past(be16(header, 2)) => return Err(Stop::Fragment),
            protocol::FRAGMENT => atomic_fragment = true,
            protocol::ROUTING if header[3] > 0 => {
                return Err(if header[2] == 0 { Stop::RoutingType0 } else { Stop::SourceRouted });
            }
            _ => {}
        }
        next = header[0];
        at += len;
        left -= len;
    }
    Err(Stop::TooMany)
}

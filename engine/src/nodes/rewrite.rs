//! What rewriting IPv4 and IPv6 have in common.

use crate::packet::{NO_OFFSET, Packet};
use crate::tables::Adjacency;

/// The L2 header, and the first `N` bytes of the L3 header behind it.
#[inline(always)]
pub fn split<const N: usize>(packet: &mut Packet) -> Option<(&mut [u8], &mut [u8; N])> {
    let end = packet.meta.l3 as usize + N;
    packet.mbuf.bytes_mut().get_mut(..end)?.split_last_chunk_mut()
}

/// Puts the adjacency's L2 header before the L3 header, whose offset changes where the tags do. `None`: there was no room for it.
pub fn write_link_header(packet: &mut Packet, adjacency: &Adjacency, ethertype: u16) -> Option<()> {
    let len = adjacency.header_len();
    if packet.meta.l3 != len && !resize(packet, len) {
        return None;
    }
    let header = packet.mbuf.bytes_mut().get_mut(..len as usize)?;
    let (addresses_and_tags, last) = header.split_last_chunk_mut::<2>()?;
    addresses_and_tags.copy_from_slice(adjacency.header().get(..addresses_and_tags.len())?);
    *last = ethertype.to_be_bytes();
    Some(())
}

/// Makes the L2 header `len` bytes long.
fn resize(packet: &mut Packet, len: u16) -> bool {
    let l3 = packet.meta.l3;
    let resized = if len > l3 { packet.mbuf.prepend(len - l3) } else { packet.mbuf.trim_front(l3 - len) };
    if resized {
        if packet.meta.l4 != NO_OFFSET {
            packet.meta.l4 = packet.meta.l4.wrapping_add(len.wrapping_sub(l3));
        }
        packet.meta.l3 = len;
    }
    resized
}

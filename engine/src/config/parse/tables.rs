//! `[tables]`: what is reserved at start.

use crate::config::Sizes;
use crate::config::read::{Fields, Placed, Reader};

/// Reads the section.
pub fn read(mut fields: Fields, reader: &mut Reader) -> Sizes {
    let default = Sizes::default();
    let mut size = |key, most, default| {
        fields.number(key, 1..=most, reader).map_or(default, |size: Placed<u32>| size.value)
    };
    let (routes4, routes6) =
        (size("routes4", 1 << 24, default.routes4), size("routes6", 1 << 24, default.routes6));
    let neighbors = size("neighbors", 1 << 20, default.neighbors);
    let next_hops = size("next_hops", 1 << 20, default.next_hops);
    let mut groups = |key| fields.number(key, 1..=1 << 24, reader).map(|groups: Placed<u32>| groups.value);
    let (groups4, groups6) = (groups("groups4"), groups("groups6"));
    let packets = fields.number("packets", 512..=1 << 24, reader).map(|packets| packets.value);
    let packet_size =
        fields.number("packet_size", 512..=16_384, reader).map_or(default.packet_size, |size| size.value);
    fields.finish(reader);
    Sizes { routes4, routes6, neighbors, next_hops, groups4, groups6, packets, packet_size }
}

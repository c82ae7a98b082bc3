//! Interfaces, MAC and IP addresses of the router that nodes are tested in.

pub const LAN: u32 = 1;
pub const WAN: u32 = 2;
pub const VLAN: u32 = 3;
pub const LAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const WAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub const NEIGHBOR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x99];
/// Somebody on `LAN`.
pub const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x77];

/// Ours on `LAN`.
pub const LAN4: [u8; 4] = [10, 0, 0, 1];
pub const LAN6: [u8; 16] = ip6_address(0xfd00, 0xa, 1);
/// Ours on every interface.
pub const LINK_LOCAL6: [u8; 16] = ip6_address(0xfe80, 0, 1);
/// Somebody on `LAN`.
pub const HOST4: [u8; 4] = [10, 0, 0, 0x77];
pub const HOST6: [u8; 16] = ip6_address(0xfd00, 0xa, 0x77);
pub const HOST_LINK_LOCAL6: [u8; 16] = ip6_address(0xfe80, 0, 0x77);
/// Somebody behind the neighbour on `WAN`.
pub const FAR4: [u8; 4] = [10, 2, 0, 9];
pub const FAR6: [u8; 16] = ip6_address(0xfd00, 2, 9);

/// `a:b::last`.
pub const fn ip6_address(a: u16, b: u16, last: u16) -> [u8; 16] {
    ((a as u128) << 112 | (b as u128) << 96 | last as u128).to_be_bytes()
}

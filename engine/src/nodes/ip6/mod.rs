//! IPv6 (RFC 8200, RFC 4291).

mod hop_by_hop;
pub mod input;
pub mod local;
pub mod lookup;
mod rewrite;
mod walk;

pub use hop_by_hop::Ip6HopByHop;
pub use input::{Ip6Input, is_extension};
pub use local::{Ip6Local, UNCLAIMED};
pub use lookup::Ip6Lookup;
pub use rewrite::Ip6Rewrite;
pub use walk::fragment;

/// The scope of a group that does not leave its link (RFC 7346).
const LINK: u8 = 2;

/// fe80::/10, which stays on its link (RFC 4291 §2.5.6).
#[inline(always)]
fn is_link_local(address: &[u8; 16]) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}

/// ff00::/8.
#[inline(always)]
fn is_multicast(address: &[u8; 16]) -> bool {
    address[0] == 0xff
}

/// Groups that a router listens to without being asked: all of the link's, and by any scope PTP's (IEEE 1588 annex D), all routers and
/// all DHCP servers (RFC 8415 §7.1).
fn is_for_routers(group: &[u8; 16]) -> bool {
    let last = u128::from_be_bytes(*group) & (u128::MAX >> 16);
    group[1] & 15 == LINK || group[1] < 16 && matches!(last, 0x181..=0x184 | 0x2 | 0x1_0003)
}

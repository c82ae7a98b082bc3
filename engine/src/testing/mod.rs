//! A router without an EAL, for tests of nodes: bytes in, edge and bytes out.
//!
//! It has two interfaces, `LAN` (02:00:00:00:00:01, 10.0.0.1/24, fd00:a::1/64) and `WAN` (02:00:00:00:00:02, 10.0.1.1/24, fd00:b::1/64),
//! and `VLAN`, the sub-interface of `LAN` with tag 100. The neighbour 02:00:00:00:00:99 on `WAN` (10.0.1.2, fd00:b::2) is the way to
//! 10.2.0.0/16 and fd00:2::/32.

mod addresses;
mod desk;
mod packets;
mod router;
mod whole;

pub use addresses::*;
pub use desk::{clock, desk};
pub use packets::*;
pub use router::*;
pub use whole::Whole;

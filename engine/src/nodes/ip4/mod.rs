//! IPv4 (RFC 791, RFC 1812).

pub mod input;
pub mod local;
pub mod lookup;
mod options;
mod rewrite;

pub use input::Ip4Input;
pub use local::{Ip4Local, UNCLAIMED};
pub use lookup::Ip4Lookup;
pub use options::Ip4Options;
pub use rewrite::Ip4Rewrite;

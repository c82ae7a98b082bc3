//! Packets that a router cannot simply forward, and what it has to do with each.

mod ip4;
mod ip6;
mod l2;
mod local;

use fastrand::Rng;

use crate::plan::Port;
use crate::traffic::Outcome;

/// A kind of packet that is not simply forwarded.
pub struct Exception {
    /// What it is.
    pub about: &'static str,
    /// Where it comes in.
    pub port: Port,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Makes one.
    pub frame: fn(&mut Rng) -> Vec<u8>,
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Exception> + Clone {
    [ip4::TRANSIT, ip4::MALFORMED, ip6::TRANSIT, ip6::MALFORMED, local::TO_US, l2::FRAMES]
        .into_iter()
        .flatten()
}

const fn exception(
    about: &'static str,
    port: Port,
    outcome: Outcome,
    frame: fn(&mut Rng) -> Vec<u8>,
) -> Exception {
    Exception { about, port, outcome, frame }
}

/// A random ephemeral port.
fn client(rng: &mut Rng) -> u16 {
    rng.u16(32768..61000)
}

/// So many random bytes.
fn bytes(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    bytes
}

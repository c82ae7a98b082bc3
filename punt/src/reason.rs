//! Reasons: the named exceptions for which a packet leaves the forwarding graph.
//!
//! A static reason is declared beside the node that is its source:
//!
//! ```
//! use punt::{Class, Reason};
//!
//! /// A packet whose TTL ran out here; a router answers it with ICMP time exceeded.
//! pub static TTL_EXPIRED: Reason =
//!     Reason::new("ip4.ttl-expired", Class::Except, "TTL ran out in transit").limit(600, 300);
//! assert_eq!(TTL_EXPIRED.rate, 600);
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

pub use crate::class::Class;
pub use crate::registry::{Duplicates, Registered, Registry};

/// What happens to the packet itself, besides being counted under its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is handed over and goes no further.
    Trap,
    /// It is handed over and forwarded as well.
    Copy,
    /// It is dropped unless somebody asks for it.
    Drop,
}

impl Action {
    /// The name an operator reads and writes.
    pub const fn name(self) -> &'static str {
        match self {
            Action::Trap => "trap",
            Action::Copy => "copy",
            Action::Drop => "drop",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A named exception, as its source declares it.
///
/// What an operator changes later (rate, burst, action) does not live here: this is what the engine ships with.
#[derive(Debug)]
pub struct Reason {
    /// Unique in the engine; family, dot, words joined by dashes: `ip4.ttl-expired`.
    pub name: &'static str,
    /// The queue its packets wait in.
    pub class: Class,
    /// Packets per second over all workers.
    pub rate: u32,
    /// Packets that may come at once.
    pub burst: u32,
    /// What happens to the packet.
    pub action: Action,
    /// One line that tells an operator what happened.
    pub text: &'static str,
}

impl Reason {
    /// A reason that traps, limited to 250 packets per second in bursts of 100 as anything nobody claimed is.
    pub const fn new(name: &'static str, class: Class, text: &'static str) -> Reason {
        Reason { name, class, rate: 250, burst: 100, action: Action::Trap, text }
    }

    /// The same with `rate` packets per second in bursts of `burst`.
    pub const fn limit(self, rate: u32, burst: u32) -> Reason {
        Reason { rate, burst, ..self }
    }

    /// The same, but the packet is forwarded as well.
    pub const fn copy(self) -> Reason {
        Reason { action: Action::Copy, ..self }
    }

    /// The same, but the packet is dropped unless somebody asks for it.
    pub const fn drop(self) -> Reason {
        Reason { action: Action::Drop, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static REDIRECT: Reason =
        Reason::new("ip4.redirect", Class::Except, "leaves where it came from").limit(100, 64).copy();
    static NO_ROUTE: Reason =
        Reason::new("ip4.no-route", Class::Except, "no route to the destination").drop();

    #[test]
    fn a_static_says_all_that_ships() {
        assert_eq!((REDIRECT.name, REDIRECT.class), ("ip4.redirect", Class::Except));
        assert_eq!((REDIRECT.rate, REDIRECT.burst, REDIRECT.action), (100, 64, Action::Copy));
        assert_eq!((NO_ROUTE.rate, NO_ROUTE.burst, NO_ROUTE.action), (250, 100, Action::Drop));
    }

    #[test]
    fn actions_are_written_in_lower_case() {
        for action in [Action::Trap, Action::Copy, Action::Drop] {
            assert_eq!(serde_json::to_string(&action).unwrap(), format!("\"{action}\""));
        }
    }
}

//! Classes: the queue a punted packet waits in, and what that queue is guaranteed.
//!
//! There is one budget for all punted packets. A class may always use its minimum; above that only while the
//! budget lasts; never more than its cap. The figures are defaults that an operator may change.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The importance of a punted packet; a greater one is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Class {
    /// Best effort: drops on request, logs, captures.
    Sample = 0,
    /// Neighbour to resolve, flow unknown, nothing claimed it.
    Miss,
    /// Exceptions that want an ICMP answer: TTL, MTU, options, redirect.
    Except,
    /// IGMP, MLD, DHCP, first packets of a multicast flow.
    Mcast,
    /// SSH, SNMP, NTP and other talk with the router itself.
    Mgmt,
    /// ARP, neighbour discovery, LLDP, EAPOL.
    Neigh,
    /// Routing protocols: BGP, OSPF, IS-IS, LDP, PIM, VRRP.
    Route,
    /// What keeps a link alive: BFD, LACP, CFM, PTP events, STP.
    Link = 7,
}

impl Class {
    /// All of them, least important first, so that `ALL[class as usize] == class`.
    pub const ALL: [Class; 8] = [
        Class::Sample,
        Class::Miss,
        Class::Except,
        Class::Mcast,
        Class::Mgmt,
        Class::Neigh,
        Class::Route,
        Class::Link,
    ];

    /// The name an operator reads and writes.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Sample => "sample",
            Class::Miss => "miss",
            Class::Except => "except",
            Class::Mcast => "mcast",
            Class::Mgmt => "mgmt",
            Class::Neigh => "neigh",
            Class::Route => "route",
            Class::Link => "link",
        }
    }

    /// Packets per second that this class gets whatever the others do, by default.
    pub const fn minimum(self) -> u32 {
        match self {
            Class::Sample => 0,
            Class::Miss => 500,
            Class::Except => 1_000,
            Class::Mcast => 2_000,
            Class::Mgmt => 3_000,
            Class::Neigh => 4_000,
            Class::Route => 15_000,
            Class::Link => 20_000,
        }
    }

    /// Packets per second that this class never exceeds, by default.
    pub const fn cap(self) -> u32 {
        match self {
            Class::Sample | Class::Miss => 5_000,
            Class::Neigh => 8_000,
            Class::Except => 10_000,
            Class::Mcast => 16_000,
            Class::Mgmt => 25_000,
            Class::Route | Class::Link => 30_000,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is no class of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no class; write one of link, route, neigh, mgmt, mcast, except, miss, sample")]
pub struct UnknownClass(pub String);

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Class, UnknownClass> {
        Class::ALL.into_iter().find(|class| class.name() == text).ok_or_else(|| UnknownClass(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_the_importance() {
        for (index, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, index);
        }
        assert!(Class::Link > Class::Route && Class::Miss > Class::Sample);
    }

    #[test]
    fn names_read_back_everywhere() {
        for class in Class::ALL {
            assert_eq!(class.name().parse(), Ok(class));
            assert_eq!(serde_json::to_string(&class).unwrap(), format!("{:?}", class.name()));
        }
        let error = "Link".parse::<Class>().unwrap_err().to_string();
        assert!(error.starts_with("\"Link\" is no class; write one of link,"), "{error}");
    }

    #[test]
    fn the_minima_fit_the_default_budget() {
        let sum: u32 = Class::ALL.into_iter().map(Class::minimum).sum();
        assert_eq!(sum, 45_500);
        assert!(Class::ALL.into_iter().all(|class| class.minimum() <= class.cap()));
    }
}

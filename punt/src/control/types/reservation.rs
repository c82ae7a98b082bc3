//! How much room a set of routes needs, told before the routes themselves.

use std::collections::HashSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::value::Prefix;

/// How many routes are about to come: `route.reserve`. Refused, with the size that would do, when they do not fit
/// beside those that are there.
///
/// The engine's tables are flat for the first 24 bits of an address; behind them stand groups of 256 entries, one
/// for each next byte. IPv4 needs one level of groups, IPv6 up to thirteen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// IPv4 prefixes.
    #[serde(default)]
    pub routes4: u64,
    /// IPv6 prefixes.
    #[serde(default)]
    pub routes6: u64,
    /// Distinct IPv4 /24s that hold longer prefixes.
    #[serde(default)]
    pub deep4: u64,
    /// Distinct IPv6 /24s, /32s, /40s, … that hold longer prefixes.
    #[serde(default)]
    pub deep6: u64,
}

impl Reservation {
    /// What these prefixes need.
    pub fn of(prefixes: impl IntoIterator<Item = Prefix>) -> Reservation {
        let mut need = Reservation::default();
        let mut deep4 = HashSet::new();
        let mut deep6 = HashSet::new();
        for prefix in prefixes {
            match prefix.address() {
                IpAddr::V4(address) => {
                    need.routes4 += 1;
                    if prefix.length() > 24 {
                        deep4.insert(address.to_bits() >> 8);
                    }
                }
                IpAddr::V6(address) => {
                    need.routes6 += 1;
                    // The groups of the first levels are mostly there already: from the deepest one upwards.
                    for level in (24..prefix.length()).step_by(8).rev() {
                        if !deep6.insert((level, address.to_bits() >> (128 - u32::from(level)))) {
                            break;
                        }
                    }
                }
            }
        }
        Reservation { deep4: deep4.len() as u64, deep6: deep6.len() as u64, ..need }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(prefixes: &[&str]) -> [u64; 4] {
        let need = Reservation::of(prefixes.iter().map(|prefix| prefix.parse().unwrap()));
        [need.routes4, need.routes6, need.deep4, need.deep6]
    }

    #[test]
    fn groups_are_counted_once() {
        assert_eq!(need(&[]), [0, 0, 0, 0]);
        assert_eq!(need(&["default", "10.0.0.0/8", "10.0.0.0/24"]), [3, 0, 0, 0]);
        assert_eq!(need(&["10.0.0.0/25", "10.0.0.128/25", "10.0.1.1/32"]), [3, 0, 2, 0]);
        assert_eq!(need(&["default6", "2001:d00::/24"]), [0, 2, 0, 0]);
        assert_eq!(need(&["2001:db8::/32"]), [0, 1, 0, 1]);
        // The /24 and the /32 are shared; each /48 lies in a /40 of its own.
        assert_eq!(need(&["2001:db8:100::/48", "2001:db8:200::/48"]), [0, 2, 0, 4]);
        assert_eq!(need(&["2001:db8::1/128"]), [0, 1, 0, 13]);
        assert_eq!(need(&["2001:db8::1/128", "2001:db8::2/127"]), [0, 2, 0, 13]);
    }
}

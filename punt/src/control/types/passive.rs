//! Passive punt, for what nothing else claimed: `passive.list`, `passive.set`, `passive.del`, `[[passive]]`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::sink::{Life, check_limit};
use crate::value::{Rate, is_station};

/// Which packets an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PassiveFamily {
    /// IPv4: `ip4.unclaimed`.
    Ip4,
    /// IPv6: `ip6.unclaimed`.
    Ip6,
    /// What is not IP: `l2.unclaimed`.
    Other,
}

impl PassiveFamily {
    /// All of them.
    pub const ALL: [PassiveFamily; 3] = [PassiveFamily::Ip4, PassiveFamily::Ip6, PassiveFamily::Other];

    /// The name an operator reads and writes.
    pub const fn name(self) -> &'static str {
        match self {
            PassiveFamily::Ip4 => "ip4",
            PassiveFamily::Ip6 => "ip6",
            PassiveFamily::Other => "other",
        }
    }
}

impl fmt::Display for PassiveFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is no family of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no family; write ip4, ip6 or other")]
pub struct UnknownFamily(String);

impl FromStr for PassiveFamily {
    type Err = UnknownFamily;

    fn from_str(text: &str) -> Result<PassiveFamily, UnknownFamily> {
        PassiveFamily::ALL
            .into_iter()
            .find(|family| family.name() == text)
            .ok_or_else(|| UnknownFamily(text.into()))
    }
}

/// Where what nothing claimed goes: `passive.set`, `[[passive]]`. Exactly one of `sink`, `redirect` and `drop`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassiveSet {
    /// Which packets.
    pub family: PassiveFamily,
    /// Received on this interface; without one on any that has no entry of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// To this sink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// Out of this interface, otherwise as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<String>,
    /// With `redirect`: to this next hop. Without it to the packet's own destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// Dropped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drop: bool,
    /// Packets per second; none of its own by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Packets that may come at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

impl PassiveSet {
    /// Whether it makes sense by itself; what sinks and interfaces there are is not looked at.
    ///
    /// # Errors
    /// One sentence that begins with the family.
    pub fn check(&self) -> Result<(), String> {
        let PassiveSet { family, sink, redirect, via, drop, rate, burst, .. } = self;
        match (sink, redirect, drop) {
            (Some(_), None, false) | (None, Some(_), false) | (None, None, true) => {}
            (None, None, false) => {
                return Err(format!("{family} goes nowhere; write one of sink, redirect, drop"));
            }
            _ => return Err(format!("{family} goes to several places; write one of sink, redirect, drop")),
        }
        if *drop && (rate.is_some() || burst.is_some()) {
            return Err(format!("{family} is dropped, whatever its rate; leave out rate and burst"));
        }
        if let Some(via) = via {
            if redirect.is_none() {
                return Err(format!(
                    "{family} has via {via} and no redirect; name the interface with redirect"
                ));
            }
            let fits = match family {
                PassiveFamily::Ip4 => via.is_ipv4(),
                PassiveFamily::Ip6 => via.is_ipv6(),
                PassiveFamily::Other => {
                    return Err(format!("{family} has no next hop, for it is not IP; leave out via {via}"));
                }
            };
            if !fits {
                return Err(format!("{family} cannot go via {via}: the address families differ"));
            }
            if !is_station(*via) {
                return Err(format!(
                    "{family} cannot go via {via}: a next hop is a unicast address of a neighbour"
                ));
            }
        }
        check_limit(family, *rate, *burst)
    }

    /// What names it among all entries.
    pub fn key(&self) -> PassiveKey {
        PassiveKey { family: self.family, interface: self.interface.clone() }
    }
}

/// An entry to forget: `passive.del`. What it was for falls to the entry for all interfaces, or is dropped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassiveKey {
    /// Which packets.
    pub family: PassiveFamily,
    /// The entry of this interface; without one that of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

/// A row of `passive.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PassiveRow {
    /// Which packets.
    pub family: PassiveFamily,
    /// Received on this interface; none where it is for all.
    pub interface: Option<String>,
    /// To this sink.
    pub sink: Option<String>,
    /// Out of this interface.
    pub redirect: Option<String>,
    /// To this next hop.
    pub via: Option<IpAddr>,
    /// Dropped.
    pub drop: bool,
    /// Packets per second; none if it has no limit of its own.
    pub rate: Option<Rate>,
    /// Packets that may come at once.
    pub burst: Option<u32>,
    /// Its policer in words, if one was set and rate and burst do not say all of it.
    #[serde(default)]
    pub policer: Option<String>,
    /// How long it lives.
    #[serde(default)]
    pub life: Life,
    /// What became of its packets.
    #[serde(flatten)]
    pub counters: PassiveCounters,
}

/// What became of the packets of one entry: `packets = refused + hits + misses`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PassiveCounters {
    /// Packets that nothing else claimed.
    pub packets: u64,
    /// Over its rate.
    pub refused: u64,
    /// Sent where they are to go; for `drop`, dropped.
    pub hits: u64,
    /// Not sent: the neighbour is not resolved, or the interface is down.
    pub misses: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passive(json: &str) -> Result<PassiveSet, String> {
        let passive: PassiveSet = serde_json::from_str(json).map_err(|error| error.to_string())?;
        passive.check().map(|()| passive)
    }

    #[test]
    fn what_nothing_claimed_goes_to_one_place() {
        for json in [
            r#"{"family":"ip4","interface":"wan","sink":"slow-path","rate":1000}"#,
            r#"{"family":"ip6","redirect":"lan","via":"fd00::2"}"#,
            r#"{"family":"other","redirect":"lan"}"#,
            r#"{"family":"ip4","drop":true}"#,
        ] {
            assert_eq!(serde_json::to_string(&passive(json).unwrap()).unwrap(), json);
        }
        for (json, fault) in [
            (r#"{"family":"ip4"}"#, "ip4 goes nowhere; write one of sink, redirect, drop"),
            (
                r#"{"family":"ip4","sink":"s","drop":true}"#,
                "ip4 goes to several places; write one of sink, redirect, drop",
            ),
            (
                r#"{"family":"ip4","drop":true,"rate":5}"#,
                "ip4 is dropped, whatever its rate; leave out rate and burst",
            ),
            (
                r#"{"family":"ip4","sink":"s","via":"10.0.0.2"}"#,
                "ip4 has via 10.0.0.2 and no redirect; name the interface with redirect",
            ),
            (
                r#"{"family":"ip4","redirect":"lan","via":"fd00::2"}"#,
                "ip4 cannot go via fd00::2: the address families differ",
            ),
            (
                r#"{"family":"other","redirect":"lan","via":"10.0.0.2"}"#,
                "other has no next hop, for it is not IP; leave out via 10.0.0.2",
            ),
            (
                r#"{"family":"ip4","redirect":"lan","via":"224.0.0.1"}"#,
                "ip4 cannot go via 224.0.0.1: a next hop is a unicast address of a neighbour",
            ),
        ] {
            assert_eq!(passive(json).unwrap_err(), fault);
        }
        assert_eq!(
            "ipv4".parse::<PassiveFamily>().unwrap_err().to_string(),
            "\"ipv4\" is no family; write ip4, ip6 or other"
        );
    }
}

//! Registrations: `register`, `unregister`, `registration.list`, `[[register]]`.

use serde::{Deserialize, Serialize};

use super::sink::{Life, check_limit};
use crate::matching::{Family, Match};
use crate::value::{Prefix, Rate};

/// Packets that are to go to a sink: `register`, `[[register]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// Which packets.
    pub r#match: Match,
    /// Where to.
    pub sink: String,
    /// Packets per second; none of its own by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Packets that may come at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Received on this interface only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// From these sources only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Prefix>,
    /// Bytes of each frame; all by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snaplen: Option<u32>,
    /// Nobody else may have them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclusive: bool,
    /// How long it lives; *operator* by default.
    #[serde(default, skip_serializing_if = "Life::is_operator")]
    pub life: Life,
}

impl Register {
    /// Whether it makes sense by itself; what sinks, interfaces and reasons there are is not looked at.
    ///
    /// # Errors
    /// One sentence that begins with the match.
    pub fn check(&self) -> Result<(), String> {
        let wanted = &self.r#match;
        if let Some(source) = self.source {
            let family = if source.is_ipv4() { Family::Ip4 } else { Family::Ip6 };
            if matches!(wanted, Match::Ethertype(_) | Match::Llc(_) | Match::Mac(_)) {
                return Err(format!("{wanted} has no source address; leave out source {source}"));
            }
            if family_of(wanted).is_some_and(|only| only != family) {
                return Err(format!("{wanted} never comes from {source}: the address families differ"));
            }
        }
        if self.snaplen == Some(0) {
            return Err(format!("{wanted} has snaplen 0; write how many bytes of a frame are wanted"));
        }
        check_limit(wanted, self.rate, self.burst)
    }
}

/// The family of all packets that a match can see, if they are of one. Of reasons, the name tells.
fn family_of(wanted: &Match) -> Option<Family> {
    let Match::Reason(pattern) = wanted else { return wanted.family() };
    let of = |family: &str| {
        [format!("{family}."), format!("drop.{family}-")].iter().any(|start| pattern.starts_with(start))
    };
    match (of("ip4"), of("ip6")) {
        (true, _) => Some(Family::Ip4),
        (_, true) => Some(Family::Ip6),
        _ => None,
    }
}

/// The answer to `register`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterAnswer {
    /// What `unregister` takes; never used again in this run of the engine.
    pub id: u32,
    /// What `session.resume` takes; none if it outlives the connection anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// A registration to end: `unregister`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unregister {
    /// From the answer to `register`.
    pub id: u32,
}

/// A row of `registration.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegistrationRow {
    /// Never used again in this run of the engine.
    pub id: u32,
    /// Which packets.
    pub r#match: Match,
    /// Where to.
    pub sink: String,
    /// How long it lives.
    pub life: Life,
    /// The reason under which its packets are counted; a pattern where there may be several.
    #[serde(default)]
    pub reason: String,
    /// Packets per second; none if it has no limit of its own.
    pub rate: Option<Rate>,
    /// Packets that may come at once.
    pub burst: Option<u32>,
    /// Received on this interface only.
    pub interface: Option<String>,
    /// From these sources only.
    pub source: Option<Prefix>,
    /// Bytes of each frame; all if there is none.
    pub snaplen: Option<u32>,
    /// Nobody else may have them.
    pub exclusive: bool,
    /// Who made it.
    pub owner: String,
    /// Whether its client is away and may come back for it.
    #[serde(default)]
    pub suspended: bool,
    /// What became of its packets.
    #[serde(flatten)]
    pub counters: RegistrationCounters,
}

/// What became of the packets of one registration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegistrationCounters {
    /// Packets for which it is the most specific one of its sink.
    pub packets: u64,
    /// Of these, packets over its rate.
    pub refused: u64,
    /// Packets over its sink's rate.
    pub refused_sink: u64,
    /// No room in the sink's ring.
    pub ring_full: u64,
    /// Lost on the way out of the ring.
    pub errors: u64,
    /// Handed over.
    pub delivered: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(json: &str) -> Result<Register, String> {
        let register: Register = serde_json::from_str(json).map_err(|error| error.to_string())?;
        register.check().map(|()| register)
    }

    #[test]
    fn fields_are_named_as_the_flags() {
        let json = r#"{"match":"udp:3784","sink":"bfdd","rate":20000,"burst":8000,"interface":"wan","source":"10.0.1.0/24","snaplen":128,"exclusive":true,"life":"session"}"#;
        assert_eq!(serde_json::to_string(&register(json).unwrap()).unwrap(), json);
        let least = r#"{"match":"reason:ip4.*","sink":"s"}"#;
        assert_eq!(serde_json::to_string(&register(least).unwrap()).unwrap(), least);
        let toml: Register = toml::from_str("match = 'udp:1'\nsink = 's'\nrate = 'unlimited'").unwrap();
        assert_eq!(toml.rate, Some(Rate::Unlimited));
    }

    #[test]
    fn what_makes_no_sense_is_told_why() {
        for (fields, fault) in [
            (
                r#""match":"llc:0xfe","source":"10.0.0.0/8""#,
                "llc:0xfe has no source address; leave out source 10.0.0.0/8",
            ),
            (
                r#""match":"udp6:5","source":"10.0.0.0/8""#,
                "udp6:5 never comes from 10.0.0.0/8: the address families differ",
            ),
            (
                r#""match":"reason:ip6.no-route","source":"10.0.0.0/8""#,
                "reason:ip6.no-route never comes from 10.0.0.0/8: the address families differ",
            ),
            (
                r#""match":"reason:drop.ip4-input.*","source":"fd00::/8""#,
                "reason:drop.ip4-input.* never comes from fd00::/8: the address families differ",
            ),
            (r#""match":"udp:5","rate":0"#, "udp:5 has rate 0, with which nothing passes; write at least 1"),
            (
                r#""match":"icmp:8","source":"fd00::/8""#,
                "icmp:8 never comes from fd00::/8: the address families differ",
            ),
            (
                r#""match":"udp:5","snaplen":0"#,
                "udp:5 has snaplen 0; write how many bytes of a frame are wanted",
            ),
            (r#""match":"udp:5","burst":5"#, "udp:5 has burst 5 and no rate; add rate"),
            (
                r#""match":"udp:5","rate":5,"burst":0"#,
                "udp:5 has burst 0, with which nothing passes; write at least 1",
            ),
        ] {
            assert_eq!(register(&format!(r#"{{"sink":"s",{fields}}}"#)).unwrap_err(), fault);
        }
        let error = register(r#"{"match":"ethertype:0x0800","sink":"s"}"#).unwrap_err();
        assert!(error.starts_with("\"ethertype:0x0800\" would see all IPv4 packets"), "{error}");
    }
}

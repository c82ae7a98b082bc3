//! Policers: `policer.list`, `policer.set`, `[[policer]]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::passive::PassiveFamily;
use crate::class::Class;
use crate::value::{Rate, digits, serde_as_text};

/// What a policer is to be from now on: `policer.set`, `[[policer]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicerSet {
    /// Whose policer.
    pub what: Policed,
    /// How it counts.
    #[serde(rename = "type")]
    pub kind: PolicerKind,
    /// What is committed.
    pub rate: PolicerRate,
    /// What may come at once within that.
    pub burst: PolicerBurst,
    /// RFC 2698: the peak rate. RFC 4115: the excess rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<PolicerRate>,
    /// RFC 2697, RFC 4115: the excess burst. RFC 2698: the peak burst.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excess: Option<PolicerBurst>,
    /// What becomes of yellow packets; they pass by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yellow: Option<PolicerAction>,
    /// What becomes of red packets; they are dropped by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub red: Option<PolicerAction>,
}

impl PolicerSet {
    /// Whether it makes sense by itself.
    ///
    /// # Errors
    /// One sentence that begins with whose policer it is.
    pub fn check(&self) -> Result<(), String> {
        let PolicerSet { what, kind, rate, burst, peak, excess, yellow, .. } = self;
        let wants_peak = matches!(kind, PolicerKind::Rfc2698 | PolicerKind::Rfc4115);
        let wants_excess = *kind != PolicerKind::Single;
        match (wants_peak, peak) {
            (true, None) => return Err(format!("{what} lacks peak, a rate that {kind} wants; add it")),
            (false, Some(_)) => {
                return Err(format!("{what} has peak, which {kind} does not know; leave it out"));
            }
            _ => {}
        }
        match (wants_excess, excess) {
            (true, None) => return Err(format!("{what} lacks excess, a burst that {kind} wants; add it")),
            (false, Some(_)) => {
                return Err(format!("{what} has excess, which {kind} does not know; leave it out"));
            }
            _ => {}
        }
        if yellow.is_some() && *kind == PolicerKind::Single {
            return Err(format!(
                "{what} has yellow, and a single policer knows green and red only; leave it out"
            ));
        }
        let rates = [Some(*rate), *peak].into_iter().flatten().filter(|rate| !rate.rate.is_unlimited());
        let bursts = [Some(*burst), *excess].into_iter().flatten();
        let units: Vec<Unit> = rates.map(|rate| rate.unit).chain(bursts.map(|burst| burst.unit)).collect();
        if units.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(format!(
                "{what} mixes packets and bytes; write rates in pps with bursts in p, or in bps with bursts in B"
            ));
        }
        let above = |rate: Rate, peak: Rate| match (rate, peak) {
            (_, Rate::Unlimited) => false,
            (Rate::Unlimited, _) => true,
            (Rate::PerSecond(rate), Rate::PerSecond(peak)) => rate > peak,
        };
        match peak {
            Some(peak) if *kind == PolicerKind::Rfc2698 && above(rate.rate, peak.rate) => Err(format!(
                "{what} has the rate {rate} above its peak {peak}; RFC 2698 wants it at most that"
            )),
            _ => Ok(()),
        }
    }
}

/// A row of `policer.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicerRow {
    /// Whose policer.
    pub what: Policed,
    /// How it counts.
    #[serde(rename = "type")]
    pub kind: PolicerKind,
    /// Packets, or bits in rates and bytes in bursts.
    pub unit: Unit,
    /// What is committed, per second.
    pub rate: Rate,
    /// What may come at once within that.
    pub burst: u64,
    /// RFC 2698: the peak rate. RFC 4115: the excess rate.
    #[serde(default)]
    pub peak: Option<Rate>,
    /// RFC 2697, RFC 4115: the excess burst. RFC 2698: the peak burst.
    #[serde(default)]
    pub excess: Option<u64>,
    /// What becomes of yellow packets.
    #[serde(default)]
    pub yellow: Option<PolicerAction>,
    /// What becomes of red packets.
    pub red: PolicerAction,
    /// Packets that conformed.
    #[serde(default)]
    pub green_packets: u64,
    /// Packets above the committed rate and within the excess.
    #[serde(default)]
    pub yellow_packets: u64,
    /// Packets above both.
    #[serde(default)]
    pub red_packets: u64,
}

/// How a policer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicerKind {
    /// One rate, one burst: green or red.
    Single,
    /// One rate, two bursts (RFC 2697).
    Rfc2697,
    /// Two rates, the peak above the committed one (RFC 2698).
    Rfc2698,
    /// Two rates, the excess beside the committed one (RFC 4115).
    Rfc4115,
}

impl PolicerKind {
    /// All of them.
    pub const ALL: [PolicerKind; 4] =
        [PolicerKind::Single, PolicerKind::Rfc2697, PolicerKind::Rfc2698, PolicerKind::Rfc4115];

    /// The name an operator reads and writes.
    pub const fn name(self) -> &'static str {
        match self {
            PolicerKind::Single => "single",
            PolicerKind::Rfc2697 => "rfc2697",
            PolicerKind::Rfc2698 => "rfc2698",
            PolicerKind::Rfc4115 => "rfc4115",
        }
    }
}

impl fmt::Display for PolicerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a policer counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Packets.
    #[default]
    Packets,
    /// Bytes of the frame as received, without FCS; rates are in bits per second.
    Bytes,
}

/// A rate with its unit: `1000`, `1000pps`, `8000000bps`, `unlimited`. A number alone is one of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicerRate {
    /// Packets or bits per second.
    pub rate: Rate,
    /// Which of both; packets where the rate is unlimited.
    pub unit: Unit,
}

impl fmt::Display for PolicerRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.rate, self.unit) {
            (Rate::Unlimited, _) => f.pad("unlimited"),
            (Rate::PerSecond(rate), Unit::Packets) => f.pad(&format!("{rate}pps")),
            (Rate::PerSecond(rate), Unit::Bytes) => f.pad(&format!("{rate}bps")),
        }
    }
}

/// What was read is no policer's rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no policer's rate; write packets or bits per second as 1000pps or 8000000bps, or unlimited"
)]
pub struct ParsePolicerRateError(String);

impl FromStr for PolicerRate {
    type Err = ParsePolicerRateError;

    fn from_str(text: &str) -> Result<PolicerRate, ParsePolicerRateError> {
        let (number, unit) = match text.strip_suffix("bps") {
            Some(number) => (number, Unit::Bytes),
            None => (text.strip_suffix("pps").unwrap_or(text), Unit::Packets),
        };
        match number.parse() {
            Ok(Rate::Unlimited) if number != text => Err(ParsePolicerRateError(text.into())),
            Ok(rate) => Ok(PolicerRate { rate, unit }),
            Err(_) => Err(ParsePolicerRateError(text.into())),
        }
    }
}

/// A burst with its unit: `300`, `300p`, `15000B`. A number alone is one of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicerBurst {
    /// Packets or bytes.
    pub amount: u64,
    /// Which of both.
    pub unit: Unit,
}

impl fmt::Display for PolicerBurst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = if self.unit == Unit::Packets { 'p' } else { 'B' };
        f.pad(&format!("{}{letter}", self.amount))
    }
}

/// What was read is no policer's burst.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no policer's burst; write packets or bytes as 300p or 15000B, at least 1")]
pub struct ParsePolicerBurstError(String);

impl FromStr for PolicerBurst {
    type Err = ParsePolicerBurstError;

    fn from_str(text: &str) -> Result<PolicerBurst, ParsePolicerBurstError> {
        let (number, unit) = match text.strip_suffix('B') {
            Some(number) => (number, Unit::Bytes),
            None => (text.strip_suffix('p').unwrap_or(text), Unit::Packets),
        };
        let amount = digits(number).filter(|amount| *amount > 0);
        let amount = amount.ok_or_else(|| ParsePolicerBurstError(text.into()))?;
        Ok(PolicerBurst { amount, unit })
    }
}

/// Serde as text, and from a number alone.
macro_rules! serde_as_text_or_number {
    ($type:ty, $what:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                struct Visitor;

                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }

                    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }
                }

                deserializer.deserialize_any(Visitor)
            }
        }
    };
}

serde_as_text_or_number!(PolicerRate, "a rate as 1000pps or 8000000bps");
serde_as_text_or_number!(PolicerBurst, "a burst as 300p or 15000B");

/// What becomes of a packet that does not conform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicerAction {
    /// It goes on as if it conformed.
    Pass,
    /// It is refused.
    Drop,
    /// It goes on in that class, where that is a lower one than its own.
    Demote(Class),
}

impl fmt::Display for PolicerAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PolicerAction::Pass => f.pad("pass"),
            PolicerAction::Drop => f.pad("drop"),
            PolicerAction::Demote(class) => f.pad(&format!("demote:{class}")),
        }
    }
}

/// What was read is no policer's action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePolicerActionError {
    /// There is no such one.
    #[error("{0:?} is no policer's action; write pass, drop or demote:CLASS")]
    Unknown(String),
    /// There is no such class.
    #[error(transparent)]
    Class(#[from] crate::class::UnknownClass),
}

impl FromStr for PolicerAction {
    type Err = ParsePolicerActionError;

    fn from_str(text: &str) -> Result<PolicerAction, ParsePolicerActionError> {
        match (text, text.strip_prefix("demote:")) {
            ("pass", _) => Ok(PolicerAction::Pass),
            ("drop", _) => Ok(PolicerAction::Drop),
            (_, Some(class)) => Ok(PolicerAction::Demote(class.parse()?)),
            _ => Err(ParsePolicerActionError::Unknown(text.into())),
        }
    }
}

serde_as_text!(PolicerAction);

/// What has a policer: `reason:NAME`, `sink:NAME`, `registration:ID`, `passive:FAMILY` or `passive:FAMILY@INTERFACE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policed {
    /// A reason, by its name.
    Reason(String),
    /// A sink, by its name.
    Sink(String),
    /// A registration, by its id.
    Registration(u32),
    /// An entry of the passive punt.
    Passive {
        /// Of which packets.
        family: PassiveFamily,
        /// From which interface; without one from all.
        interface: Option<String>,
    },
}

impl fmt::Display for Policed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Policed::Reason(name) => format!("reason:{name}"),
            Policed::Sink(name) => format!("sink:{name}"),
            Policed::Registration(id) => format!("registration:{id}"),
            Policed::Passive { family, interface: None } => format!("passive:{family}"),
            Policed::Passive { family, interface: Some(name) } => format!("passive:{family}@{name}"),
        };
        f.pad(&text)
    }
}

/// What was read names nothing that has a policer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} has no policer; write reason:NAME, sink:NAME, registration:ID, passive:ip4 or passive:ip4@INTERFACE"
)]
pub struct ParsePolicedError(String);

impl FromStr for Policed {
    type Err = ParsePolicedError;

    fn from_str(text: &str) -> Result<Policed, ParsePolicedError> {
        let error = || ParsePolicedError(text.into());
        match text.split_once(':') {
            Some((_, "")) | None => Err(error()),
            Some(("reason", name)) => Ok(Policed::Reason(name.into())),
            Some(("sink", name)) => Ok(Policed::Sink(name.into())),
            Some(("registration", id)) => {
                let id = digits(id).and_then(|id| u32::try_from(id).ok());
                id.map(Policed::Registration).ok_or_else(error)
            }
            Some(("passive", entry)) => {
                let (family, interface) = entry.split_once('@').map_or((entry, None), |(f, i)| (f, Some(i)));
                let family = family.parse().map_err(|_| error())?;
                match interface {
                    Some("") => Err(error()),
                    _ => Ok(Policed::Passive { family, interface: interface.map(String::from) }),
                }
            }
            Some(_) => Err(error()),
        }
    }
}

serde_as_text!(Policed);

#[cfg(test)]
mod tests {
    use super::*;

    fn policer(json: &str) -> Result<PolicerSet, String> {
        let policer: PolicerSet = serde_json::from_str(json).map_err(|error| error.to_string())?;
        policer.check().map(|()| policer)
    }

    #[test]
    fn texts_read_back() {
        for text in ["reason:l2.lacp", "sink:bfdd", "registration:7", "passive:ip4", "passive:other@lan.100"]
        {
            assert_eq!(text.parse::<Policed>().unwrap().to_string(), text);
        }
        for text in ["1000pps", "8000000bps", "unlimited"] {
            assert_eq!(text.parse::<PolicerRate>().unwrap().to_string(), text);
        }
        for text in ["300p", "15000B"] {
            assert_eq!(text.parse::<PolicerBurst>().unwrap().to_string(), text);
        }
        for text in ["pass", "drop", "demote:miss"] {
            assert_eq!(text.parse::<PolicerAction>().unwrap().to_string(), text);
        }
        assert_eq!("7".parse::<PolicerRate>().unwrap().to_string(), "7pps");
        assert_eq!("7".parse::<PolicerBurst>().unwrap().to_string(), "7p");
        for text in ["reason:", "l2.lacp", "registration:x", "passive:ip5", "passive:ip4@", "class:link"] {
            assert!(text.parse::<Policed>().is_err(), "{text}");
        }
        for text in ["", "pps", "0pps", "10Mbps", "unlimitedpps", "-1"] {
            assert!(text.parse::<PolicerRate>().is_err(), "{text}");
        }
        for text in ["", "p", "0B", "10K", "-1"] {
            assert!(text.parse::<PolicerBurst>().is_err(), "{text}");
        }
        assert_eq!(
            "demote:high".parse::<PolicerAction>().unwrap_err().to_string(),
            "\"high\" is no class; write one of link, route, neigh, mgmt, mcast, except, miss, sample"
        );
    }

    #[test]
    fn a_policer_says_what_its_rfc_wants() {
        let single =
            policer(r#"{"what":"reason:l2.lacp","type":"single","rate":1000,"burst":"300p"}"#).unwrap();
        assert_eq!(
            serde_json::to_string(&single).unwrap(),
            r#"{"what":"reason:l2.lacp","type":"single","rate":"1000pps","burst":"300p"}"#
        );
        for (fields, fault) in [
            (
                r#""type":"single","rate":1,"burst":1,"peak":2"#,
                "sink:s has peak, which single does not know; leave it out",
            ),
            (
                r#""type":"single","rate":1,"burst":1,"excess":2"#,
                "sink:s has excess, which single does not know; leave it out",
            ),
            (
                r#""type":"single","rate":1,"burst":1,"yellow":"pass""#,
                "sink:s has yellow, and a single policer knows green and red only; leave it out",
            ),
            (
                r#""type":"rfc2697","rate":1,"burst":1"#,
                "sink:s lacks excess, a burst that rfc2697 wants; add it",
            ),
            (
                r#""type":"rfc4115","rate":1,"burst":1,"excess":1"#,
                "sink:s lacks peak, a rate that rfc4115 wants; add it",
            ),
            (
                r#""type":"rfc2697","rate":"1bps","burst":"1B","excess":1"#,
                "sink:s mixes packets and bytes; write rates in pps with bursts in p, or in bps with bursts in B",
            ),
            (
                r#""type":"rfc2698","rate":3,"burst":1,"peak":2,"excess":1"#,
                "sink:s has the rate 3pps above its peak 2pps; RFC 2698 wants it at most that",
            ),
        ] {
            assert_eq!(policer(&format!(r#"{{"what":"sink:s",{fields}}}"#)).unwrap_err(), fault);
        }
        policer(r#"{"what":"sink:s","type":"single","rate":"unlimited","burst":"1500B"}"#).unwrap();
        policer(r#"{"what":"sink:s","type":"rfc4115","rate":3,"burst":1,"peak":2,"excess":1,"yellow":"demote:miss","red":"drop"}"#).unwrap();
    }
}

//! Policers: `policer.list`, `policer.set`, `[[policer]]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::passive::PassiveFamily;
use crate::policer::{Config, ConfigError, Kind, ParseRateError, Rate, Unit, Verdict};
use crate::value::{digits, serde_as_text};

/// What a policer is to be from now on: `policer.set`, `[[policer]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicerSet {
    /// Whose policer.
    pub what: Policed,
    /// How it counts.
    #[serde(rename = "type")]
    pub kind: Kind,
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
    pub yellow: Option<Verdict>,
    /// What becomes of red packets; they are dropped by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub red: Option<Verdict>,
}

impl PolicerSet {
    /// Whether it makes sense by itself.
    ///
    /// # Errors
    /// One sentence that begins with whose policer it is.
    pub fn check(&self) -> Result<(), String> {
        self.config().map(drop)
    }

    /// As a policer has it: all figures in one unit.
    ///
    /// # Errors
    /// One sentence that begins with whose policer it is.
    pub fn config(&self) -> Result<Config, String> {
        let PolicerSet { what, kind, rate, burst, peak, excess, yellow, red } = self;
        let rates = [Some(*rate), *peak].into_iter().flatten().filter(|rate| !rate.rate.is_unlimited());
        let bursts = [Some(*burst), *excess].into_iter().flatten();
        let units = rates.map(|rate| rate.unit).chain(bursts.filter_map(|burst| burst.unit));
        let units: Vec<Unit> = units.collect();
        if units.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(format!(
                "{what} mixes packets and bytes; write rates in pps with bursts in p, or in bps with bursts in B"
            ));
        }
        if *kind == Kind::Single && yellow.is_some() {
            return Err(format!("{what}: {}", ConfigError::Needless(*kind, "--yellow")));
        }
        let config = Config {
            kind: *kind,
            unit: units.first().copied().unwrap_or_default(),
            rate: rate.rate,
            burst: burst.amount,
            peak: peak.map(|peak| peak.rate),
            excess: excess.map(|excess| excess.amount),
            yellow: yellow.unwrap_or(Verdict::Pass),
            red: red.unwrap_or(Verdict::Drop),
        };
        match config.check() {
            Ok(()) => Ok(config),
            Err(error) => Err(format!("{what}: {error}")),
        }
    }

    /// What an operator would write for a policer that is like this.
    pub fn of(what: Policed, config: &Config) -> PolicerSet {
        let Config { kind, unit, rate, burst, peak, excess, yellow, red } = *config;
        PolicerSet {
            what,
            kind,
            rate: PolicerRate { rate, unit },
            burst: PolicerBurst { amount: burst, unit: Some(unit) },
            peak: peak.map(|rate| PolicerRate { rate, unit }),
            excess: excess.map(|amount| PolicerBurst { amount, unit: Some(unit) }),
            yellow: Some(yellow).filter(|_| kind != Kind::Single),
            red: Some(red),
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
    pub kind: Kind,
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
    pub yellow: Option<Verdict>,
    /// What becomes of red packets.
    pub red: Verdict,
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
        match self.rate {
            Rate::Unlimited => f.pad("unlimited"),
            Rate::PerSecond(rate) => f.pad(&format!("{rate}{}", self.unit.of_rate())),
        }
    }
}

impl FromStr for PolicerRate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<PolicerRate, ParseRateError> {
        Unit::parse_rate(text).map(|(rate, unit)| PolicerRate { rate, unit })
    }
}

/// A burst with its unit: `300`, `300p`, `15000B`. A number alone has the unit of the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicerBurst {
    /// Packets or bytes.
    pub amount: u64,
    /// Which of both, where it was said.
    pub unit: Option<Unit>,
}

impl fmt::Display for PolicerBurst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}{}", self.amount, self.unit.map_or("", Unit::of_burst)))
    }
}

impl FromStr for PolicerBurst {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<PolicerBurst, ParseRateError> {
        Unit::parse_burst(text).map(|(amount, unit)| PolicerBurst { amount, unit })
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
        for text in ["300", "300p", "15000B"] {
            assert_eq!(text.parse::<PolicerBurst>().unwrap().to_string(), text);
        }
        assert_eq!("7".parse::<PolicerRate>().unwrap().to_string(), "7pps");
        for text in ["reason:", "l2.lacp", "registration:x", "passive:ip5", "passive:ip4@", "class:link"] {
            assert!(text.parse::<Policed>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_policer_says_what_its_rfc_wants() {
        let single =
            policer(r#"{"what":"reason:l2.lacp","type":"single","rate":1000,"burst":"300"}"#).unwrap();
        assert_eq!(
            serde_json::to_string(&single).unwrap(),
            r#"{"what":"reason:l2.lacp","type":"single","rate":"1000pps","burst":"300"}"#
        );
        for (fields, fault) in [
            (
                r#""type":"single","rate":1,"burst":1,"peak":2"#,
                "sink:s: a policer of type single has no --peak",
            ),
            (
                r#""type":"single","rate":1,"burst":1,"yellow":"drop""#,
                "sink:s: a policer of type single has no --yellow",
            ),
            (r#""type":"rfc2697","rate":1,"burst":1"#, "sink:s: a policer of type rfc2697 needs --excess"),
            (
                r#""type":"rfc2697","rate":"1bps","burst":"1B","excess":"1p""#,
                "sink:s mixes packets and bytes; write rates in pps with bursts in p, or in bps with bursts in B",
            ),
        ] {
            assert_eq!(policer(&format!(r#"{{"what":"sink:s",{fields}}}"#)).unwrap_err(), fault);
        }
        let bytes =
            policer(r#"{"what":"sink:s","type":"single","rate":"unlimited","burst":"1500B"}"#).unwrap();
        assert_eq!(bytes.config().unwrap().unit, Unit::Bits);
        let two = r#"{"what":"sink:s","type":"rfc4115","rate":"3bps","burst":"1B","peak":"2bps","excess":"1B","yellow":"demote:miss","red":"drop"}"#;
        let two = policer(two).unwrap();
        assert_eq!(PolicerSet::of(two.what.clone(), &two.config().unwrap()), two);
    }
}

//! Rates and bursts as an operator writes them.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How often something may happen: a number per second, or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rate {
    /// As often as it likes.
    Unlimited,
    /// So many packets (or bits) per second; 0 passes nothing.
    PerSecond(u64),
}

impl From<u32> for Rate {
    fn from(rate: u32) -> Rate {
        Rate::PerSecond(rate.into())
    }
}

/// A rate, and how much may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limit {
    /// Packets or bits per second.
    pub rate: Rate,
    /// Packets or bytes that may come at once; 0 passes nothing.
    pub burst: u64,
}

impl Limit {
    /// No limit at all.
    pub const UNLIMITED: Limit = Limit { rate: Rate::Unlimited, burst: 0 };

    /// `rate` per second in bursts of `burst`.
    pub const fn new(rate: u64, burst: u64) -> Limit {
        Limit { rate: Rate::PerSecond(rate), burst }
    }
}

/// What a policer counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Packets: rates in packets per second (`pps`), bursts in packets (`p`).
    #[default]
    Packets,
    /// Bytes of the frame as received, without FCS: rates in bits per second (`bps`), bursts in bytes (`B`).
    Bits,
}

impl Unit {
    /// The ending of a rate in this unit.
    pub const fn of_rate(self) -> &'static str {
        match self {
            Unit::Packets => "pps",
            Unit::Bits => "bps",
        }
    }

    /// The ending of a burst in this unit.
    pub const fn of_burst(self) -> &'static str {
        match self {
            Unit::Packets => "p",
            Unit::Bits => "B",
        }
    }

    /// Reads `1000pps`, `8000bps` or a plain number, which is taken as packets per second.
    ///
    /// # Errors
    /// When it is neither; the sentence says what would be.
    pub fn parse_rate(text: &str) -> Result<(Rate, Unit), ParseRateError> {
        let wrong = || ParseRateError::Rate(text.into());
        let (number, unit) = split(text, &[("pps", Unit::Packets), ("bps", Unit::Bits)]);
        let rate = match number {
            "unlimited" => Rate::Unlimited,
            digits => Rate::PerSecond(digits.parse().map_err(|_| wrong())?),
        };
        Ok((rate, unit.unwrap_or_default()))
    }

    /// Reads `64p`, `1500B` or a plain number, which has no unit of its own.
    ///
    /// # Errors
    /// When it is neither; the sentence says what would be.
    pub fn parse_burst(text: &str) -> Result<(u64, Option<Unit>), ParseRateError> {
        let (digits, unit) = split(text, &[("p", Unit::Packets), ("B", Unit::Bits)]);
        digits.parse().map(|burst| (burst, unit)).map_err(|_| ParseRateError::Burst(text.into()))
    }
}

/// The text without its ending, and what the ending stands for.
fn split<'a>(text: &'a str, endings: &[(&str, Unit)]) -> (&'a str, Option<Unit>) {
    for &(ending, unit) in endings {
        if let Some(number) = text.strip_suffix(ending) {
            return (number, Some(unit));
        }
    }
    (text, None)
}

/// What was written is no rate, or no burst.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseRateError {
    /// No rate.
    #[error(
        "{0:?} is no rate; write packets per second as 1000 or 1000pps, bits per second as 8000bps, or unlimited"
    )]
    Rate(String),
    /// A rate, but one that only packets can have.
    #[error("{0:?} is no rate in packets per second; write a number such as 1000, or unlimited")]
    Packets(String),
    /// No burst.
    #[error("{0:?} is no burst; write packets as 64 or 64p, or bytes as 1500B")]
    Burst(String),
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::Unlimited => f.pad("unlimited"),
            Rate::PerSecond(rate) => rate.fmt(f),
        }
    }
}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Rate, ParseRateError> {
        match text {
            "unlimited" => Ok(Rate::Unlimited),
            _ => text.parse().map(Rate::PerSecond).map_err(|_| ParseRateError::Packets(text.into())),
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Rate::Unlimited => serializer.serialize_str("unlimited"),
            Rate::PerSecond(rate) => serializer.serialize_u64(*rate),
        }
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rate, D::Error> {
        deserializer.deserialize_any(RateVisitor)
    }
}

struct RateVisitor;

impl Visitor<'_> for RateVisitor {
    type Value = Rate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number per second, or \"unlimited\"")
    }

    fn visit_u64<E: de::Error>(self, rate: u64) -> Result<Rate, E> {
        Ok(Rate::PerSecond(rate))
    }

    fn visit_i64<E: de::Error>(self, rate: i64) -> Result<Rate, E> {
        u64::try_from(rate)
            .map(Rate::PerSecond)
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(rate), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Rate, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_reads_as_it_is_written() {
        for (text, rate) in [("1000", Rate::PerSecond(1000)), ("unlimited", Rate::Unlimited)] {
            assert_eq!(text.parse(), Ok(rate));
            assert_eq!(rate.to_string(), text);
            let json = serde_json::to_string(&rate).unwrap();
            assert_eq!(serde_json::from_str::<Rate>(&json).unwrap(), rate);
        }
        assert_eq!(serde_json::to_string(&Rate::PerSecond(1000)).unwrap(), "1000");
        assert_eq!(serde_json::to_string(&Rate::Unlimited).unwrap(), "\"unlimited\"");
    }

    #[test]
    fn toml_and_json_take_the_same_limits() {
        let limit = Limit::new(600, 300);
        assert_eq!(toml::from_str::<Limit>("rate = 600\nburst = 300").unwrap(), limit);
        assert_eq!(serde_json::from_str::<Limit>(r#"{"rate":600,"burst":300}"#).unwrap(), limit);
        let lifted: Limit = toml::from_str("rate = \"unlimited\"\nburst = 0").unwrap();
        assert_eq!(lifted, Limit::UNLIMITED);
    }

    #[test]
    fn units_stand_behind_the_number() {
        assert_eq!(Unit::parse_rate("1000pps"), Ok((Rate::PerSecond(1000), Unit::Packets)));
        assert_eq!(Unit::parse_rate("8000bps"), Ok((Rate::PerSecond(8000), Unit::Bits)));
        assert_eq!(Unit::parse_rate("250"), Ok((Rate::PerSecond(250), Unit::Packets)));
        assert_eq!(Unit::parse_burst("64p"), Ok((64, Some(Unit::Packets))));
        assert_eq!(Unit::parse_burst("1500B"), Ok((1500, Some(Unit::Bits))));
        assert_eq!(Unit::parse_burst("64"), Ok((64, None)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = "fast".parse::<Rate>().unwrap_err().to_string();
        assert_eq!(
            error,
            "\"fast\" is no rate in packets per second; write a number such as 1000, or unlimited"
        );
        assert!("-1".parse::<Rate>().is_err() && "1000pps".parse::<Rate>().is_err());
        let error = Unit::parse_rate("10kbps").unwrap_err().to_string();
        assert!(error.starts_with("\"10kbps\" is no rate;"), "{error}");
        let error = Unit::parse_burst("64pp").unwrap_err().to_string();
        assert!(error.starts_with("\"64pp\" is no burst;"), "{error}");
        let error = serde_json::from_str::<Rate>("-3").unwrap_err().to_string();
        assert!(error.contains("a number per second, or \"unlimited\""), "{error}");
    }
}

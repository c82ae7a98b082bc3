//! Limits: how much may pass in a second.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The greatest rate that can be told from `unlimited`.
pub const MAX_RATE: u64 = 1_000_000_000_000;

/// How many a second: a number, or `unlimited`.
///
/// In JSON and TOML a number is a number; `unlimited` is a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rate {
    /// As many as come.
    Unlimited,
    /// So many a second, from 1 to [`MAX_RATE`].
    PerSecond(u64),
}

impl Rate {
    /// The number, if there is one.
    pub const fn per_second(self) -> Option<u64> {
        match self {
            Rate::Unlimited => None,
            Rate::PerSecond(rate) => Some(rate),
        }
    }

    /// Whether everything passes.
    pub const fn is_unlimited(self) -> bool {
        matches!(self, Rate::Unlimited)
    }
}

impl From<u32> for Rate {
    fn from(rate: u32) -> Rate {
        Rate::PerSecond(rate.into())
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::Unlimited => f.pad("unlimited"),
            Rate::PerSecond(rate) => rate.fmt(f),
        }
    }
}

/// What was read is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rate; write a number from 1 to {MAX_RATE}, or unlimited")]
pub struct ParseRateError(String);

impl TryFrom<u64> for Rate {
    type Error = ParseRateError;

    fn try_from(rate: u64) -> Result<Rate, ParseRateError> {
        match rate {
            1..=MAX_RATE => Ok(Rate::PerSecond(rate)),
            _ => Err(ParseRateError(rate.to_string())),
        }
    }
}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Rate, ParseRateError> {
        match text {
            "unlimited" => Ok(Rate::Unlimited),
            _ => digits(text)
                .and_then(|rate| Rate::try_from(rate).ok())
                .ok_or_else(|| ParseRateError(text.into())),
        }
    }
}

/// A number that is nothing but digits: no sign, no blank.
pub(crate) fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|c| c.is_ascii_digit()) { text.parse().ok() } else { None }
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
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Rate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number from 1 to {MAX_RATE}, or \"unlimited\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Rate, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, rate: u64) -> Result<Rate, E> {
                Rate::try_from(rate).map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, rate: i64) -> Result<Rate, E> {
                let rate = u64::try_from(rate).map_err(|_| E::custom(ParseRateError(rate.to_string())))?;
                self.visit_u64(rate)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_number_and_unlimited_a_word() {
        for (text, json, rate) in [
            ("600", "600", Rate::PerSecond(600)),
            ("unlimited", "\"unlimited\"", Rate::Unlimited),
            ("1000000000000", "1000000000000", Rate::PerSecond(MAX_RATE)),
        ] {
            assert_eq!((text.parse(), rate.to_string()), (Ok(rate), text.to_string()));
            assert_eq!(serde_json::to_string(&rate).unwrap(), json);
            assert_eq!(serde_json::from_str::<Rate>(json).unwrap(), rate);
        }
        assert_eq!(serde_json::from_str::<Rate>("\"600\"").unwrap(), Rate::PerSecond(600));
    }

    #[test]
    fn says_what_is_wrong() {
        for text in ["0", "-1", "+1", "1e3", "", "Unlimited", "1000000000001", "99999999999999999999999"] {
            let right = format!("{text:?} is no rate; write a number from 1 to 1000000000000, or unlimited");
            assert_eq!(text.parse::<Rate>().unwrap_err().to_string(), right);
        }
        for json in ["0", "-1", "\"fast\"", "1.5", "true", "null"] {
            assert!(serde_json::from_str::<Rate>(json).is_err(), "{json}");
        }
    }
}

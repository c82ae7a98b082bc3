//! What an operator asks of a policer, and what is wrong with it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::rate::{Rate, Unit};
use crate::class::{Class, UnknownClass};
use crate::value::serde_as_text;

/// How a policer tells who conforms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One token bucket: green or red.
    #[default]
    Single,
    /// RFC 2697: one rate, what overflows the first bucket fills the second.
    Rfc2697,
    /// RFC 2698: two rates, of which the peak counts all that the committed one counts.
    Rfc2698,
    /// RFC 4115: two rates that do not touch each other.
    Rfc4115,
}

/// What a meter says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Colour {
    /// Within the committed rate.
    Green,
    /// Beyond it, within the excess.
    Yellow,
    /// Beyond both.
    Red,
}

/// What is done with a packet of some colour; `pass`, `drop` or `demote:CLASS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It goes on in a lower class.
    Demote(Class),
    /// It is refused.
    Drop,
}

/// What was written is no action of a policer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseVerdictError {
    /// No such word.
    #[error("{0:?} is no action of a policer; write pass, drop or demote:CLASS")]
    Word(String),
    /// The class after `demote:`.
    #[error(transparent)]
    Class(#[from] UnknownClass),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Pass => f.pad("pass"),
            Verdict::Drop => f.pad("drop"),
            Verdict::Demote(class) => write!(f, "demote:{class}"),
        }
    }
}

impl FromStr for Verdict {
    type Err = ParseVerdictError;

    fn from_str(text: &str) -> Result<Verdict, ParseVerdictError> {
        match (text, text.strip_prefix("demote:")) {
            ("pass", _) => Ok(Verdict::Pass),
            ("drop", _) => Ok(Verdict::Drop),
            (_, Some(class)) => Ok(Verdict::Demote(class.parse()?)),
            _ => Err(ParseVerdictError::Word(text.into())),
        }
    }
}

serde_as_text!(Verdict);

/// All that can be said of a policer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// How it tells who conforms.
    #[serde(rename = "type", default)]
    pub kind: Kind,
    /// What it counts.
    #[serde(default)]
    pub unit: Unit,
    /// The committed rate: packets or bits per second.
    pub rate: Rate,
    /// The committed burst: packets or bytes.
    pub burst: u64,
    /// The peak rate of RFC 2698, the excess rate of RFC 4115: packets or bits per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<Rate>,
    /// The excess burst of RFC 2697 and RFC 4115, the peak burst of RFC 2698: packets or bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excess: Option<u64>,
    /// What is done with yellow packets.
    #[serde(default = "pass")]
    pub yellow: Verdict,
    /// What is done with red packets.
    #[serde(default = "drop_it")]
    pub red: Verdict,
}

fn pass() -> Verdict {
    Verdict::Pass
}

fn drop_it() -> Verdict {
    Verdict::Drop
}

/// What keeps a policer from being made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A figure that the type has to have.
    #[error("a policer of type {0} needs {1}")]
    Missing(Kind, &'static str),
    /// A figure that the type has no use for.
    #[error("a policer of type {0} has no {1}")]
    Needless(Kind, &'static str),
    /// A peak below the committed rate.
    #[error(
        "the peak rate of {peak} is below the rate of {rate}; it counts both, so make it at least {rate}"
    )]
    Peak {
        /// The committed rate.
        rate: Rate,
        /// The peak rate.
        peak: Rate,
    },
    /// No burst at all.
    #[error("a burst of 0 passes nothing; write at least {0}")]
    Burst(&'static str),
    /// An excess burst of nothing.
    #[error("the peak burst of 0 passes nothing; write at least {0}")]
    Excess(&'static str),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Single => "single",
            Kind::Rfc2697 => "rfc2697",
            Kind::Rfc2698 => "rfc2698",
            Kind::Rfc4115 => "rfc4115",
        })
    }
}

/// What was written is no type of policer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no type of policer; write single, rfc2697, rfc2698 or rfc4115")]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Kind, UnknownKind> {
        [Kind::Single, Kind::Rfc2697, Kind::Rfc2698, Kind::Rfc4115]
            .into_iter()
            .find(|kind| kind.to_string() == text)
            .ok_or_else(|| UnknownKind(text.into()))
    }
}

impl fmt::Display for Config {
    /// `rfc2697 8000000bps 15000B excess 30000B yellow demote:miss`: what is not said is as it is by default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (per_second, at_once) = match self.unit {
            Unit::Packets => ("pps", "p"),
            Unit::Bits => ("bps", "B"),
        };
        let rate = |rate: Rate| match rate {
            Rate::PerSecond(rate) => format!("{rate}{per_second}"),
            Rate::Unlimited => rate.to_string(),
        };
        write!(f, "{} {} {}{at_once}", self.kind, rate(self.rate), self.burst)?;
        if let Some(peak) = self.peak {
            write!(f, " peak {}", rate(peak))?;
        }
        if let Some(excess) = self.excess {
            write!(f, " excess {excess}{at_once}")?;
        }
        if self.yellow != Verdict::Pass {
            write!(f, " yellow {}", self.yellow)?;
        }
        if self.red != Verdict::Drop {
            write!(f, " red {}", self.red)?;
        }
        Ok(())
    }
}

impl Config {
    /// A single bucket of packets that drops what it has no token for.
    pub const fn packets(rate: Rate, burst: u64) -> Config {
        Config {
            kind: Kind::Single,
            unit: Unit::Packets,
            rate,
            burst,
            peak: None,
            excess: None,
            yellow: Verdict::Pass,
            red: Verdict::Drop,
        }
    }

    /// Whether it makes sense.
    ///
    /// # Errors
    /// The first thing that does not, in the words of `puntctl`'s flags.
    pub fn check(&self) -> Result<(), ConfigError> {
        let kind = self.kind;
        let least = match self.unit {
            Unit::Packets => "1p",
            Unit::Bits => "1514B, an Ethernet frame",
        };
        match (kind, self.peak) {
            (Kind::Single | Kind::Rfc2697, Some(_)) => return Err(ConfigError::Needless(kind, "--peak")),
            (Kind::Rfc2698 | Kind::Rfc4115, None) => return Err(ConfigError::Missing(kind, "--peak")),
            (Kind::Rfc2698, Some(peak)) if slower(peak, self.rate) => {
                return Err(ConfigError::Peak { rate: self.rate, peak });
            }
            _ => {}
        }
        match (kind, self.excess) {
            (Kind::Single, Some(_)) => return Err(ConfigError::Needless(kind, "--excess")),
            (Kind::Single, None) => {}
            (_, None) => return Err(ConfigError::Missing(kind, "--excess")),
            (Kind::Rfc2698, Some(0)) => return Err(ConfigError::Excess(least)),
            (_, Some(_)) => {}
        }
        // RFC 2697 and 4115: either burst may be zero, but not both.
        let passes = self.burst > 0
            || matches!(kind, Kind::Rfc2697 | Kind::Rfc4115) && self.excess.is_some_and(|excess| excess > 0);
        if passes || self.rate.is_unlimited() { Ok(()) } else { Err(ConfigError::Burst(least)) }
    }

    /// The peak rate and excess burst as the meter wants them, whatever was left out.
    pub(crate) fn second(&self) -> (Rate, u64) {
        let rate = match self.kind {
            Kind::Rfc2697 => self.rate,
            _ => self.peak.unwrap_or(self.rate),
        };
        (rate, self.excess.unwrap_or(self.burst))
    }
}

fn slower(a: Rate, b: Rate) -> bool {
    match (a, b) {
        (Rate::PerSecond(a), Rate::PerSecond(b)) => a < b,
        (Rate::PerSecond(_), Rate::Unlimited) => true,
        (Rate::Unlimited, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn keys_are_those_of_puntctl() {
        let single = config("rate = 600\nburst = 300");
        assert_eq!(single, Config::packets(Rate::PerSecond(600), 300));
        assert_eq!(single.check(), Ok(()));
        let text = "type = \"rfc2698\"\nunit = \"bits\"\nrate = 8000\nburst = 1500\npeak = 16000\nexcess = 3000\n\
                    yellow = \"demote:miss\"\nred = \"drop\"";
        let two = config(text);
        assert_eq!(
            (two.kind, two.unit, two.yellow),
            (Kind::Rfc2698, Unit::Bits, Verdict::Demote(Class::Miss))
        );
        assert_eq!(two.check(), Ok(()));
        assert_eq!(config(&toml::to_string(&two).unwrap()), two);
    }

    #[test]
    fn what_does_not_belong_together_is_said() {
        let error = |text: &str| config(text).check().unwrap_err().to_string();
        assert_eq!(error("rate = 1\nburst = 1\npeak = 2"), "a policer of type single has no --peak");
        assert_eq!(
            error("type = \"rfc2697\"\nrate = 1\nburst = 1"),
            "a policer of type rfc2697 needs --excess"
        );
        assert_eq!(
            error("type = \"rfc2698\"\nrate = 9\nburst = 1\npeak = 2\nexcess = 1"),
            "the peak rate of 2 is below the rate of 9; it counts both, so make it at least 9"
        );
        assert_eq!(error("rate = 1\nburst = 0"), "a burst of 0 passes nothing; write at least 1p");
        assert_eq!(config("type = \"rfc4115\"\nrate = 9\nburst = 1\npeak = 2\nexcess = 0").check(), Ok(()));
    }

    #[test]
    fn actions_and_types_read_back() {
        for verdict in [Verdict::Pass, Verdict::Drop, Verdict::Demote(Class::Except)] {
            assert_eq!(verdict.to_string().parse(), Ok(verdict));
        }
        let error = "keep".parse::<Verdict>().unwrap_err().to_string();
        assert_eq!(error, "\"keep\" is no action of a policer; write pass, drop or demote:CLASS");
        assert!("demote:low".parse::<Verdict>().unwrap_err().to_string().starts_with("\"low\" is no class"));
        for kind in [Kind::Single, Kind::Rfc2697, Kind::Rfc2698, Kind::Rfc4115] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
    }
}

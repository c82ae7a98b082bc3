//! `[punt]`: what bounds all punting together.

use std::fmt;
use std::str::FromStr;

use punt::Rate;

/// What bounds all punting together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Punting {
    /// Where capture files may be written: an absolute path.
    pub directory: String,
    /// Bytes of all rings together.
    pub memory: Bytes,
    /// Packets per second of all classes together.
    pub budget: Rate,
}

impl Default for Punting {
    fn default() -> Punting {
        Punting {
            directory: "/var/lib/puntd".into(),
            memory: Bytes(256 << 20),
            budget: Rate::PerSecond(60_000),
        }
    }
}

/// An amount of memory, written as `256 MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    /// The least that rings can do with.
    pub const LEAST: Bytes = Bytes(1 << 20);
    /// The most that makes sense.
    pub const MOST: Bytes = Bytes(1 << 40);
}

const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl fmt::Display for Bytes {
    /// With the largest unit that leaves no rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => f.pad(&format!("{} {name}", self.0 / unit)),
            None => self.0.fmt(f),
        }
    }
}

/// What was read is no amount of memory, or one that will not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is {0:?}; it is an amount from {least} to {most}, as \"256 MiB\"", least = Bytes::LEAST, most = Bytes::MOST)]
pub struct ParseBytesError(String);

impl FromStr for Bytes {
    type Err = ParseBytesError;

    /// A number of bytes, or of KiB, MiB, GiB or TiB with or without a blank between; `256M` as for captures, too.
    fn from_str(text: &str) -> Result<Bytes, ParseBytesError> {
        let strip = |name: &str| text.strip_suffix(name).or_else(|| text.strip_suffix(&name[..1]));
        let unit = UNITS.iter().find_map(|(name, unit)| Some((strip(name)?.trim_end(), *unit)));
        let (number, unit) = unit.unwrap_or((text, 1));
        let digits = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit());
        let bytes = number.parse().ok().filter(|_| digits).and_then(|number: u64| number.checked_mul(unit));
        bytes
            .map(Bytes)
            .filter(|bytes| (Bytes::LEAST..=Bytes::MOST).contains(bytes))
            .ok_or_else(|| ParseBytesError(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_reads_back() {
        for (text, bytes) in [("256 MiB", 256 << 20), ("1 TiB", 1 << 40), ("1048577", (1 << 20) + 1)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
            assert_eq!(Bytes(bytes).to_string(), text);
        }
        for text in ["1024MiB", "1024M", "1024 M", "1G"] {
            assert_eq!(text.parse::<Bytes>().unwrap().to_string(), "1 GiB");
        }
        for text in ["", "MiB", "1 MB", "-1 MiB", "1023 KiB", "2 TiB", "99999999999 TiB", "1.5 GiB"] {
            assert_eq!(
                text.parse::<Bytes>().unwrap_err().to_string(),
                format!("is {text:?}; it is an amount from 1 MiB to 1 TiB, as \"256 MiB\"")
            );
        }
    }
}

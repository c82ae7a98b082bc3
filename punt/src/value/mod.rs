//! Values an operator writes: each type reads one notation and says in one sentence what is wrong with another.

use std::net::IpAddr;

mod interface_address;
mod mac;
mod prefix;

pub use interface_address::{InterfaceAddress, ParseInterfaceAddressError};
pub use mac::{Mac, ParseMacError};
pub use prefix::{ParsePrefixError, Prefix};

pub use crate::policer::Rate;

/// A number that is nothing but digits: no sign, no blank.
pub(crate) fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|c| c.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Whether a station may have that address: it is not unspecified, loopback, multicast or broadcast.
pub fn is_station(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(four) if four.is_broadcast());
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || broadcast)
}

/// Serde by way of `Display` and `FromStr`, so that JSON, TOML and the command line share one notation.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;

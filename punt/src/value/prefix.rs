//! Prefixes: what a route leads to.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::serde_as_text;

/// An IPv4 or IPv6 prefix without host bits.
///
/// Written as `10.2.0.0/16` or `2001:db8::/32`; `default` is `0.0.0.0/0` and `default6` is `::/0`; an address alone
/// is itself and nothing else (/32 or /128).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(IpNet);

impl Prefix {
    /// The prefix of that length in which the address lies.
    ///
    /// # Errors
    /// When the length exceeds 32 or 128 bits, or the address has bits set beyond it.
    pub fn new(address: IpAddr, length: u8) -> Result<Prefix, ParsePrefixError> {
        let net = IpNet::new(address, length).map_err(|_| ParsePrefixError::Length {
            text: format!("{address}/{length}"),
            most: bits(address),
        })?;
        if net.addr() != net.network() {
            return Err(ParsePrefixError::HostBits { text: net.to_string(), right: net.trunc().to_string() });
        }
        Ok(Prefix(net))
    }

    /// The first address in it.
    pub fn address(self) -> IpAddr {
        self.0.addr()
    }

    /// How many leading bits count.
    pub fn length(self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether it is one of IPv4.
    pub fn is_ipv4(self) -> bool {
        matches!(self.0, IpNet::V4(_))
    }

    /// Whether the address lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// As the `ipnet` crate has it.
    pub fn net(self) -> IpNet {
        self.0
    }
}

impl From<IpNet> for Prefix {
    /// The prefix in which an interface's address lies; host bits go.
    fn from(net: IpNet) -> Prefix {
        Prefix(net.trunc())
    }
}

impl From<IpAddr> for Prefix {
    /// That address and nothing else.
    fn from(address: IpAddr) -> Prefix {
        Prefix(IpNet::from(address))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpNet::V4(net) if net.prefix_len() == 0 => f.pad("default"),
            IpNet::V6(net) if net.prefix_len() == 0 => f.pad("default6"),
            net => f.pad(&net.to_string()),
        }
    }
}

/// What was read is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePrefixError {
    /// It does not look like one.
    #[error("{0:?} is no prefix; write one as 10.2.0.0/16, 2001:db8::/32, default or default6")]
    Syntax(String),
    /// Its length is no number, or more than the address has bits.
    #[error("{text:?} has no valid length; write one from 0 to {most} after the slash")]
    Length {
        /// What was read.
        text: String,
        /// How many bits an address of the family has.
        most: u8,
    },
    /// Its address has bits that the length leaves out.
    #[error("{text} has bits set beyond its length; write {right}")]
    HostBits {
        /// What was read.
        text: String,
        /// What was probably meant.
        right: String,
    },
}

impl FromStr for Prefix {
    type Err = ParsePrefixError;

    fn from_str(text: &str) -> Result<Prefix, ParsePrefixError> {
        match text {
            "default" | "default4" => return Ok(Prefix(IpNet::V4(Default::default()))),
            "default6" => return Ok(Prefix(IpNet::V6(Default::default()))),
            _ => {}
        }
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ParsePrefixError::Syntax(text.into()))?;
        match length.map(parse_length) {
            None => Ok(Prefix::from(address)),
            Some(Some(length)) if length <= bits(address) => Prefix::new(address, length),
            Some(_) => Err(ParsePrefixError::Length { text: text.into(), most: bits(address) }),
        }
    }
}

/// How many bits an address of this family has.
pub(super) fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The number after the slash; digits only, for `u8::from_str` takes a sign too.
pub(super) fn parse_length(text: &str) -> Option<u8> {
    if text.bytes().all(|c| c.is_ascii_digit()) { text.parse().ok() } else { None }
}

serde_as_text!(Prefix);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn reads_what_people_write() {
        for (text, shown) in [
            ("10.2.0.0/16", "10.2.0.0/16"),
            ("10.2.0.1", "10.2.0.1/32"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("default", "default"),
            ("0.0.0.0/0", "default"),
            ("default6", "default6"),
            ("::/0", "default6"),
        ] {
            assert_eq!(text.parse::<Prefix>().map(|prefix| prefix.to_string()), Ok(shown.into()), "{text}");
        }
        let prefix: Prefix = "10.2.0.0/16".parse().unwrap();
        assert_eq!((prefix.length(), prefix.is_ipv4()), (16, true));
        assert!(prefix.contains(Ipv4Addr::new(10, 2, 255, 1).into()));
    }

    #[test]
    fn says_what_is_wrong() {
        let fault = |text: &str| text.parse::<Prefix>().unwrap_err().to_string();
        assert_eq!(fault("10.0.0.1/8"), "10.0.0.1/8 has bits set beyond its length; write 10.0.0.0/8");
        assert_eq!(fault("fd00::1/64"), "fd00::1/64 has bits set beyond its length; write fd00::/64");
        assert_eq!(
            fault("10.0.0.0/33"),
            "\"10.0.0.0/33\" has no valid length; write one from 0 to 32 after the slash"
        );
        assert_eq!(fault("::/+1"), "\"::/+1\" has no valid length; write one from 0 to 128 after the slash");
        assert_eq!(fault("::/"), "\"::/\" has no valid length; write one from 0 to 128 after the slash");
        assert_eq!(
            fault("10.0.0/8"),
            "\"10.0.0/8\" is no prefix; write one as 10.2.0.0/16, 2001:db8::/32, default or default6"
        );
    }

    #[test]
    fn json_is_the_same_text() {
        let prefix: Prefix = serde_json::from_str("\"10.2.0.0/16\"").unwrap();
        assert_eq!(serde_json::to_string(&prefix).unwrap(), "\"10.2.0.0/16\"");
        let error = serde_json::from_str::<Prefix>("\"10.0.0.1/8\"").unwrap_err().to_string();
        assert!(error.starts_with("10.0.0.1/8 has bits set beyond its length; write 10.0.0.0/8"), "{error}");
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(bits: u128, length in 0u8..=128, four: bool) {
            let address =
                if four { Ipv4Addr::from(bits as u32).into() } else { IpAddr::from(Ipv6Addr::from(bits)) };
            let net = IpNet::new(address, if four { length % 33 } else { length }).unwrap();
            let prefix = Prefix::from(net);
            prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
        }

        #[test]
        fn never_panics(text in "[0-9a-f:./]{0,30}|.{0,10}") {
            let _ = text.parse::<Prefix>();
        }
    }
}

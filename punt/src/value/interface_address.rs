//! Addresses of interfaces: an address and how much of it names the subnet.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::prefix::{Prefix, bits, parse_length};
use super::{is_station, serde_as_text};

/// An interface's own address with the length of its subnet, as `10.0.0.1/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceAddress(IpNet);

impl InterfaceAddress {
    /// The address itself.
    pub fn address(self) -> IpAddr {
        self.0.addr()
    }

    /// How many leading bits name the subnet.
    pub fn length(self) -> u8 {
        self.0.prefix_len()
    }

    /// The subnet: what is connected through the interface.
    pub fn prefix(self) -> Prefix {
        Prefix::from(self.0)
    }

    /// As the `ipnet` crate has it, host bits kept.
    pub fn net(self) -> IpNet {
        self.0
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

/// What was read is no interface address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseInterfaceAddressError {
    /// It does not look like one.
    #[error("{0:?} is no interface address; write one as 10.0.0.1/24 or fd00::1/64")]
    Syntax(String),
    /// Its length is missing, no number, or more than the address has bits.
    #[error("{text:?} has no valid length; write one from 0 to {most} after a slash, as {example}")]
    Length {
        /// What was read.
        text: String,
        /// How many bits an address of the family has.
        most: u8,
        /// What was probably meant.
        example: String,
    },
    /// It is multicast, unspecified, loopback or broadcast: nothing an interface can have.
    #[error("{0} is no address an interface can have; write a unicast address")]
    NotUnicast(String),
}

impl FromStr for InterfaceAddress {
    type Err = ParseInterfaceAddressError;

    fn from_str(text: &str) -> Result<InterfaceAddress, ParseInterfaceAddressError> {
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().map_err(|_| ParseInterfaceAddressError::Syntax(text.into()))?;
        let error = || ParseInterfaceAddressError::Length {
            text: text.into(),
            most: bits(address),
            example: format!("{address}/{}", if address.is_ipv4() { 24 } else { 64 }),
        };
        let length = parse_length(length).ok_or_else(error)?;
        let net = IpNet::new(address, length).map_err(|_| error())?;
        if !is_station(address) {
            return Err(ParseInterfaceAddressError::NotUnicast(text.into()));
        }
        Ok(InterfaceAddress(net))
    }
}

serde_as_text!(InterfaceAddress);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keeps_the_host_bits() {
        let address: InterfaceAddress = "10.0.0.1/24".parse().unwrap();
        assert_eq!(address.to_string(), "10.0.0.1/24");
        assert_eq!(address.address(), IpAddr::from([10, 0, 0, 1]));
        assert_eq!(address.prefix().to_string(), "10.0.0.0/24");
        assert_eq!("FD00:a::1/64".parse::<InterfaceAddress>().unwrap().to_string(), "fd00:a::1/64");
    }

    #[test]
    fn says_what_is_wrong() {
        let fault = |text: &str| text.parse::<InterfaceAddress>().unwrap_err().to_string();
        assert_eq!(
            fault("10.0.0.1"),
            "\"10.0.0.1\" has no valid length; write one from 0 to 32 after a slash, as 10.0.0.1/24"
        );
        assert_eq!(
            fault("fd00::1/129"),
            "\"fd00::1/129\" has no valid length; write one from 0 to 128 after a slash, as fd00::1/64"
        );
        assert_eq!(fault("lan"), "\"lan\" is no interface address; write one as 10.0.0.1/24 or fd00::1/64");
        for text in ["224.0.0.1/24", "0.0.0.0/0", "::1/128", "255.255.255.255/32", "ff02::1/64"] {
            assert_eq!(
                fault(text),
                format!("{text} is no address an interface can have; write a unicast address")
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9a-f:./]{0,30}|.{0,10}") {
            let _ = text.parse::<InterfaceAddress>();
        }
    }
}

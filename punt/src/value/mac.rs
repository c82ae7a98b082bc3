//! MAC addresses.

use std::fmt;
use std::str::FromStr;

use super::serde_as_text;

/// A 48-bit MAC address, in the order of the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether it addresses a group: multicast or broadcast. No interface and no neighbour has such a one.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether it is all zeroes.
    pub const fn is_zero(self) -> bool {
        matches!(self.0, [0, 0, 0, 0, 0, 0])
    }
}

impl From<[u8; 6]> for Mac {
    fn from(bytes: [u8; 6]) -> Mac {
        Mac(bytes)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

/// What was read is no MAC address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no MAC address: {fault}; write six bytes in hexadecimal as 02:00:00:00:00:01")]
pub struct ParseMacError {
    text: String,
    fault: String,
}

impl FromStr for Mac {
    type Err = ParseMacError;

    /// Six bytes of one or two hexadecimal digits, all joined by colons or all by dashes.
    fn from_str(text: &str) -> Result<Mac, ParseMacError> {
        let error = |fault: String| ParseMacError { text: text.into(), fault };
        let separator = if text.contains('-') { '-' } else { ':' };
        let parts: Vec<&str> = text.split(separator).collect();
        let mut bytes = [0; 6];
        if parts.len() != bytes.len() {
            let count = if text.is_empty() { 0 } else { parts.len() };
            return Err(error(format!("{count} byte{}", if count == 1 { "" } else { "s" })));
        }
        for (byte, part) in bytes.iter_mut().zip(parts) {
            let digits = (1..=2).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_hexdigit());
            *byte = match u8::from_str_radix(part, 16) {
                Ok(value) if digits => value,
                _ => return Err(error(format!("{part:?} is no byte"))),
            };
        }
        Ok(Mac(bytes))
    }
}

serde_as_text!(Mac);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        let mac = Mac([2, 0, 0, 0xab, 0xcd, 1]);
        for text in ["02:00:00:ab:cd:01", "02:00:00:AB:CD:01", "02-00-00-ab-cd-01", "2:0:0:ab:cd:1"] {
            assert_eq!(text.parse(), Ok(mac), "{text}");
        }
        assert_eq!(mac.to_string(), "02:00:00:ab:cd:01");
        assert!(Mac([1, 0x80, 0xc2, 0, 0, 2]).is_group() && !mac.is_group() && Mac::default().is_zero());
    }

    #[test]
    fn says_what_is_wrong() {
        let fault = |text: &str| text.parse::<Mac>().unwrap_err().to_string();
        assert_eq!(
            fault("02:00:00:00:01"),
            "\"02:00:00:00:01\" is no MAC address: 5 bytes; write six bytes in hexadecimal as 02:00:00:00:00:01"
        );
        assert!(fault("").contains(": 0 bytes;"));
        assert!(fault("wan").contains(": 1 byte;"));
        assert!(fault("02:00:00:00:00:001").contains(": \"001\" is no byte;"));
        assert!(fault("02:00:00:00:00:+1").contains(": \"+1\" is no byte;"));
        assert!(fault("02:00:00:00:00:").contains(": \"\" is no byte;"));
        assert!(fault("02:00-00:00:00:00").contains("is no MAC address"));
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(bytes: [u8; 6]) {
            prop_assert_eq!(Mac(bytes).to_string().parse(), Ok(Mac(bytes)));
        }

        #[test]
        fn never_panics(text in ".{0,30}") {
            let _ = text.parse::<Mac>();
        }
    }
}

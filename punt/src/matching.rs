//! Matches: which packets somebody wants.
//!
//! ```text
//! udp:3784  udp:100-200  udp4:68  udp6:546     destination port of a packet addressed to us
//! tcp:179  tcp6:179  tcp:179/any               the same; /any: source or destination
//! proto:89  proto:ospf  proto6:ospf            IP protocol
//! icmp:8  icmp6:135                            type
//! ethertype:0x88cc  llc:0xfe                   of a frame nobody routes
//! mac:01:80:c2:00:00:02                        a group that the frame is sent to
//! reason:ip4.ttl-expired  reason:ip4.*         what has that reason; * stands for any rest
//! ```
//!
//! A match never sees transit traffic; one that would is refused.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::value::{Mac, digits, serde_as_text};

/// An IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Ip4,
    /// IPv6.
    Ip6,
}

impl Family {
    /// `4` or `6`.
    const fn digit(self) -> char {
        match self {
            Family::Ip4 => '4',
            Family::Ip6 => '6',
        }
    }
}

/// Which packets somebody wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Match {
    /// UDP to us.
    Udp {
        /// Of one family, or of both.
        family: Option<Family>,
        /// The destination port.
        ports: RangeInclusive<u16>,
    },
    /// TCP to us.
    Tcp {
        /// Of one family, or of both.
        family: Option<Family>,
        /// The destination port.
        ports: RangeInclusive<u16>,
        /// The source port will do, too.
        any: bool,
    },
    /// ICMP to us of that type.
    Icmp4 {
        /// The type.
        kind: u8,
    },
    /// ICMPv6 to us of that type.
    Icmp6 {
        /// The type.
        kind: u8,
    },
    /// That IP protocol to us.
    Protocol {
        /// Of one family, or of both.
        family: Option<Family>,
        /// The protocol, as IANA has them.
        number: u8,
    },
    /// Frames of that ethertype; never one that is routed.
    Ethertype(u16),
    /// Frames of IEEE 802.2 with that DSAP.
    Llc(u8),
    /// Frames to that group.
    Mac(Mac),
    /// What has that reason: a name, or its beginning and `*`.
    Reason(String),
}

impl Match {
    /// The IP version of what it matches, if it is one alone.
    pub const fn family(&self) -> Option<Family> {
        match self {
            Match::Udp { family, .. } | Match::Tcp { family, .. } | Match::Protocol { family, .. } => *family,
            Match::Icmp4 { .. } => Some(Family::Ip4),
            Match::Icmp6 { .. } => Some(Family::Ip6),
            _ => None,
        }
    }

    /// Whether what it matches is addressed to us by IP.
    pub const fn is_local(&self) -> bool {
        matches!(
            self,
            Match::Udp { .. }
                | Match::Tcp { .. }
                | Match::Icmp4 { .. }
                | Match::Icmp6 { .. }
                | Match::Protocol { .. }
        )
    }
}

/// What reasons begin with that packets have which the punt path itself refused or lost.
const ENGINE: &str = "engine.";

/// Whether a pattern of [`Match::Reason`] covers the reason of that name: itself, those made of it for single
/// registrations (`NAME@ID`), or with `*` at its end all that begin so; of what the engine itself lost only if it says so, for such a packet
/// has a reason of its own, too, and `*` would have it twice.
pub fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => {
            name.starts_with(beginning) && beginning.starts_with(ENGINE) == name.starts_with(ENGINE)
        }
        None => name.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with('@')),
    }
}

/// IP protocols that have a name here, as IANA has them.
const PROTOCOLS: [(&str, u8); 18] = [
    ("icmp", 1),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", 6),
    ("udp", 17),
    ("dccp", 33),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmp6", 58),
    ("eigrp", 88),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("l2tp", 115),
    ("sctp", 132),
    ("udplite", 136),
];

impl Display for Match {
    /// As it is read; protocols as numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Match::Udp { family, ports } => format!("udp{}:{}", Suffix(*family), Ports(ports)),
            Match::Tcp { family, ports, any } => {
                format!("tcp{}:{}{}", Suffix(*family), Ports(ports), if *any { "/any" } else { "" })
            }
            Match::Icmp4 { kind } => format!("icmp:{kind}"),
            Match::Icmp6 { kind } => format!("icmp6:{kind}"),
            Match::Protocol { family, number } => format!("proto{}:{number}", Suffix(*family)),
            Match::Ethertype(number) => format!("ethertype:{number:#06x}"),
            Match::Llc(dsap) => format!("llc:{dsap:#04x}"),
            Match::Mac(mac) => format!("mac:{mac}"),
            Match::Reason(pattern) => format!("reason:{pattern}"),
        };
        f.pad(&text)
    }
}

struct Suffix(Option<Family>);

impl Display for Suffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |family| write!(f, "{}", family.digit()))
    }
}

struct Ports<'a>(&'a RangeInclusive<u16>);

impl Display for Ports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.start(), self.0.end()) {
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}

/// What was read is no match, or one that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {fault}")]
pub struct ParseMatchError {
    text: String,
    fault: String,
}

impl FromStr for Match {
    type Err = ParseMatchError;

    fn from_str(text: &str) -> Result<Match, ParseMatchError> {
        read(text).map_err(|fault| ParseMatchError { text: text.into(), fault })
    }
}

const RIGHT: &str = "write udp:3784, tcp:179, proto:ospf, icmp:8, icmp6:135, ethertype:0x88cc, llc:0xfe, \
                     mac:01:80:c2:00:00:02 or reason:ip4.ttl-expired";

fn read(text: &str) -> Result<Match, String> {
    let (kind, rest) = text.split_once(':').ok_or_else(|| format!("is no match; {RIGHT}"))?;
    let family = match kind.as_bytes().last() {
        Some(b'4') => Some(Family::Ip4),
        Some(b'6') => Some(Family::Ip6),
        _ => None,
    };
    match kind {
        "udp" | "udp4" | "udp6" => Ok(Match::Udp { family, ports: ports(rest)? }),
        "tcp" | "tcp4" | "tcp6" => {
            let (range, any) = rest.strip_suffix("/any").map_or((rest, false), |range| (range, true));
            Ok(Match::Tcp { family, ports: ports(range)?, any })
        }
        "icmp" | "icmp4" => Ok(Match::Icmp4 { kind: byte(rest, "ICMP type")? }),
        "icmp6" => Ok(Match::Icmp6 { kind: byte(rest, "ICMPv6 type")? }),
        "proto" | "proto4" | "proto6" => Ok(Match::Protocol { family, number: protocol(rest)? }),
        "ethertype" => ethertype(rest),
        "llc" => Ok(Match::Llc(byte(rest, "DSAP")?)),
        "mac" => group(rest),
        "reason" => reason(rest),
        _ => Err(format!("begins with {kind:?}, which is no kind of match; {RIGHT}")),
    }
}

/// `3784` or `100-200`.
fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    if let Some(range) = text.strip_suffix("/any") {
        return Err(format!(
            "asks for either port, which only tcp: takes; write the destination port {range}"
        ));
    }
    let port = |word: &str| {
        let read = digits(word).and_then(|port| u16::try_from(port).ok());
        read.ok_or_else(|| format!("has the port {word:?}; write one from 0 to 65535, or a range as 100-200"))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(format!("has a range that runs backwards; write {last}-{first}"));
    }
    Ok(first..=last)
}

fn protocol(text: &str) -> Result<u8, String> {
    let named = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    let number = named.or_else(|| number(text).and_then(|number| u8::try_from(number).ok()));
    number.ok_or_else(|| {
        let names: Vec<_> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
        format!("has the protocol {text:?}; write a number from 0 to 255, or one of {}", names.join(", "))
    })
}

/// An ethertype whose frames nobody here routes.
fn ethertype(text: &str) -> Result<Match, String> {
    let read = number(text).and_then(|number| u16::try_from(number).ok());
    let number = read
        .ok_or_else(|| format!("has the ethertype {text:?}; write one from 0x0600 to 0xffff, as 0x88cc"))?;
    match number {
        0x0800 | 0x86dd => {
            let (version, other) = if number == 0x0800 { ("IPv4", "ip4") } else { ("IPv6", "ip6") };
            Err(format!(
                "would see all {version} packets, those in transit too; match what is addressed to us \
                 (udp:, tcp:, proto:, icmp:) or a reason, as reason:{other}.*"
            ))
        }
        0x8100 | 0x88a8 => {
            Err("would see all tagged frames, those in transit too; match the ethertype behind the tags"
                .into())
        }
        0..0x0600 => {
            Err("is a length, no ethertype; match IEEE 802.2 frames by their DSAP, as llc:0xfe".into())
        }
        _ => Ok(Match::Ethertype(number)),
    }
}

/// A group whose frames nobody here routes.
fn group(text: &str) -> Result<Match, String> {
    let mac: Mac =
        text.parse().map_err(|error: crate::value::ParseMacError| format!("names no group: {error}"))?;
    match mac.0 {
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => {
            Err("would see all broadcast frames; match what is in them, as ethertype:0x0806 or udp:67".into())
        }
        [0x01, 0x00, 0x5e, ..] | [0x33, 0x33, ..] => {
            Err("is a group of IP multicast, which may be in transit; match what is addressed to us (udp:, proto:, icmp6:)".into())
        }
        _ if !mac.is_group() => {
            Err("is the address of one station, whose frames may be in transit; write a group, as 01:80:c2:00:00:02".into())
        }
        _ => Ok(Match::Mac(mac)),
    }
}

/// A name, or the beginning of names and `*`.
fn reason(text: &str) -> Result<Match, String> {
    let name = text.strip_suffix('*').unwrap_or(text);
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._@".contains(c);
    if text.is_empty() || !name.chars().all(letter) {
        return Err(
            "names no reason; write a name as ip4.ttl-expired, or its beginning and * at the end, as ip4.*"
                .into(),
        );
    }
    Ok(Match::Reason(text.into()))
}

fn byte(text: &str, what: &str) -> Result<u8, String> {
    let read = number(text).and_then(|number| u8::try_from(number).ok());
    read.ok_or_else(|| format!("has the {what} {text:?}; write one from 0 to 255, or from 0x00 to 0xff"))
}

/// A decimal number, or a hexadecimal one after `0x`.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) if hex.bytes().all(|c| c.is_ascii_hexdigit()) => u64::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None => digits(text),
    }
}

serde_as_text!(Match);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(text: &str) -> Match {
        text.parse().unwrap()
    }

    fn fault(text: &str) -> String {
        let error = text.parse::<Match>().unwrap_err().to_string();
        error.strip_prefix(&format!("{text:?} ")).unwrap().to_string()
    }

    #[test]
    fn reads_what_the_interface_promises() {
        assert_eq!(matches("udp:3784"), Match::Udp { family: None, ports: 3784..=3784 });
        assert_eq!(matches("udp:100-200"), Match::Udp { family: None, ports: 100..=200 });
        assert_eq!(matches("udp4:68"), Match::Udp { family: Some(Family::Ip4), ports: 68..=68 });
        assert_eq!(matches("udp6:546"), Match::Udp { family: Some(Family::Ip6), ports: 546..=546 });
        assert_eq!(matches("tcp:179"), Match::Tcp { family: None, ports: 179..=179, any: false });
        assert_eq!(matches("tcp:179/any"), Match::Tcp { family: None, ports: 179..=179, any: true });
        assert_eq!(
            matches("tcp6:1-9/any"),
            Match::Tcp { family: Some(Family::Ip6), ports: 1..=9, any: true }
        );
        let of = |family, number| Match::Protocol { family, number };
        assert_eq!(matches("proto:89"), of(None, 89));
        assert_eq!(matches("proto:ospf"), of(None, 89));
        assert_eq!(matches("proto6:ospf"), of(Some(Family::Ip6), 89));
        assert_eq!(matches("icmp:8"), Match::Icmp4 { kind: 8 });
        assert_eq!(matches("icmp6:135"), Match::Icmp6 { kind: 135 });
        assert_eq!(matches("ethertype:0x88cc"), Match::Ethertype(0x88cc));
        assert_eq!(matches("llc:0xfe"), Match::Llc(0xfe));
        assert_eq!(matches("mac:01:80:c2:00:00:02"), Match::Mac(Mac([1, 0x80, 0xc2, 0, 0, 2])));
        assert_eq!(matches("reason:ip4.ttl-expired"), Match::Reason("ip4.ttl-expired".into()));
        assert_eq!(matches("reason:ip4.*"), Match::Reason("ip4.*".into()));
    }

    #[test]
    fn there_is_one_way_to_write_each() {
        for (read, written) in [
            ("udp:07-7", "udp:7"),
            ("icmp4:8", "icmp:8"),
            ("proto:ospf", "proto:89"),
            ("ethertype:35020", "ethertype:0x88cc"),
            ("ethertype:0X88CC", "ethertype:0x88cc"),
            ("ethertype:0x600", "ethertype:0x0600"),
            ("llc:66", "llc:0x42"),
            ("llc:0", "llc:0x00"),
            ("mac:01-80-C2-0-0-E", "mac:01:80:c2:00:00:0e"),
        ] {
            assert_eq!(matches(read).to_string(), written);
        }
        for (name, number) in PROTOCOLS {
            assert_eq!(matches(&format!("proto:{name}")), Match::Protocol { family: None, number });
        }
        assert_eq!(serde_json::to_string(&matches("tcp4:179/any")).unwrap(), "\"tcp4:179/any\"");
        assert_eq!(serde_json::from_str::<Match>("\"udp:5\"").unwrap(), matches("udp:5"));
    }

    #[test]
    fn what_would_see_transit_traffic_is_refused() {
        for (text, why) in [
            (
                "ethertype:0x0800",
                "would see all IPv4 packets, those in transit too; match what is addressed to us (udp:, tcp:, proto:, icmp:) or a reason, as reason:ip4.*",
            ),
            (
                "ethertype:0x86dd",
                "would see all IPv6 packets, those in transit too; match what is addressed to us (udp:, tcp:, proto:, icmp:) or a reason, as reason:ip6.*",
            ),
            (
                "ethertype:0x8100",
                "would see all tagged frames, those in transit too; match the ethertype behind the tags",
            ),
            (
                "ethertype:0x88a8",
                "would see all tagged frames, those in transit too; match the ethertype behind the tags",
            ),
            (
                "mac:02:00:00:00:00:01",
                "is the address of one station, whose frames may be in transit; write a group, as 01:80:c2:00:00:02",
            ),
            (
                "mac:ff:ff:ff:ff:ff:ff",
                "would see all broadcast frames; match what is in them, as ethertype:0x0806 or udp:67",
            ),
            (
                "mac:01:00:5e:00:00:05",
                "is a group of IP multicast, which may be in transit; match what is addressed to us (udp:, proto:, icmp6:)",
            ),
            (
                "mac:33:33:00:00:00:05",
                "is a group of IP multicast, which may be in transit; match what is addressed to us (udp:, proto:, icmp6:)",
            ),
        ] {
            assert_eq!(fault(text), why);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let port =
            |word: &str| format!("has the port {word:?}; write one from 0 to 65535, or a range as 100-200");
        assert_eq!(fault("udp:"), port(""));
        assert_eq!(fault("udp:65536"), port("65536"));
        assert_eq!(fault("tcp:+1"), port("+1"));
        assert_eq!(fault("tcp:1-2-3"), port("2-3"));
        assert_eq!(fault("tcp:bgp"), port("bgp"));
        assert_eq!(fault("udp:200-100"), "has a range that runs backwards; write 100-200");
        assert_eq!(
            fault("udp:53/any"),
            "asks for either port, which only tcp: takes; write the destination port 53"
        );
        assert_eq!(
            fault("icmp:256"),
            "has the ICMP type \"256\"; write one from 0 to 255, or from 0x00 to 0xff"
        );
        assert_eq!(fault("llc:fe"), "has the DSAP \"fe\"; write one from 0 to 255, or from 0x00 to 0xff");
        assert!(
            fault("proto:opsf")
                .starts_with("has the protocol \"opsf\"; write a number from 0 to 255, or one of icmp, ")
        );
        assert_eq!(
            fault("ethertype:lldp"),
            "has the ethertype \"lldp\"; write one from 0x0600 to 0xffff, as 0x88cc"
        );
        assert_eq!(
            fault("ethertype:0x0026"),
            "is a length, no ethertype; match IEEE 802.2 frames by their DSAP, as llc:0xfe"
        );
        assert!(fault("mac:01:80").starts_with("names no group: \"01:80\" is no MAC address: 2 bytes;"));
        for text in ["reason:", "reason:IP4", "reason:*.ttl", "reason:a b", "reason:ip4.**"] {
            assert!(fault(text).starts_with("names no reason; write a name as ip4.ttl-expired"), "{text}");
        }
        assert!(fault("3784").starts_with("is no match; write udp:3784, "));
        assert!(
            fault("sctp:7").starts_with("begins with \"sctp\", which is no kind of match; write udp:3784, ")
        );
    }

    #[test]
    fn a_pattern_covers_names() {
        assert!(covers("local.bgp", "local.bgp") && covers("local.bgp", "local.bgp@17"));
        assert!(!covers("local.bgp", "local.bgp-x") && !covers("local.bgp@17", "local.bgp"));
        assert!(
            covers("ip4.*", "ip4.no-route") && !covers("ip4.*", "ip6.no-route") && covers("*", "l2.lacp")
        );
        assert!(!covers("*", "engine.ring-full") && covers("engine.*", "engine.ring-full"));
    }

    fn any_match() -> impl Strategy<Value = Match> {
        let family = || prop::option::of(prop_oneof![Just(Family::Ip4), Just(Family::Ip6)]);
        let ports = || any::<(u16, u16)>().prop_map(|(a, b)| a.min(b)..=a.max(b));
        let group = any::<[u8; 6]>().prop_map(|[_, rest @ ..]| {
            let [b, c, d, e, f] = rest;
            Mac([0x09, b, c, d, e, f])
        });
        let routed = [0x0800, 0x86dd, 0x8100, 0x88a8];
        prop_oneof![
            (family(), ports()).prop_map(|(family, ports)| Match::Udp { family, ports }),
            (family(), ports(), any::<bool>()).prop_map(|(family, ports, any)| Match::Tcp {
                family,
                ports,
                any
            }),
            any::<u8>().prop_map(|kind| Match::Icmp4 { kind }),
            any::<u8>().prop_map(|kind| Match::Icmp6 { kind }),
            (family(), any::<u8>()).prop_map(|(family, number)| Match::Protocol { family, number }),
            (0x0600..=u16::MAX)
                .prop_filter("routed", move |e| !routed.contains(e))
                .prop_map(Match::Ethertype),
            any::<u8>().prop_map(Match::Llc),
            group.prop_map(Match::Mac),
            "[a-z0-9]{1,4}\\.[a-z0-9.@-]{0,12}\\*?".prop_map(Match::Reason),
        ]
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(written in any_match()) {
            prop_assert_eq!(written.to_string().parse(), Ok(written));
        }

        #[test]
        fn what_reads_reads_back(
            text in "(udp|tcp|icmp|proto|ethertype|llc|mac|reason)[46]?:[0-9a-fx:*./-]{0,18}(/any)?|.{0,20}"
        ) {
            if let Ok(read) = text.parse::<Match>() {
                prop_assert_eq!(read.to_string().parse(), Ok(read));
            }
        }
    }
}

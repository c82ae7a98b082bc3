//! Interests: a match, perhaps only from a source or an interface; what one registration covers.

use std::cmp::Reverse;

use crate::facts::Facts;
use crate::matching::{Family, Match};
use crate::value::Prefix;

/// What a registration covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Interest {
    /// Which packets.
    pub matching: Match,
    /// Only from there.
    pub source: Option<Prefix>,
    /// Only those that came in on the interface of this index.
    pub interface: Option<u32>,
}

/// How specific an interest is; the greater, the more. Source prefix, then interface, then the match: exact port, range, type, protocol, then
/// family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Specificity {
    source: Option<u8>,
    interface: bool,
    kind: u8,
    width: Reverse<u32>,
    family: bool,
}

impl Interest {
    /// An interest in all that `matching` matches.
    pub fn anywhere(matching: Match) -> Interest {
        Interest { matching, source: None, interface: None }
    }

    /// Whether it is limited to a source or an interface.
    pub fn is_scoped(&self) -> bool {
        self.source.is_some() || self.interface.is_some()
    }

    /// How specific it is.
    pub fn specificity(&self) -> Specificity {
        let (kind, width) = match &self.matching {
            Match::Udp { ports, .. } => port_rank(ports.clone().count(), false),
            Match::Tcp { ports, any, .. } => port_rank(ports.clone().count(), *any),
            Match::Mac(_) => (4, 1),
            Match::Icmp4 { .. } | Match::Icmp6 { .. } | Match::Ethertype(_) | Match::Llc(_) => (3, 1),
            Match::Protocol { .. } => (2, 1),
            Match::Reason(pattern) => (1, if pattern.ends_with('*') { 2 } else { 1 }),
        };
        let family = matches!(
            &self.matching,
            Match::Udp { family: Some(_), .. }
                | Match::Tcp { family: Some(_), .. }
                | Match::Protocol { family: Some(_), .. }
        );
        Specificity {
            source: self.source.map(Prefix::length),
            interface: self.interface.is_some(),
            kind,
            width: Reverse(width),
            family,
        }
    }

    /// Whether it covers a packet, which is of the kind that its match can see at all. For a match by reason that is decided elsewhere.
    pub fn covers(&self, facts: &Facts) -> bool {
        self.interface.is_none_or(|interface| interface == facts.interface)
            && self.source.is_none_or(|prefix| facts.source.is_some_and(|source| prefix.contains(source)))
            && matches(&self.matching, facts)
    }

    /// Whether there can be a packet that both cover, as far as sources, interfaces and families tell.
    pub fn meets(&self, other: &Interest) -> bool {
        let interfaces = match (self.interface, other.interface) {
            (Some(this), Some(that)) => this == that,
            _ => true,
        };
        let sources = match (self.source, other.source) {
            (Some(this), Some(that)) => this.contains(that.address()) || that.contains(this.address()),
            _ => true,
        };
        let families = match (self.family(), other.family()) {
            (Some(this), Some(that)) => this == that,
            _ => true,
        };
        interfaces && sources && families && meet(&self.matching, &other.matching)
    }

    /// Whether every packet that comes from where `other` is limited to comes from where this one is.
    pub fn surrounds(&self, other: &Interest) -> bool {
        let interface = self.interface.is_none() || self.interface == other.interface;
        let source = self.source.is_none_or(|this| {
            other.source.is_some_and(|that| this.length() <= that.length() && this.contains(that.address()))
        });
        interface && source
    }

    /// The family of all that it covers, if the match or the source says it.
    fn family(&self) -> Option<Family> {
        let of_source = |source: Prefix| if source.is_ipv4() { Family::Ip4 } else { Family::Ip6 };
        self.matching.family().or(self.source.map(of_source))
    }
}

/// A single port is more specific than any range.
fn port_rank(ports: usize, any: bool) -> (u8, u32) {
    (if ports == 1 { 6 } else { 5 }, ports as u32 * 2 + any as u32)
}

fn family_of(facts: &Facts) -> Option<Family> {
    facts.source.map(|source| if source.is_ipv4() { Family::Ip4 } else { Family::Ip6 })
}

/// Whether `matching` matches a packet.
fn matches(matching: &Match, facts: &Facts) -> bool {
    let of = |family: &Option<Family>| family.is_none() || *family == family_of(facts);
    match matching {
        Match::Udp { family, ports } => {
            facts.protocol == Some(17)
                && of(family)
                && facts.ports.is_some_and(|(_, destination)| ports.contains(&destination))
        }
        Match::Tcp { family, ports, any } => {
            facts.protocol == Some(6)
                && of(family)
                && facts.ports.is_some_and(|(source, destination)| {
                    ports.contains(&destination) || (*any && ports.contains(&source))
                })
        }
        Match::Icmp4 { kind } => {
            facts.protocol == Some(1) && of(&Some(Family::Ip4)) && facts.kind == Some(*kind)
        }
        Match::Icmp6 { kind } => {
            facts.protocol == Some(58) && of(&Some(Family::Ip6)) && facts.kind == Some(*kind)
        }
        Match::Protocol { family, number } => facts.protocol == Some(*number) && of(family),
        Match::Ethertype(ethertype) => facts.ethertype == Some(*ethertype),
        Match::Llc(llc) => facts.llc == Some(*llc),
        Match::Mac(mac) => facts.destination == mac.0,
        Match::Reason(_) => true,
    }
}

/// Whether there can be a packet that both match. A match by reason may meet any other.
pub(crate) fn meet(this: &Match, that: &Match) -> bool {
    let families = match (this.family(), that.family()) {
        (Some(this), Some(that)) => this == that,
        _ => true,
    };
    let ranges = |a: &std::ops::RangeInclusive<u16>, b: &std::ops::RangeInclusive<u16>| {
        a.start() <= b.end() && b.start() <= a.end()
    };
    families
        && match (this, that) {
            (Match::Reason(_), _) | (_, Match::Reason(_)) => true,
            (Match::Udp { ports, .. }, Match::Udp { ports: others, .. }) => ranges(ports, others),
            (Match::Tcp { ports, any, .. }, Match::Tcp { ports: others, any: other, .. }) => {
                *any || *other || ranges(ports, others)
            }
            (Match::Icmp4 { kind }, Match::Icmp4 { kind: other })
            | (Match::Icmp6 { kind }, Match::Icmp6 { kind: other }) => kind == other,
            (Match::Protocol { number, .. }, ip) | (ip, Match::Protocol { number, .. }) => {
                protocol_of(ip) == Some(*number)
            }
            (Match::Ethertype(this), Match::Ethertype(that)) => this == that,
            (Match::Llc(this), Match::Llc(that)) => this == that,
            (Match::Mac(this), Match::Mac(that)) => this == that,
            (Match::Mac(_), Match::Ethertype(_) | Match::Llc(_))
            | (Match::Ethertype(_) | Match::Llc(_), Match::Mac(_)) => true,
            _ => false,
        }
}

/// The IP protocol of what a match matches.
fn protocol_of(matching: &Match) -> Option<u8> {
    match matching {
        Match::Udp { .. } => Some(17),
        Match::Tcp { .. } => Some(6),
        Match::Icmp4 { .. } => Some(1),
        Match::Icmp6 { .. } => Some(58),
        Match::Protocol { number, .. } => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interest(matching: &str, source: Option<&str>, interface: Option<u32>) -> Interest {
        Interest {
            matching: matching.parse().expect("a match"),
            source: source.map(|source| source.parse().expect("a prefix")),
            interface,
        }
    }

    #[test]
    fn the_most_specific_interest_is_the_greatest() {
        let order = [
            interest("udp:3784", Some("10.0.0.1/32"), Some(1)),
            interest("proto:17", Some("10.0.0.1/32"), None),
            interest("udp:3784", Some("10.0.0.0/24"), None),
            interest("proto:17", None, Some(1)),
            interest("udp4:3784", None, None),
            interest("udp:3784", None, None),
            interest("udp:3784-3785", None, None),
            interest("udp:100-4000", None, None),
            interest("icmp:8", None, None),
            interest("proto:17", None, None),
            interest("reason:local.bfd", None, None),
            interest("reason:local.*", None, None),
        ];
        for pair in order.windows(2) {
            assert!(pair[0].specificity() > pair[1].specificity(), "{:?} above {:?}", pair[0], pair[1]);
        }
    }

    #[test]
    fn an_interest_covers_what_it_says() {
        let bfd = Facts {
            interface: 2,
            source: Some("10.0.0.7".parse().unwrap()),
            protocol: Some(17),
            ports: Some((49152, 3784)),
            ..Facts::default()
        };
        for (matching, source, interface, expected) in [
            ("udp:3784", None, None, true),
            ("udp4:3784", None, None, true),
            ("udp6:3784", None, None, false),
            ("udp:49152", None, None, false),
            ("udp:3000-4000", Some("10.0.0.0/24"), Some(2), true),
            ("udp:3784", Some("10.0.1.0/24"), None, false),
            ("udp:3784", None, Some(3), false),
            ("tcp:3784", None, None, false),
            ("proto:udp", None, None, true),
            ("proto:89", None, None, false),
        ] {
            assert_eq!(interest(matching, source, interface).covers(&bfd), expected, "{matching}");
        }
    }

    #[test]
    fn two_interests_meet_if_a_packet_can_be_both() {
        for (this, that, expected) in [
            (("udp:100-200", None, None), ("udp:200-300", None, None), true),
            (("udp:100-200", None, None), ("udp:201", None, None), false),
            (("udp4:100", None, None), ("udp6:100", None, None), false),
            (("udp:100", None, None), ("proto:17", None, None), true),
            (("udp:100", Some("10.0.0.0/24"), None), ("udp:100", Some("10.0.0.9/32"), None), true),
            (("udp:100", Some("10.0.0.0/24"), None), ("udp:100", Some("10.0.1.0/24"), None), false),
            (("udp:100", Some("10.0.0.0/24"), None), ("udp6:100", None, None), false),
            (("udp:100", None, Some(1)), ("udp:100", None, Some(2)), false),
            (("udp:100", None, None), ("ethertype:0x88cc", None, None), false),
        ] {
            let (a, b) = (interest(this.0, this.1, this.2), interest(that.0, that.1, that.2));
            assert_eq!((a.meets(&b), b.meets(&a)), (expected, expected), "{a:?} {b:?}");
        }
    }
}

//! What a reason's packets can be, and what a registration can see of them.

use std::ops::RangeInclusive;

use crate::claims::Protocol;
use crate::interest::{Interest, meet};
use crate::matching::{self, Family, Match};

/// Where in the graph packets of a reason are found, and so which matches can see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Addressed to us by IP, and somebody's: matches by port, type and protocol see them.
    Local,
    /// Addressed to us by IP, and nobody's.
    Nobodys,
    /// Frames that nobody routes: matches by ethertype, LLC and MAC see them.
    Link,
    /// Such frames, and nobody's.
    NobodysLink,
    /// Either: addressed to us by IP, or frames that nobody routes.
    Both,
    /// Anything else: only matches by reason see them.
    Elsewhere,
}

impl Place {
    /// Whether nobody has claimed what comes from here.
    pub fn is_nobodys(self) -> bool {
        matches!(self, Place::Nobodys | Place::NobodysLink)
    }

    /// Whether packets from here can be seen by `matching`, if it is not one by reason. Nobody's IP packets are seen only by those with a
    /// source or an interface, for all others have claims.
    pub fn shows(self, matching: &Match, scoped: bool) -> bool {
        let link = matches!(matching, Match::Ethertype(_) | Match::Llc(_) | Match::Mac(_));
        match self {
            Place::Local => matching.is_local(),
            Place::Nobodys => matching.is_local() && scoped,
            Place::Link => link,
            // Some have the type of a built-in reason, and are none of its frames.
            Place::NobodysLink => link,
            Place::Both => matching.is_local() || link,
            Place::Elsewhere => false,
        }
    }
}

/// A cell of the claims: the family's row, and the key in it.
pub type Cell = (Family, Protocol, u16);

/// A row of the claims, and the keys in it that a match claims.
pub type Stretch = (Family, Protocol, RangeInclusive<u16>);

/// What a match claims.
pub fn stretches(matching: &Match) -> Vec<Stretch> {
    let families = match matching.family() {
        Some(family) => vec![family],
        None => vec![Family::Ip4, Family::Ip6],
    };
    let single = |key: u8| key as u16..=key as u16;
    let rows: Vec<(Protocol, RangeInclusive<u16>)> = match matching {
        Match::Udp { ports, .. } => vec![(Protocol::Udp, ports.clone())],
        Match::Tcp { ports, any: false, .. } => vec![(Protocol::Tcp, ports.clone())],
        Match::Tcp { ports, any: true, .. } => {
            vec![(Protocol::Tcp, ports.clone()), (Protocol::TcpSource, ports.clone())]
        }
        Match::Icmp4 { kind } | Match::Icmp6 { kind } => vec![(Protocol::Icmp, single(*kind))],
        Match::Protocol { number, .. } => vec![(Protocol::Ip, single(*number))],
        Match::Ethertype(_) | Match::Llc(_) | Match::Mac(_) | Match::Reason(_) => Vec::new(),
    };
    let of_family = |family| rows.iter().map(move |(protocol, keys)| (family, *protocol, keys.clone()));
    families.into_iter().flat_map(of_family).collect()
}

/// The cells that a match claims.
pub fn cells(matching: &Match) -> impl Iterator<Item = Cell> {
    let of_row = |(family, protocol, keys): Stretch| keys.map(move |key| (family, protocol, key));
    stretches(matching).into_iter().flat_map(of_row)
}

/// A match that meets all that claims any of these keys, of which there are several only of ports.
pub fn any_of((family, protocol, keys): &Stretch) -> Match {
    let (family, ports, key) = (Some(*family), keys.clone(), *keys.start() as u8);
    match protocol {
        Protocol::Udp => Match::Udp { family, ports },
        Protocol::Tcp | Protocol::TcpSource => Match::Tcp { family, ports, any: false },
        Protocol::Icmp if family == Some(Family::Ip4) => Match::Icmp4 { kind: key },
        Protocol::Icmp => Match::Icmp6 { kind: key },
        Protocol::Igmp => Match::Protocol { family, number: 2 },
        Protocol::Ip => Match::Protocol { family, number: key },
    }
}

/// Whether every packet that `inner` matches is matched by `outer`.
pub fn contains(outer: &Match, inner: &Match) -> bool {
    let families = match (outer.family(), inner.family()) {
        (None, _) => true,
        (outer, inner) => outer == inner,
    };
    families
        && match (outer, inner) {
            (Match::Udp { ports, .. }, Match::Udp { ports: others, .. }) => within(others, ports),
            (Match::Tcp { ports, any, .. }, Match::Tcp { ports: others, any: other, .. }) => {
                within(others, ports) && (*any || !*other)
            }
            (Match::Protocol { number: 17, .. }, Match::Udp { .. })
            | (Match::Protocol { number: 6, .. }, Match::Tcp { .. })
            | (Match::Protocol { number: 1, .. }, Match::Icmp4 { .. })
            | (Match::Protocol { number: 58, .. }, Match::Icmp6 { .. }) => true,
            (Match::Protocol { number, .. }, Match::Protocol { number: other, .. }) => number == other,
            (Match::Reason(_), _) | (_, Match::Reason(_)) => false,
            (outer, inner) => outer == inner,
        }
}

fn within(inner: &std::ops::RangeInclusive<u16>, outer: &std::ops::RangeInclusive<u16>) -> bool {
    outer.start() <= inner.start() && inner.end() <= outer.end()
}

/// How a registration sees the packets of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Not at all.
    None,
    /// Those that its interest covers.
    Some,
    /// Every one.
    All,
}

/// How `interest` sees packets of a reason called `name` that are found at `place` and that are all `within` those matches.
pub fn sight(interest: &Interest, name: &str, place: Place, within: &[Match]) -> Sight {
    let scoped = interest.is_scoped();
    let all = match &interest.matching {
        Match::Reason(pattern) if matching::covers(pattern, name) => true,
        Match::Reason(_) => return Sight::None,
        seen if !place.shows(seen, scoped) => return Sight::None,
        seen if !within.is_empty() && !within.iter().any(|part| meet(seen, part)) => return Sight::None,
        seen => !within.is_empty() && within.iter().all(|part| contains(seen, part)),
    };
    if all && !scoped { Sight::All } else { Sight::Some }
}

//! An index of interests: which of many may meet one, without a look at the others.
//!
//! What a match looks for is a point or a range on a *line* (UDP ports, ethertypes, names, …). Ranges stand there in blocks of a power of
//! two, so those that meet a range begin in it, or are one of the few blocks around its first point. Within a block, interests stand by
//! interface and source, prefixes in the order of their addresses: those inside a prefix are neighbours, those around it are few.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::dispatch::blocks;
use crate::interest::Interest;
use crate::matching::Match;
use crate::value::Prefix;

/// Where an interest is limited to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scope {
    pub source: Option<Prefix>,
    pub interface: Option<u32>,
}

impl Scope {
    /// That of an interest.
    pub fn of(interest: &Interest) -> Scope {
        Scope { source: interest.source, interface: interest.interface }
    }
}

/// What the points of a line are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    Udp,
    Tcp,
    Icmp4,
    Icmp6,
    Protocol,
    Ethertype,
    Llc,
    Mac,
    /// Hashes of names.
    Name,
    /// Hashes of what names begin with.
    Beginning,
}

/// All points of a line of numbers of 16 bits.
const ALL: RangeInclusive<u64> = 0..=0xffff;

/// Where an id stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    block: Block,
    /// 0 for all.
    interface: u32,
    source: Source,
    id: u32,
}

/// Points of a line: so many as two to the power of `size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Block {
    line: Line,
    start: u64,
    size: u8,
}

/// A source prefix; family 0 for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    family: u8,
    first: u128,
    length: u8,
}

const ANYWHERE: Source = Source { family: 0, first: 0, length: 0 };
const LAST: Source = Source { family: u8::MAX, first: u128::MAX, length: u8::MAX };

/// Ids by interest.
#[derive(Default)]
pub(super) struct Index {
    places: BTreeSet<Place>,
    /// How many ids stand in blocks of a size, in prefixes of a length, and at beginnings of so many bytes: what there is none of need not be
    /// looked for.
    sizes: BTreeMap<(Line, u8), usize>,
    lengths: BTreeMap<(u8, u8), usize>,
    beginnings: BTreeMap<usize, usize>,
}

impl Index {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Puts `id` where it is found for `matching` in a scope.
    pub fn insert(&mut self, matching: &Match, scope: Scope, id: u32) {
        for place in places(matching, scope, id) {
            if self.places.insert(place) {
                *self.sizes.entry((place.block.line, place.block.size)).or_default() += 1;
                *self.lengths.entry((place.source.family, place.source.length)).or_default() += 1;
            }
        }
        if let Some(length) = beginning(matching).map(str::len) {
            *self.beginnings.entry(length).or_default() += 1;
        }
    }

    /// Takes it out of there.
    pub fn remove(&mut self, matching: &Match, scope: Scope, id: u32) {
        for place in places(matching, scope, id) {
            if self.places.remove(&place) {
                less(&mut self.sizes, (place.block.line, place.block.size));
                less(&mut self.lengths, (place.source.family, place.source.length));
            }
        }
        if let Some(length) = beginning(matching).map(str::len) {
            less(&mut self.beginnings, length);
        }
    }

    /// The ids of all that may meet `matching` in a scope, some of them more than once. Matches by reason meet what has the same text.
    pub fn meeting(&self, matching: &Match, scope: Scope, found: &mut Vec<u32>) {
        if self.places.is_empty() {
            return;
        }
        let (line, points) = stretch(matching);
        self.over(line, points, scope, found);
        match matching {
            Match::Mac(_) => {
                self.over(Line::Ethertype, ALL, scope, found);
                self.over(Line::Llc, ALL, scope, found);
            }
            Match::Ethertype(_) | Match::Llc(_) => self.over(Line::Mac, 0..=u64::MAX, scope, found),
            _ => {}
        }
    }

    /// The ids of all that look for packets to us in a scope.
    pub fn local(&self, scope: Scope, found: &mut Vec<u32>) {
        for line in [Line::Udp, Line::Tcp, Line::Icmp4, Line::Icmp6, Line::Protocol] {
            self.over(line, ALL, scope, found);
        }
    }

    /// The ids of all that look for frames that nobody routes, in a scope.
    pub fn link(&self, scope: Scope, found: &mut Vec<u32>) {
        self.over(Line::Ethertype, ALL, scope, found);
        self.over(Line::Llc, ALL, scope, found);
        self.over(Line::Mac, 0..=u64::MAX, scope, found);
    }

    /// The ids of all matches by reason that cover a name, in a scope; and perhaps of others.
    pub fn covering(&self, name: &str, scope: Scope, found: &mut Vec<u32>) {
        if self.places.is_empty() {
            return;
        }
        let mut at = |line: Line, text: &str| self.over(line, hash(text)..=hash(text), scope, found);
        at(Line::Name, name);
        if let Some((base, _)) = name.split_once('@') {
            at(Line::Name, base);
        }
        for length in self.beginnings.range(..=name.len()).map(|(length, _)| *length) {
            if let Some(beginning) = name.get(..length) {
                at(Line::Beginning, beginning);
            }
        }
    }

    /// The ids of those that stand anywhere in a range of points.
    fn over(&self, line: Line, points: RangeInclusive<u64>, scope: Scope, found: &mut Vec<u32>) {
        let first = *points.start();
        for (&(_, size), _) in self.sizes.range((line, 1)..=(line, 63)) {
            let start = first >> size << size;
            if start < first {
                self.of_block(Block { line, start, size }, scope, found);
            }
        }
        let mut from = Block { line, start: first, size: 0 };
        let to = lowest(Block { line, start: *points.end(), size: u8::MAX });
        while let Some(place) = self.places.range(lowest(from)..=to).next() {
            self.of_block(place.block, scope, found);
            from = Block { size: place.block.size + 1, ..place.block };
        }
    }

    fn of_block(&self, block: Block, scope: Scope, found: &mut Vec<u32>) {
        match scope.interface {
            None if scope.source.is_none() => self.between(block, (0, ANYWHERE), (u32::MAX, LAST), found),
            None => {
                let mut next = Some(0);
                while let Some(least) = next {
                    let from = Place { block, interface: least, source: ANYWHERE, id: 0 };
                    let to = Place { block, interface: u32::MAX, source: LAST, id: u32::MAX };
                    let Some(place) = self.places.range(from..=to).next() else { return };
                    self.of_interface(block, place.interface, scope.source, found);
                    next = place.interface.checked_add(1);
                }
            }
            Some(interface) => {
                self.of_interface(block, 0, scope.source, found);
                self.of_interface(block, interface, scope.source, found);
            }
        }
    }

    fn of_interface(&self, block: Block, interface: u32, source: Option<Prefix>, found: &mut Vec<u32>) {
        let mut between = |from: Source, to: Source| {
            self.between(block, (interface, from), (interface, to), found);
        };
        let Some(source) = source.map(Source::of) else { return between(ANYWHERE, LAST) };
        between(ANYWHERE, ANYWHERE);
        between(source, Source { first: source.last(), length: u8::MAX, ..source });
        let around = (source.family, 0)..(source.family, source.length);
        for (&(_, length), _) in self.lengths.range(around) {
            between(source.shortened(length), source.shortened(length));
        }
    }

    fn between(&self, block: Block, from: (u32, Source), to: (u32, Source), found: &mut Vec<u32>) {
        let place = |(interface, source): (u32, Source), id: u32| Place { block, interface, source, id };
        found.extend(self.places.range(place(from, 0)..=place(to, u32::MAX)).map(|place| place.id));
    }
}

impl Source {
    fn of(prefix: Prefix) -> Source {
        let (family, first) = match prefix.address() {
            // In the upper bits, as IPv6 has them.
            IpAddr::V4(address) => (4, (address.to_bits() as u128) << 96),
            IpAddr::V6(address) => (6, address.to_bits()),
        };
        Source { family, first, length: prefix.length() }
    }

    fn last(self) -> u128 {
        self.first | u128::MAX.checked_shr(self.length.into()).unwrap_or(0)
    }

    fn shortened(self, length: u8) -> Source {
        let beyond = u128::MAX.checked_shr(length.into()).unwrap_or(0);
        Source { first: self.first & !beyond, length, ..self }
    }
}

fn lowest(block: Block) -> Place {
    Place { block, interface: 0, source: ANYWHERE, id: 0 }
}

fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// What a match looks for; more than that where it may meet more.
fn stretch(matching: &Match) -> (Line, RangeInclusive<u64>) {
    let ports = |ports: &RangeInclusive<u16>| *ports.start() as u64..=*ports.end() as u64;
    let point = |line: Line, key: u64| (line, key..=key);
    match matching {
        Match::Udp { ports: range, .. } => (Line::Udp, ports(range)),
        Match::Tcp { any: true, .. } => (Line::Tcp, ALL),
        Match::Tcp { ports: range, .. } => (Line::Tcp, ports(range)),
        Match::Icmp4 { kind } => point(Line::Icmp4, *kind as u64),
        Match::Icmp6 { kind } => point(Line::Icmp6, *kind as u64),
        Match::Protocol { number: 1, .. } => (Line::Icmp4, ALL),
        Match::Protocol { number: 6, .. } => (Line::Tcp, ALL),
        Match::Protocol { number: 17, .. } => (Line::Udp, ALL),
        Match::Protocol { number: 58, .. } => (Line::Icmp6, ALL),
        Match::Protocol { number, .. } => point(Line::Protocol, *number as u64),
        Match::Ethertype(number) => point(Line::Ethertype, *number as u64),
        Match::Llc(number) => point(Line::Llc, *number as u64),
        Match::Mac(mac) => point(Line::Mac, mac.0.iter().fold(0, |number, &byte| number << 8 | byte as u64)),
        Match::Reason(pattern) => match pattern.strip_suffix('*') {
            Some(beginning) => point(Line::Beginning, hash(beginning)),
            None => point(Line::Name, hash(pattern)),
        },
    }
}

/// What all names begin with that a match covers.
fn beginning(matching: &Match) -> Option<&str> {
    if let Match::Reason(pattern) = matching { pattern.strip_suffix('*') } else { None }
}

fn places(matching: &Match, scope: Scope, id: u32) -> Vec<Place> {
    let source = scope.source.map_or(ANYWHERE, Source::of);
    let (line, points) = stretch(matching);
    let block = |start: u64, size: u8| Place {
        block: Block { line, start, size },
        interface: scope.interface.unwrap_or(0),
        source,
        id,
    };
    match (u16::try_from(*points.start()), u16::try_from(*points.end())) {
        (Ok(first), Ok(last)) if first != last => {
            blocks(first..=last).map(|(size, key)| block((key as u64) << size, size)).collect()
        }
        _ => vec![block(*points.start(), 0)],
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = rustc_hash::FxHasher::default();
    hasher.write(text.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interest::meet;

    fn scope(source: Option<&str>, interface: Option<u32>) -> Scope {
        Scope { source: source.map(|source| source.parse().expect("a prefix")), interface }
    }

    #[test]
    fn what_is_found_is_all_that_meets_and_little_else() {
        let matches = [
            "udp:5",
            "udp:3-9",
            "udp:0-65535",
            "udp:4-5",
            "udp:10-11",
            "tcp:5",
            "tcp:6",
            "tcp:5/any",
            "tcp:7-9",
            "icmp:8",
            "icmp6:8",
            "proto:17",
            "proto:6",
            "proto:1",
            "proto:89",
            "ethertype:0x88cc",
            "llc:0x42",
            "mac:01:80:c2:00:00:02",
            "mac:01:80:c2:00:00:03",
        ];
        let scopes = [
            scope(None, None),
            scope(Some("10.0.0.0/8"), None),
            scope(Some("10.0.0.0/24"), None),
            scope(Some("10.0.0.7/32"), Some(1)),
            scope(Some("0.0.0.0/0"), None),
            scope(None, Some(1)),
            scope(None, Some(2)),
            scope(Some("2001:db8::/32"), None),
            scope(Some("192.0.2.0/24"), Some(2)),
        ];
        let matches: Vec<Match> = matches.iter().map(|text| text.parse().expect("a match")).collect();
        let all: Vec<(&Match, Scope)> =
            scopes.iter().flat_map(|scope| matches.iter().map(move |matching| (matching, *scope))).collect();
        let mut index = Index::default();
        for (id, (matching, scope)) in (0..).zip(&all) {
            index.insert(matching, *scope, id);
        }
        let interest = |(matching, scope): &(&Match, Scope)| Interest {
            matching: (*matching).clone(),
            source: scope.source,
            interface: scope.interface,
        };
        for one in &all {
            let mut found = Vec::new();
            index.meeting(one.0, one.1, &mut found);
            found.sort_unstable();
            found.dedup();
            for (id, other) in (0..).zip(&all) {
                // Families of matches are for others to tell.
                let meets = interest(one).meets(&interest(other));
                assert!(!meets || found.binary_search(&id).is_ok(), "{one:?} does not find {other:?}");
                let near = meet(one.0, other.0);
                assert!(near || found.binary_search(&id).is_err(), "{one:?} finds {other:?}");
            }
        }
        for (id, (matching, scope)) in (0..).zip(&all) {
            index.remove(matching, *scope, id);
        }
        assert!(index.places.is_empty() && index.sizes.is_empty() && index.lengths.is_empty());
    }

    #[test]
    fn a_name_is_found_by_itself_and_by_its_beginnings() {
        let mut index = Index::default();
        for (id, pattern) in ["local.bgp", "local.*", "*", "local.bgp@7", "ip4.*"].into_iter().enumerate() {
            index.insert(&Match::Reason(pattern.to_owned()), scope(None, None), id as u32);
        }
        let covering = |name: &str| {
            let mut found = Vec::new();
            index.covering(name, scope(None, None), &mut found);
            found.sort_unstable();
            found
        };
        assert_eq!(covering("local.bgp"), [0, 1, 2]);
        assert_eq!(covering("local.bgp@7"), [0, 1, 2, 3]);
        assert_eq!(covering("ip6.unclaimed"), [2]);
    }

    #[test]
    fn one_source_among_a_thousand_finds_none_of_the_others() {
        let mut index = Index::default();
        let matching: Match = "udp:53".parse().expect("a match");
        let of = |at: u32| scope(Some(&format!("10.0.{}.{}/32", at >> 8, at & 255)), None);
        for at in 0..1000 {
            index.insert(&matching, of(at), at);
        }
        let mut found = Vec::new();
        index.meeting(&matching, of(77), &mut found);
        index.meeting(&"udp:54".parse().expect("a match"), of(77), &mut found);
        index.meeting(&matching, of(1000), &mut found);
        assert_eq!(found, [77]);
    }
}

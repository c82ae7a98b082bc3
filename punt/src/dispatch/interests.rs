//! Many interests, and the most specific of them that covers a packet.
//!
//! They are kept by shape (length of the source prefix, with or without an interface), the most specific shape first, and in each shape by
//! what the match looks for: a port, a type, a protocol. A range of ports stands in a few blocks of a power of two, as a prefix would. So a
//! packet makes one look into a table for each shape and row that somebody uses, however many interests there are.
//!
//! The tables are persistent: a copy shares all that is the same, so one interest more costs what it takes to put one in.

use std::cmp::Reverse;
use std::hash::BuildHasherDefault;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use rpds::HashTrieMapSync;
use rustc_hash::FxHasher;

use crate::facts::Facts;
use crate::interest::{Interest, Specificity};
use crate::matching::{Family, Match};

/// Something for each of many interests.
#[derive(Clone)]
pub struct Interests<T> {
    shapes: Vec<Shape<T>>,
}

impl<T> Default for Interests<T> {
    fn default() -> Interests<T> {
        Interests { shapes: Vec::new() }
    }
}

/// What interests of one shape have alike; the greater, the more specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Form {
    /// Length of the source prefix, and whether it is one of IPv4.
    source: Option<(u8, bool)>,
    interface: bool,
}

#[derive(Clone)]
struct Shape<T> {
    form: Form,
    /// How many cells there are of each row.
    used: [u32; ROWS],
    /// The rows of which there are any, as bits.
    rows: u64,
    cells: HashTrieMapSync<Key, Vec<Item<T>>, BuildHasherDefault<FxHasher>>,
}

/// Where an interest is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    place: Place,
    source: u128,
    interface: u32,
}

/// What a match looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    row: u8,
    /// Of IPv4, IPv6, or whatever is no matter of a family.
    family: u8,
    key: u64,
}

/// Sizes of blocks of ports: 1, 2, 4, … 65536.
const BLOCKS: u8 = 17;
const UDP: u8 = 0;
const TCP: u8 = UDP + BLOCKS;
const TCP_SOURCE: u8 = TCP + BLOCKS;
const ICMP: u8 = TCP_SOURCE + BLOCKS;
const PROTOCOL: u8 = ICMP + 1;
const ETHERTYPE: u8 = PROTOCOL + 1;
const LLC: u8 = ETHERTYPE + 1;
const MAC: u8 = LLC + 1;
const ANY: u8 = MAC + 1;
const ROWS: usize = ANY as usize + 1;

#[derive(Clone)]
struct Item<T> {
    /// The greatest has the packet.
    rank: (Specificity, Reverse<u32>),
    /// Only what left the graph for one of these reasons.
    from: Option<Arc<[u32]>>,
    value: T,
}

impl<T: Clone> Interests<T> {
    /// Adds one. Of equally specific ones, that with the lowest `number` has the packet; no two have the same. With `from`, it is only for
    /// what left the graph for one of these reasons.
    pub fn insert(&mut self, interest: &Interest, number: u32, from: Option<Arc<[u32]>>, value: T) {
        let form = Form::of(interest);
        let at = self.shapes.partition_point(|shape| shape.form > form);
        if self.shapes.get(at).is_none_or(|shape| shape.form != form) {
            let cells = HashTrieMapSync::new_with_hasher_and_ptr_kind(BuildHasherDefault::default());
            self.shapes.insert(at, Shape { form, used: [0; ROWS], rows: 0, cells });
        }
        let shape = &mut self.shapes[at];
        let rank = (interest.specificity(), Reverse(number));
        for key in keys(interest) {
            let item = Item { rank, from: from.clone(), value: value.clone() };
            match shape.cells.get_mut(&key) {
                Some(items) => {
                    let at = items.partition_point(|other| other.rank > rank);
                    items.insert(at, item);
                }
                None => {
                    shape.cells.insert_mut(key, vec![item]);
                    shape.count(key.place.row, |used| used + 1);
                }
            }
        }
    }

    /// Takes out what was put in with this interest and number.
    pub fn remove(&mut self, interest: &Interest, number: u32) {
        let form = Form::of(interest);
        let Some(at) = self.shapes.iter().position(|shape| shape.form == form) else { return };
        let shape = &mut self.shapes[at];
        let rank = (interest.specificity(), Reverse(number));
        for key in keys(interest) {
            let Some(items) = shape.cells.get_mut(&key) else { continue };
            items.retain(|item| item.rank != rank);
            if items.is_empty() {
                shape.cells.remove_mut(&key);
                shape.count(key.place.row, |used| used - 1);
            }
        }
        if shape.rows == 0 {
            self.shapes.remove(at);
        }
    }
}

impl<T> Interests<T> {
    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    /// What was put in for the most specific of those that cover a packet.
    pub fn find(&self, facts: &Facts) -> Option<&T> {
        self.search(facts, || {})
    }

    /// The same; `look` is called for each look at anything.
    fn search(&self, facts: &Facts, mut look: impl FnMut()) -> Option<&T> {
        let (places, len) = places(facts);
        self.shapes.iter().find_map(|shape| shape.search(facts, &places[..len], &mut look))
    }
}

impl<T> Shape<T> {
    fn count(&mut self, row: u8, change: impl Fn(u32) -> u32) {
        let used = &mut self.used[row as usize];
        *used = change(*used);
        self.rows = if *used > 0 { self.rows | 1 << row } else { self.rows & !(1 << row) };
    }

    fn search(&self, facts: &Facts, places: &[Place], look: &mut impl FnMut()) -> Option<&T> {
        let source = match (self.form.source, facts.source) {
            (None, _) => 0,
            (Some((length, ip4)), Some(source)) if source.is_ipv4() == ip4 => masked(source, length),
            _ => return None,
        };
        let interface = if self.form.interface { facts.interface } else { 0 };
        let mut best: Option<&Item<T>> = None;
        for place in places.iter().filter(|place| self.rows & 1 << place.row != 0) {
            look();
            let Some(items) = self.cells.get(&Key { place: *place, source, interface }) else { continue };
            let suits = |item: &&Item<T>| {
                look();
                item.from.as_ref().is_none_or(|from| from.contains(&facts.reason))
            };
            let found = items.iter().find(suits);
            if let Some(found) = found
                && best.is_none_or(|best| found.rank > best.rank)
            {
                best = Some(found);
            }
        }
        best.map(|item| &item.value)
    }
}

impl Form {
    fn of(interest: &Interest) -> Form {
        let source = interest.source.map(|source| (source.length(), source.is_ipv4()));
        Form { source, interface: interest.interface.is_some() }
    }
}

/// Where an interest is put.
fn keys(interest: &Interest) -> impl Iterator<Item = Key> {
    let source = interest.source.map_or(0, |source| masked(source.address(), source.length()));
    let interface = interest.interface.unwrap_or(0);
    places_of(interest).into_iter().map(move |place| Key { place, source, interface })
}

/// What an interest's match looks for.
fn places_of(interest: &Interest) -> Vec<Place> {
    let of_source = interest.source.map(|source| if source.is_ipv4() { Family::Ip4 } else { Family::Ip6 });
    let families: &[u8] = match interest.matching.family().or(of_source) {
        Some(Family::Ip4) => &[4],
        Some(Family::Ip6) => &[6],
        None => &[4, 6],
    };
    let single = |row: u8, key: u64| vec![Place { row, family: 0, key }];
    let ports = |row: u8, ports: &RangeInclusive<u16>| {
        let blocks = blocks(ports.clone());
        let of_block = |(size, key): (u8, u16)| {
            families.iter().map(move |&family| Place { row: row + size, family, key: key as u64 })
        };
        blocks.flat_map(of_block).collect::<Vec<Place>>()
    };
    match &interest.matching {
        Match::Udp { ports: range, .. } => ports(UDP, range),
        Match::Tcp { ports: range, any, .. } => {
            let mut places = ports(TCP, range);
            if *any {
                places.extend(ports(TCP_SOURCE, range));
            }
            places
        }
        Match::Icmp4 { kind } => vec![Place { row: ICMP, family: 4, key: *kind as u64 }],
        Match::Icmp6 { kind } => vec![Place { row: ICMP, family: 6, key: *kind as u64 }],
        Match::Protocol { number, .. } => {
            let of_family = |&family| Place { row: PROTOCOL, family, key: *number as u64 };
            families.iter().map(of_family).collect()
        }
        Match::Ethertype(number) => single(ETHERTYPE, *number as u64),
        Match::Llc(number) => single(LLC, *number as u64),
        Match::Mac(mac) => single(MAC, number_of(mac.0)),
        Match::Reason(_) => single(ANY, 0),
    }
}

/// Blocks of ports that make up a range: the power of two of a block's size, and its first port divided by that.
pub fn blocks(ports: RangeInclusive<u16>) -> impl Iterator<Item = (u8, u16)> {
    let (mut at, end) = (*ports.start() as u32, *ports.end() as u32 + 1);
    std::iter::from_fn(move || {
        let rest = end.checked_sub(at).filter(|rest| *rest > 0)?;
        let size = at.trailing_zeros().min(rest.ilog2());
        let block = (size as u8, (at >> size) as u16);
        at += 1 << size;
        Some(block)
    })
}

/// The most places in which an interest can be that covers a packet.
const PLACES: usize = 2 * BLOCKS as usize + 6;

/// Where interests are that cover a packet.
fn places(facts: &Facts) -> ([Place; PLACES], usize) {
    let mut places = [Place { row: ANY, family: 0, key: 0 }; PLACES];
    // The first stands for whatever it is.
    let mut len = 1;
    let mut add = |row: u8, family: u8, key: u64| {
        places[len] = Place { row, family, key };
        len += 1;
    };
    let family = facts.source.map_or(0, |source| if source.is_ipv4() { 4 } else { 6 });
    let mut ports = |row: u8, port: u16| {
        (0..BLOCKS).for_each(|size| add(row + size, family, port as u64 >> size));
    };
    match (facts.protocol, facts.ports) {
        (Some(17), Some((_, destination))) => ports(UDP, destination),
        (Some(6), Some((source, destination))) => {
            ports(TCP, destination);
            ports(TCP_SOURCE, source);
        }
        _ => {}
    }
    if let (Some(1 | 58), Some(kind)) = (facts.protocol, facts.kind)
        && (facts.protocol == Some(1)) == (family == 4)
    {
        add(ICMP, family, kind as u64);
    }
    if let Some(protocol) = facts.protocol {
        add(PROTOCOL, family, protocol as u64);
    }
    let rows = [
        (ETHERTYPE, facts.ethertype.map(u64::from)),
        (LLC, facts.llc.map(u64::from)),
        (MAC, Some(number_of(facts.destination))),
    ];
    for (row, key) in rows {
        if let Some(key) = key {
            add(row, 0, key);
        }
    }
    (places, len)
}

fn number_of(mac: [u8; 6]) -> u64 {
    mac.iter().fold(0, |number, &byte| number << 8 | byte as u64)
}

/// The first `length` bits of an address.
fn masked(address: IpAddr, length: u8) -> u128 {
    let (bits, width) = match address {
        IpAddr::V4(address) => (address.to_bits() as u128, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    bits.checked_shr(width - (length as u32).min(width)).unwrap_or(0)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interest(matching: &str, source: Option<&str>, interface: Option<u32>) -> Interest {
        let source = source.map(|source| source.parse().expect("a prefix"));
        Interest { matching: matching.parse().expect("a match"), source, interface }
    }

    fn udp(source: &str, port: u16) -> Facts {
        let source = Some(source.parse().expect("an address"));
        Facts { source, protocol: Some(17), ports: Some((9, port)), interface: 1, ..Facts::default() }
    }

    /// How many looks it takes to find who has a packet.
    fn looks(interests: &Interests<u32>, facts: &Facts) -> u32 {
        let mut looks = 0;
        interests.search(facts, || looks += 1);
        looks
    }

    #[test]
    fn a_packet_costs_as_many_looks_among_two_thousand_as_among_two() {
        let stories: [fn(u32) -> Interest; 4] = [
            |at| interest(&format!("udp:{}", 5000 + at), Some("10.0.0.0/8"), None),
            |at| interest(&format!("udp:{}-{}", 5000 + at, 5007 + at), Some("10.0.0.0/8"), None),
            |at| interest("udp:5000", Some(&format!("10.0.{}.{}/32", at >> 8, at & 255)), None),
            |at| interest("udp:5000", None, Some(at)),
        ];
        for (story, most) in stories.iter().zip([2, 2 * 4, 2, 2]) {
            let mut interests = Interests::default();
            let mut counts = Vec::new();
            for at in 0..2000 {
                interests.insert(&story(at), at, None, at);
                if at % 500 == 499 {
                    let packets = (0..3000).map(|port| udp("10.0.0.7", 4000 + port));
                    counts.push(packets.map(|facts| looks(&interests, &facts)).max().expect("some"));
                }
            }
            assert!(counts.iter().all(|count| *count <= most), "{counts:?} looks, {most} at most");
            (0..2000).for_each(|at| interests.remove(&story(at), at));
            assert!(interests.is_empty());
        }
    }

    #[test]
    fn a_range_is_made_of_few_blocks() {
        let all = |range: RangeInclusive<u16>| blocks(range).collect::<Vec<_>>();
        assert_eq!(all(0..=65535), [(16, 0)]);
        assert_eq!(all(7..=7), [(0, 7)]);
        assert_eq!(all(1..=6), [(0, 1), (1, 1), (1, 2), (0, 6)]);
        assert_eq!(all(1..=65534).len(), 30);
        assert_eq!(all(65535..=65535), [(0, 65535)]);
    }

    fn interests() -> impl Strategy<Value = Interest> {
        let matches = vec![
            "udp:5",
            "udp4:5",
            "udp:3-9",
            "udp6:0-65535",
            "udp:4-5",
            "tcp:5",
            "tcp:5/any",
            "tcp:2-7/any",
            "tcp4:2-7",
            "icmp:8",
            "icmp6:8",
            "proto:17",
            "proto:6",
            "proto:58",
            "ethertype:0x88cc",
            "llc:0x42",
            "mac:01:80:c2:00:00:02",
            "reason:ip4.*",
        ];
        let sources = vec!["0.0.0.0/0", "10.0.0.0/8", "10.0.0.7/32", "::/0", "2001:db8::/32"];
        let source = prop::option::of(prop::sample::select(sources));
        let all = (prop::sample::select(matches), source, prop::option::of(1u32..3));
        all.prop_filter_map("no packet is of two families", |(matching, source, interface)| {
            let interest = interest(matching, source, interface);
            let of_source = source.map(|source| if source.contains(':') { Family::Ip6 } else { Family::Ip4 });
            let same =
                of_source.is_none() || interest.matching.family().is_none_or(|it| Some(it) == of_source);
            same.then_some(interest)
        })
    }

    fn packets() -> impl Strategy<Value = Facts> {
        let source =
            prop::sample::select(vec!["10.0.0.7", "10.1.0.7", "192.0.2.1", "2001:db8::1", "fd00::1"]);
        let ip = (source, prop::sample::select(vec![1u8, 6, 17, 58, 89]), 0u16..10, 0u16..10, 1u32..4)
            .prop_map(|(source, protocol, from, to, interface)| Facts {
                interface,
                source: Some(source.parse().expect("an address")),
                protocol: Some(protocol),
                ports: matches!(protocol, 6 | 17).then_some((from, to)),
                kind: matches!(protocol, 1 | 58).then_some(8),
                ..Facts::default()
            });
        let link = (any::<bool>(), 1u8..4, 1u32..4).prop_map(|(llc, group, interface)| Facts {
            interface,
            ethertype: (!llc).then_some(0x88cc),
            llc: llc.then_some(0x42),
            destination: [1, 0x80, 0xc2, 0, 0, group],
            ..Facts::default()
        });
        prop_oneof![3 => ip, 1 => link]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_found_is_what_a_walk_over_all_of_them_finds(
            steps in prop::collection::vec((interests(), any::<bool>()), 1..40),
            packets in prop::collection::vec(packets(), 1..20),
        ) {
            let (mut interests, mut plain) = (Interests::default(), Vec::<(Interest, u32)>::new());
            for (number, (interest, insert)) in (0..).zip(steps) {
                if insert || plain.is_empty() {
                    interests.insert(&interest, number, None, number);
                    plain.push((interest, number));
                } else {
                    let (interest, number) = plain.remove(number as usize % plain.len());
                    let before = interests.clone();
                    interests.remove(&interest, number);
                    prop_assert!(!before.is_empty());
                }
            }
            for facts in packets {
                let covers = plain.iter().filter(|(interest, _)| interest.covers(&facts));
                let best = covers.max_by_key(|(interest, number)| (interest.specificity(), Reverse(*number)));
                prop_assert_eq!(interests.find(&facts).copied(), best.map(|(_, number)| *number), "{:?}", facts);
            }
        }
    }
}

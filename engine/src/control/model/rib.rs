//! Every route there is, whoever made it: what the FIBs should hold, and why.

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::net::IpAddr;
use std::ops::Bound;
use std::str::FromStr;

use ipnet::IpNet;
use punt::Prefix;

use super::Life;

/// Where a route comes from. Of several to one prefix the first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// An address of the router's.
    Local,
    /// The first or last address of an interface's IPv4 subnet; the first of an IPv6 subnet, which all its routers share.
    Broadcast,
    /// An interface's subnet.
    Connected,
    /// The operator or the configuration.
    Static,
    /// A neighbour.
    Neighbor,
}

impl Source {
    const ALL: [Source; SOURCES] =
        [Source::Local, Source::Broadcast, Source::Connected, Source::Static, Source::Neighbor];
}

const SOURCES: usize = 5;

/// What names a route. In this order routes are listed; the first of a prefix is the one that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Where it leads.
    pub prefix: Prefix,
    /// Where it comes from.
    pub source: Source,
    /// The metric of a static route, the interface of another.
    pub number: u32,
}

impl fmt::Display for Key {
    /// As the cursor of a list.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.prefix, self.source as u8, self.number)
    }
}

impl FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Key, ()> {
        let mut words = text.split(' ');
        let mut key = || {
            let prefix = words.next()?.parse().ok()?;
            let source = words.next()?.parse::<usize>().ok()?;
            let number = words.next()?.parse().ok()?;
            Some(Key { prefix, source: *Source::ALL.get(source)?, number })
        };
        key().ok_or(())
    }
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it leads, by its number in the tables.
    pub hop: u32,
    /// Whether the operator named the interface.
    pub dev_named: bool,
    /// How long it is meant to stay.
    pub life: Life,
}

/// All routes.
#[derive(Default)]
pub struct Rib {
    prefixes: BTreeMap<Prefix, Entry>,
    /// How many there are by family and source, and of each length.
    counts: [[Counts; SOURCES]; 2],
}

/// The routes to one prefix, the one that counts first. As a rule there is one, and it takes no memory of its own.
enum Entry {
    One(Route),
    Several(Vec<Route>),
}

#[derive(Clone, Copy)]
struct Route {
    source: Source,
    number: u32,
    candidate: Candidate,
}

/// What was changed of the routes to a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The route that was there under this key.
    pub route: Option<Candidate>,
    /// The hop that counted before.
    pub before: Option<u32>,
    /// The hop that counts now.
    pub after: Option<u32>,
}

struct Counts {
    routes: usize,
    lengths: [u32; 129],
}

impl Default for Counts {
    fn default() -> Counts {
        Counts { routes: 0, lengths: [0; 129] }
    }
}

impl Entry {
    fn routes(&self) -> &[Route] {
        match self {
            Entry::One(route) => std::slice::from_ref(route),
            Entry::Several(routes) => routes,
        }
    }

    fn best(&self) -> Option<u32> {
        self.routes().first().map(|route| route.candidate.hop)
    }

    /// Puts a route in, in another's place or takes it out; returns what was there.
    fn set(&mut self, key: Key, candidate: Option<Candidate>) -> Option<Candidate> {
        let Key { source, number, .. } = key;
        let place =
            self.routes().binary_search_by_key(&(source, number), |route| (route.source, route.number));
        let routes = match (&mut *self, candidate, place) {
            (Entry::One(route), Some(candidate), Ok(_)) => {
                return Some(std::mem::replace(&mut route.candidate, candidate));
            }
            (Entry::One(_), None, Err(_)) => return None,
            (Entry::One(route), _, _) => {
                *self = Entry::Several(vec![*route]);
                let Entry::Several(routes) = self else { return None };
                routes
            }
            (Entry::Several(routes), _, _) => routes,
        };
        let old = match (candidate, place) {
            (Some(candidate), Ok(at)) => Some(std::mem::replace(&mut routes[at].candidate, candidate)),
            (Some(candidate), Err(at)) => {
                routes.insert(at, Route { source, number, candidate });
                None
            }
            (None, Ok(at)) => Some(routes.remove(at).candidate),
            (None, Err(_)) => None,
        };
        if let [route] = routes[..] {
            *self = Entry::One(route);
        }
        old
    }
}

impl Rib {
    /// Puts a route in, in another's place or takes it out.
    pub fn set(&mut self, key: Key, candidate: Option<Candidate>) -> Changed {
        let changed = match (self.prefixes.entry(key.prefix), candidate) {
            (btree_map::Entry::Vacant(_), None) => Changed { route: None, before: None, after: None },
            (btree_map::Entry::Vacant(vacant), Some(candidate)) => {
                vacant.insert(Entry::One(Route { source: key.source, number: key.number, candidate }));
                Changed { route: None, before: None, after: Some(candidate.hop) }
            }
            (btree_map::Entry::Occupied(mut occupied), _) => {
                let entry = occupied.get_mut();
                let before = entry.best();
                let only = matches!(entry, Entry::One(route) if (route.source, route.number) == (key.source, key.number));
                if only && candidate.is_none() {
                    let route = entry.routes().first().map(|route| route.candidate);
                    occupied.remove();
                    Changed { route, before, after: None }
                } else {
                    let route = entry.set(key, candidate);
                    Changed { route, before, after: entry.best() }
                }
            }
        };
        let counts = &mut self.counts[family(key.prefix)][key.source as usize];
        let length = &mut counts.lengths[usize::from(key.prefix.length())];
        match (changed.route.is_some(), candidate.is_some()) {
            (false, true) => (counts.routes, *length) = (counts.routes + 1, *length + 1),
            (true, false) => (counts.routes, *length) = (counts.routes - 1, *length - 1),
            _ => {}
        }
        changed
    }

    /// A route.
    pub fn get(&self, key: &Key) -> Option<Candidate> {
        self.of(key.prefix).find(|(there, _)| there == key).map(|(_, candidate)| candidate)
    }

    /// The one that counts of those to exactly this prefix.
    pub fn best(&self, prefix: Prefix) -> Option<(Key, Candidate)> {
        self.of(prefix).next()
    }

    /// All to exactly this prefix, the one that counts first.
    pub fn of(&self, prefix: Prefix) -> impl Iterator<Item = (Key, Candidate)> + '_ {
        let routes = self.prefixes.get(&prefix).map_or(&[][..], Entry::routes);
        routes.iter().map(move |route| route.at(prefix))
    }

    /// The static routes to this prefix, the least metric first.
    pub fn statics(&self, prefix: Prefix) -> impl Iterator<Item = (Key, Candidate)> + '_ {
        self.of(prefix).filter(|(key, _)| key.source == Source::Static)
    }

    /// All routes behind `key`, or from the first on.
    pub fn after(&self, key: Option<Key>) -> impl Iterator<Item = (Key, Candidate)> + '_ {
        let from = key.map_or(Bound::Unbounded, |key| Bound::Included(key.prefix));
        let entries = self.prefixes.range((from, Bound::Unbounded));
        let routes = entries.flat_map(|(prefix, entry)| entry.routes().iter().map(|route| route.at(*prefix)));
        routes.skip_while(move |(there, _)| key.is_some_and(|key| *there <= key))
    }

    /// The route that a packet to `address` takes.
    pub fn longest(&self, address: IpAddr) -> Option<(Key, Candidate)> {
        self.covering(address, |lengths, length| lengths.iter().any(|counts| counts.lengths[length] > 0))
            .find_map(|prefix| self.best(prefix))
    }

    /// The interface whose subnet a packet to `address` is for, whoever is a neighbour there.
    pub fn attached(&self, address: IpAddr) -> Option<u32> {
        let others = |lengths: &[Counts; SOURCES], length: usize| {
            lengths[..Source::Neighbor as usize].iter().any(|counts| counts.lengths[length] > 0)
        };
        // Of several to one prefix a neighbour's comes last.
        let best = |prefix| self.best(prefix).filter(|(key, _)| key.source != Source::Neighbor);
        let (key, _) = self.covering(address, others).find_map(best)?;
        (key.source == Source::Connected).then_some(key.number)
    }

    /// The shortest prefix of a source, in a family (0 is IPv4).
    pub fn shortest(&self, family: usize, source: Source) -> Option<u8> {
        let lengths = &self.counts[family][source as usize].lengths;
        (0..=128).find(|length| lengths[usize::from(*length)] > 0)
    }

    /// The interface with the narrowest subnet that holds `address`.
    pub fn connected(&self, address: IpAddr) -> Option<u32> {
        let connected = |prefix| self.of(prefix).find(|(key, _)| key.source == Source::Connected);
        self.covering(address, |lengths, length| lengths[Source::Connected as usize].lengths[length] > 0)
            .find_map(connected)
            .map(|(key, _)| key.number)
    }

    /// The prefixes that hold `address`, of lengths that `there` says there are, from the longest.
    fn covering(
        &self,
        address: IpAddr,
        there: impl Fn(&[Counts; SOURCES], usize) -> bool,
    ) -> impl Iterator<Item = Prefix> {
        let bits = if address.is_ipv4() { 32u8 } else { 128 };
        let counts = &self.counts[usize::from(address.is_ipv6())];
        let lengths = (0..=bits).rev().filter(move |length| there(counts, usize::from(*length)));
        lengths.filter_map(move |length| IpNet::new(address, length).ok()).map(Prefix::from)
    }

    /// How many there are of a family (0 is IPv4) and a source.
    pub fn count(&self, family: usize, source: Source) -> usize {
        self.counts[family][source as usize].routes
    }
}

impl Route {
    fn at(&self, prefix: Prefix) -> (Key, Candidate) {
        (Key { prefix, source: self.source, number: self.number }, self.candidate)
    }
}

/// 0 for IPv4, 1 for IPv6.
pub fn family(prefix: Prefix) -> usize {
    usize::from(!prefix.is_ipv4())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(prefix: &str, source: Source, number: u32) -> Key {
        Key { prefix: prefix.parse().unwrap(), source, number }
    }

    fn to(hop: u32) -> Option<Candidate> {
        Some(Candidate { hop, dev_named: false, life: Life::Operator })
    }

    #[test]
    fn of_several_sources_the_first_counts_and_the_next_takes_its_place() {
        let mut rib = Rib::default();
        let prefix = "10.0.0.0/24".parse().unwrap();
        let order = [
            (Source::Local, 1),
            (Source::Connected, 2),
            (Source::Static, 10),
            (Source::Static, 20),
            (Source::Neighbor, 1),
        ];
        for (hop, &(source, number)) in order.iter().enumerate().rev() {
            rib.set(Key { prefix, source, number }, to(hop as u32));
        }
        for (hop, &(source, number)) in order.iter().enumerate() {
            assert_eq!(rib.best(prefix).map(|(_, route)| route.hop), Some(hop as u32));
            let next = order.get(hop + 1).map(|_| hop as u32 + 1);
            let changed = rib.set(Key { prefix, source, number }, None);
            assert_eq!(changed, Changed { route: to(hop as u32), before: Some(hop as u32), after: next });
            assert_eq!(rib.set(Key { prefix, source, number }, None).route, None, "it is gone already");
        }
        assert_eq!(rib.best(prefix), None);
        assert_eq!(rib.count(0, Source::Static), 0);
    }

    #[test]
    fn the_longest_prefix_that_holds_an_address_is_its_route() {
        let mut rib = Rib::default();
        for (hop, prefix) in
            ["default", "10.0.0.0/8", "10.0.0.1/32", "default6", "fd00::/64"].into_iter().enumerate()
        {
            rib.set(key(prefix, Source::Static, 0), to(hop as u32));
        }
        let longest = |address: &str| rib.longest(address.parse().unwrap()).map(|(_, route)| route.hop);
        let addresses = ["192.0.2.1", "10.9.9.9", "10.0.0.1", "fe80::1", "fd00::7"];
        assert_eq!(addresses.map(longest), [0, 1, 2, 3, 4].map(Some));
    }

    #[test]
    fn the_narrowest_subnet_reaches_a_next_hop_whatever_other_routes_say() {
        let mut rib = Rib::default();
        rib.set(key("10.0.0.0/8", Source::Connected, 1), to(1));
        rib.set(key("10.0.0.0/24", Source::Connected, 2), to(2));
        rib.set(key("10.0.0.0/24", Source::Static, 0), to(3));
        rib.set(key("10.0.0.128/25", Source::Static, 0), to(4));
        let connected = |address: &str| rib.connected(address.parse().unwrap());
        assert_eq!(["10.0.0.200", "10.1.0.1", "11.0.0.1"].map(connected), [Some(2), Some(1), None]);
    }

    #[test]
    fn the_list_goes_on_behind_any_route_even_one_that_has_gone() {
        let mut rib = Rib::default();
        let all = [
            key("10.0.0.0/8", Source::Static, 0),
            key("10.0.0.0/24", Source::Connected, 1),
            key("10.0.0.0/24", Source::Static, 5),
            key("10.0.0.0/24", Source::Static, 7),
            key("default6", Source::Static, 0),
        ];
        for key in all.into_iter().rev() {
            rib.set(key, to(1));
        }
        let behind = |rib: &Rib, key| rib.after(key).map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(behind(&rib, None), all);
        for at in 0..all.len() {
            assert_eq!(behind(&rib, Some(all[at])), all[at + 1..]);
            let route = rib.set(all[at], None).route;
            assert_eq!(behind(&rib, Some(all[at])), all[at + 1..]);
            rib.set(all[at], route);
            assert_eq!(all[at].to_string().parse(), Ok(all[at]));
        }
    }

    #[test]
    fn a_route_that_is_alone_takes_little_memory() {
        assert!(size_of::<(Prefix, Entry)>() <= 48, "{}", size_of::<(Prefix, Entry)>());
    }
}

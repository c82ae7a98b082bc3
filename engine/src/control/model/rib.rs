//! Every route there is, whoever made it: what the FIBs should hold, and why.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;

use ipnet::IpNet;
use punt::Prefix;

use super::Life;

/// Where a route comes from. Of several to one prefix the first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// An address of the router's.
    Local,
    /// The first or last address of an interface's IPv4 subnet.
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

impl Key {
    /// The first that a prefix can have.
    pub fn first(prefix: Prefix) -> Key {
        Key { prefix, source: Source::Local, number: 0 }
    }

    /// As the cursor of a list.
    pub fn to_cursor(self) -> String {
        format!("{} {} {}", self.prefix, self.source as u8, self.number)
    }

    /// The key of a cursor, if it is one.
    pub fn from_cursor(text: &str) -> Option<Key> {
        let mut words = text.split(' ');
        let prefix = words.next()?.parse().ok()?;
        let source = words.next()?.parse::<usize>().ok()?;
        let number = words.next()?.parse().ok()?;
        Some(Key { prefix, source: *Source::ALL.get(source)?, number })
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
    routes: BTreeMap<Key, Candidate>,
    /// How many there are by family and source, and of each length.
    counts: [[Counts; SOURCES]; 2],
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

impl Rib {
    /// Puts a route in, in another's place or takes it out; returns what was there.
    pub fn set(&mut self, key: Key, route: Option<Candidate>) -> Option<Candidate> {
        let old = match route {
            Some(route) => self.routes.insert(key, route),
            None => self.routes.remove(&key),
        };
        let counts = &mut self.counts[family(key.prefix)][key.source as usize];
        let length = &mut counts.lengths[usize::from(key.prefix.length())];
        match (old.is_some(), route.is_some()) {
            (false, true) => (counts.routes, *length) = (counts.routes + 1, *length + 1),
            (true, false) => (counts.routes, *length) = (counts.routes - 1, *length - 1),
            _ => {}
        }
        old
    }

    /// A route.
    pub fn get(&self, key: &Key) -> Option<Candidate> {
        self.routes.get(key).copied()
    }

    /// The one that counts of those to exactly this prefix.
    pub fn best(&self, prefix: Prefix) -> Option<(Key, Candidate)> {
        self.of(prefix).next()
    }

    /// All to exactly this prefix, the one that counts first.
    pub fn of(&self, prefix: Prefix) -> impl Iterator<Item = (Key, Candidate)> + '_ {
        let from = self.routes.range(Key::first(prefix)..).map(|(key, route)| (*key, *route));
        from.take_while(move |(key, _)| key.prefix == prefix)
    }

    /// The static routes to this prefix, the least metric first.
    pub fn statics(&self, prefix: Prefix) -> impl Iterator<Item = (Key, Candidate)> + '_ {
        self.of(prefix).filter(|(key, _)| key.source == Source::Static)
    }

    /// All routes behind `key`, or from the first on.
    pub fn after(&self, key: Option<Key>) -> impl Iterator<Item = (Key, Candidate)> + '_ {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.routes.range((from, Bound::Unbounded)).map(|(key, route)| (*key, *route))
    }

    /// The route that a packet to `address` takes.
    pub fn longest(&self, address: IpAddr) -> Option<(Key, Candidate)> {
        self.covering(address, |lengths, length| lengths.iter().any(|counts| counts.lengths[length] > 0))
            .find_map(|prefix| self.best(prefix))
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
            assert_eq!(rib.set(Key { prefix, source, number }, None), to(hop as u32));
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
}

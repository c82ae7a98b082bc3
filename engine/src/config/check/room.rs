//! Whether what a configuration says itself fits into its own tables. What operators add comes on top, and is looked at when it comes.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use punt::Prefix;
use punt::control::types::Neighbor;

use super::{Index, is_link_local, too_small};
use crate::config::parse::Places;
use crate::config::read::Reader;
use crate::config::{Config, Link};
use crate::control::model::{groups_of, routes_of};
use crate::engine::SPARE_INTERFACES;

/// Notes in `reader` what does not.
pub fn check(config: &Config, index: &Index, places: &Places, reader: &mut Reader) {
    let sizes = &config.tables;
    let mut prefixes = prefixes(config);
    let neighbors = with_routes(config, index, &prefixes);
    let hops = hops(config, &neighbors);
    prefixes.extend(neighbors.into_iter().map(|neighbor| Prefix::from(neighbor.address)));
    let groups = groups_of(prefixes);
    let rooms = [("groups4", sizes.groups4(), groups[0]), ("groups6", sizes.groups6(), groups[1])];
    let rooms = rooms.map(|(table, size, needed)| (table, size as usize, needed));
    let room = room_for_hops(config);
    let size = sizes.next_hops as usize;
    let missing = hops.saturating_sub(room);
    let rooms = rooms.into_iter().chain([("next_hops", size, if missing > 0 { size + missing } else { 0 })]);
    for (table, size, needed) in rooms.filter(|(_, size, needed)| needed > size) {
        let named = places.tables.fields.iter().any(|(name, _)| **name == *table);
        let first = places.routes.first().map_or(0, |route| route.at);
        let at = if named { places.tables.of(table) } else { first };
        reader.wrong(at, if named { "tables" } else { "route" }, too_small(table, size, needed));
    }
}

/// All prefixes that will have a route, each once, but for those of neighbours.
fn prefixes(config: &Config) -> HashSet<Prefix> {
    let addresses = config.interfaces.iter().flat_map(|interface| &interface.addresses);
    let own = addresses.flat_map(|address| routes_of(*address)).map(|(prefix, _)| prefix);
    config.routes.iter().map(|route| route.prefix).chain(own).collect()
}

/// The neighbours that will have a route of their own: those that their interface's subnet leads to.
fn with_routes<'a>(config: &'a Config, index: &Index, prefixes: &HashSet<Prefix>) -> Vec<&'a Neighbor> {
    let lengths: BTreeSet<u8> = prefixes.iter().map(|prefix| prefix.length()).collect();
    let has_route = |neighbor: &&Neighbor| {
        let of = |&length: &u8| IpNet::new(neighbor.address, length).ok().map(Prefix::from);
        let best = lengths.iter().rev().filter_map(of).find(|prefix| prefixes.contains(prefix));
        let there = best.and_then(|prefix| index.subnets.get(&prefix));
        there.is_some_and(|there| there.contains(&neighbor.interface.as_str()))
    };
    config.neighbors.iter().filter(has_route).collect()
}

/// Next hops, each once: neighbours that have a route, gateways, ways of the passive punt, and sets of gateways.
fn hops(config: &Config, neighbors: &[&Neighbor]) -> usize {
    fn place(address: IpAddr, dev: Option<&str>) -> (IpAddr, Option<&str>) {
        (address, dev.filter(|_| is_link_local(address)))
    }
    let mut all: HashSet<_> = neighbors.iter().map(|it| place(it.address, None)).collect();
    let ways = config.passives.iter().filter_map(|it| Some(place(it.via?, it.redirect.as_deref())));
    all.extend(ways);
    let mut sets = HashSet::new();
    for route in &config.routes {
        let hops = route.via.iter().map(|via| place(*via, route.dev.as_deref()));
        if route.via.len() > 1 {
            sets.insert(hops.clone().collect::<Vec<_>>());
        }
        all.extend(hops);
    }
    all.len() + sets.len()
}

/// How many of these fit. A port that the file does not name makes room for more.
fn room_for_hops(config: &Config) -> usize {
    let ports = config.interfaces.iter().filter(|it| matches!(it.link, Link::Port(_))).count();
    let interfaces = ports + config.interfaces.len() + SPARE_INTERFACES;
    let of_interfaces = |it: &crate::config::Interface| {
        let routes = it.addresses.iter().flat_map(|address| routes_of(*address));
        routes.map(|(_, source)| source).collect::<HashSet<_>>().len()
    };
    // The router itself counts once for all.
    let used: usize = config.interfaces.iter().map(of_interfaces).sum();
    let slots = 4 + 2 * interfaces + (config.tables.neighbors + config.tables.next_hops) as usize;
    slots.saturating_sub(used)
}

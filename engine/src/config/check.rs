//! What does not fit together in a configuration though each part of it is right.

mod punting;
mod room;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use punt::control::types::Route;
use punt::{InterfaceAddress, Prefix};

pub use punting::would_lack_tags;

use super::parse::{Places, RoutePlaces};
use super::read::{Reader, nearest};
use super::{Config, DEFAULT_MTU, Interface, Link};
use crate::control::model::{Source, routes_of};
use crate::nodes::unrouted::never_matches;
use crate::tables::MAX_PATHS;

/// The least MTU of an interface with IPv6 addresses (RFC 8200 §5).
pub const MIN_MTU6: u16 = 1280;

/// Notes all of it in `reader`.
pub fn check(config: &Config, places: &Places, reader: &mut Reader) {
    let index = Index::new(config);
    check_links(config, &index, places, reader);
    check_addresses(config, &index, places, reader);
    check_neighbors(config, &index, places, reader);
    check_routes(config, &index, places, reader);
    punting::check(config, &index, places, reader);
    if reader.count() == 0 {
        room::check(config, &index, places, reader);
    }
}

fn check_links(config: &Config, index: &Index, places: &Places, reader: &mut Reader) {
    let mut taken: HashMap<&Link, &str> = HashMap::new();
    for (interface, place) in config.interfaces.iter().zip(&places.interfaces) {
        let key = key(interface);
        if let Some(other) = taken.insert(&interface.link, &interface.name) {
            let fault = match &interface.link {
                Link::Port(port) => {
                    format!("is port {port}, as interface {other} is; a port has one interface")
                }
                Link::Vlan { .. } => format!("has the tags of interface {other}; give it others"),
            };
            reader.wrong(place.at, &key, fault);
        }
        let (parent, tags) = match &interface.link {
            Link::Vlan { parent, tags } => (parent, tags),
            Link::Port(port) => {
                if let Some(fault) = index.no_tag(port).filter(|_| *port == interface.name) {
                    reader.wrong(place.at, &key, fault);
                }
                continue;
            }
        };
        match index.names.get(parent.as_str()).map(|parent| &parent.link) {
            Some(Link::Port(_)) => {}
            Some(Link::Vlan { parent: port, tags: outer }) => {
                let (outer, inner) = (outer.vlan, tags.vlan);
                let fault = format!(
                    "has the parent {parent}, which has a parent itself; for two tags write parent = {port:?}, vlan = {outer}, inner = {inner}"
                );
                reader.wrong(place.at, &key, fault);
            }
            None => {
                let fault =
                    format!("has the parent {parent}, which is not in this file; add [interface.{parent}]");
                reader.wrong(place.at, &key, fault);
            }
        }
    }
}

fn check_addresses(config: &Config, index: &Index, places: &Places, reader: &mut Reader) {
    let mut taken: HashMap<(IpAddr, Option<&str>), &str> = HashMap::new();
    for (interface, place) in config.interfaces.iter().zip(&places.interfaces) {
        for (address, &at) in interface.addresses.iter().zip(&place.addresses) {
            let scope = is_link_local(address.address()).then_some(interface.name.as_str());
            if let Some(other) = taken.insert((address.address(), scope), &interface.name) {
                let fault =
                    format!("{} is on interface {other} already; name an address once", address.address());
                reader.wrong(at, format_args!("{}.addresses", key(interface)), fault);
            }
            if let Some(fault) = is_end(*address) {
                reader.wrong(at, format_args!("{}.addresses", key(interface)), fault);
            }
        }
        let own = interface.addresses.iter().zip(&place.addresses);
        if let Some((_, &at)) =
            own.filter(|(address, _)| is_link_local(address.address())).nth(super::memory::MAX_LINK_LOCAL)
        {
            let fault =
                format!("are more than {} link-local ones; that many fit", super::memory::MAX_LINK_LOCAL);
            reader.wrong(at, format_args!("{}.addresses", key(interface)), fault);
        }
        let mtu = index.mtu(interface);
        if let (Some((parent, room)), Some(mtu)) = (index.room(interface), interface.mtu)
            && mtu > room
        {
            let fault = format!(
                "is {mtu}, and {parent}, of which it is a part, takes {room}; write at most that, or give {parent} more"
            );
            reader.wrong(place.mtu, format_args!("{}.mtu", key(interface)), fault);
        }
        if mtu < MIN_MTU6 && interface.addresses.iter().any(|address| address.address().is_ipv6()) {
            let fault =
                format!("is {mtu}, and the interface has IPv6 addresses; these want at least {MIN_MTU6}");
            reader.wrong(place.mtu, format_args!("{}.mtu", key(interface)), fault);
        }
    }
    for v4 in [true, false] {
        let most = super::memory::MAX_ADDRESSES as usize;
        let addresses = config.interfaces.iter().zip(&places.interfaces).flat_map(|(interface, place)| {
            let addresses = interface.addresses.iter().zip(&place.addresses);
            addresses.filter(move |(address, _)| address.address().is_ipv4() == v4)
        });
        if let Some((_, &at)) = addresses.into_iter().nth(most) {
            let family = if v4 { "IPv4" } else { "IPv6" };
            reader.wrong(
                at,
                "interface",
                format_args!("there are more than {most} {family} addresses; that many fit"),
            );
        }
    }
}

fn check_neighbors<'a>(config: &'a Config, index: &Index<'a>, places: &Places, reader: &mut Reader) {
    let mut taken = HashSet::new();
    for (neighbor, place) in config.neighbors.iter().zip(&places.neighbors) {
        if let Err(fault) = neighbor.check() {
            let (at, key) = match fault.starts_with(&neighbor.address.to_string()) {
                true => (place.address, "neighbor.address"),
                false => (place.mac, "neighbor.mac"),
            };
            reader.wrong(at, key, fault);
        }
        if let Some(fault) = index.unknown(&neighbor.interface) {
            reader.wrong(place.interface, "neighbor.interface", fault);
        }
        if let Some(subnet) = index.ends.get(&(neighbor.interface.as_str(), neighbor.address)) {
            let fault =
                format!("{} is the first or last address of {subnet}, which is no host's", neighbor.address);
            reader.wrong(place.address, "neighbor.address", fault);
        }
        if let Some(interface) = index.owner(neighbor.address, Some(&neighbor.interface)) {
            let fault = format!(
                "{} is this router's own address on {interface}; name the neighbour's",
                neighbor.address
            );
            reader.wrong(place.address, "neighbor.address", fault);
        }
        if !taken.insert((neighbor.address, &neighbor.interface)) {
            let fault = format!("{} is there twice on {}; leave one", neighbor.address, neighbor.interface);
            reader.wrong(place.address, "neighbor.address", fault);
        }
    }
    let (most, needed) = (config.tables.neighbors as usize, config.neighbors.len());
    if let Some(place) = places.neighbors.get(most) {
        reader.wrong(place.at, "neighbor", too_small("neighbors", most, needed));
    }
}

fn check_routes<'a>(config: &'a Config, index: &Index<'a>, places: &Places, reader: &mut Reader) {
    let mut taken = HashSet::new();
    let mut prefixes: [HashSet<Prefix>; 2] = Default::default();
    let mut over = [None; 2];
    let sizes = [config.tables.routes4 as usize, config.tables.routes6 as usize];
    for (route, place) in config.routes.iter().zip(&places.routes) {
        let at = place.at;
        match route.check() {
            Err(fault) => reader.wrong(at, "route", fault),
            Ok(()) => match never_matches(route.prefix) {
                Some(why) => reader.wrong(at, "route", no_match(route.prefix, why)),
                None => check_hops(index, places, route, place, reader),
            },
        }
        let metric = route.metric.unwrap_or(0);
        if !taken.insert((route.prefix, metric)) {
            let fault = format!(
                "{} is there twice with metric {metric}; leave one, or give one another metric",
                route.prefix
            );
            reader.wrong(at, "route", fault);
        }
        let family = usize::from(!route.prefix.is_ipv4());
        prefixes[family].insert(route.prefix);
        if prefixes[family].len() > sizes[family] {
            over[family].get_or_insert(at);
        }
    }
    for (family, name) in ["routes4", "routes6"].into_iter().enumerate() {
        if let Some(at) = over[family] {
            reader.wrong(at, "route", too_small(name, sizes[family], prefixes[family].len()));
        }
    }
}

/// Whether the next hops of a route can be reached.
fn check_hops<'a>(
    index: &Index<'a>,
    places: &Places,
    route: &'a Route,
    place: &RoutePlaces,
    reader: &mut Reader,
) {
    let at = place.via;
    if let Some(fault) = route.dev.as_deref().and_then(|dev| index.unknown(dev)) {
        return reader.wrong(place.dev, "route.dev", fault);
    }
    if route.via.len() > MAX_PATHS {
        let fault = format!("has {} next hops; at most {MAX_PATHS} are possible", route.via.len());
        return reader.wrong(at, "route.via", fault);
    }
    for &via in &route.via {
        if let Some(interface) = index.owner(via, route.dev.as_deref()) {
            let fault = format!("{via} is this router's own address on {interface}; name a neighbour's");
            reader.wrong(at, "route.via", fault);
        } else if route.dev.is_none() && places.interfaces_are_whole && !index.connected(via) {
            let fault = format!(
                "no interface's subnet holds {via}; name the interface with dev, or give one an address beside it"
            );
            reader.wrong(at, "route.via", fault);
        }
    }
}

/// The sentence about a route that no packet would take.
pub fn no_match(prefix: Prefix, why: &str) -> String {
    format!("{prefix} would never match: {why}; leave this route out")
}

/// The sentence about a table that is too small.
pub fn too_small(table: &str, size: usize, needed: usize) -> String {
    format!("tables.{table} is {size} and {needed} would be needed: set it to at least {needed}")
}

/// An address that means something on one link only.
pub fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(six) if six.is_unicast_link_local())
}

/// The sentence about an address that no host of its subnet can have.
pub fn is_end(address: InterfaceAddress) -> Option<String> {
    let (own, subnet) = (address.address(), address.prefix());
    let [first, last] = ends(address)?;
    let which = match own {
        _ if own == first => "network",
        _ if own == last => "broadcast",
        _ => return None,
    };
    Some(format!("{own} is the {which} address of {subnet}; give the interface another one of that subnet"))
}

/// The first and the last address of a subnet, if no host can have these.
fn ends(address: InterfaceAddress) -> Option<[IpAddr; 2]> {
    match address.net() {
        IpNet::V4(net) if net.prefix_len() <= 30 => Some([net.network().into(), net.broadcast().into()]),
        _ => None,
    }
}

fn key(interface: &Interface) -> String {
    let name = &interface.name;
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.chars().all(bare) { format!("interface.{name}") } else { format!("interface.{name:?}") }
}

/// What is asked of a configuration for each of its routes and neighbours.
struct Index<'a> {
    names: HashMap<&'a str, &'a Interface>,
    /// Whose own each address is; link-local ones are left out.
    owners: HashMap<IpAddr, &'a str>,
    /// Whose each link-local address is, on its link.
    link_local: HashSet<(&'a str, IpAddr)>,
    /// The first and last addresses of subnets, by interface.
    ends: HashMap<(&'a str, IpAddr), Prefix>,
    /// By subnet, the interfaces that have it.
    subnets: HashMap<Prefix, Vec<&'a str>>,
    /// The lengths that subnets have.
    lengths: BTreeSet<u8>,
}

impl<'a> Index<'a> {
    fn new(config: &'a Config) -> Index<'a> {
        let interfaces = || config.interfaces.iter();
        let addresses =
            || interfaces().flat_map(|interface| interface.addresses.iter().map(move |own| (interface, own)));
        let routes = |from: Source| {
            addresses().flat_map(move |(interface, own)| {
                let routes = routes_of(*own).into_iter().filter(move |(_, source)| *source == from);
                routes.map(move |(prefix, _)| (interface.name.as_str(), prefix, own.prefix()))
            })
        };
        let mut subnets: HashMap<Prefix, Vec<&str>> = HashMap::new();
        for (interface, subnet, _) in routes(Source::Connected) {
            subnets.entry(subnet).or_default().push(interface);
        }
        Index {
            names: interfaces().map(|interface| (interface.name.as_str(), interface)).collect(),
            owners: addresses()
                .filter(|(_, own)| !is_link_local(own.address()))
                .map(|(interface, own)| (own.address(), interface.name.as_str()))
                .collect(),
            link_local: addresses()
                .filter(|(_, own)| is_link_local(own.address()))
                .map(|(interface, own)| (interface.name.as_str(), own.address()))
                .collect(),
            ends: routes(Source::Broadcast)
                .map(|(interface, end, subnet)| ((interface, end.address()), subnet))
                .collect(),
            lengths: subnets.keys().map(|subnet| subnet.length()).collect(),
            subnets,
        }
    }

    /// The sentence about an interface that is not there.
    fn unknown(&self, name: &str) -> Option<String> {
        if self.names.contains_key(name) {
            return None;
        }
        let names: Vec<_> = self.names.keys().copied().collect();
        let right = match nearest(name, &names) {
            Some(right) => format!("did you mean {right}?"),
            None => format!("add [interface.{name}]"),
        };
        Some(format!("there is no interface {name} in this file; {right}"))
    }

    /// The interface that has this address; a link-local one belongs to the link of `dev`.
    fn owner(&self, address: IpAddr, dev: Option<&'a str>) -> Option<&'a str> {
        let of_link = dev.filter(|dev| self.link_local.contains(&(dev, address)));
        of_link.or_else(|| self.owners.get(&address).copied())
    }

    /// The sentence about a port that is called like a sub-interface, but for its tag.
    fn no_tag(&self, name: &str) -> Option<String> {
        let (parent, tag) = name.rsplit_once('.')?;
        let digits = !tag.is_empty() && tag.bytes().all(|c| c.is_ascii_digit());
        (digits && self.names.contains_key(parent)).then(|| {
            format!("is called like a sub-interface of {parent}, and {tag} is no tag; write one from 1 to 4094, as {parent}.100")
        })
    }

    /// The interfaces whose subnet is the narrowest that holds this address.
    fn on_subnet(&self, address: IpAddr) -> &[&'a str] {
        let subnet = |&length: &u8| IpNet::new(address, length).ok().map(Prefix::from);
        let narrowest = self.lengths.iter().rev().filter_map(subnet).find_map(|it| self.subnets.get(&it));
        narrowest.map_or(&[], Vec::as_slice)
    }

    /// Does any interface's subnet hold this address?
    fn connected(&self, address: IpAddr) -> bool {
        !self.on_subnet(address).is_empty()
    }

    /// The parent of a sub-interface, and the MTU of that.
    fn room(&self, interface: &'a Interface) -> Option<(&'a str, u16)> {
        let Link::Vlan { parent, .. } = &interface.link else { return None };
        match self.names.get(parent.as_str())? {
            Interface { link: Link::Port(_), mtu, .. } => Some((parent, mtu.unwrap_or(DEFAULT_MTU))),
            Interface { link: Link::Vlan { .. }, .. } => None,
        }
    }

    /// The MTU that an interface gets: its own or its parent's, or the default.
    fn mtu(&self, interface: &'a Interface) -> u16 {
        let room = self.room(interface).map_or(DEFAULT_MTU, |(_, room)| room);
        interface.mtu.unwrap_or(room)
    }
}

//! What is set, as lists and configurations show it.

use std::net::IpAddr;
use std::ops::Bound;

use punt::control::types::{self, NeighborRow, Route, RouteAction, RouteKind, RouteRow};
use punt::{InterfaceAddress, Mac};

use super::hops::Target;
use super::interfaces::{Effective, Iface, Link};
use super::rib::{Candidate, Key, Source};
use super::{Life, Model};
use crate::config::{self, Config, Tags};

/// An interface, as lists show it.
pub struct InterfaceFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its index.
    pub index: u32,
    /// The port, by its place in the list of ports, and by name.
    pub port: (usize, &'a str),
    /// What it does.
    pub effective: Effective,
    /// Parent and tags of a sub-interface.
    pub vlan: Option<(&'a str, Tags)>,
    /// Its addresses, in the order in which they came.
    pub addresses: Vec<InterfaceAddress>,
}

impl Model {
    /// The interfaces with an index above `after`.
    pub fn interfaces_after(&self, after: u32) -> impl Iterator<Item = InterfaceFacts<'_>> {
        let from = (Bound::Excluded(after), Bound::Unbounded);
        self.interfaces.by_index.range(from).filter_map(|(&index, interface)| self.facts(index, interface))
    }

    /// The port's interface of which each sub-interface is, or was: `(sub-interface, parent)`.
    pub fn parents(&self) -> impl Iterator<Item = (u32, u32)> {
        self.parents.iter().map(|(&child, &parent)| (child, parent))
    }

    fn facts<'a>(&'a self, index: u32, interface: &'a Iface) -> Option<InterfaceFacts<'a>> {
        let at = self.interfaces.port(index)?;
        let vlan = match interface.link {
            Link::Vlan { parent, tags } => Some((self.interfaces.name(parent), tags)),
            Link::Port(_) => None,
        };
        Some(InterfaceFacts {
            name: &interface.name,
            index,
            port: (at, &self.interfaces.ports.get(at)?.name),
            effective: self.interfaces.effective(index)?,
            vlan,
            addresses: interface.addresses.iter().map(|(own, _)| *own).collect(),
        })
    }

    /// The neighbours behind `after`, by interface and address.
    pub fn neighbors_after(
        &self,
        after: Option<(u32, IpAddr)>,
    ) -> impl Iterator<Item = ((u32, IpAddr), NeighborRow)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.neighbors.by_place().range((from, Bound::Unbounded)).map(|(&(index, address), neighbor)| {
            let interface = self.interfaces.name(index).to_string();
            ((index, address), NeighborRow { address, mac: neighbor.mac, interface })
        })
    }

    /// The routes behind `after` that an operator wants to see.
    pub fn routes_after(&self, after: Option<Key>) -> impl Iterator<Item = (Key, RouteRow)> {
        self.rib.after(after).filter_map(|(key, route)| Some((key, self.route_row(key, route)?)))
    }

    /// The same, of one prefix.
    pub fn routes_of(&self, prefix: punt::Prefix) -> impl Iterator<Item = (Key, RouteRow)> {
        self.rib.of(prefix).filter_map(|(key, route)| Some((key, self.route_row(key, route)?)))
    }

    pub(super) fn route_row(&self, key: Key, route: Candidate) -> Option<RouteRow> {
        let of_interface = |kind| {
            let dev = Some(self.interfaces.name(key.number).to_string());
            RouteRow { prefix: key.prefix, via: Vec::new(), dev, metric: 0, action: None, kind }
        };
        Some(match key.source {
            Source::Local => of_interface(RouteKind::Local),
            Source::Connected => of_interface(RouteKind::Connected),
            Source::Broadcast | Source::Neighbor => return None,
            Source::Static => {
                let Route { prefix, via, dev, metric, action } = self.route(key, route);
                RouteRow { prefix, via, dev, metric: metric.unwrap_or(0), action, kind: RouteKind::Static }
            }
        })
    }

    /// A static route as an operator would write it.
    fn route(&self, key: Key, route: Candidate) -> Route {
        let action = match self.hops.target(route.hop) {
            Some(Target::Blackhole) => Some(RouteAction::Blackhole),
            Some(Target::Unreachable) => Some(RouteAction::Unreachable),
            Some(Target::Punt) => Some(RouteAction::Punt),
            _ => None,
        };
        let hops = self.neighbors_of(route.hop);
        let dev = hops
            .first()
            .filter(|_| route.dev_named)
            .map(|(index, _)| self.interfaces.name(*index).to_string());
        let metric = Some(key.number).filter(|metric| *metric > 0);
        Route { prefix: key.prefix, via: hops.into_iter().map(|(_, via)| via).collect(), dev, metric, action }
    }

    /// The neighbours that a hop stands for.
    pub(super) fn neighbors_of(&self, hop: u32) -> Vec<(u32, IpAddr)> {
        let neighbor = |hop| match self.hops.target(hop) {
            Some(&Target::Neighbor(index, address)) => Some((index, address)),
            _ => None,
        };
        match self.hops.target(hop) {
            Some(Target::Ecmp(members)) => members.iter().filter_map(|&member| neighbor(member)).collect(),
            _ => neighbor(hop).into_iter().collect(),
        }
    }

    /// An interface as a configuration has it.
    pub fn saved_interface(&self, index: u32) -> Option<config::Interface> {
        let interface = self.interfaces.get(index)?;
        let (mtu, mac, up) = (interface.mtu(), interface.mac(), interface.up.map(|(up, _)| up));
        let Iface { name, link, addresses, .. } = interface.clone();
        let link = match link {
            Link::Port(at) => config::Link::Port(self.interfaces.ports.get(at)?.name.clone()),
            Link::Vlan { parent, tags } => {
                config::Link::Vlan { parent: self.interfaces.name(parent).to_string(), tags }
            }
        };
        let addresses = addresses.into_iter().map(|(own, _)| own).collect();
        Some(config::Interface { name, link, addresses, mtu, mac, up })
    }

    /// A static route as a configuration has it: with the interface, where that could not be found again.
    pub fn saved_route(&self, key: Key) -> Option<Route> {
        let candidate = self.rib.get(&key).filter(|_| key.source == Source::Static)?;
        let mut route = self.route(key, candidate);
        let hops = self.neighbors_of(candidate.hop);
        let found = |(index, via): &(u32, IpAddr)| {
            !config::is_link_local(*via) && self.rib.connected(*via) == Some(*index)
        };
        if let (None, Some((index, _)), false) = (&route.dev, hops.first(), hops.iter().all(found)) {
            route.dev = Some(self.interfaces.name(*index).to_string());
        }
        Some(route)
    }

    /// The static routes behind `after`, as a configuration has them.
    pub fn saved_routes_after(&self, after: Option<Key>) -> impl Iterator<Item = (Key, Route)> {
        self.rib.after(after).filter_map(|(key, _)| Some((key, self.saved_route(key)?)))
    }

    /// Everything that is set, as a configuration; what has to do with punting is not the model's.
    pub fn config(&self, eal: &[String]) -> Config {
        let neighbors = self.neighbors_after(None).map(|(_, row)| {
            let NeighborRow { address, mac, interface } = row;
            types::Neighbor { address, mac, interface }
        });
        Config {
            eal: eal.to_vec(),
            tables: self.sizes,
            interfaces: self
                .interfaces
                .by_index
                .keys()
                .filter_map(|&index| self.saved_interface(index))
                .collect(),
            neighbors: neighbors.collect(),
            routes: self.saved_routes_after(None).map(|(_, route)| route).collect(),
            ..Config::default()
        }
    }

    /// Static routes of a family (0 is IPv4), neighbours, and groups of the family's FIB.
    pub fn fill(&self, family: usize) -> (usize, usize, usize) {
        (
            self.rib.count(family, Source::Static),
            self.neighbors.by_place().len(),
            self.published.groups()[family],
        )
    }

    /// The MAC of a neighbour.
    pub fn mac_of(&self, index: u32, address: IpAddr) -> Option<(Mac, Life)> {
        self.neighbors.by_place().get(&(index, address)).map(|neighbor| (neighbor.mac, neighbor.life))
    }
}

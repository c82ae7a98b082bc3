//! Doing one change to the model alone: whether it makes sense beside what is set, and what follows from it.

use std::net::IpAddr;

use punt::control::types::{self, Address, NeighborKey};
use punt::{InterfaceAddress, Mac, Prefix};

use super::hops::Target;
use super::interfaces::{Iface, Link, routes_of};
use super::rib::{Candidate, Key, Source};
use super::{Life, Model, Neighbor, Op, Settings, SubInterface};
use crate::config::{MAX_ADDRESSES, MAX_LINK_LOCAL, MAX_MTU, MIN_MTU, MIN_MTU6, is_end, is_link_local};

pub(super) type Staging = Result<(), String>;

impl Model {
    pub(super) fn stage(&mut self, op: Op) -> Staging {
        match op {
            Op::InterfaceAdd(new) => self.add_interface(new),
            Op::InterfaceDel(name) => self.del_interface(&name),
            Op::InterfaceSet(settings) => self.set_interface(settings),
            Op::AddressAdd(address, life) => self.add_address(address, life),
            Op::AddressDel(address) => self.del_address(address),
            Op::NeighborAdd(neighbor, life) => self.set_neighbor(neighbor, life, false),
            Op::NeighborReplace(neighbor, life) => self.set_neighbor(neighbor, life, true),
            Op::NeighborDel(key) => self.del_neighbor(key),
            Op::RouteAdd(route, life) => self.set_route(route, life, false),
            Op::RouteReplace(route, life) => self.set_route(route, life, true),
            Op::RouteDel(key) => self.del_route(key),
        }
    }

    /// Keeps what the interface at `index` was before the batch.
    pub(super) fn touch_interface(&mut self, index: u32) {
        let before = self.interfaces.get(index);
        self.staged.interfaces.entry(index).or_insert_with(|| before.cloned());
    }

    fn add_interface(&mut self, new: SubInterface) -> Staging {
        let SubInterface { name, parent, tags, settings } = new;
        if self.index(&name).is_some() {
            return Err(format!("there is an interface {name} already; choose another name"));
        }
        let parent_index = self.named(&parent)?;
        if self.interfaces.get(parent_index).is_none_or(|parent| !matches!(parent.link, Link::Port(_))) {
            return Err(format!(
                "{name} cannot have the parent {parent}, which has a parent itself; use the port's interface and two tags"
            ));
        }
        let taken = self.interfaces.children(parent_index).find(|(_, taken)| *taken == tags);
        if let Some((other, _)) = taken {
            return Err(format!("{name} has the tags of {}; give it others", self.interfaces.name(other)));
        }
        let index = self.index_for(&name)?;
        self.touch_interface(index);
        self.parents.insert(index, parent_index);
        let link = Link::Vlan { parent: parent_index, tags };
        self.interfaces.by_index.insert(index, Iface::new(name.clone(), link));
        self.set_interface(Settings { name, ..settings })
    }

    /// The index of a name: the one it had before in this run, or a new one.
    fn index_for(&mut self, name: &str) -> Result<u32, String> {
        if let Some(&index) = self.indices.get(name) {
            return Ok(index);
        }
        let index = self.indices.values().max().map_or(1, |last| last + 1);
        if index > self.max_interfaces {
            let most = self.max_interfaces;
            return Err(format!(
                "{name} would be interface {index} of this run of the engine, which has room for {most}; restart it"
            ));
        }
        self.indices.insert(name.to_string(), index);
        self.staged.new_names.push(name.to_string());
        Ok(index)
    }

    fn del_interface(&mut self, name: &str) -> Staging {
        let index = self.named(name)?;
        let interface =
            self.interfaces.get(index).filter(|interface| matches!(interface.link, Link::Vlan { .. }));
        let Some(interface) = interface else {
            return Err(format!("{name} is a port's own interface, which stays; set it down instead"));
        };
        if let Some((address, _)) = interface.addresses.first() {
            return Err(format!("{name} has the address {address}; delete that first"));
        }
        if let Some(((_, address), _)) = self.neighbors.by_place().range(on(index)).next() {
            return Err(format!("{name} has the neighbour {address}; delete that first"));
        }
        // Ways are asked for when the batch is staged: some go with it, and the interface may come again with other tags.
        let leads_here = |target: &Target| target.interface() == Some(index);
        if self.hops.iter().any(|(id, target)| leads_here(target) && self.is_used_by_routes(id)) {
            return Err(format!("{name} is the way of routes; delete these first"));
        }
        self.touch_interface(index);
        self.interfaces.by_index.remove(&index);
        Ok(())
    }

    fn set_interface(&mut self, settings: Settings) -> Staging {
        let Settings { name, mtu, mac, up, life } = settings;
        let index = self.named(&name)?;
        if let Some(Some(mtu)) = mtu.filter(|mtu| mtu.is_some_and(|mtu| !(MIN_MTU..=MAX_MTU).contains(&mtu)))
        {
            return Err(format!("{name}: an MTU of {mtu} is not possible; it is {MIN_MTU} to {MAX_MTU}"));
        }
        if let Some(Some(mac)) = mac.filter(|mac| mac.is_some_and(|mac: Mac| mac.is_group() || mac.is_zero()))
        {
            return Err(format!("{name}: {mac} cannot be an interface's MAC; write a unicast one"));
        }
        self.touch_interface(index);
        if let Some(interface) = self.interfaces.by_index.get_mut(&index) {
            interface.mtu = mtu.map_or(interface.mtu, |mtu| mtu.map(|mtu| (mtu, life)));
            interface.mac = mac.map_or(interface.mac, |mac| mac.map(|mac| (mac, life)));
            interface.up = up.map_or(interface.up, |up| up.map(|up| (up, life)));
        }
        let children: Vec<_> = self.interfaces.children(index).map(|(child, _)| child).collect();
        std::iter::once(index).chain(children).try_for_each(|index| self.check_mtu(index))
    }

    /// What a sub-interface is told its parent must take, too. It is asked when the whole batch is staged, in which both may change.
    pub(super) fn check_mtus(&self) -> Staging {
        let said = |index: u32| self.interfaces.get(index).and_then(Iface::mtu);
        for &index in self.staged.interfaces.keys() {
            let parent = match self.interfaces.get(index).map(|interface| &interface.link) {
                Some(Link::Vlan { parent, .. }) => *parent,
                _ => index,
            };
            let room = self.interfaces.effective(parent).map_or(0, |effective| effective.mtu);
            let mut children = self.interfaces.children(parent);
            let too_large =
                children.find_map(|(child, _)| Some((child, said(child).filter(|mtu| *mtu > room)?)));
            if let Some((child, mtu)) = too_large {
                let (child, parent) = (self.interfaces.name(child), self.interfaces.name(parent));
                return Err(format!(
                    "{child} has an MTU of {mtu}, and {parent}, of which it is a part, would take {room}; give {child} less, or {parent} more"
                ));
            }
        }
        Ok(())
    }

    /// IPv6 addresses want a certain MTU.
    fn check_mtu(&self, index: u32) -> Staging {
        let mtu = self.interfaces.effective(index).map_or(0, |effective| effective.mtu);
        let interface = self.interfaces.get(index);
        let six =
            interface.and_then(|it| it.addresses.iter().find(|(address, _)| address.address().is_ipv6()));
        match six {
            Some((address, _)) if mtu < MIN_MTU6 => {
                let name = self.interfaces.name(index);
                Err(format!(
                    "{name} has the address {address} and would have an MTU of {mtu}; IPv6 wants at least {MIN_MTU6}"
                ))
            }
            _ => Ok(()),
        }
    }

    fn add_address(&mut self, address: Address, life: Life) -> Staging {
        let Address { address, interface: name } = address;
        let (own, index) = (address.address(), self.named(&name)?);
        if let Some(owner) = self.owner(own, index) {
            return Err(format!(
                "{own} is on {} already; an address is there once",
                self.interfaces.name(owner)
            ));
        }
        if let Some(fault) = is_end(address) {
            return Err(fault);
        }
        let (family, link) = (usize::from(own.is_ipv6()), Some(index).filter(|_| is_link_local(own)));
        if let Some(user) = self.interfaces_with_hop(own, link).next() {
            let user = self.interfaces.name(user);
            return Err(format!(
                "{own} is a neighbour or a next hop of routes on {user}; delete these first"
            ));
        }
        if link.is_some() {
            let addresses = self.interfaces.get(index).map_or(&[][..], |interface| &interface.addresses);
            if addresses.iter().filter(|(own, _)| is_link_local(own.address())).count() >= MAX_LINK_LOCAL {
                return Err(format!("{name} has {MAX_LINK_LOCAL} link-local addresses already; no more fit"));
            }
        } else if self.rib.count(family, Source::Local) >= MAX_ADDRESSES as usize {
            return Err(format!(
                "{own} does not fit beside {MAX_ADDRESSES} other addresses of its family; no more fit"
            ));
        }
        for (prefix, _) in routes_of(address).into_iter().filter(|(_, source)| *source == Source::Broadcast) {
            let end = prefix.address();
            if self.neighbors.by_place().contains_key(&(index, end)) {
                return Err(format!(
                    "{end} is a neighbour on {name}, and is the first or last address of {}, which is no host's; delete it first",
                    address.prefix()
                ));
            }
        }
        self.resolved.clear();
        self.touch_interface(index);
        if let Some(interface) = self.interfaces.by_index.get_mut(&index) {
            interface.addresses.push((address, life));
        }
        self.check_mtu(index)?;
        for (prefix, source) in routes_of(address) {
            let key = Key { prefix, source, number: index };
            if self.rib.get(&key).is_none() {
                self.put(key, target_of(key), false, Life::Config);
            }
        }
        Ok(())
    }

    /// The interface that has this address; link-local ones belong to the link of the interface at `index`.
    pub(super) fn owner(&self, address: IpAddr, index: u32) -> Option<u32> {
        if is_link_local(address) {
            let addresses = &self.interfaces.get(index)?.addresses;
            return addresses.iter().any(|(own, _)| own.address() == address).then_some(index);
        }
        let local = self.rib.of(Prefix::from(address)).find(|(key, _)| key.source == Source::Local);
        local.map(|(key, _)| key.number)
    }

    /// The interfaces on which `address` is a neighbour or a next hop of routes; of one `link` only, if that is given.
    fn interfaces_with_hop(&self, address: IpAddr, link: Option<u32>) -> impl Iterator<Item = u32> {
        let used = move |index: u32| {
            let hop = self.hops.of(&Target::Neighbor(index, address));
            self.neighbors.by_place().contains_key(&(index, address))
                || hop.is_some_and(|id| self.is_used_by_routes(id))
        };
        let here = move |index: &u32| link.is_none_or(|link| link == *index);
        self.interfaces.by_index.keys().copied().filter(move |index| here(index) && used(*index))
    }

    fn del_address(&mut self, address: Address) -> Staging {
        let Address { address, interface: name } = address;
        let index = self.named(&name)?;
        let missing = || format!("{name} has no address {address}; see puntctl address list");
        let addresses = &self.interfaces.get(index).ok_or_else(missing)?.addresses;
        let at = addresses.iter().position(|(own, _)| *own == address).ok_or_else(missing)?;
        self.resolved.clear();
        self.touch_interface(index);
        let Some(interface) = self.interfaces.by_index.get_mut(&index) else { return Err(missing()) };
        interface.addresses.remove(at);
        let others: Vec<InterfaceAddress> = interface.addresses.iter().map(|(own, _)| *own).collect();
        for route in routes_of(address) {
            // Another address of the same subnet makes some of the same routes.
            if !others.iter().any(|other| routes_of(*other).contains(&route)) {
                let (prefix, source) = route;
                self.change_route(Key { prefix, source, number: index }, None);
            }
        }
        self.check_paths(index, address)
    }

    /// A route over several interfaces cannot say which next hop is on which, so their subnets must.
    fn check_paths(&self, index: u32, gone: InterfaceAddress) -> Staging {
        let neighbor = |member: &u32| match self.hops.target(*member) {
            Some(&Target::Neighbor(index, address)) => Some((index, address)),
            _ => None,
        };
        let sets = self.hops.ecmp().filter(|(id, _)| self.hops.is_used(*id));
        for paths in sets.map(|(_, members)| members.iter().filter_map(neighbor).collect::<Vec<_>>()) {
            let mixed = paths.iter().any(|(other, _)| *other != paths[0].0);
            let lost = paths.iter().find(|(on, via)| {
                *on == index && gone.prefix().contains(*via) && self.rib.connected(*via) != Some(index)
            });
            if let (true, Some((_, via))) = (mixed, lost) {
                return Err(format!(
                    "{gone} reaches {via} for routes over several interfaces; delete these first"
                ));
            }
        }
        Ok(())
    }

    fn set_neighbor(&mut self, neighbor: types::Neighbor, life: Life, replace: bool) -> Staging {
        neighbor.check()?;
        let types::Neighbor { address, mac, interface: name } = neighbor;
        let index = self.named(&name)?;
        if let Some(owner) = self.owner(address, index) {
            return Err(format!(
                "{address} is this router's own address on {}; name the neighbour's",
                self.interfaces.name(owner)
            ));
        }
        let is_end = |key: Key| key.source == Source::Broadcast && key.number == index;
        if self.rib.of(Prefix::from(address)).any(|(key, _)| is_end(key)) {
            return Err(format!(
                "{address} is the first or last address of a subnet of {name}, which is no host's"
            ));
        }
        let before = self.neighbors.by_place().get(&(index, address)).copied();
        if let Some(before) = before.filter(|_| !replace) {
            return Err(format!(
                "{address} is a neighbour on {name} already, with {}; delete it first",
                before.mac
            ));
        }
        self.staged.neighbors.entry((index, address)).or_insert(before);
        self.neighbors.set((index, address), Some(Neighbor { mac, life }));
        Ok(())
    }

    fn del_neighbor(&mut self, key: NeighborKey) -> Staging {
        let NeighborKey { address, interface: name } = key;
        let index = self.named(&name)?;
        let Some(before) = self.neighbors.set((index, address), None) else {
            return Err(format!("{address} is no neighbour on {name}; see puntctl neighbor list"));
        };
        self.staged.neighbors.entry((index, address)).or_insert(Some(before));
        // At once, for what comes next in the batch may ask who uses its hop.
        let key = Key { prefix: Prefix::from(address), source: Source::Neighbor, number: index };
        self.change_route(key, None);
        Ok(())
    }

    /// The hop of a target, with one more user.
    pub(super) fn acquire(&mut self, target: Target) -> u32 {
        let (id, new) = self.hops.acquire(target);
        if new {
            self.staged.new_hops.push(id);
        }
        id
    }

    /// Sets a route; returns what was there.
    pub(super) fn put(&mut self, key: Key, target: Target, dev_named: bool, life: Life) -> Option<Candidate> {
        let hop = self.acquire(target);
        self.change_route(key, Some(Candidate { hop, dev_named, life }))
    }

    /// Sets a route whose hop has been acquired, or takes it out; returns what was there.
    pub(super) fn change_route(&mut self, key: Key, route: Option<Candidate>) -> Option<Candidate> {
        let changed = self.rib.set(key, route);
        if let Some(before) = changed.route {
            self.hops.release(before.hop);
        }
        self.staged.routes.push((key, changed));
        changed.route
    }
}

/// All neighbours on an interface.
pub(super) fn on(index: u32) -> std::ops::RangeInclusive<(u32, IpAddr)> {
    let (first, last) = (IpAddr::from([0; 4]), IpAddr::from([0xff; 16]));
    (index, first)..=(index, last)
}

/// Where a route leads that an address makes.
fn target_of(key: Key) -> Target {
    match key.source {
        Source::Local => Target::Local,
        Source::Broadcast if key.prefix.is_ipv4() => Target::Broadcast(key.number),
        Source::Broadcast => Target::Local,
        _ => Target::Connected(key.number),
    }
}

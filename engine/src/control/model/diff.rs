//! From what is set to what a configuration says: the operations between the two.
//!
//! What the configuration made and does not mention any more goes; what an operator made stays, unless the configuration says otherwise
//! of the same thing. So it is with each setting of an interface, too: a key that the configuration names is the configuration's, of one
//! that it does not name what an operator set stays, and what an earlier configuration set goes back to the default. Things that differ are taken out and put in again: a batch changes the tables by its net effect, so what is in use
//! is overwritten and never missing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use punt::control::types::{self, Address, NeighborKey, Route, RouteAction, RouteKey};
use punt::{InterfaceAddress, Prefix};

use super::hops::Target;
use super::interfaces::{Iface, Link, Said};
use super::rib::{Candidate, Key, Source};
use super::undo::Undo;
use super::{Life, Model, Op, Refused, Settings, SubInterface, WayTo};
use crate::config::{self, Config, Part};

/// What lies between the model and a configuration.
#[derive(Default)]
struct Difference {
    /// What goes, of what builds on others first: routes, neighbours, addresses.
    go: [Vec<Op>; 3],
    interfaces: Vec<Op>,
    come: Vec<Op>,
    /// What is there as the configuration wants it, and becomes the configuration's.
    addresses: Vec<(u32, InterfaceAddress)>,
    neighbors: Vec<(u32, IpAddr)>,
    routes: Vec<(Key, bool)>,
}

impl Difference {
    /// What is to be done, in its order.
    fn take_ops(&mut self) -> Vec<Op> {
        let go = std::mem::take(&mut self.go).into_iter().flatten();
        go.chain(self.interfaces.drain(..)).chain(self.come.drain(..)).collect()
    }
}

/// A configuration that is applied, and may yet be undone.
#[must_use]
pub struct Begun {
    difference: Difference,
    undo: Undo,
    count: usize,
}

impl Model {
    /// Does what lies between what is set and `config`, or nothing, until it is [finished](Model::finish) or [undone](Model::take_back).
    /// `beside` are the ways of others, which stay; what the configuration redirects must lead somewhere, too.
    ///
    /// # Errors
    /// When the configuration does not fit the ports, the tables, or what operators made.
    pub fn begin(&mut self, config: &Config, beside: &[WayTo]) -> Result<Begun, Refused> {
        let mut difference = self.difference(config).map_err(Refused::new)?;
        let ops = difference.take_ops();
        let count = ops.len();
        let done = self.batch_for_now(ops, |model| model.check_ways_of(config, beside));
        let undo = done.map_err(|refused| self.placed(config, refused))?;
        Ok(Begun { difference, undo, count })
    }

    /// What was begun stays, and is the configuration's; returns how many operations it took.
    pub fn finish(&mut self, config: &Config, begun: Begun) -> usize {
        let Begun { difference, undo, count } = begun;
        self.keep(undo);
        for (index, address) in difference.addresses {
            let interface = self.interfaces.by_index.get_mut(&index);
            let own = interface.and_then(|it| it.addresses.iter_mut().find(|(own, _)| *own == address));
            if let Some((_, life)) = own {
                *life = Life::Config;
            }
        }
        for interface in &config.interfaces {
            self.adopt_settings(interface);
        }
        for key in difference.neighbors {
            self.neighbors.set_life(key, Life::Config);
        }
        for (key, dev_named) in difference.routes {
            self.adopt_route(key, dev_named);
        }
        count
    }

    /// Makes everything what it was before it was begun.
    pub fn take_back(&mut self, begun: Begun) {
        self.undo(begun.undo);
    }

    /// Whether [`begin`](Model::begin) would do it, and with how many operations, as far as that can be told without doing it.
    ///
    /// # Errors
    /// Those of `begin`, but for what drivers refuse.
    pub fn check(&mut self, config: &Config, beside: &[WayTo]) -> Result<usize, Refused> {
        let ops = self.difference(config).map_err(Refused::new)?.take_ops();
        let count = ops.len();
        let done = self.rehearse(ops, |model| model.check_ways_of(config, beside));
        done.map_err(|refused| self.placed(config, refused))?;
        Ok(count)
    }

    /// Whether what a configuration redirects, and others beside it, leads somewhere.
    fn check_ways_of(&self, config: &Config, beside: &[WayTo]) -> Result<(), Refused> {
        let passives = config.passives.iter().enumerate();
        let ways: Vec<WayTo> = passives
            .filter_map(|(place, it)| {
                Some(WayTo { interface: it.redirect.clone()?, via: it.via?, place: Some(place) })
            })
            .collect();
        self.check_ways(ways.iter().chain(beside)).map_err(|(place, message)| {
            Refused::new(match place {
                Some(place) => config.fault(Part::Passive(place), "via", &message),
                None => message,
            })
        })
    }

    /// What is refused, with the place of what asks for it in its file. Everything is as it was before.
    fn placed(&self, config: &Config, refused: Refused) -> Refused {
        let ops = |_| Some(self.difference(config).ok()?.take_ops());
        let op = refused.index.and_then(|index| ops(()).and_then(|ops| ops.into_iter().nth(index)));
        let Some((part, field)) = op.and_then(|op| part_of(config, &op)) else {
            return Refused::new(refused.message);
        };
        Refused::new(config.fault(part, field, &refused.message))
    }

    /// What the configuration says of an interface is the configuration's, whoever said the same before.
    fn adopt_settings(&mut self, named: &config::Interface) {
        let Some(index) = self.index(&named.name) else { return };
        let Some(Iface { mtu, mac, up, .. }) = self.interfaces.by_index.get_mut(&index) else { return };
        let lives = [
            (named.mtu.is_some(), mtu.as_mut().map(|(_, life)| life)),
            (named.mac.is_some(), mac.as_mut().map(|(_, life)| life)),
            (named.up.is_some(), up.as_mut().map(|(_, life)| life)),
        ];
        for (_, life) in lives.into_iter().filter(|(is_named, _)| *is_named) {
            if let Some(life) = life {
                *life = Life::Config;
            }
        }
    }

    fn difference(&self, config: &Config) -> Result<Difference, String> {
        let mut difference = Difference::default();
        let wanted = self.match_interfaces(config, &mut difference)?;
        let subnets = self.compare_addresses(&wanted, &mut difference);
        self.compare_neighbors(config, &wanted, &mut difference);
        self.compare_routes(config, &wanted, &subnets, &mut difference);
        Ok(difference)
    }

    /// Finds for each interface of the configuration the one that is set, and what is to be done about the others.
    fn match_interfaces<'a>(
        &self,
        config: &'a Config,
        difference: &mut Difference,
    ) -> Result<Wanted<'a>, String> {
        let mut wanted = Wanted::default();
        let mut come = Vec::new();
        for (place, interface) in config.interfaces.iter().enumerate() {
            let index = match &interface.link {
                config::Link::Port(port) => {
                    let index = self.match_port(&interface.name, port);
                    Some(index.map_err(|fault| config.fault(Part::Interface(place), "port", &fault))?)
                }
                config::Link::Vlan { parent, tags } => self.index(&interface.name).filter(|&index| {
                    let parent = self.index(parent).unwrap_or(0);
                    self.interfaces.get(index).is_some_and(|it| it.link == Link::Vlan { parent, tags: *tags })
                }),
            };
            match (index.and_then(|index| Some((index, self.interfaces.get(index)?))), &interface.link) {
                (Some((index, set)), _) => {
                    wanted.by_index.insert(index, interface);
                    come.extend(changed(set, Some(interface)).map(Op::InterfaceSet));
                }
                (None, config::Link::Vlan { parent, tags }) => {
                    let (name, tags) = (interface.name.clone(), *tags);
                    let (mtu, mac, up) = (Some(interface.mtu), Some(interface.mac), Some(interface.up));
                    let settings = Settings { name: name.clone(), mtu, mac, up, life: Life::Config };
                    let new = SubInterface { name, parent: parent.clone(), tags, settings };
                    come.push(Op::InterfaceAdd(new));
                    // With other tags it is still the one of that name, and what operators set of it stays.
                    let before = self.index(&interface.name).and_then(|index| self.interfaces.get(index));
                    come.extend(before.and_then(|before| kept(before, interface)).map(Op::InterfaceSet));
                    wanted.new.push(interface);
                }
                (None, config::Link::Port(_)) => {}
            }
        }
        for (index, set) in &self.interfaces.by_index {
            match set.link {
                _ if wanted.by_index.contains_key(index) => {}
                Link::Port(_) => difference.interfaces.extend(changed(set, None).map(Op::InterfaceSet)),
                Link::Vlan { .. } => {
                    wanted.gone.insert(*index);
                    difference.interfaces.push(Op::InterfaceDel(set.name.clone()));
                }
            }
        }
        difference.interfaces.extend(come);
        Ok(wanted)
    }

    /// The index of the interface of a port.
    fn match_port(&self, name: &str, port: &str) -> Result<u32, String> {
        let at = self.interfaces.ports.iter().position(|known| known.name == port);
        let own = at.and_then(|at| self.interfaces.by_index.iter().find(|(_, it)| it.link == Link::Port(at)));
        match own {
            Some((&index, set)) if set.name == name => Ok(index),
            Some((_, set)) => Err(format!(
                "port {port} is interface {} since the engine started; restart it to call it {name}",
                set.name
            )),
            None => {
                let ports: Vec<_> = self.interfaces.ports.iter().map(|port| port.name.as_str()).collect();
                let there = if ports.is_empty() {
                    "there are none".into()
                } else {
                    format!("there are {}", ports.join(", "))
                };
                Err(format!("there is no port {port}; {there}"))
            }
        }
    }

    /// Returns the subnets that there will be, each with its interface's name.
    fn compare_addresses(&self, wanted: &Wanted, difference: &mut Difference) -> Subnets {
        let mut subnets = Subnets::default();
        let mut keep = |name: &str, address: InterfaceAddress| subnets.insert(address.prefix(), name);
        let add = |name: &str, address| {
            Op::AddressAdd(Address { address, interface: name.to_string() }, Life::Config)
        };
        let mut of_config = HashSet::new();
        for interface in wanted.by_index.values().chain(&wanted.new) {
            of_config.extend(interface.addresses.iter().map(|address| address.address()));
        }
        for (&index, set) in &self.interfaces.by_index {
            let asked = wanted.by_index.get(&index).map_or(&[][..], |interface| &interface.addresses);
            for &(address, life) in &set.addresses {
                if asked.contains(&address) {
                    difference.addresses.push((index, address));
                    keep(&set.name, address);
                } else if life == Life::Config
                    || of_config.contains(&address.address())
                    || wanted.gone.contains(&index)
                {
                    difference.go[2].push(Op::AddressDel(Address { address, interface: set.name.clone() }));
                    let of_file = of_config.contains(&address.address());
                    if life == Life::Operator && !of_file && wanted.comes_back(&set.name) {
                        keep(&set.name, address);
                        let address = Address { address, interface: set.name.clone() };
                        difference.come.push(Op::AddressAdd(address, life));
                    }
                } else {
                    keep(&set.name, address);
                }
            }
            for &address in asked.iter().filter(|asked| !set.addresses.iter().any(|(own, _)| own == *asked)) {
                difference.come.push(add(&set.name, address));
                keep(&set.name, address);
            }
        }
        for interface in &wanted.new {
            for &address in &interface.addresses {
                difference.come.push(add(&interface.name, address));
                keep(&interface.name, address);
            }
        }
        subnets
    }

    fn compare_neighbors(&self, config: &Config, wanted: &Wanted, difference: &mut Difference) {
        let (mut asked, mut named) = (HashSet::new(), HashSet::new());
        for neighbor in &config.neighbors {
            named.insert((neighbor.address, neighbor.interface.as_str()));
            let index = self.index(&neighbor.interface).filter(|index| !wanted.gone.contains(index));
            let key = (index.unwrap_or(0), neighbor.address);
            asked.insert(key);
            match self.neighbors.by_place().get(&key) {
                Some(set) if set.mac == neighbor.mac => difference.neighbors.push(key),
                _ => difference.come.push(Op::NeighborReplace(neighbor.clone(), Life::Config)),
            }
        }
        for (key, neighbor) in self.neighbors.by_place() {
            let goes = neighbor.life == Life::Config || wanted.gone.contains(&key.0);
            if goes && !asked.contains(key) {
                let (address, interface) = (key.1, self.interfaces.name(key.0).to_string());
                let named = named.contains(&(address, interface.as_str()));
                if neighbor.life == Life::Operator && !named && wanted.comes_back(&interface) {
                    let neighbor =
                        types::Neighbor { address, mac: neighbor.mac, interface: interface.clone() };
                    difference.come.push(Op::NeighborReplace(neighbor, Life::Operator));
                }
                difference.go[1].push(Op::NeighborDel(NeighborKey { address, interface }));
            }
        }
    }

    fn compare_routes(
        &self,
        config: &Config,
        wanted: &Wanted,
        subnets: &Subnets,
        difference: &mut Difference,
    ) {
        let mut asked = HashSet::new();
        for route in &config.routes {
            let key = Key { prefix: route.prefix, source: Source::Static, number: route.metric.unwrap_or(0) };
            asked.insert(key);
            match self.rib.get(&key) {
                Some(set) if self.is_same(set, route, wanted, subnets) => {
                    difference.routes.push((key, route.dev.is_some()));
                    continue;
                }
                Some(_) => difference.go[0]
                    .push(Op::RouteDel(RouteKey { prefix: key.prefix, metric: Some(key.number) })),
                None => {}
            }
            difference.come.push(Op::RouteAdd(route.clone(), Life::Config));
        }
        for (key, set) in self.rib.after(None) {
            let goes = set.life == Life::Config || self.leads_over(set.hop, &wanted.gone);
            if key.source == Source::Static && goes && !asked.contains(&key) {
                if set.life == Life::Operator && self.comes_back(set.hop, wanted) {
                    let again = self.saved_route(key).map(|route| Op::RouteAdd(route, Life::Operator));
                    difference.come.extend(again);
                }
                difference.go[0]
                    .push(Op::RouteDel(RouteKey { prefix: key.prefix, metric: Some(key.number) }));
            }
        }
    }

    /// Whether a hop, or any of its paths, is on one of these interfaces.
    fn leads_over(&self, hop: u32, interfaces: &HashSet<u32>) -> bool {
        match self.hops.target(hop) {
            Some(Target::Ecmp(members)) => members.iter().any(|member| self.leads_over(*member, interfaces)),
            Some(target) => target.interface().is_some_and(|index| interfaces.contains(&index)),
            None => false,
        }
    }

    /// Whether all interfaces over which a hop leads are there again under their names.
    fn comes_back(&self, hop: u32, wanted: &Wanted) -> bool {
        let hops = self.neighbors_of(hop);
        hops.iter()
            .all(|(index, _)| !wanted.gone.contains(index) || wanted.comes_back(self.interfaces.name(*index)))
    }

    /// Whether a route that is set leads where the configuration's will, once its addresses are there.
    fn is_same(&self, set: Candidate, route: &Route, wanted: &Wanted, subnets: &Subnets) -> bool {
        let leads = |member: u32, via: IpAddr| match self.hops.target(member) {
            Some(&Target::Neighbor(index, address)) => {
                let dev = route.dev.as_deref().or_else(|| subnets.interface_of(via));
                address == via && !wanted.gone.contains(&index) && dev == Some(self.interfaces.name(index))
            }
            _ => false,
        };
        match (self.hops.target(set.hop), route.action) {
            (Some(Target::Blackhole), action) => action == Some(RouteAction::Blackhole),
            (Some(Target::Unreachable), action) => action == Some(RouteAction::Unreachable),
            (Some(Target::Punt), action) => action == Some(RouteAction::Punt),
            (Some(Target::Neighbor(..)), None) => route.via.len() == 1 && leads(set.hop, route.via[0]),
            (Some(Target::Ecmp(members)), None) => {
                members.len() == route.via.len()
                    && members.iter().zip(&route.via).all(|(&member, &via)| leads(member, via))
            }
            _ => false,
        }
    }

    /// How much of what is set operators made: addresses, neighbours, routes, and settings of interfaces.
    pub fn count_of_operators(&self) -> [usize; 4] {
        let addresses = self.interfaces.by_index.values().flat_map(|interface| &interface.addresses);
        let routes = self
            .rib
            .after(None)
            .filter(|(key, route)| key.source == Source::Static && route.life == Life::Operator);
        [
            addresses.filter(|(_, life)| *life == Life::Operator).count(),
            self.neighbors.by_place().values().filter(|neighbor| neighbor.life == Life::Operator).count(),
            routes.count(),
            self.interfaces.by_index.values().map(count_of_settings).sum(),
        ]
    }
}

/// The interfaces of a configuration: those that are set already, and new ones; and those that are set and that it does not have.
#[derive(Default)]
struct Wanted<'a> {
    by_index: HashMap<u32, &'a config::Interface>,
    new: Vec<&'a config::Interface>,
    gone: HashSet<u32>,
}

impl Wanted<'_> {
    /// Whether an interface that goes is there again under its name, with other tags.
    fn comes_back(&self, name: &str) -> bool {
        self.new.iter().any(|new| new.name == name)
    }
}

/// Which interface reaches an address.
#[derive(Default)]
struct Subnets {
    interfaces: HashMap<Prefix, String>,
    lengths: BTreeSet<u8>,
}

impl Subnets {
    /// Of two interfaces with one subnet the first counts.
    fn insert(&mut self, subnet: Prefix, name: &str) {
        self.lengths.insert(subnet.length());
        self.interfaces.entry(subnet).or_insert_with(|| name.to_string());
    }

    fn interface_of(&self, address: IpAddr) -> Option<&str> {
        let subnet = |&length: &u8| IpNet::new(address, length).ok().map(Prefix::from);
        let held = |subnet: Prefix| self.interfaces.get(&subnet).map(String::as_str);
        self.lengths.iter().rev().filter_map(subnet).find_map(held)
    }
}

/// The part of a configuration that asks for an operation, and which field of it.
fn part_of(config: &Config, op: &Op) -> Option<(Part, &'static str)> {
    let interface = |name: &str| config.interfaces.iter().position(|it| it.name == name).map(Part::Interface);
    match op {
        Op::InterfaceAdd(new) => Some((interface(&new.name)?, "")),
        Op::InterfaceSet(settings) => Some((interface(&settings.name)?, "")),
        Op::AddressAdd(address, Life::Config) => Some((interface(&address.interface)?, "addresses")),
        Op::NeighborReplace(neighbor, Life::Config) => {
            let place = config.neighbors.iter().position(|it| it == neighbor)?;
            Some((Part::Neighbor(place), "address"))
        }
        Op::RouteAdd(route, Life::Config) => {
            let place = config.routes.iter().position(|it| it == route)?;
            Some((Part::Route(place), if route.via.is_empty() { "" } else { "via" }))
        }
        _ => None,
    }
}

/// What is to be set of an interface so that it is as the configuration says, or as one that does not name it, if anything.
fn changed(set: &Iface, named: Option<&config::Interface>) -> Option<Settings> {
    let settings = Settings {
        name: set.name.clone(),
        mtu: change(set.mtu, named.and_then(|named| named.mtu)),
        mac: change(set.mac, named.and_then(|named| named.mac)),
        up: change(set.up, named.and_then(|named| named.up)),
        life: Life::Config,
    };
    is_any(&settings).then_some(settings)
}

fn change<T: PartialEq>(set: Said<T>, named: Option<T>) -> Option<Option<T>> {
    match (set, named) {
        (Some((_, Life::Operator)), None) => None,
        (set, named) => (set.map(|(value, _)| value) != named).then_some(named),
    }
}

/// What operators set of an interface, and the configuration does not name.
fn kept(set: &Iface, named: &config::Interface) -> Option<Settings> {
    let settings = Settings {
        name: set.name.clone(),
        mtu: of_operators(set.mtu).filter(|_| named.mtu.is_none()).map(Some),
        mac: of_operators(set.mac).filter(|_| named.mac.is_none()).map(Some),
        up: of_operators(set.up).filter(|_| named.up.is_none()).map(Some),
        life: Life::Operator,
    };
    is_any(&settings).then_some(settings)
}

fn of_operators<T>(said: Said<T>) -> Option<T> {
    said.filter(|(_, life)| *life == Life::Operator).map(|(value, _)| value)
}

fn is_any(settings: &Settings) -> bool {
    settings.mtu.is_some() || settings.mac.is_some() || settings.up.is_some()
}

fn count_of_settings(set: &Iface) -> usize {
    let set =
        [of_operators(set.mtu).is_some(), of_operators(set.mac).is_some(), of_operators(set.up).is_some()];
    set.into_iter().filter(|set| *set).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::*;

    /// What is set of each interface, as `config save` writes it.
    fn interfaces(rig: &Rig) -> Vec<String> {
        let config = rig.model.config(&[]);
        let lines = |interface| config::write::interface(interface).trim().replace('\n', "; ");
        config.interfaces.iter().map(lines).collect()
    }

    #[test]
    fn what_an_operator_set_of_an_interface_stays_until_a_configuration_names_it() {
        let _eal = eal(192);
        let mut rig = Rig::new(small());
        let parse = |text: &str| Config::parse(text, "test").unwrap();
        let mtu = |name, mtu| Op::InterfaceSet(Settings { mtu: Some(Some(mtu)), ..set(name) });
        let down = |name| Op::InterfaceSet(Settings { up: Some(Some(false)), ..set(name) });
        let mac = Some(Some([2, 0, 0, 0, 0, 9].into()));
        let file = "[interface.lan]\nport = \"net_ring_lan\"\nmtu = 1400\n[interface.\"lan.5\"]\n";
        rig.model.apply(&parse(file)).unwrap();
        rig.must([down("lan"), mtu("lan.5", 1300), down("wan"), mtu("wan", 1350)]);
        rig.must([Op::InterfaceSet(Settings { mac, ..set("lan.5") })]);
        assert_eq!(rig.model.count_of_operators(), [0, 0, 0, 5]);
        let set = [
            "[interface.lan]; port = \"net_ring_lan\"; mtu = 1400; up = false",
            "[interface.wan]; port = \"net_ring_wan\"; mtu = 1350; up = false",
            "[interface.\"lan.5\"]; mtu = 1300; mac = \"02:00:00:00:00:09\"",
        ];
        assert_eq!(interfaces(&rig), set);

        // The file does not speak of these keys, nor of wan at all.
        assert_eq!(rig.model.apply(&parse(file)), Ok(0));
        assert_eq!(interfaces(&rig), set);
        // What an earlier file named, and this one does not, is as it is by default.
        assert_eq!(rig.model.apply(&parse(&file.replace("mtu = 1400\n", ""))), Ok(1));
        assert_eq!(interfaces(&rig)[0], "[interface.lan]; port = \"net_ring_lan\"; up = false");
        // A file that names them wins; with other tags an interface is still the one that the operator set.
        let other = "[interface.lan]\nport = \"net_ring_lan\"\nup = true\n[interface.\"lan.5\"]\ninner = 7\nmac = \"02:00:00:00:00:08\"\n";
        rig.model.apply(&parse(other)).unwrap();
        assert_eq!(
            interfaces(&rig),
            [
                "[interface.lan]; port = \"net_ring_lan\"; up = true",
                set[1],
                "[interface.\"lan.5\"]; inner = 7; mtu = 1300; mac = \"02:00:00:00:00:08\"",
            ]
        );
        assert_eq!(rig.model.count_of_operators(), [0, 0, 0, 3]);

        // What is saved and applied again changes nothing, and makes all of it the configuration's.
        let saved = rig.model.config(&[]);
        assert_eq!(rig.model.apply(&parse(&saved.to_string())), Ok(0));
        assert_eq!((rig.model.config(&[]), rig.model.count_of_operators()), (saved, [0; 4]));
        rig.model.apply(&parse(file)).unwrap();
        assert_eq!(interfaces(&rig)[1], "[interface.wan]; port = \"net_ring_wan\"");
    }
}

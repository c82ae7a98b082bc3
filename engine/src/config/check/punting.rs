//! What does not fit together in what a configuration says of punting.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;

use punt::control::types::{PassiveFamily, PassiveSet, Policed};
use punt::{Class, Rate, Target};

use super::{Index, is_link_local};
use crate::config::parse::Places;
use crate::config::read::{Reader, nearest};
use crate::config::{Config, Link};

/// Notes all of it in `reader`.
pub fn check<'a>(config: &'a Config, index: &Index<'a>, places: &Places, reader: &mut Reader) {
    let sinks: Vec<&str> = config.sinks.iter().map(|sink| sink.name.as_str()).collect();
    let sinks = Sinks { names: &sinks, are_whole: places.sinks_are_whole };
    check_sinks(config, index, places, reader);
    check_registers(config, index, &sinks, places, reader);
    check_passives(config, index, &sinks, places, reader);
    check_classes(config, places, reader);
    check_policers(config, &sinks, places, reader);
}

/// The sinks of the file.
struct Sinks<'a> {
    names: &'a [&'a str],
    are_whole: bool,
}

impl Sinks<'_> {
    /// The sentence about a sink that is not there.
    fn unknown(&self, name: &str) -> Option<String> {
        if !self.are_whole || self.names.contains(&name) {
            return None;
        }
        let right = match nearest(name, self.names) {
            Some(right) => format!("did you mean {right}?"),
            None => "add a [[sink]] of that name".into(),
        };
        Some(format!("there is no sink {name} in this file; {right}"))
    }
}

fn check_sinks(config: &Config, index: &Index, places: &Places, reader: &mut Reader) {
    let mut names = HashSet::new();
    let mut targets: HashMap<String, &str> = HashMap::new();
    for (sink, stands) in config.sinks.iter().zip(&places.sinks) {
        if !names.insert(&sink.name) {
            reader.wrong(
                stands.of("name"),
                "sink.name",
                format_args!("{} is there twice; name each sink once", sink.name),
            );
        }
        if let Some(fault) = sink.target.interface().and_then(|name| index.unknown(name)) {
            reader.wrong(stands.of("target"), "sink.target", fault);
        }
        if let Target::Pcapng { file, .. } = &sink.target {
            check_file(file, &config.punt.directory, stands.of("target"), reader);
        }
        // Two sinks would write over each other, however the place is spelled.
        let place = sink.target.place(Path::new(&config.punt.directory));
        if let Some(other) = place.and_then(|place| targets.insert(place, &sink.name)) {
            let fault = format_args!("{} is sink {other}'s; give each another", sink.target);
            reader.wrong(stands.of("target"), "sink.target", fault);
        }
    }
}

/// A capture stays below the directory that is meant for it.
fn check_file(file: &str, directory: &str, at: usize, reader: &mut Reader) {
    let path = Path::new(file);
    if path.is_absolute() && !path.starts_with(directory) {
        let fault =
            format_args!("{file} is not below {directory}; name a file there, or change punt.directory");
        reader.wrong(at, "sink.target", fault);
    }
}

fn check_registers(config: &Config, index: &Index, sinks: &Sinks, places: &Places, reader: &mut Reader) {
    let mut taken = HashSet::new();
    for (register, stands) in config.registers.iter().zip(&places.registers) {
        let (wanted, sink) = (&register.r#match, &register.sink);
        if let Some(fault) = sinks.unknown(sink) {
            reader.wrong(stands.of("sink"), "register.sink", fault);
        }
        if let Some(fault) = register.interface.as_deref().and_then(|name| index.unknown(name)) {
            reader.wrong(stands.of("interface"), "register.interface", fault);
        }
        if !taken.insert((wanted, sink, &register.interface, register.source)) {
            reader.wrong(
                stands.at,
                "register",
                format_args!("{wanted} is there twice for sink {sink}; leave one"),
            );
        }
    }
}

fn check_passives<'a>(
    config: &'a Config,
    index: &Index<'a>,
    sinks: &Sinks,
    places: &Places,
    reader: &mut Reader,
) {
    let mut taken = HashSet::new();
    let neighbors: HashSet<_> =
        config.neighbors.iter().map(|it| (it.interface.as_str(), it.address)).collect();
    for (passive, stands) in config.passives.iter().zip(&places.passives) {
        let PassiveSet { family, interface, sink, redirect, via, .. } = passive;
        if let Some(fault) = sink.as_deref().and_then(|name| sinks.unknown(name)) {
            reader.wrong(stands.of("sink"), "passive.sink", fault);
        }
        for (key, name) in [("interface", interface), ("redirect", redirect)] {
            if let Some(fault) = name.as_deref().and_then(|name| index.unknown(name)) {
                reader.wrong(stands.of(key), format_args!("passive.{key}"), fault);
            }
        }
        match (redirect.as_deref().filter(|name| index.names.contains_key(name)), via) {
            (Some(redirect), Some(via)) => {
                let is_neighbor = neighbors.contains(&(redirect, *via));
                let judged = places.interfaces_are_whole && !is_neighbor;
                if let Some(fault) = no_way(index, redirect, *via, judged) {
                    reader.wrong(stands.of("via"), "passive.via", fault);
                }
            }
            (Some(redirect), None) => {
                if let Some(Link::Vlan { parent, .. }) = index.names.get(redirect).map(|it| &it.link) {
                    let fault = would_lack_tags(*family, redirect, parent);
                    reader.wrong(stands.of("redirect"), "passive.redirect", fault);
                }
            }
            _ => {}
        }
        if !taken.insert((family, interface)) {
            let place =
                interface.as_ref().map_or("all interfaces".into(), |name| format!("interface {name}"));
            reader.wrong(
                stands.at,
                "passive",
                format_args!("{family} is there twice for {place}; leave one"),
            );
        }
    }
}

/// The sentence about a next hop that cannot be on an interface; if it is `judged` by subnets, that no subnet of the interface holds.
fn no_way<'a>(index: &Index<'a>, redirect: &'a str, via: IpAddr, judged: bool) -> Option<String> {
    if let Some(owner) = index.owner(via, Some(redirect)) {
        return Some(format!("{via} is this router's own address on {owner}; name a neighbour's"));
    }
    if is_link_local(via) || !judged {
        return None;
    }
    match index.on_subnet(via) {
        [] => Some(format!(
            "no interface's subnet holds {via}; name a next hop on a subnet of {redirect}, or add it as a neighbour"
        )),
        there if there.contains(&redirect) => None,
        there => Some(format!("{via} is on the subnet of {}, not of {redirect}; name that", there[0])),
    }
}

/// The sentence about packets that would leave by a sub-interface as they came.
pub fn would_lack_tags(family: PassiveFamily, name: &str, parent: &str) -> String {
    let instead = match family {
        PassiveFamily::Other => format!("redirect to {parent}"),
        _ => format!("name a next hop there with via, or redirect to {parent}"),
    };
    format!("{family} cannot leave by {name} as it came, for it would lack the tags of {name}; {instead}")
}

/// The classes, with what ships where the file says nothing.
fn check_classes(config: &Config, places: &Places, reader: &mut Reader) {
    let mut minima = Class::ALL.map(|class| u64::from(class.minimum()));
    for (set, stands) in config.classes.iter().zip(&places.classes) {
        let min = set.min.unwrap_or(set.name.minimum());
        let cap = set.cap.unwrap_or(set.name.cap().into());
        minima[set.name as usize] = min.into();
        if let Rate::PerSecond(cap) = cap
            && u64::from(min) > cap
        {
            let fault = format_args!("is {min}, above the cap {cap}; set it to at most that, or cap higher");
            reader.wrong(stands.of("min"), format_args!("class.{}.min", set.name), fault);
        }
    }
    let sum: u64 = minima.iter().sum();
    if let Rate::PerSecond(budget) = config.punt.budget
        && sum > budget
    {
        let at = places.punt.fields.iter().find(|(name, _)| &**name == "budget").map(|(_, at)| *at);
        let at = at.or(places.classes.first().map(|class| class.at)).unwrap_or(places.punt.at);
        let fault = format_args!("is {budget}, and the classes are promised {sum}; set it to at least {sum}");
        reader.wrong(at, "punt.budget", fault);
    }
}

fn check_policers(config: &Config, sinks: &Sinks, places: &Places, reader: &mut Reader) {
    let mut taken = HashSet::new();
    for (policer, stands) in config.policers.iter().zip(&places.policers) {
        let what = &policer.what;
        if !taken.insert(what) {
            reader.wrong(stands.of("what"), "policer.what", format_args!("{what} is there twice; leave one"));
        }
        let fault = match what {
            Policed::Reason(_) => None,
            Policed::Sink(name) => sinks.unknown(name),
            Policed::Registration(number) => {
                let registers = config.registers.len();
                let there = (1..=registers).contains(&(*number as usize));
                (!there).then(|| {
                    format!("{what} is the {number}. [[register]] of this file, which has {registers}; count from 1")
                })
            }
            Policed::Passive { family, interface } => {
                let there =
                    config.passives.iter().any(|it| it.family == *family && it.interface == *interface);
                (!there).then(|| format!("there is no such [[passive]] as {what} in this file; add it"))
            }
        };
        if let Some(fault) = fault {
            reader.wrong(stands.of("what"), "policer.what", fault);
        }
    }
}

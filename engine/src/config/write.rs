//! A configuration as TOML again.

mod punting;

use std::fmt::{self, Display};

use punt::control::types::{Neighbor, Route};

use super::parse::implied;
use super::{Config, Interface, Link, Sizes};
use crate::tables::Tpid;

pub use punting::{class, passive, policer, punting, reason, register, sink};

impl Display for Config {
    /// As TOML; read again it is the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&head(&self.eal, &self.tables))?;
        self.interfaces.iter().try_for_each(|interface| f.write_str(&self::interface(interface)))?;
        self.neighbors.iter().try_for_each(|neighbor| f.write_str(&self::neighbor(neighbor)))?;
        self.routes.iter().try_for_each(|route| f.write_str(&self::route(route)))?;
        f.write_str(&punting(&self.punt))?;
        self.sinks.iter().try_for_each(|sink| f.write_str(&self::sink(sink)))?;
        self.registers.iter().try_for_each(|register| f.write_str(&self::register(register)))?;
        self.passives.iter().try_for_each(|passive| f.write_str(&self::passive(passive)))?;
        self.reasons.iter().try_for_each(|reason| f.write_str(&self::reason(reason)))?;
        self.classes.iter().try_for_each(|class| f.write_str(&self::class(class)))?;
        self.policers.iter().try_for_each(|policer| f.write_str(&self::policer(policer)))
    }
}

/// `[eal]` and `[tables]`.
pub fn head(eal: &[String], sizes: &Sizes) -> String {
    let mut text = String::new();
    if !eal.is_empty() {
        text += &format!("[eal]\nargs = {}\n\n", array(eal));
    }
    let Sizes { routes4, routes6, neighbors, next_hops, groups4, groups6, packets, packet_size } = *sizes;
    text += &format!(
        "[tables]\nroutes4 = {routes4}\nroutes6 = {routes6}\nneighbors = {neighbors}\nnext_hops = {next_hops}\n"
    );
    text += &optional("groups4", groups4);
    text += &optional("groups6", groups6);
    text += &optional("packets", packets);
    text + &format!("packet_size = {packet_size}\n")
}

/// One `[interface.NAME]`.
pub fn interface(interface: &Interface) -> String {
    let Interface { name, link, addresses, mtu, mac, up } = interface;
    let mut text = format!("\n[interface.{}]\n", key(name));
    match link {
        Link::Port(port) if port == name && implied(name).is_none() => {}
        Link::Port(port) => text += &format!("port = {}\n", quoted(port)),
        Link::Vlan { parent, tags } => {
            if implied(name) != Some((parent, tags.vlan)) {
                text += &format!("parent = {}\nvlan = {}\n", quoted(parent), tags.vlan);
            }
            text += &optional("inner", tags.inner);
            if tags.tpid == Tpid::Dot1ad {
                text += "tpid = \"802.1ad\"\n";
            }
        }
    }
    if !addresses.is_empty() {
        text += &format!("addresses = {}\n", array(addresses));
    }
    text += &optional("mtu", *mtu);
    text += &optional("mac", mac.map(quoted));
    text + &optional("up", *up)
}

/// One `[[neighbor]]`.
pub fn neighbor(neighbor: &Neighbor) -> String {
    let Neighbor { address, mac, interface } = neighbor;
    format!("\n[[neighbor]]\naddress = \"{address}\"\nmac = \"{mac}\"\ninterface = {}\n", quoted(interface))
}

/// One `[[route]]`.
pub fn route(route: &Route) -> String {
    let Route { prefix, via, dev, metric, action } = route;
    let mut text = format!("\n[[route]]\nprefix = \"{prefix}\"\n");
    if !via.is_empty() {
        text += &format!("via = {}\n", array(via));
    }
    text += &optional("dev", dev.as_ref().map(quoted));
    text += &optional("metric", *metric);
    text + &optional("action", action.map(quoted))
}

fn optional(key: &str, value: Option<impl Display>) -> String {
    value.map_or(String::new(), |value| format!("{key} = {value}\n"))
}

fn array(items: &[impl Display]) -> String {
    let items: Vec<_> = items.iter().map(quoted).collect();
    format!("[{}]", items.join(", "))
}

/// A key, in quotes where it needs them.
pub(super) fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(bare) { name.to_string() } else { quoted(name) }
}

/// A string in quotes.
fn quoted(text: impl Display) -> String {
    let mut quoted = String::from('"');
    for c in text.to_string().chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted += &format!("\\u{:04X}", c as u32),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;
    use punt::Mac;

    use super::*;
    use crate::config::Tags;

    /// Configurations that say what can be said, with names that need quotes.
    fn configs() -> impl Strategy<Value = Config> {
        let packets = proptest::option::of(512u32..99_999);
        let sizes = (1u32..1 << 20, proptest::option::of(64u32..9999), packets, 512u16..=16_384);
        let sizes = sizes.prop_map(|(routes4, groups6, packets, packet_size)| Sizes {
            routes4,
            groups6,
            packets,
            packet_size,
            ..Sizes::default()
        });
        let interface = (
            "[a-zA-Z\"'\\\\#=.é-]{1,6}",
            any::<bool>(),
            proptest::option::of(1280u16..=9216),
            any::<[u8; 5]>(),
        );
        let interfaces = proptest::collection::vec(interface, 0..6);
        let eal = proptest::collection::vec("[ -~\t\n\"\\\\é]{0,9}", 0..4);
        (sizes, interfaces, eal).prop_map(|(tables, interfaces, eal)| config(tables, interfaces, eal))
    }

    fn config(tables: Sizes, parts: Vec<(String, bool, Option<u16>, [u8; 5])>, eal: Vec<String>) -> Config {
        let mut config = Config { eal, tables, ..Config::default() };
        for (at, (name, up, mtu, [a, b, c, d, e])) in parts.into_iter().enumerate() {
            let (name, address) = (format!("{name}{at}"), format!("10.{at}.{b}.{}/24", c % 254 + 1));
            let mac = up.then_some(Mac([2, a, b, c, d, e]));
            let tags = Tags {
                tpid: if up { Tpid::Dot1ad } else { Tpid::Dot1q },
                vlan: u16::from(a) + 1,
                inner: mac.map(|_| u16::from(b) + 1),
            };
            let vlan = Link::Vlan { parent: name.clone(), tags };
            let port = Link::Port(if up { name.clone() } else { format!("port{at}") });
            let sub = if up { format!("{name}.{}", tags.vlan) } else { format!("sub{at}") };
            let addresses = vec![address.parse().unwrap()];
            config.interfaces.push(Interface {
                name: name.clone(),
                link: port,
                addresses,
                mtu,
                mac,
                up: up.then_some(true),
            });
            config.interfaces.push(Interface {
                name: sub,
                link: vlan,
                addresses: vec![],
                mtu,
                mac: None,
                up: (!up).then_some(false),
            });
            let neighbor: IpAddr = Ipv4Addr::new(10, 99, at as u8, a).into();
            config.neighbors.push(Neighbor {
                address: neighbor,
                mac: Mac([2, 0, 0, 0, 0, a]),
                interface: name.clone(),
            });
            let prefix = format!("10.{a}.{at}.0/24").parse().unwrap();
            let (via, action, dev) = match up {
                true => (vec![neighbor], None, Some(name)),
                false => (vec![], Some(punt::control::types::RouteAction::Unreachable), None),
            };
            config.routes.push(Route { prefix, via, dev, metric: mtu.map(u32::from), action });
        }
        config
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(config in configs()) {
            let text = config.to_string();
            let read = Config::parse(&text, "written");
            prop_assert_eq!(read.as_ref(), Ok(&config), "{}", text);
        }
    }

    #[test]
    fn what_is_left_out_is_the_default() {
        let text = "[interface.lan]\n[interface.\"lan.5\"]\n";
        let config = Config::parse(text, "f").unwrap();
        let written = config.to_string();
        assert!(written.contains("\n[interface.lan]\n\n[interface.\"lan.5\"]\n\n[punt]\n"), "{written}");
        assert_eq!(Config::parse(&written, "f"), Ok(config));
    }
}

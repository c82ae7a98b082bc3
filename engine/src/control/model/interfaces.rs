//! Interfaces as they are set, and what follows from that.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use punt::{InterfaceAddress, Mac, Prefix};

use super::Life;
use super::rib::Source;
use crate::config::{DEFAULT_MTU, Tags, is_link_local};
use crate::tables::{self, MacAddress, PortTags, Tpid};

/// An interface as it is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Iface {
    pub name: String,
    pub link: Link,
    pub mtu: Said<u16>,
    pub mac: Said<Mac>,
    pub up: Said<bool>,
    /// In the order in which they came.
    pub addresses: Vec<(InterfaceAddress, Life)>,
}

/// What is said of an interface, and how long that is meant to stay; where nobody says anything there is a default.
pub type Said<T> = Option<(T, Life)>;

impl Iface {
    /// Nothing is said of it.
    pub fn new(name: String, link: Link) -> Iface {
        Iface { name, link, mtu: None, mac: None, up: None, addresses: Vec::new() }
    }

    pub fn mtu(&self) -> Option<u16> {
        self.mtu.map(|(mtu, _)| mtu)
    }

    pub fn mac(&self) -> Option<Mac> {
        self.mac.map(|(mac, _)| mac)
    }

    /// Whether it is wanted up.
    pub fn is_up(&self) -> bool {
        self.up.is_none_or(|(up, _)| up)
    }
}

/// What an interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// The untagged frames of the port at this place of the list of ports.
    Port(usize),
    /// Tagged frames of the port whose own interface is `parent`.
    Vlan { parent: u32, tags: Tags },
}

/// A port, as far as its interfaces need it.
#[derive(Clone, Debug)]
pub struct PortFacts {
    /// DPDK's number of it.
    pub id: u16,
    /// The EAL's name of it.
    pub name: String,
    /// Its own MAC, or a made-up one where it has none.
    pub mac: Mac,
}

/// What an interface does, with what it has from its parent and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// DPDK's number of the port.
    pub port: u16,
    /// Bytes after the Ethernet header.
    pub mtu: u16,
    /// Its own address on the link.
    pub mac: Mac,
    /// Up, and its parent too.
    pub up: bool,
    /// From the outermost inwards.
    pub tags: Vec<(Tpid, u16)>,
}

/// All interfaces by index.
pub struct Interfaces {
    pub by_index: BTreeMap<u32, Iface>,
    pub ports: Vec<PortFacts>,
}

impl Interfaces {
    pub fn get(&self, index: u32) -> Option<&Iface> {
        self.by_index.get(&index)
    }

    /// The name of an interface that is there.
    pub fn name(&self, index: u32) -> &str {
        self.get(index).map_or("?", |interface| &interface.name)
    }

    /// What the interface at `index` does.
    pub fn effective(&self, index: u32) -> Option<Effective> {
        let interface = self.get(index)?;
        match &interface.link {
            Link::Port(at) => {
                let port = self.ports.get(*at)?;
                Some(Effective {
                    port: port.id,
                    mtu: interface.mtu().unwrap_or(DEFAULT_MTU),
                    mac: interface.mac().unwrap_or(port.mac),
                    up: interface.is_up(),
                    tags: Vec::new(),
                })
            }
            Link::Vlan { parent, tags } => {
                let parent = self.effective(*parent)?;
                let outer = (tags.tpid, tags.vlan);
                let inner = tags.inner.map(|vlan| (Tpid::Dot1q, vlan));
                Some(Effective {
                    port: parent.port,
                    mtu: interface.mtu().unwrap_or(u16::MAX).min(parent.mtu),
                    mac: interface.mac().unwrap_or(parent.mac),
                    up: interface.is_up() && parent.up,
                    tags: std::iter::once(outer).chain(inner).collect(),
                })
            }
        }
    }

    /// The port of an interface, by its place in the list.
    pub fn port(&self, index: u32) -> Option<usize> {
        match self.get(index)?.link {
            Link::Port(at) => Some(at),
            Link::Vlan { parent, .. } => self.port(parent),
        }
    }

    /// The sub-interfaces of a port's interface.
    pub fn children(&self, parent: u32) -> impl Iterator<Item = (u32, Tags)> {
        self.by_index.iter().filter_map(move |(&index, interface)| match interface.link {
            Link::Vlan { parent: of, tags } if of == parent => Some((index, tags)),
            _ => None,
        })
    }

    /// As the workers see it.
    pub fn forwarding(&self, index: u32) -> Option<tables::Interface> {
        let Effective { port, mtu, mac, up, .. } = self.effective(index)?;
        let own = self.get(index)?.addresses.iter().filter_map(|(own, _)| match own.address() {
            IpAddr::V6(six) if is_link_local(six.into()) => Some(six.octets()),
            _ => None,
        });
        let link_local = std::iter::once(eui64(mac).octets()).chain(own).collect();
        Some(tables::Interface { mac: MacAddress::new(mac.0), up, mtu, port, link_local })
    }

    /// Which tags lead to which interface of the port whose own interface is `index`.
    pub fn tags(&self, index: u32) -> PortTags {
        let mut tags = PortTags::new(index);
        for (child, Tags { tpid, vlan, inner }) in self.children(index) {
            tags.insert(tpid, vlan, inner, child);
        }
        tags
    }
}

/// The routes that an address makes.
pub fn routes_of(address: InterfaceAddress) -> Vec<(Prefix, Source)> {
    let (own, subnet) = (address.address(), address.prefix());
    if is_link_local(own) {
        return Vec::new();
    }
    let mut routes = vec![(Prefix::from(own), Source::Local)];
    if subnet != Prefix::from(own) {
        routes.push((subnet, Source::Connected));
    }
    if let IpNet::V4(net) = address.net()
        && net.prefix_len() <= 30
    {
        let ends: [Ipv4Addr; 2] = [net.network(), net.broadcast()];
        routes.extend(ends.map(|end| (Prefix::from(IpAddr::from(end)), Source::Broadcast)));
    }
    // The first address of a subnet is every router's (RFC 4291 §2.6.1); a link between two has none to spare (RFC 6164).
    if let IpNet::V6(net) = address.net()
        && net.prefix_len() <= 126
    {
        routes.push((Prefix::from(IpAddr::from(net.network())), Source::Broadcast));
    }
    routes
}

/// The link-local address that follows from a MAC (RFC 4291, appendix A).
pub fn eui64(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// A locally administered MAC for a port that has none: the same in each run for a port of this name.
pub fn made_up(port: &str) -> Mac {
    let [a, b, c, d, e, ..] = super::fnv(port.as_bytes()).to_be_bytes();
    Mac([2, a, b, c, d, e])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(address: &str) -> Vec<String> {
        let routes = routes_of(address.parse().unwrap());
        routes.into_iter().map(|(prefix, source)| format!("{prefix} {source:?}")).collect()
    }

    #[test]
    fn an_address_makes_the_routes_that_its_length_allows() {
        let all = [
            "10.0.0.1/32 Local",
            "10.0.0.0/24 Connected",
            "10.0.0.0/32 Broadcast",
            "10.0.0.255/32 Broadcast",
        ];
        assert_eq!(routes("10.0.0.1/24"), all);
        assert_eq!(routes("10.0.0.1/31"), ["10.0.0.1/32 Local", "10.0.0.0/31 Connected"]);
        assert_eq!(routes("10.0.0.1/32"), ["10.0.0.1/32 Local"]);
        assert_eq!(
            routes("fd00::1/64"),
            ["fd00::1/128 Local", "fd00::/64 Connected", "fd00::/128 Broadcast"]
        );
        assert_eq!(routes("fd00::1/127"), ["fd00::1/128 Local", "fd00::/127 Connected"]);
        assert!(routes("fe80::1/64").is_empty());
    }

    #[test]
    fn a_sub_interface_has_from_its_parent_what_it_is_not_told() {
        let port = PortFacts { id: 3, name: "p".into(), mac: Mac([2, 0, 0, 0, 0, 1]) };
        let lan = Iface {
            name: "lan".into(),
            link: Link::Port(0),
            mtu: Some((2000, Life::Config)),
            mac: None,
            up: Some((false, Life::Operator)),
            addresses: vec![("fe80::7/64".parse().unwrap(), Life::Config)],
        };
        let tags = Tags { tpid: Tpid::Dot1ad, vlan: 5, inner: Some(6) };
        let sub = Iface {
            name: "sub".into(),
            link: Link::Vlan { parent: 1, tags },
            mtu: Some((9000, Life::Config)),
            up: None,
            ..lan.clone()
        };
        let interfaces = Interfaces { by_index: [(1, lan), (2, sub)].into(), ports: vec![port] };
        let effective = interfaces.effective(2).unwrap();
        assert_eq!((effective.port, effective.mtu, effective.mac.0[5], effective.up), (3, 2000, 1, false));
        assert_eq!(effective.tags, [(Tpid::Dot1ad, 5), (Tpid::Dot1q, 6)]);
        let link_local: Vec<_> =
            interfaces.forwarding(1).unwrap().link_local.iter().map(|a| Ipv6Addr::from(*a)).collect();
        assert_eq!(link_local, ["fe80::ff:fe00:1".parse::<Ipv6Addr>().unwrap(), "fe80::7".parse().unwrap()]);
        assert_eq!(interfaces.tags(1).double(Tpid::Dot1ad, 5, 6), Some(2));
    }

    #[test]
    fn a_made_up_mac_is_unicast_local_and_the_same_again() {
        let mac = made_up("net_ring0");
        assert!(mac.0[0] == 2 && mac == made_up("net_ring0") && mac != made_up("net_ring1"));
    }
}

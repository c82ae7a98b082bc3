//! What an operator says.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::control::page::Paging;
use crate::value::{InterfaceAddress, Mac, Prefix, is_station};

/// A route that leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteAction {
    /// Dropped.
    Blackhole,
    /// Punted for its sender to be told (`ip4.reject-route`, `ip6.reject-route`).
    Unreachable,
    /// Punted (`ip4.punt-route`, `ip6.punt-route`).
    Punt,
}

impl RouteAction {
    /// The name an operator reads and writes.
    pub const fn name(self) -> &'static str {
        match self {
            RouteAction::Blackhole => "blackhole",
            RouteAction::Unreachable => "unreachable",
            RouteAction::Punt => "punt",
        }
    }
}

impl fmt::Display for RouteAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A route to add or to put in another's place: `route.add`, `route.replace`, `[[route]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Where it leads.
    pub prefix: Prefix,
    /// The next hops; several share the traffic by flow. A single one may stand without brackets.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_several")]
    pub via: Vec<IpAddr>,
    /// The interface by which the next hops are reached; else the one whose subnet holds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Of several routes to one prefix the one with the least metric counts; 0 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// What happens instead of forwarding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<RouteAction>,
}

impl Route {
    /// Whether it makes sense by itself; what interfaces and neighbours there are is not looked at.
    ///
    /// # Errors
    /// One sentence that begins with the prefix.
    pub fn check(&self) -> Result<(), String> {
        let prefix = self.prefix;
        match self.action {
            None if self.via.is_empty() => {
                return Err(format!(
                    "{prefix} leads nowhere; give it a next hop (via) or an action: blackhole, unreachable, punt"
                ));
            }
            Some(action) if !self.via.is_empty() => {
                return Err(format!(
                    "{prefix} has both next hops (via) and the action {action}; leave out one"
                ));
            }
            Some(action) if self.dev.is_some() => {
                return Err(format!(
                    "{prefix} has both an interface (dev) and the action {action}; leave out one"
                ));
            }
            _ => {}
        }
        for (index, hop) in self.via.iter().enumerate() {
            if hop.is_ipv4() != prefix.is_ipv4() {
                return Err(format!("{prefix} cannot go via {hop}: the address families differ"));
            }
            if !is_station(*hop) {
                return Err(format!(
                    "{prefix} cannot go via {hop}: a next hop is a unicast address of a neighbour"
                ));
            }
            if self.dev.is_none() && matches!(hop, IpAddr::V6(six) if six.is_unicast_link_local()) {
                return Err(format!(
                    "{prefix} goes via {hop}, which is on every link; name the interface (dev)"
                ));
            }
            if self.via[..index].contains(hop) {
                return Err(format!("{prefix} goes via {hop} twice; name each next hop once"));
            }
        }
        Ok(())
    }

    /// What names it among all routes.
    pub fn key(&self) -> RouteKey {
        RouteKey { prefix: self.prefix, metric: self.metric }
    }
}

impl fmt::Display for Route {
    /// As `puntctl route add` and the files of `puntctl route load` have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.prefix)?;
        for (index, hop) in self.via.iter().enumerate() {
            write!(f, "{}{hop}", if index == 0 { " via " } else { "," })?;
        }
        if let Some(action) = self.action {
            write!(f, " {action}")?;
        }
        if let Some(dev) = &self.dev {
            write!(f, " dev {dev}")?;
        }
        match self.metric {
            Some(metric) => write!(f, " metric {metric}"),
            None => Ok(()),
        }
    }
}

/// A list, or one of its items alone.
fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    struct Visitor;

    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Vec<IpAddr>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an address or an array of addresses")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<IpAddr>, E> {
            Ok(vec![hop(text)?])
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Vec<IpAddr>, A::Error> {
            let mut hops = Vec::new();
            while let Some(text) = items.next_element::<String>()? {
                hops.push(hop(&text)?);
            }
            Ok(hops)
        }
    }

    fn hop<E: serde::de::Error>(text: &str) -> Result<IpAddr, E> {
        text.parse().map_err(|_| {
            E::custom(format!("{text:?} is no address; write a next hop as 10.0.1.2 or fd00::2"))
        })
    }

    deserializer.deserialize_any(Visitor)
}

/// A route to delete: `route.del`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteKey {
    /// Where it leads.
    pub prefix: Prefix,
    /// Which of several; without it the one that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

/// Which routes to list: `route.list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteFilter {
    /// This prefix alone; without it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Prefix>,
    /// See [`Paging::limit`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// See [`Paging::after`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl RouteFilter {
    /// The part that every list has.
    pub fn paging(&self) -> Paging {
        Paging { limit: self.limit, after: self.after.clone() }
    }
}

/// An address to look up: `route.get`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteQuery {
    /// Where a packet would go.
    pub address: IpAddr,
}

/// A neighbour to add: `neighbor.add`, `[[neighbor]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbor {
    /// Its address.
    pub address: IpAddr,
    /// Its MAC.
    pub mac: Mac,
    /// Where it is.
    pub interface: String,
}

impl Neighbor {
    /// Whether it makes sense by itself.
    ///
    /// # Errors
    /// One sentence that names the address or the MAC.
    pub fn check(&self) -> Result<(), String> {
        if self.mac.is_group() || self.mac.is_zero() {
            return Err(format!("{} cannot be a neighbour's MAC; write a unicast one", self.mac));
        }
        if !is_station(self.address) {
            return Err(format!("{} cannot be a neighbour's address; write a unicast one", self.address));
        }
        Ok(())
    }
}

/// A neighbour to delete: `neighbor.del`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeighborKey {
    /// Its address.
    pub address: IpAddr,
    /// Where it is.
    pub interface: String,
}

/// An address to give to an interface or to take from it: `address.add`, `address.del`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// With the length of its subnet.
    pub address: InterfaceAddress,
    /// Whose it is.
    pub interface: String,
}

/// What to change about an interface: `interface.set`. What is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceSet {
    /// Which.
    pub name: String,
    /// Bytes after the Ethernet header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Its own address on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Whether it takes and sends packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
}

impl InterfaceSet {
    /// Whether it makes sense by itself.
    ///
    /// # Errors
    /// One sentence that names the MAC.
    pub fn check(&self) -> Result<(), String> {
        match self.mac.filter(|mac| mac.is_group() || mac.is_zero()) {
            Some(mac) => {
                Err(format!("{}: {mac} cannot be an interface's MAC; write a unicast one", self.name))
            }
            None => Ok(()),
        }
    }
}

/// A configuration to check or to apply: `config.check`, `config.apply`.
///
/// One that does not fit on a line comes in parts on one connection: `more` is set on all but the last, and nothing
/// is looked at before that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigText {
    /// TOML, or a part of it.
    pub text: String,
    /// What errors call it, usually the file's name.
    #[serde(default)]
    pub name: String,
    /// Whether another part follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(json: &str) -> Result<Route, String> {
        let route: Route = serde_json::from_str(json).map_err(|error| error.to_string())?;
        route.check().map(|()| route)
    }

    #[test]
    fn a_route_reads_from_json_and_from_toml() {
        let one = route(r#"{"prefix":"10.2.0.0/16","via":"10.0.1.2"}"#).unwrap();
        let list = route(r#"{"prefix":"10.2.0.0/16","via":["10.0.1.2"]}"#).unwrap();
        let toml: Route = toml::from_str("prefix = '10.2.0.0/16'\nvia = '10.0.1.2'").unwrap();
        assert_eq!((&one, &one), (&list, &toml));
        assert_eq!(serde_json::to_string(&one).unwrap(), r#"{"prefix":"10.2.0.0/16","via":["10.0.1.2"]}"#);
        let ecmp = route(r#"{"prefix":"default6","via":["fd00::2","fd00::3"],"dev":"wan","metric":7}"#);
        assert_eq!(ecmp.unwrap().to_string(), "default6 via fd00::2,fd00::3 dev wan metric 7");
        let hole = route(r#"{"prefix":"10.9.0.0/16","action":"blackhole"}"#);
        assert_eq!(hole.unwrap().to_string(), "10.9.0.0/16 blackhole");
    }

    #[test]
    fn a_route_that_makes_no_sense_is_told_why() {
        for (json, fault) in [
            (
                r#"{"prefix":"10.2.0.0/16"}"#,
                "10.2.0.0/16 leads nowhere; give it a next hop (via) or an action: blackhole, unreachable, punt",
            ),
            (
                r#"{"prefix":"10.2.0.0/16","via":"10.0.1.2","action":"punt"}"#,
                "10.2.0.0/16 has both next hops (via) and the action punt; leave out one",
            ),
            (
                r#"{"prefix":"10.2.0.0/16","dev":"wan","action":"punt"}"#,
                "10.2.0.0/16 has both an interface (dev) and the action punt; leave out one",
            ),
            (
                r#"{"prefix":"10.2.0.0/16","via":"fd00::2"}"#,
                "10.2.0.0/16 cannot go via fd00::2: the address families differ",
            ),
            (
                r#"{"prefix":"10.2.0.0/16","via":"224.0.0.5"}"#,
                "10.2.0.0/16 cannot go via 224.0.0.5: a next hop is a unicast address of a neighbour",
            ),
            (
                r#"{"prefix":"10.2.0.0/16","via":"255.255.255.255"}"#,
                "10.2.0.0/16 cannot go via 255.255.255.255: a next hop is a unicast address of a neighbour",
            ),
            (
                r#"{"prefix":"default6","via":"fe80::1"}"#,
                "default6 goes via fe80::1, which is on every link; name the interface (dev)",
            ),
            (
                r#"{"prefix":"10.2.0.0/16","via":["10.0.1.2","10.0.1.2"]}"#,
                "10.2.0.0/16 goes via 10.0.1.2 twice; name each next hop once",
            ),
        ] {
            assert_eq!(route(json).unwrap_err(), fault);
        }
        let error = route(r#"{"prefix":"10.2.0.0/16","via":"gw"}"#).unwrap_err();
        assert!(
            error.starts_with("\"gw\" is no address; write a next hop as 10.0.1.2 or fd00::2"),
            "{error}"
        );
        let error = route(r#"{"prefix":"10.2.0.0/16","gateway":"10.0.1.2"}"#).unwrap_err();
        assert!(error.starts_with("unknown field `gateway`, expected one of `prefix`, `via`,"), "{error}");
    }

    #[test]
    fn a_neighbour_is_one_station() {
        let neighbor = |mac: &str, address: &str| {
            Neighbor { address: address.parse().unwrap(), mac: mac.parse().unwrap(), interface: "wan".into() }
                .check()
        };
        assert_eq!(neighbor("02:00:00:00:00:02", "10.0.1.2"), Ok(()));
        assert_eq!(
            neighbor("01:00:5e:00:00:05", "10.0.1.2").unwrap_err(),
            "01:00:5e:00:00:05 cannot be a neighbour's MAC; write a unicast one"
        );
        assert_eq!(
            neighbor("02:00:00:00:00:02", "0.0.0.0").unwrap_err(),
            "0.0.0.0 cannot be a neighbour's address; write a unicast one"
        );
    }
}

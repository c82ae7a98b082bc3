//! `route get`: what the graph does with a packet to an address.
//!
//! It is told from the same things that workers act by: the addresses that are settled before any lookup, the route that counts, the hop
//! that is in the tables for it, and the edge that the lookup's node takes for that hop.

use std::net::IpAddr;

use punt::Prefix;
use punt::control::types::{Hop, RouteAnswer, RouteKind, RouteRow};
use serde::Serialize;

use super::Model;
use super::hops::Target;
use super::rib::{Candidate, Key, Source};
use crate::config::is_link_local;
use crate::node::{Edges, To};
use crate::nodes::unrouted::settled;
use crate::nodes::{ip4, ip6};
use crate::tables;

/// The way of a packet.
#[derive(Debug, Serialize)]
pub struct Way {
    /// The route, and the neighbours it leads to.
    #[serde(flatten)]
    pub answer: RouteAnswer,
    /// How it ends.
    #[serde(flatten)]
    pub end: End,
}

/// How the way of a packet ends, as far as its destination says.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum End {
    /// It is sent to one of the hops.
    Forward,
    /// It is for this router.
    Local,
    /// It is punted.
    Punt {
        /// For this reason.
        reason: &'static str,
    },
    /// It is dropped.
    Drop {
        /// As this.
        text: &'static str,
    },
}

impl From<To> for End {
    fn from(to: To) -> End {
        match to {
            To::Node("ip4-local" | "ip6-local") => End::Local,
            To::Punt(reason) | To::PuntElse(reason, _) => End::Punt { reason: reason.name },
            To::Drop(text) => End::Drop { text },
            To::Node(_) | To::Sent | To::Handed | To::Chosen => End::Forward,
        }
    }
}

impl Model {
    /// The way of a packet to `address` that has come in somewhere, and of which there is nothing else to say.
    ///
    /// # Errors
    /// When no packet goes to such an address, or no route does.
    pub fn way_to(&self, address: IpAddr) -> Result<Way, String> {
        if let Some((range, to)) = settled(address) {
            return self.way_without_route(address, range, to.into());
        }
        let (key, candidate) =
            self.rib.longest(address).ok_or_else(|| format!("no route covers {address}"))?;
        let route = self.row_of(key, candidate);
        let paths = self.paths_of(key, candidate);
        // Of several the one that gets furthest; of those that lead nowhere, one that waits for its neighbour: this one tells the control plane.
        let ends = paths.iter().map(|(hop, ..)| self.end(address, *hop));
        let end = ends.min_by_key(|end| match end {
            End::Forward | End::Local => 0,
            End::Punt { .. } => 1,
            End::Drop { .. } => 2,
        });
        let end = end.unwrap_or_else(|| self.end(address, candidate.hop));
        let hops = paths.into_iter().map(|(_, index, via)| self.hop_row(address, index, via)).collect();
        Ok(Way { answer: RouteAnswer { address, route, hops }, end })
    }

    /// To an address that is not looked up.
    fn way_without_route(&self, address: IpAddr, range: Prefix, end: End) -> Result<Way, String> {
        let owners: Vec<&str> = match is_link_local(address) {
            true => self.with_link_local(address).collect(),
            false => Vec::new(),
        };
        let (prefix, end) = match (end, owners.is_empty()) {
            (End::Drop { text }, _) => return Err(format!("packets to {address} are dropped: {text}")),
            (end, true) => (range, end),
            (_, false) => (Prefix::from(address), End::Local),
        };
        let dev = Some(owners.join(",")).filter(|dev| !dev.is_empty());
        let route =
            RouteRow { prefix, via: Vec::new(), dev, metric: 0, action: None, kind: RouteKind::Local };
        Ok(Way { answer: RouteAnswer { address, route, hops: Vec::new() }, end })
    }

    /// The interfaces that have a link-local address.
    fn with_link_local(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        self.interfaces.by_index.iter().filter_map(move |(&index, interface)| {
            let IpAddr::V6(six) = address else { return None };
            let own = self.interfaces.forwarding(index)?.link_local;
            own.contains(&six.octets()).then_some(interface.name.as_str())
        })
    }

    /// A route as a list would show it, were it to show all.
    fn row_of(&self, key: Key, candidate: Candidate) -> RouteRow {
        self.route_row(key, candidate).unwrap_or_else(|| {
            let kind = match key.source {
                Source::Neighbor => RouteKind::Connected,
                _ => RouteKind::Local,
            };
            let dev = Some(self.interfaces.name(key.number).to_string());
            RouteRow { prefix: key.prefix, via: Vec::new(), dev, metric: 0, action: None, kind }
        })
    }

    /// Hop, interface and next hop of each path that a packet may take; no next hop where that is the destination itself.
    fn paths_of(&self, key: Key, candidate: Candidate) -> Vec<(u32, u32, Option<IpAddr>)> {
        let hop = candidate.hop;
        match self.hops.target(hop) {
            Some(&Target::Connected(index)) => vec![(hop, index, None)],
            Some(&Target::Neighbor(index, _)) if key.source == Source::Neighbor => vec![(hop, index, None)],
            Some(&Target::Neighbor(index, via)) => vec![(hop, index, Some(via))],
            Some(Target::Ecmp(members)) => {
                let paths = self.paths(members).into_iter();
                paths.map(|(hop, index, via)| (hop, index, Some(via))).collect()
            }
            _ => Vec::new(),
        }
    }

    fn hop_row(&self, address: IpAddr, index: u32, via: Option<IpAddr>) -> Hop {
        let neighbor = self.neighbors.by_place().get(&(index, via.unwrap_or(address)));
        let dev = self.interfaces.name(index).to_string();
        Hop { via, dev, mac: neighbor.map(|neighbor| neighbor.mac) }
    }

    /// What the lookup's node does with a packet to `address` that this hop is found for.
    fn end(&self, address: IpAddr, hop: u32) -> End {
        let hop = self.hop(hop).unwrap_or(tables::Hop::NoRoute);
        let to = match address {
            IpAddr::V4(four) => {
                let next = match hop {
                    // From wherever it comes: ours do not come in.
                    tables::Hop::Forward(_) | tables::Hop::Unresolved(_) if four.is_link_local() => {
                        ip4::lookup::Next::LinkLocal
                    }
                    tables::Hop::Forward(_) => ip4::lookup::Next::Rewrite,
                    hop => ip4::lookup::plainly(&hop),
                };
                ip4::lookup::Next::EDGES[usize::from(next.index())].to
            }
            IpAddr::V6(_) => {
                let next = match hop {
                    tables::Hop::Forward(_) => ip6::lookup::Next::Rewrite,
                    hop => ip6::lookup::plainly(&hop),
                };
                ip6::lookup::Next::EDGES[usize::from(next.index())].to
            }
        };
        to.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::model::{Op, Settings};
    use crate::control::testing::*;

    /// Route, hops and end in one line.
    fn way(rig: &Rig, address: &str) -> String {
        let Way { answer, end } = match rig.model.way_to(address.parse().unwrap()) {
            Ok(way) => way,
            Err(error) => return error,
        };
        let RouteRow { prefix, dev, kind, .. } = answer.route;
        let mut line = format!("{prefix} {}", kind.name());
        line += &dev.map_or(String::new(), |dev| format!(" on {dev}"));
        for Hop { via, dev, mac } in answer.hops {
            line += &via.map_or(String::new(), |via| format!(", via {via}"));
            line += &format!(", by {dev}");
            line += &mac.map_or(String::new(), |mac| format!(" to {}", mac.0[5]));
        }
        match end {
            End::Forward => line + ": forward",
            End::Local => line + ": local",
            End::Punt { reason } => format!("{line}: punt {reason}"),
            End::Drop { text } => format!("{line}: drop {text}"),
        }
    }

    #[test]
    fn the_way_is_the_one_that_a_packet_takes() {
        let _eal = eal(192);
        let mut rig = Rig::with_addresses(small());
        rig.must([
            add("10.2.0.0/16 via 10.0.1.2"),
            add("10.3.0.0/16 via 10.0.1.2,10.0.0.9"),
            add("10.4.0.0/16 blackhole"),
            add("10.5.0.0/16 unreachable"),
            add("10.6.0.0/16 punt"),
            add("10.7.0.0/16 via 10.0.0.9"),
            add("169.254.0.0/16 via 10.0.1.2"),
            add("fd00:2::/32 via fd00:b::2"),
            add_address("fe80::7/64", "wan"),
        ]);
        for (address, expected) in [
            ("10.2.0.1", "10.2.0.0/16 static, via 10.0.1.2, by wan to 2: forward"),
            ("10.0.1.2", "10.0.1.2/32 connected on wan, by wan to 2: forward"),
            ("10.3.0.1", "10.3.0.0/16 static, via 10.0.1.2, by wan to 2, via 10.0.0.9, by lan: forward"),
            ("10.7.0.1", "10.7.0.0/16 static, via 10.0.0.9, by lan: punt ip4.unresolved-neighbor"),
            ("10.0.0.9", "10.0.0.0/24 connected on lan, by lan: punt ip4.unresolved-neighbor"),
            ("10.4.0.1", "10.4.0.0/16 static: drop blackhole route"),
            ("10.5.0.1", "10.5.0.0/16 static: punt ip4.reject-route"),
            ("10.6.0.1", "10.6.0.0/16 static: punt ip4.punt-route"),
            ("10.0.1.1", "10.0.1.1/32 local on wan: local"),
            ("10.0.1.255", "10.0.1.255/32 local on wan: local"),
            ("255.255.255.255", "255.255.255.255/32 local: local"),
            ("224.0.0.5", "224.0.0.0/4 local: local"),
            ("239.1.1.1", "224.0.0.0/4 local: punt ip4.multicast-no-route"),
            (
                "169.254.7.7",
                "169.254.0.0/16 static, via 10.0.1.2, by wan to 2: drop link-local address beyond its link",
            ),
            ("127.0.0.1", "packets to 127.0.0.1 are dropped: destination is loopback"),
            ("192.0.2.1", "no route covers 192.0.2.1"),
            ("fd00:2::9", "fd00:2::/32 static, via fd00:b::2, by wan to 2: forward"),
            ("fd00:b::1", "fd00:b::1/128 local on wan: local"),
            ("fe80::7", "fe80::7/128 local on wan: local"),
            ("fe80::8", "fe80::/10 local: punt ip6.link-local"),
            ("ff02::5", "ff00::/8 local: local"),
            ("ff0e::5", "ff00::/8 local: punt ip6.multicast-no-route"),
            ("ff01::5", "packets to ff01::5 are dropped: multicast scope is an interface"),
        ] {
            assert_eq!(way(&rig, address), expected, "{address}");
        }
        rig.must([Op::InterfaceSet(Settings { up: Some(Some(false)), ..set("wan") })]);
        for (address, expected) in [
            ("10.2.0.1", "10.2.0.0/16 static, via 10.0.1.2, by wan to 2: drop egress interface is down"),
            ("10.0.1.9", "10.0.1.0/24 connected on wan, by wan: drop egress interface is down"),
            ("10.3.0.1", "10.3.0.0/16 static, via 10.0.0.9, by lan: punt ip4.unresolved-neighbor"),
            ("10.0.1.1", "10.0.1.1/32 local on wan: local"),
        ] {
            assert_eq!(way(&rig, address), expected, "{address}, wan being down");
        }
    }

    #[test]
    fn a_route_that_no_packet_would_take_is_refused() {
        let _eal = eal(192);
        let mut rig = Rig::with_addresses(small());
        assert_eq!(
            rig.refused(add("224.0.0.0/4 via 10.0.1.2")),
            "224.0.0.0/4 would never match: packets to groups (224.0.0.0/4) are not routed; leave this route out"
        );
        assert_eq!(
            rig.refused(add("fe80::/64 via fd00:b::2")),
            "fe80::/64 would never match: packets to link-local addresses (fe80::/10) stay on their link; leave this route out"
        );
    }
}

//! Neighbours, and which of them have a route of their own.
//!
//! A neighbour says how an address on an interface is reached; it does not say that packets to that address go there. So its host route
//! counts only where the address would be looked for on that interface anyway: where the best route that covers it, of those that are no
//! neighbour's, is the interface's connected subnet. Whoever wants to reach a neighbour outside says so with a route.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use punt::Prefix;

use super::hops::Target;
use super::rib::{Key, Source, family};
use super::{Life, Model, Neighbor};
use crate::config::is_link_local;

/// An address on the interface of this index.
pub type Place = (u32, IpAddr);

/// All neighbours.
#[derive(Default)]
pub struct Neighbors {
    by_place: BTreeMap<Place, Neighbor>,
    by_address: BTreeSet<(IpAddr, u32)>,
}

impl Neighbors {
    /// Puts a neighbour in, or takes it out; returns what was there.
    pub fn set(&mut self, place: Place, neighbor: Option<Neighbor>) -> Option<Neighbor> {
        let (index, address) = place;
        match neighbor {
            Some(neighbor) => {
                self.by_address.insert((address, index));
                self.by_place.insert(place, neighbor)
            }
            None => {
                self.by_address.remove(&(address, index));
                self.by_place.remove(&place)
            }
        }
    }

    /// By interface, then address.
    pub fn by_place(&self) -> &BTreeMap<Place, Neighbor> {
        &self.by_place
    }

    /// How long a neighbour is meant to stay from now on.
    pub fn set_life(&mut self, place: Place, life: Life) {
        if let Some(neighbor) = self.by_place.get_mut(&place) {
            neighbor.life = life;
        }
    }

    /// Those in `prefix`.
    fn within(&self, prefix: Prefix) -> impl Iterator<Item = Place> + '_ {
        let from = self.by_address.range((prefix.address(), 0)..);
        from.take_while(move |(address, _)| prefix.contains(*address))
            .map(|&(address, index)| (index, address))
    }
}

impl Model {
    /// Gives routes to those neighbours whose covering route has become their interface's subnet in this batch, and takes them from the
    /// others.
    pub(super) fn settle_neighbors(&mut self) {
        let mut concerned: BTreeSet<Place> = self.staged.neighbors.keys().copied().collect();
        let changed: BTreeSet<Prefix> = self
            .staged
            .routes
            .iter()
            .filter(|(key, _)| key.source != Source::Neighbor)
            .map(|(key, _)| key.prefix)
            .collect();
        let subnets = self.staged.routes.iter().any(|(key, _)| key.source == Source::Connected);
        // Above every subnet there is nothing that could come between one and its neighbours.
        let shortest = [0, 1].map(|family| self.rib.shortest(family, Source::Connected));
        for prefix in changed {
            if subnets || shortest[family(prefix)].is_some_and(|shortest| prefix.length() >= shortest) {
                concerned.extend(self.neighbors.within(prefix));
            }
        }
        for (index, address) in concerned {
            let key = Key { prefix: Prefix::from(address), source: Source::Neighbor, number: index };
            let wanted = self.neighbors.by_place.contains_key(&(index, address))
                && !is_link_local(address)
                && self.rib.attached(address) == Some(index);
            match (self.rib.get(&key).is_some(), wanted) {
                (false, true) => {
                    self.put(key, Target::Neighbor(index, address), false, Life::Config);
                }
                (true, false) => {
                    self.change_route(key, None);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ipnet::IpNet;

    use super::*;
    use crate::control::testing::*;

    /// Numbers that look random and are the same in each run (xorshift).
    struct Numbers(u64);

    impl Numbers {
        fn of<T: Copy>(&mut self, from: &[T]) -> T {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            from[(self.0 >> 16) as usize % from.len()]
        }
    }

    const INTERFACES: [&str; 2] = ["lan", "wan"];
    const SUBNETS: [&str; 6] =
        ["10.0.0.1/24", "10.0.0.1/16", "10.0.1.1/24", "10.0.1.129/25", "fd00:b::1/64", "fd00:b::1/120"];
    const ROUTES: [&str; 9] = [
        "default",
        "10.0.0.0/8",
        "10.0.0.0/16",
        "10.0.1.128/25",
        "10.0.1.200/32",
        "10.0.1.5/32",
        "99.0.0.0/8",
        "fd00:b::/64",
        "fd00:b::80/121",
    ];
    const ADDRESSES: [&str; 8] = [
        "10.0.0.9",
        "10.0.1.5",
        "10.0.1.200",
        "10.0.7.7",
        "99.1.1.1",
        "fd00:b::5",
        "fd00:b::85",
        "fd00:b::1:5",
    ];

    /// What is set, as plain as can be.
    #[derive(Default)]
    struct Plain {
        /// By own address: subnet and interface.
        subnets: BTreeMap<IpAddr, (IpNet, u32)>,
        routes: BTreeSet<IpNet>,
        neighbors: BTreeSet<(IpAddr, u32)>,
    }

    impl Plain {
        /// Where a packet to `address` is to go.
        fn look(&self, address: IpAddr) -> String {
            if self.subnets.contains_key(&address) {
                return "Local".into();
            }
            let connected = self.subnets.values().map(|&(net, index)| (net.trunc(), Some(index)));
            let routes = self.routes.iter().map(|&net| (net, None));
            // Of one length, what is connected counts, and the lower interface.
            let best = connected
                .chain(routes)
                .filter(|(net, _)| net.contains(&address))
                .min_by_key(|(net, index)| (std::cmp::Reverse(net.prefix_len()), index.unwrap_or(u32::MAX)));
            match best {
                None => "NoRoute".into(),
                Some((_, None)) => "Blackhole".into(),
                Some((_, Some(index))) if self.neighbors.contains(&(address, index)) => {
                    format!("to {index:02x} by {index}, mtu 1500")
                }
                Some((_, Some(index))) => format!("Unresolved({index})"),
            }
        }
    }

    #[test]
    fn whatever_comes_and_goes_in_whatever_order_a_neighbour_changes_no_route() {
        let _eal = eal(192);
        let (mut rig, mut plain, mut numbers) = (Rig::new(small()), Plain::default(), Numbers(0x1234_5678));
        for step in 0..3000 {
            let index = numbers.of(&[1, 2]);
            let dev = INTERFACES[index as usize - 1];
            match numbers.of(&[0, 1, 2]) {
                0 => {
                    let text = numbers.of(&SUBNETS);
                    let net: IpNet = text.parse().unwrap();
                    match plain.subnets.get(&net.addr()).copied() {
                        None => {
                            plain.subnets.insert(net.addr(), (net, index));
                            rig.must([add_address(text, dev)]);
                        }
                        Some((set, owner)) => {
                            plain.subnets.remove(&net.addr());
                            rig.must([del_address(&set.to_string(), INTERFACES[owner as usize - 1])]);
                        }
                    }
                }
                1 => {
                    let text = numbers.of(&ROUTES);
                    let net = text.replace("default", "0.0.0.0/0").parse().unwrap();
                    match plain.routes.remove(&net) {
                        true => rig.must([del(text)]),
                        false => {
                            plain.routes.insert(net);
                            rig.must([add(&format!("{text} blackhole"))]);
                        }
                    }
                }
                _ => {
                    let text = numbers.of(&ADDRESSES);
                    let address = text.parse().unwrap();
                    match plain.neighbors.remove(&(address, index)) {
                        true => rig.must([del_neighbor(text, dev)]),
                        false => {
                            plain.neighbors.insert((address, index));
                            rig.must([neighbor(text, index as u8, dev)]);
                        }
                    }
                }
            }
            for address in ADDRESSES {
                assert_eq!(
                    rig.look(address),
                    plain.look(address.parse().unwrap()),
                    "{address} after step {step}"
                );
            }
        }
    }

    #[test]
    fn a_neighbour_overrides_no_longer_prefix_and_no_other_interface() {
        let _eal = eal(192);
        let mut rig = Rig::with_addresses(small());
        rig.must([
            add("10.0.1.128/25 blackhole"),
            neighbor("10.0.1.200", 3, "wan"),
            neighbor("10.0.1.5", 5, "lan"),
            neighbor("10.0.1.5", 6, "wan"),
            add("99.0.0.0/8 via 10.0.1.2"),
            neighbor("99.1.1.1", 7, "lan"),
        ]);
        assert_eq!(rig.look("10.0.1.200"), "Blackhole");
        assert_eq!(rig.look("10.0.1.5"), "to 06 by 2, mtu 1500");
        assert_eq!(rig.look("99.1.1.1"), "to 02 by 2, mtu 1500");
        rig.must([del("10.0.1.128/25"), add("99.1.1.1/32 via 99.1.1.1 dev lan")]);
        assert_eq!(rig.look("10.0.1.200"), "to 03 by 2, mtu 1500");
        assert_eq!(rig.look("99.1.1.1"), "to 07 by 1, mtu 1500", "who wants that says so");
        rig.must([del("99.0.0.0/8"), del_address("10.0.1.1/24", "wan")]);
        assert_eq!(["10.0.1.5", "10.0.1.2"].map(|address| rig.look(address)), ["NoRoute"; 2]);
        rig.must([add_address("10.0.1.1/24", "wan")]);
        assert_eq!(rig.look("10.0.1.5"), "to 06 by 2, mtu 1500");
        assert_eq!(
            rig.refused(add_address("99.1.1.1/32", "wan")),
            "99.1.1.1 is a neighbour or a next hop of routes on lan; delete these first"
        );
    }
}

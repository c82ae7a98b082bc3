//! Addresses that are never looked up: `ip4-input` and `ip6-input` settle what becomes of packets to them, so no route leads there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use punt::Prefix;

use super::{ip4, ip6};
use crate::node::{Edges, To};

/// What becomes of packets to some addresses.
struct Range {
    net: IpNet,
    to: To,
    /// Why no route leads there.
    why: &'static str,
}

/// Of two that hold an address the first counts.
const RANGES: [Range; 10] = [
    v4([0, 0, 0, 0], 8, ip4::input::Next::DestinationUnspecified, "packets to 0.0.0.0/8 are dropped"),
    v4([127, 0, 0, 0], 8, ip4::input::Next::DestinationLoopback, "packets to 127.0.0.0/8 are dropped"),
    v4([224, 0, 0, 0], 4, ip4::input::Next::Local, "packets to groups (224.0.0.0/4) are not routed"),
    v4([255; 4], 32, ip4::input::Next::Local, "packets to 255.255.255.255 stay on their link"),
    v4([240, 0, 0, 0], 4, ip4::input::Next::DestinationReserved, "packets to 240.0.0.0/4 are dropped"),
    v6([0; 8], 128, ip6::input::Next::DestinationUnspecified, "packets to :: are dropped"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, ip6::input::Next::DestinationLoopback, "packets to ::1 are dropped"),
    v6(
        [0, 0, 0, 0, 0, 0xffff, 0, 0],
        96,
        ip6::input::Next::DestinationMapped,
        "packets to ::ffff:0.0.0.0/96 are dropped",
    ),
    v6(
        [0xfe80, 0, 0, 0, 0, 0, 0, 0],
        10,
        ip6::input::Next::LinkLocal,
        "packets to link-local addresses (fe80::/10) stay on their link",
    ),
    v6(
        [0xff00, 0, 0, 0, 0, 0, 0, 0],
        8,
        ip6::input::Next::Local,
        "packets to groups (ff00::/8) are not routed",
    ),
];

const fn v4([a, b, c, d]: [u8; 4], length: u8, next: ip4::input::Next, why: &'static str) -> Range {
    let net = Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length);
    Range { net: IpNet::V4(net), to: ip4::input::Next::EDGES[next as usize].to, why }
}

const fn v6(
    [a, b, c, d, e, f, g, h]: [u16; 8],
    length: u8,
    next: ip6::input::Next,
    why: &'static str,
) -> Range {
    let net = Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), length);
    Range { net: IpNet::V6(net), to: ip6::input::Next::EDGES[next as usize].to, why }
}

/// Why no packet would ever take a route to `prefix`, if so: what packets to it do instead.
pub fn never_matches(prefix: Prefix) -> Option<&'static str> {
    let net = prefix.net();
    RANGES.iter().find(|range| range.net.contains(&net)).map(|range| range.why)
}

/// What becomes of a packet to `address` without a lookup, and the range of addresses for which that is so. One to a link-local IPv6
/// address goes to `ip6-local` on the interface that has the address, and where this says on others.
pub fn settled(address: IpAddr) -> Option<(Prefix, To)> {
    let range = RANGES.iter().find(|range| range.net.contains(&address))?;
    let to = match address {
        IpAddr::V4(group) if group.is_multicast() && !ip4::local::is_for_routers(group.to_bits()) => {
            ip4::local::Next::EDGES[ip4::local::Next::MulticastNoRoute as usize].to
        }
        IpAddr::V6(group) if group.is_multicast() => {
            let next = ip6::input::to_group(&group.octets(), false);
            ip6::input::Next::EDGES[next as usize].to
        }
        _ => range.to,
    };
    Some((Prefix::from(range.net), to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use crate::wire::{ETHERTYPE_IP4, ETHERTYPE_IP6};

    /// As one word or sentence.
    fn words(to: To) -> String {
        match to {
            To::Node(node) => node.into(),
            To::Punt(reason) => reason.name.into(),
            To::Drop(text) => text.into(),
            _ => "something else".into(),
        }
    }

    /// What the graph does with a packet to `address`: where it is looked up, or where that is settled.
    fn graph(router: &mut Router, address: IpAddr) -> String {
        let to = match address {
            IpAddr::V4(four) => {
                let packet = || at_l3(&udp4(four.octets(), 7), ETHERTYPE_IP4);
                match router.edge(&mut ip4::Ip4Input, packet()) {
                    ip4::input::Next::Local if four.is_multicast() => {
                        let mut packet = packet();
                        packet.meta.l4 = 34;
                        match router.edge(&mut ip4::Ip4Local, packet) {
                            ip4::local::Next::MulticastNoRoute => {
                                ip4::local::Next::EDGES[ip4::local::Next::MulticastNoRoute as usize].to
                            }
                            _ => To::Node("ip4-local"),
                        }
                    }
                    next => ip4::input::Next::EDGES[next as usize].to,
                }
            }
            IpAddr::V6(six) => {
                let next = router.edge(&mut ip6::Ip6Input, at_l3(&udp6(six.octets(), 7), ETHERTYPE_IP6));
                ip6::input::Next::EDGES[next as usize].to
            }
        };
        words(to)
    }

    #[test]
    fn what_is_settled_without_a_lookup_is_what_the_graph_does() {
        let mut router = Router::new();
        for address in [
            "0.0.0.0",
            "0.255.255.255",
            "1.0.0.0",
            "10.0.0.1",
            "126.255.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "128.0.0.1",
            "169.254.1.1",
            "223.255.255.255",
            "224.0.0.5",
            "224.0.1.0",
            "224.0.1.129",
            "224.0.1.132",
            "224.0.1.133",
            "239.255.255.255",
            "240.0.0.0",
            "255.255.255.254",
            "255.255.255.255",
            "::",
            "::1",
            "::2",
            "::ffff:10.0.0.1",
            "::fffe:10.0.0.1",
            "2001:db8::1",
            "fdff::1",
            "fe7f::1",
            "fe80::7",
            "febf::1",
            "fec0::1",
            "ff00::1",
            "ff01::1",
            "ff02::5",
            "ff05::2",
            "ff05::1:3",
            "ff0e::181",
            "ff0e::185",
            "ff1e::2",
        ] {
            let address: IpAddr = address.parse().unwrap();
            let lookup = if address.is_ipv4() { "ip4-lookup" } else { "ip6-lookup" };
            let settled = settled(address).map_or(lookup.into(), |(_, to)| words(to));
            assert_eq!(settled, graph(&mut router, address), "{address}");
        }
    }

    #[test]
    fn a_route_can_match_if_any_of_its_addresses_is_looked_up() {
        let why = |prefix: &str| never_matches(prefix.parse().unwrap());
        for prefix in [
            "default",
            "default6",
            "0.0.0.0/7",
            "224.0.0.0/3",
            "192.0.0.0/2",
            "::/127",
            "fe00::/9",
            "fc00::/7",
        ] {
            assert_eq!(why(prefix), None, "{prefix}");
        }
        assert_eq!(why("239.1.0.0/16"), Some("packets to groups (224.0.0.0/4) are not routed"));
        assert_eq!(why("255.255.255.255/32"), Some("packets to 255.255.255.255 stay on their link"));
        assert_eq!(why("fe80::/64"), Some("packets to link-local addresses (fe80::/10) stay on their link"));
        for prefix in [
            "0.0.0.0/8",
            "127.0.0.1/32",
            "224.0.0.0/4",
            "240.0.0.0/4",
            "::1/128",
            "::ffff:10.0.0.0/104",
            "ff00::/8",
            "fe80::/10",
        ] {
            assert!(why(prefix).is_some(), "{prefix}");
        }
    }
}

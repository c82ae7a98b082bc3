//! All reasons of a graph, as the desk must know them: those that nodes declare, one for each kind of drop, and one for each way in which the
//! punt path itself loses a packet.

use punt::Match;
use punt::claims::Protocol;
use punt::desk::{Place, Static};
use punt::policer::Limit;
use punt::reason::{Action, Class, Reason};

use crate::graph::Plan;
use crate::losses::LOSSES;
use crate::nodes::{arp, ip4, ip6, l2, local};

/// What one sees of drops that one asks for.
const DROP_LIMIT: Limit = Limit::new(100, 64);

/// The reasons of `plan`, by index from 1.
pub fn statics(plan: &Plan) -> Vec<Static> {
    let declared = plan.registry.iter().map(|registered| {
        let reason = registered.reason;
        let cells = cells_of(reason);
        let (place, within) = seen(reason, &cells);
        Static {
            name: reason.name.to_owned(),
            class: reason.class,
            limit: Limit::new(reason.rate.into(), reason.burst.into()),
            action: reason.action,
            node: registered.node(),
            text: reason.text.to_owned(),
            place,
            within,
            cells,
            can_copy: reason.action == Action::Copy,
        }
    });
    let drops =
        plan.drops().map(|(node, text)| shown(drop_name(node, text), node, format!("dropped: {text}")));
    let losses = LOSSES.iter().map(|(name, text)| shown((*name).to_owned(), "engine", (*text).to_owned()));
    declared.chain(drops).chain(losses).collect()
}

/// A reason of packets that are lost either way, and shown to those who ask.
fn shown(name: String, node: &str, text: String) -> Static {
    Static {
        name,
        class: Class::Sample,
        limit: DROP_LIMIT,
        action: Action::Drop,
        node: node.to_owned(),
        text,
        place: Place::Elsewhere,
        within: Vec::new(),
        cells: Vec::new(),
        can_copy: false,
    }
}

/// The name of the reason for which drops of this kind can be asked for: the text in lower-case words joined by dashes.
pub fn drop_name(node: &str, text: &str) -> String {
    let words: Vec<String> = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    format!("drop.{node}.{}", words.join("-"))
}

fn cells_of(reason: &Reason) -> Vec<punt::desk::Cell> {
    let mine = local::LISTENERS.iter().filter(|(_, _, _, listened)| std::ptr::eq(*listened, reason));
    punt::desk::cells_of(mine.map(|(family, protocol, key, _)| (*family, *protocol, *key)))
}

/// Where a reason's packets are found, and what matches see of them.
fn seen(reason: &Reason, cells: &[punt::desk::Cell]) -> (Place, Vec<Match>) {
    let is = |other: &Reason| std::ptr::eq(other, reason);
    if is(&ip4::UNCLAIMED) || is(&ip6::UNCLAIMED) {
        return (Place::Nobodys, Vec::new());
    }
    if is(&l2::UNCLAIMED) || is(&l2::RESERVED_MULTICAST) {
        return (Place::NobodysLink, Vec::new());
    }
    if is(&arp::REQUEST) || is(&arp::REPLY) || is(&arp::GRATUITOUS) {
        return (Place::Link, vec![Match::Ethertype(crate::wire::ETHERTYPE_ARP)]);
    }
    if is(&local::PIM_REGISTER) {
        return (Place::Local, vec![Match::Protocol { family: None, number: crate::wire::protocol::PIM }]);
    }
    if is(&local::ESP_IN_UDP) {
        return (Place::Local, vec![Match::Udp { family: None, ports: local::IPSEC_NAT..=local::IPSEC_NAT }]);
    }
    let link: Vec<Match> =
        l2::SEEN_AS.iter().filter(|(other, _)| is(other)).map(|(_, matching)| matching.clone()).collect();
    if !link.is_empty() && cells.is_empty() {
        return (Place::Link, link);
    }
    if cells.is_empty() {
        return (Place::Elsewhere, Vec::new());
    }
    let place = if link.is_empty() { Place::Local } else { Place::Both };
    let mut within = link;
    for (family, protocol, key) in cells {
        let ports = *key..=*key;
        let matching = match protocol {
            Protocol::Udp => Match::Udp { family: None, ports },
            Protocol::Tcp | Protocol::TcpSource => {
                let any = cells.contains(&(*family, Protocol::TcpSource, *key));
                Match::Tcp { family: None, ports, any }
            }
            Protocol::Icmp if *family == punt::Family::Ip4 => Match::Icmp4 { kind: *key as u8 },
            Protocol::Icmp => Match::Icmp6 { kind: *key as u8 },
            Protocol::Igmp => Match::Protocol { family: None, number: crate::wire::protocol::IGMP },
            Protocol::Ip => Match::Protocol { family: None, number: *key as u8 },
        };
        if !within.contains(&matching) {
            within.push(matching);
        }
    }
    (place, within)
}

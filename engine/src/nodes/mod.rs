//! All nodes of the graph. A protocol is a folder, a node is a file.

pub mod arp;
pub mod ether;
pub mod flow;
pub mod inject;
pub mod ip4;
pub mod ip6;
pub mod l2;
pub mod local;
pub mod redirect;
mod rewrite;
pub mod transmit;
pub mod unrouted;

#[cfg(test)]
mod captures;
#[cfg(test)]
mod joined;
#[cfg(test)]
mod whole;

use crate::graph::Stages;
use crate::node::Joined;

/// The nodes, the first being where packets come in.
pub fn all(transmit: transmit::Transmit) -> Stages {
    vec![
        Box::new(Joined(ether::EtherInput, ip4::Ip4Input)),
        Box::new(inject::Inject),
        Box::new(l2::L2Dispatch),
        Box::new(arp::ArpInput),
        Box::new(ip4::Ip4Input),
        Box::new(Joined(ip4::Ip4Lookup, ip4::Ip4Rewrite)),
        Box::new(ip4::Ip4Options),
        Box::new(ip4::Ip4Local),
        Box::new(ip4::Ip4Rewrite),
        Box::new(ip6::Ip6Input),
        Box::new(Joined(ip6::Ip6Lookup, ip6::Ip6Rewrite)),
        Box::new(ip6::Ip6HopByHop),
        Box::new(ip6::Ip6Local),
        Box::new(ip6::Ip6Rewrite),
        Box::new(redirect::Redirect),
        Box::new(transmit),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::graph::Plan;
    use crate::node::To;
    use crate::nodes::transmit::Transmit;

    fn plan() -> Plan {
        Plan::new(&all(Transmit::new(Vec::new(), 64)), 8).expect("the graph is wired rightly")
    }

    #[test]
    fn the_graph_is_wired_rightly_and_can_be_drawn() {
        let plan = plan();
        let drawn = plan.to_string();
        assert_eq!([plan.nodes[0].0, plan.nodes[1].0], ["inject", "ether-input"]);
        assert!(drawn.starts_with("digraph puntd {") && drawn.ends_with("}\n"));
        for (node, _) in &plan.nodes {
            assert!(drawn.contains(&format!("\"{node}\"")), "{node} is not drawn");
        }
    }

    #[test]
    fn no_node_drops_for_two_causes_of_one_text() {
        for (node, edges) in plan().nodes {
            let mut texts = HashSet::new();
            for edge in edges {
                if let To::Drop(text) = edge.to {
                    assert!(texts.insert(text), "{node} drops twice as {text:?}");
                }
            }
        }
    }

    #[test]
    fn reasons_are_named_by_their_family() {
        for registered in plan().registry.iter() {
            let (family, words) = registered.reason.name.split_once('.').expect("family.words");
            assert!(["l2", "arp", "nd", "ip4", "ip6", "local"].contains(&family), "{family}");
            assert!(
                words.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                "{words}"
            );
        }
    }
}

//! What a graph is to be, before there is one: its nodes in order, checked.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use punt::reason::Registry;

use crate::counters::Layout;
use crate::node::{Edge, Stage, To};

/// What is wrong with a graph, all of it.
#[derive(Debug, thiserror::Error)]
#[error("the graph is wired wrongly: {}", .0.join("; "))]
pub struct Miswired(Vec<String>);

/// The nodes of a graph before it is wired, the first being where packets come in.
pub type Stages = Vec<Box<dyn Stage>>;

/// What a graph can do, independent of any worker: for statistics, the list of reasons and the drawing.
#[derive(Clone)]
pub struct Plan {
    /// Nodes in the order packets meet them, each with its edges.
    pub nodes: Vec<(&'static str, &'static [Edge])>,
    /// Every reason that a node can punt for.
    pub registry: Arc<Registry>,
    /// Where each counter stands in a worker's row.
    pub layout: Arc<Layout>,
}

impl Plan {
    /// Orders and checks `stages`. `interfaces` is how many L3 interfaces there may be.
    ///
    /// # Errors
    /// Lists everything that is wrong: edges to nodes that are not there, two nodes or reasons of one name, nodes that nobody reaches,
    /// a circle.
    pub fn new(stages: &Stages, interfaces: usize) -> Result<Plan, Miswired> {
        let mut wrong = Vec::new();
        let order = topological(stages, &mut wrong);
        for stage in stages {
            let first = stage.edges().first().map(|edge| edge.to);
            if let Some(joined) = stage.joined()
                && !matches!(first, Some(To::Node(name)) if name == joined)
            {
                wrong.push(format!(
                    "{} is joined with {joined}, but its first edge leads elsewhere",
                    stage.name()
                ));
            }
        }
        let reasons = stages.iter().flat_map(|stage| {
            let named = stage.edges().iter().filter_map(|edge| match edge.to {
                To::Punt(reason) | To::PuntElse(reason, _) => Some(reason),
                _ => None,
            });
            named.chain(stage.reasons().iter().copied()).map(|reason| (reason, stage.name()))
        });
        let registry = match Registry::new(reasons.collect::<Vec<_>>()) {
            Ok(registry) => Some(registry),
            Err(duplicates) => {
                wrong.push(duplicates.to_string());
                None
            }
        };
        let (Some(registry), true) = (registry, wrong.is_empty()) else { return Err(Miswired(wrong)) };
        let nodes: Vec<_> = order.iter().map(|&at| (stages[at].name(), stages[at].edges())).collect();
        let layout = Layout::new(nodes.iter().map(|(_, edges)| edges.len()), interfaces);
        Ok(Plan { nodes, registry: Arc::new(registry), layout: Arc::new(layout) })
    }

    /// The index of the node called `name`.
    pub fn node(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|(node, _)| *node == name)
    }

    /// Every edge that drops, with its node and text, in the order of the graph.
    pub fn drops(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.nodes.iter().flat_map(|(node, edges)| {
            edges.iter().filter_map(|edge| match edge.to {
                To::Drop(text) => Some((*node, text)),
                _ => None,
            })
        })
    }

    /// The index of the reason for which drops by an edge can be asked for: behind all declared reasons, in the order of
    /// [`drops`](Plan::drops).
    pub(crate) fn drop_reason(&self, at: usize, index: usize) -> u32 {
        let drops = |edges: &[Edge]| edges.iter().filter(|edge| matches!(edge.to, To::Drop(_))).count();
        let before: usize = self.nodes[..at].iter().map(|(_, edges)| drops(edges)).sum();
        (self.registry.len() + before + drops(&self.nodes[at].1[..index]) + 1) as u32
    }
}

/// The order in which a packet can meet the stages, or everything that is wrong with them.
fn topological(stages: &Stages, wrong: &mut Vec<String>) -> Vec<usize> {
    let mut index = HashMap::new();
    for (at, stage) in stages.iter().enumerate() {
        if index.insert(stage.name(), at).is_some() {
            wrong.push(format!("two nodes are called {}", stage.name()));
        }
    }
    if stages.len() > 64 {
        wrong.push(format!("{} nodes, and a graph holds 64", stages.len()));
    }
    let mut order = Vec::new();
    let mut state = vec![Visit::New; stages.len()];
    for at in (0..stages.len()).filter(|&at| at == 0 || stages[at].is_entry()) {
        if state[at] == Visit::New {
            visit(at, stages, &index, &mut state, &mut order, wrong);
        }
    }
    for (at, stage) in stages.iter().enumerate() {
        if state[at] == Visit::New {
            wrong.push(format!("no edge leads to {}", stage.name()));
        }
    }
    order.reverse();
    order
}

#[derive(Clone, Copy, PartialEq)]
enum Visit {
    New,
    Open,
    Done,
}

fn visit(
    at: usize,
    stages: &Stages,
    index: &HashMap<&str, usize>,
    state: &mut [Visit],
    order: &mut Vec<usize>,
    wrong: &mut Vec<String>,
) {
    state[at] = Visit::Open;
    for edge in stages[at].edges() {
        let (To::Node(name) | To::PuntElse(_, name)) = edge.to else { continue };
        match index.get(name) {
            None => wrong.push(format!("{} leads to {name}, which is not in the graph", stages[at].name())),
            Some(&to) => match state[to] {
                Visit::New => visit(to, stages, index, state, order, wrong),
                Visit::Open => wrong.push(format!("a packet can come from {name} back to it")),
                Visit::Done => {}
            },
        }
    }
    state[at] = Visit::Done;
    order.push(at);
}

impl fmt::Display for Plan {
    /// The graph in Graphviz' language: `puntd --graph | dot -Tsvg`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "digraph puntd {{\n  rankdir=LR; node [shape=box, fontname=monospace];")?;
        for (node, edges) in &self.nodes {
            for edge in *edges {
                if let To::Node(to) | To::PuntElse(_, to) = edge.to {
                    writeln!(f, "  \"{node}\" -> \"{to}\" [label=\"{}\"];", edge.name)?;
                }
            }
            let exits = |kind: &str, names: Vec<&str>, f: &mut fmt::Formatter<'_>| match names.len() {
                0 => Ok(()),
                _ => writeln!(
                    f,
                    "  \"{node}\" -> \"{node} {kind}\"; \"{node} {kind}\" [shape=note, label=\"{kind}\\l{}\\l\"];",
                    names.join("\\l")
                ),
            };
            let punts = edges.iter().filter_map(|edge| match edge.to {
                To::Punt(reason) | To::PuntElse(reason, _) => Some(reason.name),
                To::Chosen => Some("(chosen)"),
                _ => None,
            });
            exits("punt", punts.collect(), f)?;
            let drops = edges.iter().filter_map(|edge| match edge.to {
                To::Drop(text) => Some(text),
                _ => None,
            });
            exits("drop", drops.collect(), f)?;
        }
        writeln!(f, "}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Context, Joined, Leads, Node};
    use crate::nodes::ip4::{Ip4Local, Ip4Lookup, Ip4Options};
    use crate::packet::Packet;

    /// A node that nobody's first edge leads to.
    struct Unled;

    impl Node for Unled {
        const NAME: &'static str = "unled";
        type Next = <Ip4Options as Node>::Next;

        fn packet(&mut self, context: &Context, packet: &mut Packet) -> Self::Next {
            Ip4Options.packet(context, packet)
        }
    }

    impl Leads<Unled> for Ip4Lookup {}

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let stages: Stages =
            vec![Box::new(Joined(Ip4Lookup, Unled)), Box::new(Ip4Local), Box::new(Ip4Options)];
        let wrong = Plan::new(&stages, 1).err().map(|wrong| wrong.to_string());
        assert_eq!(
            wrong.as_deref(),
            Some(
                "the graph is wired wrongly: ip4-lookup leads to ip4-rewrite, which is not in the graph; \
                 ip4-local leads to punt-redirect, which is not in the graph; \
                 ip4-lookup leads to ip4-rewrite, which is not in the graph; \
                 ip4-lookup is joined with unled, but its first edge leads elsewhere"
            )
        );
    }
}

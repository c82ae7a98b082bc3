//! The registry: every reason the graph may punt for, with its id.
//!
//! Ids are given once, from 1, in the order in which reasons are first named, and are never reused within one run
//! of the engine. 0 stands for "no reason".

use std::collections::HashMap;
use std::fmt;
use std::ptr;

use crate::reason::Reason;

/// A reason and where it comes from.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Valid until the engine stops; never 0.
    pub id: u32,
    /// As its source declares it.
    pub reason: &'static Reason,
    /// The nodes that punt for it, in the order of the graph, each once.
    pub nodes: Vec<&'static str>,
}

impl Registered {
    /// The nodes in one word, as `reason list` shows them.
    pub fn node(&self) -> String {
        self.nodes.join(",")
    }
}

/// Every reason of one engine.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// In the order of their ids: id 1 is the first.
    reasons: Vec<Registered>,
    by_name: HashMap<&'static str, u32>,
    /// By the address of the static: two statics are two reasons, whatever they say.
    by_address: HashMap<usize, u32>,
}

impl Registry {
    /// Collects reasons from the nodes that are their sources.
    ///
    /// The same static named by several nodes is one reason.
    ///
    /// # Errors
    /// When different statics carry one name; all such names are listed.
    pub fn new(
        sources: impl IntoIterator<Item = (&'static Reason, &'static str)>,
    ) -> Result<Registry, Duplicates> {
        let mut registry = Registry::default();
        let mut duplicates = Duplicates::default();
        for (reason, node) in sources {
            match registry.by_name.get(reason.name).copied() {
                None => registry.insert(reason, node),
                Some(id) => {
                    let known = &mut registry.reasons[id as usize - 1];
                    if !ptr::eq(known.reason, reason) {
                        duplicates.add(known, node);
                    } else if !known.nodes.contains(&node) {
                        known.nodes.push(node);
                    }
                }
            }
        }
        if duplicates.names.is_empty() { Ok(registry) } else { Err(duplicates) }
    }

    fn insert(&mut self, reason: &'static Reason, node: &'static str) {
        let id = self.reasons.len() as u32 + 1;
        self.by_name.insert(reason.name, id);
        self.by_address.insert(ptr::from_ref(reason).addr(), id);
        self.reasons.push(Registered { id, reason, nodes: vec![node] });
    }

    /// The id of a static reason.
    ///
    /// # Panics
    /// When the reason was not among those the registry was made from: a node punts for a reason that it does not
    /// declare.
    pub fn id_of(&self, reason: &'static Reason) -> u32 {
        match self.by_address.get(&ptr::from_ref(reason).addr()) {
            Some(id) => *id,
            None => panic!("reason {} is not registered", reason.name),
        }
    }

    /// The reason of that name.
    pub fn by_name(&self, name: &str) -> Option<&Registered> {
        self.by_name.get(name).and_then(|id| self.by_id(*id))
    }

    /// The reason of that id.
    pub fn by_id(&self, id: u32) -> Option<&Registered> {
        self.reasons.get((id as usize).checked_sub(1)?)
    }

    /// All of them, by ascending id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Registered> {
        self.reasons.iter()
    }

    /// How many there are; ids run from 1 to this.
    pub fn len(&self) -> usize {
        self.reasons.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// Different reasons carry one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Duplicates {
    /// Each such name, with the nodes that declare it.
    pub names: Vec<(&'static str, Vec<&'static str>)>,
}

impl Duplicates {
    fn add(&mut self, known: &Registered, node: &'static str) {
        let name = known.reason.name;
        let index = self.names.iter().position(|(other, _)| *other == name).unwrap_or_else(|| {
            self.names.push((name, known.nodes.clone()));
            self.names.len() - 1
        });
        let nodes = &mut self.names[index].1;
        if !nodes.contains(&node) {
            nodes.push(node);
        }
    }
}

impl fmt::Display for Duplicates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("different reasons carry one name; rename all but one of each: ")?;
        for (index, (name, nodes)) in self.names.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{name} (declared for {})", nodes.join(", "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Duplicates {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Class;

    static TTL: Reason = Reason::new("ip4.ttl-expired", Class::Except, "TTL ran out in transit");
    static TTL_AGAIN: Reason = Reason::new("ip4.ttl-expired", Class::Miss, "another idea of the same");
    static LACP: Reason = Reason::new("l2.lacp", Class::Link, "link aggregation");
    static LACP_AGAIN: Reason = Reason::new("l2.lacp", Class::Link, "link aggregation, twice");

    #[test]
    fn one_reason_may_have_several_sources() {
        let registry = Registry::new([
            (&TTL, "ip4-input"),
            (&LACP, "ether-input"),
            (&TTL, "ip4-ttl"),
            (&TTL, "ip4-ttl"),
        ])
        .unwrap();
        assert_eq!(registry.len(), 2);
        assert_eq!((registry.id_of(&TTL), registry.id_of(&LACP)), (1, 2));
        let ttl = registry.by_name("ip4.ttl-expired").unwrap();
        assert_eq!((ttl.id, ttl.nodes.as_slice()), (1, ["ip4-input", "ip4-ttl"].as_slice()));
        assert_eq!(ttl.node(), "ip4-input,ip4-ttl");
        assert_eq!(registry.by_id(2).unwrap().reason.name, "l2.lacp");
        assert_eq!(registry.iter().map(|known| known.id).collect::<Vec<_>>(), [1, 2]);
        assert!(
            registry.by_id(0).is_none() && registry.by_id(3).is_none() && registry.by_name("x").is_none()
        );
    }

    #[test]
    fn two_reasons_of_one_name_are_one_error_that_lists_all() {
        let error = Registry::new([
            (&TTL, "ip4-input"),
            (&LACP, "ether-input"),
            (&TTL_AGAIN, "ip4-ttl"),
            (&LACP_AGAIN, "llc-input"),
            (&TTL_AGAIN, "ip4-ttl"),
        ])
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "different reasons carry one name; rename all but one of each: \
             ip4.ttl-expired (declared for ip4-input, ip4-ttl); l2.lacp (declared for ether-input, llc-input)"
        );
    }

    #[test]
    #[should_panic(expected = "reason l2.lacp is not registered")]
    fn an_undeclared_reason_is_a_bug() {
        Registry::new([(&TTL, "ip4-input")]).unwrap().id_of(&LACP);
    }
}

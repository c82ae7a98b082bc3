//! Scopes: which of the registrations with a source or an interface makes the reason of a packet.

use std::net::IpAddr;

use super::{HashMap, Only};
use crate::facts::Facts;
use crate::interest::Interest;

/// Registrations with a source or an interface: packets that one of them covers have its reason instead.
///
/// They are kept by shape, (length of the source prefix, with or without an interface): for each shape there is one look into a table, the most
/// specific shape first.
#[derive(Default)]
pub struct Scopes {
    shapes: Vec<Shape>,
}

struct Shape {
    ip4: Option<bool>,
    prefix: u8,
    interface: bool,
    /// By masked source and interface: those registrations, the most specific match first.
    scoped: HashMap<(u128, u32), Vec<(Only, u32)>>,
}

impl Scopes {
    /// Of scoped interests, each with the index of the reason it makes. Of equally specific ones, the first has the packet.
    pub fn new(scoped: impl IntoIterator<Item = (Only, u32)>) -> Scopes {
        let interest = |only: &Only| match only {
            Only::Interest(interest) | Only::Reasons(_, interest) => interest.clone(),
        };
        let mut scoped: Vec<(Only, u32)> = scoped.into_iter().collect();
        scoped.sort_by_key(|(only, _)| std::cmp::Reverse(interest(only).specificity()));
        let mut shapes: Vec<Shape> = Vec::new();
        for (only, index) in scoped {
            let Interest { source, interface, .. } = interest(&only);
            let ip4 = source.map(|source| source.is_ipv4());
            let prefix = source.map_or(0, |source| source.length());
            let has_interface = interface.is_some();
            let same =
                |shape: &Shape| (shape.ip4, shape.prefix, shape.interface) == (ip4, prefix, has_interface);
            let at = shapes.iter().position(same).unwrap_or_else(|| {
                shapes.push(Shape { ip4, prefix, interface: has_interface, scoped: HashMap::default() });
                shapes.len() - 1
            });
            let key = (source.map_or(0, |source| masked(source.address(), prefix)), interface.unwrap_or(0));
            shapes[at].scoped.entry(key).or_default().push((only, index));
        }
        Scopes { shapes }
    }

    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    /// How many looks it takes to find the reason of a packet.
    pub fn shapes(&self) -> usize {
        self.shapes.len()
    }

    /// The index of the reason that the most specific of them makes of a packet.
    pub fn find(&self, facts: &Facts) -> Option<u32> {
        self.shapes.iter().find_map(|shape| shape.find(facts))
    }
}

impl Shape {
    fn find(&self, facts: &Facts) -> Option<u32> {
        let source = match (self.ip4, facts.source) {
            (None, _) => 0,
            (Some(ip4), Some(source)) if source.is_ipv4() == ip4 => masked(source, self.prefix),
            _ => return None,
        };
        let interface = if self.interface { facts.interface } else { 0 };
        let covers = |only: &Only| match only {
            Only::Interest(interest) => interest.covers(facts),
            Only::Reasons(reasons, interest) => reasons.contains(&facts.reason) && interest.covers(facts),
        };
        let found = self.scoped.get(&(source, interface))?.iter().find(|(only, _)| covers(only))?;
        Some(found.1)
    }
}

/// The first `length` bits of an address.
fn masked(address: IpAddr, length: u8) -> u128 {
    let (bits, width) = match address {
        IpAddr::V4(address) => (address.to_bits() as u128, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    bits.checked_shr(width - (length as u32).min(width)).unwrap_or(0)
}

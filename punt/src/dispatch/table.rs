//! The entries of all reasons, by index.

use super::{Entry, Punted};
use crate::facts::Facts;
use crate::quiescent::{Guard, Slot};

/// The entries of all reasons, by index.
pub struct Table(Box<[Slot<Entry>]>);

impl Table {
    /// A table for so many reasons; index 0 is nobody's.
    pub fn new(reasons: usize) -> Table {
        Table((0..=reasons).map(|_| Slot::default()).collect())
    }

    /// The place of the reason with this index.
    pub fn slot(&self, index: u32) -> Option<&Slot<Entry>> {
        self.0.get(index as usize)
    }

    /// How many reasons it holds.
    pub fn capacity(&self) -> usize {
        self.0.len() - 1
    }

    /// What is set for the reason with this index.
    #[inline(always)]
    pub fn get<'a>(&'a self, index: u32, guard: &'a Guard<'_>) -> Option<&'a Entry> {
        self.0.get(index as usize)?.get(guard)
    }

    /// What is set for a packet that left the graph for the reason at `index`, which a registration with a source or an interface may have
    /// made another; and the index of that.
    #[inline(always)]
    pub fn resolve<'a>(
        &'a self,
        index: u32,
        packet: &impl Punted,
        guard: &'a Guard<'_>,
    ) -> (u32, Option<&'a Entry>) {
        match self.get(index, guard) {
            Some(entry) if !entry.scopes.is_empty() => self.resolve_scoped(index, entry, packet, guard),
            entry => (index, entry),
        }
    }

    #[inline(never)]
    fn resolve_scoped<'a>(
        &'a self,
        index: u32,
        entry: &'a Entry,
        packet: &impl Punted,
        guard: &'a Guard<'_>,
    ) -> (u32, Option<&'a Entry>) {
        let facts = Facts { reason: index, ..packet.facts() };
        match entry.scopes.find(&facts).and_then(|&scoped| Some((scoped, self.get(scoped, guard)?))) {
            Some((scoped, entry)) => (scoped, Some(entry)),
            None => (index, Some(entry)),
        }
    }
}

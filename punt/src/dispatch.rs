//! Dispatch: what a worker does with a packet that leaves the graph for a reason.
//!
//! For each reason there is one immutable [`Entry`], replaced whole when anything about the reason changes. [`Outbox::offer_all`] takes the
//! packets that left one after the other for one reason past the stages of its entry, each before any copy, and hands them to every sink that
//! has a covering registration. All of it is a handful of loads for a packet that is refused; only what is accepted writes to anything that
//! workers share.

mod books;
mod delivery;
mod entry;
mod fate;
mod interests;
mod outbox;
mod passive;
mod table;

use std::hash::BuildHasherDefault;

use crate::facts::Facts;
use crate::policer::Source;

pub use books::{Counts, Offered, Registered};
pub use delivery::{Candidate, Delivery, Lanes};
pub use entry::Entry;
pub use fate::{FATES, Fate, Fates};
pub use interests::{Interests, blocks};
pub use outbox::{Fairness, Lost, Outbox};
pub use passive::{Passive, PassiveTo, Passives};
pub use table::Table;

type HashMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<rustc_hash::FxHasher>>;

/// A packet as an engine hands it over: bytes, and what it knows of them.
pub trait Punted {
    /// Bytes of the frame.
    fn len(&self) -> u32;
    /// Whether it has none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The frame, from its Ethernet header on.
    fn segments(&self) -> impl Iterator<Item = &[u8]>;
    /// What matches look at. Called for packets whose reason has a registration that wants to know.
    fn facts(&self) -> Facts;
    /// What the record says of it: interface, offsets, flags.
    fn tag(&self) -> Tag;
    /// Index of the interface it came in on.
    fn interface(&self) -> u32 {
        self.tag().interface
    }
    /// Who sent it, as far as fairness is concerned.
    fn source(&self) -> Source;
}

/// What the record says of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tag {
    /// Index of the interface it came in on.
    pub interface: u32,
    /// Where its L3 header begins; 0xffff if it has none.
    pub l3: u16,
    /// Where its L4 header begins; 0xffff if it has none.
    pub l4: u16,
    /// Flags of the record.
    pub flags: u16,
}

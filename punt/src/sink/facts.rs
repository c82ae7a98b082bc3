//! What a sink's thread must ask the engine.

use std::sync::Arc;

use crate::class::Class;
use crate::lane::Count;

/// An interface, as far as a sink needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// What the operator calls it.
    pub name: String,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// The longest packet it takes, in bytes from the L3 header on.
    pub mtu: u32,
}

/// What became of the packets of one registration, as its sink's thread counts it: in a cache line that workers have nothing in.
#[derive(Default)]
#[repr(align(64))]
pub struct Settled {
    /// Records that the client took.
    pub delivered: Count,
    /// Records that could not be written.
    pub errors: Count,
}

/// The engine, as a sink's thread sees it. Called on that thread, never on a worker; may lock, should not wait.
pub trait Facts: Send + Sync {
    /// The name of a reason.
    fn reason(&self, id: u32) -> Option<String>;

    /// The interface of that index.
    fn interface(&self, index: u32) -> Option<Interface>;

    /// The interface of that name, and its index.
    fn interface_named(&self, _name: &str) -> Option<(u32, Interface)> {
        None
    }

    /// The books of a registration. It has one sink, so one thread writes them. Ids are never reused, so the thread may remember the answer.
    fn registration(&self, id: u32) -> Option<Arc<Settled>>;

    /// Packets per second that a class is guaranteed: the weights of the rounds in which lanes are emptied.
    fn minimum(&self, class: Class) -> u32 {
        class.minimum()
    }
}

//! The punt library of puntd: why packets leave the forwarding graph, who gets them, and the protocol that drives the engine.
//!
//! It knows no DPDK: an engine hands it bytes and metadata, never buffers. `puntctl` and other clients use the
//! same crate, so what they send and what the engine takes are the same types.
//!
//! - [`reason`], [`class`], [`registry`]: the named exceptions for which a packet is punted.
//! - [`record`], [`ring`], [`segment`]: what a sink receives, the way it takes from a worker, and how a client may share it.
//! - [`sink`], [`waker`], [`inject`]: the threads that write what workers put into rings, how they wake, and the way back.
//! - [`socket`]: Unix sockets by the addresses that operators write.
//! - [`quiescent`]: changing what workers read, while they read it.
//! - [`matching`], [`target`], [`place`]: which packets somebody wants, and where they are to go.
//! - [`policer`]: who may pass, and how often; shared by all workers.
//! - [`value`]: addresses, prefixes and MACs with errors an operator can act on.
//! - [`client`]: for programs that receive punted packets.
//! - [`control`]: JSON-RPC over the control socket, its types, and a client.

pub mod claims;
pub mod class;
pub mod client;
pub mod clock;
pub mod control;
pub mod desk;
pub mod dispatch;
pub mod facts;
#[cfg(any(test, fuzzing))]
pub mod hostile;
pub mod inject;
pub mod interest;
pub mod lane;
mod ledger;
mod mapped;
pub mod matching;
pub mod place;
pub mod policer;
pub mod quiescent;
mod raw;
pub mod reason;
pub mod record;
pub mod registry;
pub mod ring;
mod routed;
pub mod segment;
pub mod sink;
pub mod socket;
mod sync;
pub mod target;
pub mod value;
pub mod waker;

pub use class::Class;
pub use matching::{Family, Match};
pub use reason::{Action, Reason};
pub use registry::{Duplicates, Registered, Registry};
pub use target::Target;
pub use value::{InterfaceAddress, Mac, Prefix, Rate};

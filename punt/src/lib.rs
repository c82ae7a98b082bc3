//! The punt library of puntd: why packets leave the forwarding graph, and the protocol that drives the engine.
//!
//! It knows no DPDK: an engine hands it bytes and metadata, never buffers. `puntctl` and other clients use the
//! same crate, so what they send and what the engine takes are the same types.
//!
//! - [`reason`], [`class`], [`registry`]: the named exceptions for which a packet is punted.
//! - [`policer`]: who may pass, and how often; shared by all workers.
//! - [`value`]: addresses, prefixes and MACs with errors an operator can act on.
//! - [`control`]: JSON-RPC over the control socket, its types, and a client.

pub mod class;
pub mod control;
pub mod policer;
pub mod reason;
pub mod registry;
pub mod value;

pub use class::Class;
pub use reason::{Action, Reason};
pub use registry::{Duplicates, Registered, Registry};
pub use value::{InterfaceAddress, Mac, Prefix};

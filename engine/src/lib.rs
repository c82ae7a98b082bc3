//! puntd as a library: the graph, its nodes and tables, the workers that run it, and what the control plane sets.
//!
//! Read [`run`] first: it is the loop. A [`node`] is a function from a packet to an edge, the [`graph`] runs frames of packets through
//! nodes, [`tables`] are what nodes look up, and [`nodes`] are all there are.

#![deny(unsafe_code)]

pub mod args;
pub mod config;
pub mod control;
pub mod counters;
pub mod eal;
pub mod engine;
pub mod graph;
#[cfg(any(test, fuzzing))]
pub mod hostile;
pub mod losses;
pub mod node;
pub mod nodes;
pub mod notify;
pub mod packet;
pub mod panic;
pub mod plan;
pub mod ports;
mod punted;
pub use punt::quiescent;
pub mod reasons;
pub mod rehearsal;
pub mod run;
pub mod sinks;
pub mod tables;
pub mod transit;
pub mod wire;

#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code, reason = "fuzz targets use a part of what tests do"))]
mod testing;

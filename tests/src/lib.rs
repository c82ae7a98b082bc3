//! What the end-to-end tests and the demo share: a network, traffic through it, and engines to send it through.

pub mod attack;
pub mod bfd;
pub mod bird;
pub mod capture;
pub mod engine;
pub mod exceptions;
pub mod namespace;
pub mod outgoing;
pub mod packets;
pub mod plan;
pub mod traffic;

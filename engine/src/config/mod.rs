//! The configuration file: what it may say, what it says, and what is wrong with it.
//!
//! Reading ([`Config::parse`]) knows nothing of the machine: no port, no memory. So `puntd --check` runs anywhere.

mod check;
mod memory;
mod origin;
mod parse;
mod punting;
mod read;
pub mod write;

use punt::control::types::{ClassSet, Neighbor, PassiveSet, PolicerSet, ReasonSet, Register, Route, SinkAdd};
use punt::{InterfaceAddress, Mac};

pub use check::{MIN_MTU6, is_end, is_link_local, no_match, too_small, would_lack_tags};
pub use memory::{FibSize, MAX_ADDRESSES, MAX_LINK_LOCAL, Memory, Sizes};
pub use origin::{Origin, Part};
pub use parse::{MAX_MTU, MIN_MTU};
pub use punting::{Bytes, Punting};
pub use read::nearest;

use crate::tables::Tpid;

/// The MTU of a port's interface that is not told another.
pub const DEFAULT_MTU: u16 = 1500;

/// What a configuration file says. What it leaves out has its default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `[eal] args`: arguments for DPDK's environment abstraction layer.
    pub eal: Vec<String>,
    /// `[tables]`: what is reserved at start.
    pub tables: Sizes,
    /// `[interface.NAME]`, in the order of the file.
    pub interfaces: Vec<Interface>,
    /// `[[neighbor]]`.
    pub neighbors: Vec<Neighbor>,
    /// `[[route]]`.
    pub routes: Vec<Route>,
    /// `[punt]`: bounds of all punting.
    pub punt: Punting,
    /// `[[sink]]`.
    pub sinks: Vec<SinkAdd>,
    /// `[[register]]`.
    pub registers: Vec<Register>,
    /// `[[passive]]`.
    pub passives: Vec<PassiveSet>,
    /// `[reason."NAME"]`, in the order of the file.
    pub reasons: Vec<ReasonSet>,
    /// `[class.NAME]`, in the order of the file.
    pub classes: Vec<ClassSet>,
    /// `[[policer]]`; a `registration:N` is the N-th `[[register]]` of the file, from 1.
    pub policers: Vec<PolicerSet>,
    /// Where all that stands in its file.
    pub origin: Origin,
}

/// One `[interface.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Interface {
    /// The user's name for it.
    pub name: String,
    /// What it is.
    pub link: Link,
    /// Its own addresses.
    pub addresses: Vec<InterfaceAddress>,
    /// Bytes after the Ethernet header; by default 1500, or the parent's. A sub-interface never has more than its parent.
    pub mtu: Option<u16>,
    /// By default the port's (a made-up local one where it has none), or the parent's.
    pub mac: Option<Mac>,
    /// Whether it takes and sends packets; by default it does.
    pub up: Option<bool>,
}

/// What an interface is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// The untagged frames of the port with this EAL name.
    Port(String),
    /// The frames of another interface's port that have these tags.
    Vlan {
        /// The interface that is the port's own.
        parent: String,
        /// The tags.
        tags: Tags,
    },
}

/// The VLAN tags of a sub-interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tags {
    /// Kind of the outer tag.
    pub tpid: Tpid,
    /// Number in the outer tag, 1 to 4094.
    pub vlan: u16,
    /// Number in a second, 802.1Q tag behind it.
    pub inner: Option<u16>,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {key}: {fault}")]
pub struct ConfigError {
    /// What the caller calls the file.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// As `interface.lan.mtu`, or `route` for one of an array.
    pub key: String,
    /// What was wrong; what would be right.
    pub fault: String,
}

impl Config {
    /// Reads a configuration. `name` is what errors call it, usually the file's name.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of lines.
    pub fn parse(text: &str, name: &str) -> Result<Config, Vec<ConfigError>> {
        parse::parse(text, name)
    }

    /// The interface of the port with this EAL name, if the file names it.
    pub fn interface_of(&self, port: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| matches!(&interface.link, Link::Port(name) if name == port))
    }
}

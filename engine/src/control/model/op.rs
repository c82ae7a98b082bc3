//! What can be done to what is set.

use punt::Mac;
use punt::control::types::{Address, Neighbor, NeighborKey, Route, RouteKey};

use crate::config::Tags;

/// How long something is meant to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// As long as the configuration says so.
    Config,
    /// Until an operator takes it away, or the engine stops.
    Operator,
}

/// One change. Batches of them are done in order, all or none: see [`Model::batch`](super::Model::batch).
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A sub-interface comes.
    InterfaceAdd(SubInterface),
    /// A sub-interface goes; nothing may be on it any more.
    InterfaceDel(String),
    /// An interface is set otherwise.
    InterfaceSet(Settings),
    /// An interface gets an address.
    AddressAdd(Address, Life),
    /// An interface loses an address.
    AddressDel(Address),
    /// A neighbour comes.
    NeighborAdd(Neighbor, Life),
    /// A neighbour comes or is told another MAC.
    NeighborReplace(Neighbor, Life),
    /// A neighbour goes.
    NeighborDel(NeighborKey),
    /// A route comes.
    RouteAdd(Route, Life),
    /// A route comes or takes the place of the one with its prefix and metric.
    RouteReplace(Route, Life),
    /// A route goes.
    RouteDel(RouteKey),
}

/// A sub-interface to add.
#[derive(Clone, Debug, PartialEq)]
pub struct SubInterface {
    /// Its name, which no other has.
    pub name: String,
    /// The port's own interface.
    pub parent: String,
    /// Its tags, which no other of that port has.
    pub tags: Tags,
    /// What else is said of it.
    pub settings: Settings,
}

/// What is to be set of an interface: `None` leaves it, `Some(None)` is the default.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Which.
    pub name: String,
    /// Bytes after the Ethernet header.
    pub mtu: Option<Option<u16>>,
    /// Its own address on the link.
    pub mac: Option<Option<Mac>>,
    /// Whether it takes and sends packets.
    pub up: Option<Option<bool>>,
    /// How long all that is meant to stay.
    pub life: Life,
}

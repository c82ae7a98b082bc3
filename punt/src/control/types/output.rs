//! What the engine says: the rows of lists and the answers to questions.
//!
//! Counters are packets or bytes since the engine started.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::input::RouteAction;
use crate::class::Class;
use crate::reason::Action;
use crate::value::{InterfaceAddress, Mac, Prefix, Rate};

/// What runs there: `version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Of puntd.
    pub version: String,
    /// The library that forwards, with its version.
    #[serde(default)]
    pub dpdk: String,
    /// Of this protocol; 1.
    #[serde(default)]
    pub protocol: u32,
}

/// `interface.list`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InterfaceRow {
    /// The operator's name for it.
    pub name: String,
    /// Its number in this run of the engine.
    pub index: u32,
    /// The EAL's name of the device; a sub-interface has its parent's.
    pub port: String,
    /// Its own address on the link.
    pub mac: Mac,
    /// Bytes after the Ethernet header.
    pub mtu: u32,
    /// Whether the operator wants it to take and send packets.
    pub up: bool,
    /// Whether there is a link.
    pub link: bool,
    /// Its addresses.
    pub addresses: Vec<InterfaceAddress>,
    /// The table its packets are looked up in.
    pub vrf: String,
    /// The interface whose tagged frames are its packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The (outer) tag of those frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// The inner tag of those frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inner: Option<u16>,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets the device lost for want of a descriptor or a buffer.
    pub rx_missed: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets the device did not take.
    pub tx_dropped: u64,
}

/// `stats.interfaces`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InterfaceStats {
    /// The operator's name for it.
    pub name: String,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets the device lost for want of a descriptor or a buffer.
    pub rx_missed: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets the device did not take.
    pub tx_dropped: u64,
}

/// `address.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddressRow {
    /// With the length of its subnet.
    pub address: InterfaceAddress,
    /// Whose it is.
    pub interface: String,
}

/// Where a route comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// An operator or the configuration made it.
    #[default]
    Static,
    /// The subnet of an interface.
    Connected,
    /// An address of the router.
    Local,
}

impl RouteKind {
    /// The name an operator reads.
    pub const fn name(self) -> &'static str {
        match self {
            RouteKind::Static => "static",
            RouteKind::Connected => "connected",
            RouteKind::Local => "local",
        }
    }
}

/// `route.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteRow {
    /// Where it leads.
    pub prefix: Prefix,
    /// Its next hops.
    #[serde(default)]
    pub via: Vec<IpAddr>,
    /// The interface named with it, or the one that is connected or local.
    #[serde(default)]
    pub dev: Option<String>,
    /// The least counts.
    #[serde(default)]
    pub metric: u32,
    /// What happens instead of forwarding.
    #[serde(default)]
    pub action: Option<RouteAction>,
    /// Where it comes from.
    #[serde(default)]
    pub kind: RouteKind,
}

/// `route.get`: the route that a packet to an address would take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteAnswer {
    /// What was asked.
    pub address: IpAddr,
    /// The route's fields, beside the others.
    #[serde(flatten)]
    pub route: RouteRow,
    /// Over which of these it goes depends on the flow.
    #[serde(default)]
    pub hops: Vec<Hop>,
}

/// One way out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hop {
    /// The neighbour; none when the destination itself is one.
    #[serde(default)]
    pub via: Option<IpAddr>,
    /// The interface.
    pub dev: String,
    /// The neighbour's MAC, when it is known.
    #[serde(default)]
    pub mac: Option<Mac>,
}

/// `neighbor.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeighborRow {
    /// Its address.
    pub address: IpAddr,
    /// Its MAC.
    pub mac: Mac,
    /// Where it is.
    pub interface: String,
}

/// `reason.list` and `stats.reasons`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReasonRow {
    /// Valid in this run of the engine.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// The queue its packets wait in.
    pub class: Class,
    /// What happens to the packet.
    pub action: Action,
    /// Packets per second; none if its policer counts bytes.
    pub rate: Option<Rate>,
    /// Packets that may come at once; none if its policer counts bytes.
    pub burst: Option<u32>,
    /// Its policer in words, if rate and burst do not say all of it.
    #[serde(default)]
    pub policer: Option<String>,
    /// Packets per second that no source exceeds, whatever there is to spare.
    #[serde(default)]
    pub source_rate: Option<Rate>,
    /// The same for all sources behind one ingress interface.
    #[serde(default)]
    pub interface_rate: Option<Rate>,
    /// One packet in so many is taken.
    #[serde(default = "one")]
    pub sample: u32,
    /// Its source; several are joined by commas.
    #[serde(default)]
    pub node: String,
    /// What happened to the packet.
    #[serde(default)]
    pub text: String,
    /// What became of its packets.
    #[serde(flatten)]
    pub counters: ReasonCounters,
}

/// Everything is taken where nothing is said of sampling.
fn one() -> u32 {
    1
}

/// What became of the packets of one reason: `packets` is the sum of all that follow `copies`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReasonCounters {
    /// Punted.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of them, how many were copied and forwarded as well.
    pub copies: u64,
    /// Nobody had asked for them.
    pub no_sink: u64,
    /// Not among those sampled.
    pub sampled_out: u64,
    /// Dropped by the reason's action.
    pub action_drop: u64,
    /// Over the share of their source.
    pub refused_source: u64,
    /// Over the share of their ingress interface.
    pub refused_interface: u64,
    /// Over the reason's rate.
    pub refused_reason: u64,
    /// Over the class's cap or budget.
    pub refused_class: u64,
    /// Offered to sinks.
    pub accepted: u64,
}

/// `stats.nodes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStats {
    /// Its name.
    pub node: String,
    /// How often it ran.
    pub calls: u64,
    /// Packets it saw.
    pub packets: u64,
    /// Their quotient; 0 before the first call.
    pub packets_per_call: f64,
    /// From every N-th call; 0 before the first of them. A node that another takes packets through (`ip4-input` by `ether-input`,
    /// `ip4-rewrite` by `ip4-lookup`) is hardly ever timed by itself: its time is the other's, and here is 0.
    pub cycles_per_packet: f64,
    /// Packets of the calls that were timed; 0 where `cycles_per_packet` says nothing.
    pub timed_packets: u64,
}

/// `stats.drops`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DropStats {
    /// Where.
    pub node: String,
    /// Why.
    pub text: String,
    /// How many.
    pub packets: u64,
}

/// `stats.workers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerStats {
    /// Its number, from 0.
    pub worker: u32,
    /// The lcore it runs on.
    pub lcore: u32,
    /// The receive queues it owns, as `port:queue`.
    pub queues: Vec<String>,
    /// Rounds of its loop.
    pub loops: u64,
    /// Those that found no packet.
    pub idle_loops: u64,
    /// Packets received.
    pub received: u64,
    /// Packets put in by sinks.
    pub injected: u64,
    /// Packets sent.
    pub transmitted: u64,
    /// Packets dropped.
    pub dropped: u64,
    /// Packets punted.
    pub punted: u64,
    /// Packets answered in place.
    pub consumed: u64,
    /// Packets without a verdict yet.
    pub in_flight: u64,
}

/// `audit`: `received + injected = transmitted + dropped + punted + consumed + in_flight`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Whether every packet adds up.
    pub balanced: bool,
    /// Packets received.
    pub received: u64,
    /// Packets put in by sinks.
    pub injected: u64,
    /// Packets sent.
    pub transmitted: u64,
    /// Packets dropped.
    pub dropped: u64,
    /// Packets punted.
    pub punted: u64,
    /// Packets answered in place.
    pub consumed: u64,
    /// Packets without a verdict yet.
    pub in_flight: u64,
    /// Where buffers come from.
    #[serde(default)]
    pub pools: Vec<PoolRow>,
    /// What does not add up, a sentence each.
    #[serde(default)]
    pub findings: Vec<String>,
}

/// A pool of buffers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolRow {
    /// Its name.
    pub name: String,
    /// How many buffers it has.
    pub size: u64,
    /// How many were in use after start: what drivers keep for themselves.
    pub idle: u64,
    /// How many are in use now.
    pub in_use: u64,
}

/// `config.check` and `config.apply`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigReport {
    /// What an operator should know, a sentence each: memory, what was passed over.
    pub notes: Vec<String>,
}

/// `config.show` and `config.save`: TOML, in parts where it does not fit on a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigPart {
    /// The text, or the next part of it.
    pub text: String,
    /// Ask again with `after` set to this for the part that follows; null after the last.
    pub after: Option<String>,
}

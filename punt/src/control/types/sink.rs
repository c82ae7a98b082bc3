//! Sinks: `sink.list`, `sink.add`, `sink.del`, `stats.sinks`, `[[sink]]`, and how long what is made lives.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::class::Class;
use crate::target::Target;
use crate::value::Rate;

/// How long a sink, a registration or a setting lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Life {
    /// As long as it stands in the configuration.
    Config,
    /// Until it is removed, or the engine ends.
    #[default]
    Operator,
    /// As long as the connection on which it was made, and 60 s more for its client to come back.
    Session,
}

impl Life {
    /// The name an operator reads and writes.
    pub const fn name(self) -> &'static str {
        match self {
            Life::Config => "config",
            Life::Operator => "operator",
            Life::Session => "session",
        }
    }

    /// Whether it is the usual one, which need not be said.
    pub(super) fn is_operator(&self) -> bool {
        *self == Life::Operator
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A sink to make: `sink.add`, `[[sink]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkAdd {
    /// What registrations call it.
    pub name: String,
    /// Where it puts its packets.
    pub target: Target,
    /// Packets per second of all its registrations together; none of its own by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Packets that may come at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// How long it lives; *operator* by default.
    #[serde(default, skip_serializing_if = "Life::is_operator")]
    pub life: Life,
}

/// How long a sink's name may be, in bytes.
pub const MAX_SINK_NAME: usize = 64;

impl SinkAdd {
    /// Whether it makes sense by itself.
    ///
    /// # Errors
    /// One sentence that names the sink.
    pub fn check(&self) -> Result<(), String> {
        let name = &self.name;
        let odd = |c: char| c.is_whitespace() || c.is_control();
        if name.is_empty() || name.len() > MAX_SINK_NAME || name.contains(odd) {
            return Err(format!(
                "{name:?} is no name for a sink; write 1 to {MAX_SINK_NAME} bytes without blanks"
            ));
        }
        check_limit(format_args!("sink {name}"), self.rate, self.burst)
    }
}

/// Whether a rate and a burst fit together.
pub(super) fn check_limit(
    what: impl fmt::Display,
    rate: Option<Rate>,
    burst: Option<u32>,
) -> Result<(), String> {
    match (rate, burst) {
        (Some(Rate::PerSecond(0)), _) => {
            Err(format!("{what} has rate 0, with which nothing passes; write at least 1"))
        }
        (_, Some(0)) => Err(format!("{what} has burst 0, with which nothing passes; write at least 1")),
        (None, Some(burst)) => Err(format!("{what} has burst {burst} and no rate; add rate")),
        _ => Ok(()),
    }
}

/// A sink to remove: `sink.del`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkKey {
    /// Its name.
    pub name: String,
}

/// The answer to `sink.add`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkAnswer {
    /// Its name.
    pub name: String,
    /// Where its client sends what is to be injected; none where it cannot.
    pub inject: Option<String>,
    /// What `session.resume` takes; none if it outlives the connection anyway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// A client that comes back: `session.resume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionResume {
    /// From the answer to `sink.add` or `register`.
    pub token: String,
}

/// The answer to `session.resume`: what is the client's again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionAnswer {
    /// The token of the session from now on.
    pub token: String,
    /// Its sinks, by name.
    pub sinks: Vec<String>,
    /// Its registrations, by id.
    pub registrations: Vec<u32>,
}

/// How a sink is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkState {
    /// It takes what it is given.
    #[default]
    Active,
    /// It has packets and made no progress for 1 s.
    Stuck,
    /// Nobody is there; it is probed every 50 ms.
    Suspended,
}

impl SinkState {
    /// The name an operator reads.
    pub const fn name(self) -> &'static str {
        match self {
            SinkState::Active => "active",
            SinkState::Stuck => "stuck",
            SinkState::Suspended => "suspended",
        }
    }
}

impl fmt::Display for SinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A row of `sink.list` and `stats.sinks`.
///
/// `offered = refused_registration + refused_sink + ring_full + Σ errors + delivered + backlog`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkRow {
    /// What registrations call it.
    pub name: String,
    /// Where it puts its packets.
    pub target: Target,
    /// How it is doing.
    pub state: SinkState,
    /// How long it lives.
    #[serde(default)]
    pub life: Life,
    /// Packets per second of all its registrations together; none if it has no limit of its own.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// Packets that may come at once.
    #[serde(default)]
    pub burst: Option<u32>,
    /// Where its client sends what is to be injected; none where it cannot.
    #[serde(default)]
    pub inject: Option<String>,
    /// How long records were on their way, by class; the most important first.
    #[serde(default)]
    pub waits: Vec<SinkWait>,
    /// What became of its packets.
    #[serde(flatten)]
    pub counters: SinkCounters,
}

/// How long records of one class were on their way from receive to delivery.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkWait {
    /// The class.
    pub class: Class,
    /// Records that were delivered.
    pub records: u64,
    /// Half of them took no longer, in microseconds.
    pub p50_us: f64,
    /// 99 of 100 took no longer, in microseconds.
    pub p99_us: f64,
    /// The longest, in microseconds.
    pub max_us: f64,
}

/// What became of the packets of one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkCounters {
    /// Bytes of its rings.
    pub memory: u64,
    /// Packets that a registration wanted for it.
    pub offered: u64,
    /// Over the registration's rate.
    pub refused_registration: u64,
    /// Over the sink's rate.
    pub refused_sink: u64,
    /// No room in its ring.
    pub ring_full: u64,
    /// Waiting in its rings.
    pub backlog: u64,
    /// Handed over.
    pub delivered: u64,
    /// Bytes of frames handed over.
    pub delivered_bytes: u64,
    /// Of those handed over, how many were cut.
    pub truncated: u64,
    /// Lost, by the name of the error: `ECONNREFUSED`, `ENOENT`.
    pub errors: BTreeMap<String, u64>,
    /// Packets that its client put in.
    pub injected: u64,
    /// What its client put in and was refused.
    pub inject_errors: u64,
    /// What came from somebody who is not its client.
    pub foreign: u64,
    /// Rings in shared memory whose client said that it has read what was not there.
    pub closed_rings: u64,
    /// Clients that could not be given shared memory, by the name of the error.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub refused_clients: BTreeMap<String, u64>,
}

//! Reasons and classes as an operator sets them: `reason.set`, `[reason.NAME]`, `class.list`, `class.set`,
//! `[class.NAME]`, `stats.sources`.

use serde::{Deserialize, Serialize};

use crate::class::Class;
use crate::control::page::Paging;
use crate::reason::Action;
use crate::value::{Prefix, Rate};

/// What to change about a reason: `reason.set`, `[reason.NAME]`. What is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReasonSet {
    /// Which.
    pub name: String,
    /// Packets per second over all workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Packets that may come at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// The queue its packets wait in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// What happens to the packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// Packets per second that no source exceeds, whatever there is to spare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_rate: Option<Rate>,
    /// The same for all sources behind one ingress interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_rate: Option<Rate>,
    /// One packet in so many is taken; 1 takes all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<u32>,
}

impl ReasonSet {
    /// Whether it makes sense by itself.
    ///
    /// # Errors
    /// One sentence that begins with the name.
    pub fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if self.burst == Some(0) {
            return Err(format!("{name} has burst 0, with which nothing passes; write at least 1"));
        }
        if self.sample == Some(0) {
            return Err(format!("{name} has sample 0; write N for one packet in N, 1 for all"));
        }
        Ok(())
    }

    /// Takes from `newer` what it says; the rest stays.
    pub fn merge(&mut self, newer: &ReasonSet) {
        let ReasonSet { name: _, rate, burst, class, action, source_rate, interface_rate, sample } = newer;
        self.rate = rate.or(self.rate);
        self.burst = burst.or(self.burst);
        self.class = class.or(self.class);
        self.action = action.or(self.action);
        self.source_rate = source_rate.or(self.source_rate);
        self.interface_rate = interface_rate.or(self.interface_rate);
        self.sample = sample.or(self.sample);
    }
}

/// What to change about a class: `class.set`, `[class.NAME]`. What is left out stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassSet {
    /// Which.
    pub name: Class,
    /// Packets per second that it gets whatever the others do; 0 promises nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// Packets per second that it never exceeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<Rate>,
}

impl ClassSet {
    /// Whether it makes sense by itself.
    ///
    /// # Errors
    /// One sentence that begins with the class.
    pub fn check(&self) -> Result<(), String> {
        match (self.min, self.cap) {
            (Some(min), Some(Rate::PerSecond(cap))) if u64::from(min) > cap => {
                Err(format!("{} has the minimum {min} above its cap {cap}; write at most the cap", self.name))
            }
            _ => Ok(()),
        }
    }
}

/// A row of `class.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassRow {
    /// Which.
    pub name: Class,
    /// Packets per second that it gets whatever the others do.
    pub min: u32,
    /// Packets per second that it never exceeds.
    pub cap: Rate,
    /// Packets that came to it.
    #[serde(default)]
    pub packets: u64,
    /// Of these, packets over its cap or the budget.
    #[serde(default)]
    pub refused: u64,
    /// Of these, packets offered to sinks.
    #[serde(default)]
    pub accepted: u64,
}

/// Which sources to list: `stats.sources`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFilter {
    /// This reason alone; without it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// See [`Paging::limit`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// See [`Paging::after`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl SourceFilter {
    /// The part that every list has.
    pub fn paging(&self) -> Paging {
        Paging { limit: self.limit, after: self.after.clone() }
    }
}

/// A row of `stats.sources`: who sends most into a reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceRow {
    /// Into which reason.
    pub reason: String,
    /// From which interface.
    pub interface: String,
    /// Who: a /32 or a /64; none where packets have no IP source, or for all sources behind the interface together.
    pub source: Option<Prefix>,
    /// The MAC it came from, where it is not IP.
    #[serde(default)]
    pub mac: Option<crate::value::Mac>,
    /// Packets per second in the last second or two.
    #[serde(default)]
    pub pps: u64,
    /// Packets that came.
    pub packets: u64,
    /// Of these, packets refused for the share of their source or interface.
    pub refused: u64,
    /// By how much `packets` may be too high: the table is bounded.
    #[serde(default)]
    pub error: u64,
}

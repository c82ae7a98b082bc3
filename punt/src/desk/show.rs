//! What is set and what was counted, as lists show it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::passives::Towards;
use super::reasons::Reason;
use super::{Desk, Refused};
use crate::class::Class;
use crate::control::types::Policed;
use crate::control::types::output::{ReasonCounters, ReasonRow};
use crate::control::types::passive::{PassiveCounters, PassiveRow};
use crate::control::types::reason::{ClassRow, SourceRow};
use crate::control::types::registration::{RegistrationCounters, RegistrationRow};
use crate::control::types::sink::{SinkRow, SinkWait};
use crate::dispatch::{Counts, FATES, Fate};
use crate::lane::{Count, Lane};
use crate::policer::{Config, Limit, Talker, Talkers, Unit};
use crate::sink::Wait;
use crate::value::Rate;

/// Sources that are shown.
const MOST_SOURCES: usize = 1000;

impl Desk {
    /// All reasons, by id, with what was punted for them.
    pub fn reason_rows(&self) -> Vec<ReasonRow> {
        let mut rows: Vec<ReasonRow> = self.reasons().map(|(_, reason)| self.reason_row(reason)).collect();
        rows.sort_by_key(|row| row.id);
        rows
    }

    fn reason_row(&self, reason: &Reason) -> ReasonRow {
        let (rate, burst, policer) = in_force(&reason.policer.config());
        ReasonRow {
            id: reason.id,
            name: reason.name().to_owned(),
            class: reason.class,
            action: reason.action(),
            rate,
            burst,
            policer,
            source_rate: reason.source_rate,
            interface_rate: reason.interface_rate,
            sample: reason.sample.unwrap_or(1),
            node: reason.shipped.node.clone(),
            text: reason.shipped.text.clone(),
            counters: counters(&reason.counts),
        }
    }

    /// All sinks, by name.
    pub fn sink_rows(&self) -> Vec<SinkRow> {
        let row = |(name, sink): (&String, &super::sinks::SinkEntry)| SinkRow {
            name: name.clone(),
            target: sink.target.clone(),
            state: sink.open.state(),
            life: sink.life,
            rate: sink.limit.map(|limit| limit.rate),
            burst: burst(sink.limit),
            policer: None,
            inject: sink.open.inject(),
            waits: sink.sink.waits.all().into_iter().map(wait).collect(),
            counters: sink.counters(),
        };
        self.state.sinks.iter().map(row).collect()
    }

    /// All registrations, by id.
    pub fn registration_rows(&self) -> Vec<RegistrationRow> {
        let row = |(id, it): (&u32, &std::sync::Arc<super::registrations::Registration>)| {
            let wanted = &it.wanted;
            let books = &it.books;
            RegistrationRow {
                id: *id,
                r#match: wanted.matching.clone(),
                sink: wanted.sink.clone(),
                life: wanted.life,
                reason: it.reason.and_then(|index| self.by_index(index)).map_or_else(
                    || wanted.matching.to_string().trim_start_matches("reason:").to_owned(),
                    |reason| reason.name().to_owned(),
                ),
                rate: wanted.limit.map(|limit| limit.rate),
                burst: burst(wanted.limit),
                policer: None,
                interface: wanted.interface.as_ref().map(|(_, name)| name.clone()),
                source: wanted.source,
                snaplen: wanted.snaplen,
                exclusive: wanted.exclusive,
                owner: wanted.owner.clone(),
                suspended: it.suspended,
                counters: RegistrationCounters {
                    delivered: books.settled.delivered.get(),
                    errors: books.settled.errors.get() + books.sum(|worker| &worker.errors),
                    ring_full: books.sum(|worker| &worker.ring_full),
                    refused: books.sum(|worker| &worker.refused),
                    refused_sink: books.sum(|worker| &worker.refused_sink),
                    packets: books.sum(|worker| &worker.packets),
                },
            }
        };
        self.state.registrations.iter().map(row).collect()
    }

    /// What is set for packets that nothing claimed.
    pub fn passive_rows(&self) -> Vec<PassiveRow> {
        let row = |it: &super::passives::PassiveEntry| {
            let (mut sink, mut redirect, mut via) = (None, None, None);
            match &it.to {
                Towards::Sink(name) => sink = Some(name.clone()),
                Towards::Redirect { interface, via: next, .. } => {
                    redirect = Some(interface.clone());
                    via = *next;
                }
                Towards::Drop => {}
            }
            let packets = it.books.sum(|worker| &worker.packets);
            let refused =
                it.books.sum(|worker| &worker.refused) + it.books.sum(|worker| &worker.refused_sink);
            let misses = it.books.sum(|worker| &worker.errors);
            PassiveRow {
                family: it.family,
                interface: it.interface.as_ref().map(|(_, name)| name.clone()),
                sink,
                redirect,
                via,
                drop: it.to == Towards::Drop,
                rate: it.limit.map(|limit| limit.rate),
                burst: burst(it.limit),
                policer: None,
                life: it.life,
                counters: PassiveCounters {
                    packets,
                    refused,
                    hits: packets.saturating_sub(refused + misses),
                    misses,
                },
            }
        };
        self.state.passives.iter().map(row).collect()
    }

    /// All sinks, with the limit that is in force: that of a policer, if one was set.
    pub fn sink_list(&self) -> Vec<SinkRow> {
        let shown = |row: SinkRow| match self.set_policer_of(&Policed::Sink(row.name.clone())) {
            None => row,
            Some(config) => {
                let (rate, burst, policer) = in_force(&config);
                SinkRow { rate, burst, policer, ..row }
            }
        };
        self.sink_rows().into_iter().map(shown).collect()
    }

    /// All registrations, with the limit that is in force.
    pub fn registration_list(&self) -> Vec<RegistrationRow> {
        let shown = |row: RegistrationRow| match self.set_policer_of(&Policed::Registration(row.id)) {
            None => row,
            Some(config) => {
                let (rate, burst, policer) = in_force(&config);
                RegistrationRow { rate, burst, policer, ..row }
            }
        };
        self.registration_rows().into_iter().map(shown).collect()
    }

    /// What is set for packets that nothing claimed, with the limit that is in force.
    pub fn passive_list(&self) -> Vec<PassiveRow> {
        let shown = |row: PassiveRow| {
            let what = Policed::Passive { family: row.family, interface: row.interface.clone() };
            match self.set_policer_of(&what) {
                None => row,
                Some(config) => {
                    let (rate, burst, policer) = in_force(&config);
                    PassiveRow { rate, burst, policer, ..row }
                }
            }
        };
        self.passive_rows().into_iter().map(shown).collect()
    }

    /// All classes, the most important first.
    pub fn class_rows(&self) -> Vec<ClassRow> {
        let shape = self.budget.shape();
        let row = |class: Class| {
            let (mut packets, mut refused, mut accepted) = (0, 0, 0);
            for (_, reason) in self.reasons() {
                if reason.class == class {
                    // What is demoted is counted at once, and a burst at its end: read the other way around, there may be fewer packets than that.
                    let [in_others, no_room] = demoted(reason, None);
                    let counters = counters(&reason.counts);
                    packets += counters.packets.saturating_sub(in_others + no_room);
                    refused += counters.refused_class.saturating_sub(no_room);
                    accepted += counters.accepted.saturating_sub(in_others);
                }
                let [in_it, no_room] = demoted(reason, Some(class));
                packets += in_it + no_room;
                refused += no_room;
                accepted += in_it;
            }
            let (min, cap) = shape.classes[class as usize];
            ClassRow { name: class, min: min.min(u32::MAX as u64) as u32, cap, packets, refused, accepted }
        };
        Class::ALL.into_iter().rev().map(row).collect()
    }

    /// Who sends most into the reason of that name, or into any; the busiest first.
    ///
    /// # Errors
    /// If there is no such reason.
    pub fn source_rows(
        &self,
        reason: Option<&str>,
        interface: impl Fn(u32) -> String,
    ) -> Result<Vec<SourceRow>, Refused> {
        let id = match reason {
            Some(name) => {
                let index = self.named(name).ok_or_else(|| self.no_reason(name))?;
                self.by_index(index).map(|reason| reason.id)
            }
            None => None,
        };
        let talkers = self.fairness.iter().map(|fairness| &*fairness.talkers);
        let top = Talkers::top(talkers, (self.now)(), id, MOST_SOURCES);
        let names: HashMap<u32, &str> =
            self.reasons().map(|(_, reason)| (reason.id, reason.name())).collect();
        let row = |talker: Talker| {
            let text = talker.source.to_string();
            let prefix = if text.contains('.') { format!("{text}/32") } else { text.clone() };
            Some(SourceRow {
                reason: (*names.get(&talker.reason)?).to_owned(),
                interface: interface(talker.interface),
                source: prefix.parse().ok(),
                mac: text.parse().ok(),
                packets: talker.packets,
                refused: talker.refused,
                error: talker.error,
                pps: talker.pps,
            })
        };
        // One that a registration made may be no more.
        Ok(top.into_iter().filter_map(row).collect())
    }

    /// The name of the reason with this id.
    pub fn reason_name(&self, id: u32) -> Option<String> {
        let index = self.relations.ids.get(&id)?;
        self.by_index(*index).map(|reason| reason.name().to_owned())
    }

    /// What does not add up in the books of reasons and sinks; a sentence each. A worker may be held up while it counts: what seems wrong is
    /// looked at again, for a second at most.
    pub fn findings(&self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut findings = Vec::new();
        for (_, reason) in self.reasons() {
            for (worker, counts) in reason.counts.iter().enumerate() {
                findings.extend(persists(deadline, || {
                    let before = counts.packets.get();
                    let fates: u64 = counts.fates.iter().map(Count::get).sum();
                    (before == counts.packets.get() && fates != before).then(|| {
                        format!(
                            "worker {worker}: reason {} counts {before} packets, and {fates} of them have a fate",
                            reason.name()
                        )
                    })
                }));
            }
        }
        for (name, sink) in &self.state.sinks {
            findings.extend(sink.lanes().filter_map(|lane| {
                let (worker, class) = (lane.worker, lane.class);
                let what = persists(deadline, || unbalanced(lane))?;
                Some(format!("sink {name}, worker {worker}, class {class}: {what}"))
            }));
        }
        findings
    }
}

/// What is still wrong when there is no more time to look.
fn persists(deadline: Instant, look: impl Fn() -> Option<String>) -> Option<String> {
    loop {
        let finding = look()?;
        if Instant::now() >= deadline {
            return Some(finding);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A worker that is held up for longer amid counting is as good as stuck.
const PATIENCE: Duration = Duration::from_secs(1);

/// What does not add up in the books of a lane.
fn unbalanced(lane: &Lane) -> Option<String> {
    let Lane { offers, outcome, ring, .. } = lane;
    let finished = outcome.delivered.get() + outcome.errors.sum();
    let before = offers.offered.get();
    let written = ring.written();
    let refused = offers.refused_registration.get() + offers.refused_sink.get();
    let known = refused + offers.ring_full.get() + offers.errors.sum() + written;
    if finished > written {
        return Some(format!("{finished} records came out, {written} went in"));
    }
    let still = before == offers.offered.get();
    (still && known != before)
        .then(|| format!("{before} packets were offered, and {known} are accounted for"))
}

/// A policer's rate and burst, if these are packets, and all that is to be said of it if that is more.
fn in_force(config: &Config) -> (Option<Rate>, Option<u32>, Option<String>) {
    let plain = Config::packets(config.rate, config.burst) == *config;
    let packets = config.unit == Unit::Packets;
    let burst = packets.then(|| config.burst.min(u32::MAX as u64) as u32);
    (packets.then_some(config.rate), burst, (!plain).then(|| config.to_string()))
}

/// Packets of a reason that a policer demoted to a class, or to any: those that it had room for, and the others.
fn demoted(reason: &Reason, to: Option<Class>) -> [u64; 2] {
    let classes = || Class::ALL.into_iter().filter(move |class| to.is_none_or(|to| to == *class));
    let its = || {
        reason.counts.iter().flat_map(move |worker| classes().map(|class| &worker.demoted[class as usize]))
    };
    [its().map(|it| it.accepted.get()).sum(), its().map(|it| it.refused.get()).sum()]
}

fn burst(limit: Option<Limit>) -> Option<u32> {
    limit.filter(|limit| limit.rate != Rate::Unlimited).map(|limit| limit.burst.min(u32::MAX as u64) as u32)
}

fn wait(wait: Wait) -> SinkWait {
    let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
    SinkWait {
        class: wait.class,
        records: wait.records,
        p50_us: microseconds(wait.p50),
        p99_us: microseconds(wait.p99),
        max_us: microseconds(wait.max),
    }
}

/// The books of all workers together.
fn counters(counts: &[crossbeam_utils::CachePadded<Counts>]) -> ReasonCounters {
    let mut fates = [0; FATES];
    let (mut packets, mut bytes, mut copies) = (0, 0, 0);
    for worker in counts {
        for (sum, fate) in fates.iter_mut().zip(&worker.fates) {
            *sum += fate.get();
        }
        packets += worker.packets.get();
        bytes += worker.bytes.get();
        copies += worker.copies.get();
    }
    let fate = |fate: Fate| fates[fate as usize];
    ReasonCounters {
        packets,
        bytes,
        copies,
        no_sink: fate(Fate::NoSink),
        sampled_out: fate(Fate::SampledOut),
        action_drop: fate(Fate::ActionDrop),
        refused_source: fate(Fate::RefusedSource),
        refused_interface: fate(Fate::RefusedInterface),
        refused_reason: fate(Fate::RefusedReason),
        refused_class: fate(Fate::RefusedClass),
        accepted: fate(Fate::Accepted),
    }
}

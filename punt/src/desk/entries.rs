//! From what is set to what workers look at: entries, claims, lanes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cover::Sight;
use super::passives::{Towards, family_of};
use super::reasons::Reason;
use super::registrations::Registration;
use super::{Desk, Refused};
use crate::class::Class;
use crate::dispatch::{Candidate, Delivery, Entry, Interests, Lanes, Passive, PassiveTo, Passives};
use crate::interest::Interest;
use crate::matching::{self, Match};
use crate::policer::{Policer, Verdict};
use crate::reason::Action;
use crate::segment;

/// Bytes that a packet and its header take in a ring, more or less.
const RECORD: u64 = 256;
/// What a ring may have, in bytes.
const RING: std::ops::RangeInclusive<u64> = 512 << 10..=segment::RING as u64;

/// What a registration sees of a reason's packets.
pub(super) enum Seen {
    /// Every one.
    All,
    /// Those that its interest covers; with a list, only those that left the graph for one of these.
    Some(Option<Arc<[u32]>>),
}

/// The registrations of one sink that want packets of a reason.
#[derive(Default)]
struct Takers {
    some: Interests<Candidate>,
    all: Option<Candidate>,
}

impl Desk {
    /// What workers are to do with packets of the reason at `index`.
    pub(super) fn entry(&self, index: u32) -> Option<Entry> {
        let reason = self.by_index(index)?;
        let deliveries: Box<[Delivery]> = self.wanted(reason).into_values().collect();
        let looks = deliveries.iter().any(|it| !it.some.is_empty());
        Some(Entry {
            id: reason.id,
            class: reason.class,
            copy: reason.shipped.can_copy && reason.action() == Action::Copy,
            drop: reason.action == Some(Action::Drop),
            sample: reason.sample,
            policer: reason.policer.clone(),
            share: reason.share.clone(),
            counts: reason.counts.clone(),
            budget: self.budget.clone(),
            scopes: self.relations.scopes(index),
            passive: self.passives_of(reason),
            deliveries,
            looks,
        })
    }

    /// A delivery for each sink that may want packets of a reason, by the sink's slot.
    fn wanted(&self, reason: &Reason) -> BTreeMap<usize, Delivery> {
        let mut registrations: Vec<(&Registration, Seen)> = self
            .takers(reason)
            .filter(|registration| !registration.suspended)
            .filter_map(|registration| Some((registration, self.seen(&registration.interest, reason)?)))
            .collect();
        registrations.sort_by_key(|(registration, _)| {
            (std::cmp::Reverse(registration.interest.specificity()), registration.id)
        });
        let mut takers: BTreeMap<&str, Takers> = BTreeMap::new();
        for (registration, seen) in registrations {
            let of_sink = takers.entry(&registration.wanted.sink).or_default();
            // Whoever stands behind one that covers everything is never asked.
            if of_sink.all.is_some() {
                continue;
            }
            let candidate = registration.candidate();
            match seen {
                Seen::All => of_sink.all = Some(candidate),
                Seen::Some(from) => {
                    of_sink.some.insert(&registration.interest, registration.id, from, candidate);
                }
            }
        }
        let delivery = |(sink, Takers { some, all }): (&str, Takers)| {
            let sink = self.state.sinks.get(sink)?;
            let delivery = Delivery {
                sink: sink.sink.clone(),
                policer: sink.policer.clone(),
                lanes: sink.lanes.clone(),
                some,
                all,
            };
            Some((sink.sink.slot, delivery))
        };
        takers.into_iter().filter_map(delivery).collect()
    }

    /// The registrations to which packets of a reason may go.
    pub(super) fn takers<'a>(&'a self, reason: &'a Reason) -> impl Iterator<Item = &'a Registration> {
        let seeing = self.seeing(reason).into_iter();
        let registrations = seeing.filter_map(|id| Some(&**self.state.registrations.get(&id)?));
        registrations.filter(move |registration| !self.is_elsewhere(registration, reason))
    }

    /// Whether packets of `reason` that a registration would cover have its own reason before they get there.
    pub(super) fn is_elsewhere(&self, registration: &Registration, reason: &Reason) -> bool {
        let interest = &registration.interest;
        let own =
            registration.reason.and_then(|index| self.by_index(index)).is_some_and(|it| it.made_by.is_some());
        // Claims go by rank, but not where a source port will do.
        let by_rank = !matches!(interest.matching, Match::Tcp { any: true, .. });
        let behind = |made_by: &Interest| by_rank && interest.specificity() > made_by.specificity();
        let nobodys = reason.shipped.place.is_nobodys();
        own && match (interest.is_scoped(), reason.is_scoped()) {
            (true, false) => true,
            (false, true) => false,
            (scoped, _) => (nobodys && !scoped) || reason.made_by.as_ref().is_some_and(behind),
        }
    }

    /// What an interest sees of a reason's packets, if anything.
    pub(super) fn seen(&self, interest: &Interest, reason: &Reason) -> Option<Seen> {
        match reason.sight(interest) {
            Sight::All => Some(Seen::All),
            Sight::Some => Some(Seen::Some(None)),
            Sight::None => {
                // A reason that a scope makes of several: those of them that the pattern names.
                let (Match::Reason(pattern), Some(made_by)) = (&interest.matching, &reason.made_by) else {
                    return None;
                };
                if !reason.is_scoped() || !interest.meets(made_by) {
                    return None;
                }
                // What a scope claims is nobody's no more.
                let named = |index: &u32| {
                    self.by_index(*index).is_some_and(|base| {
                        !base.shipped.place.is_nobodys() && matching::covers(pattern, base.name())
                    })
                };
                let from: Arc<[u32]> = self.bases(made_by).into_iter().filter(named).collect();
                (!from.is_empty()).then_some(Seen::Some(Some(from)))
            }
        }
    }

    /// What is to become of packets of `reason` that nobody claimed.
    fn passives_of(&self, reason: &Reason) -> Passives {
        let Some(family) = family_of(reason) else { return Passives::default() };
        let mut passives = Passives::default();
        for entry in self.state.passives.iter().filter(|entry| entry.family == family) {
            let to = match &entry.to {
                Towards::Drop => PassiveTo::Drop,
                Towards::Redirect { way, .. } => PassiveTo::Redirect(*way),
                Towards::Sink(sink) => {
                    let Some(sink) = self.state.sinks.get(sink) else { continue };
                    PassiveTo::Sink(Delivery {
                        sink: sink.sink.clone(),
                        policer: sink.policer.clone(),
                        lanes: sink.lanes.clone(),
                        some: Interests::default(),
                        all: Some(Candidate {
                            registration: entry.books.clone(),
                            policer: self.unlimited(),
                            snaplen: u32::MAX,
                        }),
                    })
                }
            };
            let passive =
                Arc::new(Passive { policer: entry.policer.clone(), registration: entry.books.clone(), to });
            match &entry.interface {
                None => passives.all = Some(passive),
                Some((index, _)) => {
                    passives.interfaces.insert(*index, passive);
                }
            }
        }
        // Resolved here, so that workers look once.
        let of_parent = |(child, parent): (&u32, &u32)| {
            let own = passives.interfaces.contains_key(child);
            passives.interfaces.get(parent).filter(|_| !own).map(|passive| (*child, passive.clone()))
        };
        let of_parents: Vec<_> = self.parents.iter().filter_map(of_parent).collect();
        passives.interfaces.extend(of_parents);
        passives
    }

    pub(super) fn unlimited(&self) -> Arc<Policer> {
        let limit = super::registrations::limit_or_none(None);
        Arc::new(Policer::packets(limit, self.clock.hz(), (self.now)()))
    }

    /// Makes the lanes that packets of the reason at `index` need.
    pub(super) fn make_lanes(&mut self, index: u32) -> Result<(), Refused> {
        let Some(reason) = self.by_index(index).cloned() else { return Ok(()) };
        let takers = self.takers(&reason).map(|it| (it.wanted.sink.clone(), Some(it.policer.clone())));
        let mut sinks: Vec<(String, Option<Arc<Policer>>)> = takers.collect();
        if reason.shipped.place.is_nobodys() {
            for entry in &self.state.passives {
                if let Towards::Sink(sink) = &entry.to {
                    sinks.push((sink.clone(), entry.policer.clone()));
                }
            }
        }
        sinks.iter().try_for_each(|(sink, policer)| self.make_lanes_to(sink, policer.as_deref(), &reason))
    }

    /// Makes the lanes that packets of a reason need that go to a sink past this policer.
    pub(super) fn make_lanes_to(
        &mut self,
        sink: &str,
        policer: Option<&Policer>,
        reason: &Reason,
    ) -> Result<(), Refused> {
        let of_sink = self.state.sinks.get(sink).map(|sink| sink.policer.clone());
        let policers = [policer, Some(&*reason.policer), of_sink.as_deref()].into_iter().flatten();
        let demoted = policers.map(Policer::config).flat_map(|config| [config.yellow, config.red]);
        let classes: Vec<Class> = demoted
            .filter_map(|verdict| if let Verdict::Demote(class) = verdict { Some(class) } else { None })
            .chain([reason.class])
            .collect();
        classes.into_iter().try_for_each(|class| self.make_lane(sink, class))
    }

    /// Packets of a class that may come at once, of whichever reasons: what the class lets pass, or else the most that any one of them does.
    fn most_at_once(&self, class: Class) -> u64 {
        let of_class = self.reasons().filter(|(_, reason)| reason.class == class);
        let of_reasons = || of_class.map(|(_, reason)| reason.policer.limit().burst).max().unwrap_or(0);
        self.budget.shape().most_at_once(class).unwrap_or_else(of_reasons)
    }

    /// Makes a lane to `sink` for each worker, if there is none of that class. Its size is the class's, so it does not matter which reason comes
    /// first.
    fn make_lane(&mut self, sink: &str, class: Class) -> Result<(), Refused> {
        if self.state.sinks.get(sink).is_none_or(|entry| !entry.lanes[class as usize].is_empty()) {
            return Ok(());
        }
        let used: usize = self.state.sinks.values().map(|sink| sink.memory()).sum();
        let burst = self.most_at_once(class);
        let Some(entry) = self.state.sinks.get_mut(sink) else { return Ok(()) };
        let bytes =
            burst.saturating_mul(RECORD).clamp(*RING.start(), *RING.end()).next_power_of_two() as usize;
        let needed = bytes * self.workers;
        if used + needed > self.memory {
            return Err(Refused(format!(
                "the rings of sink {sink} for class {class} take {} KiB, and of [punt] memory, {} KiB, {} are used; allow more",
                needed >> 10,
                self.memory >> 10,
                used >> 10
            )));
        }
        let made = entry.sink.make(class, self.workers, bytes).map_err(|error| {
            Refused(format!(
                "the rings of sink {sink} for class {class} take {} KiB, and there is no memory for them: {error}",
                needed >> 10
            ))
        })?;
        let mut lanes: Lanes = (*entry.lanes).clone();
        lanes[class as usize] = made;
        entry.lanes = Arc::new(lanes);
        Ok(())
    }
}

//! From what is set to what workers look at: entries, claims, lanes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cover::{self, Cell, Place, Sight};
use super::passives::Towards;
use super::reasons::Reason;
use super::registrations::Registration;
use super::{Desk, Refused, Touched};
use crate::claims::{LinkClaims, Protocol};
use crate::class::Class;
use crate::control::types::passive::PassiveFamily;
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
            scopes: self.scopes(reason),
            passive: self.passives_of(reason),
            deliveries,
            looks,
        })
    }

    /// A delivery for each sink that may want packets of a reason, by the sink's slot.
    fn wanted(&self, reason: &Reason) -> BTreeMap<usize, Delivery> {
        let mut registrations: Vec<(&Registration, Seen)> = self
            .state
            .registrations
            .values()
            .filter(|registration| !registration.suspended)
            .filter_map(|registration| Some((registration, self.covers(registration, reason)?)))
            .filter(|(registration, _)| !self.is_elsewhere(registration, reason))
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

    /// Whether packets of `reason` that a registration would cover have its own reason before they get there.
    fn is_elsewhere(&self, registration: &Registration, reason: &Reason) -> bool {
        let own =
            registration.reason.and_then(|index| self.by_index(index)).is_some_and(|it| it.made_by.is_some());
        let nobodys = matches!(reason.shipped.place, Place::Nobodys | Place::NobodysLink);
        own && !reason.is_scoped() && (registration.interest.is_scoped() || nobodys)
    }

    /// What a registration covers of a reason's packets, if anything.
    pub(super) fn covers(&self, registration: &Registration, reason: &Reason) -> Option<Seen> {
        let interest = &registration.interest;
        match reason.sight(interest) {
            Sight::All => Some(Seen::All),
            Sight::Some => Some(Seen::Some(None)),
            Sight::None => {
                // A reason that a scope makes of several: those of them that the pattern names.
                let (Match::Reason(pattern), Some(made_by)) = (&interest.matching, &reason.made_by) else {
                    return None;
                };
                let from: Arc<[u32]> = self
                    .reasons()
                    .filter(|(_, base)| {
                        reason.is_scoped()
                            && !base.is_scoped()
                            && matching::covers(pattern, base.name())
                            && base.sight(made_by) != Sight::None
                    })
                    .map(|(index, _)| index)
                    .collect();
                (!from.is_empty()).then_some(Seen::Some(Some(from)))
            }
        }
    }

    /// The reasons that registrations with a source or an interface make of packets of `reason`.
    fn scopes(&self, reason: &Reason) -> Interests<u32> {
        let mut scopes = Interests::default();
        if reason.is_scoped() {
            return scopes;
        }
        let active = self.state.registrations.values().filter(|it| !it.suspended && it.interest.is_scoped());
        // By the reason's age: of equals, the oldest has the packet.
        let wanted: BTreeMap<u32, (u32, &Registration)> =
            active.filter_map(|it| Some((self.by_index(it.reason?)?.id, (it.reason?, it)))).collect();
        let seen = wanted.into_iter().filter(|(_, (_, it))| reason.sight(&it.interest) != Sight::None);
        seen.for_each(|(id, (index, it))| scopes.insert(&it.interest, id, None, index));
        scopes
    }

    /// What is to become of packets of `reason` that nobody claimed.
    fn passives_of(&self, reason: &Reason) -> Passives {
        let family = match reason.name() {
            "ip4.unclaimed" => PassiveFamily::Ip4,
            "ip6.unclaimed" => PassiveFamily::Ip6,
            "l2.unclaimed" => PassiveFamily::Other,
            _ => return Passives::default(),
        };
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
        passives
    }

    pub(super) fn unlimited(&self) -> Arc<Policer> {
        let limit = super::registrations::limit_or_none(None);
        Arc::new(Policer::packets(limit, self.clock.hz(), (self.now)()))
    }

    /// Sets the claims of all cells that changes have touched.
    pub(super) fn set_claims(&mut self, touched: &Touched) {
        let claims = self.claims(&touched.cells);
        for cell in &touched.cells {
            let (family, protocol, key) = *cell;
            let claim = self.owners.get(cell).or(claims.get(cell));
            self.tables.local(family).of(protocol).set(key, claim.copied().unwrap_or(0));
        }
        if touched.link {
            let mut link = LinkClaims::default();
            for (index, reason) in self.claimants() {
                match reason.made_by.as_ref().map(|made_by| &made_by.matching) {
                    Some(Match::Mac(mac)) => link.macs.push((*mac, index)),
                    Some(Match::Ethertype(ethertype)) => link.ethertypes.push((*ethertype, index)),
                    Some(Match::Llc(llc)) => link.llcs.push((*llc, index)),
                    _ => {}
                }
            }
            let link = (link != LinkClaims::default()).then_some(link);
            self.tables.link.replace(link, &mut self.retired);
        }
    }

    /// Reasons that registrations without a source or an interface made, and that somebody may want.
    fn made(&self) -> impl Iterator<Item = (u32, &Arc<Reason>, &Interest)> {
        self.reasons()
            .filter_map(|(index, reason)| Some((index, reason, reason.made_by.as_ref()?)))
            .filter(|(.., made_by)| !made_by.is_scoped())
    }

    /// Of those, the ones that somebody who is there wants.
    fn claimants(&self) -> impl Iterator<Item = (u32, &Arc<Reason>)> {
        let active = self.state.registrations.values().filter(|registration| !registration.suspended);
        let wanted: BTreeSet<u32> = active.filter_map(|registration| registration.reason).collect();
        self.made()
            .filter(move |(index, ..)| wanted.contains(index))
            .map(|(index, reason, _)| (index, reason))
    }

    /// Whose these cells are that are no built-in's: that of the most specific claim, the oldest of equals.
    fn claims(&self, cells: &BTreeSet<Cell>) -> BTreeMap<Cell, u32> {
        let mut found = Vec::new();
        if cells.is_empty() {
            return BTreeMap::new();
        }
        for (index, reason, made_by) in self.made() {
            let stretches = cover::stretches(&made_by.matching).into_iter();
            let touched = stretches.flat_map(|(family, protocol, keys)| {
                cells.range((family, protocol, *keys.start())..=(family, protocol, *keys.end()))
            });
            let mut touched = touched.peekable();
            let is_wanted =
                || self.state.registrations.values().any(|it| it.reason == Some(index) && !it.suspended);
            if touched.peek().is_some() && is_wanted() {
                let rank = (made_by.specificity(), std::cmp::Reverse(reason.id));
                found.push((rank, index, touched.copied().collect::<Vec<Cell>>()));
            }
        }
        // The best comes last and stays.
        found.sort_by_key(|(rank, ..)| *rank);
        found
            .into_iter()
            .flat_map(|(_, index, cells)| cells.into_iter().map(move |cell| (cell, index)))
            .collect()
    }

    /// Makes the lanes that packets of the reason at `index` need.
    pub(super) fn make_lanes(&mut self, index: u32) -> Result<(), Refused> {
        let Some(reason) = self.by_index(index).cloned() else { return Ok(()) };
        let mut sinks: Vec<(String, Vec<Arc<Policer>>)> = Vec::new();
        for registration in self.state.registrations.values() {
            if self.covers(registration, &reason).is_some() {
                sinks.push((registration.wanted.sink.clone(), vec![registration.policer.clone()]));
            }
        }
        if matches!(reason.shipped.place, Place::Nobodys | Place::NobodysLink) {
            for entry in &self.state.passives {
                if let Towards::Sink(sink) = &entry.to {
                    sinks.push((sink.clone(), entry.policer.iter().cloned().collect()));
                }
            }
        }
        for (sink, mut policers) in sinks {
            policers.push(reason.policer.clone());
            policers.extend(self.state.sinks.get(&sink).map(|sink| sink.policer.clone()));
            let demoted = policers.iter().map(|policer| policer.config()).flat_map(|it| [it.yellow, it.red]);
            let mut classes: Vec<Class> = demoted
                .filter_map(|verdict| if let Verdict::Demote(class) = verdict { Some(class) } else { None })
                .collect();
            classes.push(reason.class);
            for class in classes {
                self.make_lane(&sink, class, reason.policer.limit().burst)?;
            }
        }
        Ok(())
    }

    /// Makes a lane to `sink` for each worker, if there is none of that class.
    fn make_lane(&mut self, sink: &str, class: Class, burst: u64) -> Result<(), Refused> {
        let used: usize = self.state.sinks.values().map(|sink| sink.memory()).sum();
        let Some(entry) = self.state.sinks.get_mut(sink) else { return Ok(()) };
        if !entry.lanes[class as usize].is_empty() {
            return Ok(());
        }
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

/// The cells of a static reason, from its keys.
pub fn cells_of(
    keys: impl IntoIterator<Item = (Option<crate::matching::Family>, Protocol, u16)>,
) -> Vec<Cell> {
    use crate::matching::Family::{Ip4, Ip6};
    keys.into_iter()
        .flat_map(|(family, protocol, key)| {
            let families = family.map_or(vec![Ip4, Ip6], |family| vec![family]);
            families.into_iter().map(move |family| (family, protocol, key))
        })
        .collect()
}

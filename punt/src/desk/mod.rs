//! The desk: where the control plane asks for packets. What is set of reasons, sinks, registrations and the passive punt, and how that gets
//! to the workers.
//!
//! A change is checked and done to what is set first, and noted; [`Desk::commit`] then replaces the entries of the reasons that it touched,
//! once for all changes that came together, and waits one grace period. Nothing here is on a worker's way.

mod by_hand;
mod changes;
mod claims;
mod cover;
mod entries;
mod index;
mod passives;
mod policers;
mod reasons;
mod registrations;
mod relations;
mod show;
mod sinks;
#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use rpds::{RedBlackTreeMapSync, VectorSync};

use crate::claims::{Claims, LinkClaims, Protocol};
use crate::clock::Clock;
use crate::dispatch::{Fairness, Table};
use crate::matching::{Family, Match};
use crate::policer::{Budget, Config, Policer, Shape};
use crate::quiescent::{Domain, Guard, Retired, Slot};

pub use by_hand::ByHand;
pub use claims::cells_of;
pub use cover::{Cell, Place};
pub use passives::Towards;
pub use reasons::Static;
pub use registrations::{Wanted, limit_of};
pub use sinks::{Means, Open};

use passives::PassiveEntry;
use reasons::Reason;
use registrations::Registration;
use relations::Relations;
use sinks::SinkEntry;

/// Reasons that registrations can make at once.
pub const RUN_TIME_REASONS: usize = 4096;
/// Registrations that there can be at once.
pub const MAX_REGISTRATIONS: usize = 8192;
/// What all rings together may take, if nothing else is said: 256 MiB.
pub const MEMORY: usize = 256 << 20;

/// What workers look at when a packet leaves the graph.
pub struct Tables {
    /// What is set for each reason, by index.
    pub reasons: Table,
    /// Who wants IPv4 packets that are addressed to us.
    pub local4: Claims,
    /// Who wants IPv6 packets that are addressed to us.
    pub local6: Claims,
    /// Who wants frames that nobody routes.
    pub link: Slot<LinkClaims>,
}

impl Tables {
    /// Tables for so many static reasons and all that registrations can make.
    pub fn new(statics: usize) -> Tables {
        Tables {
            reasons: Table::new(statics + RUN_TIME_REASONS),
            local4: Claims::default(),
            local6: Claims::default(),
            link: Slot::default(),
        }
    }

    /// Who wants packets of that family that are addressed to us.
    #[inline(always)]
    pub fn local(&self, family: Family) -> &Claims {
        match family {
            Family::Ip4 => &self.local4,
            Family::Ip6 => &self.local6,
        }
    }

    /// Who wants frames that nobody routes.
    #[inline(always)]
    pub fn link<'a>(&'a self, guard: &'a Guard<'_>) -> Option<&'a LinkClaims> {
        self.link.get(guard)
    }
}

/// The desk is asked for something it will not do: one sentence that says what was wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl From<String> for Refused {
    fn from(message: String) -> Refused {
        Refused(message)
    }
}

/// What was set at some time.
pub struct Before {
    state: State,
    shape: Shape,
}

/// What a desk is made of.
pub struct Setup {
    /// Empty tables.
    pub tables: Arc<Tables>,
    /// The domain of their readers.
    pub domain: Arc<Domain>,
    /// How many workers there are.
    pub workers: usize,
    /// What time it is, in ticks.
    pub now: fn() -> u64,
    /// What ticks are.
    pub clock: Arc<Clock>,
    /// How sinks get what they need of the machine.
    pub means: Box<dyn Means>,
    /// What all rings together may take, in bytes.
    pub memory: usize,
    /// What keeps sources apart, by worker.
    pub fairness: Vec<Fairness>,
}

/// What is set, and the tables in which it is.
pub struct Desk {
    tables: Arc<Tables>,
    domain: Arc<Domain>,
    retired: Vec<Retired>,
    workers: usize,
    now: fn() -> u64,
    clock: Arc<Clock>,
    means: Box<dyn Means>,
    budget: Arc<Budget>,
    memory: usize,
    fairness: Vec<Fairness>,
    state: State,
    relations: Relations,
    /// The interface of which each sub-interface is a part.
    parents: BTreeMap<u32, u32>,
    /// The cells that built-in reasons have.
    owners: BTreeMap<Cell, u32>,
    /// Who has frames that nobody routes.
    link: LinkClaims,
    /// Ids given so far; none is ever given twice.
    ids: Ids,
    touched: Touched,
    /// Policers whose figures were changed in place since the last commit, and what they were.
    reconfigured: Vec<(Arc<Policer>, Config)>,
    /// Sinks that are deleted, and whose threads are to end when workers know.
    closing: Vec<SinkEntry>,
    watches: Vec<Watch>,
}

/// Somebody who is to know whether anybody wants a reason.
struct Watch {
    reason: u32,
    wanted: bool,
    tell: Box<dyn FnMut(bool) + Send>,
}

/// A copy shares all that is the same.
#[derive(Clone, Default)]
struct State {
    /// By index, from 1; `None` is free.
    reasons: VectorSync<Option<Arc<Reason>>>,
    sinks: BTreeMap<String, SinkEntry>,
    registrations: RedBlackTreeMapSync<u32, Arc<Registration>>,
    passives: Vec<PassiveEntry>,
    /// Policers as they were set, to be written to a configuration.
    set_classes: Vec<crate::control::types::ClassSet>,
    set_policers: Vec<crate::control::types::PolicerSet>,
}

#[derive(Default)]
struct Ids {
    reason: u32,
    registration: u32,
}

/// What changes since the last commit have touched.
#[derive(Default)]
struct Touched {
    /// Reasons whose entries are to be made again.
    reasons: BTreeSet<u32>,
    /// Keys whose claim may be another: the row, the first and the last.
    keys: BTreeSet<(Family, Protocol, u16, u16)>,
    /// Frames whose claim may be another.
    link: HashSet<Match>,
    /// Reasons to be freed after a grace period.
    freed: Vec<u32>,
}

impl Desk {
    /// A desk at which nobody has asked for anything yet.
    pub fn new(setup: Setup, statics: Vec<Static>) -> Desk {
        let Setup { tables, domain, workers, now, clock, means, memory, fairness } = setup;
        let budget = Arc::new(Budget::new(clock.hz(), now()));
        let mut desk = Desk {
            tables,
            domain,
            retired: Vec::new(),
            workers,
            now,
            clock,
            means,
            budget,
            memory,
            fairness,
            state: State { reasons: std::iter::once(None).collect(), ..State::default() },
            relations: Relations::default(),
            parents: BTreeMap::new(),
            owners: BTreeMap::new(),
            link: LinkClaims::default(),
            ids: Ids::default(),
            touched: Touched::default(),
            reconfigured: Vec::new(),
            closing: Vec::new(),
            watches: Vec::new(),
        };
        for reason in statics {
            desk.add_static(reason);
        }
        desk.commit();
        desk
    }

    /// The tables that workers look at.
    pub fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    /// What time it is, in ticks.
    pub fn now(&self) -> u64 {
        (self.now)()
    }

    /// The budget of all classes.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Lets the workers see all that has changed since the last time. Waits for one grace period if anything has.
    pub fn commit(&mut self) {
        self.flush();
        self.reconfigured.clear();
    }

    /// The same amid changes that may yet be put back.
    fn flush(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        // What was freed may be back: it was restored.
        let (back, freed) = touched.freed.into_iter().partition(|&index| self.by_index(index).is_some());
        touched.freed = freed;
        touched.reasons.extend::<Vec<u32>>(back);
        for &index in &touched.reasons {
            let entry = self.entry(index);
            if let (Some(slot), Some(entry)) = (self.tables.reasons.slot(index), entry) {
                slot.replace(Some(entry), &mut self.retired);
            }
        }
        self.set_claims(&touched);
        self.domain.reclaim(&mut self.retired);
        self.close_sinks();
        self.tell_watchers(&touched);
        if touched.freed.is_empty() {
            return;
        }
        // No claim leads to them any more, and every worker has passed since; what they hold goes with the next change.
        for &index in &touched.freed {
            if let Some(slot) = self.tables.reasons.slot(index) {
                slot.replace(None, &mut self.retired);
            }
        }
        let places = self.state.reasons.len();
        self.relations.free.extend(touched.freed.iter().filter(|at| (**at as usize) < places));
    }

    /// Tells `tell` at once, and whenever that changes, whether anybody wants packets of the reason of that name. A source that runs in the
    /// graph asks [`Entry::is_wanted`](crate::dispatch::Entry::is_wanted) instead.
    ///
    /// # Errors
    /// If there is no such reason.
    pub fn watch(&mut self, name: &str, mut tell: impl FnMut(bool) + Send + 'static) -> Result<(), Refused> {
        let reason = self.named(name).ok_or_else(|| self.no_reason(name))?;
        let wanted = self.is_wanted(reason);
        tell(wanted);
        self.watches.push(Watch { reason, wanted, tell: Box::new(tell) });
        Ok(())
    }

    fn is_wanted(&self, index: u32) -> bool {
        self.entry(index).is_some_and(|entry| entry.is_wanted())
    }

    fn tell_watchers(&mut self, touched: &Touched) {
        let mut watches = std::mem::take(&mut self.watches);
        for Watch { reason, wanted, tell } in &mut watches {
            if touched.reasons.contains(reason) && *wanted != self.is_wanted(*reason) {
                *wanted = !*wanted;
                tell(*wanted);
            }
        }
        self.watches = watches;
    }

    /// What is set now, to be [restored](Desk::restore) if changes that belong together cannot all be done.
    pub fn remember(&mut self) -> Before {
        self.reconfigured.clear();
        Before { state: self.state.clone(), shape: self.budget.shape() }
    }

    /// Makes what is set that which it was, policers' figures included. The caller has not committed since.
    pub fn restore(&mut self, before: Before) {
        let now = (self.now)();
        for (policer, config) in self.reconfigured.drain(..).rev() {
            policer.configure(&config, now);
        }
        // It held when it was remembered, and so it holds.
        let _ = self.budget.set_all(before.shape, now);
        let after = std::mem::replace(&mut self.state, before.state);
        let closed = self.take_sinks_back(&after);
        self.tell_difference(&after);
        self.touch_all(&after);
        self.relate();
        self.set_shares();
        self.closing.extend(after.sinks.into_values());
        self.flush();
        self.reopen_sinks(&closed);
    }

    /// Gives the source share the rates that are set.
    fn set_shares(&self) {
        self.reasons().for_each(|(_, reason)| reason.set_share(self.clock.hz()));
    }

    /// Tells of names and books what is otherwise than in `after`, which was said last.
    fn tell_difference(&self, after: &State) {
        let names = |state: &State| -> BTreeMap<u32, String> {
            let reasons = state.reasons.iter().flatten();
            reasons.map(|reason| (reason.id, reason.name().to_owned())).collect()
        };
        let (is, was) = (names(&self.state), names(after));
        was.keys().filter(|id| !is.contains_key(id)).for_each(|id| self.means.name(*id, None));
        for (id, name) in is.iter().filter(|(id, _)| !was.contains_key(id)) {
            self.means.name(*id, Some(name));
        }
        let (is, was) = (&self.state.registrations, &after.registrations);
        was.keys().filter(|id| !is.contains_key(*id)).for_each(|id| self.means.settle(*id, None));
        for (id, registration) in is.iter().filter(|(id, _)| !was.contains_key(*id)) {
            self.means.settle(*id, Some(registration.books.settled.clone()));
        }
    }

    /// Everything is to be made again; what only `after` had is freed.
    fn touch_all(&mut self, after: &State) {
        let is_there = |state: &State, index: usize| state.reasons.get(index).is_some_and(Option::is_some);
        let indices = 0..self.state.reasons.len().max(after.reasons.len());
        for index in indices {
            if is_there(&self.state, index) {
                self.touched.reasons.insert(index as u32);
                self.touched.freed.retain(|freed| *freed != index as u32);
            } else if is_there(after, index) {
                self.touched.freed.push(index as u32);
            }
        }
        let made = self.state.reasons.iter().chain(&after.reasons).flatten();
        let interests = made.filter_map(|reason| reason.made_by.as_ref()).filter(|it| !it.is_scoped());
        let interests: HashSet<Match> = interests.map(|interest| interest.matching.clone()).collect();
        interests.iter().for_each(|matching| self.touch_claims(matching));
    }

    /// Does all that `changes` does, or nothing.
    ///
    /// # Errors
    /// What it returns, after putting everything back.
    pub fn together<T>(
        &mut self,
        changes: impl FnOnce(&mut Desk) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let before = self.remember();
        let done = changes(self);
        if done.is_err() {
            self.restore(before);
        }
        self.commit();
        done
    }

    /// Gives the source share another secret, so that nobody can learn who shares a place with whom. Every few minutes.
    pub fn rotate(&self, secret: [u64; 2]) {
        if let Some(fairness) = self.fairness.first() {
            fairness.share.rotate(secret);
        }
    }

    /// What is to be done now and then, at least once a day: nothing that counts ticks may be left alone for long.
    pub fn refresh(&self) {
        let now = (self.now)();
        self.budget.refresh(now);
        let reasons = self.state.reasons.iter().flatten().map(|reason| &reason.policer);
        let sinks = self.state.sinks.values().map(|sink| &sink.policer);
        let registrations = self.state.registrations.values().map(|registration| &registration.policer);
        let passives = self.state.passives.iter().filter_map(|passive| passive.policer.as_ref());
        reasons.chain(sinks).chain(registrations).chain(passives).for_each(|policer| policer.refresh(now));
    }

    fn counts(&self) -> Arc<[CachePadded<crate::dispatch::Counts>]> {
        (0..self.workers).map(|_| CachePadded::default()).collect()
    }
}

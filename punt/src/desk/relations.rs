//! What has to do with what: which reasons an interest sees, which registrations want a reason's packets, and which reasons registrations
//! make of it. All of it follows from what is set; it is kept so that a change costs what it changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasherDefault;

use rustc_hash::FxHasher;

use super::Desk;
use super::cover::{Place, Sight};
use super::index::{Index, Scope};
use super::reasons::Reason;
use super::registrations::Registration;
use crate::dispatch::Interests;
use crate::interest::Interest;
use crate::matching::Match;

type Map<K, V> = HashMap<K, V, BuildHasherDefault<FxHasher>>;

/// What follows from what is set.
#[derive(Default)]
pub(super) struct Relations {
    /// Reasons by name, by id, and by what made them.
    pub names: BTreeMap<String, u32>,
    pub ids: Map<u32, u32>,
    pub made: Map<Interest, u32>,
    /// Reasons of nodes by the ethertypes and LLCs of their frames.
    pub statics: Map<Match, Vec<u32>>,
    /// Places without a reason that no worker can come to.
    pub free: Vec<u32>,
    /// Reasons by what their packets can be: those with a scope, and all others.
    plain: Index,
    scoped: Index,
    /// Those of nodes whose packets are nobody's.
    nobodys: Vec<u32>,
    /// How many registrations made a reason, by its index.
    users: Map<u32, Users>,
    /// The reasons that registrations make of a reason's packets.
    scopes: Map<u32, Interests<u32>>,
    registered: Registered,
}

/// Registrations by what they ask for.
#[derive(Default)]
struct Registered {
    plain: Index,
    scoped: Index,
    /// Those by reason.
    patterns: Index,
    /// Those for frames that have a built-in reason: frames of the same type that are not of that are theirs, too.
    lent: BTreeSet<u32>,
    pattern_ids: BTreeSet<u32>,
    exclusive: BTreeSet<u32>,
    same: Map<Interest, Vec<u32>>,
}

#[derive(Clone, Copy, Default)]
struct Users {
    all: usize,
    /// Of those, the ones whose clients are there.
    active: usize,
}

impl Reason {
    /// Where its packets are limited to.
    fn scope(&self) -> Scope {
        self.made_by.as_ref().map(Scope::of).unwrap_or_default()
    }

    /// Matches that together see all its packets.
    fn parts(&self) -> &[Match] {
        match &self.made_by {
            Some(made_by) if !matches!(made_by.matching, Match::Reason(_)) => {
                std::slice::from_ref(&made_by.matching)
            }
            _ => &self.shipped.within,
        }
    }

    /// What it is called without the number of the registration that made it.
    pub(super) fn base_name(&self) -> &str {
        self.name().split_once('@').map_or(self.name(), |(base, _)| base)
    }
}

impl Relations {
    /// The index of reasons like this one.
    fn of_kind(&mut self, reason: &Reason) -> &mut Index {
        if reason.is_scoped() { &mut self.scoped } else { &mut self.plain }
    }

    /// A reason is there.
    pub fn add_reason(&mut self, at: u32, reason: &Reason) {
        self.names.insert(reason.name().to_owned(), at);
        self.ids.insert(reason.id, at);
        let (scope, index) = (reason.scope(), self.of_kind(reason));
        reason.parts().iter().for_each(|part| index.insert(part, scope, at));
        if reason.is_scoped() {
            index.insert(&Match::Reason(reason.base_name().to_owned()), scope, at);
        }
        match &reason.made_by {
            Some(made_by) => drop(self.made.insert(made_by.clone(), at)),
            None => {
                let of_link = |part: &&Match| matches!(part, Match::Ethertype(_) | Match::Llc(_));
                for part in reason.shipped.within.iter().filter(of_link) {
                    self.statics.entry(part.clone()).or_default().push(at);
                }
            }
        }
        let nobodys = reason.shipped.place.is_nobodys();
        if nobodys && reason.made_by.is_none() {
            self.nobodys.push(at);
        }
    }

    /// A reason that registrations made is gone.
    pub fn remove_reason(&mut self, at: u32, reason: &Reason) {
        self.names.remove(reason.name());
        self.ids.remove(&reason.id);
        let (scope, index) = (reason.scope(), self.of_kind(reason));
        reason.parts().iter().for_each(|part| index.remove(part, scope, at));
        if reason.is_scoped() {
            index.remove(&Match::Reason(reason.base_name().to_owned()), scope, at);
        }
        if let Some(made_by) = &reason.made_by {
            self.made.remove(made_by);
        }
        self.users.remove(&at);
        self.scopes.remove(&at);
    }

    /// Whether a registration that is there made the reason at `at`.
    pub fn is_active(&self, at: u32) -> bool {
        self.users.get(&at).is_some_and(|users| users.active > 0)
    }

    /// Whether any registration made it.
    pub fn is_used(&self, at: u32) -> bool {
        self.users.get(&at).is_some_and(|users| users.all > 0)
    }

    /// The reasons that registrations make of packets of the one at `at`.
    pub fn scopes(&self, at: u32) -> Interests<u32> {
        self.scopes.get(&at).cloned().unwrap_or_default()
    }

    /// Reasons without a scope that may have what `matching` matches.
    pub fn claiming(&self, matching: &Match) -> Vec<u32> {
        let mut found = Vec::new();
        self.plain.meeting(matching, Scope::default(), &mut found);
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Registrations with just that interest.
    pub fn same(&self, interest: &Interest) -> &[u32] {
        self.registered.same.get(interest).map_or(&[], Vec::as_slice)
    }
}

impl Registered {
    fn of_kind(&mut self, interest: &Interest) -> &mut Index {
        match &interest.matching {
            Match::Reason(_) => &mut self.patterns,
            _ if interest.is_scoped() => &mut self.scoped,
            _ => &mut self.plain,
        }
    }

    fn add(&mut self, it: &Registration, lent: bool) {
        let (interest, id) = (&it.interest, it.id);
        self.of_kind(interest).insert(&interest.matching, Scope::of(interest), id);
        self.same.entry(interest.clone()).or_default().push(id);
        if lent {
            self.lent.insert(id);
        }
        if matches!(interest.matching, Match::Reason(_)) {
            self.pattern_ids.insert(id);
        }
        if it.wanted.exclusive {
            self.exclusive.insert(id);
        }
    }

    fn remove(&mut self, it: &Registration) {
        let (interest, id) = (&it.interest, it.id);
        self.of_kind(interest).remove(&interest.matching, Scope::of(interest), id);
        if let Some(same) = self.same.get_mut(interest) {
            same.retain(|other| *other != id);
            if same.is_empty() {
                self.same.remove(interest);
            }
        }
        self.lent.remove(&id);
        self.pattern_ids.remove(&id);
        self.exclusive.remove(&id);
    }
}

impl Desk {
    /// A reason is there: registrations may make others of its packets.
    pub(super) fn note_reason(&mut self, at: u32) {
        let Some(reason) = self.by_index(at).cloned() else { return };
        self.relations.add_reason(at, &reason);
        if reason.is_scoped() {
            return;
        }
        let mut scopes = Interests::default();
        for other in self.made_of(&reason, Scope::default()) {
            if let Some(Reason { id, made_by: Some(made_by), .. }) = self.by_index(other).map(|it| &**it)
                && self.relations.is_active(other)
            {
                scopes.insert(made_by, *id, None, other);
            }
        }
        if !scopes.is_empty() {
            self.relations.scopes.insert(at, scopes);
        }
    }

    /// A registration is there.
    pub(super) fn note_registration(&mut self, it: &Registration) {
        let own = it.reason.and_then(|at| self.by_index(at)).is_some_and(|reason| reason.made_by.is_some());
        let link = matches!(it.interest.matching, Match::Ethertype(_) | Match::Llc(_) | Match::Mac(_));
        self.relations.registered.add(it, link && !own);
        if let Some(reason) = it.reason {
            self.relations.users.entry(reason).or_default().all += 1;
        }
        if !it.suspended {
            self.note_active(it, true);
        }
    }

    /// A registration is gone.
    pub(super) fn forget_registration(&mut self, it: &Registration) {
        if !it.suspended {
            self.note_active(it, false);
        }
        self.relations.registered.remove(it);
        if let Some(users) = it.reason.and_then(|reason| self.relations.users.get_mut(&reason)) {
            users.all -= 1;
        }
    }

    /// Whoever made a registration is there, or away. If it alone makes a reason of others' packets, these learn of it.
    pub(super) fn note_active(&mut self, it: &Registration, active: bool) {
        let Some(at) = it.reason else { return };
        let users = self.relations.users.entry(at).or_default();
        users.active = if active { users.active + 1 } else { users.active - 1 };
        let changed = users.active == active as usize;
        let Some(reason) = self.by_index(at).cloned().filter(|reason| changed && reason.is_scoped()) else {
            return;
        };
        let Some(made_by) = &reason.made_by else { return };
        for base in self.bases(made_by) {
            let scopes = self.relations.scopes.entry(base).or_default();
            match active {
                true => scopes.insert(made_by, reason.id, None, at),
                false => scopes.remove(made_by, reason.id),
            }
            self.touched.reasons.insert(base);
        }
    }

    /// Makes all of it again from what is set.
    pub(super) fn relate(&mut self) {
        self.relations = Relations::default();
        let reasons: Vec<u32> = self.reasons().map(|(at, _)| at).collect();
        reasons.into_iter().for_each(|at| self.note_reason(at));
        let registrations: Vec<_> = self.state.registrations.values().cloned().collect();
        registrations.iter().for_each(|it| self.note_registration(it));
        let freed: BTreeSet<u32> = self.touched.freed.iter().copied().collect();
        let free = (1..self.state.reasons.len() as u32).filter(|at| self.by_index(*at).is_none());
        self.relations.free = free.filter(|at| !freed.contains(at)).collect();
    }

    /// Reasons without a scope of which an interest sees packets.
    pub(super) fn bases(&self, interest: &Interest) -> Vec<u32> {
        let mut found = match &interest.matching {
            Match::Reason(pattern) => self.named_by(pattern, Scope::default()),
            matching => {
                let mut found = self.relations.nobodys.clone();
                self.relations.plain.meeting(matching, Scope::default(), &mut found);
                found
            }
        };
        let sees = |reason: &Reason| !reason.is_scoped() && reason.sight(interest) != Sight::None;
        self.keep(&mut found, sees);
        found
    }

    /// Reasons that registrations in a scope make of packets of `base`.
    fn made_of(&self, base: &Reason, scope: Scope) -> Vec<u32> {
        let (scoped, mut found) = (&self.relations.scoped, Vec::new());
        scoped.meeting(&Match::Reason(base.name().to_owned()), scope, &mut found);
        match base.shipped.place {
            Place::Nobodys => scoped.local(scope, &mut found),
            Place::NobodysLink => scoped.link(scope, &mut found),
            _ => base.parts().iter().for_each(|part| scoped.meeting(part, scope, &mut found)),
        }
        let sees = |made_by: &Interest| base.sight(made_by) != Sight::None;
        self.keep(&mut found, |reason| reason.made_by.as_ref().is_some_and(sees));
        found
    }

    /// Reasons whose names a pattern covers, as far as they have to do with a scope.
    fn named_by(&self, pattern: &str, scope: Scope) -> Vec<u32> {
        let names = &self.relations.names;
        if let Some(beginning) = pattern.strip_suffix('*') {
            let from = names.range(beginning.to_owned()..);
            return from.take_while(|(name, _)| name.starts_with(beginning)).map(|(_, at)| *at).collect();
        }
        let mut found: Vec<u32> = names.get(pattern).copied().into_iter().collect();
        self.relations.scoped.meeting(&Match::Reason(pattern.to_owned()), scope, &mut found);
        found
    }

    /// Reasons of which an interest sees packets, by index.
    pub(super) fn seen_by(&self, interest: &Interest) -> Vec<u32> {
        let scope = Scope::of(interest);
        let mut found = match &interest.matching {
            Match::Reason(pattern) => {
                let mut found = self.named_by(pattern, scope);
                // Patterns see what comes from a reason through another's scope, too.
                for base in self.bases(interest) {
                    let Some(base) = self.by_index(base) else { continue };
                    found.extend(self.made_of(base, scope));
                }
                found
            }
            matching => {
                let mut found = self.bases(interest);
                self.relations.scoped.meeting(matching, scope, &mut found);
                for nobodys in self.relations.nobodys.iter().filter_map(|at| self.by_index(*at)) {
                    let made_of_it = Match::Reason(nobodys.name().to_owned());
                    self.relations.scoped.meeting(&made_of_it, scope, &mut found);
                }
                found
            }
        };
        self.keep(&mut found, |reason| self.seen(interest, reason).is_some());
        found
    }

    /// Registrations that see packets of `reason`, by id.
    pub(super) fn seeing(&self, reason: &Reason) -> Vec<u32> {
        let Registered { plain, scoped, patterns, lent, .. } = &self.relations.registered;
        let (scope, mut found) = (reason.scope(), Vec::new());
        for part in reason.parts() {
            plain.meeting(part, Scope::default(), &mut found);
            if reason.is_scoped() {
                scoped.meeting(part, scope, &mut found);
            }
        }
        if reason.shipped.place == Place::NobodysLink {
            found.extend(lent);
        }
        match reason.shipped.place {
            Place::Nobodys if reason.is_scoped() => scoped.local(scope, &mut found),
            Place::NobodysLink if reason.is_scoped() => scoped.link(scope, &mut found),
            _ => {}
        }
        patterns.covering(reason.name(), scope, &mut found);
        if let Some(made_by) =
            reason.made_by.as_ref().filter(|made_by| made_by.is_scoped() && !patterns.is_empty())
        {
            for base in self.bases(made_by).iter().filter_map(|base| self.by_index(*base)) {
                patterns.covering(base.name(), scope, &mut found);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Registrations that may be in the way of an exclusive one, or exclusive ones in the way of any.
    pub(super) fn rivals(&self, interest: &Interest, exclusive: bool) -> Vec<u32> {
        let Registered { plain, scoped, pattern_ids, exclusive: exclusives, .. } = &self.relations.registered;
        if !exclusive && exclusives.is_empty() {
            return Vec::new();
        }
        if matches!(interest.matching, Match::Reason(_)) {
            let all = || self.state.registrations.keys().copied().collect();
            return if exclusive { all() } else { exclusives.iter().copied().collect() };
        }
        let mut found: Vec<u32> = pattern_ids.iter().copied().collect();
        plain.meeting(&interest.matching, Scope::default(), &mut found);
        scoped.meeting(&interest.matching, Scope::of(interest), &mut found);
        found.retain(|id| exclusive || exclusives.contains(id));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Keeps the reasons that are as they should be, each once.
    fn keep(&self, found: &mut Vec<u32>, is: impl Fn(&Reason) -> bool) {
        found.sort_unstable();
        found.dedup();
        found.retain(|at| self.by_index(*at).is_some_and(|reason| is(reason)));
    }
}

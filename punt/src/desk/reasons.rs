//! Reasons as they are set: those that nodes declare, and those that registrations make.

use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::cover::{self, Cell, Place, Sight};
use super::{Desk, RUN_TIME_REASONS, Refused};
use crate::class::Class;
use crate::control::types::{Policed, PolicerBurst, PolicerRate, PolicerSet, ReasonSet};
use crate::dispatch::Counts;
use crate::interest::Interest;
use crate::matching::Match;
use crate::policer::{Limit, Policer, ReasonShare, Unit};
use crate::reason::Action;
use crate::value::Rate;

/// A reason that a node declares, as the desk must know it.
#[derive(Clone, Debug)]
pub struct Static {
    /// Its name; its id and index are its place in the list, from 1.
    pub name: String,
    /// Its class.
    pub class: Class,
    /// Its limit.
    pub limit: Limit,
    /// What happens to its packets.
    pub action: Action,
    /// The nodes it comes from.
    pub node: String,
    /// What happened, for people.
    pub text: String,
    /// Where its packets are found.
    pub place: Place,
    /// Matches that together see every packet of it, as far as such matches are known.
    pub within: Vec<Match>,
    /// Claims that lead to it and that nobody else can have.
    pub cells: Vec<Cell>,
    /// Whether its packets can be copied and go on.
    pub can_copy: bool,
}

/// A reason as it is set.
#[derive(Clone)]
pub(super) struct Reason {
    pub id: u32,
    pub shipped: Arc<Static>,
    pub class: Class,
    /// What the operator set.
    pub action: Option<Action>,
    pub sample: Option<u32>,
    pub source_rate: Option<Rate>,
    pub interface_rate: Option<Rate>,
    pub policer: Arc<Policer>,
    pub share: Arc<ReasonShare>,
    pub counts: Arc<[CachePadded<Counts>]>,
    /// What was set by name, to be written to a configuration.
    pub set: Option<ReasonSet>,
    /// For one that registrations made: what they cover.
    pub made_by: Option<Interest>,
}

impl Reason {
    pub fn name(&self) -> &str {
        &self.shipped.name
    }

    /// What happens to its packets now.
    pub fn action(&self) -> Action {
        self.action.unwrap_or(self.shipped.action)
    }

    /// Its limit, if no policer is set beside it.
    pub fn limit(&self) -> Limit {
        let (shipped, set) = (self.shipped.limit, self.set.as_ref());
        Limit {
            rate: set.and_then(|set| set.rate).unwrap_or(shipped.rate),
            burst: set.and_then(|set| set.burst).map_or(shipped.burst, u64::from),
        }
    }

    /// Takes over what an operator set of the reason that this one is made of.
    fn inherit(&mut self, base: &Reason, hz: u64, now: u64) {
        (self.class, self.sample) = (base.class, base.sample);
        (self.source_rate, self.interface_rate) = (base.source_rate, base.interface_rate);
        self.set_share(hz);
        self.set = base.set.clone().map(|set| ReasonSet { name: self.name().to_owned(), ..set });
        self.policer = Arc::new(Policer::new(&base.policer.config(), hz, now));
        // What ships as dropped is dropped unless somebody asks; here somebody does.
        let copied = (base.shipped.action == Action::Copy).then_some(Action::Copy);
        self.action = base.action.or(copied).filter(|action| *action != Action::Trap);
    }

    /// Gives the source share the rates that are set.
    pub fn set_share(&self, hz: u64) {
        self.share.set_source_rate(self.source_rate.unwrap_or(Rate::Unlimited), hz);
        self.share.set_interface_rate(self.interface_rate.unwrap_or(Rate::Unlimited), hz);
    }

    /// Whether it is made by a registration with a source or an interface.
    pub fn is_scoped(&self) -> bool {
        self.made_by.as_ref().is_some_and(Interest::is_scoped)
    }

    /// How an interest sees its packets.
    pub fn sight(&self, interest: &Interest) -> Sight {
        match &self.made_by {
            Some(made_by) if made_by == interest => Sight::All,
            Some(made_by) if self.is_scoped() => self.sight_in_scope(interest, made_by),
            _ => cover::sight(interest, self.name(), self.shipped.place, &self.shipped.within),
        }
    }

    /// The same for one that a registration with a source or an interface made.
    fn sight_in_scope(&self, interest: &Interest, made_by: &Interest) -> Sight {
        let place = self.shipped.place;
        let sight = match (&interest.matching, &made_by.matching) {
            _ if !interest.meets(made_by) => Sight::None,
            (Match::Reason(_), _) | (_, Match::Reason(_)) => {
                cover::sight(interest, self.name(), place, &self.shipped.within)
            }
            (matching, _) if !place.shows(matching, true) => Sight::None,
            (matching, its) if cover::contains(matching, its) => Sight::All,
            _ => Sight::Some,
        };
        if sight == Sight::All && !interest.surrounds(made_by) { Sight::Some } else { sight }
    }
}

/// What a reason has that a registration makes of something without a built-in.
const DEFAULT_CLASS: Class = Class::Mgmt;
const DEFAULT_LIMIT: Limit = Limit::new(4000, 1600);

impl Desk {
    pub(super) fn add_static(&mut self, shipped: Static) {
        self.ids.reason += 1;
        self.means.name(self.ids.reason, Some(&shipped.name));
        let reason = self.reason(self.ids.reason, shipped, None);
        let index = self.state.reasons.len() as u32;
        for &(family, protocol, key) in &reason.shipped.cells {
            self.owners.insert((family, protocol, key), index);
            self.touched.keys.insert((family, protocol, key, key));
        }
        self.touched.reasons.insert(index);
        self.state.reasons.push_back_mut(Some(Arc::new(reason)));
        self.note_reason(index);
    }

    fn reason(&self, id: u32, shipped: Static, made_by: Option<Interest>) -> Reason {
        Reason {
            id,
            class: shipped.class,
            action: None,
            sample: None,
            source_rate: None,
            interface_rate: None,
            policer: Arc::new(Policer::packets(shipped.limit, self.clock.hz(), (self.now)())),
            share: Arc::new(ReasonShare::new(id)),
            counts: self.counts(),
            set: None,
            shipped: Arc::new(shipped),
            made_by,
        }
    }

    pub(super) fn by_index(&self, index: u32) -> Option<&Arc<Reason>> {
        self.state.reasons.get(index as usize)?.as_ref()
    }

    pub(super) fn reason_mut(&mut self, index: u32) -> Option<&mut Arc<Reason>> {
        self.state.reasons.get_mut(index as usize)?.as_mut()
    }

    /// All reasons there are, with their index.
    pub(super) fn reasons(&self) -> impl Iterator<Item = (u32, &Arc<Reason>)> {
        (0..).zip(&self.state.reasons).filter_map(|(index, reason)| Some((index, reason.as_ref()?)))
    }

    /// The index of the reason of that name.
    pub(super) fn named(&self, name: &str) -> Option<u32> {
        self.relations.names.get(name).copied()
    }

    /// The reason that packets of this interest have anyway, if it is one.
    pub(super) fn built_in(&self, matching: &Match) -> Option<u32> {
        match matching {
            Match::Reason(name) => {
                self.named(name).filter(|index| self.by_index(*index).is_some_and(|it| it.made_by.is_none()))
            }
            Match::Mac(_) => None,
            Match::Ethertype(_) | Match::Llc(_) => match self.relations.statics.get(matching)?.as_slice() {
                [one] => Some(*one),
                _ => None,
            },
            _ => {
                let mut owners = cover::cells(matching).map(|cell| self.owners.get(&cell).copied());
                let first = owners.next()??;
                owners.all(|owner| owner == Some(first)).then_some(first)
            }
        }
    }

    /// The index of the reason that a registration with this id and interest has; made, if it has to be.
    pub(super) fn reason_for(&mut self, id: u32, interest: &Interest) -> Result<Option<u32>, Refused> {
        let built_in = self.built_in(&interest.matching);
        if !interest.is_scoped() {
            let theirs = self.relations.statics.contains_key(&interest.matching);
            if built_in.is_some() || theirs || matches!(interest.matching, Match::Reason(_)) {
                return Ok(built_in);
            }
        } else if matches!(&interest.matching, Match::Reason(pattern) if pattern.contains(['*', '@'])) {
            return Ok(None);
        }
        if let Some(&index) = self.relations.made.get(interest) {
            return Ok(Some(index));
        }
        let base = match &interest.matching {
            Match::Reason(name) => self.named(name),
            _ => built_in,
        };
        let base = base.and_then(|index| self.by_index(index)).cloned();
        // Of several with frames of that type, the first: one that a registration makes is not more important.
        let first = self.relations.statics.get(&interest.matching).and_then(|them| them.first());
        let like = base.clone().or_else(|| self.by_index(*first?).cloned());
        let mut name =
            base.as_ref().map_or_else(|| name_of(&interest.matching), |base| base.name().to_owned());
        if interest.is_scoped() {
            name = format!("{name}@{id}");
        }
        let place = match &interest.matching {
            Match::Reason(_) => base.as_ref().map_or(Place::Elsewhere, |base| base.shipped.place),
            matching if matching.is_local() => Place::Local,
            _ => Place::Link,
        };
        let shipped = Static {
            text: format!("registered: {}", interest.matching),
            class: like.as_ref().map_or(DEFAULT_CLASS, |like| like.shipped.class),
            limit: like.as_ref().map_or(DEFAULT_LIMIT, |like| like.shipped.limit),
            action: Action::Trap,
            node: base.as_ref().map_or_else(
                || if place == Place::Local { "ip4-local,ip6-local" } else { "l2-dispatch" }.to_owned(),
                |base| base.shipped.node.clone(),
            ),
            within: match (&interest.matching, &base) {
                (Match::Reason(_), Some(base)) => base.shipped.within.clone(),
                (matching, _) => vec![matching.clone()],
            },
            cells: Vec::new(),
            can_copy: base.as_ref().is_some_and(|base| base.shipped.can_copy),
            name,
            place,
        };
        let id = next_id(self.ids.reason, "reasons")?;
        let index = self.free_index()?;
        self.ids.reason = id;
        self.means.name(id, Some(&shipped.name));
        let mut reason = self.reason(id, shipped, Some(interest.clone()));
        if let Some(base) = base {
            reason.inherit(&base, self.clock.hz(), (self.now)());
            self.inherit_policer(base.name(), reason.name());
        }
        self.state.reasons.set_mut(index as usize, Some(Arc::new(reason)));
        self.note_reason(index);
        Ok(Some(index))
    }

    /// What is set of the policer of a reason is set of that of the one that is made of it, too, or a configuration would not have it.
    fn inherit_policer(&mut self, base: &str, name: &str) {
        let of_base = Policed::Reason(base.to_owned());
        let set = self.state.set_policers.iter().find(|set| set.what == of_base).cloned();
        let what = Policed::Reason(name.to_owned());
        self.state.set_policers.extend(set.map(|set| PolicerSet { what, ..set }));
    }

    fn free_index(&mut self) -> Result<u32, Refused> {
        if let Some(index) = self.relations.free.pop() {
            return Ok(index);
        }
        if self.state.reasons.len() > self.tables.reasons.capacity() {
            return Err(Refused(format!(
                "registrations have made {RUN_TIME_REASONS} reasons, and there can be no more; unregister some"
            )));
        }
        self.state.reasons.push_back_mut(None);
        Ok(self.state.reasons.len() as u32 - 1)
    }

    /// Sets of a reason what `wanted` says.
    ///
    /// # Errors
    /// If there is no such reason, or it cannot be so.
    pub fn set_reason(&mut self, wanted: &ReasonSet) -> Result<(), Refused> {
        wanted.check()?;
        let name = &wanted.name;
        let index = self.named(name).ok_or_else(|| self.no_reason(name))?;
        let policer_set = self.with_limit(wanted);
        policer_set.as_ref().map_or(Ok(()), PolicerSet::check)?;
        let (now, hz) = ((self.now)(), self.clock.hz());
        let Some(reason) = self.reason_mut(index) else { return Ok(()) };
        if wanted.action == Some(Action::Copy) && !reason.shipped.can_copy {
            return Err(Refused(format!(
                "{name} cannot have action copy, for its packets can go no further; write trap or drop"
            )));
        }
        let before = reason.clone();
        let reason = Arc::make_mut(reason);
        reason.class = wanted.class.unwrap_or(reason.class);
        reason.action = wanted.action.or(reason.action);
        reason.source_rate = wanted.source_rate.or(reason.source_rate);
        reason.interface_rate = wanted.interface_rate.or(reason.interface_rate);
        reason.set_share(hz);
        reason.sample = wanted.sample.map_or(reason.sample, |sample| (sample > 1).then_some(sample));
        let set = reason.set.get_or_insert_with(|| ReasonSet { name: name.clone(), ..ReasonSet::default() });
        set.merge(wanted);
        let policer = reason.policer.clone();
        let config = policer.config();
        self.reconfigured.push((policer.clone(), config));
        if policer_set.is_none() && (wanted.rate.is_some() || wanted.burst.is_some()) {
            let limit = Limit {
                rate: wanted.rate.unwrap_or(config.rate),
                burst: wanted.burst.map_or(config.burst, u64::from),
            };
            policer.set(limit, now);
        }
        self.touched.reasons.insert(index);
        let done =
            self.make_lanes(index).and_then(|()| policer_set.map_or(Ok(()), |set| self.set_policer(&set)));
        done.inspect_err(|_| {
            policer.configure(&config, now);
            // Both have one share.
            before.set_share(hz);
            self.state.reasons.set_mut(index as usize, Some(before));
        })
    }

    /// What somebody has set of a reason's policer, with the rate and burst that it is to have now.
    fn with_limit(&self, wanted: &ReasonSet) -> Option<PolicerSet> {
        let is_its = |set: &&PolicerSet| matches!(&set.what, Policed::Reason(name) if *name == wanted.name);
        let mut set = self.state.set_policers.iter().find(is_its)?.clone();
        set.rate = wanted.rate.map_or(set.rate, |rate| PolicerRate { rate, unit: Unit::Packets });
        set.burst = wanted
            .burst
            .map_or(set.burst, |burst| PolicerBurst { amount: burst.into(), unit: Some(Unit::Packets) });
        (wanted.rate.is_some() || wanted.burst.is_some()).then_some(set)
    }

    /// Reasons that were set otherwise than they ship.
    pub fn set_reasons(&self) -> Vec<ReasonSet> {
        self.reasons().filter_map(|(_, reason)| reason.set.clone()).collect()
    }

    /// The error for a name that no reason has.
    pub(super) fn no_reason(&self, name: &str) -> Refused {
        let family = name.split('.').next().unwrap_or_default();
        let alike: Vec<&str> = self
            .reasons()
            .map(|(_, reason)| reason.name())
            .filter(|known| strsim::normalized_damerau_levenshtein(known, name) > 0.7)
            .take(3)
            .collect();
        Refused(match alike.as_slice() {
            [] => format!(
                "there is no reason {name}; puntctl reason list shows those of {family} and all others"
            ),
            alike => format!("there is no reason {name}; did you mean {}?", alike.join(" or ")),
        })
    }
}

/// The id after `last`.
///
/// # Errors
/// If there is none: no id is given twice while the engine runs.
pub(super) fn next_id(last: u32, of: &str) -> Result<u32, Refused> {
    let all = || Refused(format!("all ids of {of} are used up, and none is given twice; restart the engine"));
    last.checked_add(1).ok_or_else(all)
}

/// What a reason is called that a registration makes of a match.
pub(super) fn name_of(matching: &Match) -> String {
    if let Match::Reason(name) = matching {
        return name.clone();
    }
    let text = matching.to_string();
    let family = if matching.is_local() { "local" } else { "l2" };
    format!("{family}.{}", text.replacen(':', "-", 1).replace('/', "-"))
}

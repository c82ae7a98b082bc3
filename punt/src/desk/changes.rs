//! What is set, set otherwise where it is: ids, books and what was earned stay. And who uses what, for those who take things away.

use std::sync::Arc;

use super::registrations::limit_of;
use super::{Desk, Refused, Wanted};
use crate::class::Class;
use crate::control::types::sink::SinkAdd;
use crate::control::types::{ClassSet, Policed, ReasonSet};
use crate::matching;
use crate::policer::{BudgetError, Rate};

impl Desk {
    /// Makes a sink that is there, or was [lifted](Desk::lift_sink), what `wanted` says. What goes there stays, with its ids and books; it pauses
    /// while another target is opened. With another target the sink's own books begin at 0, and so do the numbers of its records: its rings are
    /// new, and whoever reads them has not read those before.
    ///
    /// # Errors
    /// If the target cannot be opened. Then the caller [restores](Desk::restore) what was before.
    pub fn change_sink(&mut self, wanted: &SinkAdd) -> Result<(), Refused> {
        wanted.check()?;
        let what = Policed::Sink(wanted.name.clone());
        if let Some(entry) = self.state.sinks.get_mut(&wanted.name)
            && entry.target == wanted.target
        {
            entry.limit = limit_of(wanted.rate, wanted.burst);
            self.limit_again(&what);
            return Ok(());
        }
        self.lift_sink(&wanted.name);
        self.add_sink(wanted)?;
        if let Some(set) = self.state.set_policers.iter().find(|set| set.what == what).cloned() {
            self.set_policer(&set)?;
        }
        let users = self.policed(&what);
        self.touched.reasons.extend(&users);
        users.into_iter().try_for_each(|index| self.make_lanes(index))
    }

    /// Takes a sink away under what goes there, so that its place is free for another until it is [changed](Desk::change_sink): two may change places.
    pub fn lift_sink(&mut self, name: &str) {
        if let Some(entry) = self.state.sinks.remove(name) {
            self.closing.push(entry);
            let users = self.policed(&Policed::Sink(name.to_owned()));
            self.touched.reasons.extend(users);
        }
    }

    /// Gives a registration another limit and another snaplen.
    ///
    /// # Errors
    /// If there is none with this id.
    pub fn change_registration(&mut self, id: u32, wanted: &Wanted) -> Result<(), Refused> {
        let Some(it) = self.state.registrations.get_mut(&id) else {
            return Err(Refused(format!("there is no registration {id}")));
        };
        let its = Arc::make_mut(&mut Arc::make_mut(it).wanted);
        (its.limit, its.snaplen) = (wanted.limit, wanted.snaplen);
        let what = Policed::Registration(id);
        self.limit_again(&what);
        let touched = self.policed(&what);
        self.touched.reasons.extend(touched);
        Ok(())
    }

    /// Whether a registration is what `wanted` says, whoever made it and for how long.
    pub fn is_registered_so(&self, id: u32, wanted: &Wanted) -> bool {
        self.state.registrations.get(&id).is_some_and(|it| {
            let theirs = &it.wanted;
            it.interest == wanted.interest()
                && (&theirs.sink, theirs.limit) == (&wanted.sink, wanted.limit)
                && (theirs.snaplen, theirs.exclusive) == (wanted.snaplen, wanted.exclusive)
        })
    }

    /// The limit that something was made with is another one; a policer that somebody has set comes before it.
    pub(super) fn limit_again(&mut self, what: &Policed) {
        if !self.state.set_policers.iter().any(|set| set.what == *what) {
            self.reset_policer(what);
        }
    }

    /// The budget and what classes have of it, all at once, so that it does not matter which was first. `shipped` are those that get again what
    /// they ship with.
    ///
    /// # Errors
    /// If they cannot be together.
    pub fn set_budget(
        &mut self,
        total: Rate,
        shipped: &[Class],
        sets: &[ClassSet],
    ) -> Result<(), BudgetError> {
        let mut shape = self.budget.shape();
        shape.total = total;
        for class in shipped {
            shape.classes[*class as usize] = (class.minimum().into(), Rate::PerSecond(class.cap().into()));
        }
        for set in sets {
            let (min, cap) = &mut shape.classes[set.name as usize];
            *min = set.min.map_or(*min, u64::from);
            *cap = set.cap.unwrap_or(*cap);
        }
        self.budget.set_all(shape, (self.now)())?;
        let classes = &mut self.state.set_classes;
        classes.retain(|set| !shipped.contains(&set.name) && !sets.iter().any(|new| new.name == set.name));
        classes.extend(sets.iter().map(|set| {
            let (min, cap) = shape.classes[set.name as usize];
            ClassSet { name: set.name, min: u32::try_from(min).ok(), cap: Some(cap) }
        }));
        Ok(())
    }

    /// Takes back what `what` names of a reason's settings: these are what its source declares.
    ///
    /// # Errors
    /// If there is no memory for the rings of its class.
    pub fn unset_reason(&mut self, what: &ReasonSet) -> Result<(), Refused> {
        let hz = self.clock.hz();
        let Some(index) = self.named(&what.name) else { return Ok(()) };
        let Some(reason) = self.reason_mut(index).map(Arc::make_mut) else { return Ok(()) };
        if what.class.is_some() {
            reason.class = reason.shipped.class;
        }
        reason.action = reason.action.filter(|_| what.action.is_none());
        reason.sample = reason.sample.filter(|_| what.sample.is_none());
        reason.source_rate = reason.source_rate.filter(|_| what.source_rate.is_none());
        reason.interface_rate = reason.interface_rate.filter(|_| what.interface_rate.is_none());
        reason.set_share(hz);
        reason.set = reason.set.take().and_then(|set| without(set, what));
        if what.rate.is_some() || what.burst.is_some() {
            self.limit_again(&Policed::Reason(what.name.clone()));
        }
        self.touched.reasons.insert(index);
        self.make_lanes(index)
    }

    /// What goes to a sink, in words.
    pub fn users_of_sink(&self, name: &str) -> Vec<String> {
        let registrations = self.state.registrations.values().filter(|it| it.wanted.sink == name);
        let registrations = registrations
            .map(|it| format!("registration {} ({}, by {})", it.id, it.wanted.matching, it.wanted.owner));
        let passives = self.state.passives.iter().filter(|it| it.sink() == Some(name));
        registrations.chain(passives.map(|it| format!("the passive punt of {}", it.family))).collect()
    }

    /// The name of the reason that a registration has, if it has one of its own or a built-in one.
    pub fn reason_of(&self, id: u32) -> Option<&str> {
        let index = self.state.registrations.get(&id)?.reason?;
        self.by_index(index).map(|reason| reason.name())
    }

    /// The registrations that make the reason of that name; none for one that is there without any.
    pub fn makers(&self, name: &str) -> Option<Vec<u32>> {
        let index = self.named(name)?;
        self.by_index(index)?.made_by.as_ref()?;
        let makers = self.state.registrations.values().filter(|it| it.reason == Some(index));
        Some(makers.map(|it| it.id).collect())
    }

    /// Whether a pattern covers any reason that is there without registrations.
    pub fn covers_built_in(&self, pattern: &str) -> bool {
        let mut built_in = self.reasons().map(|(_, reason)| reason).filter(|reason| reason.made_by.is_none());
        built_in.any(|reason| matching::covers(pattern, reason.name()))
    }
}

/// What is left of settings without these; none if nothing is.
fn without(set: ReasonSet, what: &ReasonSet) -> Option<ReasonSet> {
    let left = ReasonSet {
        rate: set.rate.filter(|_| what.rate.is_none()),
        burst: set.burst.filter(|_| what.burst.is_none()),
        class: set.class.filter(|_| what.class.is_none()),
        action: set.action.filter(|_| what.action.is_none()),
        source_rate: set.source_rate.filter(|_| what.source_rate.is_none()),
        interface_rate: set.interface_rate.filter(|_| what.interface_rate.is_none()),
        sample: set.sample.filter(|_| what.sample.is_none()),
        name: set.name,
    };
    let nothing = ReasonSet { name: left.name.clone(), ..ReasonSet::default() };
    (left != nothing).then_some(left)
}

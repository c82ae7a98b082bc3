//! Registrations: match -> sink.

use std::sync::Arc;

use super::cover::{Place, Sight};
use super::reasons::{Reason, name_of, next_id};
use super::{Desk, MAX_REGISTRATIONS, Refused};
use crate::control::types::Policed;
use crate::control::types::sink::Life;
use crate::dispatch::{Candidate, Registered};
use crate::interest::Interest;
use crate::matching::{self, Match};
use crate::policer::{Limit, Policer};
use crate::value::{Prefix, Rate};

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which packets.
    pub matching: Match,
    /// Where to.
    pub sink: String,
    /// Packets per second, and how many at once.
    pub limit: Option<Limit>,
    /// Only those that came in there: index and name.
    pub interface: Option<(u32, String)>,
    /// Only those from there.
    pub source: Option<Prefix>,
    /// At most so many bytes of each.
    pub snaplen: Option<u32>,
    /// Nobody else gets such packets.
    pub exclusive: bool,
    /// How long it stays.
    pub life: Life,
    /// Who asks, for people.
    pub owner: String,
}

/// A registration as it is set.
#[derive(Clone)]
pub(super) struct Registration {
    pub id: u32,
    pub wanted: Arc<Wanted>,
    pub interest: Interest,
    /// The index of the reason it has, if it is one.
    pub reason: Option<u32>,
    pub policer: Arc<Policer>,
    pub books: Arc<Registered>,
    /// Its client is away: it gets nothing.
    pub suspended: bool,
}

impl Wanted {
    /// Which packets it covers.
    pub(super) fn interest(&self) -> Interest {
        let Wanted { matching, source, interface, .. } = self;
        Interest { matching: matching.clone(), source: *source, interface: interface.as_ref().map(|it| it.0) }
    }
}

impl Registration {
    /// As workers see it.
    pub fn candidate(&self) -> Candidate {
        Candidate {
            registration: self.books.clone(),
            policer: self.policer.clone(),
            snaplen: self.wanted.snaplen.unwrap_or(u32::MAX),
        }
    }
}

/// What passes where no limit is set.
pub(super) fn limit_or_none(limit: Option<Limit>) -> Limit {
    limit.unwrap_or(Limit::UNLIMITED)
}

/// A limit as an operator writes it; without a burst, what comes in half a second, but not fewer than 16. Where the rate is unlimited a burst
/// says nothing.
pub fn limit_of(rate: Option<Rate>, burst: Option<u32>) -> Option<Limit> {
    rate.map(|rate| match rate {
        Rate::PerSecond(amount) => Limit { rate, burst: burst.map_or((amount / 2).max(16), u64::from) },
        Rate::Unlimited => Limit { rate, burst: 0 },
    })
}

impl Desk {
    /// Says which id the next registration has, for a desk that stands for another.
    pub fn count_from(&mut self, id: u32) {
        self.ids.registration = id.saturating_sub(1);
    }

    /// Registers, and returns the registration's id. Workers see it after [`commit`](Desk::commit).
    ///
    /// # Errors
    /// If there is no such sink or reason, somebody is in the way, or there is no room.
    pub fn register(&mut self, wanted: Wanted) -> Result<u32, Refused> {
        let Wanted { matching, sink, .. } = &wanted;
        if !self.state.sinks.contains_key(sink) {
            return Err(self.no_sink(sink));
        }
        if self.state.registrations.size() >= MAX_REGISTRATIONS {
            return Err(Refused(format!(
                "there are {MAX_REGISTRATIONS} registrations, and there can be no more"
            )));
        }
        if let Match::Reason(pattern) = matching
            && !self.names_any(pattern)
        {
            return Err(self.no_reason(pattern));
        }
        let interest = wanted.interest();
        self.check_owners(&wanted, &interest)?;
        let id = next_id(self.ids.registration, "registrations")?;
        let made = self.ids.reason;
        let reason = self.reason_for(id, &interest)?;
        let limit = limit_or_none(wanted.limit);
        let registration = Registration {
            id,
            reason,
            policer: Arc::new(Policer::packets(limit, self.clock.hz(), (self.now)())),
            books: Registered::new(id, self.workers),
            suspended: false,
            wanted: Arc::new(wanted),
            interest: interest.clone(),
        };
        self.ids.registration = id;
        self.means.settle(id, Some(registration.books.settled.clone()));
        let registration = Arc::new(registration);
        self.state.registrations.insert_mut(id, registration.clone());
        self.note_registration(&registration);
        let touched = self.touch(&registration);
        self.passive_beside(&registration.wanted, &touched).inspect_err(|_| _ = self.remove(id))?;
        let is_new = self.ids.reason > made;
        let lanes = touched.into_iter().try_for_each(|index| match self.by_index(index).cloned() {
            // Others may want what it makes, too.
            Some(_) if is_new && Some(index) == registration.reason => self.make_lanes(index),
            Some(reason) => {
                self.make_lanes_to(&registration.wanted.sink, Some(&registration.policer), &reason)
            }
            None => Ok(()),
        });
        lanes.inspect_err(|_| _ = self.remove(id))?;
        Ok(id)
    }

    fn names_any(&self, pattern: &str) -> bool {
        match pattern.strip_suffix('*') {
            Some(beginning) => {
                let mut from = self.relations.names.range(beginning.to_owned()..);
                from.next().is_some_and(|(name, _)| name.starts_with(beginning))
            }
            None => {
                let made = format!("{pattern}@");
                let mut from = self.relations.names.range(made.clone()..);
                self.named(pattern).is_some() || from.next().is_some_and(|(name, _)| name.starts_with(&made))
            }
        }
    }

    /// The registration of that sink with the same match, source and interface, if there is one.
    pub fn registered(&self, wanted: &Wanted) -> Option<u32> {
        let mut alike = self.relations.same(&wanted.interest()).iter().copied();
        alike.find(|id| self.state.registrations.get(id).is_some_and(|it| it.wanted.sink == wanted.sink))
    }

    /// Makes a registration the configuration's, which is called `owner`.
    pub fn adopt(&mut self, id: u32, owner: &str) {
        if let Some(it) = self.state.registrations.get_mut(&id) {
            let its = Arc::make_mut(&mut Arc::make_mut(it).wanted);
            (its.life, its.owner) = (Life::Config, owner.to_owned());
        }
    }

    /// Who is in the way of it?
    fn check_owners(&self, wanted: &Wanted, interest: &Interest) -> Result<(), Refused> {
        let matching = &wanted.matching;
        let registrations =
            |ids: Vec<u32>| ids.into_iter().filter_map(|id| self.state.registrations.get(&id));
        if let Some(it) =
            registrations(self.relations.same(interest).to_vec()).find(|it| it.wanted.sink == wanted.sink)
        {
            return Err(Refused(format!(
                "{matching} is registered for sink {} already, as registration {}",
                wanted.sink, it.id
            )));
        }
        for other in registrations(self.rivals(interest, wanted.exclusive)) {
            let Registration { id, wanted: theirs, .. } = &**other;
            if theirs.sink == wanted.sink || !self.collide(interest, &other.interest) {
                continue;
            }
            let held = format!(
                "registration {id} ({} for sink {}, by {})",
                theirs.matching, theirs.sink, theirs.owner
            );
            return Err(Refused(if theirs.exclusive {
                format!("{matching} is in the way of the exclusive {held}; unregister that first")
            } else {
                format!("{matching} cannot be exclusive beside {held}; unregister that first")
            }));
        }
        Ok(())
    }

    /// Whether there is a reason of which both see packets.
    fn collide(&self, one: &Interest, other: &Interest) -> bool {
        let beside = |named: &Interest, pattern: &str, seen: &Interest| {
            // The reasons that they make may not be there yet.
            matching::covers(pattern, &name_of(&seen.matching))
                || self.both_see(one, other)
                || self.takes_before(named, pattern, seen)
        };
        one.meets(other)
            && match (&one.matching, &other.matching) {
                (Match::Reason(_), Match::Reason(_)) => self.both_see(one, other),
                (Match::Reason(pattern), _) => beside(one, pattern, other),
                (_, Match::Reason(pattern)) => beside(other, pattern, one),
                _ => true,
            }
    }

    /// Whether a registration for what is nobody's, limited to a source or an interface, makes a reason of packets that a less specific one
    /// asks for by port, type or protocol, and sees there.
    fn takes_before(&self, named: &Interest, pattern: &str, seen: &Interest) -> bool {
        let nobodys = |at: &u32| self.by_index(*at).is_some_and(|reason| reason.sight(seen) != Sight::None);
        let of_nobody = self.relations.names.get(pattern).filter(|at| self.is_nobodys(**at));
        named.is_scoped() && named.specificity() > seen.specificity() && of_nobody.is_some_and(nobodys)
    }

    fn is_nobodys(&self, at: u32) -> bool {
        self.by_index(at).is_some_and(|reason| reason.shipped.place == Place::Nobodys)
    }

    fn both_see(&self, one: &Interest, other: &Interest) -> bool {
        let mut seen = self.seen_by(one).into_iter().filter_map(|at| self.by_index(at));
        seen.any(|reason| self.may_see(reason, one) && self.may_see(reason, other))
    }

    /// Whether packets of a reason may be of that interest. What somebody asks for by port, type or protocol is nobody's no more.
    fn may_see(&self, reason: &Reason, interest: &Interest) -> bool {
        let nobodys = reason.shipped.place == Place::Nobodys && interest.matching.is_local();
        reason.sight(interest) != Sight::None && !nobodys
    }

    /// Takes a registration back. Workers see it after [`commit`](Desk::commit).
    ///
    /// # Errors
    /// If there is none with this id.
    pub fn unregister(&mut self, id: u32) -> Result<(), Refused> {
        if self.remove(id) {
            return Ok(());
        }
        let known: Vec<String> = self.state.registrations.keys().take(16).map(u32::to_string).collect();
        Err(Refused(match known.as_slice() {
            [] => format!("there is no registration {id}; there is none at all"),
            known => format!("there is no registration {id}; there are {}", known.join(", ")),
        }))
    }

    fn remove(&mut self, id: u32) -> bool {
        let Some(registration) = self.state.registrations.get(&id).cloned() else { return false };
        self.state.registrations.remove_mut(&id);
        self.touch(&registration);
        self.forget_registration(&registration);
        self.forget_policer(&Policed::Registration(id));
        self.means.settle(id, None);
        if let Some(index) = registration.reason {
            self.free_unused(index);
        }
        true
    }

    /// Frees the reason at `index` if it was made by registrations and has none any more.
    fn free_unused(&mut self, index: u32) {
        let made = self.by_index(index).filter(|reason| reason.made_by.is_some()).cloned();
        if let Some(gone) = made.filter(|_| !self.relations.is_used(index)) {
            self.state.reasons.set_mut(index as usize, None);
            self.relations.remove_reason(index, &gone);
            self.forget_policer(&Policed::Reason(gone.name().to_owned()));
            self.means.name(gone.id, None);
            self.touched.reasons.remove(&index);
            self.touched.freed.push(index);
        }
    }

    /// Notes all that a registration changes by coming or going. Returns the reasons of which it gets packets.
    fn touch(&mut self, registration: &Registration) -> Vec<u32> {
        let mut seen = self.seen_by(&registration.interest);
        seen.retain(|at| self.by_index(*at).is_some_and(|reason| !self.is_elsewhere(registration, reason)));
        self.touched.reasons.extend(&seen);
        if !registration.interest.is_scoped() {
            self.touch_claims(&registration.interest.matching);
        }
        seen
    }

    /// Suspends what is registered for these ids, or takes it up again.
    pub fn suspend(&mut self, ids: &[u32], suspended: bool) {
        for id in ids {
            let Some(registration) = self.state.registrations.get_mut(id) else { continue };
            if registration.suspended == suspended {
                continue;
            }
            let registration = Arc::make_mut(registration);
            registration.suspended = suspended;
            let registration = registration.clone();
            self.note_active(&registration, !suspended);
            self.touch(&registration);
        }
    }
}

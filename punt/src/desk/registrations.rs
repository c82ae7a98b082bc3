//! Registrations: match -> sink.

use std::sync::Arc;

use super::cover::{self, Place, Sight};
use super::reasons::{Reason, name_of};
use super::{Desk, MAX_REGISTRATIONS, Refused};
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

/// A limit as an operator writes it; without a burst, what comes in half a second, but not fewer than 16.
pub fn limit_of(rate: Option<Rate>, burst: Option<u32>) -> Option<Limit> {
    rate.map(|rate| {
        let usual = if let Rate::PerSecond(rate) = rate { (rate / 2).max(16) } else { 0 };
        Limit { rate, burst: burst.map_or(usual, u64::from) }
    })
}

impl Desk {
    /// Registers, and returns the registration's id. Workers see it after [`commit`](Desk::commit).
    ///
    /// # Errors
    /// If there is no such sink or reason, somebody is in the way, or there is no room.
    pub fn register(&mut self, wanted: Wanted) -> Result<u32, Refused> {
        let Wanted { matching, sink, interface, source, .. } = &wanted;
        if !self.state.sinks.contains_key(sink) {
            return Err(self.no_sink(sink));
        }
        if self.state.registrations.len() >= MAX_REGISTRATIONS {
            return Err(Refused(format!(
                "there are {MAX_REGISTRATIONS} registrations, and there can be no more"
            )));
        }
        if let Match::Reason(pattern) = matching
            && !self.reasons().any(|(_, reason)| matching::covers(pattern, reason.name()))
        {
            return Err(self.no_reason(pattern));
        }
        let interest = Interest {
            matching: matching.clone(),
            source: *source,
            interface: interface.as_ref().map(|it| it.0),
        };
        self.check_owners(&wanted, &interest)?;
        let id = self.ids.registration + 1;
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
        self.state.registrations.insert(id, registration);
        self.means.settle(id, Some(self.state.registrations[&id].books.settled.clone()));
        let touched = self.touch(&interest);
        if let Err(refused) = touched.iter().try_for_each(|index| self.make_lanes(*index)) {
            self.remove(id);
            return Err(refused);
        }
        Ok(id)
    }

    /// The registration of that sink with the same match, source, interface, limit and the rest, if there is one.
    pub fn registered(&self, wanted: &Wanted) -> Option<u32> {
        let same = |theirs: &Wanted| {
            let Wanted { matching, sink, limit, interface, source, snaplen, exclusive, .. } = theirs;
            (matching, sink, limit, interface)
                == (&wanted.matching, &wanted.sink, &wanted.limit, &wanted.interface)
                && (source, snaplen, exclusive) == (&wanted.source, &wanted.snaplen, &wanted.exclusive)
        };
        self.state.registrations.values().find(|it| same(&it.wanted)).map(|it| it.id)
    }

    /// Makes a registration the configuration's.
    pub fn adopt(&mut self, id: u32) {
        if let Some(it) = self.state.registrations.get_mut(&id) {
            Arc::make_mut(&mut it.wanted).life = Life::Config;
        }
    }

    /// Who is in the way of it?
    fn check_owners(&self, wanted: &Wanted, interest: &Interest) -> Result<(), Refused> {
        for other in self.state.registrations.values() {
            let Registration { id, wanted: theirs, .. } = other;
            let matching = &wanted.matching;
            if theirs.sink == wanted.sink {
                if other.interest == *interest {
                    return Err(Refused(format!(
                        "{matching} is registered for sink {} already, as registration {id}",
                        wanted.sink
                    )));
                }
                continue;
            }
            if !(wanted.exclusive || theirs.exclusive) || !self.collide(interest, &other.interest) {
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
        one.meets(other)
            && match (&one.matching, &other.matching) {
                (Match::Reason(_), Match::Reason(_)) => self.both_see(one, other),
                (Match::Reason(pattern), matching) | (matching, Match::Reason(pattern)) => {
                    // The reason that it makes may not be there yet.
                    matching::covers(pattern, &name_of(matching)) || self.both_see(one, other)
                }
                _ => true,
            }
    }

    fn both_see(&self, one: &Interest, other: &Interest) -> bool {
        self.reasons().any(|(_, reason)| self.may_see(reason, one) && self.may_see(reason, other))
    }

    /// Whether packets of a reason may be of that interest. What has a built-in reason is never nobody's.
    fn may_see(&self, reason: &Reason, interest: &Interest) -> bool {
        let nobodys = reason.shipped.place == Place::Nobodys && interest.matching.is_local();
        reason.sight(interest) != Sight::None && !(nobodys && self.built_in(&interest.matching).is_some())
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
        let Some(registration) = self.state.registrations.remove(&id) else { return false };
        self.touch(&registration.interest);
        self.means.settle(id, None);
        if let Some(index) = registration.reason {
            self.free_unused(index);
        }
        true
    }

    /// Frees the reason at `index` if it was made by registrations and has none any more.
    fn free_unused(&mut self, index: u32) {
        let made = self.by_index(index).is_some_and(|reason| reason.made_by.is_some());
        if made && !self.state.registrations.values().any(|registration| registration.reason == Some(index)) {
            let gone = self.state.reasons[index as usize].take();
            self.means.name(gone.map_or(0, |reason| reason.id), None);
            self.touched.reasons.remove(&index);
            self.touched.freed.push(index);
        }
    }

    /// Notes all that a registration with this interest changes by coming or going. Returns the reasons of which it sees packets.
    pub(super) fn touch(&mut self, interest: &Interest) -> Vec<u32> {
        let seen: Vec<u32> = self
            .reasons()
            .filter(|(_, reason)| {
                reason.sight(interest) != Sight::None
                    // Patterns see what comes from a reason through another's scope, too.
                    || (reason.is_scoped() && matches!(interest.matching, Match::Reason(_)))
            })
            .map(|(index, _)| index)
            .collect();
        self.touched.reasons.extend(&seen);
        if !interest.is_scoped() {
            self.touched.cells.extend(cover::cells(&interest.matching));
            self.touched.link |=
                matches!(interest.matching, Match::Ethertype(_) | Match::Llc(_) | Match::Mac(_));
        }
        seen
    }

    /// Suspends what is registered for these ids, or takes it up again.
    pub fn suspend(&mut self, ids: &[u32], suspended: bool) {
        for id in ids {
            let Some(registration) = self.state.registrations.get_mut(id) else { continue };
            registration.suspended = suspended;
            let interest = registration.interest.clone();
            self.touch(&interest);
        }
    }
}

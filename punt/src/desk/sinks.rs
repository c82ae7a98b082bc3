//! Sinks as they are set.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::registrations::{limit_of, limit_or_none};
use super::{Desk, Refused, State};
use crate::control::types::Policed;
use crate::control::types::sink::{Life, SinkAdd, SinkCounters, SinkState};
use crate::dispatch::Lanes;
use crate::lane::Lane;
use crate::place::Place;
use crate::policer::{Limit, Policer};
use crate::sink::{MAX_SINKS, Settled, Sink};
use crate::target::Target;

/// So long is the client of a sink that is deleted waited for if it takes nothing. Who deletes it waits for that, and everybody else at the
/// control socket.
const OF_ONE: Duration = Duration::from_millis(50);
/// The same when the engine ends, and nobody waits any more.
const OF_ALL: Duration = Duration::from_secs(1);

/// What a desk needs of the machine: the threads of sinks.
pub trait Means: Send {
    /// Starts the thread of a sink.
    ///
    /// # Errors
    /// What could not be opened, and why: one sentence.
    fn open(&self, sink: Arc<Sink>, target: &Target) -> Result<Arc<dyn Open>, String>;

    /// The name of the reason with this id, for sinks' threads to find; or it is gone.
    fn name(&self, reason: u32, name: Option<&str>);

    /// The books of the registration `id`, for sinks' threads to find; or it is gone.
    fn settle(&self, id: u32, books: Option<Arc<Settled>>);

    /// Where a target's packets end up, however it is spelled; none if others may go there, too.
    fn place(&self, target: &Target) -> Option<Place> {
        Place::of(target, Path::new(""))
    }

    /// What the engine itself has there, if anything.
    fn own(&self, place: &Place) -> Option<String> {
        let _ = place;
        None
    }
}

/// A sink whose thread runs.
pub trait Open: Send + Sync {
    /// How it fares.
    fn state(&self) -> SinkState;
    /// Where its client sends what it wants injected.
    fn inject(&self) -> Option<String>;
    /// Packets injected, refused, and from somebody else.
    fn injected(&self) -> [u64; 3];
    /// Tells the thread to end when its client has taken what is there, or takes nothing more after `patience`, and does not wait for it, so
    /// that many can end at once.
    fn ask_to_close(&self, patience: Duration) {
        let _ = patience;
    }
    /// Ends the thread; waits for it as long as was said.
    fn close(&self);
}

/// A sink as it is set.
#[derive(Clone)]
pub(super) struct SinkEntry {
    pub sink: Arc<Sink>,
    pub target: Target,
    pub limit: Option<Limit>,
    pub policer: Arc<Policer>,
    pub lanes: Arc<Lanes>,
    pub life: Life,
    pub open: Arc<dyn Open>,
}

impl SinkEntry {
    pub fn lanes(&self) -> impl Iterator<Item = &Arc<Lane>> {
        self.lanes.iter().flatten()
    }

    /// Bytes of its rings.
    pub fn memory(&self) -> usize {
        self.lanes().map(|lane| lane.ring.bytes()).sum()
    }

    /// The books of all its lanes together.
    pub fn counters(&self) -> SinkCounters {
        let sum = |what: &dyn Fn(&Lane) -> u64| self.lanes().map(|lane| what(lane)).sum();
        let mut errors = BTreeMap::new();
        for lane in self.lanes() {
            named(&mut errors, lane.offers.errors.iter().chain(lane.outcome.errors.iter()));
        }
        let mut refused_clients = BTreeMap::new();
        named(&mut refused_clients, self.sink.refused_clients.iter());
        let [injected, inject_errors, foreign] = self.open.injected();
        SinkCounters {
            memory: self.memory() as u64,
            closed_rings: self.sink.closed_rings.get(),
            refused_clients,
            // What is finished is read before what was offered, so that no record seems to be gone that has only just come.
            delivered: sum(&|lane| lane.outcome.delivered.get()),
            delivered_bytes: sum(&|lane| lane.outcome.delivered_bytes.get()),
            truncated: sum(&|lane| lane.outcome.truncated.get()),
            errors,
            backlog: sum(&|lane| lane.backlog()),
            refused_registration: sum(&|lane| lane.offers.refused_registration.get()),
            refused_sink: sum(&|lane| lane.offers.refused_sink.get()),
            ring_full: sum(&|lane| lane.offers.ring_full.get()),
            offered: sum(&|lane| lane.offers.offered.get()),
            injected,
            inject_errors,
            foreign,
        }
    }
}

/// Adds these counts under the names of their errors.
fn named(counts: &mut BTreeMap<String, u64>, errors: impl Iterator<Item = (i32, u64)>) {
    for (errno, count) in errors {
        *counts.entry(errno_name(errno)).or_default() += count;
    }
}

/// What an errno is called: `ENOENT`.
fn errno_name(errno: i32) -> String {
    match nix::errno::Errno::from_raw(errno) {
        nix::errno::Errno::UnknownErrno => format!("E{errno}"),
        known => format!("{known:?}"),
    }
}

impl Desk {
    /// Adds a sink and starts its thread.
    ///
    /// # Errors
    /// If there is one of that name, there are too many, or its target cannot be opened.
    pub fn add_sink(&mut self, wanted: &SinkAdd) -> Result<(), Refused> {
        wanted.check()?;
        let SinkAdd { name, target, rate, burst, life } = wanted;
        if let Some(there) = self.state.sinks.get(name) {
            return Err(Refused(format!(
                "there is a sink {name} already, which goes to {}; delete it first or write another name",
                there.target
            )));
        }
        let place = self.means.place(target);
        let same_place = |closing: &SinkEntry| {
            let there = self.means.place(&closing.target);
            there.zip(place.as_ref()).is_some_and(|(there, place)| there.meets(place))
        };
        if self.closing.iter().any(|closing| closing.sink.name == *name || same_place(closing)) {
            // Its thread must let go of its sockets first.
            self.flush();
        }
        // A thread that is yet to end still uses its slot.
        let taken =
            |slot: &usize| self.state.sinks.values().chain(&self.closing).any(|sink| sink.sink.slot == *slot);
        let slot = (0..MAX_SINKS).find(|slot| !taken(slot)).ok_or_else(|| {
            Refused(format!("there are {MAX_SINKS} sinks, and there can be no more; delete one first"))
        })?;
        self.check_place(target)?;
        let sink = Arc::new(match target {
            Target::Shm(_) => Sink::shared(name.clone(), slot, self.workers).map_err(|error| {
                Refused(format!("sink {name} gets no memory to share with its client: {error}"))
            })?,
            _ => Sink::new(name.clone(), slot),
        });
        let open = self.means.open(sink.clone(), target).map_err(Refused)?;
        let limit = limit_of(*rate, *burst);
        let policer = Arc::new(Policer::packets(limit_or_none(limit), self.clock.hz(), (self.now)()));
        let entry = SinkEntry {
            sink,
            target: target.clone(),
            limit,
            policer,
            lanes: Arc::default(),
            life: *life,
            open,
        };
        self.state.sinks.insert(name.clone(), entry);
        Ok(())
    }

    /// Whether something else is where a target's packets would go.
    fn check_place(&self, target: &Target) -> Result<(), Refused> {
        let Some(place) = self.means.place(target) else { return Ok(()) };
        let taken = |what: String| Err(Refused(format!("{what}; write another target")));
        if let Some(own) = self.means.own(&place) {
            return taken(format!("{target} is {own}"));
        }
        for (name, sink) in &self.state.sinks {
            if self.means.place(&sink.target).is_some_and(|there| there.meets(&place)) {
                return taken(format!("sink {name} goes to {} already", sink.target));
            }
            // What a TAP takes in comes to no path.
            let inject = sink.open.inject().filter(|inject| inject.starts_with(['/', '@']));
            if inject.is_some_and(|inject| Place::of_socket(&inject).meets(&place)) {
                return taken(format!("at {target} the client of sink {name} sends what it injects"));
            }
        }
        Ok(())
    }

    /// Deletes a sink and ends its thread.
    ///
    /// # Errors
    /// If there is none of that name, or something goes there.
    pub fn delete_sink(&mut self, name: &str) -> Result<(), Refused> {
        if !self.state.sinks.contains_key(name) {
            return Err(self.no_sink(name));
        }
        if let Some((id, it)) = self.state.registrations.iter().find(|(_, it)| it.wanted.sink == name) {
            return Err(Refused(format!(
                "sink {name} has registration {id} ({}); unregister that first",
                it.wanted.matching
            )));
        }
        if let Some(passive) = self.state.passives.iter().find(|passive| passive.sink() == Some(name)) {
            return Err(Refused(format!(
                "the passive punt of {} goes to sink {name}; set that otherwise first",
                passive.family
            )));
        }
        if let Some(entry) = self.state.sinks.remove(name) {
            self.closing.push(entry);
        }
        self.forget_policer(&Policed::Sink(name.to_owned()));
        Ok(())
    }

    /// Makes a sink the configuration's.
    pub fn adopt_sink(&mut self, name: &str) {
        if let Some(sink) = self.state.sinks.get_mut(name) {
            sink.life = Life::Config;
        }
    }

    /// Where a sink goes, if there is one of that name.
    pub fn target_of(&self, name: &str) -> Option<&Target> {
        self.state.sinks.get(name).map(|sink| &sink.target)
    }

    /// Whoever made a sink has gone, and others use it: it is theirs.
    pub fn leave_sink(&mut self, name: &str) {
        if let Some(sink) = self.state.sinks.get_mut(name) {
            sink.life = Life::Operator;
        }
    }

    /// Makes a sink that is there already the one that is wanted, with all that goes there.
    ///
    /// # Errors
    /// If there is none of that name, or its limit makes no sense.
    pub fn take_over_sink(&mut self, wanted: &SinkAdd) -> Result<(), Refused> {
        wanted.check()?;
        let limit = limit_of(wanted.rate, wanted.burst);
        let Some(sink) = self.state.sinks.get_mut(&wanted.name) else {
            return Err(self.no_sink(&wanted.name));
        };
        sink.life = wanted.life;
        if std::mem::replace(&mut sink.limit, limit) != limit {
            self.limit_again(&Policed::Sink(wanted.name.clone()));
        }
        Ok(())
    }

    /// Where the client of a sink sends what it wants injected.
    pub fn inject_of(&self, name: &str) -> Option<String> {
        self.state.sinks.get(name)?.open.inject()
    }

    pub(super) fn no_sink(&self, name: &str) -> Refused {
        let there: Vec<&str> = self.state.sinks.keys().take(16).map(String::as_str).collect();
        Refused(match there.as_slice() {
            [] => format!("there is no sink {name}; add it with puntctl sink add"),
            there => format!("there is no sink {name}; there are {}", there.join(", ")),
        })
    }

    /// Ends the threads of sinks that were deleted and did not come back. No entry leads to them any more.
    pub(super) fn close_sinks(&mut self) {
        let mut closing = std::mem::take(&mut self.closing);
        closing.retain(|entry| {
            let now = self.state.sinks.get(&entry.sink.name);
            !now.is_some_and(|now| Arc::ptr_eq(&now.sink, &entry.sink))
        });
        close_all(closing, OF_ONE);
    }

    /// Gives sinks that come back the lanes that were made for them after `after` left them, for their threads have them already. Returns
    /// those whose thread has ended meanwhile.
    pub(super) fn take_sinks_back(&mut self, after: &State) -> Vec<String> {
        let mut closed = Vec::new();
        for (name, entry) in &mut self.state.sinks {
            let mut known = after.sinks.get(name).into_iter().chain(&self.closing);
            match known.find(|it| Arc::ptr_eq(&it.sink, &entry.sink)) {
                Some(it) => entry.lanes = it.lanes.clone(),
                None => closed.push(name.clone()),
            }
        }
        closed
    }

    /// Starts the threads of these sinks again. One whose target cannot be opened any more stays without, and is suspended for good: packets
    /// count under EIO, and not as lost in rings that nobody empties.
    pub(super) fn reopen_sinks(&mut self, names: &[String]) {
        for name in names {
            let Some(entry) = self.state.sinks.get_mut(name) else { continue };
            match self.means.open(entry.sink.clone(), &entry.target) {
                Ok(open) => entry.open = open,
                Err(refused) => {
                    entry.sink.suspend(Some(nix::errno::Errno::EIO as i32));
                    log::error!("sink {name} is suspended, for it could not be opened again: {refused}");
                }
            }
        }
    }

    /// Ends the threads of all sinks: the workers have left.
    pub fn close(&mut self) {
        close_all(std::mem::take(&mut self.state.sinks).into_values().collect(), OF_ALL);
    }
}

/// Ends their threads, all at once.
fn close_all(entries: Vec<SinkEntry>, patience: Duration) {
    entries.iter().for_each(|entry| entry.open.ask_to_close(patience));
    entries.iter().for_each(|entry| entry.open.close());
}

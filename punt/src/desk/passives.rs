//! The passive punt as it is set: what becomes of packets that nothing claimed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::reasons::Reason;
use super::registrations::{Registration, Wanted, limit_of};
use super::{Desk, Refused};
use crate::control::types::Policed;
use crate::control::types::passive::PassiveFamily;
use crate::control::types::sink::Life;
use crate::dispatch::Registered;
use crate::policer::{Limit, Policer};
use crate::value::Rate;

/// Where such packets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Towards {
    /// To the sink of that name.
    Sink(String),
    /// Out of an interface, to a next hop or as they are; by the engine's number of that way.
    Redirect {
        /// The interface's name.
        interface: String,
        /// The next hop; without it, the packet's destination is on the link.
        via: Option<IpAddr>,
        /// The engine's number.
        way: u32,
    },
    /// Nowhere.
    Drop,
}

/// What becomes of packets of one family, of one ingress interface or all.
#[derive(Clone)]
pub(super) struct PassiveEntry {
    pub family: PassiveFamily,
    pub interface: Option<(u32, String)>,
    pub to: Towards,
    pub limit: Option<Limit>,
    pub policer: Option<Arc<Policer>>,
    pub books: Arc<Registered>,
    pub life: Life,
}

impl PassiveEntry {
    pub fn policed(&self) -> Policed {
        let interface = self.interface.as_ref().map(|(_, name)| name.clone());
        Policed::Passive { family: self.family, interface }
    }

    pub fn sink(&self) -> Option<&str> {
        match &self.to {
            Towards::Sink(sink) => Some(sink),
            _ => None,
        }
    }
}

/// The family of packets that nobody claimed, if those of a reason are.
pub(super) fn family_of(reason: &Reason) -> Option<PassiveFamily> {
    let name = reason.base_name();
    UNCLAIMED.iter().find(|(_, it)| *it == name).map(|(family, _)| *family)
}

/// Where nothing is set.
const UNCLAIMED: [(PassiveFamily, &str); 3] = [
    (PassiveFamily::Ip4, "ip4.unclaimed"),
    (PassiveFamily::Ip6, "ip6.unclaimed"),
    (PassiveFamily::Other, "l2.unclaimed"),
];

impl Desk {
    /// Says what becomes of packets of a family that nothing claimed, of one ingress interface (index and name) or all others.
    ///
    /// # Errors
    /// If there is no such sink, or no memory for its rings.
    pub fn set_passive(
        &mut self,
        family: PassiveFamily,
        interface: Option<(u32, String)>,
        to: Towards,
        rate: Option<Rate>,
        burst: Option<u32>,
        life: Life,
    ) -> Result<(), Refused> {
        if let Towards::Sink(sink) = &to
            && !self.state.sinks.contains_key(sink)
        {
            return Err(self.no_sink(sink));
        }
        self.check_exclusive(family, &interface, &to)?;
        let limit = limit_of(rate, burst);
        let entry = PassiveEntry {
            family,
            interface: interface.clone(),
            to,
            limit,
            policer: limit.map(|limit| Arc::new(Policer::packets(limit, self.clock.hz(), (self.now)()))),
            books: Registered::new(0, self.workers),
            life,
        };
        let before = (self.state.passives.clone(), self.state.set_policers.clone());
        self.forget_policer(&entry.policed());
        self.take_passive(family, &interface);
        self.state.passives.push(entry);
        self.touch_unclaimed(family);
        let touched = self.unclaimed(family);
        touched
            .into_iter()
            .try_for_each(|index| self.make_lanes(index))
            .inspect_err(|_| (self.state.passives, self.state.set_policers) = before)
    }

    /// Whether somebody alone may have packets that are to go elsewhere, too.
    fn check_exclusive(
        &self,
        family: PassiveFamily,
        interface: &Option<(u32, String)>,
        to: &Towards,
    ) -> Result<(), Refused> {
        let sink = match to {
            Towards::Drop => return Ok(()),
            Towards::Sink(sink) => Some(sink.as_str()),
            Towards::Redirect { .. } => None,
        };
        let reasons = self.unclaimed(family).into_iter().filter_map(|at| self.by_index(at));
        for (reason, it) in reasons.flat_map(|reason| self.takers(reason).map(move |it| (reason, it))) {
            let Registration { id, wanted, interest, .. } = it;
            if wanted.exclusive
                && Some(wanted.sink.as_str()) != sink
                && self.is_of(interface, interest.interface)
                && self.seen(interest, reason).is_some()
            {
                return Err(Refused(format!(
                    "the passive punt of {family} is in the way of the exclusive registration {id} ({} for sink {}, by {}); unregister that first",
                    wanted.matching, wanted.sink, wanted.owner
                )));
            }
        }
        Ok(())
    }

    /// A passive entry by which somebody else has packets of these reasons that are wanted by one alone.
    pub(super) fn passive_beside(&self, wanted: &Wanted, reasons: &[u32]) -> Result<(), Refused> {
        let interface = wanted.interface.as_ref().map(|(index, _)| *index);
        let beside = |it: &&PassiveEntry| {
            it.to != Towards::Drop
                && it.sink() != Some(wanted.sink.as_str())
                && self.is_of(&it.interface, interface)
                && self.unclaimed(it.family).iter().any(|at| reasons.contains(at))
        };
        match self.state.passives.iter().find(beside).filter(|_| wanted.exclusive) {
            None => Ok(()),
            Some(PassiveEntry { family, to, .. }) => {
                let to = match to {
                    Towards::Sink(sink) => format!("sink {sink}"),
                    Towards::Redirect { interface, .. } => format!("interface {interface}"),
                    Towards::Drop => "nowhere".to_owned(),
                };
                Err(Refused(format!(
                    "{} cannot be exclusive beside the passive punt of {family} to {to}; set that otherwise first",
                    wanted.matching
                )))
            }
        }
    }

    /// Whether what is set for `interface` may be for packets that came in at one.
    fn is_of(&self, interface: &Option<(u32, String)>, index: Option<u32>) -> bool {
        match (interface, index) {
            (Some((of, _)), Some(index)) => *of == index || self.parents.get(&index) == Some(of),
            _ => true,
        }
    }

    /// Says which sub-interfaces are parts of which interfaces: one without an entry of its own has its parent's.
    pub fn set_parents(&mut self, parents: BTreeMap<u32, u32>) {
        if self.parents != parents {
            self.parents = parents;
            PassiveFamily::ALL.into_iter().for_each(|family| self.touch_unclaimed(family));
        }
    }

    /// Makes what is set for a family and an interface the configuration's.
    pub fn adopt_passive(&mut self, family: PassiveFamily, interface: Option<(u32, String)>) {
        let index = |interface: &Option<(u32, String)>| interface.as_ref().map(|it| it.0);
        for entry in self.state.passives.iter_mut() {
            if entry.family == family && index(&entry.interface) == index(&interface) {
                entry.life = Life::Config;
            }
        }
    }

    /// Takes back what was set for a family and an interface; what is set for all holds there again.
    ///
    /// # Errors
    /// If nothing is set.
    pub fn delete_passive(&mut self, family: PassiveFamily, interface: Option<&str>) -> Result<(), Refused> {
        let name = |it: &PassiveEntry| it.interface.as_ref().map(|(_, name)| name.clone());
        let before = self.state.passives.len();
        self.state.passives.retain(|it| it.family != family || name(it).as_deref() != interface);
        if self.state.passives.len() < before {
            let interface = interface.map(str::to_owned);
            self.forget_policer(&Policed::Passive { family, interface });
            self.touch_unclaimed(family);
            return Ok(());
        }
        let there = interface.map_or_else(String::new, |name| format!(" from {name}"));
        Err(Refused(format!("nothing is set for {family}{there}; puntctl passive list shows what is")))
    }

    /// The engine's numbers of the ways that anything is redirected.
    pub fn ways(&self) -> impl Iterator<Item = u32> {
        self.state.passives.iter().filter_map(|it| match it.to {
            Towards::Redirect { way, .. } => Some(way),
            _ => None,
        })
    }

    fn take_passive(&mut self, family: PassiveFamily, interface: &Option<(u32, String)>) {
        let index = |interface: &Option<(u32, String)>| interface.as_ref().map(|it| it.0);
        self.state.passives.retain(|it| it.family != family || index(&it.interface) != index(interface));
    }

    fn touch_unclaimed(&mut self, family: PassiveFamily) {
        self.touched.reasons.extend(self.unclaimed(family));
    }

    /// The indices of the reasons of packets of a family that nobody claimed: the built-in one, and those that registrations made of it.
    pub(super) fn unclaimed(&self, family: PassiveFamily) -> Vec<u32> {
        let Some((_, name)) = UNCLAIMED.iter().find(|(it, _)| *it == family) else { return Vec::new() };
        let made = format!("{name}@");
        let after = self.relations.names.range(made.clone()..);
        let made = after.take_while(|(name, _)| name.starts_with(&made)).map(|(_, at)| *at);
        self.named(name).into_iter().chain(made).collect()
    }
}

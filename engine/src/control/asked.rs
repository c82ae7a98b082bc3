//! What a configuration asks for of punting, and how what is set becomes that.

pub(crate) mod names;
mod saved;

use punt::control::types::{
    Life, PassiveKey, PassiveRow, PassiveSet, Policed, PolicerSet, ReasonSet, Register, RegistrationRow,
    SinkAdd,
};
use punt::desk::{Wanted, limit_of};
use punt::{Class, Rate};

use super::model::WayTo;
use super::punting::{add_sink, interface, register, set_passive};
use super::{Control, Refused};
use crate::config::{Config, Part};

/// Who registers what a configuration says.
const OWNER: &str = "configuration";

/// Something to do for a configuration; numbers without a name are places in its lists.
pub(super) enum Change {
    /// The budget and the classes, so many of which are otherwise, as one: together they fit.
    Budget(usize),
    // What an earlier configuration asked for and this one does not, or otherwise.
    ResetPolicer(Policed),
    Unregister(u32),
    ForgetPassive(PassiveKey),
    UnsetReason(ReasonSet),
    /// It goes elsewhere, and its place is free for another.
    LiftSink(String),
    LetSinkGo(String),
    // What is asked for and is not there, or otherwise.
    AddSink(usize),
    AlterSink(usize),
    AlterRegistration(u32, usize),
    Register(usize),
    SetPassive(usize),
    /// When all else is there: what was made anew has lost what was set of it.
    SetReason,
    /// The same.
    SetPolicer,
}

impl Change {
    /// For how many changes it counts.
    fn weight(&self) -> usize {
        match self {
            Change::Budget(changes) => *changes,
            // It counts when it is changed.
            Change::LiftSink(_) => 0,
            _ => 1,
        }
    }
}

impl Control {
    /// Makes of reasons, sinks, registrations and the passive punt what `config` says. What operators made and it does not mention stays.
    /// Returns how many changes that took. The caller puts back what was before on an error.
    pub(super) fn apply_punting(&mut self, config: &Config) -> Result<usize, Refused> {
        let changes = self.punting_changes(config);
        let count = changes.iter().map(Change::weight).sum();
        let mut ids = self.ids_of(config);
        for change in changes {
            self.make(change, config, &mut ids)?;
        }
        for (place, it) in config.reasons.iter().enumerate() {
            let at = |fault: String| Refused::new(config.fault(Part::Reason(place), "", &fault));
            let name = names::now(&self.desk, &ids, &it.name).map_err(at)?;
            let it = ReasonSet { name, ..it.clone() };
            if !self.is_set(&it) {
                self.desk.set_reason(&it).map_err(|refused| at(refused.0))?;
            }
        }
        for (place, it) in config.policers.iter().enumerate() {
            let at = |fault: String| Refused::new(config.fault(Part::Policer(place), "what", &fault));
            if !self.has_policer(&ids, it) {
                let what = names::policed_now(&self.desk, &ids, &it.what).map_err(at)?;
                self.desk.set_policer(&PolicerSet { what, ..it.clone() }).map_err(|refused| at(refused.0))?;
            }
        }
        self.adopt(config, &ids)?;
        Ok(count)
    }

    /// How many changes a configuration would make.
    pub(super) fn count_of_changes(&self, config: &Config) -> usize {
        self.punting_changes(config).iter().map(Change::weight).sum()
    }

    /// What has to be done for a configuration, in this order.
    fn punting_changes(&self, config: &Config) -> Vec<Change> {
        let mut changes = Vec::new();
        let budget = usize::from(config.punt.budget != self.desk.budget().shape().total)
            + self.classes_otherwise(config);
        changes.extend((budget > 0).then_some(Change::Budget(budget)));
        let ids = self.ids_of(config);
        let policers = self.policers_gone(config, &ids);
        changes.extend(policers.into_iter().map(Change::ResetPolicer));
        let of_config = |row: &RegistrationRow| row.life == Life::Config && !ids.contains(&Some(row.id));
        let rows = self.desk.registration_rows().into_iter().filter(of_config);
        changes.extend(rows.map(|row| Change::Unregister(row.id)));
        let passives = self.desk.passive_rows();
        let is_said = |row: &PassiveRow| config.passives.iter().any(|it| is(row, it));
        let is_named = |row: &PassiveRow| {
            config.passives.iter().any(|it| (it.family, &it.interface) == (row.family, &row.interface))
        };
        // One that is there and goes elsewhere counts once: when it is set.
        let otherwise = passives.iter().filter(|row| row.life == Life::Config && !is_said(row));
        changes.extend(otherwise.filter(|row| !is_named(row)).map(|row| {
            Change::ForgetPassive(PassiveKey { family: row.family, interface: row.interface.clone() })
        }));
        changes.extend(self.settings_gone(config, &ids).into_iter().map(Change::UnsetReason));
        let sinks = self.desk.sink_rows();
        let is_there = |it: &SinkAdd| sinks.iter().any(|row| row.name == it.name);
        let moved = config
            .sinks
            .iter()
            .filter(|it| sinks.iter().any(|row| row.name == it.name && row.target != it.target));
        changes.extend(moved.map(|it| Change::LiftSink(it.name.clone())));
        let gone = sinks.iter().filter(|row| row.life == Life::Config);
        let gone = gone.filter(|row| !config.sinks.iter().any(|it| it.name == row.name));
        changes.extend(gone.map(|row| Change::LetSinkGo(row.name.clone())));

        let others = config.sinks.iter().enumerate().filter(|(_, it)| !self.has_sink(it));
        let (there, new): (Vec<_>, Vec<_>) = others.partition(|(_, it)| is_there(it));
        changes.extend(there.into_iter().map(|(place, _)| Change::AlterSink(place)));
        changes.extend(new.into_iter().map(|(place, _)| Change::AddSink(place)));
        for place in names::in_order(&config.registers) {
            let wanted = self.wanted(&ids, &config.registers[place]);
            match ids[place] {
                None => changes.push(Change::Register(place)),
                Some(id) if !wanted.is_ok_and(|it| self.desk.is_registered_so(id, &it)) => {
                    changes.push(Change::AlterRegistration(id, place));
                }
                Some(_) => {}
            }
        }
        let new =
            config.passives.iter().enumerate().filter(|(_, it)| !passives.iter().any(|row| is(row, it)));
        changes.extend(new.map(|(place, _)| Change::SetPassive(place)));
        let new = config.reasons.iter().filter(|it| {
            let name = names::now(&self.desk, &ids, &it.name);
            !name.is_ok_and(|name| self.is_set(&ReasonSet { name, ..(*it).clone() }))
        });
        changes.extend(new.map(|_| Change::SetReason));
        let new = config.policers.iter().filter(|it| !self.has_policer(&ids, it));
        changes.extend(new.map(|_| Change::SetPolicer));
        changes
    }

    fn make(&mut self, change: Change, config: &Config, ids: &mut [Option<u32>]) -> Result<(), Refused> {
        let at =
            |part, field: &str, refused: Refused| Refused::new(config.fault(part, field, &refused.message));
        match change {
            Change::Budget(_) => {
                let anew = self.classes_anew(config);
                let done = self.desk.set_budget(config.punt.budget, &anew, &config.classes);
                done.map_err(|error| Refused::new(config.over_budget(error)))?;
            }
            Change::ResetPolicer(what) => self.desk.reset_policer(&what),
            Change::Unregister(id) => self.desk.unregister(id)?,
            Change::ForgetPassive(key) => self.desk.delete_passive(key.family, key.interface.as_deref())?,
            Change::UnsetReason(what) => self.desk.unset_reason(&what)?,
            Change::LiftSink(name) => self.desk.lift_sink(&name),
            Change::LetSinkGo(name) => self.let_sink_go(config, &name)?,
            Change::AddSink(place) => {
                let sink = SinkAdd { life: Life::Config, ..config.sinks[place].clone() };
                let added = add_sink(&self.model, &mut self.desk, &sink);
                added.map_err(|refused| at(Part::Sink(place), "target", refused))?;
            }
            Change::AlterSink(place) => {
                let sink = SinkAdd { life: Life::Config, ..config.sinks[place].clone() };
                let known = interface(&self.model, sink.target.interface());
                let changed = known.and_then(|_| Ok(self.desk.change_sink(&sink)?));
                changed.map_err(|refused| at(Part::Sink(place), "target", refused))?;
            }
            Change::AlterRegistration(id, place) => {
                let wanted = self.wanted(ids, &config.registers[place])?;
                ids[place] = Some(
                    self.change_registration(id, wanted)
                        .map_err(|refused| at(Part::Register(place), "match", refused))?,
                );
            }
            Change::Register(place) => {
                let it = names::register_now(&self.desk, ids, &config.registers[place]);
                let it = it.map_err(Refused::new);
                let made = it.and_then(|it| register(&self.model, &mut self.desk, it, Life::Config, OWNER));
                ids[place] = Some(made.map_err(|refused| at(Part::Register(place), "match", refused))?);
            }
            Change::SetPassive(place) => {
                let set = set_passive(&mut self.model, &mut self.desk, &config.passives[place], Life::Config);
                set.map_err(|refused| at(Part::Passive(place), "", refused))?;
            }
            Change::SetReason | Change::SetPolicer => {}
        }
        Ok(())
    }

    /// No file asks for a sink any more. One that others still use is theirs from now on. What the file itself sends elsewhere is none of these.
    fn let_sink_go(&mut self, config: &Config, name: &str) -> Result<(), Refused> {
        for row in self.desk.passive_rows().iter().filter(|row| row.sink.as_deref() == Some(name)) {
            if config.passives.iter().any(|it| (it.family, &it.interface) == (row.family, &row.interface)) {
                self.desk.delete_passive(row.family, row.interface.as_deref())?;
            }
        }
        match self.desk.users_of_sink(name).is_empty() {
            true => self.desk.delete_sink(name)?,
            false => self.desk.leave_sink(name),
        }
        Ok(())
    }

    /// A registration gets another limit where it is; whether it is exclusive is asked anew, and so that is another registration.
    fn change_registration(&mut self, id: u32, wanted: Wanted) -> Result<u32, Refused> {
        let before = self.desk.registration_rows().into_iter().find(|row| row.id == id);
        if before.is_some_and(|row| row.exclusive == wanted.exclusive) {
            self.desk.change_registration(id, &wanted)?;
            return Ok(id);
        }
        self.desk.unregister(id)?;
        self.sessions.forget(id);
        Ok(self.desk.register(wanted)?)
    }

    /// What a configuration asks for is the configuration's, whoever made it.
    fn adopt(&mut self, config: &Config, ids: &[Option<u32>]) -> Result<(), Refused> {
        for sink in &config.sinks {
            self.desk.adopt_sink(&sink.name);
            self.sessions.forget_sink(&sink.name);
        }
        for id in ids.iter().flatten() {
            self.desk.adopt(*id, OWNER);
            self.desk.suspend(&[*id], false);
            self.sessions.forget(*id);
        }
        for it in &config.passives {
            let interface = interface(&self.model, it.interface.as_deref())?;
            self.desk.adopt_passive(it.family, interface);
        }
        Ok(())
    }

    /// What is remembered of a configuration that was applied: what is set for it, as that is called now.
    pub(super) fn remembered(&self, config: &Config) -> Config {
        let ids = self.ids_of(config);
        let name = |name: &str| names::now(&self.desk, &ids, name).ok();
        let reasons =
            config.reasons.iter().filter_map(|it| Some(ReasonSet { name: name(&it.name)?, ..it.clone() }));
        let what = |what: &Policed| names::policed_now(&self.desk, &ids, what).ok();
        let policers =
            config.policers.iter().filter_map(|it| Some(PolicerSet { what: what(&it.what)?, ..it.clone() }));
        Config { reasons: reasons.collect(), policers: policers.collect(), ..config.clone() }
    }

    /// Whether what is asked for names interfaces, or next hops on subnets, that are not there yet.
    pub(super) fn names_new_interfaces(&self, config: &Config) -> bool {
        let registers = config.registers.iter().filter_map(|it| it.interface.as_deref());
        let passives = config.passives.iter().flat_map(|it| [&it.interface, &it.redirect]).flatten();
        let sinks = config.sinks.iter().filter_map(|it| it.target.interface());
        let leads_nowhere = |it: &PassiveSet| {
            let index = it.redirect.as_ref().and_then(|name| self.model.index(name));
            index.zip(it.via).is_some_and(|(index, via)| self.model.check_way(index, via).is_err())
        };
        let mut names = registers.chain(passives.map(String::as_str)).chain(sinks);
        names.any(|name| self.model.index(name).is_none()) || config.passives.iter().any(leads_nowhere)
    }

    /// The ways that others than a configuration redirect by, and it does not redirect otherwise.
    pub(super) fn ways_beside(&self, config: &Config) -> Vec<WayTo> {
        let is_named = |row: &PassiveRow| {
            config.passives.iter().any(|it| (it.family, &it.interface) == (row.family, &row.interface))
        };
        let rows = self.desk.passive_rows().into_iter();
        let rows = rows.filter(|row| row.life != Life::Config && !is_named(row));
        rows.filter_map(|row| Some(WayTo { interface: row.redirect?, via: row.via?, place: None })).collect()
    }

    /// Policers of an earlier configuration that this one does not set are as if nobody had set them.
    fn policers_gone(&self, config: &Config, ids: &[Option<u32>]) -> Vec<Policed> {
        let now: Vec<Policed> = config
            .policers
            .iter()
            .filter_map(|it| names::policed_now(&self.desk, ids, &it.what).ok())
            .collect();
        let before = self.applied.policers.iter().map(|it| it.what.clone());
        before.filter(|what| !now.contains(what)).collect()
    }

    /// Classes of which an earlier configuration said something else than this one: these begin with what they ship with, for what it does not
    /// say of them any more.
    pub(super) fn classes_anew(&self, config: &Config) -> Vec<Class> {
        let before = self.applied.classes.iter().filter(|it| !config.classes.contains(it));
        before.map(|it| it.name).collect()
    }

    /// How many classes will be otherwise than they are, or nobody's any more.
    fn classes_otherwise(&self, config: &Config) -> usize {
        let (is, anew) = (self.desk.budget().shape().classes, self.classes_anew(config));
        let is_otherwise = |class: &Class| {
            let named = config.classes.iter().find(|it| it.name == *class);
            let now = is[*class as usize];
            let (min, cap) = match anew.contains(class) {
                true => (class.minimum().into(), Rate::PerSecond(class.cap().into())),
                false => now,
            };
            let wanted =
                named.map_or((min, cap), |it| (it.min.map_or(min, u64::from), it.cap.unwrap_or(cap)));
            wanted != now || (anew.contains(class) && named.is_none())
        };
        Class::ALL.iter().filter(|class| is_otherwise(class)).count()
    }

    /// Settings of reasons that an earlier configuration made and this one does not, each for itself; not those that an operator has set otherwise
    /// since.
    fn settings_gone(&self, config: &Config, ids: &[Option<u32>]) -> Vec<ReasonSet> {
        let set = self.desk.set_reasons();
        let is = |name: &str| set.iter().find(|set| set.name == name);
        let wanted = |name: &str| {
            let its = |it: &&ReasonSet| names::now(&self.desk, ids, &it.name).is_ok_and(|it| it == name);
            config.reasons.iter().find(its).cloned().unwrap_or_default()
        };
        let gone = |before: &ReasonSet| Some(gone(before, &wanted(&before.name), is(&before.name)?));
        let some = |gone: &ReasonSet| *gone != ReasonSet { name: gone.name.clone(), ..ReasonSet::default() };
        self.applied.reasons.iter().filter_map(gone).filter(some).collect()
    }

    /// The registrations that a configuration asks for, by its places, as far as they are there; their limits may be others.
    pub(super) fn ids_of(&self, config: &Config) -> Vec<Option<u32>> {
        let mut ids = vec![None; config.registers.len()];
        for place in names::in_order(&config.registers) {
            let wanted = self.wanted(&ids, &config.registers[place]);
            ids[place] = wanted.ok().and_then(|wanted| self.desk.registered(&wanted));
        }
        ids
    }

    /// Whether all that is set of a reason already, and more may be.
    fn is_set(&self, it: &ReasonSet) -> bool {
        let set = self.desk.set_reasons().into_iter().find(|set| set.name == it.name);
        set.is_some_and(|set| {
            let mut both = set.clone();
            both.merge(it);
            both == set
        })
    }

    /// Whether what a policer of a file is of is policed like that.
    fn has_policer(&self, ids: &[Option<u32>], it: &PolicerSet) -> bool {
        let what = names::policed_now(&self.desk, ids, &it.what).ok();
        what.and_then(|what| self.desk.set_policer_of(&what)).is_some_and(|is| it.config() == Ok(is))
    }

    /// Whether there is just that sink, whoever made it.
    fn has_sink(&self, sink: &SinkAdd) -> bool {
        let limit = limit_of(sink.rate, sink.burst);
        self.desk.sink_rows().iter().any(|row| {
            (&row.name, &row.target) == (&sink.name, &sink.target) && limit_of(row.rate, row.burst) == limit
        })
    }

    /// What a file's registration asks for now.
    fn wanted(&self, ids: &[Option<u32>], it: &Register) -> Result<Wanted, Refused> {
        let it = names::register_now(&self.desk, ids, it).map_err(Refused::new)?;
        Ok(Wanted {
            matching: it.r#match,
            sink: it.sink,
            limit: limit_of(it.rate, it.burst),
            interface: interface(&self.model, it.interface.as_deref())?,
            source: it.source,
            snaplen: it.snaplen,
            exclusive: it.exclusive,
            life: Life::Config,
            owner: OWNER.to_owned(),
        })
    }
}

/// What was set of a reason, is not wanted, and still is as it was set.
fn gone(before: &ReasonSet, wanted: &ReasonSet, is: &ReasonSet) -> ReasonSet {
    fn field<T: PartialEq + Copy>(before: Option<T>, wanted: Option<T>, is: Option<T>) -> Option<T> {
        before.filter(|_| wanted.is_none() && is == before)
    }
    ReasonSet {
        name: before.name.clone(),
        rate: field(before.rate, wanted.rate, is.rate),
        burst: field(before.burst, wanted.burst, is.burst),
        class: field(before.class, wanted.class, is.class),
        action: field(before.action, wanted.action, is.action),
        source_rate: field(before.source_rate, wanted.source_rate, is.source_rate),
        interface_rate: field(before.interface_rate, wanted.interface_rate, is.interface_rate),
        sample: field(before.sample, wanted.sample, is.sample),
    }
}

/// Whether a passive entry is what a configuration asks for.
fn is(row: &PassiveRow, it: &PassiveSet) -> bool {
    (row.family, &row.interface, &row.sink, &row.redirect)
        == (it.family, &it.interface, &it.sink, &it.redirect)
        && (row.via, row.drop) == (it.via, it.drop)
        && limit_of(row.rate, row.burst) == limit_of(it.rate, it.burst)
}

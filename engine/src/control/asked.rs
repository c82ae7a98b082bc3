//! What a configuration asks for of punting, and what is set, as a configuration asks for it.

use punt::Class;
use punt::control::types::{
    ClassSet, Life, PassiveKey, PassiveRow, PassiveSet, Policed, PolicerSet, ReasonSet, Register,
    RegistrationRow, SinkAdd,
};
use punt::desk::{Wanted, limit_of};
use punt::policer::Rate;

use super::punting::{add_sink, interface, register, set_passive};
use super::{Control, Refused};
use crate::config::{Config, write};

/// Who registers what a configuration says.
const OWNER: &str = "configuration";

/// Something to do for a configuration.
pub(super) enum Change<'a> {
    Budget(Rate),
    // What an earlier configuration asked for and this one does not, or otherwise.
    ResetPolicer(Policed),
    Unregister(u32),
    ForgetPassive(PassiveKey),
    DeleteSink(String),
    ResetClass(Class),
    ResetReason(String),
    // What is asked for and is not there.
    AddSink(&'a SinkAdd),
    Register(&'a Register),
    SetPassive(&'a PassiveSet),
    SetReason(&'a ReasonSet),
    SetClass(&'a ClassSet),
    /// When all else is there.
    SetPolicer,
}

impl Control {
    /// Makes of reasons, sinks, registrations and the passive punt what `config` says. What operators made and it does not mention stays.
    /// Returns how many changes that took. The caller puts back what was before on an error.
    pub(super) fn apply_punting(&mut self, config: &Config) -> Result<usize, Refused> {
        let changes = self.punting_changes(config);
        let count = changes.len();
        for change in changes {
            self.make(change)?;
        }
        // What was made anew has lost what was set of it.
        for policer in config.policers.iter().filter(|it| !self.has_policer(config, it)).collect::<Vec<_>>() {
            let what = self.policed_by(config, &policer.what).ok_or_else(|| {
                let place = policer.what.to_string().replace("registration:", "");
                Refused::new(format!("policer: there is no {place}-th [[register]] in the file"))
            })?;
            self.desk.set_policer(&PolicerSet { what, ..policer.clone() })?;
        }
        self.adopt(config)?;
        Ok(count)
    }

    /// What has to be done for a configuration, in this order.
    pub(super) fn punting_changes<'a>(&self, config: &'a Config) -> Vec<Change<'a>> {
        let mut changes = Vec::new();
        let budget = config.punt.budget;
        changes.extend((budget != self.desk.budget().shape().total).then_some(Change::Budget(budget)));
        changes.extend(self.policers_gone(config).into_iter().map(Change::ResetPolicer));
        let kept: Vec<Option<u32>> = config.registers.iter().map(|it| self.kept(config, it)).collect();
        let of_config = |row: &RegistrationRow| row.life == Life::Config && !kept.contains(&Some(row.id));
        let rows = self.desk.registration_rows().into_iter().filter(of_config);
        changes.extend(rows.map(|row| Change::Unregister(row.id)));
        let passives = self.desk.passive_rows();
        let of_config =
            |row: &&PassiveRow| row.life == Life::Config && !config.passives.iter().any(|it| is(row, it));
        changes.extend(passives.iter().filter(of_config).map(|row| {
            Change::ForgetPassive(PassiveKey { family: row.family, interface: row.interface.clone() })
        }));
        let sinks = self.desk.sink_rows().into_iter().filter(|row| row.life == Life::Config);
        let gone =
            sinks.filter(|row| !config.sinks.iter().any(|it| it.name == row.name && self.has_sink(it)));
        changes.extend(gone.map(|row| Change::DeleteSink(row.name)));
        let classes = self.applied.classes.iter().map(|it| it.name);
        let gone = classes.filter(|class| !config.classes.iter().any(|it| it.name == *class));
        changes.extend(gone.map(Change::ResetClass));
        let set = self.desk.set_reasons();
        // With what operators set of it beside.
        let is_set = |it: &ReasonSet| set.iter().any(|set| merged(set, it) == *set);
        let goes_on = |before: &ReasonSet| config.reasons.iter().any(|now| merged(before, now) == *now);
        let reset: Vec<&ReasonSet> = self.applied.reasons.iter().filter(|it| !goes_on(it)).collect();
        changes.extend(reset.iter().map(|it| Change::ResetReason(it.name.clone())));

        changes.extend(config.sinks.iter().filter(|it| !self.has_sink(it)).map(Change::AddSink));
        let new = config.registers.iter().zip(&kept).filter(|(_, kept)| kept.is_none());
        changes.extend(new.map(|(it, _)| Change::Register(it)));
        let new = config.passives.iter().filter(|it| !passives.iter().any(|row| is(row, it)));
        changes.extend(new.map(Change::SetPassive));
        let anew = |it: &&ReasonSet| !is_set(it) || reset.iter().any(|reset| reset.name == it.name);
        changes.extend(config.reasons.iter().filter(anew).map(Change::SetReason));
        changes.extend(config.classes.iter().filter(|it| !self.has_class(it)).map(Change::SetClass));
        let new = config.policers.iter().filter(|it| !self.has_policer(config, it));
        changes.extend(new.map(|_| Change::SetPolicer));
        changes
    }

    fn make(&mut self, change: Change) -> Result<(), Refused> {
        match change {
            Change::Budget(total) => {
                let done = self.desk.budget().set_total(total, self.desk.now());
                done.map_err(|error| Refused::new(format!("punt.budget: {error}")))?;
            }
            Change::ResetPolicer(what) => self.desk.reset_policer(&what),
            Change::Unregister(id) => self.desk.unregister(id)?,
            Change::ForgetPassive(key) => self.desk.delete_passive(key.family, key.interface.as_deref())?,
            Change::DeleteSink(name) => self.desk.delete_sink(&name)?,
            Change::ResetClass(class) => self.desk.reset_class(class)?,
            Change::ResetReason(name) => self.desk.reset_reason(&name),
            Change::AddSink(sink) => {
                let sink = SinkAdd { life: Life::Config, ..sink.clone() };
                add_sink(&self.model, &mut self.desk, &sink)?;
            }
            Change::Register(it) => {
                register(&self.model, &mut self.desk, it.clone(), Life::Config, OWNER)?;
            }
            Change::SetPassive(it) => set_passive(&mut self.model, &mut self.desk, it, Life::Config)?,
            Change::SetReason(it) => self.desk.set_reason(it)?,
            Change::SetClass(it) => self.desk.set_class(it)?,
            Change::SetPolicer => {}
        }
        Ok(())
    }

    /// What a configuration asks for is the configuration's, whoever made it.
    fn adopt(&mut self, config: &Config) -> Result<(), Refused> {
        for sink in &config.sinks {
            self.desk.adopt_sink(&sink.name);
            self.sessions.forget_sink(&sink.name);
        }
        for it in &config.registers {
            if let Some(id) = self.desk.registered(&self.wanted(it)?) {
                self.desk.adopt(id);
                self.sessions.forget(id);
            }
        }
        for it in &config.passives {
            let interface = interface(&self.model, it.interface.as_deref())?;
            self.desk.adopt_passive(it.family, interface);
        }
        Ok(())
    }

    /// Whether what is asked for names interfaces, or next hops on subnets, that are not there yet.
    pub(super) fn names_new_interfaces(&self, config: &Config) -> bool {
        let registers = config.registers.iter().filter_map(|it| it.interface.as_ref());
        let passives = config.passives.iter().flat_map(|it| [&it.interface, &it.redirect]).flatten();
        let is_new = |name: &String| self.model.index(name).is_none();
        let leads_nowhere = |it: &PassiveSet| {
            let index = it.redirect.as_ref().and_then(|name| self.model.index(name));
            index.zip(it.via).is_some_and(|(index, via)| self.model.check_way(index, via).is_err())
        };
        registers.chain(passives).any(is_new) || config.passives.iter().any(leads_nowhere)
    }

    /// Policers of an earlier configuration that this one does not set are as if nobody had set them.
    fn policers_gone(&self, config: &Config) -> Vec<Policed> {
        let theirs = |of: &Config| -> Vec<Policed> {
            of.policers.iter().filter_map(|policer| self.policed_by(of, &policer.what)).collect()
        };
        let now = theirs(config);
        theirs(&self.applied).into_iter().filter(|what| !now.contains(what)).collect()
    }

    /// What a policer of a file is of: there, registrations are known by their place.
    fn policed_by(&self, config: &Config, what: &Policed) -> Option<Policed> {
        let Policed::Registration(number) = what else { return Some(what.clone()) };
        let it = config.registers.get((*number as usize).checked_sub(1)?)?;
        self.desk.registered(&self.wanted(it).ok()?).map(Policed::Registration)
    }

    /// The registration that is just what a configuration asks for, unless its sink has to be made anew.
    fn kept(&self, config: &Config, it: &Register) -> Option<u32> {
        let id = self.desk.registered(&self.wanted(it).ok()?)?;
        let anew = config.sinks.iter().any(|sink| sink.name == it.sink && !self.has_sink(sink));
        (!anew).then_some(id)
    }

    fn has_class(&self, it: &ClassSet) -> bool {
        let (min, cap) = self.desk.budget().shape().classes[it.name as usize];
        it.min.is_none_or(|wanted| u64::from(wanted) == min) && it.cap.is_none_or(|wanted| wanted == cap)
    }

    /// Whether what a policer of a file is of is policed like that.
    fn has_policer(&self, config: &Config, it: &PolicerSet) -> bool {
        let what = self.policed_by(config, &it.what);
        what.and_then(|what| self.desk.set_policer_of(&what)).is_some_and(|is| it.config() == Ok(is))
    }

    /// Whether there is just that sink, whoever made it.
    fn has_sink(&self, sink: &SinkAdd) -> bool {
        let limit = limit_of(sink.rate, sink.burst);
        self.desk.sink_rows().iter().any(|row| {
            (&row.name, &row.target) == (&sink.name, &sink.target) && limit_of(row.rate, row.burst) == limit
        })
    }

    fn wanted(&self, it: &Register) -> Result<Wanted, Refused> {
        Ok(Wanted {
            matching: it.r#match.clone(),
            sink: it.sink.clone(),
            limit: limit_of(it.rate, it.burst),
            interface: interface(&self.model, it.interface.as_deref())?,
            source: it.source,
            snaplen: it.snaplen,
            exclusive: it.exclusive,
            life: Life::Config,
            owner: OWNER.to_owned(),
        })
    }

    /// What is set of punting, of the lives *config* and *operator*, as a configuration asks for it.
    pub(super) fn punting_text(&self) -> String {
        let mut punt = self.applied.punt.clone();
        punt.budget = self.desk.budget().shape().total;
        let mut text = write::punting(&punt);
        let mut sinks = Vec::new();
        // What goes to a session's sink, or names an interface that has gone, no file could bring back.
        let is_there = |interface: &Option<String>| {
            interface.as_ref().is_none_or(|name| self.model.index(name).is_some())
        };
        for row in self.desk.sink_rows().into_iter().filter(|row| row.life != Life::Session) {
            sinks.push(row.name.clone());
            let (name, target, rate, burst) = (row.name, row.target, row.rate, row.burst);
            text += &write::sink(&SinkAdd { name, target, rate, burst, life: Life::Config });
        }
        let mut ids = Vec::new();
        let lasting = |row: &RegistrationRow| {
            row.life != Life::Session && sinks.contains(&row.sink) && is_there(&row.interface)
        };
        for row in self.desk.registration_rows().into_iter().filter(lasting) {
            ids.push(row.id);
            text += &write::register(&Register {
                r#match: row.r#match,
                sink: row.sink,
                rate: row.rate,
                burst: row.burst,
                interface: row.interface,
                source: row.source,
                snaplen: row.snaplen,
                exclusive: row.exclusive,
                life: Life::Config,
            });
        }
        let lasting = |row: &PassiveRow| {
            row.sink.as_ref().is_none_or(|sink| sinks.contains(sink))
                && is_there(&row.interface)
                && is_there(&row.redirect)
        };
        for row in self.desk.passive_rows().into_iter().filter(lasting) {
            text += &write::passive(&PassiveSet {
                family: row.family,
                interface: row.interface,
                sink: row.sink,
                redirect: row.redirect,
                via: row.via,
                drop: row.drop,
                rate: row.rate,
                burst: row.burst,
            });
        }
        // Reasons that registrations made have another number after a restart.
        for reason in self.desk.set_reasons().into_iter().filter(|it| !it.name.contains('@')) {
            text += &write::reason(&reason);
        }
        let (classes, mut policers) = self.desk.set_limits();
        let there = self.desk.policer_rows();
        policers.retain(|policer| there.iter().any(|row| row.what == policer.what));
        for class in classes {
            text += &write::class(&class);
        }
        for policer in policers {
            let what = match &policer.what {
                Policed::Registration(id) => match ids.iter().position(|saved| saved == id) {
                    Some(place) => Policed::Registration(place as u32 + 1),
                    None => continue,
                },
                Policed::Sink(name) if !sinks.contains(name) => continue,
                Policed::Reason(name) if name.contains('@') => continue,
                what => what.clone(),
            };
            text += &write::policer(&PolicerSet { what, ..policer });
        }
        text
    }
}

/// What is set of a reason once more is set; unlike any set if these are two reasons.
fn merged(set: &ReasonSet, more: &ReasonSet) -> ReasonSet {
    let mut both = set.clone();
    both.merge(more);
    if set.name != more.name {
        both.name.clear();
    }
    both
}

/// Whether a passive entry is what a configuration asks for.
fn is(row: &PassiveRow, it: &PassiveSet) -> bool {
    (row.family, &row.interface, &row.sink, &row.redirect)
        == (it.family, &it.interface, &it.sink, &it.redirect)
        && (row.via, row.drop) == (it.via, it.drop)
        && limit_of(row.rate, row.burst) == limit_of(it.rate, it.burst)
}

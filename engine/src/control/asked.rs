//! What a configuration asks for of punting, and what is set, as a configuration asks for it.

use punt::control::types::{
    Life, PassiveRow, PassiveSet, Policed, PolicerSet, ReasonSet, Register, RegistrationRow, SinkAdd,
};
use punt::desk::{Wanted, limit_of};

use super::punting::{interface, register, set_passive};
use super::{Control, Refused};
use crate::config::{Config, write};

/// Who registers what a configuration says.
const OWNER: &str = "configuration";

impl Control {
    /// Makes of reasons, sinks, registrations and the passive punt what `config` says. What operators made and it does not mention stays.
    /// Returns how many changes that took. The caller puts back what was before on an error.
    pub(super) fn apply_punting(&mut self, config: &Config) -> Result<usize, Refused> {
        let mut changes = 0;
        let now = self.desk.now();
        if config.punt.budget != self.desk.budget().shape().total {
            self.desk
                .budget()
                .set_total(config.punt.budget, now)
                .map_err(|error| Refused::new(format!("punt.budget: {error}")))?;
            changes += 1;
        }
        changes += self.take_back(config)?;
        for sink in &config.sinks {
            changes += self.apply_sink(sink)?;
        }
        let mut ids = Vec::new();
        for it in &config.registers {
            let wanted = self.wanted(it)?;
            ids.push(match self.desk.registered(&wanted) {
                Some(id) => {
                    self.desk.adopt(id);
                    self.sessions.forget(id);
                    id
                }
                None => {
                    changes += 1;
                    register(&self.model, &mut self.desk, it.clone(), Life::Config, OWNER)?
                }
            });
        }
        for passive in &config.passives {
            if self.desk.passive_rows().iter().any(|row| is(row, passive)) {
                let interface = interface(&self.model, passive.interface.as_deref())?;
                self.desk.adopt_passive(passive.family, interface);
                continue;
            }
            set_passive(&mut self.model, &mut self.desk, passive, Life::Config)?;
            changes += 1;
        }
        let set = self.desk.set_reasons();
        let is_set = |wanted: &ReasonSet| {
            set.iter().any(|set| {
                let mut both = set.clone();
                both.merge(wanted);
                both.name == wanted.name && both == *set
            })
        };
        for reason in config.reasons.iter().filter(|it| !is_set(it)) {
            self.desk.set_reason(reason)?;
            changes += 1;
        }
        for class in &config.classes {
            self.desk.set_class(class)?;
        }
        for policer in &config.policers {
            let what = match &policer.what {
                Policed::Registration(number) => {
                    let id = ids.get((*number as usize).wrapping_sub(1));
                    Policed::Registration(*id.ok_or_else(|| {
                        Refused::new(format!("policer: there is no {number}-th [[register]] in the file"))
                    })?)
                }
                what => what.clone(),
            };
            self.desk.set_policer(&PolicerSet { what, ..policer.clone() })?;
        }
        Ok(changes)
    }

    /// Whether what is asked for names interfaces that are not there yet.
    pub(super) fn names_new_interfaces(&self, config: &Config) -> bool {
        let registers = config.registers.iter().filter_map(|it| it.interface.as_ref());
        let passives = config.passives.iter().flat_map(|it| [&it.interface, &it.redirect]).flatten();
        registers.chain(passives).any(|name| self.model.index(name).is_none())
    }

    /// Takes back what an earlier configuration asked for and this one does not.
    fn take_back(&mut self, config: &Config) -> Result<usize, Refused> {
        let mut changes = self.take_policers_back(config);
        for row in self.desk.registration_rows().into_iter().filter(|row| row.life == Life::Config) {
            let still = config
                .registers
                .iter()
                .any(|it| self.wanted(it).is_ok_and(|wanted| self.desk.registered(&wanted) == Some(row.id)));
            let sink_stays = config.sinks.iter().any(|sink| sink.name == row.sink && self.has_sink(sink));
            if !still || !sink_stays {
                self.desk.unregister(row.id)?;
                changes += 1;
            }
        }
        for row in self.desk.passive_rows().into_iter().filter(|row| row.life == Life::Config) {
            if !config.passives.iter().any(|it| is(&row, it)) {
                self.desk.delete_passive(row.family, row.interface.as_deref())?;
                changes += 1;
            }
        }
        for row in self.desk.sink_rows().into_iter().filter(|row| row.life == Life::Config) {
            if !config.sinks.iter().any(|sink| sink.name == row.name && self.has_sink(sink)) {
                self.desk.delete_sink(&row.name)?;
                changes += 1;
            }
        }
        for class in self.applied.classes.iter().map(|it| it.name) {
            if !config.classes.iter().any(|it| it.name == class) {
                self.desk.reset_class(class)?;
                changes += 1;
            }
        }
        let before = std::mem::take(&mut self.applied.reasons);
        for reason in before.iter().filter(|it| !config.reasons.contains(it)) {
            self.desk.reset_reason(&reason.name);
            changes += 1;
        }
        self.applied.reasons = before;
        Ok(changes)
    }

    /// Policers of an earlier configuration that this one does not set are as if nobody had set them.
    fn take_policers_back(&mut self, config: &Config) -> usize {
        let theirs = |of: &Config| -> Vec<Policed> {
            of.policers.iter().filter_map(|policer| self.policed_by(of, &policer.what)).collect()
        };
        let (before, now) = (theirs(&self.applied), theirs(config));
        let gone: Vec<Policed> = before.into_iter().filter(|what| !now.contains(what)).collect();
        gone.iter().for_each(|what| self.desk.reset_policer(what));
        gone.len()
    }

    /// What a policer of a file is of: there, registrations are known by their place.
    fn policed_by(&self, config: &Config, what: &Policed) -> Option<Policed> {
        let Policed::Registration(number) = what else { return Some(what.clone()) };
        let it = config.registers.get((*number as usize).checked_sub(1)?)?;
        self.desk.registered(&self.wanted(it).ok()?).map(Policed::Registration)
    }

    fn apply_sink(&mut self, sink: &SinkAdd) -> Result<usize, Refused> {
        if self.has_sink(sink) {
            self.desk.adopt_sink(&sink.name);
            self.sessions.forget_sink(&sink.name);
            return Ok(0);
        }
        self.desk.add_sink(&SinkAdd { life: Life::Config, ..sink.clone() })?;
        Ok(1)
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

/// Whether a passive entry is what a configuration asks for.
fn is(row: &punt::control::types::PassiveRow, it: &PassiveSet) -> bool {
    (row.family, &row.interface, &row.sink, &row.redirect)
        == (it.family, &it.interface, &it.sink, &it.redirect)
        && (row.via, row.drop) == (it.via, it.drop)
        && limit_of(row.rate, row.burst) == limit_of(it.rate, it.burst)
}

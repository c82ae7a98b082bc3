//! Policers as an operator sets them: of a reason, a sink, a registration or a passive entry.

use std::sync::Arc;

use super::registrations::limit_or_none;
use super::{Desk, Refused};
use crate::class::Class;
use crate::control::types::{ClassSet, Policed, PolicerRow, PolicerSet, ReasonSet};
use crate::policer::{Config, Policer, Verdict};

impl Desk {
    /// Sets the minimum and the cap of a class.
    ///
    /// # Errors
    /// If they cannot be together with the others.
    pub fn set_class(&mut self, wanted: &ClassSet) -> Result<(), Refused> {
        wanted.check()?;
        let (min, cap) = self.budget.shape().classes[wanted.name as usize];
        let (min, cap) = (wanted.min.map_or(min, u64::from), wanted.cap.unwrap_or(cap));
        let done = self.budget.set(wanted.name, min, cap, (self.now)());
        done.map_err(|error| Refused(format!("class {}: {error}", wanted.name)))?;
        self.state.set_classes.retain(|set| set.name != wanted.name);
        let min = u32::try_from(min).ok();
        self.state.set_classes.push(ClassSet { name: wanted.name, min, cap: Some(cap) });
        Ok(())
    }

    /// Sets a policer.
    ///
    /// # Errors
    /// If what it is to police is not there, or its figures make no sense.
    pub fn set_policer(&mut self, wanted: &PolicerSet) -> Result<(), Refused> {
        let config = wanted.config()?;
        if let Policed::Reason(name) = &wanted.what
            && let Some(reason) = self.named(name).and_then(|at| self.by_index(at))
        {
            demotes(name, &config, reason.class).map_err(Refused)?;
        }
        let now = (self.now)();
        let passives = self.state.passives.clone();
        let policer = self.policer(&wanted.what)?;
        let (was, figures) = (policer.clone(), policer.config());
        if !policer.configure(&config, now) {
            *policer = Arc::new(policer.with_config(&config, now));
        }
        self.reconfigured.push((was.clone(), figures));
        // A red packet may go to another class, whose lanes are to be there.
        let touched = self.policed(&wanted.what);
        self.touched.reasons.extend(&touched);
        if let Err(refused) = touched.iter().try_for_each(|index| self.make_lanes(*index)) {
            was.configure(&figures, now);
            *self.policer(&wanted.what)? = was;
            self.state.passives = passives;
            return Err(refused);
        }
        self.state.set_policers.retain(|set| set.what != wanted.what);
        self.state.set_policers.push(wanted.clone());
        Ok(())
    }

    /// Whether a reason may be of a class, as far as its own policer goes: what that demotes has to go to a lower one.
    ///
    /// # Errors
    /// If it would go to one that is not lower.
    pub fn check_class(&self, wanted: &ReasonSet) -> Result<(), Refused> {
        let reason = self.named(&wanted.name).and_then(|at| self.by_index(at));
        let Some((reason, class)) = reason.zip(wanted.class) else { return Ok(()) };
        demotes(&wanted.name, &reason.policer.config(), class).map_err(Refused)
    }

    /// Takes back what was set of a policer: it has again the limit that what it polices was made with. What is no more has none.
    pub fn reset_policer(&mut self, what: &Policed) {
        self.forget_policer(what);
        let limit = match what {
            Policed::Reason(name) => self.named(name).and_then(|at| self.by_index(at)).map(|it| it.limit()),
            Policed::Sink(name) => self.state.sinks.get(name).map(|it| limit_or_none(it.limit)),
            Policed::Registration(id) => {
                self.state.registrations.get(id).map(|it| limit_or_none(it.wanted.limit))
            }
            Policed::Passive { family, .. } => {
                let family = *family;
                let Some(entry) = self.state.passives.iter_mut().find(|it| it.policed() == *what) else {
                    return;
                };
                if entry.limit.is_none() {
                    // It was made without a policer: its reason's holds, and is not lifted.
                    entry.policer = None;
                    let touched = self.unclaimed(family);
                    self.touched.reasons.extend(touched);
                    return;
                }
                entry.limit
            }
        };
        let Some(limit) = limit else { return };
        let (config, now) = (Config::packets(limit.rate, limit.burst), (self.now)());
        let Ok(policer) = self.policer(what) else { return };
        let (was, figures) = (policer.clone(), policer.config());
        if !policer.configure(&config, now) {
            *policer = Arc::new(policer.with_config(&config, now));
        }
        self.reconfigured.push((was, figures));
        let touched = self.policed(what);
        self.touched.reasons.extend(touched);
    }

    /// What was policed is no more.
    pub(super) fn forget_policer(&mut self, what: &Policed) {
        self.state.set_policers.retain(|set| set.what != *what);
    }

    /// The reasons whose entries have the policer of something.
    pub(super) fn policed(&self, what: &Policed) -> Vec<u32> {
        match what {
            Policed::Reason(name) => self.named(name).into_iter().collect(),
            Policed::Sink(name) => {
                let passive = self.state.passives.iter().filter(|it| it.sink() == Some(name));
                let registrations = self.state.registrations.values().filter(|it| it.wanted.sink == *name);
                let mut reasons: Vec<u32> = registrations.flat_map(|it| self.seen_by(&it.interest)).collect();
                reasons.extend(passive.flat_map(|it| self.unclaimed(it.family)));
                reasons
            }
            Policed::Registration(id) => {
                self.state.registrations.get(id).map_or_else(Vec::new, |it| self.seen_by(&it.interest))
            }
            Policed::Passive { family, .. } => self.unclaimed(*family),
        }
    }

    /// The policer of something.
    fn policer(&mut self, what: &Policed) -> Result<&mut Arc<Policer>, Refused> {
        match what {
            Policed::Reason(name) => {
                let index = self.named(name).ok_or_else(|| self.no_reason(name))?;
                let missing = self.no_reason(name);
                Ok(&mut Arc::make_mut(self.reason_mut(index).ok_or(missing)?).policer)
            }
            Policed::Sink(name) => {
                let missing = self.no_sink(name);
                self.state.sinks.get_mut(name).map(|sink| &mut sink.policer).ok_or(missing)
            }
            Policed::Registration(id) => self
                .state
                .registrations
                .get_mut(id)
                .map(|registration| &mut Arc::make_mut(registration).policer)
                .ok_or_else(|| {
                    Refused(format!("there is no registration {id}; puntctl registration list shows them"))
                }),
            Policed::Passive { family, interface } => {
                let unlimited = self.unlimited();
                let entry = self.state.passives.iter_mut().find(|entry| {
                    entry.family == *family
                        && entry.interface.as_ref().map(|(_, name)| name) == interface.as_ref()
                });
                let entry = entry.ok_or_else(|| {
                    Refused(format!("nothing is set for {what}; puntctl passive list shows what is"))
                })?;
                Ok(entry.policer.get_or_insert(unlimited))
            }
        }
    }

    /// The figures of a policer that somebody has set.
    pub fn set_policer_of(&self, what: &Policed) -> Option<Config> {
        self.state.set_policers.iter().find(|set| set.what == *what)?;
        Some(match what {
            Policed::Reason(name) => self.by_index(self.named(name)?)?.policer.config(),
            Policed::Sink(name) => self.state.sinks.get(name)?.policer.config(),
            Policed::Registration(id) => self.state.registrations.get(id)?.policer.config(),
            Policed::Passive { .. } => {
                let entry = self.state.passives.iter().find(|entry| entry.policed() == *what)?;
                entry.policer.as_ref()?.config()
            }
        })
    }

    /// Classes and policers that were set.
    pub fn set_limits(&self) -> (Vec<ClassSet>, Vec<PolicerSet>) {
        (self.state.set_classes.clone(), self.state.set_policers.clone())
    }

    /// Every policer that limits anything.
    pub fn policer_rows(&self) -> Vec<PolicerRow> {
        let mut rows = Vec::new();
        for (_, reason) in self.reasons() {
            rows.push(row(Policed::Reason(reason.name().to_owned()), &reason.policer.config()));
        }
        for (name, sink) in &self.state.sinks {
            rows.push(row(Policed::Sink(name.clone()), &sink.policer.config()));
        }
        for (id, registration) in &self.state.registrations {
            rows.push(row(Policed::Registration(*id), &registration.policer.config()));
        }
        for entry in &self.state.passives {
            if let Some(policer) = &entry.policer {
                rows.push(row(entry.policed(), &policer.config()));
            }
        }
        rows
    }
}

/// Whether a policer of that reason, which is of that class, demotes to lower ones only.
fn demotes(name: &str, config: &Config, class: Class) -> Result<(), String> {
    for (colour, verdict) in [("yellow", config.yellow), ("red", config.red)] {
        let Verdict::Demote(lower) = verdict else { continue };
        if lower >= class {
            let below: Vec<String> =
                Class::ALL.into_iter().filter(|it| *it < class).map(|it| format!("demote:{it}")).collect();
            return Err(format!(
                "--{colour} of reason:{name} is {verdict}, and its class {class} is not above that; write {}pass or drop",
                below.iter().rev().map(|it| format!("{it}, ")).collect::<String>()
            ));
        }
    }
    Ok(())
}

fn row(what: Policed, config: &Config) -> PolicerRow {
    let Config { kind, unit, rate, burst, peak, excess, yellow, red } = *config;
    PolicerRow {
        what,
        kind,
        unit,
        rate,
        burst,
        peak,
        excess,
        yellow: (kind != crate::policer::Kind::Single).then_some(yellow),
        red,
    }
}

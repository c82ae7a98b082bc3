//! What is set of punting, of the lives *config* and *operator*, as a configuration asks for it. What no file could bring back is left out, with
//! a comment that says so.

use punt::control::types::{
    Life, PassiveRow, PassiveSet, Policed, PolicerSet, ReasonSet, Register, RegistrationRow, SinkAdd,
};
use punt::desk::Desk;
use punt::matching::{Match, covers};

use super::names::numbered;
use crate::config::write;
use crate::control::Control;

/// What goes into the file.
struct Saved<'a> {
    desk: &'a Desk,
    sinks: Vec<String>,
    /// Registrations, in the order of the file.
    ids: Vec<u32>,
    /// Those that ask for packets by reason: they are made when those that make reasons are there.
    by_reason: Vec<u32>,
}

impl Saved<'_> {
    /// What a reason is called in the file; none if nothing in the file makes it.
    fn name(&self, name: &str) -> Option<String> {
        let Some(makers) = self.desk.makers(name) else { return Some(name.to_owned()) };
        let place = self.ids.iter().position(|id| makers.contains(id))?;
        Some(match numbered(name) {
            Some((base, _)) => format!("{base}@{}", place + 1),
            None => name.to_owned(),
        })
    }

    /// A match as the file has it; none if it is for reasons that nothing in the file makes.
    fn matching(&self, matching: &Match) -> Option<Match> {
        let Match::Reason(pattern) = matching else { return Some(matching.clone()) };
        if numbered(pattern).is_some() {
            // It may be gone, and the pattern stays.
            self.desk.makers(pattern)?;
            return self.name(pattern).map(Match::Reason);
        }
        let mut made = self
            .ids
            .iter()
            .filter(|id| !self.by_reason.contains(id))
            .filter_map(|id| self.desk.reason_of(*id));
        let is_there = self.desk.covers_built_in(pattern) || made.any(|name| covers(pattern, name));
        is_there.then(|| matching.clone())
    }

    /// What a policer is of in the file; none if that is not there.
    fn policed(&self, what: &Policed, passives: &[Policed]) -> Option<Policed> {
        match what {
            Policed::Reason(name) => self.name(name).map(Policed::Reason),
            Policed::Sink(name) => self.sinks.contains(name).then(|| what.clone()),
            Policed::Registration(id) => {
                let place = self.ids.iter().position(|saved| saved == id)?;
                Some(Policed::Registration(place as u32 + 1))
            }
            Policed::Passive { .. } => passives.contains(what).then(|| what.clone()),
        }
    }
}

impl Control {
    /// What is set of punting, of the lives *config* and *operator*, as a configuration asks for it.
    pub(in crate::control) fn punting_text(&self) -> String {
        let mut punt = self.applied.punt.clone();
        punt.budget = self.desk.budget().shape().total;
        let mut text = write::punting(&punt);
        let mut saved = Saved { desk: &self.desk, sinks: Vec::new(), ids: Vec::new(), by_reason: Vec::new() };
        for row in self.desk.sink_rows().into_iter().filter(|row| row.life != Life::Session) {
            if row.target.interface().is_some_and(|name| self.model.index(name).is_none()) {
                let gone = row.target.interface().unwrap_or_default();
                text += &left_out(&format!("sink {}", row.name), &no_interface(gone));
                continue;
            }
            saved.sinks.push(row.name.clone());
            let (name, target, rate, burst) = (row.name, row.target, row.rate, row.burst);
            text += &write::sink(&SinkAdd { name, target, rate, burst, life: Life::Config });
        }
        text += &self.registrations_text(&mut saved);
        let (passives, passive_text) = self.passives_text(&saved);
        text += &passive_text;
        for reason in self.desk.set_reasons() {
            let what = format!("what is set of the reason {}", reason.name);
            text += &match saved.name(&reason.name) {
                Some(name) => write::reason(&ReasonSet { name, ..reason }),
                None => left_out(&what, "nothing in this file makes that"),
            };
        }
        let (classes, mut policers) = self.desk.set_limits();
        let there = self.desk.policer_rows();
        policers.retain(|policer| there.iter().any(|row| row.what == policer.what));
        classes.iter().for_each(|class| text += &write::class(class));
        for policer in policers {
            text += &match saved.policed(&policer.what, &passives) {
                Some(what) => write::policer(&PolicerSet { what, ..policer }),
                None => left_out(&format!("the policer of {}", policer.what), "that is not in this file"),
            };
        }
        text
    }

    fn registrations_text(&self, saved: &mut Saved) -> String {
        let rows = self.desk.registration_rows();
        let rows: Vec<RegistrationRow> = rows.into_iter().filter(|row| row.life != Life::Session).collect();
        let why_not = |saved: &Saved, row: &RegistrationRow| {
            if !saved.sinks.contains(&row.sink) {
                return Some(no_sink(&row.sink));
            }
            let gone = row.interface.as_ref().filter(|name| self.model.index(name).is_none());
            gone.map(|name| no_interface(name)).or_else(|| {
                let is_there = saved.matching(&row.r#match).is_some();
                (!is_there).then(|| "nothing in this file makes such a reason".to_owned())
            })
        };
        // One that goes may have made the reason of another.
        saved.ids = rows.iter().map(|row| row.id).collect();
        let by_reason = rows.iter().filter(|row| matches!(row.r#match, Match::Reason(_)));
        saved.by_reason = by_reason.map(|row| row.id).collect();
        loop {
            let left: Vec<u32> = rows
                .iter()
                .filter(|row| saved.ids.contains(&row.id) && why_not(saved, row).is_none())
                .map(|row| row.id)
                .collect();
            if left.len() == saved.ids.len() {
                break;
            }
            saved.ids = left;
        }
        let text = rows.into_iter().map(|row| match why_not(saved, &row) {
            Some(why) => {
                left_out(&format!("the registration of {} for sink {}", row.r#match, row.sink), &why)
            }
            None => write::register(&Register {
                r#match: saved.matching(&row.r#match).unwrap_or(row.r#match),
                sink: row.sink,
                rate: row.rate,
                burst: row.burst,
                interface: row.interface,
                source: row.source,
                snaplen: row.snaplen,
                exclusive: row.exclusive,
                life: Life::Config,
            }),
        });
        text.collect()
    }

    /// The passive punt; which entries of it, and as text.
    fn passives_text(&self, saved: &Saved) -> (Vec<Policed>, String) {
        let (mut there, mut text) = (Vec::new(), String::new());
        for row in self.desk.passive_rows() {
            let PassiveRow { family, interface, sink, redirect, via, drop, rate, burst, .. } = row;
            let what = Policed::Passive { family, interface: interface.clone() };
            let sink_gone =
                sink.as_ref().filter(|sink| !saved.sinks.contains(sink)).map(|sink| no_sink(sink));
            let gone =
                [&interface, &redirect].into_iter().flatten().find(|name| self.model.index(name).is_none());
            let gone = gone.map(|name| no_interface(name));
            if let Some(why) = sink_gone.or(gone) {
                text += &left_out(&what.to_string(), &why);
                continue;
            }
            there.push(what);
            text +=
                &write::passive(&PassiveSet { family, interface, sink, redirect, via, drop, rate, burst });
        }
        (there, text)
    }
}

/// A comment about what no file could bring back.
fn left_out(what: &str, why: &str) -> String {
    let line = format!("{what} is left out: {why}");
    format!("\n# {}\n", line.replace(char::is_control, " "))
}

fn no_sink(name: &str) -> String {
    format!("the sink {name} is a session's, and ends with that")
}

fn no_interface(name: &str) -> String {
    format!("there is no interface {name} any more")
}

//! What a configuration asks for of punting, asked for at a desk of its own that opens nothing: so what the engine would refuse is known
//! without it, and each fault with its line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use punt::Target;
use punt::clock::Clock;
use punt::control::types::{ClassSet, Life, PassiveSet, Policed, PolicerSet, ReasonSet, Register, SinkAdd};
use punt::desk::{self, ByHand, Desk, Means, Open, Static, Towards, Wanted, limit_of};
use punt::place::Place;
use punt::sink::{Settled, Sink};

use crate::config::{Config, Part};
use crate::control::names;
use crate::quiescent::Domain;

/// What others have set already, beside what the configuration says.
#[derive(Default)]
pub struct Others {
    /// Sinks.
    pub sinks: Vec<SinkAdd>,
    /// Registrations, with whose they are and their ids, which rise.
    pub registers: Vec<(Register, String, u32)>,
    /// Classes.
    pub classes: Vec<ClassSet>,
    /// What all rings of the engine that runs may take, in bytes.
    pub memory: Option<u64>,
    /// The control socket.
    pub socket: Option<PathBuf>,
}

/// Everything that the engine would refuse of what `config` says of punting, a sentence each; with `workers` workers, of which there is one at
/// least, and these reasons in its graph.
pub fn rehearse(config: &Config, statics: Vec<Static>, workers: usize, others: &Others) -> Vec<String> {
    let setup = desk::Setup {
        tables: Arc::new(desk::Tables::new(statics.len())),
        domain: Domain::new(0),
        workers,
        now: || 0,
        clock: Arc::new(Clock::new(1_000_000_000, 0)),
        means: Box::new(Nothing {
            directory: PathBuf::from(&config.punt.directory),
            socket: others.socket.clone(),
        }),
        // Rings are made here, too: whoever asks may not have more made than the engine would.
        memory: config.punt.memory.0.min(others.memory.unwrap_or(u64::MAX)) as usize,
        fairness: Vec::new(),
    };
    let desk = Desk::new(setup, statics);
    let ids = vec![None; config.registers.len()];
    let (refused, indices, faults) = (Vec::new(), HashMap::new(), Vec::new());
    let mut rehearsal = Rehearsal { config, desk, ids, refused, indices, faults };
    rehearsal.run(others);
    rehearsal.faults
}

struct Rehearsal<'a> {
    config: &'a Config,
    desk: Desk,
    /// The registrations of the file, by place.
    ids: Vec<Option<u32>>,
    /// Those of them that were refused.
    refused: Vec<usize>,
    indices: HashMap<String, u32>,
    faults: Vec<String>,
}

impl Rehearsal<'_> {
    /// In the order in which the engine does it. What others have is there already: whatever of it does not fit here is theirs to bear.
    fn run(&mut self, others: &Others) {
        let config = self.config;
        for sink in &others.sinks {
            let _ = self.desk.add_sink(sink);
        }
        let classes: Vec<ClassSet> = others.classes.iter().chain(&config.classes).cloned().collect();
        if let Err(error) = self.desk.set_budget(config.punt.budget, &[], &classes) {
            self.faults.push(config.over_budget(error));
        }
        for (place, it) in config.sinks.iter().enumerate() {
            let added = self.desk.add_sink(it);
            self.note(Part::Sink(place), "target", added);
        }
        for (it, owner, id) in &others.registers {
            self.desk.count_from(*id);
            let wanted = self.wanted(it, Life::Operator, owner);
            let _ = self.desk.register(wanted);
        }
        for place in names::in_order(&config.registers) {
            self.register(place, &config.registers[place]);
        }
        for (place, it) in config.passives.iter().enumerate() {
            let set = self.passive(it);
            self.note(Part::Passive(place), if it.sink.is_some() { "sink" } else { "" }, set);
        }
        for (place, it) in config.reasons.iter().enumerate() {
            if self.is_missing(names::place_of(&it.name)) {
                continue;
            }
            let name = names::now(&self.desk, &self.ids, &it.name).map_err(desk::Refused);
            let set = name.and_then(|name| self.desk.set_reason(&ReasonSet { name, ..it.clone() }));
            // A slip of the name stands in the head of the table, one of the action at its key.
            let of_action = set.as_ref().is_err_and(|refused| refused.0.contains("cannot have action"));
            self.note(Part::Reason(place), if of_action { "action" } else { "" }, set);
        }
        for (place, it) in config.policers.iter().enumerate() {
            let of = match &it.what {
                Policed::Registration(place) => Some(*place),
                Policed::Reason(name) => names::place_of(name),
                _ => None,
            };
            if self.is_missing(of) {
                continue;
            }
            let what = names::policed_now(&self.desk, &self.ids, &it.what).map_err(desk::Refused);
            let set = what.and_then(|what| self.desk.set_policer(&PolicerSet { what, ..it.clone() }));
            self.note(Part::Policer(place), "what", set);
        }
    }

    /// Whether a registration of the file, counted from 1, was refused: what is set of it is no fault of its own.
    fn is_missing(&self, place: Option<u32>) -> bool {
        let at = place.and_then(|place| place.checked_sub(1));
        at.is_some_and(|at| self.refused.contains(&(at as usize)))
    }

    fn register(&mut self, place: usize, it: &Register) {
        let it = names::register_now(&self.desk, &self.ids, it).map_err(desk::Refused);
        let made = it.and_then(|it| {
            let wanted = self.wanted(&it, Life::Config, "this file");
            self.desk.register(wanted)
        });
        match made {
            Ok(id) => self.ids[place] = Some(id),
            Err(refused) => {
                self.refused.push(place);
                self.note(Part::Register(place), "match", Err(refused));
            }
        }
    }

    fn wanted(&mut self, it: &Register, life: Life, owner: &str) -> Wanted {
        Wanted {
            matching: it.r#match.clone(),
            sink: it.sink.clone(),
            limit: limit_of(it.rate, it.burst),
            interface: self.interface(it.interface.as_deref()),
            source: it.source,
            snaplen: it.snaplen,
            exclusive: it.exclusive,
            life,
            owner: owner.to_owned(),
        }
    }

    fn passive(&mut self, it: &PassiveSet) -> Result<(), desk::Refused> {
        let interface = self.interface(it.interface.as_deref());
        let to = match (&it.sink, &it.redirect) {
            (Some(sink), _) => Towards::Sink(sink.clone()),
            (None, Some(redirect)) => Towards::Redirect { interface: redirect.clone(), via: it.via, way: 0 },
            (None, None) => Towards::Drop,
        };
        self.desk.set_passive(it.family, interface, to, it.rate, it.burst, Life::Config)
    }

    /// A number for an interface: which does not matter, but it is another for each.
    fn interface(&mut self, name: Option<&str>) -> Option<(u32, String)> {
        let next = self.indices.len() as u32 + 1;
        name.map(|name| (*self.indices.entry(name.to_owned()).or_insert(next), name.to_owned()))
    }

    fn note(&mut self, part: Part, field: &str, done: Result<(), desk::Refused>) {
        if let Err(refused) = done {
            self.faults.push(self.config.fault(part, field, &refused.0));
        }
    }
}

/// Opens no target, but tells two from one.
struct Nothing {
    directory: PathBuf,
    socket: Option<PathBuf>,
}

impl Means for Nothing {
    fn open(&self, _: Arc<Sink>, _: &Target) -> Result<Arc<dyn Open>, String> {
        Ok(Arc::new(ByHand))
    }

    fn name(&self, _: u32, _: Option<&str>) {}

    fn settle(&self, _: u32, _: Option<Arc<Settled>>) {}

    fn place(&self, target: &Target) -> Option<Place> {
        Place::of(target, &self.directory)
    }

    fn own(&self, place: &Place) -> Option<String> {
        control_socket(self.socket.as_deref()?, place)
    }
}

/// What there is at a place if it is the control socket's.
pub fn control_socket(socket: &Path, place: &Place) -> Option<String> {
    let socket = std::path::absolute(socket).unwrap_or_else(|_| socket.to_owned());
    let is_there = Place::of_socket(&socket.display().to_string()).meets(place);
    is_there.then(|| "the control socket".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Plan;
    use crate::nodes::{self, transmit::Transmit};

    fn faults_beside(text: &str, others: &Others) -> Vec<String> {
        let config = Config::parse(text, "f").expect("each part is right");
        let stages = nodes::all(Transmit::<dpdk_sys::TxQueue>::new(Vec::new(), 1));
        let plan = Plan::new(&stages, 1).expect("the graph is wired rightly");
        rehearse(&config, crate::reasons::statics(&plan), 1, others)
    }

    const SINKS: &str =
        "[[sink]]\nname = \"a\"\ntarget = \"null\"\n[[sink]]\nname = \"b\"\ntarget = \"null\"\n";

    #[test]
    fn what_the_engine_would_refuse_is_found_without_it_with_line_and_key() {
        for (text, fault) in [
            (
                "[reason.\"ip4.nope\"]\nrate = 1",
                "f:7: reason.\"ip4.nope\": there is no reason ip4.nope; puntctl reason list shows those of ip4 and all others",
            ),
            (
                "[reason.\"ip4.ttl-expired\"]\nrate = 1\naction = \"copy\"",
                "f:9: reason.\"ip4.ttl-expired\".action: ip4.ttl-expired cannot have action copy, for its packets can go no further; write trap or drop",
            ),
            (
                "[[register]]\nsink = \"a\"\nmatch = \"reason:nope\"",
                "f:9: register.match: there is no reason nope; puntctl reason list shows those of nope and all others",
            ),
            (
                "[[register]]\nmatch = \"reason:nope.*\"\nsink = \"a\"",
                "f:8: register.match: there is no reason nope.*; puntctl reason list shows those of nope and all others",
            ),
            (
                "[[policer]]\ntype = \"single\"\nwhat = \"reason:nope\"\nrate = 1\nburst = 1",
                "f:9: policer.what: there is no reason nope; puntctl reason list shows those of nope and all others",
            ),
            (
                "[[register]]\nmatch = \"udp:5\"\nsink = \"a\"\nexclusive = true\n[[register]]\nmatch = \"udp:5\"\nsink = \"b\"",
                "f:12: register.match: udp:5 is in the way of the exclusive registration 1 (udp:5 for sink a, by this file); unregister that first",
            ),
            (
                "[punt]\nmemory = \"1 MiB\"\n[[register]]\nmatch = \"tcp:179\"\nsink = \"a\"\n[[register]]\nmatch = \"tcp:179\"\nsink = \"b\"",
                "f:13: register.match: the rings of sink b for class route take 1024 KiB, and of [punt] memory, 1024 KiB, 1024 are used; allow more",
            ),
            (
                "[[register]]\nmatch = \"reason:local.bfd@2\"\nsink = \"a\"",
                "f:8: register.match: local.bfd@2 is of the 2. [[register]] of this file, which has 1; count from 1",
            ),
            (
                "[[register]]\nmatch = \"udp:5\"\nsink = \"a\"\n[reason.\"local.bfd@1\"]\nrate = 5",
                "f:10: reason.\"local.bfd@1\": local.bfd@1 is not made by the 1. [[register]] of this file; that has local.udp-5",
            ),
        ] {
            assert_eq!(faults_beside(&format!("{SINKS}{text}"), &Others::default()), [fault], "{text}");
        }
    }

    #[test]
    fn what_others_have_is_in_the_way() {
        let register = serde_json::from_str(r#"{"match":"udp:5","sink":"c","exclusive":true}"#);
        let sink = serde_json::from_str(r#"{"name":"c","target":"unix:/run/c"}"#);
        let others = Others {
            sinks: vec![sink.expect("a sink")],
            registers: vec![(register.expect("a registration"), "operator".to_owned(), 17)],
            socket: Some("/run/puntd.sock".into()),
            ..Others::default()
        };
        let text = "[[sink]]\nname = \"a\"\ntarget = \"unix:/run/./c\"\n[[register]]\nmatch = \"udp:5\"\nsink = \"a\"";
        assert_eq!(
            faults_beside(text, &others)[0],
            "f:3: sink.target: sink c goes to unix:/run/c already; write another target"
        );
        let text = "[[sink]]\nname = \"a\"\ntarget = \"shm:/run/./puntd.sock\"";
        assert_eq!(
            faults_beside(text, &others),
            ["f:3: sink.target: shm:/run/./puntd.sock is the control socket; write another target"]
        );
        // What the file sets of what is refused is no fault of its own.
        let rest = "[[policer]]\nwhat = \"registration:1\"\ntype = \"single\"\nrate = 1\nburst = 1\n[reason.\"local.bfd@1\"]\nrate = 1\n";
        let text = format!("{SINKS}[[register]]\nmatch = \"udp:5\"\nsink = \"a\"\n{rest}");
        assert_eq!(
            faults_beside(&text, &others),
            [
                "f:8: register.match: udp:5 is in the way of the exclusive registration 17 (udp:5 for sink c, by operator); unregister that first"
            ]
        );
        // What an operator set of classes counts.
        let link = || serde_json::from_str(r#"{"name":"link","min":20,"cap":100}"#).expect("a class");
        let others = Others { classes: vec![link()], ..Others::default() };
        let fault = "f:2: class.link.min: the minimum of class link is 5000, above its cap of 100; raise the cap or lower the minimum";
        assert_eq!(faults_beside("[class.link]\nmin = 5000", &others), [fault]);
    }

    #[test]
    fn no_more_rings_are_made_than_the_engine_has_room_for() {
        let others = Others { memory: Some(1 << 20), ..Others::default() };
        let text = format!(
            "{SINKS}[punt]\nmemory = \"1 TiB\"\n[[register]]\nmatch = \"tcp:179\"\nsink = \"a\"\n[[register]]\nmatch = \"tcp:179\"\nsink = \"b\""
        );
        let faults = faults_beside(&text, &others);
        assert!(faults[0].contains("of [punt] memory, 1024 KiB, 1024 are used"), "{faults:?}");
    }

    #[test]
    fn registrations_ask_for_what_others_of_the_file_make_wherever_they_stand() {
        let text = "[[register]]\nmatch = \"reason:local.udp-5000\"\nsink = \"a\"\n\
            [[register]]\nmatch = \"reason:local.bfd@4\"\nsink = \"a\"\n\
            [[register]]\nmatch = \"udp:5000\"\nsink = \"b\"\n\
            [[register]]\nmatch = \"udp:3784\"\nsource = \"10.0.0.7\"\nsink = \"b\"\n\
            [reason.\"local.bfd@4\"]\nrate = 7\nburst = 9\n\
            [[policer]]\nwhat = \"reason:local.bfd@4\"\ntype = \"single\"\nrate = 5\nburst = 5\n";
        assert_eq!(faults_beside(&format!("{SINKS}{text}"), &Others::default()), Vec::<String>::new());
    }
}

//! Where a configuration stands in its file, for what is found wrong with it after it was read.

use std::sync::Arc;

use punt::policer::BudgetError;

use super::parse::Places;
use super::{Config, ConfigError};

/// Where the parts of a configuration stand in its file. All are alike: a configuration is what it says, wherever that stands.
#[derive(Clone, Default)]
pub struct Origin(Option<Arc<Text>>);

struct Text {
    file: String,
    places: Places,
    /// Where each line ends.
    ends: Vec<usize>,
}

/// A part of a configuration, by its place in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `[interface.NAME]`.
    Interface(usize),
    /// `[[neighbor]]`.
    Neighbor(usize),
    /// `[[route]]`.
    Route(usize),
    /// `[punt]`.
    Punt,
    /// `[[sink]]`.
    Sink(usize),
    /// `[[register]]`.
    Register(usize),
    /// `[[passive]]`.
    Passive(usize),
    /// `[reason."NAME"]`.
    Reason(usize),
    /// `[class.NAME]`.
    Class(usize),
    /// `[[policer]]`.
    Policer(usize),
}

impl Origin {
    pub(super) fn new(text: &str, file: &str, places: Places) -> Origin {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        Origin(Some(Arc::new(Text { file: file.to_owned(), places, ends })))
    }
}

impl Config {
    /// What is wrong with a part of it; `field` is the key in it whose value it is, or nothing if it is no single one. As a sentence with file, line
    /// and key, as far as these are known.
    pub fn fault(&self, part: Part, field: &str, fault: &str) -> String {
        match self.error(part, field, fault) {
            Some(error) => error.to_string(),
            None => fault.to_owned(),
        }
    }

    /// The same, for a configuration that was read from a file.
    pub fn error(&self, part: Part, field: &str, fault: &str) -> Option<ConfigError> {
        let Text { file, places, ends } = self.origin.0.as_deref()?;
        let of = |places: &[super::parse::ItemPlaces], at: usize| places.get(at).map(|it| it.of(field));
        let named = |section: &str, name: Option<&str>| {
            let name = name.map(super::write::key).unwrap_or_default();
            format!("{section}.{name}")
        };
        let (section, at) = match part {
            Part::Interface(at) => (
                named("interface", self.interfaces.get(at).map(|it| it.name.as_str())),
                places.interfaces.get(at).map(|it| match field {
                    "addresses" => it.addresses.first().copied().unwrap_or(it.at),
                    "mtu" => it.mtu,
                    _ => it.at,
                }),
            ),
            Part::Neighbor(at) => (
                "neighbor".to_owned(),
                places.neighbors.get(at).map(|it| if field == "address" { it.address } else { it.at }),
            ),
            Part::Route(at) => (
                "route".to_owned(),
                places.routes.get(at).map(|it| if field == "via" { it.via } else { it.at }),
            ),
            Part::Punt => ("punt".to_owned(), Some(places.punt.of(field))),
            Part::Sink(at) => ("sink".to_owned(), of(&places.sinks, at)),
            Part::Register(at) => ("register".to_owned(), of(&places.registers, at)),
            Part::Passive(at) => ("passive".to_owned(), of(&places.passives, at)),
            Part::Reason(at) => {
                (named("reason", self.reasons.get(at).map(|it| it.name.as_str())), of(&places.reasons, at))
            }
            Part::Class(at) => {
                let name = self.classes.get(at).map(|it| it.name.to_string());
                (named("class", name.as_deref()), of(&places.classes, at))
            }
            Part::Policer(at) => ("policer".to_owned(), of(&places.policers, at)),
        };
        let line = 1 + ends.partition_point(|end| *end < at.unwrap_or(0));
        let key = if field.is_empty() { section } else { format!("{section}.{field}") };
        Some(ConfigError { file: file.clone(), line, key, fault: fault.to_owned() })
    }

    /// The sentence about a budget and classes that cannot be together, with the place of what is to blame.
    pub fn over_budget(&self, error: BudgetError) -> String {
        let of_class = |class| self.classes.iter().position(|it| it.name == class).map(Part::Class);
        let class = match error {
            BudgetError::Cap { class, .. } => of_class(class),
            BudgetError::Total { .. } => None,
        };
        let (part, field) = class.map_or((Part::Punt, "budget"), |part| (part, "min"));
        self.fault(part, field, &error.to_string())
    }

    /// What the file that it was read from is called.
    pub fn file(&self) -> Option<&str> {
        self.origin.0.as_deref().map(|text| text.file.as_str())
    }
}

impl PartialEq for Origin {
    fn eq(&self, _: &Origin) -> bool {
        true
    }
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Origin")
    }
}

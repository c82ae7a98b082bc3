//! From TOML to a [`Config`], section by section. What does not fit together is found afterwards, in [`check`](super::check).

mod interface;
mod link;
mod neighbor;
mod passive;
mod policer;
mod punt;
#[cfg(test)]
mod punting_tests;
mod reason;
mod register;
mod route;
mod sink;
mod tables;
#[cfg(test)]
mod tests;

use toml::de::DeTable;

pub use interface::{MAX_MTU, MIN_MTU};
pub use link::implied;

use super::read::{Fields, Placed, Reader};
use super::{Config, ConfigError, Origin, check};

/// Where the items of a configuration stand, beside it and in the same order.
#[derive(Default)]
pub struct Places {
    pub interfaces: Vec<InterfacePlaces>,
    pub neighbors: Vec<NeighborPlaces>,
    pub routes: Vec<RoutePlaces>,
    pub tables: ItemPlaces,
    pub sinks: Vec<ItemPlaces>,
    pub registers: Vec<ItemPlaces>,
    pub passives: Vec<ItemPlaces>,
    pub punt: ItemPlaces,
    pub reasons: Vec<ItemPlaces>,
    pub classes: Vec<ItemPlaces>,
    pub policers: Vec<ItemPlaces>,
    /// Whether each sink was read whole, so that what refers to it can be judged.
    pub sinks_are_whole: bool,
    /// Whether each interface was read whole, so that what refers to it can be judged.
    pub interfaces_are_whole: bool,
}

/// Where one interface stands, and those of its fields that others depend on.
pub struct InterfacePlaces {
    pub at: usize,
    pub mtu: usize,
    pub addresses: Vec<usize>,
}

/// Where a neighbour stands, and those of its fields that may not fit with others.
pub struct NeighborPlaces {
    pub at: usize,
    pub address: usize,
    pub mac: usize,
    pub interface: usize,
}

/// Where a route stands, and those of its fields that may not fit with others. There may be a million.
pub struct RoutePlaces {
    pub at: usize,
    pub via: usize,
    pub dev: usize,
}

/// Where an item stands, and each of its fields.
#[derive(Default)]
pub struct ItemPlaces {
    pub at: usize,
    pub fields: Vec<(Box<str>, usize)>,
}

impl ItemPlaces {
    /// Where this field stands, or the item if it does not have it.
    pub fn of(&self, field: &str) -> usize {
        let field = self.fields.iter().find(|(name, _)| **name == *field);
        field.map_or(self.at, |(_, at)| *at)
    }
}

pub fn parse(text: &str, name: &str) -> Result<Config, Vec<ConfigError>> {
    let mut reader = Reader::default();
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        // The word is not in that sentence.
        let word = text.get(span.clone()).filter(|_| error.message() == "duplicate key");
        let word = word.map_or_else(String::new, |word| format!(" {word}; write it once"));
        reader.wrong(span.start, "syntax", format_args!("{}{word}", error.message()));
    }
    let mut config = Config::default();
    if errors.is_empty() {
        let mut places = Places::default();
        root(table.get_ref(), &mut config, &mut places, &mut reader);
        check::check(&config, &places, &mut reader);
        config.origin = Origin::new(text, name, places);
    }
    let wrong = reader.finish(text, name);
    if wrong.is_empty() { Ok(config) } else { Err(wrong) }
}

fn root<'a>(table: &'a DeTable<'a>, config: &mut Config, places: &mut Places, reader: &mut Reader) {
    let mut root = Fields::root(table);
    if let Some(mut eal) = root.table("eal", reader) {
        config.eal = eal.list::<String>("args", reader).into_iter().map(|arg| arg.value).collect();
        eal.finish(reader);
    }
    if let Some(tables) = root.table("tables", reader) {
        places.tables = tables.places();
        config.tables = tables::read(tables, reader);
    }
    let before = reader.count();
    if let Some(interfaces) = root.table("interface", reader) {
        for (name, value) in interfaces.all() {
            let path = interfaces.key(name.value);
            if let Some(fields) = Fields::of(path, value, reader) {
                interface::read(name, fields, config, places, reader);
            }
        }
    }
    places.interfaces_are_whole = reader.count() == before;
    for fields in root.tables("neighbor", reader) {
        neighbor::read(fields, config, places, reader);
    }
    for fields in root.tables("route", reader) {
        route::read(fields, config, places, reader);
    }
    punting(&mut root, config, places, reader);
    root.finish(reader);
}

/// The sections that have to do with punting.
fn punting(root: &mut Fields, config: &mut Config, places: &mut Places, reader: &mut Reader) {
    let before = reader.count();
    for fields in root.tables("sink", reader) {
        sink::read(fields, config, places, reader);
    }
    places.sinks_are_whole = reader.count() == before;
    for fields in root.tables("register", reader) {
        register::read(fields, config, places, reader);
    }
    for fields in root.tables("passive", reader) {
        passive::read(fields, config, places, reader);
    }
    if let Some(section) = root.table("punt", reader) {
        places.punt = section.places();
        config.punt = punt::read(section, reader);
    }
    for (section, read) in [("reason", reason::read_reason as ReadNamed), ("class", reason::read_class)] {
        let Some(named) = root.table(section, reader) else { continue };
        for (name, value) in named.all() {
            if let Some(fields) = Fields::of(named.key(name.value), value, reader) {
                read(name, fields, config, places, reader);
            }
        }
    }
    for fields in root.tables("policer", reader) {
        policer::read(fields, config, places, reader);
    }
}

/// Reads one table of a section whose keys are names.
type ReadNamed = fn(Placed<&str>, Fields, &mut Config, &mut Places, &mut Reader);

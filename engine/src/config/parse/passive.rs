//! `[[passive]]`.

use punt::control::types::PassiveSet;

use super::Places;
use crate::config::Config;
use crate::config::read::{Fields, Host, Reader};

/// Reads one of them.
pub fn read(mut fields: Fields, config: &mut Config, places: &mut Places, reader: &mut Reader) {
    let before = reader.count();
    let family = fields.parsed("family", reader);
    let mut name = |key, reader: &mut Reader| fields.string(key, reader).map(|name| name.value.to_string());
    let interface = name("interface", reader);
    let sink = name("sink", reader);
    let redirect = name("redirect", reader);
    let via = fields.parsed::<Host>("via", reader).map(|via| via.value.0);
    let drop = fields.boolean("drop", reader).unwrap_or(false);
    let rate = fields.quantity("rate", reader).map(|rate| rate.value);
    let burst = fields.number("burst", 1..=u32::MAX, reader).map(|burst| burst.value);
    let (path, at, stands) = (fields.path.clone(), fields.at, fields.places());
    fields.finish(reader);
    if reader.count() > before {
        return;
    }
    let Some(family) = family else {
        return reader.wrong(at, path, "has no family; write ip4, ip6 or other");
    };
    let passive = PassiveSet { family: family.value, interface, sink, redirect, via, drop, rate, burst };
    match passive.check() {
        Err(fault) => reader.wrong(at, path, fault),
        Ok(()) => {
            config.passives.push(passive);
            places.passives.push(stands);
        }
    }
}

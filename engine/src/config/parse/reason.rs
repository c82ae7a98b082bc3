//! `[reason."NAME"]` and `[class.NAME]`: limits other than those that ship.

use punt::control::types::{ClassSet, ReasonSet};
use punt::{Action, Class};

use super::{ItemPlaces, Places};
use crate::config::Config;
use crate::config::read::{Fields, Placed, Reader};

/// Reads one reason. What reasons there are is not known here: some are made at run time.
pub fn read_reason(
    name: Placed<&str>,
    mut fields: Fields,
    config: &mut Config,
    places: &mut Places,
    reader: &mut Reader,
) {
    let before = reader.count();
    let rate = fields.quantity("rate", reader).map(|rate| rate.value);
    let burst = fields.number("burst", 1..=u32::MAX, reader).map(|burst| burst.value);
    let class = fields.parsed("class", reader).map(|class| class.value);
    let action = fields.string("action", reader).and_then(|text| {
        let action =
            [Action::Trap, Action::Copy, Action::Drop].into_iter().find(|it| it.name() == text.value);
        if action.is_none() {
            let fault = format_args!("is {:?}; it is \"trap\", \"copy\" or \"drop\"", text.value);
            reader.wrong(text.at, fields.key("action"), fault);
        }
        action
    });
    // As the flag has it, too.
    let source_rate =
        fields.quantity("source_rate", reader).or_else(|| fields.quantity("source-rate", reader));
    let interface_rate =
        fields.quantity("interface_rate", reader).or_else(|| fields.quantity("interface-rate", reader));
    let sample = fields.number("sample", 1..=u32::MAX, reader).map(|sample| sample.value);
    let path = fields.path.clone();
    let stands = ItemPlaces { at: name.at, ..fields.places() };
    fields.finish(reader);
    if name.value.is_empty() || name.value.contains(|c: char| c.is_whitespace() || c == '*') {
        return reader.wrong(name.at, path, "names no reason; write one as [reason.\"ip4.ttl-expired\"]");
    }
    if reader.count() == before {
        places.reasons.push(stands);
        config.reasons.push(ReasonSet {
            name: name.value.to_string(),
            rate,
            burst,
            class,
            action,
            source_rate: source_rate.map(|rate| rate.value),
            interface_rate: interface_rate.map(|rate| rate.value),
            sample,
        });
    }
}

/// Reads one class.
pub fn read_class(
    name: Placed<&str>,
    mut fields: Fields,
    config: &mut Config,
    places: &mut Places,
    reader: &mut Reader,
) {
    let class: Option<Class> = match name.value.parse() {
        Ok(class) => Some(class),
        Err(error) => {
            reader.wrong(name.at, &fields.path, error);
            None
        }
    };
    let min = fields.number("min", 0..=u32::MAX, reader).map(|min| min.value);
    let cap = fields.quantity("cap", reader).map(|cap| cap.value);
    let stands = ItemPlaces { at: name.at, ..fields.places() };
    fields.finish(reader);
    if let Some(class) = class {
        config.classes.push(ClassSet { name: class, min, cap });
        places.classes.push(stands);
    }
}

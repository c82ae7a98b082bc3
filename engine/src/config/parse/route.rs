//! `[[route]]`.

use punt::Prefix;
use punt::control::types::{Route, RouteAction};

use super::Places;
use crate::config::Config;
use crate::config::read::{Fields, Reader};

/// Reads one of them.
pub fn read(mut fields: Fields, config: &mut Config, places: &mut Places, reader: &mut Reader) {
    let before = reader.count();
    let prefix = fields.parsed::<Prefix>("prefix", reader);
    let via = fields.list("via", reader).into_iter().map(|via| via.value).collect();
    let dev = fields.string("dev", reader).map(|dev| dev.value.to_string());
    let metric = fields.number("metric", 0..=u32::MAX, reader).map(|metric| metric.value);
    let action = fields.string("action", reader).and_then(|text| {
        let action = [RouteAction::Blackhole, RouteAction::Unreachable, RouteAction::Punt];
        let action = action.into_iter().find(|action| action.name() == text.value);
        if action.is_none() {
            let fault = format_args!("is {:?}; it is \"blackhole\", \"unreachable\" or \"punt\"", text.value);
            reader.wrong(text.at, fields.key("action"), fault);
        }
        action
    });
    let (path, at) = (fields.path.clone(), fields.at);
    fields.finish(reader);
    match prefix {
        Some(prefix) if reader.count() == before => {
            config.routes.push(Route { prefix: prefix.value, via, dev, metric, action });
            places.routes.push(at);
        }
        None if reader.count() == before => {
            reader.wrong(at, path, "has no prefix; write one as 10.2.0.0/16 or default")
        }
        _ => {}
    }
}

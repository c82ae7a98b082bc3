//! `[[route]]`.

use punt::Prefix;
use punt::control::types::{Route, RouteAction};

use super::{Places, RoutePlaces};
use crate::config::Config;
use crate::config::read::{Fields, Host, Reader};

/// Reads one of them.
pub fn read(mut fields: Fields, config: &mut Config, places: &mut Places, reader: &mut Reader) {
    let before = reader.count();
    let prefix = fields.parsed::<Prefix>("prefix", reader);
    let via = fields.list::<Host>("via", reader);
    let dev = fields.string("dev", reader);
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
            places.routes.push(RoutePlaces {
                at,
                via: via.first().map_or(at, |via| via.at),
                dev: dev.as_ref().map_or(at, |dev| dev.at),
            });
            let via = via.into_iter().map(|via| via.value.0).collect();
            let dev = dev.map(|dev| dev.value.to_string());
            config.routes.push(Route { prefix: prefix.value, via, dev, metric, action });
        }
        None if reader.count() == before => {
            reader.wrong(at, path, "has no prefix; write one as 10.2.0.0/16 or default")
        }
        _ => {}
    }
}

//! `[[sink]]`.

use punt::control::types::{Life, SinkAdd};

use super::Places;
use crate::config::Config;
use crate::config::read::{Fields, Reader};

/// Reads one of them.
pub fn read(mut fields: Fields, config: &mut Config, places: &mut Places, reader: &mut Reader) {
    let before = reader.count();
    let name = fields.string("name", reader);
    let target = fields.parsed("target", reader);
    let rate = fields.quantity("rate", reader).map(|rate| rate.value);
    let burst = fields.number("burst", 1..=u32::MAX, reader).map(|burst| burst.value);
    let (path, at, stands) = (fields.path.clone(), fields.at, fields.places());
    fields.finish(reader);
    match (name, target) {
        (Some(name), Some(target)) => {
            let sink = SinkAdd {
                name: name.value.to_string(),
                target: target.value,
                rate,
                burst,
                life: Life::Config,
            };
            match sink.check() {
                Err(fault) if reader.count() == before => reader.wrong(at, path, fault),
                _ => {
                    config.sinks.push(sink);
                    places.sinks.push(stands);
                }
            }
        }
        _ if reader.count() == before => {
            reader.wrong(at, path, "is not complete; a sink has name and target");
        }
        _ => {}
    }
}

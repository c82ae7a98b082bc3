//! `[[register]]`.

use punt::control::types::{Life, Register};

use super::Places;
use crate::config::Config;
use crate::config::read::{Fields, Reader};

/// Reads one of them.
pub fn read(mut fields: Fields, config: &mut Config, places: &mut Places, reader: &mut Reader) {
    let before = reader.count();
    let wanted = fields.parsed("match", reader);
    let sink = fields.string("sink", reader);
    let rate = fields.quantity("rate", reader).map(|rate| rate.value);
    let burst = fields.number("burst", 1..=u32::MAX, reader).map(|burst| burst.value);
    let interface = fields.string("interface", reader).map(|name| name.value.to_string());
    let source = fields.parsed("source", reader).map(|source| source.value);
    let snaplen = fields.number("snaplen", 1..=u32::MAX, reader).map(|snaplen| snaplen.value);
    let exclusive = fields.boolean("exclusive", reader).unwrap_or(false);
    let (path, at, stands) = (fields.path.clone(), fields.at, fields.places());
    fields.finish(reader);
    if reader.count() > before {
        return;
    }
    let (Some(wanted), Some(sink)) = (wanted, sink) else {
        return reader.wrong(at, path, "is not complete; a registration has match and sink");
    };
    let register = Register {
        r#match: wanted.value,
        sink: sink.value.to_string(),
        rate,
        burst,
        interface,
        source,
        snaplen,
        exclusive,
        life: Life::Config,
    };
    match register.check() {
        Err(fault) => reader.wrong(at, path, fault),
        Ok(()) => {
            config.registers.push(register);
            places.registers.push(stands);
        }
    }
}

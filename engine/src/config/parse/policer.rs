//! `[[policer]]`.

use punt::control::types::PolicerSet;

use super::Places;
use crate::config::Config;
use crate::config::read::{Fields, Reader};

/// Reads one of them.
pub fn read(mut fields: Fields, config: &mut Config, places: &mut Places, reader: &mut Reader) {
    let before = reader.count();
    let what = fields.parsed("what", reader);
    let kind = fields.parsed("type", reader);
    let rate = fields.quantity("rate", reader);
    let burst = fields.quantity("burst", reader);
    let peak = fields.quantity("peak", reader).map(|peak| peak.value);
    let excess = fields.quantity("excess", reader).map(|excess| excess.value);
    let yellow = fields.parsed("yellow", reader).map(|yellow| yellow.value);
    let red = fields.parsed("red", reader).map(|red| red.value);
    let (path, at, stands) = (fields.path.clone(), fields.at, fields.places());
    fields.finish(reader);
    if reader.count() > before {
        return;
    }
    let (Some(what), Some(kind), Some(rate), Some(burst)) = (what, kind, rate, burst) else {
        return reader.wrong(at, path, "is not complete; a policer has what, type, rate and burst");
    };
    let policer = PolicerSet {
        what: what.value,
        kind: kind.value,
        rate: rate.value,
        burst: burst.value,
        peak,
        excess,
        yellow,
        red,
    };
    match policer.check() {
        Err(fault) => reader.wrong(at, path, fault),
        Ok(()) => {
            config.policers.push(policer);
            places.policers.push(stands);
        }
    }
}

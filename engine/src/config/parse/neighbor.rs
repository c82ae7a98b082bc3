//! `[[neighbor]]`.

use punt::control::types::Neighbor;

use super::Places;
use crate::config::Config;
use crate::config::read::{Fields, Reader};

/// Reads one of them.
pub fn read(mut fields: Fields, config: &mut Config, places: &mut Places, reader: &mut Reader) {
    let before = reader.count();
    let address = fields.parsed("address", reader);
    let mac = fields.parsed("mac", reader);
    let interface = fields.string("interface", reader);
    let (path, at) = (fields.path.clone(), fields.at);
    fields.finish(reader);
    match (address, mac, interface) {
        (Some(address), Some(mac), Some(interface)) => {
            let interface = interface.value.to_string();
            config.neighbors.push(Neighbor { address: address.value, mac: mac.value, interface });
            places.neighbors.push(at);
        }
        _ if reader.count() == before => {
            reader.wrong(at, path, "is not complete; a neighbour has address, mac and interface");
        }
        _ => {}
    }
}

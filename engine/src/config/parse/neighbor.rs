//! `[[neighbor]]`.

use punt::Mac;
use punt::control::types::Neighbor;

use super::{NeighborPlaces, Places};
use crate::config::Config;
use crate::config::read::{Fields, Host, Reader};

/// Reads one of them.
pub fn read(mut fields: Fields, config: &mut Config, places: &mut Places, reader: &mut Reader) {
    let before = reader.count();
    let address = fields.parsed::<Host>("address", reader);
    let mac = fields.parsed::<Mac>("mac", reader);
    let interface = fields.string("interface", reader);
    let (path, at) = (fields.path.clone(), fields.at);
    fields.finish(reader);
    match (address, mac, interface) {
        (Some(address), Some(mac), Some(interface)) => {
            let stands = NeighborPlaces { at, address: address.at, mac: mac.at, interface: interface.at };
            places.neighbors.push(stands);
            let interface = interface.value.to_string();
            config.neighbors.push(Neighbor { address: address.value.0, mac: mac.value, interface });
        }
        _ if reader.count() == before => {
            reader.wrong(at, path, "is not complete; a neighbour has address, mac and interface");
        }
        _ => {}
    }
}

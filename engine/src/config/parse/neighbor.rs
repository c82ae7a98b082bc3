//! `[[neighbor]]`.

use punt::control::types::Neighbor;

use super::{NeighborPlaces, Places};
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
            places.neighbors.push(NeighborPlaces { at, address: address.at, interface: interface.at });
            let interface = interface.value.to_string();
            config.neighbors.push(Neighbor { address: address.value, mac: mac.value, interface });
        }
        _ if reader.count() == before => {
            reader.wrong(at, path, "is not complete; a neighbour has address, mac and interface");
        }
        _ => {}
    }
}

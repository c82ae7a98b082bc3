//! `[interface.NAME]`.

use punt::{InterfaceAddress, Mac};

use super::link::link;
use super::{InterfacePlaces, Places};
use crate::config::read::{Fields, Placed, Reader};
use crate::config::{Config, Interface};

/// The least MTU: what every IPv4 host takes (RFC 791).
pub const MIN_MTU: u16 = 68;
/// The greatest MTU.
pub const MAX_MTU: u16 = 9216;

/// Reads one of them.
pub fn read(
    name: Placed<&str>,
    mut fields: Fields,
    config: &mut Config,
    places: &mut Places,
    reader: &mut Reader,
) {
    if let Err(fault) = check_name(name.value) {
        reader.wrong(name.at, &fields.path, fault);
    }
    let link = link(&name, &mut fields, reader);
    let addresses = fields.list::<InterfaceAddress>("addresses", reader);
    let mtu = fields.number("mtu", MIN_MTU..=MAX_MTU, reader);
    let mac = fields.parsed::<Mac>("mac", reader).filter(|mac| {
        let right = !mac.value.is_group() && !mac.value.is_zero();
        if !right {
            let fault = format_args!("{} cannot be an interface's MAC; write a unicast one", mac.value);
            reader.wrong(mac.at, fields.key("mac"), fault);
        }
        right
    });
    let up = fields.boolean("up", reader);
    places.interfaces.push(InterfacePlaces {
        at: name.at,
        mtu: mtu.as_ref().map_or(name.at, |mtu| mtu.at),
        addresses: addresses.iter().map(|address| address.at).collect(),
    });
    config.interfaces.push(Interface {
        name: name.value.to_string(),
        link,
        addresses: addresses.into_iter().map(|address| address.value).collect(),
        mtu: mtu.map(|mtu| mtu.value),
        mac: mac.map(|mac| mac.value),
        up,
    });
    fields.finish(reader);
}

/// A name can stand in a command, a list of names and a file.
fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("is no name; give it one"),
        _ if name.len() > 63 => Err("is too long for a name; use at most 63 bytes"),
        _ if name.contains(|c: char| c.is_whitespace() || c.is_control() || c == ',' || c == '/') => {
            Err("cannot be a name; leave out spaces, commas and slashes")
        }
        _ => Ok(()),
    }
}

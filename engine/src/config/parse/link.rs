//! Whether an interface is a port's own or a sub-interface, by its keys and its name.

use crate::config::read::{Fields, Placed, Reader};
use crate::config::{Link, Tags};
use crate::tables::Tpid;

/// Reads the keys that tell.
pub fn link(name: &Placed<&str>, fields: &mut Fields, reader: &mut Reader) -> Link {
    let own = || Link::Port(name.value.to_string());
    let port = fields.string("port", reader);
    let parent = fields.string("parent", reader);
    let before = reader.count();
    let vlan = fields.number("vlan", 1..=4094, reader);
    let tag_is_wrong = reader.count() > before;
    let inner = fields.number("inner", 1..=4094, reader).map(|inner| inner.value);
    let tpid = fields.string("tpid", reader);
    if let Some(port) = port {
        if parent.is_some() || vlan.is_some() || inner.is_some() || tpid.is_some() {
            let fault = "is there beside parent, vlan, inner or tpid; an interface is a port's own or tagged frames of another's";
            reader.wrong(port.at, fields.key("port"), fault);
        }
        return Link::Port(port.value.to_string());
    }
    let implied = implied(name.value);
    if parent.is_none() && implied.is_none() {
        if vlan.is_some() || inner.is_some() || tpid.is_some() {
            reader.wrong(
                fields.at,
                &fields.path,
                "has a tag but no parent; name the interface whose frames have the tag",
            );
        }
        return own();
    }
    if let (None, Some(vlan), Some((of, named))) = (&parent, &vlan, implied)
        && vlan.value != named
    {
        let fault = format_args!("is {}, and the name says {named}; call it {of}.{}", vlan.value, vlan.value);
        reader.wrong(vlan.at, fields.key("vlan"), fault);
    }
    let vlan = vlan.map(|vlan| vlan.value).or(implied.filter(|_| parent.is_none()).map(|(_, vlan)| vlan));
    let parent = parent.map(|parent| parent.value).or(implied.map(|(parent, _)| parent));
    let (Some(parent), Some(vlan)) = (parent, vlan) else {
        if !tag_is_wrong {
            reader.wrong(fields.at, &fields.path, "has a parent but no tag; give its number as vlan = 100");
        }
        return own();
    };
    let tpid = tpid.map_or(Some(Tpid::Dot1q), |text| {
        let tpid = tpid_of(text.value);
        if tpid.is_none() {
            let fault = format_args!("is {:?}; it is \"802.1q\" or \"802.1ad\"", text.value);
            reader.wrong(text.at, fields.key("tpid"), fault);
        }
        tpid
    });
    Link::Vlan { parent: parent.to_string(), tags: Tags { tpid: tpid.unwrap_or(Tpid::Dot1q), vlan, inner } }
}

/// Of a name like `lan.100`: the parent and the tag. A PCI address is none.
pub fn implied(name: &str) -> Option<(&str, u16)> {
    let (parent, vlan) = name.rsplit_once('.')?;
    let digits = !vlan.is_empty() && vlan.bytes().all(|c| c.is_ascii_digit()) && !vlan.starts_with('0');
    let vlan = vlan.parse().ok().filter(|vlan| digits && (1..=4094).contains(vlan))?;
    (!parent.is_empty() && !is_pci(name)).then_some((parent, vlan))
}

/// Is it a PCI address, `0000:3b:00.1` or `3b:00.1`?
fn is_pci(name: &str) -> bool {
    let hex = |part: &str, len| part.len() == len && part.bytes().all(|c| c.is_ascii_hexdigit());
    let Some((bus, slot)) = name.rsplit_once(':') else { return false };
    let bus = match bus.rsplit_once(':') {
        Some((domain, bus)) if domain.len() >= 4 && hex(domain, domain.len()) => bus,
        Some(_) => return false,
        None => bus,
    };
    hex(bus, 2) && slot.split_once('.').is_some_and(|(slot, function)| hex(slot, 2) && hex(function, 1))
}

fn tpid_of(text: &str) -> Option<Tpid> {
    match text.to_ascii_lowercase().as_str() {
        "802.1q" | "0x8100" => Some(Tpid::Dot1q),
        "802.1ad" | "0x88a8" => Some(Tpid::Dot1ad),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::implied;

    #[test]
    fn a_pci_address_is_no_sub_interface() {
        assert_eq!(implied("lan.100"), Some(("lan", 100)));
        assert_eq!(implied("eth0.5.6"), Some(("eth0.5", 6)));
        for name in [
            "0000:3b:00.1",
            "3b:00.1",
            "10000:01:00.7",
            "lan",
            "lan.",
            ".100",
            "lan.0",
            "lan.4095",
            "lan.007",
        ] {
            assert_eq!(implied(name), None, "{name}");
        }
    }
}

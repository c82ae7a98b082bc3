//! From TOML to a [`Config`], section by section. What does not fit together is found afterwards, in [`check`](super::check).

use punt::control::types::{Neighbor, Route, RouteAction};
use punt::{InterfaceAddress, Mac, Prefix};
use toml::de::DeTable;

use super::read::{Fields, Placed, Reader};
use super::{Config, ConfigError, Interface, Link, Sizes, Tags, check};
use crate::tables::Tpid;

/// Sections of which INTERFACE tells, and which this version does not know yet.
const LATER: [&str; 7] = ["sink", "register", "passive", "punt", "reason", "class", "policer"];

/// Where the items of a configuration stand, beside it and in the same order.
#[derive(Default)]
pub struct Places {
    pub interfaces: Vec<InterfacePlaces>,
    pub neighbors: Vec<usize>,
    pub routes: Vec<usize>,
    /// Whether each interface was read whole, so that what refers to it can be judged.
    pub interfaces_are_whole: bool,
}

/// Where one interface stands, and those of its fields that others depend on.
pub struct InterfacePlaces {
    pub at: usize,
    pub mtu: usize,
    pub addresses: Vec<usize>,
}

pub fn parse(text: &str, name: &str) -> Result<Config, Vec<ConfigError>> {
    let mut reader = Reader::default();
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        reader.wrong(error.span().map_or(0, |span| span.start), "syntax", error.message());
    }
    let mut config = Config::default();
    if errors.is_empty() {
        let mut places = Places::default();
        root(table.get_ref(), &mut config, &mut places, &mut reader);
        check::check(&config, &places, &mut reader);
    }
    let wrong = reader.finish(text, name);
    if wrong.is_empty() { Ok(config) } else { Err(wrong) }
}

fn root<'a>(table: &'a DeTable<'a>, config: &mut Config, places: &mut Places, reader: &mut Reader) {
    let mut root = Fields::root(table);
    if let Some(mut eal) = root.table("eal", reader) {
        config.eal = eal.list::<String>("args", reader).into_iter().map(|arg| arg.value).collect();
        eal.finish(reader);
    }
    if let Some(tables) = root.table("tables", reader) {
        config.tables = sizes(tables, reader);
    }
    let before = reader.count();
    if let Some(interfaces) = root.table("interface", reader) {
        for (name, value) in interfaces.all() {
            let path = interfaces.key(name.value);
            if let Some(fields) = Fields::of(path, value, reader) {
                interface(name, fields, config, places, reader);
            }
        }
    }
    places.interfaces_are_whole = reader.count() == before;
    for fields in root.tables("neighbor", reader) {
        neighbor(fields, config, places, reader);
    }
    for fields in root.tables("route", reader) {
        route(fields, config, places, reader);
    }
    for section in LATER {
        if let Some(value) = root.get(section) {
            reader.wrong(
                value.span().start,
                section,
                "is a section that this version of puntd does not have yet; remove it",
            );
        }
    }
    root.finish(reader);
}

fn sizes(mut fields: Fields, reader: &mut Reader) -> Sizes {
    let default = Sizes::default();
    let mut size = |key, most, default| {
        fields.number(key, 1..=most, reader).map_or(default, |size: Placed<u32>| size.value)
    };
    let (routes4, routes6) =
        (size("routes4", 1 << 24, default.routes4), size("routes6", 1 << 24, default.routes6));
    let neighbors = size("neighbors", 1 << 20, default.neighbors);
    let next_hops = size("next_hops", 1 << 20, default.next_hops);
    let mut groups = |key| fields.number(key, 1..=1 << 24, reader).map(|groups: Placed<u32>| groups.value);
    let (groups4, groups6) = (groups("groups4"), groups("groups6"));
    let packets = fields.number("packets", 512..=1 << 24, reader).map(|packets| packets.value);
    let packet_size =
        fields.number("packet_size", 512..=16_384, reader).map_or(default.packet_size, |size| size.value);
    fields.finish(reader);
    Sizes { routes4, routes6, neighbors, next_hops, groups4, groups6, packets, packet_size }
}

fn interface(
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
    let up = fields.boolean("up", reader).unwrap_or(true);
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

/// The least MTU: what every IPv4 host takes (RFC 791).
pub const MIN_MTU: u16 = 68;
/// The greatest MTU.
pub const MAX_MTU: u16 = 9216;

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

/// Whether an interface is a port's own or a sub-interface, and of what.
fn link(name: &Placed<&str>, fields: &mut Fields, reader: &mut Reader) -> Link {
    let own = || Link::Port(name.value.to_string());
    let port = fields.string("port", reader);
    let parent = fields.string("parent", reader);
    let vlan = fields.number("vlan", 1..=4094, reader);
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
    let vlan = vlan.map(|vlan| vlan.value).or(implied.filter(|_| parent.is_none()).map(|(_, vlan)| vlan));
    let parent = parent.map(|parent| parent.value).or(implied.map(|(parent, _)| parent));
    let (Some(parent), Some(vlan)) = (parent, vlan) else {
        reader.wrong(fields.at, &fields.path, "has a parent but no tag; give its number as vlan = 100");
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

fn neighbor(mut fields: Fields, config: &mut Config, places: &mut Places, reader: &mut Reader) {
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

fn route(mut fields: Fields, config: &mut Config, places: &mut Places, reader: &mut Reader) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROUTER: &str = r#"
[interface.lan]                      # a name of the user's
port = "net_pcap0"
addresses = ["10.0.0.1/24", "fd00:a::1/64"]
mtu = 1500
mac = "02:00:00:00:00:01"
[interface.wan]
port = "net_pcap1"
addresses = ["10.0.1.1/24"]
up = false
[interface."lan.100"]                # 802.1Q sub-interface of lan
addresses = ["10.100.0.1/24"]
[interface.customer]
parent = "lan"
vlan = 200
inner = 7
tpid = "802.1ad"
[interface."0000:3b:00.1"]
[[neighbor]]
address = "10.0.1.2"
mac = "02:00:00:00:00:02"
interface = "wan"
[[route]]
prefix = "10.2.0.0/16"
via = ["10.0.1.2", "10.0.1.3"]
[[route]]
prefix = "default6"
via = "fe80::2"
dev = "lan"
metric = 10
[[route]]
prefix = "10.9.0.0/16"
action = "blackhole"
[tables]
routes4 = 1000000
[eal]
args = ["--no-huge", "-m", "1024"]
"#;

    #[test]
    fn reads_what_people_write() {
        let config = Config::parse(ROUTER, "router.toml").unwrap();
        let names: Vec<_> = config.interfaces.iter().map(|interface| interface.name.as_str()).collect();
        assert_eq!(names, ["lan", "wan", "lan.100", "customer", "0000:3b:00.1"]);
        let [lan, wan, tagged, customer, pci] = config.interfaces.as_slice() else { unreachable!() };
        assert_eq!(lan.link, Link::Port("net_pcap0".into()));
        assert_eq!((lan.mtu, lan.mac, lan.up), (Some(1500), Some(Mac([2, 0, 0, 0, 0, 1])), true));
        assert_eq!(lan.addresses, ["10.0.0.1/24".parse().unwrap(), "fd00:a::1/64".parse().unwrap()]);
        assert_eq!((wan.mtu, wan.mac, wan.up), (None, None, false));
        let tags = |tpid, vlan, inner| Link::Vlan { parent: "lan".into(), tags: Tags { tpid, vlan, inner } };
        assert_eq!(tagged.link, tags(Tpid::Dot1q, 100, None));
        assert_eq!(customer.link, tags(Tpid::Dot1ad, 200, Some(7)));
        assert_eq!(pci.link, Link::Port("0000:3b:00.1".into()));
        let routes: Vec<_> = config.routes.iter().map(Route::to_string).collect();
        let expected = [
            "10.2.0.0/16 via 10.0.1.2,10.0.1.3",
            "default6 via fe80::2 dev lan metric 10",
            "10.9.0.0/16 blackhole",
        ];
        assert_eq!(routes, expected);
        assert_eq!((config.neighbors.len(), config.tables.routes4), (1, 1_000_000));
        assert_eq!(config.tables.routes6, Sizes::default().routes6);
        assert_eq!(config.eal, ["--no-huge", "-m", "1024"]);
        assert_eq!(Config::parse("", "empty"), Ok(Config::default()));
    }

    /// Everything that is wrong with `text`, a line each.
    fn faults(text: &str) -> Vec<String> {
        let errors = Config::parse(text, "f").unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn says_what_is_wrong_where_and_what_would_be_right() {
        for (text, fault) in [
            (
                "[interface.lan]\nmut = 1500",
                "f:2: interface.lan.mut: is no key of this table; did you mean mtu?",
            ),
            ("\n[interfaces.lan]", "f:2: interfaces: is no key of this table; did you mean interface?"),
            (
                "[interface.lan]\nspeed = 10",
                "f:2: interface.lan.speed: is no key of this table; there are port, parent, vlan, inner, tpid, addresses, mtu, mac, up",
            ),
            (
                "[interface.lan]\nmtu = 67",
                "f:2: interface.lan.mtu: is 67; it is a whole number from 68 to 9216",
            ),
            (
                "[interface.lan]\nmtu = \"1500\"",
                "f:2: interface.lan.mtu: is a string; it is a whole number from 68 to 9216",
            ),
            ("[interface.lan]\nup = 1", "f:2: interface.lan.up: is a number; it is true or false"),
            (
                "[interface.lan]\nmac = \"01:00:5e:00:00:01\"",
                "f:2: interface.lan.mac: 01:00:5e:00:00:01 cannot be an interface's MAC; write a unicast one",
            ),
            (
                "[interface.lan]\naddresses = [\"10.0.0.1/24\",\n\"10.0.0.256/24\"]",
                "f:3: interface.lan.addresses: \"10.0.0.256/24\" is no interface address; write one as 10.0.0.1/24 or fd00::1/64",
            ),
            ("interface = 7", "f:1: interface: is a number; it is a table"),
            (
                "[route]\nprefix = \"default\"",
                "f:1: route: is a table; it is an array of tables, each begun by a line [[route]]",
            ),
            (
                "[[route]]\nprefix = \"10.0.0.1/8\"",
                "f:2: route.prefix: 10.0.0.1/8 has bits set beyond its length; write 10.0.0.0/8",
            ),
            (
                "[[route]]\nprefix = \"default\"\naction = \"drop\"",
                "f:3: route.action: is \"drop\"; it is \"blackhole\", \"unreachable\" or \"punt\"",
            ),
            (
                "[[route]]\naction = \"punt\"",
                "f:1: route: has no prefix; write one as 10.2.0.0/16 or default",
            ),
            (
                "[[neighbor]]\naddress = \"10.0.0.2\"",
                "f:1: neighbor: is not complete; a neighbour has address, mac and interface",
            ),
            ("[tables]\nroutes4 = 0", "f:2: tables.routes4: is 0; it is a whole number from 1 to 16777216"),
            (
                "[[sink]]\nname = \"bfdd\"",
                "f:1: sink: is a section that this version of puntd does not have yet; remove it",
            ),
            ("[interface.lan\nmtu = 1500", "f:1: syntax: unclosed table, expected `]`"),
            (
                "[interface.\"a b\"]",
                "f:1: interface.\"a b\": cannot be a name; leave out spaces, commas and slashes",
            ),
        ] {
            assert_eq!(faults(text), [fault], "{text}");
        }
    }

    #[test]
    fn says_what_does_not_fit_together() {
        let lan = "[interface.lan]\naddresses = [\"10.0.0.1/24\", \"fd00:a::1/64\"]\n";
        for (text, fault) in [
            (
                "[interface.wan]\nport = \"lan\"",
                "f:3: interface.wan: is port lan, as interface lan is; a port has one interface",
            ),
            (
                "[interface.\"wan.7\"]",
                "f:3: interface.\"wan.7\": has the parent wan, which is not in this file; add [interface.wan]",
            ),
            (
                "[interface.\"lan.7\"]\n[interface.seven]\nparent = \"lan\"\nvlan = 7",
                "f:4: interface.seven: has the tags of interface lan.7; give it others",
            ),
            (
                "[interface.\"lan.7\"]\n[interface.\"lan.7.8\"]",
                "f:4: interface.\"lan.7.8\": has the parent lan.7, which has a parent itself; \
                 for two tags write parent = \"lan\", vlan = 7, inner = 8",
            ),
            (
                "[interface.x]\nvlan = 7",
                "f:3: interface.x: has a tag but no parent; name the interface whose frames have the tag",
            ),
            (
                "[interface.x]\nparent = \"lan\"",
                "f:3: interface.x: has a parent but no tag; give its number as vlan = 100",
            ),
            (
                "[interface.\"lan.7\"]\nvlan = 4095",
                "f:4: interface.\"lan.7\".vlan: is 4095; it is a whole number from 1 to 4094",
            ),
            (
                "[interface.x]\nport = \"y\"\nvlan = 7",
                "f:4: interface.x.port: is there beside parent, vlan, inner or tpid; \
                 an interface is a port's own or tagged frames of another's",
            ),
            (
                "[interface.\"lan.7\"]\ntpid = \"802.1x\"",
                "f:4: interface.\"lan.7\".tpid: is \"802.1x\"; it is \"802.1q\" or \"802.1ad\"",
            ),
            (
                "[interface.wan]\naddresses = [\"10.0.0.1/16\"]",
                "f:4: interface.wan.addresses: 10.0.0.1 is on interface lan already; name an address once",
            ),
            (
                "[interface.wan]\nmtu = 1279\naddresses = [\"fe80::1/64\"]",
                "f:4: interface.wan.mtu: is 1279, and the interface has IPv6 addresses; these want at least 1280",
            ),
            (
                "[[neighbor]]\naddress = \"10.0.0.2\"\nmac = \"02:00:00:00:00:02\"\ninterface = \"lam\"",
                "f:3: neighbor.interface: there is no interface lam in this file; did you mean lan?",
            ),
            (
                "[[neighbor]]\naddress = \"10.0.0.2\"\nmac = \"ff:ff:ff:ff:ff:ff\"\ninterface = \"lan\"",
                "f:3: neighbor: ff:ff:ff:ff:ff:ff cannot be a neighbour's MAC; write a unicast one",
            ),
            (
                "[[neighbor]]\naddress = \"10.0.0.1\"\nmac = \"02:00:00:00:00:02\"\ninterface = \"lan\"",
                "f:3: neighbor.address: 10.0.0.1 is this router's own address on lan; name the neighbour's",
            ),
            (
                "[[route]]\nprefix = \"default\"\nvia = \"10.0.1.2\"",
                "f:3: route.via: no interface's subnet holds 10.0.1.2; \
                 name the interface with dev, or give one an address beside it",
            ),
            (
                "[[route]]\nprefix = \"default\"\nvia = \"10.0.1.2\"\ndev = \"dmz-outside\"",
                "f:3: route.dev: there is no interface dmz-outside in this file; add [interface.dmz-outside]",
            ),
            (
                "[[route]]\nprefix = \"default6\"\nvia = \"fe80::2\"",
                "f:3: route: default6 goes via fe80::2, which is on every link; name the interface (dev)",
            ),
            (
                "[[route]]\nprefix = \"default\"\naction = \"punt\"\n[[route]]\nprefix = \"default\"\nvia = \"10.0.0.2\"",
                "f:6: route: default is there twice with metric 0; leave one, or give one another metric",
            ),
            (
                "[tables]\nroutes4 = 1\n[[route]]\nprefix = \"10.1.0.0/16\"\naction = \"punt\"\n[[route]]\nprefix = \"10.2.0.0/16\"\naction = \"punt\"",
                "f:8: route: tables.routes4 is 1 and 2 would be needed: set it to at least 2",
            ),
        ] {
            assert_eq!(faults(&format!("{lan}{text}")), [fault], "{text}");
        }
    }

    #[test]
    fn all_of_it_is_said_at_once_in_the_order_of_lines() {
        let text = "[[route]]\nprefix = \"x\"\n[interface.lan]\nmtu = 1\nvia = 2\n[tables]\nroute4 = 3\n";
        let lines: Vec<_> = Config::parse(text, "f").unwrap_err().iter().map(|error| error.line).collect();
        assert_eq!(lines, [2, 4, 5, 7]);
    }

    #[test]
    fn a_wrong_address_is_not_said_again_by_the_routes_over_it() {
        let text = "[interface.lan]\naddresses = [\"10.0.0.1\"]\n[[route]]\nprefix = \"default\"\nvia = \"10.0.0.2\"";
        assert_eq!(Config::parse(text, "f").unwrap_err().len(), 1);
    }

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

    proptest! {
        #[test]
        fn never_panics(text in ".{0,60}|(\\[?\\[(interface\\.[a-z]|route|neighbor|tables|eal)\\]?\\]\n|[a-z4-6]{2,6} = [\"0-9.:/a-f\\[\\]]{0,12}\n){0,8}") {
            let _ = Config::parse(&text, "f");
        }
    }
}

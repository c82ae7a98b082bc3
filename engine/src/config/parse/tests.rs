//! Files as people write them, right and wrong.

use proptest::prelude::*;
use punt::Mac;
use punt::control::types::Route;

use crate::config::{Config, Link, Sizes, Tags};
use crate::tables::Tpid;

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
    assert_eq!((lan.mtu, lan.mac, lan.up), (Some(1500), Some(Mac([2, 0, 0, 0, 0, 1])), None));
    assert_eq!(lan.addresses, ["10.0.0.1/24".parse().unwrap(), "fd00:a::1/64".parse().unwrap()]);
    assert_eq!((wan.mtu, wan.mac, wan.up), (None, None, Some(false)));
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
pub fn faults(text: &str) -> Vec<String> {
    let errors = Config::parse(text, "f").unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn says_what_is_wrong_where_and_what_would_be_right() {
    for (text, fault) in [
        ("[interface.lan]\nmut = 1500", "f:2: interface.lan.mut: is no key of this table; did you mean mtu?"),
        ("\n[interfaces.lan]", "f:2: interfaces: is no key of this table; did you mean interface?"),
        (
            "[interface.lan]\nspeed = 10",
            "f:2: interface.lan.speed: is no key of this table; there are port, parent, vlan, inner, tpid, addresses, mtu, mac, up",
        ),
        ("[interface.lan]\nmtu = 67", "f:2: interface.lan.mtu: is 67; it is a whole number from 68 to 9216"),
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
        ("[[route]]\naction = \"punt\"", "f:1: route: has no prefix; write one as 10.2.0.0/16 or default"),
        (
            "[[neighbor]]\naddress = \"10.0.0.2\"",
            "f:1: neighbor: is not complete; a neighbour has address, mac and interface",
        ),
        ("[tables]\nroutes4 = 0", "f:2: tables.routes4: is 0; it is a whole number from 1 to 16777216"),
        ("[[sink]]\nname = \"bfdd\"", "f:1: sink: is not complete; a sink has name and target"),
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
            "[interface.x]\nparent = \"lan\"\nvlan = 0",
            "f:5: interface.x.vlan: is 0; it is a whole number from 1 to 4094",
        ),
        (
            "[interface.\"lan.100\"]\nvlan = 200",
            "f:4: interface.\"lan.100\".vlan: is 200, and the name says 100; call it lan.200",
        ),
        (
            "[interface.\"lan.4095\"]",
            "f:3: interface.\"lan.4095\": is called like a sub-interface of lan, and 4095 is no tag; write one from 1 to 4094, as lan.100",
        ),
        (
            "[interface.\"lan.0\"]",
            "f:3: interface.\"lan.0\": is called like a sub-interface of lan, and 0 is no tag; write one from 1 to 4094, as lan.100",
        ),
        (
            "[interface.wan]\naddresses = [\"10.0.1.0/24\"]",
            "f:4: interface.wan.addresses: 10.0.1.0 is the network address of 10.0.1.0/24; give the interface another one of that subnet",
        ),
        (
            "[interface.wan]\naddresses = [\"10.0.1.255/24\"]",
            "f:4: interface.wan.addresses: 10.0.1.255 is the broadcast address of 10.0.1.0/24; give the interface another one of that subnet",
        ),
        (
            "[[neighbor]]\naddress = \"10.0.0.255\"\nmac = \"02:00:00:00:00:02\"\ninterface = \"lan\"",
            "f:4: neighbor.address: 10.0.0.255 is the first or last address of 10.0.0.0/24, which is no host's",
        ),
        (
            "[[neighbor]]\naddress = \"10.0.0\"\nmac = \"02:00:00:00:00:02\"\ninterface = \"lan\"",
            "f:4: neighbor.address: is \"10.0.0\"; it is an IP address, as 10.0.1.2 or fd00:b::2",
        ),
        (
            "[interface.wan]\naddresses = [\"fe80::7/64\"]\n[[neighbor]]\naddress = \"fe80::7\"\nmac = \"02:00:00:00:00:02\"\ninterface = \"wan\"",
            "f:6: neighbor.address: fe80::7 is this router's own address on wan; name the neighbour's",
        ),
        (
            "[interface.wan]\naddresses = [\"fe80::7/64\"]\n[[route]]\nprefix = \"default6\"\nvia = \"fe80::7\"\ndev = \"wan\"",
            "f:7: route.via: fe80::7 is this router's own address on wan; name a neighbour's",
        ),
        ("mtu = 1\nmtu = 2", "f:4: syntax: duplicate key mtu; write it once"),
        (
            "[tables]\ngroups4 = 1\n[[route]]\nprefix = \"10.1.0.0/25\"\naction = \"punt\"",
            "f:4: tables: tables.groups4 is 1 and 2 would be needed: set it to at least 2",
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
            "[interface.\"lan.7\"]\nmtu = 1501",
            "f:4: interface.\"lan.7\".mtu: is 1501, and lan, of which it is a part, takes 1500; write at most that, or give lan more",
        ),
        (
            "[interface.wan]\naddresses = [\"fd00:b::1/64\"]\n[[neighbor]]\naddress = \"fd00:b::\"\nmac = \"02:00:00:00:00:02\"\ninterface = \"wan\"",
            "f:6: neighbor.address: fd00:b:: is the first or last address of fd00:b::/64, which is no host's",
        ),
        (
            "[interface.wan]\nmtu = 1279\naddresses = [\"fe80::1/64\"]",
            "f:4: interface.wan.mtu: is 1279, and the interface has IPv6 addresses; these want at least 1280",
        ),
        (
            "[[neighbor]]\naddress = \"10.0.0.2\"\nmac = \"02:00:00:00:00:02\"\ninterface = \"lam\"",
            "f:6: neighbor.interface: there is no interface lam in this file; did you mean lan?",
        ),
        (
            "[[neighbor]]\naddress = \"10.0.0.2\"\nmac = \"ff:ff:ff:ff:ff:ff\"\ninterface = \"lan\"",
            "f:5: neighbor.mac: ff:ff:ff:ff:ff:ff cannot be a neighbour's MAC; write a unicast one",
        ),
        (
            "[[neighbor]]\naddress = \"10.0.0.1\"\nmac = \"02:00:00:00:00:02\"\ninterface = \"lan\"",
            "f:4: neighbor.address: 10.0.0.1 is this router's own address on lan; name the neighbour's",
        ),
        (
            "[[route]]\nprefix = \"default\"\nvia = \"10.0.1.2\"",
            "f:5: route.via: no interface's subnet holds 10.0.1.2; \
             name the interface with dev, or give one an address beside it",
        ),
        (
            "[[route]]\nprefix = \"default\"\nvia = \"10.0.1.2\"\ndev = \"dmz-outside\"",
            "f:6: route.dev: there is no interface dmz-outside in this file; add [interface.dmz-outside]",
        ),
        (
            "[[route]]\nprefix = \"239.0.0.0/8\"\naction = \"punt\"",
            "f:3: route: 239.0.0.0/8 would never match: packets to groups (224.0.0.0/4) are not routed; leave this route out",
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
fn what_is_too_much_is_found_without_an_engine() {
    let list = |from: u16, to: u16, of: fn(u16) -> String| {
        (from..to).map(|n| format!("\"{}\"", of(n))).collect::<Vec<_>>().join(", ")
    };
    let link_local = list(0, 17, |n| format!("fe80::{n}/64"));
    let text = format!("[interface.lan]\naddresses = [{link_local}]");
    assert_eq!(
        faults(&text),
        ["f:2: interface.lan.addresses: are more than 16 link-local ones; that many fit"]
    );
    let hops = list(2, 67, |n| format!("10.0.0.{n}"));
    let lan = "[interface.lan]\naddresses = [\"10.0.0.1/16\"]\n";
    let text = format!("{lan}[[route]]\nprefix = \"default\"\nvia = [{hops}]");
    assert_eq!(faults(&text), ["f:5: route.via: has 65 next hops; at most 64 are possible"]);
    let route = |n: u16| {
        format!(
            "[[route]]\nprefix = \"20.{}.{}.0/24\"\nvia = \"10.0.{}.{}\"\n",
            n >> 8,
            n & 255,
            1 + (n >> 7),
            2 + (n & 127)
        )
    };
    let routes: String = (0..2200).map(route).collect();
    let text = format!("{lan}[tables]\nneighbors = 1\nnext_hops = 1\n{routes}");
    assert_eq!(
        faults(&text),
        ["f:5: tables: tables.next_hops is 1 and 146 would be needed: set it to at least 146"]
    );
}

#[test]
fn neighbors_with_random_identifiers_fit_where_the_fault_says_how() {
    let (mut text, mut random) = (String::from("[interface.lan]\naddresses = [\"fd00:a::1/64\"]\n"), 1u64);
    for _ in 0..Sizes::default().neighbors {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let [a, b, c, d] = [48, 32, 16, 0].map(|shift| (random >> shift) as u16);
        text += &format!(
            "[[neighbor]]\naddress = \"fd00:a::{a:x}:{b:x}:{c:x}:{d:x}\"\nmac = \"02:00:00:00:00:02\"\ninterface = \"lan\"\n"
        );
    }
    let [fault] = <[String; 1]>::try_from(faults(&text)).expect("one fault");
    let (_, needed) = fault.split_once("set it to at least ").expect("what would do");
    assert!(fault.contains("tables.groups6 is 12288 and "), "{fault}");
    assert!(Config::parse(&format!("{text}[tables]\ngroups6 = {needed}\n"), "f").is_ok());
}

#[test]
fn only_neighbours_that_their_subnet_leads_to_take_room_of_routes() {
    let lan = "[interface.lan]\naddresses = [\"10.0.0.1/24\"]\n[tables]\ngroups4 = 4\nneighbors = 99\nnext_hops = 1\n";
    let neighbor = |at: String| {
        format!("[[neighbor]]\naddress = \"{at}\"\nmac = \"02:00:00:00:00:02\"\ninterface = \"lan\"\n")
    };
    let beyond: String = (0..50).map(|n| neighbor(format!("10.7.{n}.2"))).collect();
    Config::parse(&format!("{lan}{beyond}"), "f").expect("none of them has a route");
    // A longer route than the subnet takes its neighbours away, too.
    let wide = lan.replace("/24", "/8");
    let away = format!("{wide}{beyond}[[route]]\nprefix = \"10.7.0.0/16\"\naction = \"punt\"\n");
    Config::parse(&away, "f").expect("none of them has a route");
    let fault = "f:4: tables: tables.groups4 is 4 and 52 would be needed: set it to at least 52";
    assert_eq!(faults(&format!("{wide}{beyond}")), [fault]);
}

#[test]
fn all_of_it_is_said_at_once_in_the_order_of_lines() {
    let text = "[[route]]\nprefix = \"x\"\n[interface.lan]\nmtu = 1\nvia = 2\n[tables]\nroute4 = 3\n";
    let lines: Vec<_> = Config::parse(text, "f").unwrap_err().iter().map(|error| error.line).collect();
    assert_eq!(lines, [2, 4, 5, 7]);
}

#[test]
fn a_wrong_address_is_not_said_again_by_the_routes_over_it() {
    let text =
        "[interface.lan]\naddresses = [\"10.0.0.1\"]\n[[route]]\nprefix = \"default\"\nvia = \"10.0.0.2\"";
    assert_eq!(Config::parse(text, "f").unwrap_err().len(), 1);
}

proptest! {
    #[test]
    fn never_panics(text in ".{0,60}|(\\[?\\[(interface\\.[a-z]|class\\.[a-z]{4}|reason\\.[a-z]|route|neighbor|tables|eal|sink|register|passive|punt|policer)\\]?\\]\n|[a-z4-6]{2,6} = [\"0-9.:/a-f\\[\\]]{0,12}\n){0,8}") {
        let _ = Config::parse(&text, "f");
    }
}

//! What is set, and what a worker finds.

use super::*;
use crate::config::{Config, Tags};
use crate::control::testing::*;
use crate::tables::Tpid;

const BY_WAN: &str = "to 02 by 2, mtu 1500";

#[test]
fn an_address_is_ours_its_subnet_is_connected_and_its_ends_are_broadcast() {
    let _eal = eal(192);
    let mut rig = Rig::with_addresses(small());
    for (address, found) in [
        ("10.0.0.1", "Local"),
        ("10.0.0.2", "Unresolved(1)"),
        ("10.0.0.0", "Broadcast(1)"),
        ("10.0.0.255", "Broadcast(1)"),
        ("10.0.1.2", BY_WAN),
        ("10.0.2.1", "NoRoute"),
        ("fd00:a::1", "Local"),
        ("fd00:a::", "Local"),
        ("fd00:a::2", "Unresolved(1)"),
        ("fd00:b::2", BY_WAN),
        ("fd00:c::1", "NoRoute"),
    ] {
        assert_eq!(rig.look(address), found, "{address}");
    }
    // A second address of the subnet keeps it when the first goes.
    rig.must([add_address("10.0.0.9/24", "lan"), del_address("10.0.0.1/24", "lan")]);
    assert_eq!(
        ["10.0.0.1", "10.0.0.9", "10.0.0.255"].map(|a| rig.look(a)),
        ["Unresolved(1)", "Local", "Broadcast(1)"]
    );
    rig.must([del_address("10.0.0.9/24", "lan"), add_address("10.0.0.9/31", "lan")]);
    assert_eq!(
        ["10.0.0.8", "10.0.0.9", "10.0.0.255"].map(|a| rig.look(a)),
        ["Unresolved(1)", "Local", "NoRoute"]
    );
}

#[test]
fn an_interface_carries_link_local_addresses_that_no_route_leads_to() {
    let _eal = eal(192);
    let mut rig = Rig::new(small());
    rig.must([add_address("fe80::7/64", "lan"), add_address("fe80::7/64", "wan")]);
    assert_eq!(rig.look("fe80::7"), "NoRoute");
    let guard = rig.reader.enter();
    let lan = rig.tables.interface(1, &guard).unwrap();
    assert_eq!(lan.link_local.len(), 2);
    assert_eq!(lan.link_local[1][15], 7);
    assert_eq!(lan.link_local[0][..8], [0xfe, 0x80, 0, 0, 0, 0, 0, 0]);
    rig.reader.offline();
    assert_eq!(
        rig.refused(add_address("fe80::7/10", "lan")),
        "fe80::7 is on lan already; an address is there once"
    );
}

#[test]
fn routes_lead_to_neighbours_and_wait_for_their_macs() {
    let _eal = eal(192);
    let mut rig = Rig::with_addresses(small());
    rig.must([
        add("10.2.0.0/16 via 10.0.1.2"),
        add("10.3.0.0/16 via 10.0.1.3"),
        add("default via 10.0.1.2"),
        add("default6 via fe80::9 dev lan"),
        add("fd00:2::/32 via fd00:b::2"),
        add("10.4.0.0/16 blackhole"),
        add("10.5.0.0/16 unreachable"),
        add("10.6.6.6/32 punt"),
        add("10.7.0.0/16 via 192.0.2.1 dev lan"),
    ]);
    let found = [
        "10.2.3.4",
        "10.3.3.4",
        "8.8.8.8",
        "2001:db8::1",
        "fd00:2::1",
        "10.4.0.1",
        "10.5.0.1",
        "10.6.6.6",
        "10.7.0.1",
    ];
    let by_wan = BY_WAN.to_string();
    assert_eq!(
        found.map(|address| rig.look(address)),
        [
            &by_wan,
            "Unresolved(2)",
            &by_wan,
            "Unresolved(1)",
            &by_wan,
            "Blackhole",
            "Unreachable",
            "Punt",
            "Unresolved(1)"
        ]
    );
    rig.must([
        neighbor("10.0.1.3", 3, "wan"),
        neighbor("fe80::9", 9, "lan"),
        neighbor("192.0.2.1", 7, "lan"),
    ]);
    assert_eq!(rig.look("10.3.3.4"), "to 03 by 2, mtu 1500");
    assert_eq!(rig.look("2001:db8::1"), "to 09 by 1, mtu 1500");
    assert_eq!(rig.look("10.7.0.1"), "to 07 by 1, mtu 1500");
    assert_eq!(rig.look("192.0.2.1"), BY_WAN, "a neighbour outside every subnet has no route of its own");
    rig.must([del_neighbor("10.0.1.3", "wan"), del("10.2.0.0/16")]);
    assert_eq!(rig.look("10.3.3.4"), "Unresolved(2)");
    assert_eq!(rig.look("10.2.3.4"), BY_WAN, "by the default route");
}

#[test]
fn of_several_routes_to_a_prefix_the_least_metric_counts_and_the_next_takes_over() {
    let _eal = eal(192);
    let mut rig = Rig::with_addresses(small());
    rig.must([
        add("10.2.0.0/16 punt metric 20"),
        add("10.2.0.0/16 via 10.0.1.2 metric 10"),
        add("10.2.0.0/16 blackhole metric 30"),
    ]);
    assert_eq!(rig.look("10.2.0.1"), BY_WAN);
    rig.must([del("10.2.0.0/16")]);
    assert_eq!(rig.look("10.2.0.1"), "Punt");
    rig.must([del_metric("10.2.0.0/16", 20), add("10.2.0.0/16 unreachable")]);
    assert_eq!(rig.look("10.2.0.1"), "Unreachable");
    assert_eq!(rig.refused(add("10.2.0.0/16 punt")), "10.2.0.0/16 exists; use replace");
    assert_eq!(
        rig.refused(add("10.2.0.0/16 punt metric 30")),
        "10.2.0.0/16 with metric 30 exists; use replace"
    );
    assert_eq!(rig.refused(del_metric("10.2.0.0/16", 20)), "there is no route 10.2.0.0/16 with metric 20");
    // What is connected counts more than what is said, and what is said more than a neighbour.
    rig.must([add("10.0.0.0/24 punt"), add("10.0.1.2/32 punt")]);
    assert_eq!(["10.0.0.7", "10.0.1.2"].map(|address| rig.look(address)), ["Unresolved(1)", "Punt"]);
    rig.must([del_address("10.0.0.1/24", "lan"), del("10.0.1.2/32")]);
    assert_eq!(["10.0.0.7", "10.0.1.2"].map(|address| rig.look(address)), ["Punt", BY_WAN]);
}

#[test]
fn equal_paths_are_those_whose_interface_is_up_and_one_without_its_neighbour_asks_for_it() {
    let _eal = eal(192);
    let mut rig = Rig::with_addresses(small());
    rig.must([
        add("10.2.0.0/16 via 10.0.1.3,10.0.0.4,10.0.1.2"),
        add("10.3.0.0/16 via 10.0.1.3,10.0.0.4,10.0.1.2"),
    ]);
    assert_eq!(rig.number("10.2.0.1"), rig.number("10.3.0.1"), "one set serves both");
    assert_eq!(rig.look("10.2.0.1"), "one of: Unresolved(2), Unresolved(1), to 02 by 2, mtu 1500");
    rig.must([neighbor("10.0.0.4", 4, "lan")]);
    assert_eq!(rig.look("10.2.0.1"), "one of: Unresolved(2), to 04 by 1, mtu 1500, to 02 by 2, mtu 1500");
    let down = |name, up| Op::InterfaceSet(Settings { up: Some(Some(up)), ..set(name) });
    rig.must([down("wan", false)]);
    assert_eq!(rig.look("10.2.0.1"), "one of: to 04 by 1, mtu 1500");
    rig.must([del_neighbor("10.0.0.4", "lan")]);
    assert_eq!(rig.look("10.2.0.1"), "one of: Unresolved(1)");
    rig.must([down("lan", false)]);
    assert_eq!(rig.look("10.2.0.1"), "one of: Down, Down, Down");
    rig.must([down("lan", true)]);
    rig.must([down("wan", true), del("10.2.0.0/16"), del("10.3.0.0/16")]);
    assert_eq!(rig.look("10.2.0.1"), "NoRoute");
}

#[test]
fn what_an_interface_is_told_reaches_everything_that_leaves_by_it() {
    let _eal = eal(192);
    let mut rig = Rig::with_addresses(small());
    let tags = Tags { tpid: Tpid::Dot1ad, vlan: 100, inner: Some(7) };
    let (name, parent) = ("customer".to_string(), "wan".to_string());
    let too_large = Settings { mtu: Some(Some(9000)), ..set("customer") };
    let customer = SubInterface { name, parent, tags, settings: too_large.clone() };
    assert_eq!(
        rig.refused(Op::InterfaceAdd(customer.clone())),
        "customer has an MTU of 9000, and wan, of which it is a part, would take 1500; give customer less, or wan more"
    );
    rig.must([
        Op::InterfaceAdd(SubInterface { settings: set("customer"), ..customer }),
        add_address("10.9.0.1/24", "customer"),
    ]);
    rig.must([neighbor("10.9.0.2", 9, "customer"), add("10.2.0.0/16 via 10.9.0.2")]);
    assert_eq!(rig.look("10.2.0.1"), "to 09 by 3 tag 100 tag 7, mtu 1500", "its parent's MTU");
    let of_wan = |mtu| Op::InterfaceSet(Settings { mtu: Some(mtu), ..set("wan") });
    rig.must([Op::InterfaceSet(too_large), of_wan(Some(9000))]);
    assert_eq!(rig.look("10.2.0.1"), "to 09 by 3 tag 100 tag 7, mtu 9000", "both at once, in any order");
    assert_eq!(
        rig.refused(of_wan(None)),
        "customer has an MTU of 9000, and wan, of which it is a part, would take 1500; give customer less, or wan more"
    );
    rig.must([Op::InterfaceSet(Settings { mtu: Some(None), ..set("customer") }), of_wan(None)]);
    let mac = Some(Some([2, 0, 0, 0, 0, 0x77].into()));
    rig.must([Op::InterfaceSet(Settings { mtu: Some(Some(1400)), mac, ..set("wan") })]);
    assert_eq!(rig.look("10.2.0.1"), "to 09 by 3 tag 100 tag 7, mtu 1400");
    let guard = rig.reader.enter();
    assert_eq!(rig.tables.interface(3, &guard).unwrap().mac.bytes()[5], 0x77);
    let ports: Vec<_> = rig.tables.ports.iter().filter_map(|slot| slot.get(&guard)).collect();
    assert_eq!(ports.iter().filter_map(|tags| tags.double(Tpid::Dot1ad, 100, 7)).collect::<Vec<_>>(), [3]);
    rig.reader.offline();
    rig.must([Op::InterfaceSet(Settings { up: Some(Some(false)), ..set("wan") })]);
    assert_eq!(["10.2.0.1", "10.9.0.7"].map(|address| rig.look(address)), ["Down", "Down"]);
    let del_customer = || Op::InterfaceDel("customer".into());
    assert_eq!(rig.refused(del_customer()), "customer has the address 10.9.0.1/24; delete that first");
    rig.must([del_address("10.9.0.1/24", "customer"), del_neighbor("10.9.0.2", "customer")]);
    assert_eq!(rig.refused(del_customer()), "customer is the way of routes; delete these first");
    rig.must([del("10.2.0.0/16"), del_customer()]);
    let guard = rig.reader.enter();
    assert!(rig.tables.interface(3, &guard).is_none());
    rig.reader.offline();
}

#[test]
fn what_makes_no_sense_is_refused_with_its_reason() {
    let _eal = eal(192);
    let mut rig = Rig::with_addresses(small());
    let mtu = |mtu| Op::InterfaceSet(Settings { mtu: Some(Some(mtu)), ..set("lan") });
    for (op, fault) in [
        (add_address("10.0.0.1/16", "wan"), "10.0.0.1 is on lan already; an address is there once"),
        (add_address("10.5.0.1/16", "wam"), "there is no interface wam; did you mean wan?"),
        (add_address("10.5.0.1/16", "dmz"), "there is no interface dmz; there are lan, wan"),
        (
            add_address("10.0.1.2/24", "wan"),
            "10.0.1.2 is a neighbour or a next hop of routes on wan; delete these first",
        ),
        (del_address("10.0.0.1/25", "lan"), "lan has no address 10.0.0.1/25; see puntctl address list"),
        (
            neighbor("10.0.1.2", 3, "wan"),
            "10.0.1.2 is a neighbour on wan already, with 02:00:00:00:00:02; delete it first",
        ),
        (
            neighbor("10.0.0.1", 3, "wan"),
            "10.0.0.1 is this router's own address on lan; name the neighbour's",
        ),
        (del_neighbor("10.0.1.9", "wan"), "10.0.1.9 is no neighbour on wan; see puntctl neighbor list"),
        (
            add("10.2.0.0/16 via 10.9.9.9"),
            "10.2.0.0/16: no interface's subnet holds 10.9.9.9; name the interface with dev",
        ),
        (
            add("10.2.0.0/16 via 10.0.0.1"),
            "10.2.0.0/16: 10.0.0.1 is this router's own address on lan; name a neighbour's",
        ),
        (
            add("default6 via fe80::1"),
            "default6 goes via fe80::1, which is on every link; name the interface (dev)",
        ),
        (add("default6 via fe80::1 dev lam"), "default6: there is no interface lam; did you mean lan?"),
        (del("10.2.0.0/16"), "there is no route 10.2.0.0/16"),
        (del("10.0.0.0/24"), "10.0.0.0/24 comes from an address of lan; delete that"),
        (mtu(60), "lan: an MTU of 60 is not possible; it is 68 to 9216"),
        (
            mtu(1279),
            "lan has the address fd00:a::1/64 and would have an MTU of 1279; IPv6 wants at least 1280",
        ),
        (Op::InterfaceDel("lan".into()), "lan is a port's own interface, which stays; set it down instead"),
    ] {
        assert_eq!(rig.refused(op), fault);
    }
}

#[test]
fn a_batch_is_done_whole_or_not_at_all() {
    let _eal = eal(192);
    let mut rig = Rig::with_addresses(small());
    rig.must([add("10.2.0.0/16 via 10.0.1.2,10.0.1.3"), add("10.3.0.0/16 via 10.0.1.2")]);
    let before = rig.model.config(&[]);
    let looks =
        ["10.0.0.1", "10.0.5.1", "10.2.0.1", "10.3.0.1", "10.4.0.1", "10.0.1.2", "10.0.1.3", "fd00:b::9"];
    let found = looks.map(|address| rig.look(address));
    let (parent, tags) = ("lan".to_string(), Tags { tpid: Tpid::Dot1q, vlan: 5, inner: None });
    let sub = Op::InterfaceAdd(SubInterface { name: "lan.5".into(), parent, tags, settings: set("lan.5") });
    let ops = || {
        vec![
            sub.clone(),
            add_address("10.0.5.1/24", "lan.5"),
            neighbor("10.0.5.2", 5, "lan.5"),
            add("10.4.0.0/16 via 10.0.5.2"),
            replace("10.2.0.0/16 via 10.0.5.2,10.0.1.2"),
            del("10.3.0.0/16"),
            del_neighbor("10.0.1.2", "wan"),
            neighbor("10.0.1.3", 3, "wan"),
            del_address("10.0.0.1/24", "lan"),
            Op::InterfaceSet(Settings { up: Some(Some(false)), mtu: Some(Some(1300)), ..set("wan") }),
        ]
    };
    let error = rig.model.batch(ops().into_iter().chain([del("10.99.0.0/16")])).unwrap_err();
    assert_eq!((error.index, error.message.as_str()), (Some(10), "there is no route 10.99.0.0/16"));
    assert_eq!(rig.model.config(&[]), before);
    assert_eq!(looks.map(|address| rig.look(address)), found);
    // The same when the tables refuse it: more neighbours than fit.
    let many =
        (0..=small().neighbors).map(|n| neighbor(&format!("10.8.{}.{}", n / 200, n % 200 + 1), 8, "wan"));
    let error = rig.model.batch(ops().into_iter().chain(many)).unwrap_err();
    assert_eq!(error.message, "tables.neighbors is 100 and 104 would be needed: set it to at least 104");
    assert_eq!(rig.model.config(&[]), before);
    assert_eq!(looks.map(|address| rig.look(address)), found);
    // And without the fault it is done.
    rig.must(ops());
    assert_eq!(rig.look("10.4.0.1"), "to 05 by 3 tag 5, mtu 1500");
    assert_eq!(rig.look("10.2.0.1"), "one of: to 05 by 3 tag 5, mtu 1500");
    assert_eq!(rig.look("10.0.0.1"), "NoRoute");
}

#[test]
fn what_does_not_fit_is_refused_with_the_size_that_would() {
    let _eal = eal(192);
    let mut rig = Rig::with_addresses(small());
    let routes =
        |count: u32| (0..count).map(|n| add(&format!("20.{}.{}.0/24 via 10.0.1.2", n / 256, n % 256)));
    let error = rig.model.batch(routes(1001)).unwrap_err();
    assert_eq!(error.message, "tables.routes4 is 1000 and 1001 would be needed: set it to at least 1001");
    rig.must(routes(1000));
    assert_eq!(rig.look("20.3.231.9"), BY_WAN);
    rig.must((0..1000).map(|n| del(&format!("20.{}.{}.0/24", n / 256, n % 256))));
    assert_eq!(rig.look("20.3.231.9"), "NoRoute");
    // A group for each /24 with longer prefixes; the addresses' and neighbours' two are taken.
    let deep = |count: u32| (0..count).map(|n| add(&format!("20.0.{n}.0/25 via 10.0.1.2")));
    let error = rig.model.batch(deep(127)).unwrap_err();
    assert_eq!(error.message, "tables.groups4 is 128 and 129 would be needed: set it to at least 129");
    rig.must(deep(126));
    assert_eq!(
        ["20.0.125.9", "20.0.125.200", "20.0.126.1"].map(|address| rig.look(address)),
        [BY_WAN, "NoRoute", "NoRoute"]
    );
    let hops = (0..240).map(|n| add(&format!("30.0.{n}.0/24 via 10.0.1.{}", n + 10)));
    let error = rig.model.batch(hops).unwrap_err().message;
    assert!(error.starts_with("tables.next_hops is 64 and "), "{error}");
}

#[test]
fn routes_may_come_and_go_for_ever() {
    let _eal = eal(192);
    let mut rig = Rig::with_addresses(small());
    for n in 0..600 {
        let prefixes = ["10.2.0.0/25", "10.2.0.128/25", "fd00:2::/48", "fd00:2::1/128", "fd00:2:0:1::/64"];
        let via = |prefix: &str| if prefix.contains(':') { "fd00:b::2" } else { "10.0.1.2" };
        rig.must(prefixes.map(|prefix| add(&format!("{prefix} via {}", via(prefix)))));
        rig.must([add(&format!("30.0.0.0/24 via 10.0.1.{}", 10 + n % 200))]);
        assert_eq!(["10.2.0.200", "fd00:2::1", "fd00:2::2"].map(|address| rig.look(address)), [BY_WAN; 3]);
        rig.must(prefixes.map(del).into_iter().chain([del("30.0.0.0/24")]));
    }
    assert_eq!(["10.2.0.200", "fd00:2::1"].map(|address| rig.look(address)), ["NoRoute"; 2]);
}

#[test]
fn a_configuration_is_applied_by_its_difference_and_what_operators_made_stays() {
    let _eal = eal(192);
    let mut rig = Rig::new(small());
    let parse = |text: &str| Config::parse(text, "test").unwrap();
    let ports = |rig: &Rig| rig.model.ports().iter().map(|port| port.name().to_string()).collect::<Vec<_>>();
    let [lan, wan] = ports(&rig).try_into().unwrap();
    let base = format!(
        "[interface.lan]\nport = \"{lan}\"\naddresses = [\"10.0.0.1/24\"]\n[interface.\"lan.5\"]\naddresses = [\"10.0.5.1/24\"]\n\
         [interface.wan]\nport = \"{wan}\"\nmtu = 1400\naddresses = [\"10.0.1.1/24\", \"fd00:b::1/64\"]\n\
         [[neighbor]]\naddress = \"10.0.1.2\"\nmac = \"02:00:00:00:00:02\"\ninterface = \"wan\"\n"
    );
    let first = format!(
        "{base}[[route]]\nprefix = \"10.2.0.0/16\"\nvia = [\"10.0.1.2\", \"10.0.5.2\"]\n[[route]]\nprefix = \"default\"\nvia = \"10.0.1.2\"\n"
    );
    assert!(rig.model.apply(&parse(&first)).unwrap() > 0);
    assert_eq!(rig.model.apply(&parse(&first)), Ok(0));
    assert_eq!(rig.look("8.8.8.8"), "to 02 by 2, mtu 1400");
    // What operators add is saved with the rest; applied again, that changes nothing.
    rig.must([
        add("10.3.0.0/16 via 10.0.1.2"),
        neighbor("10.0.5.2", 5, "lan.5"),
        add_address("10.7.0.1/24", "lan"),
    ]);
    rig.must([
        add("fd00:9::/32 via fe80::9 dev wan metric 4"),
        add("10.4.0.0/16 via 10.7.0.2"),
        del_address("10.7.0.1/24", "lan"),
    ]);
    assert_eq!(rig.model.count_of_operators(), [0, 1, 3, 0]);
    let saved = rig.model.config(&[]);
    let read = parse(&saved.to_string());
    assert_eq!(read, saved);
    // The first file again: what is not the configuration's stays.
    assert_eq!(rig.model.apply(&parse(&first)), Ok(0));
    assert_eq!(rig.model.apply(&read), Ok(0));
    assert_eq!(rig.model.config(&[]), saved);
    assert_eq!(rig.model.count_of_operators(), [0; 4], "now it is the configuration's");
    // And with another file it goes.
    let second = base.replace("mtu = 1400\n", "").replace("lan.5", "lan.6");
    let second = format!("{second}[[route]]\nprefix = \"default\"\nvia = \"10.0.5.2\"\n");
    rig.model.apply(&parse(&second)).unwrap();
    assert_eq!(rig.look("8.8.8.8"), "Unresolved(4)");
    assert_eq!(rig.look("10.3.0.1"), "Unresolved(4)", "by the default route");
    assert_eq!(rig.look("10.0.1.2"), BY_WAN);
    let by_name = |mut config: Config| {
        config.interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        config.interfaces
    };
    assert_eq!(by_name(rig.model.config(&[])), by_name(parse(&second)));
    assert_eq!(rig.model.apply(&parse(&second)), Ok(0));
    // What cannot be is refused whole.
    let before = rig.model.config(&[]);
    let other = second.replace(&lan, "net_tap7");
    let error = rig.model.apply(&parse(&other)).unwrap_err().message;
    assert!(
        error.starts_with("test:1: interface.lan.port: there is no port net_tap7; there are "),
        "{error}"
    );
    let renamed = second
        .replace("[interface.lan]", "[interface.inside]")
        .replace("[interface.\"lan.6\"]", "[interface.\"inside.6\"]");
    let error = rig.model.apply(&parse(&renamed)).unwrap_err().message;
    assert!(
        error.ends_with("is interface lan since the engine started; restart it to call it inside"),
        "{error}"
    );
    assert_eq!(rig.model.config(&[]), before);
}

//! The desk's rules, one story each.

use super::*;
use crate::control::types::passive::PassiveFamily;
use crate::control::types::{ClassSet, Policed, PolicerSet, ReasonSet};

fn bgp() -> Packet {
    Packet::tcp("10.0.1.7", 40_000, 179)
}

fn policer(json: &str) -> PolicerSet {
    serde_json::from_str(json).expect("a policer")
}

fn lanes(office: &Office, sink: &str) -> Vec<Class> {
    office.desk.state.sinks[sink].lanes().map(|lane| lane.class).collect()
}

#[test]
fn a_registration_for_something_with_a_reason_has_that_and_any_other_makes_one() {
    let mut office = Office::with_sinks(&["a", "b"]);
    let all = office.register("tcp:179", "a");
    assert_eq!(office.reason_of(&bgp()), "local.bgp");
    let peer =
        office.desk.register(wanted("tcp:179", "b").from("10.0.1.7/32")).expect("nobody is in the way");
    office.commit();
    assert_eq!(office.reason_of(&bgp()), format!("local.bgp@{peer}"));
    assert_eq!(office.takers(&bgp()), [("a".to_owned(), all), ("b".to_owned(), peer)]);
    office.register("udp:5000-5009", "a");
    assert_eq!(office.reason_of(&Packet::udp("10.0.1.7", 5000)), "local.udp-5000-5009");
    office.desk.unregister(peer).expect("it is registered");
    office.commit();
    assert_eq!(office.reason_of(&bgp()), "local.bgp");
}

#[test]
fn of_equally_specific_registrations_the_older_keeps_its_packets() {
    let mut office = Office::with_sinks(&["a"]);
    let first = office.register("udp:5000-5001", "a");
    office.register("udp:5001-5002", "a");
    let packet = Packet::udp("10.0.1.7", 5001);
    assert_eq!(office.reason_of(&packet), "local.udp-5000-5001");
    office.desk.unregister(first).expect("it is registered");
    office.commit();
    assert_eq!(office.reason_of(&packet), "local.udp-5001-5002");
    // It gets the place of the first in the tables, and yet is the younger.
    office.register("udp:5000-5001", "a");
    assert_eq!(office.reason_of(&packet), "local.udp-5001-5002");
}

#[test]
fn a_registration_on_one_interface_for_a_reason_made_at_run_time_is_called_after_it() {
    let mut office = Office::with_sinks(&["a", "b"]);
    office.register("udp:5000", "a");
    let id = office.desk.register(wanted("reason:local.udp-5000", "b").on(1)).expect("nobody is in the way");
    office.commit();
    let packet = Packet::udp("10.0.1.7", 5000);
    assert_eq!(office.reason_of(&packet), format!("local.udp-5000@{id}"));
    assert_eq!(office.takers(&packet).len(), 2);
    assert_eq!(office.reason_of(&packet.on(2)), "local.udp-5000");
}

#[test]
fn a_frame_with_the_type_of_a_reason_it_is_not_of_goes_to_who_asked_for_the_type() {
    let mut office = Office::with_sinks(&["a"]);
    let id = office.register("llc:0x42", "a");
    let stp = Packet::link(None, Some(0x42), 0).of("l2.stp");
    assert_eq!(office.punt(&stp).1, "l2.stp");
    let other = Packet::link(None, Some(0x42), 9);
    assert_eq!(office.punt(&other).1, "l2.unclaimed");
    assert_eq!(
        (office.takers(&stp), office.takers(&other)),
        (vec![("a".to_owned(), id)], vec![("a".to_owned(), id)])
    );
}

#[test]
fn an_exclusive_registration_in_the_way_is_named_with_its_owner() {
    let mut office = Office::with_sinks(&["a", "b"]);
    let mut mine = wanted("tcp:179", "a").exclusively();
    mine.owner = "bgpd, uid 100".to_owned();
    let id = office.desk.register(mine).expect("nobody is in the way");
    for theirs in ["tcp:179", "tcp4:100-200", "proto:6", "reason:local.bgp", "reason:local.*"] {
        let expected = format!(
            "{} is in the way of the exclusive registration {id} (tcp:179 for sink a, by bgpd, uid 100); unregister that first",
            theirs.parse::<Match>().expect("a match")
        );
        assert_eq!(office.refused(wanted(theirs, "b")), expected);
    }
    let shared = office.register("udp:53", "b");
    assert_eq!(
        office.refused(wanted("proto:17", "a").exclusively()),
        format!(
            "proto:17 cannot be exclusive beside registration {shared} (udp:53 for sink b, by an operator); unregister that first"
        )
    );
    assert_eq!(
        office.refused(wanted("udp:53", "b")),
        format!("udp:53 is registered for sink b already, as registration {shared}")
    );
    office.register("tcp:180", "b");
}

#[test]
fn an_exclusive_registration_from_one_family_leaves_the_other_alone() {
    let mut office = Office::with_sinks(&["a", "b"]);
    office
        .desk
        .register(wanted("udp:5000", "a").from("10.0.0.0/8").exclusively())
        .expect("nobody is in the way");
    office.register("udp6:5000", "b");
    assert!(office.refused(wanted("udp4:5000", "b")).contains("exclusive"));
}

#[test]
fn a_pattern_that_is_exclusive_covers_reasons_to_come() {
    let mut office = Office::with_sinks(&["a", "b"]);
    office.desk.register(wanted("reason:local.*", "a").exclusively()).expect("nobody is in the way");
    assert!(office.refused(wanted("udp:5000", "b")).contains("exclusive"), "it would be local.udp-5000");
    office.register("ethertype:0x9000", "b");
}

#[test]
fn nobody_has_what_nobody_claimed_beside_who_has_it_exclusively() {
    let passive = |office: &mut Office, family, interface, to| {
        let set = office.desk.set_passive(family, interface, to, None, None, Life::Operator);
        set.map_err(|refused| refused.to_string())
    };
    let to = |sink: &str| Towards::Sink(sink.to_owned());
    let away = || Towards::Redirect { interface: "lan".to_owned(), via: None, way: 5 };
    for pattern in ["reason:ip4.unclaimed", "reason:*"] {
        let mut office = Office::with_sinks(&["a", "b"]);
        let alone = || wanted(pattern, "a").exclusively();
        let id = office.desk.register(alone()).expect("nobody is in the way");
        let expected = format!(
            "the passive punt of ip4 is in the way of the exclusive registration {id} ({pattern} for sink a, by an operator); unregister that first"
        );
        for to in [to("b"), away()] {
            assert_eq!(passive(&mut office, PassiveFamily::Ip4, None, to), Err(expected.clone()));
        }
        assert_eq!(office.desk.passive_rows(), []);
        passive(&mut office, PassiveFamily::Ip4, None, to("a")).expect("it is its own");
        passive(&mut office, PassiveFamily::Ip4, None, Towards::Drop).expect("nobody else gets it");
        // In the other order, too.
        office.desk.unregister(id).expect("it is registered");
        for (there, named) in [(to("b"), "sink b"), (away(), "interface lan")] {
            passive(&mut office, PassiveFamily::Ip4, Some((2, "port2".to_owned())), there)
                .expect("nobody is in the way");
            assert_eq!(
                office.refused(alone()),
                format!(
                    "{pattern} cannot be exclusive beside the passive punt of ip4 to {named}; set that otherwise first"
                )
            );
        }
        assert_eq!(office.desk.registration_rows(), []);
        let scoped = || wanted("reason:ip4.unclaimed", "a").exclusively();
        office.desk.register(scoped().on(1)).expect("that is set for port2 alone");
        assert!(office.refused(scoped().on(2)).contains("passive punt"));
        let of_port1 = passive(&mut office, PassiveFamily::Ip4, Some((1, "port1".to_owned())), to("b"));
        assert!(of_port1.expect_err("port1 is taken").contains("exclusive"));
        office.desk.register(wanted("udp:5000", "a").exclusively()).expect("that is claimed");
        office.commit();
    }
}

#[test]
fn a_sub_interface_without_an_entry_has_its_parents() {
    let mut office = Office::with_sinks(&["all", "parent", "own"]);
    let set = |office: &mut Office, interface: Option<u32>, sink: &str| {
        let interface = interface.map(|index| (index, format!("port{index}")));
        let to = Towards::Sink(sink.to_owned());
        let set = office.desk.set_passive(PassiveFamily::Ip4, interface, to, None, None, Life::Operator);
        set.expect("it can be so");
        office.commit();
    };
    set(&mut office, None, "all");
    set(&mut office, Some(1), "parent");
    let takers = |office: &mut Office, interface: u32| -> Vec<String> {
        let got = office.takers(&Packet::udp("10.0.1.7", 9).on(interface));
        got.into_iter().map(|(sink, _)| sink).collect()
    };
    assert_eq!(takers(&mut office, 3), ["all"], "nobody has said what it is");
    office.desk.set_parents(BTreeMap::from([(3, 1), (4, 2)]));
    office.commit();
    assert_eq!([1, 2, 3, 4].map(|at| takers(&mut office, at)), [["parent"], ["all"], ["parent"], ["all"]]);
    set(&mut office, Some(3), "own");
    assert_eq!(takers(&mut office, 3), ["own"]);
    office.desk.delete_passive(PassiveFamily::Ip4, Some("port3")).expect("it is set");
    office.commit();
    assert_eq!(takers(&mut office, 3), ["parent"]);
    let row = &office.desk.passive_rows()[1];
    assert_eq!((row.interface.as_deref(), row.counters.packets), (Some("port1"), 3), "in its books, too");
}

#[test]
fn who_asks_for_what_nobody_claimed_from_a_source_leaves_the_passive_punt_what_it_has() {
    let mut office = Office::with_sinks(&["a", "slow"]);
    let to = Towards::Sink("slow".to_owned());
    office.desk.set_passive(PassiveFamily::Ip4, None, to, None, None, Life::Operator).expect("there is room");
    let id = office.desk.register(wanted("reason:ip4.unclaimed", "a").from("10.0.1.7/32"));
    let id = id.expect("nobody is in the way");
    office.commit();
    let both = [("a".to_owned(), id), ("slow".to_owned(), 0)];
    assert_eq!(office.takers(&Packet::udp("10.0.1.7", 9)), both);
    assert_eq!(office.takers(&Packet::udp("10.0.1.8", 9)), [("slow".to_owned(), 0)]);
    // What somebody claims is nobody's no more.
    let claim = office.desk.register(wanted("udp:9", "a").from("10.0.1.8/32")).expect("nobody is in the way");
    office.commit();
    assert_eq!(office.takers(&Packet::udp("10.0.1.8", 9)), [("a".to_owned(), claim)]);
}

#[test]
fn a_sink_in_use_is_not_deleted() {
    let mut office = Office::with_sinks(&["a"]);
    let id = office.register("udp:3784", "a");
    let refused = office.desk.delete_sink("a").expect_err("in use").to_string();
    assert_eq!(refused, format!("sink a has registration {id} (udp:3784); unregister that first"));
    office.desk.unregister(id).expect("it is registered");
    let to = Towards::Sink("a".to_owned());
    office.desk.set_passive(PassiveFamily::Ip4, None, to, None, None, Life::Operator).expect("there is room");
    let refused = office.desk.delete_sink("a").expect_err("in use").to_string();
    assert_eq!(refused, "the passive punt of ip4 goes to sink a; set that otherwise first");
    office.desk.delete_passive(PassiveFamily::Ip4, None).expect("it is set");
    office.desk.delete_sink("a").expect("nobody uses it");
    assert_eq!(office.told.lock().running.len(), 1, "workers may still write to it");
    office.commit();
    assert_eq!(office.told.lock().running, []);
    let refused = office.refused(wanted("udp:3784", "a"));
    assert_eq!(refused, "there is no sink a; add it with puntctl sink add");
}

#[test]
fn a_new_sink_never_takes_the_slot_of_one_whose_thread_is_yet_to_end() {
    let mut office = Office::with_sinks(&["a"]);
    office.desk.delete_sink("a").expect("nobody uses it");
    office.desk.add_sink(&sink("b")).expect("a new sink");
    assert_eq!(office.told.lock().running, [("a".to_owned(), 0), ("b".to_owned(), 1)]);
    office.commit();
    assert_eq!(office.told.lock().running, [("b".to_owned(), 1)]);
}

#[test]
fn rings_take_no_more_than_they_may() {
    let mut office = Office::with_memory(2 << 20);
    office.desk.add_sink(&sink("a")).expect("a new sink");
    office.desk.set_reason(&reason(r#"{"name":"local.bfd","burst":8000,"rate":20000}"#)).expect("a limit");
    office.register("udp:3784", "a");
    assert_eq!(lanes(&office, "a"), [Class::Link]);
    let refused = office.refused(wanted("tcp:179", "a"));
    assert_eq!(
        refused,
        "the rings of sink a for class route take 512 KiB, and of [punt] memory, 2048 KiB, 2048 are used; allow more"
    );
    office.commit();
    assert_eq!(office.desk.registration_rows().len(), 1);
    assert_eq!(office.takers(&bgp()), []);
    // What is set stays as it was when there is no room for what was asked.
    let wanted = r#"{"name":"local.bfd","class":"route","burst":9000,"source_rate":1,"interface_rate":1}"#;
    let refused = office.desk.set_reason(&reason(wanted));
    assert!(refused.expect_err("no room").to_string().starts_with("the rings of sink a for class route"));
    office.commit();
    let bfd = office.punt(&Packet::udp("10.0.1.7", 3784)).2;
    assert_eq!((bfd[0].class, bfd.len()), (Class::Link, 1));
    let row = office.desk.reason_rows().into_iter().find(|row| row.name == "local.bfd").expect("a row");
    assert_eq!(row.burst, Some(8000));
    let bfd = office.desk.by_index(office.desk.named("local.bfd").expect("it is there"));
    assert!(!bfd.expect("it is there").share.has_ceilings());
}

#[test]
fn rings_have_the_room_of_their_class_whichever_reason_comes_first() {
    let mut office = Office::with_sinks(&["a", "b"]);
    // Nothing limits the class: its largest reason does.
    office.desk.set_reason(&reason(r#"{"name":"local.bfd","class":"route","burst":8000}"#)).expect("a limit");
    office.register("tcp:179", "a");
    assert_eq!(office.desk.state.sinks["a"].memory(), 2 << 20);
    let capped = ClassSet { name: Class::Route, min: Some(0), cap: Some(Rate::PerSecond(30_000)) };
    office.desk.set_class(&capped).expect("a cap");
    office.register("tcp:179", "b");
    assert_eq!(office.desk.state.sinks["b"].memory(), 1 << 20, "3,000 at once");
}

fn reason(json: &str) -> ReasonSet {
    serde_json::from_str(json).expect("what to set")
}

#[test]
fn what_is_set_of_a_reason_holds_for_its_next_packet() {
    let mut office = Office::with_sinks(&["a"]);
    office.register("udp:3784", "a");
    let bfd = Packet::udp("10.0.1.7", 3784);
    let set = |office: &mut Office, json: &str| {
        office.desk.set_reason(&reason(json)).expect("it can be so");
        office.commit();
    };
    set(&mut office, r#"{"name":"local.bfd","class":"mgmt"}"#);
    assert_eq!(lanes(&office, "a"), [Class::Mgmt, Class::Link]);
    assert_eq!(office.punt(&bfd).2[0].class, Class::Mgmt);
    set(&mut office, r#"{"name":"local.bfd","rate":10,"burst":2}"#);
    let fates: Vec<Fate> = (0..3).map(|_| office.punt_at(&bfd, 100 * HZ).0).collect();
    assert_eq!(fates, [Fate::Accepted, Fate::Accepted, Fate::RefusedReason]);
    set(&mut office, r#"{"name":"local.bfd","sample":3,"rate":"unlimited"}"#);
    let fates: Vec<Fate> = (0..4).map(|_| office.punt_at(&bfd, 200 * HZ).0).collect();
    assert_eq!(fates, [Fate::Accepted, Fate::SampledOut, Fate::SampledOut, Fate::Accepted]);
    set(&mut office, r#"{"name":"local.bfd","action":"drop"}"#);
    assert_eq!(office.punt(&bfd).0, Fate::ActionDrop);
    let copy = office.desk.set_reason(&reason(r#"{"name":"local.bfd","action":"copy"}"#));
    assert!(copy.expect_err("it can go no further").to_string().contains("write trap or drop"));
    let unknown = office.desk.set_reason(&reason(r#"{"name":"local.bdf"}"#));
    assert_eq!(
        unknown.expect_err("a slip").to_string(),
        "there is no reason local.bdf; did you mean local.bgp or local.bfd?"
    );
    let all = r#"{"name":"local.bfd","class":"mgmt","rate":1,"burst":1,"sample":1,"action":"drop"}"#;
    office.desk.unset_reason(&reason(all)).expect("there is room");
    office.commit();
    assert_eq!(office.punt(&bfd).2[0].class, Class::Link);
    assert_eq!(office.desk.set_reasons(), []);
}

#[test]
fn a_class_has_its_cap() {
    let mut office = Office::with_sinks(&["a"]);
    office.register("tcp:179", "a");
    let wanted = ClassSet { name: Class::Route, min: None, cap: Some(Rate::PerSecond(10)) };
    office.desk.set_class(&wanted).expect("it fits");
    let fates: Vec<Fate> = (0..18).map(|_| office.punt_at(&bgp(), 100 * HZ).0).collect();
    assert_eq!(fates.iter().filter(|fate| **fate == Fate::Accepted).count(), 16);
    assert_eq!(fates[17], Fate::RefusedClass);
    let row = office.desk.class_rows().into_iter().find(|row| row.name == Class::Route).expect("a row");
    assert_eq!((row.packets, row.accepted, row.refused), (18, 16, 2));
}

#[test]
fn everything_can_be_policed_and_demoted_packets_find_their_lane() {
    let mut office = Office::with_sinks(&["a"]);
    let id = office.register("tcp:179", "a");
    let unclaimed = Packet::udp("10.0.1.7", 9);
    let to = Towards::Sink("a".to_owned());
    office.desk.set_passive(PassiveFamily::Ip4, None, to, None, None, Life::Operator).expect("there is room");
    office.commit();
    let mut second = 100;
    for (what, packet) in [
        ("reason:local.bgp".to_owned(), bgp()),
        ("sink:a".to_owned(), bgp()),
        (format!("registration:{id}"), bgp()),
        ("passive:ip4".to_owned(), unclaimed),
    ] {
        let set = |rate: &str, red: &str| {
            policer(&format!(
                r#"{{"what":"{what}","type":"single","rate":"{rate}","burst":"1p","red":"{red}"}}"#
            ))
        };
        office.desk.set_policer(&set("10pps", "drop")).expect("it is there");
        office.commit();
        second += 100;
        let now = second * HZ;
        assert_eq!(office.punt_at(&packet, now).2.len(), 1, "{what}");
        assert_eq!(office.punt_at(&packet, now).2.len(), 0, "{what}");
        office.desk.set_policer(&set("10pps", "demote:sample")).expect("it is there");
        office.commit();
        // A burst later: within one, a worker asks an empty bucket once.
        assert_eq!(office.punt_at(&packet, now + 1).2[0].class, Class::Sample, "{what}");
        office.desk.set_policer(&set("unlimited", "drop")).expect("it is there");
        office.commit();
    }
    assert!(lanes(&office, "a").contains(&Class::Sample));
    let unknown = office
        .desk
        .set_policer(&policer(r#"{"what":"registration:99","type":"single","rate":"1pps","burst":"1p"}"#));
    assert_eq!(
        unknown.expect_err("it is not there").to_string(),
        "there is no registration 99; puntctl registration list shows them"
    );
    assert_eq!(office.desk.findings(), Vec::<String>::new());
}

/// Rows of all lists, without what was counted.
fn all_rows(desk: &Desk) -> String {
    let json = |value: serde_json::Value| value.to_string();
    let rows = [
        serde_json::to_value(desk.reason_rows()),
        serde_json::to_value(desk.sink_rows()),
        serde_json::to_value(desk.registration_rows()),
        serde_json::to_value(desk.passive_rows()),
        serde_json::to_value(desk.class_rows()),
        serde_json::to_value(desk.policer_rows()),
    ];
    rows.map(|rows| json(rows.expect("rows"))).join("\n")
}

#[test]
fn changes_that_cannot_all_be_done_are_all_put_back() {
    let mut office = Office::with_sinks(&["a", "b"]);
    let own = office.register("udp:5000", "a");
    let built_in = office.register("tcp:179", "b");
    let shown = all_rows(&office.desk);
    let names = office.told.lock().names.clone();
    let refused = office.desk.together(|desk| {
        desk.unregister(own)?;
        desk.unregister(built_in)?;
        desk.delete_sink("a")?;
        desk.add_sink(&sink("c"))?;
        desk.register(wanted("tcp:179", "c").on(1))?;
        desk.register(wanted("udp:5001", "c"))?;
        desk.set_reason(&reason(r#"{"name":"local.bgp","rate":7,"burst":3,"action":"drop"}"#))?;
        desk.set_class(&ClassSet { name: Class::Route, min: Some(1), cap: Some(Rate::PerSecond(2)) })?;
        desk.set_policer(&policer(r#"{"what":"sink:b","type":"single","rate":"5pps","burst":"5p"}"#))?;
        desk.set_passive(PassiveFamily::Ip4, None, Towards::Drop, None, None, Life::Operator)?;
        // Of the name of one that was deleted: its thread ends before the new one begins.
        desk.add_sink(&sink("a"))?;
        desk.register(wanted("udp:1", "nobody"))
    });
    assert_eq!(refused.expect_err("the last one").to_string(), "there is no sink nobody; there are a, b, c");
    let tidied = |text: String| text.replace(r#""memory":262144"#, r#""memory":0"#);
    assert_eq!(tidied(all_rows(&office.desk)), tidied(shown));
    assert_eq!(office.told.lock().names, names);
    let books: Vec<u32> = office.told.lock().books.keys().copied().collect();
    assert_eq!(books, [own, built_in]);
    let mut running: Vec<String> = office.told.lock().running.iter().map(|(name, _)| name.clone()).collect();
    running.sort();
    assert_eq!(running, ["a", "b"]);
    assert_eq!(office.takers(&Packet::udp("10.0.1.7", 5000)), [("a".to_owned(), own)]);
    assert_eq!(office.takers(&bgp()), [("b".to_owned(), built_in)]);
    assert_eq!(office.reason_of(&Packet::udp("10.0.1.7", 5001)), "ip4.unclaimed");
    // The next one makes a reason of its own, not one of those that went.
    let id = office.register("udp:5002", "a");
    assert_eq!(office.takers(&Packet::udp("10.0.1.7", 5002)), [("a".to_owned(), id)]);
}

#[test]
fn lanes_made_in_vain_are_used_the_next_time() {
    let mut office = Office::with_sinks(&["a"]);
    for _ in 0..3 {
        let refused = office.desk.together(|desk| {
            desk.register(wanted("tcp:179", "a"))?;
            desk.register(wanted("udp:1", "nobody"))
        });
        assert!(refused.is_err());
    }
    let sink = &office.desk.state.sinks["a"];
    assert_eq!(sink.sink.lanes().len(), 1, "its thread has as many as the memory says");
    assert_eq!(sink.memory(), 512 << 10);
}

#[test]
fn a_suspended_registration_gets_nothing_and_comes_back_with_its_id() {
    let mut office = Office::with_sinks(&["a", "b"]);
    let own = office.register("udp:5000", "a");
    let peer = office.desk.register(wanted("tcp:179", "b").from("10.0.0.0/8")).expect("nobody is in the way");
    office.commit();
    let packet = Packet::udp("10.0.1.7", 5000);
    office.desk.suspend(&[own, peer], true);
    office.commit();
    assert_eq!(office.reason_of(&packet), "ip4.unclaimed");
    assert_eq!((office.takers(&bgp()), office.reason_of(&bgp())), (vec![], "local.bgp".to_owned()));
    assert!(office.desk.registration_rows().iter().all(|row| row.suspended));
    office.desk.suspend(&[own, peer], false);
    office.commit();
    assert_eq!(office.takers(&packet), [("a".to_owned(), own)]);
    assert_eq!(office.takers(&bgp()), [("b".to_owned(), peer)]);
    assert_eq!(office.reason_of(&bgp()), format!("local.bgp@{peer}"));
}

#[test]
fn what_nobody_claimed_goes_where_its_interface_says() {
    let mut office = Office::with_sinks(&["a", "b"]);
    let port = || Some((2, "port2".to_owned()));
    let family = PassiveFamily::Ip4;
    let set = |office: &mut Office, interface, to| {
        office.desk.set_passive(family, interface, to, None, None, Life::Operator).expect("it can be so");
        office.commit();
    };
    set(&mut office, None, Towards::Sink("a".to_owned()));
    set(&mut office, port(), Towards::Drop);
    let packet = Packet::udp("10.0.1.7", 9);
    assert_eq!(office.takers(&packet), [("a".to_owned(), 0)]);
    assert_eq!(office.punt(&packet.clone().on(2)).0, Fate::ActionDrop);
    assert_eq!(office.punt(&Packet::udp("fd00::1", 9)).0, Fate::NoSink);
    // Who asks for it gets it, wherever the rest goes.
    let id = office.register("reason:ip4.unclaimed", "b");
    assert_eq!(office.takers(&packet), [("a".to_owned(), 0), ("b".to_owned(), id)]);
    assert_eq!(office.takers(&packet.clone().on(2)), [("b".to_owned(), id)]);
    office.desk.delete_passive(family, Some("port2")).expect("it is set");
    office.commit();
    assert_eq!(office.takers(&packet.on(2)), [("a".to_owned(), 0), ("b".to_owned(), id)]);
    let nothing = office.desk.delete_passive(family, Some("port2")).expect_err("it is gone").to_string();
    assert_eq!(nothing, "nothing is set for ip4 from port2; puntctl passive list shows what is");
}

#[test]
fn a_redirection_stays_for_interfaces_that_nobody_asked_for() {
    let mut office = Office::with_sinks(&["a"]);
    let to = Towards::Redirect { interface: "lan".to_owned(), via: None, way: 5 };
    office.desk.set_passive(PassiveFamily::Ip4, None, to, None, None, Life::Operator).expect("it can be so");
    office.desk.register(wanted("reason:ip4.unclaimed", "a").on(2)).expect("nobody is in the way");
    office.commit();
    let packet = Packet::udp("10.0.1.7", 9);
    let base = office.classify(&packet);
    let guard = office.reader.enter();
    let (_, entry) = office.desk.tables.reasons.resolve(base, &packet, &guard);
    let entry = entry.expect("every reason has an entry");
    assert!(entry.deliveries.is_empty(), "an engine redirects it");
    assert!(matches!(entry.passive.of(1).map(|it| &it.to), Some(PassiveTo::Redirect(5))));
}

/// A class is that of a queue, and what is redirected waits in none.
#[test]
fn what_is_demoted_is_redirected_nevertheless() {
    let mut office = Office::new();
    let to = Towards::Redirect { interface: "lan".to_owned(), via: None, way: 5 };
    office.desk.set_passive(PassiveFamily::Ip4, None, to, None, None, Life::Operator).expect("it can be so");
    let set = |red: &str| {
        format!(r#"{{"what": "passive:ip4", "type": "single", "rate": 1, "burst": 1, "red": "{red}"}}"#)
    };
    for (red, passes) in [("drop", 1), ("demote:sample", 3), ("pass", 3)] {
        office.desk.set_policer(&policer(&set(red))).expect("it is there");
        office.commit();
        let base = office.desk.named("ip4.unclaimed").expect("it is there");
        let guard = office.reader.enter();
        let entry = office.desk.tables.reasons.get(base, &guard).expect("it is there");
        let passive = entry.passive.of(1).expect("it is set");
        assert_eq!((0..3).filter(|_| office.outbox.redirect(passive, 60, HZ)).count(), passes, "{red}");
        office.reader.offline();
    }
}

#[test]
fn every_packet_is_in_the_books_once() {
    let mut office = Office::with_sinks(&["a", "b"]);
    let mut slow = wanted("tcp:179", "a");
    slow.limit = Some(Limit::new(1, 3));
    let slow = office.desk.register(slow).expect("nobody is in the way");
    let short = Wanted { snaplen: Some(20), ..wanted("tcp:179", "b") };
    let fast = office.desk.register(short).expect("nobody is in the way");
    office
        .desk
        .set_policer(&policer(r#"{"what":"sink:b","type":"single","rate":"1pps","burst":"4p"}"#))
        .expect("there");
    office
        .desk
        .set_policer(&policer(r#"{"what":"reason:local.bgp","type":"single","rate":"1pps","burst":"10p"}"#))
        .expect("there");
    office.commit();
    for _ in 0..16 {
        let (_, _, got) = office.punt_at(&bgp(), 50 * HZ);
        assert!(got.iter().all(|it| it.captured == if it.sink == "a" { 60 } else { 20 }));
    }
    office.desk.state.sinks["b"].sink.suspend(Some(111));
    assert_eq!(office.punt_at(&bgp(), 51 * HZ).0, Fate::Accepted);
    let row =
        office.desk.reason_rows().into_iter().find(|row| row.name == "local.bgp").expect("a row").counters;
    assert_eq!((row.packets, row.accepted, row.refused_reason, row.bytes), (17, 11, 6, 17 * 60));
    let sinks = office.desk.sink_rows();
    let (a, b) = (&sinks[0].counters, &sinks[1].counters);
    assert_eq!((a.offered, a.refused_registration, a.delivered, a.ring_full), (11, 7, 4, 0));
    assert_eq!((b.offered, b.refused_sink, b.delivered, b.errors.values().sum::<u64>()), (11, 6, 4, 1));
    assert_eq!(b.errors.get("ECONNREFUSED"), Some(&1));
    let registrations = office.desk.registration_rows();
    let of = |id: u32| registrations.iter().find(|row| row.id == id).expect("a row").counters;
    assert_eq!((of(slow).packets, of(slow).refused), (11, 7));
    let fast = of(fast);
    assert_eq!((fast.packets, fast.refused, fast.refused_sink, fast.errors), (11, 0, 6, 1));
    assert_eq!(office.desk.findings(), Vec::<String>::new());
}

#[test]
fn a_full_ring_is_counted_at_its_sink_alone() {
    let mut office = Office::with_sinks(&["a"]);
    let id = office.register("tcp:179", "a");
    let mut packet = bgp();
    packet.frame = vec![1; 9000];
    let base = office.classify(&packet);
    let guard = office.reader.enter();
    let (_, entry) = office.desk.tables.reasons.resolve(base, &packet, &guard);
    let entry = entry.expect("every reason has an entry");
    for _ in 0..70 {
        assert_eq!(office.outbox.offer(entry, base, &packet, false, HZ), Fate::Accepted);
    }
    office.outbox.publish();
    let row = office.desk.sink_rows().remove(0).counters;
    assert_eq!((row.offered, row.ring_full, row.backlog), (70, 13, 57));
    assert_eq!(office.desk.registration_rows()[0].counters.ring_full, 13);
    assert_eq!(office.desk.registration_rows()[0].id, id);
    assert_eq!(office.desk.findings(), Vec::<String>::new());
}

#[test]
fn who_wants_all_high_ports_leaves_the_answers_of_bgp_sessions_to_bgp() {
    let mut office = Office::with_sinks(&["bgpd", "a"]);
    let bgpd = office.register("tcp:179", "bgpd");
    let range = office.register("tcp:1024-65535", "a");
    let answer = Packet::tcp("10.0.1.7", 179, 40_000);
    assert_eq!(office.reason_of(&answer), "local.bgp");
    assert_eq!(office.reason_of(&Packet::tcp("10.0.1.7", 180, 40_000)), "local.tcp-1024-65535");
    assert_eq!(office.takers(&Packet::tcp("10.0.1.7", 180, 40_000)), [("a".to_owned(), range)]);
    office.desk.unregister(bgpd).expect("it is registered");
    office.commit();
    assert_eq!(office.reason_of(&answer), "local.bgp", "it is a built-in's, whoever asks");
}

#[test]
fn a_registration_from_a_source_has_what_an_operator_set_of_its_reason() {
    let mut office = Office::with_sinks(&["a", "b"]);
    let set =
        r#"{"name": "local.bgp", "rate": 77, "burst": 5, "class": "link", "source_rate": 9, "sample": 3}"#;
    office.desk.set_reason(&reason(set)).expect("it can be so");
    let id = office.desk.register(wanted("tcp:179", "a").from("10.0.1.7/32")).expect("nobody is in the way");
    office.commit();
    let figures = |office: &Office, name: &str| {
        let row = office.desk.reason_rows().into_iter().find(|row| row.name == name).expect("it is there");
        (row.rate, row.burst, row.class, row.source_rate, row.sample)
    };
    let name = format!("local.bgp@{id}");
    assert_eq!(figures(&office, &name), figures(&office, "local.bgp"));
    // From then on it is its own.
    office.desk.set_reason(&reason(r#"{"name": "local.bgp", "rate": 78}"#)).expect("it can be so");
    office.commit();
    assert_eq!(figures(&office, &name).0, Some(Rate::PerSecond(77)));
    // What is dropped stays so, from wherever it comes.
    office.desk.set_reason(&reason(r#"{"name": "local.bfd", "action": "drop"}"#)).expect("it can be so");
    office.desk.register(wanted("udp:3784", "b").from("10.0.1.7/32")).expect("nobody is in the way");
    office.commit();
    assert_eq!(office.punt(&Packet::udp("10.0.1.7", 3784)).0, Fate::ActionDrop);
}

/// Or it would be gone after a restart.
#[test]
fn what_a_reason_has_of_another_is_set_of_it() {
    let mut office = Office::with_sinks(&["a"]);
    let set = r#"{"name": "local.bgp", "rate": 77, "action": "drop"}"#;
    office.desk.set_reason(&reason(set)).expect("it can be so");
    let limit =
        r#"{"what": "reason:local.bgp", "type": "single", "rate": 7, "burst": 7, "red": "demote:miss"}"#;
    office.desk.set_policer(&policer(limit)).expect("it is there");
    let id = office.desk.register(wanted("tcp:179", "a").from("10.0.1.7/32")).expect("nobody is in the way");
    office.commit();
    let name = format!("local.bgp@{id}");
    let its = office.desk.set_reasons().into_iter().find(|it| it.name == name);
    assert_eq!(its, Some(reason(&set.replace("local.bgp", &name))));
    let its: Vec<_> = office.desk.set_limits().1.into_iter().map(|it| it.what.to_string()).collect();
    assert_eq!(its, ["reason:local.bgp".to_owned(), format!("reason:{name}")]);
    office.desk.unregister(id).expect("it is registered");
    assert_eq!((office.desk.set_reasons().len(), office.desk.set_limits().1.len()), (1, 1));
}

#[test]
fn what_ships_as_dropped_is_not_dropped_for_who_asks_for_some_of_it() {
    let mut office = Office::with_sinks(&["a", "b"]);
    let all = office.register("reason:ip4.no-route", "a");
    let some = office.desk.register(wanted("reason:ip4.no-route", "b").on(1)).expect("nobody is in the way");
    office.commit();
    let packet = || Packet::udp("10.0.1.7", 9).of("ip4.no-route");
    let (a, b) = (("a".to_owned(), all), ("b".to_owned(), some));
    assert_eq!(office.takers(&packet()), [a.clone(), b]);
    assert_eq!(office.takers(&packet().on(2)), [a]);
}

#[test]
fn frames_of_a_type_that_several_reasons_have_keep_theirs() {
    let mut office = Office::with_sinks(&["a", "b"]);
    let id = office.register("ethertype:0x8809", "a");
    assert!(office.desk.reasons().all(|(_, reason)| reason.made_by.is_none()), "it makes no other");
    let lacp = Packet::link(Some(0x8809), None, 2).of("l2.lacp");
    let marker = Packet::link(Some(0x8809), None, 2).of("l2.lacp-marker");
    let other = Packet::link(Some(0x8809), None, 2);
    for (packet, name) in [(&lacp, "l2.lacp"), (&marker, "l2.lacp-marker"), (&other, "l2.unclaimed")] {
        assert_eq!(
            (office.reason_of(packet).as_str(), office.takers(packet)),
            (name, vec![("a".to_owned(), id)])
        );
    }
    // What is for one interface has a reason of its own, as important as the first of them.
    office.desk.register(wanted("ethertype:0x8809", "b").on(1)).expect("nobody is in the way");
    office.commit();
    let (_, name, got) = office.punt(&lacp);
    assert_eq!((name.as_str(), got[0].class), ("l2.ethertype-0x8809@2", Class::Link));
    // Whoever asked for all of them still gets these, too.
    assert_eq!(office.takers(&lacp).len(), 2);
}

#[test]
fn no_id_is_given_twice_even_when_there_are_no_more() {
    let mut office = Office::with_sinks(&["a"]);
    office.desk.ids = Ids { reason: u32::MAX - 1, registration: u32::MAX - 2 };
    let last = office.register("udp:5000", "a");
    assert_eq!((last, office.desk.ids.reason), (u32::MAX - 1, u32::MAX));
    let used_up =
        |of: &str| format!("all ids of {of} are used up, and none is given twice; restart the engine");
    assert_eq!(office.refused(wanted("udp:5001", "a")), used_up("reasons"));
    office.register("tcp:179", "a");
    assert_eq!(office.refused(wanted("udp:3784", "a")), used_up("registrations"));
}

#[test]
fn types_and_protocols_side_by_side_are_all_claimed_in_one_go() {
    let mut office = Office::with_sinks(&["a"]);
    let matches = ["proto:200", "proto:201", "icmp:13", "icmp:14", "icmp6:200", "icmp6:201", "proto:202"];
    for it in matches {
        office.desk.register(wanted(it, "a")).expect("nobody is in the way");
    }
    office.commit();
    for protocol in [200, 201, 202] {
        assert_eq!(office.reason_of(&Packet::local("10.0.1.7", protocol)), format!("local.proto-{protocol}"));
    }
    for (from, protocol, kind, reason) in [
        ("10.0.1.7", 1, 13, "local.icmp-13"),
        ("10.0.1.7", 1, 14, "local.icmp-14"),
        ("fd00::1", 58, 200, "local.icmp6-200"),
        ("fd00::1", 58, 201, "local.icmp6-201"),
    ] {
        let mut packet = Packet::local(from, protocol);
        packet.facts.kind = Some(kind);
        assert_eq!(office.reason_of(&packet), reason);
    }
}

#[test]
fn who_takes_what_nobody_claimed_is_not_in_the_way_of_who_claims_it_alone() {
    let mut office = Office::with_sinks(&["a", "b"]);
    office.desk.register(wanted("reason:ip4.*", "a")).expect("nobody is in the way");
    for (matching, interface) in [("udp:5000", None), ("udp:6000", Some((1, "lan".to_owned())))] {
        let alone = Wanted { exclusive: true, interface, ..wanted(matching, "b") };
        office.desk.register(alone).expect("its packets are ip4.unclaimed no more");
    }
    office.commit();
    for port in [5000, 6000] {
        let takers = office.punt(&Packet::udp("10.0.1.7", port).on(1)).2;
        assert_eq!(takers.iter().map(|it| it.sink.as_str()).collect::<Vec<_>>(), ["b"], "{port}");
    }
}

#[test]
fn what_was_set_of_a_policer_goes_with_what_it_policed() {
    let mut office = Office::with_sinks(&["a"]);
    let id = office.register("udp:5000", "a");
    let to = || Towards::Sink("a".to_owned());
    office
        .desk
        .set_passive(PassiveFamily::Ip4, None, to(), None, None, Life::Operator)
        .expect("it can be so");
    for what in [&format!("registration:{id}"), "sink:a", "passive:ip4", "reason:local.udp-5000"] {
        let json = format!(r#"{{"what": "{what}", "type": "single", "rate": 7, "burst": 7}}"#);
        office.desk.set_policer(&policer(&json)).expect("it is there");
    }
    let set = |office: &Office| -> Vec<String> {
        office.desk.set_limits().1.iter().map(|set| set.what.to_string()).collect()
    };
    assert_eq!(set(&office).len(), 4);
    office.desk.unregister(id).expect("it is registered");
    assert_eq!(set(&office), ["sink:a", "passive:ip4"]);
    office
        .desk
        .set_passive(PassiveFamily::Ip4, None, to(), None, None, Life::Operator)
        .expect("it can be so");
    assert_eq!(set(&office), ["sink:a"], "another entry stands there");
    office.desk.delete_passive(PassiveFamily::Ip4, None).expect("it is set");
    office.desk.delete_sink("a").expect("nothing goes there");
    assert_eq!(set(&office), Vec::<String>::new());
}

#[test]
fn a_policer_that_is_taken_back_has_the_limit_of_what_it_polices() {
    let mut office = Office::with_sinks(&["a"]);
    let limit = Some(Limit::new(50, 5));
    let id = office.desk.register(Wanted { limit, ..wanted("udp:3784", "a") }).expect("nobody is in the way");
    let what = Policed::Registration(id);
    let json =
        format!(r#"{{"what": "{what}", "type": "rfc2698", "rate": 7, "burst": 7, "peak": 9, "excess": 9}}"#);
    office.desk.set_policer(&policer(&json)).expect("it is there");
    office.commit();
    let config =
        |office: &Office| office.desk.state.registrations.get(&id).expect("it is there").policer.config();
    assert_eq!(config(&office).rate, Rate::PerSecond(7));
    office.desk.reset_policer(&what);
    office.commit();
    assert_eq!(config(&office), Config::packets(Rate::PerSecond(50), 5));
    assert!(office.desk.set_limits().1.is_empty());
}

#[test]
fn a_passive_entry_without_a_limit_whose_policer_is_taken_back_has_its_reasons_again() {
    let mut office = Office::with_sinks(&["a"]);
    let to = Towards::Sink("a".to_owned());
    office.desk.set_passive(PassiveFamily::Ip4, None, to, None, None, Life::Config).expect("there is room");
    office
        .desk
        .set_reason(&reason(r#"{"name": "ip4.unclaimed", "rate": 1, "burst": 3}"#))
        .expect("it can be so");
    let set = r#"{"what": "passive:ip4", "type": "single", "rate": 1, "burst": 5}"#;
    office.desk.set_policer(&policer(set)).expect("it is there");
    office.commit();
    let accepted = |office: &mut Office, now| {
        let packet = Packet::udp("10.0.1.7", 9);
        (0..20).filter(|_| office.punt_at(&packet, now).0 == Fate::Accepted).count()
    };
    assert_eq!(accepted(&mut office, HZ), 5);
    office.desk.reset_policer(&Policed::Passive { family: PassiveFamily::Ip4, interface: None });
    office.commit();
    assert_eq!(accepted(&mut office, 2 * HZ), 3);
}

#[test]
fn a_class_has_no_packets_of_which_a_worker_has_not_counted_all_yet() {
    let office = Office::new();
    let bfd =
        office.desk.by_index(office.desk.named("local.bfd").expect("it is there")).expect("it is there");
    // It counts what is demoted at once, and all packets of a burst at its end.
    bfd.counts[0].demoted[Class::Route as usize].accepted.add(1);
    let packets =
        |class| office.desk.class_rows().into_iter().find(|row| row.name == class).map(|row| row.packets);
    assert_eq!((packets(Class::Link), packets(Class::Route)), (Some(0), Some(1)));
}

#[test]
fn who_takes_a_sink_over_takes_it_with_the_policer_that_was_set() {
    let mut office = Office::with_sinks(&["a"]);
    let set = r#"{"what": "sink:a", "type": "single", "rate": 7, "burst": 7}"#;
    office.desk.set_policer(&policer(set)).expect("it is there");
    let again = SinkAdd { rate: Some(Rate::PerSecond(50)), ..sink("a") };
    office.desk.take_over_sink(&again).expect("it is there");
    assert_eq!(office.desk.sink_list()[0].rate, Some(Rate::PerSecond(7)));
    assert_eq!(office.desk.set_limits().1.len(), 1);
    office.desk.reset_policer(&Policed::Sink("a".to_owned()));
    assert_eq!(office.desk.sink_list()[0].rate, Some(Rate::PerSecond(50)));
}

#[test]
fn two_sinks_never_write_to_one_place_however_it_is_spelled() {
    let mut office = Office::new();
    let mut add = |name: &str, target: &str| {
        let target = target.parse().expect("a target");
        office.desk.add_sink(&SinkAdd { target, ..sink(name) }).map_err(|refused| refused.to_string())
    };
    assert_eq!(add("a", "pcapng:x/bgp.pcapng"), Ok(()));
    let there =
        |sink: &str, target: &str| Err(format!("sink {sink} goes to {target} already; write another target"));
    for spelled in ["pcapng:./x/bgp.pcapng", "pcapng:x//bgp.pcapng?size=1M", "pcapng:x/./bgp.pcapng?files=2"]
    {
        assert_eq!(add("b", spelled), there("a", "pcapng:x/bgp.pcapng"), "{spelled}");
    }
    assert_eq!(add("b", "pcapng:x/bgp.pcapng.1"), there("a", "pcapng:x/bgp.pcapng"), "an older file of a");
    assert_eq!(add("u", "unix:/run/x/punt.sock"), Ok(()));
    assert_eq!(add("b", "unix:/run//x/./punt.sock?header=vpp"), there("u", "unix:/run/x/punt.sock"));
    assert_eq!(add("n", "null"), Ok(()));
    assert_eq!(add("m", "null"), Ok(()));
    let place = |target: &str| target.parse::<Target>().expect("a target").place("/var/lib/puntd/".as_ref());
    assert_eq!(place("pcapng:/var/lib/puntd/x.pcapng"), place("pcapng:x.pcapng"));
    assert_ne!(place("pcapng:y.pcapng"), place("pcapng:x.pcapng"));
}

#[test]
fn sinks_that_are_deleted_together_are_all_asked_to_end_before_any_is_waited_for() {
    let mut office = Office::with_sinks(&["a", "b", "c"]);
    office
        .desk
        .together(|desk| ["a", "b", "c"].into_iter().try_for_each(|name| desk.delete_sink(name)))
        .expect("they are unused");
    assert_eq!(office.told.lock().ends, ["ask a", "ask b", "ask c", "close a", "close b", "close c"]);
}

#[test]
fn what_a_scoped_pattern_does_not_cover_is_still_redirected_and_what_is_dropped_is_in_the_books() {
    let mut office = Office::with_sinks(&["a"]);
    let to = Towards::Redirect { interface: "lan".to_owned(), via: None, way: 5 };
    office.desk.set_passive(PassiveFamily::Ip4, None, to, None, None, Life::Operator).expect("it can be so");
    office.desk.register(wanted("reason:ip4.*", "a").from("10.0.1.7/32")).expect("nobody is in the way");
    office.commit();
    let wants = |office: &mut Office, packet: &Packet| {
        let base = office.classify(packet);
        let guard = office.reader.enter();
        let (index, entry) = office.desk.tables.reasons.resolve(base, packet, &guard);
        assert_eq!(index, base);
        entry.expect("every reason has an entry").wants(base, packet)
    };
    assert!(wants(&mut office, &Packet::udp("10.0.1.7", 9)));
    assert!(!wants(&mut office, &Packet::udp("10.0.1.8", 9)), "an engine redirects it");
    assert_eq!(office.desk.ways().collect::<Vec<_>>(), [5]);
    office.reader.offline();
    office
        .desk
        .set_passive(PassiveFamily::Ip4, None, Towards::Drop, None, None, Life::Operator)
        .expect("it can be so");
    office.commit();
    assert_eq!(office.punt(&Packet::udp("10.0.1.8", 9)).0, Fate::ActionDrop);
    let row = &office.desk.passive_rows()[0];
    assert_eq!((row.drop, row.counters.packets, row.counters.hits), (true, 1, 1));
    assert_eq!(office.desk.ways().count(), 0);
}

#[test]
fn who_asks_for_a_port_from_a_source_has_it_also_when_another_made_a_reason_of_nobodys_packets_from_there() {
    let mut office = Office::with_sinks(&["a", "b"]);
    let near = wanted("reason:ip4.unclaimed", "b").from("10.0.1.0/24");
    let near = office.desk.register(near).expect("nobody is in the way");
    let port =
        office.desk.register(wanted("udp:5000-5001", "a").from("10.0.0.0/8")).expect("nobody is in the way");
    office.commit();
    let packet = Packet::udp("10.0.1.7", 5000);
    assert_eq!(office.reason_of(&packet), format!("ip4.unclaimed@{near}"));
    assert_eq!(office.takers(&packet), [("a".to_owned(), port), ("b".to_owned(), near)]);
    office.desk.unregister(port).expect("it is registered");
    office.commit();
    assert_eq!(office.takers(&packet), [("b".to_owned(), near)]);
    // In the other order, too.
    let port =
        office.desk.register(wanted("udp:5000-5001", "a").from("10.0.0.0/8")).expect("nobody is in the way");
    office.commit();
    assert_eq!(office.takers(&packet), [("a".to_owned(), port), ("b".to_owned(), near)]);
}

#[test]
fn nobody_has_alone_what_a_less_specific_registration_sees_in_the_reason_that_it_makes() {
    let near = || wanted("reason:ip4.unclaimed", "b").from("10.0.1.0/24");
    let far = || wanted("tcp:180/any", "a").from("10.0.0.0/8");
    let mut office = Office::with_sinks(&["a", "b"]);
    office.desk.register(far()).expect("nobody is in the way");
    assert!(office.refused(near().exclusively()).contains("cannot be exclusive beside registration 1"));
    let mut office = Office::with_sinks(&["a", "b"]);
    office.desk.register(near().exclusively()).expect("nobody is in the way");
    assert!(office.refused(far()).contains("is in the way of the exclusive registration 1"));
    // What is more specific is nobody's no more.
    office.desk.register(wanted("tcp:180", "a").from("10.0.1.7/32")).expect("nobody is in the way");
}

//! What is changed in place.

use super::*;
use crate::control::types::passive::PassiveFamily;
use crate::control::types::{ClassSet, ReasonSet};

fn of(name: &str, target: &str, rate: Option<u64>) -> SinkAdd {
    let target = target.parse().expect("a target");
    SinkAdd { target, rate: rate.map(Rate::PerSecond), ..sink(name) }
}

#[test]
fn who_goes_to_a_sink_goes_to_what_becomes_of_it() {
    let mut office = Office::with_sinks(&["a"]);
    let id = office.register("udp:3784", "a");
    let to = Towards::Sink("a".to_owned());
    office.desk.set_passive(PassiveFamily::Ip4, None, to, None, None, Life::Operator).expect("there is room");
    office.commit();
    let (bfd, nobodys) = (Packet::udp("10.0.1.7", 3784), Packet::udp("10.0.1.7", 9));
    assert_eq!(office.takers(&bfd), [("a".to_owned(), id)]);

    // Another limit is no other sink.
    let before = office.told.lock().running.clone();
    office.desk.change_sink(&of("a", "null", Some(7))).expect("it is there");
    office.commit();
    assert_eq!(office.told.lock().running, before);
    assert_eq!(office.desk.sink_rows()[0].rate, Some(Rate::PerSecond(7)));

    // Another target is, and the one before has ended when it begins.
    office.desk.change_sink(&of("a", "unix:/run/a", None)).expect("it is there");
    office.commit();
    assert_eq!(office.told.lock().ends, ["ask a", "close a"]);
    assert_eq!(office.told.lock().running.len(), 1);
    assert_eq!(office.takers(&bfd), [("a".to_owned(), id)]);
    assert_eq!(office.takers(&nobodys), [("a".to_owned(), 0)]);
    let row = &office.desk.registration_rows()[0];
    assert_eq!((row.id, row.counters.packets), (id, 2), "it counts on");
}

#[test]
fn two_sinks_change_places_and_a_third_takes_that_of_one_that_goes() {
    let mut office = Office::new();
    for (name, target) in [("a", "unix:/run/a"), ("b", "unix:/run/b"), ("c", "tap:c")] {
        office.desk.add_sink(&of(name, target, None)).expect("a new sink");
    }
    let ids = [office.register("udp:1", "a"), office.register("udp:2", "b")];
    let change = |desk: &mut Desk| {
        desk.lift_sink("a");
        desk.lift_sink("b");
        desk.delete_sink("c")?;
        desk.change_sink(&of("a", "unix:/run/b", None))?;
        desk.change_sink(&of("b", "unix:/run/a", None))?;
        desk.add_sink(&of("d", "tap:c", None))
    };
    office.desk.together(change).expect("nobody is in the way");
    let rows = office.desk.sink_rows();
    let targets: Vec<_> = rows.iter().map(|row| format!("{} {}", row.name, row.target)).collect();
    assert_eq!(targets, ["a unix:/run/b", "b unix:/run/a", "d tap:c"]);
    assert_eq!(office.told.lock().ends.len(), 6, "all three have ended");
    assert_eq!(office.takers(&Packet::udp("10.0.1.7", 1)), [("a".to_owned(), ids[0])]);
    assert_eq!(office.takers(&Packet::udp("10.0.1.7", 2)), [("b".to_owned(), ids[1])]);

    // All of it comes back if the last is refused.
    let change = |desk: &mut Desk| {
        desk.lift_sink("a");
        desk.change_sink(&of("a", "unix:/run/c", None))?;
        desk.add_sink(&of("e", "unix:/run/c", None))
    };
    office.desk.together(change).expect_err("it is a's");
    assert_eq!(office.desk.sink_rows()[0].target.to_string(), "unix:/run/b");
    assert_eq!(office.takers(&Packet::udp("10.0.1.7", 1)), [("a".to_owned(), ids[0])]);
}

#[test]
fn a_target_that_cannot_be_opened_leaves_what_was_there() {
    let mut office = Office::with_sinks(&["a"]);
    let id = office.register("udp:3784", "a");
    let change = |desk: &mut Desk| desk.change_sink(&of("a", "unix:/missing", None));
    let refused = office.desk.together(change).expect_err("it is missing").to_string();
    assert_eq!(refused, "unix:/missing cannot be opened");
    assert_eq!(office.takers(&Packet::udp("10.0.1.7", 3784)), [("a".to_owned(), id)]);
    assert_eq!(office.desk.sink_rows()[0].target, Target::Null);
}

/// Its packets count under an errno, and not as lost in a ring that nobody empties.
#[test]
fn a_sink_that_cannot_be_opened_again_is_suspended() {
    let mut office = Office::new();
    office.desk.add_sink(&of("a", "unix:/run/a", None)).expect("a new sink");
    office.register("udp:3784", "a");
    let change = |desk: &mut Desk| {
        // The thread of the one that goes has ended when the next begins.
        desk.change_sink(&of("a", "null", None))?;
        desk.delete_sink("none")
    };
    office.told.lock().missing.push("unix:/run/a".to_owned());
    office.desk.together(change).expect_err("there is no such sink");
    let (fate, _, got) = office.punt(&Packet::udp("10.0.1.7", 3784));
    assert_eq!((fate, got), (Fate::Accepted, vec![]));
    let row = &office.desk.sink_rows()[0];
    assert_eq!(
        (row.target.to_string(), row.counters.errors.get("EIO")),
        ("unix:/run/a".to_owned(), Some(&1))
    );
}

#[test]
fn a_registration_with_another_limit_and_snaplen_keeps_its_id_and_counts_on() {
    let mut office = Office::with_sinks(&["a"]);
    let id = office.register("udp:3784", "a");
    let bfd = Packet::udp("10.0.1.7", 3784);
    office.punt(&bfd);
    let mut changed = wanted("udp:3784", "a");
    (changed.limit, changed.snaplen) = (limit_of(Some(Rate::PerSecond(1)), Some(1)), Some(20));
    assert_eq!(office.desk.registered(&changed), Some(id));
    assert!(!office.desk.is_registered_so(id, &changed));
    office.desk.change_registration(id, &changed).expect("it is there");
    office.commit();
    assert!(office.desk.is_registered_so(id, &changed));
    let got: Vec<Got> = (0..2).flat_map(|_| office.punt_at(&bfd, 100 * HZ).2).collect();
    assert_eq!(got.iter().map(|got| (got.registration, got.captured)).collect::<Vec<_>>(), [(id, 20)]);
    let row = &office.desk.registration_rows()[0];
    assert_eq!((row.counters.packets, row.counters.refused), (3, 1));
}

#[test]
fn the_budget_and_its_classes_are_set_as_one() {
    let mut office = Office::new();
    office.desk.set_budget(Rate::PerSecond(60_000), &Class::ALL, &[]).expect("as it ships");
    let set = |name, min, cap| ClassSet { name, min: Some(min), cap: Some(Rate::PerSecond(cap)) };
    // In either order of its two, neither alone would do.
    for sets in [
        [set(Class::Link, 40_000, 80_000), set(Class::Route, 100, 30_000)],
        [set(Class::Link, 100, 80_000), set(Class::Route, 40_000, 90_000)],
    ] {
        office.desk.set_budget(Rate::PerSecond(60_000), &[], &sets).expect("together they fit");
        assert_eq!(office.desk.set_limits().0, sets);
    }
    let all = [set(Class::Link, 60_000, 80_000)];
    office.desk.set_budget(Rate::PerSecond(100_000), &[Class::Route], &all).expect("it fits");
    let refused = office.desk.set_budget(Rate::PerSecond(60_000), &[], &[]).expect_err("link alone has all");
    assert!(refused.to_string().starts_with("the minima of all classes add up to "), "{refused}");
    office.desk.set_budget(Rate::PerSecond(60_000), &[Class::Link], &[]).expect("as it ships");
    assert_eq!(office.desk.set_limits().0, []);
}

#[test]
fn each_setting_of_a_reason_is_taken_back_for_itself() {
    let mut office = Office::new();
    let set = |json: &str| -> ReasonSet { serde_json::from_str(json).expect("what to set") };
    office.desk.set_reason(&set(r#"{"name":"local.bfd","rate":11,"burst":77}"#)).expect("it can be so");
    office.desk.unset_reason(&set(r#"{"name":"local.bfd","burst":77}"#)).expect("there is room");
    assert_eq!(office.desk.set_reasons(), [set(r#"{"name":"local.bfd","rate":11}"#)]);
    let row = office.desk.reason_rows().into_iter().find(|row| row.name == "local.bfd").expect("it is there");
    assert_eq!(row.rate, Some(Rate::PerSecond(11)));
    assert_ne!(row.burst, Some(77));
}

#[test]
fn who_makes_a_reason_can_be_told() {
    let mut office = Office::with_sinks(&["a", "b"]);
    let id = office.register("udp:5000", "a");
    let also = office.register("udp:5000", "b");
    assert_eq!(office.desk.reason_of(also), Some("local.udp-5000"));
    assert_eq!(office.desk.makers("local.udp-5000"), Some(vec![id, also]));
    assert_eq!(office.desk.makers("local.bfd"), None);
    assert!(office.desk.covers_built_in("local.*") && !office.desk.covers_built_in("local.udp-5000"));
}

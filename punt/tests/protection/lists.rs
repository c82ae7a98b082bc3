//! What lists show of limits that are in force, and of whom.

use punt::Class;

use super::office::{HZ, Office, Packet};

fn ssh(count: usize) -> Vec<Packet> {
    vec![Packet { reason: 5, interface: 1, source: 1, bytes: 60 }; count]
}

#[test]
fn lists_show_the_limit_that_is_in_force() {
    let mut office = Office::new(1);
    office.add_sink("bgpd", Some((500, 50)));
    let id = office.register("tcp:179", "bgpd", None, Some((40, 4)));
    let shown = |office: &Office| {
        let sink = office.desk.sink_list().into_iter().find(|row| row.name == "bgpd").expect("a row");
        let its = office.desk.registration_list().into_iter().find(|row| row.id == id).expect("a row");
        let reason =
            office.desk.reason_rows().into_iter().find(|row| row.name == "local.bgp").expect("a row");
        let rate = |rate: Option<punt::value::Rate>| rate.map(|rate| rate.to_string());
        [
            (rate(sink.rate), sink.burst, sink.policer),
            (rate(its.rate), its.burst, its.policer),
            (rate(reason.rate), reason.burst, reason.policer),
        ]
    };
    let packets = |rate: &str, burst, policer: Option<&str>| {
        (Some(rate.to_owned()), Some(burst), policer.map(str::to_owned))
    };
    assert_eq!(
        shown(&office),
        [packets("500", 50, None), packets("40", 4, None), packets("10000", 5_000, None)]
    );
    let sets = |what: &str| format!(r#"{{"what": "{what}", "type": "single", "rate": 77, "burst": 7}}"#);
    for what in ["sink:bgpd", &format!("registration:{id}"), "reason:local.bgp"] {
        office.set("policer.set", &sets(what));
    }
    assert_eq!(shown(&office), [packets("77", 7, None), packets("77", 7, None), packets("77", 7, None)]);
    office.set(
        "policer.set",
        r#"{"what": "sink:bgpd", "type": "rfc2697", "rate": "8000000bps", "burst": "15000B", "excess": "30000B"}"#,
    );
    office.set(
        "policer.set",
        r#"{"what": "reason:local.bgp", "type": "single", "rate": 9, "burst": 3, "red": "demote:miss"}"#,
    );
    assert_eq!(
        shown(&office),
        [
            (None, None, Some("rfc2697 8000000bps 15000B excess 30000B".to_owned())),
            packets("77", 7, None),
            packets("9", 3, Some("single 9pps 3p red demote:miss")),
        ]
    );
    assert_eq!(
        office.desk.sink_rows()[0].rate.map(|rate| rate.to_string()),
        Some("500".to_owned()),
        "as asked for"
    );
}

#[test]
fn a_class_that_has_no_room_for_what_is_demoted_to_it_is_the_one_that_counts_it() {
    let mut office = Office::new(1);
    office.set("class.set", r#"{"name": "miss", "min": 0, "cap": 160}"#);
    office.set(
        "policer.set",
        r#"{"what": "reason:local.ssh", "type": "single", "rate": 1, "burst": 10, "red": "demote:miss"}"#,
    );
    office.workers()[0].burst(HZ, ssh(100), |_, _| {});
    let of = |class: Class| {
        let row = office.desk.class_rows().into_iter().find(|row| row.name == class).expect("a row");
        (row.packets, row.refused, row.accepted)
    };
    assert_eq!((of(Class::Mgmt), of(Class::Miss)), ((10, 0, 10), (90, 74, 16)));
    assert_eq!(office.reason("local.ssh").refused_class, 74);
    office.assert_books();
}

#[test]
fn a_reason_that_is_no_more_has_no_sources() {
    let mut office = Office::new(1);
    office.add_sink("bgpd", None);
    let id = office.register("tcp:179", "bgpd", Some("0.0.0.5/32"), None);
    let peer = Packet { reason: 7, interface: 1, source: 5, bytes: 60 };
    office.workers()[0].burst(HZ, vec![peer; 100], |_, _| {});
    let names = |office: &Office| -> Vec<String> {
        let rows = office.desk.source_rows(None, |_| String::new()).expect("no reason is named");
        rows.into_iter().map(|row| row.reason).collect()
    };
    assert_eq!(names(&office), [format!("local.bgp@{id}")]);
    office.desk.unregister(id).expect("it is there");
    office.desk.commit();
    assert_eq!(names(&office), Vec::<String>::new());
}

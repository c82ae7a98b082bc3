//! What becomes of packets that are yellow or red, and what limits hold for them all the same.

use super::office::{HZ, Office, Packet};

/// Packets of SSH from so many sources in turn.
fn packets(count: u32, sources: u32) -> impl Iterator<Item = Packet> {
    (0..count).map(move |at| Packet { reason: 5, interface: 1, source: 1 + at % sources, bytes: 60 })
}

/// What `daemon` got of a burst of packets, by class.
fn burst(office: &Office, packets: impl IntoIterator<Item = Packet>) -> [u64; 8] {
    let mut by_class = [0; 8];
    office.workers()[0].burst(HZ, packets, |_, got| by_class[usize::from(got.class)] += 1);
    office.assert_books();
    by_class
}

fn office(policer: &str) -> Office {
    let mut office = Office::new(1);
    for class in ["mgmt", "miss"] {
        office.set("class.set", &format!(r#"{{"name": "{class}", "cap": "unlimited"}}"#));
    }
    office.set("policer.set", &format!(r#"{{"what": "reason:local.ssh", {policer}}}"#));
    office
}

#[test]
fn what_is_red_and_goes_on_is_refused_by_no_share() {
    for sources in [1, 7] {
        let passes = office(r#""type": "single", "rate": 100, "burst": 100, "red": "pass""#);
        assert_eq!(burst(&passes, packets(1_000, sources)), [0, 0, 0, 0, 1_000, 0, 0, 0]);
        let demotes = office(r#""type": "single", "rate": 100, "burst": 100, "red": "demote:miss""#);
        assert_eq!(burst(&demotes, packets(600, sources)), [0, 500, 0, 0, 100, 0, 0, 0]);
    }
}

#[test]
fn ceilings_hold_whatever_the_policer_counts_and_does_with_red() {
    for policer in [
        r#""type": "single", "rate": "8000000bps", "burst": "1000B""#,
        r#""type": "single", "rate": 100, "burst": 100, "red": "pass""#,
        r#""type": "rfc2697", "rate": "8000bps", "burst": "70B", "excess": "70B""#,
        r#""type": "rfc2698", "rate": 1, "burst": 1, "peak": 1000, "excess": 1000, "red": "demote:miss""#,
    ] {
        let mut office = office(policer);
        office.set("reason.set", r#"{"name": "local.ssh", "source_rate": 0}"#);
        assert_eq!(burst(&office, packets(200, 2)), [0; 8], "{policer}");
        assert_eq!(office.reason("local.ssh").refused_source, 200, "{policer}");
        office.set("reason.set", r#"{"name": "local.ssh", "source_rate": "unlimited", "interface_rate": 0}"#);
        burst(&office, packets(200, 2));
        assert_eq!(office.reason("local.ssh").refused_interface, 200, "{policer}");
    }
}

#[test]
fn a_policer_demotes_to_lower_classes_only() {
    let mut office = Office::new(1);
    let link = r#"{"what": "reason:ip4.ttl-expired", "type": "single", "rate": 1, "burst": 1, "red": "demote:link"}"#;
    assert_eq!(
        office.refuses(link),
        "--red of reason:ip4.ttl-expired is demote:link, and its class except is not above that; \
         write demote:miss, demote:sample, pass or drop"
    );
    assert!(office.refuses(&link.replace("link", "except")).contains("its class except is not above"));
    // A sink has packets of many classes: those below stay where they are.
    office.set("class.set", r#"{"name": "mgmt", "cap": "unlimited"}"#);
    office.set("reason.set", r#"{"name": "local.ssh", "rate": "unlimited"}"#);
    for (to, expected) in [
        ("link", [0, 0, 0, 0, 100, 0, 0, 0]),
        ("mgmt", [0, 0, 0, 0, 100, 0, 0, 0]),
        ("miss", [0, 90, 0, 0, 10, 0, 0, 0]),
    ] {
        let policer =
            r#"{"what": "sink:daemon", "type": "single", "rate": 1, "burst": 10, "red": "demote:TO"}"#;
        office.set("policer.set", &policer.replace("TO", to));
        assert_eq!(burst(&office, packets(100, 1)), expected, "{to}");
        office.set(
            "policer.set",
            r#"{"what": "sink:daemon", "type": "single", "rate": "unlimited", "burst": 10}"#,
        );
    }
}

#[test]
fn a_reason_may_not_come_to_be_as_low_as_what_its_own_policer_demotes_to() {
    let mut office = Office::new(1);
    office.set("policer.set", r#"{"what": "reason:ip4.ttl-expired", "type": "single", "rate": 1, "burst": 1, "red": "demote:miss"}"#);
    let check = |class: &str| {
        let wanted = format!(r#"{{"name": "ip4.ttl-expired", "class": "{class}"}}"#);
        office
            .desk
            .check_class(&serde_json::from_str(&wanted).expect("a reason"))
            .map_err(|refused| refused.to_string())
    };
    assert_eq!(check("mcast"), Ok(()));
    let begins = "--red of reason:ip4.ttl-expired is demote:miss, and its class";
    assert_eq!(
        check("miss"),
        Err(format!("{begins} miss is not above that; write demote:sample, pass or drop"))
    );
    assert_eq!(check("sample"), Err(format!("{begins} sample is not above that; write pass or drop")));
}

/// Colour-aware, as the RFCs have it: a yellow packet takes nothing of what is committed.
#[test]
fn what_the_reason_marked_yellow_is_yellow_for_the_sink() {
    let mut office = office(
        r#""type": "rfc2698", "rate": 1, "burst": 30, "peak": 1000, "excess": 100, "yellow": "demote:miss""#,
    );
    office.set(
        "policer.set",
        r#"{"what": "sink:daemon", "type": "rfc4115", "rate": 1000, "burst": 1000, "peak": 1, "excess": 20}"#,
    );
    assert_eq!(burst(&office, packets(100, 1)), [0, 20, 0, 0, 30, 0, 0, 0]);
    assert_eq!(office.desk.sink_rows()[0].counters.refused_sink, 50);
    let registration = office.desk.registration_rows().into_iter().find(|row| row.reason == "local.ssh");
    let counted = registration.expect("there is one").counters;
    assert_eq!((counted.packets, counted.refused, counted.refused_sink), (100, 0, 50));
}

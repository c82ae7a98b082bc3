//! What is saved can be read again: by an engine that starts with it, and by the one that saved it.

use serde_json::{Value, json};

use super::{call, call_in, router, saved};
use crate::config::Config;
use crate::control::testing::{eal, small};
use crate::control::{Control, Session};
use crate::rehearsal::{Others, rehearse};

fn must(control: &mut Control, method: &str, params: Value) -> Value {
    call(control, method, params.clone())
        .unwrap_or_else(|error| panic!("{method} {params}: {}", error.message))
}

/// Saves. Whoever starts with that is not refused, and applying it changes nothing.
fn saved_for_good(control: &mut Control) -> String {
    let text = saved(control).1;
    let config = Config::parse(&text, "saved").expect("it reads");
    let statics = crate::reasons::statics(&control.plan);
    assert_eq!(rehearse(&config, statics, 2, &Others::default()), Vec::<String>::new(), "{text}");
    assert_eq!(
        must(control, "config.apply", json!({ "text": text }))["notes"][0],
        "nothing changed",
        "{text}"
    );
    assert_eq!(saved(control).1, text);
    text
}

/// The part about punting, without what every file has.
fn about(text: &str) -> Vec<&str> {
    let from = text.find("\n[[sink]]").unwrap_or(text.len());
    text[from..].lines().filter(|line| !line.is_empty()).collect()
}

#[test]
fn what_only_a_session_makes_is_left_out_and_said() {
    let _eal = eal(192);
    let mut control = router(small());
    let mut session = Session::default();
    must(&mut control, "sink.add", json!({"name": "cap", "target": "null"}));
    let sink = json!({"name": "theirs", "target": "null", "life": "session"});
    call_in(&mut control, &mut session, "sink.add", sink).expect("it is new");
    let register = json!({"match": "udp:5000", "sink": "theirs", "life": "session"});
    call_in(&mut control, &mut session, "register", register).expect("nobody has it");
    for (method, params) in [
        ("reason.set", json!({"name": "local.udp-5000", "rate": 33})),
        ("register", json!({"match": "reason:local.udp-5000", "sink": "cap"})),
        ("register", json!({"match": "reason:local.udp-5000", "sink": "cap", "source": "10.0.0.7"})),
        ("register", json!({"match": "udp:7", "sink": "theirs"})),
        ("passive.set", json!({"family": "ip4", "sink": "theirs"})),
        ("policer.set", json!({"what": "passive:ip4", "type": "single", "rate": 5, "burst": 5})),
        ("policer.set", json!({"what": "reason:local.udp-5000", "type": "single", "rate": 5, "burst": 5})),
    ] {
        must(&mut control, method, params);
    }
    let text = saved_for_good(&mut control);
    assert_eq!(
        about(&text),
        [
            "[[sink]]",
            "name = \"cap\"",
            "target = \"null\"",
            "# the registration of reason:local.udp-5000 for sink cap is left out: nothing in this file makes such a reason",
            "# the registration of reason:local.udp-5000 for sink cap is left out: nothing in this file makes such a reason",
            "# the registration of udp:7 for sink theirs is left out: the sink theirs is a session's, and ends with that",
            "# passive:ip4 is left out: the sink theirs is a session's, and ends with that",
            "# what is set of the reason local.udp-5000 is left out: nothing in this file makes that",
            "# what is set of the reason local.udp-5000@3 is left out: nothing in this file makes that",
            "# the policer of passive:ip4 is left out: that is not in this file",
            "# the policer of reason:local.udp-5000 is left out: that is not in this file",
        ]
    );
}

#[test]
fn a_registration_may_stand_before_the_one_that_makes_its_reason() {
    let _eal = eal(192);
    let mut control = router(small());
    must(&mut control, "sink.add", json!([{"name": "a", "target": "null"}, {"name": "b", "target": "null"}]));
    let first = must(&mut control, "register", json!({"match": "udp:5000", "sink": "a"}))["id"].clone();
    must(&mut control, "register", json!({"match": "reason:local.udp-5000", "sink": "b"}));
    must(&mut control, "unregister", json!({ "id": first }));
    must(&mut control, "register", json!({"match": "udp:5000", "sink": "a"}));
    let text = saved_for_good(&mut control);
    assert!(text.find("reason:local.udp-5000") < text.find("\"udp:5000\""), "{text}");
    // Without its maker it is not saved.
    must(
        &mut control,
        "config.apply",
        json!({"text": text.replace("match = \"udp:5000\"", "match = \"udp:5001\"").replace("reason:local.udp-5000", "reason:local.udp-5001")}),
    );
    saved_for_good(&mut control);
}

#[test]
fn the_reason_of_one_registration_is_saved_by_the_place_of_that() {
    let _eal = eal(192);
    let mut control = router(small());
    must(&mut control, "sink.add", json!([{"name": "a", "target": "null"}, {"name": "b", "target": "null"}]));
    let gone = must(&mut control, "register", json!({"match": "udp:9", "sink": "a"}))["id"].clone();
    must(&mut control, "register", json!({"match": "tcp:179", "sink": "a"}));
    must(&mut control, "unregister", json!({ "id": gone }));
    let id = must(&mut control, "register", json!({"match": "udp:3784", "source": "10.0.0.7", "sink": "a"}));
    let id = id["id"].as_u64().expect("an id");
    assert_eq!(id, 3);
    let reason = format!("local.bfd@{id}");
    must(&mut control, "register", json!({"match": format!("reason:{reason}"), "sink": "b"}));
    must(&mut control, "reason.set", json!({"name": reason, "rate": 7, "burst": 9}));
    let policer =
        json!({"what": format!("reason:{reason}"), "type": "rfc2697", "rate": 7, "burst": 9, "excess": 10});
    must(&mut control, "policer.set", policer);
    let text = saved_for_good(&mut control);
    for line in
        ["match = \"reason:local.bfd@2\"", "[reason.\"local.bfd@2\"]", "what = \"reason:local.bfd@2\""]
    {
        assert!(text.contains(line), "{text}");
    }
    // What the file does not say any more is taken back.
    let without = text.split("\n[reason.\"local.bfd@2\"]").next().expect("it begins");
    must(&mut control, "config.apply", json!({ "text": without }));
    let rows = super::rows(&mut control, "reason.list", &["name", "rate"]);
    assert!(rows.contains(&json!([reason, 20_000])), "{rows:?}");
    assert!(!saved_for_good(&mut control).contains("[reason"));
}

/// A file has its registrations made before its reasons are set, and so they inherit nothing there.
#[test]
fn what_a_registration_with_a_source_has_of_its_reason_is_saved_with_it() {
    let _eal = eal(192);
    let mut control = router(small());
    must(&mut control, "sink.add", json!({"name": "a", "target": "null"}));
    must(
        &mut control,
        "reason.set",
        json!({"name": "local.bfd", "action": "drop", "rate": 7, "source_rate": 3}),
    );
    let policer = json!({"what": "reason:local.bgp", "type": "rfc2697", "rate": 7, "burst": 9, "excess": 10});
    must(&mut control, "policer.set", policer);
    for matching in ["udp:3784", "tcp:179"] {
        must(&mut control, "register", json!({"match": matching, "source": "10.0.0.7", "sink": "a"}));
    }
    let scoped = |control: &mut Control| -> Vec<Vec<Value>> {
        let rows = super::rows(control, "reason.list", &["name", "action", "rate", "source_rate", "policer"]);
        let rows = rows.into_iter().filter_map(|row| row.as_array().cloned());
        rows.filter(|row| row[0].as_str().is_some_and(|name| name.contains('@')))
            .map(|row| row[1..].to_vec())
            .collect()
    };
    let before = scoped(&mut control);
    assert_eq!(before[0][..3], [json!("drop"), json!(7), json!(3)]);
    let text = saved_for_good(&mut control);
    // As a start does it: nothing of this is there.
    let nothing = text.split("\n[[sink]]").next().expect("it begins").to_owned();
    must(&mut control, "config.apply", json!({ "text": nothing }));
    assert_eq!(scoped(&mut control), Vec::<Vec<Value>>::new());
    must(&mut control, "config.apply", json!({ "text": text }));
    assert_eq!(scoped(&mut control), before);
    saved_for_good(&mut control);
}

#[test]
fn a_burst_without_a_rate_says_nothing_and_changes_nothing() {
    let _eal = eal(192);
    let mut control = router(small());
    must(&mut control, "sink.add", json!({"name": "w", "target": "null", "rate": "unlimited", "burst": 9}));
    must(&mut control, "register", json!({"match": "udp:1", "sink": "w", "rate": "unlimited", "burst": 9}));
    must(&mut control, "passive.set", json!({"family": "ip4", "sink": "w", "rate": "unlimited", "burst": 9}));
    let text = saved_for_good(&mut control);
    let text = text.replace("rate = \"unlimited\"", "rate = \"unlimited\"\nburst = 9");
    assert_eq!(must(&mut control, "config.apply", json!({ "text": text }))["notes"][0], "nothing changed");
}

#[test]
fn what_is_on_an_interface_that_has_gone_is_left_out_and_said() {
    let _eal = eal(192);
    let mut control = router(small());
    must(&mut control, "sink.add", json!({"name": "a", "target": "null"}));
    let text = saved(&mut control).1;
    must(&mut control, "config.apply", json!({"text": format!("{text}[interface.\"lan.7\"]\n")}));
    must(&mut control, "register", json!({"match": "udp:1", "sink": "a", "interface": "lan.7"}));
    must(&mut control, "passive.set", json!({"family": "ip4", "sink": "a", "interface": "lan.7"}));
    must(&mut control, "config.apply", json!({ "text": text }));
    let text = saved_for_good(&mut control);
    assert!(
        text.contains(
            "# the registration of udp:1 for sink a is left out: there is no interface lan.7 any more\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("# passive:ip4@lan.7 is left out: there is no interface lan.7 any more\n"),
        "{text}"
    );
}

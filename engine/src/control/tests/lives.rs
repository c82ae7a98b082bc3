//! Files that come after others, and what operators and sessions set between them.

use serde_json::{Value, json};

use super::{call, call_in, router, rows, saved};
use crate::control::testing::{eal, small};
use crate::control::{Control, Session};

/// A router, and the file that is in force there.
fn begin() -> (Control, String) {
    let mut control = router(small());
    let text = saved(&mut control).1;
    let head = text.split("\n[punt]").next().expect("it begins").to_owned();
    apply(&mut control, &head);
    (control, head)
}

fn apply(control: &mut Control, text: &str) -> Value {
    let checked = call(control, "config.check", json!({"text": text, "name": "f"}));
    let applied = call(control, "config.apply", json!({"text": text, "name": "f"}));
    let applied = applied.unwrap_or_else(|error| panic!("{text}: {}", error.message));
    let number = |notes: &Value| {
        let last = notes
            .as_array()
            .and_then(|all| all.iter().find(|note| note.as_str().is_some_and(|it| it.contains("chang"))))
            .cloned();
        last.expect("a sentence")
            .as_str()
            .expect("text")
            .replace("applied, it would make ", "")
            .replace("applied, it would change nothing", "nothing changed")
    };
    assert_eq!(
        number(&checked.expect("what can be applied is fine")["notes"]),
        number(&applied["notes"]),
        "{text}"
    );
    let again = call(control, "config.apply", json!({"text": text, "name": "f"})).expect("it is in force");
    assert_eq!(again["notes"][0], "nothing changed", "{text}");
    applied["notes"][0].clone()
}

fn sink(name: &str, target: &str, more: &str) -> String {
    format!("\n[[sink]]\nname = \"{name}\"\ntarget = \"{target}\"\n{more}")
}

#[test]
fn a_sink_is_set_otherwise_under_what_goes_there() {
    let _eal = eal(192);
    let (mut control, head) = begin();
    let rest =
        "\n[[passive]]\nfamily = \"ip4\"\nsink = \"n\"\n[[register]]\nmatch = \"udp:9\"\nsink = \"n\"\n";
    apply(&mut control, &format!("{head}{}{rest}", sink("n", "null", "")));
    let mut session = Session::default();
    let theirs = json!({"match": "udp:5", "sink": "n", "life": "session"});
    call_in(&mut control, &mut session, "register", theirs).expect("nobody has it");
    call(&mut control, "register", json!({"match": "udp:6", "sink": "n"})).expect("nobody has it");
    let fields = &["id", "match", "life", "owner"];
    let before = rows(&mut control, "registration.list", fields);
    assert_eq!(
        before,
        [
            json!([1, "udp:9", "config", "configuration"]),
            json!([2, "udp:5", "session", "a session"]),
            json!([3, "udp:6", "operator", "operator"])
        ]
    );
    for (target, rate) in [("null", "rate = 7\n"), ("unix:/run/n", ""), ("unix:/run/m", "rate = 9\n")] {
        assert_eq!(apply(&mut control, &format!("{head}{}{rest}", sink("n", target, rate))), "1 change");
        assert_eq!(rows(&mut control, "registration.list", fields), before);
        assert_eq!(rows(&mut control, "sink.list", &["name", "target"]), [json!(["n", target])]);
    }
    // Without it in the file it is left to those who use it.
    assert_eq!(apply(&mut control, &head), "3 changes");
    assert_eq!(rows(&mut control, "sink.list", &["name", "life"]), [json!(["n", "operator"])]);
    assert_eq!(rows(&mut control, "registration.list", &["id"]), [json!([2]), json!([3])]);
    // What goes elsewhere in the new file does not hold it.
    let m = format!("{head}{}\n[[passive]]\nfamily = \"ip4\"\nsink = \"m\"\n", sink("m", "null", ""));
    apply(
        &mut control,
        &format!("{head}{}\n[[passive]]\nfamily = \"ip4\"\nsink = \"o\"\n", sink("o", "null", "")),
    );
    apply(&mut control, &m);
    assert_eq!(rows(&mut control, "sink.list", &["name"]), [json!(["m"]), json!(["n"])]);
}

#[test]
fn the_budget_and_the_classes_come_as_one() {
    let _eal = eal(192);
    let (mut control, head) = begin();
    for punting in [
        "[punt]\nbudget = 100000\n[class.link]\nmin = 60000\ncap = 80000\n",
        "",
        "[class.link]\nmin = 10000\ncap = 15000\n[class.route]\nmin = 35000\ncap = 70000\n",
        "[class.link]\nmin = 35000\ncap = 80000\n[class.route]\nmin = 1000\n",
        "[class.route]\nmin = 29000\ncap = 70000\n",
        "[class.link]\nmin = 10\ncap = 100\n",
        "[class.link]\nmin = 5000\n",
    ] {
        apply(&mut control, &format!("{head}\n{punting}"));
    }
}

#[test]
fn what_a_file_does_not_say_of_a_class_any_more_is_as_it_ships_and_what_operators_set_stays() {
    let _eal = eal(192);
    let (mut control, head) = begin();
    let classes = |control: &mut Control| {
        let rows = rows(control, "class.list", &["name", "min", "cap"]).into_iter();
        rows.filter(|row| row[0] == "link" || row[0] == "route").collect::<Vec<_>>()
    };
    let [link, route] = [0, 1].map(|at| classes(&mut control)[at].clone());
    let of = |name: &str, text: &str| format!("{head}\n[class.{name}]\n{text}\n");
    call(&mut control, "class.set", json!({"name": "route", "min": 7, "cap": 70})).expect("it can be");
    apply(&mut control, &of("link", "min = 10\ncap = 100"));
    assert_eq!(apply(&mut control, &of("link", "min = 10")), "1 change");
    assert_eq!(classes(&mut control), [json!(["link", 10, link[2]]), json!(["route", 7, 70])]);
    // What is saved says both, and changes nothing.
    let text = saved(&mut control).1;
    assert_eq!(apply(&mut control, &text), "nothing changed");
    assert_eq!(apply(&mut control, &head), "2 changes");
    assert_eq!(classes(&mut control), [link, route]);
    call(&mut control, "class.set", json!({"name": "route", "min": 7, "cap": 70})).expect("it can be");
    let text = of("route", "min = 8000");
    let said = ["config.check", "config.apply"].map(|method| {
        call(&mut control, method, json!({"text": text, "name": "f"}))
            .expect_err("an operator said 70")
            .message
    });
    let line = text.lines().count();
    let fault = format!(
        "f:{line}: class.route.min: the minimum of class route is 8000, above its cap of 70; raise the cap or lower the minimum"
    );
    assert_eq!(said, [fault.clone(), fault]);
}

#[test]
fn what_an_operator_registered_otherwise_is_as_the_file_says_and_the_files() {
    let _eal = eal(192);
    let (mut control, head) = begin();
    call(&mut control, "sink.add", json!({"name": "n", "target": "null"})).expect("it is new");
    call(&mut control, "register", json!({"match": "udp:5", "sink": "n", "rate": 7})).expect("nobody has it");
    let fields = &["id", "rate", "snaplen", "exclusive", "life", "owner"];
    let register = |more: &str| {
        format!("{head}{}\n[[register]]\nmatch = \"udp:5\"\nsink = \"n\"\n{more}", sink("n", "null", ""))
    };
    assert_eq!(apply(&mut control, &register("rate = 9\n")), "1 change");
    let expected = json!([1, 9, null, false, "config", "configuration"]);
    assert_eq!(rows(&mut control, "registration.list", fields), [expected]);
    assert_eq!(apply(&mut control, &register("snaplen = 64\n")), "1 change");
    let expected = json!([1, null, 64, false, "config", "configuration"]);
    assert_eq!(rows(&mut control, "registration.list", fields), [expected]);
    assert_eq!(apply(&mut control, &register("exclusive = true\n")), "1 change");
    let expected = json!([2, null, null, true, "config", "configuration"]);
    assert_eq!(rows(&mut control, "registration.list", fields), [expected]);
}

#[test]
fn each_setting_of_a_reason_has_its_own_life() {
    let _eal = eal(192);
    let (mut control, head) = begin();
    call(&mut control, "reason.set", json!({"name": "local.bfd", "rate": 11})).expect("there is one");
    let is = |control: &mut Control| {
        let rows = rows(control, "reason.list", &["name", "rate", "burst", "sample"]);
        rows.into_iter().find(|row| row[0] == "local.bfd").expect("there is one")
    };
    apply(&mut control, &format!("{head}\n[reason.\"local.bfd\"]\nburst = 77\nsample = 3\n"));
    assert_eq!(is(&mut control), json!(["local.bfd", 11, 77, 3]));
    // What an operator has set otherwise since is the operator's.
    call(&mut control, "reason.set", json!({"name": "local.bfd", "sample": 5})).expect("there is one");
    assert_eq!(apply(&mut control, &head), "1 change");
    assert_eq!(is(&mut control), json!(["local.bfd", 11, 8000, 5]));
}

#[test]
fn a_sub_interface_goes_with_all_that_operators_set_of_it() {
    let _eal = eal(192);
    let (mut control, head) = begin();
    let with = format!("{head}\n[interface.\"lan.7\"]\naddresses = [\"10.7.0.1/24\"]\n");
    apply(&mut control, &with);
    for (method, params) in [
        ("address.add", json!({"address": "10.8.0.1/24", "interface": "lan.7"})),
        ("neighbor.add", json!({"address": "10.7.0.2", "mac": "02:00:00:00:00:07", "interface": "lan.7"})),
        (
            "route.add",
            json!([{"prefix": "10.70.0.0/16", "via": "10.7.0.2"}, {"prefix": "10.71.0.0/16", "via": ["10.7.0.2", "10.0.1.2"]}]),
        ),
        ("route.add", json!({"prefix": "10.72.0.0/16", "via": "10.0.1.2"})),
    ] {
        call(&mut control, method, params).expect("it can be so");
    }
    apply(&mut control, &head);
    let left = saved(&mut control).1;
    for gone in ["lan.7", "10.8.0.1", "10.7.0.2", "10.70.0.0", "10.71.0.0"] {
        assert!(!left.contains(gone), "{gone}: {left}");
    }
    assert!(left.contains("10.72.0.0/16"), "{left}");
}

//! Configurations that are checked, applied, and read again.

use serde_json::json;

use super::{call, router, saved};
use crate::control::testing::{eal, small};
use crate::control::{Control, Service};

#[test]
fn a_configuration_that_only_a_start_can_follow_says_so() {
    let _eal = eal(192);
    let mut control = router(small());
    let text = saved(&mut control).1.replace("routes4 = 1000", "routes4 = 2000000");
    let notes = |control: &mut Control, method| {
        call(control, method, json!({ "text": text })).unwrap()["notes"].clone()
    };
    let checked = notes(&mut control, "config.check");
    assert_eq!(
        checked[0],
        "[tables] is read at start only: restart the engine to make its tables that large"
    );
    assert!(checked[1].as_str().unwrap().contains("MiB of DPDK memory"), "{checked}");
    let applied = notes(&mut control, "config.apply");
    assert_eq!(applied, json!(["nothing changed", checked[0]]));
}

#[test]
fn a_configuration_is_checked_against_the_engine_and_changes_nothing() {
    let _eal = eal(192);
    let mut control = router(small());
    let before = control.model.config(&[]);
    let ports = "[interface.lan]\nport = \"net_ring_lan\"\n[interface.wan]\nport = \"net_ring_wan\"\n";
    let sub = "[interface.\"lan.5\"]\naddresses = [\"10.0.5.1/24\"]\n[[neighbor]]\naddress = \"10.0.5.2\"\nmac = \"02:00:00:00:00:05\"\ninterface = \"lan.5\"\n";
    let route = |n: u32| format!("[[route]]\nprefix = \"20.0.{n}.0/25\"\nvia = \"10.0.5.2\"\n");
    let many: String = (0..130).map(route).collect();
    let mut check = |text: &str| {
        let answer = call(&mut control, "config.check", json!({"text": text, "name": "f"}));
        assert_eq!(control.model.config(&[]), before);
        answer.map(|report| report["notes"].clone()).map_err(|error| error.message)
    };
    for (text, fault) in [
        (
            "[interface.dmz]".into(),
            "f:1: interface.dmz.port: there is no port dmz; there are net_ring_lan, net_ring_wan",
        ),
        (
            "[interface.inside]\nport = \"net_ring_lan\"\n".into(),
            "f:1: interface.inside.port: port net_ring_lan is interface lan since the engine started; restart it to call it inside",
        ),
        (
            // An operator's, which the file does not know.
            format!(
                "{ports}[[neighbor]]\naddress = \"10.0.0.1\"\nmac = \"02:00:00:00:00:05\"\ninterface = \"lan\"\n"
            ),
            "f:6: neighbor.address: 10.0.0.1 is this router's own address on lan; name the neighbour's",
        ),
        (
            format!("{ports}{sub}{many}[tables]\nroutes4 = 1000000\ngroups4 = 9000\n"),
            "tables.groups4 is 128 and 133 would be needed: set it to at least 133, and restart the engine",
        ),
    ] {
        assert_eq!(check(&text), Err(fault.to_owned()), "{text}");
    }
    let sizes = crate::config::write::head(&["--no-huge".into()], &small());
    let text = format!("{ports}{sub}{}{sizes}", route(1));
    assert_eq!(check(&text), Ok(json!(["applied, it would make 4 changes"])));
    assert_eq!(check(&text), Ok(json!(["applied, it would make 4 changes"])), "nothing of it is left");
    assert_eq!(check(&format!("{ports}{sizes}")), Ok(json!(["applied, it would change nothing"])));
    call(&mut control, "config.apply", json!({ "text": text })).unwrap();
    assert_eq!(
        call(&mut control, "config.check", json!({ "text": text })).unwrap()["notes"],
        json!(["applied, it would change nothing"])
    );
}

#[test]
fn a_file_that_is_read_again_is_applied_or_changes_nothing() {
    let _eal = eal(192);
    let mut control = router(small());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("router.toml");
    let before = control.model.config(&[]);
    control.reload(&file);
    std::fs::write(&file, "[interface.lan]\nmtu = 3\n").unwrap();
    control.reload(&file);
    assert_eq!(control.model.config(&[]), before);
    std::fs::write(&file, "[interface.lan]\nport = \"net_ring_lan\"\nmtu = 1300\n").unwrap();
    control.reload(&file);
    let after = control.model.config(&[]);
    assert_eq!(
        (after.interfaces[0].mtu, after.interfaces[1].mtu),
        (Some(1300), Some(1400)),
        "an operator set the other"
    );
    assert_eq!(after.routes, before.routes, "an operator made them");
}

#[test]
fn a_policer_that_the_file_does_not_set_any_more_is_taken_back_and_an_operators_stays() {
    let _eal = eal(192);
    let mut control = router(small());
    let head = "[[sink]]\nname = \"a\"\ntarget = \"null\"\nrate = 50\nburst = 20\n[[register]]\nmatch = \"udp:3784\"\nsink = \"a\"\nrate = 60\nburst = 30\n";
    let policer =
        |what: &str| format!("[[policer]]\nwhat = \"{what}\"\ntype = \"single\"\nrate = 7\nburst = 7\n");
    let policers = ["sink:a", "registration:1", "reason:local.bgp"].map(policer).concat();
    let apply = |control: &mut Control, text: &str| {
        call(control, "config.apply", json!({ "text": text })).unwrap()["notes"][0].clone()
    };
    let rates = |control: &mut Control| {
        let all = super::rows(control, "policer.list", &["what", "rate"]);
        let of = |row: &serde_json::Value| {
            ["sink:a", "registration:1", "reason:local.bgp", "reason:local.bfd"]
                .contains(&row[0].as_str().unwrap())
        };
        all.into_iter().filter(of).map(|row| row[1].clone()).collect::<Vec<_>>()
    };
    apply(&mut control, head);
    let shipped = rates(&mut control);
    apply(&mut control, &format!("{head}{policers}"));
    let set = json!({"what": "reason:local.bfd", "type": "single", "rate": 9, "burst": 9});
    call(&mut control, "policer.set", set).unwrap();
    assert_eq!(rates(&mut control), [json!(9), json!(7), json!(7), json!(7)]);
    assert_eq!(apply(&mut control, head), "3 changes");
    let mut expected = shipped;
    expected[0] = json!(9);
    assert_eq!(rates(&mut control), expected);
    assert_eq!(apply(&mut control, head), "nothing changed");
}

#[test]
fn a_check_tells_what_an_apply_would_change_of_punting() {
    let _eal = eal(192);
    let mut control = router(small());
    let head = saved(&mut control).1;
    let punting = r#"
[[sink]]
name = "a"
target = "null"
[[register]]
match = "udp:5000"
sink = "a"
[[passive]]
family = "ip4"
sink = "a"
rate = 10
[reason."ip4.ttl-expired"]
rate = 300
[class.except]
cap = 1000
[[policer]]
what = "reason:ip4.ttl-expired"
type = "rfc2698"
rate = "500pps"
burst = "100p"
peak = "700pps"
excess = "200p"
[[policer]]
what = "registration:1"
type = "single"
rate = "5pps"
burst = "5p"
"#;
    let text = format!("{head}{punting}");
    let note = |control: &mut Control, method: &str, text: &str| {
        let answer = call(control, method, json!({ "text": text })).expect("it is right");
        answer["notes"][0].as_str().expect("a sentence").to_owned()
    };
    assert_eq!(note(&mut control, "config.check", &text), "applied, it would make 7 changes");
    assert_eq!(note(&mut control, "config.apply", &text), "7 changes");
    assert_eq!(note(&mut control, "config.check", &text), "applied, it would change nothing");

    // The rate of a reason is that of its policer, whoever sets it.
    let too_much = json!({ "name": "ip4.ttl-expired", "rate": 900 });
    let refused = call(&mut control, "reason.set", too_much).unwrap_err().message;
    assert!(refused.contains("reason:ip4.ttl-expired") && refused.contains("peak"), "{refused}");
    call(&mut control, "reason.set", json!({ "name": "ip4.ttl-expired", "rate": 600, "sample": 3 }))
        .expect("below its peak");
    let (_, now) = saved(&mut control);
    assert!(now.contains("rate = \"600pps\"") && now.contains("peak = \"700pps\""), "{now}");
    assert_eq!(note(&mut control, "config.check", &now), "applied, it would change nothing");
    assert_eq!(note(&mut control, "config.apply", &now), "nothing changed");
    assert_eq!(saved(&mut control).1, now);

    // The file of before: the rate and the policer.
    assert_eq!(note(&mut control, "config.check", &text), "applied, it would make 3 changes");
    call(&mut control, "config.apply", json!({ "text": text })).expect("it is right");
    let (_, again) = saved(&mut control);
    assert!(again.contains("rate = \"500pps\"") && !again.contains("sample"), "{again}");
}

#[test]
fn ways_of_redirections_that_are_gone_are_used_again() {
    let _eal = eal(192);
    let mut control = router(small());
    // Many more than there are next hops.
    for host in 2..=250 {
        let via = format!("10.0.0.{host}");
        let set = json!({"family": "ip4", "redirect": "lan", "via": via});
        assert_eq!(call(&mut control, "passive.set", set), Ok(serde_json::Value::Null), "{via}");
    }
    call(&mut control, "passive.del", json!({"family": "ip4"})).unwrap();
}

//! Files and changes that are refused: everything stays as it was. And what would be refused at a start is refused while the engine runs.

use serde_json::{Value, json};

use super::{call, router, rows, saved};
use crate::config::Config;
use crate::control::Control;
use crate::control::testing::{eal, small};

fn apply(control: &mut Control, text: &str) -> Result<Value, String> {
    let answer = call(control, "config.apply", json!({"text": text, "name": "f"}));
    answer.map(|report| report["notes"][0].clone()).map_err(|error| error.message)
}

fn must(control: &mut Control, method: &str, params: Value) {
    call(control, method, params.clone())
        .unwrap_or_else(|error| panic!("{method} {params}: {}", error.message));
}

/// Why a method refuses.
fn refused(control: &mut Control, method: &str, params: Value) -> String {
    call(control, method, params.clone()).map_or_else(|error| error.message, |_| panic!("{method} {params}"))
}

/// A router with an empty file in force, and what of a file names its ports.
fn begin() -> (Control, String) {
    let mut control = router(small());
    let ports = "[interface.lan]\nport = \"net_ring_lan\"\n[interface.wan]\nport = \"net_ring_wan\"\n";
    let sizes = crate::config::write::head(&["--no-huge".into()], &small());
    let head = format!("{sizes}\n{ports}");
    apply(&mut control, &head).expect("it is right");
    (control, head)
}

/// What is refused only when it is asked for: an operator redirects what the file wants alone.
const ALONE: &str = "[[register]]\nmatch = \"reason:l2.unclaimed\"\nsink = \"alone\"\nexclusive = true\n[[sink]]\nname = \"alone\"\ntarget = \"null\"\n";

#[test]
fn a_refused_file_that_makes_interfaces_leaves_everything_as_it_was() {
    let _eal = eal(192);
    let (mut control, head) = begin();
    must(&mut control, "sink.add", json!({"name": "theirs", "target": "null"}));
    must(&mut control, "passive.set", json!({"family": "other", "sink": "theirs"}));
    let old = format!(
        "{head}[interface.\"lan.7\"]\nmtu = 1300\naddresses = [\"10.7.0.1/24\"]\n\
         [[neighbor]]\naddress = \"10.7.0.2\"\nmac = \"02:00:00:00:00:07\"\ninterface = \"lan.7\"\n\
         [[route]]\nprefix = \"10.70.0.0/16\"\nvia = \"10.7.0.2\"\n[[route]]\nprefix = \"10.71.0.0/16\"\nvia = \"10.7.0.2\"\n\
         [[passive]]\nfamily = \"ip4\"\nredirect = \"lan.7\"\nvia = \"10.7.0.2\"\n"
    );
    apply(&mut control, &old).expect("it is right");
    // What an operator took from the old file does not come back, and what the operator made stays the operator's.
    must(&mut control, "route.del", json!({"prefix": "10.71.0.0/16"}));
    must(&mut control, "interface.set", json!({"name": "lan", "mtu": 1450}));
    let before = (saved(&mut control).1, control.model.count_of_operators());
    let found = |control: &mut Control| {
        ["10.70.0.1", "10.2.0.1"]
            .map(|to| call(control, "route.get", json!({"address": to})).expect("a route"))
    };
    let ways = found(&mut control);

    let new = format!(
        "{head}[interface.\"lan.8\"]\naddresses = [\"10.8.0.1/24\", \"10.9.0.1/24\"]\n\
         [[neighbor]]\naddress = \"10.1.9.9\"\nmac = \"02:00:00:00:00:09\"\ninterface = \"wan\"\n\
         [[route]]\nprefix = \"10.2.0.0/16\"\naction = \"blackhole\"\n\
         [[passive]]\nfamily = \"ip4\"\nredirect = \"lan.8\"\nvia = \"10.8.0.2\"\n{ALONE}"
    );
    let new = new.replace("[interface.wan]", "mtu = 1450\naddresses = [\"10.0.0.1/24\"]\n[interface.wan]");
    for _ in 0..2 {
        let why = apply(&mut control, &new).expect_err("an operator has these frames");
        assert!(why.contains("cannot be exclusive beside the passive punt of other"), "{why}");
        assert_eq!((saved(&mut control).1, control.model.count_of_operators()), before);
        assert_eq!(found(&mut control), ways);
    }
    must(&mut control, "passive.del", json!({"family": "other"}));
    apply(&mut control, &new).expect("nobody has them");
    let names = rows(&mut control, "interface.list", &["name"]);
    assert_eq!(names, [json!(["lan"]), json!(["wan"]), json!(["lan.8"])]);
    // The file that makes it all go again, ways first.
    apply(&mut control, &head).expect("nothing holds it");
}

#[test]
fn a_sub_interface_by_which_packets_are_redirected_goes_with_the_redirection_or_gets_other_tags() {
    let _eal = eal(192);
    let (mut control, head) = begin();
    let sub = |vlan: u16| {
        format!("[interface.customer]\nparent = \"lan\"\nvlan = {vlan}\naddresses = [\"10.7.0.1/24\"]\n")
    };
    let passive = "[[passive]]\nfamily = \"ip4\"\nredirect = \"customer\"\nvia = \"10.7.0.2\"\n";
    for file in [
        format!("{head}{}{passive}", sub(7)),
        format!("{head}{}{passive}", sub(8)),
        head.clone(),
        format!("{head}{}{passive}", sub(7)),
        format!("{head}{}", sub(9)),
        head.clone(),
    ] {
        call(&mut control, "config.check", json!({ "text": file })).expect("nothing is in the way");
        apply(&mut control, &file).expect("nothing is in the way");
    }
    // An operator's redirection holds it, and is named.
    apply(&mut control, &format!("{head}{}", sub(7))).expect("it is right");
    must(&mut control, "passive.set", json!({"family": "ip4", "redirect": "customer", "via": "10.7.0.2"}));
    let why = "the passive punt is redirected to customer via 10.7.0.2, and there would be no interface customer; set it otherwise first";
    assert_eq!(apply(&mut control, &head), Err(why.to_owned()));
}

#[test]
fn what_a_redirection_needs_stays_until_that_goes() {
    let _eal = eal(192);
    let (mut control, _) = begin();
    let wan = json!({"address": "10.0.1.1/24", "interface": "wan"});
    let neighbor = json!({"address": "10.0.1.2", "interface": "wan"});
    must(&mut control, "route.del", json!({"prefix": "10.2.0.0/16"}));
    must(&mut control, "passive.set", json!({"family": "ip4", "redirect": "wan", "via": "10.0.1.2"}));
    must(&mut control, "neighbor.del", neighbor.clone());
    let why = "the passive punt is redirected to wan via 10.0.1.2, and no interface's subnet would hold that; set it otherwise first";
    assert_eq!(refused(&mut control, "address.del", wan.clone()), why);
    let own = json!({"address": "10.0.1.2/24", "interface": "wan"});
    let why = "the passive punt is redirected to wan via 10.0.1.2, and that would be this router's own address on wan; set it otherwise first";
    assert_eq!(refused(&mut control, "address.add", own), why);
    // By a neighbour it is known without a subnet, and then that is what it needs.
    let known = json!({"address": "10.0.1.2", "mac": "02:00:00:00:00:02", "interface": "wan"});
    must(&mut control, "neighbor.add", known);
    must(&mut control, "address.del", wan);
    assert!(refused(&mut control, "neighbor.del", neighbor.clone()).contains("no interface's subnet"));
    // A file that takes both away is not one that strands it.
    let with = saved(&mut control).1;
    Config::parse(&with, "f").expect("a start with it succeeds");
    let text = with.split("\n[[passive]]").next().expect("it begins");
    apply(&mut control, &with).expect("it is what is set");
    let without = text.split("\n[[neighbor]]").next().expect("it begins");
    apply(&mut control, without).expect("both go");
    assert_eq!(rows(&mut control, "passive.list", &["family"]), Vec::<Value>::new());
}

#[test]
fn no_address_comes_that_makes_of_a_neighbour_what_none_can_be() {
    let _eal = eal(192);
    let (mut control, _) = begin();
    let add = |address: &str, interface: &str| json!({"address": address, "interface": interface});
    let mac = "02:00:00:00:00:02";
    for (address, interface) in
        [("10.8.0.255", "wan"), ("fd00:8::", "wan"), ("fe80::7", "wan"), ("10.9.0.255", "lan")]
    {
        let neighbor = json!({"address": address, "mac": mac, "interface": interface});
        must(&mut control, "neighbor.add", neighbor);
    }
    must(&mut control, "route.add", json!({"prefix": "fd00:99::/32", "via": "fe80::8", "dev": "wan"}));
    for (address, why) in [
        (
            "10.8.0.1/24",
            "10.8.0.255 is a neighbour on wan, and is the first or last address of 10.8.0.0/24, which is no host's; delete it first",
        ),
        (
            "fd00:8::1/64",
            "fd00:8:: is a neighbour on wan, and is the first or last address of fd00:8::/64, which is no host's; delete it first",
        ),
        ("fe80::7/64", "fe80::7 is a neighbour or a next hop of routes on wan; delete these first"),
        ("fe80::8/64", "fe80::8 is a neighbour or a next hop of routes on wan; delete these first"),
    ] {
        assert_eq!(refused(&mut control, "address.add", add(address, "wan")), why);
    }
    // Another link is another matter.
    must(&mut control, "address.add", add("10.9.0.1/24", "wan"));
    must(&mut control, "address.add", add("fe80::7/64", "lan"));
    Config::parse(&saved(&mut control).1, "f").expect("a start with it succeeds");
}

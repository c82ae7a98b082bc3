//! What is set is shown, and what is refused is told.

use punt::control::{RpcError, code};
use serde_json::json;

use super::{call, router, rows};
use crate::control::Control;
use crate::control::testing::{eal, small};

#[test]
fn what_is_set_is_shown() {
    let _eal = eal(192);
    let mut control = router(small());
    assert_eq!(
        rows(
            &mut control,
            "interface.list",
            &["name", "index", "port", "mac", "mtu", "up", "addresses", "vrf"]
        ),
        [
            json!([
                "lan",
                1,
                "net_ring_lan",
                control.model.interfaces_after(0).next().unwrap().effective.mac,
                1500,
                true,
                ["10.0.0.1/24", "fd00:a::1/64"],
                "default"
            ]),
            json!(["wan", 2, "net_ring_wan", "02:00:00:00:00:99", 1400, true, ["10.0.1.1/24"], "default"]),
        ]
    );
    assert_eq!(
        rows(&mut control, "address.list", &["address", "interface"]),
        [json!(["10.0.0.1/24", "lan"]), json!(["fd00:a::1/64", "lan"]), json!(["10.0.1.1/24", "wan"])]
    );
    assert_eq!(
        rows(&mut control, "neighbor.list", &["address", "mac", "interface"]),
        [json!(["10.0.1.2", "02:00:00:00:00:02", "wan"])]
    );
    assert_eq!(
        rows(&mut control, "route.list", &["prefix", "via", "dev", "metric", "action", "kind"]),
        [
            json!(["10.0.0.0/24", [], "lan", 0, null, "connected"]),
            json!(["10.0.0.1/32", [], "lan", 0, null, "local"]),
            json!(["10.0.1.0/24", [], "wan", 0, null, "connected"]),
            json!(["10.0.1.1/32", [], "wan", 0, null, "local"]),
            json!(["10.2.0.0/16", ["10.0.1.2", "10.0.0.9"], null, 0, null, "static"]),
            json!(["default6", [], null, 5, "punt", "static"]),
            json!(["fd00:a::/64", [], "lan", 0, null, "connected"]),
            json!(["fd00:a::1/128", [], "lan", 0, null, "local"]),
        ]
    );
    let get = |control: &mut Control, address| call(control, "route.get", json!({ "address": address }));
    let ecmp = get(&mut control, "10.2.9.9").unwrap();
    assert_eq!(
        (&ecmp["prefix"], &ecmp["verdict"], &ecmp["hops"]),
        (
            &json!("10.2.0.0/16"),
            &json!("forward"),
            &json!([
                {"via": "10.0.1.2", "dev": "wan", "mac": "02:00:00:00:00:02"},
                {"via": "10.0.0.9", "dev": "lan", "mac": null}
            ])
        )
    );
    let neighbor = get(&mut control, "10.0.1.2").unwrap();
    assert_eq!(
        (&neighbor["kind"], &neighbor["hops"][0]["mac"]),
        (&json!("connected"), &json!("02:00:00:00:00:02"))
    );
    assert_eq!(get(&mut control, "10.0.1.1").unwrap()["kind"], "local");
    assert_eq!(get(&mut control, "192.0.2.1").unwrap_err(), RpcError::refused("no route covers 192.0.2.1"));
    let version = call(&mut control, "version", json!({})).unwrap();
    assert_eq!((&version["version"], &version["protocol"]), (&json!(env!("CARGO_PKG_VERSION")), &json!(1)));
}

#[test]
fn what_is_not_understood_or_not_done_is_told() {
    let _eal = eal(192);
    let mut control = router(small());
    let route = |route| json!({"prefix": route, "via": "10.0.1.2"});
    for (method, params, code, message) in [
        ("route.fly", json!({}), code::METHOD_NOT_FOUND, "there is no method \"route.fly\""),
        (
            "route.add",
            json!({"prefix": "10.2.0.0"}),
            code::REFUSED,
            "10.2.0.0/32 leads nowhere; give it a next hop (via) or an action: blackhole, unreachable, punt",
        ),
        ("route.add", json!({"via": "10.0.1.2"}), code::INVALID_PARAMS, "missing field `prefix`"),
        (
            "route.add",
            json!({"prefix": "10.2.0.0/16", "vai": "10.0.1.2"}),
            code::INVALID_PARAMS,
            "unknown field `vai`, expected one of `prefix`, `via`, `dev`, `metric`, `action`",
        ),
        (
            "route.add",
            json!([route("10.3.0.0/16"), 7]),
            code::INVALID_PARAMS,
            "object 1: invalid type: integer `7`, expected an object",
        ),
        ("route.add", route("10.2.0.0/16"), code::REFUSED, "10.2.0.0/16 exists; use replace"),
        ("route.del", json!({"prefix": "10.3.0.0/16"}), code::REFUSED, "there is no route 10.3.0.0/16"),
        (
            "route.list",
            json!({"after": "x"}),
            code::INVALID_PARAMS,
            "after is \"x\"; leave it out, or send what the last answer had",
        ),
        (
            "route.reserve",
            json!({"routes4": 1000}),
            code::REFUSED,
            "tables.routes4 is 1000 and 1001 would be needed: set it to at least 1001",
        ),
        (
            "interface.set",
            json!({"name": "wan", "mtu": 70_000}),
            code::REFUSED,
            "wan: an MTU of 70000 bytes is more than any frame holds; set at most 9216",
        ),
        ("interface.list", json!([]), code::INVALID_PARAMS, "params is one object here"),
        ("sink.list", json!({"after": "z"}), 0, ""),
        (
            "config.show",
            json!({"after": "route 10.2.0.0/16 9 0"}),
            code::INVALID_PARAMS,
            "after is \"route 10.2.0.0/16 9 0\"; leave it out, or send what the last answer had",
        ),
        (
            "config.apply",
            json!({"text": "x = 1\n[interface.lan]\nmtu = 1\n", "name": "f"}),
            code::REFUSED,
            "f:1: x: is no key of this table; there are eal, tables, interface, neighbor, route, sink, register, passive, punt, reason, class, policer\n\
          f:3: interface.lan.mtu: is 1; it is a whole number from 68 to 9216",
        ),
    ] {
        match call(&mut control, method, params) {
            Err(error) => assert_eq!((error.code, error.message.as_str()), (code, message), "{method}"),
            Ok(page) => assert_eq!((code, &page["items"]), (0, &json!([])), "{method}"),
        }
    }
}

#[test]
fn many_things_are_done_together_or_not_at_all() {
    let _eal = eal(192);
    let mut control = router(small());
    let before = control.model.config(&[]);
    let routes: Vec<_> =
        (0..100).map(|n| json!({"prefix": format!("20.0.{n}.0/24"), "via": "10.0.1.2"})).collect();
    let with_fault: Vec<_> =
        routes.iter().cloned().chain([json!({"prefix": "10.2.0.0/16", "via": "10.0.1.2"})]).collect();
    let error = call(&mut control, "route.add", json!(with_fault)).unwrap_err();
    assert_eq!(
        (error.message.as_str(), error.data),
        ("10.2.0.0/16 exists; use replace", Some(json!({"index": 100})))
    );
    assert_eq!(control.model.config(&[]), before);
    call(&mut control, "route.add", json!(routes)).unwrap();
    let keys: Vec<_> = (0..100).map(|n| json!({"prefix": format!("20.0.{n}.0/24")})).collect();
    call(&mut control, "route.del", json!(keys)).unwrap();
    assert_eq!(control.model.config(&[]), before);
}

//! The control plane as a client sees it: what it sends, what it is answered.

use std::collections::BTreeSet;

use punt::control::types::{Audit, ConfigPart, RouteRow};
use punt::control::{Page, RpcError, code};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::testing::*;
use super::{Control, Service, Session};
use crate::config::{Config, Sizes};
use crate::counters::{PerInterface, PerReason, Total};

/// Calls a method on a connection of its own.
fn call(control: &mut Control, method: &str, params: Value) -> Result<Value, RpcError> {
    call_in(control, &mut Session::default(), method, params)
}

fn call_in(
    control: &mut Control,
    session: &mut Session,
    method: &str,
    params: Value,
) -> Result<Value, RpcError> {
    let params = RawValue::from_string(params.to_string()).unwrap();
    control.call(session, method, Some(&params)).map(|result| serde_json::from_str(result.get()).unwrap())
}

/// The rows of a list, of which only these fields count.
fn rows(control: &mut Control, method: &str, fields: &[&str]) -> Vec<Value> {
    let page = call(control, method, json!({})).unwrap();
    assert_eq!(page["after"], Value::Null);
    let row = |row: &Value| fields.iter().map(|field| row[field].clone()).collect::<Vec<_>>();
    page["items"].as_array().unwrap().iter().map(|item| Value::from(row(item))).collect()
}

/// The control plane of a router with addresses, neighbours and routes that a client has set.
fn router(sizes: Sizes) -> Control {
    let (mut control, _) = control(sizes);
    for (method, params) in [
        (
            "address.add",
            json!([{"address": "10.0.0.1/24", "interface": "lan"}, {"address": "fd00:a::1/64", "interface": "lan"}]),
        ),
        ("address.add", json!({"address": "10.0.1.1/24", "interface": "wan"})),
        ("neighbor.add", json!({"address": "10.0.1.2", "mac": "02:00:00:00:00:02", "interface": "wan"})),
        ("interface.set", json!({"name": "wan", "mtu": 1400, "mac": "02:00:00:00:00:99"})),
        (
            "route.add",
            json!([{"prefix": "10.2.0.0/16", "via": "10.0.1.2"}, {"prefix": "default6", "action": "punt", "metric": 5}]),
        ),
        ("route.replace", json!({"prefix": "10.2.0.0/16", "via": ["10.0.1.2", "10.0.0.9"]})),
    ] {
        assert_eq!(call(&mut control, method, params), Ok(Value::Null), "{method}");
    }
    control
}

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
            &json!([{"via": "10.0.1.2", "dev": "wan", "mac": "02:00:00:00:00:02"}])
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
            "object 1: invalid type: integer `7`, expected struct Route",
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
        ("stats.nodes", json!({"after": u64::MAX.to_string()}), 0, ""),
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

/// All pages of a list of routes, and how many there were.
fn routes_by_pages(control: &mut Control, limit: usize) -> (usize, Vec<RouteRow>) {
    let (mut params, mut pages, mut all) = (json!({ "limit": limit }), 0, Vec::new());
    loop {
        let page: Page<RouteRow> =
            serde_json::from_value(call(control, "route.list", params.clone()).unwrap()).unwrap();
        pages += 1;
        all.extend(page.items);
        match page.after {
            Some(after) => params["after"] = after.into(),
            None => return (pages, all),
        }
    }
}

/// The configuration in force, from all its parts.
fn saved(control: &mut Control) -> (usize, String) {
    let (mut params, mut parts, mut text) = (json!({}), 0, String::new());
    loop {
        let part: ConfigPart = serde_json::from_value(call(control, "config.save", params).unwrap()).unwrap();
        parts += 1;
        text += &part.text;
        match part.after {
            Some(after) => params = json!({ "after": after }),
            None => return (parts, text),
        }
    }
}

#[test]
fn long_lists_and_configurations_come_in_parts_and_go_in_parts() {
    let _eal = eal(256);
    let mut control = router(Sizes { routes4: 10_000, ..small() });
    for batch in 0..10 {
        let route = |n| json!({"prefix": format!("20.{batch}.{}.0/28", n % 250), "via": "10.0.1.2", "metric": n / 250});
        call(&mut control, "route.add", json!((0..900).map(route).collect::<Vec<_>>())).unwrap_err();
        let route = |n| json!({"prefix": format!("20.{batch}.{}.0/24", n % 250), "via": "10.0.1.2", "metric": n / 250});
        call(&mut control, "route.add", json!((0..900).map(route).collect::<Vec<_>>())).unwrap();
    }
    let (pages, all) = routes_by_pages(&mut control, 100);
    assert_eq!((pages, all.len()), (91, 9008));
    let distinct: BTreeSet<_> = all.iter().map(|row| (row.prefix, row.metric, row.kind.name())).collect();
    assert_eq!(distinct.len(), 9008);
    assert_eq!(routes_by_pages(&mut control, 4096).1, all);
    let one = call(&mut control, "route.list", json!({"prefix": "20.0.0.0/24", "limit": 2})).unwrap();
    assert_eq!(one["items"].as_array().unwrap().len(), 2);
    let rest =
        call(&mut control, "route.list", json!({"prefix": "20.0.0.0/24", "after": one["after"]})).unwrap();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["after"]), (2, &Value::Null));

    let (parts, text) = saved(&mut control);
    assert!(parts > 4, "{parts} parts");
    let config = Config::parse(&text, "saved").unwrap();
    assert_eq!(config, control.model.config(&["--no-huge".into()]));
    // Sent back in parts on one connection, it changes nothing; another connection's parts are not mixed in.
    let (mut session, mut other) = (Session::default(), Session::default());
    let chunks: Vec<_> =
        text.as_bytes().chunks(100_000).map(|chunk| std::str::from_utf8(chunk).unwrap()).collect();
    for (at, chunk) in chunks.iter().enumerate() {
        let more = at + 1 < chunks.len();
        let params = json!({"text": chunk, "name": "saved", "more": more});
        let answer = call_in(&mut control, &mut session, "config.apply", params).unwrap();
        call_in(&mut control, &mut other, "config.check", json!({"text": "half a", "more": true})).unwrap();
        if !more {
            assert_eq!(answer["notes"], json!(["nothing changed"]));
        }
    }
    assert_eq!(control.model.config(&["--no-huge".into()]), config);
}

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
            "interface dmz: there is no port dmz; there are net_ring_lan, net_ring_wan",
        ),
        (
            "[interface.inside]\nport = \"net_ring_lan\"\n".into(),
            "port net_ring_lan is interface lan since the engine started; restart it to call it inside",
        ),
        (
            // An operator's, which the file does not know.
            format!(
                "{ports}[[neighbor]]\naddress = \"10.0.0.1\"\nmac = \"02:00:00:00:00:05\"\ninterface = \"lan\"\n"
            ),
            "10.0.0.1 is this router's own address on lan; name the neighbour's",
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
    assert_eq!(check(&text), Ok(json!(["applied, it makes 4 changes"])));
    assert_eq!(check(&text), Ok(json!(["applied, it makes 4 changes"])), "nothing of it is left");
    assert_eq!(check(&format!("{ports}{sizes}")), Ok(json!(["applied, it changes nothing"])));
    call(&mut control, "config.apply", json!({ "text": text })).unwrap();
    assert_eq!(
        call(&mut control, "config.check", json!({ "text": text })).unwrap()["notes"],
        json!(["applied, it changes nothing"])
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
fn nothing_that_a_client_sends_ends_the_engine() {
    const METHODS: [&str; 26] = [
        "version",
        "interface.list",
        "interface.set",
        "address.list",
        "address.add",
        "address.del",
        "neighbor.list",
        "neighbor.add",
        "neighbor.replace",
        "neighbor.del",
        "route.list",
        "route.get",
        "route.add",
        "route.replace",
        "route.del",
        "route.reserve",
        "reason.list",
        "stats.reasons",
        "stats.interfaces",
        "stats.nodes",
        "stats.drops",
        "stats.workers",
        "config.show",
        "config.save",
        "config.check",
        "config.apply",
    ];
    const FIELDS: [&str; 19] = [
        "name",
        "mtu",
        "mac",
        "up",
        "address",
        "interface",
        "prefix",
        "via",
        "dev",
        "metric",
        "action",
        "limit",
        "after",
        "text",
        "more",
        "routes4",
        "deep6",
        "x",
        "lan",
    ];
    let values = [
        json!("lan"),
        json!("wan"),
        json!("10.0.0.1/24"),
        json!("10.0.0.1"),
        json!("10.0.1.2"),
        json!("10.0.1.7"),
        json!("10.2.0.0/16"),
        json!("10.2.0.0/25"),
        json!("default"),
        json!("default6"),
        json!("fd00:a::1/64"),
        json!("fd00:a::7"),
        json!("fe80::1/64"),
        json!("fe80::2"),
        json!("02:00:00:00:00:07"),
        json!("ff:ff:ff:ff:ff:ff"),
        json!("punt"),
        json!("blackhole"),
        json!(0),
        json!(1),
        json!(1280),
        json!(9216),
        json!(-1),
        json!(4_294_967_295u64),
        json!(u64::MAX),
        json!(1e300),
        json!(true),
        json!(false),
        json!(null),
        json!([]),
        json!(["10.0.1.2", "10.0.0.9"]),
        json!({}),
        json!("0"),
        json!("1"),
        json!("18446744073709551615"),
        json!("interface 1"),
        json!("neighbor 1 ::"),
        json!("route default 3 0"),
        json!("default 4 4294967295"),
        json!("[interface.lan]\nmtu = 1400"),
        json!("\u{0}\u{ffff}"),
        json!("0.0.0.0/0"),
        json!("255.255.255.255"),
        json!("::"),
    ];
    let _eal = eal(192);
    let mut control = router(small());
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 20) as usize % below
    };
    let (mut session, mut done) = (Session::default(), [0; 3]);
    for _ in 0..20_000 {
        let method = METHODS[random(METHODS.len())];
        let random_length = random(5);
        let objects: Vec<Value> = (0..2)
            .map(|_| {
                let field =
                    |_| (FIELDS[random(FIELDS.len())].to_string(), values[random(values.len())].clone());
                Value::Object((0..random_length).map(field).collect())
            })
            .collect();
        let object = || objects[0].clone();
        // Mostly what the method takes, so that it gets beyond reading its parameters.
        let params = match method {
            "address.add" | "address.del" => {
                json!({"address": values[random(13)], "interface": values[random(2)]})
            }
            "neighbor.add" | "neighbor.replace" => {
                json!({"address": values[3 + random(11)], "mac": values[14 + random(2)], "interface": values[random(2)]})
            }
            "neighbor.del" => json!({"address": values[3 + random(11)], "interface": values[random(2)]}),
            "route.add" | "route.replace" => {
                json!([{"prefix": values[3 + random(11)], "via": values[3 + random(11)], "dev": values[random(2)]}])
            }
            "route.del" => json!({"prefix": values[3 + random(11)], "metric": random(2)}),
            "interface.set" => {
                json!({"name": values[random(2)], "mtu": ([1280, 1500, 68, 9216, 9217][random(5)]), "up": random(2) == 0})
            }
            _ if random(4) == 0 => json!(objects),
            _ => object(),
        };
        match call_in(&mut control, &mut session, method, params.clone()) {
            Ok(_) => done[0] += 1,
            Err(error) if error.code == code::REFUSED => done[1] += 1,
            Err(error) if error.code == code::INVALID_PARAMS => done[2] += 1,
            Err(error) => panic!("{method} {params}: {error:?}"),
        }
    }
    assert!(done.iter().all(|count| *count > 1000), "{done:?} done, refused, not understood");
    // What is set in the end can be saved, read and applied, and is what the tables have: taken away, nothing is left.
    let text = saved(&mut control).1;
    let config = Config::parse(&text, "saved").unwrap();
    assert_eq!(control.model.apply(&config), Ok(0));
    let empty = "[interface.lan]\nport = \"net_ring_lan\"\n[interface.wan]\nport = \"net_ring_wan\"\n";
    control.apply(&Config::parse(empty, "empty").unwrap()).unwrap();
    assert_eq!(rows(&mut control, "route.list", &["prefix"]), Vec::<Value>::new());
    assert_eq!((control.model.fill(0), control.model.fill(1)), ((0, 0, 0), (0, 0, 0)));
}

#[test]
fn counters_of_all_workers_are_shown_under_the_names_of_the_graph() {
    let _eal = eal(192);
    let (mut control, workers) = control(small());
    let layout = control.plan.layout.clone();
    for (worker, packets) in workers.iter().zip([10, 5]) {
        worker.add_interface(1, PerInterface::RxPackets, packets);
        worker.add_interface(1, PerInterface::RxBytes, packets * 60);
        worker.add_interface(2, PerInterface::TxDropped, 1);
        let reason = control.plan.registry.by_name("ip4.ttl-expired").unwrap().id;
        worker.add_reason(reason, PerReason::Packets, packets);
        let ether = layout.node(control.plan.node("ether-input").unwrap());
        worker.add(ether.calls, 1);
        worker.add(ether.packets, packets);
        worker.add_total(Total::Received, packets);
    }
    let fields = ["name", "rx_packets", "rx_bytes", "rx_missed", "tx_packets", "tx_bytes", "tx_dropped"];
    assert_eq!(
        rows(&mut control, "stats.interfaces", &fields),
        [json!(["lan", 15, 900, 0, 0, 0, 0]), json!(["wan", 0, 0, 0, 0, 0, 2])]
    );
    let nodes = rows(
        &mut control,
        "stats.nodes",
        &["node", "calls", "packets", "packets_per_call", "cycles_per_packet"],
    );
    assert_eq!(nodes[0], json!(["ether-input", 2, 15, 7.5, null]));
    let reasons =
        rows(&mut control, "reason.list", &["name", "packets", "no_sink", "class", "action", "rate"]);
    assert!(reasons.contains(&json!(["ip4.ttl-expired", 15, 15, "except", "trap", 600])), "{reasons:?}");
    let workers =
        rows(&mut control, "stats.workers", &["worker", "lcore", "queues", "received", "in_flight"]);
    assert_eq!(workers, [json!([0, 1, ["net_ring_lan:0"], 10, 10]), json!([1, 2, ["net_ring_lan:1"], 5, 5])]);
    assert!(rows(&mut control, "stats.drops", &["node", "text", "packets"]).len() > 10);
}

#[test]
fn a_port_counts_its_tagged_frames_in_both_directions_and_a_sub_interface_is_up_with_it() {
    let _eal = eal(192);
    let (mut control, workers) = control(small());
    let file = "[interface.lan]\nport = \"net_ring_lan\"\n[interface.customer]\nparent = \"lan\"\nvlan = 5\ninner = 7\ntpid = \"802.1ad\"\n";
    call(&mut control, "config.apply", json!({ "text": file })).unwrap();
    // What comes in with tags ether-input counts twice, what goes out nobody does.
    for index in [1, 3] {
        workers[0].add_interface(index, PerInterface::RxPackets, 4);
    }
    workers[0].add_interface(1, PerInterface::TxPackets, 1);
    workers[0].add_interface(3, PerInterface::TxPackets, 2);
    workers[1].add_interface(3, PerInterface::TxDropped, 3);
    let fields = ["name", "up", "tpid", "vlan", "inner", "rx_packets", "tx_packets", "tx_dropped"];
    let list = |control: &mut Control| rows(control, "interface.list", &fields);
    assert_eq!(
        list(&mut control),
        [
            json!(["lan", true, null, null, null, 4, 3, 3]),
            json!(["wan", true, null, null, null, 0, 0, 0]),
            json!(["customer", true, "802.1ad", 5, 7, 4, 2, 3]),
        ]
    );
    call(&mut control, "interface.set", json!({"name": "lan", "up": false})).unwrap();
    assert_eq!(list(&mut control)[2][1], false);
    // No counter goes back when a sub-interface goes.
    call(&mut control, "config.apply", json!({"text": "[interface.lan]\nport = \"net_ring_lan\"\n"}))
        .unwrap();
    assert_eq!(list(&mut control)[0], json!(["lan", false, null, null, null, 4, 3, 3]));
}

#[test]
fn an_audit_finds_what_does_not_add_up() {
    let _eal = eal(192);
    let (mut control, workers) = control(small());
    let audit = |control: &mut Control| {
        let answer = while_they_answer(&workers, || call(control, "audit", json!({})));
        serde_json::from_value::<Audit>(answer.unwrap()).unwrap()
    };
    let clean = audit(&mut control);
    assert!(clean.balanced && clean.findings.is_empty(), "{clean:?}");
    assert_eq!(
        (clean.pools[0].name.as_str(), clean.pools[0].size, clean.pools[0].in_use),
        ("packets", 511, 0)
    );

    // Received, and not seen by any node; handed over by nobody.
    workers[0].add_total(Total::Received, 3);
    workers[1].add_total(Total::TakenOver, 2);
    let found = audit(&mut control);
    assert!(!found.balanced);
    assert_eq!((found.received, found.in_flight), (3, 3));
    assert_eq!(
        found.findings,
        [
            "lcore 1: ether-input got 0 packets, and 3 were sent to it",
            "lcore 2: transmit got 0 packets, and 2 were sent to it",
            "2 packets were taken over from other workers that none of them handed over",
            "ports say that they received 0 packets, workers say 3",
        ]
    );

    // A punt that no reason counts.
    let plan = control.plan.clone();
    let ether = plan.layout.node(plan.node("ether-input").unwrap());
    workers[0].add(ether.packets, 3);
    let drop = plan.nodes[0].1.iter().position(|edge| matches!(edge.to, crate::node::To::Drop(_))).unwrap();
    workers[0].add(ether.edges.start + drop, 3);
    let found = audit(&mut control);
    assert_eq!(found.findings.len(), 3, "{:?}", found.findings);
    assert_eq!((found.dropped, found.in_flight), (3, 0));

    // Verdicts of packets that never came.
    workers[0].add(ether.edges.start + drop, 4);
    let found = audit(&mut control);
    assert_eq!((found.dropped, found.in_flight), (7, 0));
    assert!(!found.balanced);
    let sentence = "4 packets have a verdict, and were neither received nor injected";
    assert!(found.findings.iter().any(|finding| finding == sentence), "{:?}", found.findings);
}

#[test]
fn a_worker_that_does_not_answer_is_found_and_the_others_are_audited_all_the_same() {
    let _eal = eal(192);
    let (mut control, [_, second]) = control(small());
    second.add_total(Total::Received, 3);
    let found = while_they_answer(&[second], || call(&mut control, "audit", json!({})));
    let found: Audit = serde_json::from_value(found.unwrap()).unwrap();
    assert!(!found.balanced);
    assert_eq!(found.received, 3);
    assert_eq!(
        found.findings,
        [
            "worker 0 (lcore 1) did not answer within 2 s",
            "lcore 2: ether-input got 0 packets, and 3 were sent to it",
        ]
    );
}

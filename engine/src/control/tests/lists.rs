//! Long lists and configurations, in parts.

use std::collections::BTreeSet;

use punt::control::Page;
use punt::control::types::RouteRow;
use serde_json::{Value, json};

use super::{call, call_in, router, saved};
use crate::config::{Config, Sizes};
use crate::control::testing::{eal, small};
use crate::control::{Control, Session};

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

/// Registers so many ports for the sink `a`.
fn with_registrations(ports: std::ops::Range<u32>) -> Control {
    let mut control = router(small());
    call(&mut control, "sink.add", json!({"name": "a", "target": "null"})).unwrap();
    let register = |port: u32| json!({"match": format!("udp:{port}"), "sink": "a"});
    call(&mut control, "register", json!(ports.map(register).collect::<Vec<_>>())).unwrap();
    control
}

#[test]
fn what_comes_and_goes_between_two_pages_shifts_nothing() {
    let _eal = eal(192);
    let mut control = with_registrations(20_000..20_100);
    let ids = |page: &Value| -> Vec<u64> {
        page["items"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect()
    };
    let first = call(&mut control, "registration.list", json!({"limit": 40})).unwrap();
    let gone: Vec<_> = ids(&first)[..20].iter().map(|id| json!({ "id": id })).collect();
    call(&mut control, "unregister", json!(gone)).unwrap();
    call(&mut control, "register", json!({"match": "udp:30000", "sink": "a"})).unwrap();
    let rest = call(&mut control, "registration.list", json!({"after": first["after"]})).unwrap();
    let all: Vec<u64> = ids(&first).into_iter().chain(ids(&rest)).collect();
    assert_eq!(all, (1..=101).collect::<Vec<u64>>());
    // By name where there is one.
    let sinks = ["b", "c", "d", "e"].map(|name| json!({"name": name, "target": "null"}));
    call(&mut control, "sink.add", json!(sinks)).unwrap();
    let first = call(&mut control, "sink.list", json!({"limit": 3})).unwrap();
    call(&mut control, "sink.del", json!([{"name": "b"}, {"name": "c"}])).unwrap();
    let rest = call(&mut control, "sink.list", json!({"after": first["after"]})).unwrap();
    let names: Vec<&Value> = rest["items"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["d", "e"]);
    let addresses = call(&mut control, "address.list", json!({"limit": 2})).unwrap();
    let rest = call(&mut control, "address.list", json!({"after": addresses["after"]})).unwrap();
    assert_eq!(rest["items"], json!([{"address": "10.0.1.1/24", "interface": "wan"}]));
}

#[test]
fn a_configuration_that_is_saved_in_parts_is_of_one_moment() {
    let _eal = eal(192);
    let mut control = with_registrations(20_000..24_000);
    let mut session = Session::default();
    let mut part = |control: &mut Control, after: &Value| {
        let params = if after.is_null() { json!({}) } else { json!({ "after": after }) };
        let part = call_in(control, &mut session, "config.save", params).unwrap();
        (part["text"].as_str().unwrap().to_owned(), part["after"].clone())
    };
    let (mut text, mut after) = part(&mut control, &Value::Null);
    assert!(!after.is_null(), "there is more than a line holds");
    // What is taken out now stood in the part that is gone.
    let gone: Vec<_> = (1..=1000).map(|id| json!({ "id": id })).collect();
    call(&mut control, "unregister", json!(gone)).unwrap();
    while !after.is_null() {
        let (more, next) = part(&mut control, &after);
        text += &more;
        after = next;
    }
    assert_eq!(Config::parse(&text, "saved").unwrap().registers.len(), 4000);
    assert_eq!(Config::parse(&saved(&mut control).1, "saved").unwrap().registers.len(), 3000);
}

#[test]
fn lists_that_are_always_the_same_come_in_their_order_however_small_the_pages() {
    let _eal = eal(192);
    let mut control = router(small());
    for list in ["class.list", "stats.nodes", "stats.drops", "stats.workers"] {
        let whole = call(&mut control, list, json!({})).unwrap();
        for limit in [1, 3] {
            let (mut params, mut all) = (json!({ "limit": limit }), Vec::new());
            loop {
                let page = call(&mut control, list, params.clone()).unwrap();
                all.extend(page["items"].as_array().unwrap().iter().cloned());
                match &page["after"] {
                    Value::Null => break,
                    after => params["after"] = after.clone(),
                }
            }
            assert_eq!(json!(all), whole["items"], "{list} by {limit}");
        }
        let error = call(&mut control, list, json!({"after": "nowhere"})).unwrap_err().message;
        assert_eq!(error, "after is \"nowhere\"; leave it out, or send what the last answer had", "{list}");
    }
}

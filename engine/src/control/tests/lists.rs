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

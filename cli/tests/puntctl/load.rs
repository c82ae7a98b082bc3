//! `route load` and `unload`: whole files of routes, in batches that the protocol allows.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::mpsc::channel;

use crate::fake::{Engine, Said, said};
use punt::control::RpcError;
use serde_json::{Value, json};

/// A file of /32s from 10.0.0.0 on.
fn routes(count: u32) -> String {
    (0..count).fold(String::from("# a table\n"), |mut text, number| {
        writeln!(text, "{} via 192.0.2.1", Ipv4Addr::from(0x0a00_0000 + number)).unwrap();
        text
    })
}

/// The methods called, and how many objects each had.
fn sizes(engine: &Engine) -> Vec<(String, usize)> {
    let size = |params: &Value| params.as_array().map_or(1, Vec::len);
    engine.calls().iter().map(|(method, params)| (method.clone(), size(params))).collect()
}

/// The same, to compare with.
fn expected<const N: usize>(sizes: [(&str, usize); N]) -> Vec<(String, usize)> {
    sizes.into_iter().map(|(method, size)| (method.into(), size)).collect()
}

fn load(engine: &Engine, text: &str) -> Said {
    engine.file("routes", text);
    engine.run("route load routes")
}

#[test]
fn a_table_is_reserved_and_goes_in_batches() {
    let engine = Engine::start(|_, _| Ok(Value::Null));
    let out = load(&engine, &routes(10_000)).well();
    assert!(out.starts_with("10000 routes loaded in ") && out.ends_with(" per second)\n"), "{out}");
    assert_eq!(
        sizes(&engine),
        expected([("route.reserve", 1), ("route.add", 4096), ("route.add", 4096), ("route.add", 1808)])
    );
    let calls = engine.calls();
    assert_eq!(calls[0].1, json!({"routes4":10_000,"routes6":0,"deep4":40,"deep6":0}));
    assert_eq!(calls[3].1[1807], json!({"prefix":"10.0.39.15/32","via":["192.0.2.1"]}));

    let json = engine.run("route unload routes --json").json();
    assert_eq!(json["routes"], 10_000);
    assert!(json["seconds"].is_f64() && json["routes_per_second"].is_u64(), "{json}");
    let unload = &sizes(&engine)[4..];
    assert_eq!(unload, expected([("route.del", 4096), ("route.del", 4096), ("route.del", 1808)]));
    assert_eq!(engine.calls()[4].1[0], json!({"prefix":"10.0.0.0/32"}));
}

#[test]
fn a_batch_fits_on_a_line() {
    let engine = Engine::start(|_, _| Ok(Value::Null));
    let hops: Vec<String> =
        (1..=64).map(|hop| format!("2001:db8:1234:5678:9abc:def0:1234:{hop:x}")).collect();
    let line = |number: u32| format!("2001:db8:{number:x}::/48 via {}\n", hops.join(","));
    let out = load(&engine, &(0..1000).map(line).collect::<String>()).well();
    assert!(out.starts_with("1000 routes loaded"), "{out}");
    let sizes = sizes(&engine);
    assert!(sizes.len() > 3 && sizes.iter().all(|(_, size)| *size < 1000), "{sizes:?}");
    assert_eq!(sizes[1..].iter().map(|(_, size)| size).sum::<usize>(), 1000);
}

#[test]
fn a_wrong_line_is_found_before_anything_is_sent() {
    let engine = Engine::start(|_, _| Ok(Value::Null));
    for (line, fault) in [
        ("10.0.0.1/8 via 192.0.2.1", "10.0.0.1/8 has bits set beyond its length; write 10.0.0.0/8"),
        ("10.0.0.3 via 192.0.2.7", "10.0.0.3/32 stands in line 5 already"),
        (
            "172.16.0.0/12",
            "172.16.0.0/12 leads nowhere; give it a next hop (via) or an action: blackhole, unreachable, punt",
        ),
    ] {
        let (status, err) = load(&engine, &format!("{}{line}\n", routes(5000))).badly();
        assert_eq!((status, err), (2, format!("error: routes:5002: {fault}\n")));
    }
    assert!(engine.calls().is_empty());
}

#[test]
fn what_does_not_fit_is_not_begun() {
    let engine = Engine::start(|method, _| {
        assert_eq!(method, "route.reserve");
        Err(RpcError::refused("5000 routes do not fit; routes4 = 8192 in [tables] would do"))
    });
    assert_eq!(
        load(&engine, &routes(5000)).badly(),
        (1, "error: 5000 routes do not fit; routes4 = 8192 in [tables] would do\n".into())
    );
}

#[test]
fn a_refusal_half_way_leaves_nothing_behind() {
    let mut adds = 0;
    let engine = Engine::start(move |method, _| {
        adds += usize::from(method == "route.add");
        match adds == 3 && method == "route.add" {
            true => Err(RpcError {
                data: Some(json!({"index":7})),
                ..RpcError::refused("object 7: there is a route 10.0.32.7/32 already")
            }),
            false => Ok(Value::Null),
        }
    });
    assert_eq!(
        load(&engine, &routes(20_000)).badly(),
        (1, "error: routes:8201: there is a route 10.0.32.7/32 already; nothing was loaded\n".into())
    );
    assert_eq!(
        sizes(&engine)[1..],
        expected([
            ("route.add", 4096),
            ("route.add", 4096),
            ("route.add", 4096),
            ("route.del", 4096),
            ("route.del", 4096)
        ])
    );
    let calls = engine.calls();
    assert_eq!(
        (&calls[4].1[0], &calls[5].1[4095]),
        (&json!({"prefix":"10.0.0.0/32"}), &json!({"prefix":"10.0.31.255/32"}))
    );
}

#[test]
fn what_cannot_be_taken_back_is_told() {
    let engine = Engine::start(|method, params| match method {
        "route.add" if params[0]["prefix"] != "10.0.0.0/32" => Err(RpcError::refused("the table is full")),
        "route.del" => Err(RpcError::refused("no")),
        _ => Ok(Value::Null),
    });
    assert_eq!(
        load(&engine, &routes(5000)).badly(),
        (1, "error: routes: the table is full; 4096 routes before it may still be there (no); \"puntctl route unload\" deletes them\n".into())
    );
}

#[test]
fn deleting_says_how_far_it_came() {
    let engine = Engine::start(|_, params| match params[0]["prefix"] == "10.0.0.0/32" {
        true => Ok(Value::Null),
        false => Err(RpcError {
            data: Some(json!({"index":0})),
            ..RpcError::refused("there is no route 10.0.16.0/32")
        }),
    });
    engine.file("routes", &routes(5000));
    assert_eq!(
        engine.run("route unload routes").badly(),
        (1, "error: routes:4098: there is no route 10.0.16.0/32; 4096 routes before it are deleted\n".into())
    );
}

#[test]
fn standard_input_is_a_file_too() {
    let engine = Engine::start(|_, _| Ok(Value::Null));
    let path = engine.file("routes", "10.0.0.0/8 blackhole\n");
    let run = |line| {
        let file = std::fs::File::open(&path).unwrap();
        said(engine.command(line).stdin(file).output().unwrap())
    };
    assert!(run("route load -").well().starts_with("1 route loaded in "));
    std::fs::write(&path, "10.0.0.0/8 blackhle\n").unwrap();
    let (status, err) = run("route load -").badly();
    assert!(
        status == 2 && err.starts_with("error: standard input:1: \"blackhle\" is not understood; "),
        "{err}"
    );
}

#[test]
fn ctrl_c_takes_back_what_was_loaded() {
    let (begun, has_begun) = channel();
    let (go_on, may_go_on) = channel();
    let mut added = 0;
    let engine = Engine::start(move |method, _| {
        if method == "route.add" {
            added += 1;
            if added == 2 {
                begun.send(()).unwrap();
                may_go_on.recv().unwrap();
            }
        }
        Ok(Value::Null)
    });
    engine.file("routes", &routes(400_000));
    let child = engine.command("route load routes").spawn().unwrap();
    has_begun.recv().unwrap();
    interrupt(child.id());
    go_on.send(()).unwrap();
    let ended = said(child.wait_with_output().unwrap());
    assert_eq!(ended.badly(), (1, "error: interrupted; nothing was loaded\n".into()));
    let objects = |wanted: &str| -> usize {
        sizes(&engine).iter().filter(|(method, _)| method == wanted).map(|(_, size)| size).sum()
    };
    assert_eq!(objects("route.add"), objects("route.del"));
    assert!(objects("route.add") < 400_000);
}

fn interrupt(process: u32) {
    let status = std::process::Command::new("kill").args(["-INT", &process.to_string()]).status().unwrap();
    assert!(status.success());
}

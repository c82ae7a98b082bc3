//! `stats --watch`: rates, until somebody has seen enough.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;

use crate::fake::{Engine, said};
use serde_json::{Value, json};

/// An engine in which packets are dropped, and some drops never happen.
fn dropping() -> Engine {
    let mut packets = 0_u64;
    Engine::start(move |method, _| {
        assert_eq!(method, "stats.drops");
        packets += 1_000_000;
        let items = json!([{"node":"ip4-input","text":"bad checksum","packets":packets},
                           {"node":"ip4-input","text":"bad version","packets":0}]);
        Ok(json!({"items":items,"after":null}))
    })
}

/// The first lines of what a command says.
fn lines(child: &mut Child, count: usize) -> Vec<String> {
    BufReader::new(child.stdout.as_mut().unwrap()).lines().take(count).map(Result::unwrap).collect()
}

#[test]
fn tables_follow_each_other_until_nobody_reads() {
    let engine = dropping();
    let mut child = engine.command("stats drops --watch=0.1").spawn().unwrap();
    let shown = lines(&mut child, 6);
    for frame in shown.chunks(3) {
        assert_eq!(frame[0].split_whitespace().collect::<Vec<_>>(), ["node", "text", "packets/s"]);
        assert!(frame[1].starts_with("ip4-input  bad checksum  "), "{frame:?}");
        // A million per read, and at least a tenth of a second between reads.
        let rate: u64 = frame[1].split_whitespace().last().unwrap().parse().unwrap();
        assert!((1..=10_000_000).contains(&rate), "{rate}");
        assert_eq!(frame[2], "", "the row that never counted is left out");
    }
    drop(child.stdout.take());
    let ended = said(child.wait_with_output().unwrap());
    assert_eq!((ended.status, ended.err.as_str()), (Some(0), ""));
}

#[test]
fn json_is_an_array_a_line() {
    let engine = dropping();
    let mut child = engine.command("stats drops --json --watch=0.1").spawn().unwrap();
    for line in lines(&mut child, 3) {
        let rows: Value = line.parse().unwrap();
        assert_eq!((&rows[0]["text"], &rows[1]["packets"]), (&json!("bad checksum"), &json!(0.0)));
        assert!(rows[0]["packets"].as_f64().unwrap() > 0.0);
    }
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn ctrl_c_ends_it_well() {
    let engine = dropping();
    let mut child = engine.command("stats drops --watch=0.1").spawn().unwrap();
    lines(&mut child, 3);
    let status = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let mut rest = String::new();
    child.stdout.as_mut().unwrap().read_to_string(&mut rest).unwrap();
    assert!(rest.is_empty() || rest.ends_with('\n'), "{rest:?}");
    let ended = said(child.wait_with_output().unwrap());
    assert_eq!((ended.status, ended.err.as_str()), (Some(0), ""));
}

#[test]
fn an_engine_that_goes_away_ends_it() {
    let mut reads = 0;
    let engine = Engine::start(move |_, _| {
        reads += 1;
        assert!(reads < 3, "the engine is gone");
        Ok(json!({"items":[],"after":null}))
    });
    let ended = engine.run("stats nodes --watch=0.1");
    assert_eq!(
        (ended.status, ended.err.as_str()),
        (Some(3), "error: stats.nodes: the engine closed the connection\n")
    );
}

/// An engine that forwards a packet for each time it is asked, and punts one.
fn forwarding() -> Engine {
    let mut packets = 0_u64;
    Engine::start(move |method, _| {
        packets += 1;
        let items = match method {
            "stats.workers" => {
                json!([{"worker":0,"received":2 * packets,"transmitted":packets,"punted":packets}])
            }
            "stats.nodes" => json!([{"node":"ether-input","packets":packets,"cycles_per_packet":9.0}]),
            "stats.drops" => json!([]),
            "stats.sinks" => {
                json!([{"name":"bfdd","target":"null","state":"active","delivered":packets,"ring_full":packets}])
            }
            _ => json!([{"id":1,"name":"ip4.ttl-expired","class":"except","action":"trap","rate":1,"burst":1,
                         "packets":packets}]),
        };
        Ok(json!({"items":items,"after":null}))
    })
}

#[test]
fn a_monitor_says_a_line_a_second_and_the_page_in_the_end() {
    let said = forwarding().run("monitor --seconds 1").well();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("received ") && lines[0].ends_with(" cycles/packet"), "{said}");
    assert_eq!(lines[1], "");
    assert!(lines.iter().any(|line| line.starts_with("ip4.ttl-expired ")), "{said}");
}

#[test]
fn a_monitor_speaks_json_too() {
    let said = forwarding().run("monitor --seconds 1 --json").well();
    let view: Value = said.parse().unwrap();
    assert_eq!(view["punted"][0]["name"], "ip4.ttl-expired");
    assert_eq!(view["sinks"][0]["name"], "bfdd");
    assert!(view["sinks"][0]["lost"].as_f64().unwrap() > 0.0, "{view}");
    assert!(view["books"][0]["rate"].as_f64().unwrap() > 0.0, "{view}");
}

//! Policers of every type at everything that can have one: what was set is what is shown, and what counts.

mod common;

use std::time::Instant;

use common::Rig;
use common::frames::*;
use common::router::*;
use serde_json::{Value, json};

/// Packets that come at once; each policer lets 30 of them pass as green, and 20 more as yellow if it knows that colour.
const PACKETS: usize = 100;
/// More than this many packets a second no bucket earns here.
const EARNED: u64 = 3;

fn to_us(port: u16) -> Vec<u8> {
    from_host(ip4("10.0.0.7", "10.0.0.1", 255, 17, &udp(9, port)))
}

fn number(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_else(|| panic!("{field} in {row:#}"))
}

/// What is set of each type, and how many of the packets pass.
fn policers() -> Vec<(Value, u64)> {
    let bytes = |packets: usize| format!("{}B", packets * to_us(0).len());
    vec![
        (json!({"type": "single", "rate": "1pps", "burst": "30p"}), 30),
        (json!({"type": "single", "rate": "1bps", "burst": bytes(30)}), 30),
        (json!({"type": "single", "rate": "1pps", "burst": "30p", "red": "pass"}), 100),
        (json!({"type": "rfc2697", "rate": "1pps", "burst": "30p", "excess": "20p"}), 50),
        (json!({"type": "rfc2697", "rate": "1bps", "burst": bytes(30), "excess": bytes(20)}), 50),
        (json!({"type": "rfc2697", "rate": "1pps", "burst": "30p", "excess": "20p", "yellow": "drop"}), 30),
        (json!({"type": "rfc2698", "rate": "1pps", "burst": "30p", "peak": "2pps", "excess": "50p"}), 50),
        (
            json!({"type": "rfc2698", "rate": "1bps", "burst": bytes(30), "peak": "2bps", "excess": bytes(50)}),
            50,
        ),
        (
            json!({"type": "rfc2698", "rate": "1pps", "burst": "30p", "peak": "1pps", "excess": "50p", "yellow": "drop"}),
            30,
        ),
        (json!({"type": "rfc4115", "rate": "1pps", "burst": "30p", "peak": "1pps", "excess": "20p"}), 50),
        (
            json!({"type": "rfc4115", "rate": "1bps", "burst": bytes(30), "peak": "1bps", "excess": bytes(20)}),
            50,
        ),
        (
            json!({"type": "rfc4115", "rate": "1pps", "burst": "30p", "peak": "1pps", "excess": "20p", "yellow": "drop"}),
            30,
        ),
    ]
}

/// What `policer.list` is to show of it.
fn shown(set: &Value) -> Value {
    let amount = |field: &str| {
        let digits = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u64>();
        set[field].as_str().map(|text| digits(text).expect("a number"))
    };
    let word = |field: &str, usual: &str| set[field].as_str().unwrap_or(usual).to_owned();
    let bits = set["rate"].as_str().is_some_and(|rate| rate.ends_with("bps"));
    let yellow = (set["type"] != "single").then(|| word("yellow", "pass"));
    json!({
        "what": set["what"], "type": set["type"], "unit": if bits { "bits" } else { "packets" },
        "rate": amount("rate"), "burst": amount("burst"), "peak": amount("peak"), "excess": amount("excess"),
        "yellow": yellow, "red": word("red", "drop"),
    })
}

/// Sets it of `what`, and sends the packets: how many seconds its buckets could earn for.
fn police(rig: &mut Rig, what: &str, policer: &Value, port: u16) -> u64 {
    let mut set = policer.clone();
    set["what"] = what.into();
    rig.call("policer.set", &set.to_string());
    assert_eq!(rig.row("policer.list", "what", what), shown(&set));
    let begin = Instant::now();
    rig.put(LAN, &vec![to_us(port); PACKETS]);
    begin.elapsed().as_secs() + 1
}

/// Something new that has a policer, with full buckets: what it is called, and where it counts what it refuses.
fn new(rig: &mut Rig, place: &str, port: u16, sink: &str) -> (String, [&'static str; 2], Value) {
    rig.call("sink.add", &json!({"name": sink, "target": "null"}).to_string());
    if let Some(interface) = place.strip_prefix("passive:ip4") {
        let interface = interface.strip_prefix('@');
        rig.call("passive.set", &json!({"family": "ip4", "sink": sink, "interface": interface}).to_string());
        return (place.into(), ["passive.list", "sink"], sink.into());
    }
    let id = rig.register(&json!({"match": format!("udp:{port}"), "sink": sink}).to_string());
    let reason = format!("local.udp-{port}");
    match place {
        "reason" => (format!("reason:{reason}"), ["reason.list", "name"], reason.into()),
        "registration" => (format!("registration:{id}"), ["registration.list", "id"], id.into()),
        _ => (format!("sink:{sink}"), ["sink.list", "name"], sink.into()),
    }
}

/// It and its sink go.
fn remove(rig: &mut Rig, place: &str, sink: &str) {
    if let Some(interface) = place.strip_prefix("passive:ip4") {
        let interface = interface.strip_prefix('@');
        rig.call("passive.del", &json!({"family": "ip4", "interface": interface}).to_string());
    } else {
        let id = rig.row("registration.list", "sink", sink)["id"].clone();
        rig.call("unregister", &json!({ "id": id }).to_string());
    }
    rig.call("sink.del", &json!({ "name": sink }).to_string());
}

#[test]
fn every_type_counts_as_it_was_set_at_whatever_has_a_policer() {
    // Nothing but the policers is to refuse anything.
    let unlimited = |class| format!("[class.{class}]\ncap = \"unlimited\"\n");
    let config =
        ["[punt]\nbudget = \"unlimited\"\n".to_owned(), unlimited("mgmt"), unlimited("miss")].concat();
    let mut rig = router_with(&config);
    let mut port = 7000;
    for (policer, passes) in policers() {
        for place in ["reason", "registration", "sink", "passive:ip4", "passive:ip4@lan"] {
            port += 1;
            let sink = format!("n{port}");
            let (what, [list, key], is) = new(&mut rig, place, port, &sink);
            let earned = police(&mut rig, &what, &policer, port) * EARNED;
            let row = rig.row(list, key, is);
            let fields = match place {
                // Who is refused while a reason runs short is refused for the share of its source.
                "reason" => &["refused_source", "refused_interface", "refused_reason"][..],
                "sink" => &["refused_sink"],
                _ => &["refused"],
            };
            let refused: u64 = fields.iter().map(|field| number(&row, field)).sum();
            let delivered = number(&rig.settled(&sink), "delivered");
            assert_eq!(refused + delivered, PACKETS as u64, "{what} {policer}");
            assert!((passes..=passes + earned).contains(&delivered), "{delivered} pass {what} {policer}");
            remove(&mut rig, place, &sink);
        }
    }
    rig.finish();
}

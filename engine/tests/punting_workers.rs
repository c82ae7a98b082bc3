//! Two workers punt at once: limits hold for both together, each numbers its own records, and registrations change meanwhile.

mod common;

use std::collections::BTreeMap;
use std::time::Instant;

use common::Rig;
use common::frames::*;
use common::router::*;
use punt::record::Header;
use serde_json::Value;

fn number(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_else(|| panic!("{field} in {row:#}"))
}

/// The router with two workers: one looks at `lan`, the other at `wan`.
fn two() -> Rig {
    let rig = Rig::new("0@0,1@0,2@1", &["lan", "wan"], ROUTER);
    assert_eq!(rig.workers.len(), 2);
    rig
}

/// TTL 1 from behind `wan`, of `len` bytes.
fn expires_on_wan(len: usize) -> Vec<u8> {
    ethernet(WAN_MAC, GATEWAY, &udp4("10.2.3.4", "10.100.0.7", 1, &vec![0x5a; len - 42]))
}

/// Both ports have frames to look at before any worker looks.
fn lay_both(rig: &mut Rig, count: usize) {
    rig.lay(LAN, &vec![expires(60); count]);
    rig.lay(WAN, &vec![expires_on_wan(61); count]);
}

/// Every (worker, class) counts from 0 on, and what is missing was told as lost. How many came from each worker.
fn numbered<'a>(records: impl IntoIterator<Item = &'a Header>) -> BTreeMap<u16, u64> {
    let mut counts = BTreeMap::new();
    for header in records {
        let received = counts.entry((header.worker, header.class)).or_insert(0);
        assert_eq!(header.sequence, *received + header.lost, "worker {}", header.worker);
        *received += 1;
    }
    counts.into_iter().map(|((worker, _), count)| (worker, count)).collect()
}

#[test]
fn limits_hold_for_both_together() {
    let mut rig = two();
    for name in ["n", "slow"] {
        let more = if name == "slow" { r#", "rate": 1, "burst": 70"# } else { "" };
        rig.call("sink.add", &format!(r#"{{"name": "{name}", "target": "null"{more}}}"#));
    }
    let client = client(&mut rig, "a");
    register(&mut rig, "reason:ip4.ttl-expired", "n");
    register(&mut rig, "reason:ip4.ttl-expired", "slow");
    let id = rig.register(r#"{"match": "reason:ip4.ttl-expired", "sink": "a", "rate": 1, "burst": 90}"#);
    rig.call("reason.set", r#"{"name": "ip4.ttl-expired", "rate": 1, "burst": 200}"#);
    let begin = Instant::now();
    lay_both(&mut rig, 600);
    rig.meanwhile(|rig| {
        rig.until("reason.list", "name", "ip4.ttl-expired", |row| row["packets"] == 1200);
    });
    let refilled = begin.elapsed().as_secs() + 1;
    let within = |what: &str, count: u64, burst: u64| {
        assert!(
            (burst..=burst + refilled).contains(&count),
            "{what}: {count}, burst {burst}, {refilled} more"
        );
    };
    let row = rig.row("reason.list", "name", "ip4.ttl-expired");
    let accepted = number(&row, "accepted");
    within("the reason", accepted, 200);
    assert_eq!(number(&row, "refused_reason"), 1200 - accepted);
    let slow = rig.settled("slow");
    within("the sink", number(&slow, "delivered"), 70);
    assert_eq!(number(&slow, "refused_sink"), accepted - number(&slow, "delivered"));
    assert_eq!(number(&rig.settled("n"), "delivered"), accepted);
    let passed = accepted - number(&rig.row("registration.list", "id", id), "refused");
    within("the registration", passed, 90);
    let records = client.records(passed as usize);
    rig.settled("a");
    assert_eq!(numbered(records.iter().map(|(header, _)| header)).values().sum::<u64>(), passed);
    for (header, frame) in records {
        assert_eq!(frame, if header.worker == 0 { expires(60) } else { expires_on_wan(61) });
    }
    rig.finish();
}

#[test]
fn each_numbers_its_own_records_at_every_sink() {
    let mut rig = two();
    let clients = ["a", "b"].map(|name| client(&mut rig, name));
    rig.call("reason.set", r#"{"name": "ip4.ttl-expired", "rate": "unlimited"}"#);
    rig.call("class.set", r#"{"name": "except", "cap": "unlimited"}"#);
    for sink in ["a", "b"] {
        register(&mut rig, "reason:ip4.ttl-expired", sink);
    }
    lay_both(&mut rig, 300);
    let records = rig.meanwhile(|_| clients.each_ref().map(|client| client.records(600)));
    for records in &records {
        let counts = numbered(records.iter().map(|(header, _)| header));
        assert_eq!(counts, [(0, 300), (1, 300)].into());
        assert!(records.iter().all(|(header, _)| header.lost == 0));
    }
    rig.finish();
}

#[test]
fn registrations_change_meanwhile_and_every_packet_is_in_the_books() {
    const ROUNDS: usize = 60;
    let mut rig = two();
    let all = client(&mut rig, "all");
    for name in ["n", "m"] {
        rig.call("sink.add", &format!(r#"{{"name": "{name}", "target": "null"}}"#));
    }
    rig.call("reason.set", r#"{"name": "ip4.ttl-expired", "rate": "unlimited"}"#);
    rig.call("class.set", r#"{"name": "except", "cap": "unlimited"}"#);
    let id = register(&mut rig, "reason:ip4.ttl-expired", "all");
    let (lan, wan) = (vec![expires(60); 16], vec![expires_on_wan(61); 16]);
    let forwarded = from_host(udp4("10.0.0.7", "10.2.3.4", 64, &[1; 18]));
    let records = rig.meanwhile(|rig| {
        let mut records = Vec::new();
        for _ in 0..ROUNDS {
            rig.lay(LAN, &lan);
            rig.lay(WAN, &wan);
            rig.lay(LAN, std::slice::from_ref(&forwarded));
            let one = register(rig, "reason:ip4.*", "n");
            let other =
                rig.register(r#"{"match": "reason:ip4.ttl-expired", "sink": "m", "source": "10.0.0.0/8"}"#);
            records.extend(all.records(32));
            rig.call("unregister", &format!(r#"{{"id": {one}}}"#));
            rig.call("unregister", &format!(r#"{{"id": {other}}}"#));
        }
        records
    });
    let count = 32 * ROUNDS as u64;
    let counts = numbered(records.iter().map(|(header, _)| header));
    assert_eq!(counts, [(0, count / 2), (1, count / 2)].into());
    assert!(records.iter().all(|(header, _)| (header.registration as u64, header.lost) == (id, 0)));
    assert_eq!(rig.take(WAN).len(), ROUNDS, "what is forwarded is forwarded");
    let row = rig.settled("all");
    assert_eq!(["offered", "delivered"].map(|field| number(&row, field)), [count, count]);
    let rows = rig.rows("reason.list");
    let punted: u64 = rows
        .iter()
        .filter(|row| row["name"].as_str().is_some_and(|name| name.starts_with("ip4.ttl-expired")))
        .map(|row| number(row, "packets"))
        .sum();
    assert!(punted <= count, "reasons that went have taken their counts along");
    assert!(!rows.iter().any(|row| row["name"].as_str().is_some_and(|name| name.contains('@'))));
    rig.finish();
}

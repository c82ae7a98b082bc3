//! How many packets get through, and what becomes of the others: policers, actions, samples, drops that one asks for, and clients that are
//! not there.

mod common;

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Rig;
use common::client::{Client, path};
use common::frames::*;
use common::router::*;
use punt::record::{COPY, REWRITTEN};
use serde_json::Value;

fn number(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_else(|| panic!("{field} in {row:#}"))
}

fn reason(rig: &mut Rig, name: &str) -> Value {
    rig.row("reason.list", "name", name)
}

fn null(rig: &mut Rig, name: &str) {
    rig.call("sink.add", &format!(r#"{{"name": "{name}", "target": "null"}}"#));
}

#[test]
fn a_reason_passes_its_burst_at_once_and_refuses_the_rest() {
    let mut rig = router();
    null(&mut rig, "n");
    register(&mut rig, "reason:ip4.ttl-expired", "n");
    let begin = Instant::now();
    rig.put(LAN, &vec![expires(60); 1000]);
    let refilled = (begin.elapsed().as_secs_f64() * 600.0) as u64;
    let row = reason(&mut rig, "ip4.ttl-expired");
    let accepted = number(&row, "accepted");
    assert!((300..=301 + refilled).contains(&accepted), "{accepted} accepted, {refilled} refilled");
    assert_eq!(number(&row, "refused_reason"), 1000 - accepted);
    assert_eq!((number(&row, "packets"), number(&row, "bytes")), (1000, 60_000));
    assert_eq!(number(&rig.settled("n"), "delivered"), accepted);
    rig.finish();
}

#[test]
fn a_class_has_a_cap_and_a_minimum_that_others_cannot_take() {
    let mut rig = router();
    null(&mut rig, "n");
    register(&mut rig, "reason:*", "n");
    for name in ["ip4.ttl-expired", "ip4.no-route", "l2.lldp"] {
        rig.call("reason.set", &format!(r#"{{"name": "{name}", "rate": "unlimited"}}"#));
    }
    rig.call("class.set", r#"{"name": "except", "min": 1, "cap": 100}"#);
    let begin = Instant::now();
    rig.put(LAN, &[vec![expires(60); 300], vec![no_route(60); 300], vec![lldp(60); 50]].concat());
    let refilled = (begin.elapsed().as_secs_f64() * 100.0) as u64 + 1;
    let row = rig.row("class.list", "name", "except");
    let accepted = number(&row, "accepted");
    // A class's burst is its cap of one second, or less.
    assert!((16..=100 + refilled).contains(&accepted), "{row:#}");
    assert_eq!((number(&row, "packets"), number(&row, "refused")), (600, 600 - accepted));
    let of = |rig: &mut Rig, field: &str| {
        ["ip4.ttl-expired", "ip4.no-route"].map(|name| number(&reason(rig, name), field)).iter().sum::<u64>()
    };
    assert_eq!((of(&mut rig, "accepted"), of(&mut rig, "refused_class")), (accepted, 600 - accepted));
    let other = reason(&mut rig, "l2.lldp");
    assert_eq!((number(&other, "accepted"), number(&other, "refused_class")), (50, 0), "another class");
    assert_eq!(number(&rig.settled("n"), "delivered"), accepted + 50);
    rig.finish();
}

#[test]
fn rings_take_no_more_memory_than_they_may_and_who_is_refused_changes_nothing() {
    let mut rig = router_with("[punt]\nmemory = \"2 MiB\"\n");
    let client = client(&mut rig, "a");
    register(&mut rig, "reason:ip4.ttl-expired", "a");
    let used = number(&rig.row("sink.list", "name", "a"), "memory");
    assert!((1..=2 << 20).contains(&used), "{used}");
    let mut refused = None;
    for at in 0..64 {
        null(&mut rig, &format!("n{at}"));
        let wanted = format!(r#"{{"match": "reason:ip4.ttl-expired", "sink": "n{at}"}}"#);
        if let Err(error) = rig.try_call("register", &wanted) {
            refused = Some((format!("n{at}"), error));
            break;
        }
    }
    let (sink, error) = refused.expect("2 MiB are soon used");
    assert!(error.contains(&sink) && error.contains("[punt] memory"), "{error}");
    let rows = rig.rows("sink.list");
    assert!(rows.iter().map(|row| number(row, "memory")).sum::<u64>() <= 2 << 20);
    assert_eq!(rig.rows("registration.list").len(), rows.len() - 1, "the one that was refused is not there");
    rig.put(LAN, &vec![expires(60); 8]);
    assert_eq!(client.frames(8), vec![expires(60); 8]);
    for row in rig.rows("sink.list") {
        let name = row["name"].as_str().expect("a name").to_owned();
        let expected = if name == sink { 0 } else { 8 };
        assert_eq!(number(&rig.settled(&name), "delivered"), expected, "{name}");
    }
    rig.finish();
}

#[test]
fn registrations_and_sinks_have_limits_of_their_own() {
    let mut rig = router();
    rig.call("sink.add", r#"{"name": "slow", "target": "null", "rate": 1, "burst": 50}"#);
    null(&mut rig, "n");
    let id = rig.register(r#"{"match": "reason:ip4.ttl-expired", "sink": "n", "rate": 1, "burst": 20}"#);
    let slow = register(&mut rig, "reason:ip4.ttl-expired", "slow");
    rig.put(LAN, &vec![expires(60); 100]);
    let row = rig.settled("n");
    assert_eq!(
        ["offered", "refused_registration", "refused_sink", "delivered"].map(|it| number(&row, it)),
        [100, 80, 0, 20]
    );
    let row = rig.settled("slow");
    assert_eq!(
        ["offered", "refused_registration", "refused_sink", "delivered"].map(|it| number(&row, it)),
        [100, 0, 50, 50]
    );
    for (id, [by_itself, by_sink]) in [(id, [80, 0]), (slow, [0, 50])] {
        let row = rig.row("registration.list", "id", id);
        assert_eq!(
            ["packets", "refused", "refused_sink", "delivered"].map(|it| number(&row, it)),
            [100, by_itself, by_sink, 100 - by_itself - by_sink]
        );
    }
    rig.finish();
}

#[test]
fn what_is_refused_is_a_gap_in_the_sequence_and_told_as_lost() {
    let mut rig = router();
    let client = client(&mut rig, "a");
    rig.call("reason.set", r#"{"name": "ip4.ttl-expired", "rate": "unlimited"}"#);
    rig.register(r#"{"match": "reason:ip4.ttl-expired", "sink": "a", "rate": 1, "burst": 4}"#);
    rig.put(LAN, &vec![expires(60); 10]);
    rig.call("registration.list", "{}");
    let first: Vec<_> = client.records(4).iter().map(|(header, _)| (header.sequence, header.lost)).collect();
    assert_eq!(first, [(0, 0), (1, 0), (2, 0), (3, 0)]);
    register(&mut rig, "reason:ip4.no-route", "a");
    rig.put(LAN, &[no_route(60)]);
    let (header, _) = client.records(1).remove(0);
    assert_eq!((header.sequence, header.lost), (10, 6), "of the same class");
    rig.finish();
}

#[test]
fn an_operator_drops_samples_and_limits_a_reason() {
    let mut rig = router();
    null(&mut rig, "n");
    register(&mut rig, "reason:ip4.ttl-expired", "n");
    for (set, expected) in [
        (
            r#""action": "drop""#,
            [("action_drop", 100), ("accepted", 0), ("sampled_out", 0), ("refused_reason", 0)],
        ),
        (
            r#""action": "trap", "sample": 10"#,
            [("action_drop", 100), ("accepted", 10), ("sampled_out", 90), ("refused_reason", 0)],
        ),
        (
            r#""sample": 1, "rate": 1, "burst": 25"#,
            [("action_drop", 100), ("accepted", 35), ("sampled_out", 90), ("refused_reason", 75)],
        ),
        (
            r#""rate": "unlimited""#,
            [("action_drop", 100), ("accepted", 135), ("sampled_out", 90), ("refused_reason", 75)],
        ),
    ] {
        rig.call("reason.set", &format!(r#"{{"name": "ip4.ttl-expired", {set}}}"#));
        rig.put(LAN, &vec![expires(60); 100]);
        let row = reason(&mut rig, "ip4.ttl-expired");
        assert_eq!(expected.map(|(field, _)| (field, number(&row, field))), expected, "{set}");
    }
    let refused = rig.try_call("reason.set", r#"{"name": "ip4.ttl-expired", "action": "copy"}"#).unwrap_err();
    assert!(refused.contains("ip4.ttl-expired") && refused.contains("trap"), "{refused}");
    rig.finish();
}

#[test]
fn a_redirect_is_copied_and_forwarded_unless_it_is_trapped() {
    let mut rig = router();
    rig.call("neighbor.add", r#"{"address": "10.0.0.9", "mac": "02:00:00:00:00:99", "interface": "lan"}"#);
    let back = from_host(udp4("10.0.0.7", "10.0.0.9", 9, &[1; 18]));
    let sent = ethernet([2, 0, 0, 0, 0, 0x99], LAN_MAC, &udp4("10.0.0.7", "10.0.0.9", 8, &[1; 18]));
    rig.put(LAN, std::slice::from_ref(&back));
    assert_eq!(rig.take(LAN), std::slice::from_ref(&sent), "nobody asked");
    let client = client(&mut rig, "a");
    register(&mut rig, "reason:ip4.redirect", "a");
    rig.put(LAN, std::slice::from_ref(&back));
    assert_eq!(rig.take(LAN), [sent]);
    let (header, frame) = client.records(1).remove(0);
    assert_eq!((header.flags, frame), (COPY, back.clone()), "as it came in, before the rewrite");
    rig.call("reason.set", r#"{"name": "ip4.redirect", "action": "trap"}"#);
    rig.put(LAN, std::slice::from_ref(&back));
    let (header, frame) = client.records(1).remove(0);
    assert_eq!((header.flags, frame), (0, back.clone()));
    rig.call("reason.set", r#"{"name": "ip4.redirect", "action": "drop"}"#);
    rig.put(LAN, &[back]);
    assert_eq!(rig.take(LAN), Vec::<Vec<u8>>::new());
    let row = reason(&mut rig, "ip4.redirect");
    assert_eq!(["packets", "no_sink", "accepted", "action_drop"].map(|it| number(&row, it)), [4, 1, 2, 1]);
    rig.finish();
}

#[test]
fn drops_can_be_asked_for_and_are_counted_as_drops_all_the_same() {
    let mut rig = router();
    let client = client(&mut rig, "a");
    let mut bad_sum = udp4("10.0.0.7", "10.2.3.4", 64, &[]);
    bad_sum[10] ^= 1;
    let bad_sum = from_host(bad_sum);
    rig.put(LAN, std::slice::from_ref(&bad_sum));
    let name = "drop.ip4-input.header-checksum-is-wrong";
    assert_eq!(number(&reason(&mut rig, name), "packets"), 0, "off until asked");
    let id = register(&mut rig, &format!("reason:{name}"), "a");
    rig.put(LAN, std::slice::from_ref(&bad_sum));
    let (header, frame) = client.records(1).remove(0);
    let row = reason(&mut rig, name);
    assert_eq!((frame, header.flags, header.reason as u64), (bad_sum.clone(), 0, number(&row, "id")));
    assert_eq!((number(&row, "packets"), number(&row, "accepted"), &row["class"]), (1, 1, &"sample".into()));
    assert_eq!(rig.dropped("ip4-input", "header checksum is wrong"), 2);
    rig.call("unregister", &format!(r#"{{"id": {id}}}"#));
    rig.put(LAN, &[bad_sum]);
    assert_eq!(number(&reason(&mut rig, name), "packets"), 1);
    register(&mut rig, "reason:drop.*", "a");
    rig.put(LAN, &[vec![0; 13]]);
    assert_eq!(client.frames(1), [vec![0; 13]]);
    rig.finish();
}

/// Each cause by itself: what is set, and which reason a second packet has that is refused or lost by it.
#[test]
fn what_is_refused_or_lost_on_the_way_to_a_sink_can_be_asked_for() {
    let causes = [
        ("policer-reason", "reason.set", r#"{"name": "ip4.ttl-expired", "rate": 1, "burst": 1}"#),
        ("policer-source", "reason.set", r#"{"name": "ip4.ttl-expired", "source_rate": 1}"#),
        ("policer-interface", "reason.set", r#"{"name": "ip4.ttl-expired", "interface_rate": 1}"#),
        ("policer-class", "class.set", r#"{"name": "except", "min": 0, "cap": 1}"#),
        (
            "policer-registration",
            "policer.set",
            r#"{"what": "registration:1", "type": "single", "rate": 1, "burst": 1}"#,
        ),
        ("policer-sink", "policer.set", r#"{"what": "sink:n", "type": "single", "rate": 1, "burst": 1}"#),
        ("sink-dead", "sink.add", r#"{"name": "late", "target": "unix:/nonexistent/socket"}"#),
        ("ring-full", "sink.list", "{}"),
    ];
    let mut rig = router();
    let client = client(&mut rig, "shows");
    null(&mut rig, "n");
    assert_eq!(register(&mut rig, "reason:ip4.ttl-expired", "n"), 1);
    let everything = register(&mut rig, "reason:*", "shows");
    rig.put(LAN, &[expires(60)]);
    client.records(1);
    rig.call("unregister", &format!(r#"{{"id": {everything}}}"#));
    let open = [
        (
            "reason.set",
            r#"{"name": "ip4.ttl-expired", "rate": "unlimited", "source_rate": "unlimited", "interface_rate": "unlimited"}"#,
        ),
        ("class.set", r#"{"name": "except", "min": 0, "cap": 1000000}"#),
        ("policer.set", r#"{"what": "registration:1", "type": "single", "rate": 1000000, "burst": 1000000}"#),
        ("policer.set", r#"{"what": "sink:n", "type": "single", "rate": 1000000, "burst": 1000000}"#),
    ];
    for (cause, method, params) in causes {
        let name = format!("engine.{cause}");
        open.iter().for_each(|(method, params)| _ = rig.call(method, params));
        rig.put(LAN, &vec![expires(60); 400]);
        assert_eq!(number(&reason(&mut rig, &name), "packets"), 0, "off until asked");
        let shown = register(&mut rig, &format!("reason:{name}"), "shows");
        rig.call(method, params);
        if cause == "sink-dead" {
            rig.until("sink.list", "name", "late", |row| row["state"] == "suspended");
            register(&mut rig, "reason:ip4.ttl-expired", "late");
        }
        let full = (cause == "ring-full").then(|| {
            let never_reads = self::client(&mut rig, "full");
            register(&mut rig, "reason:ip4.ttl-expired", "full");
            never_reads
        });
        // A ring takes a while to be full; everything else is refused at once.
        let (lost, rounds) = if full.is_some() { (expires(1514), 50) } else { (expires(60), 1) };
        let mut row = Value::Null;
        for _ in 0..rounds {
            rig.put(LAN, &vec![lost.clone(); 400]);
            row = reason(&mut rig, &name);
            if number(&row, "packets") > 0 {
                break;
            }
        }
        assert!((1..=400).contains(&number(&row, "packets")), "{name}: {row:#}");
        let (header, frame) = client.records(number(&row, "accepted") as usize).remove(0);
        assert_eq!((header.reason as u64, header.flags, frame), (number(&row, "id"), 0, lost), "{name}");
        rig.call("unregister", &format!(r#"{{"id": {shown}}}"#));
    }
    rig.finish();
}

#[test]
fn a_drop_behind_the_rewrite_is_shown_as_rewritten() {
    let mut rig = router();
    let client = client(&mut rig, "a");
    register(&mut rig, "reason:drop.transmit.transmit-queue-is-full", "a");
    let frames: Vec<_> = (0..1030u16)
        .map(|at| from_host(udp4("10.0.0.7", "10.2.3.4", 9, &at.to_be_bytes().repeat(9))))
        .collect();
    rig.put(LAN, &frames);
    assert_eq!(rig.dropped("transmit", "transmit queue is full"), 7);
    for ((header, frame), at) in client.records(7).into_iter().zip(1023u16..) {
        let rewritten = udp4("10.0.0.7", "10.2.3.4", 8, &at.to_be_bytes().repeat(9));
        assert_eq!((header.flags, frame), (REWRITTEN, ethernet(GATEWAY, WAN_MAC, &rewritten)));
        assert_eq!((header.l3, header.interface), (14, rig.index("lan")));
    }
    assert_eq!(rig.take(WAN).len(), 1023);
    rig.finish();
}

#[test]
fn a_client_that_is_missing_dies_and_comes_back_is_counted_by_cause() {
    let mut rig = router();
    let missing = path("late");
    rig.call("sink.add", &format!(r#"{{"name": "late", "target": "unix:{}"}}"#, missing.display()));
    register(&mut rig, "reason:ip4.ttl-expired", "late");
    let other = client(&mut rig, "other");
    register(&mut rig, "reason:ip4.ttl-expired", "other");
    rig.call("reason.set", r#"{"name": "ip4.ttl-expired", "rate": "unlimited"}"#);
    rig.put(LAN, &vec![expires(60); 50]);
    let row = rig.until("sink.list", "name", "late", |row| row["state"] == "suspended");
    assert_eq!(row["errors"], serde_json::json!({"ENOENT": 50}));
    assert_eq!(other.frames(50).len(), 50, "others feel nothing");

    let client = Client::new("late");
    rig.until("sink.list", "name", "late", |row| row["state"] == "active");
    rig.put(LAN, &[expires(60)]);
    let (header, _) = client.records(1).remove(0);
    assert_eq!((header.sequence, header.lost), (50, 50));

    // Dead: the socket is closed, and its path stays.
    let left = path("left");
    std::fs::rename(client.path(), &left).expect("it is there");
    drop(client);
    std::fs::rename(&left, &missing).expect("it is there");
    rig.put(LAN, &vec![expires(60); 10]);
    // A row is no snapshot: its state may be from before, and its counts from after.
    let gone = |row: &Value| row["errors"]["ECONNREFUSED"] == 10 && row["state"] == "suspended";
    let row = rig.until("sink.list", "name", "late", gone);
    assert_eq!(row["errors"], serde_json::json!({"ENOENT": 50, "ECONNREFUSED": 10}));
    let client = Client::new("late");
    rig.until("sink.list", "name", "late", |row| row["state"] == "active");
    rig.put(LAN, &[expires(61)]);
    let (header, frame) = client.records(1).remove(0);
    assert_eq!((header.sequence, header.lost, frame.len()), (61, 60, 61));
    assert_eq!(other.frames(12).len(), 12);
    let row = rig.row("registration.list", "sink", "late");
    assert_eq!(["packets", "errors", "delivered"].map(|it| number(&row, it)), [62, 60, 2]);
    rig.finish();
}

/// A client that is a program of its own, bound at `path`.
struct Process(Child);

impl Process {
    fn start(path: &Path) -> Process {
        let _ = std::fs::remove_file(path);
        let program = "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); \
                       print('bound', flush=True); s.recv(1)";
        let mut command = Command::new("python3");
        command.args(["-c", program]).arg(path).stdout(Stdio::piped());
        let mut process = Process(command.spawn().expect("python3 runs"));
        let mut said = [0; 6];
        process.0.stdout.take().expect("a pipe").read_exact(&mut said).expect("it binds");
        process
    }
}

impl Drop for Process {
    /// Killed, as by `kill -9`: its socket's file stays.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long the threads of this process of these names have waited for a CPU that others had.
fn waited(names: &[&str]) -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").expect("procfs").flatten();
    let read = |thread: &Path, what| std::fs::read_to_string(thread.join(what)).unwrap_or_default();
    let of = |thread: std::fs::DirEntry| {
        let thread = thread.path();
        let is_one = names.contains(&read(&thread, "comm").trim());
        let waited = || read(&thread, "schedstat").split(' ').nth(1)?.parse::<u64>().ok();
        if is_one { waited().expect("the kernel says how long a thread waits") } else { 0 }
    };
    Duration::from_nanos(threads.map(of).sum())
}

#[test]
fn a_client_that_was_killed_and_is_back_is_found_within_100_milliseconds_each_time() {
    let mut rig = router();
    let there = path("late");
    rig.call("sink.add", &format!(r#"{{"name": "late", "target": "unix:{}"}}"#, there.display()));
    let this = std::fs::read_to_string("/proc/thread-self/comm").expect("procfs");
    let names = ["sink-late", this.trim()];
    for time in 1..=10 {
        rig.until("sink.list", "name", "late", |row| row["state"] == "suspended");
        let _client = Process::start(&there);
        let (begin, before) = (Instant::now(), waited(&names));
        rig.until("sink.list", "name", "late", |row| row["state"] == "active");
        // What other programs take of the CPUs is nothing that the engine could do about.
        let (took, others) = (begin.elapsed(), waited(&names) - before);
        assert!(
            took < Duration::from_millis(100) + others,
            "{took:?}, {others:?} of it for others, time {time}"
        );
    }
    rig.finish();
}

#[test]
fn a_client_that_does_not_read_fills_its_ring_and_nobody_elses() {
    let mut rig = router();
    let slow = client(&mut rig, "slow");
    null(&mut rig, "n");
    rig.call("reason.set", r#"{"name": "ip4.ttl-expired", "rate": "unlimited"}"#);
    rig.call("class.set", r#"{"name": "except", "cap": "unlimited"}"#);
    let id = register(&mut rig, "reason:ip4.ttl-expired", "slow");
    register(&mut rig, "reason:ip4.ttl-expired", "n");
    let accepted = |rig: &mut Rig| number(&reason(rig, "ip4.ttl-expired"), "accepted");
    let mut put = 0;
    while number(&rig.row("sink.list", "name", "slow"), "ring_full") == 0 {
        rig.settled("n");
        rig.put(LAN, &vec![expires(1000); 200]);
        put += 200;
        assert!(put < 4000, "the ring is never full");
    }
    assert_eq!(number(&rig.settled("n"), "delivered"), accepted(&mut rig));
    rig.until("sink.list", "name", "slow", |row| row["state"] == "stuck");
    let full = number(&rig.row("sink.list", "name", "slow"), "ring_full");
    let expected = accepted(&mut rig) - full;
    let records = slow.records(expected as usize);
    let row = rig.settled("slow");
    assert_eq!(
        (number(&row, "delivered"), number(&row, "ring_full"), &row["state"]),
        (expected, full, &"active".into())
    );
    assert_eq!(number(&rig.row("registration.list", "id", id), "ring_full"), full);
    assert!(records.iter().zip(0..).all(|((header, _), at)| header.sequence == at && header.lost == 0));
    rig.put(LAN, &[expires(60)]);
    let (header, _) = slow.records(1).remove(0);
    assert_eq!((header.sequence, header.lost), (expected + full, full), "a gap is a loss");
    rig.finish();
}

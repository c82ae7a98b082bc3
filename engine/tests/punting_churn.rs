//! Somebody registers and unregisters all the time, beside a thousand others, while a worker forwards: it loses nothing and feels nothing.
//!
//! `cargo nextest run --release -p engine --test punting_churn --no-capture` prints the figures of docs/performance.md.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use common::frames::*;
use common::router::*;
use common::{Rig, Traffic};
use engine::control::{Control, Service};
use hdrhistogram::Histogram;
use serde_json::Value;
use serde_json::value::RawValue;

/// Registrations that are there all the time; half of them are variants of one that is built in.
const OTHERS: u32 = 1000;
/// Pairs of registering and unregistering in a phase.
const PAIRS: usize = 1500;
/// Loops in which nothing changes.
const LOOPS: u64 = 20_000;
/// Phases of each kind; they take turns.
const PHASES: usize = 3;
/// How much longer half of the loops may be with them than without: on a machine that others use, too.
const RATIO: u64 = 5;
/// What all pairs but the first phase's may leave behind, in bytes.
const GROWTH: u64 = 8 << 20;

fn call(control: &mut Control, method: &str, params: &str) -> Value {
    let params = RawValue::from_string(params.to_owned()).expect("JSON");
    let answer = control.call(&mut Default::default(), method, Some(&params));
    serde_json::from_str(answer.unwrap_or_else(|error| panic!("{method}: {error}")).get()).expect("JSON")
}

/// What is registered beside those who come and go.
fn others(control: &mut Control) {
    call(control, "sink.add", r#"{"name": "a", "target": "null"}"#);
    let register = |at: u32| match at % 2 {
        0 => format!(r#"{{"match": "udp:{}", "sink": "a"}}"#, 10_000 + at),
        _ => format!(r#"{{"match": "udp:3784", "sink": "a", "source": "10.9.{}.{}/32"}}"#, at >> 8, at & 255),
    };
    let all: Vec<String> = (0..OTHERS).map(register).collect();
    call(control, "register", &format!("[{}]", all.join(",")));
}

/// What comes and goes: one variant more of what a thousand have, and what nobody else has.
const GUESTS: [&str; 2] = [
    r#"{"match": "udp:3784", "sink": "a", "source": "10.0.0.7/32"}"#,
    r#"{"match": "udp:6000", "sink": "a"}"#,
];

fn unregister(control: &mut Control, registered: &Value) {
    call(control, "unregister", &format!(r#"{{"id": {}}}"#, registered["id"]));
}

/// The guests are there and stay: the same packets reach the same sink, whose threads want the CPUs as much, and nothing changes.
fn calm(control: &mut Control, loops: &AtomicU64) {
    let guests = GUESTS.map(|guest| call(control, "register", guest));
    while loops.load(Ordering::Relaxed) < LOOPS {
        std::thread::yield_now();
    }
    guests.iter().for_each(|guest| unregister(control, guest));
}

/// The guests come and go. How long a pair took.
fn churn(control: &mut Control) -> Histogram<u64> {
    let mut pairs = Histogram::new_with_bounds(1, 10_000_000_000, 2).expect("a range");
    for round in 0..PAIRS {
        let start = Instant::now();
        let guest = call(control, "register", GUESTS[round % GUESTS.len()]);
        unregister(control, &guest);
        pairs.saturating_record(start.elapsed().as_nanos() as u64);
    }
    pairs
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("a /proc");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("pages") * 4096
}

/// How many registrations, and how many reasons there are.
fn counted(rig: &mut Rig) -> (usize, usize) {
    (rig.rows("registration.list").len(), rig.rows("reason.list").len())
}

fn quantiles(histogram: &Histogram<u64>) -> String {
    let of = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    let (half, most, nearly_all) = (of(0.5), of(0.99), of(0.9999));
    format!(
        "p50 {half:.1}, p99 {most:.1}, p99.99 {nearly_all:.1}, max {:.1} us",
        histogram.max() as f64 / 1000.0
    )
}

#[test]
fn a_worker_feels_nothing_of_those_who_register_and_unregister_all_the_time() {
    // Both threads may run on any of two CPUs, for they would take turns on one.
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut rig = Rig::new(if cpus > 1 { "0@(0,1)" } else { "0" }, &["lan", "wan"], ROUTER);
    let ((), _) = rig
        .forwarding(&[from_host(udp4("10.0.0.7", "10.2.3.4", 64, &[7; 18]))], |control, _| others(control));
    // Of 64 packets, 62 are forwarded and two are for those who come and go.
    let to_us = |port: u16| {
        let mut packet = udp4("10.0.0.7", "10.0.0.1", 255, &[9; 24]);
        packet[22..24].copy_from_slice(&port.to_be_bytes());
        packet[26..28].fill(0);
        from_host(packet)
    };
    let forwarded = |at: u8| from_host(udp4("10.0.0.7", &format!("10.2.3.{at}"), 64, &[7; 18]));
    let frames: Vec<Vec<u8>> = (0..62).map(forwarded).chain([to_us(3784), to_us(6000)]).collect();
    let (mut without, mut with): (Vec<Traffic>, Vec<Traffic>) = (Vec::new(), Vec::new());
    let mut pairs = Vec::new();
    let (mut there, mut memory) = (None, 0);
    for phase in 0..PHASES {
        without.push(rig.forwarding(&frames, calm).1);
        let (took, traffic) = rig.forwarding(&frames, |control, _| churn(control));
        with.push(traffic);
        pairs.push(took);
        if phase == 0 {
            (there, memory) = (Some(counted(&mut rig)), resident());
        }
    }
    let grown = resident().saturating_sub(memory);
    for traffic in without.iter().chain(&with) {
        assert_eq!(traffic.forwarded, traffic.sent / 64 * 62, "every packet in transit is forwarded");
    }
    assert_eq!(Some(counted(&mut rig)), there, "nothing is left of those who went");
    assert!(grown <= GROWTH, "{grown} bytes more");
    let all = |phases: &[Histogram<u64>]| {
        let mut all = phases[0].clone();
        phases[1..].iter().for_each(|phase| all.add(phase).expect("the same range"));
        all
    };
    let loops = |traffic: &[Traffic]| all(&traffic.iter().map(|it| it.loops.clone()).collect::<Vec<_>>());
    let (without, with, pairs) = (loops(&without), loops(&with), all(&pairs));
    println!("loops of 64 packets without: {}", quantiles(&without));
    println!("loops of 64 packets with:    {}", quantiles(&with));
    println!("a pair:                      {}, {} in all", quantiles(&pairs), pairs.len());
    println!("{} bytes more in memory", grown);
    let (before, after) = (without.value_at_quantile(0.5), with.value_at_quantile(0.5));
    assert!(after <= RATIO * before, "half of the loops take {after} ns, and {before} ns without");
    rig.finish();
}

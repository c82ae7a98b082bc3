//! What `scripts/demo --attack` shows, in small: a flood on one interface, and BFD, BGP and ARP that arrive whole on the other.

use std::process::Command;

use serde_json::Value;
use tests::engine::{Engine, Launch, binary};

/// What the good ones and their daemons say after three seconds.
fn peers(engine: &Engine) -> Value {
    let output = Command::new(binary("attack"))
        .args(["peers", "--json", "--seconds", "3", "--socket"])
        .arg(engine.socket())
        .output()
        .expect("the peers can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("it speaks JSON")
}

/// Packets that were sent and did not come.
fn lost(said: &Value) -> Vec<u64> {
    let number = |good: &Value, field: &str| good[field].as_u64().expect("a number");
    let good = said["good"].as_array().expect("a list");
    good.iter().map(|good| number(good, "sent") - number(good, "got")).collect()
}

#[test]
fn the_good_ones_come_through_a_flood_and_without_limits_they_do_not() {
    let launch = Launch::new().lcores("0@(0,1),1@(0,1)");
    let files = launch.file("files");
    let made = Command::new(binary("attack")).arg("files").arg(&files).status().expect("it can be started");
    assert!(made.success());
    let config = std::fs::read_to_string(files.join("router.toml")).expect("it is there");
    let port =
        |number, name| format!("net_pcap{number},rx_pcap={}/{name}.pcap,infinite_rx=1", files.display());
    let engine = launch.vdev(port(0, "lan")).vdev(port(1, "wan")).config(config).start();
    for words in [
        "sink add slow-path null",
        "register reason:ip4.ttl-expired --sink slow-path",
        "passive set ip4 --sink slow-path",
        "passive set other --sink slow-path",
    ] {
        engine.ok(words);
    }
    let said = peers(&engine);
    let good = said["good"].as_array().expect("a list");
    for (good, lost) in good.iter().zip(lost(&said)) {
        // Who has never sent before may lose a packet while an interface's flood is at its height.
        let sent = good["sent"].as_u64().expect("a number");
        assert!(sent > 0 && lost * 50 <= sent, "{lost} of {sent} lost: {said}");
    }
    assert!(said["named_after_ms"].is_u64(), "the offender was never named: {said}");
    assert!(said["refused_pps"].as_f64() > Some(0.0), "there was a flood: {said}");
    assert_eq!(engine.json("audit")["balanced"], true);

    for reason in
        ["local.bfd", "local.bgp", "arp.request", "ip4.ttl-expired", "ip4.unclaimed", "l2.unclaimed"]
    {
        engine.ok(&format!("reason set {reason} --rate unlimited --class except"));
    }
    // A budget that the slowest machine's flood exceeds.
    engine.ok("class set except --min 0 --cap 2000");
    let said = peers(&engine);
    assert!(lost(&said).iter().sum::<u64>() > 0, "without shares and classes the flood wins: {said}");
    engine.finish_busy();
}

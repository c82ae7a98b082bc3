//! What workers count, as it is shown and audited.

use punt::control::types::Audit;
use serde_json::json;

use super::{call, rows};
use crate::control::Control;
use crate::control::testing::{control, eal, small, while_they_answer};
use crate::counters::{PerInterface, Total};

#[test]
fn counters_of_all_workers_are_shown_under_the_names_of_the_graph() {
    let _eal = eal(192);
    let (mut control, workers) = control(small());
    let layout = control.plan.layout.clone();
    for (worker, packets) in workers.iter().zip([10, 5]) {
        worker.add_interface(1, PerInterface::RxPackets, packets);
        worker.add_interface(1, PerInterface::RxBytes, packets * 60);
        worker.add_interface(2, PerInterface::TxDropped, 1);
        let ether = layout.node(control.plan.node("ether-input").unwrap());
        worker.add(ether.calls, 1);
        worker.add(ether.packets, packets);
        worker.add(ether.cycles, 150);
        worker.add(ether.timed, 5);
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
        &["node", "calls", "packets", "packets_per_call", "cycles_per_packet", "timed_packets"],
    );
    assert_eq!(nodes[1], json!(["ether-input", 2, 15, 7.5, 30.0, 10]));
    assert_eq!(nodes[0].as_array().unwrap()[4..], [json!(0.0), json!(0)], "nothing was timed");
    let reasons =
        rows(&mut control, "reason.list", &["name", "packets", "no_sink", "class", "action", "rate"]);
    assert!(reasons.contains(&json!(["ip4.ttl-expired", 0, 0, "except", "trap", 600])), "{reasons:?}");
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
    let drop = plan.nodes[1].1.iter().position(|edge| matches!(edge.to, crate::node::To::Drop(_))).unwrap();
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

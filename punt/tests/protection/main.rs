//! What the limits promise, counted to the packet: rates over all workers, classes beside each other, sources beside each other, and which
//! stage says no. The desk and the stages are those of the engine; the clock is the test's. `scripts/demo --attack` is the same by the real
//! clock.

mod colours;
mod lists;
mod office;
mod phases;

use std::collections::HashMap;

use office::{BFD, BGP, EXPIRED, HZ, Office, Packet, REASONS, Stream, run};
use punt::Class;

/// Whether `got` is `wanted`, give or take so many per thousand.
fn within(got: u64, wanted: u64, per_mille: u64) -> bool {
    got.abs_diff(wanted) * 1_000 <= wanted * per_mille
}

/// Where the limit of 1,000 packets a second stands.
#[derive(Clone, Copy, Debug)]
enum At {
    Reason,
    Registration,
    Sink,
}

#[test]
fn a_thousand_a_second_is_a_thousand_a_second_at_any_length_load_and_number_of_workers() {
    for at in [At::Reason, At::Registration, At::Sink] {
        for (workers, bytes, pps) in [
            (1, 60, 1_010),
            (2, 60, 3_000),
            (1, 60, 200_000),
            (2, 60, 200_000),
            (1, 1_500, 200_000),
            (2, 1_500, 1_010),
            (2, 1_500, 200_000),
        ] {
            let mut office = Office::new(workers);
            let limited = |limited: bool| limited.then_some((1_000, 400));
            office.add_sink("limited", limited(matches!(at, At::Sink)));
            let registered = limited(matches!(at, At::Registration));
            office.register("reason:local.ssh", "limited", None, registered);
            let rate = if matches!(at, At::Reason) { r#"1000, "burst": 400"# } else { r#""unlimited""# };
            office.set("reason.set", &format!(r#"{{"name": "local.ssh", "rate": {rate}}}"#));
            office.set("class.set", r#"{"name": "mgmt", "cap": "unlimited"}"#);
            let ssh = Stream {
                packet: Packet { reason: 5, interface: 1, source: 1, bytes },
                ..Stream::new(5, 1, 1, 1, pps)
            };
            let mut team = office.workers();
            // What may come at once is gone by then.
            run(&office, &mut team, &[ssh], 0..1 + 400 / (pps - 1_000).max(1), |_, _| {});
            let settled = 1 + 400 / (pps - 1_000).max(1);
            let mut delivered = 0;
            run(&office, &mut team, &[ssh], settled..settled + 10, |sink, _| {
                delivered += u64::from(sink == "limited")
            });
            assert!(
                within(delivered, 10_000, 10),
                "{at:?}: {delivered} at {pps} pps of {bytes} bytes, {workers} workers"
            );
        }
    }
}

#[test]
fn two_workers_that_race_are_as_exact_as_one() {
    use std::sync::atomic::{AtomicU64, Ordering};

    for bytes in [60, 1_500] {
        let mut office = Office::new(2);
        office.set("reason.set", r#"{"name": "local.ssh", "rate": 1000, "burst": 400}"#);
        let clock = AtomicU64::new(0);
        let delivered: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = office
                .workers()
                .into_iter()
                .map(|worker| {
                    scope.spawn(|| {
                        let (mut worker, mut delivered) = (worker, 0);
                        loop {
                            // 200,000 packets a second together, in bursts of 32.
                            let now = clock.fetch_add(HZ * 32 / 200_000, Ordering::Relaxed);
                            if now >= 11 * HZ {
                                return delivered;
                            }
                            let packet = Packet { reason: 5, interface: 1, source: 1, bytes };
                            worker.burst(now, [packet; 32], |_, _| delivered += 1);
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
        });
        // The burst, eleven seconds, and what a worker may have seen with an older clock.
        assert!(within(delivered, 11_400, 10), "{delivered} of {bytes} bytes");
        office.assert_books();
    }
}

/// Every class is offered ten times its cap.
fn every_class_flooded() -> Vec<Stream> {
    (1..)
        .zip(REASONS)
        .map(|(index, (_, class, ..))| Stream::new(index, 1, 1, 1, u64::from(class.cap()) * 10))
        .collect()
}

/// Lifts all limits of reasons, so that only classes decide.
fn without_reasons_limits(office: &mut Office) {
    for (name, ..) in REASONS {
        office.set("reason.set", &format!(r#"{{"name": "{name}", "rate": "unlimited"}}"#));
    }
}

#[test]
fn every_class_at_ten_times_its_cap_gets_its_minimum_and_none_exceeds_its_cap() {
    for workers in [1, 2] {
        let mut office = Office::new(workers);
        without_reasons_limits(&mut office);
        let mut team = office.workers();
        run(&office, &mut team, &every_class_flooded(), 0..1, |_, _| {});
        let mut delivered = [0; 8];
        run(&office, &mut team, &every_class_flooded(), 1..5, |_, got| {
            delivered[usize::from(got.class)] += 1
        });
        for class in Class::ALL {
            let (got, minimum, cap) =
                (delivered[class as usize] / 4, class.minimum().into(), class.cap().into());
            assert!(got >= minimum || within(got, minimum, 20), "{class} got {got} a second of {minimum}");
            assert!(got <= cap, "{class} got {got} a second and may have {cap}");
        }
        assert!(within(delivered.iter().sum::<u64>() / 4, 60_000, 10), "the budget: {delivered:?}");
    }
}

#[test]
fn bfd_at_its_own_rate_loses_nothing_under_a_flood_of_all_lower_classes() {
    let mut office = Office::new(2);
    without_reasons_limits(&mut office);
    let mut streams = every_class_flooded();
    // 64 sessions with a packet every 3.3 ms.
    streams[BFD as usize - 1] = Stream::new(BFD, 2, 1, 64, 19_200);
    let (mut team, mut bfd) = (office.workers(), 0);
    run(&office, &mut team, &streams, 0..4, |_, got| bfd += u64::from(got.class == Class::Link as u8));
    assert_eq!(bfd, streams[BFD as usize - 1].sent(4 * HZ));
}

#[test]
fn a_lone_source_reaches_the_rate_of_its_reason() {
    for (reason, (name, _, rate, _)) in (1..).zip(REASONS) {
        let office = Office::new(1);
        let stream = Stream::new(reason, 1, 1, 1, 200_000);
        let (mut team, mut delivered) = (office.workers(), 0);
        run(&office, &mut team, &[stream], 0..2, |_, _| {});
        run(&office, &mut team, &[stream], 2..6, |_, _| delivered += 1);
        assert!(within(delivered, rate * 4, 50), "{name}: {delivered} of {}", rate * 4);
    }
}

/// What 100 quiet sources behind interface 1, which together want a third of the rate, lose while a flood goes on for three seconds.
fn quiet_ones_lose(reason: u32, flood: Stream, workers: usize) -> (u64, u64) {
    let office = Office::new(workers);
    // Not in step with bursts.
    let quiet = Stream::new(reason, 1, 1, 100, REASONS[reason as usize - 1].2 / 3 - 7);
    let mut team = office.workers();
    let mut delivered = 0;
    run(&office, &mut team, &[quiet, flood.after(1)], 0..4, |_, got| {
        delivered += u64::from(got.interface == 1 && got.source <= 100);
    });
    let sent = quiet.sent(4 * HZ);
    (sent - delivered, sent)
}

#[test]
fn a_hundred_quiet_sources_lose_nothing_beside_a_flood() {
    for reason in [EXPIRED, 6, BGP] {
        for (what, flood) in [
            ("one flooder beside them", Stream::new(reason, 1, 1_000, 1, 1_000_000)),
            ("one flooder elsewhere", Stream::new(reason, 2, 1_000, 1, 1_000_000)),
            ("64 flooders beside them", Stream::new(reason, 1, 1_000, 64, 1_000_000)),
            ("65,536 spoofed sources elsewhere", Stream::new(reason, 2, 1_000, 65_536, 1_000_000)),
        ] {
            let (lost, sent) = quiet_ones_lose(reason, flood, 1);
            assert_eq!(lost, 0, "of {sent} {}, {what}", REASONS[reason as usize - 1].0);
        }
    }
}

/// A policer that counts bits: one large frame takes what twenty small ones would.
#[test]
fn nor_where_the_limit_is_one_of_bits_and_the_flood_is_of_large_frames() {
    for (rate, burst) in [("4000000bps", "60000B"), ("1000000bps", "30000B"), ("20000000bps", "500000B")] {
        for (interface, sources) in [(1, 1), (1, 64), (2, 1), (2, 65_536)] {
            if sources == 64 && burst != "500000B" {
                // Of 40 large frames at once not enough can be kept from as many flooders, of whom each may have a few before it is known.
                continue;
            }
            let mut office = Office::new(1);
            let policer = format!(
                r#"{{"what": "reason:local.bgp", "type": "single", "rate": "{rate}", "burst": "{burst}"}}"#
            );
            office.set("policer.set", &policer);
            // 100 of them, with a tenth of the smallest rate.
            let quiet = Stream::new(BGP, 1, 1, 100, 193);
            let mut flood = Stream::new(BGP, interface, 1_000, sources, 200_000).after(1);
            flood.packet.bytes = 1_500;
            let (mut team, mut delivered, mut of_flood) = (office.workers(), 0, 0);
            run(&office, &mut team, &[quiet, flood], 0..4, |_, got| match got.source {
                1..=100 => delivered += 1,
                _ => of_flood += 1,
            });
            let what = format!("{rate}, {sources} flooders behind interface {interface}");
            assert_eq!(delivered, quiet.sent(4 * HZ), "{what}");
            // What the quiet ones leave is the flood's, but for what is kept.
            let bits: u64 = rate.trim_end_matches("bps").parse().expect("a number");
            let most = (bits / 8 * 3 - delivered * 60) / 1_500;
            assert!(of_flood * 10 >= most * 8, "{of_flood} of {most}, {what}");
        }
    }
}

#[test]
fn nor_with_two_workers() {
    for (what, flood) in [
        ("one flooder beside them", Stream::new(BGP, 1, 1_000, 1, 1_000_000)),
        ("65,536 spoofed sources elsewhere", Stream::new(BGP, 2, 1_000, 65_536, 1_000_000)),
    ] {
        let (lost, sent) = quiet_ones_lose(BGP, flood, 2);
        assert_eq!(lost, 0, "of {sent}, {what}");
    }
}

/// What SSH, put into the class of BGP, and the quiet sources of BGP itself lose while BGP is flooded for three seconds, and what the flood
/// gets. `around` is what else comes.
fn quiet_ones_of_a_class_lose(flood: Stream, around: &[Stream], workers: usize) -> (u64, u64, u64) {
    let mut office = Office::new(workers);
    without_reasons_limits(&mut office);
    office.set("reason.set", r#"{"name": "local.ssh", "class": "route", "rate": 5000, "burst": 2000}"#);
    office.set("reason.set", r#"{"name": "local.bgp", "rate": 40000, "burst": 10000}"#);
    // What others leave of the budget is then for link alone.
    office.set("class.set", r#"{"name": "link", "cap": 37500}"#);
    let (ssh, bgp) = (Stream::new(5, 1, 1, 20, 493), Stream::new(BGP, 1, 101, 100, 2_993));
    let streams = [&[ssh, bgp, flood.after(1)], around].concat();
    let (mut team, mut delivered) = (office.workers(), [0; 3]);
    run(&office, &mut team, &streams, 0..4, |_, got| match (got.class, got.interface, got.source) {
        (6, 1, 1..=20) => delivered[0] += 1,
        (6, 1, 101..=200) => delivered[1] += 1,
        (6, ..) => delivered[2] += 1,
        _ => {}
    });
    let (of_ssh, of_bgp) = (ssh.sent(4 * HZ), bgp.sent(4 * HZ));
    (of_ssh - delivered[0], of_bgp - delivered[1], delivered[2])
}

/// Floods of BGP that the limit of BGP lets pass faster than the class may.
fn floods_of_bgp() -> [(&'static str, Stream); 4] {
    [
        ("one flooder beside them", Stream::new(BGP, 1, 1_000, 1, 1_000_000)),
        ("one flooder elsewhere", Stream::new(BGP, 2, 1_000, 1, 1_000_000)),
        ("64 flooders beside them", Stream::new(BGP, 1, 1_000, 64, 1_000_000)),
        ("65,536 spoofed sources elsewhere", Stream::new(BGP, 2, 1_000, 65_536, 1_000_000)),
    ]
}

/// The burst of a reason may be larger than that of its class.
#[test]
fn a_burst_of_one_reason_takes_nothing_from_others_of_its_class() {
    for (what, flood) in floods_of_bgp() {
        let (ssh, bgp, _) = quiet_ones_of_a_class_lose(flood, &[], 1);
        assert_eq!((ssh, bgp), (0, 0), "of SSH and BGP, {what}");
    }
}

#[test]
fn a_class_that_has_only_its_minimum_is_shared_by_its_reasons_and_sources() {
    for workers in [1, 2] {
        for (what, flood) in floods_of_bgp() {
            let others = every_class_flooded().into_iter().filter(|it| ![5, BGP].contains(&it.packet.reason));
            let around: Vec<Stream> = others.collect();
            let (ssh, bgp, flooder) = quiet_ones_of_a_class_lose(flood, &around, workers);
            assert_eq!((ssh, bgp), (0, 0), "of SSH and BGP, {what}, {workers} workers");
            // What the quiet ones leave of the minimum in three seconds is the flood's, and what it had at once.
            let rest = 3 * (15_000 - 493 - 2_993);
            assert!((rest * 98 / 100..=rest + 4_500).contains(&flooder), "{flooder} of {rest}, {what}");
        }
    }
}

/// A router that starts amid an attack, a daemon that registers late: the flood is there first.
#[test]
fn who_begins_while_another_interface_is_flooded_loses_next_to_nothing() {
    for reason in [EXPIRED, 6, BGP] {
        for sources in [1, 64, 65_536] {
            let office = Office::new(1);
            let flood = Stream::new(reason, 2, 1_000, sources, 1_000_000);
            let quiet = Stream::new(reason, 1, 1, 100, REASONS[reason as usize - 1].2 / 3 - 7).after(2);
            let (mut team, mut delivered) = (office.workers(), 0);
            run(&office, &mut team, &[flood, quiet], 0..4, |_, got| {
                delivered += u64::from(got.interface == 1);
            });
            // A hundred newcomers at once may lose some of their first packets: nothing was kept for as many.
            let (sent, name) = (quiet.sent(4 * HZ), REASONS[reason as usize - 1].0);
            assert!(within(delivered, sent, 5), "{delivered} of {sent} {name} beside {sources} sources");
        }
    }
}

#[test]
fn a_registration_with_a_source_loses_nothing_beside_65_536_spoofed_ones_on_its_interface() {
    let mut office = Office::new(1);
    office.add_sink("bgpd", None);
    office.register("tcp:179", "bgpd", Some("0.0.0.5/32"), None);
    let peer = Stream::new(BGP, 1, 5, 1, 2_000);
    let spoofed = Stream::new(BGP, 1, 1_000, 65_536, 1_000_000).after(1);
    let (mut team, mut delivered, mut others) = (office.workers(), 0, 0);
    run(&office, &mut team, &[peer, spoofed], 0..4, |sink, got| match (sink, got.source) {
        ("bgpd", 5) => delivered += 1,
        ("bgpd", _) => others += 1,
        _ => {}
    });
    assert_eq!((delivered, others), (peer.sent(4 * HZ), 0));
    assert!(office.reason("local.bgp").packets >= 3_000_000, "the flood came");
}

#[test]
fn the_offender_is_named_within_a_second_with_what_may_be_wrong_stated() {
    let office = Office::new(2);
    let quiet = Stream::new(BGP, 1, 1, 100, 5_000);
    let noise = Stream::new(EXPIRED, 2, 1_000_000, 20_000, 100_000);
    let flood = Stream::new(BGP, 2, 0xbad, 1, 300_000).after(2);
    let mut team = office.workers();
    run(&office, &mut team, &[quiet, noise, flood], 0..3, |_, _| {});
    let sent = flood.sent(3 * HZ);
    for reason in [None, Some("local.bgp")] {
        let rows =
            office.desk.source_rows(reason, |index| format!("if{index}")).expect("there is such a reason");
        let worst = &rows[0];
        let named = (worst.reason.as_str(), worst.interface.as_str(), worst.source.expect("IP").to_string());
        assert_eq!(named, ("local.bgp", "if2", "0.0.11.173/32".to_owned()), "{reason:?}");
        assert!(
            worst.packets.abs_diff(sent) <= worst.error,
            "{} of {sent}, ± {}",
            worst.packets,
            worst.error
        );
        assert!(worst.error * 10 <= sent, "an error of {} says nothing", worst.error);
        assert!(worst.refused * 10 >= sent * 9 - worst.error * 10, "{} refused of {sent}", worst.refused);
    }
    let bgp = office.desk.source_rows(Some("local.bgp"), |_| String::new()).expect("there is such a reason");
    assert!(bgp.iter().all(|row| row.reason == "local.bgp") && bgp.len() > 50, "{} rows", bgp.len());
    assert!(bgp[1..].iter().all(|row| row.refused == 0), "only the offender is refused: {bgp:#?}");
}

/// What refused a thousand packets of SSH from one source: the name of the column, and of its list.
fn refused_by(office: &mut Office, packets: impl IntoIterator<Item = Packet>) -> HashMap<String, u64> {
    office.workers()[0].burst(HZ, packets, |_, _| {});
    office.assert_books();
    let mut counts = HashMap::new();
    let row = office.reason("local.ssh");
    for (column, count) in [
        ("refused_source", row.refused_source),
        ("refused_interface", row.refused_interface),
        ("refused_reason", row.refused_reason),
        ("refused_class", row.refused_class),
    ] {
        counts.insert(format!("stats reasons: {column}"), count);
    }
    for sink in office.desk.sink_rows() {
        counts.insert(format!("sink list: {} refused_sink", sink.name), sink.counters.refused_sink);
        counts.insert(
            format!("sink list: {} refused_registration", sink.name),
            sink.counters.refused_registration,
        );
    }
    for row in office.desk.registration_rows().iter().filter(|row| row.sink != "daemon") {
        counts.insert(format!("registration list: {} refused", row.sink), row.counters.refused);
        counts.insert(format!("registration list: {} refused_sink", row.sink), row.counters.refused_sink);
    }
    counts.retain(|_, count| *count > 0);
    counts
}

#[test]
fn the_first_stage_that_refuses_is_the_one_that_counts() {
    let one = |source| Packet { reason: 5, interface: 1, source, bytes: 60 };
    let of = |counts: &[(&str, u64)]| {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<HashMap<_, _>>()
    };
    let office = |setup: &dyn Fn(&mut Office)| {
        let mut office = Office::new(1);
        office.set("reason.set", r#"{"name": "local.ssh", "rate": "unlimited"}"#);
        office.set("class.set", r#"{"name": "mgmt", "cap": "unlimited"}"#);
        setup(&mut office);
        office
    };
    let thousand = || std::iter::repeat_n(one(1), 1_000);

    // Each stage has room for a tenth of what the one behind it has, so that any of them could be the one that refuses.
    let mut by_source = office(&|it| {
        it.set("reason.set", r#"{"name": "local.ssh", "rate": 10, "burst": 500, "source_rate": 100}"#);
    });
    assert_eq!(refused_by(&mut by_source, thousand()), of(&[("stats reasons: refused_source", 960)]));
    let mut by_interface = office(&|it| {
        it.set("reason.set", r#"{"name": "local.ssh", "rate": 10, "burst": 500, "interface_rate": 100}"#);
    });
    assert_eq!(
        refused_by(&mut by_interface, (1..=1_000).map(one)),
        of(&[("stats reasons: refused_interface", 960)])
    );
    let mut by_reason = office(&|it| {
        it.set("reason.set", r#"{"name": "local.ssh", "rate": 10, "burst": 20}"#);
        it.set("class.set", r#"{"name": "mgmt", "min": 0, "cap": 300}"#);
    });
    assert_eq!(refused_by(&mut by_reason, thousand()), of(&[("stats reasons: refused_reason", 980)]));
    let mut by_class = office(&|it| {
        it.set("class.set", r#"{"name": "mgmt", "min": 0, "cap": 300}"#);
        it.add_sink("second", Some((1, 100)));
        it.register("reason:local.ssh", "second", None, Some((1, 200)));
    });
    assert_eq!(refused_by(&mut by_class, thousand()), of(&[("stats reasons: refused_class", 970)]));
    let mut by_registration = office(&|it| {
        it.add_sink("second", Some((1, 200)));
        it.register("reason:local.ssh", "second", None, Some((1, 100)));
    });
    let counted =
        [("sink list: second refused_registration", 900), ("registration list: second refused", 900)];
    assert_eq!(refused_by(&mut by_registration, thousand()), of(&counted));
    let mut by_sink = office(&|it| {
        it.add_sink("second", Some((1, 100)));
        it.register("reason:local.ssh", "second", None, Some((1, 200)));
    });
    let counted = [
        ("sink list: second refused_registration", 800),
        ("sink list: second refused_sink", 100),
        ("registration list: second refused", 800),
        ("registration list: second refused_sink", 100),
    ];
    assert_eq!(refused_by(&mut by_sink, thousand()), of(&counted));
}

#[test]
fn what_a_policer_demotes_waits_in_the_lower_class_and_is_charged_there() {
    let mut office = Office::new(1);
    office.set(
        "policer.set",
        r#"{"what": "reason:local.ssh", "type": "rfc2698", "rate": 100, "burst": 20, "peak": 1000, "excess": 100,
            "yellow": "demote:miss", "red": "demote:sample"}"#,
    );
    let mut by_class = [0; 8];
    let mut team = office.workers();
    team[0].burst(HZ, [Packet { reason: 5, interface: 1, source: 1, bytes: 60 }; 110], |_, got| {
        by_class[usize::from(got.class)] += 1;
    });
    assert_eq!(by_class, [10, 80, 0, 0, 20, 0, 0, 0]);
    office.assert_books();
}

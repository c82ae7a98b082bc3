//! Floods that follow each other on one engine: what one has left behind must not help the next.

use super::office::{BGP, EXPIRED, Office, REASONS, Stream, run};

/// Floods of a reason on an interface: so many sources, for so many seconds, at 300,000 packets a second or as ordinary traffic.
const SPOOFED: (u32, u64, u64) = (65_536, 300_000, 3);
const HEAVY: (u32, u64, u64) = (1, 300_000, 2);
const MANY: (u32, u64, u64) = (64, 300_000, 2);
const ORDINARY: (u32, u64, u64) = (1, 500, 3);

const ORDERS: [&[(u32, u64, u64)]; 4] = [
    &[SPOOFED, ORDINARY, SPOOFED],
    &[SPOOFED, HEAVY, SPOOFED],
    &[HEAVY, SPOOFED, MANY, SPOOFED],
    &[MANY, SPOOFED, ORDINARY, HEAVY],
];

/// What of `quiet` does not come to a sink in all phases together, while floods of the reason come by that interface.
fn lost(office: &Office, quiet: Stream, interface: u32, sink: &str, phases: &[(u32, u64, u64)]) -> u64 {
    let mut team = office.workers();
    let (mut second, mut delivered) = (1, 0);
    let last = quiet.packet.source + quiet.sources;
    let mut count = |to: &str, got: super::office::Got| {
        let its = to == sink
            && got.interface == quiet.packet.interface
            && (quiet.packet.source..last).contains(&got.source);
        delivered += u64::from(its);
    };
    run(office, &mut team, &[quiet], 0..1, &mut count);
    for &(sources, pps, seconds) in phases {
        let flood = Stream::new(quiet.packet.reason, interface, 100_000, sources, pps).after(second);
        run(office, &mut team, &[quiet, flood], second..second + seconds, &mut count);
        second += seconds;
    }
    quiet.sent(second * super::office::HZ) - delivered
}

#[test]
fn quiet_sources_lose_nothing_beside_floods_of_another_interface_that_follow_each_other() {
    for (reason, rate, burst, sources, pps) in
        [(EXPIRED, 600, 300, 100, 193), (EXPIRED, 600, 300, 1, 100), (BGP, 10_000, 5_000, 8, 1_600)]
    {
        for phases in ORDERS {
            let mut office = Office::new(1);
            let name = REASONS[reason as usize - 1].0;
            office.set("reason.set", &format!(r#"{{"name": "{name}", "rate": {rate}, "burst": {burst}}}"#));
            let quiet = Stream::new(reason, 1, 1, sources, pps);
            assert_eq!(lost(&office, quiet, 2, "daemon", phases), 0, "{name} {rate}/{burst}, {phases:?}");
        }
    }
}

#[test]
fn nor_do_peers_whose_reason_has_a_small_limit_with_two_workers() {
    for phases in ORDERS {
        let mut office = Office::new(2);
        office.set("reason.set", r#"{"name": "local.bgp", "rate": 1000, "burst": 500}"#);
        assert_eq!(lost(&office, Stream::new(BGP, 1, 1, 8, 200), 2, "daemon", phases), 0, "{phases:?}");
    }
}

/// The reason would let pass more than its class has.
#[test]
fn nor_where_the_class_is_what_runs_short() {
    for phases in ORDERS {
        let mut office = Office::new(1);
        office.set("reason.set", r#"{"name": "local.bgp", "rate": 40000, "burst": 10000}"#);
        office.set("class.set", r#"{"name": "route", "min": 3000, "cap": 3000}"#);
        assert_eq!(lost(&office, Stream::new(BGP, 1, 1, 100, 993), 2, "daemon", phases), 0, "{phases:?}");
    }
}

#[test]
fn a_registration_with_a_source_loses_nothing_beside_floods_of_its_own_interface() {
    for phases in ORDERS {
        let mut office = Office::new(1);
        office.add_sink("bgpd", None);
        office.register("tcp:179", "bgpd", Some("0.0.0.5/32"), None);
        let peer = Stream::new(BGP, 1, 5, 1, 200);
        assert_eq!(lost(&office, peer, 1, "bgpd", phases), 0, "{phases:?}");
    }
}

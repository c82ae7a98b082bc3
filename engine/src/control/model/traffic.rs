//! Changes while somebody looks up: what a worker finds was right before the change or is right after it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use dpdk_sys::{CpuSet, affinity, set_affinity};
use ipnet::IpNet;
use punt::Prefix;
use punt::control::types::{self, NeighborKey, Route, RouteKey};

use super::*;
use crate::config::Sizes;
use crate::control::testing::*;
use crate::tables::{HOP_NO_ROUTE, HOP_TORN, Hop};

/// Numbers that look random and are the same in each run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound
    }
}

/// Somebody who looks up as a worker does, on any CPU, until told to stop; what it finds goes to `check` as the last two bytes of a
/// neighbour's MAC, or none.
struct Looker {
    stop: Arc<AtomicBool>,
    lookups: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Looker {
    fn start(
        rig: &Rig,
        all_cpus: CpuSet,
        mut next: impl FnMut() -> IpAddr + Send + 'static,
        check: impl Fn(IpAddr, Option<u16>) + Send + 'static,
    ) -> Looker {
        let (stop, lookups) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count, tables) = (stop.clone(), lookups.clone(), rig.tables.clone());
        let mut reader = rig.domain.reader(1);
        let thread = std::thread::spawn(move || {
            set_affinity(&all_cpus).expect("any CPU will do");
            while !stopped.load(Ordering::Relaxed) {
                let guard = reader.enter();
                for _ in 0..32 {
                    let address = next();
                    let mut hop = [0];
                    match address {
                        IpAddr::V4(four) => tables.fib4.lookup(&[four.to_bits()], &mut hop),
                        IpAddr::V6(six) => tables.fib6.lookup(&[six.octets()], &mut hop),
                    }
                    if hop[0] == u64::from(HOP_TORN) {
                        continue;
                    }
                    let mut found = tables.hop(hop[0] as u32, &guard);
                    if let Hop::Ecmp(group) = found {
                        found = tables
                            .hop(group.pick(hop[0] as u32 ^ count.load(Ordering::Relaxed) as u32), &guard);
                    }
                    match found {
                        Hop::Forward(adjacency) => {
                            let header = adjacency.header();
                            check(address, Some(u16::from_be_bytes([header[4], header[5]])));
                        }
                        _ => check(address, None),
                    }
                }
                count.fetch_add(32, Ordering::Relaxed);
            }
        });
        Looker { stop, lookups, thread }
    }

    /// How often it looked up; it panics here if something was wrong.
    fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("every hop was right");
        self.lookups.load(Ordering::Relaxed)
    }
}

/// A neighbour on `wan` whose MAC ends in this number.
fn station(number: u16) -> types::Neighbor {
    let [high, low] = number.to_be_bytes();
    let address = Ipv4Addr::new(10, 1, high, low).into();
    types::Neighbor { address, mac: [2, 0, 0, 0, high, low].into(), interface: "wan".into() }
}

fn via(prefix: Prefix, stations: &[u16]) -> Route {
    let address = |number: &u16| match prefix.is_ipv4() {
        true => station(*number).address,
        false => Ipv6Addr::new(0xfd00, 0xb, 0, 0, 0, 0, 0, *number).into(),
    };
    Route { prefix, via: stations.iter().map(address).collect(), dev: None, metric: None, action: None }
}

fn rig(sizes: Sizes) -> Rig {
    let mut rig = Rig::new(sizes);
    rig.must([add_address("10.1.255.254/16", "wan"), add_address("fd00:b::ffff/64", "wan")]);
    rig
}

#[test]
fn a_route_that_is_replaced_is_never_missing() {
    let all = affinity().unwrap();
    let _eal = eal(192);
    let mut rig = rig(small());
    rig.must([1, 2].map(|number| Op::NeighborAdd(station(number), Life::Operator)));
    let prefixes = ["10.2.0.0/16", "10.2.3.0/24", "10.2.3.128/25"].map(|prefix| prefix.parse().unwrap());
    let to =
        |stations: &[u16]| prefixes.map(|prefix| Op::RouteReplace(via(prefix, stations), Life::Operator));
    rig.must(to(&[1]));
    let mut numbers = Numbers(1);
    let next = move || Ipv4Addr::from_bits(0x0a02_0000 + numbers.below(0x10000) as u32).into();
    let looker = Looker::start(&rig, all, next, |address, found| {
        assert!(matches!(found, Some(1 | 2)), "{address} leads to {found:?}");
    });
    for round in 0..3000 {
        rig.must(to([&[2][..], &[1, 2], &[1]][round % 3]));
        if round % 7 == 0 {
            // Out and in again in one batch is a replacement, too.
            rig.must(
                prefixes
                    .map(|prefix| Op::RouteDel(RouteKey { prefix, metric: None }))
                    .into_iter()
                    .chain(to(&[2])),
            );
        }
    }
    println!("{} lookups", looker.finish());
}

/// The prefixes of the test below: by number, so that the station says whose route it was.
fn prefix(number: u64) -> Prefix {
    let (slot, kind) = (number / 8, number % 8);
    let length = [16, 22, 24, 25, 28, 32, 26, 23][kind as usize];
    let address = Ipv4Addr::from_bits(0x1400_0000 + ((slot as u32) << 16) + ((kind as u32 * 0x35) << 4));
    let six = Ipv6Addr::new(0x2001, 0xdb8, (slot as u16) << 8, kind as u16 / 3, kind as u16 & 1, 0, 0, 0);
    let net = match slot % 2 {
        0 => IpNet::new(address.into(), length),
        _ => IpNet::new(six.into(), [40, 48, 56, 64, 72, 80, 61, 128][kind as usize]),
    };
    Prefix::from(net.expect("no more bits than there are"))
}

#[test]
fn nobody_is_led_where_no_route_ever_pointed() {
    const PREFIXES: u64 = 160;
    let all = affinity().unwrap();
    let _eal = eal(192);
    let mut rig = rig(Sizes { neighbors: 1000, next_hops: 1000, ..small() });
    // Each prefix has stations of its own, and the numbers of their hops are given out again and again.
    let mine = |number: u64, variant: u64| (number * 4 + variant + 1) as u16;
    let mut numbers = Numbers(5);
    let next = move || {
        let within = prefix(numbers.below(PREFIXES));
        match within.address() {
            IpAddr::V4(four) => Ipv4Addr::from_bits(four.to_bits() | numbers.below(1 << 9) as u32).into(),
            IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() | u128::from(numbers.below(2)) << 60).into(),
        }
    };
    let looker = Looker::start(&rig, all, next, |address, found| {
        let Some(station) = found else { return };
        let owner = prefix(u64::from(station - 1) / 4);
        assert!(owner.contains(address), "{address} leads to a station of {owner}");
    });
    let (mut numbers, mut there) = (Numbers(7), vec![None; PREFIXES as usize]);
    for _ in 0..1500 {
        let mut ops = Vec::new();
        for _ in 0..numbers.below(24) {
            let number = numbers.below(PREFIXES);
            let (prefix, variant) = (prefix(number), numbers.below(3));
            let neighbor = |variant| {
                let via = via(prefix, &[mine(number, variant)]).via[0];
                types::Neighbor { address: via, ..station(mine(number, variant)) }
            };
            let gone = |neighbor: types::Neighbor| NeighborKey {
                address: neighbor.address,
                interface: neighbor.interface,
            };
            match there[number as usize].take() {
                Some(was) if numbers.below(2) == 0 => {
                    ops.push(Op::RouteDel(RouteKey { prefix, metric: None }));
                    ops.extend([was, 3].map(|variant| Op::NeighborDel(gone(neighbor(variant)))));
                    continue;
                }
                Some(was) => ops.push(Op::NeighborDel(gone(neighbor(was)))),
                None => ops.push(Op::NeighborAdd(neighbor(3), Life::Operator)),
            }
            ops.push(Op::NeighborAdd(neighbor(variant), Life::Operator));
            let stations = [mine(number, variant), mine(number, 3)];
            let route = via(prefix, &stations[..1 + numbers.below(2) as usize]);
            ops.push(Op::RouteReplace(route, Life::Operator));
            there[number as usize] = Some(variant);
        }
        rig.must(ops);
    }
    println!("{} lookups", looker.finish());
}

#[test]
fn a_million_routes_come_and_go_in_seconds_while_somebody_looks_up() {
    let routes: u32 = if cfg!(debug_assertions) { 200_000 } else { 1_000_000 };
    let all = affinity().unwrap();
    let _eal = eal(1024);
    let mut rig = rig(Sizes { routes4: routes, groups4: Some(40_000), ..small() });
    rig.must((1..=16).map(|number| Op::NeighborAdd(station(number), Life::Operator)));
    let mut numbers = Numbers(11);
    let next = move || Ipv4Addr::from_bits(0x2000_0000 + numbers.below(1 << 28) as u32).into();
    let looker = Looker::start(&rig, all, next, |_, _| {});
    // Lengths as in the Internet's table, and one in a hundred longer.
    let mut numbers = Numbers(3);
    let mut prefixes = std::collections::HashSet::new();
    while prefixes.len() < routes as usize {
        let number = numbers.next();
        let length = [24, 24, 24, 24, 24, 24, 24, 24, 24, 23, 22, 22, 21, 20, 19, 16][number as usize % 16];
        let length = if prefixes.len() % 100 == 0 { 25 + (number >> 60) as u8 % 8 } else { length };
        let address = Ipv4Addr::from_bits(0x2000_0000 + (number >> 20) as u32 % (1 << 28));
        prefixes.insert(Prefix::from(IpNet::new(address.into(), length).unwrap()));
    }
    let prefixes: Vec<_> = prefixes.into_iter().collect();
    let (start, mut longest) = (Instant::now(), std::time::Duration::ZERO);
    for batch in prefixes.chunks(4096) {
        let start = Instant::now();
        let route =
            |&prefix: &Prefix| Op::RouteAdd(via(prefix, &[1 + numbers.below(16) as u16]), Life::Operator);
        rig.must(batch.iter().map(route).collect::<Vec<_>>());
        longest = longest.max(start.elapsed());
    }
    let loaded = start.elapsed();
    let start = Instant::now();
    let mut pages = (0, None);
    while let Some((key, _)) = rig.model.routes_after(pages.1).take(4096).last() {
        pages = (pages.0 + 1, Some(key));
    }
    let listed = start.elapsed();
    let start = Instant::now();
    for batch in prefixes.chunks(4096) {
        rig.must(batch.iter().map(|&prefix| Op::RouteDel(RouteKey { prefix, metric: None })));
    }
    let gone = start.elapsed();
    println!(
        "{routes} routes: loaded in {loaded:.2?} (longest batch {longest:.2?}), listed in {} pages in {listed:.2?}, gone in {gone:.2?}",
        pages.0
    );
    println!("{} lookups", looker.finish());
    assert_eq!(rig.look("32.0.0.1"), "NoRoute");
    assert_eq!(rig.model.fill(0), (0, 16, 2), "only groups of neighbours and addresses are left");
}

#[test]
fn the_fibs_hold_what_the_list_of_routes_says_after_any_batch_done_or_refused() {
    let _eal = eal(192);
    let mut rig = rig(Sizes { groups4: Some(64), groups6: Some(300), ..small() });
    rig.must([1, 2].map(|number| Op::NeighborAdd(station(number), Life::Operator)));
    let mut numbers = Numbers(17);
    // Few addresses, few hops and any length: groups come, become uniform and go all the time.
    let address = |numbers: &mut Numbers, six: bool| -> IpAddr {
        let bits = numbers.next() & numbers.next() & numbers.next();
        match six {
            false => Ipv4Addr::from_bits(0x0a02_0000 | (bits >> 20) as u32 & 0x3ff).into(),
            true => {
                let low = u128::from(bits) << 60 | u128::from(bits >> 40 & 3);
                Ipv6Addr::from_bits(0xfd00_0002u128 << 96 | low & !(0xffu128 << 120) & ((1 << 88) - 1)).into()
            }
        }
    };
    let (mut refused, mut done) = (0, 0);
    for _ in 0..2500 {
        let mut ops = Vec::new();
        let is_static = |(key, _): &(Key, _)| key.source == Source::Static;
        let there: Vec<_> = rig.model.rib.after(None).filter(is_static).map(|(key, _)| key.prefix).collect();
        for _ in 0..=numbers.below(20) {
            if !there.is_empty() && numbers.below(100) < there.len() as u64 {
                let prefix = there[numbers.below(there.len() as u64) as usize];
                ops.push(Op::RouteDel(RouteKey { prefix, metric: Some(0) }));
                continue;
            }
            let six = numbers.below(2) == 0;
            let from = if six { 20 + numbers.below(109) } else { 8 + numbers.below(25) } as u8;
            let prefix = Prefix::from(IpNet::new(address(&mut numbers, six), from).unwrap());
            let route = match numbers.below(4) {
                0 => via(prefix, &[1]),
                1 => via(prefix, &[2]),
                action => Route {
                    via: vec![],
                    action: Some(if action == 2 {
                        types::RouteAction::Punt
                    } else {
                        types::RouteAction::Blackhole
                    }),
                    ..via(prefix, &[])
                },
            };
            ops.push(Op::RouteReplace(route, Life::Operator));
        }
        if numbers.below(5) == 0 {
            ops.push(del("192.0.2.0/24"));
        }
        // A prefix that is deleted twice is refused, too; so is what needs more groups than there are.
        match rig.model.batch(ops) {
            Ok(()) => done += 1,
            Err(error) => {
                assert!(!error.message.contains("needs more"), "groups are counted before: {error}");
                refused += 1;
            }
        }
        for at in 0..48 {
            let address = address(&mut numbers, at % 2 == 0);
            let listed = rig.model.rib.longest(address).map_or(HOP_NO_ROUTE, |(_, route)| route.hop);
            let mut found = [0];
            match address {
                IpAddr::V4(four) => rig.tables.fib4.lookup(&[four.to_bits()], &mut found),
                IpAddr::V6(six) => rig.tables.fib6.lookup(&[six.octets()], &mut found),
            }
            assert_eq!(found[0], u64::from(listed), "{address}");
        }
    }
    println!("{done} batches done, {refused} refused");
    assert!(done > 500 && refused > 300, "{done} done, {refused} refused");
    let all: Vec<_> = rig.model.rib.after(None).filter(|(key, _)| key.source == Source::Static).collect();
    let del = |key: &Key| Op::RouteDel(RouteKey { prefix: key.prefix, metric: Some(key.number) });
    rig.must(all.iter().map(|(key, _)| del(key)));
    assert_eq!(
        [0, 1].map(|family| rig.model.fill(family).2),
        [2, 14],
        "only groups of addresses and neighbours are left"
    );
}

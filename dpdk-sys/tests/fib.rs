//! FIBs: the longest prefix wins, full is an error, and readers see nothing strange while routes change.

mod common;

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Instant,
};

use common::{eal, eal_with_memory};
use dpdk_sys::{
    ANY_SOCKET, CpuSet, Family, Fib, Fib4, Fib6, FibWriter, MAX_HOP, affinity, fib4, fib6, memory_in_use,
    memory_of_fib4, memory_of_fib6, set_affinity,
};

const DEFAULT: u32 = 999;

fn v4(address: &str) -> u32 {
    address.parse::<Ipv4Addr>().unwrap().into()
}

fn v6(address: &str) -> [u8; 16] {
    address.parse::<Ipv6Addr>().unwrap().octets()
}

fn hop4(fib: &Fib4, address: &str) -> u64 {
    let mut hop = [0];
    fib.lookup(&[v4(address)], &mut hop);
    hop[0]
}

fn hop6(fib: &Fib6, address: &str) -> u64 {
    let mut hop = [0];
    fib.lookup(&[v6(address)], &mut hop);
    hop[0]
}

/// Numbers that look random and are the same in each run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn ipv4_routes_are_added_replaced_and_deleted_and_the_longest_wins() {
    let _eal = eal(&[]);
    let (fib, mut writer) = fib4("v4", 100, 16, DEFAULT, ANY_SOCKET).unwrap();
    assert_eq!(hop4(&fib, "10.1.2.3"), 999);
    writer.add(v4("10.0.0.0"), 8, 8).unwrap();
    writer.add(v4("10.1.0.0"), 16, 16).unwrap();
    writer.add(v4("10.1.2.0"), 24, 24).unwrap();
    writer.add(v4("10.1.2.3"), 32, 32).unwrap();
    let hops = |fib: &Fib4| {
        ["10.1.2.3", "10.1.2.4", "10.1.3.3", "10.2.2.3", "11.1.2.3"].map(|address| hop4(fib, address))
    };
    assert_eq!(hops(&fib), [32, 24, 16, 8, 999]);

    writer.add(v4("10.1.2.3"), 32, MAX_HOP).unwrap();
    writer.add(v4("10.1.99.99"), 16, 17).unwrap();
    assert_eq!(hops(&fib), [MAX_HOP.into(), 24, 17, 8, 999], "bits beyond the depth do not matter");
    writer.delete(v4("10.1.2.0"), 24).unwrap();
    assert_eq!(hops(&fib), [MAX_HOP.into(), 17, 17, 8, 999]);
    writer.delete(v4("10.1.2.3"), 32).unwrap();
    writer.add(0, 0, 1).unwrap();
    assert_eq!(hops(&fib.clone()), [17, 17, 17, 8, 1]);
    writer.delete(0, 0).unwrap();
    writer.delete(v4("10.0.0.0"), 8).unwrap();
    writer.delete(v4("10.1.0.0"), 16).unwrap();
    assert_eq!(hops(&writer.reader()), [999; 5]);
}

#[test]
fn ipv6_routes_are_added_replaced_and_deleted_and_the_longest_wins() {
    let _eal = eal(&[]);
    let (fib, mut writer) = fib6("v6", 100, 64, DEFAULT, ANY_SOCKET).unwrap();
    writer.add(v6("2001:db8::"), 32, 32).unwrap();
    writer.add(v6("2001:db8:1::"), 48, 48).unwrap();
    writer.add(v6("2001:db8:1:2::"), 64, 64).unwrap();
    writer.add(v6("2001:db8:1:2::3"), 128, 128).unwrap();
    let hops = |fib: &Fib6| {
        ["2001:db8:1:2::3", "2001:db8:1:2::4", "2001:db8:1:3::", "2001:db8:2::", "fe80::1"]
            .map(|address| hop6(fib, address))
    };
    assert_eq!(hops(&fib), [128, 64, 48, 32, 999]);
    writer.add(v6("2001:db8:1::"), 48, 49).unwrap();
    writer.delete(v6("2001:db8:1:2::"), 64).unwrap();
    assert_eq!(hops(&fib), [128, 49, 49, 32, 999]);
    writer.add([0; 16], 0, 1).unwrap();
    writer.delete(v6("2001:db8::"), 32).unwrap();
    writer.delete(v6("2001:db8:1:2::3"), 128).unwrap();
    assert_eq!(hops(&fib), [49, 49, 49, 1, 1]);
}

#[test]
fn what_cannot_be_a_route_is_refused() {
    let _eal = eal(&[]);
    let (fib, mut writer) = fib4("v4", 100, 16, DEFAULT, ANY_SOCKET).unwrap();
    let (_fib6, mut writer6) = fib6("v6", 100, 16, DEFAULT, ANY_SOCKET).unwrap();
    let message = |error: dpdk_sys::Error| (error.errno(), error.to_string());

    let (errno, text) = message(writer.delete(v4("10.0.0.0"), 8).unwrap_err());
    assert_eq!(errno, libc::ENOENT);
    assert!(text.starts_with("rte_fib_delete: 10.0.0.0/8: table v4, made for 100 routes and"), "{text}");
    let (errno, text) = message(writer.add(v4("10.0.0.0"), 33, 1).unwrap_err());
    assert_eq!(errno, libc::EINVAL);
    assert!(text.contains("10.0.0.0/33: a prefix has at most 32 bits"), "{text}");
    let (errno, text) = message(writer6.add(v6("2001:db8::"), 129, 1).unwrap_err());
    assert_eq!(errno, libc::EINVAL);
    assert!(text.contains("2001:db8::/129: a prefix has at most 128 bits"), "{text}");
    for hop in [0, MAX_HOP + 1] {
        let (errno, text) = message(writer.add(v4("10.0.0.0"), 8, hop).unwrap_err());
        assert_eq!(errno, libc::EINVAL);
        assert!(text.contains(&format!("hop {hop} is not within 1 to 2147483647")), "{text}");
    }
    assert_eq!(fib4("zero", 100, 16, 0, ANY_SOCKET).unwrap_err().errno(), libc::EINVAL);
    assert_eq!(fib4("none", 0, 16, 1, ANY_SOCKET).unwrap_err().errno(), libc::EINVAL);
    assert_eq!(hop4(&fib, "10.0.0.1"), 999);
}

#[test]
fn a_table_without_a_free_group_says_what_it_was_made_for_and_goes_on() {
    let _eal = eal(&[]);
    let (fib, mut writer) = fib4("small", 1000, 64, DEFAULT, ANY_SOCKET).unwrap();
    writer.add(v4("10.0.0.0"), 8, 8).unwrap();

    // Each /25 of another /24 takes a group.
    let prefix = |n: u32| v4("10.0.0.0") + (n << 8);
    let added = (0..100).take_while(|&n| writer.add(prefix(n), 25, 25).is_ok()).count();
    assert!((63..=64).contains(&added), "{added} groups");
    let error = writer.add(prefix(70), 25, 25).unwrap_err();
    assert_eq!(error.errno(), libc::ENOSPC);
    let sentence = "rte_fib_add: 10.0.70.0/25: table small, made for 1000 routes and 64 groups, is full";
    assert!(error.to_string().starts_with(sentence), "{error}");
    assert_eq!((hop4(&fib, "10.0.0.1"), hop4(&fib, "10.0.70.1")), (25, 8));

    // What goes makes room.
    writer.delete(prefix(0), 25).unwrap();
    writer.add(prefix(70), 25, 26).unwrap();
    assert_eq!((hop4(&fib, "10.0.0.1"), hop4(&fib, "10.0.70.1")), (8, 26));
}

#[test]
fn who_counts_groups_himself_may_add_and_delete_for_ever() {
    let _eal = eal(&[]);
    // However many groups were asked for.
    for groups in [1, 63, 65, 1000] {
        assert!(fib4("v4", 100, groups, DEFAULT, ANY_SOCKET).unwrap().1.forget_reserved(), "{groups}");
        assert!(fib6("v6", 100, groups, DEFAULT, ANY_SOCKET).unwrap().1.forget_reserved(), "{groups}");
    }
    let (fib6, mut writer6) = fib6("v6", 100, 64, DEFAULT, ANY_SOCKET).unwrap();
    for _ in 0..1000 {
        assert!(writer6.forget_reserved());
        writer6.add(v6("2001:db8:1::"), 48, 48).unwrap();
        writer6.delete(v6("2001:db8:1::"), 48).unwrap();
    }
    let (fib4, mut writer4) = fib4("v4", 100, 64, DEFAULT, ANY_SOCKET).unwrap();
    writer4.add(v4("10.0.0.0"), 8, 8).unwrap();
    for _ in 0..1000 {
        assert!(writer4.forget_reserved());
        writer4.add(v4("10.0.0.0"), 25, 8).unwrap();
        writer4.delete(v4("10.0.0.0"), 25).unwrap();
    }
    // 60 /64s under one /56 share what is above them: 24 to 56 take five groups together.
    for n in 0..60 {
        let mut address = v6("2001:db8:1:100::");
        address[7] = n;
        writer6.forget_reserved();
        writer6.add(address, 64, 64 + u32::from(n)).unwrap();
        assert_eq!(hop6(&fib6, &std::net::Ipv6Addr::from(address).to_string()), 64 + u64::from(n));
    }
    assert_eq!(hop4(&fib4, "10.0.0.1"), 8);
}

#[test]
fn a_table_without_room_for_a_route_says_what_it_was_made_for_and_goes_on() {
    let _eal = eal(&[]);
    let (fib, mut writer) = fib4("small", 8, 64, DEFAULT, ANY_SOCKET).unwrap();
    // There are two nodes for each route, and where two prefixes part there is one more.
    let added = (1..200).take_while(|&n| writer.add(n << 24, 8, n).is_ok()).count() as u32;
    assert!((8..=16).contains(&added), "{added} routes");
    let error = writer.add(v4("200.0.0.0"), 8, 200).unwrap_err();
    assert_eq!(error.errno(), libc::ENOSPC);
    assert!(error.to_string().contains("table small, made for 8 routes and 64 groups, is full"), "{error}");
    assert_eq!((hop4(&fib, "1.0.0.1"), hop4(&fib, "200.0.0.1")), (1, 999));

    for n in 1..=added {
        writer.delete(n << 24, 8).unwrap();
    }
    writer.add(v4("200.0.0.0"), 8, 200).unwrap();
    assert_eq!((hop4(&fib, "1.0.0.1"), hop4(&fib, "200.0.0.1")), (999, 200));
}

#[test]
fn a_table_that_memory_does_not_suffice_for_says_how_much_it_would_be() {
    let _eal = eal(&[]);
    let error = fib4("large", 10_000_000, 1000, DEFAULT, ANY_SOCKET).unwrap_err().to_string();
    let megabytes = memory_of_fib4(10_000_000, 1000).div_ceil(1 << 20);
    assert!(error.contains(&format!("which takes {megabytes} MB of DPDK's memory")), "{error}");
    // What it took until it failed is free again.
    fib4("small", 1000, 100, DEFAULT, ANY_SOCKET).unwrap();
}

#[test]
fn a_table_goes_with_the_last_of_writer_and_readers() {
    let eal = eal(&[]);
    let before = memory_in_use();
    let (fib, mut writer) = fib4("v4", 100, 16, DEFAULT, ANY_SOCKET).unwrap();
    writer.add(v4("10.0.0.0"), 8, 8).unwrap();
    let other = writer.reader();
    drop((fib, writer));
    assert_eq!(hop4(&other, "10.1.2.3"), 8);
    assert!(memory_in_use() > before + (64 << 20));
    drop(other);
    assert!(memory_in_use() < before + (1 << 20));
    let (again, _) = fib4("v4", 100, 16, DEFAULT, ANY_SOCKET).unwrap();
    assert_eq!(hop4(&again, "10.1.2.3"), 999);
    drop(again);
    eal.cleanup();
}

#[test]
fn memory_is_estimated_from_above_but_not_far() {
    let _eal = eal_with_memory(1024, &[]);
    for (routes, groups) in [(1000, 256), (65_536, 4096), (500_000, 65_536)] {
        let before = memory_in_use();
        let tables = fib4("v4", routes, groups, DEFAULT, ANY_SOCKET).unwrap();
        let (taken, estimate) = (memory_in_use() - before, memory_of_fib4(routes, groups));
        println!("IPv4, {routes} routes, {groups} groups: {taken} taken, {estimate} estimated");
        assert!(
            taken <= estimate && estimate < taken * 5 / 4 + (8 << 20),
            "{taken} taken, {estimate} estimated"
        );
        drop(tables);

        let before = memory_in_use();
        let tables = fib6("v6", routes, groups, DEFAULT, ANY_SOCKET).unwrap();
        let (taken, estimate) = (memory_in_use() - before, memory_of_fib6(routes, groups));
        println!("IPv6, {routes} routes, {groups} groups: {taken} taken, {estimate} estimated");
        assert!(
            taken <= estimate && estimate < taken * 5 / 4 + (8 << 20),
            "{taken} taken, {estimate} estimated"
        );
        drop(tables);
    }
}

#[test]
fn a_million_routes_load_in_seconds() {
    const ROUTES: u32 = 1_000_000;
    let _eal = eal_with_memory(1024, &[]);
    let before = memory_in_use();
    let (fib, mut writer) = fib4("internet", ROUTES, 65_536, DEFAULT, ANY_SOCKET).unwrap();
    let megabytes = (memory_in_use() - before) >> 20;

    // Depths as in the Internet's table: more than half are /24; nobody announces longer ones but we ourselves.
    let mut numbers = Numbers(1);
    let mut routes = Vec::with_capacity(ROUTES as usize);
    let mut known = std::collections::HashSet::new();
    while routes.len() < ROUTES as usize {
        let number = numbers.next();
        let depth = [24, 24, 24, 24, 24, 24, 23, 22, 22, 21, 20, 20, 19, 18, 17, 16][number as usize % 16];
        let depth = if routes.len() % 50 == 0 { 25 + (number >> 60) as u8 % 8 } else { depth };
        let address = (number >> 8) as u32 & (u32::MAX << (32 - depth));
        if known.insert((address, depth)) {
            routes.push((address, depth, routes.len() as u32 + 1));
        }
    }

    let start = Instant::now();
    for &(address, depth, hop) in &routes {
        writer.add(address, depth, hop).unwrap();
    }
    let loaded = start.elapsed();
    let start = Instant::now();
    let mut hops = [0; 64];
    for chunk in routes.chunks_exact(64) {
        let addresses: Vec<u32> = chunk.iter().map(|route| route.0).collect();
        fib.lookup(&addresses, &mut hops);
        for (&(_, depth, _), &hop) in chunk.iter().zip(&hops) {
            // What answers is this route, or a longer one that starts at the same address.
            assert!(routes[hop as usize - 1].1 >= depth);
        }
    }
    let looked_up = start.elapsed();
    let start = Instant::now();
    for &(address, depth, _) in &routes {
        writer.delete(address, depth).unwrap();
    }
    println!(
        "{ROUTES} routes: {megabytes} MB, loaded in {loaded:.2?}, each looked up in {looked_up:.2?}, gone in {:.2?}",
        start.elapsed()
    );
    fib.lookup(&routes.iter().take(64).map(|route| route.0).collect::<Vec<_>>(), &mut hops);
    assert_eq!(hops, [u64::from(DEFAULT); 64]);
}

#[test]
fn ipv4_readers_see_only_hops_that_were_right_during_a_million_updates() {
    let all = affinity().unwrap();
    let _eal = eal(&[]);
    let (fib, mut writer) = fib4("v4", 20_000, 8192, DEFAULT, ANY_SOCKET).unwrap();
    writer.add(v4("10.0.0.0"), 8, COVERING).unwrap();
    // Two in each /24, so that groups are taken and left all the time.
    let address = |n: u64| v4("10.0.0.0") | ((n / 2) << 8) as u32 | ((n % 2) << 6) as u32;
    let zeros = update_a_million_times(&all, fib, writer, address, 28);
    println!("{zeros} lookups met a group that was just set free");
}

#[test]
fn ipv6_readers_see_only_hops_that_were_right_during_a_million_updates() {
    let all = affinity().unwrap();
    let _eal = eal(&[]);
    let (fib, mut writer) = fib6("v6", 20_000, 8192, DEFAULT, ANY_SOCKET).unwrap();
    writer.add(v6("2001:db8::"), 32, COVERING).unwrap();
    // Two in each /48, likewise.
    let address = |n: u64| {
        let mut octets = v6("2001:db8::");
        octets[4..7].copy_from_slice(&[(n / 2 / 256) as u8, (n / 2) as u8, ((n % 2) << 6) as u8]);
        octets
    };
    let zeros = update_a_million_times(&all, fib, writer, address, 52);
    println!("{zeros} lookups met a group that was just set free");
}

/// The hop of the route under all others.
const COVERING: u32 = 1;

/// Routes come and go in batches, and the writer waits after each batch of deletes until the reader has finished the lookup
/// it was in. The reader may see the covering route, or what this route is or was: anything else but 0 would send a packet
/// where no route ever pointed. Returns how often it saw 0.
fn update_a_million_times<F: Family>(
    all_cpus: &CpuSet,
    fib: Fib<F>,
    mut writer: FibWriter<F>,
    address: impl Fn(u64) -> F::Address + Copy + Send + 'static,
    depth: u8,
) -> u64 {
    const PREFIXES: u64 = 8192;
    const UPDATES: u64 = 1_000_000;
    let (lookups, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (done, stopped, all_cpus) = (Arc::clone(&lookups), Arc::clone(&stop), *all_cpus);
    let reader = std::thread::spawn(move || {
        set_affinity(&all_cpus).unwrap();
        let (mut numbers, mut hops, mut zeros) = (Numbers(2), [0; 64], 0);
        while !stopped.load(SeqCst) {
            let wanted: [u64; 64] = std::array::from_fn(|_| numbers.next() % PREFIXES);
            fib.lookup(&wanted.map(address), &mut hops);
            for (n, hop) in wanted.into_iter().zip(hops) {
                zeros += u64::from(hop == 0);
                assert!([0, COVERING.into(), 2 + 2 * n, 3 + 2 * n].contains(&hop), "hop {hop} at route {n}");
            }
            done.fetch_add(1, SeqCst);
        }
        zeros
    });
    let wait_for_reader = || {
        // The lookup that is under way now, and one more that starts after it.
        let before = lookups.load(SeqCst);
        while lookups.load(SeqCst) < before + 2 {
            assert!(!reader.is_finished(), "the reader saw a wrong hop");
            std::thread::yield_now();
        }
    };

    let (mut numbers, mut updates) = (Numbers(3), 0);
    let mut present = vec![false; PREFIXES as usize];
    while updates < UPDATES {
        for _ in 0..2000 {
            let n = numbers.next() % PREFIXES;
            if present[n as usize] {
                writer.delete(address(n), depth).unwrap();
                present[n as usize] = false;
                updates += 1;
            }
        }
        wait_for_reader();
        for _ in 0..2000 {
            let n = numbers.next() % PREFIXES;
            writer.forget_reserved();
            writer.add(address(n), depth, (2 + 2 * n + numbers.next() % 2) as u32).unwrap();
            present[n as usize] = true;
            updates += 1;
        }
    }
    stop.store(true, SeqCst);
    let zeros = reader.join().expect("the reader saw only hops that were right");
    println!("{updates} updates, {} lookups of 64 beside them", lookups.load(SeqCst));
    assert!(lookups.load(SeqCst) > 1000);
    zeros
}

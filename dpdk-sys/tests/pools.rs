//! Pools: their level is exact, whatever way packets go.

mod common;

use common::{eal, numbered, numbers, pool};
use dpdk_sys::{
    ANY_SOCKET, Burst, DEFAULT_DATA_ROOM, Packet, Pool, Ring, Tag, free_bulk, lost, memory_in_use,
    memory_of_pool,
};

#[test]
fn the_level_follows_every_way_a_packet_goes() {
    let _eal = eal(&[]);
    let pool = pool(1023);
    assert_eq!((pool.name(), pool.size(), pool.available(), pool.in_use()), ("packets", 1023, 1023, 0));

    let packet = pool.alloc().unwrap();
    assert_eq!((packet.len(), pool.available(), pool.in_use()), (0, 1022, 1));
    packet.free();
    assert_eq!(pool.in_use(), 0);

    let mut packets: Vec<Packet> = (0..10).map(|_| pool.alloc().unwrap()).collect();
    let capacity = packets.capacity();
    assert_eq!(pool.in_use(), 10);
    free_bulk(&mut packets);
    assert_eq!((pool.in_use(), packets.len(), packets.capacity()), (0, 0, capacity));

    let mut burst = numbered(&pool, 0..5);
    assert_eq!((numbers(burst.as_slice()), pool.in_use()), (vec![0, 1, 2, 3, 4], 5));
    burst.clear_freeing();
    assert_eq!((pool.in_use(), lost()), (0, 0));
}

#[test]
fn a_packet_without_a_verdict_goes_back_and_is_counted() {
    let _eal = eal(&[]);
    let pool = pool(1023);
    drop(pool.alloc_frame(&[0; 5000]).unwrap());
    assert_eq!((pool.in_use(), lost()), (0, 1));
    drop(numbered(&pool, 0..3));
    assert_eq!((pool.in_use(), lost()), (0, 4));
}

#[test]
fn an_empty_pool_gives_nothing_and_loses_nothing() {
    let _eal = eal(&[]);
    let pool = pool(7);
    let mut all: Vec<Packet> = std::iter::from_fn(|| pool.alloc()).collect();
    assert_eq!((all.len(), pool.available()), (7, 0));
    let mut burst = Burst::new(2);
    assert_eq!(pool.alloc_burst(&mut burst), 0);

    // Two packets are there and a frame of 5,000 bytes takes three: none is kept.
    all.pop().unwrap().free();
    all.pop().unwrap().free();
    assert!(pool.alloc_frame(&[0; 5000]).is_none());
    assert_eq!(pool.available(), 2);
    assert_eq!((pool.alloc_burst(&mut burst), pool.available()), (2, 0));
    burst.clear_freeing();
    free_bulk(&mut all);
    assert_eq!((pool.in_use(), lost()), (0, 0));
}

#[test]
fn a_long_frame_takes_segments_and_every_one_comes_back() {
    let _eal = eal(&[]);
    let pool = pool(1023);
    let frame: Vec<u8> = (0..9018).map(|i| (i % 251) as u8).collect();
    let mut packet = pool.alloc_frame(&frame).unwrap();
    assert_eq!((packet.len(), packet.segment_count(), pool.in_use()), (9018, 5, 5));
    assert_eq!(packet.to_vec(), frame);
    assert!(packet.truncate(3000));
    assert_eq!((packet.len(), packet.segment_count(), pool.in_use()), (3000, 2, 2));
    assert_eq!(packet.to_vec(), frame[..3000]);
    packet.free();
    assert_eq!((pool.in_use(), lost()), (0, 0));
}

#[test]
fn packets_of_a_pool_and_of_the_heap_are_freed_side_by_side() {
    let _eal = eal(&[]);
    let pool = pool(1023);
    let mut packets = vec![pool.alloc().unwrap(), Packet::from_bytes(b"heap"), pool.alloc().unwrap()];
    free_bulk(&mut packets);
    assert_eq!((pool.in_use(), lost()), (0, 0));
}

#[test]
fn the_tag_has_its_place_in_every_packet() {
    let _eal = eal(&["--vdev", "net_null0"]);
    let pool = pool(1023);
    let mut packet = pool.alloc_frame(&[7; 5000]).unwrap();
    let tag = Tag { reason: 1, interface: 2, l3: 3, l4: 4, flags: 5, spare: 6, received: 7 };
    packet.set_tag(tag);
    assert!(packet.prepend(16) && packet.trim_front(16) && packet.truncate(4000));
    assert_eq!((packet.tag(), packet.to_vec()), (tag, vec![7; 4000]));
    packet.free();
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn what_cannot_be_is_refused_with_what_could() {
    let _eal = eal(&[]);
    let refusal =
        |size, cache, room| Pool::new("impossible", size, cache, room, ANY_SOCKET).unwrap_err().to_string();
    assert!(refusal(8191, 600, 2176).contains("at most 512 will do"), "{}", refusal(8191, 600, 2176));
    assert!(refusal(300, 256, 2176).contains("at most 200 will do"), "{}", refusal(300, 256, 2176));
    assert!(refusal(300, 0, 128).contains("all headroom"), "{}", refusal(300, 0, 128));
    let named = |length| Pool::new(&"x".repeat(length), 63, 0, 2176, ANY_SOCKET).map(drop);
    named(25).unwrap();
    assert_eq!(named(26).unwrap_err().errno(), libc::ENAMETOOLONG);
    let named = |length| Ring::new(&"x".repeat(length), 64, ANY_SOCKET).map(drop);
    named(28).unwrap();
    assert_eq!(named(29).unwrap_err().errno(), libc::ENAMETOOLONG);
    let odd = Ring::new("odd", 63, ANY_SOCKET).unwrap_err().to_string();
    assert!(odd.starts_with("rte_ring_create: ring odd of 63: Invalid argument (22)"), "{odd}");
    let too_large = refusal(1_000_000, 0, 2176);
    let megabytes = memory_of_pool(1_000_000, 2176).div_ceil(1 << 20);
    let sentence =
        format!("pool impossible of 1000000 packets, which takes {megabytes} MB of DPDK's memory: ");
    assert!(too_large.contains(&sentence), "{too_large}");
}

#[test]
fn the_memory_of_a_pool_is_estimated_from_above_but_not_far() {
    let _eal = eal(&[]);
    for (size, room) in [(1023, DEFAULT_DATA_ROOM), (8191, DEFAULT_DATA_ROOM), (8191, 300), (4095, 9216)] {
        let before = memory_in_use();
        let _pool = Pool::new(&format!("pool-{size}-{room}"), size, 256, room, ANY_SOCKET).unwrap();
        let (taken, estimate) = (memory_in_use() - before, memory_of_pool(size, room));
        println!("{size} packets of {room} bytes: {taken} taken, {estimate} estimated");
        assert!(taken <= estimate, "{taken} taken, {estimate} estimated");
        assert!(estimate < taken * 5 / 4 + (4 << 20), "{taken} taken, {estimate} estimated");
    }
}

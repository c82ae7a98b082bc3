//! Everything once: the shortest way from an EAL to a packet that came out of a port, and a route.

mod common;

use common::{eal, numbered, numbers, pool};
use dpdk_sys::{ANY_SOCKET, Burst, PortConfig, Ring, fib4, fib6, lost, ring_port};
use std::slice;

#[test]
fn a_packet_goes_in_and_out_and_a_route_is_found() {
    let eal = eal(&[]);
    let pool = pool(1023);
    let (wire_in, wire_out) =
        (Ring::new("in", 64, ANY_SOCKET).unwrap(), Ring::new("out", 64, ANY_SOCKET).unwrap());
    let mut port = ring_port("lan", slice::from_ref(&wire_in), slice::from_ref(&wire_out)).unwrap();
    let (mut rx, mut tx) = port.configure(&PortConfig::default(), slice::from_ref(&pool)).unwrap();
    port.start().unwrap();

    let mut burst = numbered(&pool, 0..3);
    assert_eq!(wire_in.enqueue(&mut burst), 3);
    assert_eq!(rx[0].receive(&mut burst), 3);
    assert_eq!(numbers(burst.as_slice()), [0, 1, 2]);
    assert_eq!(tx[0].send(&mut burst), 3);
    let mut out = Burst::new(8);
    assert_eq!(wire_out.dequeue(&mut out), 3);
    assert_eq!(numbers(out.as_slice()), [0, 1, 2]);
    assert_eq!(pool.in_use(), 3);
    out.clear_freeing();
    assert_eq!((pool.in_use(), lost()), (0, 0));

    let (routes, mut writer) = fib4("v4", 100, 16, 7, ANY_SOCKET).unwrap();
    writer.add(0x0a000000, 8, 42).unwrap();
    let mut hops = [0; 2];
    routes.lookup(&[0x0a010203, 0x0b000000], &mut hops);
    assert_eq!(hops, [42, 7]);

    let (routes6, mut writer6) = fib6("v6", 100, 16, 7, ANY_SOCKET).unwrap();
    let mut documentation = [0; 16];
    documentation[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    writer6.add(documentation, 32, 43).unwrap();
    routes6.lookup(&[documentation, [0xff; 16]], &mut hops);
    assert_eq!(hops, [43, 7]);

    drop((rx, tx, routes, writer, routes6, writer6, wire_in, wire_out, pool));
    port.close().unwrap();
    eal.cleanup();
}

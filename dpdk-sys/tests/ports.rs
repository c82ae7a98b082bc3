//! Ports on virtual devices: what goes in comes out, what is not taken stays ours, what a driver cannot do it says.

mod common;

use std::{fs, path::Path, slice};

use common::{eal, netns, numbered, numbers, pool, read_pcap, write_pcap};
use dpdk_sys::{
    ANY_SOCKET, Burst, DEFAULT_DATA_ROOM, Packet, Pool, Port, PortConfig, Ring, RxQueue, lost, ring_port,
};

fn ring(name: &str, size: u32) -> Ring {
    Ring::new(name, size, ANY_SOCKET).unwrap()
}

/// Receives until `wanted` packets are there; a device that needs more than so many polls has lost some.
fn receive(queue: &mut RxQueue, burst: &mut Burst, wanted: usize) {
    for _ in 0..1_000_000 {
        queue.receive(burst);
        if burst.len() >= wanted {
            return;
        }
        std::thread::yield_now();
    }
    panic!("{} of {wanted} packets arrived", burst.len());
}

#[test]
fn what_a_full_device_does_not_take_stays_ours_and_in_order() {
    let _eal = eal(&[]);
    let pool = pool(1023);
    let (source, sink) = (ring("source", 8), ring("sink", 8));
    let mut port = ring_port("small", slice::from_ref(&source), slice::from_ref(&sink)).unwrap();
    let (rx, mut tx) = port.configure(&PortConfig::default(), slice::from_ref(&pool)).unwrap();
    port.start().unwrap();

    let mut burst = numbered(&pool, 0..10);
    assert_eq!(tx[0].send(&mut burst), 7, "a ring of 8 holds 7");
    assert_eq!(numbers(burst.as_slice()), [7, 8, 9]);
    assert_eq!(tx[0].send(&mut burst), 0);
    assert_eq!((numbers(burst.as_slice()), pool.in_use()), (vec![7, 8, 9], 10));

    // Two leave the ring, two follow, and one more joins the queue behind the one that is left.
    let mut out = Burst::new(2);
    assert_eq!(sink.dequeue(&mut out), 2);
    assert_eq!(numbers(out.as_slice()), [0, 1]);
    assert_eq!(tx[0].send(&mut burst), 2);
    burst.push(numbered(&pool, 10..11).pop().unwrap()).unwrap();
    assert_eq!(numbers(burst.as_slice()), [9, 10]);
    out.clear_freeing();

    let mut rest = Burst::new(64);
    assert_eq!(sink.dequeue(&mut rest), 7);
    assert_eq!(numbers(rest.as_slice()), [2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(tx[0].send(&mut burst), 2);
    assert_eq!(tx[0].send(&mut burst), 0, "an empty burst is no call");
    assert_eq!(sink.dequeue(&mut rest), 2);
    assert_eq!(numbers(&rest.as_slice()[7..]), [9, 10]);
    rest.clear_freeing();
    assert_eq!((pool.in_use(), lost()), (0, 0), "each was freed once");

    drop((rx, tx));
    port.close().unwrap();
}

#[test]
fn a_burst_takes_no_more_than_it_has_room_for() {
    let _eal = eal(&[]);
    let pool = pool(1023);
    let (source, sink) = (ring("source", 64), ring("sink", 64));
    let mut port = ring_port("lan", slice::from_ref(&source), slice::from_ref(&sink)).unwrap();
    let (mut rx, _tx) = port.configure(&PortConfig::default(), slice::from_ref(&pool)).unwrap();
    port.start().unwrap();
    assert_eq!(source.enqueue(&mut numbered(&pool, 0..50)), 50);

    let mut burst = Burst::new(32);
    burst.push(numbered(&pool, 100..101).pop().unwrap()).unwrap();
    assert_eq!((rx[0].port(), rx[0].queue()), (port.id(), 0));
    assert_eq!(rx[0].receive(&mut burst), 31);
    assert_eq!(rx[0].receive(&mut burst), 0, "it is full");
    assert_eq!((burst.len(), numbers(&burst.as_slice()[..3])), (32, vec![100, 0, 1]));
    burst.clear_freeing();
    assert_eq!((rx[0].receive(&mut burst), source.len()), (19, 0));
    assert_eq!(numbers(&burst.as_slice()[..1]), [31]);
    burst.clear_freeing();
    assert_eq!((pool.in_use(), lost()), (0, 0));
}

#[test]
fn a_frame_of_nine_thousand_bytes_comes_through_in_segments_byte_for_byte() {
    let _eal = eal(&[]);
    let pool = pool(1023);
    let wire = ring("wire", 64);
    let mut port = ring_port("jumbo", slice::from_ref(&wire), slice::from_ref(&wire)).unwrap();
    let config = PortConfig { mtu: 9000, ..PortConfig::default() };
    let (mut rx, mut tx) = port.configure(&config, slice::from_ref(&pool)).unwrap();
    port.start().unwrap();

    let frame: Vec<u8> = (0..9018).map(|i| (i % 253) as u8).collect();
    let mut burst = Burst::new(4);
    burst.push(pool.alloc_frame(&frame).unwrap()).unwrap();
    assert_eq!(tx[0].send(&mut burst), 1);
    assert_eq!(rx[0].receive(&mut burst), 1);
    let packet = burst.pop().unwrap();
    assert_eq!((packet.len(), packet.segment_count()), (9018, 5));
    assert_eq!(packet.to_vec(), frame);
    packet.free();
    assert_eq!((pool.in_use(), lost()), (0, 0));
}

/// What a virtual device can show of several queues: RSS is configured, each queue has its own pool and its own packets.
/// That flows are spread by their hash, that the hash arrives in the packet, and that checksums are looked at, only a NIC
/// can show; on one this has not been run.
#[test]
fn a_device_with_rss_is_set_up_with_four_receive_queues() {
    let _eal = eal(&["--vdev", "net_null0,size=100"]);
    let pools: Vec<Pool> = (0..4)
        .map(|n| Pool::new(&format!("queue-{n}"), 511, 0, DEFAULT_DATA_ROOM, ANY_SOCKET).unwrap())
        .collect();
    let mut port = Port::by_name("net_null0").unwrap();
    let info = port.info().unwrap();
    assert!(info.rss != 0, "net_null says it can hash");
    assert!(info.is_virtual && info.driver == "net_null", "{info:?}");

    let config = PortConfig { rx_queues: 4, tx_queues: 2, ..PortConfig::default() };
    let (mut rx, mut tx) = port.configure(&config, &pools).unwrap();
    assert_eq!((rx.len(), tx.len()), (4, 2));
    port.start().unwrap();
    for (queue, pool) in rx.iter_mut().zip(&pools) {
        let mut burst = Burst::new(32);
        assert_eq!(queue.receive(&mut burst), 32);
        assert!(burst.as_slice().iter().all(|packet| packet.len() == 100));
        assert_eq!(pool.in_use(), 32);
        assert_eq!(tx[usize::from(queue.queue()) % 2].send(&mut burst), 32);
        assert_eq!(pool.in_use(), 0, "net_null frees what it takes");
    }
    let stats = port.stats().unwrap();
    assert_eq!((stats.rx_packets, stats.tx_packets), (128, 128));
    assert_eq!((stats.rx_nombuf, stats.tx_errors), (0, 0));
    let xstats = port.xstats().unwrap();
    assert!(xstats.contains(&("rx_good_packets".to_owned(), 128)), "{xstats:?}");
    port.reset_stats().unwrap();
    assert_eq!(port.stats().unwrap().rx_packets, 0);
    assert_eq!(lost(), 0);
}

#[test]
fn a_capture_is_played_and_another_one_written() {
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (directory.path().join("in.pcap"), directory.path().join("out.pcap"));
    let frames: Vec<Vec<u8>> =
        [60, 64, 1514, 2049, 9018].iter().map(|&size| vec![size as u8; size]).collect();
    write_pcap(&input, &frames);
    let device = format!("net_pcap0,rx_pcap={},tx_pcap={}", input.display(), output.display());
    let eal = eal(&["--vdev", &device]);
    let pool = pool(1023);
    let mut port = Port::by_name("net_pcap0").unwrap();
    let config = PortConfig { mtu: 9000, promiscuous: true, allmulticast: true, ..PortConfig::default() };
    let (mut rx, mut tx) = port.configure(&config, slice::from_ref(&pool)).unwrap();
    port.start().unwrap();

    let mut burst = Burst::new(32);
    receive(&mut rx[0], &mut burst, frames.len());
    assert_eq!(burst.as_slice().iter().map(Packet::to_vec).collect::<Vec<_>>(), frames);
    assert_eq!(burst.as_slice().iter().map(Packet::segment_count).collect::<Vec<_>>(), [1, 1, 1, 2, 5]);
    assert_eq!(tx[0].send(&mut burst), frames.len());
    assert_eq!((burst.len(), pool.in_use()), (0, 0));

    drop((rx, tx));
    port.close().unwrap();
    assert_eq!(read_pcap(&output), frames);
    assert_eq!((pool.in_use(), lost()), (0, 0));
    drop(pool);
    eal.cleanup();
}

#[test]
fn what_a_driver_cannot_set_it_says_and_it_is_no_error() {
    let _eal = eal(&[]);
    let wire = ring("wire", 64);
    let mut port = ring_port("lan", slice::from_ref(&wire), slice::from_ref(&wire)).unwrap();
    let _queues = port.configure(&PortConfig::default(), &[pool(1023)]).unwrap();
    port.start().unwrap();
    assert!(!port.set_mtu(9000).unwrap(), "net_ring has no way to set an MTU");
    assert!(!port.set_mac([2, 0, 0, 0, 0, 1]).unwrap(), "net_ring has no way to set a MAC");
    assert_eq!(port.info().unwrap().mac, [0; 6]);
    assert!(port.link().unwrap().up);
    assert_eq!(port.mtu().unwrap(), 1500);
}

#[test]
fn queues_are_given_back_before_a_port_stops() {
    let _eal = eal(&["--vdev", "net_null0", "--vdev", "net_null1"]);
    let pool = pool(1023);
    let mut port = Port::by_name("net_null0").unwrap();
    let mut other = Port::by_name("net_null0").unwrap();
    let (mut rx, mut tx) = port.configure(&PortConfig::default(), slice::from_ref(&pool)).unwrap();

    // Before it starts nothing moves, and before it is configured it does not start.
    let early = Port::by_name("net_null1").unwrap().start().unwrap_err();
    assert!(early.to_string().contains("port 1 (net_null1): it is to be configured first"), "{early}");
    let mut burst = numbered(&pool, 0..2);
    assert_eq!((rx[0].receive(&mut Burst::new(4)), tx[0].send(&mut burst)), (0, 0));
    assert_eq!(numbers(burst.as_slice()), [0, 1]);
    burst.clear_freeing();
    port.start().unwrap();
    port.start().unwrap();

    let error = port.stop().unwrap_err();
    assert_eq!(error.errno(), libc::EBUSY);
    assert!(error.to_string().contains("port 0 (net_null0): 2 of its queues are still in use"), "{error}");
    let again = other.configure(&PortConfig::default(), slice::from_ref(&pool)).unwrap_err();
    assert_eq!(again.errno(), libc::EBUSY, "no other handle gets the same queues: {again}");
    assert_eq!(other.close().unwrap_err().errno(), libc::EBUSY);

    drop(rx);
    assert_eq!(port.stop().unwrap_err().errno(), libc::EBUSY);
    drop(tx);
    port.stop().unwrap();

    // And once more from the start.
    let (mut rx, tx) = port.configure(&PortConfig::default(), slice::from_ref(&pool)).unwrap();
    assert_eq!(rx[0].receive(&mut burst), 0, "configured, not started");
    port.start().unwrap();
    assert_eq!(rx[0].receive(&mut burst), 2);
    burst.clear_freeing();
    drop((rx, tx));
    port.close().unwrap();
    assert_eq!(Port::by_name("net_null0").unwrap_err().errno(), libc::ENODEV);
    assert_eq!((pool.in_use(), lost()), (0, 0));
}

#[test]
fn what_the_driver_refuses_is_an_error_in_its_own_words() {
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("in.pcap");
    write_pcap(&capture, &[vec![0; 60]]);
    let device = format!("net_pcap0,rx_pcap={}", capture.display());
    let eal = eal(&["--vdev", &device, "--vdev", "net_null7"]);
    let pool = pool(1023);
    let mut ports = Port::all(&eal).unwrap();
    assert_eq!(ports.iter().map(Port::name).collect::<Vec<_>>(), ["net_pcap0", "net_null7"]);
    assert_eq!(ports.iter().map(Port::id).collect::<Vec<_>>(), [0, 1]);

    let config = PortConfig { tx_queues: 3, ..PortConfig::default() };
    let error = ports[0].configure(&config, slice::from_ref(&pool)).unwrap_err().to_string();
    assert!(error.starts_with("rte_eth_dev_configure: port 0 (net_pcap0): Invalid argument (22)"), "{error}");
    assert!(error.contains("DPDK says: ") && error.contains("nb_tx_queues=3"), "{error}");

    let error = ports[0].configure(&PortConfig::default(), &[]).unwrap_err().to_string();
    assert!(error.contains("0 pools for 1 receive queues"), "{error}");
    let error = Port::by_name("net_pcap9").unwrap_err();
    assert_eq!(
        (error.errno(), error.to_string().contains("port net_pcap9")),
        (libc::ENODEV, true),
        "{error}"
    );
}

#[test]
#[should_panic(expected = "a port or ring does not take a heap packet")]
fn a_packet_without_a_pool_goes_into_no_device() {
    let _eal = eal(&["--vdev", "net_null0"]);
    let mut port = Port::by_name("net_null0").unwrap();
    let (_rx, mut tx) = port.configure(&PortConfig::default(), &[pool(1023)]).unwrap();
    port.start().unwrap();
    let mut burst = Burst::new(1);
    burst.push(Packet::from_bytes(b"frame")).unwrap();
    tx[0].send(&mut burst);
}

#[test]
fn packets_cross_between_lcores_and_none_is_freed_twice() {
    const PACKETS: u32 = 200_000;
    let eal = dpdk_sys::Eal::init(&common::arguments("0@0,1@1", &[])).unwrap();
    let pool = pool(4095);
    let (to_worker, from_worker) = (ring("to-worker", 256), ring("from-worker", 64));
    let mut port = ring_port("worker", slice::from_ref(&to_worker), slice::from_ref(&from_worker)).unwrap();
    let (mut rx, mut tx) = port.configure(&PortConfig::default(), slice::from_ref(&pool)).unwrap();
    port.start().unwrap();
    eal.launch(1, move || {
        let (mut burst, mut sent) = (Burst::new(32), 0);
        while sent < PACKETS as usize {
            rx[0].receive(&mut burst);
            sent += tx[0].send(&mut burst);
        }
        assert!(burst.is_empty());
    })
    .unwrap();

    let (mut next, mut seen) = (0u32, 0u32);
    let (mut out, mut back) = (Burst::new(32), Burst::new(32));
    while seen < PACKETS {
        while next < PACKETS && out.len() < out.capacity() {
            let Some(packet) = pool.alloc_frame(&next.to_be_bytes()) else { break };
            out.push(packet).unwrap();
            next += 1;
        }
        to_worker.enqueue(&mut out);
        from_worker.dequeue(&mut back);
        for packet in back.as_slice() {
            assert_eq!(packet.bytes(), seen.to_be_bytes(), "in order, and each once");
            seen += 1;
        }
        back.clear_freeing();
        std::thread::yield_now();
    }
    eal.wait(1);
    port.close().unwrap();
    assert_eq!((pool.in_use(), lost()), (0, 0));
}

#[test]
fn a_tap_takes_mac_and_mtu_and_has_several_queues() {
    if !netns() || !Path::new("/dev/net/tun").exists() {
        return println!("skipped: needs root and /dev/net/tun");
    }
    let _eal = eal(&["--vdev", "net_tap0,iface=dpdk-test"]);
    let pool = pool(4095);
    let mut port = Port::by_name("net_tap0").unwrap();
    let config = PortConfig { rx_queues: 2, tx_queues: 2, ..PortConfig::default() };
    let pools = [pool.clone(), pool.clone()];
    let (rx, tx) = port.configure(&config, &pools).unwrap();
    port.start().unwrap();
    assert!(port.set_mac([2, 0, 0, 0, 0, 7]).unwrap());
    assert!(port.set_mtu(1400).unwrap());
    assert!(port.set_promiscuous(true).unwrap());
    assert!(port.set_allmulticast(true).unwrap());
    assert_eq!((port.info().unwrap().mac, port.mtu().unwrap()), ([2, 0, 0, 0, 0, 7], 1400));
    let devices = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    assert!(devices.contains("dpdk-test:"), "{devices}");
    drop((rx, tx));
    port.close().unwrap();
    assert_eq!((pool.in_use(), lost()), (0, 0));
}

#[test]
fn af_packet_hears_itself_on_the_loopback() {
    if !netns() {
        return println!("skipped: needs root");
    }
    let _eal = eal(&["--vdev", "net_af_packet0,iface=lo"]);
    let pool = pool(4095);
    let mut port = Port::by_name("net_af_packet0").unwrap();
    let (mut rx, mut tx) = port.configure(&PortConfig::default(), slice::from_ref(&pool)).unwrap();
    port.start().unwrap();

    // Ethertype 0x88b5 is for experiments, so that nothing else in this namespace is taken for it.
    let frame: Vec<u8> = [[0; 12].as_slice(), &[0x88, 0xb5], &[7; 86]].concat();
    let mut burst = Burst::new(32);
    burst.push(pool.alloc_frame(&frame).unwrap()).unwrap();
    assert_eq!(tx[0].send(&mut burst), 1);
    receive(&mut rx[0], &mut burst, 1);
    assert_eq!(burst.as_slice()[0].to_vec(), frame);
    burst.clear_freeing();
    assert_eq!((pool.in_use(), lost()), (0, 0));
}

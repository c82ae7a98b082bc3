//! What every test here starts with. `cargo nextest` gives each its own process, and so its own EAL.

#![allow(dead_code, missing_docs, reason = "each test file uses its part")]

use dpdk_sys::{ANY_SOCKET, Burst, DEFAULT_DATA_ROOM, Eal, Packet, Pool};

/// An EAL on one lcore that needs no root, no hugepages and no hardware.
pub fn eal(more: &[&str]) -> Eal {
    Eal::init(&arguments("0", more)).expect("the EAL starts")
}

pub fn arguments(lcores: &str, more: &[&str]) -> Vec<String> {
    let prefix = format!("dpdk-sys-{}", std::process::id());
    ["--no-huge", "-m", "256", "--no-pci", "--no-shconf", "--no-telemetry", "--iova-mode=va"]
        .into_iter()
        .chain(["--lcores", lcores, "--file-prefix", &prefix])
        .chain(more.iter().copied())
        .map(str::to_owned)
        .collect()
}

pub fn pool(size: u32) -> Pool {
    Pool::new("packets", size, 0, DEFAULT_DATA_ROOM, ANY_SOCKET).expect("a pool of this size fits")
}

/// A burst of packets from the pool that hold one number each.
pub fn numbered(pool: &Pool, numbers: std::ops::Range<u32>) -> Burst {
    let mut burst = Burst::new(numbers.len() as u16);
    for number in numbers {
        let packet = pool.alloc_frame(&number.to_be_bytes()).expect("the pool has enough");
        burst.push(packet).expect("the burst has room");
    }
    burst
}

pub fn numbers(packets: &[Packet]) -> Vec<u32> {
    packets.iter().map(|packet| u32::from_be_bytes(packet.bytes().try_into().unwrap())).collect()
}

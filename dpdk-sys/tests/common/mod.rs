//! What every test here starts with. `cargo nextest` gives each its own process, and so its own EAL.

#![allow(dead_code, missing_docs, reason = "each test file uses its part")]

use std::{fs, path::Path, process::Command};

use dpdk_sys::{ANY_SOCKET, Burst, DEFAULT_DATA_ROOM, Eal, Packet, Pool, affinity};

/// An EAL on one lcore that needs no root, no hugepages and no hardware.
pub fn eal(more: &[&str]) -> Eal {
    Eal::init(&arguments(&anywhere(), more)).expect("the EAL starts")
}

/// Lcore 0, on whatever CPU: tests that run side by side must not all be pinned to the same one.
fn anywhere() -> String {
    let cpus: Vec<String> =
        affinity().expect("a thread runs somewhere").cpus().map(|cpu| cpu.to_string()).collect();
    format!("0@({})", cpus.join(","))
}

/// The same with more memory than the usual 256 MB.
pub fn eal_with_memory(megabytes: u32, more: &[&str]) -> Eal {
    let mut arguments = arguments(&anywhere(), more);
    arguments[2] = megabytes.to_string();
    Eal::init(&arguments).expect("the EAL starts")
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

/// Moves this thread, and what it starts, into a network namespace of its own whose loopback is up; false without root.
pub fn netns() -> bool {
    // SAFETY: a plain system call; it concerns this thread only.
    let moved = unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0;
    moved
        && Command::new("ip").args(["link", "set", "lo", "up"]).status().is_ok_and(|status| status.success())
}

/// Writes a capture of Ethernet frames.
pub fn write_pcap(path: &Path, frames: &[Vec<u8>]) {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1]);
    for frame in frames {
        file.extend(words(&[0, 0, frame.len() as u32, frame.len() as u32]));
        file.extend(frame);
    }
    fs::write(path, file).expect("the capture is written");
}

/// The frames of a capture.
pub fn read_pcap(path: &Path) -> Vec<Vec<u8>> {
    let file = fs::read(path).expect("the capture is there");
    let (mut rest, mut frames) = (&file[24..], Vec::new());
    while let Some((header, frame)) = rest.split_at_checked(16) {
        let (frame, next) = frame.split_at(u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize);
        frames.push(frame.to_vec());
        rest = next;
    }
    frames
}

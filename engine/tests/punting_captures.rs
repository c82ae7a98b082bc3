//! Captures as sinks: what is punted stands in files that others read, which rotate, and whose disk may be full.

mod common;

use std::fs::File;
use std::path::Path;
use std::process::Command;

use common::Rig;
use common::frames::*;
use common::router::*;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use serde_json::Value;

/// A router whose captures go to a directory.
fn capturing(directory: &Path) -> Rig {
    let mut rig = router_with(&format!("[punt]\ndirectory = \"{}\"\n", directory.display()));
    rig.call("reason.set", r#"{"name": "ip4.ttl-expired", "rate": "unlimited"}"#);
    rig.call("class.set", r#"{"name": "except", "cap": "unlimited"}"#);
    rig
}

fn add(rig: &mut Rig, name: &str, target: &str) {
    rig.call("sink.add", &format!(r#"{{"name": "{name}", "target": "{target}"}}"#));
}

/// The frames of a capture with their comments.
fn read(path: &Path) -> Vec<(Vec<u8>, String)> {
    let mut reader = PcapNgReader::new(File::open(path).expect("a file")).expect("a capture");
    let mut packets = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.expect("whole").into_owned() {
            let [EnhancedPacketOption::Comment(comment)] = &packet.options[..] else {
                panic!("a comment: {:?}", packet.options)
            };
            packets.push((packet.data.to_vec(), comment.to_string()));
        }
    }
    packets
}

/// How many packets tcpdump finds in a file.
fn tcpdump(path: &Path) -> usize {
    let run = Command::new("tcpdump").args(["-n", "-r"]).arg(path).output().expect("tcpdump runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8_lossy(&run.stdout).lines().filter(|line| !line.starts_with([' ', '\t'])).count()
}

fn number(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_else(|| panic!("{field} in {row:#}"))
}

#[test]
fn a_capture_has_every_packet_with_its_reason_and_others_read_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut rig = capturing(directory.path());
    add(&mut rig, "all", "pcapng:all.pcapng");
    add(&mut rig, "lldp", "pcapng:lldp.pcapng");
    let wide = register(&mut rig, "reason:*", "all");
    register(&mut rig, "ethertype:0x88cc", "lldp");
    let frames: Vec<Vec<u8>> = (60..160).flat_map(|len| [expires(len), lldp(len), no_route(len)]).collect();
    rig.put(LAN, &frames);
    let row = rig.settled("all");
    // LLDP and missing routes have limits; what is refused is in nobody's file.
    let accepted: u64 = ["ip4.ttl-expired", "l2.lldp", "ip4.no-route"]
        .map(|name| number(&rig.row("reason.list", "name", name), "accepted"))
        .iter()
        .sum();
    assert_eq!(number(&row, "delivered"), accepted);
    let path = directory.path().join("all.pcapng");
    let packets = read(&path);
    assert_eq!((packets.len() as u64, tcpdump(&path) as u64), (accepted, accepted));
    for (frame, comment) in &packets {
        let reason = match frame {
            it if it[12..14] == [0x88, 0xcc] => "l2.lldp class neigh",
            it if it[22] == 1 => "ip4.ttl-expired class except",
            _ => "ip4.no-route class except",
        };
        assert!(
            comment.starts_with(&format!("{reason} registration {wide} worker 0 sequence ")),
            "{comment}"
        );
        assert!(comment.ends_with(" lost 0"), "{comment}");
        assert!(frames.contains(frame));
    }
    let only: Vec<_> =
        read(&directory.path().join("lldp.pcapng")).into_iter().map(|(frame, _)| frame).collect();
    let expected: Vec<_> =
        frames.iter().filter(|frame| frame[12..14] == [0x88, 0xcc]).take(only.len()).cloned().collect();
    assert!(only.len() >= 100 && only == expected);
    if let Ok(run) = Command::new("capinfos").arg(&path).output() {
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
    rig.finish();
}

#[test]
fn a_capture_is_rotated_by_size_and_keeps_so_many_files() {
    const SIZE: u64 = 64 << 10;
    let directory = tempfile::tempdir().expect("a directory");
    let mut rig = capturing(directory.path());
    add(&mut rig, "c", "pcapng:c.pcapng?size=64K&files=3");
    register(&mut rig, "reason:ip4.ttl-expired", "c");
    let frames: Vec<Vec<u8>> = (0..800)
        .map(|at| {
            let mut payload = vec![7; 400];
            payload[..2].copy_from_slice(&(at as u16).to_be_bytes());
            from_host(udp4("10.0.0.7", "10.2.3.4", 1, &payload))
        })
        .collect();
    for some in frames.chunks(100) {
        rig.put(LAN, some);
        rig.settled("c");
    }
    assert_eq!(number(&rig.settled("c"), "delivered"), 800);
    let files = ["c.pcapng.2", "c.pcapng.1", "c.pcapng"].map(|name| directory.path().join(name));
    let kept: Vec<_> = files.iter().flat_map(|path| read(path)).collect();
    assert!((200..700).contains(&kept.len()), "{} packets in three files of 64 KiB", kept.len());
    let newest = &frames[800 - kept.len()..];
    assert!(kept.iter().map(|(frame, _)| frame).eq(newest), "the newest, in their order");
    assert!(kept.last().is_some_and(|(_, comment)| comment.contains("sequence 799 lost 0")));
    for path in &files {
        assert!(path.metadata().expect("it is there").len() <= SIZE);
        assert_eq!(tcpdump(path), read(path).len());
    }
    assert_eq!(directory.path().read_dir().expect("a directory").count(), 3);
    rig.finish();
}

#[test]
fn a_full_disk_and_a_path_that_cannot_be_written_are_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=128k", "none"]).arg(directory.path()).output();
    if !mount.is_ok_and(|run| run.status.success()) {
        return println!("SKIPPED: a file system of 128 KiB cannot be mounted, which needs root");
    }
    let mut rig = capturing(directory.path());
    for target in ["pcapng:no/such/c.pcapng", "pcapng:../c.pcapng"] {
        let refused =
            rig.try_call("sink.add", &format!(r#"{{"name": "no", "target": "{target}"}}"#)).unwrap_err();
        assert!(refused.contains("sink no") || refused.contains("c.pcapng"), "{refused}");
    }
    assert_eq!(rig.rows("sink.list"), Vec::<Value>::new(), "what is refused is not there");
    add(&mut rig, "c", "pcapng:c.pcapng");
    add(&mut rig, "n", "null");
    register(&mut rig, "reason:ip4.ttl-expired", "c");
    register(&mut rig, "reason:ip4.ttl-expired", "n");
    rig.put(LAN, &vec![expires(1000); 300]);
    let row = rig.settled("c");
    let (delivered, full) = (number(&row, "delivered"), number(&row["errors"], "ENOSPC"));
    assert!(delivered > 50 && full > 100 && delivered + full == 300, "{row:#}");
    assert_eq!(number(&rig.settled("n"), "delivered"), 300, "another sink feels nothing");
    assert_eq!(read(&directory.path().join("c.pcapng")).len() as u64, delivered);
    rig.finish();
    let _ = Command::new("umount").arg("-l").arg(directory.path()).status();
}

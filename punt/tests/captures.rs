//! Sinks that are no sockets: captures, a queue, nothing.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{Engine, Rig, errors, frame, text, wait};
use nix::errno::Errno;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use punt::record::Header;
use punt::sink::{Output, Running, Sink, State};
use punt::{Class, Target};

fn capture(directory: &Path, file: &str, size: u64, files: u32) -> Output {
    Output::Pcapng { directory: directory.into(), file: file.into(), size, files }
}

/// The names of the interfaces; and of each packet its interface, time, original length, bytes and comment.
type Packet = (u32, Duration, u32, Vec<u8>, String);

fn read(path: &Path) -> (Vec<String>, Vec<Packet>) {
    let mut reader = PcapNgReader::new(File::open(path).expect("a file")).expect("a capture");
    let (mut interfaces, mut packets) = (Vec::new(), Vec::new());
    while let Some(block) = reader.next_block() {
        match block.expect("whole").into_owned() {
            Block::InterfaceDescription(block) => {
                assert!(block.options.contains(&InterfaceDescriptionOption::IfTsResol(9)));
                let name = block.options.iter().find_map(|option| match option {
                    InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                    _ => None,
                });
                interfaces.push(name.expect("a name"));
            }
            Block::EnhancedPacket(block) => {
                let [EnhancedPacketOption::Comment(comment)] = block.options.as_slice() else {
                    panic!("a comment")
                };
                let comment = comment.to_string();
                packets.push((
                    block.interface_id,
                    block.timestamp,
                    block.original_len,
                    block.data.to_vec(),
                    comment,
                ));
            }
            other => panic!("{other:?}"),
        }
    }
    (interfaces, packets)
}

/// What tcpdump makes of a file, with the link-layer header, times since 1970 and the bytes.
fn tcpdump(path: &Path) -> String {
    let run = Command::new("tcpdump")
        .args(["-n", "-tt", "--nano", "-xx", "-r"])
        .arg(path)
        .output()
        .expect("tcpdump runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).expect("text")
}

#[test]
fn a_file_that_somebody_takes_away_is_begun_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let rig = Rig::new(capture(directory.path(), "x.pcapng", 1 << 20, 2), None);
    let lane = rig.lane(0, Class::Except, 64 << 10);
    let (file, moved) = (directory.path().join("x.pcapng"), directory.path().join("moved"));
    let mut offered = 0;
    let mut offer = || {
        offered += 1;
        assert!(rig.offer(&lane, Header { interface: 1, ..Header::default() }, &frame(60, 0)));
        lane.ring.publish();
        rig.running().wake();
        wait("the record", || lane.outcome.delivered.get() == offered);
    };
    offer();
    fs::rename(&file, &moved).expect("it is there");
    wait("a new file", || file.exists());
    offer();
    fs::remove_file(&file).expect("it is there");
    wait("another", || file.exists());
    offer();
    offer();
    let counts = [&moved, &file].map(|file| read(file).1.len());
    assert_eq!(counts, [1, 2]);
    assert!(!directory.path().join("x.pcapng.1").exists(), "there was nothing to rotate");
    assert_eq!(errors(&lane.outcome.errors), []);
}

#[test]
fn a_capture_tells_everything_of_a_packet() {
    let directory = tempfile::tempdir().expect("a directory");
    let target: Target = "pcapng:punted.pcapng".parse().expect("a target");
    let mut rig = Rig::new(Output::new(&target, directory.path()), None);
    let lane = rig.lane(1, Class::Except, 256 << 10);
    let at = Duration::new(1_700_000_000, 123_456_789);
    let lengths = [60usize, 142, 242, 256, 270, 512, 1514, 9000];
    for (number, len) in lengths.into_iter().enumerate() {
        let header = Header {
            interface: [2, 1, 9][number % 3],
            reason: 7,
            registration: 42,
            received: at.as_nanos() as u64 + number as u64,
            original: 9000,
            ..Header::default()
        };
        assert!(rig.offer(&lane, header, &frame(len, number)));
    }
    lane.ring.publish();
    rig.running().wake();
    wait("the count", || lane.outcome.delivered.get() == 8);
    // Whole before it is closed, so that it can be read while it grows.
    let path = directory.path().join("punted.pcapng");
    let (interfaces, packets) = read(&path);
    assert_eq!(interfaces, ["wan", "lan", "interface 9"]);
    for (number, len) in lengths.into_iter().enumerate() {
        let comment =
            format!("ip4.ttl-expired class except registration 42 worker 1 sequence {number} lost 0");
        let time = at + Duration::from_nanos(number as u64);
        assert_eq!(packets[number], (number as u32 % 3, time, 9000, frame(len, number), comment));
    }
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o027, 0, "not for others");
    rig.running.take().expect("running").stop();
    let text = tcpdump(&path);
    assert!(text.starts_with("1700000000.123456789 "), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("1700000000.12345679")).count(), 7, "{text}");
    if let Ok(run) = Command::new("capinfos").arg(&path).output() {
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
}

#[test]
fn a_capture_is_rotated_by_size_and_across_restarts() {
    const SIZE: u64 = 64 << 10;
    let directory = tempfile::tempdir().expect("a directory");
    fs::create_dir(directory.path().join("deep")).expect("a directory");
    let rig = Rig::new(capture(directory.path(), "deep/c.pcapng", SIZE, 3), None);
    let lane = rig.lane(0, Class::Sample, 1 << 20);
    for number in 0..1_000 {
        assert!(rig.punt(&lane, Header { interface: 1, ..Header::default() }, &frame(500, number)));
        wait("the count", || lane.outcome.delivered.get() == number as u64 + 1);
    }
    let files = ["c.pcapng.2", "c.pcapng.1", "c.pcapng"].map(|name| directory.path().join("deep").join(name));
    let all: Vec<_> = files.iter().flat_map(|path| read(path).1).map(|packet| packet.3).collect();
    let first = 1_000 - all.len();
    assert!((150..400).contains(&all.len()), "{}", all.len());
    assert!((first..1_000).all(|number| all[number - first] == frame(500, number)), "the newest, in order");
    for path in &files {
        assert!(fs::metadata(path).expect("there").len() <= SIZE);
        assert_eq!(read(path).0, ["lan"]);
    }
    assert_eq!(fs::read_dir(directory.path().join("deep")).expect("there").count(), 3);
    drop(rig);

    // Another start keeps what is there, as far as the number of files goes.
    let kept = fs::read(&files[2]).expect("there");
    drop(Rig::new(capture(directory.path(), "deep/c.pcapng", SIZE, 3), None));
    assert_eq!(fs::read(&files[1]).expect("there"), kept);
    assert_eq!(read(&files[2]), (vec![], vec![]));
    drop(Rig::new(capture(directory.path(), "deep/c.pcapng", SIZE, 1), None));
    assert_eq!(fs::read(&files[1]).expect("there"), kept, "with one file only that one is replaced");
}

#[test]
fn a_capture_stays_below_its_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let (inside, outside) = (directory.path().join("in"), directory.path().join("out"));
    fs::create_dir(&inside).and_then(|()| fs::create_dir(&outside)).expect("directories");
    symlink(&outside, inside.join("link")).expect("a link");
    symlink(outside.join("victim"), inside.join("c")).expect("a link");
    let start = |file: &str| {
        let sink = Sink::new("c".into(), 0).into();
        Running::start(
            sink,
            capture(&inside, file, 1 << 20, 2),
            std::sync::Arc::new(Engine::default()),
            None,
            None,
        )
    };
    let fault = |file: &str| {
        start(file).err().map(|error| error.to_string()).unwrap_or_else(|| panic!("{file} opens"))
    };
    let elsewhere = text(&outside.join("c"));
    for file in ["../out/c", "x/../../out/c", elsewhere.as_str(), "/", ""] {
        assert_eq!(
            fault(file),
            format!("{file} is not below {}, where captures are written", inside.display())
        );
    }
    assert!(
        fault("link/c")
            .starts_with(&format!("a capture cannot be written to {}", inside.join("link").display()))
    );
    assert!(fault("no/c").contains("No such file or directory"));
    // A link in the place of the file is moved away, not followed.
    start("c").expect("opens").stop();
    assert!(fs::symlink_metadata(inside.join("c")).expect("there").is_file());
    start(&text(&inside.join("absolute"))).expect("opens").stop();
    assert!(inside.join("absolute").exists());
    assert_eq!(fs::read_dir(&outside).expect("there").count(), 0, "nothing was written elsewhere");
}

/// A small file system of its own.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Small> {
        let directory = tempfile::tempdir().expect("a directory");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=128k", "none"])
            .arg(directory.path())
            .output();
        mount.is_ok_and(|run| run.status.success()).then_some(Small(directory))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_counted_and_leaves_a_file_that_can_be_read() {
    let Some(small) = Small::mount() else {
        return println!("SKIPPED: a file system of 128 KiB cannot be mounted, which needs root");
    };
    let path = small.0.path();
    let rig = Rig::new(capture(path, "c.pcapng", 1 << 30, 2), None);
    let lane = rig.lane(0, Class::Sample, 1 << 20);
    for number in 0..200 {
        assert!(rig.punt(
            &lane,
            Header { interface: 1 + number % 2, ..Header::default() },
            &frame(1000, number as usize)
        ));
        wait("the verdict", || lane.backlog() == 0);
    }
    let (delivered, lost) =
        (lane.outcome.delivered.get(), lane.outcome.errors.of(Errno::ENOSPC as i32).get());
    assert!(delivered > 80 && lost > 80 && delivered + lost == 200, "{delivered} and {lost}");
    assert_eq!(read(&path.join("c.pcapng")).1.len() as u64, delivered);
    // Somebody makes room, and it goes on in the same file.
    fs::write(path.join("other"), "").expect("no bytes fit always");
    Command::new("mount").args(["-o", "remount,size=1m"]).arg(path).status().expect("mount runs");
    assert!(rig.punt(&lane, Header { interface: 9, ..Header::default() }, b"after"));
    wait("the count", || lane.outcome.delivered.get() == delivered + 1);
    let (interfaces, packets) = read(&path.join("c.pcapng"));
    assert_eq!(interfaces, ["lan", "wan", "interface 9"]);
    let last = packets.last().expect("some");
    assert_eq!((last.0, last.3.as_slice()), (2, b"after".as_slice()));
    assert!(last.4.ends_with(&format!("sequence 200 lost {lost}")), "{}", last.4);
    tcpdump(&path.join("c.pcapng"));
    assert!(rig.balances(&lane));
}

#[test]
fn null_takes_everything() {
    let rig = Rig::new(Output::Null, None);
    let lane = rig.lane(0, Class::Miss, 64 << 10);
    for number in 0..100 {
        assert!(rig.punt(&lane, Header::default(), &frame(100, number)));
    }
    wait("the count", || lane.outcome.delivered.get() == 100);
    assert_eq!(lane.outcome.delivered_bytes.get(), 10_000);
}

#[test]
fn a_queue_is_waited_for_and_its_reader_may_leave() {
    let (sender, queue) = crossbeam_channel::bounded(4);
    let rig = Rig::new(Output::Queue(sender), None);
    let lane = rig.lane(0, Class::Mgmt, 64 << 10);
    for number in 0..20 {
        assert!(rig.punt(&lane, Header { interface: 2, ..Header::default() }, &frame(100, number)));
    }
    wait("being stuck", || rig.running().state() == State::Stuck);
    for number in 0..20 {
        let record = queue.recv_timeout(common::PATIENCE).expect("a record");
        assert_eq!((record.header.sequence, record.header.interface), (number as u64, 2));
        assert_eq!(record.frame, frame(100, number));
    }
    wait("the count", || lane.outcome.delivered.get() == 20);
    assert_eq!(rig.running().state(), State::Active);
    drop(queue);
    assert!(rig.punt(&lane, Header::default(), b"nobody"));
    wait("the loss", || rig.running().state() == State::Suspended);
    wait("the verdict", || lane.backlog() == 0);
    assert_eq!(errors(&lane.outcome.errors), [(Errno::EPIPE as i32, 1)]);
}

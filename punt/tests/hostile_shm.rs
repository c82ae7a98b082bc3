//! Shared memory, against clients that do what they should not, each a process of its own (`hostile_shm.py`) and each under load: the worker
//! goes on, the other sink gets everything, the books balance to the packet, and the next honest client is served.

mod common;

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{PATIENCE, Rig, frame, text, wait};
use nix::errno::Errno;
use punt::Class;
use punt::client::Client;
use punt::lane::Lane;
use punt::record::Header;
use punt::sink::{Output as To, State};

/// Python 3.9 or newer with this scenario.
fn hostile(path: &str, what: &str) -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile_shm.py");
    let mut command = Command::new("python3");
    command.args([script, path, what]);
    command
}

/// What it says, one line after the other, and whether it was killed.
fn run(path: &str, what: &str) -> Vec<String> {
    let Output { status, stdout, stderr } = hostile(path, what).output().expect("python3 runs");
    let said = String::from_utf8_lossy(&stdout);
    assert!(
        status.success() != what.starts_with("killed"),
        "{what}: {said}{}",
        String::from_utf8_lossy(&stderr)
    );
    said.lines().map(str::to_owned).collect()
}

/// A sink with shared memory and one that counts, and a worker that offers everything to both, as fast as it can.
struct Load {
    rig: Rig,
    other: Rig,
    lanes: Vec<Arc<Lane>>,
    other_lane: Arc<Lane>,
    path: String,
    _directory: tempfile::TempDir,
}

impl Load {
    fn new() -> Load {
        let directory = tempfile::tempdir().expect("a directory");
        let path = text(&PathBuf::from(directory.path()).join("shm"));
        let (rig, other) = (Rig::shm(&path), Rig::new(To::Null, None));
        let lanes = [Class::Link, Class::Miss].map(|class| rig.lanes(class, 64 << 10)).into_iter().flatten();
        let (lanes, other_lane) = (lanes.collect(), other.lane(0, Class::Link, 2 << 20));
        Load { rig, other, lanes, other_lane, path, _directory: directory }
    }

    /// Does something under load, and ends with the books: returns how many packets the worker offered meanwhile, and what was returned.
    fn during<T>(&self, what: impl FnOnce(&Load) -> T) -> T {
        let stop = AtomicBool::new(false);
        let result = std::thread::scope(|scope| {
            let worker = scope.spawn(|| self.work(&stop));
            let offered = || self.lanes[0].offers.offered.get();
            wait("load", || offered() > 1000);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| what(self)));
            // The worker has not been stopped by anything.
            let before = offered();
            wait("load", || offered() > before + 1000);
            stop.store(true, Ordering::Relaxed);
            worker.join().expect("the worker");
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        wait("the other sink", || self.other_lane.backlog() == 0);
        let (offers, outcome) = (&self.other_lane.offers, &self.other_lane.outcome);
        assert_eq!(offers.offered.get(), outcome.delivered.get(), "the other sink gets everything");
        assert!(self.lanes.iter().all(|lane| self.rig.balances(lane)));
        result
    }

    fn work(&self, stop: &AtomicBool) {
        let frames: Vec<Vec<u8>> = (0..64).map(|number| frame(60 + number * 20, number)).collect();
        while !stop.load(Ordering::Relaxed) {
            for frame in &frames {
                let header = Header { interface: 1, reason: 7, registration: 42, ..Header::default() };
                for lane in &self.lanes {
                    self.rig.offer(lane, header, frame);
                }
                self.other.offer(&self.other_lane, header, frame);
            }
            for lane in self.lanes.iter().chain([&self.other_lane]) {
                lane.ring.publish();
            }
            self.rig.running().wake();
            self.other.running().wake();
            // Not faster than the other sink can, for it is to get everything.
            wait("the other sink", || self.other_lane.backlog() < 1000);
        }
    }

    /// An honest client comes and gets records from all lanes, whole and in order, and says what is lost.
    fn is_served(&self) {
        let mut client = Client::shared(&self.path).expect("a socket");
        client.set_timeout(Some(PATIENCE)).expect("a timeout");
        wait("the memory", || client.inject_at(&self.path).is_ok());
        let mut last = std::collections::HashMap::new();
        let mut seen = 0;
        while seen < 5_000 || last.len() < self.lanes.len() {
            for record in client.receive().expect("records") {
                let header = record.header;
                let before = last.insert((header.worker, header.class), header);
                if let Some(before) = before {
                    let between = header.sequence - before.sequence - 1;
                    // A record that was written while others were given up tells of these one record later.
                    assert!(header.lost - before.lost >= between, "every gap is told");
                }
                let number = (record.frame.len() - 60) / 20;
                assert_eq!(record.frame, frame(60 + number * 20, number));
                seen += 1;
            }
        }
        assert_eq!(client.malformed(), 0);
        drop(client);
        wait("its end", || self.rig.sink.suspended().is_some());
    }

    fn closed_rings(&self) -> u64 {
        self.rig.sink.closed_rings.get()
    }
}

#[test]
fn the_memory_of_records_cannot_be_changed_and_neither_changes_its_size() {
    let load = Load::new();
    let said = load.during(|load| {
        let said = run(&load.path, "seals");
        load.is_served();
        said
    });
    let no = "Operation not permitted";
    let mut expected: Vec<String> =
        ["truncate", "shrink", "grow", "punch", "seal"].map(|what| format!("records {what} {no}")).into();
    expected.extend(["truncate", "shrink", "grow"].map(|what| format!("heads {what} {no}")));
    expected.extend(["heads punch done".into(), format!("heads seal {no}")]);
    expected.extend(["write", "map"].map(|what| format!("records {what} {no}")));
    expected.extend(["protect", "remove"].map(|what| format!("records {what} Permission denied")));
    expected.extend(["write", "map", "truncate", "punch"].map(|what| format!("again {what} {no}")));
    assert_eq!(said, expected);
}

#[test]
fn a_client_that_punches_holes_into_its_indices_hurts_itself() {
    let load = Load::new();
    load.during(|load| {
        assert_eq!(run(&load.path, "holes"), ["holes done"]);
        load.is_served();
    });
    assert!((1..=80).contains(&load.closed_rings()), "a ring of each of 20 clients, at most all four");
}

#[test]
fn an_index_that_cannot_be_closes_that_ring_until_the_next_client() {
    let load = Load::new();
    load.during(|load| {
        assert_eq!(run(&load.path, "indices"), ["indices 32"]);
        assert_eq!(load.closed_rings(), 32);
        load.is_served();
    });
    assert_eq!(load.closed_rings(), 32);
    let protocol: u64 =
        load.lanes.iter().map(|lane| lane.outcome.errors.of(Errno::EPROTO as i32).get()).sum();
    assert!(protocol > 0, "what was in closed rings is counted");
}

#[test]
fn a_client_that_never_reads_loses_what_does_not_fit() {
    let load = Load::new();
    load.during(|load| {
        let child = hostile(&load.path, "never_reads").stdout(Stdio::null()).spawn();
        let mut child = Killed(child.expect("python3 runs"));
        wait("being stuck", || load.rig.running().state() == State::Stuck);
        assert!(load.lanes.iter().all(|lane| lane.offers.ring_full.get() > 0));
        child.0.kill().expect("killed");
        wait("its end", || load.rig.sink.suspended().is_some());
        load.is_served();
    });
    assert_eq!(load.closed_rings(), 0);
}

/// A process that is not left behind.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_client_may_be_killed_at_every_step() {
    let load = Load::new();
    load.during(|load| {
        for step in ["connected", "with_files", "reading", "asleep", "sending"] {
            for _ in 0..3 {
                run(&load.path, &format!("killed_{step}"));
            }
            load.is_served();
        }
    });
    assert_eq!(load.closed_rings(), 0);
    let counts = load.rig.running().injected().expect("a way back");
    assert_eq!((counts.injected.get(), counts.inject_errors.get()), (0, 0));
}

#[test]
fn a_thousand_connections_wear_nothing_out() {
    let load = Load::new();
    let files = || std::fs::read_dir("/proc/self/fd").expect("procfs").count();
    load.during(|load| {
        let before = files();
        assert_eq!(run(&load.path, "thousand"), ["thousand done"]);
        wait("its end", || load.rig.sink.suspended().is_some());
        wait("files are closed", || files() <= before);
        load.is_served();
    });
}

#[test]
fn a_crowd_is_refused_and_the_client_keeps_its_records() {
    let load = Load::new();
    load.during(|load| {
        let mut client = Client::shared(&load.path).expect("a socket");
        client.set_timeout(Some(PATIENCE)).expect("a timeout");
        client.inject_at(&load.path).expect("the memory");
        let crowd = hostile(&load.path, "crowd").stdout(Stdio::piped()).spawn().expect("python3 runs");
        let crowd = std::thread::spawn(move || crowd.wait_with_output().expect("it ends"));
        let mut seen = 0;
        while !crowd.is_finished() || seen < 5_000 {
            seen += client.receive().expect("records").count();
        }
        let said = String::from_utf8(crowd.join().expect("it ends").stdout).expect("text");
        assert_eq!(said, "crowd 400\n");
        assert_eq!(load.closed_rings(), 0);
    });
}

#[test]
fn nonsense_on_the_stream_is_counted_and_hung_up_on() {
    let load = Load::new();
    load.during(|load| {
        assert_eq!(run(&load.path, "nonsense"), ["nonsense done"]);
        let counts = load.rig.running().injected().expect("a way back");
        wait("all of it", || counts.inject_errors.get() == 4 + 20_000);
        assert_eq!(counts.injected.get(), 0);
        load.is_served();
    });
    assert_eq!(load.closed_rings(), 0);
}

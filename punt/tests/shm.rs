//! Shared memory, against well-behaved clients. `hostile_shm.rs` has the others.

mod common;

use std::io::Write;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{PATIENCE, Rig, errors, frame, text, wait};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use punt::Class;
use punt::client::Client;
use punt::lane::Lane;
use punt::record::{Header, RECEIVE, ROUTE4, SEND, TRUNCATED};
use punt::sink::State;

const NOBODY: i32 = Errno::ENOTCONN as i32;

fn metadata(sequence: u64) -> Header {
    Header { interface: 1, reason: 7, registration: 42, received: 1_000 + sequence, ..Header::default() }
}

/// A client that has the memory, and is seen.
fn client(rig: &Rig, path: &str) -> Client {
    let mut client = Client::shared(path).expect("a socket");
    client.set_timeout(Some(PATIENCE)).expect("a timeout");
    client.inject_at(path).expect("the memory");
    wait("the client", || rig.sink.suspended().is_none());
    client
}

/// The next `n` records, which are given back.
fn receive(client: &mut Client, n: usize) -> Vec<(Header, Vec<u8>)> {
    let mut all = Vec::new();
    while all.len() < n {
        let records = client.receive().expect("records in time");
        all.extend(records.map(|record| (record.header, record.frame.to_vec())));
    }
    assert_eq!(all.len(), n);
    client.release();
    all
}

#[test]
fn a_client_gets_every_byte_of_every_length() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = text(&directory.path().join("shm"));
    let rig = Rig::shm(&path);
    let [_, lane] = rig.lanes(Class::Except, 256 << 10);
    let mut client = client(&rig, &path);
    let lengths = [0, 1, 60, 142, 242, 256, 270, 512, 1514, 9000];
    for (number, len) in lengths.into_iter().enumerate() {
        let meta = Header { original: 9000, flags: TRUNCATED, l3: 14, l4: 34, ..metadata(number as u64) };
        assert!(rig.offer(&lane, meta, &frame(len, number)));
    }
    lane.ring.publish();
    rig.running().wake();
    for (number, (header, bytes)) in receive(&mut client, lengths.len()).into_iter().enumerate() {
        let expected = Header {
            flags: TRUNCATED,
            captured: lengths[number] as u32,
            original: 9000,
            sequence: number as u64,
            worker: 1,
            class: Class::Except as u8,
            l3: 14,
            l4: 34,
            ..metadata(number as u64)
        };
        assert_eq!((header, bytes), (expected, frame(lengths[number], number)));
    }
    wait("the count", || lane.outcome.delivered.get() == lengths.len() as u64);
    assert_eq!(lane.outcome.delivered_bytes.get(), lengths.iter().sum::<usize>() as u64);
    assert_eq!((lane.outcome.truncated.get(), lane.backlog()), (lengths.len() as u64, 0));
    assert_eq!(rig.facts.settled.delivered.get(), lengths.len() as u64);
    assert_eq!(rig.sink.waits.all()[0].records, lengths.len() as u64);
}

#[test]
fn a_client_may_come_late_die_and_come_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = text(&directory.path().join("shm"));
    let rig = Rig::shm(&path);
    let [lane, _] = rig.lanes(Class::Route, 64 << 10);

    // Missing: nothing is copied, everything is counted.
    assert_eq!((rig.running().state(), rig.sink.suspended()), (State::Suspended, Some(NOBODY)));
    assert!(!rig.punt(&lane, metadata(0), b"missed"));
    assert_eq!(errors(&lane.offers.errors), [(NOBODY, 1)]);

    // Here.
    let mut first = client(&rig, &path);
    wait("activity", || rig.running().state() == State::Active);
    assert!(rig.punt(&lane, metadata(1), b"first"));
    let records = receive(&mut first, 1);
    assert_eq!(
        (records[0].0.sequence, records[0].0.lost, records[0].1.as_slice()),
        (1, 1, b"first".as_slice())
    );
    wait("the count", || lane.outcome.delivered.get() == 1);

    // Dead, with something that it did not read.
    assert!(rig.punt(&lane, metadata(2), b"for nobody"));
    drop(first);
    wait("the death", || rig.sink.suspended() == Some(NOBODY));
    assert!(!rig.punt(&lane, metadata(3), b"for nobody"));
    wait("the loss", || lane.outcome.errors.of(NOBODY).get() == 1);
    wait("the state", || rig.running().state() == State::Suspended);
    assert_eq!((errors(&lane.offers.errors), lane.backlog()), (vec![(NOBODY, 2)], 0));
    assert_eq!(rig.facts.settled.errors.get(), 1, "of what was in the ring");

    // Back again.
    let mut second = client(&rig, &path);
    assert!(rig.punt(&lane, metadata(4), b"second"));
    let records = receive(&mut second, 1);
    assert_eq!(
        (records[0].0.sequence, records[0].0.lost, records[0].1.as_slice()),
        (4, 3, b"second".as_slice())
    );
    wait("the count", || lane.outcome.delivered.get() == 2);
    assert!(rig.balances(&lane));
}

#[test]
fn a_client_that_comes_is_found_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = text(&directory.path().join("shm"));
    let rig = Rig::shm(&path);
    // The best of several: a busy machine may stop any thread for longer.
    let found = (0..5).map(|_| {
        let came = Instant::now();
        let client = client(&rig, &path);
        let found = came.elapsed();
        drop(client);
        wait("its end", || rig.sink.suspended() == Some(NOBODY));
        found
    });
    let best = found.min().expect("five");
    assert!(best < Duration::from_millis(100), "{best:?}");
}

#[test]
fn there_is_one_client_at_a_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = text(&directory.path().join("shm"));
    let rig = Rig::shm(&path);
    let [lane, _] = rig.lanes(Class::Route, 64 << 10);
    let mut first = client(&rig, &path);
    let mut second = Client::shared(&path).expect("a socket");
    let refused = second.inject_at(&path).expect_err("refused");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(refused.to_string(), "another client is connected; there can be one at a time");
    assert!(rig.punt(&lane, metadata(0), b"first"));
    assert_eq!(receive(&mut first, 1)[0].1, b"first");
    drop(first);
    wait("its end", || rig.sink.suspended() == Some(NOBODY));
    second.inject_at(&path).expect("its turn");
}

#[test]
fn clients_that_take_nothing_and_stay_cost_no_other_sink_anything() {
    let directory = tempfile::tempdir().expect("a directory");
    let [path, elsewhere] = ["shm", "other"].map(|name| text(&directory.path().join(name)));
    let (rig, other) = (Rig::shm(&path), Rig::shm(&elsewhere));
    // Each says that it is over, and keeps what it was given where the system counts it.
    let stay: Vec<UnixStream> = (0..4)
        .map(|_| {
            let stream = UnixStream::connect(&path).expect("it listens");
            wait("its turn", || rig.sink.suspended().is_none());
            stream.shutdown(Shutdown::Write).expect("connected");
            wait("its end", || rig.sink.suspended() == Some(NOBODY));
            stream
        })
        .collect();
    for refused in 1..=2 {
        let mut late = Client::shared(&path).expect("a socket");
        let error = late.inject_at(&path).expect_err("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        let why = "clients that came before have not taken their memory and have not gone; end them first";
        assert_eq!(error.to_string(), why);
        assert_eq!(errors(&rig.sink.refused_clients), [(Errno::ETOOMANYREFS as i32, refused)]);
    }
    let _elsewhere = client(&other, &elsewhere);
    assert_eq!(errors(&other.sink.refused_clients), []);
    drop(stay);
    let _served = client(&rig, &path);
}

#[test]
fn to_look_for_records_waits_neither_at_the_door_nor_for_the_memory() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = text(&directory.path().join("shm"));
    // An engine that is busy, with room for two at its door.
    let door = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None);
    let door = door.expect("a socket");
    nix::sys::socket::bind(door.as_raw_fd(), &UnixAddr::new(path.as_str()).expect("an address"))
        .expect("free");
    nix::sys::socket::listen(&door, Backlog::new(1).expect("small")).expect("it listens");
    let door = UnixListener::from(door);
    door.set_nonblocking(true).expect("ours");
    let mut clients = [(); 3].map(|()| Client::shared(&path).expect("a socket"));
    for _ in 0..2 {
        for client in &mut clients {
            assert_eq!(client.try_receive().expect("nothing yet").count(), 0);
        }
    }
    let (at_the_door, _) = door.accept().expect("the first");
    door.accept().expect("the second");
    assert!(door.accept().is_err(), "each comes once, and for the third there was no room");
    (&at_the_door).write_all(b"refused: busy\n").expect("it reads");
    let error = clients[0].try_receive().err().expect("it is told");
    assert_eq!((error.kind(), error.to_string().as_str()), (std::io::ErrorKind::ConnectionRefused, "busy"));
    assert_eq!(clients[2].try_receive().expect("nothing yet").count(), 0);
    door.accept().expect("now there is room for the third");
}

#[test]
fn a_client_that_only_injects_finds_the_next_engine() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = text(&directory.path().join("shm"));
    let mut rig = Rig::shm(&path);
    let mut client = client(&rig, &path);
    for _ in 0..3 {
        client.inject(SEND, 1, &frame(60, 1)).expect("sent");
        client.inject_at(&path).expect("it is there still");
        wait("it", || rig.running().injected().is_some_and(|counts| counts.injected.get() == 1));
        rig.running.take().expect("running").stop();
        rig = Rig::shm(&path);
        let error = client.inject(SEND, 1, &frame(60, 1)).expect_err("the engine has gone");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        client.inject_at(&path).expect("the next one");
    }
}

#[test]
fn what_a_c_client_took_before_it_closed_is_delivered() {
    let directory = tempfile::tempdir().expect("a directory");
    let [path, source, program] = ["shm", "three.c", "three"].map(|name| text(&directory.path().join(name)));
    let three = r#"
        #include "punt_shm.h"
        int main(int argc, char **argv) {
            struct punt_shm punt;
            if (punt_shm_open(&punt, argv[argc - 1]) < 0) return 1;
            for (int took = 0; took < 3;)
                if (punt_shm_next(&punt)) took++;
                else if (punt_shm_wait(&punt, 10000) <= 0) return 2;
            punt_shm_close(&punt);
            return 0;
        }"#;
    std::fs::write(&source, three).expect("a file");
    let header = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/c");
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-Wall", "-Werror", "-I", header, "-o", &program, &source]);
    assert!(cc.status().expect("a C compiler").success());
    let rig = Rig::shm(&path);
    let [lane, _] = rig.lanes(Class::Route, 64 << 10);
    let mut client = Command::new(&program).arg(&path).spawn().expect("it runs");
    wait("the client", || rig.sink.suspended().is_none());
    for number in 0..3 {
        assert!(rig.punt(&lane, metadata(number), b"frame"));
    }
    assert_eq!(client.wait().expect("it ends").code(), Some(0));
    wait("its end", || rig.sink.suspended() == Some(NOBODY));
    wait("the count", || lane.backlog() == 0);
    assert_eq!((lane.outcome.delivered.get(), lane.outcome.errors.sum()), (3, 0));
}

#[test]
fn rings_that_are_made_later_need_no_word() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = text(&directory.path().join("shm"));
    let rig = Rig::shm(&path);
    let mut client = client(&rig, &path);
    for (number, class) in Class::ALL.into_iter().enumerate() {
        let [_, lane] = rig.lanes(class, 64 << 10);
        assert!(rig.punt(&lane, metadata(0), &frame(100, number)));
        assert_eq!(receive(&mut client, 1)[0].1, frame(100, number));
        wait("the count", || lane.outcome.delivered.get() == 1);
    }
}

#[test]
fn a_client_that_reads_nothing_is_stuck_and_loses_only_what_does_not_fit() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = text(&directory.path().join("shm"));
    let rig = Rig::shm(&path);
    let [lane, _] = rig.lanes(Class::Mgmt, 64 << 10);
    let mut client = client(&rig, &path);
    let mut offered = 0;
    while lane.offers.ring_full.get() < 10 {
        rig.punt(&lane, metadata(offered), &frame(100, offered as usize));
        offered += 1;
        assert!(rig.balances(&lane));
    }
    wait("being stuck", || rig.running().state() == State::Stuck);
    assert_eq!(rig.sink.suspended(), None, "it is waited for");
    let taken = offered - 10;
    for (number, (header, bytes)) in receive(&mut client, taken as usize).into_iter().enumerate() {
        assert_eq!((header.sequence, bytes), (number as u64, frame(100, number)));
    }
    wait("activity", || rig.running().state() == State::Active);
    wait("the end", || lane.backlog() == 0);
    assert_eq!((lane.outcome.delivered.get(), lane.outcome.errors.sum()), (taken, 0));
    assert!(rig.punt(&lane, metadata(offered), b"again"));
    assert_eq!(receive(&mut client, 1)[0].0.lost, 10);
}

#[test]
fn a_sleeping_client_is_woken_by_every_record() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = text(&directory.path().join("shm"));
    let rig = Rig::shm(&path);
    let lanes = rig.lanes(Class::Link, 64 << 10);
    let mut client = client(&rig, &path);
    let (sender, seen) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for round in 0..2_000u64 {
                assert_eq!(receive(&mut client, 1)[0].1, round.to_le_bytes());
                sender.send(()).expect("somebody hears");
            }
        });
        for round in 0..2_000u64 {
            // Sometimes before it sleeps, sometimes after, and sometimes just then.
            (0..round % 64 * 100).for_each(|_| std::hint::spin_loop());
            let lane = &lanes[round as usize % 2];
            assert!(rig.punt(lane, metadata(round), &round.to_le_bytes()));
            seen.recv_timeout(PATIENCE).expect("it is woken");
            wait("the count", || lane.backlog() == 0);
        }
    });
}

#[test]
fn stopping_waits_for_the_client_but_not_for_ever() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = text(&directory.path().join("shm"));
    for reads in [true, false] {
        let mut rig = Rig::shm(&path);
        let [lane, _] = rig.lanes(Class::Neigh, 64 << 10);
        let mut client = client(&rig, &path);
        (0..100).for_each(|number| assert!(rig.offer(&lane, metadata(number), b"frame")));
        lane.ring.publish();
        let start = Instant::now();
        std::thread::scope(|scope| {
            let client = &mut client;
            scope.spawn(move || {
                if reads {
                    receive(client, 100);
                }
            });
            rig.running.take().expect("running").stop();
        });
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        assert!(!Path::new(&path).exists());
        let (delivered, lost) =
            (lane.outcome.delivered.get(), lane.outcome.errors.of(Errno::ESHUTDOWN as i32).get());
        assert_eq!((delivered, lost), if reads { (100, 0) } else { (0, 100) });
        assert_eq!(lane.backlog(), 0);
        // What is left in the memory may still be read; then the engine is seen to have gone.
        let mut left = 0;
        let end = loop {
            match client.receive() {
                Ok(records) => left += records.count(),
                Err(error) => break error.kind(),
            }
        };
        assert_eq!((end, left), (std::io::ErrorKind::ConnectionReset, if reads { 0 } else { 100 }));
    }
}

#[test]
fn who_takes_something_now_and_then_is_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = text(&directory.path().join("shm"));
    let mut rig = Rig::shm(&path);
    let [lane, _] = rig.lanes(Class::Neigh, 128 << 10);
    let mut client = client(&rig, &path);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        (0..200).for_each(|number| assert!(rig.offer(&lane, metadata(number), &frame(200, 1))));
        lane.ring.publish();
        rig.running().ask_to_stop(Duration::from_millis(200));
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // It takes 64 at once.
                let _ = client.try_receive().map(Iterator::count);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        rig.running.take().expect("running").stop();
        over.store(true, Ordering::Relaxed);
    });
    let lost = lane.outcome.errors.of(Errno::ESHUTDOWN as i32).get();
    assert_eq!((lost, lane.outcome.delivered.get()), (0, 200));
}

#[test]
fn what_a_client_sends_is_judged_as_from_anybody() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = text(&directory.path().join("shm"));
    let rig = Rig::shm(&path);
    let client = client(&rig, &path);
    assert_eq!(rig.running().inject_path(), Some(path.as_str()));
    let packet = common::ip(4, 28);
    let good = [(SEND, 1, frame(60, 1)), (ROUTE4, 2, packet), (RECEIVE, 1, frame(1514, 2))];
    let bad = [(SEND, 3, frame(60, 1)), (SEND, 1, frame(1515, 1)), (7, 1, frame(60, 1)), (ROUTE4, 1, vec![])];
    for (action, interface, frame) in bad.iter().chain(&good).chain(&bad) {
        client.inject(*action, *interface, frame).expect("sent");
    }
    let counts = rig.running().injected().expect("a way back");
    wait("all of it", || counts.inject_errors.get() == 8);
    let injected: Vec<_> =
        rig.injected().into_iter().map(|(header, frame)| (header.action, header.interface, frame)).collect();
    assert_eq!(injected, good);
    assert_eq!((counts.injected.get(), counts.foreign.get()), (3, 0));
}

#[test]
fn many_lanes_lose_nothing_and_keep_their_order() {
    const RECORDS: u64 = 20_000;
    let directory = tempfile::tempdir().expect("a directory");
    let path = text(&directory.path().join("shm"));
    let rig = Rig::shm(&path);
    let classes = [Class::Link, Class::Neigh, Class::Sample];
    let lanes = classes.map(|class| rig.lanes(class, 32 << 10));
    let mut client = client(&rig, &path);
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let (rig, lanes) = (&rig, &lanes);
            scope.spawn(move || {
                for number in 0..RECORDS {
                    for lane in lanes.each_ref().map(|pair| &pair[worker]) {
                        let bytes = frame((number % 300) as usize, number as usize);
                        while !rig.offer(lane, metadata(number), &bytes) {
                            // A full ring loses what is offered; here it is offered again, under the next number.
                            lane.ring.publish();
                            rig.running().wake();
                            std::thread::yield_now();
                        }
                    }
                    if number % 16 == 0 || number == RECORDS - 1 {
                        let _ = lanes.each_ref().map(|pair| pair[worker].ring.publish());
                        rig.running().wake();
                    }
                }
            });
        }
        let mut next = std::collections::HashMap::new();
        let mut seen = 0;
        while seen < RECORDS * 6 {
            for record in client.receive().expect("records") {
                let header = record.header;
                let count = next.entry((header.worker, header.class)).or_insert(0u64);
                assert_eq!(
                    header.sequence - header.lost,
                    *count,
                    "what came plus what was lost is the number"
                );
                assert_eq!(record.frame, frame((*count % 300) as usize, *count as usize));
                (*count, seen) = (*count + 1, seen + 1);
            }
        }
        client.release();
    });
    let all: Vec<&Lane> = lanes.iter().flatten().map(|lane| &**lane).collect();
    for lane in all {
        wait("the count", || lane.outcome.delivered.get() == RECORDS);
        assert!(rig.balances(lane));
    }
}

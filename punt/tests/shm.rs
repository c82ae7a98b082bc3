//! Shared memory, against well-behaved clients. `hostile_shm.rs` has the others.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{PATIENCE, Rig, errors, frame, text, wait};
use nix::errno::Errno;
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

/// The next `n` records.
fn receive(client: &mut Client, n: usize) -> Vec<(Header, Vec<u8>)> {
    let mut all = Vec::new();
    while all.len() < n {
        let records = client.receive().expect("records in time");
        all.extend(records.map(|record| (record.header, record.frame.to_vec())));
    }
    assert_eq!(all.len(), n);
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
    let refused = second.try_receive().err().expect("refused");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(refused.to_string(), "another client is connected; there can be one at a time");
    assert!(rig.punt(&lane, metadata(0), b"first"));
    assert_eq!(receive(&mut first, 1)[0].1, b"first");
    drop(first);
    wait("its end", || rig.sink.suspended() == Some(NOBODY));
    assert_eq!(second.try_receive().expect("its turn").count(), 0);
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
        let end = client.set_timeout(Some(PATIENCE)).and_then(|()| client.receive().map(Iterator::count));
        assert!(
            end.map_or_else(|error| error.kind() == std::io::ErrorKind::ConnectionReset, |left| left == 100)
        );
    }
}

#[test]
fn what_a_client_sends_is_judged_as_from_anybody() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = text(&directory.path().join("shm"));
    let rig = Rig::shm(&path);
    let client = client(&rig, &path);
    assert_eq!(rig.running().inject_path(), Some(path.as_str()));
    let packet = [vec![0x45], vec![0; 27]].concat();
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
    });
    let all: Vec<&Lane> = lanes.iter().flatten().map(|lane| &**lane).collect();
    for lane in all {
        wait("the count", || lane.outcome.delivered.get() == RECORDS);
        assert!(rig.balances(lane));
    }
}

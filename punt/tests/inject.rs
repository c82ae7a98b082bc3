//! The way back: what a client sends, and what becomes of it.

mod common;

use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use common::{PATIENCE, Rig, frame, ip, text, wait};
use punt::Class;
use punt::record::{self, HEADER, NO_OFFSET, RECEIVE, ROUTE4, ROUTE6, SEND};
use punt::target::Header;

/// A sink with a client that is bound, and the way back.
struct Talk {
    rig: Rig,
    client: UnixDatagram,
    inject: String,
    directory: tempfile::TempDir,
}

fn talk(header: Header) -> Talk {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, inject) = (text(&directory.path().join("client")), text(&directory.path().join("inject")));
    let client = UnixDatagram::bind(&path).expect("binds");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    Talk { rig: Rig::unix(&path, header, Some(&inject)), client, inject, directory }
}

impl Talk {
    fn send(&self, datagram: &[u8]) {
        self.client.send_to(datagram, &self.inject).expect("sent");
    }

    /// Injected, errors, foreign.
    fn counts(&self) -> (u64, u64, u64) {
        let counts = self.rig.running().injected().expect("it has a way back");
        (counts.injected.get(), counts.inject_errors.get(), counts.foreign.get())
    }
}

/// A record that asks for `action` on the interface.
fn request(action: u8, interface: u32, packet: &[u8]) -> Vec<u8> {
    let captured = packet.len() as u32;
    let header = record::Header { action, interface, captured, l3: NO_OFFSET, ..Default::default() };
    [header.bytes().as_slice(), packet].concat()
}

#[test]
fn all_four_actions_reach_the_worker() {
    let talk = talk(Header::Punt);
    let mode = std::fs::metadata(&talk.inject).expect("its file").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let packets =
        [(SEND, frame(1514, 1)), (ROUTE4, ip(4, 1500)), (ROUTE6, ip(6, 40)), (RECEIVE, frame(60, 2))];
    for (action, packet) in &packets {
        talk.send(&request(*action, 1, packet));
    }
    let mut got = Vec::new();
    wait("all of them", || {
        got.extend(talk.rig.injected());
        got.len() == 4
    });
    for ((action, packet), (header, injected)) in packets.iter().zip(&got) {
        assert_eq!((header.action, header.interface, injected), (*action, 1, packet));
    }
    assert_eq!(talk.counts(), (4, 0, 0));
}

#[test]
fn every_fault_is_counted_and_nothing_else_happens() {
    let talk = talk(Header::Punt);
    let good = request(SEND, 1, &frame(60, 1));
    let changed = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        bad
    };
    let faults = [
        vec![],
        good[..HEADER - 1].to_vec(),
        good[..good.len() - 1].to_vec(),
        [good.as_slice(), &[0]].concat(),
        changed(0, b'p'),
        changed(4, 2),
        changed(5, 63),
        changed(5, 255),
        changed(55, 4),
        request(SEND, 0, &frame(60, 1)),
        request(SEND, 3, &frame(60, 1)),
        request(RECEIVE, u32::MAX, &frame(60, 1)),
        request(SEND, 1, &frame(13, 1)),
        request(SEND, 1, &[0; 1515]),
        request(RECEIVE, 1, &[0; 9000]),
        request(ROUTE4, 1, &ip(4, 20)[..19]),
        request(ROUTE4, 1, &[0x45; 40]),
        request(ROUTE4, 1, &[&ip(4, 40)[..], &[0]].concat()),
        request(ROUTE4, 1, &ip(4, 1501)),
        request(ROUTE4, 1, &ip(6, 60)),
        request(ROUTE6, 1, &ip(6, 40)[..39]),
        request(ROUTE6, 1, &[0x60; 40]),
        request(ROUTE6, 1, &ip(4, 60)),
        request(SEND, 1, &[0; 70_000]),
    ];
    for fault in &faults {
        talk.send(fault);
    }
    wait("all faults", || talk.counts().1 == faults.len() as u64);
    assert_eq!(talk.rig.injected(), []);
    talk.send(&good);
    wait("the good one", || talk.counts() == (1, faults.len() as u64, 0));
    assert_eq!(talk.rig.injected().len(), 1);
}

#[test]
fn what_comes_from_elsewhere_is_foreign() {
    let talk = talk(Header::Punt);
    let good = request(SEND, 1, &frame(60, 1));
    let unnamed = UnixDatagram::unbound().expect("a socket");
    unnamed.send_to(&good, &talk.inject).expect("sent");
    let other = UnixDatagram::bind(talk.directory.path().join("other")).expect("binds");
    other.send_to(&good, &talk.inject).expect("sent");
    other.send_to(b"nonsense", &talk.inject).expect("sent");
    wait("all of them", || talk.counts() == (0, 0, 3));
    assert_eq!(talk.rig.injected(), []);
}

#[test]
fn clients_of_vpp_inject_as_they_are_used_to() {
    let talk = talk(Header::Vpp);
    let request =
        |action: u32, packet: &[u8]| [2u32.to_ne_bytes().as_slice(), &action.to_ne_bytes(), packet].concat();
    for (action, packet) in
        [(0, frame(60, 1)), (1, ip(4, 20)), (2, ip(6, 40)), (3, frame(60, 1)), (0, vec![])]
    {
        talk.send(&request(action, &packet));
    }
    wait("all of them", || talk.counts() == (3, 2, 0));
    let got: Vec<_> = talk
        .rig
        .injected()
        .into_iter()
        .map(|(header, packet)| (header.action, header.interface, packet))
        .collect();
    assert_eq!(got, [(SEND, 2, frame(60, 1)), (ROUTE4, 2, ip(4, 20)), (ROUTE6, 2, ip(6, 40))]);
}

#[test]
fn a_worker_that_takes_nothing_costs_the_client_its_packets() {
    let talk = talk(Header::Punt);
    let packet = request(SEND, 1, &frame(1514, 1));
    let fit = 165; // 256 KiB hold as many records of 64 + 1514 bytes, each filled up to a word.
    for sent in 1..=200 {
        talk.send(&packet);
        wait("the verdict", || talk.counts().0 + talk.counts().1 == sent);
    }
    let (injected, refused, _) = talk.counts();
    assert!((fit - 1..=fit + 1).contains(&injected) && injected + refused == 200, "{injected}");
    assert_eq!(talk.rig.injected().len() as u64, injected);
    talk.send(&packet);
    wait("room again", || talk.counts().0 == injected + 1);
}

#[test]
fn a_flood_does_not_keep_output_from_going_on() {
    let talk = talk(Header::Punt);
    let packet = request(SEND, 1, &frame(60, 1));
    let lane = talk.rig.lane(0, Class::Link, 1 << 20);
    let mut datagram = [0; 2048];
    for round in 0..400u64 {
        for _ in 0..32 {
            talk.send(&packet);
        }
        assert!(talk.rig.punt(&lane, Default::default(), &round.to_le_bytes()));
        talk.client.recv(&mut datagram).expect("output goes on");
        talk.rig.injected();
    }
    wait("all of them", || talk.counts().0 + talk.counts().1 == 400 * 32);
    wait("the count", || lane.outcome.delivered.get() == 400);
}

#[test]
fn abstract_clients_inject_too() {
    let name = format!("punt-inject-{}", std::process::id());
    let address = |name: &str| SocketAddr::from_abstract_name(name).expect("an address");
    let client = UnixDatagram::bind_addr(&address(&name)).expect("binds");
    let inject = format!("{name}-back");
    let rig = Rig::unix(&format!("@{name}"), Header::Punt, Some(&format!("@{inject}")));
    client.send_to_addr(&request(SEND, 1, &frame(60, 1)), &address(&inject)).expect("sent");
    wait("it", || rig.running().injected().expect("a way back").injected.get() == 1);
    assert_eq!(rig.running().inject_path(), Some(format!("@{inject}").as_str()));
}

#[test]
fn a_client_that_connects_to_the_inject_socket_still_hears_us() {
    let talk = talk(Header::Punt);
    talk.client.connect(&talk.inject).expect("connects");
    let lane = talk.rig.lane(0, Class::Link, 4096);
    let mut datagram = [0; 2048];
    for number in 0..3u64 {
        // Until we notice, a packet may be lost; it is counted.
        talk.rig.punt(&lane, Default::default(), &number.to_le_bytes());
        wait("a verdict", || lane.backlog() == 0);
        wait("it to be there", || talk.rig.sink.suspended().is_none());
    }
    assert!(lane.outcome.delivered.get() >= 2, "{}", lane.outcome.delivered.get());
    assert!(talk.client.recv(&mut datagram).expect("a record") > HEADER);
    talk.client.send(&request(SEND, 1, &frame(60, 1))).expect("sent");
    wait("it", || talk.counts() == (1, 0, 0));
}

#[test]
fn the_inject_socket_goes_with_the_sink() {
    let mut talk = talk(Header::Punt);
    assert!(Path::new(&talk.inject).exists());
    talk.rig.running.take().expect("running").stop();
    assert!(!Path::new(&talk.inject).exists());
}

//! Several clients, each on a connection of its own, register and unregister at once while a worker forwards and punts: what is a client's is
//! exactly what it asked for, whatever the others do, and it goes with it.

mod common;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use common::frames::*;
use common::router::*;
use engine::control::{Command, Remote, Server};
use punt::control::Client;
use serde_json::{Value, json};

const CLIENTS: u16 = 4;
/// Registrations that each makes.
const ROUNDS: u16 = 150;
/// Registrations that each has at a time.
const KEPT: usize = 3;
/// Of 64 packets, so many are forwarded.
const FORWARDED: u64 = 56;

/// What one client has.
struct Own {
    control: Client,
    sink: String,
    ids: VecDeque<u64>,
}

impl Own {
    fn new(socket: &Path, number: u16) -> Own {
        let mut control = Client::connect(socket).expect("it takes us in");
        let sink = format!("s{number}");
        let add = json!({"name": sink, "target": "null", "life": "session"});
        control.call("sink.add", add).expect("nobody has it");
        Own { control, sink, ids: VecDeque::new() }
    }

    /// One registration instead of the oldest: alone a client's, for one source, or shared with all others.
    fn register(&mut self, number: u16, round: u16) {
        if self.ids.len() == KEPT {
            self.unregister();
        }
        let mut wanted = match round % 3 {
            0 => json!({"match": format!("udp:{}", 7000 + number)}),
            1 => json!({"match": "udp:3784", "source": format!("10.9.{number}.{round}/32")}),
            _ => json!({"match": "reason:ip4.ttl-expired"}),
        };
        (wanted["sink"], wanted["life"]) = (self.sink.as_str().into(), "session".into());
        let answer = self.control.call("register", wanted).expect("nobody is in the way");
        self.ids.push_back(answer["id"].as_u64().expect("an id"));
    }

    fn unregister(&mut self) {
        let oldest = self.ids.pop_front().expect("there is one");
        self.control.call("unregister", json!({ "id": oldest })).expect("it is there");
    }

    /// What the engine says is for its sink, which is exactly what it has.
    fn rows(&mut self) -> Vec<Value> {
        let rows = rows_of(&mut self.control, &self.sink);
        let ids: Vec<u64> = rows.iter().filter_map(|row| row["id"].as_u64()).collect();
        assert_eq!(self.ids, ids, "{}", self.sink);
        rows
    }
}

fn rows_of(control: &mut Client, sink: &str) -> Vec<Value> {
    let rows = control.list("registration.list", json!({})).expect("a list");
    rows.into_iter().filter(|row| row["sink"] == sink).collect()
}

/// Packets that came for it so far.
fn packets(rows: &[Value]) -> u64 {
    rows.iter().map(|row| row["packets"].as_u64().expect("a number")).sum()
}

fn wait(what: &str, mut until: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !until() {
        assert!(begin.elapsed().as_secs() < 30, "{what} does not come");
        thread::yield_now();
    }
}

/// Ends the server, whatever becomes of the clients.
struct End(Remote);

impl Drop for End {
    fn drop(&mut self) {
        self.0.post(Command::Stop);
    }
}

fn story(socket: &Path, loops: &AtomicU64) {
    let mut clients: Vec<Own> = thread::scope(|scope| {
        let register = |number| {
            let mut own = Own::new(socket, number);
            for round in 0..ROUNDS {
                own.register(number, round);
                if round % 10 == 0 {
                    own.rows();
                }
            }
            own
        };
        let all: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || register(number))).collect();
        all.into_iter().map(|client| client.join().expect("it does not panic")).collect()
    });
    let mut seen = Client::connect(socket).expect("it takes us in");
    let all = seen.list("registration.list", json!({})).expect("a list");
    assert_eq!(all.len(), CLIENTS as usize * KEPT, "nothing is left of what was unregistered");
    let before: Vec<u64> = clients.iter_mut().map(|own| packets(&own.rows())).collect();
    wait("traffic for each", || {
        clients.iter_mut().zip(&before).all(|(own, before)| packets(&own.rows()) > *before)
    });

    // One hangs up: what it had is suspended and gets nothing more, and nobody else loses anything.
    let Own { control, sink, ids } = clients.remove(1);
    drop(control);
    wait("its end", || rows_of(&mut seen, &sink).iter().all(|row| row["suspended"] == true));
    let left = rows_of(&mut seen, &sink);
    assert_eq!(left.len(), ids.len());
    let (before, at) = (packets(&left), loops.load(Ordering::Relaxed));
    let theirs: Vec<u64> = clients.iter_mut().map(|own| packets(&own.rows())).collect();
    wait("traffic", || loops.load(Ordering::Relaxed) > at + 200);
    assert_eq!(packets(&rows_of(&mut seen, &sink)), before, "nothing more comes for who has gone");
    for (own, before) in clients.iter_mut().zip(theirs) {
        let rows = own.rows();
        assert!(packets(&rows) > before && rows.iter().all(|row| row["suspended"] != true), "{rows:?}");
    }

    // It comes again without its token: what it left goes at once.
    let mut again = Own::new(socket, 1);
    assert_eq!(again.rows(), Vec::<Value>::new());
    clients.insert(1, again);
    for mut own in clients {
        (0..own.ids.len()).for_each(|_| own.unregister());
        assert_eq!(own.rows(), Vec::<Value>::new());
    }
    assert_eq!(seen.list("registration.list", json!({})).expect("a list"), Vec::<Value>::new());
}

#[test]
fn clients_register_at_once_beside_traffic_and_each_has_its_own() {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let mut rig = common::Rig::new(if cpus > 1 { "0@(0,1)" } else { "0" }, &["lan", "wan"], ROUTER);
    let to_us = |port| from_host(ip4("10.0.0.7", "10.0.0.1", 255, 17, &udp(9, port)));
    let mut frames: Vec<Vec<u8>> =
        (0..FORWARDED).map(|at| from_host(udp4("10.0.0.7", &format!("10.2.3.{at}"), 64, &[7; 18]))).collect();
    frames.extend((0..CLIENTS).map(|number| to_us(7000 + number)));
    frames.extend([to_us(3784), expires(60), no_route(60), lldp(60)]);
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("control");
    let ((), traffic) = rig.forwarding(&frames, |control, loops| {
        let mut server = Server::bind(&socket).expect("nobody is there");
        let end = End(server.remote());
        thread::scope(|scope| {
            let clients = scope.spawn(|| {
                let _end = end;
                story(&socket, loops);
            });
            server.run(control).expect("what clients do never ends it");
            clients.join().expect("what they saw was right");
        });
    });
    assert_eq!(traffic.forwarded, traffic.sent / 64 * FORWARDED, "every packet in transit is forwarded");
    rig.finish();
}

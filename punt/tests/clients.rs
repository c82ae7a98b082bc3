//! The clients of `docs/clients.md`, as they stand there, against a real sink; and `punt::client`.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use common::{PATIENCE, Rig, frame, text, wait};
use punt::Class;
use punt::client::{Client, Session};
use punt::record::{Header, ROUTE4, SEND};
use punt::target;
use serde_json::{Value, json};

/// What an engine would answer to a client that makes its sink and registers: the calls come out of the channel.
fn control(directory: &Path) -> (PathBuf, mpsc::Receiver<Value>) {
    let (socket, inject) = (directory.join("puntd.sock"), text(&directory.join("inject")));
    let listener = UnixListener::bind(&socket).expect("binds");
    let (sender, calls) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream: UnixStream = stream.expect("a client");
            let mut answers = stream.try_clone().expect("a stream");
            for line in BufReader::new(stream).lines() {
                let request: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
                let result = match request["method"].as_str().expect("a method") {
                    "sink.add" => json!({"name": request["params"]["name"], "inject": inject, "token": "t1"}),
                    "register" => json!({"id": 42, "token": "t2"}),
                    "session.resume" => json!({"token": "t3", "sinks": ["example"], "registrations": [42]}),
                    _ => Value::Null,
                };
                let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": result});
                // Who has the answer finds the call.
                let _ = sender.send(json!([request["method"], request["params"]]));
                writeln!(answers, "{answer}").expect("the client reads");
            }
        }
    });
    (socket, calls)
}

/// The first block of that language in `docs/clients.md`.
fn example(language: &str) -> String {
    let page =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/clients.md")).expect("the page");
    let fence = format!("```{language}\n");
    let start = page.find(&fence).expect("the language is there") + fence.len();
    let end = start + page[start..].find("\n```").expect("the block ends");
    page[start..=end].into()
}

/// A process that is not left behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets the client of a target of this kind register, gives it packets with a gap, and looks at what it says and sends back.
fn try_client(program: &mut Command, directory: &Path, kind: &str) {
    let path = text(&directory.join("client"));
    // One that died left its socket.
    drop(std::os::unix::net::UnixDatagram::bind(&path).expect("binds"));
    let (engine, calls) = control(directory);
    let shm = (kind == "shm").then(|| {
        let rig = Rig::shm(&path);
        let [_, lane] = rig.lanes(Class::Link, 64 << 10);
        (rig, lane)
    });
    let child = program.arg(engine).args([&path, "udp:3784", "reflect"]).stdout(Stdio::piped()).spawn();
    let mut child = Running(child.expect("starts"));
    let call = || calls.recv_timeout(PATIENCE).expect("a call");
    let target = format!("{kind}:{path}");
    assert_eq!(call(), json!(["sink.add", {"name": "example", "target": target, "life": "session"}]));
    assert_eq!(call(), json!(["register", {"match": "udp:3784", "sink": "example", "life": "session"}]));

    let (rig, lane) = shm.unwrap_or_else(|| {
        let rig = Rig::unix(&path, target::Header::Punt, Some(&text(&directory.join("inject"))));
        let lane = rig.lane(1, Class::Link, 64 << 10);
        (rig, lane)
    });
    wait("the client", || rig.sink.suspended().is_none());
    let mut expected = Vec::new();
    for (number, len) in [60, 142, 242, 256, 270, 512, 1514].into_iter().enumerate() {
        if number == 3 {
            (0..5).for_each(|_| lane.lose(1, &lane.offers.refused_sink));
        }
        let sequence = lane.offers.offered.get();
        assert!(rig.punt(
            &lane,
            Header { interface: 2, reason: 7, ..Header::default() },
            &frame(len, number)
        ));
        let missed = if number == 3 { 5 } else { 0 };
        expected.push(format!("interface 2 reason 7 sequence {sequence} missed {missed} bytes {len}"));
    }
    let lines = BufReader::new(child.0.stdout.take().expect("piped")).lines();
    let said: Vec<String> = lines.take(expected.len()).map(|line| line.expect("text")).collect();
    assert_eq!(said, expected);
    let mut back = Vec::new();
    wait("what it sends back", || {
        back.extend(rig.injected());
        back.len() == expected.len()
    });
    for (number, (header, reply)) in back.iter().enumerate() {
        let sent = frame(reply.len(), number);
        assert_eq!((header.action, header.interface), (SEND, 2));
        assert_eq!(*reply, [&sent[6..12], &sent[..6], &sent[12..]].concat());
    }
    let counts = rig.running().injected().expect("a way back");
    assert_eq!((counts.inject_errors.get(), counts.foreign.get()), (0, 0));
}

/// What the compiler makes of a program in C.
fn compile(source: &Path, directory: &Path) -> PathBuf {
    let program = directory.join("c-client");
    let compiled = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program)
        .arg(source)
        .output();
    let compiled = compiled.expect("cc runs");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    program
}

#[test]
fn the_client_in_c_does_what_the_page_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let source = directory.path().join("client.c");
    fs::write(&source, example("c")).expect("written");
    let program = compile(&source, directory.path());
    try_client(&mut Command::new(program), directory.path(), "unix");
}

#[test]
fn the_client_in_c_gets_the_same_through_shared_memory() {
    let directory = tempfile::tempdir().expect("a directory");
    let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/c/shm-client.c"));
    let program = compile(source, directory.path());
    try_client(&mut Command::new(program), directory.path(), "shm");
}

#[test]
fn the_client_in_python_does_what_the_page_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let source = directory.path().join("client.py");
    fs::write(&source, example("python")).expect("written");
    try_client(Command::new("python3").arg(source), directory.path(), "unix");
}

#[test]
fn the_example_in_rust_is_the_one_of_the_page() {
    let source =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/reflect.rs")).expect("the example");
    let (_, program) = source.split_once("\n\n").expect("a line of text comes first");
    assert_eq!(program, example("rust"));
}

#[test]
fn the_library_receives_counts_losses_and_injects() {
    let directory = tempfile::tempdir().expect("a directory");
    let (engine, calls) = control(directory.path());
    let path = text(&directory.path().join("client"));
    let mut client = Client::bind(&path).expect("binds");
    assert_eq!(
        client.inject(SEND, 1, &[0; 60]).expect_err("not yet").kind(),
        std::io::ErrorKind::NotConnected
    );
    assert_eq!(client.try_receive().expect("nothing").count(), 0);
    let mut session = Session::open(&engine, "example", &mut client).expect("opens");
    assert_eq!(session.register("reason:ip4.*".parse().expect("a match")).expect("registers"), 42);
    assert_eq!(session.token(), Some("t2"));
    session.unregister(42).expect("unregisters");
    drop(session);
    let (resumed, what) =
        Session::resume(&engine, "example", "t2").map_err(|error| error.to_string()).expect("resumes");
    assert_eq!((resumed.token(), what.registrations.as_slice()), (Some("t3"), [42].as_slice()));
    let methods: Vec<String> =
        calls.try_iter().map(|call| call[0].as_str().expect("a method").into()).collect();
    assert_eq!(methods, ["sink.add", "register", "unregister", "session.resume"]);

    let rig = Rig::unix(&path, target::Header::Punt, Some(&text(&directory.path().join("inject"))));
    let lane = rig.lane(0, Class::Except, 1 << 20);
    client.set_timeout(Some(PATIENCE)).expect("a timeout");
    for number in 0..200 {
        if number == 100 {
            (0..7).for_each(|_| lane.lose(1, &lane.offers.refused_registration));
        }
        assert!(rig.punt(&lane, Header::default(), &frame(60 + number * 45, number)));
    }
    let mut seen = 0;
    while seen < 200 {
        for record in client.receive().expect("records") {
            assert_eq!(record.frame, frame(60 + seen * 45, seen));
            assert_eq!(record.missed, if seen == 100 { 7 } else { 0 });
            seen += 1;
        }
    }
    assert_eq!((client.missed(), client.malformed()), (7, 0));
    let other = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
    other.send_to(b"no record", &path).expect("sent");
    assert_eq!(client.receive().expect("something").count(), 0);
    assert_eq!(client.malformed(), 1);

    let packet = common::ip(4, 28);
    client.inject(ROUTE4, 2, &packet).expect("sent");
    let mut back = Vec::new();
    wait("it", || {
        back.extend(rig.injected());
        !back.is_empty()
    });
    assert_eq!((back[0].0.action, back[0].0.interface, &back[0].1), (ROUTE4, 2, &packet));
    drop(client);
    assert!(!Path::new(&path).exists());
}

/// A client of a target of each kind, and the sink that it reads.
fn either(kind: &str, directory: &Path) -> (Client, Rig, std::sync::Arc<punt::lane::Lane>) {
    let path = text(&directory.join("client"));
    if kind == "shm" {
        let rig = Rig::shm(&path);
        let [lane, _] = rig.lanes(Class::Link, 64 << 10);
        let mut client = Client::shared(&path).expect("a socket");
        client.inject_at(&path).expect("it is there");
        return (client, rig, lane);
    }
    let client = Client::bind(&path).expect("binds");
    let rig = Rig::unix(&path, target::Header::Punt, None);
    let lane = rig.lane(0, Class::Link, 64 << 10);
    (client, rig, lane)
}

#[test]
fn what_a_client_does_not_look_at_is_no_loss() {
    for kind in ["unix", "shm"] {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut client, rig, lane) = either(kind, directory.path());
        client.set_timeout(Some(PATIENCE)).expect("a timeout");
        for number in 0..9 {
            if number == 5 {
                (0..3).for_each(|_| lane.lose(1, &lane.offers.refused_sink));
            }
            assert!(rig.offer(&lane, Header::default(), &frame(60, number)));
        }
        lane.ring.publish();
        rig.running().wake();
        wait("them all", || kind == "shm" || lane.outcome.delivered.get() == 9);
        let first = client.receive().expect("records").next().map(|record| record.header.sequence);
        assert_eq!(first, Some(0));
        assert!(rig.punt(&lane, Header::default(), &frame(60, 9)));
        while !client.receive().expect("records").any(|record| record.header.sequence == 12) {}
        assert_eq!(client.missed(), 3, "{kind}");
    }
}

#[test]
fn what_is_longer_than_any_packet_is_not_sent() {
    let directory = tempfile::tempdir().expect("a directory");
    let (client, rig, _) = either("shm", directory.path());
    let error = client.inject(SEND, 1, &[0; 65_536]).expect_err("too long");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "a packet has at most 65535 bytes, and this one has 65536");
    client.inject(SEND, 1, &frame(60, 1)).expect("sent");
    wait("it", || rig.running().injected().is_some_and(|counts| counts.injected.get() == 1));
}

//! Punting as a user meets it: asked for in the configuration, by puntctl and on the control socket; clients that come, go and come back.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::engine::{Engine, Launch};
use tests::packets::{self, from, router4, udp};
use tests::plan::{self, HOST, Port};

const ASKED: &str = r#"
[punt]
directory = "DIR"
memory = "64 MiB"

[[sink]]
name = "bfdd"
target = "unix:DIR/bfdd.sock"

[[sink]]
name = "slow-path"
target = "null"
rate = 5000
burst = 2500

[[sink]]
name = "capture"
target = "pcapng:all.pcapng?size=64M&files=2"

[[register]]
match = "udp:3784"
sink = "bfdd"
rate = 20000
burst = 8000

[[register]]
match = "udp:5000-5010"
sink = "bfdd"
interface = "lan"
source = "10.0.0.0/24"
snaplen = 128

[[register]]
match = "reason:ip4.*"
sink = "capture"

[[passive]]
family = "ip4"
interface = "wan"
sink = "slow-path"
rate = 1000

[[passive]]
family = "ip6"
redirect = "lan"
via = "fd00:a::10"

[[passive]]
family = "other"
drop = true

[reason."ip4.ttl-expired"]
rate = 300
burst = 150

[reason."ip4.redirect"]
action = "trap"
sample = 10

[class.except]
cap = 9000
"#;

/// Two ports that receive nothing by themselves, and all of the plan, with `more` of a configuration, in which DIR is the engine's directory.
fn quiet(more: &str) -> Launch {
    let launch = Launch::new().vdev("net_null0,no-rx=1").vdev("net_null1,no-rx=1");
    let directory = launch.file("").display().to_string();
    let more = more.replace("DIR", directory.trim_end_matches('/'));
    launch.config(format!("{}{more}", plan::config("net_null0", "net_null1")))
}

/// A sink's client, which also says what the router is to receive.
struct Client {
    socket: UnixDatagram,
}

impl Client {
    fn new(path: &Path) -> Client {
        let _ = std::fs::remove_file(path);
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Client { socket }
    }

    /// A record's header and frame.
    fn record(&self) -> (Vec<u8>, Vec<u8>) {
        let mut bytes = vec![0; 1 << 16];
        let len = self.socket.recv(&mut bytes).expect("a record comes");
        assert_eq!((&bytes[..4], bytes[4], bytes[5]), (&b"PUNT"[..], 1, 64));
        (bytes[..64].to_vec(), bytes[64..len].to_vec())
    }

    /// `interface` receives the frame.
    fn receive_at(&self, engine: &Engine, sink: &str, interface: &str, frame: &[u8]) {
        let index = engine.number("interface list", "name", interface, "index") as u32;
        let mut record = [0; 64];
        record[..6].copy_from_slice(b"PUNT\x01\x40");
        record[8..12].copy_from_slice(&(frame.len() as u32).to_le_bytes());
        record[12..16].copy_from_slice(&(frame.len() as u32).to_le_bytes());
        record[40..44].copy_from_slice(&index.to_le_bytes());
        record[55] = 3;
        let rows = engine.json("sink list");
        let row = rows.as_array().unwrap().iter().find(|row| row["name"] == sink).unwrap();
        self.socket.send_to(&[&record[..], frame].concat(), row["inject"].as_str().unwrap()).unwrap();
    }
}

fn number(header: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(header[at..at + 8].try_into().unwrap())
}

/// A datagram from the host to the router's `port`.
fn to_us(port: u16) -> Vec<u8> {
    from(&HOST, &udp(packets::ip4(HOST.ip4.parse().unwrap(), router4(Port::Lan)), 4000, port, b"payload"))
}

/// A client of the control socket.
struct Wire {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Wire {
    fn new(engine: &Engine) -> Wire {
        let stream = UnixStream::connect(engine.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Wire { lines: BufReader::new(stream.try_clone().unwrap()), stream }
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        writeln!(self.stream, "{request}").unwrap();
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn ok(&mut self, method: &str, params: Value) -> Value {
        let answer = self.call(method, params);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }
}

/// What is set of punting, without counters.
fn state(engine: &Engine) -> Value {
    let mut rows = Vec::new();
    for (list, fields) in [
        ("sink list", &["name", "target", "life", "rate", "burst"][..]),
        (
            "registration list",
            &["id", "match", "sink", "life", "rate", "burst", "interface", "source", "snaplen", "reason"],
        ),
        (
            "passive list",
            &["family", "interface", "sink", "redirect", "via", "drop", "rate", "burst", "life"],
        ),
        ("reason list", &["name", "class", "action", "rate", "burst", "sample"]),
        ("class list", &["name", "min", "cap"]),
    ] {
        for row in engine.json(list).as_array().unwrap() {
            rows.push(json!([list, fields.iter().map(|field| row[*field].clone()).collect::<Vec<_>>()]));
        }
    }
    Value::Array(rows)
}

#[test]
fn what_a_configuration_asks_for_is_there_and_saved_and_applying_it_again_changes_nothing() {
    let launch = quiet(ASKED);
    let client = Client::new(&launch.file("bfdd.sock"));
    let engine = launch.start();
    let lives: Vec<_> =
        engine.json("registration list").as_array().unwrap().iter().map(|row| row["life"].clone()).collect();
    assert_eq!(lives, ["config", "config", "config"]);
    client.receive_at(&engine, "bfdd", "lan", &to_us(3784));
    let (header, frame) = client.record();
    assert_eq!((frame, number(&header, 16)), (to_us(3784), 0));
    client.receive_at(&engine, "bfdd", "lan", &to_us(5005));
    assert_eq!(client.record().1, to_us(5005));

    // An operator adds to it, and all of that is saved.
    engine.ok("sink add mine null --rate 100");
    let id = engine.ok("register tcp:179/any --sink mine --exclusive --source 10.0.1.0/24");
    let id: u32 = id.trim().parse().expect("an id and nothing else");
    engine.ok("passive set ip4 --drop");
    engine.ok("reason set ip4.no-route --rate unlimited --class miss");
    engine.ok("class set sample --cap 4000");
    engine.ok("policer set reason:ip4.options --type rfc2697 --rate 100 --burst 50 --excess 20 --yellow demote:sample");
    let before = state(&engine);
    engine.ok("config save saved.toml");
    let said = engine.ok("config apply saved.toml");
    assert!(said.contains("nothing changed"), "{said}");
    let of_operator = |text: Value| text.to_string().replace("\"operator\"", "\"config\"");
    assert_eq!(of_operator(state(&engine)), of_operator(before));
    let saved = std::fs::read_to_string(engine.file("saved.toml")).unwrap();
    engine.ok("config save again.toml");
    assert_eq!(std::fs::read_to_string(engine.file("again.toml")).unwrap(), saved);
    let said = engine.ok("config apply saved.toml");
    assert!(said.contains("nothing changed"), "{said}");
    assert!(engine.json("registration list").as_array().unwrap().iter().any(|row| row["id"] == id));

    // The file that it started with takes back what is not in it, on SIGHUP.
    engine.signal(Signal::SIGHUP);
    engine.until("the sink is gone that the file does not have", |engine| {
        engine.json("sink list").as_array().unwrap().iter().all(|row| row["name"] != "mine")
    });
    let ids: Vec<_> =
        engine.json("registration list").as_array().unwrap().iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, [1, 2, 3], "those that stay keep their ids");
    client.receive_at(&engine, "bfdd", "lan", &to_us(3784));
    let (header, _) = client.record();
    assert_eq!(number(&header, 16), 1, "and their sequence");
    let files = engine.finish();
    assert!(files.path().join("all.pcapng").exists());
}

#[test]
fn a_saved_configuration_starts_an_engine_that_is_the_same() {
    let engine = quiet(ASKED).start();
    engine.ok("config save saved.toml");
    let (before, saved) = (state(&engine), std::fs::read_to_string(engine.file("saved.toml")).unwrap());
    let files = engine.finish();
    let launch = Launch::new().vdev("net_null0,no-rx=1").vdev("net_null1,no-rx=1").config(saved);
    let engine = launch.start();
    assert_eq!(state(&engine), before);
    engine.finish();
    drop(files);
}

#[test]
fn a_session_is_suspended_when_its_client_goes_and_given_back_when_it_returns() {
    let engine = quiet("").start();
    let path = engine.file("client.sock");
    let client = Client::new(&path);
    let mut wire = Wire::new(&engine);
    let target = format!("unix:{}", path.display());
    let sink = wire.ok("sink.add", json!({"name": "mine", "target": target, "life": "session"}));
    let token = sink["token"].as_str().expect("a token").to_owned();
    let made = wire.ok("register", json!({"match": "udp:5000", "sink": "mine", "life": "session"}));
    assert_eq!(made["token"], token.as_str());
    client.receive_at(&engine, "mine", "lan", &to_us(5000));
    client.record();
    let other = Wire::new(&engine).call("session.resume", json!({"token": token}));
    assert!(other["error"]["message"].as_str().unwrap().contains("still be open"), "{other}");
    engine.ok("config save saved.toml");
    assert!(!std::fs::read_to_string(engine.file("saved.toml")).unwrap().contains("mine"));

    drop(wire);
    let suspended = |engine: &Engine| engine.json("registration list")[0]["suspended"] == true;
    engine.until("the registration is suspended", suspended);
    client.receive_at(&engine, "mine", "lan", &to_us(5000));
    engine.until("nobody claims it", |engine| engine.reason("ip4.unclaimed") == 1);

    let mut wire = Wire::new(&engine);
    let refused = wire.call("session.resume", json!({"token": "guess"}));
    assert!(refused["error"]["message"].as_str().unwrap().contains("no session"), "{refused}");
    let back = wire.ok("session.resume", json!({"token": token}));
    assert_eq!((&back["sinks"], &back["registrations"]), (&json!(["mine"]), &json!([made["id"]])));
    client.receive_at(&engine, "mine", "lan", &to_us(5000));
    let (header, _) = client.record();
    assert_eq!(number(&header, 16), 1, "the sequence goes on");
    assert_eq!(engine.number("registration list", "sink", "mine", "delivered"), 2, "and the counters");
    wire.ok("unregister", json!({"id": made["id"]}));
    wire.ok("sink.del", json!({"name": "mine"}));
    assert_eq!(engine.json("sink list"), json!([]));
    engine.finish();
}

#[test]
fn a_client_may_go_and_come_back() {
    let engine = quiet("").start();
    let path = engine.file("client.sock");
    engine.ok(&format!("sink add c unix:{}", path.display()));
    engine.ok("register udp:5000 --sink c");
    let state = |engine: &Engine| engine.json("sink list")[0]["state"].clone();
    engine.until("nobody is there", |engine| state(engine) == "suspended");
    for round in 0..3 {
        let client = Client::new(&path);
        engine.until("the client is found", |engine| state(engine) == "active");
        client.receive_at(&engine, "c", "lan", &to_us(5000));
        let (header, frame) = client.record();
        assert_eq!((frame, number(&header, 16), number(&header, 24)), (to_us(5000), round, 0));
        drop(client);
        engine.until("it is gone", |engine| state(engine) == "suspended");
    }
    engine.finish();
}

#[test]
fn faults_are_one_sentence_and_a_status() {
    let engine = quiet("").start();
    engine.ok("sink add a null");
    let id = engine.ok("register udp:5000 --sink a --exclusive");
    let id = id.trim();
    engine.ok("sink add b null");
    for (words, names) in [
        ("register udp:5000 --sink b", &["udp:5000", "registration", "sink a", "operator"][..]),
        ("register udp:5001 --sink c", &["sink c"]),
        ("register reason:ip4.ttl-expird --sink a", &["ip4.ttl-expired"]),
        ("register udp:5001 --sink a --interface lam", &["lam"]),
        ("unregister 77", &["77"]),
        ("sink add a null", &["sink a"]),
        ("sink del c", &["sink c"]),
        ("sink del a", &["sink a", id]),
        ("reason set ip4.nothing --rate 5", &["ip4.nothing"]),
        ("reason set ip4.ttl-expired --action copy", &["ip4.ttl-expired", "copy"]),
        ("passive set ip4 --sink c", &["sink c"]),
        ("passive set ip4 --redirect lam", &["lam"]),
        ("policer set sink:c --type single --rate 1pps --burst 1p", &["sink c"]),
        ("sink add d pcapng:/etc/x.pcapng", &["/etc/x.pcapng"]),
        ("sink add d tap:punt0?interface=lam", &["lam"]),
    ] {
        let error = engine.refused(words);
        assert!(names.iter().all(|name| error.contains(name)), "{words}: {error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{words}: {error}");
    }
    for (words, name) in [
        ("register ethertype:0x0800 --sink a", "transit"),
        ("register udp:70000 --sink a", "70000"),
        ("register udp:5000", "--sink"),
        ("sink add d fifo:/x", "fifo"),
        ("sink add d unix:relative", "relative"),
        ("reason set ip4.ttl-expired --action explode", "explode"),
        ("passive set ip5 --drop", "ip5"),
        ("passive set ip4", "--drop"),
        ("class set nobody --min 1", "nobody"),
        ("register udp:5000 --sink a --snaplen 0", "snaplen"),
        ("unregister x", "x"),
    ] {
        let output = engine.puntctl(words);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words}: {error}");
        assert!(error.contains(name), "{words}: {error}");
    }
    for list in
        ["sink list", "registration list", "passive list", "reason list", "class list", "policer list"]
    {
        assert!(engine.json(list).is_array(), "{list}");
        assert!(
            list == "passive list" || engine.ok(list).lines().count() >= 2,
            "{list}: {}",
            engine.ok(list)
        );
    }
    engine.ok(&format!("unregister {id}"));
    engine.ok("sink del a");
    engine.finish();
}

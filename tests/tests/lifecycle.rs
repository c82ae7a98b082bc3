//! Starting, stopping, and being told nonsense.

use std::os::unix::net::UnixStream;
use std::process::Command;

use nix::sys::signal::Signal;
use tests::engine::{Engine, Launch, binary};

/// Two ports that send nothing and receive nothing.
fn quiet() -> Launch {
    Launch::new().vdev("net_null0,no-rx=1").vdev("net_null1,no-rx=1")
}

/// Two ports that receive as fast as one can look.
fn busy() -> Launch {
    Launch::new().vdev("net_null0").vdev("net_null1")
}

/// Waits until it has received something.
fn works(engine: &Engine) {
    engine.until("packets come in", |engine| engine.json("audit")["received"].as_u64() > Some(1000));
}

/// What puntd says to a command line of its own options.
fn said(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(binary("puntd")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn it_starts_and_stops_ten_times_in_a_row() {
    for _ in 0..10 {
        let engine = busy().start();
        works(&engine);
        engine.finish_busy();
    }
}

#[test]
fn it_starts_again_where_one_was_killed() {
    // The same directory, so the same socket and the same EAL files.
    let launch = quiet();
    let directory = launch.file("");
    let engine = launch.start();
    engine.signal(Signal::SIGKILL);
    engine.until("it is gone", |engine| UnixStream::connect(engine.socket()).is_err());
    assert!(engine.socket().exists(), "nobody has cleaned up in {}", directory.display());
    let mut again = Command::new(binary("puntd"));
    let socket = engine.socket();
    again.args(["--no-huge", "--no-pci", "--lcores", "0", "--vdev", "net_null0,no-rx=1", "--"]);
    let mut child = again.arg("--socket").arg(&socket).spawn().unwrap();
    engine.until("another engine answers", |engine| engine.puntctl("version").status.success());
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn ctrl_c_stops_it_cleanly() {
    let engine = quiet().lcores("0@0,1@0,2@1").start();
    engine.ok("audit");
    engine.stop(Signal::SIGINT);
}

#[test]
fn a_signal_while_it_starts_waits_until_it_has_started() {
    // It takes a while to make tables for many routes.
    let config = "[tables]\nroutes4 = 200000\n";
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let engine = quiet().config(config).start_unready();
        engine.until("its socket is there", |engine| engine.socket().exists());
        engine.signal(Signal::SIGHUP);
        engine.stop(signal);
    }
    let engine = quiet().config(config).start_unready();
    engine.until("its socket is there", |engine| engine.socket().exists());
    let more = format!("{config}[[route]]\nprefix = \"10.88.0.0/16\"\naction = \"blackhole\"\n");
    std::fs::write(engine.file("puntd.toml"), more).unwrap();
    engine.signal(Signal::SIGHUP);
    engine.until("the file is read again", |engine| {
        let said = engine.puntctl("--json route list 10.88.0.0/16").stdout;
        serde_json::from_slice::<Vec<serde_json::Value>>(&said).is_ok_and(|rows| rows.len() == 1)
    });
    engine.finish();
}

#[test]
fn two_engines_run_side_by_side() {
    let (one, other) = (busy().start(), busy().start());
    works(&one);
    works(&other);
    one.ok("route add 10.2.0.0/16 blackhole");
    assert_eq!(other.json("route list 10.2.0.0/16"), serde_json::json!([]));
    one.finish_busy();
    works(&other);
    other.finish_busy();
}

#[test]
fn nobody_takes_the_socket_of_an_engine_that_runs() {
    let engine = quiet().start();
    let socket = engine.socket();
    let (status, _, error) = said(&[
        "--no-huge",
        "--no-pci",
        "--lcores",
        "0",
        "--file-prefix",
        "another",
        "--vdev",
        "net_null0,no-rx=1",
        "--",
        "--socket",
        socket.to_str().unwrap(),
    ]);
    assert!(matches!(status, Some(1 | 2)), "{status:?}: {error}");
    assert!(error.contains(socket.to_str().unwrap()), "the sentence names the socket: {error}");
    engine.finish();
}

#[test]
fn without_an_engine_puntctl_says_so() {
    let engine = quiet().start();
    let socket = engine.socket();
    let files = engine.finish();
    let output = Command::new(binary("puntctl"))
        .arg("--socket")
        .arg(&socket)
        .args(["route", "list"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no engine at"));
    drop(files);
}

#[test]
fn wrong_usage_has_status_2() {
    for arguments in [
        &["--", "--burst", "0"][..],
        &["--", "--burst", "100000"],
        &["--", "--idle", "always"],
        &["--", "--nonsense"],
        &["--", "--config"],
        &["--config", "/nonexistent/puntd.toml"],
        &["--config", "/nonexistent/puntd.toml", "--check"],
        &["--check"],
    ] {
        let (status, _, error) = said(arguments);
        assert_eq!(status, Some(2), "puntd {arguments:?}: {error}");
        assert!(!error.trim().is_empty(), "puntd {arguments:?} says nothing");
    }
}

#[test]
fn help_shows_our_options_and_how_to_see_the_eals() {
    let (status, out, _) = said(&["--help"]);
    assert_eq!(status, Some(0));
    for word in ["--config", "--socket", "--check", "--burst", "--idle", "--log", "EAL"] {
        assert!(out.contains(word), "{word} is not in {out}");
    }
    let (status, out, _) = said(&["--version"]);
    assert_eq!(status, Some(0));
    assert!(out.starts_with("puntd "), "{out}");
}

#[test]
fn bad_configuration_is_told_by_line_and_key() {
    for (config, words) in [
        ("[interface.lan]\nport = \"net_null0\"\nadresses = []\n", &["3", "adresses", "addresses"][..]),
        ("[interface.lan]\nport = \"net_null0\"\naddresses = [\"10.0.0.1/33\"]\n", &["3", "10.0.0.1/33"]),
        ("[interface.lan]\nport = \"net_null0\"\nmtu = \"big\"\n", &["3", "mtu"]),
        ("[interface.lan]\nport = \"net_null0\"\nmac = \"02:00\"\n", &["3", "02:00"]),
        ("[[route]]\nprefix = \"10.2.0.0/16\"\nvia = [\"fd00::2\"]\n", &["10.2.0.0/16", "fd00::2"]),
        (
            "[[neighbor]]\naddress = \"10.0.0.2\"\nmac = \"02:00:00:00:00:02\"\ninterface = \"wan\"\n",
            &["toml:4:", "neighbor.interface", "wan"],
        ),
        ("[interface.lan\n", &["1"]),
        ("[tables]\nroutes4 = -1\n", &["2", "routes4"]),
    ] {
        let launch = quiet().config(config);
        let output = launch.fails();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{config}{error}");
        let check = launch.file("puntd.toml");
        let (status, _, checked) = said(&["--config", check.to_str().unwrap(), "--check"]);
        assert_eq!(status, Some(2), "--check of {config}{checked}");
        for word in words {
            assert!(checked.contains(word), "{word} is not in {checked}");
            assert!(error.contains(word), "{word} is not in {error}");
        }
    }
}

#[test]
fn a_port_that_is_not_there_is_wrong_configuration() {
    let output = quiet().config("[interface.lan]\nport = \"net_null7\"\n").fails();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("net_null7") && error.contains("net_null0"), "{error}");
}

#[test]
fn check_prints_the_memory_and_starts_nothing() {
    let launch = Launch::new();
    std::fs::write(launch.file("a.toml"), "[tables]\nroutes4 = 1000000\n").unwrap();
    let (status, out, error) = said(&["--config", launch.file("a.toml").to_str().unwrap(), "--check"]);
    assert_eq!(status, Some(0), "{error}");
    assert!(out.contains("MB") || out.contains("MiB"), "{out}");
    assert!(!error.contains("EAL"), "{error}");
}

#[test]
fn ports_that_no_interface_names_come_up_under_their_own() {
    let engine =
        quiet().config("[interface.lan]\nport = \"net_null1\"\naddresses = [\"10.0.0.1/24\"]\n").start();
    let rows = engine.json("interface list");
    let names: Vec<_> = rows.as_array().unwrap().iter().map(|row| (&row["name"], &row["port"])).collect();
    assert!(names.contains(&(&"lan".into(), &"net_null1".into())), "{rows}");
    assert!(names.contains(&(&"net_null0".into(), &"net_null0".into())), "{rows}");
    engine.finish();
}

#[test]
fn what_is_saved_changes_nothing_when_it_is_applied() {
    let engine = quiet().config(tests::plan::config("net_null0", "net_null1")).start();
    engine.ok("route add 10.77.0.0/16 via 10.0.1.2");
    engine.ok("interface set wan --mtu 1400");
    let shown = engine.ok("config show");
    let routes = engine.json("route list");
    engine.ok("config save saved.toml");
    engine.ok("config check saved.toml");
    engine.ok("config apply saved.toml");
    assert_eq!(engine.ok("config show"), shown);
    assert_eq!(engine.json("route list"), routes);
    assert_eq!(engine.number("interface list", "name", "wan", "mtu"), 1400);
    let files = engine.finish();
    let saved = std::fs::read_to_string(files.path().join("saved.toml")).unwrap();
    let engine = quiet().config(saved).start();
    assert_eq!(engine.ok("config show"), shown);
    engine.finish();
}

#[test]
fn it_reads_its_configuration_again_on_sighup() {
    let config = tests::plan::config("net_null0", "net_null1");
    let engine = quiet().config(config.clone()).start();
    let more = config.clone() + "\n[[route]]\nprefix = \"10.88.0.0/16\"\nvia = [\"10.0.1.2\"]\n";
    std::fs::write(engine.file("puntd.toml"), more).unwrap();
    engine.signal(Signal::SIGHUP);
    let routes = |engine: &Engine| engine.json("route list 10.88.0.0/16").as_array().map(Vec::len);
    engine.until("the new route is there", |engine| routes(engine) == Some(1));
    std::fs::write(engine.file("puntd.toml"), config + "\n[[route]]\nprefix = \"nowhere\"\n").unwrap();
    engine.signal(Signal::SIGHUP);
    engine.until("what is wrong is in the log", |engine| engine.log().contains("nowhere"));
    assert_eq!(routes(&engine), Some(1), "nothing has changed");
    engine.finish();
}

#[test]
fn a_configuration_that_fails_is_not_half_applied() {
    let engine = quiet().config(tests::plan::config("net_null0", "net_null1")).start();
    let shown = engine.ok("config show");
    let bad = shown.clone()
        + "\n[[route]]\nprefix = \"10.88.0.0/16\"\nvia = [\"10.0.1.2\"]\n"
        + "\n[[route]]\nprefix = \"10.89.0.0/16\"\nvia = [\"203.0.113.9\"]\ndev = \"nowhere\"\n";
    std::fs::write(engine.file("bad.toml"), bad).unwrap();
    let error = engine.refused("config apply bad.toml");
    assert!(error.contains("nowhere"), "{error}");
    assert_eq!(engine.ok("config show"), shown);
    assert_eq!(engine.json("route list 10.88.0.0/16"), serde_json::json!([]));
    engine.finish();
}

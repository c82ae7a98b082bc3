//! Each command as a user types it: what the engine is asked, what is shown, with what status it ends.

use crate::fake::{Engine, puntctl, said};
use punt::control::RpcError;
use serde_json::{Value, json};

/// An engine that has nothing to say against anything.
fn willing() -> Engine {
    Engine::start(|_, _| Ok(Value::Null))
}

#[test]
fn the_exit_status_says_who_is_at_fault() {
    let engine = willing();
    assert_eq!(engine.run("route add 10.2.0.0/16 via 10.0.1.2").well(), "");

    let full =
        Engine::start(|_, _| Err(RpcError::refused("no room for 10.2.0.0/16; routes4 = 65537 would do")));
    assert_eq!(
        full.run("route add 10.2.0.0/16 via 10.0.1.2").badly(),
        (1, "error: no room for 10.2.0.0/16; routes4 = 65537 would do\n".into())
    );

    assert_eq!(
        engine.run("route add 10.2.0.1/16 via 10.0.1.2").badly(),
        (2, "error: 10.2.0.1/16 has bits set beyond its length; write 10.2.0.0/16\n".into())
    );
    let group = engine.run("interface set wan --mac 01:00:5e:00:00:01").badly();
    let fault = "error: wan: 01:00:5e:00:00:01 cannot be an interface's MAC; write a unicast one\n";
    assert_eq!(group, (2, fault.into()));
    assert_eq!(engine.run("route ad").badly().0, 2);
    assert_eq!(engine.run("config apply nothing.toml").badly().0, 2);
    assert_eq!(engine.methods(), ["route.add"]);

    assert_eq!(
        said(puntctl("route list").output().unwrap()).badly(),
        (
            3,
            "error: no engine at /nonexistent/puntd.sock: No such file or directory (os error 2); \
             start puntd, or name its socket with --socket or $PUNTD_SOCKET\n"
                .into()
        )
    );
}

#[test]
fn what_does_not_speak_our_protocol_is_no_engine() {
    for (words, fault) in [
        (&b""[..], "error: audit: the engine closed the connection\n"),
        (b"{\"jsonrpc\":", "error: audit: the engine closed the connection in the middle of its answer\n"),
        (b"220 mail.example ESMTP\n", "error: audit: the engine's answer is no JSON-RPC 2.0: "),
        (
            b"{\"jsonrpc\":\"2.0\",\"id\":9,\"result\":{}}\n",
            "error: audit: the engine answered request 9 instead\n",
        ),
        (
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[]}\n",
            "error: audit: the engine's answer is not understood: ",
        ),
    ] {
        let (status, err) = Engine::rude(words).run("audit").badly();
        assert!(status == 3 && err.starts_with(fault), "{status} {err}");
    }
}

#[test]
fn each_verb_asks_for_what_it_says() {
    for (line, method, params) in [
        (
            "route add 10.2.0.0/16 via 10.0.1.2",
            "route.add",
            json!({"prefix":"10.2.0.0/16","via":["10.0.1.2"]}),
        ),
        (
            "route replace default metric 7 dev wan via 10.0.1.2,10.0.1.3",
            "route.replace",
            json!({"prefix":"default","via":["10.0.1.2","10.0.1.3"],"dev":"wan","metric":7}),
        ),
        ("route add default6 punt", "route.add", json!({"prefix":"default6","action":"punt"})),
        ("route del 10.2.0.0/16", "route.del", json!({"prefix":"10.2.0.0/16"})),
        ("route delete 10.2.0.0/16 metric 7", "route.del", json!({"prefix":"10.2.0.0/16","metric":7})),
        (
            "address add 10.0.0.1/24 dev lan",
            "address.add",
            json!({"address":"10.0.0.1/24","interface":"lan"}),
        ),
        ("addr del dev lan fd00::1/64", "address.del", json!({"address":"fd00::1/64","interface":"lan"})),
        (
            "neighbor add 10.0.1.2 lladdr 02:00:00:00:00:0A dev wan",
            "neighbor.add",
            json!({"address":"10.0.1.2","mac":"02:00:00:00:00:0a","interface":"wan"}),
        ),
        (
            "neighbor replace 10.0.1.2 lladdr 02:00:00:00:00:0B dev wan",
            "neighbor.replace",
            json!({"address":"10.0.1.2","mac":"02:00:00:00:00:0b","interface":"wan"}),
        ),
        ("neigh del 10.0.1.2 dev wan", "neighbor.del", json!({"address":"10.0.1.2","interface":"wan"})),
        ("interface set wan --mtu 9000", "interface.set", json!({"name":"wan","mtu":9000})),
        (
            "iface set wan --mac 02:00:00:00:00:01 --down",
            "interface.set",
            json!({"name":"wan","mac":"02:00:00:00:00:01","up":false}),
        ),
        ("interface set wan --up", "interface.set", json!({"name":"wan","up":true})),
    ] {
        let engine = willing();
        assert_eq!(engine.run(line).well(), "", "{line}");
        assert_eq!(engine.calls(), [(method.into(), params)], "{line}");
    }
}

/// An engine with interfaces in pages of two.
fn with_interfaces(count: u64) -> Engine {
    Engine::start(move |method, params| {
        assert_eq!((method, params["limit"].as_u64()), ("interface.list", Some(1024)));
        let start = params["after"].as_str().map_or(0, |after| after.parse().unwrap());
        let items: Vec<Value> = (start..count.min(start + 2))
            .map(|index| json!({"name":format!("if{index}"), "index":index, "port":"net_null0", "mtu":1500, "up":index != 1, "colour":"red"}))
            .collect();
        let after = if start + 2 < count { json!((start + 2).to_string()) } else { Value::Null };
        Ok(json!({"items":items, "after":after}))
    })
}

#[test]
fn a_list_is_read_to_its_end() {
    let engine = with_interfaces(5);
    let list = engine.run("--json interface list").json();
    let names: Vec<&Value> = list.as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["if0", "if1", "if2", "if3", "if4"]);
    assert_eq!(list[0]["colour"], "red", "what this puntctl does not know is passed on");
    assert_eq!(engine.calls().len(), 3);
    assert_eq!(
        engine.run("interface").well(),
        "name  index  port       mac   mtu  up    addresses
if0       0  net_null0  -    1500  up    -
if1       1  net_null0  -    1500  down  -
if2       2  net_null0  -    1500  up    -
if3       3  net_null0  -    1500  up    -
if4       4  net_null0  -    1500  up    -
"
    );
}

#[test]
fn a_list_of_nothing_is_a_header_or_an_empty_array() {
    let engine = Engine::start(|_, _| Ok(json!({"items":[], "after":null})));
    for what in ["interfaces", "nodes", "drops", "reasons", "sinks", "sources", "workers"] {
        assert_eq!(engine.run(&format!("--json stats {what}")).well(), "[]\n");
        let header = engine.run(&format!("stats {what}")).well();
        assert_eq!(header.lines().count(), 1, "{header}");
    }
    assert_eq!(engine.run("stats drops").well(), "node  text  packets\n");
    for list in ["interface", "address", "route", "neighbor", "reason", "class", "sink", "registration"] {
        assert_eq!(engine.run(&format!("{list} list --json")).well(), "[]\n");
        engine.run(list).well();
    }
}

#[test]
fn pages_that_do_not_end_are_not_followed_for_ever() {
    let engine = Engine::start(|_, _| Ok(json!({"items":[{"name":"if0"}], "after":"0"})));
    let (status, err) = engine.run("interface list").badly();
    assert_eq!((status, err.as_str()), (3, "error: interface.list: the engine's pages do not end\n"));
}

#[test]
fn statistics_pass_over_what_counted_nothing_unless_asked() {
    let engine = Engine::start(|_, _| {
        Ok(json!({"items":[
            {"node":"ip4-input","text":"bad checksum","packets":3},
            {"node":"ip4-input","text":"bad version","packets":0}], "after":null}))
    });
    assert_eq!(
        engine.run("stats drops").well(),
        "node       text          packets\nip4-input  bad checksum        3\n"
    );
    assert_eq!(engine.run("stats drops --all").well().lines().count(), 3);
    assert_eq!(engine.run("stats drops --json").json().as_array().unwrap().len(), 2);
}

#[test]
fn routes_are_lines_that_route_add_understands() {
    let engine = Engine::start(|method, params| {
        assert_eq!((method, &params["prefix"]), ("route.list", &json!("10.2.0.0/16")));
        Ok(
            json!({"items":[{"prefix":"10.2.0.0/16","via":["10.0.1.2"],"dev":null,"metric":5,"kind":"static"}],"after":null}),
        )
    });
    assert_eq!(engine.run("route list 10.2.0.0/16").well(), "10.2.0.0/16 via 10.0.1.2 metric 5\n");
    assert_eq!(engine.run("route list 10.2.0.0/16 --json").json()[0]["metric"], 5);
}

#[test]
fn a_lookup_is_one_object() {
    let engine = Engine::start(|method, params| {
        assert_eq!((method, params), ("route.get", &json!({"address":"10.2.0.7"})));
        Ok(
            json!({"address":"10.2.0.7","prefix":"10.2.0.0/16","via":["10.0.1.2"],"metric":0,"hops":[{"via":"10.0.1.2","dev":"wan","mac":null}]}),
        )
    });
    assert_eq!(
        engine.run("route get 10.2.0.7").well(),
        "10.2.0.7 takes 10.2.0.0/16 via 10.0.1.2\n    via 10.0.1.2 dev wan unresolved\n"
    );
    assert_eq!(engine.run("route get 10.2.0.7 --json").json()["hops"][0]["dev"], "wan");
}

#[test]
fn the_audit_ends_with_its_verdict() {
    let audit = |balanced: bool| {
        Engine::start(move |_, _| {
            let findings = if balanced { json!([]) } else { json!(["worker 0: 1 packet has no verdict"]) };
            Ok(json!({"balanced":balanced,"received":10,"injected":0,"transmitted":9,"dropped":1,"punted":0,
                "consumed":0,"in_flight":0,"pools":[],"findings":findings}))
        })
    };
    assert!(audit(true).run("audit").well().ends_with("in flight          0\n\nEvery packet adds up.\n"));
    assert_eq!(audit(true).run("audit --json").json()["received"], 10);
    for line in ["audit", "audit --json"] {
        let unbalanced = audit(false).run(line);
        assert_eq!((unbalanced.status, unbalanced.err.as_str()), (Some(1), ""));
        assert!(unbalanced.out.contains("worker 0: 1 packet has no verdict"));
    }
}

#[test]
fn a_version_is_told_for_both_sides() {
    let engine = Engine::start(|_, _| Ok(json!({"version":"9.8.7","dpdk":"DPDK 22.11.11","protocol":1})));
    let ours = env!("CARGO_PKG_VERSION");
    assert_eq!(engine.run("version").well(), format!("puntctl {ours}\npuntd 9.8.7 with DPDK 22.11.11\n"));
    assert_eq!(engine.run("version --json").json()["version"], "9.8.7");
    let alone = said(puntctl("version").output().unwrap());
    assert_eq!((alone.status, alone.out), (Some(3), format!("puntctl {ours}\n")));
}

#[test]
fn shells_and_man_need_no_engine() {
    for shell in ["bash", "zsh", "fish"] {
        let script = said(puntctl(&format!("completions {shell}")).output().unwrap()).well();
        assert!(script.contains("neighbor"), "{shell}");
    }
    let directory = tempfile::tempdir().unwrap();
    let man = puntctl("man").arg(directory.path().join("man")).output().unwrap();
    assert_eq!(said(man).well(), "");
    let page = std::fs::read_to_string(directory.path().join("man/puntctl-route-load.1")).unwrap();
    assert!(page.contains("Adds all routes of a file, or none of them"), "{page}");
}

#[test]
fn who_closes_the_pipe_has_seen_enough() {
    let engine = Engine::start(|_, params| {
        let start: u32 = params["after"].as_str().map_or(0, |after| after.parse().unwrap());
        let row =
            |number: u32| json!({"prefix":std::net::Ipv4Addr::from(number).to_string(),"via":["10.0.1.2"]});
        let items: Vec<Value> = (start..start + 1000).map(row).collect();
        Ok(json!({"items":items,"after":(start + 1000).to_string()}))
    });
    for line in ["route list", "route list --json"] {
        let mut child = engine.command(line).spawn().unwrap();
        let mut first = [0; 1];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
        drop(child.stdout.take());
        let ended = said(child.wait_with_output().unwrap());
        assert_eq!((ended.status, ended.err.as_str()), (Some(0), ""), "{line}");
    }
}

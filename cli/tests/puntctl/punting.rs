//! Reasons, classes, policers, sinks, registrations and the passive punt, as a user types them.

use crate::fake::Engine;
use punt::control::RpcError;
use serde_json::{Value, json};

#[test]
fn each_verb_asks_for_what_it_says() {
    for (line, method, params) in [
        (
            "reason set ip4.ttl-expired --rate 300 --burst 150",
            "reason.set",
            json!({"name":"ip4.ttl-expired","rate":300,"burst":150}),
        ),
        (
            "reason set l2.lacp --rate unlimited --class link --action copy --source-rate 20 --interface-rate 200 --sample 10",
            "reason.set",
            json!({"name":"l2.lacp","rate":"unlimited","class":"link","action":"copy","source_rate":20,"interface_rate":200,"sample":10}),
        ),
        (
            "class set route --min 0 --cap unlimited",
            "class.set",
            json!({"name":"route","min":0,"cap":"unlimited"}),
        ),
        (
            "policer set reason:local.bgp --type single --rate 1000 --burst 500",
            "policer.set",
            json!({"what":"reason:local.bgp","type":"single","rate":"1000pps","burst":"500"}),
        ),
        (
            "policer set passive:ip4@wan --type rfc2698 --rate 8000000bps --burst 15000B --peak 9000000bps --excess 30000B --yellow demote:miss --red drop",
            "policer.set",
            json!({"what":"passive:ip4@wan","type":"rfc2698","rate":"8000000bps","burst":"15000B","peak":"9000000bps",
                   "excess":"30000B","yellow":"demote:miss","red":"drop"}),
        ),
        (
            "sink add bfdd unix:/run/bfdd/punt.sock",
            "sink.add",
            json!({"name":"bfdd","target":"unix:/run/bfdd/punt.sock"}),
        ),
        (
            "sink add capture pcapng:ttl.pcapng?size=64M&files=4 --rate 1000 --burst 400",
            "sink.add",
            json!({"name":"capture","target":"pcapng:ttl.pcapng?size=64M&files=4","rate":1000,"burst":400}),
        ),
        ("sink del bfdd", "sink.del", json!({"name":"bfdd"})),
        ("unregister 17", "unregister", json!({"id":17})),
        (
            "passive set ip4 --sink slow-path --interface wan --rate 1000",
            "passive.set",
            json!({"family":"ip4","interface":"wan","sink":"slow-path","rate":1000}),
        ),
        (
            "passive set ip6 --redirect lan --via fd00::2",
            "passive.set",
            json!({"family":"ip6","redirect":"lan","via":"fd00::2"}),
        ),
        ("passive set other --drop", "passive.set", json!({"family":"other","drop":true})),
        ("passive del ip4 --interface wan", "passive.del", json!({"family":"ip4","interface":"wan"})),
    ] {
        let engine = Engine::start(|_, _| Ok(Value::Null));
        assert_eq!(engine.run(line).well(), "", "{line}");
        assert_eq!(engine.calls(), [(method.into(), params)], "{line}");
    }
}

#[test]
fn a_registration_says_its_id() {
    let engine = Engine::start(|method, params| {
        assert_eq!(method, "register");
        Ok(json!({"id": if params["sink"] == "bfdd" { 17 } else { 18 }}))
    });
    assert_eq!(engine.run("register udp:3784 --sink bfdd").well(), "17\n");
    let line = "register tcp:179/any --sink bgpd --rate 2000 --burst 800 --interface wan --source 10.0.1.2 --snaplen 128 --exclusive";
    assert_eq!(engine.run(line).well(), "18\n");
    assert_eq!(engine.run("--json register proto:ospf --sink bfdd").json(), json!({"id":17}));
    let asked: Vec<Value> = engine.calls().into_iter().map(|(_, params)| params).collect();
    assert_eq!(
        asked,
        [
            json!({"match":"udp:3784","sink":"bfdd"}),
            json!({"match":"tcp:179/any","sink":"bgpd","rate":2000,"burst":800,"interface":"wan",
                   "source":"10.0.1.2/32","snaplen":128,"exclusive":true}),
            json!({"match":"proto:89","sink":"bfdd"}),
        ]
    );
}

#[test]
fn what_the_engine_need_not_be_asked_is_wrong_usage() {
    let engine = Engine::start(|_, _| Ok(Value::Null));
    for (line, words) in [
        (
            "register ethertype:0x0800 --sink s",
            "\"ethertype:0x0800\" would see all IPv4 packets, those in transit too",
        ),
        ("register udp:70000 --sink s", "has the port \"70000\"; write one from 0 to 65535"),
        ("register udp:5", "the following required arguments were not provided: --sink <NAME>"),
        ("register udp6:5 --sink s --source 10.0.0.0/8", "error: udp6:5 never comes from 10.0.0.0/8"),
        ("sink add s unix:s.sock", "has the relative path \"s.sock\""),
        ("sink add s udp:5", "\"udp:5\" is no target; write unix:PATH, shm:PATH"),
        ("sink add s null --burst 5", "error: sink s has burst 5 and no rate; add rate"),
        ("reason set l2.lacp", "required arguments were not provided"),
        (
            "reason set l2.lacp --rate fast",
            "\"fast\" is no rate in packets per second; write a number such as 1000, or unlimited",
        ),
        (
            "reason set l2.lacp --class high",
            "invalid value 'high' for '--class <C>' [possible values: sample, miss,",
        ),
        ("reason set l2.lacp --action pass", "[possible values: trap, copy, drop]"),
        ("class set link --min 5 --cap 4", "error: link has the minimum 5 above its cap 4"),
        (
            "policer set l2.lacp --type single --rate 1 --burst 1",
            "\"l2.lacp\" has no policer; write reason:NAME,",
        ),
        (
            "policer set sink:s --type single --rate 1 --burst 1 --peak 2",
            "error: sink:s: a policer of type single has no --peak",
        ),
        (
            "policer set sink:s --type single --rate 1Mbps --burst 1",
            "\"1Mbps\" is no rate; write packets per second",
        ),
        ("passive set ip4", "required arguments were not provided"),
        ("passive set ip4 --sink s --drop", "cannot be used with"),
        (
            "passive set ip4 --sink s --via 10.0.0.2",
            "error: ip4 has via 10.0.0.2 and no redirect; name the interface with redirect",
        ),
        ("passive set ip5 --drop", "[possible values: ip4, ip6, other]"),
        ("unregister bfdd", "invalid value 'bfdd' for '<ID>'"),
        ("stats drops --reason l2.lacp", "error: --reason goes with stats sources only; leave it out"),
    ] {
        let (status, err) = engine.run(line).badly();
        assert!(status == 2 && err.contains(words) && err.lines().count() == 1, "{line}: {err}");
    }
    assert!(engine.calls().is_empty());
}

#[test]
fn an_owner_in_the_way_is_named() {
    let engine = Engine::start(|_, _| {
        Err(RpcError::refused("udp:3784 belongs to registration 3 of sink bfdd, which is exclusive"))
    });
    assert_eq!(
        engine.run("register udp:3784 --sink other").badly(),
        (1, "error: udp:3784 belongs to registration 3 of sink bfdd, which is exclusive\n".into())
    );
}

#[test]
fn lists_are_tables_or_arrays() {
    let sink = json!({"name":"bfdd","target":"unix:/s","state":"suspended","life":"operator","rate":null,"burst":null,
        "inject":"/run/puntd/inject","memory":4096,"offered":9,"refused_registration":1,"refused_sink":0,"ring_full":2,
        "backlog":0,"delivered":3,"delivered_bytes":180,"truncated":0,"errors":{"ECONNREFUSED":1,"ENOENT":2},
        "injected":0,"inject_errors":0,"foreign":0});
    let registration = json!({"id":17,"match":"udp:3784","sink":"bfdd","life":"config","rate":20000,"burst":8000,
        "interface":null,"source":null,"snaplen":null,"exclusive":false,"owner":"configuration","packets":5,"refused":1,
        "refused_sink":0,"ring_full":0,"errors":1,"delivered":3});
    let engine = Engine::start(move |method, params| {
        let items = match method {
            "sink.list" | "stats.sinks" => json!([sink]),
            "registration.list" => json!([registration]),
            "class.list" => {
                json!([{"name":"sample","min":0,"cap":"unlimited","packets":7,"refused":3,"accepted":4}])
            }
            "stats.sources" => {
                assert_eq!(params["reason"], "l2.arp-request");
                json!([{"reason":"l2.arp-request","interface":"wan","source":"10.0.1.7/32","pps":12,"packets":90,"refused":80,"error":1}])
            }
            _ => json!([]),
        };
        Ok(json!({"items":items,"after":null}))
    });
    assert_eq!(
        engine.run("sink list").well(),
        "name  target   state      life      rate  burst  policer  memory  delivered  errors                   inject
bfdd  unix:/s  suspended  operator     -      -  -          4096          3  ECONNREFUSED=1,ENOENT=2  /run/puntd/inject
"
    );
    assert_eq!(
        engine.run("registration").well(),
        "id  match     sink  life     rate  burst  policer  interface  source  snaplen  exclusive  owner          packets  refused  refused_sink  ring_full  errors  delivered
17  udp:3784  bfdd  config  20000   8000  -        -          -             -  false      configuration        5        1             0          0       1          3
"
    );
    assert_eq!(
        engine.run("class").well(),
        "name    min        cap  packets  refused  accepted\nsample    0  unlimited        7        3         4\n"
    );
    assert_eq!(
        engine.run("stats sources --reason l2.arp-request").well(),
        "reason          interface  source       pps  packets  refused  error\nl2.arp-request  wan        10.0.1.7/32   12       90       80      1\n"
    );
    assert_eq!(engine.run("stats sinks --json").json()[0]["errors"]["ENOENT"], 2);
    for list in ["policer", "passive"] {
        assert_eq!(engine.run(&format!("{list} list --json")).well(), "[]\n");
        assert_eq!(engine.run(list).well().lines().count(), 1);
    }
}

#[test]
fn words_complete() {
    let engine = Engine::start(|_, _| Ok(Value::Null));
    let script = engine.run("completions bash").well();
    for word in ["registration", "unregister", "--source-rate", "rfc4115", "trap copy drop", "--exclusive"] {
        assert!(script.contains(word), "{word}");
    }
}

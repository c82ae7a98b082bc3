//! What a configuration may say of punting, and what is wrong with it.

use punt::control::types::Life;
use punt::{Action, Class, Rate, Target};

use super::tests::faults;
use crate::config::{Bytes, Config, Punting};

const ROUTER: &str = r#"
[interface.lan]
addresses = ["10.0.0.1/24"]
[interface.wan]
[[sink]]
name = "bfdd"
target = "unix:/run/bfdd/punt.sock"
[[sink]]
name = "slow-path"
target = "pcapng:slow.pcapng?size=64M&files=4"
rate = "unlimited"
[[register]]
match = "udp:3784"
sink = "bfdd"
rate = 20000                         # packets per second
burst = 8000
[[register]]
match = "tcp:179/any"
sink = "slow-path"
interface = "wan"
source = "10.0.1.0/24"
snaplen = 128
exclusive = true
[[passive]]                          # what nothing else claimed
family = "ip4"                       # ip4 | ip6 | other
interface = "wan"                    # this ingress only; without it: all
sink = "slow-path"                   # or: redirect = "lan", via = "10.0.0.2"
rate = 1000
[[passive]]
family = "ip4"
redirect = "lan"
via = "10.0.0.2"
[[passive]]
family = "other"
drop = true
[punt]
directory = "/var/lib/puntd"         # where pcapng sinks may write
memory = "128 MiB"                   # bound on all rings together
budget = 80000
[reason."ip4.ttl-expired"]           # also [class.NAME], [[policer]]: keys named as puntctl's flags
rate = 300
burst = 100
class = "miss"
action = "copy"
source_rate = 10
interface-rate = "unlimited"
sample = 2
[class.route]
min = 20000
cap = "unlimited"
[[policer]]
what = "registration:2"
type = "rfc2697"
rate = "8000000bps"
burst = "15000B"
excess = 30000
yellow = "demote:miss"
[[policer]]
what = "passive:ip4@wan"
type = "single"
rate = 1000
burst = "400p"
"#;

#[test]
fn reads_what_people_write() {
    let config = Config::parse(ROUTER, "router.toml").unwrap();
    let [bfdd, slow] = config.sinks.as_slice() else { unreachable!() };
    assert_eq!((bfdd.name.as_str(), bfdd.rate, bfdd.life), ("bfdd", None, Life::Config));
    assert!(matches!(slow.target, Target::Pcapng { files: Some(4), .. }));
    assert_eq!(slow.rate, Some(Rate::Unlimited));
    let [bfd, bgp] = config.registers.as_slice() else { unreachable!() };
    assert_eq!((bfd.rate, bfd.burst, bfd.exclusive), (Some(Rate::PerSecond(20_000)), Some(8_000), false));
    assert_eq!((bgp.r#match.to_string(), bgp.sink.as_str()), ("tcp:179/any".into(), "slow-path"));
    assert_eq!((bgp.interface.as_deref(), bgp.snaplen, bgp.exclusive), (Some("wan"), Some(128), true));
    assert_eq!(bgp.source.map(|source| source.to_string()), Some("10.0.1.0/24".into()));
    let [wan, all, other] = config.passives.as_slice() else { unreachable!() };
    assert_eq!((wan.sink.as_deref(), wan.interface.as_deref()), (Some("slow-path"), Some("wan")));
    assert_eq!((all.redirect.as_deref(), all.interface.as_deref(), other.drop), (Some("lan"), None, true));
    let punting = Punting {
        directory: "/var/lib/puntd".into(),
        memory: Bytes(128 << 20),
        budget: Rate::PerSecond(80_000),
    };
    assert_eq!(config.punt, punting);
    let [ttl] = config.reasons.as_slice() else { unreachable!() };
    assert_eq!((ttl.name.as_str(), ttl.rate, ttl.burst), ("ip4.ttl-expired", Some(300.into()), Some(100)));
    assert_eq!((ttl.class, ttl.action, ttl.sample), (Some(Class::Miss), Some(Action::Copy), Some(2)));
    assert_eq!((ttl.source_rate, ttl.interface_rate), (Some(10.into()), Some(Rate::Unlimited)));
    let [route] = config.classes.as_slice() else { unreachable!() };
    assert_eq!((route.name, route.min, route.cap), (Class::Route, Some(20_000), Some(Rate::Unlimited)));
    let whats: Vec<_> = config.policers.iter().map(|policer| policer.what.to_string()).collect();
    assert_eq!(whats, ["registration:2", "passive:ip4@wan"]);
    assert_eq!(Config::parse(&config.to_string(), "written"), Ok(config));
}

#[test]
fn the_example_of_the_documentation_reads() {
    let text = include_str!("../../../../docs/punting.md");
    let example = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let config = Config::parse(example, "punting.md").unwrap();
    assert_eq!((config.sinks.len(), config.policers.len()), (1, 1));
}

#[test]
fn says_what_is_wrong_where_and_what_would_be_right() {
    for (text, fault) in [
        (
            "[[sink]]\nname = \"s\"\ntarget = \"unix:s.sock\"",
            "f:3: sink.target: \"unix:s.sock\" has the relative path \"s.sock\", which the engine would look for elsewhere; begin it with /",
        ),
        (
            "[[sink]]\nname = \"a b\"\ntarget = \"null\"",
            "f:1: sink: \"a b\" is no name for a sink; write 1 to 64 bytes without blanks",
        ),
        (
            "[[sink]]\nname = \"s\"\ntarget = \"null\"\nlife = \"session\"",
            "f:4: sink.life: is no key of this table; there are name, target, rate, burst",
        ),
        (
            "[[register]]\nmatch = \"ethertype:0x86dd\"\nsink = \"s\"",
            "f:2: register.match: \"ethertype:0x86dd\" would see all IPv6 packets, those in transit too; match what is addressed to us (udp:, tcp:, proto:, icmp:) or a reason, as reason:ip6.*",
        ),
        (
            "[[register]]\nmatch = \"udp:5\"",
            "f:1: register: is not complete; a registration has match and sink",
        ),
        (
            "[[register]]\nmatch = \"udp:5\"\nsink = \"s\"\nrate = -1",
            "f:4: register.rate: \"-1\" is no rate in packets per second; write a number such as 1000, or unlimited",
        ),
        (
            "[[register]]\nmatch = \"udp:5\"\nsink = \"s\"\nrate = true",
            "f:4: register.rate: is true or false; it is a string in quotes",
        ),
        (
            "[[passive]]\nfamily = \"ip4\"",
            "f:1: passive: ip4 goes nowhere; write one of sink, redirect, drop",
        ),
        (
            "[[passive]]\nfamily = \"ipx\"\ndrop = true",
            "f:2: passive.family: \"ipx\" is no family; write ip4, ip6 or other",
        ),
        (
            "[punt]\nmemory = \"1 MB\"",
            "f:2: punt.memory: is \"1 MB\"; it is an amount from 1 MiB to 1 TiB, as \"256 MiB\"",
        ),
        (
            "[punt]\ndirectory = \"captures\"",
            "f:2: punt.directory: is the relative path \"captures\"; begin it with /",
        ),
        (
            "[class.high]\nmin = 1",
            "f:1: class.high: \"high\" is no class; write one of link, route, neigh, mgmt, mcast, except, miss, sample",
        ),
        (
            "[reason.\"ip4.*\"]\nrate = 1",
            "f:1: reason.\"ip4.*\": names no reason; write one as [reason.\"ip4.ttl-expired\"]",
        ),
        (
            "[reason.\"l2.lacp\"]\naction = \"pass\"",
            "f:2: reason.\"l2.lacp\".action: is \"pass\"; it is \"trap\", \"copy\" or \"drop\"",
        ),
        (
            "[[policer]]\nwhat = \"reason:l2.lacp\"\ntype = \"rfc2697\"\nrate = 1\nburst = 1",
            "f:1: policer: reason:l2.lacp: a policer of type rfc2697 needs --excess",
        ),
        (
            "[[policer]]\nwhat = \"reason:l2.lacp\"",
            "f:1: policer: is not complete; a policer has what, type, rate and burst",
        ),
    ] {
        assert_eq!(faults(text), [fault], "{text}");
    }
}

#[test]
fn says_what_does_not_fit_together() {
    let base =
        "[interface.lan]\naddresses = [\"10.0.0.1/24\"]\n[[sink]]\nname = \"bfdd\"\ntarget = \"tap:punt0\"\n";
    for (text, fault) in [
        (
            "[[register]]\nmatch = \"udp:5\"\nsink = \"bfd\"",
            "f:8: register.sink: there is no sink bfd in this file; did you mean bfdd?",
        ),
        (
            "[[register]]\nmatch = \"udp:5\"\nsink = \"somebody-else\"",
            "f:8: register.sink: there is no sink somebody-else in this file; add a [[sink]] of that name",
        ),
        (
            "[[register]]\nmatch = \"udp:5\"\nsink = \"bfdd\"\ninterface = \"lam\"",
            "f:9: register.interface: there is no interface lam in this file; did you mean lan?",
        ),
        (
            "[[register]]\nmatch = \"udp:5\"\nsink = \"bfdd\"\n[[register]]\nmatch = \"udp:5-5\"\nsink = \"bfdd\"",
            "f:9: register: udp:5 is there twice for sink bfdd; leave one",
        ),
        (
            "[[sink]]\nname = \"bfdd\"\ntarget = \"null\"",
            "f:7: sink.name: bfdd is there twice; name each sink once",
        ),
        (
            "[[sink]]\nname = \"b\"\ntarget = \"tap:punt1?interface=lam\"",
            "f:8: sink.target: there is no interface lam in this file; did you mean lan?",
        ),
        (
            "[[sink]]\nname = \"b\"\ntarget = \"tap:punt0\"",
            "f:8: sink.target: tap:punt0 is sink bfdd's; give each another",
        ),
        (
            "[[sink]]\nname = \"b\"\ntarget = \"unix:/x\"\n[[sink]]\nname = \"c\"\ntarget = \"shm:/./x\"",
            "f:11: sink.target: shm:/./x is sink b's; give each another",
        ),
        (
            "[[sink]]\nname = \"b\"\ntarget = \"pcapng:/tmp/b\"",
            "f:8: sink.target: /tmp/b is not below /var/lib/puntd; name a file there, or change punt.directory",
        ),
        (
            "[[passive]]\nfamily = \"ip4\"\nsink = \"b\"\ninterface = \"lan\"",
            "f:8: passive.sink: there is no sink b in this file; add a [[sink]] of that name",
        ),
        (
            "[[passive]]\nfamily = \"ip4\"\nredirect = \"wan\"",
            "f:8: passive.redirect: there is no interface wan in this file; did you mean lan?",
        ),
        (
            "[[passive]]\nfamily = \"ip4\"\nredirect = \"lan\"\nvia = \"10.0.0.1\"",
            "f:9: passive.via: 10.0.0.1 is this router's own address on lan; name a neighbour's",
        ),
        (
            "[[passive]]\nfamily = \"ip4\"\nredirect = \"lan\"\nvia = \"10.9.0.2\"",
            "f:9: passive.via: no interface's subnet holds 10.9.0.2; name a next hop on a subnet of lan, or add it as a neighbour",
        ),
        (
            "[interface.wan]\n[[passive]]\nfamily = \"ip4\"\nredirect = \"wan\"\nvia = \"10.0.0.2\"",
            "f:10: passive.via: 10.0.0.2 is on the subnet of lan, not of wan; name that",
        ),
        (
            "[interface.wan]\naddresses = [\"fe80::7/64\"]\n[[passive]]\nfamily = \"ip6\"\nredirect = \"wan\"\nvia = \"fe80::7\"",
            "f:11: passive.via: fe80::7 is this router's own address on wan; name a neighbour's",
        ),
        (
            "[interface.\"lan.100\"]\n[[passive]]\nfamily = \"ip4\"\nredirect = \"lan.100\"",
            "f:9: passive.redirect: ip4 cannot leave by lan.100 as it came, for it would lack the tags of lan.100; name a next hop there with via, or redirect to lan",
        ),
        (
            "[[passive]]\nfamily = \"ip4\"\ndrop = true\n[[passive]]\nfamily = \"ip4\"\nsink = \"bfdd\"",
            "f:9: passive: ip4 is there twice for all interfaces; leave one",
        ),
        (
            "[class.link]\nmin = 30001\n[punt]\nbudget = 100000",
            "f:7: class.link.min: is 30001, above the cap 30000; set it to at most that, or cap higher",
        ),
        (
            "[class.link]\nmin = 30000\n[class.route]\nmin = 30000",
            "f:6: punt.budget: is 60000, and the classes are promised 70500; set it to at least 70500",
        ),
        (
            "[punt]\nbudget = 1000",
            "f:7: punt.budget: is 1000, and the classes are promised 45500; set it to at least 45500",
        ),
        (
            "[[policer]]\nwhat = \"registration:1\"\ntype = \"single\"\nrate = 1\nburst = 1",
            "f:7: policer.what: registration:1 is the 1. [[register]] of this file, which has 0; count from 1",
        ),
        (
            "[[policer]]\nwhat = \"passive:ip6\"\ntype = \"single\"\nrate = 1\nburst = 1",
            "f:7: policer.what: there is no such [[passive]] as passive:ip6 in this file; add it",
        ),
        (
            "[[policer]]\nwhat = \"sink:bfd\"\ntype = \"single\"\nrate = 1\nburst = 1",
            "f:7: policer.what: there is no sink bfd in this file; did you mean bfdd?",
        ),
    ] {
        assert_eq!(faults(&format!("{base}{text}")), [fault], "{text}");
    }
}

#[test]
fn a_redirection_may_lead_to_a_neighbour_or_anywhere_on_a_link() {
    let passive = |via: &str| format!("[[passive]]\nfamily = \"ip4\"\nredirect = \"lan\"\nvia = \"{via}\"\n");
    let lan =
        "[interface.lan]\naddresses = [\"10.0.0.1/24\"]\n[interface.wan]\naddresses = [\"10.0.0.9/24\"]\n";
    let neighbor = "[[neighbor]]\naddress = \"10.9.0.2\"\nmac = \"02:00:00:00:00:02\"\ninterface = \"lan\"\n";
    for via in ["10.0.0.2", "10.9.0.2"] {
        Config::parse(&format!("{lan}{neighbor}{}", passive(via)), "f").expect("it is there");
    }
    Config::parse(&format!("{lan}{}", passive("fe80::2")).replace("ip4", "ip6"), "f").expect("it is there");
}

#[test]
fn a_wrong_sink_is_not_said_again_by_what_refers_to_it() {
    let text = "[[sink]]\nname = \"s\"\ntarget = \"x\"\n[[register]]\nmatch = \"udp:5\"\nsink = \"s\"";
    assert_eq!(faults(text).len(), 1);
}

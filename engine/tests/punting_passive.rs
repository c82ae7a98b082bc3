//! What nobody claimed: to a sink, out of another interface, to a next hop, or away; by family and ingress interface.

mod common;

use common::Rig;
use common::frames::*;
use common::router::*;
use serde_json::Value;

fn open() -> Vec<u8> {
    from_host(ip4("10.0.0.7", "10.0.0.1", 1, 17, &udp(9, 5000)))
}

fn open6() -> Vec<u8> {
    from_host(ip6("fd00:a::7", "fd00:a::1", 1, 17, &udp(9, 5000)))
}

fn other() -> Vec<u8> {
    let mut frame = [&LAN_MAC[..], &HOST, &[0x88, 0xb5, 1, 2, 3]].concat();
    frame.resize(60, 0x55);
    frame
}

fn number(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_else(|| panic!("{field} in {row:#}"))
}

fn set(rig: &mut Rig, what: &str) {
    rig.call("passive.set", &format!("{{{what}}}"));
}

/// Packets, refused, hits and misses of the only entry of a family.
fn books(rig: &mut Rig, family: &str) -> [u64; 4] {
    let row = rig.row("passive.list", "family", family);
    ["packets", "refused", "hits", "misses"].map(|field| number(&row, field))
}

#[test]
fn nothing_is_passive_until_it_is_set() {
    let mut rig = router();
    rig.put(LAN, &[open(), open6(), other()]);
    for reason in ["ip4.unclaimed", "ip6.unclaimed", "l2.unclaimed"] {
        let row = rig.row("reason.list", "name", reason);
        assert_eq!((number(&row, "packets"), number(&row, "no_sink")), (1, 1), "{reason}");
    }
    rig.finish();
}

#[test]
fn what_nobody_claimed_goes_to_a_sink_at_the_rate_of_its_entry() {
    let mut rig = router();
    let client = client(&mut rig, "slow-path");
    set(&mut rig, r#""family": "ip4", "sink": "slow-path", "rate": 1, "burst": 5"#);
    set(&mut rig, r#""family": "ip6", "sink": "slow-path""#);
    set(&mut rig, r#""family": "other", "sink": "slow-path""#);
    rig.put(LAN, &[open6(), other()]);
    let mut frames = client.frames(2);
    frames.sort();
    let mut sent = [open6(), other()];
    sent.sort();
    assert_eq!(frames, sent);
    rig.put(LAN, &vec![open(); 8]);
    assert_eq!(client.frames(5), vec![open(); 5]);
    assert_eq!(books(&mut rig, "ip4"), [8, 3, 5, 0]);
    let row = rig.row("reason.list", "name", "ip4.unclaimed");
    assert_eq!(["packets", "accepted", "refused_reason"].map(|field| number(&row, field)), [8, 5, 3]);
    // A registration claims its packets.
    let active = common::router::client(&mut rig, "a");
    register(&mut rig, "udp:5000", "a");
    rig.put(LAN, &[open6()]);
    assert_eq!(active.frames(1), [open6()]);
    rig.settled("slow-path");
    assert_eq!(client.rest(), []);
    let refused = rig.try_call("sink.del", r#"{"name": "slow-path"}"#).unwrap_err();
    assert!(refused.contains("passive") && refused.contains("slow-path"), "{refused}");
    rig.finish();
}

#[test]
fn one_ingress_interface_may_have_an_entry_of_its_own() {
    let mut rig = router();
    let [all, of_wan] = ["all", "of-wan"].map(|name| client(&mut rig, name));
    set(&mut rig, r#""family": "ip4", "sink": "all""#);
    set(&mut rig, r#""family": "ip4", "sink": "of-wan", "interface": "wan""#);
    let on_wan = ethernet(WAN_MAC, GATEWAY, &ip4("10.0.1.2", "10.0.1.1", 64, 17, &udp(9, 5000)));
    rig.put(LAN, &[open()]);
    rig.put(WAN, std::slice::from_ref(&on_wan));
    assert_eq!(all.frames(1), [open()]);
    assert_eq!(of_wan.frames(1), std::slice::from_ref(&on_wan));
    set(&mut rig, r#""family": "ip4", "drop": true, "interface": "wan""#);
    rig.put(WAN, std::slice::from_ref(&on_wan));
    assert_eq!(number(&rig.row("reason.list", "name", "ip4.unclaimed"), "action_drop"), 1);
    rig.call("passive.del", r#"{"family": "ip4", "interface": "wan"}"#);
    rig.put(WAN, std::slice::from_ref(&on_wan));
    assert_eq!(all.frames(1), [on_wan], "what holds for all holds again");
    rig.finish();
}

#[test]
fn a_redirection_leaves_all_but_the_link_header_as_it_was() {
    let mut rig = router();
    set(&mut rig, r#""family": "ip4", "redirect": "wan", "via": "10.0.1.2""#);
    set(&mut rig, r#""family": "ip6", "redirect": "wan", "via": "fd00:b::2""#);
    set(&mut rig, r#""family": "other", "redirect": "wan""#);
    rig.put(LAN, &[open(), open6(), other()]);
    let mut sent = rig.take(WAN);
    let mut expected =
        [ethernet(GATEWAY, WAN_MAC, &open()[14..]), ethernet(GATEWAY, WAN_MAC, &open6()[14..]), other()];
    sent.sort();
    expected.sort();
    assert_eq!(sent, expected, "TTL 1 stays");
    for family in ["ip4", "ip6", "other"] {
        assert_eq!(books(&mut rig, family), [1, 0, 1, 0], "{family}");
    }
    // Without a next hop an IP frame leaves as it came, too.
    set(&mut rig, r#""family": "ip4", "redirect": "wan""#);
    rig.put(LAN, &[open()]);
    assert_eq!(rig.take(WAN), [open()]);
    rig.finish();
}

#[test]
fn a_next_hop_that_is_not_there_is_a_miss_until_it_is() {
    let mut rig = router();
    set(&mut rig, r#""family": "ip4", "redirect": "wan", "via": "10.0.1.9", "rate": 1, "burst": 4"#);
    rig.put(LAN, &[open()]);
    assert_eq!(rig.take(WAN), Vec::<Vec<u8>>::new());
    assert_eq!(books(&mut rig, "ip4"), [1, 0, 0, 1]);
    let row = rig.row("reason.list", "name", "ip4.unresolved-neighbor");
    assert_eq!(number(&row, "packets"), 1, "the neighbour is to be resolved");
    // Who asked for all such packets gets it as what it was punted for, and no copy that was forwarded.
    let client = client(&mut rig, "a");
    let ids = ["ip4.unclaimed", "ip4.unresolved-neighbor"]
        .map(|reason| rig.register(&format!(r#"{{"match": "reason:{reason}", "sink": "a"}}"#)));
    rig.call("passive.del", r#"{"family": "ip4"}"#);
    set(&mut rig, r#""family": "ip4", "redirect": "wan", "via": "10.0.1.9", "rate": 1, "burst": 4"#);
    rig.put(LAN, &[open()]);
    let (header, frame) = client.records(1).remove(0);
    assert_eq!((frame, header.flags & 2, header.registration), (open(), 0, ids[1] as u32));
    assert_eq!(client.rest(), []);
    rig.call("neighbor.add", r#"{"address": "10.0.1.9", "mac": "02:00:00:00:00:29", "interface": "wan"}"#);
    rig.put(LAN, &vec![open(); 5]);
    assert_eq!(rig.take(WAN), vec![ethernet([2, 0, 0, 0, 0, 0x29], WAN_MAC, &open()[14..]); 3]);
    assert_eq!(books(&mut rig, "ip4"), [6, 2, 3, 1]);
    rig.call("interface.set", r#"{"name": "wan", "up": false}"#);
    rig.finish();
}

#[test]
fn a_redirection_holds_for_what_registrations_leave() {
    let mut rig = router();
    let client = client(&mut rig, "a");
    set(&mut rig, r#""family": "ip4", "redirect": "wan", "via": "10.0.1.2""#);
    rig.register(r#"{"match": "udp:5000", "sink": "a", "source": "10.0.0.7/32"}"#);
    rig.register(r#"{"match": "reason:ip4.*", "sink": "a", "interface": "wan"}"#);
    let of_another = from_host(ip4("10.0.0.8", "10.0.0.1", 1, 17, &udp(9, 5000)));
    rig.put(LAN, &[open(), of_another.clone()]);
    assert_eq!(client.frames(1), [open()]);
    assert_eq!(rig.take(WAN), [ethernet(GATEWAY, WAN_MAC, &of_another[14..])]);
    let on_wan = ethernet(WAN_MAC, GATEWAY, &ip4("10.0.1.2", "10.0.1.1", 64, 17, &udp(9, 5000)));
    rig.put(WAN, std::slice::from_ref(&on_wan));
    assert_eq!(client.frames(1), std::slice::from_ref(&on_wan));
    assert_eq!(rig.take(WAN), [ethernet(GATEWAY, WAN_MAC, &on_wan[14..])], "it asked, and took nothing");
    rig.finish();
}

#[test]
fn who_registers_for_what_is_redirected_gets_copies_at_its_own_limits() {
    const COPY: u16 = 2;
    let mut rig = router();
    let client = client(&mut rig, "a");
    set(&mut rig, r#""family": "ip4", "redirect": "wan", "via": "10.0.1.2", "rate": 1, "burst": 6"#);
    set(&mut rig, r#""family": "other", "redirect": "wan""#);
    rig.register(r#"{"match": "reason:*", "sink": "a"}"#);
    rig.put(LAN, &[open(), other()]);
    let mut records = client.records(2);
    records.sort_by_key(|(_, frame)| frame.len());
    let mut frames = [open(), other()];
    frames.sort_by_key(Vec::len);
    for ((header, frame), expected) in records.iter().zip(&frames) {
        assert_eq!((frame, header.flags & COPY), (expected, COPY));
    }
    let mut sent = rig.take(WAN);
    let mut expected = [ethernet(GATEWAY, WAN_MAC, &open()[14..]), other()];
    sent.sort();
    expected.sort();
    assert_eq!(sent, expected);
    // The limit and the sampling of the reason are for copies, and the entry's rate for the redirection.
    rig.call("reason.set", r#"{"name": "ip4.unclaimed", "rate": 1, "burst": 2, "sample": 2}"#);
    rig.put(LAN, &vec![open(); 5]);
    assert_eq!(client.frames(2), vec![open(); 2]);
    assert_eq!(rig.take(WAN).len(), 5);
    let books = |rig: &mut Rig| {
        let row = rig.row("reason.list", "name", "ip4.unclaimed");
        ["packets", "copies", "accepted", "sampled_out", "refused_reason"].map(|field| number(&row, field))
    };
    let [packets, copies, accepted, sampled_out, refused] = books(&mut rig);
    assert_eq!([packets, copies, accepted + sampled_out + refused], [6, 6, 6]);
    assert_eq!(self::books(&mut rig, "ip4"), [6, 0, 6, 0]);
    // What the rate of the redirection refuses leaves the graph, and is still offered to who asked.
    rig.call("reason.set", r#"{"name": "ip4.unclaimed", "rate": "unlimited", "sample": 1}"#);
    rig.put(LAN, &[open()]);
    let (header, frame) = client.records(1).remove(0);
    assert_eq!((frame, header.flags & COPY), (open(), 0));
    assert_eq!(rig.take(WAN), Vec::<Vec<u8>>::new());
    assert_eq!(self::books(&mut rig, "ip4"), [7, 1, 6, 0]);
    assert_eq!(books(&mut rig)[..2], [7, 6]);
    rig.finish();
}

#[test]
fn what_is_too_long_for_the_way_is_a_miss() {
    let mut rig = router();
    set(&mut rig, r#""family": "ip4", "redirect": "wan", "via": "10.0.1.2""#);
    set(&mut rig, r#""family": "ip6", "redirect": "wan""#);
    let jumbo = udp(9, 5000).into_iter().chain(vec![0; 2000]).collect::<Vec<u8>>();
    let frames = [ip4("10.0.0.7", "10.0.0.1", 1, 17, &jumbo), ip6("fd00:a::7", "fd00:a::1", 1, 17, &jumbo)];
    rig.put(LAN, &frames.map(from_host));
    assert_eq!(rig.take(WAN), Vec::<Vec<u8>>::new());
    assert_eq!(rig.dropped("punt-redirect", "longer than the MTU of the egress interface"), 2);
    for family in ["ip4", "ip6"] {
        assert_eq!(books(&mut rig, family), [1, 0, 0, 1], "{family}");
    }
    rig.finish();
}

#[test]
fn a_frame_in_a_vlan_is_its_parents_where_nothing_is_set_for_the_vlan() {
    let mut rig = router();
    let client = client(&mut rig, "a");
    set(&mut rig, r#""family": "ip4", "sink": "a", "interface": "lan""#);
    let tags = [0x81, 0, 0, 100];
    let frame = tagged(LAN_MAC, HOST, &tags, &ip4("10.100.0.7", "10.100.0.1", 1, 17, &udp(9, 5000)));
    rig.put(LAN, std::slice::from_ref(&frame));
    assert_eq!(client.frames(1), std::slice::from_ref(&frame));
    set(&mut rig, r#""family": "ip4", "drop": true, "interface": "lan.100""#);
    rig.put(LAN, &[frame]);
    assert_eq!(number(&rig.row("reason.list", "name", "ip4.unclaimed"), "action_drop"), 1);
    rig.finish();
}

#[test]
fn faults_are_told() {
    let mut rig = router();
    for (what, word) in [
        (r#""family": "ip4", "sink": "nobody""#, "nobody"),
        (r#""family": "ip4", "redirect": "wam""#, "wam"),
        (r#""family": "ip4", "redirect": "wan", "via": "fd00::1""#, "fd00::1"),
        (r#""family": "other", "redirect": "wan", "via": "10.0.1.2""#, "via"),
        (r#""family": "ip4", "redirect": "wan", "via": "10.0.1.1""#, "own address on wan"),
        (r#""family": "ip4", "redirect": "wan", "via": "10.0.0.1""#, "own address on lan"),
        (r#""family": "ip4", "redirect": "wan", "via": "10.0.0.7""#, "on the subnet of lan, not of wan"),
        (
            r#""family": "ip4", "redirect": "wan", "via": "192.0.2.1""#,
            "no interface's subnet holds 192.0.2.1",
        ),
        (r#""family": "ip4", "redirect": "lan.100""#, "it would lack the tags of lan.100"),
        (r#""family": "other", "redirect": "customer""#, "redirect to lan"),
        (r#""family": "ip4""#, "ip4"),
        (r#""family": "ip5", "drop": true"#, "ip5"),
    ] {
        let refused = rig.try_call("passive.set", &format!("{{{what}}}")).unwrap_err();
        assert!(refused.contains(word), "{what}: {refused}");
    }
    assert_eq!(rig.rows("passive.list"), Vec::<Value>::new());
    // Link-local neighbours are on no subnet, and known neighbours need not be.
    set(&mut rig, r#""family": "ip6", "redirect": "wan", "via": "fe80::2""#);
    rig.call("neighbor.add", r#"{"address": "192.0.2.1", "mac": "02:00:00:00:00:23", "interface": "wan"}"#);
    set(&mut rig, r#""family": "ip4", "redirect": "wan", "via": "192.0.2.1""#);
    set(&mut rig, r#""family": "ip4", "redirect": "lan.100", "via": "10.100.0.7""#);
    rig.finish();
}

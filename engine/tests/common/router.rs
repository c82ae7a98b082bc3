//! The router of the tests, and frames that it cannot simply forward.

use super::Rig;
use super::client::Client;
use super::frames::*;

pub const LAN: usize = 0;
pub const WAN: usize = 1;
pub const LAN_MAC: Mac = [2, 0, 0, 0, 0, 1];
pub const WAN_MAC: Mac = [2, 0, 0, 0, 0, 2];
pub const HOST: Mac = [2, 0, 0, 0, 0, 0x77];
pub const GATEWAY: Mac = [2, 0, 0, 0, 0, 0x22];
pub const LLDP_GROUP: Mac = [1, 0x80, 0xc2, 0, 0, 0x0e];

/// `lan` 10.0.0.1/24 fd00:a::1/64 with `lan.100` and `customer`, `wan` 10.0.1.1/24 fd00:b::1/64; the host .7 on `lan` and in its VLANs;
/// 10.2.0.0/16 and fd00:2::/32 behind .2 on `wan`. Frames of 9 kB come in on `lan`.
pub const ROUTER: &str = r#"
    [interface.lan]
    port = "net_ring_lan"
    mtu = 9000
    mac = "02:00:00:00:00:01"
    addresses = ["10.0.0.1/24", "fd00:a::1/64"]
    [interface.wan]
    port = "net_ring_wan"
    mac = "02:00:00:00:00:02"
    addresses = ["10.0.1.1/24", "fd00:b::1/64"]
    [interface."lan.100"]
    mtu = 9000
    addresses = ["10.100.0.1/24"]
    [interface.customer]
    parent = "lan"
    vlan = 200
    inner = 7
    tpid = "802.1ad"
    addresses = ["10.200.0.1/24"]
    [[neighbor]]
    address = "10.0.0.7"
    mac = "02:00:00:00:00:77"
    interface = "lan"
    [[neighbor]]
    address = "10.100.0.7"
    mac = "02:00:00:00:00:77"
    interface = "lan.100"
    [[neighbor]]
    address = "10.200.0.7"
    mac = "02:00:00:00:00:77"
    interface = "customer"
    [[neighbor]]
    address = "10.0.1.2"
    mac = "02:00:00:00:00:22"
    interface = "wan"
    [[neighbor]]
    address = "fd00:b::2"
    mac = "02:00:00:00:00:22"
    interface = "wan"
    [[route]]
    prefix = "10.2.0.0/16"
    via = "10.0.1.2"
    [[route]]
    prefix = "fd00:2::/32"
    via = "fd00:b::2"
"#;

pub fn router() -> Rig {
    router_with("")
}

/// With `more` in its configuration.
pub fn router_with(more: &str) -> Rig {
    Rig::new("0", &["lan", "wan"], &format!("{ROUTER}{more}"))
}

/// A client, and a sink of its name that goes there.
pub fn client(rig: &mut Rig, name: &str) -> Client {
    let client = Client::new(name);
    rig.call("sink.add", &format!(r#"{{"name": "{name}", "target": "unix:{}"}}"#, client.path().display()));
    client
}

pub fn register(rig: &mut Rig, matching: &str, sink: &str) -> u64 {
    rig.register(&format!(r#"{{"match": "{matching}", "sink": "{sink}"}}"#))
}

pub fn from_host(packet: Vec<u8>) -> Vec<u8> {
    ethernet(LAN_MAC, HOST, &packet)
}

/// TTL 1, to somewhere behind the router; `len` bytes with the Ethernet header, and every byte another.
pub fn expires(len: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..len - 42).map(|at| (at * 7 + at / 256) as u8).collect();
    from_host(udp4("10.0.0.7", "10.2.3.4", 1, &payload))
}

/// The same over IPv6.
pub fn expires6(len: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..len - 62).map(|at| (at * 5 + at / 256) as u8).collect();
    from_host(udp6("fd00:a::7", "fd00:2::4", 1, &payload))
}

pub fn lldp(len: usize) -> Vec<u8> {
    let mut frame = [&LLDP_GROUP[..], &HOST, &[0x88, 0xcc]].concat();
    frame.extend((14..len).map(|at| (at * 3) as u8));
    frame
}

pub fn no_route(len: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..len - 42).map(|at| (at * 11) as u8).collect();
    from_host(udp4("10.0.0.7", "192.0.2.1", 64, &payload))
}

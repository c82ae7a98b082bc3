//! Linux hosts on both sides of a router, in network namespaces of their own, talk through it.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tests::engine::{Engine, Launch, PATIENCE};
use tests::namespace::{Lab, Namespace};
use tests::plan::{self, HOST, UPSTREAM};

/// Hosts on cables to a router on these lcores.
fn cabled(lcores: &str) -> Option<(Lab, Engine)> {
    let lab = Lab::new()?;
    lab.cable();
    lab.address(&HOST, &UPSTREAM);
    let engine = Launch::new()
        .inside(&lab.router)
        .lcores(lcores)
        .vdev("net_af_packet0,iface=lan")
        .vdev("net_af_packet1,iface=wan")
        .config(plan::config("net_af_packet0", "net_af_packet1"))
        .start();
    Some((lab, engine))
}

/// Hosts on the router's TAP devices.
fn tapped(lcores: &str) -> Option<(Lab, Engine)> {
    let lab = Lab::new()?;
    let engine = Launch::new()
        .inside(&lab.router)
        .lcores(lcores)
        .vdev("net_tap0,iface=lan")
        .vdev("net_tap1,iface=wan")
        .config(plan::config("net_tap0", "net_tap1"))
        .start();
    for (host, interface) in [(&lab.host, "lan"), (&lab.upstream, "wan")] {
        lab.router.ip(&format!("link set {interface} netns {} name eth0", host.name()));
    }
    lab.address(&HOST, &UPSTREAM);
    Some((lab, engine))
}

#[test]
fn they_ping_each_other() {
    let Some((lab, engine)) = cabled("0@0,1@1") else { return };
    ping(&lab);
    assert!(engine.interface("lan", "rx_packets") >= 12 * 5);
    engine.finish();
}

#[test]
fn they_exchange_files_with_one_worker() {
    let Some((lab, engine)) = cabled("0@0,1@1") else { return };
    transfers(&lab);
    engine.finish();
}

#[test]
fn they_exchange_files_with_two_workers() {
    let Some((lab, engine)) = cabled("0@0,1@0,2@1") else { return };
    ping(&lab);
    transfers(&lab);
    engine.finish();
}

#[test]
fn they_exchange_files_with_a_single_lcore() {
    let Some((lab, engine)) = cabled("0") else { return };
    transfers(&lab);
    engine.finish();
}

#[test]
fn they_exchange_files_over_tap_devices() {
    let Some((lab, engine)) = tapped("0@0,1@1") else { return };
    ping(&lab);
    transfers(&lab);
    engine.finish();
}

#[test]
fn what_is_larger_than_the_way_is_counted_and_not_sent() {
    let Some((lab, engine)) = cabled("0@0,1@1") else { return };
    engine.ok("interface set wan --mtu 1400");
    assert!(reaches(&lab.host, "-M do -s 1372 10.0.1.2"));
    assert!(in_vain(&lab.host, "-M do -s 1373 10.0.1.2"));
    five(&engine, "ip4.mtu-exceeded");
    assert!(in_vain(&lab.host, "-M dont -s 1373 10.0.1.2"));
    five(&engine, "ip4.needs-fragmentation");
    assert!(reaches(&lab.host, "-M do -s 1352 fd00:b::2"));
    assert!(in_vain(&lab.host, "-M do -s 1353 fd00:b::2"));
    five(&engine, "ip6.packet-too-big");
    engine.ok("interface set wan --mtu 1500");
    assert!(reaches(&lab.host, "-M do -s 1373 10.0.1.2"));
    assert!(reaches(&lab.host, "-M do -s 1353 fd00:b::2"));
    engine.finish();
}

#[test]
fn routers_on_the_way_are_counted_in_ttl() {
    let Some((lab, engine)) = cabled("0@0,1@1") else { return };
    assert!(in_vain(&lab.host, "-t 1 10.0.1.2"));
    five(&engine, "ip4.ttl-expired");
    assert!(reaches(&lab.host, "-t 2 10.0.1.2"));
    assert!(in_vain(&lab.host, "-t 1 fd00:b::2"));
    five(&engine, "ip6.hop-limit-expired");
    assert!(in_vain(&lab.host, "10.0.0.1"), "nobody answers for the router yet");
    five(&engine, "local.icmp-echo");
    engine.finish();
}

#[test]
fn routes_and_neighbours_change_while_they_talk_and_no_packet_is_lost() {
    let Some((lab, engine)) = cabled("0@0,1@0,2@1") else { return };
    lab.upstream.ip("addr add 10.0.1.3/24 dev eth0");
    lab.upstream.ip("addr add 10.2.0.1/32 dev lo");
    engine.ok(&format!("neighbor add 10.0.1.3 lladdr {} dev wan", plan::words(UPSTREAM.mac)));
    let talk = Talk::begin(&lab, "10.2.0.1:7000");
    for _ in 0..25 {
        engine.ok("route replace 10.2.0.0/16 via 10.0.1.3");
        talk.goes_on();
        engine.ok("route add 10.2.0.0/24 via 10.0.1.2");
        engine.ok("route replace 10.2.0.0/16 via 10.0.1.2,10.0.1.3");
        talk.goes_on();
        engine.ok("route del 10.2.0.0/24");
        engine.ok("route replace 10.2.0.0/16 via 10.0.1.2");
        engine.ok("neighbor del 10.0.1.3 dev wan");
        talk.goes_on();
        engine.ok(&format!("neighbor add 10.0.1.3 lladdr {} dev wan", plan::words(UPSTREAM.mac)));
        engine.ok("address add 10.99.0.1/24 dev wan");
        engine.ok("address del 10.99.0.1/24 dev wan");
    }
    assert_eq!(talk.end(), 0, "questions without an answer");
    engine.finish();
}

#[test]
fn an_interface_goes_down_and_comes_up() {
    let Some((lab, engine)) = cabled("0@0,1@1") else { return };
    assert!(reaches(&lab.host, "10.0.1.2"));
    engine.ok("interface set wan --down");
    assert!(in_vain(&lab.host, "10.0.1.2"));
    engine.until("five packets are dropped", |engine| engine.drops("egress interface is down") >= 5);
    engine.ok("interface set wan --up");
    assert!(reaches(&lab.host, "10.0.1.2"));
    engine.ok("neighbor del 10.0.1.2 dev wan");
    assert!(in_vain(&lab.host, "10.0.1.2"));
    five(&engine, "ip4.unresolved-neighbor");
    engine.ok(&format!("neighbor add 10.0.1.2 lladdr {} dev wan", plan::words(UPSTREAM.mac)));
    assert!(reaches(&lab.host, "10.0.1.2"));
    engine.ok("interface set wan --mac 02:00:00:00:0b:77");
    assert!(in_vain(&lab.host, "10.0.1.2"), "the upstream still answers to the old address");
    lab.upstream.ip("neigh replace 10.0.1.1 lladdr 02:00:00:00:0b:77 dev eth0 nud permanent");
    assert!(reaches(&lab.host, "10.0.1.2"));
    engine.finish();
}

/// Whether a host's pings are answered, given the time: whoever else uses the CPUs may delay them.
fn reaches(host: &Namespace, ping: &str) -> bool {
    answers(host, &format!("-c 5 -i 0.05 -w 30 {ping}")) >= 5
}

/// Whether none of a host's five pings is answered.
fn in_vain(host: &Namespace, ping: &str) -> bool {
    answers(host, &format!("-c 5 -i 0.05 -W 1 {ping}")) == 0
}

/// Waits until five packets were punted for this reason.
#[track_caller]
fn five(engine: &Engine, reason: &str) {
    engine.until(&format!("five packets are punted for {reason}"), |engine| engine.reason(reason) >= 5);
}

/// How many answers a ping from a host gets.
fn answers(host: &Namespace, ping: &str) -> u64 {
    let output = host.command(&format!("ping {ping}"));
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| word.starts_with("received")).unwrap_or_else(|| {
        panic!("ping {ping}: {text}{}", String::from_utf8_lossy(&output.stderr));
    });
    words[at - 1].parse().unwrap()
}

/// Both hosts ping each other, by IPv4 and IPv6, small and large.
fn ping(lab: &Lab) {
    for (host, other) in [(&lab.host, &UPSTREAM), (&lab.upstream, &HOST)] {
        for address in [other.ip4, other.ip6] {
            for size in [0, 56, 1400] {
                let ping = format!("-s {size} {address}");
                assert!(reaches(host, &ping), "{ping}");
            }
        }
    }
}

/// Both hosts send each other some megabytes, by IPv4 and IPv6, TCP and UDP.
fn transfers(lab: &Lab) {
    for (address, seed) in [(UPSTREAM.ip4, 1), (UPSTREAM.ip6, 2)] {
        over_tcp(lab, address.parse().unwrap(), seed);
        over_udp(lab, address.parse().unwrap(), seed);
    }
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut noise = vec![0; len];
    fastrand::Rng::with_seed(seed).fill(&mut noise);
    noise
}

/// Both sides write at the same time what the other is to read.
fn over_tcp(lab: &Lab, address: IpAddr, seed: u64) {
    const LEN: usize = 4 << 20;
    let there = noise(seed, LEN);
    let back = noise(seed + 100, LEN);
    let listener = lab.upstream.enter(|| TcpListener::bind((address, 5001)).unwrap());
    let exchange = |mut stream: TcpStream, say: &[u8], hear: &[u8]| {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut writer = stream.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || writer.write_all(say).unwrap());
            let mut heard = vec![0; hear.len()];
            stream.read_exact(&mut heard).unwrap();
            assert!(heard == hear, "what arrives by TCP is not what was sent");
        });
    };
    thread::scope(|scope| {
        scope.spawn(|| exchange(listener.accept().unwrap().0, &back, &there));
        let to = SocketAddr::new(address, 5001);
        let stream = lab.host.enter(|| TcpStream::connect_timeout(&to, PATIENCE).unwrap());
        exchange(stream, &there, &back);
    });
}

/// One side asks, the other answers the same, a few datagrams at a time: fewer than any queue on the way holds, so none may be lost.
fn over_udp(lab: &Lab, address: IpAddr, seed: u64) {
    const LEN: usize = 1400;
    const AT_ONCE: usize = 16;
    const ROUNDS: usize = 60;
    let server = lab.upstream.enter(|| UdpSocket::bind((address, 5002)).unwrap());
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let client = lab.host.enter(|| {
        let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let client = UdpSocket::bind((any, 0)).unwrap();
        client.connect((address, 5002)).unwrap();
        client
    });
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut datagram = [0; 2000];
            for _ in 0..ROUNDS * AT_ONCE {
                let (len, from) = server.recv_from(&mut datagram).unwrap();
                server.send_to(&datagram[..len], from).unwrap();
            }
        });
        for round in 0..ROUNDS {
            let sent: Vec<Vec<u8>> =
                (0..AT_ONCE).map(|index| noise(seed + (round * AT_ONCE + index) as u64, LEN)).collect();
            sent.iter().for_each(|datagram| assert_eq!(client.send(datagram).unwrap(), LEN));
            for datagram in &sent {
                let mut heard = [0; 2000];
                let len = client.recv(&mut heard).unwrap();
                assert!(heard[..len] == datagram[..], "what arrives by UDP is not what was sent");
            }
        }
    });
}

/// A conversation that goes on until it is ended: one host asks, the other answers, one datagram at a time.
struct Talk {
    state: &'static State,
    asking: thread::JoinHandle<u64>,
}

#[derive(Default)]
struct State {
    answers: AtomicU64,
    over: AtomicBool,
}

impl Talk {
    fn begin(lab: &Lab, server: &str) -> Talk {
        let state: &State = Box::leak(Box::default());
        let answering = lab.upstream.enter(|| UdpSocket::bind(server).unwrap());
        thread::spawn(move || {
            let mut datagram = [0; 100];
            while let Ok((len, from)) = answering.recv_from(&mut datagram) {
                answering.send_to(&datagram[..len], from).unwrap();
            }
        });
        let asking = lab.host.enter(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect(server).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket
        });
        let asking = thread::spawn(move || {
            let mut lost = 0;
            for question in 0_u64.. {
                if state.over.load(Ordering::Relaxed) {
                    break;
                }
                asking.send(&question.to_be_bytes()).unwrap();
                let mut answer = [0; 100];
                match asking.recv(&mut answer) {
                    Ok(8) if answer[..8] == question.to_be_bytes() => {
                        state.answers.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => lost += 1,
                }
            }
            lost
        });
        Talk { state, asking }
    }

    /// Waits for some more answers.
    fn goes_on(&self) {
        let answers = || self.state.answers.load(Ordering::Relaxed);
        let wanted = answers() + 20;
        let deadline = std::time::Instant::now() + PATIENCE;
        while answers() < wanted {
            assert!(std::time::Instant::now() < deadline, "the conversation has stopped");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends it, and tells how many questions had no answer.
    fn end(self) -> u64 {
        self.state.over.store(true, Ordering::Relaxed);
        self.asking.join().unwrap()
    }
}

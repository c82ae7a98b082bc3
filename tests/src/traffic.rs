//! Mixed, real-looking traffic through the network of [`plan`](crate::plan), and what the router has to do with each packet of it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use fastrand::Rng;
use serde_json::{Value, json};

use crate::exceptions::{self, Exception};
use crate::packets::{Ip, forwarded, from, ip4, ip6, ping, tcp, udp};
use crate::plan::{CUSTOMER, HOST, Neighbor, Port, UPSTREAM};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes to this neighbour.
    Forwarded(&'static Neighbor),
    /// It goes to this neighbour, and would be copied to whoever asks for this reason.
    Copied(&'static str, &'static Neighbor),
    /// It is punted for this reason.
    Punted(&'static str),
    /// It is dropped by this node with this text.
    Dropped(&'static str, &'static str),
}

impl Outcome {
    /// The neighbour it goes to, if it goes anywhere.
    pub fn next(self) -> Option<&'static Neighbor> {
        match self {
            Outcome::Forwarded(next) | Outcome::Copied(_, next) => Some(next),
            _ => None,
        }
    }
}

/// A packet and what becomes of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is.
    pub about: &'static str,
    /// Where it comes in.
    pub port: Port,
    /// From the Ethernet header on, without FCS.
    pub frame: Vec<u8>,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Packets of one flow leave in the order in which they came; an exception is in none.
    pub flow: Option<usize>,
}

impl Case {
    /// The port it leaves by, and the frame there.
    pub fn sent(&self) -> Option<(Port, Vec<u8>)> {
        self.outcome.next().map(|next| (next.port, forwarded(&self.frame, next)))
    }
}

/// Of a hundred packets, so many are exceptions.
const EXCEPTIONS_PER_CENT: u32 = 10;
/// Of a hundred flows, so many are IPv6.
const IP6_PER_CENT: u32 = 35;

/// `packets` packets; the same for the same seed. Exceptions come in turn, so a few thousand packets have all of them.
pub fn mix(packets: usize, seed: u64) -> Vec<Case> {
    let mut rng = Rng::with_seed(seed);
    let mut flows: Vec<Flow> = (0..(packets / 10).clamp(8, 5000)).map(|_| Flow::new(&mut rng)).collect();
    let mut exceptions = exceptions::all().cycle();
    (0..packets)
        .map(|_| match rng.u32(..100) < EXCEPTIONS_PER_CENT {
            true => exceptional(exceptions.next().expect("a cycle"), &mut rng),
            false => {
                // A few flows have most of the packets.
                let index = (flows.len() as f64 * rng.f64().powi(3)) as usize;
                let flow = &mut flows[index];
                let frame = from(flow.direction.0, &flow.packet(&mut rng));
                Case {
                    about: "forwarded",
                    port: flow.direction.0.port,
                    frame,
                    outcome: Outcome::Forwarded(flow.direction.1),
                    flow: Some(index),
                }
            }
        })
        .collect()
}

/// One of each exception.
pub fn one_of_each(seed: u64) -> Vec<Case> {
    let mut rng = Rng::with_seed(seed);
    exceptions::all().map(|exception| exceptional(exception, &mut rng)).collect()
}

fn exceptional(exception: &Exception, rng: &mut Rng) -> Case {
    let Exception { about, port, outcome, frame } = *exception;
    Case { about, port, frame: frame(rng), outcome, flow: None }
}

/// The totals that a router's counters must show after these packets, and nothing else.
pub fn totals(cases: &[Case]) -> Value {
    let mut punted = BTreeMap::<&str, u64>::new();
    let mut copied = BTreeMap::<&str, u64>::new();
    let mut dropped = BTreeMap::<(&str, &str), u64>::new();
    let mut transmitted = BTreeMap::<&str, u64>::new();
    for case in cases {
        match case.outcome {
            Outcome::Punted(reason) => *punted.entry(reason).or_default() += 1,
            Outcome::Dropped(node, text) => *dropped.entry((node, text)).or_default() += 1,
            Outcome::Copied(reason, _) => *copied.entry(reason).or_default() += 1,
            Outcome::Forwarded(_) => {}
        }
        if let Some(next) = case.outcome.next() {
            *transmitted.entry(next.interface).or_default() += 1;
        }
    }
    let dropped: Vec<Value> = dropped
        .into_iter()
        .map(|((node, text), packets)| json!({"node": node, "text": text, "packets": packets}))
        .collect();
    json!({
        "received": cases.len(),
        "transmitted": transmitted,
        "punted": punted,
        "copied": copied,
        "dropped": dropped,
    })
}

/// Packets that belong together: from one neighbour to another, with the same addresses and ports.
struct Flow {
    direction: (&'static Neighbor, &'static Neighbor),
    addresses: Addresses,
    transport: Transport,
    /// Packets of it so far.
    packets: u32,
    sequence: u32,
}

#[derive(Clone, Copy)]
enum Addresses {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

#[derive(Clone, Copy)]
enum Transport {
    Tcp(u16, u16),
    Udp(u16, u16),
    Ping,
    /// An IP protocol that a router has nothing to do with: ESP.
    Esp,
}

impl Flow {
    fn new(rng: &mut Rng) -> Flow {
        let inside = if rng.u32(..4) == 0 { &CUSTOMER } else { &HOST };
        let outwards = rng.u32(..100) < 60;
        let (near, far) = match rng.u32(..100) < IP6_PER_CENT {
            true => (behind6(inside, rng), behind6(&UPSTREAM, rng)),
            false => (behind4(inside, rng), behind4(&UPSTREAM, rng)),
        };
        let client = rng.u16(32768..61000);
        let transport = match rng.u32(..100) {
            0..45 => Transport::Tcp(client, 443),
            45..55 => Transport::Tcp(client, 80),
            55..60 => Transport::Tcp(client, 22),
            60..78 => Transport::Udp(client, 443),
            78..88 => Transport::Udp(client, 53),
            88..94 => Transport::Udp(client & !1, 5004),
            94..97 => Transport::Ping,
            _ => Transport::Esp,
        };
        let (direction, (source, destination), transport) = match outwards {
            true => ((inside, &UPSTREAM), (near, far), transport),
            false => ((&UPSTREAM, inside), (far, near), transport.reversed()),
        };
        let addresses = match (source, destination) {
            (Address::V4(source), Address::V4(destination)) => Addresses::V4(source, destination),
            (Address::V6(source), Address::V6(destination)) => Addresses::V6(source, destination),
            _ => unreachable!("both ends are of one family"),
        };
        Flow { direction, addresses, transport, packets: 0, sequence: rng.u32(..) }
    }

    /// The flow's next packet.
    fn packet(&mut self, rng: &mut Rng) -> Vec<u8> {
        self.packets += 1;
        match self.addresses {
            Addresses::V4(source, destination) => {
                let mut ip = ip4(source, destination);
                ip.identification = self.packets as u16;
                if matches!(self.transport, Transport::Ping) {
                    let data = payload(rng, 14 + 20 + 8);
                    return ping(ip, self.packets as u16, &data);
                }
                self.over(ip, 20, rng)
            }
            Addresses::V6(source, destination) => self.over(ip6(source, destination), 40, rng),
        }
    }

    fn over(&mut self, ip: impl Ip, header: usize, rng: &mut Rng) -> Vec<u8> {
        match self.transport {
            Transport::Tcp(source, destination) => {
                let ports = (source, destination);
                if self.packets == 1 {
                    return tcp(ip, ports, self.sequence, None, b"");
                }
                let data = payload(rng, 14 + header + 20);
                let packet = tcp(ip, ports, self.sequence, Some(self.packets), &data);
                self.sequence = self.sequence.wrapping_add(data.len() as u32);
                packet
            }
            Transport::Udp(source, destination) => {
                udp(ip, source, destination, &payload(rng, 14 + header + 8))
            }
            Transport::Ping | Transport::Esp => {
                let mut data = payload(rng, 14 + header);
                data.splice(..0, [0x5e, 0xc0, 0, 1].into_iter().chain(self.packets.to_be_bytes()));
                data.truncate(1500 - header);
                ip.packet(50, &data)
            }
        }
    }
}

impl Transport {
    fn reversed(self) -> Transport {
        match self {
            Transport::Tcp(source, destination) => Transport::Tcp(destination, source),
            Transport::Udp(source, destination) => Transport::Udp(destination, source),
            other => other,
        }
    }
}

/// Random bytes that make a frame of the simple IMIX out of `headers` bytes: 60, 590 or 1514 bytes in the proportion 7:4:1.
fn payload(rng: &mut Rng, headers: usize) -> Vec<u8> {
    let frame: usize = match rng.u32(..12) {
        0..7 => 60,
        7..11 => 590,
        _ => 1514,
    };
    let mut data = vec![0; frame.saturating_sub(headers).max(8)];
    rng.fill(&mut data);
    data
}

enum Address {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

/// An address that is reached through this neighbour.
fn behind4(neighbor: &Neighbor, rng: &mut Rng) -> Address {
    let [c, d] = [rng.u8(..), rng.u8(1..255)];
    Address::V4(match (neighbor.interface, rng.bool()) {
        ("lan", _) => Ipv4Addr::new(10, 10, c, d),
        ("lan.100", _) => Ipv4Addr::new(10, 110, c, d),
        (_, false) => Ipv4Addr::new(10, 2, c, d),
        (_, true) => Ipv4Addr::new(198, 18 + (c & 1), c, d),
    })
}

/// An address that is reached through this neighbour.
fn behind6(neighbor: &Neighbor, rng: &mut Rng) -> Address {
    let (site, host) = (rng.u16(..), rng.u64(1..));
    let (first, second) = match neighbor.interface {
        "lan" => (0xfd00, 0x10),
        "lan.100" => (0xfd00, 0x110),
        _ => (0x2001, 0xdb8),
    };
    let prefix = (first as u128) << 112 | (second as u128) << 96 | (site as u128) << 80;
    Address::V6(Ipv6Addr::from(prefix | host as u128))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_same_seed_makes_the_same_traffic() {
        let frames = |seed| mix(500, seed).into_iter().map(|case| case.frame).collect::<Vec<_>>();
        assert_eq!(frames(1), frames(1));
        assert_ne!(frames(1), frames(2));
    }

    #[test]
    fn nine_of_ten_packets_are_forwarded_and_every_exception_comes() {
        let cases = mix(20_000, 7);
        let usual = cases.iter().filter(|case| case.flow.is_some()).count();
        assert!((17_700..18_300).contains(&usual), "{usual} of 20000");
        let seen: HashSet<_> = cases.iter().map(|case| case.about).collect();
        assert!(exceptions::all().all(|exception| seen.contains(exception.about)));
    }

    #[test]
    fn no_two_packets_of_a_flow_are_the_same() {
        let mut seen = HashSet::new();
        for case in mix(20_000, 7).into_iter().filter(|case| case.flow.is_some()) {
            assert!(seen.insert(case.frame), "twice in flow {:?}", case.flow);
        }
    }

    #[test]
    fn names_of_exceptions_tell_them_apart() {
        let names: HashSet<_> = exceptions::all().map(|exception| exception.about).collect();
        assert_eq!(names.len(), exceptions::all().count());
    }

    #[test]
    fn totals_add_up() {
        let cases = mix(5_000, 3);
        let totals = totals(&cases);
        let sum = |value: &Value| -> u64 {
            let packets = |item: &Value| item.as_u64().or_else(|| item["packets"].as_u64()).unwrap();
            match value {
                Value::Object(map) => map.values().map(packets).sum(),
                Value::Array(items) => items.iter().map(packets).sum(),
                _ => panic!("{value}"),
            }
        };
        assert_eq!(sum(&totals["transmitted"]) + sum(&totals["punted"]) + sum(&totals["dropped"]), 5_000);
    }
}

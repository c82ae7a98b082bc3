//! What punting costs: a packet offered and refused at each stage, and one registration more among many.
//!
//! `cargo run --release -p punt --example costs`. Figures are medians; those of packets also in cycles of the clock that /proc/cpuinfo names.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use punt::claims::Protocol;
use punt::clock::Clock;
use punt::control::types::sink::{Life, SinkAdd};
use punt::desk::{self, ByHand, Desk, Place, Setup, Static, Tables, Wanted};
use punt::dispatch::{Fairness, Outbox, Punted, Tag};
use punt::facts::Facts;
use punt::policer::{Limit, Rate, Shape, Share, Source, Talkers};
use punt::quiescent::Domain;
use punt::reason::{Action, Class};
use punt::sink::Dirty;
use punt::target::Target;

const HZ: u64 = 1_000_000_000;
const STATICS: u16 = 150;

struct Packet(Vec<u8>);

impl Punted for Packet {
    fn len(&self) -> u32 {
        self.0.len() as u32
    }

    fn segments(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.0.as_slice())
    }

    fn facts(&self) -> Facts {
        let source = Some(IpAddr::from([10, 0, 0, 7]));
        Facts { source, protocol: Some(17), ports: Some((1, 1)), ..Facts::default() }
    }

    fn tag(&self) -> Tag {
        Tag { interface: 1, l3: 14, l4: 34, ..Tag::default() }
    }

    fn source(&self) -> Source {
        Source::ip4([10, 0, 0, 7])
    }
}

/// A desk with as many built-in reasons as an engine has: one a UDP port.
fn desk(domain: &Arc<Domain>) -> Desk {
    let statics: Vec<Static> = (1..=STATICS)
        .map(|port| Static {
            name: format!("local.port-{port}"),
            class: Class::Mgmt,
            limit: Limit::new(4000, 1600),
            action: Action::Trap,
            node: "ip4-local".to_owned(),
            text: String::new(),
            place: if port == STATICS { Place::Nobodys } else { Place::Local },
            within: vec![format!("udp:{port}").parse().expect("a match")],
            cells: desk::cells_of([(None, Protocol::Udp, port)]),
            can_copy: false,
        })
        .collect();
    let setup = Setup {
        tables: Arc::new(Tables::new(statics.len())),
        domain: domain.clone(),
        workers: 1,
        now: || 0,
        clock: Arc::new(Clock::new(HZ, 0)),
        means: Box::new(ByHand),
        memory: desk::MEMORY,
        fairness: vec![fairness()],
    };
    let mut desk = Desk::new(setup, statics);
    let add =
        SinkAdd { name: "a".to_owned(), target: Target::Null, rate: None, burst: None, life: Life::Operator };
    desk.add_sink(&add).expect("a new sink");
    desk
}

/// What keeps sources apart.
fn fairness() -> Fairness {
    let share = Arc::new(Share::new([3, 5], HZ, 0));
    Fairness { share, talkers: Arc::new(Talkers::new(7, HZ, 0)) }
}

fn wanted(matching: &str, source: Option<IpAddr>) -> Wanted {
    Wanted {
        matching: matching.parse().expect("a match"),
        sink: "a".to_owned(),
        limit: None,
        interface: None,
        source: source.map(|source| format!("{source}/32").parse().expect("a prefix")),
        snaplen: None,
        exclusive: false,
        life: Life::Operator,
        owner: String::new(),
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Cycles of the processor in a nanosecond.
fn cycles() -> f64 {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("cpu MHz"));
    let mhz = line.and_then(|line| line.split(':').nth(1)?.trim().parse::<f64>().ok());
    mhz.unwrap_or(1000.0) / 1000.0
}

/// Offers bursts of 64 for the first reason; `after` empties the rings, or does not.
fn offer(what: &str, desk: &Desk, now: &mut u64, frame: usize, tick: u64, drain: bool) {
    const BURST: usize = 64;
    let packet = Packet(vec![7; frame]);
    let domain = Domain::new(1);
    let mut reader = domain.reader(0);
    let guard = reader.enter();
    let entry = desk.tables().reasons.get(1, &guard).expect("an entry");
    let mut outbox = Outbox::new(0, 1, Arc::new(Clock::new(HZ, 0)), Arc::new(Dirty::default()), fairness());
    let lanes = entry.deliveries.first().map(|delivery| delivery.sink.lanes()).unwrap_or_default();
    let mut record = Vec::new();
    let (mut times, mut fate) = (Vec::new(), None);
    for round in 0..4000 {
        *now += tick;
        let start = Instant::now();
        for _ in 0..BURST {
            fate = Some(outbox.offer(entry, 1, std::hint::black_box(&packet), false, *now));
        }
        outbox.publish();
        if round >= 1000 {
            times.push(start.elapsed().as_nanos() as f64 / BURST as f64);
        }
        while drain && lanes.iter().any(|lane| lane.ring.read(&mut record)) {}
    }
    let time = median(times);
    let fate = fate.expect("there was one");
    println!("offer: {what:<42} {time:7.1} ns {:7.0} cycles  ({fate:?})", time * cycles());
}

fn offers() {
    let domain = Domain::new(1);
    let mut desk = desk(&domain);
    let mut now = HZ;
    let classes = [(0, Rate::Unlimited); 8];
    desk.budget().set_all(Shape { total: Rate::Unlimited, classes }, 0).expect("no limits");
    desk.commit();
    offer("nobody wants it", &desk, &mut now, 128, HZ, true);
    desk.register(wanted("udp:1", None)).expect("nobody is in the way");
    desk.commit();
    offer("refused by the reason's policer", &desk, &mut now, 128, 0, true);
    offer("128 bytes into a ring", &desk, &mut now, 128, HZ, true);
    offer("1514 bytes into a ring", &desk, &mut now, 1514, HZ, true);
    offer("no room in the ring", &desk, &mut now, 128, HZ, false);
    let range = desk.register(wanted("udp:1-2", None)).expect("nobody is in the way");
    desk.unregister(range).expect("it is registered");
    desk.register(wanted("proto:17", Some("10.0.0.1".parse().expect("an address"))))
        .expect("nobody is in the way");
    desk.commit();
    offer("the same, beside a scope of another source", &desk, &mut now, 128, HZ, true);
}

/// One more among `many`, which `each` names: registered, committed, unregistered, committed.
fn register(what: &str, many: u32, each: impl Fn(u32) -> Wanted) {
    let domain = Domain::new(1);
    let mut desk = desk(&domain);
    let start = Instant::now();
    for number in 0..many {
        desk.register(each(number)).expect("nobody is in the way");
    }
    desk.commit();
    let together = start.elapsed().as_secs_f64() * 1e6 / many as f64;
    let mut times = Vec::new();
    for _ in 0..300 {
        let start = Instant::now();
        let id = desk.register(each(many)).expect("nobody is in the way");
        desk.commit();
        desk.unregister(id).expect("it is registered");
        desk.commit();
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    println!(
        "register and unregister beside {many} {what:<28} {:7.1} us  (in one batch {together:.1} us each)",
        median(times)
    );
}

fn main() {
    offers();
    let address = |number: u32| Some(IpAddr::from((0x0a00_0000 + number).to_be_bytes()));
    register("of other ports", 1000, |number| wanted(&format!("udp:{}", 1000 + number), None));
    register("of other sources", 1000, |number| wanted("udp:1", address(number)));
    register("of other sources, own reason", 1000, |number| wanted("udp:5000", address(number)));
    register("ranges", 1000, |number| {
        wanted(&format!("udp:{}-{}", 1000 + 8 * number, 1007 + 8 * number), None)
    });
    register("of other ports", 4000, |number| wanted(&format!("udp:{}", 1000 + number), None));
    register("of other ports, of all ports", 1000, |number| match number {
        1000 => wanted("udp:1-65535", None),
        number => wanted(&format!("udp:{}", 1000 + number), None),
    });
}

//! A desk and its workers without an engine: the stages that a punted packet passes, on a clock that the test drives. So ten seconds take as
//! long as their packets take to be judged, and the machine's load changes no count.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use punt::Class;
use punt::claims::Protocol;
use punt::clock::Clock;
use punt::control::types::{ClassSet, Life, PolicerSet, ReasonCounters, ReasonSet, SinkAdd};
use punt::desk::{self, ByHand, Desk, Place, Setup, Static, Tables, Wanted, limit_of};
use punt::dispatch::{Fairness, Outbox, Punted, Tag};
use punt::facts::Facts;
use punt::lane::Lane;
use punt::policer::{Limit, Share, Source, Talkers};
use punt::quiescent::{Domain, Reader};
use punt::reason::Action;
use punt::record::Header;
use punt::sink::{Dirty, Sink};
use punt::target::Target;

/// Ticks a second: a tick is a nanosecond.
pub const HZ: u64 = 1_000_000_000;

thread_local! {
    /// What time it is, for the desk of this thread's test.
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// Reasons, one of each class, with the limits that the engine ships; `local.bgp`'s port is 179, that of the others their index.
pub const REASONS: [(&str, Class, u64, u64); 8] = [
    ("drop.node.text", Class::Sample, 100, 100),
    ("ip4.unclaimed", Class::Miss, 250, 100),
    ("ip4.ttl-expired", Class::Except, 600, 300),
    ("ip4.igmp-report", Class::Mcast, 300, 300),
    ("local.ssh", Class::Mgmt, 5_000, 2_000),
    ("arp.request", Class::Neigh, 1_000, 512),
    ("local.bgp", Class::Route, 10_000, 5_000),
    ("local.bfd", Class::Link, 20_000, 8_000),
];
/// The reason of BGP, by index.
pub const BGP: u32 = 7;
/// The reason of BFD, by index.
pub const BFD: u32 = 8;
/// The reason of packets whose TTL ran out, by index.
pub const EXPIRED: u32 = 3;

fn port(index: u32) -> u16 {
    if index == BGP { 179 } else { index as u16 }
}

/// A packet of the reason at an index, from a source behind an interface.
#[derive(Clone, Copy)]
pub struct Packet {
    pub reason: u32,
    pub interface: u32,
    pub source: u32,
    pub bytes: usize,
}

/// The frames that all packets have, but for where they come from.
const FRAME: [u8; 1_514] = [0x5a; 1_514];

/// A packet with its source in front of its frame, so that the record tells whose it was.
struct Framed(Packet, [u8; 4]);

impl Punted for Framed {
    fn len(&self) -> u32 {
        self.0.bytes as u32
    }

    fn segments(&self) -> impl Iterator<Item = &[u8]> {
        [&self.1[..], &FRAME[4..self.0.bytes]].into_iter()
    }

    fn facts(&self) -> Facts {
        Facts {
            interface: self.0.interface,
            source: Some(Ipv4Addr::from(self.0.source).into()),
            protocol: Some(6),
            ports: Some((40_000, port(self.0.reason))),
            ..Facts::default()
        }
    }

    fn tag(&self) -> Tag {
        Tag { interface: self.0.interface, l3: 14, l4: 34, ..Tag::default() }
    }

    fn source(&self) -> Source {
        Source::ip4(self.1)
    }
}

/// The desk, and what its workers share.
pub struct Office {
    pub desk: Desk,
    domain: Arc<Domain>,
    clock: Arc<Clock>,
    fairness: Vec<Fairness>,
}

impl Office {
    /// So many workers, the [`REASONS`], and the sink `daemon` that has registered for all of them.
    pub fn new(workers: usize) -> Office {
        NOW.set(0);
        let statics: Vec<Static> =
            (1..).zip(REASONS).map(|(index, reason)| declared(index, reason)).collect();
        let domain = Domain::new(workers);
        let clock = Arc::new(Clock::new(HZ, 0));
        let share = Arc::new(Share::new([0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9], HZ, 0));
        let fairness: Vec<Fairness> = (0..workers as u64)
            .map(|worker| Fairness {
                share: share.clone(),
                talkers: Arc::new(Talkers::new(worker + 7, HZ, 0)),
            })
            .collect();
        let desk = Desk::new(
            Setup {
                tables: Arc::new(Tables::new(statics.len())),
                domain: domain.clone(),
                workers,
                now: || NOW.get(),
                clock: clock.clone(),
                means: Box::new(ByHand),
                memory: desk::MEMORY,
                fairness: fairness.clone(),
            },
            statics,
        );
        let mut office = Office { desk, domain, clock, fairness };
        office.add_sink("daemon", None);
        for (name, ..) in REASONS {
            office.register(&format!("reason:{name}"), "daemon", None, None);
        }
        office
    }

    /// Adds a sink with this rate and burst.
    pub fn add_sink(&mut self, name: &str, limit: Option<(u32, u32)>) {
        let (rate, burst) = limit.unzip();
        let (rate, life) = (rate.map(Into::into), Life::Operator);
        let wanted = SinkAdd { name: name.into(), target: Target::Null, rate, burst, life };
        self.desk.add_sink(&wanted).expect("a new sink");
    }

    /// A sink wants what matches, from this source alone, at this rate and burst; the registration's id.
    pub fn register(
        &mut self,
        matching: &str,
        sink: &str,
        source: Option<&str>,
        limit: Option<(u32, u32)>,
    ) -> u32 {
        let (rate, burst) = limit.unzip();
        let id = self.desk.register(Wanted {
            matching: matching.parse().expect("a match"),
            sink: sink.into(),
            limit: limit_of(rate.map(Into::into), burst),
            interface: None,
            source: source.map(|source| source.parse().expect("a prefix")),
            snaplen: None,
            exclusive: false,
            life: Life::Operator,
            owner: String::new(),
        });
        self.desk.commit();
        id.expect("nobody is in the way")
    }

    /// Sets what the words say, in JSON: `reason.set`, `class.set` or `policer.set`.
    pub fn set(&mut self, method: &str, words: &str) {
        match method {
            "reason.set" => {
                self.desk.set_reason(&serde_json::from_str::<ReasonSet>(words).expect(words)).expect(words);
            }
            "class.set" => {
                self.desk.set_class(&serde_json::from_str::<ClassSet>(words).expect(words)).expect(words);
            }
            _ => {
                self.desk.set_policer(&serde_json::from_str::<PolicerSet>(words).expect(words)).expect(words)
            }
        }
        self.desk.commit();
    }

    /// What the desk says to a policer that it does not set.
    pub fn refuses(&mut self, policer: &str) -> String {
        let wanted = serde_json::from_str::<PolicerSet>(policer).expect(policer);
        self.desk.set_policer(&wanted).expect_err(policer).to_string()
    }

    /// Its workers, each to be used by one thread.
    pub fn workers(&self) -> Vec<Worker> {
        let sinks = self.sinks();
        let worker = |(number, fairness): (usize, &Fairness)| Worker {
            outbox: Outbox::new(
                number as u16,
                1,
                self.clock.clone(),
                Arc::new(Dirty::default()),
                fairness.clone(),
            ),
            reader: self.domain.reader(number),
            tables: self.desk.tables().clone(),
            lanes: sinks
                .iter()
                .flat_map(|(name, sink)| sink.lanes().into_iter().map(|lane| (name.clone(), lane)))
                .filter(|(_, lane)| usize::from(lane.worker) == number)
                .collect(),
            record: Vec::new(),
            seen: Vec::new(),
        };
        self.fairness.iter().enumerate().map(worker).collect()
    }

    /// The sinks that get packets of any reason, by name.
    fn sinks(&self) -> HashMap<String, Arc<Sink>> {
        // A domain of its own: nobody waits for it, for nothing changes meanwhile.
        let domain = Domain::new(1);
        let mut reader = domain.reader(0);
        let guard = reader.enter();
        let reasons = &self.desk.tables().reasons;
        let entries = (1..=reasons.capacity() as u32).filter_map(|index| reasons.get(index, &guard));
        let sinks = entries.flat_map(|entry| entry.deliveries.iter().map(|delivery| delivery.sink.clone()));
        sinks.map(|sink| (sink.name.clone(), sink)).collect()
    }

    /// What became of packets of that reason.
    pub fn reason(&self, name: &str) -> ReasonCounters {
        let rows = self.desk.reason_rows().into_iter();
        rows.filter(|row| row.name == name).map(|row| row.counters).next().expect("there is such a reason")
    }

    /// The books of every reason and every sink.
    pub fn assert_books(&self) {
        assert_eq!(self.desk.findings(), Vec::<String>::new());
        for sink in self.desk.sink_rows() {
            let it = sink.counters;
            let rest = it.refused_registration + it.refused_sink + it.ring_full + it.delivered + it.backlog;
            assert_eq!((it.offered, it.backlog), (rest, 0), "{}", sink.name);
        }
    }
}

fn declared(index: u32, (name, class, rate, burst): (&str, Class, u64, u64)) -> Static {
    Static {
        name: name.into(),
        class,
        limit: Limit::new(rate, burst),
        action: Action::Trap,
        node: "ip4-local".into(),
        text: String::new(),
        place: Place::Local,
        within: vec![format!("tcp:{}", port(index)).parse().expect("a match")],
        cells: desk::cells_of([(None, Protocol::Tcp, port(index))]),
        can_copy: false,
    }
}

/// What a sink got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Got {
    pub class: u8,
    pub interface: u32,
    pub source: u32,
}

/// One worker, and the ends of its lanes.
pub struct Worker {
    outbox: Outbox,
    reader: Reader,
    tables: Arc<Tables>,
    lanes: Vec<(String, Arc<Lane>)>,
    record: Vec<u8>,
    seen: Vec<(usize, Got)>,
}

impl Worker {
    /// A burst that came at `now`; what each sink gets of it is told to `got`.
    pub fn burst(
        &mut self,
        now: u64,
        packets: impl IntoIterator<Item = Packet>,
        mut got: impl FnMut(&str, Got),
    ) {
        NOW.set(now);
        let guard = self.reader.enter();
        for packet in packets {
            let framed = Framed(packet, packet.source.to_be_bytes());
            let (index, entry) = self.tables.reasons.resolve(packet.reason, &framed, &guard);
            self.outbox.offer(entry.expect("an entry"), index, &framed, false, now);
        }
        self.outbox.publish();
        self.deliver();
        for (lane, record) in self.seen.drain(..) {
            got(&self.lanes[lane].0, record);
        }
    }

    /// Empties the lanes, as sinks' threads do.
    fn deliver(&mut self) {
        for (at, (_, lane)) in self.lanes.iter().enumerate() {
            while lane.ring.read(&mut self.record) {
                let (header, frame) = Header::read(&self.record).expect("a record");
                lane.outcome.delivered.add(1);
                let source = u32::from_be_bytes(frame[..4].try_into().expect("four bytes"));
                self.seen.push((at, Got { class: header.class, interface: header.interface, source }));
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.reader.offline();
    }
}

/// Packets that come at a steady rate from some sources in turn.
#[derive(Clone, Copy)]
pub struct Stream {
    pub packet: Packet,
    pub sources: u32,
    pub pps: u64,
    /// When it begins, in ticks.
    pub from: u64,
}

impl Stream {
    /// Of the reason at `reason`, from `sources` sources behind an interface, the first of which is `first`.
    pub fn new(reason: u32, interface: u32, first: u32, sources: u32, pps: u64) -> Stream {
        Stream { packet: Packet { reason, interface, source: first, bytes: 60 }, sources, pps, from: 0 }
    }

    /// The same, from that second on.
    pub fn after(self, seconds: u64) -> Stream {
        Stream { from: seconds * HZ, ..self }
    }

    /// How many packets of it have come before `now`.
    pub fn sent(&self, now: u64) -> u64 {
        (u128::from(now.saturating_sub(self.from)) * u128::from(self.pps) / u128::from(HZ)) as u64
    }

    /// Its packets of the time from `since` to `now`, each with its place in that time.
    fn packets(self, since: u64, now: u64) -> impl Iterator<Item = (u64, Packet)> {
        (self.sent(since)..self.sent(now)).map(move |number| {
            // Not in order, so that no hash is favoured.
            let source = self.packet.source + (number * 40_503 % u64::from(self.sources)) as u32;
            (self.from + (number + 1) * HZ / self.pps, Packet { source, ..self.packet })
        })
    }
}

/// Sends all streams from one second to another in bursts of `STEP` ticks, which workers take in turn, and tells `got` what the sinks get.
pub fn run(
    office: &Office,
    workers: &mut [Worker],
    streams: &[Stream],
    seconds: std::ops::Range<u64>,
    mut got: impl FnMut(&str, Got),
) {
    const STEP: u64 = HZ / 20_000;
    for step in seconds.start * HZ / STEP..seconds.end * HZ / STEP {
        let number = step as usize % workers.len();
        let (since, now) = (step * STEP, (step + 1) * STEP);
        let mut packets: Vec<_> = streams.iter().flat_map(|stream| stream.packets(since, now)).collect();
        packets.sort_by_key(|(time, _)| *time);
        workers[number].burst(now, packets.into_iter().map(|(_, packet)| packet), &mut got);
    }
    office.assert_books();
}

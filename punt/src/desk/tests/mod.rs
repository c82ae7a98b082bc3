//! A desk, a worker and sinks whose records stay in their rings, for tests.

mod changes;
mod dispatch;
mod stories;

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::claims::Protocol;
use crate::class::Class;
use crate::control::types::sink::{Life, SinkAdd, SinkState};
use crate::dispatch::{Fate, Outbox, PassiveTo, Punted, Tag};
use crate::facts::Facts;
use crate::matching::Match;
use crate::policer::{Limit, Rate, Shape, Share, Source, Talkers};
use crate::quiescent::Reader;
use crate::reason::Action;
use crate::record::Header;
use crate::sink::{Dirty, Settled, Sink};
use crate::target::Target;
use crate::value::Mac;

/// Ticks in a second.
const HZ: u64 = 1_000_000_000;

thread_local! {
    /// What time it is for the desk of this test.
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// What a worker has in its hands.
#[derive(Clone, Debug)]
struct Packet {
    /// The reason of its edge, where that is no matter of claims.
    known: Option<&'static str>,
    /// Whether it is IP and addressed to us.
    local: bool,
    facts: Facts,
    frame: Vec<u8>,
}

impl Packet {
    /// An IP packet to us.
    fn local(source: &str, protocol: u8) -> Packet {
        let source: IpAddr = source.parse().expect("an address");
        let ethertype = Some(if source.is_ipv4() { 0x0800 } else { 0x86dd });
        let facts = Facts {
            interface: 1,
            source: Some(source),
            protocol: Some(protocol),
            ethertype,
            destination: [2, 0, 0, 0, 0, 1],
            ..Facts::default()
        };
        Packet { known: None, local: true, facts, frame: vec![0x5a; 60] }
    }

    fn udp(source: &str, port: u16) -> Packet {
        let mut packet = Packet::local(source, 17);
        packet.facts.ports = Some((40_000, port));
        packet
    }

    fn tcp(source: &str, from: u16, to: u16) -> Packet {
        let mut packet = Packet::local(source, 6);
        packet.facts.ports = Some((from, to));
        packet
    }

    /// A frame that is not IP.
    fn link(ethertype: Option<u16>, llc: Option<u8>, group: u8) -> Packet {
        let facts = Facts {
            interface: 1,
            ethertype,
            llc,
            destination: [1, 0x80, 0xc2, 0, 0, group],
            ..Facts::default()
        };
        Packet { known: None, local: false, facts, frame: vec![0xa5; 60] }
    }

    fn of(mut self, reason: &'static str) -> Packet {
        self.known = Some(reason);
        self
    }

    fn on(mut self, interface: u32) -> Packet {
        self.facts.interface = interface;
        self
    }
}

impl Punted for Packet {
    fn len(&self) -> u32 {
        self.frame.len() as u32
    }

    fn segments(&self) -> impl Iterator<Item = &[u8]> {
        self.frame.chunks(48)
    }

    fn facts(&self) -> Facts {
        self.facts
    }

    fn tag(&self) -> Tag {
        Tag { interface: self.facts.interface, l3: 14, l4: 34, ..Tag::default() }
    }

    fn source(&self) -> Source {
        match self.facts.source {
            Some(IpAddr::V4(address)) => Source::ip4(address.octets()),
            Some(IpAddr::V6(address)) => Source::ip6(address.octets()),
            None => Source::mac([2; 6]),
        }
    }
}

/// Name, class, place, what matches see of it, and its claims.
type Declared = (&'static str, Class, Place, &'static [&'static str], Vec<super::cover::Cell>);

/// What engines declare, a dozen of it.
fn statics() -> Vec<Static> {
    use Place::{Both, Elsewhere, Link, Local, Nobodys, NobodysLink};
    use Protocol::{Icmp, Igmp, Ip, Tcp, TcpSource, Udp};
    let both =
        |keys: &[(Protocol, u16)]| cells_of(keys.iter().map(|(protocol, key)| (None, *protocol, *key)));
    let four = |protocol, key| (Some(Family::Ip4), protocol, key);
    let six = |protocol, key| (Some(Family::Ip6), protocol, key);
    let echo = cells_of([four(Icmp, 8), six(Icmp, 128)]);
    let none = Vec::new;
    let table: Vec<Declared> = vec![
        ("local.bgp", Class::Route, Local, &["tcp:179/any"], both(&[(Tcp, 179), (TcpSource, 179)])),
        ("local.bfd", Class::Link, Local, &["udp:3784"], both(&[(Udp, 3784)])),
        ("local.dns", Class::Mgmt, Local, &["udp:53", "tcp:53"], both(&[(Udp, 53), (Tcp, 53)])),
        ("local.radius", Class::Mgmt, Local, &["udp:1812", "udp:1813"], both(&[(Udp, 1812), (Udp, 1813)])),
        ("local.ospf", Class::Route, Local, &["proto:89"], both(&[(Ip, 89)])),
        ("local.pim", Class::Route, Local, &["proto:103"], both(&[(Ip, 103)])),
        ("local.pim-register", Class::Mcast, Local, &["proto:103"], none()),
        ("local.icmp-echo", Class::Mgmt, Local, &["icmp:8", "icmp6:128"], echo),
        ("ip4.igmp-query", Class::Mcast, Local, &["proto:2"], cells_of([four(Igmp, 0x11)])),
        ("l2.ptp-event", Class::Link, Both, &["ethertype:0x88f7", "udp:319"], both(&[(Udp, 319)])),
        ("l2.ptp-general", Class::Mcast, Both, &["ethertype:0x88f7", "udp:320"], both(&[(Udp, 320)])),
        ("l2.lacp", Class::Link, Link, &["ethertype:0x8809"], none()),
        ("l2.lacp-marker", Class::Link, Link, &["ethertype:0x8809"], none()),
        ("l2.lldp", Class::Neigh, Link, &["ethertype:0x88cc"], none()),
        ("l2.stp", Class::Link, Link, &["llc:0x42"], none()),
        ("l2.cdp", Class::Neigh, Link, &["llc:0xaa"], none()),
        ("l2.vtp", Class::Neigh, Link, &["llc:0xaa"], none()),
        ("arp.request", Class::Neigh, Link, &["ethertype:0x0806"], none()),
        ("arp.reply", Class::Neigh, Link, &["ethertype:0x0806"], none()),
        ("ip4.ttl-expired", Class::Except, Elsewhere, &[], none()),
        ("ip4.no-route", Class::Miss, Elsewhere, &[], none()),
        ("ip4.unclaimed", Class::Miss, Nobodys, &[], none()),
        ("ip6.unclaimed", Class::Miss, Nobodys, &[], none()),
        ("l2.unclaimed", Class::Miss, NobodysLink, &[], none()),
    ];
    let each = table.into_iter().map(|(name, class, place, within, cells)| Static {
        name: name.to_owned(),
        class,
        limit: Limit::UNLIMITED,
        action: if name == "ip4.no-route" { Action::Drop } else { Action::Trap },
        node: "node".to_owned(),
        text: name.to_owned(),
        place,
        within: within.iter().map(|text| text.parse().expect("a match")).collect(),
        cells,
        can_copy: false,
    });
    each.collect()
}

/// What the desk told of names and books, and which sinks' threads run.
#[derive(Default)]
struct Told {
    names: BTreeMap<u32, String>,
    books: BTreeMap<u32, Arc<Settled>>,
    running: Vec<(String, usize)>,
    /// Who was asked to end, and who was waited for.
    ends: Vec<String>,
    /// Targets that cannot be opened any more.
    missing: Vec<String>,
}

#[derive(Clone, Default)]
struct NoThreads(Arc<Mutex<Told>>);

impl Means for NoThreads {
    fn open(&self, sink: Arc<Sink>, target: &Target) -> Result<Arc<dyn Open>, String> {
        let text = target.to_string();
        if text.contains("missing") || self.0.lock().missing.contains(&text) {
            return Err(format!("{target} cannot be opened"));
        }
        self.0.lock().running.push((sink.name.clone(), sink.slot));
        Ok(Arc::new(Thread { told: self.0.clone(), sink: (sink.name.clone(), sink.slot) }))
    }

    fn name(&self, reason: u32, name: Option<&str>) {
        match name {
            Some(name) => self.0.lock().names.insert(reason, name.to_owned()),
            None => self.0.lock().names.remove(&reason),
        };
    }

    fn settle(&self, id: u32, books: Option<Arc<Settled>>) {
        match books {
            Some(books) => self.0.lock().books.insert(id, books),
            None => self.0.lock().books.remove(&id),
        };
    }
}

struct Thread {
    told: Arc<Mutex<Told>>,
    sink: (String, usize),
}

impl Open for Thread {
    fn state(&self) -> SinkState {
        SinkState::Active
    }

    fn inject(&self) -> Option<String> {
        None
    }

    fn injected(&self) -> [u64; 3] {
        [0; 3]
    }

    fn ask_to_close(&self, _: std::time::Duration) {
        self.told.lock().ends.push(format!("ask {}", self.sink.0));
    }

    fn close(&self) {
        let mut told = self.told.lock();
        told.ends.push(format!("close {}", self.sink.0));
        let at = told.running.iter().position(|it| *it == self.sink).expect("it is closed once");
        told.running.remove(at);
    }
}

/// A desk and its one worker.
struct Office {
    desk: Desk,
    told: Arc<Mutex<Told>>,
    reader: Reader,
    outbox: Outbox,
    clock: u64,
}

/// What one sink got of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    sink: String,
    registration: u32,
    reason: String,
    class: Class,
    captured: u32,
}

impl Office {
    fn new() -> Office {
        Office::with_memory(MEMORY)
    }

    fn with_memory(memory: usize) -> Office {
        let statics = statics();
        let tables = Arc::new(Tables::new(statics.len()));
        let domain = Domain::new(1);
        let clock = Arc::new(Clock::new(HZ, 0));
        let means = NoThreads::default();
        let told = means.0.clone();
        let fairness = Fairness {
            share: Arc::new(Share::new([3, 5], HZ, 0)),
            talkers: Arc::new(Talkers::new(7, HZ, 0)),
        };
        let setup = Setup {
            tables,
            domain: domain.clone(),
            workers: 1,
            now: || NOW.get(),
            clock: clock.clone(),
            means: Box::new(means),
            memory,
            fairness: vec![fairness.clone()],
        };
        let desk = Desk::new(setup, statics);
        let classes = [(0, Rate::Unlimited); 8];
        desk.budget().set_all(Shape { total: Rate::Unlimited, classes }, 0).expect("no limits");
        let outbox = Outbox::new(0, 7, clock, Arc::new(Dirty::default()), fairness);
        Office { desk, told, reader: domain.reader(0), outbox, clock: 0 }
    }

    /// The same with these sinks.
    fn with_sinks(names: &[&str]) -> Office {
        let mut office = Office::new();
        for name in names {
            office.desk.add_sink(&sink(name)).expect("a new sink");
        }
        office
    }

    /// Registers and commits.
    fn register(&mut self, matching: &str, sink: &str) -> u32 {
        let id = self.desk.register(wanted(matching, sink)).expect("nothing is in the way");
        self.commit();
        id
    }

    fn commit(&mut self) {
        self.desk.commit();
    }

    fn refused(&mut self, wanted: Wanted) -> String {
        self.desk.register(wanted).expect_err("refused").to_string()
    }

    /// What the classifiers of an engine say of a packet.
    fn classify(&mut self, packet: &Packet) -> u32 {
        if let Some(known) = packet.known {
            return self.desk.named(known).expect("a static reason");
        }
        let guard = self.reader.enter();
        let (tables, facts) = (&self.desk.tables, &packet.facts);
        if !packet.local {
            let claims = tables.link(&guard);
            let claimed = claims.and_then(|it| it.find(Mac(facts.destination), facts.ethertype, facts.llc));
            return claimed.unwrap_or_else(|| self.desk.named("l2.unclaimed").expect("a static reason"));
        }
        let ip4 = facts.source.is_some_and(|source| source.is_ipv4());
        let claims = tables.local(if ip4 { Family::Ip4 } else { Family::Ip6 });
        let of = |protocol, key: u16| claims.of(protocol).get(key);
        let kind = facts.kind.unwrap_or_default() as u16;
        let (source, destination) = facts.ports.unwrap_or_default();
        let specific = match (facts.protocol, ip4) {
            (Some(17), _) => of(Protocol::Udp, destination),
            (Some(6), _) => claims.tcp(source, destination),
            (Some(1), true) | (Some(58), false) => of(Protocol::Icmp, kind),
            (Some(2), true) => of(Protocol::Igmp, kind),
            _ => None,
        };
        let nobody = if ip4 { "ip4.unclaimed" } else { "ip6.unclaimed" };
        specific
            .or_else(|| of(Protocol::Ip, facts.protocol.unwrap_or_default() as u16))
            .unwrap_or_else(|| self.desk.named(nobody).expect("a static reason"))
    }

    /// Punts a packet: what became of it, the name of its reason, and who got it.
    fn punt(&mut self, packet: &Packet) -> (Fate, String, Vec<Got>) {
        self.clock += HZ;
        self.punt_at(packet, self.clock)
    }

    fn punt_at(&mut self, packet: &Packet, now: u64) -> (Fate, String, Vec<Got>) {
        NOW.set(now);
        let base = self.classify(packet);
        let guard = self.reader.enter();
        let (_, entry) = self.desk.tables.reasons.resolve(base, packet, &guard);
        let entry = entry.expect("every reason has an entry");
        let fate = self.outbox.offer(entry, base, packet, false, now);
        self.outbox.publish();
        let reason = self.desk.reason_name(entry.id).expect("its name is known");
        // Who changes anything need not wait for a worker that sleeps.
        self.reader.offline();
        let got = self.take();
        got.iter().for_each(|got| assert_eq!(got.reason, reason));
        (fate, reason, got)
    }

    /// What sinks' threads find in their lanes.
    fn take(&mut self) -> Vec<Got> {
        let mut got = Vec::new();
        let mut record = Vec::new();
        for (name, sink) in &self.desk.state.sinks {
            for lane in sink.lanes() {
                while lane.ring.read(&mut record) {
                    let (header, _) = Header::read(&record).expect("a record");
                    lane.outcome.delivered.add(1);
                    got.push(Got {
                        sink: name.clone(),
                        registration: header.registration,
                        reason: self.desk.reason_name(header.reason).expect("a reason that is"),
                        class: Class::ALL[header.class as usize],
                        captured: header.captured,
                    });
                }
            }
        }
        got
    }

    /// Who got it, and as whose: sink and registration.
    fn takers(&mut self, packet: &Packet) -> Vec<(String, u32)> {
        self.punt(packet).2.into_iter().map(|got| (got.sink, got.registration)).collect()
    }

    fn reason_of(&mut self, packet: &Packet) -> String {
        self.punt(packet).1
    }
}

fn sink(name: &str) -> SinkAdd {
    SinkAdd { name: name.to_owned(), target: Target::Null, rate: None, burst: None, life: Life::Operator }
}

fn wanted(matching: &str, sink: &str) -> Wanted {
    Wanted {
        matching: matching.parse().expect("a match"),
        sink: sink.to_owned(),
        limit: None,
        interface: None,
        source: None,
        snaplen: None,
        exclusive: false,
        life: Life::Operator,
        owner: "an operator".to_owned(),
    }
}

impl Wanted {
    fn from(mut self, source: &str) -> Wanted {
        self.source = Some(source.parse().expect("a prefix"));
        self
    }

    fn on(mut self, interface: u32) -> Wanted {
        self.interface = Some((interface, format!("port{interface}")));
        self
    }

    fn exclusively(mut self) -> Wanted {
        self.exclusive = true;
        self
    }
}

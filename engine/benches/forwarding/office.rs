//! A desk and its workshop, set up as the engine does, and the clients of its sinks.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dpdk_sys::{CpuSet, Eal, set_affinity, tsc, tsc_hz};
use engine::graph::Plan;
use engine::quiescent::Domain;
use engine::reasons;
use engine::sinks::{self, Names, Setup, Tools, Workshop};
use engine::tables::Tables;
use punt::client::Client;
use punt::clock::Clock;
use punt::control::types::{ClassSet, Life, ReasonSet, SinkAdd};
use punt::desk::{self, Desk, Wanted};
use punt::dispatch::{Fairness, Outbox};
use punt::sink::Dirty;
use punt::value::Rate;
use punt::{Class, Match};
use tempfile::TempDir;

use crate::contender::InGraph;
use crate::router::Router;
use crate::wire::Wire;

/// The reason of packets whose TTL ran out.
pub const EXPIRED: &str = "ip4.ttl-expired";
/// The one sink.
const SINK: &str = "bench";

/// Who is at the sink's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A thread that reads as fast as it can.
    Live,
    /// It was there and is not any more; its file is.
    Dead,
    /// It is there and never reads.
    Stuck,
    /// There was never anybody.
    Missing,
}

/// Who asked for what, in tables of their own.
pub struct Office {
    desk: Desk,
    tables: Arc<Tables>,
    domain: Arc<Domain>,
    clock: Arc<Clock>,
    dirty: Arc<Dirty>,
    fairness: Fairness,
    directory: TempDir,
    /// Where threads run: not where packets are forwarded.
    elsewhere: CpuSet,
    _client: Option<Reading>,
    _idle: Option<Client>,
}

impl Office {
    /// Nobody asks for anything. `plan` is that of any graph.
    pub fn new(eal: &Eal, router: &Router, plan: &Plan) -> Result<Office, Box<dyn Error>> {
        let statics = reasons::statics(plan);
        let punting = Arc::new(desk::Tables::new(statics.len()));
        let tables = router.tables_with(punting.clone());
        let domain = Domain::new(1);
        let dirty: Arc<Dirty> = Arc::default();
        let directory = tempfile::tempdir()?;
        let elsewhere = eal.affinity().apart_from(&dpdk_sys::affinity()?);
        let workshop = Workshop::new(
            Setup {
                dirty: vec![dirty.clone()],
                affinity: elsewhere,
                tables: tables.clone(),
                domain: domain.clone(),
                directory: directory.path().into(),
                socket: directory.path().join("puntd.sock"),
            },
            Arc::new(Names::default()),
        )?;
        let clock = Arc::new(Clock::new(tsc_hz(), tsc()));
        let fairness = sinks::fairness(1);
        let setup = desk::Setup {
            tables: punting,
            domain: domain.clone(),
            workers: 1,
            now: tsc,
            clock: clock.clone(),
            means: Box::new(Tools(workshop)),
            memory: desk::MEMORY,
            fairness: fairness.clone(),
        };
        let desk = Desk::new(setup, statics);
        let [fairness] = <[Fairness; 1]>::try_from(fairness).map_err(|_| "there is one worker")?;
        Ok(Office {
            desk,
            tables,
            domain,
            clock,
            dirty,
            fairness,
            directory,
            elsewhere,
            _client: None,
            _idle: None,
        })
    }

    /// A Unix sink with somebody at it, or nobody.
    pub fn with_sink(mut self, presence: Presence) -> Result<Office, Box<dyn Error>> {
        let path = self.directory.path().join("client.sock");
        let path = path.to_str().ok_or("the path is not UTF-8")?;
        match presence {
            Presence::Live => self._client = Some(Reading::start(path, self.elsewhere)?),
            Presence::Stuck => self._idle = Some(Client::bind(path)?),
            // Unlike the client, the socket leaves its file behind.
            Presence::Dead => drop(std::os::unix::net::UnixDatagram::bind(Path::new(path))?),
            Presence::Missing => {}
        }
        let target = format!("unix:{path}").parse()?;
        let life = Life::Operator;
        self.desk.add_sink(&SinkAdd { name: SINK.into(), target, rate: None, burst: None, life })?;
        self.desk.commit();
        Ok(self)
    }

    /// Its sink gets all packets that `matching` covers.
    pub fn registered(
        mut self,
        wanted: impl IntoIterator<Item = (Match, Option<&'static str>)>,
    ) -> Result<Office, Box<dyn Error>> {
        for (matching, source) in wanted {
            let source = source.map(str::parse).transpose()?;
            self.desk.register(Wanted {
                matching,
                sink: SINK.into(),
                limit: None,
                interface: None,
                source,
                snaplen: None,
                exclusive: false,
                life: Life::Operator,
                owner: "bench".into(),
            })?;
            self.desk.commit();
        }
        Ok(self)
    }

    /// Lifts all limits that packets with an expired TTL meet.
    pub fn unlimited(mut self) -> Result<Office, Box<dyn Error>> {
        let rate = Some(Rate::Unlimited);
        self.desk.set_reason(&ReasonSet { name: EXPIRED.into(), rate, ..ReasonSet::default() })?;
        self.desk.set_class(&ClassSet { name: Class::Except, min: None, cap: rate })?;
        self.desk.budget().set_total(Rate::Unlimited, tsc())?;
        self.desk.commit();
        Ok(self)
    }

    /// A graph whose punted packets go here. From now on nothing may be changed.
    pub fn graph(&self, wire: &Wire, burst: u16, exceptions: bool) -> InGraph {
        let (clock, dirty) = (self.clock.clone(), self.dirty.clone());
        let outbox = Outbox::new(0, 1, clock, dirty, self.fairness.clone());
        InGraph::punting(wire, &self.tables, burst, exceptions, self.domain.reader(0), outbox)
    }

    /// What became of packets with an expired TTL.
    pub fn books(&self) -> Books {
        let reason = self.desk.reason_rows().into_iter().find(|row| row.name == EXPIRED);
        let counters = reason.map(|row| row.counters).unwrap_or_default();
        let sink = self.desk.sink_rows().into_iter().next().map(|row| row.counters);
        let (delivered, ring_full, errors) = sink
            .map_or((0, 0, 0), |sink| (sink.delivered, sink.ring_full, sink.errors.values().sum::<u64>()));
        Books {
            packets: counters.packets,
            no_sink: counters.no_sink,
            accepted: counters.accepted,
            delivered,
            ring_full,
            errors,
        }
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.desk.close();
    }
}

/// What became of punted packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Books {
    pub packets: u64,
    pub no_sink: u64,
    pub accepted: u64,
    pub delivered: u64,
    pub ring_full: u64,
    pub errors: u64,
}

impl Books {
    /// Both together.
    pub fn add(&mut self, more: &Books) {
        self.packets += more.packets;
        self.no_sink += more.no_sink;
        self.accepted += more.accepted;
        self.delivered += more.delivered;
        self.ring_full += more.ring_full;
        self.errors += more.errors;
    }
}

/// A thread that reads what a sink sends. Dropped, it ends.
struct Reading {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reading {
    fn start(path: &str, cpus: CpuSet) -> std::io::Result<Reading> {
        let mut client = Client::bind(path)?;
        client.set_timeout(Some(Duration::from_millis(20)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let until = stop.clone();
        let thread = thread::Builder::new().name("client".into()).spawn(move || {
            // Where it cannot move it reads all the same.
            let _ = set_affinity(&cpus);
            while !until.load(Ordering::Relaxed) {
                // Nothing came in time: look again.
                let _ = client.receive().map(Iterator::count);
            }
        })?;
        Ok(Reading { stop, thread: Some(thread) })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // If it panicked, that was said where it happened.
            let _ = thread.join();
        }
    }
}

/// A thousand registrations of all kinds, none of which covers a packet in transit.
pub fn a_thousand() -> impl Iterator<Item = (Match, Option<&'static str>)> {
    let ports = |count: u16| (0..count).map(|at| 20_000 + 7 * at);
    let udp = ports(500).map(|port| format!("udp:{port}"));
    let tcp = ports(300).map(|port| format!("tcp:{port}"));
    let types = (0..100).map(|at| format!("ethertype:0x{:04x}", 0x9100 + at));
    let scoped = ports(98).map(|port| (format!("udp:{}", port + 1), Some("10.0.0.0/8")));
    let reasons = [format!("reason:{EXPIRED}"), "reason:ip6.*".to_owned()];
    let anywhere = udp.chain(tcp).chain(types).chain(reasons).map(|text| (text, None));
    let all = anywhere.chain(scoped);
    all.map(|(text, source)| (text.parse().unwrap_or_else(|error| panic!("{text}: {error}")), source))
}

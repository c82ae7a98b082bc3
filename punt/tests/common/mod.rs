//! A sink without an engine: lanes that the test fills, and facts that it knows.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use punt::Class;
use punt::inject::Inject;
use punt::lane::{Errors, Lane};
use punt::record::Header;
use punt::ring::Ring;
use punt::sink::{Facts, Interface, Output, Running, Settled, Sink};
use punt::target;

/// Nothing here takes as long, unless it never comes.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `condition` holds.
#[track_caller]
pub fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// An engine with the interfaces 1 `lan` and 2 `wan`, the reason 7 and the registration 42.
#[derive(Default)]
pub struct Engine {
    pub settled: Arc<Settled>,
}

impl Facts for Engine {
    fn reason(&self, id: u32) -> Option<String> {
        (id == 7).then(|| "ip4.ttl-expired".into())
    }
    fn interface(&self, index: u32) -> Option<Interface> {
        let name = ["lan", "wan"].get((index as usize).checked_sub(1)?)?;
        Some(Interface { name: (*name).into(), mac: [2, 0, 0, 0, 0, 1], mtu: 1500 })
    }
    fn registration(&self, id: u32) -> Option<Arc<Settled>> {
        (id == 42).then(|| self.settled.clone())
    }
}

/// One sink with its thread, and the worker's end of its lanes.
pub struct Rig {
    pub sink: Arc<Sink>,
    pub facts: Arc<Engine>,
    pub running: Option<Running>,
    pub ring: Arc<Ring>,
    pub pending: Arc<AtomicBool>,
}

impl Rig {
    /// A sink that writes to `output`; with a way back at `inject`.
    pub fn new(output: Output, inject: Option<&str>) -> Rig {
        Rig::of(Sink::new("test".into(), 3), output, inject)
    }

    /// A sink whose client reads the rings of two workers by itself, which it gets at `path`.
    pub fn shm(path: &str) -> Rig {
        let sink = Sink::shared("test".into(), 3, 2).expect("memory");
        Rig::of(sink, Output::Shm(path.into()), Some(path))
    }

    fn of(sink: Sink, output: Output, inject: Option<&str>) -> Rig {
        let (sink, facts) = (Arc::new(sink), Arc::new(Engine::default()));
        let (ring, pending) = (Arc::new(Ring::new(256 << 10)), Arc::new(AtomicBool::new(false)));
        let inject = inject.map(|address| Inject {
            address: address.into(),
            ring: ring.clone(),
            pending: pending.clone(),
        });
        let running = Running::start(sink.clone(), output, facts.clone(), inject, None).expect("starts");
        Rig { sink, facts, running: Some(running), ring, pending }
    }

    /// A sink that writes to the socket at `path`.
    pub fn unix(path: &str, header: target::Header, inject: Option<&str>) -> Rig {
        Rig::new(Output::Unix { address: path.into(), header }, inject)
    }

    /// A new lane of this sink.
    pub fn lane(&self, worker: u16, class: Class, bytes: usize) -> Arc<Lane> {
        let lane = Arc::new(Lane::new(worker, class, bytes));
        self.sink.add(lane.clone());
        lane
    }

    /// New lanes of this sink, one for each of two workers.
    pub fn lanes(&self, class: Class, bytes: usize) -> [Arc<Lane>; 2] {
        let lanes = self.sink.make(class, 2, bytes).expect("memory").into_vec();
        lanes.try_into().unwrap_or_else(|_| unreachable!("two workers"))
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("still running")
    }

    /// Offers the frame to the sink, as a worker does: suspended it is only counted. Not published.
    pub fn offer(&self, lane: &Lane, header: Header, frame: &[u8]) -> bool {
        if let Some(errno) = self.sink.suspended() {
            lane.lose(1, lane.offers.errors.of(errno));
            return false;
        }
        let header = Header {
            captured: frame.len() as u32,
            original: frame.len().max(header.original as usize) as u32,
            worker: lane.worker,
            class: lane.class as u8,
            ..header
        };
        lane.write(header, [frame])
    }

    /// The same, published, and the thread told.
    pub fn punt(&self, lane: &Lane, header: Header, frame: &[u8]) -> bool {
        let fits = self.offer(lane, header, frame);
        lane.ring.publish();
        self.running().wake();
        fits
    }

    /// Whether every packet that was offered to this lane is accounted for.
    pub fn balances(&self, lane: &Lane) -> bool {
        let (offers, outcome) = (&lane.offers, &lane.outcome);
        offers.offered.get()
            == offers.refused_registration.get()
                + offers.refused_sink.get()
                + offers.ring_full.get()
                + offers.errors.sum()
                + outcome.errors.sum()
                + outcome.delivered.get()
                + lane.backlog()
    }

    /// What is in the inject ring: header and packet.
    pub fn injected(&self) -> Vec<(Header, Vec<u8>)> {
        if !self.pending.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        let (mut all, mut record) = (Vec::new(), Vec::new());
        while self.ring.read(&mut record) {
            let (header, packet) = Header::read(&record).expect("a record");
            all.push((header, packet.to_vec()));
        }
        all
    }
}

/// The counts of one kind, as (errno, count).
pub fn errors(errors: &Errors) -> Vec<(i32, u64)> {
    errors.iter().collect()
}

/// A frame of that length whose bytes all depend on `seed`.
pub fn frame(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + seed * 31 + (at >> 8)) as u8).collect()
}

/// An IP packet of this version, of so many bytes, that a router may send.
pub fn ip(version: u8, len: usize) -> Vec<u8> {
    let mut packet = frame(len, 1);
    if version == 4 {
        packet[..20].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 2, 3, 4]);
        packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        let words = packet[..20].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
        let sum = words.sum::<u32>();
        packet[10..12].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    } else {
        packet[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, 17, 64]);
        packet[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
        packet[8..10].copy_from_slice(&[0xfd, 0]);
    }
    packet
}

/// The path as a target has it.
pub fn text(path: &Path) -> String {
    path.display().to_string()
}

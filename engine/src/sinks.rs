//! What sinks need of the engine: threads on the right CPUs, names of what records say by number, and a way to a worker for what clients send
//! back.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use dpdk_sys::{CpuSet, set_affinity};
use punt::Target;
use punt::control::types::SinkState;
use punt::desk::{Means, Open};
use punt::dispatch::Fairness;
use punt::inject::{Inject, Injected};
use punt::place::Place;
use punt::policer::{Share, Talkers};
use punt::ring::Ring;
use punt::sink::{Dirty, Facts, Interface, Output, Prologue, Running, Settled, Sink, State};
use punt::waker::Waker;

use crate::quiescent::{Domain, Retired};
use crate::run::InjectRing;
use crate::tables::Tables;

/// Bytes of what one client may have injected and no worker has taken yet.
const INJECT_RING: usize = 1 << 20;

/// Names of what records say by number.
#[derive(Default)]
pub struct Names {
    reasons: RwLock<HashMap<u32, String>>,
    interfaces: RwLock<HashMap<u32, Interface>>,
    books: RwLock<HashMap<u32, Arc<Settled>>>,
}

impl Names {
    /// The interfaces there are, by index.
    pub fn set_interfaces(&self, interfaces: HashMap<u32, Interface>) {
        *self.interfaces.write().unwrap_or_else(PoisonError::into_inner) = interfaces;
    }
}

fn look<T: Clone>(map: &RwLock<HashMap<u32, T>>, key: u32) -> Option<T> {
    map.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
}

fn set<T>(map: &RwLock<HashMap<u32, T>>, key: u32, value: Option<T>) {
    let mut map = map.write().unwrap_or_else(PoisonError::into_inner);
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

impl Facts for Names {
    fn reason(&self, id: u32) -> Option<String> {
        look(&self.reasons, id)
    }

    fn interface(&self, index: u32) -> Option<Interface> {
        look(&self.interfaces, index)
    }

    fn interface_named(&self, name: &str) -> Option<(u32, Interface)> {
        let interfaces = self.interfaces.read().unwrap_or_else(PoisonError::into_inner);
        let (index, found) = interfaces.iter().find(|(_, interface)| interface.name == name)?;
        Some((*index, found.clone()))
    }

    fn registration(&self, id: u32) -> Option<Arc<Settled>> {
        look(&self.books, id)
    }
}

/// What a workshop is made of.
pub struct Setup {
    /// The workers' dirty words, of which there is one for each worker.
    pub dirty: Vec<Arc<Dirty>>,
    /// Where threads may run.
    pub affinity: CpuSet,
    /// Where workers look for what is injected.
    pub tables: Arc<Tables>,
    /// The domain of their readers.
    pub domain: Arc<Domain>,
    /// `[punt] directory`.
    pub directory: PathBuf,
    /// The control socket; those to which clients send stand beside it, as `SOCKET.SINK`.
    pub socket: PathBuf,
}

/// Where sinks' threads are started and ended.
pub struct Workshop {
    waker: Waker,
    names: Arc<Names>,
    setup: Setup,
    rings: Mutex<Rings>,
}

/// What clients inject, by worker.
#[derive(Default)]
struct Rings {
    by_sink: Vec<(String, usize, Arc<Ring>, Arc<AtomicBool>)>,
    retired: Vec<Retired>,
}

impl Workshop {
    /// Starts the thread that wakes sinks.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn new(setup: Setup, names: Arc<Names>) -> std::io::Result<Arc<Workshop>> {
        let waker = Waker::start(setup.dirty.clone(), Some(prologue(setup.affinity)))?;
        Ok(Arc::new(Workshop { waker, names, setup, rings: Mutex::default() }))
    }

    /// Lets workers look into the rings that there are.
    fn show_rings(&self, rings: &mut Rings) {
        let Setup { tables, domain, dirty, .. } = &self.setup;
        for worker in 0..dirty.len() {
            let of_worker = rings.by_sink.iter().filter(|(_, at, ..)| *at == worker);
            let shown: Box<[InjectRing]> = of_worker
                .map(|(_, _, ring, pending)| InjectRing { ring: ring.clone(), pending: pending.clone() })
                .collect();
            let shown = (!shown.is_empty()).then_some(shown);
            tables.injected[worker].replace(shown, &mut rings.retired);
        }
        domain.reclaim(&mut rings.retired);
    }

    fn inject(&self, sink: &Sink) -> Inject {
        let (ring, pending) = (Arc::new(Ring::new(INJECT_RING)), Arc::new(AtomicBool::new(false)));
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = sink.slot % self.setup.dirty.len().max(1);
        rings.by_sink.push((sink.name.clone(), worker, ring.clone(), pending.clone()));
        self.show_rings(&mut rings);
        // Each name has a path of its own.
        let file = sink.name.replace('%', "%25").replace('/', "%2F");
        // A client may be in another directory than the engine.
        let socket = absolute(&self.setup.socket);
        let address = format!("{}.{file}", socket.display());
        Inject { address, ring, pending }
    }

    fn forget(&self, sink: &str) {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        rings.by_sink.retain(|(name, ..)| name != sink);
        self.show_rings(&mut rings);
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn prologue(affinity: CpuSet) -> Prologue {
    Box::new(move || {
        if let Err(error) = set_affinity(&affinity) {
            log::warn!("a thread stays on the main lcore's CPU: {error}");
        }
    })
}

/// What the desk holds of the workshop.
pub struct Tools(pub Arc<Workshop>);

impl Means for Tools {
    fn open(&self, sink: Arc<Sink>, target: &Target) -> Result<Arc<dyn Open>, String> {
        let workshop = &self.0;
        let said = |error: std::io::Error| format!("sink {} cannot go to {target}: {error}", sink.name);
        let output = Output::new(target, &workshop.setup.directory);
        let inject = output.injects().then(|| workshop.inject(&sink));
        let facts = workshop.names.clone();
        let prologue = Some(prologue(workshop.setup.affinity));
        let running = Running::start(sink.clone(), output, facts, inject, prologue);
        let running = running.map_err(said).inspect_err(|_| workshop.forget(&sink.name))?;
        workshop.waker.attach(sink.slot, running.waker());
        let injected = running.injected().cloned();
        let inject = running.inject_path().map(str::to_owned);
        let running = Mutex::new(Some(running));
        let lost = AtomicU64::new(0);
        Ok(Arc::new(OpenSink { workshop: workshop.clone(), sink, running, lost, inject, injected }))
    }

    fn settle(&self, id: u32, books: Option<Arc<Settled>>) {
        set(&self.0.names.books, id, books);
    }

    fn place(&self, target: &Target) -> Option<Place> {
        Place::of(target, &self.0.setup.directory)
    }

    fn own(&self, place: &Place) -> Option<String> {
        crate::rehearsal::control_socket(&self.0.setup.socket, place)
    }

    fn name(&self, reason: u32, name: Option<&str>) {
        set(&self.0.names.reasons, reason, name.map(str::to_owned));
    }
}

struct OpenSink {
    workshop: Arc<Workshop>,
    sink: Arc<Sink>,
    running: Mutex<Option<Running>>,
    /// Records lost when it was asked to end.
    lost: AtomicU64,
    inject: Option<String>,
    injected: Option<Arc<Injected>>,
}

impl Open for OpenSink {
    fn state(&self) -> SinkState {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match running.as_ref().map(Running::state) {
            Some(State::Active) => SinkState::Active,
            Some(State::Stuck) => SinkState::Stuck,
            Some(State::Suspended) | None => SinkState::Suspended,
        }
    }

    fn inject(&self) -> Option<String> {
        self.inject.clone()
    }

    fn injected(&self) -> [u64; 3] {
        self.injected.as_ref().map_or([0; 3], |counts| {
            [counts.injected.get(), counts.inject_errors.get(), counts.foreign.get()]
        })
    }

    fn ask_to_close(&self, patience: Duration) {
        if let Some(running) = self.running.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            self.lost.store(self.lost_so_far(), Ordering::Relaxed);
            running.ask_to_stop(patience);
        }
    }

    fn close(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            self.workshop.waker.detach(self.sink.slot);
            running.stop();
            self.workshop.forget(&self.sink.name);
            let given_up = self.lost_so_far().saturating_sub(self.lost.load(Ordering::Relaxed));
            if given_up > 0 {
                let name = &self.sink.name;
                log::warn!(
                    "sink {name} has ended; {given_up} records that its client did not take are given up"
                );
            }
        }
    }
}

impl OpenSink {
    /// Records that came out of its rings and that nobody got.
    fn lost_so_far(&self) -> u64 {
        self.sink.lanes().iter().map(|lane| lane.outcome.errors.sum()).sum()
    }
}

/// Bits that nobody can guess.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// An epoch: another at each start of the engine.
pub fn epoch() -> u32 {
    (random() as u32).max(1)
}

/// What a source share hashes with.
pub fn secret() -> [u64; 2] {
    [random(), random()]
}

/// What keeps sources apart, for so many workers.
pub fn fairness(workers: usize) -> Vec<Fairness> {
    let (hz, now) = (dpdk_sys::tsc_hz(), dpdk_sys::tsc());
    let share = Arc::new(Share::new(secret(), hz, now));
    let of_worker = |_| Fairness { share: share.clone(), talkers: Arc::new(Talkers::new(random(), hz, now)) };
    (0..workers).map(of_worker).collect()
}

//! An engine in this process, on ports made of rings: a test puts frames in on one side, turns the workers by hand, and takes frames out.

#![allow(dead_code, reason = "each test uses its own part of it")]

pub mod client;
pub mod frames;
pub mod router;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dpdk_sys::{ANY_SOCKET, Burst, Eal, Pool, Ring, ring_port};
use engine::args::IdlePolicy;
use engine::config::Config;
use engine::control::{Control, Service};
use engine::engine::Engine;
use engine::run::Worker;
use hdrhistogram::Histogram;
use punt::control::types::InterfaceStats;
use serde_json::Value;
use serde_json::value::RawValue;

/// The engine and both ends of its ports' rings.
pub struct Rig {
    pub control: Control,
    pub workers: Vec<Worker>,
    lcores: Vec<u32>,
    /// For each port: what it receives from, what it sends to.
    ports: Vec<(Ring, Ring)>,
    pool: Pool,
    eal: Eal,
}

/// Beside it stand the sockets to which clients send.
fn socket() -> PathBuf {
    std::env::temp_dir().join(format!("puntd-test-{}.sock", std::process::id()))
}

/// What a worker did while something else was done.
pub struct Traffic {
    /// Frames that came in, and that went out.
    pub sent: u64,
    pub forwarded: u64,
    /// Nanoseconds that its loops took.
    pub loops: Histogram<u64>,
}

impl Traffic {
    fn new() -> Traffic {
        // Up to ten seconds, to 1 %.
        let loops = Histogram::new_with_bounds(1, 10_000_000_000, 2).expect("a range");
        Traffic { sent: 0, forwarded: 0, loops }
    }

    fn one_loop(&mut self, frames: &[Vec<u8>], pool: &Pool, rx: &Ring, worker: &mut Worker, tx: &Ring) {
        let mut burst = Burst::new(frames.len() as u16);
        for frame in frames {
            burst.push(pool.alloc_frame(frame).expect("a packet")).expect("room in the burst");
        }
        rx.enqueue(&mut burst);
        assert!(burst.is_empty(), "the ring is full");
        self.sent += frames.len() as u64;
        let start = Instant::now();
        let taken = worker.turn();
        self.loops.saturating_record(start.elapsed().as_nanos() as u64);
        assert_eq!(taken, frames.len());
        let mut burst = Burst::new(1024);
        tx.dequeue(&mut burst);
        for packet in burst.drain() {
            self.forwarded += 1;
            packet.free();
        }
    }
}

impl Rig {
    /// Starts an EAL with these lcores, one ring port for each name, and an engine with this configuration. Ports are called
    /// `net_ring_NAME`.
    pub fn new(lcores: &str, ports: &[&str], config: &str) -> Rig {
        Rig::with(lcores, ports, config, &[])
    }

    /// The same with more arguments of the EAL.
    pub fn with(lcores: &str, ports: &[&str], config: &str, more: &[String]) -> Rig {
        let prefix = format!("--file-prefix=puntd-test-{}", std::process::id());
        let args = [
            "--no-huge",
            "-m",
            "256",
            "--no-pci",
            "--no-shconf",
            "--no-telemetry",
            "--iova-mode=va",
            "--lcores",
            lcores,
            &prefix,
        ];
        let args = args.map(str::to_owned).into_iter().chain(more.iter().cloned());
        let eal = Eal::init(&args.collect::<Vec<_>>()).expect("the EAL starts");
        let rings: Vec<_> = ports
            .iter()
            .map(|name| {
                let ring = |kind| Ring::new(&format!("{kind}_{name}"), 1024, ANY_SOCKET).expect("a ring");
                let (rx, tx) = (ring("rx"), ring("tx"));
                ring_port(name, std::slice::from_ref(&rx), std::slice::from_ref(&tx)).expect("a port");
                (rx, tx)
            })
            .collect();
        let pool = Pool::new("test", 4095, 0, dpdk_sys::DEFAULT_DATA_ROOM, ANY_SOCKET).expect("a pool");
        let config = Config::parse(config, "test").unwrap_or_else(|errors| panic!("{errors:?}"));
        let Engine { control, workers } =
            Engine::new(&eal, &config, 64, IdlePolicy::Spin, &socket()).expect("the engine starts");
        let (lcores, workers) = workers.into_iter().unzip();
        Rig { control, workers, lcores, ports: rings, pool, eal }
    }

    /// The frames come in on the port at `port`.
    pub fn put(&mut self, port: usize, frames: &[Vec<u8>]) {
        for frames in frames.chunks(512) {
            self.lay(port, frames);
            self.turn();
        }
    }

    /// The frames lie before the port at `port`, for when its worker looks. Waits for room if workers run by themselves.
    pub fn lay(&mut self, port: usize, frames: &[Vec<u8>]) {
        let deadline = Instant::now() + Duration::from_secs(30);
        for frames in frames.chunks(256) {
            let mut burst = Burst::new(frames.len() as u16);
            for frame in frames {
                burst.push(self.pool.alloc_frame(frame).expect("a packet")).expect("room in the burst");
            }
            self.ports[port].0.enqueue(&mut burst);
            while !burst.is_empty() {
                let runs = self.workers.is_empty() && Instant::now() < deadline;
                assert!(runs, "the ring of port {port} is full");
                thread::yield_now();
                self.ports[port].0.enqueue(&mut burst);
            }
        }
    }

    /// Does it while every worker runs on a thread of its own.
    pub fn meanwhile<T>(&mut self, work: impl FnOnce(&mut Rig) -> T) -> T {
        struct Done<'a>(&'a AtomicBool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        let (mut workers, done) = (std::mem::take(&mut self.workers), AtomicBool::new(false));
        let answer = thread::scope(|scope| {
            for worker in &mut workers {
                let done = &done;
                scope.spawn(move || {
                    while !done.load(Ordering::Acquire) {
                        if worker.turn() == 0 {
                            thread::yield_now();
                        }
                    }
                    worker.rest();
                });
            }
            let _done = Done(&done);
            work(self)
        });
        self.workers = workers;
        self.turn();
        answer
    }

    /// Runs the workers on their lcores, as `puntd` does, until the first frames have gone out of any port; they are stopped in the middle
    /// of the work that lies before the ports.
    pub fn run_and_stop(&mut self) {
        let Rig { workers, lcores, ports, eal, .. } = self;
        let stop = Arc::new(AtomicBool::new(false));
        let left = thread::scope(|scope| {
            scope.spawn(|| {
                let start = Instant::now();
                // A packet that never comes fails the test that looks for it, and does not hang it.
                while ports.iter().all(|(_, tx)| tx.len() == 0) && start.elapsed() < Duration::from_secs(20) {
                    std::hint::spin_loop();
                }
                stop.store(true, Ordering::Relaxed);
            });
            Engine::run(lcores.iter().copied().zip(workers.drain(..)).collect(), eal, &stop)
        });
        *workers = left.expect("the lcores are free").into_iter().map(|(_, worker)| worker).collect();
    }

    /// Turns all workers until none of them finds anything to do; then they rest.
    pub fn turn(&mut self) {
        while self.workers.iter_mut().map(Worker::turn).sum::<usize>() > 0 {}
        self.workers.iter_mut().for_each(Worker::rest);
    }

    /// The frames that went out of the port at `port` since the last call.
    pub fn take(&mut self, port: usize) -> Vec<Vec<u8>> {
        let mut burst = Burst::new(1024);
        self.ports[port].1.dequeue(&mut burst);
        burst
            .drain()
            .map(|packet| {
                let frame = packet.to_vec();
                packet.free();
                frame
            })
            .collect()
    }

    /// Packets dropped under `text` by `node`.
    pub fn dropped(&self, node: &str, text: &str) -> u64 {
        let rows = self.control.drops();
        rows.iter().find(|row| row.node == node && row.text == text).map_or(0, |row| row.packets)
    }

    /// Packets punted for `reason`.
    pub fn punted(&self, reason: &str) -> u64 {
        let rows = self.control.reasons();
        rows.iter().find(|row| row.name == reason).map_or(0, |row| row.counters.packets)
    }

    /// What the control socket answers to `method` with these parameters (JSON).
    pub fn call(&mut self, method: &str, params: &str) -> String {
        self.try_call(method, params).unwrap_or_else(|error| panic!("{method} {params}: {error}"))
    }

    /// The same; or the sentence that says why not.
    pub fn try_call(&mut self, method: &str, params: &str) -> Result<String, String> {
        let params = RawValue::from_string(params.to_owned()).expect("JSON");
        self.turning(|control| {
            let answer = control.call(&mut Default::default(), method, Some(&params));
            answer.map(|answer| answer.get().to_owned()).map_err(|error| error.to_string())
        })
    }

    /// Does it while another thread turns the workers, as whoever waits for them needs.
    fn turning<T>(&mut self, what: impl FnOnce(&mut Control) -> T) -> T {
        let (done, control, workers) = (AtomicBool::new(false), &mut self.control, &mut self.workers);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    workers.iter_mut().for_each(|worker| _ = worker.turn());
                }
                workers.iter_mut().for_each(Worker::rest);
            });
            let answer = what(control);
            done.store(true, Ordering::Relaxed);
            answer
        })
    }

    /// Does it while a worker forwards: bursts of `frames` come in on the first port as fast as it takes them, and what goes out of the
    /// second is taken away. There must be one worker.
    pub fn forwarding<T>(
        &mut self,
        frames: &[Vec<u8>],
        what: impl FnOnce(&mut Control, &AtomicU64) -> T,
    ) -> (T, Traffic) {
        let Rig { control, workers, ports, pool, .. } = self;
        let [worker] = &mut workers[..] else { panic!("there is one worker") };
        let (done, loops) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let forward = || {
                let mut traffic = Traffic::new();
                while !done.load(Ordering::Relaxed) {
                    traffic.one_loop(frames, pool, &ports[0].0, worker, &ports[1].1);
                    loops.fetch_add(1, Ordering::Relaxed);
                }
                worker.rest();
                traffic
            };
            let forwarder = scope.spawn(forward);
            let result = what(control, &loops);
            done.store(true, Ordering::Relaxed);
            (result, forwarder.join().expect("it does not panic"))
        })
    }

    /// Registers what `register` says (JSON) and returns the registration's id.
    pub fn register(&mut self, register: &str) -> u64 {
        let answer: Value = serde_json::from_str(&self.call("register", register)).expect("JSON");
        answer["id"].as_u64().expect("an id")
    }

    /// The rows of a list.
    pub fn rows(&mut self, list: &str) -> Vec<Value> {
        let (mut rows, mut after) = (Vec::new(), String::new());
        loop {
            let params = if after.is_empty() { "{}".into() } else { format!(r#"{{"after": {after:?}}}"#) };
            let params = RawValue::from_string(params).expect("JSON");
            // A list waits for no worker.
            let answer = self.control.call(&mut Default::default(), list, Some(&params));
            let answer = answer.unwrap_or_else(|error| panic!("{list}: {error}"));
            let answer: Value = serde_json::from_str(answer.get()).expect("JSON");
            rows.extend(answer["items"].as_array().expect("items").iter().cloned());
            match answer["after"].as_str() {
                Some(next) => after = next.to_owned(),
                None => return rows,
            }
        }
    }

    /// The row of a list in which the field `key` is `is`.
    pub fn row(&mut self, list: &str, key: &str, is: impl Into<Value>) -> Value {
        let is = is.into();
        let rows = self.rows(list);
        let found = rows.iter().find(|row| row[key] == is);
        found.cloned().unwrap_or_else(|| panic!("{list} has no row with {key} {is}"))
    }

    /// The index of an interface.
    pub fn index(&mut self, interface: &str) -> u32 {
        self.row("interface.list", "name", interface)["index"].as_u64().expect("an index") as u32
    }

    /// A sink's row, once its client has all that was offered or it is counted as lost.
    pub fn settled(&mut self, sink: &str) -> Value {
        self.until("sink.list", "name", sink, |row| row["backlog"] == 0)
    }

    /// The row of a list, once it is as it is to be.
    pub fn until(&mut self, list: &str, key: &str, is: &str, good: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let row = self.row(list, key, is);
            if good(&row) {
                return row;
            }
            assert!(Instant::now() < deadline, "still {row:#}");
            thread::yield_now();
        }
    }

    /// Every reason's and every sink's books.
    fn assert_books(&mut self) {
        let number =
            |row: &Value, field: &str| row[field].as_u64().unwrap_or_else(|| panic!("{field} in {row:#}"));
        let sum = |row: &Value, fields: &[&str]| fields.iter().map(|field| number(row, field)).sum::<u64>();
        for row in self.rows("reason.list") {
            let fates = [
                "no_sink",
                "sampled_out",
                "action_drop",
                "refused_source",
                "refused_interface",
                "refused_reason",
                "refused_class",
                "accepted",
            ];
            assert_eq!(number(&row, "packets"), sum(&row, &fates), "{row:#}");
        }
        for sink in self.rows("sink.list") {
            let row = self.settled(sink["name"].as_str().expect("a name"));
            let errors: u64 =
                row["errors"].as_object().expect("errors").values().filter_map(Value::as_u64).sum();
            let rest =
                sum(&row, &["refused_registration", "refused_sink", "ring_full", "delivered", "backlog"]);
            assert_eq!(number(&row, "offered"), rest + errors, "{row:#}");
        }
    }

    /// Every interface, by its name.
    pub fn interfaces(&self) -> BTreeMap<String, InterfaceStats> {
        self.control.interfaces().into_iter().map(|row| (row.name.clone(), row)).collect()
    }

    /// The end of every test: the books balance, and every packet is back where it came from.
    pub fn finish(mut self) {
        self.turn();
        self.assert_books();
        let audit = self.turning(|control| control.audit());
        assert!(audit.balanced && audit.in_flight == 0, "{audit:#?}");
        assert_eq!(self.pool.in_use(), 0, "packets of the test that nobody freed");
        self.workers.clear();
        assert_eq!(self.control.stop(), Vec::<String>::new());
        drop((self.ports, self.pool));
        self.eal.cleanup();
    }
}

//! What a Unix sink carries, beside what a bare loop of `sendmmsg` with the same payload carries, in the same run.
//!
//! `cargo bench -p punt --bench sink`. Slices of both take turns; the ratio is the median of the ratios of neighbours, with their quartiles. The
//! bare loop sends batches of 32, always the same record, to a connected socket and blocks when it is full; it does nothing else. The sink's thread
//! takes records out of a ring as small as the engine makes them, which another CPU has filled before. Both senders are threads on the first
//! CPU, both readers and whoever fills the ring on the last: left to the scheduler, a sender shares a CPU with its reader in one run and has
//! its own in the next, which carries twice as much or half.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg};
use nix::unistd::Pid;
use punt::Class;
use punt::lane::Lane;
use punt::record::{HEADER, Header};
use punt::sink::{Facts, Interface, Output, Running, Settled, Sink};
use punt::target;

/// Bytes of a ring: the least that the engine makes.
const RING: usize = 512 << 10;
const ROUNDS: usize = 401;
const BATCH: usize = 32;

struct Nothing;

impl Facts for Nothing {
    fn reason(&self, _: u32) -> Option<String> {
        None
    }
    fn interface(&self, _: u32) -> Option<Interface> {
        None
    }
    fn registration(&self, _: u32) -> Option<Arc<Settled>> {
        None
    }
}

/// The first and the last CPU that this process may use.
fn cpus() -> (usize, usize) {
    let allowed = sched_getaffinity(Pid::this()).expect("an affinity");
    let mut all = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let first = all.next().expect("a CPU");
    (first, all.next_back().unwrap_or(first))
}

/// This thread runs on that CPU from now on.
fn run_on(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).expect("a CPU of this process");
}

/// A client that reads as fast as it can, and says of each slice how many records came per second, from the first ones on: how long the
/// thread sleeps before is not what is measured.
fn client(path: &str, records: usize, cpu: usize) -> Receiver<f64> {
    let socket = UnixDatagram::bind(path).expect("binds");
    let (sender, slices) = mpsc::channel();
    std::thread::spawn(move || {
        run_on(cpu);
        let mut buffers = vec![[0u8; 2048]; BATCH];
        let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
        let (mut count, mut first, mut start) = (0, 0, Instant::now());
        loop {
            let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
            let flags = MsgFlags::MSG_WAITFORONE;
            let received =
                recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None).expect("receives");
            if count == 0 {
                start = Instant::now();
                first = received.count();
                count = first;
                continue;
            }
            count += received.count();
            if count == records {
                let _ = sender.send((count - first) as f64 / start.elapsed().as_secs_f64());
                count = 0;
            }
        }
    });
    slices
}

/// A thread that sends a slice to the client at `path` each time it is told to.
fn bare(path: &str, records: usize, record: Vec<u8>, cpu: usize) -> SyncSender<()> {
    let socket = UnixDatagram::unbound().expect("a socket");
    socket.connect(path).expect("connects");
    let (go, told) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        run_on(cpu);
        let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
        let slices: Vec<_> = (0..BATCH).map(|_| [IoSlice::new(&record)]).collect();
        while told.recv().is_ok() {
            for _ in 0..records / BATCH {
                let none = [None::<()>; BATCH];
                sendmmsg(socket.as_raw_fd(), &mut headers, &slices, none, [], MsgFlags::empty())
                    .expect("sends");
            }
        }
    });
    go
}

/// Lets the sink's thread send a slice that is in its ring.
fn through_sink(running: &Running, lane: &Lane, payload: &[u8], records: usize) {
    let header = Header { captured: payload.len() as u32, class: lane.class as u8, ..Header::default() };
    for _ in 0..records {
        assert!(lane.write(header, [payload]), "the ring holds a slice");
    }
    lane.ring.publish();
    running.wake();
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let (sends, reads) = cpus();
    run_on(reads);
    println!("{:>6} {:>12} {:>12} {:>7} {:>15}", "frame", "bare/s", "sink/s", "ratio", "quartiles");
    for len in [60_usize, 512, 1514] {
        let records = (RING / (HEADER + len.next_multiple_of(8)) - 1) / BATCH * BATCH;
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).display().to_string();
        let (arrived, arrived_bare) =
            (client(&path("sink"), records, reads), client(&path("bare"), records, reads));
        let go = bare(&path("bare"), records, vec![7; HEADER + len], sends);
        let sink = Arc::new(Sink::new("bench".into(), 0));
        let output = Output::Unix { address: path("sink"), header: target::Header::Punt };
        let placed = Box::new(move || run_on(sends));
        let running =
            Running::start(sink.clone(), output, Arc::new(Nothing), None, Some(placed)).expect("starts");
        let lane = Arc::new(Lane::new(0, Class::Route, RING));
        sink.add(lane.clone());
        let payload = vec![7; len];
        let (mut floor, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            go.send(()).expect("a sender");
            floor.push(arrived_bare.recv().expect("a slice arrives"));
            through_sink(&running, &lane, &payload, records);
            ours.push(arrived.recv().expect("a slice arrives"));
        }
        let mut ratios: Vec<f64> = ours.iter().zip(&floor).map(|(ours, floor)| ours / floor).collect();
        ratios.sort_by(f64::total_cmp);
        let quartile = |part: usize| ratios[ratios.len() * part / 4];
        println!(
            "{len:>6} {:>12.0} {:>12.0} {:>7.3} {:>7.3}-{:.3}",
            median(floor),
            median(ours),
            quartile(2),
            quartile(1),
            quartile(3)
        );
    }
}

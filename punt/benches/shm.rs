//! What shared memory carries, beside what a bare ring carries from one thread to another, in the same run.
//!
//! `cargo bench -p punt --bench shm`. Slices of both take turns; the ratio is the median of the ratios of neighbours. The bare ring is the one
//! that every sink has, its reader copies records out and does nothing else; with shared memory the client looks at every cache line of a frame
//! where it lies, and there are the sink's thread and the waker, too.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use punt::Class;
use punt::client::{Client, Record};
use punt::lane::Lane;
use punt::record::Header;
use punt::ring::Ring;
use punt::sink::{Dirty, Facts, Interface, Output, Running, Settled, Sink};
use punt::waker::Waker;

/// Records in a slice.
const RECORDS: usize = 1_000_000;
const ROUNDS: usize = 15;
const BURST: usize = 32;
const BYTES: usize = 1 << 20;

#[derive(Default)]
struct Nothing(Arc<Settled>);

impl Facts for Nothing {
    fn reason(&self, _: u32) -> Option<String> {
        None
    }
    fn interface(&self, _: u32) -> Option<Interface> {
        None
    }
    fn registration(&self, _: u32) -> Option<Arc<Settled>> {
        Some(self.0.clone())
    }
}

/// Records per second through `write`, which says whether there was room, and `publish`, until the reader has them all.
fn slice(write: impl Fn() -> bool, publish: impl Fn(), go: &SyncSender<()>, done: &Receiver<()>) -> f64 {
    go.send(()).expect("a reader");
    let start = Instant::now();
    for number in 0..RECORDS {
        while !write() {
            publish();
            std::thread::yield_now();
        }
        if number % BURST == 0 {
            publish();
        }
    }
    publish();
    done.recv().expect("all of it comes");
    RECORDS as f64 / start.elapsed().as_secs_f64()
}

/// A thread that reads a slice each time it is told to, by `take`, which says how many came.
fn reader(mut take: impl FnMut() -> usize + Send + 'static) -> (SyncSender<()>, Receiver<()>) {
    let (go, told) = mpsc::sync_channel(1);
    let (says, done) = mpsc::channel();
    std::thread::spawn(move || {
        while told.recv().is_ok() {
            let mut seen = 0;
            while seen < RECORDS {
                seen += take();
            }
            let _ = says.send(());
        }
    });
    (go, done)
}

/// Looks at every cache line of a frame, as a client does that wants to know what is in it.
fn look_at(record: &Record<'_>) {
    std::hint::black_box(record.frame.iter().step_by(64).fold(0, |sum, byte| sum ^ byte));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    println!("{:>6} {:>12} {:>12} {:>7} {:>15}", "frame", "bare/s", "shm/s", "ratio", "quartiles");
    for len in [60, 512, 1514] {
        let payload = vec![7u8; len];
        let header =
            Header { captured: len as u32, class: Class::Route as u8, registration: 1, ..Header::default() };

        let ring = Arc::new(Ring::new(BYTES));
        let (read, mut buffer) = (ring.clone(), Vec::new());
        let (go_bare, bare_done) = reader(move || {
            let some = (0..256).take_while(|_| read.read_at(&mut buffer, 0).is_some()).count();
            if some == 0 {
                std::thread::yield_now();
            }
            some
        });

        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("shm").display().to_string();
        let sink = Arc::new(Sink::shared("bench".into(), 0, 1).expect("memory"));
        let facts = Arc::new(Nothing::default());
        let running =
            Running::start(sink.clone(), Output::Shm(path.clone()), facts, None, None).expect("starts");
        let dirty: Arc<Dirty> = Arc::default();
        let waker = Waker::start(vec![dirty.clone()], None).expect("starts");
        waker.attach(sink.slot, running.waker());
        let lanes = sink.make(Class::Route, 1, BYTES).expect("memory");
        let lane: &Lane = &lanes[0];
        let mut client = Client::shared(&path).expect("a socket");
        client.set_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        client.inject_at(&path).expect("the memory");
        let (go, done) = reader(move || client.receive().expect("records").inspect(look_at).count());

        let (mut floor, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let publish = || {
                ring.publish();
            };
            floor.push(slice(|| ring.write(&header, [payload.as_slice()]), publish, &go_bare, &bare_done));
            let publish = || {
                if lane.ring.publish() {
                    dirty.set(sink.slot);
                }
            };
            ours.push(slice(|| lane.write(header, [payload.as_slice()]), publish, &go, &done));
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

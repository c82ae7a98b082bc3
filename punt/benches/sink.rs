//! What a Unix sink carries, beside what a bare loop of `sendmmsg` with the same payload carries, in the same run.
//!
//! `cargo bench -p punt --bench sink`. Slices of both take turns; the ratio is the median of the ratios of neighbours. The bare loop sends
//! batches of 32 to a connected socket and blocks when it is full; so does nothing else. Both are read by a thread of the same kind.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg};
use punt::Class;
use punt::lane::Lane;
use punt::record::{HEADER, Header};
use punt::sink::{Facts, Interface, Output, Running, Settled, Sink};
use punt::target;

/// Records in a slice.
const RECORDS: usize = 4_096;
const ROUNDS: usize = 151;
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

/// A client that reads as fast as it can, and says of each slice how many records came per second, from the first ones on: how long the
/// thread sleeps before is not what is measured.
fn client(path: &str) -> Receiver<f64> {
    let socket = UnixDatagram::bind(path).expect("binds");
    let (sender, slices) = mpsc::channel();
    std::thread::spawn(move || {
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
            if count == RECORDS {
                let _ = sender.send((count - first) as f64 / start.elapsed().as_secs_f64());
                count = 0;
            }
        }
    });
    slices
}

/// Sends a slice; records per second that arrived.
fn bare(socket: &UnixDatagram, payload: &[u8], arrived: &Receiver<f64>) -> f64 {
    let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
    let slices: Vec<_> = (0..BATCH).map(|_| [IoSlice::new(payload)]).collect();
    for _ in 0..RECORDS / BATCH {
        let none = [None::<()>; BATCH];
        sendmmsg(socket.as_raw_fd(), &mut headers, &slices, none, [], MsgFlags::empty()).expect("sends");
    }
    arrived.recv().expect("a slice arrives")
}

/// Lets the sink's thread send a slice that is in its ring; records per second that arrived.
fn through_sink(running: &Running, lane: &Lane, payload: &[u8], arrived: &Receiver<f64>) -> f64 {
    let header = Header { captured: payload.len() as u32, class: lane.class as u8, ..Header::default() };
    for _ in 0..RECORDS {
        assert!(lane.write(header, [payload]), "the ring holds a slice");
    }
    lane.ring.publish();
    running.wake();
    arrived.recv().expect("a slice arrives")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    println!("{:>6} {:>12} {:>12} {:>7}", "frame", "bare/s", "sink/s", "ratio");
    for len in [60, 512, 1514] {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).display().to_string();
        let (arrived, arrived_bare) = (client(&path("sink")), client(&path("bare")));
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.connect(path("bare")).expect("connects");
        let sink = Arc::new(Sink::new("bench".into(), 0));
        let output = Output::Unix { address: path("sink"), header: target::Header::Punt };
        let running = Running::start(sink.clone(), output, Arc::new(Nothing), None, None).expect("starts");
        let lane = Arc::new(Lane::new(0, Class::Route, 8 << 20));
        sink.add(lane.clone());
        let payload = vec![7; len];
        let record = vec![7; HEADER + len];
        let (mut floor, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            floor.push(bare(&socket, &record, &arrived_bare));
            ours.push(through_sink(&running, &lane, &payload, &arrived));
        }
        let ratio = median(ours.iter().zip(&floor).map(|(ours, floor)| ours / floor).collect());
        println!("{len:>6} {:>12.0} {:>12.0} {ratio:>7.3}", median(floor), median(ours));
    }
}

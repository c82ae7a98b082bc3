//! An attack on a router's control plane, as `scripts/demo --attack` shows it: makes its traffic, and plays those who are to come through it.
//!
//! The good ones' packets go in through the engine's inject socket, at their normal rates, as if they were received on `lan`; what their
//! daemons get of them is counted beside. The flood comes by itself, from a capture that never ends.

use std::error::Error;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use punt::client::{Client, Session};
use punt::control;
use punt::control::types::{InterfaceRow, ReasonRow, SourceRow, WorkerStats};
use punt::record::{Header, RECEIVE};
use serde_json::json;
use tests::attack::{GOOD, Good, LIMITS, OFFENDER, flood, transit};
use tests::{capture, plan};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Parser)]
enum Arguments {
    /// Writes lan.pcap (what is forwarded), wan.pcap (the flood) and router.toml into a directory
    Files {
        /// Where to; made if it is not there
        directory: PathBuf,
    },
    /// Says how many packets a second are forwarded now
    Forwarding(On),
    /// Sends BFD, BGP and ARP at their normal rates, shows each second what their daemons get, and says in the end what is missing
    Peers {
        #[command(flatten)]
        on: On,
        /// What was forwarded each second while nobody asked for the flood
        #[arg(long, value_name = "PPS")]
        without_punts: Option<f64>,
        /// An object at the end instead of a table
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Args)]
struct On {
    /// The engine's control socket
    #[arg(long)]
    socket: PathBuf,
    /// For how long
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

fn main() -> ExitCode {
    let done = match Arguments::parse() {
        Arguments::Files { directory } => files(&directory).map(|()| ExitCode::SUCCESS),
        Arguments::Forwarding(on) => forwarding(&on).map(|()| ExitCode::SUCCESS),
        Arguments::Peers { on, without_punts, json } => peers(&on, without_punts, json),
    };
    done.unwrap_or_else(|error| {
        eprintln!("attack: {error}");
        ExitCode::FAILURE
    })
}

/// The driver keeps a buffer for each packet of a capture that never ends.
const PACKETS: usize = 8_000;

fn files(directory: &std::path::Path) -> Result<(), Failure> {
    std::fs::create_dir_all(directory)?;
    for (name, frames) in [("lan.pcap", transit(PACKETS / 10, 1)), ("wan.pcap", flood(PACKETS, 2))] {
        capture::write(&directory.join(name), frames.iter().map(Vec::as_slice))?;
    }
    Ok(std::fs::write(directory.join("router.toml"), plan::config("net_pcap0", "net_pcap1") + LIMITS)?)
}

fn forwarding(on: &On) -> Result<(), Failure> {
    let mut engine = control::Client::connect(&on.socket)?;
    let before = Reading::take(&mut engine)?;
    thread::sleep(Duration::from_secs(on.seconds));
    println!("{:.0}", Reading::take(&mut engine)?.since(&before).forwarded);
    Ok(())
}

/// What the engine has counted at one moment.
struct Reading {
    time: Instant,
    received: u64,
    transmitted: u64,
    punted: u64,
    by_share: u64,
    by_reason: u64,
    by_class: u64,
    worst: Option<SourceRow>,
}

/// What it has done in a while, by the second.
struct Rates {
    received: f64,
    forwarded: f64,
    punted: f64,
    by_share: f64,
    by_reason: f64,
    by_class: f64,
}

impl Reading {
    fn take(engine: &mut control::Client) -> Result<Reading, Failure> {
        let workers: Vec<WorkerStats> = engine.list_as("stats.workers", ())?;
        let reasons: Vec<ReasonRow> = engine.list_as("stats.reasons", ())?;
        let sources: Vec<SourceRow> =
            engine.call_as::<punt::control::Page<SourceRow>>("stats.sources", json!({"limit": 1}))?.items;
        let counters = || reasons.iter().map(|row| &row.counters);
        Ok(Reading {
            time: Instant::now(),
            received: workers.iter().map(|worker| worker.received).sum(),
            transmitted: workers.iter().map(|worker| worker.transmitted).sum(),
            punted: workers.iter().map(|worker| worker.punted).sum(),
            by_share: counters().map(|it| it.refused_source + it.refused_interface).sum(),
            by_reason: counters().map(|it| it.refused_reason).sum(),
            by_class: counters().map(|it| it.refused_class).sum(),
            worst: sources.into_iter().next(),
        })
    }

    fn since(&self, before: &Reading) -> Rates {
        let seconds = (self.time - before.time).as_secs_f64().max(1e-6);
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        Rates {
            received: rate(self.received, before.received),
            forwarded: rate(self.transmitted, before.transmitted),
            punted: rate(self.punted, before.punted),
            by_share: rate(self.by_share, before.by_share),
            by_reason: rate(self.by_reason, before.by_reason),
            by_class: rate(self.by_class, before.by_class),
        }
    }

    /// Whether the one who sends most of the flood is the one who is shown first.
    fn names_offender(&self) -> bool {
        let source = self.worst.as_ref().and_then(|row| row.source);
        source.is_some_and(|source| source.to_string() == format!("{OFFENDER}/32"))
    }
}

/// Reads the engine's counters ten times a second, in a thread of its own, for the answer may be long in coming.
fn read(socket: PathBuf, readings: &Sender<Reading>, stop: &Receiver<()>) -> Result<(), Failure> {
    let mut engine = control::Client::connect(socket)?;
    while stop.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout) {
        readings.send(Reading::take(&mut engine)?)?;
    }
    Ok(())
}

/// How one kind of good packets fares.
#[derive(Clone, Default)]
struct Fare {
    sent: u64,
    got: u64,
    /// Nanoseconds from receive to here, of the last second, and of all.
    waits: Vec<u64>,
    all: Vec<u64>,
}

fn p99(waits: &mut [u64]) -> f64 {
    waits.sort_unstable();
    waits.get(waits.len().saturating_sub(1) * 99 / 100).map_or(0.0, |wait| *wait as f64 / 1e6)
}

/// Sends what the good ones send, as it becomes due; `sent` counts.
fn send(client: &Client, lan: u32, sent: &[AtomicU64; GOOD.len()], stop: &AtomicBool) -> Result<(), Failure> {
    let begin = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        for (good, sent) in GOOD.iter().zip(sent) {
            let due = (begin.elapsed().as_secs_f64() * good.pps as f64) as u64;
            for number in sent.load(Ordering::Relaxed)..due {
                client.inject(RECEIVE, lan, &(good.frame)(number))?;
                sent.store(number + 1, Ordering::Relaxed);
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A client and its sink, both of this name.
fn open(on: &On, name: &str) -> Result<(Client, Session), Failure> {
    let path = std::path::absolute(&on.socket)?.with_file_name(format!("{name}.sock"));
    let mut client = Client::bind(&path.to_string_lossy())?;
    let session = Session::open(&on.socket, name, &mut client)?;
    Ok((client, session))
}

/// The daemons of the good ones.
struct Peers {
    client: Client,
    session: Session,
    /// The interface where they are.
    lan: u32,
    /// The ids of their reasons.
    reasons: [u32; GOOD.len()],
    fares: [Fare; GOOD.len()],
}

impl Peers {
    fn new(on: &On) -> Result<Peers, Failure> {
        let (client, mut session) = open(on, "daemons")?;
        client.set_timeout(Some(Duration::from_millis(5)))?;
        for good in GOOD {
            session.register(good.matching.parse()?)?;
        }
        let interfaces: Vec<InterfaceRow> = session.control().list_as("interface.list", ())?;
        let lan =
            interfaces.iter().find(|row| row.name == "lan").ok_or("the engine has no interface lan")?.index;
        let rows: Vec<ReasonRow> = session.control().list_as("reason.list", ())?;
        let id = |good: Good| rows.iter().find(|row| row.name == good.reason).map_or(0, |row| row.id);
        Ok(Peers { client, session, lan, reasons: GOOD.map(id), fares: Default::default() })
    }

    /// Takes what has come.
    fn receive(&mut self) -> Result<bool, Failure> {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let records = match self.client.receive() {
            Ok(records) => records,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        for record in records {
            let Header { interface, reason, received, .. } = record.header;
            if let Some(at) = self.reasons.iter().position(|id| *id == reason)
                && interface == self.lan
            {
                self.fares[at].got += 1;
                self.fares[at].waits.push(now().saturating_sub(received));
            }
        }
        Ok(true)
    }

    fn count_sent(&mut self, sent: &[AtomicU64; GOOD.len()]) {
        for (fare, sent) in self.fares.iter_mut().zip(sent) {
            fare.sent = sent.load(Ordering::Relaxed);
        }
    }

    /// One line of the table.
    fn line(&mut self, second: u64, before: &[Fare], rates: &Rates, worst: Option<&SourceRow>) -> String {
        let mut line = format!("{second:>4}");
        for (fare, before) in self.fares.iter_mut().zip(before) {
            line += &format!("{:>7}/{:<5}", fare.sent - before.sent, fare.got - before.got);
        }
        line += &format!("{:>7.2}", p99(&mut self.fares[0].waits));
        for fare in &mut self.fares {
            fare.all.append(&mut fare.waits);
        }
        let worst = worst.map_or_else(String::new, |row| {
            let who = row.source.map(|source| source.to_string()).or(row.mac.map(|mac| mac.to_string()));
            format!("{} {} {}", who.unwrap_or_default(), row.interface, row.reason)
        });
        let Rates { received, forwarded, punted, by_share, by_reason, by_class } = rates;
        line + &format!(
            "{:>9.0}{:>9.0}{:>9.0}{:>9.0}{:>9.0}{:>9.0}  {worst}",
            received / 1e3,
            forwarded / 1e3,
            punted / 1e3,
            by_share / 1e3,
            by_reason / 1e3,
            by_class / 1e3,
        )
    }
}

const HEADS: &str = "   \
     BFD         BGP         ARP          BFD p99  ---------------- thousands a second ----------------
   s   sent/got    sent/got    sent/got      ms received  forward.   punted  refused: share, reason, class  sends most";

fn peers(on: &On, without_punts: Option<f64>, json: bool) -> Result<ExitCode, Failure> {
    let mut peers = Peers::new(on)?;
    let (readings, read_out) = channel();
    let (stop, stopped) = channel();
    let socket = on.socket.clone();
    let reader = thread::spawn(move || read(socket, &readings, &stopped));
    let first = Reading::take(peers.session.control())?;
    if !json {
        println!("{HEADS}");
    }
    // Daemons are there before their peers: in its first moments amid a flood, a reason's limit is anybody's.
    let settled = Instant::now();
    while settled.elapsed() < Duration::from_secs(1) {
        peers.receive()?;
    }
    let (client, session) = open(on, "peers")?;
    let (sent, over) =
        (Arc::new([const { AtomicU64::new(0) }; GOOD.len()]), Arc::new(AtomicBool::new(false)));
    let (lan, of_sender, until) = (peers.lan, sent.clone(), over.clone());
    let sender = thread::spawn(move || send(&client, lan, &of_sender, &until));
    let (begin, mut named, mut second) = (Instant::now(), None, 0);
    let (mut last, mut before) = (read_out.recv()?, peers.fares.clone());
    while begin.elapsed() < Duration::from_secs(on.seconds) {
        peers.receive()?;
        let Ok(reading) = read_out.try_recv() else { continue };
        if named.is_none() && reading.names_offender() {
            named = Some(begin.elapsed());
        }
        if reading.time - last.time >= Duration::from_secs(1) {
            second += 1;
            peers.count_sent(&sent);
            let line = peers.line(second, &before, &reading.since(&last), reading.worst.as_ref());
            if !json {
                println!("{line}");
            }
            (last, before) = (reading, peers.fares.clone());
        }
    }
    over.store(true, Ordering::Relaxed);
    // What is on its way comes yet.
    let mut quiet = Instant::now();
    while quiet.elapsed() < Duration::from_millis(500)
        && begin.elapsed() < Duration::from_secs(on.seconds + 5)
    {
        let got = |peers: &Peers| peers.fares.iter().map(|fare| fare.got).sum::<u64>();
        let before = got(&peers);
        peers.receive()?;
        if got(&peers) > before {
            quiet = Instant::now();
        }
    }
    sender.join().map_err(|_| "the sender panicked")??;
    peers.count_sent(&sent);
    session.close()?;
    let whole = Reading::take(peers.session.control())?.since(&first);
    let _ = stop.send(());
    reader.join().map_err(|_| "the reader of counters panicked")??;
    peers.line(0, &before, &whole, None);
    let answer = json!({
        "good": GOOD.iter().zip(&mut peers.fares).map(|(good, fare)| json!({
            "name": good.name, "sent": fare.sent, "got": fare.got, "p99_ms": p99(&mut fare.all),
        })).collect::<Vec<_>>(),
        "named_after_ms": named.map(|after| after.as_millis() as u64),
        "received_pps": whole.received, "forwarded_pps": whole.forwarded, "punted_pps": whole.punted,
        "refused_pps": whole.by_share + whole.by_reason + whole.by_class,
    });
    peers.session.close()?;
    if json {
        println!("{answer}");
    } else {
        say(&peers.fares, named, &whole, without_punts);
    }
    Ok(ExitCode::SUCCESS)
}

/// What came of it, in sentences.
fn say(fares: &[Fare], named: Option<Duration>, whole: &Rates, without_punts: Option<f64>) {
    println!();
    for (good, fare) in GOOD.iter().zip(fares) {
        let lost = fare.sent.saturating_sub(fare.got);
        let p99 = p99(&mut fare.all.clone());
        println!(
            "{}: {} sent, {} came, {lost} lost; 99 of 100 within {p99:.2} ms.",
            good.name, fare.sent, fare.got
        );
    }
    match named {
        Some(after) => println!("{OFFENDER} was first in stats sources after {} ms.", after.as_millis()),
        None => println!("{OFFENDER} was never first in stats sources."),
    }
    print!("Forwarded: {:.0} thousand packets a second", whole.forwarded / 1e3);
    match without_punts {
        Some(without) => println!(
            ", {:.0} % of what it is when nobody asks for the flood.",
            whole.forwarded / without * 100.0
        ),
        None => println!("."),
    }
}

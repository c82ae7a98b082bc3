//! Shows the packets that it asks for, and says in the end how many came and whether any is missing.
//!
//! `cargo run -p punt --example punt-watch -- /tmp/watch.sock udp:3784 reason:ip4.ttl-expired`
//!
//! The engine is the one at `$PUNTD_SOCKET`. With `--quiet` only the end is said: after Ctrl-C, or when the engine has gone. Without a match it gets what
//! `puntctl` sends to its sink.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use punt::client::{Client, Session};
use punt::control::types::{InterfaceRow, ReasonRow};
use punt::control::{self, DEFAULT_SOCKET, SOCKET_VARIABLE};
use punt::record::Header;

const USAGE: &str = "usage: punt-watch [--quiet] SOCKET [MATCH…]";

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long it waits for a packet before it looks at what else there is.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it looks whether the engine is still there.
const LOOK: Duration = Duration::from_secs(1);
/// How long it waits at most for what is on its way in the end.
const REST: Duration = Duration::from_secs(1);

fn main() -> Result<(), Failure> {
    let (options, words): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| word.starts_with("--"));
    let quiet = options.iter().any(|option| option == "--quiet");
    let [path, wanted @ ..] = words.as_slice() else { return Err(USAGE.into()) };
    if options.len() > usize::from(quiet) {
        return Err(USAGE.into());
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    ctrlc::set_handler(move || stopped.store(true, Ordering::Relaxed))?;

    // The sink is called as the socket's file is.
    let name = Path::new(path).file_stem().map_or(path.as_str().into(), |name| name.to_string_lossy());
    let path = std::path::absolute(path)?;
    let engine = std::env::var(SOCKET_VARIABLE).unwrap_or_else(|_| DEFAULT_SOCKET.into());
    let mut client = Client::bind(&path.to_string_lossy())?;
    client.set_timeout(Some(PAUSE))?;
    let mut session = Session::open(engine, &name, &mut client)?;
    for wanted in wanted {
        let id = session.register(wanted.parse()?)?;
        println!("{name}: {wanted} is registration {id}");
    }

    let mut seen = Seen::learn(session.control())?;
    let mut looked = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        receive(&mut client, &mut seen, quiet)?;
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            if session.control().call("version", ()).is_err() {
                eprintln!("{name}: the engine has gone");
                break;
            }
        }
    }
    // First nothing more comes but what others have registered for this sink, then what is on its way is waited for, then the sink goes.
    let _ = session.unregister_all();
    let end = Instant::now() + REST;
    while receive(&mut client, &mut seen, quiet)? && Instant::now() < end {}
    let _ = session.close();
    println!("{name}: {}", seen.summary(client.missed()));
    Ok(())
}

/// Takes what is there; false if nothing came.
fn receive(client: &mut Client, seen: &mut Seen, quiet: bool) -> Result<bool, Failure> {
    match client.receive() {
        Ok(records) => {
            for record in records {
                seen.count(&record.header);
                if record.missed > 0 {
                    println!("{} records are missing here", record.missed);
                }
                if !quiet {
                    println!("{}, {} bytes", seen.describe(&record.header), record.header.original);
                }
            }
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What came so far, and what its numbers mean.
struct Seen {
    reasons: HashMap<u32, String>,
    interfaces: HashMap<u32, String>,
    records: BTreeMap<u32, u64>,
}

impl Seen {
    fn learn(engine: &mut control::Client) -> Result<Seen, Failure> {
        let reasons: Vec<ReasonRow> = engine.list_as("reason.list", ())?;
        let interfaces: Vec<InterfaceRow> = engine.list_as("interface.list", ())?;
        Ok(Seen {
            reasons: reasons.into_iter().map(|row| (row.id, row.name)).collect(),
            interfaces: interfaces.into_iter().map(|row| (row.index, row.name)).collect(),
            records: BTreeMap::new(),
        })
    }

    fn count(&mut self, header: &Header) {
        *self.records.entry(header.reason).or_default() += 1;
    }

    fn reason(&self, id: u32) -> &str {
        self.reasons.get(&id).map_or("a reason made later", String::as_str)
    }

    fn describe(&self, header: &Header) -> String {
        let interface = self.interfaces.get(&header.interface).map_or("?", String::as_str);
        format!("{} from {interface}", self.reason(header.reason))
    }

    /// `received 12 records, no gaps (local.bfd 7, local.bgp 5)`
    fn summary(&self, missed: u64) -> String {
        let total: u64 = self.records.values().sum();
        let gaps = if missed == 0 { "no gaps".into() } else { format!("{missed} missing") };
        let each: Vec<String> =
            self.records.iter().map(|(reason, count)| format!("{} {count}", self.reason(*reason))).collect();
        let each = if each.is_empty() { String::new() } else { format!(" ({})", each.join(", ")) };
        format!("received {total} records, {gaps}{each}")
    }
}

//! The thread of a sink whose client reads the rings by itself, in memory that both map.
//!
//! It copies nothing. It waits for a client at a socket and hands it the memory; then it looks again and again how far the client says that it
//! has read, counts these records as delivered, and lets the worker overwrite them. So a worker never looks at what a client can write, and
//! a client that says what cannot be loses that ring and nobody else anything: what comes there is given up until the next client.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::books::{Books, Run};
use super::connection::{Connection, is_untaken};
use super::running::{IDLE, PROBE, STUCK, Shared, State};
use super::{Facts, Sink};
use crate::inject::{Inject, Injected, Judge};
use crate::lane::Lane;
use crate::ring::Disbelieved;
use crate::segment::Segment;
use crate::socket;
use crate::target::Header;

/// By this nobody is there.
const NOBODY: i32 = Errno::ENOTCONN as i32;
/// By this a ring is closed.
const CLOSED: i32 = Errno::EPROTO as i32;
/// Between two looks while the client reads so fast that half a ring is free again by then.
const BUSY: Duration = Duration::from_micros(50);
/// Between two looks while it reads, and no ring is short of room: each look takes some of a CPU from those who read and write.
const CALM: Duration = Duration::from_micros(100);
/// Between two looks while it does not, though it could.
const LAZY: Duration = Duration::from_millis(1);
/// Records of one ring that are settled at once, before it is another's turn.
const RECORDS: u64 = 1024;
/// Clients accepted or refused at once.
const CLIENTS: usize = 16;
/// Clients that may have ended their connection without having taken the memory, and still keep it on its way. The system bounds what a user
/// has on its way, of all sinks together.
const UNTAKEN: usize = 4;

/// The thread.
pub(super) struct Server {
    sink: Arc<Sink>,
    segment: Arc<Segment>,
    facts: Arc<dyn Facts>,
    books: Books,
    shared: Arc<Shared>,
    _place: socket::Place,
    listener: UnixListener,
    address: String,
    judge: Option<Judge>,
    client: Option<Connection>,
    /// To clients that are over and have not taken the memory.
    untaken: Vec<UnixStream>,
    lanes: Vec<Arc<Lane>>,
    /// Which of these the client may not read any more.
    closed: Vec<bool>,
    /// What was delivered and is not counted yet; kept, so that it need not be made anew.
    delivered: Vec<Run>,
    /// Between two looks.
    pause: Duration,
    /// Since when the client takes nothing.
    waits: Option<Instant>,
    /// Until when nobody is accepted, for the system cannot.
    deaf: Option<Instant>,
    /// Since when it is to stop.
    stopping: Option<Instant>,
}

/// What a look found.
#[derive(Default)]
struct Found {
    /// The client has read something.
    progress: bool,
    /// It has read more than half of a ring.
    half: bool,
    /// There is something that the client has not read.
    backlog: bool,
    /// The next look will find something to do at once.
    more: bool,
}

impl Server {
    /// Binds the socket at which a client gets the memory of `sink`.
    pub fn open(
        sink: Arc<Sink>,
        path: &str,
        facts: Arc<dyn Facts>,
        inject: Option<Inject>,
        shared: Arc<Shared>,
    ) -> io::Result<Server> {
        let segment = sink.segment.clone().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let (place, listener) = socket::listen(path, 0o660)?;
        sink.suspend(Some(NOBODY));
        shared.say(State::Suspended);
        Ok(Server {
            sink,
            segment,
            books: Books::new(facts.clone()),
            facts,
            shared,
            _place: place,
            listener,
            address: path.into(),
            judge: inject.map(|inject| Judge::new(inject, Header::Punt)),
            client: None,
            untaken: Vec::new(),
            lanes: Vec::new(),
            closed: Vec::new(),
            delivered: Vec::new(),
            pause: BUSY,
            waits: None,
            deaf: None,
            stopping: None,
        })
    }

    /// Where the client writes to, and the books of that.
    pub fn inject(&self) -> Option<(String, Arc<Injected>)> {
        self.judge.as_ref().map(|judge| (self.address.clone(), judge.counts().clone()))
    }

    pub fn run(mut self) {
        // A sleep of 50 µs is to take 50 and not 100; without that we are merely later.
        let _ = nix::sys::prctl::set_timerslack(1_000);
        loop {
            let now = Instant::now();
            let found = self.look(RECORDS);
            self.tell_state(&found, now);
            if self.shared.stop.load(Ordering::Acquire) && self.is_over(&found, now) {
                return;
            }
            self.sleep(&found, now);
        }
    }

    /// Looks at all rings: settles what the client has read, `most` records of each, and gives up what nobody will read.
    fn look(&mut self, most: u64) -> Found {
        self.refresh();
        let mut found = Found::default();
        for (number, (lane, closed)) in self.lanes.iter().zip(&mut self.closed).enumerate() {
            let Some(client) = self.client.as_ref().filter(|_| !*closed) else {
                let errno = if self.client.is_some() { CLOSED } else { NOBODY };
                found.more |= lane.ring.discard(most, |tally| {
                    lane.give_up(errno, tally.records);
                    self.books.lost(&tally);
                });
                continue;
            };
            let claimed = client.head(self.segment.ring(lane.worker, lane.class));
            let before = lane.ring.head();
            let mut run = Run::default();
            let settled = lane.ring.settle(claimed, most, |tally| {
                self.delivered.extend(run.add(number, tally));
            });
            self.delivered.extend(run.whole());
            match settled {
                Ok(more) => found.more |= more,
                Err(Disbelieved) => {
                    *closed = true;
                    self.sink.closed_rings.add(1);
                    found.more = true;
                }
            }
            found.half |= (lane.ring.head() - before) * 16 > lane.ring.bytes() as u64;
            found.backlog |= !lane.ring.is_empty();
            found.progress |= !self.delivered.is_empty();
            for run in &self.delivered {
                self.books.delivered(&lane.outcome, &run.tally);
            }
            if !self.delivered.is_empty() {
                self.sink.waits.delivered(&self.delivered, |_| lane.class);
                self.delivered.clear();
            }
        }
        if let Some(client) = self.client.as_ref().filter(|_| found.backlog) {
            client.wake();
        }
        found
    }

    /// Looks whether the sink has got new lanes. A client sees their rings by itself.
    fn refresh(&mut self) {
        self.lanes.extend(self.sink.lanes_after(self.lanes.len()));
        self.closed.resize(self.lanes.len(), false);
    }

    fn tell_state(&mut self, found: &Found, now: Instant) {
        if found.progress || !found.backlog {
            self.waits = None;
        } else {
            self.waits.get_or_insert(now);
        }
        self.shared.say(match (&self.client, self.waits) {
            (None, _) => State::Suspended,
            (Some(_), Some(since)) if now - since >= STUCK => State::Stuck,
            _ => State::Active,
        });
    }

    /// Sleeps until there is something to do, and listens to clients.
    fn sleep(&mut self, found: &Found, now: Instant) {
        self.pause = match found {
            Found { half: true, .. } => BUSY,
            Found { progress: true, .. } => (self.pause * 5 / 4).min(CALM),
            _ => (self.pause * 5 / 4).min(LAZY),
        };
        let stops = self.shared.stop.load(Ordering::Relaxed);
        let timeout = match found {
            Found { more: true, .. } => Duration::ZERO,
            Found { progress: true, .. } | Found { backlog: true, .. } => self.pause,
            _ if stops => LAZY,
            _ => IDLE,
        };
        // While the client reads, the next look comes soon enough by itself; to be woken for each burst would cost more than the look.
        let rests = !found.more && !found.progress;
        if rests {
            self.shared.wake.falls_asleep();
        }
        self.refresh();
        let came = rests && !found.backlog && self.lanes.iter().any(|lane| !lane.ring.is_empty());
        let timeout = if came { Duration::ZERO } else { timeout };
        self.deaf = self.deaf.filter(|until| now < *until);
        let listens = if self.deaf.is_none() && !stops { PollFlags::POLLIN } else { PollFlags::empty() };
        let wake = self.shared.wake.fd();
        let client = self.client.as_ref().map_or(wake, AsFd::as_fd);
        let mut fds =
            [(wake, PollFlags::POLLIN), (self.listener.as_fd(), listens), (client, PollFlags::POLLIN)]
                .map(|(fd, flags)| PollFd::new(fd, flags));
        // An interrupted sleep is a short one.
        let _ = ppoll(&mut fds, Some(TimeSpec::from_duration(timeout)), None);
        let [_, knocks, speaks] = fds.map(|fd| fd.any().unwrap_or(false));
        if rests {
            self.shared.wake.is_awake();
        }
        let now = Instant::now();
        if speaks {
            self.hear(now);
        }
        if knocks {
            self.accept(now);
        }
    }

    /// Takes what the client sends.
    fn hear(&mut self, now: Instant) {
        let Some(client) = &mut self.client else { return };
        let (judge, facts) = (&mut self.judge, &*self.facts);
        let heard = client.read(|record| {
            if let Some(judge) = judge {
                judge.take(record, now, facts);
            }
        });
        if let Some(judge) = judge {
            let nonsense = heard.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidData);
            judge.counts().inject_errors.add(nonsense as u64);
            judge.publish();
        }
        if heard.is_err() {
            // What it read before it went is delivered.
            self.look(u64::MAX);
            self.untaken.extend(self.client.take().and_then(Connection::end));
            self.sink.suspend(Some(NOBODY));
            // What it did not read is lost, and not the next client's.
            self.look(u64::MAX);
        }
    }

    /// Takes in a client; there is one at a time.
    fn accept(&mut self, now: Instant) {
        for _ in 0..CLIENTS {
            match self.listener.accept() {
                Ok((stream, _)) => self.take_in(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.deaf = Some(now + PROBE);
                    return;
                }
            }
        }
    }

    fn take_in(&mut self, stream: UnixStream) {
        if self.client.is_some() {
            return Connection::refuse(&stream, "another client is connected; there can be one at a time");
        }
        self.untaken.retain(is_untaken);
        if self.untaken.len() >= UNTAKEN {
            self.sink.refused_clients.of(Errno::ETOOMANYREFS as i32).add(1);
            let why =
                "clients that came before have not taken their memory and have not gone; end them first";
            return Connection::refuse(&stream, why);
        }
        match Connection::open(stream, &self.segment, &self.lanes) {
            Ok(client) => {
                self.client = Some(client);
                self.closed.fill(false);
                self.sink.suspend(None);
            }
            // It has gone already.
            Err((_, error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err((stream, error)) => {
                let errno = error.raw_os_error().unwrap_or(Errno::EIO as i32);
                self.sink.refused_clients.of(errno).add(1);
                Connection::refuse(&stream, &format!("the engine cannot hand over its memory: {error}"));
            }
        }
    }

    /// Whether the client has read what was there when it was to stop, or it takes too long.
    fn is_over(&mut self, found: &Found, now: Instant) -> bool {
        let begun = *self.stopping.get_or_insert(now);
        let late = self.shared.is_late(begun, self.waits, now);
        let empty = !found.more && self.lanes.iter().all(|lane| lane.ring.is_empty());
        for lane in self.lanes.iter().filter(|_| late) {
            lane.ring.discard(u64::MAX, |tally| {
                lane.give_up(Errno::ESHUTDOWN as i32, tally.records);
                self.books.lost(&tally);
            });
        }
        late || empty
    }
}

//! A sink's thread: takes records out of the lanes and writes them, waits for a slow client, notices when it is gone and when it is back.
//!
//! It sleeps when there is nothing to do. While nobody is there the sink is suspended: workers do not even copy, what is in the rings is
//! counted under the errno and dropped, and the client is looked for every 50 ms. A client that is slow is waited for; behind it the rings
//! fill, and the worker counts that.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::batch::{Batch, split};
use super::books::{Books, Run};
use super::output::{Output, Progress, Then, Writer};
use super::rounds::Rounds;
use super::shm::Server;
use super::{Facts, Prologue, Sink, Wake};
use crate::inject::{Inject, Injected};
use crate::ledger::Tally;

/// At most so long is a full client waited for before the thread looks around.
pub(super) const WAIT: Duration = Duration::from_millis(10);
/// Between two looks for a client that is gone.
pub(super) const PROBE: Duration = Duration::from_millis(50);
/// Between two looks whether a client that has nothing to take is still there.
pub(super) const IDLE: Duration = Duration::from_millis(250);
/// A client that takes nothing for so long is stuck.
pub(super) const STUCK: Duration = Duration::from_secs(1);
/// So long is drained at the end, unless something else is said.
pub(super) const DRAIN: Duration = Duration::from_secs(1);
/// Between two looks at what the client injects while output is busy.
const INJECT: Duration = Duration::from_micros(200);

/// How a sink does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Records go, or there are none.
    Active,
    /// There are records, and the client took none for a second.
    Stuck,
    /// Nobody is there; looked for every 50 ms.
    Suspended,
}

impl State {
    const ALL: [State; 3] = [State::Active, State::Stuck, State::Suspended];

    /// The word an operator reads.
    pub const fn name(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Stuck => "stuck",
            State::Suspended => "suspended",
        }
    }
}

/// A sink whose thread runs. Dropped, it stops as by [`stop`](Running::stop).
pub struct Running {
    shared: Arc<Shared>,
    inject: Option<(String, Arc<Injected>)>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread shares with those who look at it.
pub(super) struct Shared {
    pub wake: Arc<Wake>,
    state: AtomicU8,
    pub stop: AtomicBool,
    /// So many microseconds a client has at the end to take what is there. Set before `stop`.
    patience: AtomicU64,
}

impl Shared {
    fn new() -> io::Result<Arc<Shared>> {
        Ok(Arc::new(Shared {
            wake: Arc::new(Wake::new()?),
            state: AtomicU8::new(State::Active as u8),
            stop: AtomicBool::new(false),
            patience: AtomicU64::new(DRAIN.as_micros() as u64),
        }))
    }

    pub fn say(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// Whether a client has had its time at the end, which has begun at `begun`: it has taken nothing since `waits`, and may still, or it takes
    /// what is there too slowly.
    pub fn is_late(&self, begun: Instant, waits: Option<Instant>, now: Instant) -> bool {
        let patience = Duration::from_micros(self.patience.load(Ordering::Relaxed));
        let takes_nothing = waits.is_some_and(|since| now - since.max(begun) >= patience);
        takes_nothing || now - begun >= DRAIN
    }
}

impl Running {
    /// Opens what must be open and starts the thread, which runs `prologue` first. Only where
    /// [`Output::injects`] can there be an `inject`; that of shared memory is at the path of the output.
    ///
    /// # Errors
    /// If something cannot be opened or bound; the sentence names it. A client that is not there yet is no error.
    pub fn start(
        sink: Arc<Sink>,
        output: Output,
        facts: Arc<dyn Facts>,
        inject: Option<Inject>,
        prologue: Option<Prologue>,
    ) -> io::Result<Running> {
        let shared = Shared::new()?;
        let of_thread = shared.clone();
        let name: String = format!("sink-{}", sink.name).replace('\0', "");
        let (inject, run): (_, Box<dyn FnOnce() + Send>) = if let Output::Shm(path) = &output {
            let server = Server::open(sink, path, facts, inject, of_thread)?;
            (server.inject(), Box::new(move || server.run()))
        } else {
            let pump = Pump::open(sink, output, facts, inject, of_thread)?;
            (pump.inject(), Box::new(move || pump.run()))
        };
        let thread = thread::Builder::new().name(name).spawn(move || {
            prologue.into_iter().for_each(|prologue| prologue());
            run();
        })?;
        Ok(Running { shared, inject, thread: Some(thread) })
    }

    /// What wakes the thread, for [`Waker::attach`](crate::waker::Waker::attach).
    pub fn waker(&self) -> Arc<Wake> {
        self.shared.wake.clone()
    }

    /// Wakes the thread if it sleeps.
    pub fn wake(&self) {
        self.shared.wake.wake();
    }

    /// How it does.
    pub fn state(&self) -> State {
        State::ALL[self.shared.state.load(Ordering::Relaxed) as usize % State::ALL.len()]
    }

    /// Where the client sends what it injects: a path, `@` and an abstract name, or the name of a TAP interface.
    pub fn inject_path(&self) -> Option<&str> {
        self.inject.as_ref().map(|(address, _)| address.as_str())
    }

    /// What became of what the client injected.
    pub fn injected(&self) -> Option<&Arc<Injected>> {
        self.inject.as_ref().map(|(_, counts)| counts)
    }

    /// Tells the thread to stop when its client has taken what is there, or has taken nothing for as long as `patience`, or after a second, and
    /// does not wait for it, so that many can stop at once. What is said first holds.
    pub fn ask_to_stop(&self, patience: Duration) {
        if !self.shared.stop.load(Ordering::Relaxed) {
            self.shared.patience.store(patience.as_micros() as u64, Ordering::Relaxed);
            self.shared.stop.store(true, Ordering::Release);
        }
        self.wake();
    }

    /// Lets the thread write what is there, for a second at most unless it was [asked](Running::ask_to_stop) to stop sooner, and ends it; what
    /// is left then counts under ESHUTDOWN. Removes the inject socket. No worker may offer anything any more.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ask_to_stop(DRAIN);
        if let Some(thread) = self.thread.take() {
            // If it panicked, that was said where it happened.
            let _ = thread.join();
        }
    }
}

/// The thread.
struct Pump {
    sink: Arc<Sink>,
    writer: Box<dyn Writer>,
    facts: Arc<dyn Facts>,
    books: Books,
    shared: Arc<Shared>,
    rounds: Rounds,
    batch: Batch,
    /// What was delivered and is not counted yet; kept, so that it need not be made anew.
    delivered: Vec<Run>,
    /// The errno by which nobody is there, and when to look again.
    gone: Option<(i32, Instant)>,
    /// Since when the client takes nothing.
    waits: Option<Instant>,
    /// When it was last looked at what the client injects; `None` if there is something.
    served: Option<Instant>,
    /// Since when it is to stop.
    stopping: Option<Instant>,
}

impl Pump {
    fn open(
        sink: Arc<Sink>,
        output: Output,
        facts: Arc<dyn Facts>,
        inject: Option<Inject>,
        shared: Arc<Shared>,
    ) -> io::Result<Pump> {
        let writer = output.open(inject)?;
        let mut pump = Pump {
            sink,
            writer,
            books: Books::new(facts.clone()),
            facts,
            shared,
            rounds: Rounds::default(),
            batch: Batch::default(),
            delivered: Vec::new(),
            gone: None,
            waits: None,
            served: None,
            stopping: None,
        };
        pump.probe(Instant::now());
        Ok(pump)
    }

    /// Where the client sends what it injects, and the books of that.
    fn inject(&self) -> Option<(String, Arc<Injected>)> {
        let judge = self.writer.judge()?;
        Some((judge.address().to_owned(), judge.counts().clone()))
    }

    fn run(mut self) {
        loop {
            let now = Instant::now();
            self.take_injected(now);
            if self.gone.is_some_and(|(_, again)| now >= again) {
                self.probe(now);
            }
            if self.batch.is_empty() {
                self.batch.clear(now);
                self.rounds.refresh(&self.sink);
                self.rounds.fill(&mut self.batch, &*self.facts);
            }
            if self.shared.stop.load(Ordering::Acquire) && self.is_over(now) {
                return;
            }
            match self.gone {
                _ if self.batch.is_empty() => self.sleep(now),
                Some((errno, _)) => self.lose(usize::MAX, errno),
                None => self.write(now),
            }
        }
    }

    /// Writes what it can of the batch.
    fn write(&mut self, now: Instant) {
        let Progress { done, then } = self.writer.write(&self.batch, &*self.facts);
        self.deliver(done);
        if done > 0 || then != Then::Wait {
            self.waits = None;
            self.shared.say(State::Active);
        }
        match then {
            Then::Continue => {}
            Then::Wait => self.wait(now),
            Then::Lost(records, errno) => self.lose(records, errno),
            Then::Gone(errno) => {
                self.is_gone(errno, now);
                self.lose(usize::MAX, errno);
            }
        }
    }

    /// Counts the oldest records of the batch as delivered, those of a burst at once.
    fn deliver(&mut self, records: usize) {
        let mut run = Run::default();
        for _ in 0..records {
            let Some((lane, record)) = self.batch.finish() else { break };
            self.delivered.extend(run.add(lane, Tally::of(&split(record).0)));
        }
        self.delivered.extend(run.whole());
        if !self.delivered.is_empty() {
            self.sink.waits.delivered(&self.delivered, |lane| self.rounds.lane(lane).class);
        }
        for run in self.delivered.drain(..) {
            self.books.delivered(&self.rounds.lane(run.lane).outcome, &run.tally);
        }
    }

    /// Counts the oldest records of the batch under `errno`.
    fn lose(&mut self, records: usize, errno: i32) {
        for _ in 0..records {
            let Some((lane, record)) = self.batch.finish() else { return };
            let tally = Tally::of(&split(record).0);
            self.rounds.lane(lane).outcome.errors.of(errno).add(1);
            self.rounds.lost(lane);
            self.batch.lost(lane);
            self.books.lost(&tally);
        }
    }

    /// Looks whether somebody is there.
    fn probe(&mut self, now: Instant) {
        match self.writer.probe() {
            Err(errno) => self.is_gone(errno, now),
            Ok(()) if self.gone.take().is_some() => {
                self.sink.suspend(None);
                self.shared.say(State::Active);
            }
            Ok(()) => {}
        }
    }

    /// Nobody is there.
    fn is_gone(&mut self, errno: i32, now: Instant) {
        self.gone = Some((errno, now + PROBE));
        self.waits = None;
        self.sink.suspend(Some(errno));
        self.shared.say(State::Suspended);
    }

    /// Waits until the client has room again, or injects something.
    fn wait(&mut self, now: Instant) {
        if now - *self.waits.get_or_insert(now) >= STUCK {
            self.shared.say(State::Stuck);
        }
        if let Some(fd) = self.writer.writable() {
            let readable = poll_for(WAIT, (fd, PollFlags::POLLOUT), self.writer.readable());
            if readable {
                self.served = None;
            }
        }
    }

    /// Sleeps until there is something to do.
    fn sleep(&mut self, now: Instant) {
        let timeout = self.gone.map_or(IDLE, |(_, again)| again.saturating_duration_since(now));
        self.waits = None;
        self.shared.wake.falls_asleep();
        self.rounds.refresh(&self.sink);
        if self.rounds.is_empty() && !self.shared.stop.load(Ordering::Relaxed) {
            let wake = (self.shared.wake.fd(), PollFlags::POLLIN);
            if poll_for(timeout, wake, self.writer.readable()) {
                self.served = None;
            }
        }
        self.shared.wake.is_awake();
        let later = Instant::now();
        if self.gone.is_none() && later - now >= IDLE {
            self.probe(later);
        }
    }

    /// Takes what the client injects, but not so often that output feels it.
    fn take_injected(&mut self, now: Instant) {
        if self.served.is_none_or(|served| now - served >= INJECT) {
            let more = self.writer.serve(now, &*self.facts);
            self.served = (!more).then_some(now);
        }
    }

    /// Whether everything is written that was there when it was to stop, or it takes too long.
    fn is_over(&mut self, now: Instant) -> bool {
        let begun = *self.stopping.get_or_insert(now);
        let late = self.shared.is_late(begun, self.waits, now);
        if self.batch.is_empty() {
            return true;
        }
        while late && !self.batch.is_empty() {
            self.lose(usize::MAX, Errno::ESHUTDOWN as i32);
            self.batch.clear(now);
            self.rounds.fill(&mut self.batch, &*self.facts);
        }
        late
    }
}

/// Sleeps until `first` happens or something is injected. Returns whether something is.
fn poll_for(timeout: Duration, first: (BorrowedFd<'_>, PollFlags), injected: Option<BorrowedFd<'_>>) -> bool {
    let fds = &mut [PollFd::new(first.0, first.1), PollFd::new(first.0, PollFlags::empty())];
    let fds = match injected {
        Some(injected) => {
            fds[1] = PollFd::new(injected, PollFlags::POLLIN);
            &mut fds[..]
        }
        None => &mut fds[..1],
    };
    // Rounded up, or the last part of a millisecond would be spent turning.
    let timeout = PollTimeout::try_from(timeout + Duration::from_micros(999)).unwrap_or(PollTimeout::ZERO);
    // An interrupted sleep is a short one.
    let _ = poll(fds, timeout);
    fds.get(1).is_some_and(|fd| fd.any().unwrap_or(false))
}

//! Records in memory that the engine shares: looked at where the worker wrote them. They stay there until the client asks for more.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, recv, socket};

use super::{Received, Wait};
use crate::mapped::{self, Mapping};
use crate::ring::{Place, View};
use crate::segment::{ASLEEP, Layout, falls_asleep};
use crate::sync::atomic::Ordering;

/// Records taken at once, at most.
const BATCH: usize = 64;
/// Records of one ring before it is another's turn.
const TURN: usize = 32;
/// The head of so many records further on is fetched while one is looked at, if those between are as long.
const AHEAD: u64 = 4;
/// So long it is looked for the next record before the client sleeps; to be woken takes the engine as long.
const SOON: Duration = Duration::from_micros(50);
/// Pauses between two looks, about a microsecond: each takes cache lines from the workers.
const LOOK: usize = 32;
/// Bytes of the engine's line, at most.
const LINE: usize = 4096;
/// How long the engine may take to hand over the memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// The client's side of a segment.
pub(super) struct Shm {
    path: String,
    /// To the engine, once it is connected.
    stream: UnixStream,
    state: State,
}

/// How far the client is.
enum State {
    /// Nobody has been asked for the memory.
    Apart,
    /// The memory is to come.
    Asked,
    /// It is there.
    Shared(Memory),
}

/// What the engine handed over.
struct Memory {
    layout: Layout,
    records: Mapping,
    heads: Mapping,
    /// How far each ring is read, and how far of that the engine knows.
    positions: Vec<u64>,
    released: Vec<u64>,
}

impl Shm {
    pub fn new(path: &str) -> io::Result<Shm> {
        Ok(Shm { path: path.into(), stream: unconnected()?, state: State::Apart })
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    /// Gets the memory, if it is not there yet or the engine has gone since.
    pub fn connect(&mut self) -> io::Result<()> {
        if self.is_over() {
            self.state = State::Apart;
        }
        self.share(Wait::Yes).map(drop)
    }

    /// Whether the engine has ended the connection, or there is none.
    fn is_over(&self) -> bool {
        let ended = &mut [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        poll(ended, PollTimeout::ZERO).is_ok_and(|ended| ended > 0)
    }

    /// The memory, if the engine hands it over, which is waited for or not.
    fn share(&mut self, wait: Wait) -> io::Result<&mut Memory> {
        if let State::Apart = self.state {
            self.ask(wait)?;
            self.state = State::Asked;
        }
        if let State::Asked = self.state {
            let timeout = self.stream.read_timeout()?;
            self.stream.set_read_timeout(Some(timeout.map_or(PATIENCE, |timeout| timeout.min(PATIENCE))))?;
            let received = Memory::receive(&self.stream, wait);
            self.stream.set_read_timeout(timeout)?;
            self.state = match received {
                Ok(memory) => State::Shared(memory),
                // It may still come.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => {
                    self.state = State::Apart;
                    return Err(error);
                }
            };
        }
        match &mut self.state {
            State::Shared(memory) => Ok(memory),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Asks the engine for the memory.
    fn ask(&mut self, wait: Wait) -> io::Result<()> {
        let stream = unconnected()?;
        stream.set_read_timeout(self.stream.read_timeout()?)?;
        // So long there may be no room at the engine's door.
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nonblocking(wait == Wait::No)?;
        nix::sys::socket::connect(stream.as_raw_fd(), &UnixAddr::new(self.path.as_str())?)?;
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(None)?;
        self.stream = stream;
        Ok(())
    }

    /// Takes what is there, or waits for it.
    pub fn fill(&mut self, received: &mut Received, wait: Wait) -> io::Result<()> {
        self.share(wait)?;
        let filled = self.fill_from_memory(received, wait);
        if filled.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset) {
            self.state = State::Apart;
        }
        filled
    }

    fn fill_from_memory(&mut self, received: &mut Received, wait: Wait) -> io::Result<()> {
        let State::Shared(memory) = &mut self.state else { return Err(io::ErrorKind::NotConnected.into()) };
        loop {
            if memory.take(received) || (wait == Wait::Yes && memory.take_soon(received)) {
                return Ok(());
            }
            falls_asleep(&memory.heads.words()[ASLEEP]);
            if memory.take(received) {
                memory.heads.words()[ASLEEP].store(0, Ordering::Relaxed);
                return Ok(());
            }
            let flags = if wait == Wait::Yes { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
            match recv(self.stream.as_raw_fd(), &mut [0; 64], flags) {
                Ok(0) | Err(Errno::ECONNRESET) => return Err(io::ErrorKind::ConnectionReset.into()),
                Ok(_) | Err(Errno::EINTR) => {}
                // It goes on sleeping: who polls is woken.
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Gives back what [`fill`](Shm::fill) found.
    pub fn release(&mut self) {
        if let State::Shared(memory) = &mut self.state {
            memory.release();
        }
    }

    /// A record that [`fill`](Shm::fill) found.
    #[inline]
    pub fn record(&self, range: Range<usize>) -> &[u8] {
        match &self.state {
            State::Shared(memory) => memory.records.published(range),
            _ => &[],
        }
    }

    pub fn send(&self, record: &[u8]) -> io::Result<()> {
        (&self.stream).write_all(record).map_err(|error| match error.kind() {
            // However the system puts it.
            io::ErrorKind::BrokenPipe => io::ErrorKind::ConnectionReset.into(),
            _ => error,
        })
    }
}

impl AsFd for Shm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn unconnected() -> io::Result<UnixStream> {
    Ok(socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?.into())
}

impl Memory {
    /// The line that says what it is, and the files.
    fn receive(mut stream: &UnixStream, wait: Wait) -> io::Result<Memory> {
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let mut line = vec![0; LINE];
        let (mut used, files) = mapped::receive(stream, &mut line[..1], wait == Wait::Yes)?;
        // A byte at a time: what follows the line is for later.
        while used > 0 && line[used - 1] != b'\n' && used < LINE && stream.read(&mut line[used..=used])? > 0 {
            used += 1;
        }
        let line = String::from_utf8_lossy(&line[..used]);
        if let Some(why) = line.strip_prefix("refused: ") {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, why.trim_end().to_owned()));
        }
        let layout: Layout = line.parse().map_err(wrong)?;
        let [records, heads] = <[OwnedFd; 2]>::try_from(files).map_err(|files| {
            wrong(format!("the engine sent {} memory files, and there are 2", files.len()))
        })?;
        let (records, heads) = (Mapping::open(records, false)?, Mapping::open(heads, true)?);
        if records.words().len() * 8 < layout.records() || heads.words().len() * 8 < layout.heads() {
            return Err(wrong("the engine's memory files are shorter than it says".into()));
        }
        let position = |ring| heads.words()[Layout::head(ring)].load(Ordering::Relaxed);
        let positions: Vec<u64> = (0..layout.rings).map(position).collect();
        Ok(Memory { layout, records, heads, released: positions.clone(), positions })
    }

    /// Takes what is there, the most important class first. Returns whether that is anything.
    fn take(&mut self, received: &mut Received) -> bool {
        let before = received.records.len();
        loop {
            let round = received.records.len();
            for ring in (0..self.layout.rings).rev() {
                self.take_from(ring, received);
            }
            if received.records.len() == round || received.records.len() >= BATCH {
                return received.records.len() > before;
            }
        }
    }

    /// The same, if something comes so soon that it is not worth sleeping.
    fn take_soon(&mut self, received: &mut Received) -> bool {
        let start = Instant::now();
        while start.elapsed() < SOON {
            (0..LOOK).for_each(|_| std::hint::spin_loop());
            if self.take(received) {
                return true;
            }
        }
        false
    }

    /// Takes as many records of a ring as are its turn.
    fn take_from(&mut self, ring: usize, received: &mut Received) {
        let words = self.records.words();
        let Some(range) = self.layout.words(ring, words[Layout::size(ring)].load(Ordering::Acquire)) else {
            return;
        };
        // Once a turn: each load takes the line from the worker.
        let (start, tail) = (range.start, words[Layout::tail(ring)].load(Ordering::Acquire));
        let (view, position) = (View(&words[range]), &mut self.positions[ring]);
        for _ in 0..TURN.min(BATCH.saturating_sub(received.records.len())) {
            let Some(Place { word, bytes, next }) = view.find(*position, tail) else { break };
            view.fetch(next + AHEAD * (next - *position));
            let first = (start + word) * 8;
            received.records.push(first..first + bytes);
            *position = next;
        }
    }

    /// Says how far each ring is read: nobody looks at the records before that any more.
    fn release(&mut self) {
        for (ring, (position, released)) in self.positions.iter().zip(&mut self.released).enumerate() {
            if position != released {
                *released = *position;
                self.heads.words()[Layout::head(ring)].store(*position, Ordering::Release);
            }
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.release();
    }
}

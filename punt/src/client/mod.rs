//! For programs that receive punted packets: bind a socket, say what is wanted, receive, send back.
//!
//! ```no_run
//! use punt::client::{Client, Session};
//!
//! let mut client = Client::bind("/run/bfdd/punt.sock")?;
//! let mut session = Session::open("/run/puntd/puntd.sock", "bfdd", &mut client)?;
//! session.register("udp:3784".parse()?)?;
//! loop {
//!     for record in client.receive()? {
//!         println!("{} bytes on interface {}", record.frame.len(), record.header.interface);
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! [`Client::shared`] instead of [`Client::bind`], with the path of a socket that the engine is to bind, gets the same packets through shared
//! memory. `punt/examples/bfd.rs` and `shm.rs` are whole programs; `docs/clients.md` has the same in C and Python.

mod datagrams;
mod losses;
mod session;
mod shm;

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::inject::FRAME;
use crate::record::{Header, NO_OFFSET};
use datagrams::Datagrams;
use losses::Losses;
use shm::Shm;

pub use session::Session;

/// A client: a socket that is bound, and removed when this is dropped, or memory that it shares with the engine.
pub struct Client {
    way: Way,
    received: Received,
    losses: Losses,
    malformed: u64,
}

/// How records come.
enum Way {
    Datagrams(Datagrams),
    Shm(Box<Shm>),
}

impl Way {
    /// A record that came.
    #[inline]
    fn record<'a>(&'a self, bytes: &'a [u8], range: Range<usize>) -> &'a [u8] {
        match self {
            Way::Datagrams(_) => &bytes[range],
            Way::Shm(shm) => shm.record(range),
        }
    }
}

/// Records as they came.
#[derive(Default)]
struct Received {
    /// Never cleared, so that it need not be filled with zeros again.
    bytes: Vec<u8>,
    /// Where in it, or in the memory that is shared, each is.
    records: Vec<Range<usize>>,
    /// So many of them were looked at.
    seen: usize,
}

/// Whether to wait for a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// As long as was said.
    Yes,
    No,
}

/// One punted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What is known of it.
    pub header: Header,
    /// The frame from its Ethernet header on, as received.
    pub frame: &'a [u8],
    /// Records that should have come between this one and the one before of the same worker and class.
    pub missed: u64,
}

impl Client {
    /// Binds the socket, for its owner and group: a path, or `@` and an abstract name. What a client that died left at the path is removed.
    ///
    /// # Errors
    /// If somebody uses that address, or the system says no; the sentence names it.
    pub fn bind(address: &str) -> io::Result<Client> {
        Ok(Client::new(Way::Datagrams(Datagrams::bind(address)?)))
    }

    /// A client that reads the engine's rings in memory that both share, which it gets at the socket that the engine binds at `path`: as soon
    /// as the sink is there, and again after the engine was gone. It needs no system call for a record, and takes a core while it is busy.
    ///
    /// # Errors
    /// If the system gives no socket.
    pub fn shared(path: &str) -> io::Result<Client> {
        Ok(Client::new(Way::Shm(Box::new(Shm::new(path)?))))
    }

    fn new(way: Way) -> Client {
        Client { way, received: Received::default(), losses: Losses::default(), malformed: 0 }
    }

    /// The sink's target that means this client: `unix:` or `shm:` and its address.
    pub fn target(&self) -> String {
        match &self.way {
            Way::Datagrams(datagrams) => format!("unix:{}", datagrams.address()),
            Way::Shm(shm) => format!("shm:{}", shm.path()),
        }
    }

    /// Receives what is there, at least one record; waits for it as long as [`set_timeout`](Client::set_timeout) says. Records in shared memory
    /// are looked at where the engine wrote them, and count as delivered once the client asks for more, or [gives them back](Client::release).
    ///
    /// # Errors
    /// `WouldBlock` if none comes in time, or what the system says. With shared memory also why it cannot be had, and `ConnectionReset` if the
    /// engine has gone; the next call looks for it again.
    pub fn receive(&mut self) -> io::Result<impl Iterator<Item = Record<'_>>> {
        self.fill(Wait::Yes)?;
        Ok(self.records())
    }

    /// Receives what is there and does not wait, not even for the engine to hand over its memory; there may be nothing. Then the
    /// [descriptor](AsFd) becomes readable when there is something.
    ///
    /// # Errors
    /// What the system says, as [`receive`](Client::receive).
    pub fn try_receive(&mut self) -> io::Result<impl Iterator<Item = Record<'_>>> {
        match self.fill(Wait::No) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        Ok(self.records())
    }

    /// Gives back what was received last, where it lies in shared memory: it counts as delivered, and the engine may write there. To receive
    /// again does so by itself; this is for a client that will not for a while.
    pub fn release(&mut self) {
        let Client { way, received: Received { bytes, records, seen }, losses, .. } = self;
        for range in records.drain(..).skip(std::mem::take(seen)) {
            // What nobody looked at has come nevertheless, and leaves no gap.
            if let Ok((header, _)) = Header::read(way.record(bytes, range)) {
                losses.missed(&header);
            }
        }
        if let Way::Shm(shm) = &mut self.way {
            shm.release();
        }
    }

    /// How long [`receive`](Client::receive) waits; for ever by default.
    ///
    /// # Errors
    /// If it is zero.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match &self.way {
            Way::Datagrams(datagrams) => datagrams.set_timeout(timeout),
            Way::Shm(shm) => shm.set_timeout(timeout),
        }
    }

    fn fill(&mut self, wait: Wait) -> io::Result<()> {
        self.release();
        match &mut self.way {
            Way::Datagrams(datagrams) => datagrams.fill(&mut self.received, wait),
            Way::Shm(shm) => shm.fill(&mut self.received, wait),
        }
    }

    /// What [`fill`](Client::fill) got.
    fn records(&mut self) -> impl Iterator<Item = Record<'_>> {
        let Client { way, received: Received { bytes, records, seen }, losses, malformed } = self;
        let (way, bytes) = (&*way, &*bytes);
        records.iter().cloned().filter_map(move |range| {
            *seen += 1;
            match Header::read(way.record(bytes, range)) {
                Ok((header, frame)) => Some(Record { header, frame, missed: losses.missed(&header) }),
                Err(_) => {
                    *malformed += 1;
                    None
                }
            }
        })
    }

    /// Records that did not come, as the gaps in their numbers say.
    pub fn missed(&self) -> u64 {
        self.losses.total()
    }

    /// Datagrams that were no records: somebody else sent them, or the engine is of another version.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Where to send what is to be injected: `inject` in `sink list`. With shared memory it is where that is, and this gets it, again if the
    /// engine has gone since. [`Session`] does this by itself.
    ///
    /// # Errors
    /// If it is no address, or nobody is there.
    pub fn inject_at(&mut self, address: &str) -> io::Result<()> {
        match &mut self.way {
            Way::Datagrams(datagrams) => datagrams.inject_at(address),
            Way::Shm(shm) => shm.connect(),
        }
    }

    /// Asks the engine to do `action` ([`SEND`](crate::record::SEND), [`ROUTE4`](crate::record::ROUTE4),
    /// [`ROUTE6`](crate::record::ROUTE6) or [`RECEIVE`](crate::record::RECEIVE)) with a packet: a frame, or for routing an IP packet. Waits
    /// while the engine's queue is full. Whether it was good is counted in `sink list`.
    ///
    /// # Errors
    /// `InvalidInput` if the packet is longer than 65,535 bytes, `NotConnected` if it is not known where to send it, `ConnectionReset` if the engine that shared its memory has gone (then
    /// [`inject_at`](Client::inject_at) finds the next one), else what the system says.
    pub fn inject(&self, action: u8, interface: u32, packet: &[u8]) -> io::Result<()> {
        if packet.len() > FRAME {
            // The engine would take it for nonsense, and hang up on a client that shares its memory.
            let why = format!("a packet has at most {FRAME} bytes, and this one has {}", packet.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let captured = packet.len() as u32;
        let header = Header {
            action,
            interface,
            captured,
            original: captured,
            l3: NO_OFFSET,
            l4: NO_OFFSET,
            ..Header::default()
        };
        let record = [header.bytes().as_slice(), packet].concat();
        match &self.way {
            Way::Datagrams(datagrams) => datagrams.send(&record),
            Way::Shm(shm) => shm.send(&record),
        }
    }
}

impl AsFd for Client {
    /// With shared memory it is another one after it was asked for, and after the engine was gone.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.way {
            Way::Datagrams(datagrams) => datagrams.as_fd(),
            Way::Shm(shm) => shm.as_fd(),
        }
    }
}

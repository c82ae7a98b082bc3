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
//! `punt/examples/bfd.rs` is a whole program; `docs/clients.md` has the same in C and Python.

mod losses;
mod session;

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg};

use crate::record::{HEADER, Header, NO_OFFSET};
use crate::socket;
use losses::Losses;

pub use session::Session;

/// Records received at once, at most.
const BATCH: usize = 32;
/// Bytes of a frame, at most; the engine has none that is longer.
const FRAME: usize = 16 << 10;
const SLOT: usize = HEADER + FRAME;

/// A client's socket. Dropped, it removes its file.
pub struct Client {
    socket: UnixDatagram,
    address: String,
    /// Where to send what is to be injected.
    inject: Option<SocketAddr>,
    buffer: Vec<u8>,
    lengths: Vec<usize>,
    losses: Losses,
    malformed: u64,
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
        Ok(Client {
            socket: socket::bind(address, 0o660)?,
            address: address.into(),
            inject: None,
            buffer: vec![0; BATCH * SLOT],
            lengths: Vec::with_capacity(BATCH),
            losses: Losses::default(),
            malformed: 0,
        })
    }

    /// The sink's target that means this client: `unix:` and its address.
    pub fn target(&self) -> String {
        format!("unix:{}", self.address)
    }

    /// Receives what is there, at least one record; waits for it as long as [`set_timeout`](Client::set_timeout) says.
    ///
    /// # Errors
    /// `WouldBlock` if none comes in time, or what the system says.
    pub fn receive(&mut self) -> io::Result<impl Iterator<Item = Record<'_>>> {
        self.fill(MsgFlags::MSG_WAITFORONE)?;
        Ok(self.records())
    }

    /// Receives what is there and does not wait; there may be nothing.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_receive(&mut self) -> io::Result<impl Iterator<Item = Record<'_>>> {
        match self.fill(MsgFlags::MSG_DONTWAIT) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        Ok(self.records())
    }

    /// How long [`receive`](Client::receive) waits; for ever by default.
    ///
    /// # Errors
    /// If it is zero.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(timeout)
    }

    /// One system call, and again if a signal came.
    fn fill(&mut self, flags: MsgFlags) -> io::Result<()> {
        self.lengths.clear();
        loop {
            let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
            let mut slots: Vec<_> =
                self.buffer.chunks_exact_mut(SLOT).map(|slot| [IoSliceMut::new(slot)]).collect();
            match recvmmsg(self.socket.as_raw_fd(), &mut headers, &mut slots, flags, None) {
                Ok(received) => self.lengths.extend(received.map(|datagram| datagram.bytes)),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            return Ok(());
        }
    }

    /// What [`fill`](Client::fill) got.
    fn records(&mut self) -> impl Iterator<Item = Record<'_>> {
        let Client { buffer, lengths, losses, malformed, .. } = self;
        let datagrams = buffer.chunks_exact(SLOT).zip(&*lengths).map(|(slot, len)| &slot[..*len]);
        datagrams.filter_map(|datagram| match Header::read(datagram) {
            Ok((header, frame)) => Some(Record { header, frame, missed: losses.missed(&header) }),
            Err(_) => {
                *malformed += 1;
                None
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

    /// Where to send what is to be injected: `inject` in `sink list`. [`Session`] does this by itself.
    ///
    /// # Errors
    /// If it is no address.
    pub fn inject_at(&mut self, address: &str) -> io::Result<()> {
        self.inject = Some(socket::address(address)?);
        Ok(())
    }

    /// Asks the engine to do `action` ([`SEND`](crate::record::SEND), [`ROUTE4`](crate::record::ROUTE4),
    /// [`ROUTE6`](crate::record::ROUTE6) or [`RECEIVE`](crate::record::RECEIVE)) with a packet: a frame, or for routing an IP packet. Waits
    /// while the engine's queue is full. Whether it was good is counted in `sink list`.
    ///
    /// # Errors
    /// `NotConnected` if it is not known where to send it, else what the system says.
    pub fn inject(&self, action: u8, interface: u32, packet: &[u8]) -> io::Result<()> {
        let Some(to) = &self.inject else {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "it is not known where to inject; say so with inject_at",
            ));
        };
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
        self.socket.send_to_addr(&[header.bytes().as_slice(), packet].concat(), to).map(drop)
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        socket::remove(&self.address);
    }
}

//! Datagrams to the Unix socket that a client bound.
//!
//! The socket is connected, so that `poll` says when the client's queue has room again. Connecting once more tells whether the client is
//! there without sending anything, and finds the new socket if it was restarted; so that is done before a write if the last time is not
//! just now.

use std::array;
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, sendmmsg};

use super::Facts;
use super::batch::{Batch, RECORDS, split};
use super::output::{Progress, Then, Writer};
use crate::inject::{Injector, Judge};
use crate::socket;
use crate::target::Header;

/// How long a call waits by itself for one record to be taken; the system makes it a tick of its clock, 1 to 4 ms. Waiting in the call is
/// cheaper than `poll`, which is for clients that take longer.
const CALL: Duration = Duration::from_millis(1);

/// For how long a client that was there is taken to be there still.
const TRUST: Duration = Duration::from_millis(1);

/// Bytes of the header that VPP's punt socket writes: interface index and action, in the host's order.
const VPP_HEADER: usize = 8;

thread_local! {
    /// What the system call wants beside the records: kept, for making it takes longer than sending a record. Not in [`Unix`], because it
    /// may not change threads.
    static HEADERS: RefCell<MultiHeaders<()>> = RefCell::new(MultiHeaders::preallocate(RECORDS, None));
}

/// A client's socket.
pub(super) struct Unix {
    client: SocketAddr,
    header: Header,
    socket: UnixDatagram,
    /// Takes what the client injects.
    injector: Option<Injector>,
    /// The client connected its socket to the inject socket, so that it hears nobody else.
    by_inject: bool,
    /// When the client was last found.
    found: Option<Instant>,
}

impl Unix {
    /// Datagrams to `address`, whether somebody is there or not.
    pub fn new(address: &str, header: Header, injector: Option<Injector>) -> io::Result<Unix> {
        let out = UnixDatagram::unbound()?;
        out.set_write_timeout(Some(CALL))?;
        Ok(Unix {
            client: socket::address(address)?,
            header,
            socket: out,
            injector,
            by_inject: false,
            found: None,
        })
    }

    /// Finds who is at the client's address now.
    fn find(&mut self) -> Result<(), i32> {
        let connect = |socket: &UnixDatagram, client: &SocketAddr| {
            socket.connect_addr(client).map_err(|error| error.raw_os_error().unwrap_or(Errno::EIO as i32))
        };
        let mut found = connect(self.out(), &self.client);
        if found == Err(Errno::EPERM as i32)
            && let Some(injector) = &self.injector
        {
            found = connect(injector.socket(), &self.client);
            // It stays so: a socket that was connected once would refuse what other clients send.
            self.by_inject |= found.is_ok();
        }
        self.found = found.is_ok().then(Instant::now);
        found
    }

    /// The socket from which the client hears.
    fn out(&self) -> &UnixDatagram {
        let injector = self.injector.as_ref().filter(|_| self.by_inject);
        injector.map_or(&self.socket, Injector::socket)
    }

    /// One system call: how many records went.
    fn send(&self, batch: &Batch) -> nix::Result<usize> {
        let mut records = batch.records();
        let mut next = || records.next().unwrap_or_default();
        match self.header {
            Header::Punt => self.send_all(batch, &array::from_fn(|_| [IoSlice::new(next())])),
            Header::Vpp => {
                let pieces: [_; RECORDS] = array::from_fn(|_| vpp(next()));
                let slices = array::from_fn(|at| [IoSlice::new(&pieces[at].0), IoSlice::new(pieces[at].1)]);
                self.send_all(batch, &slices)
            }
        }
    }

    /// The same, with the bytes of each record.
    fn send_all<const N: usize>(
        &self,
        batch: &Batch,
        slices: &[[IoSlice<'_>; N]; RECORDS],
    ) -> nix::Result<usize> {
        let flags = MsgFlags::MSG_NOSIGNAL;
        let count = batch.records().len();
        HEADERS.with_borrow_mut(|headers| {
            let to = &[None; RECORDS][..count];
            Ok(sendmmsg(self.out().as_raw_fd(), headers, &slices[..count], to, [], flags)?.count())
        })
    }
}

/// The same record as VPP's punt socket would send it.
fn vpp(record: &[u8]) -> ([u8; VPP_HEADER], &[u8]) {
    let (header, frame) = split(record);
    let mut bytes = [0; VPP_HEADER];
    bytes[..4].copy_from_slice(&header.interface.to_ne_bytes());
    (bytes, frame)
}

impl Writer for Unix {
    fn write(&mut self, batch: &Batch, _: &dyn Facts) -> Progress {
        let now = Instant::now();
        if self.found.is_none_or(|found| now - found >= TRUST)
            && let Err(errno) = self.find()
        {
            return Progress { done: 0, then: Then::Gone(errno) };
        }
        let (done, then) = match self.send(batch) {
            // The next would have to wait longer, or cannot be sent; whoever waits learns which.
            Ok(done) if done < batch.records().len() => (done, Then::Wait),
            Ok(done) => (done, Then::Continue),
            Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => (0, Then::Wait),
            Err(Errno::EINTR) => (0, Then::Continue),
            Err(Errno::EMSGSIZE) => (0, Then::Lost(1, Errno::EMSGSIZE as i32)),
            Err(Errno::ECONNREFUSED | Errno::ECONNRESET) => {
                // It died since we found it; perhaps another is there already.
                (0, self.find().map_or_else(Then::Gone, |()| Then::Continue))
            }
            Err(errno) => (0, Then::Gone(errno as i32)),
        };
        Progress { done, then }
    }

    fn probe(&mut self) -> Result<(), i32> {
        self.find()
    }

    fn writable(&self) -> Option<BorrowedFd<'_>> {
        Some(self.out().as_fd())
    }

    fn serve(&mut self, now: Instant, facts: &dyn Facts) -> bool {
        self.injector.as_mut().is_some_and(|injector| injector.serve(now, facts))
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        self.injector.as_ref().map(Injector::fd)
    }

    fn judge(&self) -> Option<&Judge> {
        self.injector.as_ref().map(Injector::judge)
    }
}

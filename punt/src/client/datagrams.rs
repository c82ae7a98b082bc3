//! Records as datagrams, to a socket that the client bound.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg};

use super::{Received, Wait};
use crate::record::HEADER;
use crate::socket;

/// Records received at once, at most.
const BATCH: usize = 32;
/// Bytes of a frame, at most; the engine has none that is longer.
const FRAME: usize = 16 << 10;
const SLOT: usize = HEADER + FRAME;

/// A client's socket. Dropped, it removes its file.
pub(super) struct Datagrams {
    _place: socket::Place,
    socket: UnixDatagram,
    address: String,
    /// Where to send what is to be injected.
    inject: Option<SocketAddr>,
}

impl Datagrams {
    pub fn bind(address: &str) -> io::Result<Datagrams> {
        let (place, socket) = socket::bind(address, 0o660)?;
        Ok(Datagrams { _place: place, socket, address: address.into(), inject: None })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(timeout)
    }

    /// One system call, and again if a signal came.
    pub fn fill(&self, received: &mut Received, wait: Wait) -> io::Result<()> {
        let flags = if wait == Wait::Yes { MsgFlags::MSG_WAITFORONE } else { MsgFlags::MSG_DONTWAIT };
        received.bytes.resize(BATCH * SLOT, 0);
        loop {
            let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
            let mut slots: Vec<_> =
                received.bytes.chunks_exact_mut(SLOT).map(|slot| [IoSliceMut::new(slot)]).collect();
            match recvmmsg(self.socket.as_raw_fd(), &mut headers, &mut slots, flags, None) {
                Ok(datagrams) => {
                    let slots = (0..).step_by(SLOT);
                    received.records.extend(slots.zip(datagrams).map(|(at, it)| at..at + it.bytes));
                }
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            return Ok(());
        }
    }

    pub fn inject_at(&mut self, address: &str) -> io::Result<()> {
        self.inject = Some(socket::address(address)?);
        Ok(())
    }

    pub fn send(&self, record: &[u8]) -> io::Result<()> {
        let unknown = "it is not known where to inject; say so with inject_at";
        let to = self.inject.as_ref().ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, unknown))?;
        self.socket.send_to_addr(record, to).map(drop)
    }
}

impl AsFd for Datagrams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

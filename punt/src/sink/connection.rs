//! A client of shared memory, at the other end of its stream: it gets the memory files and a line that says what is in them, is woken by a
//! byte, and sends records that are to be injected.

use std::cell::Cell;
use std::io::{self, IoSlice, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use nix::sys::socket::{ControlMessage, MsgFlags, send, sendmsg};

use crate::inject::FRAME;
use crate::lane::Lane;
use crate::mapped::{Mapping, Writers};
use crate::raw;
use crate::record::{HEADER, MAGIC, VERSION};
use crate::segment::{ASLEEP, Layout, Segment, is_to_be_woken};
use crate::sync::atomic::Ordering;

/// Bytes that are read at once; more than any record has.
const INPUT: usize = 128 << 10;

/// One client.
pub(super) struct Connection {
    stream: UnixStream,
    /// Where it says how far it has read. Whatever stands there is only believed if it can be.
    heads: Mapping,
    /// It was woken, which only who has the memory asks for.
    woken: Cell<bool>,
    /// What it sent and is not a whole record yet.
    input: Vec<u8>,
    used: usize,
}

impl Connection {
    /// Hands the memory to a client that has connected. It begins where these lanes are now.
    ///
    /// # Errors
    /// With the stream, if the client has gone already (`BrokenPipe`), or the system has no memory or descriptors for it.
    pub fn open(
        stream: UnixStream,
        segment: &Segment,
        lanes: &[Arc<Lane>],
    ) -> Result<Connection, (UnixStream, io::Error)> {
        match hand_over(&stream, segment, lanes) {
            Ok(heads) => {
                Ok(Connection { stream, heads, woken: Cell::default(), input: vec![0; INPUT], used: 0 })
            }
            Err(error) => Err((stream, error)),
        }
    }

    /// Tells a client why it gets no memory.
    pub fn refuse(stream: &UnixStream, why: &str) {
        // Who does not read it sees that the connection is closed.
        let _ = say(stream, format!("refused: {why}\n").as_bytes());
    }

    /// Ends the connection. Returns the stream if the memory may still be on its way, and so takes descriptors from the system.
    pub fn end(self) -> Option<UnixStream> {
        // It has read all that it will; a client that stays all the same sees that this is over.
        let _ = self.stream.shutdown(Shutdown::Both);
        (!self.woken.get() && is_untaken(&self.stream)).then_some(self.stream)
    }

    /// How far the client says that it has read this ring.
    pub fn head(&self, ring: usize) -> u64 {
        // What the client has read it has read before it said so.
        self.heads.words()[Layout::head(ring)].load(Ordering::Acquire)
    }

    /// Wakes the client if it sleeps. To be called after it was seen that there is something for it.
    pub fn wake(&self) {
        if is_to_be_woken(&self.heads.words()[ASLEEP]) {
            self.woken.set(true);
            // If there is no room, there are bytes that wake it.
            let _ = say(&self.stream, &[0]);
        }
    }

    /// Reads once what the client sent and passes each whole record on.
    ///
    /// # Errors
    /// `UnexpectedEof` if the client is gone, `InvalidData` if what it sent is no record, so that nobody knows where the next one begins.
    pub fn read(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        match self.stream.read(&mut self.input[self.used..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => self.used += read,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        let mut start = 0;
        while let Some(length) = length(&self.input[start..self.used])? {
            each(&self.input[start..start + length]);
            start += length;
        }
        self.input.copy_within(start..self.used, 0);
        self.used -= start;
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Sends the files and the line that says what they are; returns what the client writes to.
fn hand_over(stream: &UnixStream, segment: &Segment, lanes: &[Arc<Lane>]) -> io::Result<Mapping> {
    stream.set_nonblocking(true)?;
    let layout = segment.layout();
    let heads = Mapping::create("punt-heads", layout.heads(), Writers::All)?;
    heads.reserve(0, layout.heads())?;
    for lane in lanes {
        let ring = segment.ring(lane.worker, lane.class);
        heads.words()[Layout::head(ring)].store(lane.ring.head(), Ordering::Relaxed);
    }
    let line = layout.line();
    let files = [segment.records().as_raw_fd(), heads.as_raw_fd()];
    let sent = sendmsg::<()>(
        stream.as_raw_fd(),
        &[IoSlice::new(line.as_bytes())],
        &[ControlMessage::ScmRights(&files)],
        MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
        None,
    )?;
    if sent < line.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(heads)
}

/// Whether what was sent there is still on its way, the files too. It ends when the client receives it or closes its end.
pub(super) fn is_untaken(stream: &UnixStream) -> bool {
    raw::unreceived(stream).is_ok_and(|bytes| bytes > 0)
}

fn say(stream: &UnixStream, bytes: &[u8]) -> nix::Result<usize> {
    send(stream.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)
}

/// Bytes of the record that `input` begins with, if all of it is there.
fn length(input: &[u8]) -> io::Result<Option<usize>> {
    let Some(header) = input.first_chunk::<HEADER>() else { return Ok(None) };
    let captured = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
    let is_record = header[..4] == MAGIC && header[4] == VERSION && header[5] as usize >= HEADER;
    if !is_record || captured > FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let length = header[5] as usize + captured;
    Ok((input.len() >= length).then_some(length))
}

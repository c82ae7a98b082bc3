//! Memory that two processes share: sealed memory files, mapped as words of atomics.
//!
//! Beside `quiescent.rs` the only file of the crate with `unsafe` in it. A file is only mapped if it is sealed against shrinking, so that no
//! access faults, whatever the other process does to it. What the other process writes meanwhile is old or mixed numbers in atomics.

#![allow(
    unsafe_code,
    reason = "memory that another process changes has no safe type; this file gives it one"
)]

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::slice;

use memmap2::{MmapOptions, MmapRaw};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use crate::sync::atomic::AtomicU64;

/// What neither side may do any more to a file that both map.
const SIZE_STAYS: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW);

/// A memory file, as this process sees it.
pub(crate) struct Mapping {
    file: File,
    memory: MmapRaw,
}

/// Who may write to a new memory file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writers {
    /// This process, by this mapping and no other.
    Us,
    /// Whoever gets the file.
    All,
}

impl Mapping {
    /// A new memory file of so many bytes, all 0 and not yet taken from the system, which never changes its size.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(name: &str, bytes: usize, writers: Writers) -> io::Result<Mapping> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(name, flags)?);
        file.set_len(bytes as u64)?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SIZE_STAYS))?;
        let memory = MmapOptions::new().map_raw(&file)?;
        let rest = match writers {
            Writers::Us => SealFlag::F_SEAL_FUTURE_WRITE | SealFlag::F_SEAL_SEAL,
            Writers::All => SealFlag::F_SEAL_SEAL,
        };
        fcntl(&file, FcntlArg::F_ADD_SEALS(rest))?;
        Ok(Mapping { file, memory })
    }

    /// A memory file that another process made.
    ///
    /// # Errors
    /// If it is not sealed against shrinking, or what the system says.
    pub fn open(file: OwnedFd, writable: bool) -> io::Result<Mapping> {
        let file = File::from(file);
        let seals = SealFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GET_SEALS)?);
        if !seals.contains(SealFlag::F_SEAL_SHRINK) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a memory file that may shrink is not mapped",
            ));
        }
        let options = MmapOptions::new();
        let memory = if writable { options.map_raw(&file)? } else { options.map_raw_read_only(&file)? };
        Ok(Mapping { file, memory })
    }

    /// Takes memory from the system for this part of a file of our own, so that nobody faults on it later for want of memory.
    ///
    /// # Errors
    /// If there is none.
    pub fn reserve(&self, start: usize, bytes: usize) -> io::Result<()> {
        Ok(fallocate(&self.file, FallocateFlags::empty(), start as i64, bytes as i64)?)
    }

    /// All of it. What was not opened to be written is only to be loaded from: a store ends the process.
    #[inline]
    pub fn words(&self) -> &[AtomicU64] {
        let length = self.memory.len() / mem::size_of::<u64>();
        assert!(
            mem::size_of::<AtomicU64>() == mem::size_of::<u64>(),
            "the model checker's atomics are not mapped"
        );
        // SAFETY: the mapping starts at a page and lives as long as `self`; the file has been sealed against shrinking, so all of it can be
        // loaded. Any bits are an atomic number, and other processes change them behind our back only as another thread might.
        unsafe { slice::from_raw_parts(self.memory.as_ptr().cast::<AtomicU64>(), length) }
    }
}

impl Mapping {
    /// A record that the other process has published there, as bytes. It keeps its word not to write to a record before this process says
    /// that it has read it; whoever calls this keeps ours not to say so while somebody looks at it.
    ///
    /// # Panics
    /// If the range is not within the memory.
    #[inline]
    pub fn published(&self, range: Range<usize>) -> &[u8] {
        assert!(range.start <= range.end && range.end <= self.memory.len(), "{range:?} is not mapped");
        // SAFETY: the bytes are within the mapping, which lives as long as `self` and can be loaded, as above. They were published by a release
        // store that the caller has seen, and nobody writes to them until they are given back.
        unsafe { slice::from_raw_parts(self.memory.as_ptr().add(range.start), range.len()) }
    }
}

impl AsFd for Mapping {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Mapping {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// Memory that what was sent on this Unix stream takes until the other end receives it, in bytes; 0 once it has received all, or is closed.
///
/// # Errors
/// What the system says.
pub(crate) fn unreceived(stream: &UnixStream) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open, and the system writes one `int` there.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &mut bytes) };
    Errno::result(result)?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Receives bytes from a Unix stream, and the files that came with them: how many bytes, and the files.
///
/// # Errors
/// What the system says; `WouldBlock` if there is nothing and it is not to be waited for.
pub(crate) fn receive(
    stream: &UnixStream,
    bytes: &mut [u8],
    waits: bool,
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; 2]);
    let mut slices = [IoSliceMut::new(bytes)];
    let waits = if waits { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | waits;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    let mut files = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the system has just opened these for us, and nobody else knows their numbers.
            files.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    Ok((message.bytes, files))
}

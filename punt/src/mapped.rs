//! Memory that two processes share: sealed memory files, mapped as words of atomics.
//!
//! A file is only mapped if it is sealed against shrinking, so that no access faults, whatever the other process does to it. What the other
//! process writes meanwhile is old or mixed numbers in atomics.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use memmap2::{MmapOptions, MmapRaw};
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use crate::raw;
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
        raw::words(&self.memory)
    }

    /// A record that the other process has published there, as bytes. It keeps its word not to write to a record before this process says
    /// that it has read it; whoever calls this keeps ours not to say so while somebody looks at it.
    ///
    /// # Panics
    /// If the range is not within the memory.
    #[inline]
    pub fn published(&self, range: Range<usize>) -> &[u8] {
        raw::bytes(&self.memory, range)
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
            files.extend(raw::own(numbers));
        }
    }
    Ok((message.bytes, files))
}

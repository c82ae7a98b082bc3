//! Where a sink's thread puts its records.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crossbeam_channel::Sender;

use super::Facts;
use super::batch::Batch;
use super::pcapng::Capture;
use super::queue::{Null, Queue, Record};
use super::tap::Tap;
use super::unix::Unix;
use crate::inject::{Inject, Injector, Judge};
use crate::target::{Header, Target};

/// Where a sink's thread puts its records.
pub enum Output {
    /// To the datagram socket that a client bound.
    Unix {
        /// An absolute path, or `@` and an abstract name.
        address: String,
        /// What stands before each frame.
        header: Header,
    },
    /// Into rings that a client reads by itself, for a [`Sink::shared`](super::Sink::shared); the client gets them at the socket that the
    /// engine binds at this path.
    Shm(String),
    /// Into capture files.
    Pcapng {
        /// `[punt] directory`: captures are written below it and nowhere else.
        directory: PathBuf,
        /// The capture, relative to the directory, or absolute and in it.
        file: String,
        /// Bytes after which the next file is begun.
        size: u64,
        /// Files that are kept, at least 1.
        files: u32,
    },
    /// To the host, by a TAP interface that is made for it.
    Tap {
        /// What the host calls it.
        name: String,
        /// The interface by which that leaves which the host sends into it.
        interface: Option<String>,
    },
    /// Nowhere; they count as delivered.
    Null,
    /// To a reader in this process. While the queue is full the thread waits, as it does for a socket.
    Queue(Sender<Record>),
}

impl Output {
    /// What an operator's target asks for. Captures are written below `directory`.
    pub fn new(target: &Target, directory: &Path) -> Output {
        match target {
            Target::Unix { address, header } => Output::Unix { address: address.clone(), header: *header },
            Target::Pcapng { file, size, files } => Output::Pcapng {
                directory: directory.into(),
                file: file.clone(),
                size: size.unwrap_or(Target::DEFAULT_SIZE),
                files: files.unwrap_or(Target::DEFAULT_FILES),
            },
            Target::Null => Output::Null,
            Target::Shm(path) => Output::Shm(path.clone()),
            Target::Tap { name, interface } => {
                Output::Tap { name: name.clone(), interface: interface.clone() }
            }
        }
    }

    /// Whether packets may come back from there.
    pub fn injects(&self) -> bool {
        match self {
            Output::Unix { .. } | Output::Shm(_) => true,
            Output::Tap { interface, .. } => interface.is_some(),
            Output::Pcapng { .. } | Output::Null | Output::Queue(_) => false,
        }
    }

    /// Opens what must be open before the first record. What comes back goes by `inject`.
    pub(super) fn open(self, inject: Option<Inject>) -> io::Result<Box<dyn Writer>> {
        Ok(match self {
            Output::Unix { address, header } => {
                let injector = inject.map(|inject| Injector::open(inject, &address, header)).transpose()?;
                Box::new(Unix::new(&address, header, injector)?)
            }
            Output::Tap { name, interface } => Box::new(Tap::open(name, interface, inject)?),
            Output::Pcapng { directory, file, size, files } => {
                Box::new(Capture::open(&directory, &file, size, files)?)
            }
            Output::Null => Box::new(Null),
            // It has a thread of its own kind.
            Output::Shm(_) => return Err(io::ErrorKind::InvalidInput.into()),
            Output::Queue(sender) => Box::new(Queue(sender)),
        })
    }
}

/// Something to which a sink's thread writes.
pub(super) trait Writer: Send {
    /// Writes records of the batch, oldest first, and says how far it came. Never waits for longer than [`WAIT`](super::running::WAIT).
    fn write(&mut self, batch: &Batch, facts: &dyn Facts) -> Progress;

    /// Whether somebody is there to take records; the errno if not.
    fn probe(&mut self) -> Result<(), i32> {
        Ok(())
    }

    /// What becomes writable when a write that had to wait may go on.
    fn writable(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Takes what is injected, up to a bound. Whether there may be more.
    fn serve(&mut self, _: Instant, _: &dyn Facts) -> bool {
        false
    }

    /// What becomes readable when something is injected.
    fn readable(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Who judges what is injected.
    fn judge(&self) -> Option<&Judge> {
        None
    }
}

/// How far a write came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// Records that were taken.
    pub done: usize,
    /// What is with the next.
    pub then: Then,
}

/// Why a write went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// All is done.
    Continue,
    /// There is no room now.
    Wait,
    /// So many records can never be written, for this errno.
    Lost(usize, i32),
    /// Nobody is there, by this errno.
    Gone(i32),
}

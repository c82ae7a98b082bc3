//! Where a sink's thread puts its records.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::Facts;
use super::batch::Batch;
use super::pcapng::Capture;
use super::queue::{Null, Queue, Record};
use super::unix::Unix;
use crate::inject::Injector;
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
    /// Nowhere; they count as delivered.
    Null,
    /// To a reader in this process. While the queue is full the thread waits, as it does for a socket.
    Queue(Sender<Record>),
}

impl Output {
    /// What an operator's target asks for. Captures are written below `directory`.
    ///
    /// # Errors
    /// If it is a kind of target that this engine has not got.
    pub fn new(target: &Target, directory: &Path) -> io::Result<Output> {
        match target {
            Target::Unix { address, header } => {
                Ok(Output::Unix { address: address.clone(), header: *header })
            }
            Target::Pcapng { file, size, files } => Ok(Output::Pcapng {
                directory: directory.into(),
                file: file.clone(),
                size: size.unwrap_or(Target::DEFAULT_SIZE),
                files: files.unwrap_or(Target::DEFAULT_FILES),
            }),
            Target::Null => Ok(Output::Null),
            Target::Shm(path) => Ok(Output::Shm(path.clone())),
            Target::Tap(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("this engine has no {}: sinks; it has unix:, shm:, pcapng: and null", target.kind()),
            )),
        }
    }

    /// Opens what must be open before the first record.
    pub(super) fn open(self, inject: Option<&Injector>) -> io::Result<Box<dyn Writer>> {
        Ok(match self {
            Output::Unix { address, header } => {
                Box::new(Unix::new(&address, header, inject.map(|inject| Arc::clone(inject.socket())))?)
            }
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

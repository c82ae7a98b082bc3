//! The simplest outputs: a queue that an embedder reads, and nothing at all.

use crossbeam_channel::{SendTimeoutError, Sender, TrySendError};
use nix::errno::Errno;

use super::Facts;
use super::batch::{Batch, split};
use super::output::{Progress, Then, Writer};
use super::running::WAIT;
use crate::record::Header;

/// One record, for a reader in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What is known of the packet.
    pub header: Header,
    /// The frame from its Ethernet header on, as received.
    pub frame: Vec<u8>,
}

/// A queue to a reader in this process.
pub(super) struct Queue(pub Sender<Record>);

impl Writer for Queue {
    fn write(&mut self, batch: &Batch, _: &dyn Facts) -> Progress {
        const NOBODY: Then = Then::Gone(Errno::EPIPE as i32);
        for (done, record) in batch.records().enumerate() {
            let (header, frame) = split(record);
            let then = match self.0.try_send(Record { header, frame: frame.to_vec() }) {
                Ok(()) => continue,
                Err(TrySendError::Disconnected(_)) => NOBODY,
                Err(TrySendError::Full(_)) if done > 0 => Then::Continue,
                Err(TrySendError::Full(record)) => match self.0.send_timeout(record, WAIT) {
                    Ok(()) => continue,
                    Err(SendTimeoutError::Timeout(_)) => Then::Wait,
                    Err(SendTimeoutError::Disconnected(_)) => NOBODY,
                },
            };
            return Progress { done, then };
        }
        Progress { done: batch.records().len(), then: Then::Continue }
    }
}

/// Takes everything and keeps nothing.
pub(super) struct Null;

impl Writer for Null {
    fn write(&mut self, batch: &Batch, _: &dyn Facts) -> Progress {
        Progress { done: batch.records().len(), then: Then::Continue }
    }
}

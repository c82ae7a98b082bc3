//! Why puntctl ends otherwise than it should, and with what status.

use std::fmt;
use std::io;
use std::path::Path;

use punt::control::ClientError;

/// The end of a command that did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// What puntctl exits with: 0 done, 1 refused by the engine, 2 wrong usage, 3 no engine.
    pub status: u8,
    /// What standard error is to say: one sentence, or nothing where all is said on standard output.
    pub message: Option<String>,
}

impl Failure {
    /// The command line, or a file named on it, is wrong.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { status: 2, message: Some(message.into()) }
    }

    /// A file that could not be used.
    pub fn file(path: &Path, error: impl fmt::Display) -> Failure {
        Failure::usage(format!("{}: {error}", path.display()))
    }

    /// The question was answered, and the answer is no.
    pub fn no() -> Failure {
        Failure { status: 1, message: None }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure { status: error.exit_status(), message: Some(error.to_string()) }
    }
}

impl From<io::Error> for Failure {
    /// An error of standard output; no other `io::Error` is let through without saying whose it is.
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            // Who closes our standard output has seen enough: `puntctl route list | head`.
            io::ErrorKind::BrokenPipe => Failure { status: 0, message: None },
            _ => Failure::usage(format!("standard output: {error}")),
        }
    }
}

//! What DPDK refused, in one sentence.

use std::{cell::RefCell, ffi::CStr, fmt};

use crate::ffi;

/// What DPDK refused: in which call and about what, the errno, and the words that the EAL or the driver logged
/// about it where there are any. Displays as `rte_eth_dev_configure: port 0: Invalid argument (22)`.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    call: &'static str,
    subject: String,
    errno: i32,
    words: Vec<String>,
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// DPDK refused, with a negated errno; takes the words it logged on this thread since [`forget_words`].
    pub(crate) fn dpdk(call: &'static str, subject: impl fmt::Display, status: i32) -> Error {
        Error { call, subject: subject.to_string(), errno: status.saturating_abs(), words: WORDS.take() }
    }

    /// We refuse before DPDK is asked.
    pub(crate) fn ours(call: &'static str, why: impl fmt::Display, errno: i32) -> Error {
        Error { call, subject: why.to_string(), errno, words: Vec::new() }
    }

    /// The errno, positive: `libc::EINVAL`, or one of DPDK's own from 1001 on.
    pub fn errno(&self) -> i32 {
        self.errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Error { call, subject, errno, words } = self;
        // SAFETY: rte_strerror answers every number with a string of this thread, valid until its next call here.
        let meaning = unsafe { CStr::from_ptr(ffi::dp_strerror(*errno)) }.to_string_lossy();
        write!(f, "{call}: {subject}: {meaning} ({errno})")?;
        if !words.is_empty() {
            write!(f, ", DPDK says: {}", words.join("; "))?;
        }
        Ok(())
    }
}

/// Lines kept for one error, the last ones.
const WORDS_KEPT: usize = 6;

thread_local! {
    static WORDS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Called before a DPDK call that may fail, so that an error carries only what was said about it.
pub(crate) fn forget_words() {
    WORDS.with_borrow_mut(Vec::clear);
}

/// Called by the log bridge for each warning and error.
pub(crate) fn remember_words(line: &str) {
    // A thread at its end has no words any more, and nobody asks for them.
    let _ = WORDS.try_with(|words| {
        let mut words = words.borrow_mut();
        if words.len() == WORDS_KEPT {
            words.remove(0);
        }
        words.push(line.to_owned());
    });
}

/// Runs a call that answers a negated errno on failure and something of use otherwise.
pub(crate) fn check(call: &'static str, subject: impl fmt::Display, f: impl FnOnce() -> i32) -> Result<u32> {
    forget_words();
    let status = f();
    u32::try_from(status).map_err(|_| Error::dpdk(call, subject, status))
}

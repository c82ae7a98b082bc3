//! DPDK's log as lines of `log`, under the target `dpdk`.

use std::{cell::RefCell, slice};

use crate::{error, ffi};

/// RTE_LOG_WARNING: this and what is worse goes into errors.
const WARNING: i32 = 5;

thread_local! {
    /// The start of a line whose end was not written yet; a message is not always a line.
    static PENDING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Sends everything DPDK logs from now on to `log`.
pub(crate) fn open() -> error::Result<()> {
    // SAFETY: `write` is a function and stays one.
    error::check("rte_openlog_stream", "the log bridge", || unsafe { ffi::dp_log_open(Some(write)) })
        .map(drop)
}

/// Called by DPDK on the thread that logs.
unsafe extern "C" fn write(level: i32, text: *const std::ffi::c_char, length: usize) {
    // SAFETY: the C library hands over `length` bytes that stay until we return.
    let text = unsafe { slice::from_raw_parts(text.cast::<u8>(), length) };
    // Taken out meanwhile, since a logger may make DPDK log; gone already on a thread that ends.
    let mut pending = PENDING.try_with(RefCell::take).unwrap_or_default();
    for part in text.split_inclusive(|&byte| byte == b'\n') {
        pending.extend_from_slice(part);
        if part.ends_with(b"\n") {
            line(level, String::from_utf8_lossy(&pending).trim_end());
            pending.clear();
        }
    }
    let _ = PENDING.try_with(|place| place.replace(pending));
}

fn line(level: i32, line: &str) {
    if line.is_empty() {
        return;
    }
    if level <= WARNING {
        error::remember_words(line);
    }
    log::log!(target: "dpdk", severity(level), "{line}");
}

/// RTE_LOG_EMERG is 1, RTE_LOG_DEBUG is 8.
fn severity(level: i32) -> log::Level {
    match level {
        ..=4 => log::Level::Error,
        WARNING => log::Level::Warn,
        6 | 7 => log::Level::Info,
        _ => log::Level::Debug,
    }
}

//! The time of day, which tests set, and waiting, which they don't.

use millrace_sdk::{Error, ErrorKind};

/// Attempts of what the host would not repeat by itself, and the waits between them.
const TRIES_MAX: u32 = 8;
const PAUSE_MS_MIN: u32 = 100;
/// Longest wait between two attempts.
pub(crate) const PAUSE_MS_MAX: u32 = 1600;

/// Repeats what failed for now: the host repeats `put` and `flush`, but starts a task anew when partitions can't be taken or given up.
pub(crate) fn patiently<T>(mut call: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut wait = PAUSE_MS_MIN;
    for _ in 1..TRIES_MAX {
        match call() {
            Err(error) if error.kind == ErrorKind::Retriable => {
                pause(wait);
                wait = (wait * 2).min(PAUSE_MS_MAX);
            }
            result => return result,
        }
    }
    call()
}

/// Milliseconds since the epoch.
#[cfg(not(test))]
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Waits, unless the task is to end.
#[cfg(not(test))]
pub(crate) fn pause(ms: u32) {
    millrace_sdk::host::sleep(ms);
}

#[cfg(test)]
pub(crate) use tests::{advance, now_ms, pause};

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    thread_local! {
        static NOW: Cell<i64> = const { Cell::new(1_795_766_400_000) };
    }

    pub(crate) fn now_ms() -> i64 {
        NOW.get()
    }

    pub(crate) fn pause(_ms: u32) {}

    /// Lets time pass.
    pub(crate) fn advance(ms: i64) {
        NOW.set(NOW.get() + ms);
    }
}

//! The time of day, which tests set, and waiting, which they don't.

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

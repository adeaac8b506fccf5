//! The time of day, which tests set.

/// Milliseconds since the epoch.
#[cfg(not(test))]
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) use tests::{advance, now_ms};

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    thread_local! {
        static NOW: Cell<i64> = const { Cell::new(1_795_766_400_000) };
    }

    pub(crate) fn now_ms() -> i64 {
        NOW.get()
    }

    /// Lets time pass.
    pub(crate) fn advance(ms: i64) {
        NOW.set(NOW.get() + ms);
    }
}

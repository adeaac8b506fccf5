//! The time of day of native tests: one for each thread, which passes when it is told to.

use std::cell::Cell;

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(1_795_766_400_000) };
}

/// Milliseconds since the epoch; at first 2026-11-27, 08:00 UTC.
pub fn now_ms() -> i64 {
    NOW.get()
}

/// Lets time pass.
pub fn advance(ms: i64) {
    NOW.set(NOW.get() + ms);
}

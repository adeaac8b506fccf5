//! The time of day, waiting, and trying again.
//!
//! Natively time stands still until a test lets it pass ([`crate::testing::clock`]), and nobody waits.

use crate::error::{Error, ErrorKind};

/// Attempts of what the host would not repeat by itself, and the waits between them.
const TRIES_MAX: u32 = 8;
const PAUSE_MS_MIN: u32 = 100;
/// Longest wait between two attempts of [`patiently`].
pub const PAUSE_MS_MAX: u32 = 1_600;

/// Milliseconds since the epoch.
#[cfg(target_family = "wasm")]
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Waits, unless the task is to end.
#[cfg(target_family = "wasm")]
pub fn pause(ms: u32) {
    crate::host::sleep(ms);
}

#[cfg(not(target_family = "wasm"))]
pub use crate::testing::clock::now_ms;

/// Waits, unless the task is to end.
#[cfg(not(target_family = "wasm"))]
pub fn pause(_ms: u32) {}

/// Repeats what failed for now: the host repeats `put` and `flush`, but starts a task anew when partitions can't be taken or given up.
pub fn patiently<T>(mut call: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_for_now_is_repeated_and_nothing_else() {
        let tries = |kind: fn(&'static str, &'static str) -> Error| {
            let mut tries = 0;
            let failed = patiently(|| {
                tries += 1;
                Err::<(), _>(kind("test", "no"))
            });
            assert!(failed.is_err());
            tries
        };
        assert_eq!((tries(Error::retriable), tries(Error::fatal)), (TRIES_MAX, 1));
        let mut left = 3;
        let done = patiently(|| {
            left -= 1;
            if left > 0 { Err(Error::retriable("test", "no")) } else { Ok("yes") }
        });
        assert_eq!(done, Ok("yes"));
    }
}

//! Log lines that clients cause: at most one per [`INTERVAL`], however hard they try.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Shortest time between two lines of one kind.
const INTERVAL: Duration = Duration::from_secs(1);

/// One kind of line.
#[derive(Debug, Default)]
pub(crate) struct LogLimit(Mutex<(Option<Instant>, u64)>);

impl LogLimit {
    /// How many lines were left out since the last one, if one may be written now.
    pub(crate) fn may_log(&self) -> Option<u64> {
        let mut state = self.0.lock();
        let (last, left_out) = &mut *state;
        let now = Instant::now();
        if last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            *left_out += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_per_interval_tells_of_the_others() {
        let limit = LogLimit::default();
        let lines: Vec<_> = (0..100).map(|_| limit.may_log()).collect();
        assert_eq!(lines[0], Some(0));
        assert!(lines[1..].iter().all(Option::is_none));
        tokio::time::sleep(INTERVAL).await;
        assert_eq!(limit.may_log(), Some(99));
    }
}

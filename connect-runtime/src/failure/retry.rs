//! Repeating a call that may succeed later, and pausing between starts of a task.

use std::time::Duration;

use millrace_client::{Backoff, BackoffConfig, Random};
use tokio::time::Instant;

use crate::capability::control::Stopping;
use crate::component::CallError;
use crate::plan::ErrorPlan;

/// First pause between two tries of a call, and between two starts of a task.
const DELAY_MIN: Duration = Duration::from_millis(100);
/// Starts of a task without any progress in between, after which it is given up.
pub const RESTARTS_MAX: u32 = 5;

/// Pauses of one task.
#[derive(Debug)]
pub(crate) struct Retry {
    backoff: Backoff,
    timeout: Duration,
    stopping: Stopping,
    since: Option<Instant>,
}

impl Retry {
    pub(crate) fn new(errors: &ErrorPlan, stopping: Stopping, random: Random) -> Self {
        let config =
            BackoffConfig { initial: DELAY_MIN.min(errors.retry_delay_max), max: errors.retry_delay_max };
        Self { backoff: Backoff::new(config, random), timeout: errors.retry_timeout, stopping, since: None }
    }

    /// After a success: the next failure is a first one.
    pub(crate) fn succeeded(&mut self) {
        if self.since.take().is_some() {
            self.backoff.reset();
        }
    }

    /// After a failure: waits and comes back without error when the call is to be repeated.
    ///
    /// # Errors
    /// The failure itself, when it is not retriable, when `errors.retry_timeout` has passed, or when the task is being stopped.
    pub(crate) async fn pause(&mut self, failure: CallError) -> Result<(), CallError> {
        let CallError::Retriable { failure: words, .. } = &failure else { return Err(failure) };
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let asked = words.retry_after_ms.map_or(Duration::ZERO, |ms| Duration::from_millis(u64::from(ms)));
        let pause = self.backoff.next_pause().max(asked);
        if now + pause > since + self.timeout {
            return Err(failure);
        }
        tracing::warn!(error = %failure, pause_ms = pause.as_millis() as u64, "trying again");
        if self.stopping.sleep(pause).await { Err(failure) } else { Ok(()) }
    }
}

/// Counts starts of a task, and says how long to pause before the next.
#[derive(Debug)]
pub(crate) struct Restarts {
    backoff: Backoff,
    left: u32,
}

impl Restarts {
    pub(crate) fn new(errors: &ErrorPlan, random: Random) -> Self {
        let config =
            BackoffConfig { initial: DELAY_MIN.min(errors.retry_delay_max), max: errors.retry_delay_max };
        Self { backoff: Backoff::new(config, random), left: RESTARTS_MAX }
    }

    /// The pause before the next start; none: that was the last one. A task that made progress starts counting anew.
    pub(crate) fn next(&mut self, progressed: bool) -> Option<Duration> {
        if progressed {
            self.backoff.reset();
            self.left = RESTARTS_MAX;
        }
        self.left = self.left.checked_sub(1)?;
        Some(self.backoff.next_pause())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{Failure, Label};

    fn retriable(retry_after_ms: Option<u32>) -> CallError {
        let failure = Failure { code: "http.503".into(), message: "busy".into(), retry_after_ms };
        CallError::Retriable { label: Label { connector: "c".into(), task: 0 }, call: "put", failure }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_repeated_until_the_timeout() {
        let errors = ErrorPlan { retry_timeout: Duration::from_secs(30), ..ErrorPlan::default() };
        let mut retry = Retry::new(&errors, Stopping::never(), Random::new(1));
        let start = Instant::now();
        let mut tries = 0;
        while retry.pause(retriable(None)).await.is_ok() {
            tries += 1;
        }
        assert!((8..14).contains(&tries), "{tries}");
        assert!(start.elapsed() <= Duration::from_secs(30) && start.elapsed() > Duration::from_secs(15));
        retry.succeeded();
        assert!(retry.pause(retriable(None)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_guests_own_pause_counts() {
        let mut retry = Retry::new(&ErrorPlan::default(), Stopping::never(), Random::new(1));
        let start = Instant::now();
        retry.pause(retriable(Some(7_000))).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(7));
    }

    #[test]
    fn restarts_are_counted_until_progress() {
        let mut restarts = Restarts::new(&ErrorPlan::default(), Random::new(1));
        assert_eq!((0..99).take_while(|_| restarts.next(false).is_some()).count(), RESTARTS_MAX as usize);
        assert!(restarts.next(true).is_some());
    }
}

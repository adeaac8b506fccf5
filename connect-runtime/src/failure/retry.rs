//! Repeating a call that may succeed later, and pausing between starts of a task.

use std::sync::Arc;
use std::time::Duration;

use millrace_client::{Backoff, BackoffConfig, Random};
use tokio::time::Instant;

use crate::capability::control::Stopping;
use crate::component::CallError;
use crate::metrics::TaskMetrics;
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
    /// Where repetitions are counted.
    metrics: Option<Arc<TaskMetrics>>,
}

impl Retry {
    pub(crate) fn new(errors: &ErrorPlan, stopping: Stopping, random: Random) -> Self {
        let config =
            BackoffConfig { initial: DELAY_MIN.min(errors.retry_delay_max), max: errors.retry_delay_max };
        let (backoff, timeout) = (Backoff::new(config, random), errors.retry_timeout);
        Self { backoff, timeout, stopping, since: None, metrics: None }
    }

    /// Counts repetitions there.
    pub(crate) fn counted(self, metrics: &Arc<TaskMetrics>) -> Self {
        Self { metrics: Some(Arc::clone(metrics)), ..self }
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
        // A pause that is asked for is kept, and then it is tried once more, however long that was.
        let end = if pause > asked { now + pause } else { now };
        if end > since + self.timeout {
            return Err(failure);
        }
        if let Some(metrics) = &self.metrics {
            metrics.retried();
        }
        tracing::warn!(error = %failure, pause_ms = pause.as_millis() as u64, "trying again");
        if self.stopping.sleep(pause).await { Err(failure) } else { Ok(()) }
    }
}

/// Counts starts of a task, and says how long to pause before the next.
///
/// Starts that fail because the cluster is out of reach don't count: a worker outlives its brokers' outage, however long it is.
/// Only where somebody waits for the end of the run it is given up, after `errors.retry_timeout`.
#[derive(Debug)]
pub(crate) struct Restarts {
    backoff: Backoff,
    left: u32,
    outage_since: Option<Instant>,
    /// How long an outage may take; none: any time.
    outage_max: Option<Duration>,
}

/// Why a task starts again, as far as it matters for how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It failed.
    Failure,
    /// The cluster is out of reach.
    Outage,
}

impl Restarts {
    /// `bounded`: somebody waits for the end.
    pub(crate) fn new(errors: &ErrorPlan, bounded: bool, random: Random) -> Self {
        let config =
            BackoffConfig { initial: DELAY_MIN.min(errors.retry_delay_max), max: errors.retry_delay_max };
        let outage_max = bounded.then_some(errors.retry_timeout);
        Self { backoff: Backoff::new(config, random), left: RESTARTS_MAX, outage_since: None, outage_max }
    }

    /// The pause before the next start; none: that was the last one. A task that made progress starts counting anew.
    pub(crate) fn next(&mut self, progressed: bool, cause: Cause) -> Option<Duration> {
        if progressed {
            self.backoff.reset();
            self.left = RESTARTS_MAX;
            self.outage_since = None;
        }
        match cause {
            Cause::Failure => {
                self.outage_since = None;
                self.left = self.left.checked_sub(1)?;
            }
            Cause::Outage => {
                let since = *self.outage_since.get_or_insert_with(Instant::now);
                if self.outage_max.is_some_and(|max| since.elapsed() >= max) {
                    return None;
                }
            }
        }
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

    #[tokio::test(start_paused = true)]
    async fn a_pause_longer_than_the_timeout_is_kept_once() {
        let mut retry = Retry::new(&ErrorPlan::default(), Stopping::never(), Random::new(1));
        let start = Instant::now();
        retry.pause(retriable(Some(600_000))).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(600));
        assert!(retry.pause(retriable(Some(600_000))).await.is_err());
        assert_eq!(start.elapsed(), Duration::from_secs(600));
    }

    #[test]
    fn restarts_are_counted_until_progress() {
        let mut restarts = Restarts::new(&ErrorPlan::default(), false, Random::new(1));
        let mut next = |progressed| restarts.next(progressed, Cause::Failure);
        assert_eq!((0..99).take_while(|_| next(false).is_some()).count(), RESTARTS_MAX as usize);
        assert!(next(true).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_uses_up_no_starts_but_time_where_somebody_waits() {
        let errors = ErrorPlan { retry_timeout: Duration::from_secs(30), ..ErrorPlan::default() };
        let mut endless = Restarts::new(&errors, false, Random::new(1));
        let mut bounded = Restarts::new(&errors, true, Random::new(1));
        for _ in 0..20 {
            assert!(
                endless.next(false, Cause::Outage).is_some() && bounded.next(false, Cause::Outage).is_some()
            );
        }
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(endless.next(false, Cause::Outage).is_some());
        assert_eq!(bounded.next(false, Cause::Outage), None);
        assert!(bounded.next(true, Cause::Outage).is_some());
        assert_eq!((0..99).take_while(|_| endless.next(false, Cause::Failure).is_some()).count(), 5);
    }
}

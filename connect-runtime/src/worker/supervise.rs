//! Runs a task, and runs it again after errors that another start may mend.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::capability::control::Stopping;
use crate::capability::metrics::GuestMetrics;
use crate::failure::retry::{Cause, Restarts};
use crate::failure::{Class, TaskError};
use crate::metrics::TaskMetrics;
use crate::plan::ErrorPlan;
use crate::worker::Shared;
use crate::worker::progress::{Counters, State};

/// How a task ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It reached its end.
    Done,
    /// It was told to stop.
    Stopped,
}

/// What is needed to watch over a task.
pub(crate) struct Supervisor<'a> {
    pub shared: &'a Shared,
    pub errors: &'a ErrorPlan,
    pub counters: &'a Counters,
    pub metrics: &'a TaskMetrics,
    pub task: u32,
    pub stopping: &'a Stopping,
    /// Whether a start asks if the task is still the one that should run: one that was fenced may be, by an instance that came late.
    pub is_admitted: bool,
    /// Raised by the task whenever something became durable: its failures are then counted anew.
    pub progressed: &'a AtomicBool,
}

impl Supervisor<'_> {
    /// Comes back when the task is done, was stopped, or is given up.
    /// `start` is given where the guests of that start count.
    pub(crate) async fn run<F>(self, mut start: impl FnMut(GuestMetrics) -> F)
    where
        F: Future<Output = Result<End, TaskError>>,
    {
        let Self { counters, metrics, task, stopping, is_admitted, .. } = self;
        let class = |error: &TaskError| match error.is_fenced() && is_admitted {
            true => Class::Restart,
            false => error.class(),
        };
        let set_state = |state| {
            metrics.set_state(state);
            counters.set_state(task, state);
        };
        let mut restarts =
            Restarts::new(self.errors, self.shared.config.exit_when_done, self.shared.random());
        loop {
            // The task itself says when it runs.
            let error = match start(metrics.starting()).await {
                Ok(End::Done) => return set_state(State::Done),
                Ok(End::Stopped) => return set_state(State::Stopped),
                Err(error) => error,
            };
            if stopping.is_raised() && (class(&error) == Class::Restart || error.was_tried_again()) {
                tracing::warn!(%error, "task ended with an error while it was being stopped");
                return set_state(State::Stopped);
            }
            counters.set_error(error.to_string());
            counters.set_outage(error.is_of_the_cluster());
            metrics.logged_error();
            let cause = if error.is_outage() { Cause::Outage } else { Cause::Failure };
            let pause = restarts.next(self.progressed.swap(false, Ordering::Relaxed), cause);
            let (Class::Restart, Some(pause)) = (class(&error), pause) else {
                tracing::error!(%error, "task failed");
                return set_state(State::Failed);
            };
            tracing::warn!(%error, pause_ms = pause.as_millis() as u64, "task starts again from its last durable position");
            set_state(State::Restarting);
            counters.restarted();
            if stopping.clone().sleep(pause).await {
                return set_state(State::Stopped);
            }
        }
    }
}

//! A task of this worker, from its start until nothing is left of it.

use super::event::TaskNews;
use super::record::{RunState, TargetState};

/// See the module's head.
#[derive(Clone, Debug)]
pub(super) struct Local {
    /// Number of its start.
    pub(super) start: u64,
    version: i64,
    phase: Phase,
    /// It was asked to start anew.
    restart: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    /// It failed and starts again by itself.
    Restarting(String),
    /// Likewise, because the cluster was out of reach.
    Interrupted(String),
    /// It was asked to end.
    Stopping,
    Done,
    Failed(String),
}

impl Local {
    pub(super) fn started(start: u64, version: i64) -> Self {
        Self { start, version, phase: Phase::Starting, restart: false }
    }

    /// Version of the tasks that it was started for.
    pub(super) fn version(&self) -> i64 {
        self.version
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.phase == Phase::Stopping
    }

    pub(super) fn is_interrupted(&self) -> bool {
        matches!(self.phase, Phase::Interrupted(_))
    }

    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Takes what the task tells.
    pub(super) fn news(&mut self, news: TaskNews) {
        match news {
            _ if self.is_stopping() => {}
            TaskNews::Running => self.phase = Phase::Running,
            TaskNews::Restarting(error) => self.phase = Phase::Restarting(error),
            TaskNews::Interrupted(error) => self.phase = Phase::Interrupted(error),
            TaskNews::Done => self.phase = Phase::Done,
            // It was not asked to, so whatever stopped it stops the worker.
            TaskNews::Stopped => self.phase = Phase::Done,
            TaskNews::Failed(error) => self.phase = Phase::Failed(error),
        }
    }

    /// Somebody asked for a new start.
    pub(super) fn restart(&mut self, only_failed: bool) {
        self.restart |= !only_failed || matches!(self.phase, Phase::Failed(_));
    }

    /// It is ended by force; says whether its end is still to come.
    pub(super) fn kill(&mut self) -> bool {
        let has_ended = matches!(self.phase, Phase::Done | Phase::Failed(_));
        self.phase = Phase::Stopping;
        !has_ended
    }

    /// Whether the task has to be asked to end now: `version` is what may go on, none: nothing.
    pub(super) fn keep(&mut self, version: Option<i64>) -> bool {
        let is_live = matches!(
            self.phase,
            Phase::Starting | Phase::Running | Phase::Restarting(_) | Phase::Interrupted(_)
        );
        let stop = is_live && (self.restart || version != Some(self.version));
        if stop {
            self.phase = Phase::Stopping;
        }
        stop
    }

    /// Whether it has ended by itself and is not wanted like that any more.
    pub(super) fn is_gone(&self, version: Option<i64>) -> bool {
        let has_ended = matches!(self.phase, Phase::Done | Phase::Failed(_));
        has_ended && (self.restart || version != Some(self.version))
    }
}

/// What is to be said of a task that exists; none: nothing new. `is_known`: this worker has spoken of it before.
pub(super) fn state(
    local: Option<&Local>,
    target: TargetState,
    mine: bool,
    is_known: bool,
) -> Option<(RunState, Option<String>)> {
    match local.map(|local| (&local.phase, local.restart)) {
        Some((Phase::Running | Phase::Done, _)) => Some((RunState::Running, None)),
        Some((Phase::Restarting(error) | Phase::Interrupted(error), _)) => {
            Some((RunState::Restarting, Some(error.clone())))
        }
        Some((Phase::Failed(error), _)) => Some((RunState::Failed, Some(error.clone()))),
        // It is started again when it has ended.
        Some((Phase::Stopping, restart)) if mine && (restart || target.is_started()) => {
            Some((RunState::Restarting, None))
        }
        Some((Phase::Starting | Phase::Stopping, _)) => None,
        None if !mine => is_known.then_some((RunState::Unassigned, None)),
        None if target == TargetState::Paused => Some((RunState::Paused, None)),
        None => (!is_known).then_some((RunState::Unassigned, None)),
    }
}

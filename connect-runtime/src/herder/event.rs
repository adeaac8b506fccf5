//! What happens to a herder, and what it wants to have done.

use std::sync::Arc;

use super::ownership::{Assignment, Report, TaskId};
use super::record::{ConfigRecord, StatusRecord};
use crate::plan::Builds;
use crate::spec::flat::ConnectorConfig;

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A record of `connect-configs`, with its offset.
    Config(i64, ConfigRecord),
    /// Everything of `connect-configs` before this offset was read.
    ConfigsRead(i64),
    /// A record of `connect-status`.
    Status(StatusRecord),
    /// Both topics were read to the ends that they had at the start.
    Loaded,
    /// Who divides the work has spoken.
    Assigned(Assignment),
    /// A connector was planned with these components, as far as they could be loaded, or can't be.
    Planned { connector: String, attempt: u64, builds: Builds, planned: Result<Vec<String>, PlanFailure> },
    /// Tasks of earlier commits were fenced, or not.
    Fenced { connector: String, commit: i64, fenced: Result<(), String> },
    /// A record of the herder's own is in the topic, or can't be written.
    Written { connector: String, written: Result<(), String> },
    /// A task that was started has something to tell.
    Task { id: TaskId, start: u64, news: TaskNews },
    /// Time passed.
    Tick,
}

/// Why a connector has no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlanFailure {
    /// Another try may help: the cluster is out of reach.
    Later(String),
    /// It has to be mended.
    Failed(String),
}

/// What a started task tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TaskNews {
    /// It is open and moves records.
    Running,
    /// It failed and starts again by itself.
    Restarting(String),
    /// It starts again by itself: the cluster was out of reach.
    Interrupted(String),
    /// It came to its end.
    Done,
    /// It ended because it was told to.
    Stopped,
    /// It was given up.
    Failed(String),
}

impl TaskNews {
    /// Whether nothing of the task is left.
    pub(super) fn is_end(&self) -> bool {
        matches!(self, Self::Done | Self::Stopped | Self::Failed(_))
    }
}

/// What is to be done. In order; nothing of it takes the herder's time.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// Write to `connect-configs` for a connector; answered by [`Event::Written`].
    Config(String, ConfigRecord),
    /// Write to `connect-status`, in order.
    Status(StatusRecord),
    /// Plan a connector, with components as they were when `builds` were written down, others as they are; answered by
    /// [`Event::Planned`].
    Plan { connector: String, attempt: u64, config: Arc<ConnectorConfig>, builds: Builds },
    /// Plan a connector that runs once more, without making anything; answered by [`Event::Planned`].
    Look { connector: String, attempt: u64, config: Arc<ConnectorConfig>, builds: Builds },
    /// Take the transactional ids of a connector's first `ids` tasks; answered by [`Event::Fenced`].
    Fence { connector: String, commit: i64, ids: u32 },
    /// Let go of a fencing that is under way: somebody else speaks for the connector now, and its late requests would fence what that one starts.
    Unfence(String),
    /// Start a task; it answers with [`Event::Task`] until its end.
    Start(Box<StartTask>),
    /// Ask a task to end.
    Stop(TaskId),
    /// End a task at once, as a kill would.
    Kill(TaskId),
    /// Tell who divides the work.
    Report(Report),
}

/// A task to be started.
#[derive(Clone, Debug)]
pub(super) struct StartTask {
    /// Which.
    pub(super) id: TaskId,
    /// Number of this start, for its news.
    pub(super) start: u64,
    /// Version of its tasks: if the topic has another one by the time it has fenced its predecessor, it may not go on.
    pub(super) version: i64,
    /// How many tasks the connector has.
    pub(super) tasks: u32,
    /// The connector's configuration, references unresolved.
    pub(super) config: Arc<ConnectorConfig>,
    /// The task's own, references unresolved.
    pub(super) task_config: String,
    /// The components that it was planned with.
    pub(super) builds: Builds,
}

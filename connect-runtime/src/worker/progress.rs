//! How far each connector is: counters that tasks raise, and snapshots of them for people.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::component::Kind;

/// State of a connector or a task, worst first when a connector has several tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Gave up; see the error.
    Failed,
    /// Pauses before it starts again.
    Restarting,
    /// Not running yet.
    Starting,
    /// Running.
    Running,
    /// Was told to end.
    Stopped,
    /// Reached its end.
    Done,
}

impl State {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Failed | Self::Stopped | Self::Done)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Failed => "failed",
            Self::Restarting => "restarting",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Done => "done",
        })
    }
}

/// A snapshot of one connector. Counts are of this run.
#[derive(Clone, Debug)]
pub struct ConnectorProgress {
    /// Pipeline that it belongs to.
    pub pipeline: String,
    /// Connector name: `<pipeline>.source` or `<pipeline>.<sink>`.
    pub name: String,
    /// Source or sink.
    pub kind: Kind,
    /// The worst of its tasks' states.
    pub state: State,
    /// Records committed to the topic (source), or made durable in the target (sink).
    pub records: u64,
    /// Their bytes: keys, values and headers.
    pub bytes: u64,
    /// Records that transforms dropped on purpose.
    pub dropped: u64,
    /// Records that went to the dead letter topic.
    pub dead_lettered: u64,
    /// Bad records that were passed over.
    pub skipped: u64,
    /// Sinks: records of the topic that are not durable in the target yet; none: not known.
    pub lag: Option<i64>,
    /// How often tasks were started again.
    pub restarts: u32,
    /// Why it failed, or why it was started again last.
    pub error: Option<String>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// Each source and sink, in the order of the plan.
    pub connectors: Vec<ConnectorProgress>,
    /// From start to end.
    pub elapsed: Duration,
}

impl RunSummary {
    /// Whether every connector came to its end.
    #[must_use]
    pub fn all_done(&self) -> bool {
        self.connectors.iter().all(|connector| connector.state == State::Done)
    }

    /// Whether no connector failed.
    #[must_use]
    pub fn none_failed(&self) -> bool {
        self.connectors.iter().all(|connector| connector.state != State::Failed)
    }
}

/// What tasks of one connector raise. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Counters(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pipeline: String,
    name: String,
    kind: Kind,
    records: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
    dead_lettered: AtomicU64,
    skipped: AtomicU64,
    restarts: AtomicU32,
    /// Number of the first of `tasks`.
    first: u32,
    /// Per task.
    tasks: Mutex<Vec<Task>>,
    /// Who wants to know how the only task is.
    observer: Option<watch::Sender<Observed>>,
    error: Mutex<Option<String>>,
    /// The cluster is to blame for it.
    is_outage: AtomicBool,
}

#[derive(Debug)]
struct Task {
    state: State,
    /// Below 0: not known.
    lag: AtomicI64,
}

/// How a task is.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    pub state: State,
    /// The reason if it is not well.
    pub error: Option<String>,
    /// The reason is that the cluster could not be reached.
    pub is_outage: bool,
}

impl Default for Observed {
    fn default() -> Self {
        Self { state: State::Starting, error: None, is_outage: false }
    }
}

/// Counts that become true together with a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Before transforms: only of sources.
    pub taken: u64,
    pub records: u64,
    pub bytes: u64,
    pub dropped: u64,
    pub dead_lettered: u64,
    pub skipped: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.taken += other.taken;
        self.records += other.records;
        self.bytes += other.bytes;
        self.dropped += other.dropped;
        self.dead_lettered += other.dead_lettered;
        self.skipped += other.skipped;
    }
}

impl Counters {
    pub(crate) fn new(pipeline: &str, name: &str, kind: Kind) -> Self {
        Self::with(pipeline, name, kind, 0, None)
    }

    /// For one task; whoever holds the other end of `observer` sees how it is.
    pub(crate) fn of_task(
        pipeline: &str,
        name: &str,
        kind: Kind,
        task: u32,
        observer: watch::Sender<Observed>,
    ) -> Self {
        Self::with(pipeline, name, kind, task, Some(observer))
    }

    fn with(
        pipeline: &str,
        name: &str,
        kind: Kind,
        first: u32,
        observer: Option<watch::Sender<Observed>>,
    ) -> Self {
        Self(Arc::new(Inner {
            pipeline: pipeline.to_owned(),
            name: name.to_owned(),
            kind,
            records: AtomicU64::default(),
            bytes: AtomicU64::default(),
            dropped: AtomicU64::default(),
            dead_lettered: AtomicU64::default(),
            skipped: AtomicU64::default(),
            restarts: AtomicU32::default(),
            first,
            tasks: Mutex::new(vec![Task { state: State::Starting, lag: AtomicI64::new(-1) }]),
            observer,
            error: Mutex::default(),
            is_outage: AtomicBool::default(),
        }))
    }

    /// Says how many tasks there are; none: there was nothing to do.
    pub(crate) fn tasks(&self, count: u32) {
        let task = |_| Task { state: State::Starting, lag: AtomicI64::new(-1) };
        *self.0.tasks.lock() = (0..count).map(task).collect();
    }

    pub(crate) fn set_state(&self, task: u32, state: State) {
        if let Some(task) = self.0.tasks.lock().get_mut(self.place(task)) {
            task.state = state;
        }
        self.observed(state);
    }

    fn place(&self, task: u32) -> usize {
        task.saturating_sub(self.0.first) as usize
    }

    fn observed(&self, state: State) {
        if let Some(observer) = &self.0.observer {
            let is_unwell = matches!(state, State::Failed | State::Restarting);
            let error = if is_unwell { self.0.error.lock().clone() } else { None };
            let is_outage = is_unwell && self.0.is_outage.load(Ordering::Relaxed);
            observer.send_replace(Observed { state, error, is_outage });
        }
    }

    /// The connector as a whole failed, before it had tasks.
    pub(crate) fn failed(&self, error: String) {
        *self.0.error.lock() = Some(error);
        for task in self.0.tasks.lock().iter_mut() {
            task.state = State::Failed;
        }
        self.observed(State::Failed);
    }

    /// Tasks that have not ended were ended by force.
    pub(crate) fn end_open(&self, reason: &str) {
        let mut open = false;
        for task in self.0.tasks.lock().iter_mut().filter(|task| !task.state.is_final()) {
            task.state = State::Failed;
            open = true;
        }
        if open {
            self.set_error(format!("connector {} {reason}", self.0.name));
        }
    }

    pub(crate) fn set_error(&self, error: String) {
        *self.0.error.lock() = Some(error);
    }

    /// Whether the error that was set last is the cluster's.
    pub(crate) fn set_outage(&self, is_outage: bool) {
        self.0.is_outage.store(is_outage, Ordering::Relaxed);
    }

    pub(crate) fn set_lag(&self, task: u32, lag: i64) {
        if let Some(task) = self.0.tasks.lock().get(self.place(task)) {
            task.lag.store(lag, Ordering::Relaxed);
        }
    }

    pub(crate) fn restarted(&self) {
        self.0.restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, counts: Counts) {
        self.0.records.fetch_add(counts.records, Ordering::Relaxed);
        self.0.bytes.fetch_add(counts.bytes, Ordering::Relaxed);
        self.0.dropped.fetch_add(counts.dropped, Ordering::Relaxed);
        self.0.dead_lettered.fetch_add(counts.dead_lettered, Ordering::Relaxed);
        self.0.skipped.fetch_add(counts.skipped, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> ConnectorProgress {
        let inner = &*self.0;
        let tasks = inner.tasks.lock();
        let lags = tasks.iter().map(|task| task.lag.load(Ordering::Relaxed));
        // A connector without tasks had nothing to do.
        let state = tasks.iter().map(|task| task.state).min().unwrap_or(State::Done);
        let lag = (inner.kind == Kind::Sink && lags.clone().all(|lag| lag >= 0)).then(|| lags.sum());
        ConnectorProgress {
            pipeline: inner.pipeline.clone(),
            name: inner.name.clone(),
            kind: inner.kind,
            state,
            records: inner.records.load(Ordering::Relaxed),
            bytes: inner.bytes.load(Ordering::Relaxed),
            dropped: inner.dropped.load(Ordering::Relaxed),
            dead_lettered: inner.dead_lettered.load(Ordering::Relaxed),
            skipped: inner.skipped.load(Ordering::Relaxed),
            lag,
            restarts: inner.restarts.load(Ordering::Relaxed),
            error: inner.error.lock().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connector_is_as_its_worst_task() {
        let counters = Counters::new("p", "p.s", Kind::Sink);
        counters.tasks(2);
        counters.set_state(0, State::Done);
        counters.set_lag(0, 3);
        assert_eq!((counters.snapshot().state, counters.snapshot().lag), (State::Starting, None));
        counters.set_state(1, State::Running);
        counters.set_lag(1, 4);
        assert_eq!((counters.snapshot().state, counters.snapshot().lag), (State::Running, Some(7)));
        counters.set_state(1, State::Failed);
        assert_eq!(counters.snapshot().state, State::Failed);
        counters.tasks(0);
        assert_eq!(counters.snapshot().state, State::Done);
    }
}

//! A sink connector: its tasks, each with its share of the topic's partitions, started again when they fail.
//!
//! ```text
//! fence the predecessor ─> open ─> assigned ─> read (committed only) ─> transforms ─> put ─┐
//!                                              ▲                                           │ now and then
//!                                              └── positions <── dead letters, flush, commit ◄┘
//! ```
//!
//! Invariants:
//! - A position is committed only after the sink's flush said that everything before it is durable.
//! - Where the target holds the position, that one counts, and not the group's; the group `connect-<name>` is told all the same,
//!   so that every Kafka tool shows the lag.
//! - Positions speak of one topic, by its id: another one of the same name is refused, or read from its beginning.
//! - Positions are committed in a transaction of the task's own transactional id: a task that was replaced can't move them.

mod identity;
mod offsets;
mod retried;
mod task;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use millrace_client::ProducerConfig;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::task::{Part, SinkTask};
use crate::capability::control::Stopping;
use crate::component::{Component, Kind};
use crate::failure::TaskError;
use crate::metrics::TaskMetrics;
use crate::plan::SinkPlan;
use crate::worker::admission::Admission;
use crate::worker::progress::{Counters, State};
use crate::worker::supervise::Supervisor;
use crate::worker::{Shared, topics};

/// What a broker keeps a transaction open for at most, unless told otherwise (`transaction.max.timeout.ms`).
const TRANSACTION_TIMEOUT_MAX: Duration = Duration::from_secs(900);

/// One sink connector.
#[derive(Clone)]
pub(crate) struct SinkConnector {
    pub shared: Arc<Shared>,
    pub plan: Arc<SinkPlan>,
    pub topic: Arc<str>,
    pub counters: Counters,
    pub stopping: Stopping,
    /// Whether the pipeline's source will write no more.
    pub source_ended: watch::Receiver<bool>,
    pub admission: Admission,
}

impl SinkConnector {
    /// Runs every task to its end. Errors are told by the counters.
    pub(crate) async fn run(self) {
        if let Err(error) = self.tasks().await {
            tracing::error!(%error, "sink failed");
            self.counters.failed(error.to_string());
        }
    }

    /// Runs every task; anew, when the topic has got partitions.
    async fn tasks(&self) -> Result<(), TaskError> {
        let component = self.component(0).await?;
        let mut shares = self.plan().await?;
        loop {
            match self.round(&component, &shares).await {
                Some(more) => shares = more,
                None => return Ok(()),
            }
        }
    }

    /// Runs every task with its share until all have ended; gives other shares if they were ended for those.
    async fn round(&self, component: &Arc<Component>, shares: &[Vec<i32>]) -> Option<Vec<Vec<i32>>> {
        let tasks = shares.len() as u32;
        self.counters.tasks(tasks);
        let (stop, stopping) = watch::channel(false);
        let mut running = JoinSet::new();
        for (task, partitions) in (0..).zip(shares.iter().cloned()) {
            let connector = Self { stopping: Stopping::new(stopping.clone()), ..self.clone() };
            running.spawn(connector.supervise(Arc::clone(component), task, tasks, partitions));
        }
        let mut asked = self.stopping.clone();
        let mut next_look = Instant::now() + self.shared.config.metadata_max_age;
        let mut more = None;
        loop {
            tokio::select! {
                biased;
                ended = running.join_next() => match ended {
                    None => return more,
                    Some(Ok(())) => {}
                    Some(Err(error)) => {
                        self.counters.failed(format!("connector {}: a task ended: {error}", self.plan.name));
                    }
                },
                () = asked.raised(), if !*stop.borrow() => drop(stop.send_replace(true)),
                () = tokio::time::sleep_until(next_look), if !*stop.borrow() => {
                    next_look = Instant::now() + self.shared.config.metadata_max_age;
                    // What can't be read now is read the next time; the tasks notice it themselves.
                    more = self.plan().await.ok().filter(|planned| planned != shares);
                    if more.is_some() {
                        tracing::info!(connector = self.plan.name, topic = &*self.topic, "the topic has got partitions");
                        stop.send_replace(true);
                    }
                }
            }
            if self.stopping.is_raised() {
                more = None;
            }
        }
    }

    /// The topic's partitions, dealt out to tasks.
    pub(crate) async fn plan(&self) -> Result<Vec<Vec<i32>>, TaskError> {
        let partitions = topics::partition_count(&self.shared.client, &self.topic).await;
        let partitions = partitions.map_err(|source| self.cluster(0, "looking for the topic", source))?;
        let tasks = self.plan.tasks.clamp(1, u32::try_from(partitions).unwrap_or(1).max(1));
        let share = |task| (0..partitions).filter(|p: &i32| p.unsigned_abs() % tasks == task).collect();
        Ok((0..tasks).map(share).collect())
    }

    /// Runs one task to its end. Errors are told by the counters.
    pub(crate) async fn run_task(self, task: u32, tasks: u32, partitions: Vec<i32>) {
        match self.component(task).await {
            Ok(component) => self.supervise(component, task, tasks, partitions).await,
            Err(error) => {
                self.metrics(task).set_state(State::Failed);
                self.counters.failed(error.to_string());
            }
        }
    }

    fn metrics(&self, task: u32) -> Arc<TaskMetrics> {
        self.shared.config.metrics.task(&self.plan.name, task, Kind::Sink)
    }

    async fn component(&self, task: u32) -> Result<Arc<Component>, TaskError> {
        let loaded = self.shared.host.load(&self.plan.guest.component).await;
        loaded.map_err(|error| self.invalid(task, error.to_string()))
    }

    async fn supervise(self, component: Arc<Component>, task: u32, tasks: u32, partitions: Vec<i32>) {
        let progressed = AtomicBool::new(false);
        let Self { shared, plan, counters, stopping, .. } = &self;
        let metrics = self.metrics(task);
        metrics.set_partitions(partitions.len());
        let part = Part { task, tasks, partitions: &partitions, progressed: &progressed, metrics: &metrics };
        let start = |guests| SinkTask::run(&self, &component, &part, guests);
        let (errors, metrics, progressed) = (&plan.errors, &*metrics, &progressed);
        let is_admitted = self.admission.is_asked();
        let supervisor =
            Supervisor { shared, errors, counters, metrics, task, stopping, is_admitted, progressed };
        supervisor.run(start).await;
    }

    fn cluster(&self, task: u32, doing: &'static str, source: millrace_client::Error) -> TaskError {
        TaskError::Cluster { connector: self.plan.name.clone(), task, doing, source }
    }

    fn invalid(&self, task: u32, message: String) -> TaskError {
        TaskError::Invalid { connector: self.plan.name.clone(), task, message }
    }
}

/// The consumer group of a sink, as in Kafka Connect.
pub(crate) fn group(connector: &str) -> String {
    format!("connect-{connector}")
}

/// A call into a guest may stand between a dead letter and the end of its transaction.
fn transaction_timeout(plan: &SinkPlan) -> Duration {
    let calls = plan.transforms.iter().map(|transform| &transform.guest).chain([&plan.guest]);
    let call = calls.map(|guest| guest.limits.call_timeout).max().unwrap_or_default();
    (ProducerConfig::default().transaction_timeout + call).min(TRANSACTION_TIMEOUT_MAX)
}

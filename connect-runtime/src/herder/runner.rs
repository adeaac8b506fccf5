//! Does what a herder wants to have done with connectors and tasks: plans, fences, starts, stops.
//!
//! Everything runs beside the herder and answers with an event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::ProducerConfig;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};

use super::event::{Event, PlanFailure, StartTask, TaskNews};
use super::ownership::TaskId;
use super::prepare::{Env, Prepared, catalog, in_one, prepare};
use crate::capability::control::Stopping;
use crate::component::Kind;
use crate::failure::TaskError;
use crate::metrics::RuntimeMetrics;
use crate::plan::{Builds, Catalog, PipelinePlan, Plan};
use crate::spec::flat::ConnectorConfig;
use crate::worker::admission::Admission;
use crate::worker::progress::{Counters, Observed, State};
use crate::worker::sink::SinkConnector;
use crate::worker::source::SourceConnector;
use crate::worker::{Shared, topics};

/// Pause before topics are asked for again that could not be made because no broker answered.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module's head.
pub(super) struct Runner {
    pub(super) shared: Arc<Shared>,
    pub(super) env: Env,
    pub(super) events: mpsc::Sender<Event>,
    tasks: BTreeMap<TaskId, Running>,
    /// The newest plan of each connector, while it is under way.
    plans: BTreeMap<String, AbortHandle>,
    /// The newest fencing of each connector.
    fencings: BTreeMap<String, JoinHandle<()>>,
}

/// What a plan does about topics that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topics {
    Make,
    Leave,
}

struct Running {
    stop: watch::Sender<bool>,
    abort: AbortHandle,
}

impl Runner {
    pub(super) fn new(shared: Arc<Shared>, env: Env, events: mpsc::Sender<Event>) -> Self {
        Self {
            shared,
            env,
            events,
            tasks: BTreeMap::new(),
            plans: BTreeMap::new(),
            fencings: BTreeMap::new(),
        }
    }

    /// Finds out which tasks a connector has.
    pub(super) fn plan(
        &mut self,
        connector: String,
        attempt: u64,
        config: Arc<ConnectorConfig>,
        builds: Builds,
        topics: Topics,
    ) {
        let (shared, env, events) = (Arc::clone(&self.shared), Arc::clone(&self.env), self.events.clone());
        let name = connector.clone();
        let planning = tokio::spawn(async move {
            let catalog = catalog(&shared.host, &config, &builds).await;
            let planned = plan(&shared, &env, &connector, &config, &catalog, topics).await;
            let planned = Event::Planned { connector, attempt, builds: catalog.builds, planned };
            // An error means that the worker ends.
            let _ = events.send(planned).await;
        });
        // Nobody waits for an earlier one any more.
        if let Some(earlier) = self.plans.insert(name, planning.abort_handle()) {
            earlier.abort();
        }
    }

    /// Takes the transactional ids of the first `ids` tasks, once an earlier fencing is over: its late requests would fence the
    /// tasks that start after this one.
    pub(super) fn fence(&mut self, connector: String, commit: i64, ids: u32) {
        let (shared, events) = (Arc::clone(&self.shared), self.events.clone());
        self.fencings.retain(|_, fencing| !fencing.is_finished());
        let earlier = self.fencings.remove(&connector);
        earlier.iter().for_each(JoinHandle::abort);
        let name = connector.clone();
        let fencing = tokio::spawn(async move {
            if let Some(earlier) = earlier {
                // It ended, or was aborted: either is fine.
                let _ = earlier.await;
            }
            let fenced = fence(&shared, &connector, ids).await.map_err(|error| error.to_string());
            let _ = events.send(Event::Fenced { connector, commit, fenced }).await;
        });
        self.fencings.insert(name, fencing);
    }

    /// Ends a fencing that is under way. What it has asked for already is done or not.
    pub(super) fn unfence(&self, connector: &str) {
        self.fencings.get(connector).into_iter().for_each(JoinHandle::abort);
    }

    /// Starts a task. The last of its start has ended.
    pub(super) fn start(&mut self, start: StartTask, admission: Admission) {
        let (stop, stopping) = watch::channel(false);
        let (observer, observed) = watch::channel(Observed::default());
        let (shared, env) = (Arc::clone(&self.shared), Arc::clone(&self.env));
        let (id, number) = (start.id.clone(), start.start);
        let job = Job { shared, env, start, admission, stopping: Stopping::new(stopping.clone()), observer };
        let job = tokio::spawn(job.run());
        let abort = job.abort_handle();
        self.tasks.insert(id.clone(), Running { stop, abort });
        let metrics = self.shared.config.metrics.clone();
        let follow = Follow { id, start: number, events: self.events.clone(), observed, metrics };
        let stop_timeout = self.shared.config.stop_timeout;
        tokio::spawn(follow.run(job, Stopping::new(stopping), stop_timeout));
    }

    /// Asks a task to end.
    pub(super) fn stop(&self, id: &TaskId) {
        if let Some(running) = self.tasks.get(id) {
            running.stop.send_replace(true);
        }
    }

    /// Ends a task at once.
    pub(super) fn kill(&self, id: &TaskId) {
        if let Some(running) = self.tasks.get(id) {
            running.abort.abort();
        }
    }

    /// Ends all that is left at once.
    pub(super) fn kill_all(&mut self) {
        self.tasks.values().for_each(|running| running.abort.abort());
        self.plans.values().for_each(AbortHandle::abort);
        self.fencings.values().for_each(JoinHandle::abort);
    }
}

async fn plan(
    shared: &Arc<Shared>,
    env: &Env,
    connector: &str,
    config: &ConnectorConfig,
    catalog: &Catalog,
    topics: Topics,
) -> Result<Vec<String>, PlanFailure> {
    let prepared = prepare(connector, config, catalog, env, None).await;
    let prepared = prepared.map_err(|problems| PlanFailure::Failed(in_one(&problems)))?;
    let failed = |error: TaskError| match error.is_outage() {
        true => PlanFailure::Later(error.to_string()),
        false => PlanFailure::Failed(error.to_string()),
    };
    if topics == Topics::Make {
        make_topics(shared, &prepared.plan).await.map_err(failed)?;
    }
    let counters = Counters::new(&prepared.plan.name, connector, Kind::Source);
    let part = part(shared, &prepared.plan, counters, Stopping::never(), Admission::default());
    match part {
        Part::Source(source) => {
            let configs = source.plan().await.map_err(failed)?;
            Ok(configs.iter().map(|config| prepared.conceal(config)).collect())
        }
        Part::Sink(sink) => {
            let shares = sink.plan().await.map_err(failed)?;
            Ok(shares.iter().map(|share| serde_json::json!({ "partitions": share }).to_string()).collect())
        }
        Part::None => Err(PlanFailure::Failed(format!("connector {connector} is neither source nor sink"))),
    }
}

async fn make_topics(shared: &Shared, plan: &PipelinePlan) -> Result<(), TaskError> {
    let config = &shared.config;
    let whole = Plan { pipelines: vec![plan.clone()] };
    topics::ensure(&shared.client, &whole, &config.offsets_topic, config.offsets_partitions).await.map_err(
        |source| TaskError::Cluster {
            connector: plan.name.clone(),
            task: 0,
            doing: "making its topics",
            source,
        },
    )
}

/// Takes the transactional ids of a connector's first tasks: who holds one can write no more.
pub(super) async fn fence(shared: &Shared, connector: &str, ids: u32) -> Result<(), millrace_client::Error> {
    for task in 0..ids {
        let transactional_id = Some(shared.transactional_id(connector, task));
        shared.fenced_producer(ProducerConfig { transactional_id, ..ProducerConfig::default() }).await?;
    }
    Ok(())
}

/// The one connector of a pipeline.
enum Part {
    Source(SourceConnector),
    Sink(SinkConnector),
    None,
}

fn part(
    shared: &Arc<Shared>,
    plan: &PipelinePlan,
    counters: Counters,
    stopping: Stopping,
    admission: Admission,
) -> Part {
    let shared = Arc::clone(shared);
    let topic: Arc<str> = plan.topic.name.as_str().into();
    if let Some(source) = &plan.source {
        let topic_plan = Arc::new(plan.topic.clone());
        let plan = Arc::new(source.clone());
        return Part::Source(SourceConnector {
            shared,
            plan,
            topic,
            topic_plan,
            counters,
            stopping,
            admission,
        });
    }
    let Some(sink) = plan.sinks.first() else { return Part::None };
    let plan = Arc::new(sink.clone());
    // Nobody waits for the end of what is read here.
    let source_ended = watch::channel(false).1;
    Part::Sink(SinkConnector { shared, plan, topic, counters, stopping, source_ended, admission })
}

/// A task, from its configuration to its end.
struct Job {
    shared: Arc<Shared>,
    env: Env,
    start: StartTask,
    admission: Admission,
    stopping: Stopping,
    observer: watch::Sender<Observed>,
}

impl Job {
    async fn run(self) {
        let failed = |observer: &watch::Sender<Observed>, error: String| {
            tracing::error!(task = %self.start.id, error, "task failed");
            observer.send_replace(Observed { state: State::Failed, error: Some(error), is_outage: false });
        };
        let StartTask { id, tasks, config, task_config, .. } = &self.start;
        let (prepared, task_config) = match self.prepared(&id.connector, config, task_config).await {
            Ok(prepared) => prepared,
            Err(error) => return failed(&self.observer, error),
        };
        if let Err(error) = self.topics(&prepared.plan).await {
            return failed(&self.observer, error.to_string());
        }
        if self.stopping.is_raised() {
            self.observer.send_replace(Observed { state: State::Stopped, ..Observed::default() });
            return;
        }
        let kind = if prepared.plan.source.is_some() { Kind::Source } else { Kind::Sink };
        let observer = self.observer.clone();
        let counters = Counters::of_task(&prepared.plan.name, &id.connector, kind, id.task, observer);
        match part(&self.shared, &prepared.plan, counters, self.stopping.clone(), self.admission.clone()) {
            Part::Source(source) => source.run_task(id.task, *tasks, task_config).await,
            Part::Sink(sink) => match partitions(&task_config) {
                Some(partitions) => sink.run_task(id.task, *tasks, partitions).await,
                None => failed(&self.observer, format!("task {id}: its configuration names no partitions")),
            },
            Part::None => {
                failed(&self.observer, format!("connector {} is neither source nor sink", id.connector))
            }
        }
    }

    async fn prepared(
        &self,
        connector: &str,
        config: &ConnectorConfig,
        task_config: &str,
    ) -> Result<(Prepared, String), String> {
        let catalog = catalog(&self.shared.host, config, &self.start.builds).await;
        let prepared = prepare(connector, config, &catalog, &self.env, None).await;
        let prepared = prepared.map_err(|problems| in_one(&problems))?;
        let task_config = prepared.reveal(task_config, &self.env)?;
        Ok((prepared, task_config))
    }

    /// The topics were there when the connector was planned; somebody may have deleted them since.
    async fn topics(&self, plan: &PipelinePlan) -> Result<(), TaskError> {
        loop {
            match make_topics(&self.shared, plan).await {
                Err(error) if error.is_outage() && !self.stopping.is_raised() => {
                    tracing::warn!(%error, "trying again");
                    self.stopping.clone().sleep(PAUSE).await;
                }
                done => return done,
            }
        }
    }
}

fn partitions(task_config: &str) -> Option<Vec<i32>> {
    let config: BTreeMap<String, Vec<i32>> = serde_json::from_str(task_config).ok()?;
    config.get("partitions").cloned()
}

/// Tells the herder how a task is.
struct Follow {
    id: TaskId,
    start: u64,
    events: mpsc::Sender<Event>,
    observed: watch::Receiver<Observed>,
    metrics: RuntimeMetrics,
}

impl Follow {
    async fn run(mut self, mut job: JoinHandle<()>, mut stopping: Stopping, stop_timeout: Duration) {
        let given_up = async {
            stopping.raised().await;
            tokio::time::sleep(stop_timeout).await;
        };
        tokio::pin!(given_up);
        let mut is_given_up = false;
        let ended = loop {
            tokio::select! {
                biased;
                ended = &mut job => break ended,
                () = &mut given_up, if !is_given_up => {
                    is_given_up = true;
                    tracing::warn!(task = %self.id, "did not end within {stop_timeout:?} after it was asked to; it is ended by force");
                    job.abort();
                }
                changed = self.observed.changed() => {
                    let news = news(&self.observed.borrow_and_update()).filter(|news| !news.is_end());
                    match (changed, news) {
                        (Ok(()), Some(news)) => self.tell(news).await,
                        (Ok(()), None) => {}
                        // Nobody is left who could change it: the end comes at once.
                        (Err(_), _) => break (&mut job).await,
                    }
                }
            }
        };
        let last = news(&self.observed.borrow()).filter(TaskNews::is_end);
        let news = match ended {
            Ok(()) => last.unwrap_or(TaskNews::Stopped),
            Err(error) if error.is_cancelled() => TaskNews::Stopped,
            Err(error) => TaskNews::Failed(format!("task {}: {error}", self.id)),
        };
        if news == TaskNews::Stopped {
            self.metrics.remove(&self.id);
        }
        self.tell(news).await;
    }

    async fn tell(&self, news: TaskNews) {
        // An error means that the worker ends.
        let _ = self.events.send(Event::Task { id: self.id.clone(), start: self.start, news }).await;
    }
}

fn news(Observed { state, error, is_outage }: &Observed) -> Option<TaskNews> {
    let error = || error.clone().unwrap_or_default();
    Some(match state {
        State::Starting => return None,
        State::Running => TaskNews::Running,
        State::Restarting if *is_outage => TaskNews::Interrupted(error()),
        State::Restarting => TaskNews::Restarting(error()),
        State::Failed => TaskNews::Failed(error()),
        State::Stopped => TaskNews::Stopped,
        State::Done => TaskNews::Done,
    })
}

//! Runs a herder: reads the topics, lets the machine step, does what it wants, and takes requests.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use millrace_client::{Client, Producer, ProducerConfig};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::event::{Effect, Event};
use super::handle::HerderHandle;
use super::log::{End, Log};
use super::machine::Herder;
use super::ownership::{Assignment, Ownership, Report};
use super::prepare::Env;
use super::record::{ConfigRecord, RolledBack, StatusRecord, Verdict};
use super::runner::{Runner, Topics};
use super::verdict;
use super::writer::{ConfigWriter, StatusQueue};
use crate::component::ComponentHost;
use crate::metrics::RuntimeMetrics;
use crate::spec::ProcessEnvironment;
use crate::worker::admission::Admission;
use crate::worker::{AbortOnDrop, Shared, WorkerConfig, topics};

/// Events that may wait for the herder; who sends more waits.
const EVENTS_MAX: usize = 1_024;
/// Partitions of `connect-configs`: its records have one order.
const CONFIGS_PARTITIONS: i32 = 1;
/// How long the herder has, beyond the tasks' own time, to write its last states and to take leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long new components have to run without failing, unless the worker is told otherwise.
pub const DEFAULT_UPGRADE_PROBATION: Duration = Duration::from_secs(10);

/// How a herder works.
#[derive(Clone, Debug)]
pub struct HerderConfig {
    /// How its tasks work; `exit_when_done` has no meaning here.
    pub worker: WorkerConfig,
    /// `host:port` under which this worker's REST API is found.
    pub worker_id: String,
    /// Topic of configurations (Kafka Connect: `config.storage.topic`).
    pub configs_topic: String,
    /// Topic of states (`status.storage.topic`).
    pub status_topic: String,
    /// Its partitions when it has to be made (`status.storage.partitions`).
    pub status_partitions: i32,
    /// How long new components have to run without failing before they are taken for good (`upgrade.probation.ms`).
    pub upgrade_probation: Duration,
}

impl HerderConfig {
    /// Kafka Connect's names.
    #[must_use]
    pub fn new(worker_id: impl Into<String>) -> Self {
        Self {
            worker: WorkerConfig::default(),
            worker_id: worker_id.into(),
            configs_topic: "connect-configs".to_owned(),
            status_topic: "connect-status".to_owned(),
            status_partitions: 5,
            upgrade_probation: DEFAULT_UPGRADE_PROBATION,
        }
    }
}

/// Why a herder does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster can't be reached, or refuses a topic.
    #[error("preparing the topics of the workers' state: {0}")]
    Topics(#[source] millrace_client::Error),
}

/// A running herder. Dropping it ends everything at once, as a kill would.
#[derive(Debug)]
pub struct HerderService {
    handle: HerderHandle,
    stop: watch::Sender<bool>,
    running: AbortOnDrop<()>,
    stop_timeout: Duration,
}

impl HerderService {
    /// Makes the topics and starts to read them. Comes back at once; [`HerderHandle::is_ready`] says when they were read.
    ///
    /// # Errors
    /// When the cluster can't be reached, or refuses a topic.
    pub async fn start(
        config: HerderConfig,
        host: ComponentHost,
        client: Client,
        ownership: Box<dyn Ownership>,
    ) -> Result<Self, Error> {
        let worker = &config.worker;
        let wanted = [
            (config.configs_topic.as_str(), CONFIGS_PARTITIONS),
            (config.status_topic.as_str(), config.status_partitions),
            (worker.offsets_topic.as_str(), worker.offsets_partitions),
        ];
        topics::ensure_compacted(&client, &wanted).await.map_err(Error::Topics)?;
        let offsets_partitions =
            topics::partition_count(&client, &worker.offsets_topic).await.map_err(Error::Topics)?;
        let configs = Log::open(&client, &config.configs_topic).await.map_err(Error::Topics)?;
        let statuses = Log::open(&client, &config.status_topic).await.map_err(Error::Topics)?;
        let writer = ConfigWriter::start(&client, &config.configs_topic).await.map_err(Error::Topics)?;
        let status_producer =
            Producer::start(&client, ProducerConfig::default()).await.map_err(Error::Topics)?;

        let stop_timeout = config.worker.stop_timeout;
        let state_topics = vec![config.configs_topic.clone(), config.status_topic.clone()];
        let shared = Shared::new(config.worker, host, client, offsets_partitions, state_topics);
        let env: Env = Arc::new(ProcessEnvironment);
        let (events, inbox) = mpsc::channel(EVENTS_MAX);
        let (stop, stopping) = watch::channel(false);
        let (applied, applied_to) = watch::channel(Applied::default());
        let look_every_ms = i64::try_from(shared.config.metadata_max_age.as_millis()).unwrap_or(i64::MAX);
        let probation_ms = i64::try_from(config.upgrade_probation.as_millis()).unwrap_or(i64::MAX);
        let herder =
            Herder::new(config.worker_id).looking_every(look_every_ms).on_probation_for(probation_ms);
        let herder = Arc::new(Mutex::new(herder));
        let status_queue = Arc::new(StatusQueue::default());
        let reader = Reader { herder: Arc::clone(&herder), applied: applied_to, end: configs.end() };
        let handle = HerderHandle::new(
            reader.clone(),
            writer.clone(),
            Arc::clone(&status_queue),
            Arc::clone(&shared),
            Arc::clone(&env),
        );
        let state = State {
            metrics: shared.config.metrics.clone(),
            runner: Runner::new(Arc::clone(&shared), env, events.clone()),
            shared,
            events,
            herder,
            applied,
            reader,
            writer,
            status_queue,
            status_producer,
            status_topic: config.status_topic.as_str().into(),
        };
        let running = AbortOnDrop(tokio::spawn(state.run(inbox, configs, statuses, ownership, stopping)));
        Ok(Self { handle, stop, running, stop_timeout })
    }

    /// For whoever asks something of the herder.
    #[must_use]
    pub fn handle(&self) -> HerderHandle {
        self.handle.clone()
    }

    /// Ends every task: sources after what they read is committed, sinks after a flush; and takes leave of the other workers.
    /// Tasks that don't end in time are ended as a kill would.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let limit = self.stop_timeout + LEAVE_TIMEOUT;
        if tokio::time::timeout(limit, &mut self.running.0).await.is_err() {
            tracing::warn!("the worker did not end within {limit:?}; it is ended by force");
        }
    }
}

/// How far `connect-configs` was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Applied {
    /// The next record.
    pub(super) offset: i64,
    /// Whether both topics were read to the ends that they had at the start.
    pub(super) is_loaded: bool,
}

/// Looks at the herder, and knows when it has read enough.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) herder: Arc<Mutex<Herder>>,
    pub(super) applied: watch::Receiver<Applied>,
    end: End,
}

impl Reader {
    /// Waits until everything was read that is in `connect-configs` now.
    pub(super) async fn read_to_end(&self) -> Result<(), millrace_client::Error> {
        let end = self.end.offset().await?;
        self.read_to(end).await;
        Ok(())
    }

    /// Whether it still reads: the worker has not ended.
    pub(super) fn is_reading(&self) -> bool {
        self.applied.has_changed().is_ok()
    }

    /// Waits until everything before `offset` was read.
    pub(super) async fn read_to(&self, offset: i64) {
        // An error means that the worker ends.
        let _ = self.applied.clone().wait_for(|applied| applied.offset >= offset).await;
    }
}

struct State {
    runner: Runner,
    shared: Arc<Shared>,
    metrics: RuntimeMetrics,
    events: mpsc::Sender<Event>,
    herder: Arc<Mutex<Herder>>,
    applied: watch::Sender<Applied>,
    reader: Reader,
    writer: ConfigWriter,
    status_queue: Arc<StatusQueue>,
    status_producer: Producer,
    status_topic: Arc<str>,
}

impl State {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Event>,
        configs: Log,
        statuses: Log,
        ownership: Box<dyn Ownership>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let (report, reports) = watch::channel(Report::default());
        let (assign, mut assigned) = watch::channel(Assignment::default());
        let (configs_loaded, statuses_loaded) = (watch::channel(false), watch::channel(false));
        let _configs =
            AbortOnDrop(tokio::spawn(read_configs(configs, self.events.clone(), configs_loaded.0)));
        let _statuses =
            AbortOnDrop(tokio::spawn(read_statuses(statuses, self.events.clone(), statuses_loaded.0)));
        let _loaded =
            AbortOnDrop(tokio::spawn(loaded(self.events.clone(), [configs_loaded.1, statuses_loaded.1])));
        let _statuses_written = {
            let (queue, producer) = (Arc::clone(&self.status_queue), self.status_producer.clone());
            let topic = Arc::clone(&self.status_topic);
            AbortOnDrop(tokio::spawn(async move { queue.write(&producer, &topic).await }))
        };
        let mut owning = None;
        let mut ownership = Some(ownership);
        loop {
            let deadline = self.herder.lock().next_deadline();
            let event = tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop) => break,
                changed = assigned.changed(), if owning.is_some() => match changed {
                    Ok(()) => Event::Assigned(assigned.borrow_and_update().clone()),
                    Err(_) => {
                        tracing::error!("nobody divides the work any more; this worker ends");
                        break;
                    }
                },
                event = inbox.recv() => match event {
                    Some(event) => event,
                    None => break,
                },
                () = until(deadline) => Event::Tick,
            };
            // Who divides the work hears first of it when all of it is known.
            if matches!(event, Event::Loaded)
                && let Some(ownership) = ownership.take()
            {
                let work = self.herder.lock().configs.work();
                report.send_modify(|report| report.work = work);
                owning = Some(AbortOnDrop(tokio::spawn(ownership.run(reports.clone(), assign.clone()))));
            }
            match &event {
                // Of tasks that failed nobody else says that they are no longer this worker's.
                Event::Assigned(assignment) => self.metrics.retain(|id| assignment.tasks.contains(id)),
                Event::Loaded => self.metrics.set_ready(true),
                _ => {}
            }
            self.step(event, &report);
        }
        self.metrics.set_ready(false);
        self.stop(inbox, &report).await;
        drop((report, reports));
        if let Some(mut owning) = owning {
            let _ = tokio::time::timeout(LEAVE_TIMEOUT, &mut owning.0).await;
        }
    }

    /// Lets everything end.
    async fn stop(&mut self, mut inbox: mpsc::Receiver<Event>, report: &watch::Sender<Report>) {
        let nothing = self.herder.lock().nothing();
        self.step(Event::Assigned(nothing), report);
        // Each task's own time is limited by whoever follows it.
        while !report.borrow().held.is_empty() {
            let Some(event) = inbox.recv().await else { break };
            if !matches!(event, Event::Assigned(_)) {
                self.step(event, report);
            }
        }
        self.status_queue.drain(&self.status_producer, &self.status_topic).await;
        // What is on its way, too; an error was told by whoever sent it.
        let _ = self.status_producer.flush().await;
    }

    fn step(&mut self, event: Event, report: &watch::Sender<Report>) {
        let effects = {
            let mut herder = self.herder.lock();
            let effects = herder.step(event, now_ms());
            let applied = Applied { offset: herder.configs.offset(), is_loaded: herder.is_loaded() };
            self.applied.send_if_modified(|known| {
                let news = known.offset != applied.offset || known.is_loaded != applied.is_loaded;
                *known = applied;
                news
            });
            effects
        };
        for effect in effects {
            self.perform(effect, report);
        }
    }

    fn perform(&mut self, effect: Effect, report: &watch::Sender<Report>) {
        match effect {
            Effect::Config(connector, ConfigRecord::Upgrade(_, Some(verdict))) => {
                let (shared, reader) = (Arc::clone(&self.shared), self.reader.clone());
                let (writer, events) = (self.writer.clone(), self.events.clone());
                tokio::spawn(async move {
                    let written = verdict::hand_in(&shared, &reader, &writer, &connector, &verdict).await;
                    if let Ok(true) = written {
                        tell_verdict(&connector, &verdict);
                    }
                    let written = written.map(drop).map_err(|error| error.to_string());
                    let _ = events.send(Event::Written { connector, written }).await;
                });
            }
            Effect::Config(connector, record) => {
                let (writer, events) = (self.writer.clone(), self.events.clone());
                tokio::spawn(async move {
                    let written = writer.write(vec![record]).await.map(drop);
                    let written = written.map_err(|error| error.to_string());
                    let _ = events.send(Event::Written { connector, written }).await;
                });
            }
            Effect::Status(record) => self.status_queue.push(&record),
            Effect::Plan { connector, attempt, config, builds } => {
                self.runner.plan(connector, attempt, config, builds, Topics::Make);
            }
            Effect::Look { connector, attempt, config, builds } => {
                self.runner.plan(connector, attempt, config, builds, Topics::Leave);
            }
            Effect::Fence { connector, commit, ids } => self.runner.fence(connector, commit, ids),
            Effect::Unfence(connector) => self.runner.unfence(&connector),
            Effect::Start(start) => {
                let (reader, id, version) = (self.reader.clone(), start.id.clone(), start.version);
                let admission = Admission::asking(move || {
                    let (reader, id) = (reader.clone(), id.clone());
                    Box::pin(async move {
                        reader.read_to_end().await?;
                        let herder = reader.herder.lock();
                        let tasks =
                            herder.configs.get(&id.connector).and_then(|wanted| wanted.tasks.as_ref());
                        Ok(tasks.is_some_and(|tasks| tasks.version == version))
                    })
                });
                self.runner.start(*start, admission);
            }
            Effect::Stop(id) => self.runner.stop(&id),
            Effect::Kill(id) => self.runner.kill(&id),
            Effect::Report(news) => drop(report.send_replace(news)),
        }
    }
}

fn tell_verdict(connector: &str, verdict: &Verdict) {
    match &verdict.rolled_back {
        None => tracing::info!(connector, "the new components work: the upgrade is done"),
        Some(RolledBack { reason, .. }) => {
            tracing::error!(connector, reason, "the upgrade is rolled back: what ran before it runs again");
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.runner.kill_all();
    }
}

async fn read_configs(mut log: Log, events: mpsc::Sender<Event>, loaded: watch::Sender<bool>) {
    loop {
        let mut read = Vec::new();
        log.poll(|record| {
            let key = record.key.unwrap_or_default();
            match ConfigRecord::parse(key, record.value) {
                Some(parsed) => read.push(Event::Config(record.offset, parsed)),
                None => tracing::debug!(offset = record.offset, "a record of another kind is passed over"),
            }
        })
        .await;
        read.push(Event::ConfigsRead(log.position()));
        if !send(&events, read).await {
            return;
        }
        if log.has_caught_up() {
            loaded.send_replace(true);
        }
    }
}

async fn read_statuses(mut log: Log, events: mpsc::Sender<Event>, loaded: watch::Sender<bool>) {
    loop {
        let mut read = Vec::new();
        log.poll(|record| {
            let parsed = StatusRecord::parse(record.key.unwrap_or_default(), record.value);
            read.extend(parsed.map(Event::Status));
        })
        .await;
        if !send(&events, read).await {
            return;
        }
        if log.has_caught_up() {
            loaded.send_replace(true);
        }
    }
}

async fn send(events: &mpsc::Sender<Event>, read: Vec<Event>) -> bool {
    for event in read {
        if events.send(event).await.is_err() {
            return false;
        }
    }
    true
}

async fn loaded(events: mpsc::Sender<Event>, each: [watch::Receiver<bool>; 2]) {
    for mut loaded in each {
        if loaded.wait_for(|loaded| *loaded).await.is_err() {
            return;
        }
    }
    let _ = events.send(Event::Loaded).await;
}

async fn until(deadline_ms: Option<i64>) {
    let Some(deadline_ms) = deadline_ms else { return std::future::pending().await };
    let left = u64::try_from(deadline_ms - now_ms()).unwrap_or(0);
    tokio::time::sleep_until(Instant::now() + Duration::from_millis(left)).await;
}

/// The wall clock: deadlines of minutes at most are taken from it, so a clock that is set costs a retry's delay.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

//! Runs a plan: every source and sink as tasks of this process, watched over and counted.
//!
//! | file | what is in it |
//! |---|---|
//! | `source` | source connectors: poll, transforms, transactions with positions |
//! | `sink` | sink connectors: read committed records, transforms, put, flush, positions |
//! | `admission` | whether a task that has fenced its predecessor may go on |
//! | `chain` | the transforms of a task |
//! | `predicate` | which records a transform is given |
//! | `positions` | reading source positions back |
//! | `supervise` | starting a task again |
//! | `progress` | counters and snapshots |
//! | `topics` | topics that have to be made |
//!
//! Tasks are divided statically: partition `p` of a topic belongs to sink task `p % tasks`. Whoever starts a task fences the one
//! that ran it before, by its transactional id, so that two processes with the same plan can't both write.
//!
//! Deliberately absent here: dividing tasks among several workers, pausing and changing connectors while they run. That is
//! [`crate::herder`], which runs the same tasks one by one.

pub(crate) mod admission;
pub(crate) mod chain;
pub(crate) mod positions;
mod predicate;
pub mod progress;
pub(crate) mod sink;
pub(crate) mod source;
mod supervise;
pub(crate) mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::{Client, Producer, ProducerConfig, Random, TopicPartition};
use millrace_wire::compression::Compression;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use self::admission::Admission;
use self::progress::Counters;
use self::sink::SinkConnector;
use self::source::SourceConnector;
use crate::capability::control::Stopping;
use crate::component::{ComponentHost, Kind};
use crate::metrics::RuntimeMetrics;
use crate::offsets;
use crate::plan::Plan;
use crate::trace::Tracer;

pub use self::progress::{ConnectorProgress, RunSummary};

/// How long tasks that are ended by force may take to let go of their threads.
const ABORT_WAIT: Duration = Duration::from_secs(5);

/// How a worker behaves.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Beginning of transactional ids (Kafka Connect: `group.id`). Workers that run the same connectors share it.
    pub group: String,
    /// Topic for positions of sources (Kafka Connect: `offset.storage.topic`).
    pub offsets_topic: String,
    /// Its partitions when it has to be made (`offset.storage.partitions`).
    pub offsets_partitions: i32,
    /// End each pipeline when its source has ended and its sinks have written everything.
    pub exit_when_done: bool,
    /// How long tasks may take to end after [`WorkerHandle::stop`].
    pub stop_timeout: Duration,
    /// How often it is looked whether topics of sinks have got partitions (`metadata.max.age.ms`).
    pub metadata_max_age: Duration,
    /// How batches of sources are compressed.
    pub compression: Compression,
    /// Where its tasks are counted.
    pub metrics: RuntimeMetrics,
    /// Where its spans go; none: there are none, and records are given no trace context.
    pub tracer: Option<Tracer>,
    /// Seed of the jitter in pauses; none: another one each time.
    pub seed: Option<u64>,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            group: "connect-cluster".to_owned(),
            offsets_topic: "connect-offsets".to_owned(),
            offsets_partitions: 25,
            exit_when_done: false,
            stop_timeout: Duration::from_secs(10),
            metadata_max_age: Duration::from_secs(30),
            compression: Compression::None,
            metrics: RuntimeMetrics::default(),
            tracer: None,
            seed: None,
        }
    }
}

/// Why a worker does not start. What fails later is told by [`WorkerHandle::progress`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster can't be reached, or refuses a topic.
    #[error("preparing the topics: {0}")]
    Topics(#[source] millrace_client::Error),
}

/// What all connectors share.
pub(crate) struct Shared {
    pub config: WorkerConfig,
    pub host: ComponentHost,
    pub client: Client,
    pub offsets_topic: Arc<str>,
    pub offsets_partitions: i32,
    /// Other topics that hold the workers' state, under whatever names: no connector may write to them.
    pub state_topics: Vec<String>,
    random: Mutex<Random>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Shared {
    /// `offsets_partitions`: as the topic has them.
    pub(crate) fn new(
        config: WorkerConfig,
        host: ComponentHost,
        client: Client,
        offsets_partitions: i32,
        state_topics: Vec<String>,
    ) -> Arc<Self> {
        Arc::new(Self {
            state_topics,
            offsets_topic: config.offsets_topic.as_str().into(),
            offsets_partitions,
            random: Mutex::new(Random::new(config.seed.unwrap_or_else(any_seed))),
            config,
            host,
            client,
        })
    }

    /// Where the workers' topic holds what is known of a connector: positions, and what stands beside them.
    pub(crate) fn offsets_of(&self, connector: &str) -> TopicPartition {
        offsets::place(&self.offsets_topic, self.offsets_partitions, connector)
    }

    pub(crate) fn random(&self) -> Random {
        self.random.lock().split()
    }

    pub(crate) fn transactional_id(&self, connector: &str, task: u32) -> String {
        format!("{}-{connector}-{task}", self.config.group)
    }

    /// Under which verdicts about a connector's upgrades are written. No task has it: theirs end with a number.
    pub(crate) fn verdict_id(&self, connector: &str) -> String {
        format!("{}-{connector}-verdict", self.config.group)
    }

    /// A producer that has fenced the one before it; and its fence, which rises with every start anywhere: the coordinator
    /// gives out producer ids in rising order, and epochs of an id likewise.
    pub(crate) async fn fenced_producer(
        &self,
        config: ProducerConfig,
    ) -> Result<(Producer, u64), millrace_client::Error> {
        let producer = Producer::start(&self.client, config).await?;
        let (id, epoch) = producer.init_transactions().await?;
        let (id, epoch) = (u64::try_from(id.0).unwrap_or(0), u64::try_from(epoch.0).unwrap_or(0));
        Ok((producer, id << 16 | epoch))
    }
}

/// Runs plans.
#[derive(Debug)]
pub struct Worker;

impl Worker {
    /// Makes the topics and starts every connector. Comes back as soon as they run.
    ///
    /// # Errors
    /// When the cluster can't be reached, or refuses a topic.
    pub async fn start(
        config: WorkerConfig,
        host: ComponentHost,
        client: Client,
        plan: Plan,
    ) -> Result<WorkerHandle, Error> {
        let started = Instant::now();
        topics::ensure(&client, &plan, &config.offsets_topic, config.offsets_partitions)
            .await
            .map_err(Error::Topics)?;
        let offsets_partitions = topics::partition_count(&client, &config.offsets_topic).await;
        let offsets_partitions = offsets_partitions.map_err(Error::Topics)?;
        let shared = Shared::new(config, host, client, offsets_partitions, Vec::new());
        let (stop, stopping) = watch::channel(false);
        let mut running = JoinSet::new();
        let mut counters = Vec::new();
        let (mut ends, feeders) = feeders(&plan);
        for pipeline in plan.pipelines {
            let topic: Arc<str> = pipeline.topic.name.as_str().into();
            let topic_plan = Arc::new(pipeline.topic);
            let fed = feeders.get(&topic_plan.name).cloned().unwrap_or_default();
            let (all_ended, source_ended) = watch::channel(fed.is_empty());
            if !fed.is_empty() && !pipeline.sinks.is_empty() {
                running.spawn(async move {
                    for mut feeder in fed {
                        // A feeder that is gone without a word has ended, too.
                        let _ = feeder.wait_for(|ended| *ended).await;
                    }
                    all_ended.send_replace(true);
                });
            }
            if let Some(source) = pipeline.source {
                let counter = Counters::new(&pipeline.name, &source.name, Kind::Source);
                counters.push(counter.clone());
                let connector = SourceConnector {
                    shared: Arc::clone(&shared),
                    plan: Arc::new(source),
                    topic: Arc::clone(&topic),
                    topic_plan: Arc::clone(&topic_plan),
                    counters: counter,
                    stopping: Stopping::new(stopping.clone()),
                    admission: Admission::default(),
                };
                let ended = ends.remove(&connector.plan.name);
                running.spawn(async move {
                    connector.run().await;
                    drop(ended);
                });
            }
            for sink in pipeline.sinks {
                let counter = Counters::new(&pipeline.name, &sink.name, Kind::Sink);
                counters.push(counter.clone());
                let connector = SinkConnector {
                    shared: Arc::clone(&shared),
                    plan: Arc::new(sink),
                    topic: Arc::clone(&topic),
                    counters: counter,
                    stopping: Stopping::new(stopping.clone()),
                    source_ended: source_ended.clone(),
                    admission: Admission::default(),
                };
                let ended = ends.remove(&connector.plan.name);
                running.spawn(async move {
                    connector.run().await;
                    drop(ended);
                });
            }
        }
        shared.config.metrics.set_ready(true);
        Ok(WorkerHandle { stop, running, counters, started, stop_timeout: shared.config.stop_timeout })
    }
}

/// Dropped when the connector of this name has ended.
type Ends = BTreeMap<String, watch::Sender<bool>>;
/// What fills a topic: the connectors whose end its sinks wait for before they look for theirs.
type Feeders = BTreeMap<String, Vec<watch::Receiver<bool>>>;

/// Who fills which topic within the plan: sources, and connectors that send dead letters there. A pipeline without a source
/// may be fed by another one.
fn feeders(plan: &Plan) -> (Ends, Feeders) {
    let (mut ends, mut feeders) = (Ends::new(), Feeders::new());
    for pipeline in &plan.pipelines {
        let source = pipeline.source.iter().map(|s| (&s.name, Some(&pipeline.topic.name), &s.errors));
        let sinks = pipeline.sinks.iter().map(|s| (&s.name, None, &s.errors));
        for (name, topic, errors) in source.chain(sinks) {
            let (end, ended) = watch::channel(false);
            for topic in topic.into_iter().chain(&errors.dead_letter_topic) {
                feeders.entry(topic.clone()).or_default().push(ended.clone());
            }
            ends.insert(name.clone(), end);
        }
    }
    (ends, feeders)
}

/// A running worker. Dropping it ends its tasks at once, as a kill would.
#[derive(Debug)]
pub struct WorkerHandle {
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
    counters: Vec<Counters>,
    started: Instant,
    stop_timeout: Duration,
}

/// Asks a worker to stop; can be kept apart from the handle.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// Asks every task to end: sources after what they read is committed, sinks after a flush.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// Shows how far connectors are; can be kept apart from the handle.
#[derive(Clone, Debug)]
pub struct ProgressView(Vec<Counters>);

impl ProgressView {
    /// Each source and sink now, in the order of the plan.
    #[must_use]
    pub fn snapshot(&self) -> Vec<ConnectorProgress> {
        self.0.iter().map(Counters::snapshot).collect()
    }
}

impl WorkerHandle {
    /// Each source and sink now, in the order of the plan. Cheap: made for a display.
    #[must_use]
    pub fn progress(&self) -> Vec<ConnectorProgress> {
        self.progress_view().snapshot()
    }

    /// The same for someone else to look at.
    #[must_use]
    pub fn progress_view(&self) -> ProgressView {
        ProgressView(self.counters.clone())
    }

    /// Asks every task to end; see [`Stopper::stop`]. [`Self::join`] then takes at most [`WorkerConfig::stop_timeout`].
    pub fn stop(&self) {
        self.stopper().stop();
    }

    /// The same for someone else to call.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Waits until every connector has ended. Tasks that don't end in time after a stop are ended as a kill would.
    pub async fn join(mut self) -> RunSummary {
        let mut stopping = Stopping::new(self.stop.subscribe());
        let all = async {
            while let Some(ended) = self.running.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connector ended");
                }
            }
        };
        let given_up = async {
            stopping.raised().await;
            tokio::time::sleep(self.stop_timeout).await;
        };
        tokio::select! {
            biased;
            () = all => {}
            () = given_up => {}
        }
        // One that the kernel holds, in a file that doesn't answer, can't be ended: the process goes without it.
        let _ = tokio::time::timeout(ABORT_WAIT, self.running.shutdown()).await;
        for counters in &self.counters {
            counters.end_open(&format!("did not end within {:?} after it was asked to", self.stop_timeout));
        }
        RunSummary { connectors: self.progress(), elapsed: self.started.elapsed() }
    }
}

/// A spawned part of a task that ends with it.
#[derive(Debug)]
pub(crate) struct AbortOnDrop<T>(pub(crate) JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn any_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // The standard library's hasher keys are the randomness at hand.
    RandomState::new().hash_one(0u8)
}

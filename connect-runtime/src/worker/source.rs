//! A source connector: its tasks, each with a producer of its own, started again when they fail.
//!
//! ```text
//! fence the predecessors ─> read positions ─> open ─> poll ─> transforms ─> batches ─┐ reader
//!                                              ▲                                     │ chunks
//!                                    commit(positions) <── records + positions, EndTxn ◄┘ writer
//! ```
//!
//! Invariants:
//! - Positions are read only after every task of the connector has fenced its predecessor, up to the end of the log as it was
//!   then: nobody who could still move them is left.
//! - A task's transactional id is `<group>-<connector>-<task>`, as in Kafka Connect; the fence that guests get is made of the
//!   producer id and epoch that the coordinator gave for it, and so rises with every start anywhere.

mod reader;
mod retried;
mod router;
mod routes;
mod writer;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use millrace_client::{Producer, ProducerConfig};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::reader::{Reader, Tracing};
use self::retried::Inbox;
use self::routes::Routes;
use self::writer::{CHUNKS_MAX, Writer};
use crate::capability::control::Stopping;
use crate::capability::metrics::GuestMetrics;
use crate::component::{Component, Environment, Kind, Label};
use crate::convert::{self, Converters, Direction};
use crate::failure::TaskError;
use crate::failure::retry::Retry;
use crate::metrics::TaskMetrics;
use crate::plan::{SourcePlan, TopicPlan};
use crate::trace::TaskTracer;
use crate::worker::admission::Admission;
use crate::worker::chain::{Chain, TaskEnvironment};
use crate::worker::progress::{Counters, State};
use crate::worker::sink::group;
use crate::worker::supervise::{End, Supervisor};
use crate::worker::{AbortOnDrop, Shared, positions};

/// Bytes that a task's producer may hold: the chunks of one transaction that the broker has not answered yet.
const BUFFER_BYTES: usize = 16 << 20;
/// Largest request, and so the largest record, of a task's producer: what Kafka's brokers take by default.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// One source connector.
pub(crate) struct SourceConnector {
    pub shared: Arc<Shared>,
    pub plan: Arc<SourcePlan>,
    pub topic: Arc<str>,
    /// How the topic is made, and the others that records are routed to.
    pub topic_plan: Arc<TopicPlan>,
    pub counters: Counters,
    pub stopping: Stopping,
    pub admission: Admission,
}

impl SourceConnector {
    /// Runs every task to its end. Errors are told by the counters.
    pub(crate) async fn run(self) {
        if let Err(error) = self.tasks().await {
            tracing::error!(%error, "source failed");
            self.counters.failed(error.to_string());
        }
    }

    async fn tasks(&self) -> Result<(), TaskError> {
        let component = self.component(0).await?;
        let configs = self.plan_tasks(&component).await?;
        let tasks = configs.len() as u32;
        self.counters.tasks(tasks);
        let mut producers = Vec::new();
        for task in 0..tasks {
            producers.push(self.producer(task).await?);
        }
        let mut running = JoinSet::new();
        for (task, (config, producer)) in (0..tasks).zip(configs.into_iter().zip(producers)) {
            let task = SourceTask {
                connector: Self {
                    shared: Arc::clone(&self.shared),
                    plan: Arc::clone(&self.plan),
                    topic: Arc::clone(&self.topic),
                    topic_plan: Arc::clone(&self.topic_plan),
                    counters: self.counters.clone(),
                    stopping: self.stopping.clone(),
                    admission: self.admission.clone(),
                },
                component: Arc::clone(&component),
                task,
                tasks,
                config,
                prepared: Mutex::new(Some(producer)),
                progressed: Arc::new(AtomicBool::new(false)),
                metrics: self.metrics(task),
            };
            running.spawn(task.supervise());
        }
        while let Some(ended) = running.join_next().await {
            if let Err(error) = ended {
                self.counters.failed(format!("connector {}: a task ended: {error}", self.plan.name));
            }
        }
        Ok(())
    }

    /// What each task is given.
    pub(crate) async fn plan(&self) -> Result<Vec<String>, TaskError> {
        let component = self.component(0).await?;
        self.plan_tasks(&component).await
    }

    /// Runs one task to its end. Errors are told by the counters.
    pub(crate) async fn run_task(self, task: u32, tasks: u32, config: String) {
        match self.component(task).await {
            Ok(component) => {
                let (prepared, progressed) = (Mutex::default(), Arc::default());
                let metrics = self.metrics(task);
                let connector = self;
                let task =
                    SourceTask { connector, component, task, tasks, config, prepared, progressed, metrics };
                task.supervise().await;
            }
            Err(error) => {
                self.metrics(task).set_state(State::Failed);
                self.counters.failed(error.to_string());
            }
        }
    }

    fn metrics(&self, task: u32) -> Arc<TaskMetrics> {
        self.shared.config.metrics.task(&self.plan.name, task, Kind::Source)
    }

    async fn component(&self, task: u32) -> Result<Arc<Component>, TaskError> {
        let loaded = self.shared.host.load(&self.plan.guest.component).await;
        loaded.map_err(|error| self.invalid(task, error.to_string()))
    }

    async fn plan_tasks(&self, component: &Component) -> Result<Vec<String>, TaskError> {
        let guest = &self.plan.guest;
        let config = serde_json::Value::Object(guest.settings.clone()).to_string();
        let environment = Environment {
            label: Label { connector: self.plan.name.as_str().into(), task: 0 },
            grants: guest.grants.clone(),
            limits: guest.limits,
            stopping: self.stopping.clone(),
            metrics: GuestMetrics::default(),
        };
        let mut retry = Retry::new(&self.plan.errors, self.stopping.clone(), self.shared.random());
        let mut instance = component.source(environment).await?;
        loop {
            match instance.plan(&config, self.plan.tasks.max(1)).await {
                Ok(configs) => return Ok(configs),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    /// A producer that has fenced the one before it, and its fence.
    async fn producer(&self, task: u32) -> Result<(Producer, u64), TaskError> {
        let config = ProducerConfig {
            transactional_id: Some(self.shared.transactional_id(&self.plan.name, task)),
            buffer_memory: BUFFER_BYTES,
            max_request_size: REQUEST_BYTES_MAX,
            compression: self.shared.config.compression,
            ..ProducerConfig::default()
        };
        self.shared
            .fenced_producer(config)
            .await
            .map_err(|source| self.cluster(task, "starting its transactional producer", source))
    }

    fn cluster(&self, task: u32, doing: &'static str, source: millrace_client::Error) -> TaskError {
        TaskError::Cluster { connector: self.plan.name.clone(), task, doing, source }
    }

    fn invalid(&self, task: u32, message: String) -> TaskError {
        TaskError::Invalid { connector: self.plan.name.clone(), task, message }
    }
}

struct SourceTask {
    connector: SourceConnector,
    component: Arc<Component>,
    task: u32,
    tasks: u32,
    config: String,
    /// The producer of the first start, made before any task reads positions.
    prepared: Mutex<Option<(Producer, u64)>>,
    /// Whether something was committed since the last start.
    progressed: Arc<AtomicBool>,
    metrics: Arc<TaskMetrics>,
}

impl SourceTask {
    async fn supervise(self) {
        let SourceConnector { shared, plan, counters, stopping, admission, .. } = &self.connector;
        let (errors, progressed, task) = (&plan.errors, &*self.progressed, self.task);
        let (metrics, is_admitted) = (&*self.metrics, admission.is_asked());
        let supervisor =
            Supervisor { shared, errors, counters, metrics, task, stopping, is_admitted, progressed };
        supervisor.run(|guests| self.run(guests)).await;
    }

    async fn run(&self, metrics: GuestMetrics) -> Result<End, TaskError> {
        let connector = &self.connector;
        let (shared, plan) = (&connector.shared, &connector.plan);
        let prepared = self.prepared.lock().take();
        let (producer, generation) = match prepared {
            Some(prepared) => prepared,
            None => connector.producer(self.task).await?,
        };
        connector.admission.check(&plan.name, self.task).await?;
        let resume = positions::read(shared, &plan.name)
            .await
            .map_err(|source| connector.cluster(self.task, "reading its positions", source))?;
        let environment = TaskEnvironment {
            host: &shared.host,
            connector: &plan.name,
            task: self.task,
            tasks: self.tasks,
            generation,
            stopping: &connector.stopping,
            metrics: &metrics,
        };
        let chain = Chain::open(&plan.transforms, &environment, &connector.topic).await?;
        let mut source = self.component.source(environment.of(&plan.guest)).await?;
        let formats =
            convert::told(self.component.describe(), &plan.formats, Direction::ToTopic, chain.seen());
        let converters = Converters::new(&plan.formats, &formats, Direction::ToTopic);
        let retry = Retry::new(&plan.errors, connector.stopping.clone(), shared.random());
        let mut retry = retry.counted(&self.metrics);
        let context = environment.context(self.config.clone(), formats);
        while let Err(failure) = source.open(&context, &resume.checkpoints()).await {
            retry.pause(failure).await?;
        }
        self.metrics.set_state(State::Running);
        connector.counters.set_state(self.task, State::Running);
        let durable = writer::Durable::default();
        let tracer = shared.config.tracer.as_ref();
        let tracer = tracer.map(|tracer| TaskTracer::new(tracer, &plan.name, self.task, &connector.topic));
        let writer = Writer {
            producer,
            client: shared.client.clone(),
            connector: plan.name.clone(),
            group: group(&plan.name),
            offsets: shared.offsets_of(&plan.name),
            durable: Arc::clone(&durable),
            counters: connector.counters.clone(),
            metrics: Arc::clone(&self.metrics),
            tracer: tracer.clone(),
        };
        let (chunks, waiting) = mpsc::channel(CHUNKS_MAX);
        let mut writer = AbortOnDrop(tokio::spawn(writer.run(waiting, Arc::clone(&self.progressed))));
        let mut reader = Reader {
            connector: plan.name.clone(),
            task: self.task,
            component: self.component.reference().to_string().into(),
            topic: Arc::clone(&connector.topic),
            routes: Routes::new(shared, &connector.topic_plan),
            inbox: Inbox::new(shared, &plan.name, self.task == 0 && plan.errors.dead_letter_topic.is_some()),
            errors: plan.errors.clone(),
            source,
            chain,
            converters,
            retry,
            stopping: connector.stopping.clone(),
            durable,
            metrics: Arc::clone(&self.metrics),
            tracing: tracer.map(Tracing::new),
        };
        let read = reader.fill(&chunks).await;
        // The writer commits what it was given, also when reading failed: whole polls, each with its positions.
        drop(chunks);
        let written = (&mut writer.0).await;
        let end = read?;
        match written {
            Ok(written) => {
                written.map_err(|source| connector.cluster(self.task, "writing records", source))?
            }
            Err(error) => return Err(connector.invalid(self.task, format!("its writer ended: {error}"))),
        }
        reader.finish().await?;
        Ok(end)
    }
}

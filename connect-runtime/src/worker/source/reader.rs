//! The reading half of a source task: poll, transforms, dead letters, batches.
//!
//! Runs beside the writer, up to a few chunks ahead of it. A chunk always holds whole polls, so that its checkpoints speak of
//! nothing that is not in it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use millrace_client::{FetchedPartition, TopicPartition};
use millrace_wire::batch::HEADER_LEN;
use millrace_wire::record::record_size;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::REQUEST_BYTES_MAX;
use super::retried::Inbox;
use super::router::Router;
use super::routes::{Refusal, Routes};
use super::writer::{Chunk, Durable};
use crate::capability::control::Stopping;
use crate::component::batch::{Batch, RecordView};
use crate::component::{CallError, Flow, PollOutcome, RecordError, SourceInstance};
use crate::convert::Converters;
use crate::failure::TaskError;
use crate::failure::dead_letter::{CONVERTER, DeadLetter, Stage};
use crate::failure::retry::Retry;
use crate::metrics::TaskMetrics;
use crate::plan::{ErrorPlan, Tolerance};
use crate::redrive::inbox::{self, Entry, Origin, Retried};
use crate::trace::batch::{MARK_BYTES, Marker};
use crate::trace::context::Context;
use crate::trace::{Kind, LINKS_MAX, TaskTracer};
use crate::worker::chain::Chain;
use crate::worker::supervise::End;

/// Advice to the guest: records and bytes of one poll.
const POLL_RECORDS: u32 = 8_192;
const POLL_BYTES: u32 = 1 << 20;
/// How long a guest may wait for data in a poll.
const POLL_WAIT: Duration = Duration::from_millis(200);
/// Bytes after which a chunk goes to the writer.
const CHUNK_BYTES: usize = 2 << 20;
/// Age at which it does, so that a slow source's records don't wait for many others.
const CHUNK_AGE: Duration = Duration::from_millis(50);
/// Shortest and longest pause after a poll that said there is nothing now.
const IDLE_MIN: Duration = Duration::from_millis(10);
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Reads until the end, or until told to stop.
pub(crate) struct Reader {
    pub connector: String,
    pub task: u32,
    pub component: Arc<str>,
    pub topic: Arc<str>,
    pub routes: Routes,
    pub inbox: Inbox,
    pub errors: ErrorPlan,
    pub source: SourceInstance,
    pub chain: Chain,
    pub converters: Converters,
    pub retry: Retry,
    pub stopping: Stopping,
    pub durable: Durable,
    pub metrics: Arc<TaskMetrics>,
    pub tracing: Option<Tracing>,
}

/// Traces of a source's task.
pub(crate) struct Tracing {
    pub tracer: TaskTracer,
    /// Gives records the context of the poll that brought them.
    pub marker: Marker,
    /// Of the poll under way.
    pub context: Option<Context>,
}

impl Tracing {
    pub(crate) fn new(tracer: TaskTracer) -> Self {
        Self { tracer, marker: Marker::default(), context: None }
    }
}

impl Reader {
    /// Fills chunks until the end. Ends early when the writer is gone, which then says why.
    pub(crate) async fn fill(&mut self, chunks: &mpsc::Sender<Chunk>) -> Result<End, TaskError> {
        let mut router = Router::default();
        let mut chunk = Chunk::default();
        let mut since = Instant::now();
        loop {
            self.tell_durable().await?;
            let PollOutcome { batch, rejected, checkpoints, flow, next_poll } = match self.poll().await {
                Ok(outcome) => outcome,
                Err(failure) => {
                    // What earlier polls brought is whole, and doesn't wait for one that may take its time: a guest that fails now and then still gets on.
                    let whole = Chunk { batches: router.take(), commit: true, ..std::mem::take(&mut chunk) };
                    since = Instant::now();
                    let sent = chunks.send(whole).await;
                    self.retry.pause(failure).await?;
                    if sent.is_err() {
                        return Ok(End::Stopped);
                    }
                    continue;
                }
            };
            self.take(batch, rejected, &mut router, &mut chunk).await?;
            chunk.checkpoints.extend(checkpoints);
            let retried = self.inbox.take().await;
            self.take_retried(&retried, &mut router, &mut chunk).await?;
            let stopped = self.stopping.is_raised();
            chunk.commit = stopped || flow != Flow::More;
            if chunk.commit || router.size_bytes() >= CHUNK_BYTES || since.elapsed() >= CHUNK_AGE {
                since = Instant::now();
                chunk.batches = router.take();
                if chunks.send(std::mem::take(&mut chunk)).await.is_err() {
                    return Ok(End::Stopped);
                }
            }
            match flow {
                Flow::End if !stopped => return self.drain(chunks).await,
                Flow::End => return Ok(End::Done),
                _ if stopped => return Ok(End::Stopped),
                Flow::More => {}
                Flow::Idle => {
                    let pause = next_poll.clamp(IDLE_MIN, IDLE_MAX);
                    tokio::select! {
                        biased;
                        () = self.stopping.raised() => {}
                        () = self.inbox.wait(pause) => {}
                    }
                }
            }
        }
    }

    /// Takes the retried records that are still there when the source has ended.
    async fn drain(&mut self, chunks: &mpsc::Sender<Chunk>) -> Result<End, TaskError> {
        let mut router = Router::default();
        let mut ends = None;
        loop {
            let rest = self.inbox.rest(&mut ends).await;
            let Some(retried) = rest.map_err(|source| self.cluster("reading retried records", source))?
            else {
                return Ok(End::Done);
            };
            let mut chunk = Chunk { commit: true, ..Chunk::default() };
            self.take_retried(&retried, &mut router, &mut chunk).await?;
            chunk.batches = router.take();
            if chunks.send(chunk).await.is_err() {
                return Ok(End::Stopped);
            }
        }
    }

    /// When everything is durable: tells the guest of the last positions and ends it.
    pub(crate) async fn finish(mut self) -> Result<(), TaskError> {
        self.tell_durable().await?;
        self.source.close().await?;
        self.chain.close().await
    }

    async fn poll(&mut self) -> Result<PollOutcome, CallError> {
        let (begun, at) = (Instant::now(), SystemTime::now());
        let outcome = self.source.poll(POLL_RECORDS, POLL_BYTES, POLL_WAIT).await?;
        self.retry.succeeded();
        self.metrics.polled(outcome.batch.len(), begun.elapsed());
        if let Some(tracing) = &mut self.tracing {
            tracing.context = None;
            if !outcome.batch.is_empty() {
                let span = tracing.tracer.begin("poll", Kind::Internal, &[], at);
                tracing.context = Some(span.context());
                tracing.tracer.end(span, outcome.batch.len(), None);
            }
        }
        Ok(outcome)
    }

    /// Tells the guest which positions became durable since the last time.
    async fn tell_durable(&mut self) -> Result<(), TaskError> {
        let done = std::mem::take(&mut *self.durable.lock()).checkpoints();
        while !done.is_empty() {
            match self.source.commit(&done).await {
                Ok(()) => break,
                Err(failure) => self.retry.pause(failure).await?,
            }
        }
        Ok(())
    }

    /// Adds what a poll brought to the chunk.
    async fn take(
        &mut self,
        mut batch: Batch,
        rejected: Vec<RecordError>,
        router: &mut Router,
        chunk: &mut Chunk,
    ) -> Result<(), TaskError> {
        chunk.counts.taken += batch.len() as u64;
        // Transforms and predicates are told the topic that a record is on its way to.
        batch.name_topic(&self.topic);
        let good = if rejected.is_empty() {
            batch
        } else {
            let numbers: Vec<u32> = rejected.iter().map(|error| error.index).collect();
            for (place, record) in batch.pick(&numbers) {
                self.reject(&record, 0, Stage::TaskPoll, &self.component, &rejected[place], chunk)?;
            }
            let mut numbers = numbers.into_iter().peekable();
            batch.filtered(|index| numbers.next_if(|number| *number as usize == index).is_none())
        };
        self.transform(&good, &[], router, chunk).await
    }

    /// Adds retried records to the chunk: each from the stage on that refused it.
    async fn take_retried(
        &mut self,
        fetched: &[FetchedPartition],
        router: &mut Router,
        chunk: &mut Chunk,
    ) -> Result<(), TaskError> {
        for fetched in fetched {
            for entry in Entry::ALL {
                let wanted = |origin: &Origin| origin.entry == entry;
                let Retried { mut batch, origins } =
                    inbox::open(std::slice::from_ref(fetched), &self.topic, wanted)
                        .map_err(|source| self.cluster("decoding retried records", source))?;
                // Where they were is the retry topic's business.
                batch.forget_places();
                let retries = |index: usize| origins[index].retries;
                match entry {
                    Entry::Transforms => self.transform(&batch, &origins, router, chunk).await?,
                    Entry::Converters => self.convert(&batch, retries, router, chunk).await?,
                    Entry::Topic => self.route(&batch, retries, router, chunk).await?,
                }
            }
            let tp = TopicPartition::new(Arc::clone(&fetched.topic), fetched.partition);
            chunk.retried.insert(tp, fetched.next_offset);
        }
        Ok(())
    }

    /// Sends records through transforms and converters to the chunk. `origins`: one per record that is retried, or none.
    async fn transform(
        &mut self,
        good: &Batch,
        origins: &[Origin],
        router: &mut Router,
        chunk: &mut Chunk,
    ) -> Result<(), TaskError> {
        let retries = |index: usize| origins.get(index).map_or(0, |origin| origin.retries);
        if good.is_empty() || self.chain.is_empty() {
            return self.convert(good, retries, router, chunk).await;
        }
        let at = SystemTime::now();
        let chained = self.chain.apply(good, &mut self.retry).await;
        if let Some(Tracing { tracer, context, .. }) = &self.tracing {
            let span = tracer.begin("transform", Kind::Internal, context.as_slice(), at);
            tracer.end(span, good.len(), chained.as_ref().err().map(|error| error as &dyn std::fmt::Display));
        }
        let chained = chained?;
        let numbers: Vec<u32> = chained.rejected.iter().map(|(_, error)| error.index).collect();
        for (place, record) in good.pick(&numbers) {
            let (component, error) = &chained.rejected[place];
            let retries = retries(error.index as usize);
            self.reject(&record, retries, Stage::Transformation, component, error, chunk)?;
        }
        chunk.counts.dropped += chained.dropped(good.len()) as u64;
        let retries = |index: usize| retries(chained.origin_of(index));
        self.convert(chained.batch.as_ref().unwrap_or(good), retries, router, chunk).await
    }

    /// Turns records into what stands in the topic, as many at a time as make a batch.
    async fn convert(
        &mut self,
        batch: &Batch,
        retries: impl Fn(usize) -> u32,
        router: &mut Router,
        chunk: &mut Chunk,
    ) -> Result<(), TaskError> {
        if self.converters.is_idle() {
            return self.route(batch, retries, router, chunk).await;
        }
        let mut from = 0;
        while from < batch.len() {
            let at = SystemTime::now();
            let converted = match self.converters.convert(batch, from, &self.topic).await {
                Ok(converted) => converted,
                Err(failure) => {
                    self.retry.pause(failure.of_task(&self.connector, self.task)).await?;
                    continue;
                }
            };
            self.retry.succeeded();
            if let Some(Tracing { tracer, context, .. }) = &self.tracing {
                let span = tracer.begin("convert", Kind::Internal, context.as_slice(), at);
                tracer.end(span, converted.next - from, None);
            }
            let numbers: Vec<u32> = converted.rejected.iter().map(|(_, error)| error.index).collect();
            for (place, record) in batch.pick(&numbers) {
                let (stage, error) = &converted.rejected[place];
                self.reject(&record, retries(error.index as usize), *stage, CONVERTER, error, chunk)?;
            }
            let retries = |index: usize| retries(converted.origin[index] as usize);
            self.route(&converted.batch, retries, router, chunk).await?;
            from = converted.next;
        }
        Ok(())
    }

    async fn route(
        &mut self,
        batch: &Batch,
        retries: impl Fn(usize) -> u32,
        router: &mut Router,
        chunk: &mut Chunk,
    ) -> Result<(), TaskError> {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        for topic in batch.topics().chain([&*self.topic]) {
            if !router.knows(topic) {
                let count = self.routes.partitions(topic).await.map_err(|refusal| match refusal {
                    Refusal::Cluster(source) => self.cluster("looking for the topic", source),
                    Refusal::Forbidden(message) => self.invalid(message),
                })?;
                router.learn(topic, count);
            }
        }
        let context = self.tracing.as_ref().and_then(|tracing| tracing.context);
        if let Some(context) = context
            && chunk.contexts.len() <= LINKS_MAX
        {
            chunk.contexts.push(context);
        }
        // Taken out so that records may borrow from it while others are refused.
        let mut marker = self.tracing.as_mut().map(|tracing| std::mem::take(&mut tracing.marker));
        for (index, record) in batch.iter().enumerate() {
            let record = match (&mut marker, context) {
                // A record that would become too large by it goes without.
                (Some(marker), Some(context)) if fits_marked(&record) => marker.mark(&record, context),
                _ => record,
            };
            if let Some(size) = too_large(&record) {
                let error = RecordError {
                    index: index as u32,
                    code: "record.large".to_owned(),
                    message: format!("{size} bytes are more than the {REQUEST_BYTES_MAX} of a request"),
                };
                self.reject(&record, retries(index), Stage::KafkaProduce, "producer", &error, chunk)?;
                continue;
            }
            let topic = record.topic.unwrap_or(&self.topic);
            router.push(topic, &record, now_ms).map_err(|error| self.invalid(error.to_string()))?;
            chunk.counts.records += 1;
            chunk.counts.bytes += record.size_bytes() as u64;
        }
        if let (Some(tracing), Some(marker)) = (&mut self.tracing, marker) {
            tracing.marker = marker;
        }
        Ok(())
    }

    fn invalid(&self, message: String) -> TaskError {
        TaskError::Invalid { connector: self.connector.clone(), task: self.task, message }
    }

    /// Does with a bad record what the pipeline says.
    fn reject(
        &self,
        record: &RecordView<'_>,
        retries: u32,
        stage: Stage,
        component: &str,
        error: &RecordError,
        chunk: &mut Chunk,
    ) -> Result<(), TaskError> {
        if self.errors.tolerance == Tolerance::None {
            self.metrics.record_error();
            return Err(TaskError::Record {
                connector: self.connector.clone(),
                task: self.task,
                place: format!("{component} refused record {} of a batch ({})", error.index, stage.name()),
                code: error.code.clone(),
                message: error.message.clone(),
            });
        }
        self.metrics.record_skipped();
        let Some(topic) = &self.errors.dead_letter_topic else {
            chunk.counts.skipped += 1;
            return Ok(());
        };
        let letter = DeadLetter {
            connector: &self.connector,
            task: self.task,
            stage,
            component,
            code: &error.code,
            message: &error.message,
            origin: None,
            destination: Some(record.topic.unwrap_or(&self.topic)),
            retries,
        };
        chunk.dead_letters.push(letter.record(&topic.as_str().into(), record));
        self.metrics.dead_letter();
        chunk.counts.dead_lettered += 1;
        Ok(())
    }

    fn cluster(&self, doing: &'static str, source: millrace_client::Error) -> TaskError {
        TaskError::Cluster { connector: self.connector.clone(), task: self.task, doing, source }
    }
}

/// Whether a record has room for a trace context.
fn fits_marked(record: &RecordView<'_>) -> bool {
    record.size_bytes() + MARK_BYTES < REQUEST_BYTES_MAX / 2
}

/// The size of a record that no request has room for.
fn too_large(record: &RecordView<'_>) -> Option<usize> {
    // Cheap for the many: lengths and flags take far less than what a record holds.
    if record.size_bytes() < REQUEST_BYTES_MAX / 2 {
        return None;
    }
    let size = HEADER_LEN + record_size(record.key, record.value, record.headers);
    (size > REQUEST_BYTES_MAX).then_some(size)
}

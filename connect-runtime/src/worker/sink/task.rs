//! One start of a sink task: from its positions to its end, or to the first error that a repetition can't mend.
//!
//! Retried dead letters ([`crate::redrive`]) come from a topic of their own, which is read like the pipeline's: the sink is told of its
//! partitions and holds a place in it. Transforms see such a record with the topic that it was first read from.

mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use millrace_client::{
    Admin, Consumer, ConsumerConfig, FetchedPartition, GroupMetadata, Isolation, OffsetReset, OffsetSpec,
    Polled, Position, ProduceRecord, Producer, ProducerConfig, TopicPartition,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::identity;
use super::offsets::{self, Commit, Places, Topic};
use super::retried::{Read, retried_partitions};
use super::{SinkConnector, group, transaction_timeout};
use crate::capability::metrics::GuestMetrics;
use crate::component::batch::{Batch, BatchBuilder, RecordView, is_topic_name};
use crate::component::{Component, RecordError, SinkInstance, TopicPartition as GuestPartition};
use crate::convert::{self, Converters, Direction};
use crate::failure::TaskError;
use crate::failure::dead_letter::{DeadLetter, Stage};
use crate::failure::retry::Retry;
use crate::metrics::TaskMetrics;
use crate::plan::Tolerance;
use crate::redrive::inbox::{self, LOOK_EVERY, Origin, Retried};
use crate::redrive::retry_topic;
use crate::trace::batch::contexts;
use crate::trace::context::Context;
use crate::trace::{Kind, TaskTracer};
use crate::worker::chain::{Chain, TaskEnvironment};
use crate::worker::progress::{Counts, State};
use crate::worker::supervise::End;
use crate::worker::topics;

/// What a sink says of itself that changes its target and the positions there in one step.
const DELIVERY: (&str, &str) = ("delivery", "exactly-once");
/// Bytes of records after which a batch goes to the sink.
const PUT_BYTES: usize = 4 << 20;
/// How long one wait for records may take; while a bounded pipeline drains, the end should be noticed at once.
const POLL_WAIT: Duration = Duration::from_millis(200);
const DRAIN_WAIT: Duration = Duration::from_millis(5);
/// Pause before a sink that took nothing is asked again.
const BACK_PRESSURE_PAUSE: Duration = Duration::from_millis(50);
/// Longest that dead letters wait for a flush: their transaction must end before the broker ends it, however long the
/// pipeline's `flush_interval` is.
const DEAD_LETTER_AGE: Duration = Duration::from_secs(10);
/// A group whose consumers are no members forgets an offset when it was committed that long ago (`offsets.retention.minutes`, a week unless
/// set): where nothing comes, it is committed again.
const REMINDER_EVERY: Duration = Duration::from_secs(3600);
/// Bytes that a task's consumer may hold.
const BUFFER_BYTES: usize = 16 << 20;

/// A task's part of its connector.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) task: u32,
    pub(super) tasks: u32,
    pub(super) partitions: &'a [i32],
    /// Raised whenever something became durable.
    pub(super) progressed: &'a AtomicBool,
    pub(super) metrics: &'a Arc<TaskMetrics>,
}

/// A running sink task.
pub(super) struct SinkTask<'a> {
    connector: &'a SinkConnector,
    task: u32,
    component: Arc<str>,
    sink: SinkInstance,
    converters: Converters,
    chain: Chain,
    consumer: Consumer,
    producer: Producer,
    retry: Retry,
    places: Places,
    /// Whether the target holds them, by what the sink says of itself.
    holds_positions: bool,
    /// Of the topic, and of the topic with retried records if there is one.
    partitions: Vec<TopicPartition>,
    /// Where retried records come from.
    retry_topic: Arc<str>,
    /// When it is looked for next; none: it is read, or the connector has no dead letters.
    next_look: Option<Instant>,
    /// Where a bounded pipeline ends; none: not known yet.
    ends: Option<BTreeMap<TopicPartition, i64>>,
    next_flush: Instant,
    /// When the group's offsets are committed again though they did not change.
    next_reminder: Instant,
    /// The ids of the topics that are read.
    identities: BTreeMap<Arc<str>, Uuid>,
    /// Whether dead letters stand in an open transaction.
    has_dead_letters: bool,
    /// What becomes true with the next flush.
    pending: Counts,
    progressed: &'a AtomicBool,
    metrics: &'a Arc<TaskMetrics>,
    tracer: Option<TaskTracer>,
    /// When the wait for what is being given began.
    fetch_begun: SystemTime,
    /// Of the batch that is being given to the sink: what its spans are parts of.
    context: Option<Context>,
}

/// Why a start of a task has no more to do.
enum Left {
    End(End),
    /// There are retried records now, which it has to be told of from the beginning.
    Retried,
}

impl<'a> SinkTask<'a> {
    /// Runs to the end; `guests` is where its guests count.
    pub(super) async fn run(
        connector: &'a SinkConnector,
        component: &Component,
        part: &Part<'a>,
        guests: GuestMetrics,
    ) -> Result<End, TaskError> {
        loop {
            let mut running = Self::start(connector, component, part, guests.clone()).await?;
            let left = running.work().await?;
            running.flush().await?;
            running.sink.close().await?;
            running.closed().await?;
            running.chain.close().await?;
            let _ = running.consumer.close().await;
            if let Left::End(end) = left {
                return Ok(end);
            }
        }
    }

    async fn start(
        connector: &'a SinkConnector,
        component: &Component,
        part: &Part<'a>,
        guests: GuestMetrics,
    ) -> Result<Self, TaskError> {
        let Part { task, tasks, partitions, progressed, metrics } = *part;
        let SinkConnector { shared, plan, .. } = connector;
        let cluster = |doing| move |source| connector.cluster(task, doing, source);
        let config = ProducerConfig {
            transactional_id: Some(shared.transactional_id(&plan.name, task)),
            transaction_timeout: transaction_timeout(plan),
            ..ProducerConfig::default()
        };
        let (producer, generation) =
            shared.fenced_producer(config).await.map_err(cluster("starting its transactional producer"))?;
        connector.admission.check(&plan.name, task).await?;
        let environment = TaskEnvironment {
            host: &shared.host,
            connector: &plan.name,
            task,
            tasks,
            generation,
            stopping: &connector.stopping,
            metrics: &guests,
        };
        let chain = Chain::open(&plan.transforms, &environment, &connector.topic).await?;
        let mut sink = component.sink(environment.of(&plan.guest)).await?;
        let retry = Retry::new(&plan.errors, connector.stopping.clone(), shared.random());
        let mut retry = retry.counted(metrics);
        let settings = serde_json::Value::Object(plan.guest.settings.clone()).to_string();
        let formats = convert::told(component.describe(), &plan.formats, Direction::FromTopic, chain.seen());
        let converters = Converters::new(&plan.formats, &formats, Direction::FromTopic);
        let context = environment.context(settings, formats);
        while let Err(failure) = sink.open(&context).await {
            retry.pause(failure).await?;
        }
        let mut partitions: Vec<_> =
            partitions.iter().map(|p| TopicPartition::new(Arc::clone(&connector.topic), *p)).collect();
        let retry_topic: Arc<str> = retry_topic(&plan.name).into();
        let retried = retried_partitions(connector, &retry_topic, task, tasks).await;
        let retried = retried.map_err(cluster("looking for retried records"))?;
        let may_come = plan.errors.dead_letter_topic.is_some() && is_topic_name(&retry_topic);
        let next_look = (may_come && retried.is_none()).then(|| Instant::now() + LOOK_EVERY);
        partitions.extend(retried.unwrap_or_default());
        let config = ConsumerConfig {
            group_id: Some(group(&plan.name)),
            // Starting anew finds out what happened to the topic.
            auto_offset_reset: OffsetReset::None,
            isolation: Isolation::ReadCommitted,
            auto_commit_interval: None,
            buffer_bytes: BUFFER_BYTES,
            ..ConsumerConfig::default()
        };
        let consumer =
            Consumer::start(&shared.client, config).await.map_err(cluster("starting its consumer"))?;
        let tracer = shared.config.tracer.as_ref();
        let mut running = Self {
            connector,
            task,
            component: component.reference().to_string().into(),
            sink,
            converters,
            chain,
            consumer,
            producer,
            retry,
            places: Places::default(),
            holds_positions: component
                .describe()
                .extra
                .iter()
                .any(|(name, value)| (name.as_str(), value.as_str()) == DELIVERY),
            partitions,
            retry_topic,
            next_look,
            ends: None,
            next_flush: Instant::now() + plan.flush_interval,
            next_reminder: Instant::now() + REMINDER_EVERY,
            identities: BTreeMap::new(),
            has_dead_letters: false,
            pending: Counts::default(),
            progressed,
            metrics,
            tracer: tracer.map(|tracer| TaskTracer::new(tracer, &plan.name, task, &connector.topic)),
            fetch_begun: SystemTime::now(),
            context: None,
        };
        running.assign().await?;
        metrics.set_state(State::Running);
        connector.counters.set_state(task, State::Running);
        Ok(running)
    }

    /// Finds out where to begin: at the position that the target holds, else at the group's, else at the first record; see
    /// `offsets` for when the group's counts though the target holds one.
    async fn assign(&mut self) -> Result<(), TaskError> {
        let guest =
            |tp: &TopicPartition| GuestPartition { topic: tp.topic.to_string(), partition: tp.partition };
        let partitions: Vec<_> = self.partitions.iter().map(guest).collect();
        let held = loop {
            match self.sink.assigned(&partitions).await {
                Ok(held) => break held,
                Err(failure) => self.retry.pause(failure).await?,
            }
        };
        let held: BTreeMap<TopicPartition, i64> = held
            .into_iter()
            .map(|held| (TopicPartition::new(held.topic, held.partition), held.offset))
            .collect();
        let committed = self.consumer.committed(&self.partitions).await;
        let committed = committed.map_err(|source| self.cluster("reading the group's offsets", source))?;
        let begins = self.list_offsets(OffsetSpec::Earliest).await?;
        let ends = self.list_offsets(OffsetSpec::Latest).await?;
        let is_forgotten =
            self.partitions.iter().any(|tp| held.contains_key(tp) && !committed.contains_key(tp));
        let before = self.identify(is_forgotten).await?;
        let (mut from, mut news) = (BTreeMap::new(), BTreeMap::new());
        for tp in &self.partitions {
            let topic = Topic {
                now: self.identities.get(&tp.topic).copied(),
                before: before.get(&*tp.topic).copied(),
            };
            let (held, committed) = (held.get(tp).copied(), committed.get(tp));
            let start = offsets::start(held, committed, topic)
                .map_err(|offsets::Stranger| self.another_topic(tp, held.unwrap_or(0)))?;
            let end = ends.get(tp).copied().unwrap_or(0);
            if let Some(start) = start.filter(|start| *start > end) {
                return Err(self.past_the_end(tp, start, end, held.is_some()));
            }
            let begin = begins.get(tp).copied().unwrap_or(0);
            if let Some(start) = start.filter(|start| *start < begin) {
                tracing::warn!(
                    connector = self.connector.plan.name,
                    topic = &*tp.topic,
                    partition = tp.partition,
                    "offsets {start} to {begin} were removed from the topic before they were read; see retention.ms and \
                     retention.bytes"
                );
            }
            let start_at = start.unwrap_or(begin).max(begin);
            // Without a start, what the group knows is of another topic.
            let known = committed.filter(|_| start.is_some());
            self.places.start(tp, start_at, held, known.map(|known| known.offset));
            if !known.is_some_and(|known| offsets::is_of(known, topic.now)) {
                news.insert(tp.clone(), Commit { next: start_at, held });
            }
            from.insert(tp.clone(), Position::Offset(start_at));
        }
        self.commit_first(&news, &before).await?;
        self.consumer.assign(from).map_err(|source| self.cluster("starting to read", source))
    }

    /// Finds out which topics these are; gives back which they were, if that has to be asked.
    async fn identify(&mut self, asked: bool) -> Result<BTreeMap<String, Uuid>, TaskError> {
        let shared = &self.connector.shared;
        let mut topics: Vec<&str> = self.partitions.iter().map(|tp| &*tp.topic).collect();
        topics.dedup();
        let now = identity::now(&shared.client, &topics).await;
        self.identities = now.map_err(|source| self.cluster("looking for the topic", source))?;
        if !asked || self.identities.is_empty() {
            return Ok(BTreeMap::new());
        }
        let before = identity::before(shared, &self.connector.plan.name).await;
        before.map_err(|source| self.cluster("reading which topic it read", source))
    }

    /// Notes where reading begins, and in which topics, before anything is read: from then on a position in the target is known to
    /// speak of them.
    async fn commit_first(
        &mut self,
        news: &BTreeMap<TopicPartition, Commit>,
        before: &BTreeMap<String, Uuid>,
    ) -> Result<(), TaskError> {
        if news.is_empty() {
            return Ok(());
        }
        let (shared, name) = (&self.connector.shared, &self.connector.plan.name);
        let topics: BTreeSet<&Arc<str>> = news.keys().map(|tp| &tp.topic).collect();
        let unknown = topics.into_iter().filter_map(|topic| self.identities.get_key_value(topic));
        let records: Vec<_> = unknown
            .filter(|(topic, id)| before.get(&***topic) != Some(id))
            .map(|(topic, id)| identity::record(shared, name, topic, *id))
            .collect();
        let committed = self.commit(news, records).await;
        committed.map_err(|source| self.cluster("noting where it begins", source))?;
        self.places.committed(news);
        Ok(())
    }

    async fn work(&mut self) -> Result<Left, TaskError> {
        let mut source_ended = self.connector.source_ended.clone();
        let mut stopping = self.connector.stopping.clone();
        let bounded = self.connector.shared.config.exit_when_done;
        loop {
            if stopping.is_raised() {
                return Ok(Left::End(End::Stopped));
            }
            if self.are_retried().await? {
                return Ok(Left::Retried);
            }
            if bounded && self.ends.is_none() && *source_ended.borrow() {
                self.ends = Some(self.list_offsets(OffsetSpec::Latest).await?);
            }
            if self.is_drained() {
                return Ok(Left::End(End::Done));
            }
            let wait = if self.ends.is_some() { DRAIN_WAIT } else { POLL_WAIT };
            let wait = wait.min(self.next_flush.saturating_duration_since(Instant::now()));
            self.fetch_begun = SystemTime::now();
            let polled = tokio::select! {
                biased;
                () = stopping.raised() => continue,
                () = ended(&mut source_ended), if bounded && self.ends.is_none() => continue,
                polled = self.consumer.poll(wait) => polled,
            };
            match polled.map_err(|source| self.cluster("reading records", source))? {
                Polled::Records(fetched) => self.take(fetched).await?,
                // Without a subscription there is no news of a group.
                Polled::Nothing | Polled::Assigned(_) | Polled::Revoking(_) | Polled::Lost(_) => {
                    self.note_positions()
                }
            }
            if Instant::now() >= self.next_flush {
                self.flush().await?;
            }
        }
    }

    /// Whether the topic with retried records has come to be.
    async fn are_retried(&mut self) -> Result<bool, TaskError> {
        if self.next_look.is_none_or(|next| Instant::now() < next) {
            return Ok(false);
        }
        self.next_look = Some(Instant::now() + LOOK_EVERY);
        let found = topics::partitions_if_there(&self.connector.shared.client, &self.retry_topic).await;
        match found {
            Ok(found) => Ok(found.is_some()),
            // Reading goes on, or says so itself.
            Err(error) if error.is_retriable() => Ok(false),
            Err(source) => Err(self.cluster("looking for retried records", source)),
        }
    }

    /// Turns what was read into batches for the sink.
    async fn take(&mut self, fetched: Vec<FetchedPartition>) -> Result<(), TaskError> {
        let (retried, own): (Vec<_>, Vec<_>) =
            fetched.into_iter().partition(|fetched| *fetched.topic == *self.retry_topic);
        let mut builder = BatchBuilder::default();
        let mut nexts = BTreeMap::new();
        let topic = Arc::clone(&self.connector.topic);
        let read = |builder: &mut BatchBuilder, nexts: &mut BTreeMap<_, _>| Read {
            batch: std::mem::take(builder).build(),
            nexts: std::mem::take(nexts),
            topic: Arc::clone(&topic),
            origins: None,
        };
        for fetched in &own {
            let partition = fetched.partition;
            let visit = |record: millrace_wire::record::RecordRef<'_>| {
                builder.push_fetched(&fetched.topic, partition, &record);
            };
            fetched.for_each(visit).map_err(|source| self.cluster("decoding records", source))?;
            nexts.insert(TopicPartition::new(Arc::clone(&fetched.topic), partition), fetched.next_offset);
            if builder.size_bytes() >= PUT_BYTES {
                self.give(read(&mut builder, &mut nexts)).await?;
            }
        }
        self.give(read(&mut builder, &mut nexts)).await?;
        for fetched in &retried {
            let Retried { batch, origins } = inbox::open(std::slice::from_ref(fetched), &topic, |_| true)
                .map_err(|source| self.cluster("decoding retried records", source))?;
            let tp = TopicPartition::new(Arc::clone(&self.retry_topic), fetched.partition);
            let (nexts, topic) = (BTreeMap::from([(tp, fetched.next_offset)]), Arc::clone(&self.retry_topic));
            self.give(Read { batch, nexts, topic, origins: Some(origins) }).await?;
        }
        self.note_lag();
        Ok(())
    }

    /// Notes which traces the records that were read belong to, as a span that all further ones of the batch are within.
    fn trace_fetch(&mut self, input: &Batch) {
        let Some(tracer) = &self.tracer else { return };
        let span = tracer.begin("fetch", Kind::Consumer, &contexts(input), self.fetch_begun);
        self.context = Some(span.context());
        tracer.end(span, input.len(), None);
    }

    fn trace(
        &self,
        name: &'static str,
        kind: Kind,
        begun: SystemTime,
        records: usize,
        failed: Option<&TaskError>,
    ) {
        if let Some(tracer) = &self.tracer {
            let span = tracer.begin(name, kind, self.context.as_slice(), begun);
            tracer.end(span, records, failed.map(|error| error as &dyn std::fmt::Display));
        }
    }

    async fn traced_put(
        &mut self,
        batch: &Batch,
        read: &Read,
        origin: Option<&[u32]>,
    ) -> Result<(), TaskError> {
        let begun = SystemTime::now();
        let settled = read.settled(batch);
        let put = self.put(settled.as_ref().unwrap_or(batch), read, origin).await;
        if !batch.is_empty() {
            self.trace("put", Kind::Consumer, begun, batch.len(), put.as_ref().err());
        }
        put
    }

    /// Offers a batch until all of it is taken.
    async fn put(&mut self, batch: &Batch, read: &Read, origin: Option<&[u32]>) -> Result<(), TaskError> {
        let origin_of = |index: usize| origin.map_or(index, |origin| origin[index] as usize);
        let mut start = 0;
        let mut rest: Option<Batch> = None;
        while start < batch.len() {
            // A sink may commit its position within `put`: the letters of what came before have to be there first.
            self.commit_dead_letters().await?;
            let begun = Instant::now();
            let outcome = match self.sink.put(rest.as_ref().unwrap_or(batch)).await {
                Ok(outcome) => outcome,
                Err(failure) => {
                    self.retry.pause(failure).await?;
                    continue;
                }
            };
            self.retry.succeeded();
            let refused = outcome.rejected.len() as u64;
            self.metrics.put(u64::from(outcome.accepted) - refused, begun.elapsed());
            let mut rejected: Vec<_> =
                outcome.rejected.into_iter().map(|error| (Arc::clone(&self.component), error)).collect();
            for (_, error) in &mut rejected {
                error.index = origin_of(start + error.index as usize) as u32;
            }
            rejected.dedup_by_key(|(_, error)| error.index);
            self.reject(read, Stage::TaskPut, rejected).await?;
            let end = start + outcome.accepted as usize;
            let (mut bytes, mut last) = (0, None);
            for (index, record) in batch.iter().enumerate().take(end).skip(start) {
                bytes += record.size_bytes() as u64;
                // The last piece of a record that became several is what counts.
                if (index + 1 == batch.len() || origin_of(index + 1) != origin_of(index))
                    && let (Some(partition), Some(offset)) = (record.partition, record.offset)
                {
                    last = self.took(&read.topic, last, partition, offset);
                }
            }
            self.took_last(&read.topic, last);
            self.pending.add(Counts {
                records: u64::from(outcome.accepted) - refused,
                bytes,
                ..Counts::default()
            });
            start = end;
            if outcome.accepted == 0 {
                // It may be full until it has flushed.
                self.flush().await?;
                self.connector.stopping.clone().sleep(BACK_PRESSURE_PAUSE).await;
            }
            rest = (start > 0 && start < batch.len()).then(|| batch.slice(start..batch.len()));
        }
        Ok(())
    }

    /// Notes a taken record; looks up the place only when the partition changes.
    fn took(
        &mut self,
        topic: &Arc<str>,
        last: Option<(i32, i64)>,
        partition: i32,
        offset: i64,
    ) -> Option<(i32, i64)> {
        if last.is_some_and(|(before, _)| before != partition) {
            self.took_last(topic, last);
        }
        Some((partition, offset))
    }

    fn took_last(&mut self, topic: &Arc<str>, last: Option<(i32, i64)>) {
        if let Some((partition, offset)) = last {
            self.places.took(TopicPartition::new(Arc::clone(topic), partition), offset);
        }
    }

    /// Does with bad records of what was read, rising, what the pipeline says.
    async fn reject(
        &mut self,
        read: &Read,
        stage: Stage,
        rejected: Vec<(Arc<str>, RecordError)>,
    ) -> Result<(), TaskError> {
        let numbers: Vec<u32> = rejected.iter().map(|(_, error)| error.index).collect();
        for (place, record) in read.batch.pick(&numbers) {
            let (component, error) = &rejected[place];
            self.reject_one(&record, read.first(error.index), stage, component, error).await?;
        }
        Ok(())
    }

    async fn reject_one(
        &mut self,
        record: &RecordView<'_>,
        first: Option<&Origin>,
        stage: Stage,
        component: &str,
        error: &RecordError,
    ) -> Result<(), TaskError> {
        let here = (record.partition.unwrap_or(-1), record.offset.unwrap_or(-1));
        // A retried record is known by where it was read first.
        let (topic, partition, offset) = match first {
            None => (&*self.connector.topic, here.0, here.1),
            Some(Origin { place: Some((topic, partition, offset)), .. }) => {
                (topic.as_str(), *partition, *offset)
            }
            Some(_) => (&*self.retry_topic, here.0, here.1),
        };
        let errors = &self.connector.plan.errors;
        if errors.tolerance == Tolerance::None {
            self.metrics.record_error();
            return Err(TaskError::Record {
                connector: self.connector.plan.name.clone(),
                task: self.task,
                place: format!(
                    "topic {topic} partition {partition} offset {offset} ({component}, {})",
                    stage.name()
                ),
                code: error.code.clone(),
                message: error.message.clone(),
            });
        }
        self.metrics.record_skipped();
        let Some(dead_letter_topic) = &errors.dead_letter_topic else {
            self.pending.skipped += 1;
            return Ok(());
        };
        let letter = DeadLetter {
            connector: &self.connector.plan.name,
            task: self.task,
            stage,
            component,
            code: &error.code,
            message: &error.message,
            origin: Some((topic, partition, offset)),
            destination: None,
            retries: first.map_or(0, |first| first.retries),
        };
        let letter = letter.record(&dead_letter_topic.as_str().into(), record);
        self.metrics.dead_letter();
        if let Err(source) = self.send_dead_letter(letter).await {
            self.metrics.dead_letters_failed(1);
            return Err(self.cluster("writing a dead letter", source));
        }
        self.pending.dead_lettered += 1;
        Ok(())
    }

    async fn send_dead_letter(
        &mut self,
        letter: millrace_client::ProduceRecord,
    ) -> Result<(), millrace_client::Error> {
        if !self.has_dead_letters {
            self.producer.begin_transaction()?;
            self.has_dead_letters = true;
            self.next_flush = self.next_flush.min(Instant::now() + DEAD_LETTER_AGE);
        }
        // The commit waits for it, and fails if it does.
        let _delivery = self.producer.send(letter).await?;
        Ok(())
    }

    /// Makes durable what the sink took, and then says so to the group.
    ///
    /// Dead letters go first: a kill in between brings them twice, never not at all.
    async fn flush(&mut self) -> Result<(), TaskError> {
        self.commit_dead_letters().await?;
        let begun = Instant::now();
        let durable = loop {
            match self.sink.flush().await {
                Ok(durable) => break durable,
                Err(failure) => self.retry.pause(failure).await?,
            }
        };
        self.retry.succeeded();
        let mut news = self.places.committable(&durable);
        if Instant::now() >= self.next_reminder {
            self.next_reminder = Instant::now() + REMINDER_EVERY;
            news = self.places.known().into_iter().chain(news).collect();
        }
        self.tell_group(&news, begun).await?;
        let counts = std::mem::take(&mut self.pending);
        self.metrics.durable(&counts);
        self.connector.counters.add(counts);
        self.note_lag();
        self.next_flush = Instant::now() + self.connector.plan.flush_interval;
        Ok(())
    }

    /// Tells the group what a sink has written in its last call: files that were not full, say. Only of a sink whose target holds the
    /// positions, since these are what a start goes by, whatever the group was told.
    async fn closed(&mut self) -> Result<(), TaskError> {
        if self.holds_positions {
            let news = self.places.closed();
            self.tell_group(&news, Instant::now()).await?;
            self.note_lag();
        }
        Ok(())
    }

    async fn tell_group(
        &mut self,
        news: &BTreeMap<TopicPartition, Commit>,
        begun: Instant,
    ) -> Result<(), TaskError> {
        if news.is_empty() {
            return Ok(());
        }
        if let Err(source) = self.commit(news, Vec::new()).await {
            self.metrics.commit_failed();
            return Err(self.cluster("committing its offsets", source));
        }
        self.metrics.committed(begun.elapsed());
        self.places.committed(news);
        self.progressed.store(true, Ordering::Relaxed);
        self.sweep(news).await;
        Ok(())
    }

    async fn commit_dead_letters(&mut self) -> Result<(), TaskError> {
        if std::mem::take(&mut self.has_dead_letters) {
            let written = self.producer.commit_transaction().await;
            written.map_err(|source| self.cluster("writing dead letters", source))?;
        }
        Ok(())
    }

    /// Removes the retried records that are done.
    async fn sweep(&mut self, offsets: &BTreeMap<TopicPartition, Commit>) {
        let retried = offsets.iter().filter(|(tp, _)| *tp.topic == *self.retry_topic);
        let done: BTreeMap<_, _> = retried.map(|(tp, commit)| (tp.clone(), commit.next)).collect();
        if !done.is_empty() {
            inbox::sweep(&self.connector.shared.client, &done).await;
        }
    }

    /// Commits offsets, and what else is to be known with them.
    async fn commit(
        &mut self,
        offsets: &BTreeMap<TopicPartition, Commit>,
        records: Vec<ProduceRecord>,
    ) -> Result<(), millrace_client::Error> {
        let offset = |(tp, commit): (&TopicPartition, &Commit)| {
            (tp.clone(), commit.noted(self.identities.get(&tp.topic).copied()))
        };
        let group = GroupMetadata::outside(&group(&self.connector.plan.name));
        self.producer.begin_transaction()?;
        for record in records {
            let _delivery = self.producer.send(record).await?;
        }
        self.producer.send_offsets_to_transaction(offsets.iter().map(offset).collect(), &group).await?;
        self.producer.commit_transaction().await
    }

    /// Offsets of all partitions now. Of the ends all data counts, also of transactions that are about to end: a source's last one
    /// may be committed and its markers still on their way.
    async fn list_offsets(&mut self, spec: OffsetSpec) -> Result<BTreeMap<TopicPartition, i64>, TaskError> {
        let wanted = self.partitions.iter().map(|tp| (tp.clone(), spec)).collect();
        let admin = Admin::new(&self.connector.shared.client);
        let listed = admin.list_offsets(&wanted, Isolation::ReadUncommitted).await;
        let listed = listed.map_err(|source| self.cluster("looking for the ends of the topic", source))?;
        Ok(listed.into_iter().map(|(tp, listed)| (tp, listed.offset.unwrap_or(0))).collect())
    }

    fn is_drained(&self) -> bool {
        let Some(ends) = &self.ends else { return false };
        self.partitions.iter().all(|tp| {
            let end = ends.get(tp).copied().unwrap_or(0);
            end == 0 || self.consumer.position(tp).is_some_and(|position| position >= end)
        })
    }

    /// Notes positions that moved without records: control records, aborted transactions.
    fn note_positions(&mut self) {
        for tp in &self.partitions {
            if let Some(position) = self.consumer.position(tp) {
                self.places.passed(tp.clone(), position);
            }
        }
    }

    /// What is in the topic and not durable in the target.
    fn note_lag(&self) {
        let lag = self.partitions.iter().map(|tp| {
            let durable = self.places.durable(tp).unwrap_or(0);
            self.consumer.high_watermark(tp).map_or(0, |end| (end - durable).max(0))
        });
        self.connector.counters.set_lag(self.task, lag.clone().sum());
        self.metrics.set_lag_max(lag.max().unwrap_or(0));
    }

    /// Going on at that position would pass over what is before it.
    fn another_topic(&self, tp: &TopicPartition, held: i64) -> TaskError {
        let name = &self.connector.plan.name;
        TaskError::Invalid {
            connector: name.clone(),
            task: self.task,
            message: format!(
                "its target stands at offset {held} of {tp}, but of another topic of that name: this one was made since, or is on another \
                 cluster, and what it holds before would be passed over; to begin anew, remove what the connector wrote together \
                 with its state, or give it another place; if this is a copy with the same offsets, say so by setting the group {} \
                 to {held}",
                group(name)
            ),
        }
    }

    /// Waiting until the topic has grown that far would pass over what is in it now.
    fn past_the_end(&self, tp: &TopicPartition, start: i64, end: i64, held: bool) -> TaskError {
        let name = &self.connector.plan.name;
        let way_out = match held {
            true => "remove what it wrote together with its state, or give it another place".to_owned(),
            false => format!("reset the group {}", group(name)),
        };
        TaskError::Invalid {
            connector: name.clone(),
            task: self.task,
            message: format!(
                "it stands at offset {start} of {tp}, which ends at {end}: the topic is another one, or lost records; \
                 to begin anew, {way_out}"
            ),
        }
    }

    fn cluster(&self, doing: &'static str, source: millrace_client::Error) -> TaskError {
        self.connector.cluster(self.task, doing, source)
    }
}

async fn ended(source_ended: &mut tokio::sync::watch::Receiver<bool>) {
    // An error means that the source's connector is gone, which is an end, too.
    let _ = source_ended.wait_for(|ended| *ended).await;
}

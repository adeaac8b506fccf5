//! The topic: read all the time into the state, written so that what was decided on an old state is never written.
//!
//! A change goes into a transaction of the one transactional id that all registries of a topic share. Whoever starts a producer
//! with it fences the one before, whose next commit fails; it then starts one again, reads on to the end of the log as it is then,
//! and decides anew. So between the end that a decision was made on and its commit nobody else can have written. After the commit
//! the writer waits until its own reader has come past the record.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_client::{
    Admin, Backoff, BackoffConfig, Client, Consumer, ConsumerConfig, Error as ClientError, Isolation,
    NewTopic, OffsetReset, OffsetSpec, Polled, Position, ProduceRecord, Producer, ProducerConfig, Random,
    TopicPartition,
};
use parking_lot::RwLock;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::error::Refused;
use crate::record::Record;
use crate::state::State;
use crate::{Config, Error};

/// How long one wait for records may take.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// Pause before a reader that failed starts again.
const READ_PAUSE: Duration = Duration::from_millis(500);
/// How long the first reading of the topic may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a change may take (Confluent: `kafkastore.timeout.ms`).
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a change is decided anew because another registry wrote in between.
const FENCED_MAX: usize = 10;
/// Pauses before that: of two that write all the time, each would fence the other in the middle of its change.
const FENCED_PAUSE: BackoffConfig =
    BackoffConfig { initial: Duration::from_millis(5), max: Duration::from_millis(500) };

/// Open topic and state.
pub(crate) struct Store {
    client: Client,
    topic: Arc<str>,
    state: Arc<RwLock<State>>,
    /// The next offset that the reader will see.
    position: watch::Receiver<i64>,
    reader: JoinHandle<()>,
    /// Whoever holds it may write; none: no producer that has fenced all others.
    producer: Mutex<Option<Producer>>,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// What a change comes to.
pub(crate) enum Decision<T> {
    /// It is so already.
    Already(T),
    /// To be written.
    Write(Vec<Record>, T),
}

impl Store {
    /// Makes the topic if it is not there, and reads it.
    pub(crate) async fn open(config: &Config, client: &Client) -> Result<Self, Error> {
        let topic: Arc<str> = config.topic.as_str().into();
        let failed = |source| Error::Topic { topic: config.topic.clone(), source };
        let admin = Admin::new(client);
        let wanted = NewTopic {
            name: config.topic.clone(),
            partitions: 1,
            replication_factor: config.replication_factor,
            configs: BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]),
        };
        admin.ensure_topics(&[wanted]).await.map_err(failed)?;
        let found = admin.describe_topics(&[&config.topic]).await.map_err(failed)?;
        let partitions = found.get(config.topic.as_str()).map_or(0, |info| info.partitions.len());
        if partitions != 1 {
            return Err(Error::Partitions { topic: config.topic.clone(), partitions });
        }
        let state = Arc::new(RwLock::new(State::default()));
        let (moved, position) = watch::channel(0);
        let reader = tokio::spawn(read(client.clone(), Arc::clone(&topic), Arc::clone(&state), moved));
        let store =
            Self { client: client.clone(), topic, state, position, reader, producer: Mutex::new(None) };
        store.read_to_end(LOAD_TIMEOUT).await.map_err(failed)?;
        Ok(store)
    }

    /// The state now.
    pub(crate) fn state(&self) -> parking_lot::RwLockReadGuard<'_, State> {
        self.state.read()
    }

    /// Decides on the newest state and writes what was decided. `decide` may be called several times.
    pub(crate) async fn change<T, F>(&self, mut decide: impl FnMut() -> F) -> Result<T, Refused>
    where
        F: Future<Output = Result<Decision<T>, Refused>>,
    {
        let mut slot = self.producer.lock().await;
        let mut backoff = Backoff::new(FENCED_PAUSE, Random::new(RandomState::new().build_hasher().finish()));
        for _ in 0..FENCED_MAX {
            let producer = match slot.take() {
                Some(producer) => producer,
                None => self.take_over().await?,
            };
            let (records, outcome) = match decide().await {
                Ok(Decision::Write(records, outcome)) => (records, outcome),
                other => {
                    // Nothing was begun: it still fences all others.
                    *slot = Some(producer);
                    return other.map(|decision| match decision {
                        Decision::Already(outcome) | Decision::Write(_, outcome) => outcome,
                    });
                }
            };
            match timeout(CHANGE_TIMEOUT, self.write(&producer, records)).await {
                Ok(Ok(offset)) => {
                    // The next change must not be decided before the state holds this one.
                    self.read_back(offset).await?;
                    *slot = Some(producer);
                    return Ok(outcome);
                }
                Ok(Err(error)) if error.is_fenced() => {
                    tracing::info!(topic = %self.topic, "another schema registry wrote to the topic; deciding anew");
                    backoff.pause().await;
                }
                // A new producer will end what this one left open.
                Ok(Err(error)) => return Err(Refused::store(error)),
                Err(_) => return Err(Refused::timeout()),
            }
        }
        Err(Refused::store("other schema registries write to the topic all the time"))
    }

    /// A producer that has fenced all others, with a state that holds all they wrote.
    async fn take_over(&self) -> Result<Producer, Refused> {
        let config = ProducerConfig {
            transactional_id: Some(format!("schema-registry-{}", self.topic)),
            linger: Duration::ZERO,
            delivery_timeout: CHANGE_TIMEOUT,
            max_block: CHANGE_TIMEOUT,
            ..ProducerConfig::default()
        };
        let start = async {
            let producer = Producer::start(&self.client, config).await?;
            producer.init_transactions().await?;
            self.read_to_end(CHANGE_TIMEOUT).await?;
            Ok::<_, ClientError>(producer)
        };
        match timeout(CHANGE_TIMEOUT, start).await {
            Ok(started) => started.map_err(Refused::store),
            Err(_) => Err(Refused::timeout()),
        }
    }

    /// All records or none; the offset of the last.
    async fn write(&self, producer: &Producer, records: Vec<Record>) -> Result<i64, ClientError> {
        producer.begin_transaction()?;
        let mut deliveries = Vec::with_capacity(records.len());
        for record in records {
            let record = ProduceRecord {
                topic: Arc::clone(&self.topic),
                partition: Some(0),
                key: Some(Bytes::from(record.key.to_bytes())),
                value: record.value.map(Bytes::from),
                ..ProduceRecord::default()
            };
            deliveries.push(producer.send(record).await?);
        }
        producer.flush().await?;
        let mut last = 0;
        for delivery in deliveries {
            last = delivery.wait().await?.offset;
        }
        producer.commit_transaction().await?;
        Ok(last)
    }

    async fn read_back(&self, offset: i64) -> Result<(), Refused> {
        let mut position = self.position.clone();
        let seen = position.wait_for(|position| *position > offset);
        match timeout(CHANGE_TIMEOUT, seen).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Refused::timeout()),
        }
    }

    /// Waits until the reader is at the end of the log as it is now, open transactions included.
    async fn read_to_end(&self, limit: Duration) -> Result<(), ClientError> {
        let tp = TopicPartition::new(Arc::clone(&self.topic), 0);
        let wanted = BTreeMap::from([(tp.clone(), OffsetSpec::Latest)]);
        let ends = Admin::new(&self.client).list_offsets(&wanted, Isolation::ReadUncommitted).await?;
        let end = ends.get(&tp).and_then(|end| end.offset).unwrap_or(0);
        let mut position = self.position.clone();
        let seen = position.wait_for(|position| *position >= end);
        match timeout(limit, seen).await {
            Ok(Ok(_)) => Ok(()),
            _ => {
                let what = format!("reading {tp} up to offset {end}");
                Err(ClientError::Timeout { what, after_ms: limit.as_millis() })
            }
        }
    }
}

/// Reads committed records into the state for ever; after an error from where it stood.
async fn read(client: Client, topic: Arc<str>, state: Arc<RwLock<State>>, moved: watch::Sender<i64>) {
    loop {
        let Err(error) = read_on(&client, &topic, &state, &moved).await;
        tracing::warn!(%topic, %error, "schema registry: reading the topic failed; it is tried again");
        sleep(READ_PAUSE).await;
    }
}

async fn read_on(
    client: &Client,
    topic: &Arc<str>,
    state: &RwLock<State>,
    moved: &watch::Sender<i64>,
) -> Result<std::convert::Infallible, ClientError> {
    let config = ConsumerConfig {
        isolation: Isolation::ReadCommitted,
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::default()
    };
    let tp = TopicPartition::new(Arc::clone(topic), 0);
    let mut consumer = Consumer::start(client, config).await?;
    let from = match *moved.borrow() {
        0 => Position::Earliest,
        offset => Position::Offset(offset),
    };
    consumer.assign(BTreeMap::from([(tp.clone(), from)]))?;
    loop {
        if let Polled::Records(fetched) = consumer.poll(POLL_WAIT).await? {
            for fetched in &fetched {
                let mut state = state.write();
                fetched.for_each(|record| state.apply(record.key.unwrap_or_default(), record.value))?;
            }
        }
        if let Some(position) = consumer.position(&tp) {
            moved.send_if_modified(|before| std::mem::replace(before, position) != position);
        }
    }
}

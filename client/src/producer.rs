//! The producer: always idempotent (KIP-98), in transactions if it has a transactional id.
//!
//! ```text
//! send(record) ──> accumulator: one queue of batches per partition, memory bounded by buffer.memory
//!                       │ full, lingered long enough, or flushed
//!                  sender task: gives each batch its sequence number, groups batches by leader
//!                       │ at most max.in.flight batches per partition
//!                  lane per broker: keeps the order on the connection
//!                       │
//!                  Produce response ──> done, sent again in order, or given up ──> Delivery
//! ```
//!
//! Invariants:
//! - Records of a partition are in the log in the order they were sent, each once, or their [`Delivery`] is an error.
//! - A batch whose fate is unknown is only ever sent again under the sequence number it had; if that is impossible it
//!   fails as [`Error::InDoubt`].
//! - After an error in a transaction nothing more is sent until it is aborted.

mod accumulator;
mod config;
mod delivery;
mod handle;
mod lane;
mod request;
mod sender;
mod transaction;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use millrace_wire::ids::{ProducerEpoch, ProducerId};
use millrace_wire::record::{BatchBuilder, record_size};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use self::accumulator::Accumulator;
pub use self::config::ProducerConfig;
pub use self::delivery::{Delivery, RecordMetadata};
use self::handle::StopOnDrop;
use self::transaction::Transactions;
use crate::backoff::{Random, within};
use crate::client::Client;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::offsets::{GroupMetadata, OffsetAndMetadata};
use crate::partitioner::partition_for_key;
use crate::topic::TopicPartition;

/// A record to be sent.
#[derive(Debug, Clone, Default)]
pub struct ProduceRecord {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition; by the key's hash, or a random one per batch without a key, if `None`.
    pub partition: Option<i32>,
    /// Key, or null.
    pub key: Option<Bytes>,
    /// Value, or null.
    pub value: Option<Bytes>,
    /// Headers in order; names may repeat.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// Milliseconds since 1970; now if `None`.
    pub timestamp: Option<i64>,
}

/// Sends records. Cheap to clone; the last handle that goes ends it, and what was not sent by then fails.
#[derive(Debug, Clone)]
pub struct Producer {
    shared: Arc<Shared>,
    _stop: Arc<StopOnDrop>,
}

/// What handles and the sender task share.
#[derive(Debug)]
struct Shared {
    config: ProducerConfig,
    cluster: Arc<Cluster>,
    accumulator: Mutex<Accumulator>,
    /// Bytes of `buffer.memory` that are free.
    memory: Semaphore,
    /// Wakes the sender.
    wake: Notify,
    transactions: Option<Transactions>,
    sticky: Mutex<Sticky>,
}

/// Where records without a key go for now.
#[derive(Debug)]
struct Sticky {
    random: Random,
    /// Topic to partition and the bytes that went there.
    current: BTreeMap<Arc<str>, (i32, usize)>,
}

impl Producer {
    /// Starts a producer. Nothing is sent yet; a transactional one must call [`Self::init_transactions`] first.
    pub async fn start(client: &Client, config: ProducerConfig) -> Result<Self> {
        config.check()?;
        let cluster = Arc::new(client.cluster());
        let transactions = config
            .transactional_id
            .as_ref()
            .map(|id| Transactions::new(cluster.clone(), id, config.transaction_timeout));
        let shared = Arc::new(Shared {
            accumulator: Mutex::new(Accumulator::new(&config)),
            memory: Semaphore::new(config.buffer_memory),
            wake: Notify::new(),
            transactions,
            sticky: Mutex::new(Sticky { random: cluster.random(), current: BTreeMap::new() }),
            cluster,
            config,
        });
        tokio::spawn(sender::run(shared.clone()));
        Ok(Self { _stop: Arc::new(StopOnDrop(shared.clone())), shared })
    }

    /// Queues a record. Waits only for the topic's metadata and for room in `buffer.memory`, at most `max.block.ms`; the
    /// returned [`Delivery`] says when the record is in the log.
    pub async fn send(&self, record: ProduceRecord) -> Result<Delivery> {
        self.shared.check_can_send()?;
        let count = self.partition_count(&record.topic).await?;
        let headers = record.headers.iter().map(|(name, value)| (&name[..], value.as_deref()));
        let size = record_size(record.key.as_deref(), record.value.as_deref(), headers.clone());
        let partition = self.shared.partition_of(&record, count, size)?;
        self.shared.reserve(&record.topic, size).await?;
        let tp = TopicPartition { topic: record.topic.clone(), partition };
        let timestamp = record.timestamp.unwrap_or_else(now_ms);
        let mut accumulator = self.shared.accumulator.lock();
        let pushed = self.shared.check_can_send().and_then(|()| {
            accumulator.push(tp, size, |batch| {
                batch.push(timestamp, record.key.as_deref(), record.value.as_deref(), headers.clone())
            })
        });
        match pushed {
            Ok((delivery, wake)) => {
                drop(accumulator);
                if wake {
                    self.shared.wake.notify_one();
                }
                Ok(delivery.at(timestamp))
            }
            Err(error) => {
                drop(accumulator);
                self.shared.memory.add_permits(size);
                Err(error)
            }
        }
    }

    /// Queues a whole batch behind what was sent to the partition before; it is sent as it is, without waiting for
    /// `linger.ms`. The batch's own producer stamp is replaced. The [`Delivery`] gives the first record's offset.
    pub async fn send_batch(&self, topic: &str, partition: i32, batch: BatchBuilder) -> Result<Delivery> {
        self.shared.check_can_send()?;
        if batch.is_empty() {
            return Err(Error::State { call: "sending a batch", reason: "it has no records".to_owned() });
        }
        let count = self.partition_count(topic).await?;
        if !(0..count).contains(&partition) {
            return Err(Error::NoSuchPartition { topic: topic.to_owned(), partition, count: count as usize });
        }
        let size = batch.size_bytes();
        self.shared.reserve(topic, size).await?;
        let mut accumulator = self.shared.accumulator.lock();
        let queued = self
            .shared
            .check_can_send()
            .and_then(|()| accumulator.push_batch(TopicPartition::new(topic, partition), batch, size));
        drop(accumulator);
        match queued {
            Ok(delivery) => {
                self.shared.wake.notify_one();
                Ok(delivery)
            }
            Err(error) => {
                self.shared.memory.add_permits(size);
                Err(error)
            }
        }
    }

    /// Number of partitions of a topic, fetched if it is not known yet.
    pub async fn partition_count(&self, topic: &str) -> Result<i32> {
        let cluster = &self.shared.cluster;
        if let Some(info) = cluster.metadata().topics.get(topic)
            && info.error.is_none()
            && !info.partitions.is_empty()
        {
            return Ok(info.partitions.len() as i32);
        }
        let what = || format!("waiting for metadata of topic {topic}");
        let info = within(self.shared.config.max_block, what, cluster.topic(topic)).await?;
        Ok(info.partitions.len() as i32)
    }

    /// Sends what is queued without lingering, and waits until all of it was answered. Says the first error.
    pub async fn flush(&self) -> Result<()> {
        let waiting = self.shared.accumulator.lock().flush();
        self.shared.wake.notify_one();
        let mut first_error = Ok(());
        for batch in waiting {
            if let Err(error) = batch.wait().await
                && first_error.is_ok()
            {
                first_error = Err(error);
            }
        }
        first_error
    }

    /// Registers the transactional id: fences older producers that use it and ends what they left open. Gives the id and
    /// epoch that the cluster assigned; a later call for the same transactional id gets a higher one.
    pub async fn init_transactions(&self) -> Result<(ProducerId, ProducerEpoch)> {
        let identity = self.transactions()?.init().await?;
        self.shared.accumulator.lock().start_identity(identity);
        Ok(identity)
    }

    /// Begins a transaction; costs nothing, brokers hear of it with the first record.
    pub fn begin_transaction(&self) -> Result<()> {
        self.transactions()?.begin()
    }

    /// Waits for all records of the transaction and commits it. If anything failed, nothing is committed and the error
    /// says what to do ([`Error::needs_abort`], [`Error::is_fatal`]).
    pub async fn commit_transaction(&self) -> Result<()> {
        let transactions = self.transactions()?;
        transactions.check_open("committing")?;
        // A failed batch puts the transaction into an error state, which `commit` looks at.
        let _ = self.flush().await;
        self.shared.settle();
        if let Some(identity) = transactions.commit().await? {
            self.shared.accumulator.lock().start_identity(identity);
        }
        Ok(())
    }

    /// Gives up what has not been sent, waits for the rest and aborts the transaction.
    pub async fn abort_transaction(&self) -> Result<()> {
        let transactions = self.transactions()?;
        transactions.begin_abort()?;
        self.shared
            .fail_unsent(&Error::State { call: "sending", reason: "the transaction was aborted".to_owned() });
        let _ = self.flush().await;
        self.shared.settle();
        let is_spent = self.shared.accumulator.lock().is_spent();
        if let Some(stamp) = transactions.abort(is_spent).await? {
            self.shared.accumulator.lock().start_identity(stamp);
        }
        Ok(())
    }

    /// Makes a consumer group's offsets part of the transaction (KIP-447).
    pub async fn send_offsets_to_transaction(
        &self,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
        group: &GroupMetadata,
    ) -> Result<()> {
        let transactions = self.transactions()?;
        transactions.check_open("sending offsets")?;
        transactions.send_offsets(offsets, group).await
    }

    /// Flushes for at most `limit` and ends the producer.
    pub async fn close(self, limit: Duration) -> Result<()> {
        let flushed = within(limit, || "flushing the producer".to_owned(), self.flush()).await;
        self.shared.stop();
        flushed
    }

    fn transactions(&self) -> Result<&Transactions> {
        self.shared.transactions.as_ref().ok_or_else(|| Error::State {
            call: "a transaction",
            reason: "the producer has no transactional.id".to_owned(),
        })
    }
}

impl Shared {
    /// Asked before anything is waited for, and again under the accumulator's lock: a batch that is queued after its transaction failed
    /// would neither be sent nor given up, and whoever flushes would wait for it for ever.
    fn check_can_send(&self) -> Result<()> {
        match &self.transactions {
            Some(transactions) => transactions.check_open("sending"),
            None => Ok(()),
        }
    }

    /// Takes `size` bytes of `buffer.memory`; whoever finishes the batch gives them back.
    async fn reserve(&self, topic: &str, size: usize) -> Result<()> {
        let limit = self.config.max_request_size.min(self.config.buffer_memory);
        if size > limit {
            return Err(Error::RecordTooLarge { topic: topic.to_owned(), size, limit });
        }
        // Checked: below the request limit, which is below 2 GiB.
        let permits = size as u32;
        if let Ok(permit) = self.memory.try_acquire_many(permits) {
            permit.forget();
            return Ok(());
        }
        let started = Instant::now();
        // What lingers holds the memory that is waited for.
        self.accumulator.lock().hurry();
        self.wake.notify_one();
        let acquired = tokio::time::timeout(self.config.max_block, self.memory.acquire_many(permits)).await;
        match acquired {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(())
            }
            Ok(Err(_)) => Err(Error::Closed("producer")),
            Err(_) => Err(Error::Timeout {
                what: format!("waiting for {size} bytes of buffer.memory"),
                after_ms: started.elapsed().as_millis(),
            }),
        }
    }

    fn partition_of(&self, record: &ProduceRecord, count: i32, size: usize) -> Result<i32> {
        match (record.partition, &record.key) {
            (Some(partition), _) if (0..count).contains(&partition) => Ok(partition),
            (Some(partition), _) => Err(Error::NoSuchPartition {
                topic: record.topic.to_string(),
                partition,
                count: count as usize,
            }),
            (None, Some(key)) => Ok(partition_for_key(key, count)),
            (None, None) => {
                Ok(self.sticky.lock().partition(&record.topic, count, size, self.config.batch_size))
            }
        }
    }

    /// Fails every batch that is not on its way. The transaction, if there is one, must know why already.
    fn fail_unsent(&self, error: &Error) {
        let freed = {
            let mut accumulator = self.accumulator.lock();
            let freed = accumulator.fail_unsent(error);
            accumulator.take_failures();
            freed
        };
        self.memory.add_permits(freed);
    }

    /// Gives memory back and lets the transaction know of failures.
    fn settle(&self) {
        let (failure, freed) = {
            let mut accumulator = self.accumulator.lock();
            let failure = accumulator.take_failures().into_iter().next();
            // Under the lock: a commit that finds no failure here must not miss one that is about to be told.
            if let (Some(transactions), Some(error)) = (&self.transactions, &failure) {
                transactions.fail(error);
            }
            (failure, accumulator.take_freed())
        };
        self.memory.add_permits(freed);
        if let (Some(_), Some(error)) = (&self.transactions, failure) {
            self.fail_unsent(&error);
        }
    }

    fn stop(&self) {
        self.accumulator.lock().close();
        self.memory.close();
        self.wake.notify_one();
    }
}

impl Sticky {
    /// Stays until a batch's worth of bytes went to a partition, then picks another at random.
    fn partition(&mut self, topic: &Arc<str>, count: i32, size: usize, batch_size: usize) -> i32 {
        let random = &mut self.random;
        let mut pick = || random.below(count as u64) as i32;
        let (partition, bytes) = match self.current.get_mut(topic) {
            Some(entry) => entry,
            None => self.current.entry(topic.clone()).or_insert_with(|| (pick(), 0)),
        };
        if *bytes >= batch_size || *partition >= count {
            (*partition, *bytes) = (pick(), 0);
        }
        *bytes += size;
        *partition
    }
}

/// The only look at the calendar: a record's timestamp when the caller gives none.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

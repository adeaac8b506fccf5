//! The group and transaction coordinators' place in the broker, and what the two have in common.
//!
//! A coordinator is a state machine over one partition of an internal topic: events come in, effects go out, and
//! everything it must remember is a keyed record in that partition. Rooms:
//! - [`machine`]: what a state machine must be to be run here; [`shard`]: the task that runs one; [`shards`]: all of a kind;
//! - [`batch`], [`codec`]: batches of the internal topics, and the bytes of Kafka's coordinator records;
//! - [`timers`]: deadlines by key, without a clock;
//! - [`partitioner`]: which partition of the internal topic a key belongs to.

pub(crate) mod batch;
pub(crate) mod codec;
pub(crate) mod machine;
pub(crate) mod partitioner;
pub(crate) mod shard;
pub(crate) mod shards;
pub(crate) mod timers;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use self::shard::Handle;
use self::shards::Shards;
use crate::api::{RequestContext, fenced_code};
use crate::config::Config;
use crate::config::group::Limits;
use crate::config::setting::items;
use crate::group::config::Migration;
use crate::group::consumer::assignor::Assignor;
use crate::internal_topic::InternalTopic;
use crate::shared::Shared;
use crate::{group, transaction};

/// Both coordinators.
pub(crate) struct Coordinators {
    /// Groups, by partition of `__consumer_offsets`.
    pub(crate) groups: Shards<group::coordinator::Coordinator>,
    /// Transactions, by partition of `__transaction_state`.
    pub(crate) transactions: Shards<transaction::coordinator::Coordinator>,
}

impl Coordinators {
    /// Reads their settings.
    pub(crate) fn new(config: &Config) -> Self {
        let groups = group::Config {
            group_min_session_timeout_ms: config.int("group.min.session.timeout.ms"),
            group_max_session_timeout_ms: config.int("group.max.session.timeout.ms"),
            group_initial_rebalance_delay_ms: config.int("group.initial.rebalance.delay.ms"),
            group_max_size: config.int("group.max.size"),
            group_consumer_limits: Limits::of(config),
            group_consumer_max_size: config.int("group.consumer.max.size"),
            group_consumer_assignors: items(&config.current("group.consumer.assignors"))
                .filter_map(Assignor::named)
                .collect(),
            group_consumer_migration_policy: Migration::named(
                &config.current("group.consumer.migration.policy"),
            ),
            offset_metadata_max_bytes: config.int("offset.metadata.max.bytes"),
            offsets_retention_minutes: config.int("offsets.retention.minutes"),
            offsets_retention_check_interval_ms: config.long("offsets.retention.check.interval.ms"),
        };
        let cleanup = "transaction.remove.expired.transaction.cleanup.interval.ms";
        let transactions = transaction::Config {
            transaction_max_timeout_ms: config.int("transaction.max.timeout.ms"),
            transactional_id_expiration_ms: config.long("transactional.id.expiration.ms"),
            transaction_remove_expired_transaction_cleanup_interval_ms: config.long(cleanup),
        };
        Self {
            groups: Shards::new(move || group::coordinator::Coordinator::new(groups.clone())),
            transactions: Shards::new(move || {
                transaction::coordinator::Coordinator::new(transactions.clone())
            }),
        }
    }

    /// Called before the listener opens.
    pub(crate) async fn start(&self, shared: &Arc<Shared>) {
        self.groups.start(shared);
        self.transactions.start(shared);
    }

    /// Returns once every coordinator that was started has read its partition.
    pub(crate) async fn loaded(&self) {
        self.groups.loaded().await;
        self.transactions.loaded().await;
    }

    /// Called when the broker stops, after the last connection has ended: what was accepted is written.
    pub(crate) async fn stop(&self) {
        self.transactions.stop().await;
        self.groups.stop().await;
    }

    /// Ends everything where it stands, as a kill would.
    pub(crate) fn abort(&self) {
        self.transactions.abort();
        self.groups.abort();
    }

    /// The coordinator of a group.
    ///
    /// # Errors
    /// It is not here.
    pub(crate) async fn group(
        &self,
        shared: &Arc<Shared>,
        id: &str,
    ) -> Result<Handle<group::coordinator::Coordinator>, ResponseError> {
        self.groups.of(shared, id).await
    }

    /// The coordinator of a transactional id.
    ///
    /// # Errors
    /// It is not here.
    pub(crate) async fn transaction(
        &self,
        shared: &Arc<Shared>,
        id: &str,
    ) -> Result<Handle<transaction::coordinator::Coordinator>, ResponseError> {
        self.transactions.of(shared, id).await
    }

    /// InitProducerId with a transactional id. Before version 4 a fenced producer is told INVALID_PRODUCER_EPOCH.
    pub(crate) async fn init_producer_id(
        &self,
        ctx: &RequestContext,
        request: InitProducerIdRequest,
    ) -> InitProducerIdResponse {
        match self.init(ctx, request).await {
            Ok(producer) => InitProducerIdResponse::default()
                .with_producer_id(ProducerId(producer.id))
                .with_producer_epoch(producer.epoch),
            Err(error) => InitProducerIdResponse::default()
                .with_error_code(fenced_code(Err(error), ctx.version >= 4))
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        }
    }

    async fn init(
        &self,
        ctx: &RequestContext,
        request: InitProducerIdRequest,
    ) -> Result<Producer, ResponseError> {
        let id = request.transactional_id.map(|id| id.to_string()).unwrap_or_default();
        let expected = match (request.producer_id.0, request.producer_epoch) {
            (-1, -1) => None,
            (-1, _) | (_, -1) => return Err(ResponseError::InvalidRequest),
            (id, epoch) => Some(Producer { id, epoch }),
        };
        let shard = self.transaction(&ctx.broker, &id).await?;
        let init = transaction::event::Init {
            transactional_id: id,
            timeout_ms: request.transaction_timeout_ms,
            expected,
            fresh_producer_id: None,
        };
        match shard.ask(move |token| transaction::event::Event::Init(token, init)).await? {
            transaction::event::Reply::Init(result) => result,
            _ => Err(ResponseError::UnknownServerError),
        }
    }

    /// Adds partitions to a transaction.
    ///
    /// # Errors
    /// The coordinator refuses, or is not here.
    pub(crate) async fn add_partitions(
        &self,
        shared: &Arc<Shared>,
        add: transaction::event::AddPartitions,
    ) -> Result<(), ResponseError> {
        let shard = self.transaction(shared, &add.transactional_id).await?;
        match shard.ask(move |token| transaction::event::Event::AddPartitions(token, add)).await? {
            transaction::event::Reply::Done(result) => result,
            _ => Err(ResponseError::UnknownServerError),
        }
    }

    /// Makes sure that partitions which are about to be written to are part of a transaction (KIP-890): by the second
    /// protocol they are added, by the first they must have been, unless that is not to be verified. Says which are not.
    ///
    /// # Errors
    /// The coordinator refuses, or is not here.
    pub(crate) async fn admit(
        &self,
        shared: &Arc<Shared>,
        write: transaction::event::AddPartitions,
    ) -> Result<Vec<TopicPartition>, ResponseError> {
        if write.protocol == transaction::state::Protocol::Second {
            return self.add_partitions(shared, write).await.map(|()| Vec::new());
        }
        if !shared.config.boolean("transaction.partition.verification.enable") {
            return Ok(Vec::new());
        }
        self.missing(shared, write).await
    }

    /// The partitions that are not part of a producer's transaction.
    ///
    /// # Errors
    /// The coordinator refuses, or is not here.
    pub(crate) async fn missing(
        &self,
        shared: &Arc<Shared>,
        asked: transaction::event::AddPartitions,
    ) -> Result<Vec<TopicPartition>, ResponseError> {
        let shard = self.transaction(shared, &asked.transactional_id).await?;
        shard.look(move |coordinator| coordinator.missing(&asked)).await?
    }

    /// Ends the coordinator of a partition whose log has failed.
    pub(crate) async fn end(&self, topic: InternalTopic, partition: i32) {
        match topic {
            InternalTopic::ConsumerOffsets => self.groups.end(partition).await,
            InternalTopic::TransactionState => self.transactions.end(partition).await,
        }
    }

    /// Starts one again, now that the log is back.
    pub(crate) fn start_again(&self, shared: &Arc<Shared>, topic: InternalTopic, partition: i32) {
        // If the log has failed again meanwhile, it is started after the next try.
        let _ = match topic {
            InternalTopic::ConsumerOffsets => self.groups.at(shared, partition).map(drop),
            InternalTopic::TransactionState => self.transactions.at(shared, partition).map(drop),
        };
    }

    /// These topics are gone: their committed offsets go as well, soon.
    pub(crate) fn topics_deleted(&self, names: &[String]) {
        let (shards, names) = (self.groups.all(), names.to_vec());
        tokio::spawn(async move {
            for shard in shards {
                shard.tell(group::event::Event::TopicsDeleted(names.clone())).await;
            }
        });
    }
}

/// Names the request that a reply belongs to. The service makes them; the state machine hands them back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token(pub(crate) u64);

/// Names one append to the internal topic until the disk has answered. The state machine makes them, counting up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WriteId(pub(crate) u64);

/// A partition of any topic, ordered by name and then number: the order in which replies list them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TopicPartition {
    /// The topic's name.
    pub(crate) topic: String,
    /// The partition's number, from 0.
    pub(crate) partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub(crate) fn new(topic: impl Into<String>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A record of an internal topic: a new value for a key, or its tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyValue {
    /// The encoded key, which begins with its format's version.
    pub(crate) key: Bytes,
    /// The encoded value; `None` is a tombstone.
    pub(crate) value: Option<Bytes>,
}

/// A producer id with its epoch: who writes inside a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Producer {
    /// The id, given out once per transactional id.
    pub(crate) id: i64,
    /// The epoch; a higher one fences all lower ones.
    pub(crate) epoch: i16,
}

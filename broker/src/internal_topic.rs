//! What the coordinators need of the broker: their topics' partitions, durable appends to them, replay, transaction
//! markers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use millrace_log::{AppendError, AppendOrigin};
use millrace_wire::batch::{RawBatch, split};
use millrace_wire::ids::{Offset, ProducerEpoch, ProducerId};
use millrace_wire::record::{ControlKind, control_batch};

use crate::controller::topic_name::{CONSUMER_OFFSETS, TRANSACTION_STATE};
use crate::controller::{Command, NewTopic};
use crate::replica::{Error, Partition, Ticket, Write};
use crate::shared::Shared;

/// Bytes of log read at a time while it is replayed.
const REPLAY_BYTES: usize = 1 << 20;

/// A topic that the broker itself writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InternalTopic {
    /// `__consumer_offsets`: groups and their offsets.
    ConsumerOffsets,
    /// `__transaction_state`: transactional ids and their transactions.
    TransactionState,
}

impl InternalTopic {
    /// The internal topic of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::ConsumerOffsets, Self::TransactionState].into_iter().find(|topic| topic.name() == name)
    }

    /// The topic's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ConsumerOffsets => CONSUMER_OFFSETS,
            Self::TransactionState => TRANSACTION_STATE,
        }
    }

    /// The common beginning of its settings' names.
    fn prefix(self) -> &'static str {
        match self {
            Self::ConsumerOffsets => "offsets.topic",
            Self::TransactionState => "transaction.state.log",
        }
    }
}

impl Shared {
    /// How many partitions the topic has, or will have once it is created.
    pub(crate) fn internal_partitions(&self, topic: InternalTopic) -> i32 {
        match self.image().topic(topic.name()) {
            Some(found) => found.partitions.len() as i32,
            None => self.config.int(&format!("{}.num.partitions", topic.prefix())),
        }
    }

    /// Creates the topic unless it is there.
    ///
    /// # Errors
    /// It can't be created; the coordinator is not available then.
    pub(crate) async fn ensure_internal(&self, topic: InternalTopic) -> Result<(), ResponseError> {
        if self.image().topic(topic.name()).is_some() {
            return Ok(());
        }
        let setting = |name: &str| format!("{}.{name}", topic.prefix());
        let mut configs = BTreeMap::from([
            ("cleanup.policy".to_owned(), "compact".to_owned()),
            ("compression.type".to_owned(), "producer".to_owned()),
            ("segment.bytes".to_owned(), self.config.string(&setting("segment.bytes")).to_owned()),
        ]);
        if topic == InternalTopic::TransactionState {
            let min_isr = self.config.string(&setting("min.isr")).to_owned();
            configs.insert("min.insync.replicas".to_owned(), min_isr);
            configs.insert("unclean.leader.election.enable".to_owned(), "false".to_owned());
        }
        let new = NewTopic {
            name: topic.name().to_owned(),
            id: self.env.random.uuid(),
            partitions: self.config.int(&setting("num.partitions")),
            replication_factor: self.config.int(&setting("replication.factor")),
            configs,
            directory: self.replicas.directory_id(),
            ..NewTopic::default()
        };
        match self.controller.run_one(Command::CreateTopic(new)).await {
            Err(refusal) if refusal.error != ResponseError::TopicAlreadyExists => {
                tracing::warn!(topic = topic.name(), error = %refusal, "an internal topic cannot be created");
                Err(ResponseError::CoordinatorNotAvailable)
            }
            _ => Ok(()),
        }
    }

    /// Whether this node leads the partition and can write to it.
    pub(crate) fn has_partition(&self, topic: &str, partition: i32) -> bool {
        self.replicas.partition(topic, partition).is_ok_and(|partition| partition.check_usable().is_ok())
    }

    /// Appends batches (of base offset 0) to an internal topic, in their order, and waits for the disk once. When it returns,
    /// those that were not refused are durable and visible; a batch that could not even be built hands its error on.
    pub(crate) async fn append_internal(
        &self,
        topic: InternalTopic,
        partition: i32,
        batches: Vec<Result<Bytes, ResponseError>>,
    ) -> Vec<Result<(), ResponseError>> {
        let partition = match self.replicas.partition(topic.name(), partition) {
            Ok(partition) => partition,
            Err(error) => return batches.iter().map(|_| Err(error.response())).collect(),
        };
        let append = |batch: Result<Bytes, ResponseError>| {
            let batch = RawBatch::parse(&batch?).map_err(|_| ResponseError::CorruptMessage)?;
            Ok(partition.append(coordinator(batch)))
        };
        // All are in the log, or in its queue, before the first is waited for.
        let tickets: Vec<Result<Ticket, ResponseError>> = batches.into_iter().map(append).collect();
        let mut results = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            results.push(match ticket {
                Ok(ticket) => durable(&partition, ticket).await.map_err(|error| error.response()),
                Err(error) => Err(error),
            });
        }
        results
    }

    /// Shows `visit` every batch of an internal topic's partition, in the log's order, control batches too.
    ///
    /// # Errors
    /// The partition is not here or can't be read.
    pub(crate) async fn replay_internal<F>(
        &self,
        topic: InternalTopic,
        partition: i32,
        mut visit: F,
    ) -> Result<F, Error>
    where
        F: FnMut(RawBatch) + Send + 'static,
    {
        let partition = self.replicas.partition(topic.name(), partition)?;
        let work = move || {
            let log = partition.log();
            let (mut from, end) = (log.start_offset(), partition.high_watermark());
            while from < end {
                let before = from;
                for part in log.read(from, REPLAY_BYTES, end, true)?.parts {
                    for batch in split(part) {
                        // Whoever leaves a damaged batch out has lost what it said, and what others build on that.
                        let batch = batch.map_err(|error| damaged(from, &error))?;
                        batch.verify_crc().map_err(|error| damaged(from, &error))?;
                        from = batch.next_offset();
                        visit(batch);
                    }
                }
                if from == before {
                    break;
                }
            }
            Ok(visit)
        };
        crate::blocking::run(self.replicas.simulated(), work).await
    }

    /// Ends a producer's transaction in one partition: appends the marker. When it returns, the marker is durable.
    ///
    /// # Errors
    /// The partition is not here, or its log refuses; the wire's code.
    pub(crate) async fn write_marker(
        &self,
        topic: &str,
        partition: i32,
        kind: ControlKind,
        coordinator_epoch: i32,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
    ) -> Result<(), ResponseError> {
        let partition = self.replicas.partition(topic, partition).map_err(|error| error.response())?;
        let marker = control_batch(kind, coordinator_epoch, producer_id, producer_epoch, self.now_ms());
        let batch = RawBatch::parse(&marker).map_err(|_| ResponseError::CorruptMessage)?;
        durable(&partition, partition.append(coordinator(batch))).await.map_err(|error| error.response())
    }
}

fn damaged(at: Offset, error: &millrace_wire::batch::Error) -> Error {
    AppendError::Corrupt(format!(
        "the batch after offset {at} is damaged: {error}; restore the partition's files"
    ))
    .into()
}

fn coordinator(batch: RawBatch) -> Write {
    Write { batch, origin: AppendOrigin::Coordinator }
}

/// Waits until what was appended is on disk.
async fn durable(partition: &Arc<Partition>, ticket: Ticket) -> Result<(), Error> {
    let appended = ticket.appended().await?;
    partition.committed(&appended).await
}

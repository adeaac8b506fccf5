//! AddPartitionsToTxn (key 24), versions 0 to 5. KIP-98, KIP-360 (v2), KIP-890 (v4, v5).
//!
//! All or nothing: if one partition does not exist it is UNKNOWN_TOPIC_OR_PARTITION and all others are
//! OPERATION_NOT_ATTEMPTED. A fenced producer is PRODUCER_FENCED, before version 2 INVALID_PRODUCER_EPOCH.
//!
//! From version 4 on brokers ask, for many transactions at once, and may only want to know whether partitions are part of
//! one: what isn't is TRANSACTION_ABORTABLE, in version 4 INVALID_TXN_STATE.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use super::RequestContext;
use crate::coordinators::{Producer, TopicPartition};
use crate::transaction::event::AddPartitions;
use crate::transaction::state::Protocol;

/// The version from which on PRODUCER_FENCED is understood.
const KNOWS_FENCED: i16 = 2;
/// The version from which on a request has many transactions.
const MANY: i16 = 4;
/// The version from which on TRANSACTION_ABORTABLE is understood.
const KNOWS_ABORTABLE: i16 = 5;

/// Adds partitions to transactions.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if ctx.version < MANY {
        let producer =
            Producer { id: request.v3_and_below_producer_id.0, epoch: request.v3_and_below_producer_epoch };
        let id = request.v3_and_below_transactional_id.to_string();
        let results = one(ctx, id, producer, false, request.v3_and_below_topics).await;
        return AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results);
    }
    let mut results = Vec::with_capacity(request.transactions.len());
    for asked in request.transactions {
        let producer = Producer { id: asked.producer_id.0, epoch: asked.producer_epoch };
        let id = asked.transactional_id.to_string();
        let topics = one(ctx, id, producer, asked.verify_only, asked.topics).await;
        results.push(
            AddPartitionsToTxnResult::default()
                .with_transactional_id(asked.transactional_id)
                .with_topic_results(topics),
        );
    }
    AddPartitionsToTxnResponse::default().with_results_by_transaction(results)
}

/// Adds to one transaction, or looks whether it has the partitions.
async fn one(
    ctx: &RequestContext,
    transactional_id: String,
    producer: Producer,
    verify_only: bool,
    topics: Vec<AddPartitionsToTxnTopic>,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let partitions: Vec<_> = topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|partition| TopicPartition::new(&**topic.name, *partition))
        })
        .collect();
    let exists = |partition: &TopicPartition| ctx.broker.has_partition(&partition.topic, partition.partition);
    if !partitions.iter().all(exists) {
        return results(topics, |partition| {
            if exists(partition) {
                ResponseError::OperationNotAttempted
            } else {
                ResponseError::UnknownTopicOrPartition
            }
            .code()
        });
    }
    let add = AddPartitions { transactional_id, producer, partitions, protocol: Protocol::First };
    let missing = if verify_only {
        ctx.broker.coordinators.missing(&ctx.broker, add).await
    } else {
        ctx.broker.coordinators.add_partitions(&ctx.broker, add).await.map(|()| Vec::new())
    };
    let abortable = if ctx.version >= KNOWS_ABORTABLE {
        ResponseError::TransactionAbortable
    } else {
        ResponseError::InvalidTxnState
    };
    results(topics, |partition| match &missing {
        Ok(missing) if missing.contains(partition) => abortable.code(),
        Ok(_) => 0,
        Err(error) => super::fenced_code(Err(*error), ctx.version >= KNOWS_FENCED),
    })
}

fn results(
    topics: Vec<AddPartitionsToTxnTopic>,
    code: impl Fn(&TopicPartition) -> i16,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let results = topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(partition)
                .with_partition_error_code(code(&TopicPartition::new(&**topic.name, partition)))
        });
        let partitions = partitions.collect();
        AddPartitionsToTxnTopicResult::default().with_name(topic.name).with_results_by_partition(partitions)
    });
    results.collect()
}

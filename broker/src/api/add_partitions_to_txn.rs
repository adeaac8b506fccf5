//! AddPartitionsToTxn (key 24), versions 0 to 3. KIP-98, KIP-360 (v2).
//!
//! All or nothing: if one partition does not exist it is UNKNOWN_TOPIC_OR_PARTITION and all others are
//! OPERATION_NOT_ATTEMPTED. A fenced producer is PRODUCER_FENCED, before version 2 INVALID_PRODUCER_EPOCH. Version 4
//! (many transactions, for brokers) comes with the second transaction protocol.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use super::RequestContext;
use crate::coordinators::{Producer, TopicPartition};
use crate::transaction::event::AddPartitions;

/// The version from which on PRODUCER_FENCED is understood.
const KNOWS_FENCED: i16 = 2;

/// Adds partitions to a transaction.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let topics = request.v3_and_below_topics;
    let partitions: Vec<_> = topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|partition| TopicPartition::new(&**topic.name, *partition))
        })
        .collect();
    let exists = |partition: &TopicPartition| ctx.broker.has_partition(&partition.topic, partition.partition);
    if !partitions.iter().all(exists) {
        return response(topics, |partition| {
            if exists(partition) {
                ResponseError::OperationNotAttempted
            } else {
                ResponseError::UnknownTopicOrPartition
            }
            .code()
        });
    }
    let add = AddPartitions {
        transactional_id: request.v3_and_below_transactional_id.to_string(),
        producer: Producer {
            id: request.v3_and_below_producer_id.0,
            epoch: request.v3_and_below_producer_epoch,
        },
        partitions,
    };
    let result = ctx.broker.coordinators.add_partitions(&ctx.broker, add).await;
    let code = super::fenced_code(result, ctx.version >= KNOWS_FENCED);
    response(topics, |_| code)
}

fn response(
    topics: Vec<AddPartitionsToTxnTopic>,
    code: impl Fn(&TopicPartition) -> i16,
) -> AddPartitionsToTxnResponse {
    let results = topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(partition)
                .with_partition_error_code(code(&TopicPartition::new(&**topic.name, partition)))
        });
        let partitions = partitions.collect();
        AddPartitionsToTxnTopicResult::default().with_name(topic.name).with_results_by_partition(partitions)
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
}

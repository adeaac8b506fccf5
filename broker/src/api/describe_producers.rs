//! DescribeProducers (key 61), version 0. KIP-664.
//!
//! The idempotent and transactional producers that a partition knows, and where their open transactions begin. Tools look
//! for hanging transactions with it.

use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};

use super::{RequestContext, reply};

/// Describes producers.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| partition(ctx, &topic.name, *index));
        let partitions = partitions.collect();
        TopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn partition(ctx: &RequestContext, topic: &str, index: i32) -> PartitionResponse {
    let response = PartitionResponse::default().with_partition_index(index);
    let partition = match ctx.broker.replicas.partition(topic, index) {
        Ok(partition) => partition,
        Err(error) => {
            let message = reply::text(error.to_string());
            return response.with_error_code(error.response().code()).with_error_message(Some(message));
        }
    };
    let producers = partition.log().active_producers().into_iter().map(|producer| {
        ProducerState::default()
            .with_producer_id(ProducerId(producer.producer_id.0))
            .with_producer_epoch(i32::from(producer.epoch.0))
            .with_last_sequence(producer.last_sequence)
            .with_last_timestamp(producer.last_timestamp)
            .with_coordinator_epoch(producer.coordinator_epoch)
            .with_current_txn_start_offset(producer.txn_first_offset.map_or(-1, |offset| offset.0))
    });
    response.with_active_producers(producers.collect())
}

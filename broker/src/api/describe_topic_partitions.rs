//! DescribeTopicPartitions (key 75), version 0. KIP-966.
//!
//! Metadata for tools, in pages: topics in the order of their names, at most `response_partition_limit` partitions (and
//! `max.request.partition.size.limit` of ours), then a cursor to go on from. No topic named: all of them.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_topic_partitions_request::Cursor as RequestedCursor;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};

use super::{RequestContext, operations, reply};
use crate::controller::{PartitionImage, topic_name};

/// Answers one page.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = ctx.broker.image();
    let limit =
        ctx.broker.config.int("max.request.partition.size.limit").min(request.response_partition_limit);
    let mut left = usize::try_from(limit).unwrap_or(1).max(1);
    let (from_topic, from_partition) = match &request.cursor {
        Some(cursor) => match usize::try_from(cursor.partition_index) {
            Ok(partition) => (cursor.topic_name.to_string(), partition),
            Err(_) => return refused(cursor),
        },
        None => (String::new(), 0),
    };
    let names: BTreeSet<&str> = if request.topics.is_empty() {
        image.topics.keys().map(|name| &**name).collect()
    } else {
        request.topics.iter().map(|topic| &**topic.name).collect()
    };
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names.into_iter().filter(|name| *name >= from_topic.as_str()) {
        let mut described = DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(TopicName(reply::text(name))))
            .with_is_internal(topic_name::is_internal(name))
            .with_topic_authorized_operations(operations::TOPIC);
        let Some(topic) = image.topic(name) else {
            let error = match topic_name::refuse(name) {
                Some(_) => ResponseError::InvalidTopicException,
                None => ResponseError::UnknownTopicOrPartition,
            };
            response.topics.push(described.with_error_code(error.code()));
            continue;
        };
        described.topic_id = topic.id;
        let first = if name == from_topic { from_partition } else { 0 };
        for (index, found) in topic.partitions.iter().enumerate().skip(first) {
            if left == 0 {
                let next = Cursor::default().with_topic_name(TopicName(reply::text(name)));
                response.next_cursor = Some(next.with_partition_index(index as i32));
                break;
            }
            left -= 1;
            described.partitions.push(partition(index as i32, found));
        }
        if !described.partitions.is_empty() || response.next_cursor.is_none() {
            response.topics.push(described);
        }
        if response.next_cursor.is_some() {
            break;
        }
    }
    response
}

/// A cursor that no answer of ours had: INVALID_REQUEST, told at its topic, since the response has no code of its own.
fn refused(cursor: &RequestedCursor) -> DescribeTopicPartitionsResponse {
    let topic = DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(ResponseError::InvalidRequest.code())
        .with_name(Some(cursor.topic_name.clone()))
        .with_topic_authorized_operations(operations::NOT_TOLD);
    DescribeTopicPartitionsResponse::default().with_topics(vec![topic])
}

fn partition(index: i32, found: &PartitionImage) -> DescribeTopicPartitionsResponsePartition {
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
    DescribeTopicPartitionsResponsePartition::default()
        .with_partition_index(index)
        .with_leader_id(BrokerId(found.leader))
        .with_leader_epoch(found.leader_epoch.0)
        .with_replica_nodes(ids(&found.replicas))
        .with_isr_nodes(ids(&found.isr))
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
}

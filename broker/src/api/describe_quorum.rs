//! DescribeQuorum (key 55), versions 0 to 2. KIP-595, KIP-836, KIP-853.
//!
//! The quorum that keeps the metadata is this node alone: leader, only voter, caught up by definition. Asked for
//! another partition than `__cluster_metadata-0` it is UNKNOWN_TOPIC_OR_PARTITION, as in Kafka.
//! No endpoint of a controller is named: controllers have no listener of their own here.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_quorum_response::{Node, PartitionData, ReplicaState, TopicData};
use kafka_protocol::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse, TopicName};

use super::{RequestContext, reply};

const METADATA_TOPIC: &str = "__cluster_metadata";

/// Describes the quorum of one.
pub(super) async fn handle(ctx: &RequestContext, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions =
            topic.partitions.iter().map(|asked| partition(ctx, &topic.topic_name, asked.partition_index));
        let partitions = partitions.collect();
        TopicData::default().with_topic_name(topic.topic_name).with_partitions(partitions)
    });
    let mut response = DescribeQuorumResponse::default().with_topics(topics.collect());
    let described = |topic: &TopicData| topic.partitions.iter().any(|partition| partition.error_code == 0);
    if ctx.version >= 2 && response.topics.iter().any(described) {
        response.nodes = vec![Node::default().with_node_id(BrokerId(ctx.broker.node_id))];
    }
    response
}

fn partition(ctx: &RequestContext, topic: &TopicName, index: i32) -> PartitionData {
    let described = PartitionData::default().with_partition_index(index);
    if (topic.as_str(), index) != (METADATA_TOPIC, 0) {
        let mut unknown = described.with_error_code(ResponseError::UnknownTopicOrPartition.code());
        if ctx.version >= 2 {
            let message = format!("topic {} partition {index} is not kept by the quorum", topic.as_str());
            unknown.error_message = Some(reply::text(message));
        }
        return unknown;
    }
    let (broker, controller) = (&ctx.broker, &ctx.broker.controller);
    let (now, end) = (broker.now_ms(), controller.next_offset());
    let mut voter =
        ReplicaState::default().with_replica_id(BrokerId(broker.node_id)).with_log_end_offset(end);
    if ctx.version >= 1 {
        voter = voter.with_last_fetch_timestamp(now).with_last_caught_up_timestamp(now);
    }
    described
        .with_leader_id(BrokerId(broker.node_id))
        .with_leader_epoch(controller.epoch().0)
        // Whoever runs a command waits until it is durable: what has an offset is committed.
        .with_high_watermark(end)
        .with_current_voters(vec![voter])
}

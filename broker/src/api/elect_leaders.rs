//! ElectLeaders (key 43), versions 0 to 2. KIP-183, KIP-460.
//!
//! Each partition has one replica, which leads it as long as the broker runs: ELECTION_NOT_NEEDED for what is named.
//! Who asks for all partitions is told of failures only, so every topic comes with an empty list, as from Kafka.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, TopicName};

use super::{RequestContext, reply};
use crate::controller::Image;

/// Kinds of election: the preferred replica, and any replica at the cost of what only others had.
const ELECTION_TYPES: std::ops::RangeInclusive<i8> = 0..=1;

/// Says that the leaders stay.
pub(super) async fn handle(ctx: &RequestContext, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let image = ctx.broker.image();
    let known_type = ctx.version == 0 || ELECTION_TYPES.contains(&request.election_type);
    let all = request.topic_partitions.is_none();
    let response = ElectLeadersResponse::default();
    if all && known_type {
        let topic = |name: &std::sync::Arc<str>| {
            ReplicaElectionResult::default().with_topic(TopicName(reply::text(&**name)))
        };
        return response.with_replica_election_results(image.topics.keys().map(topic).collect());
    }
    let results = request.topic_partitions.unwrap_or_default().into_iter().map(|topic| {
        let results = topic.partitions.iter().map(|index| {
            let (error, message) = if known_type {
                outcome(&image, &topic.topic, *index)
            } else {
                (ResponseError::InvalidRequest, "election types are 0 (preferred) and 1 (unclean)".to_owned())
            };
            PartitionResult::default()
                .with_partition_id(*index)
                .with_error_code(error.code())
                .with_error_message(Some(reply::text(message)))
        });
        let results = results.collect();
        ReplicaElectionResult::default().with_topic(topic.topic).with_partition_result(results)
    });
    let response = response.with_replica_election_results(results.collect());
    // A request that names no partition is not looked at further, as in Kafka.
    if known_type || !all && response.replica_election_results.is_empty() {
        response
    } else {
        response.with_error_code(ResponseError::InvalidRequest.code())
    }
}

fn outcome(image: &Image, topic: &str, index: i32) -> (ResponseError, String) {
    let partitions = image.topic(topic).map_or(0, |topic| topic.partitions.len());
    if usize::try_from(index).is_ok_and(|index| index < partitions) {
        let message = format!("topic {topic} partition {index} is led by its only replica already");
        return (ResponseError::ElectionNotNeeded, message);
    }
    (ResponseError::UnknownTopicOrPartition, format!("topic {topic} has no partition {index}"))
}

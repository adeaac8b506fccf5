//! AlterPartitionReassignments (key 45), versions 0 and 1. KIP-455, KIP-860.
//!
//! One broker can hold one replica: the only assignment that is taken is the one that every partition has already. With
//! another broker's id, an id twice, or none at all it is INVALID_REPLICA_ASSIGNMENT. Nothing ever moves, so there is
//! nothing to cancel: NO_REASSIGNMENT_IN_PROGRESS.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use super::{RequestContext, reply};
use crate::controller::Image;

/// Takes assignments that change nothing, and refuses the others.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let image = ctx.broker.image();
    let responses = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let response =
                ReassignablePartitionResponse::default().with_partition_index(wanted.partition_index);
            match check(&image, ctx.broker.node_id, &topic.name, wanted) {
                Ok(()) => response.with_error_message(None),
                Err((error, message)) => {
                    response.with_error_code(error.code()).with_error_message(message.map(reply::text))
                }
            }
        });
        let partitions = partitions.collect();
        ReassignableTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    AlterPartitionReassignmentsResponse::default()
        .with_error_message(None)
        .with_allow_replication_factor_change(request.allow_replication_factor_change)
        .with_responses(responses.collect())
}

fn check(
    image: &Image,
    node_id: i32,
    topic: &str,
    wanted: &ReassignablePartition,
) -> Result<(), (ResponseError, Option<String>)> {
    let index = wanted.partition_index;
    let partitions = image.topic(topic).map_or(0, |topic| topic.partitions.len());
    if usize::try_from(index).map_or(true, |index| index >= partitions) {
        let message = format!("topic {topic} has no partition {index}");
        return Err((ResponseError::UnknownTopicOrPartition, Some(message)));
    }
    let Some(replicas) = &wanted.replicas else {
        return Err((ResponseError::NoReassignmentInProgress, None));
    };
    match replicas.as_slice() {
        [only] if only.0 == node_id => Ok(()),
        _ => {
            let message = format!(
                "topic {topic} partition {index}: the replicas must be broker {node_id} alone, which is the only one"
            );
            Err((ResponseError::InvalidReplicaAssignment, Some(message)))
        }
    }
}

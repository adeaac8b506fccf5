//! OffsetCommit (key 8), versions 2 to 9. KIP-211, KIP-320 (leader epochs, v6), KIP-345 (v7), KIP-848 (v9).
//!
//! A topic that does not exist is UNKNOWN_TOPIC_OR_PARTITION for its partitions; the others are committed. Answered when
//! the offsets are durable. Versions 2 to 4 may say how long the offsets are kept.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::RequestContext;
use crate::coordinators::TopicPartition;
use crate::group::event::{Commit, Event, MemberRef, Reply};
use crate::group::offsets::CommittedOffset;

/// Stores offsets.
pub(super) async fn handle(ctx: &RequestContext, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let image = ctx.broker.image();
    let mut offsets = Vec::new();
    for topic in request.topics.iter().filter(|topic| image.topic(&topic.name).is_some()) {
        for partition in &topic.partitions {
            let committed = CommittedOffset {
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.as_ref().map(ToString::to_string).unwrap_or_default(),
                commit_ms: 0,
                expire_ms: expiry(ctx, request.retention_time_ms),
            };
            offsets.push((TopicPartition::new(&**topic.name, partition.partition_index), committed));
        }
    }
    let member = MemberRef {
        group: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        instance: request.group_instance_id.as_ref().map(ToString::to_string),
        generation: request.generation_id_or_member_epoch,
    };
    let unknown_group =
        if ctx.version >= 9 { ResponseError::GroupIdNotFound } else { ResponseError::IllegalGeneration };
    let known = offsets.len();
    let results = match commit(ctx, Commit { member, unknown_group, offsets }).await {
        Ok(results) => results,
        Err(error) => vec![Err(error); known],
    };
    let mut results = results.into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let exists = image.topic(&topic.name).is_some();
        let partitions = topic.partitions.into_iter().map(|partition| {
            let result =
                if exists { results.next() } else { Some(Err(ResponseError::UnknownTopicOrPartition)) };
            let code = result.map_or(ResponseError::UnknownServerError.code(), |result| {
                result.map_or_else(|error| error.code(), |()| 0)
            });
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code)
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

fn expiry(ctx: &RequestContext, retention_time_ms: i64) -> Option<i64> {
    let said = (2..=4).contains(&ctx.version) && retention_time_ms >= 0;
    said.then(|| ctx.broker.now_ms().saturating_add(retention_time_ms))
}

async fn commit(
    ctx: &RequestContext,
    commit: Commit,
) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
    let shard = ctx.broker.coordinators.group(&ctx.broker, &commit.member.group).await?;
    match shard.ask(move |token| Event::Commit(token, commit)).await? {
        Reply::Partitions(result) => result,
        _ => Err(ResponseError::UnknownServerError),
    }
}

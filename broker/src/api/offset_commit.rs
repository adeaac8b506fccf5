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
use super::commit::{Asked, commit, committed};
use crate::group::event::{Commit, Event, MemberRef};
use crate::group::offsets::CommittedOffset;

/// Stores offsets.
pub(super) async fn handle(ctx: &RequestContext, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let expire_ms = expiry(ctx, request.retention_time_ms);
    let topics = request.topics.into_iter().map(|topic| {
        let offsets = topic.partitions.iter().map(|given| {
            let metadata = given.committed_metadata.as_ref();
            let offset = committed(given.committed_offset, given.committed_leader_epoch, metadata);
            (given.partition_index, CommittedOffset { expire_ms, ..offset })
        });
        (topic.name, offsets.collect())
    });
    let asked = Asked::new(&ctx.broker.image(), topics);
    let member = MemberRef {
        group: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        instance: request.group_instance_id.as_ref().map(ToString::to_string),
        generation: request.generation_id_or_member_epoch,
    };
    let unknown_group =
        if ctx.version >= 9 { ResponseError::GroupIdNotFound } else { ResponseError::IllegalGeneration };
    let offsets = asked.offsets();
    let results =
        commit(ctx, Commit { member, unknown_group, knows_epochs: ctx.version >= 9, offsets }, Event::Commit)
            .await;
    let topics = asked.answer(results).map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, code)| {
            OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code)
        });
        OffsetCommitResponseTopic::default().with_name(name).with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

fn expiry(ctx: &RequestContext, retention_time_ms: i64) -> Option<i64> {
    let said = (2..=4).contains(&ctx.version) && retention_time_ms >= 0;
    said.then(|| ctx.broker.now_ms().saturating_add(retention_time_ms))
}

//! TxnOffsetCommit (key 28), versions 0 to 4. KIP-98, KIP-320 (v2), KIP-447 (generation and member, v3), KIP-890 (v4).
//!
//! Offsets that become visible when the producer's transaction commits. A producer with an old epoch is refused by the
//! partition of `__consumer_offsets` itself (INVALID_PRODUCER_EPOCH). Version 5, where the coordinator adds the partition
//! to the transaction by itself, belongs to the second transaction protocol and is not served.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::RequestContext;
use crate::coordinators::{Producer, TopicPartition};
use crate::group::event::{Commit, Event, MemberRef, Reply};
use crate::group::offsets::CommittedOffset;

/// Stores offsets in a transaction.
pub(super) async fn handle(ctx: &RequestContext, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let image = ctx.broker.image();
    let mut offsets = Vec::new();
    for topic in request.topics.iter().filter(|topic| image.topic(&topic.name).is_some()) {
        for partition in &topic.partitions {
            let committed = CommittedOffset {
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.as_ref().map(ToString::to_string).unwrap_or_default(),
                commit_ms: 0,
                expire_ms: None,
            };
            offsets.push((TopicPartition::new(&**topic.name, partition.partition_index), committed));
        }
    }
    let member = MemberRef {
        group: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        instance: request.group_instance_id.as_ref().map(ToString::to_string),
        generation: request.generation_id,
    };
    let producer = Producer { id: request.producer_id.0, epoch: request.producer_epoch };
    let known = offsets.len();
    let commit = Commit { member, unknown_group: ResponseError::IllegalGeneration, offsets };
    let results = match txn_commit(ctx, producer, commit).await {
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
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code)
        });
        let partitions = partitions.collect();
        TxnOffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

async fn txn_commit(
    ctx: &RequestContext,
    producer: Producer,
    commit: Commit,
) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
    if commit.member.group.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    let shard = ctx.broker.coordinators.group(&ctx.broker, &commit.member.group).await?;
    match shard.ask(move |token| Event::TxnCommit(token, producer, commit)).await? {
        Reply::Partitions(result) => result,
        _ => Err(ResponseError::UnknownServerError),
    }
}

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
use super::commit::{Asked, commit, committed};
use crate::coordinators::Producer;
use crate::group::event::{Commit, Event, MemberRef};

/// Stores offsets in a transaction.
pub(super) async fn handle(ctx: &RequestContext, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let offsets = topic.partitions.iter().map(|given| {
            let metadata = given.committed_metadata.as_ref();
            let offset = committed(given.committed_offset, given.committed_leader_epoch, metadata);
            (given.partition_index, offset)
        });
        (topic.name, offsets.collect())
    });
    let asked = Asked::new(&ctx.broker.image(), topics);
    let member = MemberRef {
        group: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        instance: request.group_instance_id.as_ref().map(ToString::to_string),
        generation: request.generation_id,
    };
    let producer = Producer { id: request.producer_id.0, epoch: request.producer_epoch };
    let offsets = asked.offsets();
    let results = if member.group.is_empty() {
        Err(ResponseError::InvalidGroupId)
    } else {
        let wanted = Commit { member, unknown_group: ResponseError::IllegalGeneration, offsets };
        commit(ctx, wanted, move |token, commit| Event::TxnCommit(token, producer, commit)).await
    };
    let topics = asked.answer(results).map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, code)| {
            TxnOffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code)
        });
        TxnOffsetCommitResponseTopic::default().with_name(name).with_partitions(partitions.collect())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

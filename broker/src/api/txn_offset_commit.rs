//! TxnOffsetCommit (key 28), versions 0 to 5. KIP-98, KIP-320 (v2), KIP-447 (generation and member, v3), KIP-890 (v4, v5).
//!
//! Offsets that become visible when the producer's transaction commits. A producer with an old epoch is refused
//! (INVALID_PRODUCER_EPOCH), as is one whose transaction does not have the group's partition of `__consumer_offsets`:
//! TRANSACTION_ABORTABLE, before version 4 INVALID_TXN_STATE. Version 5 is the second transaction protocol: the partition is
//! added by the broker.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use millrace_wire::ids::{ProducerEpoch, ProducerId};

use super::RequestContext;
use super::commit::{Asked, commit, committed};
use crate::coordinators::{Producer, TopicPartition};
use crate::group::event::{Commit, Event, MemberRef};
use crate::internal_topic::InternalTopic;
use crate::transaction::event::AddPartitions;
use crate::transaction::state::Protocol;

/// The version from which on the broker adds the partition to the transaction.
const ADDS_PARTITION: i16 = 5;
/// The version from which on TRANSACTION_ABORTABLE is understood.
const KNOWS_ABORTABLE: i16 = 4;

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
        match admit(ctx, &request.transactional_id, producer, &member.group).await {
            Ok(()) => {
                let wanted = Commit {
                    member,
                    unknown_group: ResponseError::IllegalGeneration,
                    knows_epochs: true,
                    offsets,
                };
                commit(ctx, wanted, move |token, commit| Event::TxnCommit(token, producer, commit)).await
            }
            Err(error) => Err(refused(error, ctx.version)),
        }
    };
    let topics = asked.answer(results).map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, code)| {
            TxnOffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code)
        });
        TxnOffsetCommitResponseTopic::default().with_name(name).with_partitions(partitions.collect())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

/// Makes sure that the group's partition is part of the transaction.
async fn admit(
    ctx: &RequestContext,
    transactional_id: &str,
    producer: Producer,
    group: &str,
) -> Result<(), ResponseError> {
    let broker = &ctx.broker;
    broker.ensure_internal(InternalTopic::ConsumerOffsets).await?;
    let index = broker.coordinators.groups.partition(broker, group);
    let name = InternalTopic::ConsumerOffsets.name();
    let partition = broker.replicas.partition(name, index).map_err(|_| ResponseError::NotCoordinator)?;
    let (id, epoch) = (ProducerId(producer.id), ProducerEpoch(producer.epoch));
    if partition.is_verified(id, epoch) {
        return Ok(());
    }
    let question = partition.verify(id);
    let write = AddPartitions {
        transactional_id: transactional_id.to_owned(),
        producer,
        partitions: vec![TopicPartition::new(name, index)],
        protocol: if ctx.version >= ADDS_PARTITION { Protocol::Second } else { Protocol::First },
    };
    let missing = broker.coordinators.admit(broker, write).await?;
    if !missing.is_empty() {
        return Err(ResponseError::TransactionAbortable);
    }
    match ctx.version >= ADDS_PARTITION {
        true => question.added(epoch),
        false => question.confirm(epoch),
    }
    Ok(())
}

/// In the words that the request's version has.
fn refused(error: ResponseError, version: i16) -> ResponseError {
    match error {
        ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
        ResponseError::TransactionAbortable if version < KNOWS_ABORTABLE => ResponseError::InvalidTxnState,
        ResponseError::ConcurrentTransactions if version < ADDS_PARTITION => {
            ResponseError::CoordinatorNotAvailable
        }
        ResponseError::NotCoordinator => ResponseError::CoordinatorNotAvailable,
        other => other,
    }
}

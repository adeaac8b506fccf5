//! OffsetForLeaderEpoch (key 23), versions 2 to 4. KIP-101, KIP-279, KIP-320.
//!
//! Where did the log end under a leader epoch: the largest epoch not above the one asked for, and the offset at which
//! the next one begins. An epoch that the log doesn't know is answered with -1 and -1. Consumers use it to notice that
//! what they read was lost and written anew.

use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use millrace_wire::ids::{LeaderEpoch, Offset};

use super::RequestContext;
use crate::replica::Error;

/// Answers partition by partition.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| answer(ctx, &topic.topic, asked)).collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn answer(ctx: &RequestContext, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let response =
        EpochEndOffset::default().with_partition(asked.partition).with_leader_epoch(-1).with_end_offset(-1);
    match find(ctx, topic, asked) {
        Ok((epoch, end)) => response.with_leader_epoch(epoch.0).with_end_offset(end.0),
        Err(error) => response.with_error_code(error.code()),
    }
}

fn find(
    ctx: &RequestContext,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<(LeaderEpoch, Offset), Error> {
    let partition = ctx.broker.replicas.partition(topic, asked.partition)?;
    partition.check_usable()?;
    partition.check_epoch(asked.current_leader_epoch)?;
    Ok(partition.end_of_epoch(LeaderEpoch(asked.leader_epoch)))
}

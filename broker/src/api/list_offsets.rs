//! ListOffsets (key 2), versions 1 to 10. KIP-79, KIP-98, KIP-320, KIP-405, KIP-734, KIP-1005, KIP-1075.
//!
//! A timestamp asks for the first record at or after it; negative ones are special: -1 latest (the high watermark, or
//! with `read_committed` the last stable offset), -2 earliest, -3 the record with the largest timestamp (v7), -4 the
//! earliest local offset (v8), -5 the latest tiered offset (v9; nothing is tiered). Specials other than -3 are answered
//! with timestamp -1. No record that late: offset -1 and no error.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use millrace_wire::ids::{LeaderEpoch, Offset};

use super::RequestContext;
use crate::replica::partition::Isolation;
use crate::replica::{Error, Partition};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// No offset or timestamp to tell.
const NONE: i64 = -1;

/// Answers partition by partition.
pub(super) async fn handle(ctx: &RequestContext, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let isolation =
        if request.isolation_level == 1 { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            partitions.push(answer(ctx, &topic.name, asked, isolation).await);
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions));
    }
    ListOffsetsResponse::default().with_topics(topics)
}

async fn answer(
    ctx: &RequestContext,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> ListOffsetsPartitionResponse {
    let mut response = ListOffsetsPartitionResponse::default()
        .with_partition_index(asked.partition_index)
        .with_timestamp(NONE)
        .with_offset(NONE)
        .with_leader_epoch(NONE as i32);
    let supported = match asked.timestamp {
        MAX_TIMESTAMP => ctx.version >= 7,
        EARLIEST_LOCAL => ctx.version >= 8,
        LATEST_TIERED => ctx.version >= 9,
        other => other >= EARLIEST,
    };
    if !supported {
        response.error_code = ResponseError::UnsupportedVersion.code();
        return response;
    }
    match find(ctx, topic, asked, isolation).await {
        Ok(Some((timestamp, offset, epoch))) => {
            response.timestamp = timestamp;
            response.offset = offset.0;
            if ctx.version >= 4 {
                response.leader_epoch = epoch.0;
            }
        }
        Ok(None) => {}
        Err(error) => response.error_code = error.code(),
    }
    response
}

/// Timestamp, offset and leader epoch of what is asked for.
async fn find(
    ctx: &RequestContext,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Option<(i64, Offset, LeaderEpoch)>, Error> {
    let partition = ctx.broker.replicas.partition(topic, asked.partition_index)?;
    partition.check_usable()?;
    partition.check_epoch(asked.current_leader_epoch)?;
    let special = |offset: Offset| Ok(Some((NONE, offset, partition.epoch_at(offset))));
    match asked.timestamp {
        LATEST => Ok(Some((NONE, partition.visible_end(isolation), partition.leader_epoch()))),
        EARLIEST | EARLIEST_LOCAL => special(partition.log().start_offset()),
        LATEST_TIERED => Ok(None),
        timestamp => search(ctx, partition.clone(), timestamp, isolation).await,
    }
}

/// Looks into the log, on a blocking thread: a search may read a segment from disk.
async fn search(
    ctx: &RequestContext,
    partition: Arc<Partition>,
    timestamp: i64,
    isolation: Isolation,
) -> Result<Option<(i64, Offset, LeaderEpoch)>, Error> {
    let simulated = ctx.broker.replicas.simulated();
    crate::blocking::run(simulated, move || {
        let end = partition.visible_end(isolation);
        let log = partition.log();
        let found = match timestamp {
            MAX_TIMESTAMP => log.max_timestamp_offset()?,
            timestamp => log.offset_for_timestamp(timestamp)?,
        };
        let visible = found.filter(|found| found.offset < end);
        Ok(visible.map(|found| (found.timestamp, found.offset, partition.epoch_at(found.offset))))
    })
    .await
}

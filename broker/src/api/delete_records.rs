//! DeleteRecords (key 21), versions 0 to 2. KIP-107.
//!
//! Moves the log start offset up; -1 means the high watermark. An offset beyond the high watermark is
//! OFFSET_OUT_OF_RANGE, a topic without the `delete` policy POLICY_VIOLATION, a topic that the broker itself writes
//! INVALID_TOPIC_EXCEPTION. Answered with the new log start offset, which is durable with the next checkpoint
//! (`log.flush.start.offset.checkpoint.interval.ms` in Kafka): a kill before that brings records back.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use millrace_wire::ids::Offset;

use super::RequestContext;
use crate::controller::topic_name;

/// No offset to tell.
const NONE: i64 = -1;

/// Answers partition by partition.
pub(super) async fn handle(ctx: &RequestContext, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            partitions.push(delete(ctx, &topic.name, asked).await);
        }
        topics.push(DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions));
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

async fn delete(
    ctx: &RequestContext,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> DeleteRecordsPartitionResult {
    let response = DeleteRecordsPartitionResult::default()
        .with_partition_index(asked.partition_index)
        .with_low_watermark(NONE);
    if topic_name::is_internal(topic) {
        return response.with_error_code(ResponseError::InvalidTopicException.code());
    }
    let partition = match ctx.broker.replicas.partition(topic, asked.partition_index) {
        Ok(partition) => partition,
        Err(error) => return response.with_error_code(error.code()),
    };
    if !partition.config().delete {
        return response.with_error_code(ResponseError::PolicyViolation.code());
    }
    let high_watermark = partition.high_watermark();
    let to = if asked.offset == NONE { high_watermark } else { Offset(asked.offset) };
    if to > high_watermark || to.0 < 0 {
        return response.with_error_code(ResponseError::OffsetOutOfRange.code());
    }
    let simulated = ctx.broker.replicas.simulated();
    let done = crate::blocking::run(simulated, move || partition.log().delete_records_to(to)).await;
    match done {
        Ok(start) => response.with_low_watermark(start.0),
        Err(error) => response.with_error_code(error.code()),
    }
}

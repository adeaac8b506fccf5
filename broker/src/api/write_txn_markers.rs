//! WriteTxnMarkers (key 27), version 1. KIP-98, KIP-664.
//!
//! The end of transactions, told to partitions by whom the coordinator is not part of: brokers among each other, and
//! `kafka-transactions.sh abort`, which ends a transaction that hangs. An older epoch than the producer's is
//! INVALID_PRODUCER_EPOCH, an older coordinator TRANSACTION_COORDINATOR_FENCED. Answered when the markers are durable.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};

use super::{Error, Outcome, RequestContext, decode, reply};
use crate::coordinators::{Producer, TopicPartition};
use crate::transaction::service::{Marker, write_one_marker};

/// Writes markers; the answer has no room to say for how long its client is throttled.
pub(super) fn start(context: RequestContext, body: Bytes) -> Result<Outcome, Error> {
    let request = decode(&context, body)?;
    Ok(Outcome::Later(Box::pin(async move {
        let response = handle(&context, request).await;
        reply::encode(&context, &response)
    })))
}

async fn handle(ctx: &RequestContext, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let mut results = Vec::with_capacity(request.markers.len());
    for marker in request.markers {
        results.push(write(ctx, marker).await);
    }
    WriteTxnMarkersResponse::default().with_markers(results)
}

async fn write(ctx: &RequestContext, asked: WritableTxnMarker) -> WritableTxnMarkerResult {
    let producer = Producer { id: asked.producer_id.0, epoch: asked.producer_epoch };
    let (coordinator_epoch, commit) = (asked.coordinator_epoch, asked.transaction_result);
    let marker = Marker { producer, coordinator_epoch, commit };
    let mut topics = Vec::with_capacity(asked.topics.len());
    for topic in asked.topics {
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            let name = TopicPartition::new(&**topic.name, index);
            let written = match ctx.broker.has_partition(&name.topic, index) {
                true => write_one_marker(&ctx.broker, &name, marker).await,
                false => Err(ResponseError::UnknownTopicOrPartition),
            };
            partitions.push(
                WritableTxnMarkerPartitionResult::default()
                    .with_partition_index(index)
                    .with_error_code(written.map_or_else(|error| error.code(), |()| 0)),
            );
        }
        topics
            .push(WritableTxnMarkerTopicResult::default().with_name(topic.name).with_partitions(partitions));
    }
    WritableTxnMarkerResult::default().with_producer_id(asked.producer_id).with_topics(topics)
}

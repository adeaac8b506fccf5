//! What a Produce response means for each batch: done, again, or given up.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use tokio::time::Instant;

use super::super::Shared;
use super::super::accumulator::Batch;
use super::super::delivery::Ack;
use super::super::lane::Answer;
use crate::error::{Error, Result};

/// How soon to ask again while the markers of the last transaction are being written, which takes milliseconds: as Kafka's own producer
/// (`ADD_PARTITIONS_RETRY_BACKOFF_MS`).
const MARKERS_PAUSE: Duration = Duration::from_millis(20);

/// Settles every batch of the answer. Says whether metadata should be fetched again.
pub(super) fn settle(shared: &Shared, answer: Answer) -> bool {
    let mut wants_metadata = false;
    let results: Result<BTreeMap<(String, i32), PartitionProduceResponse>> = answer.result.map(|response| {
        let partitions = response.responses.into_iter().flat_map(|topic| {
            let name = topic.name.0.to_string();
            topic.partition_responses.into_iter().map(move |p| ((name.clone(), p.index), p))
        });
        partitions.collect()
    });
    for batch in answer.batches {
        let result = match &results {
            Err(error) => Err(error.clone()),
            Ok(partitions) => match partitions.get(&(batch.tp.topic.to_string(), batch.tp.partition)) {
                Some(partition) => ack_of(&batch, partition),
                None => Err(Error::malformed("", format!("no answer about {}", batch.tp))),
            },
        };
        wants_metadata |= result.as_ref().is_err_and(Error::wants_metadata);
        settle_batch(shared, batch, result);
    }
    wants_metadata
}

fn ack_of(batch: &Batch, partition: &PartitionProduceResponse) -> Result<Ack> {
    match Code::try_from_code(partition.error_code) {
        None => Ok(Ack { base_offset: partition.base_offset, log_append_time: partition.log_append_time_ms }),
        // It is in the log, too long ago for the broker to know where.
        Some(Code::DuplicateSequenceNumber) => Ok(Ack { base_offset: -1, log_append_time: -1 }),
        Some(_) => {
            let detail = partition.record_errors.first().and_then(|r| r.batch_index_error_message.as_deref());
            let message = partition.error_message.as_deref().or(detail);
            Error::check_with("Produce", || batch.tp.to_string(), partition.error_code, message)?;
            Ok(Ack { base_offset: partition.base_offset, log_append_time: partition.log_append_time_ms })
        }
    }
}

fn settle_batch(shared: &Shared, batch: Batch, result: Result<Ack>) {
    let mut accumulator = shared.accumulator.lock();
    let error = match result {
        Ok(ack) => return accumulator.succeed(batch, ack),
        Err(error) => error,
    };
    let again_at = || {
        let mut backoff = shared.cluster.backoff().after(batch.attempts.saturating_sub(1));
        let pause = match error.code() {
            Some(Code::ConcurrentTransactions) => backoff.next_pause().min(MARKERS_PAUSE),
            _ => backoff.next_pause(),
        };
        Instant::now() + pause
    };
    match error.code() {
        // It came before one that has to be sent again: no loss, only out of order.
        Some(Code::OutOfOrderSequenceNumber) if accumulator.has_earlier(&batch) => {
            accumulator.send_again(batch, false, Instant::now());
        }
        // The broker's memory of this producer does not fit ours; nothing of this batch was written.
        Some(Code::OutOfOrderSequenceNumber | Code::UnknownProducerId | Code::InvalidProducerEpoch) => {
            accumulator.refuse(batch, error, true);
        }
        // Written here but perhaps not on enough replicas, written after the answer was due, or before the leader moved or
        // its disk failed.
        Some(
            Code::NotEnoughReplicasAfterAppend
            | Code::RequestTimedOut
            | Code::NotLeaderOrFollower
            | Code::KafkaStorageError,
        ) => {
            let at = again_at();
            accumulator.send_again(batch, true, at);
        }
        _ if error.is_retriable() => {
            let at = again_at();
            // A connection that never came about carried nothing.
            let in_doubt = error.is_in_doubt();
            accumulator.send_again(batch, in_doubt, at);
        }
        // A response that makes no sense, or that the broker itself has no word for, says nothing about the log.
        None if matches!(error, Error::Malformed { .. }) => accumulator.doubt(batch, error),
        Some(Code::UnknownServerError) => accumulator.doubt(batch, error),
        None => accumulator.refuse(batch, error, true),
        Some(_) => accumulator.refuse(batch, error, false),
    }
}

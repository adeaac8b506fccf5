//! What is checked of a request's batches before they get offsets, outside of the writer's lock.
//!
//! Apache Kafka's rules for magic 2, save one: the records inside a batch are not decoded (they stay the producer's
//! own bytes), except on a compacted topic, where each needs a key.

use std::borrow::Cow;

use millrace_wire::batch::{RawBatch, TimestampType};
use millrace_wire::record;

use super::AppendRequest;
use crate::config::LogConfig;
use crate::error::AppendError;
use crate::producer::AppendOrigin;

/// Checks the batches and, for `LogAppendTime`, stamps them.
pub(super) fn validate<'a>(
    request: &AppendRequest<'a>,
    config: &LogConfig,
    now_ms: i64,
) -> Result<Cow<'a, [RawBatch]>, AppendError> {
    let mut bytes = 0;
    for batch in request.batches {
        bytes += batch.bytes.len();
        batch.verify_crc().map_err(|error| AppendError::Corrupt(error.to_string()))?;
        if request.origin == AppendOrigin::Replication {
            continue;
        }
        if batch.bytes.len() > config.max_message_bytes {
            let bytes_max = config.max_message_bytes;
            return Err(AppendError::TooLarge { bytes: batch.bytes.len(), bytes_max });
        }
        if request.origin == AppendOrigin::Client {
            check_client_batch(batch, config, now_ms)?;
        }
    }
    if bytes as u64 > config.segment_bytes {
        let bytes_max = config.segment_bytes.try_into().unwrap_or(usize::MAX);
        return Err(AppendError::SetTooLarge { bytes, bytes_max });
    }
    if config.log_append_time && request.origin == AppendOrigin::Client {
        return Ok(request.batches.iter().map(|batch| batch.with_log_append_time(now_ms)).collect());
    }
    Ok(Cow::Borrowed(request.batches))
}

fn check_client_batch(batch: &RawBatch, config: &LogConfig, now_ms: i64) -> Result<(), AppendError> {
    let header = &batch.header;
    let invalid = |what: String| Err(AppendError::InvalidRecord(what));
    if header.attributes.is_control() {
        return invalid("clients may not write control batches".into());
    }
    if header.attributes.compression().is_err() {
        return invalid("the batch names an unknown compression".into());
    }
    if header.record_count < 1 || i64::from(header.last_offset_delta) + 1 != i64::from(header.record_count) {
        let (count, delta) = (header.record_count, header.last_offset_delta);
        return invalid(format!("the batch counts {count} records and its last offset delta is {delta}"));
    }
    if header.has_producer() && (header.base_sequence < 0 || header.producer_epoch.0 < 0) {
        return invalid(format!("producer {} sent a batch without a sequence or epoch", header.producer_id));
    }
    if header.attributes.is_transactional() && !header.has_producer() {
        return invalid("a transactional batch needs a producer id".into());
    }
    if !config.log_append_time {
        if header.attributes.timestamp_type() == TimestampType::LogAppend {
            return Err(AppendError::InvalidTimestamp { timestamp_ms: header.max_timestamp, now_ms });
        }
        check_times(header.base_timestamp, header.max_timestamp, config, now_ms)?;
    }
    if config.compact { check_keys(batch, config) } else { Ok(()) }
}

/// The first and the newest time must both be near the broker's; -1 is no time.
fn check_times(first: i64, newest: i64, config: &LogConfig, now_ms: i64) -> Result<(), AppendError> {
    for timestamp_ms in [first, newest].into_iter().filter(|time| *time != -1) {
        let too_old = now_ms.saturating_sub(timestamp_ms) > config.timestamp_before_max_ms;
        let too_new = timestamp_ms.saturating_sub(now_ms) > config.timestamp_after_max_ms;
        if too_old || too_new {
            return Err(AppendError::InvalidTimestamp { timestamp_ms, now_ms });
        }
    }
    Ok(())
}

fn check_keys(batch: &RawBatch, config: &LogConfig) -> Result<(), AppendError> {
    let invalid = |error: &dyn std::fmt::Display| AppendError::InvalidRecord(error.to_string());
    let mut records =
        record::decode(batch, config.max_uncompressed_bytes).map_err(|error| invalid(&error))?;
    while let Some(record) = records.next_ref() {
        if record.map_err(|error| invalid(&error))?.key.is_none() {
            return Err(invalid(&"a compacted topic cannot take a record without a key"));
        }
    }
    Ok(())
}

//! Records of internal topics to batches, and back.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use millrace_wire::batch::RawBatch;
use millrace_wire::ids::{NO_SEQUENCE, Offset, ProducerEpoch, ProducerId};
use millrace_wire::record::{self, BatchBuilder, BatchOptions, ControlKind, ControlRecord, ProducerStamp};

use super::{KeyValue, Producer};
use crate::internal_topic::InternalTopic;

/// What a compressed batch in an internal topic (not ours: we write none) may unpack to.
const UNPACKED_BYTES_MAX: usize = 64 << 20;

/// Bytes that a record takes beside its key and value, at most.
const RECORD_OVERHEAD_BYTES: usize = 32;

/// About how many bytes `records` take in a batch.
pub(crate) fn size(records: &[KeyValue]) -> usize {
    records
        .iter()
        .map(|record| record.key.len() + record.value.as_ref().map_or(0, Bytes::len) + RECORD_OVERHEAD_BYTES)
        .sum()
}

/// One batch of `records`. Coordinators write inside transactions without sequence numbers, as Kafka's do.
pub(crate) fn build(
    records: &[KeyValue],
    producer: Option<Producer>,
    now_ms: i64,
) -> Result<Bytes, ResponseError> {
    let stamp = producer.map(|producer| ProducerStamp {
        id: ProducerId(producer.id),
        epoch: ProducerEpoch(producer.epoch),
        base_sequence: NO_SEQUENCE,
    });
    let options = BatchOptions { producer: stamp, transactional: stamp.is_some(), ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    for record in records {
        let pushed = builder.push(now_ms, Some(&record.key), record.value.as_deref(), []);
        pushed.map_err(|_| ResponseError::RecordListTooLarge)?;
    }
    builder.build(Offset(0)).map_err(|_| ResponseError::RecordListTooLarge)
}

/// What a batch of an internal topic holds.
pub(crate) enum Loaded {
    /// Records, perhaps as part of a producer's transaction.
    Records(Vec<KeyValue>, Option<Producer>),
    /// The end of a producer's transaction.
    Marker(Producer, bool),
}

/// Reads a batch of an internal topic. What cannot be read is left out with a warning: it is not ours.
pub(crate) fn read(topic: InternalTopic, batch: &RawBatch) -> Option<Loaded> {
    let header = &batch.header;
    let attributes = header.attributes;
    let producer = Producer { id: header.producer_id.0, epoch: header.producer_epoch.0 };
    let warn = |error: &dyn std::fmt::Display| {
        tracing::warn!(topic = topic.name(), offset = header.base_offset.0, %error, "a record is left out");
    };
    let records = match record::decode(batch, UNPACKED_BYTES_MAX) {
        Ok(records) => records,
        Err(error) => {
            warn(&error);
            return None;
        }
    };
    let mut found = Vec::new();
    for record in records {
        match record {
            Ok(record) if attributes.is_control() => {
                let control = ControlRecord::parse(&record).inspect_err(|error| warn(error)).ok().flatten();
                return control.map(|found| Loaded::Marker(producer, found.kind == ControlKind::Commit));
            }
            Ok(record) => found.extend(record.key.map(|key| KeyValue { key, value: record.value })),
            Err(error) => {
                warn(&error);
                break;
            }
        }
    }
    Some(Loaded::Records(found, attributes.is_transactional().then_some(producer)))
}

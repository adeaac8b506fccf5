//! Control records: the markers that end a transaction in a partition (KIP-98).
//!
//! A marker is a batch of its own with one record. Key: version i16, type i16 (0 abort, 1 commit). Value: version
//! i16, epoch of the transaction coordinator i32. Other types belong to KRaft's own log.

use bytes::Bytes;

use super::{BatchBuilder, BatchOptions, Error, ProducerStamp, Record};
use crate::ids::{NO_SEQUENCE, Offset, ProducerEpoch, ProducerId};

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlKind {
    /// Its records are void.
    Abort,
    /// Its records count.
    Commit,
}

/// An end-of-transaction marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlRecord {
    /// How the transaction ended.
    pub kind: ControlKind,
    /// Epoch of the coordinator that wrote the marker; an older one is a zombie.
    pub coordinator_epoch: i32,
}

const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// A whole marker batch, ready to append.
pub fn control_batch(
    kind: ControlKind,
    coordinator_epoch: i32,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    timestamp_ms: i64,
) -> Bytes {
    let kind = match kind {
        ControlKind::Abort => ABORT,
        ControlKind::Commit => COMMIT,
    };
    let mut key = [0; 4];
    key[2..].copy_from_slice(&kind.to_be_bytes());
    let mut value = [0; 6];
    value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
    let stamp = ProducerStamp { id: producer_id, epoch: producer_epoch, base_sequence: NO_SEQUENCE };
    let options = BatchOptions {
        producer: Some(stamp),
        transactional: true,
        control: true,
        capacity: 80,
        ..Default::default()
    };
    let mut builder = BatchBuilder::new(options);
    builder
        .push(timestamp_ms, Some(&key), Some(&value), [])
        .and_then(|()| builder.build(Offset(0)))
        .expect("one record of ten bytes fits and needs no codec")
}

impl ControlRecord {
    /// Reads a record of a control batch; `None` if it is not the end of a transaction.
    pub fn parse(record: &Record) -> Result<Option<Self>, Error> {
        let key = record.key.as_deref().unwrap_or_default();
        let value = record.value.as_deref().unwrap_or_default();
        let malformed = Error::MalformedControl(key.len() + value.len());
        let [_, _, kind @ ..] = key else { return Err(malformed) };
        let Some(kind) = kind.first_chunk::<2>() else { return Err(malformed) };
        let kind = match i16::from_be_bytes(*kind) {
            ABORT => ControlKind::Abort,
            COMMIT => ControlKind::Commit,
            _ => return Ok(None),
        };
        // Later versions may append fields (KIP-482 style); the epoch keeps its place.
        match value.get(2..6).and_then(|epoch| epoch.try_into().ok()) {
            Some(epoch) => Ok(Some(Self { kind, coordinator_epoch: i32::from_be_bytes(epoch) })),
            None => Err(malformed),
        }
    }
}

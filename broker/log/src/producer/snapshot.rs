//! `<offset>.snapshot`: the producers as they were at an offset, in Apache Kafka's form.
//!
//! ```text
//! version i16 (1) | crc u32 (CRC-32C of all that follows) | count i32 | entries of 46 bytes:
//! producer id i64 | epoch i16 | last sequence i32 | last offset i64 | offset delta i32 | timestamp i64
//! | coordinator epoch i32 | first offset of the open transaction i64 (-1: none)
//! ```
//!
//! Only the last batch of a producer is in it; the log reads the others again from its tail when it opens.

use millrace_wire::ids::{NO_SEQUENCE, Offset, ProducerEpoch, ProducerId, next_sequence};

use super::{BatchSpan, ProducerEntry};

/// 46 bytes per producer: a larger file is not a snapshot.
pub(crate) const FILE_BYTES_MAX: usize = 256 << 20;

const VERSION: i16 = 1;
const HEADER_BYTES: usize = 10;
const CRC_START: usize = 6;
const ENTRY_BYTES: usize = 46;

/// The bytes of a snapshot.
pub(crate) fn encode<'a>(entries: impl Iterator<Item = &'a ProducerEntry>) -> Vec<u8> {
    let mut body = vec![0; 4];
    let mut count = 0i32;
    for entry in entries {
        count += 1;
        let last = entry.last();
        body.extend_from_slice(&entry.producer_id.0.to_be_bytes());
        body.extend_from_slice(&entry.epoch.0.to_be_bytes());
        body.extend_from_slice(&last.map_or(NO_SEQUENCE, |b| b.last_sequence).to_be_bytes());
        body.extend_from_slice(&last.map_or(-1, |b| b.last_offset.0).to_be_bytes());
        body.extend_from_slice(&last.map_or(0, |b| b.offset_delta).to_be_bytes());
        body.extend_from_slice(&entry.last_timestamp.to_be_bytes());
        body.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        body.extend_from_slice(&entry.txn_first_offset.map_or(-1, |offset| offset.0).to_be_bytes());
    }
    body[..4].copy_from_slice(&count.to_be_bytes());
    let mut bytes = Vec::with_capacity(CRC_START + body.len());
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// The entries of a snapshot, or what is wrong with it.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<ProducerEntry>, String> {
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(format!("it has {} bytes", bytes.len()));
    };
    let version = i16::from_be_bytes([header[0], header[1]]);
    if version != VERSION {
        return Err(format!("its version is {version}, not {VERSION}"));
    }
    if u32::from_be_bytes(field(header, 2)) != crc32c::crc32c(&bytes[CRC_START..]) {
        return Err("its CRC does not match".into());
    }
    let count = i32::from_be_bytes(field(header, 6));
    let (entries, rest) = body.as_chunks::<ENTRY_BYTES>();
    if usize::try_from(count) != Ok(entries.len()) || !rest.is_empty() {
        return Err(format!("it announces {count} producers in {} bytes", body.len()));
    }
    Ok(entries.iter().map(decode_entry).collect())
}

fn decode_entry(bytes: &[u8; ENTRY_BYTES]) -> ProducerEntry {
    let last_sequence = i32::from_be_bytes(field(bytes, 10));
    let last_offset = i64::from_be_bytes(field(bytes, 14));
    let offset_delta = i32::from_be_bytes(field(bytes, 22));
    let timestamp = i64::from_be_bytes(field(bytes, 26));
    let txn_first_offset = i64::from_be_bytes(field(bytes, 38));
    let first_sequence = if last_sequence < 0 {
        last_sequence
    } else {
        next_sequence(last_sequence, offset_delta.saturating_neg())
    };
    let last_offset_known = last_offset >= 0 && i64::from(offset_delta) <= last_offset;
    let batch = last_offset_known.then_some(BatchSpan {
        first_sequence,
        last_sequence,
        last_offset: Offset(last_offset),
        offset_delta,
        timestamp,
    });
    ProducerEntry {
        producer_id: ProducerId(i64::from_be_bytes(field(bytes, 0))),
        epoch: ProducerEpoch(i16::from_be_bytes(field(bytes, 8))),
        batches: batch.into_iter().collect(),
        coordinator_epoch: i32::from_be_bytes(field(bytes, 34)),
        last_timestamp: timestamp,
        txn_first_offset: (txn_first_offset >= 0).then_some(Offset(txn_first_offset)),
    }
}

/// The `N` bytes at a place that all callers keep inside.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

//! A record batch (magic 2, KIP-98) as the 61-byte header and everything after it left alone.
//!
//! ```text
//!  0  base offset i64            \
//!  8  batch length i32            | outside the CRC: a log may patch them
//! 12  partition leader epoch i32 /
//! 16  magic i8 (2)
//! 17  crc u32 (CRC-32C of all from 21 on)
//! 21  attributes i16             57  record count i32
//! 23  last offset delta i32      61  records, perhaps compressed
//! 27  base timestamp i64
//! 35  max timestamp i64
//! 43  producer id i64, 51 producer epoch i16, 53 base sequence i32
//! ```
//!
//! `batch length` counts what follows it (from byte 12 on). Offsets and times inside are relative to the header, so a
//! log gives a batch its place by writing [`BatchHeader::prefix`] and then bytes 16.. as they came.

mod header;
mod split;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};

pub use self::header::{Attributes, BatchHeader, TimestampType};
pub use self::split::{Split, split, split_whole};
use crate::ids::Offset;
use crate::record::ProducerStamp;

/// Bytes of the header, up to the first record.
pub const HEADER_LEN: usize = 61;
/// Bytes up to and including `batch length`: enough to know how long the batch is.
pub const LENGTH_END: usize = 12;
/// First bytes, which the CRC does not cover; see [`BatchHeader::prefix`].
pub const PREFIX_LEN: usize = 16;
/// The only batch format that is understood. Formats 0 and 1 ended with Kafka 4.0 (KIP-724).
pub const MAGIC: i8 = 2;

/// Where the CRC's cover begins.
pub(crate) const CRC_START: usize = 21;
pub(crate) const CRC_AT: usize = 17;

/// Why bytes are not a record batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end before the batch does.
    #[error("record batch is cut off: {have} bytes of {need}")]
    Truncated {
        /// Bytes that are there.
        have: usize,
        /// Bytes that the batch says it has (or the least that any batch has).
        need: usize,
    },
    /// Another message format.
    #[error("record batch has magic {0}; only 2 is supported (message formats 0 and 1 ended with Kafka 4.0)")]
    UnsupportedMagic(i8),
    /// A header field that no writer may write.
    #[error("record batch at offset {base_offset} has {field} {value}")]
    InvalidField {
        /// Base offset of the batch.
        base_offset: i64,
        /// Name of the field.
        field: &'static str,
        /// What stands in it.
        value: i64,
    },
    /// The bytes are not the ones that were written.
    #[error(
        "record batch at offset {base_offset} is corrupt: crc is {computed:#010x}, the header says {stored:#010x}"
    )]
    Corrupt {
        /// Base offset of the batch.
        base_offset: i64,
        /// CRC in the header.
        stored: u32,
        /// CRC of the bytes.
        computed: u32,
    },
}

/// One whole batch.
///
/// Invariant: `bytes` is exactly as long as the header says, at least [`HEADER_LEN`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawBatch {
    /// The header, parsed from `bytes`.
    pub header: BatchHeader,
    /// Header and records.
    pub bytes: Bytes,
}

impl RawBatch {
    /// Takes the batch at the front of `bytes`; what follows it is dropped.
    pub fn parse(bytes: &Bytes) -> Result<Self, Error> {
        let header = BatchHeader::parse(bytes)?;
        let need = header.size();
        if bytes.len() < need {
            return Err(Error::Truncated { have: bytes.len(), need });
        }
        Ok(Self { header, bytes: bytes.slice(..need) })
    }

    /// Checks the CRC over attributes and records.
    pub fn verify_crc(&self) -> Result<(), Error> {
        let computed = crc32c::crc32c(&self.bytes[CRC_START..]);
        if computed == self.header.crc {
            Ok(())
        } else {
            let (base_offset, stored) = (self.header.base_offset.0, self.header.crc);
            Err(Error::Corrupt { base_offset, stored, computed })
        }
    }

    /// The part that a log writes as it came, after a new [`BatchHeader::prefix`].
    pub fn after_prefix(&self) -> Bytes {
        self.bytes.slice(PREFIX_LEN..)
    }

    /// Offset of the last record (the batch's own, before a log has placed it).
    pub fn last_offset(&self) -> Offset {
        self.header.last_offset()
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> Offset {
        self.header.next_offset()
    }

    /// A copy with `LogAppendTime`: every record counts as written at `timestamp_ms`. The CRC is computed again.
    pub fn with_log_append_time(&self, timestamp_ms: i64) -> Self {
        self.patched(|header| {
            header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppend);
            header.max_timestamp = timestamp_ms;
        })
    }

    /// A copy under another producer's name; for a producer that starts over with a new id or epoch.
    pub fn with_producer(&self, stamp: ProducerStamp) -> Self {
        self.patched(|header| {
            header.producer_id = stamp.id;
            header.producer_epoch = stamp.epoch;
            header.base_sequence = stamp.base_sequence;
        })
    }

    fn patched(&self, change: impl FnOnce(&mut BatchHeader)) -> Self {
        let mut header = self.header;
        change(&mut header);
        let mut bytes = BytesMut::from(&self.bytes[..]);
        header.crc = seal(&mut bytes, &header);
        Self { header, bytes: bytes.freeze() }
    }
}

/// Writes `header` over the first [`HEADER_LEN`] bytes of `batch` and puts the right CRC in; returns it.
pub(crate) fn seal(batch: &mut [u8], header: &BatchHeader) -> u32 {
    batch[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    let crc = crc32c::crc32c(&batch[CRC_START..]);
    batch[CRC_AT..CRC_START].copy_from_slice(&crc.to_be_bytes());
    crc
}

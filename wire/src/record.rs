//! The records inside a batch (format v2, KIP-98): building, decoding, control records.
//!
//! A record is a length and then: attributes (unused), timestamp delta, offset delta, key, value, headers, all with
//! zigzag variable-length integers; a null key, value or header value has length -1. Nothing is lost here: header
//! names may repeat and keep their order, null and empty stay different.
//!
//! [`BatchBuilder`] appends records straight into the batch's buffer, without an allocation per record. [`decode`]
//! hands out slices of the (decompressed) batch, without a copy per record.

mod builder;
mod control;
mod decode;
mod retain;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use self::builder::{BatchBuilder, BatchOptions, ProducerStamp, record_size};
pub use self::control::{ControlKind, ControlRecord, control_batch};
pub use self::decode::{HeaderRefs, RecordRef, Records, decode};
pub use self::retain::{emptied, gap, retain};
use crate::{compression, varint};

/// A record, owning slices of its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Key, or null.
    pub key: Option<Bytes>,
    /// Value, or null (a tombstone in a compacted topic).
    pub value: Option<Bytes>,
    /// Name and value of each header, in the order they were written; names may repeat.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// Why records were not encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The codec failed.
    #[error("record batch at offset {base_offset}: {source}")]
    Compression {
        /// Base offset of the batch.
        base_offset: i64,
        /// What the codec says.
        source: compression::Error,
    },
    /// A record's bytes make no sense.
    #[error("record {index} of the batch at offset {base_offset} is malformed: {what}")]
    Malformed {
        /// Base offset of the batch.
        base_offset: i64,
        /// Which record, counted from 0.
        index: i32,
        /// What is wrong.
        what: Fault,
    },
    /// The batch has more bytes than its records.
    #[error("record batch at offset {base_offset} has {extra} bytes after its last record")]
    TrailingBytes {
        /// Base offset of the batch.
        base_offset: i64,
        /// How many.
        extra: usize,
    },
    /// The batch under construction has no room for the record.
    #[error(
        "a record of {record_bytes} bytes does not fit into a batch that has {batch_bytes}; the format ends at 2 GiB"
    )]
    TooLarge {
        /// Bytes of the record that was refused.
        record_bytes: usize,
        /// Bytes of the batch so far.
        batch_bytes: usize,
    },
    /// Not the key or value of a control record.
    #[error("control record is malformed: {0} bytes of key, value or both are not what KIP-98 describes")]
    MalformedControl(usize),
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A number does not end or does not fit.
    #[error("{0}")]
    Varint(#[from] varint::Error),
    /// A length is negative (and not the -1 of null) or runs past the record.
    #[error("a length is {0}, which is not what is left")]
    Length(i64),
    /// Fields and record length disagree.
    #[error("its length is larger than its fields by {0} bytes")]
    Trailing(usize),
    /// The number of headers cannot be true.
    #[error("it claims {0} headers")]
    HeaderCount(i32),
    /// The attributes are missing.
    #[error("it is empty")]
    Empty,
}

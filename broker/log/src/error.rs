//! What can go wrong with a log, and the error code a client is told.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_wire::ids::{Offset, ProducerEpoch, ProducerId};

use crate::TopicPartition;

/// Numbers of Kafka's protocol errors that a log answers with.
mod code {
    pub(super) const OFFSET_OUT_OF_RANGE: i16 = 1;
    pub(super) const CORRUPT_MESSAGE: i16 = 2;
    pub(super) const MESSAGE_TOO_LARGE: i16 = 10;
    pub(super) const RECORD_LIST_TOO_LARGE: i16 = 18;
    pub(super) const INVALID_TIMESTAMP: i16 = 32;
    pub(super) const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
    pub(super) const INVALID_PRODUCER_EPOCH: i16 = 47;
    pub(super) const INVALID_TXN_STATE: i16 = 48;
    pub(super) const TRANSACTION_COORDINATOR_FENCED: i16 = 52;
    pub(super) const KAFKA_STORAGE_ERROR: i16 = 56;
    pub(super) const INVALID_RECORD: i16 = 87;
}

/// Why a log could not be opened, read, synced or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that were once durable are not what was written. Nothing has been changed.
    #[error(
        "{} is corrupt at byte {position} (offset {offset}, below the recovery point {recovery_point}): {reason}; \
         restore the file from a replica or a backup, or allow the log to be cut there with \
         log.recovery.corruption.policy=cut (what is cut off is kept beside it)",
        path.display()
    )]
    Corrupt {
        /// The segment.
        path: PathBuf,
        /// Where in it the first bad batch begins.
        position: u64,
        /// The offset that should stand there.
        offset: i64,
        /// Everything below had been synced.
        recovery_point: i64,
        /// What is wrong with the batch.
        reason: String,
    },
    /// A small file of the data directory makes no sense.
    #[error("{} is malformed: {reason}; repair or remove it", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line where there is one.
        reason: String,
    },
    /// An offset that the log does not have.
    #[error(
        "{partition}: offset {offset} is out of range; the log has {start} to {end}; reset the position or wait"
    )]
    OffsetOutOfRange {
        /// Whose log.
        partition: TopicPartition,
        /// What was asked for.
        offset: Offset,
        /// The log start offset.
        start: Offset,
        /// The log end offset.
        end: Offset,
    },
    /// An earlier failure made the log refuse everything but reads.
    #[error("{partition} is offline: {reason}; free or repair the disk, it is opened again now and then")]
    Offline {
        /// Whose log.
        partition: TopicPartition,
        /// The first failure.
        reason: String,
    },
    /// Another process, or another broker in this one, uses the data directory.
    #[error("{} is in use by another broker; stop it or choose another data directory", .0.display())]
    Locked(PathBuf),
    /// The data directory belongs to someone else.
    #[error("{}: {reason}", path.display())]
    WrongDirectory {
        /// `meta.properties` of the directory.
        path: PathBuf,
        /// Which id differs, and the way out.
        reason: String,
    },
    /// A partition folder of that name is there already.
    #[error("{0} exists already")]
    PartitionExists(TopicPartition),
    /// Stored records cannot be decoded.
    #[error("{partition}: cannot look into the records: {reason}")]
    Undecodable {
        /// Whose log.
        partition: TopicPartition,
        /// What the decoder says.
        reason: String,
    },
}

impl Error {
    /// The protocol's error code.
    pub fn code(&self) -> i16 {
        match self {
            Error::OffsetOutOfRange { .. } => code::OFFSET_OUT_OF_RANGE,
            Error::Corrupt { .. } | Error::Undecodable { .. } => code::CORRUPT_MESSAGE,
            _ => code::KAFKA_STORAGE_ERROR,
        }
    }
}

/// Turns an [`io::Error`] into one that names the file.
pub(crate) fn io_error<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::Io { action, path: path.to_path_buf(), source }
}

/// Why batches were not appended. Nothing of the request they came in is in the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The CRC does not match.
    #[error("{0}")]
    Corrupt(String),
    /// A batch that no client may write: a wrong count, a control batch, no key on a compacted topic.
    #[error("{0}")]
    InvalidRecord(String),
    /// A batch above `max.message.bytes`.
    #[error("a batch of {bytes} bytes is larger than max.message.bytes ({bytes_max})")]
    TooLarge {
        /// Size of the batch.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A request above `segment.bytes`.
    #[error("{bytes} bytes are larger than segment.bytes ({bytes_max})")]
    SetTooLarge {
        /// Size of the batches together.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A time outside `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms`.
    #[error("timestamp {timestamp_ms} is too far from the broker's time {now_ms}")]
    InvalidTimestamp {
        /// The batch's.
        timestamp_ms: i64,
        /// The broker's.
        now_ms: i64,
    },
    /// A gap in a producer's sequence numbers.
    #[error("producer {producer} sent sequence {got}, expected {expected}")]
    OutOfOrderSequence {
        /// Who.
        producer: ProducerId,
        /// What came.
        got: i32,
        /// What should have come.
        expected: i32,
    },
    /// An epoch below the producer's newest: a zombie.
    #[error("producer {producer} has epoch {got}, its newest is {newest}")]
    InvalidProducerEpoch {
        /// Who.
        producer: ProducerId,
        /// The batch's epoch.
        got: ProducerEpoch,
        /// The newest known.
        newest: ProducerEpoch,
    },
    /// A write outside a transaction by a producer that has one open.
    #[error("producer {producer} has an open transaction and wrote outside of it")]
    InvalidTxnState {
        /// Who.
        producer: ProducerId,
    },
    /// A marker of a coordinator that has been replaced.
    #[error("a marker of coordinator epoch {got} for producer {producer}; the newest is {newest}")]
    CoordinatorFenced {
        /// Whose transaction.
        producer: ProducerId,
        /// The marker's coordinator epoch.
        got: i32,
        /// The newest known.
        newest: i32,
    },
    /// The disk failed; the log stands where it stood before.
    #[error("{0}")]
    Storage(Arc<Error>),
}

impl AppendError {
    /// The protocol's error code.
    pub fn code(&self) -> i16 {
        match self {
            AppendError::Corrupt(_) => code::CORRUPT_MESSAGE,
            AppendError::InvalidRecord(_) => code::INVALID_RECORD,
            AppendError::TooLarge { .. } => code::MESSAGE_TOO_LARGE,
            AppendError::SetTooLarge { .. } => code::RECORD_LIST_TOO_LARGE,
            AppendError::InvalidTimestamp { .. } => code::INVALID_TIMESTAMP,
            AppendError::OutOfOrderSequence { .. } => code::OUT_OF_ORDER_SEQUENCE_NUMBER,
            AppendError::InvalidProducerEpoch { .. } => code::INVALID_PRODUCER_EPOCH,
            AppendError::InvalidTxnState { .. } => code::INVALID_TXN_STATE,
            AppendError::CoordinatorFenced { .. } => code::TRANSACTION_COORDINATOR_FENCED,
            AppendError::Storage(error) => error.code(),
        }
    }
}

impl From<Error> for AppendError {
    fn from(error: Error) -> Self {
        AppendError::Storage(Arc::new(error))
    }
}

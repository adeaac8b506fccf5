//! What a partition answers instead of doing what was asked, and the wire's code for it.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use millrace_log::AppendError;
use millrace_wire::ids::{Offset, ProducerId};

/// Why a partition didn't do it.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// This node has no such partition.
    #[error("this broker has no partition {partition} of topic {topic}; refresh the metadata")]
    UnknownPartition { topic: String, partition: i32 },
    /// No topic has this id.
    #[error("no topic has the id {0}; refresh the metadata")]
    UnknownTopicId(uuid::Uuid),
    /// The partition is led by another node.
    #[error("this broker does not lead topic {topic} partition {partition}; refresh the metadata")]
    NotLeader { topic: String, partition: i32 },
    /// The partition's log could not be opened.
    #[error(
        "topic {topic} partition {partition} is offline: its log could not be opened; see the broker's log"
    )]
    Offline { topic: String, partition: i32 },
    /// The log failed and was opened again while somebody waited for the disk.
    #[error(
        "topic {topic} partition {partition}: its log failed before the records were on disk and was opened again; send them again"
    )]
    Reopened { topic: String, partition: i32 },
    /// The client knows an older leader.
    #[error("leader epoch {asked} is older than {current}; refresh the metadata")]
    FencedLeaderEpoch { asked: i32, current: i32 },
    /// The client knows a leader that this node hasn't heard of.
    #[error("leader epoch {asked} is newer than {current}; try again")]
    UnknownLeaderEpoch { asked: i32, current: i32 },
    /// An offset that the log doesn't have.
    #[error("offset {asked} is out of range; the log has {start} to {end}; reset the position or wait")]
    OffsetOutOfRange { asked: Offset, start: Offset, end: Offset },
    /// Fewer replicas are in sync than `min.insync.replicas` asks for.
    #[error("{in_sync} replicas are in sync, min.insync.replicas is {wanted}; nothing was written")]
    NotEnoughReplicas { in_sync: i32, wanted: i32 },
    /// The coordinator did not say that the partition is part of the transaction, or its end came first.
    #[error("the partition is not part of an open transaction of producer {producer}; abort and begin anew")]
    NotInTransaction { producer: ProducerId },
    /// The log refused the batch.
    #[error("{0}")]
    Append(#[from] AppendError),
    /// The log can't be read, written or synced.
    #[error("{0}")]
    Log(#[from] Arc<millrace_log::Error>),
    /// The topic was deleted, or the broker stops.
    #[error("the partition is closed; refresh the metadata")]
    Closed,
}

impl From<millrace_log::Error> for Error {
    fn from(error: millrace_log::Error) -> Self {
        Self::Log(Arc::new(error))
    }
}

impl Error {
    /// The wire's answer.
    pub(crate) fn code(&self) -> i16 {
        match self {
            Self::UnknownPartition { .. } => ResponseError::UnknownTopicOrPartition.code(),
            Self::UnknownTopicId(_) => ResponseError::UnknownTopicId.code(),
            Self::NotLeader { .. } | Self::Closed => ResponseError::NotLeaderOrFollower.code(),
            Self::Offline { .. } | Self::Reopened { .. } => ResponseError::KafkaStorageError.code(),
            Self::FencedLeaderEpoch { .. } => ResponseError::FencedLeaderEpoch.code(),
            Self::UnknownLeaderEpoch { .. } => ResponseError::UnknownLeaderEpoch.code(),
            Self::OffsetOutOfRange { .. } => ResponseError::OffsetOutOfRange.code(),
            Self::NotEnoughReplicas { .. } => ResponseError::NotEnoughReplicas.code(),
            Self::NotInTransaction { .. } => ResponseError::InvalidTxnState.code(),
            Self::Append(error) => error.code(),
            Self::Log(error) => error.code(),
        }
    }

    /// The same as an error of the protocol crate.
    pub(crate) fn response(&self) -> ResponseError {
        ResponseError::try_from_code(self.code()).unwrap_or(ResponseError::UnknownServerError)
    }
}

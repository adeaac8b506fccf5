//! What can go wrong between a caller and a cluster, and what the caller may do about it.
//!
//! A broker's error code decides once, here, whether the same request may be sent again ([`Error::is_retriable`]), whether
//! a newer producer has taken over ([`Error::is_fenced`]) or whether only a new producer helps ([`Error::is_fatal`]).
//! Errors are cheap to clone: one failed batch tells each of its records.

use std::io;
use std::sync::Arc;

pub use kafka_protocol::ResponseError;
use millrace_wire::{frame, guard, record};

/// Result with this module's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Failure of a client call.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A setting makes no sense.
    #[error("client setting {name} is {value:?}; {expected}")]
    Config {
        /// Name of the setting.
        name: &'static str,
        /// What it was.
        value: String,
        /// What is expected instead.
        expected: &'static str,
    },
    /// No connection came about.
    #[error("cannot connect to broker {address}: {source}")]
    Connect {
        /// `host:port`.
        address: String,
        /// What the transport says.
        source: Arc<io::Error>,
    },
    /// None of the known addresses answered.
    #[error("no broker answers, tried {tried}; last error: {last}")]
    NoBroker {
        /// Addresses, separated by commas.
        tried: String,
        /// What the last one said.
        last: Arc<Error>,
    },
    /// The connection broke; whether the request took effect is unknown.
    #[error("connection to broker {address} closed: {reason}")]
    Disconnected {
        /// `host:port`.
        address: String,
        /// How it ended.
        reason: String,
    },
    /// No answer in time.
    #[error("{what} timed out after {after_ms} ms")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long, in milliseconds.
        after_ms: u128,
    },
    /// The broker says no.
    #[error("{subject}: {api} failed with {code:?} ({}){}", .code.code(), .message.as_ref().map(|m| format!(": {m}")).unwrap_or_default())]
    Broker {
        /// Name of the request.
        api: &'static str,
        /// Topic, partition, group or whatever it was about.
        subject: String,
        /// Kafka's error code.
        code: ResponseError,
        /// The broker's own words.
        message: Option<String>,
    },
    /// The broker offers no version of a request that this client speaks.
    #[error("broker {address} does not support {api} in any version from {min} to {max}")]
    Unsupported {
        /// `host:port`.
        address: String,
        /// Name of the request.
        api: &'static str,
        /// Oldest version that this client speaks.
        min: i16,
        /// Newest version that this client speaks.
        max: i16,
    },
    /// The broker's bytes make no sense.
    #[error("broker {address} sent a malformed response: {reason}")]
    Malformed {
        /// `host:port`.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// Records could not be encoded or decoded.
    #[error("{subject}: {source}")]
    Record {
        /// Topic and partition.
        subject: String,
        /// What is wrong.
        source: Arc<record::Error>,
    },
    /// The record is larger than a request may be.
    #[error(
        "a record of {size} bytes for topic {topic} is larger than max.request.size {limit}; raise it or send less"
    )]
    RecordTooLarge {
        /// Topic of the record.
        topic: String,
        /// Bytes with overhead.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A partition that the topic does not have.
    #[error("topic {topic} has no partition {partition}; it has {count}")]
    NoSuchPartition {
        /// Topic.
        topic: String,
        /// What was asked for.
        partition: i32,
        /// How many there are.
        count: usize,
    },
    /// A batch was given up without knowing whether it is in the log.
    #[error("{subject}: {count} records may or may not have been written: {reason}")]
    InDoubt {
        /// Topic and partition.
        subject: String,
        /// Records concerned.
        count: usize,
        /// Why it was given up.
        reason: String,
    },
    /// The transaction must be aborted before anything else.
    #[error("the transaction must be aborted: {0}")]
    Abort(Arc<Error>),
    /// The producer is of no more use.
    #[error("the producer cannot go on: {0}")]
    Fatal(Arc<Error>),
    /// A call that does not fit the producer's or consumer's state.
    #[error("{call} is not possible: {reason}")]
    State {
        /// Name of the call.
        call: &'static str,
        /// What stands against it.
        reason: String,
    },
    /// There is no committed offset and no reset policy.
    #[error("{subject} has no position and auto.offset.reset is none; seek or commit an offset first")]
    NoPosition {
        /// Topic and partition.
        subject: String,
    },
    /// The producer, consumer or client was closed.
    #[error("the {0} is closed")]
    Closed(&'static str),
}

impl Error {
    /// A broker's error code.
    pub(crate) fn broker(api: &'static str, subject: impl Into<String>, code: ResponseError) -> Self {
        Self::Broker { api, subject: subject.into(), code, message: None }
    }

    /// Turns a response's error code into a result.
    pub(crate) fn check(api: &'static str, subject: impl FnOnce() -> String, code: i16) -> Result<()> {
        match ResponseError::try_from_code(code) {
            None => Ok(()),
            Some(code) => Err(Self::broker(api, subject(), code)),
        }
    }

    /// As [`Self::check`], with the broker's message.
    pub(crate) fn check_with(
        api: &'static str,
        subject: impl FnOnce() -> String,
        code: i16,
        message: Option<&str>,
    ) -> Result<()> {
        match ResponseError::try_from_code(code) {
            None => Ok(()),
            Some(code) => {
                let message = message.filter(|m| !m.is_empty()).map(str::to_owned);
                Err(Self::Broker { api, subject: subject(), code, message })
            }
        }
    }

    /// The broker's error code, if a broker said it.
    pub fn code(&self) -> Option<ResponseError> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            Self::Abort(inner) | Self::Fatal(inner) => inner.code(),
            _ => None,
        }
    }

    /// Whether the same request may succeed when it is sent again after a pause.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::NoBroker { .. }
            | Self::Disconnected { .. }
            | Self::Timeout { .. } => true,
            Self::Broker { code, .. } => {
                // Concurrent transactions end by themselves, though Kafka's table does not call the code retriable.
                code.is_retriable() || *code == ResponseError::ConcurrentTransactions
            }
            _ => false,
        }
    }

    /// Whether the outcome of the request is unknown.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Disconnected { .. } | Self::Timeout { .. } | Self::InDoubt { .. })
    }

    /// Whether another producer with the same transactional id, or another member of the group, has taken over.
    pub fn is_fenced(&self) -> bool {
        use ResponseError as E;
        let fencing = [E::ProducerFenced, E::InvalidProducerEpoch, E::FencedInstanceId];
        self.code().is_some_and(|code| fencing.contains(&code))
    }

    /// Whether the transaction must be aborted, after which the producer can go on.
    pub fn needs_abort(&self) -> bool {
        matches!(self, Self::Abort(_))
    }

    /// Whether the producer is of no more use.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Fatal(_) | Self::Closed(_)) || self.is_fenced()
    }

    /// Whether the leader is elsewhere, so that metadata should be fetched again.
    pub(crate) fn wants_metadata(&self) -> bool {
        use ResponseError as E;
        let moved = [
            E::NotLeaderOrFollower,
            E::UnknownTopicOrPartition,
            E::LeaderNotAvailable,
            E::FencedLeaderEpoch,
            E::UnknownLeaderEpoch,
            E::ReplicaNotAvailable,
            E::KafkaStorageError,
            E::UnknownTopicId,
        ];
        match self {
            Self::Broker { code, .. } => moved.contains(code),
            other => other.is_retriable(),
        }
    }

    /// Whether the group's or the transaction's coordinator is elsewhere.
    pub(crate) fn wants_coordinator(&self) -> bool {
        use ResponseError as E;
        match self {
            Self::Broker { code, .. } => [E::NotCoordinator, E::CoordinatorNotAvailable].contains(code),
            other => other.is_retriable(),
        }
    }

    pub(crate) fn malformed(address: &str, reason: impl ToString) -> Self {
        Self::Malformed { address: address.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn from_frame(address: &str, error: frame::Error) -> Self {
        Self::Disconnected { address: address.to_owned(), reason: error.to_string() }
    }

    pub(crate) fn from_guard(address: &str, error: &guard::Error) -> Self {
        Self::malformed(address, error)
    }
}

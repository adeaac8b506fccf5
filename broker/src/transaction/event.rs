//! What the transaction coordinator is asked, what it does about it, and what it answers.

use crate::coordinators::{KeyValue, Producer, Token, TopicPartition, WriteId};
use crate::transaction::state::Protocol;
use kafka_protocol::ResponseError;

/// Something that happens to the coordinator.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A producer begins, or recovers.
    Init(Token, Init),
    /// There is no producer id for a request that needs one.
    NoProducerId(Token, NeedsId, ResponseError),
    /// Partitions become part of the transaction.
    AddPartitions(Token, AddPartitions),
    /// The producer decides.
    End(Token, End),
    /// All markers of a decided transaction were written, or some could not be.
    Marked {
        /// The transactional id.
        transactional_id: String,
        /// Whose transaction: an answer for an earlier one is ignored.
        producer: Producer,
        /// Where they could not be written; nowhere, if all is well.
        untold: Vec<TopicPartition>,
    },
    /// The disk has answered the append `WriteId`.
    Written(WriteId, Result<(), ResponseError>),
    /// Time has passed: deadlines may be due.
    Tick,
}

/// An InitProducerId request with a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Init {
    /// `transactional.id`.
    pub(crate) transactional_id: String,
    /// After how long the coordinator aborts what is left open.
    pub(crate) timeout_ms: i32,
    /// Who the producer believes to be, when it recovers from an error (version 3 and up, KIP-360).
    pub(crate) expected: Option<Producer>,
    /// A producer id nobody has, once the coordinator has asked for it.
    pub(crate) fresh_producer_id: Option<i64>,
}

/// An AddPartitionsToTxn or AddOffsetsToTxn request, or a first write to partitions by the second protocol.
#[derive(Clone, Debug)]
pub(crate) struct AddPartitions {
    /// `transactional.id`.
    pub(crate) transactional_id: String,
    /// Who asks.
    pub(crate) producer: Producer,
    /// Partitions to be written to.
    pub(crate) partitions: Vec<TopicPartition>,
    /// How the client speaks.
    pub(crate) protocol: Protocol,
}

/// A request that may need a producer id nobody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NeedsId {
    /// A producer begins, and its id is new or has no epochs left.
    Init(Init),
    /// A transaction ends by the second protocol, and the producer's id has no epochs left.
    End(End),
}

/// An EndTxn request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// `transactional.id`.
    pub(crate) transactional_id: String,
    /// Who asks.
    pub(crate) producer: Producer,
    /// Commit or abort.
    pub(crate) commit: bool,
    /// How the client speaks.
    pub(crate) protocol: Protocol,
    /// A producer id nobody has, once the coordinator has asked for it.
    pub(crate) fresh_producer_id: Option<i64>,
}

/// What the service has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Answer a request.
    Reply(Token, Reply),
    /// Get a producer id that nobody has and send the request again with it.
    AllocateProducerId(Token, NeedsId),
    /// Append a record and report `Event::Written` once it is durable, in the order of the appends.
    Append(WriteId, KeyValue),
    /// Write the end of a transaction to all its partitions and report `Event::Marked`.
    WriteMarkers(Markers),
}

/// The end of a transaction, to be told to its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Markers {
    /// To report back.
    pub(crate) transactional_id: String,
    /// Whose transaction; the epoch may be higher than that of the records if the producer was fenced.
    pub(crate) producer: Producer,
    /// Commit or abort.
    pub(crate) commit: bool,
    /// Where.
    pub(crate) partitions: Vec<TopicPartition>,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// To `Init`.
    Init(Result<Producer, ResponseError>),
    /// To `AddPartitions`.
    Done(Result<(), ResponseError>),
    /// To `End`: who the producer is from now on.
    Ended(Result<Producer, ResponseError>),
}

//! One transactional id.
//!
//! ```text
//!          AddPartitions, AddOffsets        EndTxn: commit                  all markers written
//!   Empty -------------------------> Ongoing -------------> PrepareCommit -----------------> CompleteCommit
//!     ^                               ^  |                                                        |
//!     |  InitProducerId               |  | EndTxn: abort, timeout, InitProducerId                 | AddPartitions:
//!     +--- from any Complete state    |  +------------> PrepareAbort ------> CompleteAbort        | Ongoing again
//!                                     +------------------------------------------+----------------+
//! ```
//!
//! What is stored of an id is a [`Stored`]; a transition is a new `Stored` on its way to the disk, and until the disk has
//! answered every other request for the id is told CONCURRENT_TRANSACTIONS.

use crate::coordinators::{Producer, Token, TopicPartition};
use crate::transaction::event::AddPartitions;
use std::collections::BTreeSet;

/// No producer id, no time: Kafka writes -1.
pub(crate) const NONE: i64 = -1;

/// The epoch of an id whose first InitProducerId has not finished.
pub(crate) const NO_EPOCH: i16 = -1;

/// Where a transaction stands. The numbers are those in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Nothing since InitProducerId.
    Empty = 0,
    /// Partitions were added.
    Ongoing = 1,
    /// Decided: it commits.
    PrepareCommit = 2,
    /// Decided: it aborts.
    PrepareAbort = 3,
    /// Committed, and every partition knows.
    CompleteCommit = 4,
    /// Aborted, and every partition knows.
    CompleteAbort = 5,
    /// The id is being forgotten.
    Dead = 6,
}

impl State {
    /// All states that can stand in a log or in a filter.
    pub(crate) const ALL: [Self; 7] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
        Self::Dead,
    ];

    /// The name that tools show.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
            Self::Dead => "Dead",
        }
    }

    /// The decision that is being told to the partitions: commit or abort.
    pub(crate) fn prepared(self) -> Option<bool> {
        match self {
            Self::PrepareCommit => Some(true),
            Self::PrepareAbort => Some(false),
            _ => None,
        }
    }
}

/// What is stored of a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Who may write in its name.
    pub(crate) producer: Producer,
    /// The producer id before the epochs of the last one ran out, or -1.
    pub(crate) previous_producer_id: i64,
    /// After how long the coordinator aborts.
    pub(crate) timeout_ms: i32,
    /// Where it stands.
    pub(crate) state: State,
    /// The partitions of the current transaction.
    pub(crate) partitions: BTreeSet<TopicPartition>,
    /// When this record was made.
    pub(crate) updated_ms: i64,
    /// When the transaction began, or -1.
    pub(crate) started_ms: i64,
}

/// A transactional id in memory.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    /// `transactional.id`.
    pub(crate) id: String,
    /// What is durable.
    pub(crate) current: Stored,
    /// What is on its way to the disk.
    pub(crate) pending: Option<Stored>,
    /// The epoch before the last bump, if the producer itself asked for that bump: its retry is answered with the
    /// bumped epoch instead of a fence (KIP-360). Not stored, as in Kafka.
    pub(crate) last_epoch: i16,
    /// At least one record is in the log.
    pub(crate) in_log: bool,
    /// The first partitions of the next transaction, asked for while this one's partitions are still being told. At
    /// most one request waits; it is answered when that is over, or told to come again if it takes long.
    pub(crate) queued: Option<(Token, AddPartitions)>,
    /// Partitions that could not be told of the decision so far; before the first try, none is known.
    pub(crate) untold: Option<Vec<TopicPartition>>,
}

impl Transaction {
    /// An id that was never seen before.
    pub(crate) fn new(id: String, producer_id: i64, timeout_ms: i32, now_ms: i64) -> Self {
        let current = Stored {
            producer: Producer { id: producer_id, epoch: NO_EPOCH },
            previous_producer_id: NONE,
            timeout_ms,
            state: State::Empty,
            partitions: BTreeSet::new(),
            updated_ms: now_ms,
            started_ms: NONE,
        };
        Self { id, current, pending: None, last_epoch: NO_EPOCH, in_log: false, queued: None, untold: None }
    }

    /// Epochs are 16 bits; the last one is kept for fencing.
    pub(crate) fn epochs_exhausted(&self) -> bool {
        self.current.producer.epoch >= i16::MAX - 1
    }
}

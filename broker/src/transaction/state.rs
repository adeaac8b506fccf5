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
//! With the second protocol (KIP-890) EndTxn moves on to the next epoch, or to a new producer id when the epochs run out, in
//! the same record as the decision: whatever arrives late for the transaction before is refused by its epoch.
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
    /// While a decision is told under an id whose epochs ran out with it: the id of the next transaction. Else -1.
    pub(crate) next_producer_id: i64,
    /// The protocol by which the client brought about this state: `transaction.version` as it understood it.
    pub(crate) protocol: Protocol,
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

/// How a client speaks of transactions; the numbers are those in the log (`ClientTransactionVersion`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    /// KIP-98: an epoch lasts for many transactions, and the producer names each partition beforehand.
    #[default]
    First = 0,
    /// KIP-890: every transaction has an epoch of its own.
    Second = 2,
}

impl Stored {
    /// The producer that may speak for the id from now on.
    pub(crate) fn owner(&self) -> Producer {
        match self.next_producer_id {
            NONE => self.producer,
            id => Producer { id, epoch: 0 },
        }
    }

    /// Whether `asked` brought this state about by an EndTxn of the second protocol, so that it asks for the second time.
    pub(crate) fn was_ended_by(&self, asked: Producer) -> bool {
        let bumped = asked.id == self.producer.id && asked.epoch.checked_add(1) == Some(self.producer.epoch);
        let replaced =
            asked.id == self.previous_producer_id && is_last_epoch(asked.epoch) && self.producer.epoch == 0;
        self.protocol == Protocol::Second && (bumped || replaced)
    }
}

/// Epochs are 16 bits; the very last one is never given out, but kept for fencing.
pub(crate) fn is_last_epoch(epoch: i16) -> bool {
    epoch >= i16::MAX - 1
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
    /// Partitions that were asked for while others are on their way to the disk, or while those of the transaction before
    /// are still being told of its end. At most [`QUEUED_MAX`](super::config::QUEUED_MAX) requests wait; they are added
    /// together when that is over, or told to come again if it takes long.
    pub(crate) queued: Vec<(Token, AddPartitions)>,
    /// Partitions that could not be told of the decision so far; before the first try, none is known.
    pub(crate) untold: Option<Vec<TopicPartition>>,
}

impl Transaction {
    /// An id that was never seen before.
    pub(crate) fn new(id: String, producer_id: i64, timeout_ms: i32, now_ms: i64) -> Self {
        let current = Stored {
            producer: Producer { id: producer_id, epoch: NO_EPOCH },
            previous_producer_id: NONE,
            next_producer_id: NONE,
            protocol: Protocol::First,
            timeout_ms,
            state: State::Empty,
            partitions: BTreeSet::new(),
            updated_ms: now_ms,
            started_ms: NONE,
        };
        Self {
            id,
            current,
            pending: None,
            last_epoch: NO_EPOCH,
            in_log: false,
            queued: Vec::new(),
            untold: None,
        }
    }

    /// Whether partitions that are asked for now can be added as soon as the disk, or the partitions of the transaction
    /// before, have answered.
    pub(crate) fn is_soon_ready(&self) -> bool {
        let adding = self.pending.as_ref().is_some_and(|next| next.state == State::Ongoing);
        adding || self.current.state.prepared().is_some()
    }

    /// Whether the next bump needs a new producer id.
    pub(crate) fn epochs_exhausted(&self) -> bool {
        is_last_epoch(self.current.producer.epoch)
    }
}

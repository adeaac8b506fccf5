//! What the clients of a simulated run saw: the only evidence that the checker judges.
//!
//! It is written by the clients themselves, in the order in which they learned things, and never looks into the broker.

use std::collections::BTreeMap;
use std::fmt;

/// One record, named by who sent it: the pair stands in the record's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Which producer session.
    pub producer: u32,
    /// The session's count of records, from 0.
    pub number: u32,
}

impl Id {
    /// As a record's value.
    pub fn encode(self) -> String {
        format!("{}:{}", self.producer, self.number)
    }

    /// From a record's value.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let (producer, number) = std::str::from_utf8(value).ok()?.split_once(':')?;
        Some(Self { producer: producer.parse().ok()?, number: number.parse().ok()? })
    }
}

/// The topics of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Where producers write to, and groups read from.
    Input,
    /// Where the members of a group write what they made of the input.
    Output,
}

/// One partition of one of the topics.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The topic.
    pub topic: Topic,
    /// The partition's number in it.
    pub number: i32,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}-{}", self.topic, self.number)
    }
}

/// How a send ended for the one who sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The broker acknowledged it at this offset.
    Acknowledged(i64),
    /// Nothing is known: it may be there once, or not at all.
    Unknown,
}

/// How a transaction ended for the one who ran it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// `commit` answered.
    Committed,
    /// `abort` answered.
    Aborted,
    /// Neither did: it may have been committed or aborted, but as a whole.
    Unknown,
}

/// One record that was sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// The record.
    pub id: Id,
    /// Where to.
    pub partition: Partition,
    /// Index into [`History::transactions`], or none outside of one.
    pub transaction: Option<usize>,
    /// The record of the input that it was made from, if a group's member made it.
    pub source: Option<Id>,
    /// What came of it.
    pub outcome: Outcome,
}

/// One transaction.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// What came of it.
    pub verdict: Verdict,
    /// When it began: see [`History::moment`].
    pub began: u64,
    /// When its commit was asked for; of an aborted one nothing was asked.
    pub asked: Option<u64>,
    /// When the commit or abort answered.
    pub ended: Option<u64>,
    /// The records that were read inside of it.
    pub reads: Vec<Id>,
    /// The offsets that it commits for [`History::groups`]' transactional one.
    pub offsets: Offsets,
}

impl Transaction {
    /// One of which nothing is known yet but when it began.
    pub fn begun(moment: u64) -> Self {
        Self {
            verdict: Verdict::Unknown,
            began: moment,
            asked: None,
            ended: None,
            reads: Vec::new(),
            offsets: Offsets::new(),
        }
    }
}

/// The offset of the next record to read, by partition.
pub type Offsets = BTreeMap<Partition, i64>;

/// One record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Where it stood.
    pub partition: Partition,
    /// Its offset.
    pub offset: i64,
    /// The record.
    pub id: Id,
    /// How much had been sent and decided by then: see [`History::moment`].
    pub at: u64,
}

/// What one consumer session read, in the order in which it was handed out. A group's member begins a new one with each
/// assignment, and wherever it goes back itself.
#[derive(Debug, Default, Clone)]
pub struct Session {
    /// Whether it asked for committed records only.
    pub committed_only: bool,
    /// Whether it began at offset 0, and not at one that the broker gave.
    pub from_start: bool,
    /// The records.
    pub seen: Vec<Seen>,
}

/// What a consumer group was seen to do.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: &'static str,
    /// Whether its members commit their output and their offsets in one transaction.
    pub is_transactional: bool,
    /// Every assignment that a member was given.
    pub assignments: Vec<Assignment>,
    /// Every commit that was acknowledged, those in transactions included.
    pub acknowledged: Vec<Committed>,
    /// Every answer to the question for the committed offsets, in order; the last one was given when all was over.
    pub observed: Vec<Observed>,
    /// Indexes into [`History::sessions`]: what its members read.
    pub sessions: Vec<usize>,
}

/// What a group's member was given to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The group's generation.
    pub generation: i32,
    /// The member's id.
    pub member: String,
    /// What it was given.
    pub partitions: Vec<Partition>,
}

/// Offsets that were committed.
#[derive(Debug, Clone)]
pub struct Committed {
    /// When that was known.
    pub at: u64,
    /// The offsets.
    pub offsets: Offsets,
}

/// Committed offsets as they were asked for.
#[derive(Debug, Clone)]
pub struct Observed {
    /// When they were asked for.
    pub asked: u64,
    /// When the answer came.
    pub at: u64,
    /// The offsets; a partition without one is left out.
    pub offsets: Offsets,
}

/// The topics as they are read when all faults are over.
#[derive(Debug, Default, Clone)]
pub struct Final {
    /// Each partition's records in order, aborted ones included.
    pub all: BTreeMap<Partition, Vec<(i64, Id)>>,
    /// Each partition's committed records in order.
    pub committed: BTreeMap<Partition, Vec<(i64, Id)>>,
}

/// All evidence of one run.
#[derive(Debug, Default, Clone)]
pub struct History {
    /// Every record that a producer handed over.
    pub sent: Vec<Sent>,
    /// Every transaction.
    pub transactions: Vec<Transaction>,
    /// Counts what is written down, so that it can be said what came first.
    pub moment: u64,
    /// Every consumer session.
    pub sessions: Vec<Session>,
    /// Every consumer group.
    pub groups: Vec<Group>,
    /// What is there in the end.
    pub last: Final,
    /// Why sessions ended early: no anomaly, but what to look at when a run achieves nothing.
    pub broken: Vec<String>,
}

impl History {
    /// The next moment.
    pub fn tick(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }
}

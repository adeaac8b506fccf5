//! What the clients of a simulated run saw: the only evidence that the checker judges.
//!
//! It is written by the clients themselves, in the order in which they learned things, and never looks into the broker.

use std::collections::BTreeMap;

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
    pub partition: i32,
    /// Index into [`History::transactions`], or none outside of one.
    pub transaction: Option<usize>,
    /// What came of it.
    pub outcome: Outcome,
}

/// One record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Where it stood.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The record.
    pub id: Id,
    /// How much had been sent and decided by then: see [`History::moment`].
    pub at: u64,
}

/// What one consumer session read, in the order in which it was handed out.
#[derive(Debug, Default, Clone)]
pub struct Session {
    /// Whether it asked for committed records only.
    pub committed_only: bool,
    /// The records.
    pub seen: Vec<Seen>,
}

/// The topic as it is read when all faults are over.
#[derive(Debug, Default, Clone)]
pub struct Final {
    /// Each partition's records in order, aborted ones included.
    pub all: BTreeMap<i32, Vec<(i64, Id)>>,
    /// Each partition's committed records in order.
    pub committed: BTreeMap<i32, Vec<(i64, Id)>>,
}

/// All evidence of one run.
#[derive(Debug, Default, Clone)]
pub struct History {
    /// Every record that a producer handed over.
    pub sent: Vec<Sent>,
    /// Every transaction.
    pub transactions: Vec<Verdict>,
    /// When the commit of a transaction was asked for, by its index; of others nothing was asked.
    pub commits: BTreeMap<usize, u64>,
    /// Counts what is written down, so that it can be said what came first.
    pub moment: u64,
    /// Every consumer session.
    pub sessions: Vec<Session>,
    /// What is there in the end.
    pub last: Final,
    /// Why sessions ended early: no anomaly, but what to look at when a run achieves nothing.
    pub broken: Vec<String>,
}

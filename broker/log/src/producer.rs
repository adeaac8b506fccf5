//! What a log remembers of each producer that writes to it, so that a retry is not written twice and a zombie not at all.
//!
//! Follows KIP-98 and Apache Kafka's broker:
//! - the last [`BATCHES_KEPT`] batches of a producer are kept; a batch that is one of them is a duplicate and is
//!   answered with the offsets it got the first time;
//! - otherwise its first sequence must follow the last one (wrapping from `i32::MAX` to 0); a new epoch begins at 0;
//!   of a producer without state any sequence is taken (retention may have removed what it wrote before);
//! - an epoch below the newest is a zombie's;
//! - a transactional batch opens a transaction, a marker ends it. What is before the first open transaction is
//!   stable: the last stable offset never passes it.
//!
//! [`Producers`] is plain state without files or clock: the same batches give the same state, live or replayed.

use std::collections::BTreeMap;

use millrace_wire::ids::{NO_SEQUENCE, Offset, ProducerEpoch, ProducerId};

use crate::index::AbortedTxn;

mod check;
mod entry;
pub(crate) mod snapshot;
#[cfg(test)]
mod tests;

pub(crate) use check::{Checked, Marker, ProducerBatch};
pub(crate) use entry::{BatchSpan, ProducerEntry};

/// Batches remembered per producer: clients keep at most this many unanswered.
pub(crate) const BATCHES_KEPT: usize = 5;

/// Who appends, which decides how much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A client: everything is checked.
    Client,
    /// A coordinator of this broker: epochs are checked, sequences are not (its batches have none).
    Coordinator,
    /// A leader whose log is copied, or the log itself when it is read again: what was written stands.
    Replication,
}

/// A producer as the log sees it (DescribeProducers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its newest epoch.
    pub epoch: ProducerEpoch,
    /// The last sequence it wrote, -1 if none is known.
    pub last_sequence: i32,
    /// The time of its last batch or marker, milliseconds since 1970.
    pub last_timestamp: i64,
    /// The epoch of the coordinator that ended its last transaction, -1 if none did.
    pub coordinator_epoch: i32,
    /// The first offset of its open transaction.
    pub txn_first_offset: Option<Offset>,
}

/// A transaction that ended and whose marker may not be committed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Completed {
    first_offset: Offset,
    marker_offset: Offset,
}

/// All producers of a log, and its transactions.
///
/// Invariant: `open` holds exactly the entries' open transactions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Producers {
    entries: BTreeMap<ProducerId, ProducerEntry>,
    /// First offset of each open transaction.
    open: BTreeMap<Offset, ProducerId>,
    /// Ended transactions, until the high watermark has passed their markers.
    completed: BTreeMap<Offset, Completed>,
    /// How [`Producers::expire`] found each producer, and when it first found it so.
    found: BTreeMap<ProducerId, (Found, i64)>,
}

/// What changes with everything that a producer writes: epoch, last offset and last timestamp.
type Found = (ProducerEpoch, Option<Offset>, i64);

/// The transactions of a log at one moment, apart from the producers.
#[derive(Clone, Debug, Default)]
pub(crate) struct StableView {
    /// First offset of the oldest open transaction.
    first_open: Option<Offset>,
    /// First offset and marker of transactions that ended, of late.
    completed: Vec<(Offset, Offset)>,
}

impl StableView {
    /// The first offset that is not stable for a reader who sees up to `high_watermark`: that of the oldest
    /// transaction that is open or whose marker is not below the high watermark.
    pub(crate) fn first_unstable(&self, high_watermark: Offset) -> Option<Offset> {
        let unseen = self.completed.iter().filter(|(_, marker)| *marker >= high_watermark);
        unseen.map(|(first, _)| *first).chain(self.first_open).min()
    }
}

/// The state of one producer and its transactions before a batch, to go back to when the write fails.
#[derive(Clone, Debug)]
pub(crate) struct Undo {
    producer: ProducerId,
    before: Option<ProducerEntry>,
    completed: Option<Offset>,
}

impl Producers {
    /// The state that a snapshot's entries describe.
    pub(crate) fn from_entries(entries: impl IntoIterator<Item = ProducerEntry>) -> Self {
        let mut producers = Self::default();
        for entry in entries {
            if let Some(first) = entry.txn_first_offset {
                producers.open.insert(first, entry.producer_id);
            }
            producers.entries.insert(entry.producer_id, entry);
        }
        producers
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &ProducerEntry> {
        self.entries.values()
    }

    pub(crate) fn entry(&self, producer: ProducerId) -> Option<&ProducerEntry> {
        self.entries.get(&producer)
    }

    pub(crate) fn has_transactions(&self) -> bool {
        !self.open.is_empty() || !self.completed.is_empty()
    }

    pub(crate) fn active(&self) -> Vec<ActiveProducer> {
        let describe = |entry: &ProducerEntry| ActiveProducer {
            producer_id: entry.producer_id,
            epoch: entry.epoch,
            last_sequence: entry.last().map_or(NO_SEQUENCE, |batch| batch.last_sequence),
            last_timestamp: entry.last_timestamp,
            coordinator_epoch: entry.coordinator_epoch,
            txn_first_offset: entry.txn_first_offset,
        };
        self.entries.values().map(describe).collect()
    }

    /// Notes a batch that [`Producers::check`] let pass and that was written at `first..=last`.
    pub(crate) fn apply(&mut self, batch: &ProducerBatch, first: Offset, last: Offset) -> Undo {
        let before = self.entries.get(&batch.producer).cloned();
        let mut entry = before.clone().unwrap_or_else(|| ProducerEntry::new(batch.producer));
        entry.add(batch, last);
        if batch.transactional && entry.txn_first_offset.is_none() {
            entry.txn_first_offset = Some(first);
            self.open.insert(first, batch.producer);
        }
        self.entries.insert(batch.producer, entry);
        Undo { producer: batch.producer, before, completed: None }
    }

    /// Notes a marker written at `offset`; returns the transaction if it was aborted and had written something.
    pub(crate) fn apply_marker(&mut self, marker: &Marker, offset: Offset) -> (Undo, Option<AbortedTxn>) {
        let before = self.entries.get(&marker.producer).cloned();
        let mut entry = before.clone().unwrap_or_else(|| ProducerEntry::new(marker.producer));
        entry.end(marker);
        let first = entry.txn_first_offset.take();
        self.entries.insert(marker.producer, entry);
        let mut aborted = None;
        if let Some(first_offset) = first {
            self.open.remove(&first_offset);
            self.completed.insert(first_offset, Completed { first_offset, marker_offset: offset });
            aborted = marker.aborts.then(|| AbortedTxn {
                producer_id: marker.producer,
                first_offset,
                last_offset: offset,
                last_stable_offset: self.first_open().unwrap_or(offset.next()),
            });
        }
        (Undo { producer: marker.producer, before, completed: first }, aborted)
    }

    /// Takes back what one apply did; the newest first.
    pub(crate) fn undo(&mut self, undo: Undo) {
        let opened = self.entries.get(&undo.producer).and_then(|entry| entry.txn_first_offset);
        if let Some(first) = opened {
            self.open.remove(&first);
        }
        if let Some(first) = undo.completed {
            self.completed.remove(&first);
        }
        match undo.before {
            Some(entry) => {
                if let Some(first) = entry.txn_first_offset {
                    self.open.insert(first, undo.producer);
                }
                self.entries.insert(undo.producer, entry);
            }
            None => {
                self.entries.remove(&undo.producer);
            }
        }
    }

    /// The first offset of the oldest open transaction.
    pub(crate) fn first_open(&self) -> Option<Offset> {
        self.open.keys().next().copied()
    }

    /// The transactions as readers need them.
    pub(crate) fn stable_view(&self) -> StableView {
        let completed = self.completed.values().map(|txn| (txn.first_offset, txn.marker_offset)).collect();
        StableView { first_open: self.first_open(), completed }
    }

    /// Forgets the ended transactions whose markers are below the high watermark.
    pub(crate) fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.completed.retain(|_, txn| txn.marker_offset >= high_watermark);
    }

    /// Forgets producers that have written nothing for `expiration_ms` by the broker's clock, from the first call on
    /// that found them so, and have no open transaction. Timestamps are the producers' own: one that writes what happened
    /// years ago would be forgotten between a batch and its retry, which would be written twice.
    pub(crate) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        let mut found = std::mem::take(&mut self.found);
        self.entries.retain(|id, entry| {
            let state = (entry.epoch, entry.last().map(|batch| batch.last_offset), entry.last_timestamp);
            let since =
                found.get(id).filter(|(before, _)| *before == state).map_or(now_ms, |(_, since)| *since);
            let idle = entry.txn_first_offset.is_none() && now_ms.saturating_sub(since) >= expiration_ms;
            if idle {
                found.remove(id)
            } else {
                found.insert(*id, (state, since))
            };
            !idle
        });
        found.retain(|id, _| self.entries.contains_key(id));
        self.found = found;
    }

    /// The same for a state that was read back: nothing is known but the producers' timestamps. Those that wrote at
    /// `recent` or later stay in any case.
    pub(crate) fn expire_before(&mut self, recent: Offset, now_ms: i64, expiration_ms: i64) {
        self.entries.retain(|_, entry| {
            entry.txn_first_offset.is_some()
                || entry.last().is_some_and(|batch| batch.last_offset >= recent)
                || now_ms.saturating_sub(entry.last_timestamp) < expiration_ms
        });
    }
}

//! The committed offsets of one group.
//!
//! An offset that belongs to a transaction is pending until the transaction's marker reaches this partition of
//! `__consumer_offsets`. When it commits, the later record in the log wins: a plain commit that came after the
//! transactional one stays. Everything here is applied in the order of the log, live and when it is read again.

use crate::coordinators::TopicPartition;
use std::collections::BTreeMap;

/// An offset as it was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    /// The next offset to read.
    pub(crate) offset: i64,
    /// The leader epoch of the record before it, or -1.
    pub(crate) leader_epoch: i32,
    /// Free text of the client.
    pub(crate) metadata: String,
    /// When it was committed, in milliseconds since 1970.
    pub(crate) commit_ms: i64,
    /// When it goes, if the client said so (OffsetCommit versions 2 to 4).
    pub(crate) expire_ms: Option<i64>,
}

/// Offsets with the order in which they reached the log.
type Ordered = BTreeMap<TopicPartition, (u64, CommittedOffset)>;

/// Committed and pending offsets of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offsets {
    committed: Ordered,
    pending: BTreeMap<i64, Ordered>,
    applied: u64,
}

impl Offsets {
    /// No offsets, not even pending ones.
    pub(crate) fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    /// The offset to read on from.
    pub(crate) fn get(&self, partition: &TopicPartition) -> Option<&CommittedOffset> {
        self.committed.get(partition).map(|(_, committed)| committed)
    }

    /// All committed offsets by partition.
    pub(crate) fn committed(&self) -> impl Iterator<Item = (&TopicPartition, &CommittedOffset)> {
        self.committed.iter().map(|(partition, (_, committed))| (partition, committed))
    }

    /// Whether a transaction that has not ended has something to say about `partition`.
    pub(crate) fn is_pending(&self, partition: &TopicPartition) -> bool {
        self.pending.values().any(|offsets| offsets.contains_key(partition))
    }

    /// All partitions with a pending offset, in order, each once per producer.
    #[cfg(test)]
    pub(crate) fn pending(&self) -> impl Iterator<Item = (i64, &TopicPartition, &CommittedOffset)> {
        let each = self.pending.iter();
        each.flat_map(|(producer, offsets)| offsets.iter().map(|(tp, (_, offset))| (*producer, tp, offset)))
    }

    /// Applies a commit: at once, or as pending for `producer`'s transaction.
    pub(crate) fn put(&mut self, producer: Option<i64>, partition: TopicPartition, offset: CommittedOffset) {
        self.applied += 1;
        let target = match producer {
            Some(producer) => self.pending.entry(producer).or_default(),
            None => &mut self.committed,
        };
        target.insert(partition, (self.applied, offset));
    }

    /// Ends the transaction of `producer`.
    pub(crate) fn end_transaction(&mut self, producer: i64, commit: bool) {
        let Some(offsets) = self.pending.remove(&producer) else { return };
        if !commit {
            return;
        }
        for (partition, pending) in offsets {
            let newer = self.committed.get(&partition).is_some_and(|(order, _)| *order > pending.0);
            if !newer {
                self.committed.insert(partition, pending);
            }
        }
    }

    /// Applies a tombstone: takes `partition` out, pending or not.
    pub(crate) fn remove(&mut self, partition: &TopicPartition) {
        self.committed.remove(partition);
        self.pending.retain(|_, offsets| {
            offsets.remove(partition);
            !offsets.is_empty()
        });
    }

    /// Every partition that has something to take away.
    pub(crate) fn partitions(&self) -> Vec<TopicPartition> {
        let mut all: Vec<_> =
            self.committed.keys().chain(self.pending.values().flat_map(BTreeMap::keys)).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(offset: i64) -> CommittedOffset {
        CommittedOffset { offset, leader_epoch: -1, metadata: String::new(), commit_ms: 0, expire_ms: None }
    }

    fn at(offsets: &Offsets) -> Option<i64> {
        offsets.get(&TopicPartition::new("t", 0)).map(|committed| committed.offset)
    }

    #[test]
    fn a_transaction_counts_when_it_commits_and_never_when_it_aborts() {
        let tp = TopicPartition::new("t", 0);
        let mut offsets = Offsets::default();
        offsets.put(Some(7), tp.clone(), offset(5));
        assert!(offsets.is_pending(&tp));
        assert_eq!(at(&offsets), None);
        offsets.end_transaction(7, true);
        assert_eq!(at(&offsets), Some(5));
        offsets.put(Some(7), tp.clone(), offset(9));
        offsets.end_transaction(7, false);
        assert_eq!(at(&offsets), Some(5));
        assert!(!offsets.is_pending(&tp));
    }

    #[test]
    fn the_later_record_wins_not_the_later_marker() {
        let tp = TopicPartition::new("t", 0);
        let mut offsets = Offsets::default();
        offsets.put(Some(7), tp.clone(), offset(5));
        offsets.put(None, tp.clone(), offset(6));
        offsets.end_transaction(7, true);
        assert_eq!(at(&offsets), Some(6));
    }

    #[test]
    fn a_tombstone_takes_pending_offsets_too() {
        let tp = TopicPartition::new("t", 0);
        let mut offsets = Offsets::default();
        offsets.put(Some(7), tp.clone(), offset(5));
        offsets.remove(&tp);
        offsets.end_transaction(7, true);
        assert!(offsets.is_empty());
    }
}

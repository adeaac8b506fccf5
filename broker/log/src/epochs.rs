//! Which leader epoch wrote from which offset on (KIP-101): what followers and consumers ask to find where two logs part.

use millrace_wire::ids::{LeaderEpoch, Offset};

/// The epochs of a log with their first offsets, both ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaderEpochs {
    entries: Vec<(LeaderEpoch, Offset)>,
    /// Whether the entries differ from the checkpoint file. It is written before a recovery point passes them.
    pub(crate) unsaved: bool,
}

impl LeaderEpochs {
    /// The entries of a checkpoint, without what lies past the log's end or out of order.
    pub(crate) fn new(entries: Vec<(LeaderEpoch, Offset)>, start: Offset, end: Offset) -> Self {
        let mut epochs = Self::default();
        for (epoch, offset) in entries.iter().copied() {
            if offset <= end {
                epochs.assign(epoch, offset);
            }
        }
        epochs.start_at(start);
        epochs.unsaved = epochs.entries != entries;
        epochs
    }

    pub(crate) fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    pub(crate) fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// Notes that `epoch` writes from `offset` on; an epoch that is not newer changes nothing.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, offset: Offset) {
        if epoch < LeaderEpoch(0) || self.latest().is_some_and(|latest| latest >= epoch) {
            return;
        }
        // An epoch that wrote nothing gives its place to the one that does.
        while self.entries.last().is_some_and(|(_, first)| *first >= offset) {
            self.entries.pop();
        }
        self.entries.push((epoch, offset));
        self.unsaved = true;
    }

    /// The log was cut at `end`: epochs that began there or later wrote nothing that is left.
    pub(crate) fn truncate(&mut self, end: Offset) {
        let before = self.entries.len();
        self.entries.retain(|(_, first)| *first < end);
        self.unsaved |= before != self.entries.len();
    }

    /// The log begins at `start` now: the epoch that wrote there begins there, those before are gone.
    pub(crate) fn start_at(&mut self, start: Offset) {
        let covering = self.entries.iter().rposition(|(_, first)| *first <= start);
        if let Some(at) = covering.filter(|at| *at > 0 || self.entries[0].1 < start) {
            self.entries.drain(..at);
            self.entries[0].1 = start;
            self.unsaved = true;
        }
    }

    /// The largest epoch that is not above `wanted`, and the offset where the next one begins; `None` when no such
    /// epoch is known (OffsetForLeaderEpoch).
    pub(crate) fn end_offset(&self, wanted: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        if wanted < LeaderEpoch(0) {
            return None;
        }
        let after = self.entries.partition_point(|(epoch, _)| *epoch <= wanted);
        let found = self.entries[..after].last().map(|(epoch, _)| *epoch);
        match (found, self.entries.get(after)) {
            // Older than all we know: whatever it wrote ends where our first epoch begins.
            (None, Some((_, first))) => Some((wanted, *first)),
            (None, None) => None,
            (Some(epoch), next) => Some((epoch, next.map_or(log_end, |(_, first)| *first))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        let entries = entries.iter().map(|(e, o)| (LeaderEpoch(*e), Offset(*o))).collect();
        LeaderEpochs::new(entries, Offset(0), Offset(1000))
    }

    fn end(of: &LeaderEpochs, epoch: i32) -> Option<(i32, i64)> {
        of.end_offset(LeaderEpoch(epoch), Offset(100)).map(|(e, o)| (e.0, o.0))
    }

    #[test]
    fn end_offsets_follow_kip_101() {
        let epochs = epochs(&[(1, 10), (3, 20), (4, 50)]);
        assert_eq!(end(&epochs, -1), None);
        assert_eq!(end(&epochs, 0), Some((0, 10)));
        assert_eq!(end(&epochs, 1), Some((1, 20)));
        assert_eq!(end(&epochs, 2), Some((1, 20)));
        assert_eq!(end(&epochs, 4), Some((4, 100)));
        assert_eq!(end(&epochs, 9), Some((4, 100)));
        assert_eq!(end(&LeaderEpochs::default(), 3), None);
    }

    #[test]
    fn cuts_at_either_end_keep_what_is_left_true() {
        let mut epochs = epochs(&[(1, 10), (3, 20), (4, 50)]);
        epochs.truncate(Offset(50));
        assert_eq!(epochs.latest(), Some(LeaderEpoch(3)));
        epochs.start_at(Offset(30));
        assert_eq!(epochs.entries(), [(LeaderEpoch(3), Offset(30))]);
        epochs.assign(LeaderEpoch(5), Offset(30));
        assert_eq!(epochs.entries(), [(LeaderEpoch(5), Offset(30))]);
        epochs.assign(LeaderEpoch(5), Offset(90));
        assert_eq!(epochs.entries().len(), 1, "the same epoch begins once");
    }
}

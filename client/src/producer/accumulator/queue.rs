//! The queue of one partition and its sequence.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use millrace_wire::ids::next_sequence;
use tokio::time::Instant;

use super::batch::Batch;

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Oldest first. Those that go out again have sequence numbers and stand in front, in order.
    pub(super) batches: VecDeque<Batch>,
    next_sequence: i32,
    next_ordinal: u64,
    /// Ordinals of batches that have numbers and are not settled. A broker remembers five batches to tell a duplicate, so
    /// no new one goes out while an unsettled one would fall out of its memory.
    unsettled: BTreeSet<u64>,
    /// Ids of batches on their way.
    in_flight: BTreeSet<u64>,
    /// A batch of this identity is in the log. Before that a broker has no number to compare with and would take the second
    /// batch for the first, if the first one failed: so the first travels alone.
    is_known: bool,
    /// Something goes out again: wait for all answers first.
    retrying: bool,
    not_before: Option<Instant>,
    /// Id and sequence number of a refused batch, whose place the next one takes once all answers are in.
    gap: Option<(u64, i32)>,
}

impl Queue {
    pub(super) fn seal_last(&mut self) {
        if let Some(last) = self.batches.back_mut() {
            last.is_sealed = true;
        }
    }

    /// Whether the rules of the sequence let a batch go.
    pub(super) fn may_send(&mut self, max_in_flight: usize) -> bool {
        if self.in_flight.is_empty() {
            self.retrying = false;
        }
        let limit = if self.is_known { max_in_flight } else { 1 };
        if self.retrying || self.gap.is_some() || self.in_flight.len() >= limit {
            return false;
        }
        let is_new = self.batches.front().is_some_and(|first| first.sequence.is_none());
        let span = self.unsettled.first().map_or(0, |oldest| self.next_ordinal - oldest);
        !is_new || span < limit as u64
    }

    /// When the first batch is due; `None` if there is none. Ids below `flush_below` do not linger.
    pub(super) fn due_at(&self, linger: Duration, flush_below: u64) -> Option<Instant> {
        let first = self.batches.front()?;
        let hurry = first.id < flush_below;
        let at = if hurry || first.is_sealed || first.sequence.is_some() || self.batches.len() > 1 {
            first.created_at
        } else {
            first.created_at + linger
        };
        Some(self.not_before.map_or(at, |not_before| at.max(not_before)))
    }

    pub(super) fn take(&mut self) -> Option<Batch> {
        let mut batch = self.batches.pop_front()?;
        batch.is_sealed = true;
        self.in_flight.insert(batch.id);
        if self.batches.front().is_none_or(|next| next.sequence.is_none()) {
            self.not_before = None;
        }
        Some(batch)
    }

    /// The number the batch has, or the next one.
    pub(super) fn sequence_for(&mut self, batch: &mut Batch) -> i32 {
        *batch.sequence.get_or_insert_with(|| {
            let sequence = self.next_sequence;
            self.next_sequence = next_sequence(sequence, batch.count as i32);
            batch.ordinal = self.next_ordinal;
            self.unsettled.insert(batch.ordinal);
            self.next_ordinal += 1;
            sequence
        })
    }

    /// The batch is done with, one way or the other.
    pub(super) fn settled(&mut self, batch: &Batch) {
        if batch.sequence.is_some() {
            self.unsettled.remove(&batch.ordinal);
        }
    }

    /// The answer is in. What becomes of the batch must have been noted before.
    pub(super) fn returned(&mut self, id: u64) {
        self.in_flight.remove(&id);
        if self.in_flight.is_empty() {
            self.close_gap();
        }
    }

    /// The broker has taken a batch.
    pub(super) fn acknowledged(&mut self) {
        self.is_known = true;
    }

    /// Puts a batch back in front of all that was queued after it. Ids grow in the order of the queue.
    pub(super) fn put_back(&mut self, batch: Batch, not_before: Instant) {
        let at = self.batches.partition_point(|queued| queued.id < batch.id);
        self.batches.insert(at, batch);
        self.retrying = true;
        self.not_before = Some(self.not_before.map_or(not_before, |at| at.max(not_before)));
    }

    /// Notes that the broker refused a batch that had a number.
    pub(super) fn note_gap(&mut self, batch: &Batch) {
        let Some(sequence) = batch.sequence else { return };
        // Of several refused ones the first counts; the others fell into its gap.
        if self.gap.is_none_or(|(id, _)| batch.id < id) {
            self.gap = Some((batch.id, sequence));
        }
    }

    pub(super) fn has_gap(&self) -> bool {
        self.gap.is_some()
    }

    /// Whether a batch is queued that may be in the log.
    pub(super) fn has_doubtful(&self) -> bool {
        self.batches.iter().any(|batch| batch.in_doubt)
    }

    /// Gives the numbers from a refused batch on anew.
    fn close_gap(&mut self) {
        let Some((refused, sequence)) = self.gap.take() else { return };
        for batch in self.batches.iter_mut().filter(|batch| batch.id > refused) {
            if batch.sequence.take().is_some() {
                self.unsettled.remove(&batch.ordinal);
            }
        }
        self.next_sequence = sequence;
    }

    pub(super) fn has_earlier(&self, batch: &Batch) -> bool {
        let queued =
            self.batches.front().is_some_and(|first| first.id < batch.id && first.sequence.is_some());
        queued
            || self.gap.is_some_and(|(id, _)| id < batch.id)
            || self.in_flight.iter().any(|id| *id < batch.id)
    }

    /// Takes out what may be in the log.
    pub(super) fn take_doubtful(&mut self) -> Vec<Batch> {
        let all = std::mem::take(&mut self.batches);
        let (doubtful, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|batch| batch.in_doubt);
        self.batches = rest.into();
        doubtful
    }

    /// Forgets all sequence numbers.
    pub(super) fn start_over(&mut self) {
        self.next_sequence = 0;
        self.unsettled.clear();
        self.is_known = false;
        self.gap = None;
        for batch in &mut self.batches {
            batch.sequence = None;
        }
    }
}

//! One producer's state.

use millrace_wire::ids::{Offset, ProducerEpoch, ProducerId};

use super::{BATCHES_KEPT, Marker, ProducerBatch};

/// A batch that was written: enough to recognise it when it comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchSpan {
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) last_offset: Offset,
    /// Last offset minus first offset.
    pub(crate) offset_delta: i32,
    pub(crate) timestamp: i64,
}

impl BatchSpan {
    pub(crate) fn first_offset(&self) -> Offset {
        Offset(self.last_offset.0 - i64::from(self.offset_delta))
    }
}

/// What is known of one producer.
///
/// Invariant: `batches` are of `epoch`, oldest first, at most [`BATCHES_KEPT`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProducerEntry {
    pub(crate) producer_id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
    pub(crate) batches: Vec<BatchSpan>,
    pub(crate) coordinator_epoch: i32,
    pub(crate) last_timestamp: i64,
    pub(crate) txn_first_offset: Option<Offset>,
}

impl ProducerEntry {
    pub(crate) fn new(producer_id: ProducerId) -> Self {
        Self {
            producer_id,
            epoch: ProducerEpoch::NONE,
            batches: Vec::new(),
            coordinator_epoch: -1,
            last_timestamp: -1,
            txn_first_offset: None,
        }
    }

    pub(crate) fn last(&self) -> Option<&BatchSpan> {
        self.batches.last()
    }

    /// Whether both end with the same batch; a snapshot has a producer's last time in place of the batch's.
    pub(crate) fn same_last_batch(&self, other: &Self) -> bool {
        let key = |batch: &BatchSpan| (batch.last_sequence, batch.last_offset, batch.offset_delta);
        self.last().is_some() && self.last().map(key) == other.last().map(key)
    }

    pub(super) fn add(&mut self, batch: &ProducerBatch, last_offset: Offset) {
        self.set_epoch(batch.epoch);
        if self.batches.len() == BATCHES_KEPT {
            self.batches.remove(0);
        }
        self.batches.push(BatchSpan {
            first_sequence: batch.first_sequence,
            last_sequence: batch.last_sequence,
            last_offset,
            offset_delta: batch.offset_delta,
            timestamp: batch.timestamp,
        });
        self.last_timestamp = batch.timestamp;
    }

    pub(super) fn end(&mut self, marker: &Marker) {
        self.set_epoch(marker.epoch);
        self.coordinator_epoch = marker.coordinator_epoch;
        self.last_timestamp = marker.timestamp;
    }

    fn set_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }
}

//! The rules by which a producer's batch is written, recognised as a duplicate, or refused.

use millrace_wire::batch::BatchHeader;
use millrace_wire::ids::{Offset, ProducerEpoch, ProducerId, next_sequence};

use super::{AppendOrigin, BatchSpan, ProducerEntry, Producers};
use crate::error::AppendError;

/// What the rules need to know of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerBatch {
    pub(crate) producer: ProducerId,
    pub(crate) epoch: ProducerEpoch,
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) offset_delta: i32,
    pub(crate) timestamp: i64,
    pub(crate) transactional: bool,
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) producer: ProducerId,
    pub(crate) epoch: ProducerEpoch,
    pub(crate) coordinator_epoch: i32,
    pub(crate) timestamp: i64,
    pub(crate) aborts: bool,
}

/// What is to be done with a batch that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// Write it.
    Write,
    /// It was written before, at these offsets.
    Duplicate {
        /// Its first offset.
        first: Offset,
        /// Its last offset.
        last: Offset,
        /// Its time.
        timestamp: i64,
    },
}

impl ProducerBatch {
    /// The producer's side of a header; `None` for a batch without a producer.
    pub(crate) fn of(header: &BatchHeader) -> Option<Self> {
        header.has_producer().then(|| Self {
            producer: header.producer_id,
            epoch: header.producer_epoch,
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
            transactional: header.attributes.is_transactional(),
        })
    }
}

impl Producers {
    /// Judges a data batch.
    pub(crate) fn check(&self, batch: &ProducerBatch, origin: AppendOrigin) -> Result<Checked, AppendError> {
        let Some(entry) = self.entries.get(&batch.producer) else { return Ok(Checked::Write) };
        if origin == AppendOrigin::Replication {
            return Ok(Checked::Write);
        }
        if origin == AppendOrigin::Client
            && let Some(span) = duplicate(entry, batch)
        {
            let (first, last, timestamp) = (span.first_offset(), span.last_offset, span.timestamp);
            return Ok(Checked::Duplicate { first, last, timestamp });
        }
        self.check_epoch(batch.producer, batch.epoch)?;
        if origin == AppendOrigin::Client {
            check_sequence(entry, batch)?;
        }
        if entry.txn_first_offset.is_some() && !batch.transactional {
            return Err(AppendError::InvalidTxnState { producer: batch.producer });
        }
        Ok(Checked::Write)
    }

    /// Judges a marker: an epoch equal to the producer's or above it, from a coordinator that is not replaced.
    pub(crate) fn check_marker(&self, marker: &Marker) -> Result<(), AppendError> {
        self.check_epoch(marker.producer, marker.epoch)?;
        match self.entries.get(&marker.producer) {
            Some(entry) if entry.coordinator_epoch > marker.coordinator_epoch => {
                Err(AppendError::CoordinatorFenced {
                    producer: marker.producer,
                    got: marker.coordinator_epoch,
                    newest: entry.coordinator_epoch,
                })
            }
            _ => Ok(()),
        }
    }

    fn check_epoch(&self, producer: ProducerId, got: ProducerEpoch) -> Result<(), AppendError> {
        match self.entries.get(&producer) {
            Some(entry) if got < entry.epoch => {
                Err(AppendError::InvalidProducerEpoch { producer, got, newest: entry.epoch })
            }
            _ => Ok(()),
        }
    }
}

fn duplicate<'a>(entry: &'a ProducerEntry, batch: &ProducerBatch) -> Option<&'a BatchSpan> {
    let same = |span: &&BatchSpan| {
        span.first_sequence == batch.first_sequence && span.last_sequence == batch.last_sequence
    };
    if entry.epoch != batch.epoch {
        return None;
    }
    entry.batches.iter().find(same)
}

fn check_sequence(entry: &ProducerEntry, batch: &ProducerBatch) -> Result<(), AppendError> {
    let expected = if batch.epoch != entry.epoch {
        // Without an epoch nothing is known but a coordinator's marker, or nothing at all.
        if entry.epoch == ProducerEpoch::NONE {
            return Ok(());
        }
        0
    } else {
        match entry.last() {
            Some(last) => next_sequence(last.last_sequence, 1),
            // The epoch is known from a marker: the producer begins it with its first sequence.
            None => 0,
        }
    };
    if batch.first_sequence == expected {
        return Ok(());
    }
    Err(AppendError::OutOfOrderSequence { producer: batch.producer, got: batch.first_sequence, expected })
}

//! The last stable offset and the transactions that were aborted: what a `read_committed` consumer needs.

use millrace_wire::batch::RawBatch;
use millrace_wire::ids::Offset;
use millrace_wire::record::{self, ControlKind, ControlRecord};

use super::Log;
use crate::error::{AppendError, Error, io_error};
use crate::index::AbortedTxn;
use crate::producer::{Marker, Producers};

/// A marker is one uncompressed record of some ten bytes.
const MARKER_BYTES_MAX: usize = 1 << 16;

/// The end of a transaction that a batch is; `None` for data and for control batches of another kind.
pub(crate) fn marker_of(batch: &RawBatch) -> Result<Option<Marker>, AppendError> {
    let header = &batch.header;
    if !header.attributes.is_control() || !header.has_producer() || header.record_count == 0 {
        return Ok(None);
    }
    let invalid = |error: record::Error| AppendError::InvalidRecord(error.to_string());
    let mut records = record::decode(batch, MARKER_BYTES_MAX).map_err(invalid)?;
    let Some(record) = Iterator::next(&mut records) else { return Ok(None) };
    let record = record.map_err(invalid)?;
    let control = ControlRecord::parse(&record).map_err(invalid)?;
    Ok(control.map(|control| Marker {
        producer: header.producer_id,
        epoch: header.producer_epoch,
        coordinator_epoch: control.coordinator_epoch,
        timestamp: record.timestamp,
        aborts: control.kind == ControlKind::Abort,
    }))
}

impl Log {
    /// How far a `read_committed` consumer may read: below the first transaction that is open, or whose marker is
    /// not below the high watermark; at most the high watermark.
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        self.set_high_watermark(high_watermark);
        let first_unstable = self.stable.read().first_unstable(high_watermark);
        first_unstable.map_or(high_watermark, |first| first.min(high_watermark))
    }

    /// The aborted transactions with records in `from..upper`, by ascending marker.
    pub fn aborted_transactions(&self, from: Offset, upper: Offset) -> Result<Vec<AbortedTxn>, Error> {
        let _no_truncation = self.truncation.read();
        let mut found = Vec::new();
        let mut segment = self.segment_of(from);
        while let Some(current) = segment {
            let entries =
                current.aborted().map_err(io_error("read the transaction index of", current.path()))?;
            for txn in entries {
                if txn.last_offset >= from && txn.first_offset < upper {
                    found.push(txn);
                }
                // Everything below this offset was decided when the marker was written.
                if txn.last_stable_offset >= upper {
                    return Ok(found);
                }
            }
            segment = self.segment_after(current.base());
        }
        Ok(found)
    }

    /// Lets readers see the writer's transactions.
    pub(super) fn publish_transactions(&self, producers: &Producers) {
        *self.stable.write() = producers.stable_view();
    }
}

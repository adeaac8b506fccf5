//! What compaction makes of one batch.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_wire::batch::RawBatch;
use millrace_wire::ids::{Offset, ProducerEpoch, ProducerId};
use millrace_wire::record::{self, Records};

use super::{CleanedTransactions, OffsetMap};
use crate::error::AppendError;
use crate::index::AbortedTxn;

/// The last data offset in a producer's epoch; `None` if all that is known is the epoch.
pub(crate) type LastOfProducers = BTreeMap<ProducerId, (ProducerEpoch, Option<Offset>)>;

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cleaned {
    /// It goes.
    Gone,
    /// It stays as it is.
    Same,
    /// It stays in this form.
    Changed(Bytes),
}

/// The rules of one round; see the head of [`crate::compaction`].
#[derive(Debug)]
pub(crate) struct Filter<'r> {
    pub(crate) map: &'r OffsetMap,
    pub(crate) now_ms: i64,
    pub(crate) delete_retention_ms: i64,
    /// What a batch may unpack to, in bytes.
    pub(crate) uncompressed_bytes_max: usize,
    pub(crate) transactions: CleanedTransactions,
    /// Aborted transactions whose markers were kept since they were last taken from here.
    pub(crate) aborted: Vec<AbortedTxn>,
}

impl Filter<'_> {
    /// Judges the next batch. `is_last`: it ends its group of segments.
    pub(crate) fn clean(
        &mut self,
        batch: &RawBatch,
        producers: &LastOfProducers,
        is_last: bool,
    ) -> Result<Cleaned, AppendError> {
        let header = &batch.header;
        let must_stay = is_last || is_last_of_producer(batch, producers);
        if header.attributes.is_control() {
            return self.clean_control(batch, producers, is_last);
        }
        if self.transactions.is_aborted(batch) {
            return Ok(without_records(batch, must_stay));
        }
        let invalid = |error: record::Error| AppendError::InvalidRecord(error.to_string());
        let records = record::decode(batch, self.uncompressed_bytes_max).map_err(invalid)?;
        let judged = self.judge(batch, records.clone()).map_err(invalid)?;
        if judged.kept == 0 {
            return Ok(without_records(batch, must_stay));
        }
        let needs_horizon = judged.has_tombstones && header.delete_horizon_ms().is_none();
        if judged.kept == judged.keep.len() && !needs_horizon {
            return Ok(Cleaned::Same);
        }
        let horizon = needs_horizon.then(|| self.new_horizon());
        record::retain(batch, records, &judged.keep, horizon).map(Cleaned::Changed).map_err(invalid)
    }

    fn clean_control(
        &mut self,
        batch: &RawBatch,
        producers: &LastOfProducers,
        is_last: bool,
    ) -> Result<Cleaned, AppendError> {
        let control = self.transactions.end(batch)?;
        self.aborted.extend(control.aborted);
        if batch.header.record_count == 0 {
            return Ok(without_records(batch, is_last));
        }
        if is_last_of_producer(batch, producers) {
            // Without its record nobody would learn the epoch from it.
            return Ok(Cleaned::Same);
        }
        match batch.header.delete_horizon_ms() {
            Some(horizon) if control.is_idle && horizon <= self.now_ms => Ok(without_records(batch, is_last)),
            None if control.is_idle => {
                let invalid = |error: record::Error| AppendError::InvalidRecord(error.to_string());
                let records = record::decode(batch, self.uncompressed_bytes_max).map_err(invalid)?;
                let keep = vec![true; usize::try_from(batch.header.record_count).unwrap_or(0)];
                let bytes = record::retain(batch, records, &keep, Some(self.new_horizon()));
                bytes.map(Cleaned::Changed).map_err(invalid)
            }
            _ => Ok(Cleaned::Same),
        }
    }

    fn new_horizon(&self) -> i64 {
        self.now_ms.saturating_add(self.delete_retention_ms)
    }

    fn judge(&self, batch: &RawBatch, mut records: Records) -> Result<Judged, record::Error> {
        let expired = batch.header.delete_horizon_ms().is_some_and(|horizon| horizon <= self.now_ms);
        let mut judged = Judged::default();
        while let Some(record) = records.next_ref() {
            let record = record?;
            let stays = record.offset > self.map.latest()
                || record.key.is_some_and(|key| {
                    let is_newest = self.map.get(key).is_none_or(|newest| record.offset >= newest);
                    is_newest && (record.value.is_some() || !expired)
                });
            judged.keep.push(stays);
            judged.kept += usize::from(stays);
            judged.has_tombstones |= stays && record.value.is_none();
        }
        Ok(judged)
    }
}

/// Which records of a batch stay.
#[derive(Debug, Default)]
struct Judged {
    keep: Vec<bool>,
    kept: usize,
    has_tombstones: bool,
}

fn without_records(batch: &RawBatch, must_stay: bool) -> Cleaned {
    match (must_stay, batch.header.record_count) {
        (false, _) => Cleaned::Gone,
        (true, 0) => Cleaned::Same,
        (true, _) => Cleaned::Changed(record::emptied(batch)),
    }
}

fn is_last_of_producer(batch: &RawBatch, producers: &LastOfProducers) -> bool {
    let header = &batch.header;
    match producers.get(&header.producer_id).filter(|_| header.has_producer()) {
        Some((_, Some(last))) => batch.last_offset() == *last,
        // All that is left of the producer is a marker, which knows its epoch.
        Some((epoch, None)) => header.attributes.is_control() && header.producer_epoch == *epoch,
        None => false,
    }
}

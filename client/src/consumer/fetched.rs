//! What a poll hands out for a partition: whole batches, decoded when the application walks over them.

use std::sync::Arc;

use millrace_wire::batch::RawBatch;
use millrace_wire::record::{Record, RecordRef, Records, decode};

use crate::error::{Error, Result};

/// Records of one partition.
#[derive(Debug, Clone)]
pub struct FetchedPartition {
    /// Topic.
    pub topic: Arc<str>,
    /// Number of the partition.
    pub partition: i32,
    /// Whole batches in the order of the log, without control batches and aborted transactions. The first may begin
    /// before [`Self::from`].
    pub batches: Vec<RawBatch>,
    /// Offset that was asked for; earlier records in the first batch do not count.
    pub from: i64,
    /// Offset after all that was read, also past what is invisible.
    pub next_offset: i64,
    /// Offset after the last record that is on all in-sync replicas.
    pub high_watermark: i64,
    /// Offset of the first record of an open transaction, or the high watermark.
    pub last_stable_offset: i64,
    /// Most bytes that a batch may unpack to.
    pub(super) max_uncompressed: usize,
}

impl FetchedPartition {
    /// The records, each with slices of its batch.
    pub fn records(&self) -> impl Iterator<Item = Result<Record>> + '_ {
        self.batches.iter().flat_map(move |batch| {
            let (records, error) = match self.decode(batch) {
                Ok(records) => (Some(records), None),
                Err(error) => (None, Some(Err(error))),
            };
            let records = records.into_iter().flatten().map(|record| record.map_err(|e| self.malformed(e)));
            let wanted = records.filter(|record| !record.as_ref().is_ok_and(|r| r.offset < self.from));
            error.into_iter().chain(wanted)
        })
    }

    /// Calls `visit` with each record, without an allocation per record. Stops at the first error.
    pub fn for_each(&self, mut visit: impl FnMut(RecordRef<'_>)) -> Result<()> {
        for batch in &self.batches {
            let mut records = self.decode(batch)?;
            while let Some(record) = records.next_ref() {
                let record = record.map_err(|error| self.malformed(error))?;
                if record.offset >= self.from {
                    visit(record);
                }
            }
        }
        Ok(())
    }

    /// Opens one of [`Self::batches`]. Records before [`Self::from`] are among them.
    pub fn decode(&self, batch: &RawBatch) -> Result<Records> {
        decode(batch, self.max_uncompressed).map_err(|error| self.malformed(error))
    }

    /// Bytes of all batches.
    pub fn size_bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.bytes.len()).sum()
    }

    fn malformed(&self, source: millrace_wire::record::Error) -> Error {
        let subject = format!("topic {} partition {}", self.topic, self.partition);
        Error::Record { subject, source: Arc::new(source) }
    }
}

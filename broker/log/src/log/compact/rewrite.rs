//! The second pass: what stays of a group of segments goes into a new one.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use millrace_wire::batch::RawBatch;
use millrace_wire::ids::Offset;

use super::super::Log;
use crate::compaction::filter::LastOfProducers;
use crate::compaction::{Cleaned, CompactionError, Filter, Pace};
use crate::error::{Error, io_error};
use crate::segment::{CLEANED, IndexedBatch, Segment};

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// A segment that is being written.
struct Target {
    segment: Segment,
    interval_bytes: u64,
    waiting: VecDeque<(Bytes, IndexedBatch)>,
    waiting_bytes: usize,
    /// Where the next batch goes.
    position: u64,
}

impl Log {
    /// Writes the group anew, under names that end in `.cleaned`. When this returns, everything in it is durable.
    pub(super) fn rewrite(
        &self,
        group: &[Arc<Segment>],
        filter: &mut Filter<'_>,
        now_ms: i64,
        pace: &mut dyn Pace,
    ) -> Result<Segment, CompactionError> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            return Err(CompactionError::Overtaken);
        };
        let end = self.segment_after(last.base()).map_or(last.base(), |next| next.base());
        filter.transactions.expect(self.aborted_transactions(first.base(), end)?);
        let producers = self.last_of_producers();
        let segment = Segment::create_as(&self.disk, &self.dir, first.base(), CLEANED, now_ms);
        let segment = segment.map_err(io_error("create a segment in", &self.dir))?;
        let interval_bytes = self.config().index_interval_bytes;
        let mut target =
            Target { segment, interval_bytes, waiting: VecDeque::new(), waiting_bytes: 0, position: 0 };
        // One batch is held back: whether it is the last one shows only when another follows.
        let mut held: Option<RawBatch> = None;
        for source in group {
            let mut batches = self.scan(source)?;
            while let Some(batch) = batches.next(pace)? {
                if let Some(before) = held.replace(batch) {
                    self.put(&mut target, &before, filter, &producers, false, pace)?;
                }
            }
            source.close_idle();
        }
        if let Some(last) = held {
            self.put(&mut target, &last, filter, &producers, true, pace)?;
        }
        target.write()?;
        let segment = target.segment;
        for aborted in filter.aborted.drain(..) {
            let added = segment.add_aborted(aborted);
            added.map_err(io_error("write the transaction index of", segment.path()))?;
        }
        segment.seal().map_err(io_error("write the indexes of", segment.path()))?;
        segment.sync_log().map_err(io_error("sync", segment.path()))?;
        segment.sync_indexes().map_err(io_error("sync the indexes of", segment.path()))?;
        Ok(segment)
    }

    fn put(
        &self,
        target: &mut Target,
        batch: &RawBatch,
        filter: &mut Filter<'_>,
        producers: &LastOfProducers,
        is_last: bool,
        pace: &mut dyn Pace,
    ) -> Result<(), CompactionError> {
        let cleaned = filter.clean(batch, producers, is_last).map_err(|error| self.undecodable(&error))?;
        let bytes = match cleaned {
            Cleaned::Gone => return Ok(()),
            Cleaned::Same => batch.bytes.clone(),
            Cleaned::Changed(bytes) => bytes,
        };
        let batch = RawBatch::parse(&bytes).map_err(|error| self.undecodable(&error))?;
        let written = target.push(&batch)?;
        if written > 0 && !pace.spent(written) {
            return Err(CompactionError::Stopped);
        }
        Ok(())
    }

    /// The last data batch of each producer that the log knows.
    fn last_of_producers(&self) -> LastOfProducers {
        let writer = self.writer.lock();
        let last = |entry: &crate::producer::ProducerEntry| {
            let offset: Option<Offset> = entry.last().map(|batch| batch.last_offset);
            (entry.producer_id, (entry.epoch, offset))
        };
        writer.producers.entries().map(last).collect()
    }
}

impl Target {
    /// Adds a batch; returns the bytes that were written on this occasion.
    fn push(&mut self, batch: &RawBatch) -> Result<u64, Error> {
        let indexed = IndexedBatch::of(&batch.header, self.position);
        self.position += indexed.bytes;
        self.waiting_bytes += batch.bytes.len();
        self.waiting.push_back((batch.bytes.clone(), indexed));
        if self.waiting_bytes < WRITE_BYTES { Ok(0) } else { self.write() }
    }

    fn write(&mut self) -> Result<u64, Error> {
        let slices: Vec<_> = self.waiting.iter().map(|(bytes, _)| IoSlice::new(bytes)).collect();
        let write = |error| io_error("write", self.segment.path())(error);
        self.segment.write(&slices).map_err(write)?;
        let indexed = self.waiting.iter().map(|(_, indexed)| *indexed);
        self.segment.publish(indexed, self.interval_bytes).map_err(write)?;
        self.waiting.clear();
        Ok(std::mem::take(&mut self.waiting_bytes) as u64)
    }
}

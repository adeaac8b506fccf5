//! Shortening a log at its end: what a follower does with records that its leader does not have.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use millrace_wire::ids::Offset;

use super::recover::replay;
use super::{Log, Writer};
use crate::disk::Disk;
use crate::error::{Error, io_error};
use crate::producer::{Producers, snapshot};
use crate::segment::scan::{Scanner, Step};
use crate::segment::{Segment, Suffix, file_name};

impl Log {
    /// Where a truncation to `offset` would end the log: there, or at the beginning of the batch that has it within.
    pub(crate) fn truncation_point(&self, offset: Offset) -> Result<Offset, Error> {
        let end = self.end_offset();
        let Some(segment) = self.segment_of(offset).filter(|_| offset < end) else {
            return Ok(offset.min(end));
        };
        let located = segment.locate(offset).map_err(io_error("read", segment.path()))?;
        Ok(located.map_or(offset, |batch| offset.min(batch.header.base_offset)))
    }

    /// Removes every record from `offset` on; a batch that has the offset within it goes as a whole. Does nothing at
    /// or above the log end; below the log start the log is emptied and continues at `offset`.
    ///
    /// The recovery point in the data directory's checkpoint must not be above [`Log::truncation_point`] any more:
    /// otherwise a crash in the middle would look like damage.
    pub(crate) fn truncate_to(&self, offset: Offset, now_ms: i64) -> Result<(), Error> {
        let _no_flush = self.flushing.lock();
        let _no_sync = self.syncing.lock();
        let _no_reader = self.truncation.write();
        let mut writer = self.writer.lock();
        self.check_online()?;
        if offset.0 >= writer.next_offset {
            return Ok(());
        }
        self.cache.clear();
        // Beforehand: if it ends in the middle, what is missing is not to be taken for damage.
        let point = self.truncation_point(offset)?;
        self.durable_end.fetch_min(point.0, Ordering::AcqRel);
        self.recovery_point.fetch_min(point.0, Ordering::AcqRel);
        self.high_watermark.fetch_min(point.0, Ordering::AcqRel);
        self.start_offset.fetch_min(point.0, Ordering::AcqRel);
        let result = self.truncate_files(&mut writer, offset, now_ms);
        // Half a truncation is no state to go on from; recovery makes a whole log of it.
        result.map_err(|error| self.go_offline(error))
    }

    fn truncate_files(&self, writer: &mut Writer, offset: Offset, now_ms: i64) -> Result<(), Error> {
        let later: Vec<_> = self.segments.read().range(offset.next()..).map(|(_, s)| s.clone()).collect();
        for segment in later.iter().rev() {
            segment.remove().map_err(io_error("remove", segment.path()))?;
        }
        self.disk.sync_dir(&self.dir).map_err(io_error("sync", &self.dir))?;
        let mut segments = self.segments.write();
        segments.retain(|base, _| *base <= offset);
        let (active, end) = match segments.values().next_back().cloned() {
            Some(last) => {
                let located = last.locate(offset).map_err(io_error("read", last.path()))?;
                let end = located.map_or(offset, |batch| offset.min(batch.header.base_offset));
                if let Some(batch) = located {
                    last.truncate(end, batch.position).map_err(io_error("cut", last.path()))?;
                }
                (last, end)
            }
            None => {
                let fresh = Segment::create(&self.disk, &self.dir, offset, now_ms);
                let fresh = Arc::new(fresh.map_err(io_error("create a segment in", &self.dir))?);
                segments.insert(offset, fresh.clone());
                writer.dir_dirty = true;
                (fresh, offset)
            }
        };
        drop(segments);
        writer.active_dirty = true;
        writer.closed = false;
        writer.active = active;
        writer.next_offset = end.0;
        writer.rolled_dirty.retain(|segment| segment.base() < writer.active.base());
        self.unflushed.lock().segments.retain(|segment| segment.base() < writer.active.base());
        self.epochs.write().truncate(end);
        self.end_offset.store(end.0, Ordering::Release);
        writer.producers = self.producers_at(end)?;
        self.publish_transactions(&writer.producers);
        Ok(())
    }

    /// The producers' state at an offset, from the newest snapshot before it and the batches since.
    fn producers_at(&self, end: Offset) -> Result<Producers, Error> {
        let segments: Vec<_> = self.segments.read().values().cloned().collect();
        let names = self.disk.list(&self.dir).map_err(io_error("list", &self.dir))?;
        let mut producers = Producers::default();
        let mut from = segments.first().map_or(end, |segment| segment.base());
        for offset in crate::segment::Found::of(&names).snapshots.into_iter().rev() {
            let path = self.dir.join(file_name(offset, Suffix::Snapshot));
            if offset > end {
                self.disk.remove_file(&path).map_err(io_error("remove", &path))?;
                continue;
            }
            let bytes =
                self.disk.read_file(&path, snapshot::FILE_BYTES_MAX).map_err(io_error("read", &path))?;
            if let Ok(entries) = snapshot::decode(&bytes) {
                producers = Producers::from_entries(entries);
                from = offset;
                break;
            }
        }
        for (nth, segment) in segments.iter().enumerate() {
            if segments.get(nth + 1).is_some_and(|next| next.base() <= from) || segment.size() == 0 {
                continue;
            }
            let read = |error| io_error("read", segment.path())(error);
            let mut scanner = Scanner::new(segment.file().map_err(read)?, 0, segment.size());
            while let Step::Batch { batch, .. } = scanner.step().map_err(read)? {
                if batch.header.base_offset >= from {
                    replay(&mut producers, &batch);
                }
            }
        }
        Ok(producers)
    }
}

//! The producers' state at an offset: the newest good snapshot, and the batches after it.

use std::io::IoSlice;

use millrace_wire::ids::Offset;

use super::{Recovery, replay};
use crate::disk::{Disk, OpenMode};
use crate::error::{Error, io_error};
use crate::producer::{ProducerEntry, Producers, snapshot};
use crate::segment::scan::{Scanner, Step};
use crate::segment::{Suffix, file_name};

/// How much before a snapshot is read again for the batches that the snapshot leaves out.
const WARM_BYTES: u64 = 256 << 10;

impl Recovery<'_> {
    /// Brings the producers to where they were at `end`.
    pub(super) fn load_producers(&mut self, end: Offset) -> Result<(), Error> {
        let (entries, from) = self.newest_snapshot(end)?;
        let entries = self.warm(entries, from)?;
        self.producers = Producers::from_entries(entries);
        self.replay_between(from, end)?;
        let recent = self.segments.last().map_or(end, |segment| segment.base());
        let expiration_ms = self.options.config.producer_id_expiration_ms;
        self.producers.expire_before(recent, self.options.now_ms, expiration_ms);
        Ok(())
    }

    /// The newest readable snapshot at `end` or before; without one, an empty state at the log's beginning.
    fn newest_snapshot(&mut self, end: Offset) -> Result<(Vec<ProducerEntry>, Offset), Error> {
        let first = self.segments.first().map_or(end, |segment| segment.base());
        for offset in self.snapshots.clone().into_iter().rev().filter(|offset| (first..=end).contains(offset))
        {
            let path = self.dir.join(file_name(offset, Suffix::Snapshot));
            let bytes =
                self.disk.read_file(&path, snapshot::FILE_BYTES_MAX).map_err(self.io("read", &path))?;
            match snapshot::decode(&bytes) {
                Ok(entries) => return Ok((entries, offset)),
                Err(reason) => {
                    tracing::warn!(path = %path.display(), reason, "producer snapshot left out, reading the log instead");
                    self.snapshots.retain(|other| *other != offset);
                }
            }
        }
        Ok((Vec::new(), first))
    }

    /// Applies the batches of `from..end`.
    fn replay_between(&mut self, from: Offset, end: Offset) -> Result<(), Error> {
        for at in 0..self.segments.len() {
            let segment = self.segments[at].clone();
            let next_base = self.segments.get(at + 1).map(|next| next.base());
            if segment.base() >= end || next_base.is_some_and(|next| next <= from) || segment.size() == 0 {
                continue;
            }
            let file = segment.file().map_err(self.io("open", segment.path()))?;
            let mut scanner = Scanner::new(file, 0, segment.size());
            while let Step::Batch { batch, .. } = scanner.step().map_err(self.io("read", segment.path()))? {
                if batch.header.base_offset >= end {
                    break;
                }
                if batch.header.base_offset >= from {
                    replay(&mut self.producers, &batch);
                }
            }
        }
        Ok(())
    }

    /// Adds to a snapshot's entries the batches before each producer's last one, so that a retry of them is
    /// recognised too: reads the end of what lies before the snapshot's offset again.
    fn warm(&self, entries: Vec<ProducerEntry>, at: Offset) -> Result<Vec<ProducerEntry>, Error> {
        let before = self.segments.iter().rev().find(|segment| segment.base() < at && segment.size() > 0);
        let Some(segment) = before.filter(|_| !entries.is_empty()) else { return Ok(entries) };
        let read = |error| io_error("read", segment.path())(error);
        let position =
            segment.indexed_position_before(segment.size().saturating_sub(WARM_BYTES)).map_err(read)?;
        let mut scanner = Scanner::new(segment.file().map_err(read)?, position, segment.size());
        let mut tail = Producers::default();
        while let Step::Batch { batch, .. } = scanner.step().map_err(read)? {
            if batch.header.base_offset >= at {
                break;
            }
            replay(&mut tail, &batch);
        }
        let warmed = entries.into_iter().map(|entry| {
            let same = |seen: &&ProducerEntry| seen.epoch == entry.epoch && seen.same_last_batch(&entry);
            let batches = tail.entry(entry.producer_id).filter(same).map(|seen| seen.batches.clone());
            ProducerEntry { batches: batches.unwrap_or_else(|| entry.batches.clone()), ..entry }
        });
        Ok(warmed.collect())
    }

    /// The state at the beginning of a segment, so that the next recovery can begin there.
    pub(super) fn write_snapshot(&mut self, offset: Offset) -> Result<(), Error> {
        let path = self.dir.join(file_name(offset, Suffix::Snapshot));
        let bytes = snapshot::encode(self.producers.entries());
        let written = self.disk.open(&path, OpenMode::Truncate);
        let written = written.and_then(|file| file.write_all_at(&[IoSlice::new(&bytes)], 0));
        written.map_err(self.io("write", &path))?;
        self.snapshots.push(offset);
        Ok(())
    }

    /// Removes snapshots of offsets that the log does not have (any more).
    pub(super) fn remove_snapshots_after(&mut self, end: Offset) -> Result<(), Error> {
        for offset in self.snapshots.iter().filter(|offset| **offset > end) {
            let path = self.dir.join(file_name(*offset, Suffix::Snapshot));
            self.disk.remove_file(&path).map_err(io_error("remove", &path))?;
        }
        self.snapshots.retain(|offset| *offset <= end);
        Ok(())
    }
}

//! One file of a log with its indexes.
//!
//! Batches lie back to back in `<base offset>.log`. The writer appends at [`Segment::size`] and publishes the new
//! size when the bytes are in the file, so readers never see a part of a batch and take no lock on the file.
//! The indexes sit behind one lock: the writer adds to them in memory, readers search them.

use std::io;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use millrace_wire::batch::BatchHeader;
use millrace_wire::ids::Offset;
use parking_lot::{Mutex, RwLock};

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::files::{Files, LazyFile, Loan};
use crate::index::{AbortedIndex, AbortedTxn, OffsetEntry, SparseIndex, TimeEntry};

mod files;
mod lookup;
pub(crate) mod scan;
mod slice;
pub(crate) mod swaps;

pub(crate) use files::{CLEANED, DELETED, FILES, Found, SWAP, SegmentFiles, Suffix, file_name};

/// Positions where readers stopped, so that the next read of a sequential reader needs no search.
const HINTS_MAX: usize = 8;

/// A batch as the indexes see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexedBatch {
    pub(crate) last_offset: i64,
    pub(crate) position: u64,
    pub(crate) bytes: u64,
    /// -1 if no record has a time.
    pub(crate) max_timestamp: i64,
}

impl IndexedBatch {
    /// The batch with this header, at this place.
    pub(crate) fn of(header: &BatchHeader, position: u64) -> Self {
        // What compaction emptied keeps a time that no record has.
        let max_timestamp = if header.record_count > 0 { header.max_timestamp } else { -1 };
        Self { last_offset: header.last_offset().0, position, bytes: header.size() as u64, max_timestamp }
    }
}

/// A segment. Its bytes below [`Self::size`] never change, except by truncation, which the log keeps readers out of.
#[derive(Debug)]
pub(crate) struct Segment {
    base: Offset,
    files: Files,
    dir: PathBuf,
    log: LazyFile,
    size: AtomicU64,
    /// When it was created or opened: its age if its records have no times.
    since_ms: AtomicI64,
    indexes: RwLock<Indexes>,
    /// (next offset, position), newest last.
    hints: Mutex<Vec<(i64, u64)>>,
}

#[derive(Debug)]
struct Indexes {
    offsets: SparseIndex<OffsetEntry>,
    times: SparseIndex<TimeEntry>,
    aborted: AbortedIndex,
    bytes_since_entry: u64,
    /// The newest timestamp and the last offset of its batch; unknown until asked for after opening.
    newest: Option<TimeEntry>,
    /// The max timestamp of the first batch; unknown until asked for after opening.
    first_timestamp: Option<i64>,
}

impl Segment {
    /// A new, empty segment; leftovers of the same name are overwritten.
    pub(crate) fn create(files: &Files, dir: &Path, base: Offset, now_ms: i64) -> io::Result<Self> {
        Self::create_as(files, dir, base, "", now_ms)
    }

    /// The same under names that end in `extension`.
    pub(crate) fn create_as(
        files: &Files,
        dir: &Path,
        base: Offset,
        extension: &str,
        now_ms: i64,
    ) -> io::Result<Self> {
        let segment = Self::assemble(files, dir, (base, extension), 0, now_ms, None);
        files.open(segment.log.path(), OpenMode::Truncate)?;
        Ok(segment)
    }

    /// A segment that is there, with the indexes that fit it. The second value says whether all did; if not, it
    /// must be scanned with [`Segment::reindex`] before it is used.
    pub(crate) fn open(files: &Files, dir: &Path, found: &SegmentFiles, now_ms: i64) -> (Self, bool) {
        let base = found.base;
        let path = |suffix| dir.join(file_name(base, suffix));
        let offsets = found.index.and_then(|len| SparseIndex::open(files, path(Suffix::Index), base.0, len));
        let times =
            found.time_index.and_then(|len| SparseIndex::open(files, path(Suffix::TimeIndex), base.0, len));
        let aborted = AbortedIndex::open(files, path(Suffix::TxnIndex), found.txn_index.unwrap_or(0));
        let indexes = match (offsets, times, aborted) {
            (Some(offsets), Some(times), Some(aborted)) => Some((offsets, times, aborted)),
            _ => None,
        };
        let whole = indexes.is_some() || found.len == 0;
        (Self::assemble(files, dir, (base, ""), found.len, now_ms, indexes), whole)
    }

    fn assemble(
        files: &Files,
        dir: &Path,
        (base, extension): (Offset, &str),
        size: u64,
        now_ms: i64,
        indexes: Option<(SparseIndex<OffsetEntry>, SparseIndex<TimeEntry>, AbortedIndex)>,
    ) -> Self {
        let path = |suffix| dir.join(file_name(base, suffix) + extension);
        let fresh = indexes.is_none();
        let (offsets, times, aborted) = indexes.unwrap_or_else(|| {
            (
                SparseIndex::empty(files, path(Suffix::Index), base.0),
                SparseIndex::empty(files, path(Suffix::TimeIndex), base.0),
                AbortedIndex::empty(files, path(Suffix::TxnIndex)),
            )
        });
        let newest = fresh.then_some(TimeEntry { timestamp: -1, offset: base.0 });
        Self {
            base,
            log: LazyFile::new(files, path(Suffix::Log)),
            files: files.clone(),
            dir: dir.to_path_buf(),
            size: AtomicU64::new(size),
            since_ms: AtomicI64::new(now_ms),
            indexes: RwLock::new(Indexes {
                offsets,
                times,
                aborted,
                bytes_since_entry: 0,
                newest,
                first_timestamp: None,
            }),
            hints: Mutex::default(),
        }
    }

    pub(crate) fn base(&self) -> Offset {
        self.base
    }

    /// Bytes of whole batches.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    pub(crate) fn path(&self) -> &Path {
        self.log.path()
    }

    /// The log's file, for reading.
    pub(crate) fn file(&self) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.log.existing()?)
    }

    /// Leave to keep that file open for longer than a read takes, if it can be afforded.
    pub(crate) fn lend(&self) -> Option<Loan> {
        self.log.lend()
    }

    /// Writes at the end; readers don't see it before [`Segment::publish`].
    pub(crate) fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.write_at(parts, self.size())
    }

    /// Writes over what is there (recovery).
    pub(crate) fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.log.change(|file| file.write_all_at(parts, position))
    }

    /// After a failed write: back to the published size.
    pub(crate) fn roll_back(&self) -> io::Result<()> {
        self.log.change(|file| file.set_len(self.size()))
    }

    /// Indexes batches that are in the file and lets readers see them.
    pub(crate) fn publish(
        &self,
        batches: impl Iterator<Item = IndexedBatch>,
        interval_bytes: u64,
    ) -> io::Result<()> {
        let mut indexes = self.indexes.write();
        let mut end = self.size();
        let mut result = Ok(());
        for batch in batches {
            end += batch.bytes;
            // An index that cannot be read or written only makes later searches slower; the batches are there.
            result = indexes.add(&batch, interval_bytes).and(result);
        }
        self.size.store(end, Ordering::Release);
        result
    }

    /// Indexes a batch that was there already (recovery).
    pub(crate) fn index(&self, batch: &IndexedBatch, interval_bytes: u64) -> io::Result<()> {
        self.indexes.write().add(batch, interval_bytes)
    }

    /// Forgets the indexes and removes their files, to build them again.
    pub(crate) fn reset_indexes(&self) -> io::Result<()> {
        let mut indexes = self.indexes.write();
        indexes.bytes_since_entry = 0;
        indexes.newest = Some(TimeEntry { timestamp: -1, offset: self.base.0 });
        indexes.first_timestamp = None;
        indexes.offsets.reset()?;
        indexes.times.reset()?;
        indexes.aborted.reset()
    }

    /// The position of the last offset index entry, 0 without one.
    pub(crate) fn last_indexed_position(&self) -> io::Result<u64> {
        let last = self.indexes.write().offsets.last()?;
        Ok(last.map_or(0, |entry| entry.position))
    }

    /// The position of the last offset index entry at `position` or before it, 0 without one.
    pub(crate) fn indexed_position_before(&self, position: u64) -> io::Result<u64> {
        let entry = self.indexes.read().offsets.last_where(|entry| entry.position <= position)?;
        Ok(entry.map_or(0, |entry| entry.position))
    }

    pub(crate) fn add_aborted(&self, aborted: AbortedTxn) -> io::Result<()> {
        self.indexes.write().aborted.push(aborted)
    }

    /// The transactions aborted in this segment.
    pub(crate) fn aborted(&self) -> io::Result<Vec<AbortedTxn>> {
        if self.indexes.read().aborted.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.indexes.write().aborted.entries()?.to_vec())
    }

    pub(crate) fn index_bytes(&self) -> u64 {
        self.indexes.read().offsets.bytes()
    }

    /// The newest timestamp and the last offset of the batch that has it; -1 if no record has one.
    pub(crate) fn newest(&self) -> io::Result<TimeEntry> {
        if let Some(newest) = self.indexes.read().newest {
            return Ok(newest);
        }
        let mut indexes = self.indexes.write();
        let last = indexes.times.last()?.unwrap_or(TimeEntry { timestamp: -1, offset: self.base.0 });
        indexes.newest = Some(last);
        Ok(last)
    }

    /// The max timestamp of the first batch; `None` if there is no batch.
    pub(crate) fn first_timestamp(&self) -> io::Result<Option<i64>> {
        let known = self.indexes.read().first_timestamp;
        if known.is_some() || self.size() == 0 {
            return Ok(known);
        }
        let first = self.header_at(0)?.max_timestamp;
        self.indexes.write().first_timestamp = Some(first);
        Ok(Some(first))
    }

    /// Lengths of the offset, time and transaction index as they are in files.
    pub(crate) fn index_lens(&self) -> (u64, u64, u64) {
        let indexes = self.indexes.read();
        (indexes.offsets.bytes(), indexes.times.bytes(), indexes.aborted.written_bytes())
    }

    pub(crate) fn since_ms(&self) -> i64 {
        self.since_ms.load(Ordering::Relaxed)
    }

    /// What a segment gets when it is full: the newest time as its last time index entry, indexes in their files.
    pub(crate) fn seal(&self) -> io::Result<()> {
        let newest = self.newest()?;
        if newest.timestamp >= 0 {
            self.indexes.write().times.push(newest)?;
        }
        self.write_indexes()
    }

    /// Writes what the indexes have in memory only.
    pub(crate) fn write_indexes(&self) -> io::Result<()> {
        let mut indexes = self.indexes.write();
        indexes.offsets.write()?;
        indexes.times.write()?;
        indexes.aborted.write()
    }

    pub(crate) fn sync_log(&self) -> io::Result<()> {
        self.log.sync()
    }

    /// Writes and syncs the indexes.
    pub(crate) fn sync_indexes(&self) -> io::Result<()> {
        let mut indexes = self.indexes.write();
        indexes.offsets.sync()?;
        indexes.times.sync()?;
        indexes.aborted.sync()
    }

    /// Cuts everything from `offset` on; `position` is where the batch that has it begins. No reader may be in.
    pub(crate) fn truncate(&self, offset: Offset, position: u64) -> io::Result<()> {
        // Smaller before shorter: what is cut must not be read on the strength of the old size.
        self.size.store(position, Ordering::Release);
        self.hints.lock().clear();
        let mut indexes = self.indexes.write();
        indexes.offsets.truncate(|entry| entry.offset < offset.0)?;
        indexes.times.truncate(|entry| entry.offset < offset.0)?;
        indexes.aborted.truncate(offset)?;
        indexes.bytes_since_entry = 0;
        indexes.newest = None;
        indexes.first_timestamp = indexes.first_timestamp.filter(|_| position > 0);
        self.log.change(|file| file.set_len(position))?;
        self.log.sync()
    }

    /// Cuts the file at `position`, durably; the indexes know nothing from there on (recovery).
    pub(crate) fn cut_file(&self, position: u64) -> io::Result<()> {
        self.size.store(position, Ordering::Release);
        self.log.change(|file| file.set_len(position))?;
        self.log.sync()
    }

    /// Removes the segment's files. Readers that have them open go on reading.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for suffix in [Suffix::Log, Suffix::Index, Suffix::TimeIndex, Suffix::TxnIndex, Suffix::Snapshot] {
            match self.files.remove_file(&self.dir.join(file_name(self.base, suffix))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Closes files that nobody uses at this moment, if they have nothing that isn't synced.
    pub(crate) fn close_idle(&self) {
        self.log.close_idle();
        self.indexes.read().files().into_iter().for_each(LazyFile::close_idle);
    }

    /// Whether a sync of one of the files has failed when it was closed: only opening the log again helps.
    pub(crate) fn is_lost(&self) -> bool {
        self.log.is_lost() || self.indexes.read().files().into_iter().any(LazyFile::is_lost)
    }
}

impl Indexes {
    fn files(&self) -> [&LazyFile; 3] {
        [self.offsets.file(), self.times.file(), self.aborted.file()]
    }

    fn add(&mut self, batch: &IndexedBatch, interval_bytes: u64) -> io::Result<()> {
        if batch.position == 0 {
            self.first_timestamp = Some(batch.max_timestamp);
        }
        let newest = match self.newest {
            Some(newest) => newest,
            None => self.times.last()?.unwrap_or(TimeEntry { timestamp: -1, offset: batch.last_offset }),
        };
        let newest = if batch.max_timestamp > newest.timestamp {
            TimeEntry { timestamp: batch.max_timestamp, offset: batch.last_offset }
        } else {
            newest
        };
        self.newest = Some(newest);
        if self.bytes_since_entry > interval_bytes {
            self.bytes_since_entry = 0;
            self.offsets.push(OffsetEntry { offset: batch.last_offset, position: batch.position })?;
            if newest.timestamp >= 0 {
                self.times.push(newest)?;
            }
            if self.offsets.wants_write() {
                self.offsets.write()?;
                self.times.write()?;
            }
        }
        self.bytes_since_entry += batch.bytes;
        Ok(())
    }
}

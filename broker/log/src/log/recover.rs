//! Recovery: from whatever a crash left to a log whose every batch is whole and in order.
//!
//! After a clean shutdown the last batches are checked and the rest is trusted. Otherwise every segment that may hold
//! something above the recovery point is read from its beginning: headers, CRCs, ascending offsets. Its indexes, the
//! producers' state and the leader epochs are rebuilt on the way.
//!
//! Where a batch is bad, one of three things is the case (see docs/adr/0005-on-disk-format.md):
//! 1. nothing whole follows: a torn tail, which was never acknowledged. It is cut off.
//! 2. whole batches follow: pages of unsynced writes that reached the disk out of order, or damage to synced ones;
//!    no one can tell. The log is cut before the bad batch and what is cut off is kept in `.corrupt` files.
//! 3. the batch was below the recovery point: it had been durable, so this is damage. Nothing is changed and the
//!    log does not open, unless the settings allow it to be cut as in 2.
//!
//! A crash during recovery changes nothing about this: what is kept is complete and synced before anything is cut.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_wire::batch::RawBatch;
use millrace_wire::ids::{LeaderEpoch, Offset};

use super::Unflushed;
use super::open::OpenOptions;
use super::transactions::marker_of;
use crate::config::CorruptionPolicy;
use crate::disk::Disk;
use crate::epochs::LeaderEpochs;
use crate::error::{Error, io_error};
use crate::files::Files;
use crate::producer::{ProducerBatch, Producers};
use crate::segment::scan::{Scanner, Step, find_batch};
use crate::segment::{Found, IndexedBatch, Segment};
use crate::topic_partition::TopicPartition;

mod cut;
mod producers;

/// What is written again at once.
const REWRITE_BYTES: usize = 1 << 20;

/// What opening a log had to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Segments read from beginning to end.
    pub scanned_segments: usize,
    /// Bytes in them.
    pub scanned_bytes: u64,
    /// Bytes cut off, kept or not.
    pub truncated_bytes: u64,
    /// Why, if anything was cut.
    pub reason: Option<String>,
    /// Files with what was cut off although it held whole batches.
    pub kept: Vec<PathBuf>,
    /// Nothing needed to be read: the log is as a clean shutdown left it.
    pub(super) trusted: bool,
    /// Base offsets of the scanned segments.
    scanned: BTreeSet<Offset>,
}

impl RecoveryReport {
    /// Whether anything had to be read or cut.
    pub fn did_something(&self) -> bool {
        self.scanned_segments > 0 || self.truncated_bytes > 0
    }

    /// What recovery wrote and did not sync: the indexes of all but the active segment, and snapshots.
    pub(super) fn unflushed(&self, all: &BTreeMap<Offset, Arc<Segment>>) -> Unflushed {
        let active = all.keys().next_back();
        let rebuilt = all.iter().filter(|(base, _)| self.scanned.contains(base) && Some(*base) != active);
        Unflushed {
            segments: rebuilt.map(|(_, segment)| segment.clone()).collect(),
            snapshots: self.scanned.iter().copied().collect(),
        }
    }
}

/// What recovery found and built.
pub(super) struct Recovered {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) producers: Producers,
    pub(super) epochs: LeaderEpochs,
    pub(super) next_offset: i64,
    pub(super) report: RecoveryReport,
}

/// Bytes that are no batch, where a batch should be.
struct Bad {
    position: u64,
    reason: String,
}

pub(super) struct Recovery<'o> {
    disk: Files,
    dir: &'o Path,
    partition: &'o TopicPartition,
    options: &'o OpenOptions,
    segments: Vec<Arc<Segment>>,
    /// Base of the first segment whose indexes are missing or broken.
    unindexed: Option<Offset>,
    snapshots: Vec<Offset>,
    producers: Producers,
    epochs: LeaderEpochs,
    /// Where the next batch should begin.
    next: i64,
    report: RecoveryReport,
}

impl<'o> Recovery<'o> {
    pub(super) fn new(
        disk: Files,
        dir: &'o Path,
        partition: &'o TopicPartition,
        options: &'o OpenOptions,
        found: Found,
        epochs: Vec<(LeaderEpoch, Offset)>,
    ) -> Self {
        let mut unindexed = None;
        let mut segments = Vec::with_capacity(found.segments.len());
        for files in &found.segments {
            let (segment, whole) = Segment::open(&disk, dir, files, options.now_ms);
            if !whole && unindexed.is_none() {
                unindexed = Some(files.base);
            }
            segments.push(Arc::new(segment));
        }
        Self {
            disk,
            dir,
            partition,
            options,
            segments,
            unindexed,
            snapshots: found.snapshots,
            producers: Producers::default(),
            epochs: LeaderEpochs::new(epochs, Offset(0), Offset(i64::MAX)),
            next: options.start_offset.0,
            report: RecoveryReport::default(),
        }
    }

    pub(super) fn run(mut self) -> Result<Recovered, Error> {
        if let Some(last) = self.segments.last().cloned() {
            let trusted = self.options.clean_shutdown && self.unindexed.is_none();
            match self.trusted_end(&last)?.filter(|_| trusted) {
                Some(end) => {
                    self.next = end;
                    self.load_producers(Offset(end))?;
                    let empty = self.segments.len() == 1 && last.size() == 0;
                    self.report.trusted = empty || self.snapshots.last() == Some(&Offset(end));
                }
                None => self.scan_from(self.first_to_scan())?,
            }
        }
        if self.next < self.options.durable_end().0 {
            self.refuse_shorter()?;
        }
        self.remove_snapshots_after(Offset(self.next))?;
        self.epochs.truncate(Offset(self.next));
        Ok(Recovered {
            segments: self.segments,
            producers: self.producers,
            epochs: self.epochs,
            next_offset: self.next,
            report: self.report,
        })
    }

    /// The segment that has the recovery point, or the first one without indexes.
    fn first_to_scan(&self) -> usize {
        let point = self.options.recovery_point;
        let point = self.unindexed.map_or(point, |unindexed| unindexed.min(point));
        self.segments.iter().rposition(|segment| segment.base() <= point).unwrap_or(0)
    }

    /// The end of a cleanly closed segment, if the batches after its last index entry are whole up to the end of
    /// the file.
    fn trusted_end(&self, last: &Segment) -> Result<Option<i64>, Error> {
        let mut next = last.base().0;
        if last.size() == 0 {
            return Ok(Some(next));
        }
        let read = io_error("read", last.path());
        let start = last.last_indexed_position().and_then(|position| Ok((position, last.file()?)));
        let (position, file) = start.map_err(read)?;
        if position >= last.size() {
            // An index that points past its segment says nothing about where that ends.
            return Ok(None);
        }
        let mut scanner = Scanner::new(file, position, last.size());
        loop {
            match scanner.step().map_err(io_error("read", last.path()))? {
                Step::Batch { batch, .. } if batch.header.base_offset.0 >= next => {
                    next = batch.header.next_offset().0;
                }
                Step::End => return Ok(Some(next)),
                _ => return Ok(None),
            }
        }
    }

    /// Reads the segments from the `first`-th on.
    fn scan_from(&mut self, first: usize) -> Result<(), Error> {
        let Some(segment) = self.segments.get(first) else { return Ok(()) };
        let base = segment.base();
        self.next = base.0;
        self.load_producers(base)?;
        self.epochs.truncate(base);
        self.remove_snapshots_after(base)?;
        if self.snapshots.last() != Some(&base) {
            // Lost with the crash; the segments before this one may be deleted next.
            self.write_snapshot(base)?;
        }
        let mut at = first;
        // Where the segment before the current one ends; its successor may begin later.
        let mut end_before = base.0;
        while let Some(segment) = self.segments.get(at).cloned() {
            let bad = self.scan(&segment)?;
            let bad = match bad {
                Some(bad) => Some((at, bad)),
                None => self.misplaced(at + 1).map(|bad| {
                    end_before = self.next;
                    (at + 1, bad)
                }),
            };
            if let Some((at, bad)) = bad {
                self.cut(at, &bad, end_before)?;
                break;
            }
            at += 1;
            end_before = self.next;
            if let Some(next) = self.segments.get(at) {
                self.next = next.base().0;
                self.write_snapshot(Offset(self.next))?;
            }
        }
        for segment in &self.segments[first.min(self.segments.len())..] {
            self.make_durable(segment)?;
            // A next crash may find that nothing here has to be read again, and must find the transactions that were aborted:
            // their index may be missing without being missed.
            segment.sync_indexes().map_err(io_error("sync the indexes of", segment.path()))?;
        }
        self.disk.sync_dir(self.dir).map_err(io_error("sync", self.dir))
    }

    /// Whether a segment does not follow the end of the one before it. A gap is what compaction leaves, but only
    /// below the recovery point; above it the end of the segment before was lost.
    fn misplaced(&self, at: usize) -> Option<Bad> {
        let base = self.segments.get(at)?.base().0;
        let gap = base > self.next && self.next >= self.options.recovery_point.0;
        let reason = match base < self.next {
            true => format!("the segment begins below offset {}", self.next),
            false => format!("the records from offset {} on are missing before the segment", self.next),
        };
        (gap || base < self.next).then_some(Bad { position: 0, reason })
    }

    /// Reads one segment and rebuilds its indexes; returns where it ends being a log, if that is not its end.
    fn scan(&mut self, segment: &Arc<Segment>) -> Result<Option<Bad>, Error> {
        segment.reset_indexes().map_err(io_error("remove the indexes of", segment.path()))?;
        let file = segment.file().map_err(io_error("open", segment.path()))?;
        let mut scanner = Scanner::new(file, 0, segment.size());
        self.report.scanned_segments += 1;
        self.report.scanned_bytes += segment.size();
        self.report.scanned.insert(segment.base());
        let bad = loop {
            match scanner.step().map_err(io_error("read", segment.path()))? {
                Step::End => break None,
                Step::Bad { position, reason } => break Some(Bad { position, reason }),
                Step::Batch { position, batch } => {
                    if let Some(reason) = self.out_of_place(segment, &batch) {
                        break Some(Bad { position, reason });
                    }
                    self.take(segment, position, &batch)?;
                }
            }
        };
        if bad.is_none() {
            segment.seal().map_err(io_error("write the indexes of", segment.path()))?;
        }
        Ok(bad)
    }

    /// What a killed process left in the page cache is shown to readers from now on: it must be durable. Above what is known to
    /// be synced it is written once more, as a sync that failed has left pages that the system calls clean and never wrote. The
    /// bytes are those that were checked: the system may drop such a page at any time and read the old one from the disk.
    fn make_durable(&self, segment: &Segment) -> Result<(), Error> {
        let write = |error| io_error("write again", segment.path())(error);
        let synced = self.options.durable_end();
        let start = match segment.base() < synced {
            true => segment.locate(synced).map_err(write)?.map_or(segment.size(), |batch| batch.position),
            false => 0,
        };
        let file = segment.file().map_err(write)?;
        let mut scanner = Scanner::new(file, start, segment.size());
        let (mut batches, mut bytes, mut at) = (Vec::new(), 0, start);
        loop {
            let is_end = match scanner.step().map_err(write)? {
                Step::Batch { batch, .. } => {
                    bytes += batch.bytes.len();
                    batches.push(batch.bytes);
                    false
                }
                Step::End => true,
                Step::Bad { position, reason } => {
                    let text = format!("byte {position} has changed since it was checked: {reason}");
                    return Err(write(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
            };
            if is_end || bytes >= REWRITE_BYTES {
                let slices: Vec<_> = batches.iter().map(|batch| IoSlice::new(batch)).collect();
                segment.write_at(&slices, at).map_err(write)?;
                at += std::mem::take(&mut bytes) as u64;
                batches.clear();
            }
            if is_end {
                return segment.sync_log().map_err(write);
            }
        }
    }

    fn out_of_place(&self, segment: &Segment, batch: &RawBatch) -> Option<String> {
        let header = &batch.header;
        if header.base_offset.0 < self.next {
            return Some(format!("the batch has offset {}, expected {}", header.base_offset, self.next));
        }
        let reach = header.last_offset().0 - segment.base().0;
        (i32::try_from(reach).is_err() || header.last_offset().0 == i64::MAX)
            .then(|| format!("offset {} is out of the segment's reach", header.last_offset()))
    }

    /// Notes a good batch.
    fn take(&mut self, segment: &Segment, position: u64, batch: &RawBatch) -> Result<(), Error> {
        let header = &batch.header;
        let aborted = replay(&mut self.producers, batch);
        let indexed = IndexedBatch::of(header, position);
        let interval = self.options.config.index_interval_bytes;
        let result = segment.index(&indexed, interval);
        let result = aborted.map_or(Ok(()), |aborted| segment.add_aborted(aborted)).and(result);
        result.map_err(io_error("write the indexes of", segment.path()))?;
        self.epochs.assign(header.partition_leader_epoch, header.base_offset);
        self.next = header.next_offset().0;
        Ok(())
    }

    fn io<'p>(&self, action: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> Error + 'p {
        io_error(action, path)
    }
}

/// Applies a batch that is in the log to the producers' state: what was written is not judged again.
pub(super) fn replay(producers: &mut Producers, batch: &RawBatch) -> Option<crate::index::AbortedTxn> {
    let header = &batch.header;
    match marker_of(batch) {
        Ok(Some(marker)) => producers.apply_marker(&marker, header.base_offset).1,
        _ => {
            if let Some(data) = ProducerBatch::of(header).filter(|_| !header.attributes.is_control()) {
                producers.apply(&data, header.base_offset, header.last_offset());
            }
            None
        }
    }
}

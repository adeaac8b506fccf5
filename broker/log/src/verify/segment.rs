//! One segment with its indexes, read side by side: an index entry must speak of a batch that is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_wire::batch::RawBatch;
use millrace_wire::ids::Offset;
use millrace_wire::record;

use super::Scrub;
use crate::disk::{DiskFile, OpenMode};
use crate::index::{AbortedTxn, IndexEntry, OffsetEntry, TimeEntry};
use crate::segment::scan::{Scanner, Step, find_batch};
use crate::segment::{IndexedBatch, SegmentFiles, Suffix, file_name};

/// What a batch may unpack to, in bytes.
const UNCOMPRESSED_BYTES_MAX: usize = 256 << 20;
/// Indexes are read whole; larger ones are not ours.
const INDEX_BYTES_MAX: usize = 1 << 30;

/// An index and how far it was compared.
struct Entries<E> {
    path: PathBuf,
    entries: Vec<E>,
    at: usize,
}

impl<E: IndexEntry> Entries<E> {
    fn peek(&self) -> Option<(E, u64)> {
        let entry = self.entries.get(self.at).copied()?;
        Some((entry, (self.at * E::BYTES) as u64))
    }
}

impl Scrub<'_> {
    /// Returns where the segment's batches end.
    pub(super) fn segment(
        &mut self,
        dir: &Path,
        files: &SegmentFiles,
        is_last: bool,
        recovery_point: Offset,
    ) -> Offset {
        self.report.segments += 1;
        self.report.bytes += files.len;
        let path = dir.join(file_name(files.base, Suffix::Log));
        let file = match self.disk.open(&path, OpenMode::ReadOnly) {
            Ok(file) => file,
            Err(error) => {
                self.damage(&path, None, format_args!("cannot be opened: {error}"));
                return files.base;
            }
        };
        let mut offsets: Entries<OffsetEntry> = self.entries(dir, files.base, Suffix::Index, files.index);
        let mut times: Entries<TimeEntry> =
            self.entries(dir, files.base, Suffix::TimeIndex, files.time_index);
        let mut next = files.base;
        let mut newest_ms = -1;
        let mut scanner = Scanner::new(file.clone(), 0, files.len);
        loop {
            let (position, reason) = match scanner.step() {
                Ok(Step::End) => break,
                Ok(Step::Batch { position, batch }) => {
                    if batch.header.base_offset < next {
                        let what = format!("offset {} after offset {}", batch.header.base_offset, next.0 - 1);
                        self.damage(&path, Some(position), what);
                    }
                    next = next.max(batch.next_offset());
                    self.batch(&path, position, &batch);
                    // Indexes of what is above the recovery point are built anew after a kill.
                    let is_settled = self.is_clean || next <= recovery_point;
                    self.compare_offset(&mut offsets, &batch, position, is_settled);
                    let indexed = IndexedBatch::of(&batch.header, position);
                    newest_ms = newest_ms.max(indexed.max_timestamp);
                    self.compare_time(&mut times, batch.last_offset(), newest_ms, is_settled);
                    continue;
                }
                Ok(Step::Bad { position, reason }) => (position, reason),
                Err(error) => {
                    self.damage(&path, None, format_args!("cannot be read: {error}"));
                    break;
                }
            };
            let Some(goes_on) =
                self.bad(&path, &file, (position, files.len), next, &reason, is_last, recovery_point)
            else {
                break;
            };
            scanner = Scanner::new(file.clone(), goes_on, files.len);
        }
        let is_settled = self.is_clean || !is_last;
        if let Some((entry, at)) = offsets.peek() {
            let what = format!("the entry points to byte {}, where no batch begins", entry.position);
            self.note(&offsets.path, Some(at), &what, is_settled);
        }
        if let Some((entry, at)) = times.peek() {
            let what = format!("the entry speaks of offset {}, which is past the end", entry.offset);
            self.note(&times.path, Some(at), &what, is_settled);
        }
        self.aborted(dir, files, next, is_settled);
        next
    }

    /// Where whole batches go on after bytes that are none.
    #[allow(clippy::too_many_arguments, reason = "all of it is about one place of one file")]
    fn bad(
        &mut self,
        path: &Path,
        file: &Arc<dyn DiskFile>,
        (position, len): (u64, u64),
        next: Offset,
        reason: &str,
        is_last: bool,
        recovery_point: Offset,
    ) -> Option<u64> {
        let follows = find_batch(&**file, position.saturating_add(1), len, next.0).unwrap_or_default();
        if follows.is_none() && is_last && !self.is_clean && next >= recovery_point {
            let bytes = len - position;
            self.remark(
                path,
                Some(position),
                format_args!("a torn tail of {bytes} bytes, which the next start cuts: {reason}"),
            );
        } else {
            self.damage(path, Some(position), reason);
        }
        follows
    }

    fn batch(&mut self, path: &Path, position: u64, batch: &RawBatch) {
        self.report.batches += 1;
        self.report.records += u64::try_from(batch.header.record_count).unwrap_or(0);
        let records = match record::decode(batch, UNCOMPRESSED_BYTES_MAX) {
            Ok(records) => records,
            Err(error) => return self.damage(path, Some(position), error),
        };
        let mut after = batch.header.base_offset.0 - 1;
        for record in records {
            match record {
                Ok(record) if record.offset > after && record.offset <= batch.last_offset().0 => {
                    after = record.offset;
                }
                Ok(record) => {
                    let what =
                        format_args!("a record has offset {}, out of its batch's order", record.offset);
                    return self.damage(path, Some(position), what);
                }
                Err(error) => return self.damage(path, Some(position), error),
            }
        }
    }

    fn compare_offset(
        &mut self,
        offsets: &mut Entries<OffsetEntry>,
        batch: &RawBatch,
        position: u64,
        is_settled: bool,
    ) {
        while let Some((entry, at)) = offsets.peek().filter(|(entry, _)| entry.position <= position) {
            offsets.at += 1;
            let what = if entry.position < position {
                format!("the entry points to byte {}, where no batch begins", entry.position)
            } else if entry.offset != batch.last_offset().0 {
                format!("the entry says offset {}, the batch ends with {}", entry.offset, batch.last_offset())
            } else {
                continue;
            };
            self.note(&offsets.path, Some(at), &what, is_settled);
        }
    }

    /// An entry gives the newest time so far and the batch that has it.
    fn compare_time(
        &mut self,
        times: &mut Entries<TimeEntry>,
        last: Offset,
        newest_ms: i64,
        is_settled: bool,
    ) {
        while let Some((entry, at)) = times.peek().filter(|(entry, _)| entry.offset <= last.0) {
            times.at += 1;
            if entry.timestamp != newest_ms {
                let what =
                    format!("the entry says time {}, up to offset {last} it is {newest_ms}", entry.timestamp);
                self.note(&times.path, Some(at), &what, is_settled);
            }
        }
    }

    fn entries<E: IndexEntry>(
        &mut self,
        dir: &Path,
        base: Offset,
        suffix: Suffix,
        len: Option<u64>,
    ) -> Entries<E> {
        let path = dir.join(file_name(base, suffix));
        let mut entries = Vec::new();
        if len.is_some() {
            match self.disk.read_file(&path, INDEX_BYTES_MAX) {
                Ok(bytes) => {
                    let whole = bytes.len() / E::BYTES * E::BYTES;
                    // Apache Kafka allocates indexes in full; after a kill the rest is zeros.
                    let used = bytes[..whole]
                        .chunks(E::BYTES)
                        .rposition(|entry| entry.iter().any(|byte| *byte != 0));
                    let used = used.map_or(0, |last| last + 1);
                    entries.extend(bytes.chunks(E::BYTES).take(used).map(|entry| E::decode(base.0, entry)));
                    if whole < bytes.len() {
                        let what = format!("{} bytes are no whole number of entries", bytes.len());
                        self.note(&path, Some(whole as u64), &what, self.is_clean);
                    }
                }
                Err(error) => self.damage(&path, None, format_args!("cannot be read: {error}")),
            }
        }
        if let Some(at) = entries.windows(2).position(|pair| pair[0].key() >= pair[1].key()) {
            let what = "the entries are not in order from here on".to_owned();
            self.note(&path, Some(((at + 1) * E::BYTES) as u64), &what, true);
            entries.truncate(at + 1);
        }
        Entries { path, entries, at: 0 }
    }

    fn aborted(&mut self, dir: &Path, files: &SegmentFiles, end: Offset, is_settled: bool) {
        let Some(len) = files.txn_index.filter(|len| *len > 0) else { return };
        let path = dir.join(file_name(files.base, Suffix::TxnIndex));
        let bytes = match self.disk.read_file(&path, INDEX_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) => return self.damage(&path, None, format_args!("cannot be read: {error}")),
        };
        let mut after = files.base.0 - 1;
        for (nth, entry) in bytes.chunks(AbortedTxn::BYTES).enumerate() {
            let position = Some((nth * AbortedTxn::BYTES) as u64);
            let what = match AbortedTxn::parse(entry) {
                None => format!("not an entry; the file has {len} bytes"),
                Some(txn) if txn.first_offset > txn.last_offset => {
                    format!("a transaction from offset {} to {}", txn.first_offset, txn.last_offset)
                }
                Some(txn) if txn.last_offset.0 <= after || txn.last_offset >= end => {
                    format!(
                        "a marker at offset {}, after {after}, where the segment ends at {end}",
                        txn.last_offset
                    )
                }
                Some(txn) => {
                    after = txn.last_offset.0;
                    continue;
                }
            };
            self.note(&path, position, &what, is_settled);
        }
    }
}

//! A round of compaction over this log. The rules stand in [`crate::compaction`].
//!
//! Only the exchange of segments holds locks; reading and writing anew goes on beside appends, reads and syncs. Whoever
//! deletes or cuts segments meanwhile comes first: the round notices and leaves the rest for the next.

use std::sync::Arc;

use millrace_wire::batch::RawBatch;
use millrace_wire::ids::Offset;
use millrace_wire::record;

use super::Log;
use crate::compaction::plan::{self, Candidate};
use crate::compaction::{
    CleanedTransactions, Cleaner, CompactionError, CompactionRange, CompactionReport, Filter, OffsetMap, Pace,
};
use crate::config::LogConfig;
use crate::error::{Error, io_error};
use crate::segment::Segment;
use crate::segment::scan::{Scanner, Step};

mod rewrite;

impl Log {
    /// What a round of compaction would work on. `first_dirty` is where the last one came to, if that is known.
    ///
    /// # Errors
    /// Times of segments can't be read.
    pub fn compaction_range(
        &self,
        first_dirty: Option<Offset>,
        now_ms: i64,
    ) -> Result<CompactionRange, Error> {
        let (start, end) = (self.start_offset(), self.end_offset());
        // Before the log start after DeleteRecords, beyond the end after a loss: then everything counts as dirty.
        let first_dirty = first_dirty.filter(|first| (start..=end).contains(first)).unwrap_or(start);
        let stable = self.last_stable_offset(self.high_watermark());
        let config = self.config();
        let (_, candidates) = self.candidates(&config)?;
        Ok(plan::range(&candidates, first_dirty, stable, &config, now_ms))
    }

    /// Compacts a range that [`Log::compaction_range`] gave.
    ///
    /// # Errors
    /// See [`CompactionError`]; the log serves on, unless it says that it is offline.
    pub fn compact(
        &self,
        cleaner: &mut Cleaner,
        range: &CompactionRange,
        now_ms: i64,
        pace: &mut dyn Pace,
    ) -> Result<CompactionReport, CompactionError> {
        let config = self.config();
        // What is written anew is trusted by the next recovery: it has to be below the recovery point.
        self.flush()?;
        self.remove_leftovers()?;
        let (segments, candidates) = self.candidates(&config)?;
        let below = |end: Offset| candidates.iter().take_while(|segment| segment.base < end).count();
        let dirty = candidates.iter().take_while(|segment| segment.end <= range.first_dirty).count();
        let all = below(range.end);

        self.fill_map(&mut cleaner.map, &segments[dirty.min(all)..all], range, &config, pace)?;
        let mut report = CompactionReport {
            clean_end: Offset(cleaner.map.latest() + 1).max(range.first_dirty),
            keys: cleaner.map.len(),
            ..CompactionReport::default()
        };
        let wanted = below(report.clean_end).min(all);
        let mut filter = Filter {
            map: &cleaner.map,
            now_ms,
            delete_retention_ms: config.delete_retention_ms,
            uncompressed_bytes_max: config.max_uncompressed_bytes,
            transactions: CleanedTransactions::default(),
            aborted: Vec::new(),
        };
        let mut at = 0;
        for length in plan::groups(&candidates[..wanted], &config) {
            let group = &segments[at..at + length];
            at += length;
            let written = self.rewrite(group, &mut filter, now_ms, pace);
            let replaced = written.and_then(|cleaned| self.replace(group, &cleaned, now_ms));
            let segment = match replaced {
                Ok(segment) => segment,
                Err(error) => {
                    // What can't be removed now is before the next round, or at the next start.
                    let _ = self.remove_leftovers();
                    return Err(error);
                }
            };
            report.segments_before += length;
            report.segments_after += 1;
            report.bytes_before += group.iter().map(|old| old.size()).sum::<u64>();
            report.bytes_after += segment.size();
        }
        cleaner.map.clear();
        Ok(report)
    }

    /// The segments before the active one, and what is known of them.
    fn candidates(&self, config: &LogConfig) -> Result<(Vec<Arc<Segment>>, Vec<Candidate>), Error> {
        let mut segments: Vec<_> = self.segments.read().values().cloned().collect();
        let ends: Vec<_> = segments.iter().skip(1).map(|segment| segment.base()).collect();
        segments.truncate(ends.len());
        let mut candidates = Vec::with_capacity(segments.len());
        for (segment, end) in segments.iter().zip(ends) {
            let read = |error| io_error("read the times of", segment.path())(error);
            // Times may have to be read from files: only if somebody asks for them.
            let oldest_ms = match config.max_compaction_lag_ms {
                i64::MAX => None,
                _ => segment.first_timestamp().map_err(read)?,
            };
            let newest_ms = match config.min_compaction_lag_ms {
                0 => None,
                _ => Some(segment.newest().map_err(read)?.timestamp),
            };
            candidates.push(Candidate {
                base: segment.base(),
                end,
                bytes: segment.size(),
                index_bytes: segment.index_bytes(),
                oldest_ms: oldest_ms.unwrap_or(-1),
                newest_ms: newest_ms.unwrap_or(-1),
            });
        }
        Ok((segments, candidates))
    }

    /// The first pass: notes the newest offset of each key, as far as the map has room.
    fn fill_map(
        &self,
        map: &mut OffsetMap,
        segments: &[Arc<Segment>],
        range: &CompactionRange,
        config: &LogConfig,
        pace: &mut dyn Pace,
    ) -> Result<(), CompactionError> {
        map.clear();
        let mut transactions = CleanedTransactions::default();
        transactions.expect(self.aborted_transactions(range.first_dirty, range.end)?);
        for (nth, segment) in segments.iter().enumerate() {
            let mut batches = self.scan(segment)?;
            while let Some(batch) = batches.next(pace)? {
                let undecodable = |error: &dyn std::fmt::Display| self.undecodable(error);
                let is_control = batch.header.attributes.is_control();
                if is_control {
                    transactions.end(&batch).map_err(|error| undecodable(&error))?;
                } else if !transactions.is_aborted(&batch) && batch.last_offset() >= range.first_dirty {
                    let mut records = record::decode(&batch, config.max_uncompressed_bytes)
                        .map_err(|error| undecodable(&error))?;
                    while let Some(record) = records.next_ref() {
                        let record = record.map_err(|error| undecodable(&error))?;
                        let Some(key) = record.key.filter(|_| record.offset >= range.first_dirty.0) else {
                            continue;
                        };
                        if !map.put(key, record.offset) {
                            return Ok(());
                        }
                    }
                }
                if batch.last_offset() >= range.first_dirty {
                    map.set_latest(batch.last_offset().0);
                }
            }
            segment.close_idle();
            let end = segments.get(nth + 1).map_or(range.end, |next| next.base());
            map.set_latest(end.0 - 1);
        }
        Ok(())
    }

    /// The batches of a segment, each of which was checked.
    fn scan<'s>(&'s self, segment: &'s Segment) -> Result<Batches<'s>, Error> {
        let file = segment.file().map_err(io_error("open", segment.path()))?;
        Ok(Batches {
            log: self,
            segment,
            scanner: Scanner::new(file, 0, segment.size()),
            next: segment.base(),
        })
    }

    fn undecodable(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Undecodable { partition: self.partition.clone(), reason: error.to_string() }
    }
}

/// A segment read from its beginning to its end.
struct Batches<'s> {
    log: &'s Log,
    segment: &'s Segment,
    scanner: Scanner,
    next: Offset,
}

impl Batches<'_> {
    /// The next batch. Corruption is an error: it must not be written anew under a right CRC, nor left out.
    fn next(&mut self, pace: &mut dyn Pace) -> Result<Option<RawBatch>, CompactionError> {
        let (position, reason) = match self.scanner.step().map_err(io_error("read", self.segment.path()))? {
            Step::End => return Ok(None),
            Step::Batch { batch, .. } if batch.header.base_offset >= self.next => {
                self.next = batch.next_offset();
                return match pace.spent(batch.bytes.len() as u64) {
                    true => Ok(Some(batch)),
                    false => Err(CompactionError::Stopped),
                };
            }
            Step::Batch { position, batch } => {
                (position, format!("offset {} is out of order", batch.header.base_offset))
            }
            Step::Bad { position, reason } => (position, reason),
        };
        Err(CompactionError::Log(Error::Corrupt {
            path: self.segment.path().to_path_buf(),
            position,
            offset: self.next.0,
            recovery_point: self.log.recovery_point().0,
            reason,
        }))
    }
}

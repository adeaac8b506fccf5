//! Shortening a log at its front: retention by time and size, and DeleteRecords. Whole segments go, the start moves.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use millrace_wire::ids::Offset;

use super::Log;
use super::trash::ALL_FILES;
use crate::config::LogConfig;
use crate::error::{Error, io_error};
use crate::segment::Segment;

impl Log {
    /// Applies `retention.ms` and `retention.bytes`, deletes what lies below the log start, forgets idle producers.
    /// Nothing at or above the high watermark is touched. Returns how many segments were deleted.
    pub fn retention(&self, now_ms: i64, high_watermark: Offset) -> Result<usize, Error> {
        let config = self.config();
        {
            let mut writer = self.writer.lock();
            self.check_online()?;
            writer.producers.expire(now_ms, config.producer_id_expiration_ms);
        }
        if !config.delete {
            return self.delete_below_start();
        }
        let end = self.expired_end(&config, now_ms, high_watermark)?;
        if end > self.start_offset() {
            if end == self.end_offset() {
                // Everything is old enough: the active segment too, once something newer can be active.
                self.roll(now_ms)?;
            }
            self.start_offset.fetch_max(end.0, Ordering::AcqRel);
            self.epochs.write().start_at(end);
        }
        self.delete_below_start()
    }

    /// Moves the log start to `offset` (DeleteRecords); returns the log start. The offset is at most the high
    /// watermark: the caller has checked it.
    pub fn delete_records_to(&self, offset: Offset) -> Result<Offset, Error> {
        self.check_online()?;
        let (start, end) = (self.start_offset(), self.end_offset());
        if offset > end {
            return Err(Error::OffsetOutOfRange { partition: self.partition.clone(), offset, start, end });
        }
        if offset > start {
            self.start_offset.fetch_max(offset.0, Ordering::AcqRel);
            self.epochs.write().start_at(offset);
            self.delete_below_start()?;
        }
        Ok(self.start_offset())
    }

    /// Closes files that nobody uses, and lets go of a tail that nobody asks for.
    pub fn release_idle(&self) {
        self.cache.shrink();
        self.close_idle_files();
    }

    /// Closes files that nobody uses and that are synced.
    pub fn close_idle_files(&self) {
        let segments: Vec<_> = self.segments.read().values().cloned().collect();
        segments.iter().for_each(|segment| segment.close_idle());
    }

    /// The end of the oldest segments that retention takes, in a row from the front.
    fn expired_end(&self, config: &LogConfig, now_ms: i64, high_watermark: Offset) -> Result<Offset, Error> {
        let segments: Vec<_> = self.segments.read().values().cloned().collect();
        let mut excess = match u64::try_from(config.retention_bytes) {
            Ok(limit) => self.size_bytes().saturating_sub(limit),
            Err(_) => 0,
        };
        let mut end = self.start_offset();
        for (nth, segment) in segments.iter().enumerate() {
            let segment_end = segments.get(nth + 1).map_or(self.end_offset(), |next| next.base());
            let too_old = config.retention_ms >= 0 && {
                let newest = segment.newest().map_err(io_error("read the time index of", segment.path()))?;
                let newest = if newest.timestamp >= 0 { newest.timestamp } else { segment.since_ms() };
                let is_old = |time_ms| now_ms.saturating_sub(time_ms) > config.retention_ms;
                // The index is not alone believed: what it says costs records.
                is_old(newest)
                    && segment
                        .first_timestamp()
                        .map_err(io_error("read", segment.path()))?
                        .is_none_or(|first| first < 0 || is_old(first))
            };
            // A segment goes for its size only if the log stays at the limit or above without it.
            let too_much = segment.size() > 0 && excess >= segment.size();
            if segment_end > high_watermark || segment.size() == 0 || !(too_old || too_much) {
                break;
            }
            excess = excess.saturating_sub(segment.size());
            end = end.max(segment_end);
        }
        Ok(end)
    }

    /// Deletes the segments that end at or below the log start; the active one stays.
    fn delete_below_start(&self) -> Result<usize, Error> {
        let start = self.start_offset();
        if self.segments.read().keys().nth(1).is_none_or(|second| *second > start) {
            return Ok(0);
        }
        // The snapshots that replace what is deleted must be durable first.
        self.flush()?;
        let _no_flush = self.flushing.lock();
        let _no_sync = self.syncing.lock();
        let doomed: Vec<Arc<Segment>> = {
            let mut segments = self.segments.write();
            let bases: Vec<_> = segments.keys().copied().collect();
            let ended = bases.windows(2).filter(|pair| pair[1] <= start).map(|pair| pair[0]);
            ended.filter_map(|base| segments.remove(&base)).collect()
        };
        self.writer.lock().rolled_dirty.retain(|segment| !is_in(&doomed, segment));
        self.unflushed.lock().segments.retain(|segment| !is_in(&doomed, segment));
        {
            // Files are opened by name when they are first needed: a reader who is in may still need one.
            let _no_reader = self.truncation.write();
            for segment in &doomed {
                self.set_aside(segment.base(), &ALL_FILES)?;
            }
        }
        Ok(doomed.len())
    }
}

fn is_in(segments: &[Arc<Segment>], wanted: &Arc<Segment>) -> bool {
    segments.iter().any(|segment| Arc::ptr_eq(segment, wanted))
}

//! When a new segment begins, and how.

use std::io::IoSlice;
use std::sync::Arc;

use millrace_wire::ids::Offset;

use super::{Log, Writer};
use crate::config::LogConfig;
use crate::disk::{Disk, OpenMode};
use crate::error::{Error, io_error};
use crate::producer::snapshot;
use crate::segment::{Segment, Suffix, file_name};

/// What is about to be appended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    pub(super) bytes: u64,
    /// Its newest timestamp, or -1.
    pub(super) newest: i64,
    pub(super) last_offset: i64,
}

impl Log {
    /// Begins a new segment, unless the active one is empty.
    pub fn roll(&self, now_ms: i64) -> Result<(), Error> {
        let mut writer = self.writer.lock();
        self.check_online()?;
        self.roll_active(&mut writer, now_ms)
    }

    /// Whether the active segment, with `staged` bytes to come, is full, too old or out of reach for what comes in.
    pub(super) fn wants_roll(
        &self,
        writer: &Writer,
        staged: u64,
        incoming: &Incoming,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<bool, Error> {
        let active = &writer.active;
        let size = active.size() + staged;
        if size == 0 {
            return Ok(false);
        }
        let in_reach = i32::try_from(incoming.last_offset - active.base().0).is_ok();
        if !in_reach
            || size + incoming.bytes > config.segment_bytes.min(i32::MAX as u64)
            || active.index_bytes() >= config.segment_index_bytes
        {
            return Ok(true);
        }
        let first = active.first_timestamp().map_err(io_error("read", active.path()))?;
        let waited = match first {
            Some(first) if first >= 0 => incoming.newest.saturating_sub(first),
            _ => now_ms.saturating_sub(active.since_ms()),
        };
        Ok(waited > self.segment_age_max_ms(active.base(), config))
    }

    /// How old a segment may become: `segment.ms`, or `max.compaction.lag.ms` if that is shorter and the log is
    /// compacted (the active segment never is); less the jitter, which differs from segment to segment but is the same
    /// after a restart.
    fn segment_age_max_ms(&self, base: Offset, config: &LogConfig) -> i64 {
        let age_max_ms = match config.compact {
            true => config.segment_ms.min(config.max_compaction_lag_ms),
            false => config.segment_ms,
        };
        let jitter_max_ms = config.segment_jitter_ms.min(age_max_ms).max(0) as u64;
        let seed = format!("{} {base}", self.partition);
        let jitter_ms = u64::from(crc32c::crc32c(seed.as_bytes())) % jitter_max_ms.max(1);
        age_max_ms.saturating_sub(jitter_ms as i64)
    }

    /// The steps stand in an order in which a failure leaves the old segment in use and whole.
    pub(super) fn roll_active(&self, writer: &mut Writer, now_ms: i64) -> Result<(), Error> {
        let old = writer.active.clone();
        if old.size() == 0 {
            return Ok(());
        }
        let sealed = old.seal().map_err(io_error("write the indexes of", old.path()));
        sealed.map_err(|error| self.or_offline(&old, error))?;
        let base = Offset(writer.next_offset);
        let is_behind = self.recovery_point() >= base;
        if is_behind {
            // Recovery would begin at the new segment and trust the indexes of the old one.
            let synced = old.sync_indexes().map_err(io_error("sync the indexes of", old.path()));
            synced.map_err(|error| self.go_offline(error))?;
        }
        self.write_snapshot(writer, base)?;
        let new = Segment::create(&self.disk, &self.dir, base, now_ms);
        let new = Arc::new(new.map_err(io_error("create a segment in", &self.dir))?);
        self.segments.write().insert(base, new.clone());
        if !is_behind {
            self.unflushed.lock().segments.push(old.clone());
        }
        writer.rolled_dirty.push(old);
        writer.active = new;
        writer.active_dirty = false;
        writer.dir_dirty = true;
        writer.closed = false;
        Ok(())
    }

    /// Writes the producers' state at `offset`; it is synced with the next flush.
    pub(super) fn write_snapshot(&self, writer: &Writer, offset: Offset) -> Result<(), Error> {
        let path = self.dir.join(file_name(offset, Suffix::Snapshot));
        let bytes = snapshot::encode(writer.producers.entries());
        self.disk
            .open(&path, OpenMode::Truncate)
            .and_then(|file| file.write_all_at(&[IoSlice::new(&bytes)], 0))
            .map_err(io_error("write", &path))?;
        self.unflushed.lock().snapshots.push(offset);
        Ok(())
    }
}

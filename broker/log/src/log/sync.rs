//! Making the log durable: the group commit, and the flush that lets recovery begin later.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use millrace_wire::ids::Offset;

use super::{Log, Writer};
use crate::checkpoint;
use crate::disk::{Disk, OpenMode};
use crate::error::{Error, io_error};
use crate::partition_metadata;
use crate::segment::{Segment, Suffix, file_name};

impl Log {
    /// Makes everything that was appended before the call durable, and returns the durable end. Blocks for the disk.
    ///
    /// Calls that come while another is at it wait for it and then find their records durable, or share the next
    /// sync. A failure puts the log offline: see the head of [`crate::log`].
    pub fn sync(&self) -> Result<Offset, Error> {
        let wanted = self.end_offset();
        let _one_at_a_time = self.syncing.lock();
        self.check_online()?;
        if self.durable_end() >= wanted { Ok(self.durable_end()) } else { self.sync_now() }
    }

    /// The caller holds the sync lock.
    fn sync_now(&self) -> Result<Offset, Error> {
        let (end, segments, bytes, dir, newborn) = {
            let mut writer = self.writer.lock();
            let mut segments = std::mem::take(&mut writer.rolled_dirty);
            if std::mem::take(&mut writer.active_dirty) {
                segments.push(writer.active.clone());
            }
            let bytes = self.unsynced_bytes.load(Ordering::Relaxed);
            let dir = std::mem::take(&mut writer.dir_dirty);
            (writer.next_offset, segments, bytes, dir, std::mem::take(&mut writer.newborn))
        };
        let result = self.sync_files(&segments, dir, newborn);
        result.map_err(|error| self.go_offline(error))?;
        self.unsynced_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.durable_end.fetch_max(end, Ordering::AcqRel);
        Ok(self.durable_end())
    }

    pub(super) fn sync_files(
        &self,
        segments: &[Arc<Segment>],
        dir: bool,
        newborn: bool,
    ) -> Result<(), Error> {
        for segment in segments {
            segment.sync_log().map_err(io_error("sync", segment.path()))?;
        }
        if newborn {
            self.sync_if_there(&self.dir.join(partition_metadata::FILE_NAME))?;
        }
        if dir {
            self.disk.sync_dir(&self.dir).map_err(io_error("sync", &self.dir))?;
        }
        match self.dir.parent() {
            Some(parent) if newborn => self.disk.sync_dir(parent).map_err(io_error("sync", parent)),
            _ => Ok(()),
        }
    }

    /// Syncs the log, and the indexes and snapshots of the segments that are full, and saves the leader epochs:
    /// recovery after this needs to look at nothing below the recovery point. Returns the durable end.
    ///
    /// A failure to write an index does not put the log offline, the recovery point stays where it was; a failure to sync one
    /// does: the next sync would say that all is well, and an index whose pages were lost looks like a good one.
    pub fn flush(&self) -> Result<Offset, Error> {
        let _one_at_a_time = self.flushing.lock();
        let end = self.sync()?;
        let todo = self.unflushed.lock().clone();
        for segment in &todo.segments {
            let written = segment.write_indexes().map_err(io_error("write the indexes of", segment.path()));
            written.map_err(|error| self.or_offline(segment, error))?;
            let synced = segment.sync_indexes().map_err(io_error("sync the indexes of", segment.path()));
            synced.map_err(|error| self.go_offline(error))?;
        }
        for offset in &todo.snapshots {
            let synced = self.sync_if_there(&self.dir.join(file_name(*offset, Suffix::Snapshot)));
            synced.map_err(|error| self.go_offline(error))?;
        }
        self.save_epochs()?;
        if !todo.segments.is_empty() || !todo.snapshots.is_empty() {
            self.disk.sync_dir(&self.dir).map_err(io_error("sync", &self.dir))?;
        }
        // No roll may be half done: the segment that it fills is either known here, or finds the new recovery point.
        let _no_roll = self.writer.lock();
        let mut unflushed = self.unflushed.lock();
        unflushed.segments.retain(|left| !todo.segments.iter().any(|done| Arc::ptr_eq(left, done)));
        unflushed.snapshots.retain(|left| !todo.snapshots.contains(left));
        // A segment may have become full meanwhile: recovery has to begin there, not behind it.
        let first_left = unflushed.segments.iter().map(|segment| segment.base()).min();
        let point = first_left.map_or(end, |base| base.min(end));
        self.recovery_point.fetch_max(point.0, Ordering::AcqRel);
        Ok(end)
    }

    /// Recovery may begin here. The data directory's checkpoint has it.
    pub fn recovery_point(&self) -> Offset {
        Offset(self.recovery_point.load(Ordering::Acquire))
    }

    /// Flushes everything and writes what lets the next start trust the log without reading it. Appends are refused
    /// from here on.
    pub fn close_clean(&self) -> Result<(), Error> {
        self.flush()?;
        let writer = self.writer.lock();
        if writer.next_offset > self.durable_end().0 {
            let reason = "records were appended while it was being closed".to_owned();
            return Err(Error::Offline { partition: self.partition.clone(), reason });
        }
        if !writer.closed {
            self.save_for_trust(&writer)?;
        }
        self.shut("the log is closed");
        Ok(())
    }

    /// What a clean start relies on: the active segment's indexes and the producers at the log end.
    fn save_for_trust(&self, writer: &Writer) -> Result<(), Error> {
        let active = &writer.active;
        if active.size() > 0 {
            active.seal().map_err(io_error("write the indexes of", active.path()))?;
            active.sync_indexes().map_err(io_error("sync the indexes of", active.path()))?;
        }
        let end = Offset(writer.next_offset);
        self.write_snapshot(writer, end)?;
        self.sync_if_there(&self.dir.join(file_name(end, Suffix::Snapshot)))?;
        self.disk.sync_dir(&self.dir).map_err(io_error("sync", &self.dir))
    }

    /// Replaces the leader epoch checkpoint if it is out of date.
    fn save_epochs(&self) -> Result<(), Error> {
        let mut epochs = self.epochs.write();
        if epochs.unsaved {
            let path = self.dir.join(checkpoint::LEADER_EPOCH);
            checkpoint::write_epochs(&self.disk, &path, epochs.entries())?;
            epochs.unsaved = false;
        }
        Ok(())
    }

    fn sync_if_there(&self, path: &Path) -> Result<(), Error> {
        match self.disk.open(path, OpenMode::Existing).and_then(|file| file.sync_data()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("sync", path)(error)),
            _ => Ok(()),
        }
    }
}

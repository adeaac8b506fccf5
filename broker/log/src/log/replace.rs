//! Segments give their place to one that was written from them, in an order in which a crash at any step leaves either
//! all of the old ones or the new one. The suffixes and their meaning are Apache Kafka's.
//!
//! 1. The new segment's files lie there as `.cleaned`, durable. A crash: they are removed, nothing happened.
//! 2. They are renamed to `.swap`, the indexes first, the log last, and the folder is synced. Once there is a `.log.swap`
//!    the exchange is decided: from now on a start completes it (`segment/swaps.rs`).
//! 3. The old files are renamed to `.deleted`, so that whoever has them open reads on.
//! 4. `.swap` goes from the names, from the log's last, and the new segment is in the row.
//! 5. The folder is synced, the `.deleted` files are removed.

use std::io;
use std::sync::Arc;

use millrace_wire::ids::Offset;

use super::Log;
use super::trash::ALL_FILES;
use crate::compaction::CompactionError;
use crate::disk::Disk;
use crate::error::{Error, io_error};
use crate::segment::{CLEANED, FILES, SWAP, Segment, SegmentFiles, Suffix, file_name};

impl Log {
    /// Puts `cleaned` in the place of `group`, unless somebody changed the group since it was read.
    pub(super) fn replace(
        &self,
        group: &[Arc<Segment>],
        cleaned: &Segment,
        now_ms: i64,
    ) -> Result<Arc<Segment>, CompactionError> {
        let _no_flush = self.flushing.lock();
        let _no_sync = self.syncing.lock();
        self.check_online()?;
        let is_there = |old: &Arc<Segment>| {
            self.segments.read().get(&old.base()).is_some_and(|there| Arc::ptr_eq(there, old))
        };
        if !group.iter().all(is_there) {
            return Err(CompactionError::Overtaken);
        }
        let base = cleaned.base();
        cleaned.close_idle();
        let sync_names = || self.disk.sync_dir(&self.dir).map_err(io_error("sync", &self.dir));
        let decided = FILES.into_iter().try_for_each(|suffix| self.rename(base, suffix, CLEANED, SWAP));
        if let Err(error) = decided.and_then(|()| sync_names()) {
            // The log's name first: without it the others decide nothing.
            for suffix in FILES.into_iter().rev() {
                for extension in [SWAP, CLEANED] {
                    self.remove_if_there(&format!("{}{extension}", file_name(base, suffix)))?;
                }
            }
            return Err(error.into());
        }
        let segment = {
            // Files are opened by name when they are first needed: no reader may come between the names.
            let _no_reader = self.truncation.write();
            let exchanged = self.exchange(group, cleaned, now_ms);
            // Half an exchange is completed when the log is opened again.
            exchanged.map_err(|error| self.go_offline(error))?
        };
        sync_names()?;
        Ok(segment)
    }

    fn exchange(
        &self,
        group: &[Arc<Segment>],
        cleaned: &Segment,
        now_ms: i64,
    ) -> Result<Arc<Segment>, Error> {
        for (nth, old) in group.iter().enumerate() {
            // The first one's base stays a beginning, so the producers' state there stays too.
            self.set_aside(old.base(), if nth == 0 { &FILES } else { &ALL_FILES })?;
        }
        for suffix in FILES {
            self.rename(cleaned.base(), suffix, SWAP, "")?;
        }
        let (index, time_index, txn_index) = cleaned.index_lens();
        let files = SegmentFiles {
            base: cleaned.base(),
            len: cleaned.size(),
            index: Some(index),
            time_index: Some(time_index),
            txn_index: Some(txn_index),
        };
        let (segment, _) = Segment::open(&self.disk, &self.dir, &files, now_ms);
        let segment = Arc::new(segment);
        let mut segments = self.segments.write();
        for old in group {
            segments.remove(&old.base());
        }
        segments.insert(segment.base(), segment.clone());
        let end = segments.range(segment.base().next()..).next().map(|(base, _)| *base);
        drop(segments);
        // The index of aborted transactions speaks of what is on disk.
        end.into_iter().for_each(|end| self.cache.forget_below(end));
        let is_old = |segment: &Arc<Segment>| group.iter().any(|old| Arc::ptr_eq(old, segment));
        self.writer.lock().rolled_dirty.retain(|segment| !is_old(segment));
        self.unflushed.lock().segments.retain(|segment| !is_old(segment));
        Ok(segment)
    }

    /// A file that isn't there is no error: not every segment has a transaction index.
    fn rename(&self, base: Offset, suffix: Suffix, from: &str, to: &str) -> Result<(), Error> {
        let name = file_name(base, suffix);
        let path = self.dir.join(format!("{name}{from}"));
        match self.disk.rename(&path, &self.dir.join(format!("{name}{to}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound || suffix == Suffix::Log => {
                Err(io_error("rename", &path)(error))
            }
            _ => Ok(()),
        }
    }
}

//! Files that are no longer part of the log: they stay under names that end in `.deleted` for `file.delete.delay.ms`, as an
//! operator's last chance, and go then, or at the next start.

use std::io;

use millrace_wire::ids::Offset;

use super::Log;
use crate::disk::Disk;
use crate::error::{Error, io_error};
use crate::segment::{CLEANED, DELETED, Suffix, file_name};

/// Every file of a segment: the log's own, and the producers' state at its beginning.
pub(super) const ALL_FILES: [Suffix; 5] =
    [Suffix::Log, Suffix::Index, Suffix::TimeIndex, Suffix::TxnIndex, Suffix::Snapshot];

/// Names within the log's folder, and since when they wait (the time of the first look after they came).
pub(super) type Trash = Vec<(String, Option<i64>)>;

impl Log {
    /// Takes files of a segment out of the log; those that aren't there don't matter.
    pub(super) fn set_aside(&self, base: Offset, files: &[Suffix]) -> Result<(), Error> {
        let at_once = self.config().file_delete_delay_ms == 0;
        for suffix in files {
            let name = file_name(base, *suffix);
            if at_once {
                self.remove_if_there(&name)?;
                continue;
            }
            let aside = format!("{name}{DELETED}");
            let path = self.dir.join(&name);
            match self.disk.rename(&path, &self.dir.join(&aside)) {
                Ok(()) => self.trash.lock().push((aside, None)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_error("rename", &path)(error)),
            }
        }
        Ok(())
    }

    /// Removes the deleted files whose time has come; to be called now and then. `now_ms` of [`i64::MAX`] removes all.
    ///
    /// # Errors
    /// A file can't be removed; it is tried again the next time.
    pub fn purge_deleted(&self, now_ms: i64) -> Result<(), Error> {
        let delay_ms = self.config().file_delete_delay_ms;
        let due: Vec<String> = {
            let mut trash = self.trash.lock();
            let is_due = |since: &mut Option<i64>| {
                now_ms == i64::MAX || now_ms.saturating_sub(*since.get_or_insert(now_ms)) >= delay_ms
            };
            trash.extract_if(.., |(_, since)| is_due(since)).map(|(name, _)| name).collect()
        };
        let mut result = Ok(());
        for name in due {
            if let Err(error) = self.remove_if_there(&name) {
                self.trash.lock().push((name, None));
                result = Err(error);
            }
        }
        result
    }

    /// Removes what a round of compaction that failed has left.
    pub(super) fn remove_leftovers(&self) -> Result<(), Error> {
        for entry in self.disk.list(&self.dir).map_err(io_error("list", &self.dir))? {
            if entry.name.ends_with(CLEANED) {
                self.remove_if_there(&entry.name)?;
            }
        }
        Ok(())
    }

    pub(super) fn remove_if_there(&self, name: &str) -> Result<(), Error> {
        let path = self.dir.join(name);
        match self.disk.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path)(error)),
            _ => Ok(()),
        }
    }
}

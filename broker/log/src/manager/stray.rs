//! Folders that nobody asks for any more and nobody may delete either: they are kept under another name, as Apache Kafka does.

use std::path::PathBuf;

use super::{LogManager, NAME_BYTES_MAX};
use crate::disk::Disk;
use crate::error::{Error, io_error};
use crate::topic_partition::TopicPartition;

/// Ends the names of folders that were set aside; see [`LogManager::set_aside`].
pub(super) const STRAY_SUFFIX: &str = "-stray";

impl LogManager {
    /// Closes a partition and keeps its folder, durably, under a name that no partition has. Gives the new path.
    pub fn set_aside(&self, partition: &TopicPartition) -> Result<PathBuf, Error> {
        if let Some(entry) = self.logs.write().remove(partition) {
            entry.log.retire();
        }
        let dir = self.data_dir.join(partition.dir_name());
        let target = self.data_dir.join(self.other_name(partition, STRAY_SUFFIX));
        self.disk.rename(&dir, &target).map_err(io_error("rename", &dir))?;
        self.disk.sync_dir(&self.data_dir).map_err(io_error("sync", &self.data_dir))?;
        self.change_checkpoints(|offsets| {
            offsets.remove(partition);
        })?;
        Ok(target)
    }

    /// A folder's name that ends in `suffix` and was not used before.
    pub(super) fn other_name(&self, partition: &TopicPartition, suffix: &str) -> String {
        let mut renamed = self.renamed.lock();
        *renamed += 1;
        let suffix = format!(".{:032x}{suffix}", *renamed);
        let mut name = partition.dir_name();
        name.truncate(NAME_BYTES_MAX - suffix.len());
        name + &suffix
    }
}

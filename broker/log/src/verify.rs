//! A scrub of a data directory that no broker uses: everything is read, nothing is changed.
//!
//! Each batch: its length, header and CRC, and that its records can be taken apart; offsets that ascend, within a segment and
//! from one to the next. What is derived from them: offset, time and transaction indexes, producer snapshots. The
//! small files: checkpoints, leader epochs, topic ids.
//!
//! A finding is damage, or a remark on what the next start settles by itself: after a kill the tail of a log may be torn
//! above its recovery point, and indexes there may lag.
//!
//! Rooms: `partition` (a folder), `segment` (a log file with its indexes).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use millrace_wire::ids::Offset;

use crate::checkpoint;
use crate::disk::Disk;
use crate::error::{Error, io_error};
use crate::topic_partition::TopicPartition;

mod partition;
mod segment;
#[cfg(test)]
mod tests;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// In which file or folder.
    pub path: PathBuf,
    /// Where in it.
    pub position: Option<u64>,
    /// What is wrong.
    pub what: String,
    /// Whether something is lost or wrong. If not, the next start settles it.
    pub is_damage: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_damage { "damage" } else { "remark" };
        write!(f, "{kind}: {}", self.path.display())?;
        match self.position {
            Some(position) => write!(f, " at byte {position}: {}", self.what),
            None => write!(f, ": {}", self.what),
        }
    }
}

/// What was read, and how much of it was wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Partitions' folders.
    pub partitions: u64,
    /// Segments in them.
    pub segments: u64,
    /// Whole batches.
    pub batches: u64,
    /// Records in them, control records too.
    pub records: u64,
    /// Bytes of segments.
    pub bytes: u64,
    /// Findings that are damage.
    pub damages: u64,
    /// Findings that are not.
    pub remarks: u64,
}

/// Reads a data directory, or one topic of it. `found` is told of each finding as it is met.
///
/// # Errors
/// The directory is not there, or a broker uses it. What can't be read below it is a finding.
pub fn verify(
    disk: &dyn Disk,
    data_dir: &Path,
    topic: Option<&str>,
    found: &mut dyn FnMut(&Finding),
) -> Result<VerifyReport, Error> {
    let entries = disk.list(data_dir).map_err(io_error("list", data_dir))?;
    let lock_path = data_dir.join(crate::manager::LOCK);
    // A copy has no lock, or one that can't be written: nobody uses it then.
    let is_locked = entries.iter().any(|entry| entry.name == crate::manager::LOCK)
        && matches!(disk.lock(&lock_path), Ok(None));
    if is_locked {
        return Err(Error::Locked(data_dir.to_path_buf()));
    }
    let is_clean = entries.iter().any(|entry| entry.name == crate::manager::CLEAN_SHUTDOWN);
    let mut scrub = Scrub { disk, found, is_clean, report: VerifyReport::default() };
    let recovery_points = scrub.offsets(&data_dir.join(checkpoint::RECOVERY_POINT));
    for name in [checkpoint::LOG_START, checkpoint::HIGH_WATERMARK, checkpoint::CLEAN_END] {
        scrub.offsets(&data_dir.join(name));
    }
    for entry in entries.iter().filter(|entry| entry.is_dir) {
        let Ok(partition) = entry.name.parse::<TopicPartition>() else { continue };
        if topic.is_some_and(|topic| topic != partition.topic) {
            continue;
        }
        let recovery_point = recovery_points.get(&partition).copied().unwrap_or_default();
        scrub.partition(&data_dir.join(&entry.name), recovery_point);
    }
    Ok(scrub.report)
}

/// A scrub under way.
struct Scrub<'s> {
    disk: &'s dyn Disk,
    found: &'s mut dyn FnMut(&Finding),
    /// The last broker stopped cleanly.
    is_clean: bool,
    report: VerifyReport,
}

impl Scrub<'_> {
    fn damage(&mut self, path: &Path, position: Option<u64>, what: impl fmt::Display) {
        self.note(path, position, &what, true);
    }

    fn remark(&mut self, path: &Path, position: Option<u64>, what: impl fmt::Display) {
        self.note(path, position, &what, false);
    }

    fn note(&mut self, path: &Path, position: Option<u64>, what: &dyn fmt::Display, is_damage: bool) {
        match is_damage {
            true => self.report.damages += 1,
            false => self.report.remarks += 1,
        }
        (self.found)(&Finding { path: path.to_path_buf(), position, what: what.to_string(), is_damage });
    }

    fn offsets(&mut self, path: &Path) -> BTreeMap<TopicPartition, Offset> {
        checkpoint::read_offsets(self.disk, path).unwrap_or_else(|error| {
            self.damage(path, None, error);
            BTreeMap::new()
        })
    }
}

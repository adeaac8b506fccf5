//! Apache Kafka's small text files: a version, a count, then one line per entry.
//!
//! ```text
//! 0                 version
//! 2                 how many lines follow
//! orders 0 4711     offset checkpoints: topic, partition, offset
//! orders 1 12       leader epoch checkpoint: epoch, first offset
//! ```
//!
//! `recovery-point-offset-checkpoint` says below which offset each log was synced, `log-start-offset-checkpoint`
//! from where on its records count, `replication-offset-checkpoint` how far they were committed, `cleaner-offset-checkpoint` how far compaction came. Each is replaced
//! in one step; a reader sees the old file or the new one.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use millrace_wire::ids::{LeaderEpoch, Offset};

use crate::disk::Disk;
use crate::error::{Error, io_error};
use crate::topic_partition::TopicPartition;

/// Below these offsets the logs were synced.
pub const RECOVERY_POINT: &str = "recovery-point-offset-checkpoint";
/// From these offsets on records count.
pub const LOG_START: &str = "log-start-offset-checkpoint";
/// Below these offsets records were committed.
pub const HIGH_WATERMARK: &str = "replication-offset-checkpoint";
/// Below these offsets compaction has been.
pub const CLEAN_END: &str = "cleaner-offset-checkpoint";
/// Which leader wrote from where on, in each partition's folder.
pub const LEADER_EPOCH: &str = "leader-epoch-checkpoint";

/// A checkpoint is one line per partition or leader epoch: larger ones are not ours.
const FILE_BYTES_MAX: usize = 64 << 20;
const VERSION: &str = "0";

/// Reads an offset checkpoint; a missing file is an empty one.
pub fn read_offsets(disk: &dyn Disk, path: &Path) -> Result<BTreeMap<TopicPartition, Offset>, Error> {
    let entry = |fields: [&str; 3]| {
        let [topic, partition, offset] = fields;
        let partition = partition.parse().ok()?;
        Some((TopicPartition::new(topic, partition), Offset(offset.parse().ok()?)))
    };
    Ok(read_lines(disk, path, entry)?.into_iter().collect())
}

/// Replaces an offset checkpoint.
pub fn write_offsets(
    disk: &dyn Disk,
    path: &Path,
    offsets: &BTreeMap<TopicPartition, Offset>,
) -> Result<(), Error> {
    let lines = offsets.iter().map(|(tp, offset)| format!("{} {} {offset}\n", tp.topic, tp.partition));
    write_lines(disk, path, offsets.len(), lines)
}

/// Reads a leader epoch checkpoint; a missing file is an empty one.
pub(crate) fn read_epochs(disk: &dyn Disk, path: &Path) -> Result<Vec<(LeaderEpoch, Offset)>, Error> {
    let entry =
        |[epoch, offset]: [&str; 2]| Some((LeaderEpoch(epoch.parse().ok()?), Offset(offset.parse().ok()?)));
    read_lines(disk, path, entry)
}

/// Replaces a leader epoch checkpoint.
pub(crate) fn write_epochs(
    disk: &dyn Disk,
    path: &Path,
    epochs: &[(LeaderEpoch, Offset)],
) -> Result<(), Error> {
    write_lines(disk, path, epochs.len(), epochs.iter().map(|(epoch, offset)| format!("{epoch} {offset}\n")))
}

fn write_lines(
    disk: &dyn Disk,
    path: &Path,
    count: usize,
    lines: impl Iterator<Item = String>,
) -> Result<(), Error> {
    let mut text = format!("{VERSION}\n{count}\n");
    text.extend(lines);
    disk.write_atomically(path, text.as_bytes()).map_err(io_error("write", path))
}

fn read_lines<T, const FIELDS: usize>(
    disk: &dyn Disk,
    path: &Path,
    entry: impl Fn([&str; FIELDS]) -> Option<T>,
) -> Result<Vec<T>, Error> {
    let bytes = match disk.read_file(path, FILE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("read", path)(error)),
    };
    let malformed = |reason: String| Error::Malformed { path: path.to_path_buf(), reason };
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed("it is not text".into()))?;
    let mut lines = text.lines();
    if lines.next() != Some(VERSION) {
        return Err(malformed(format!("line 1 should be the version {VERSION}")));
    }
    let count = lines.next().and_then(|line| line.trim().parse::<usize>().ok());
    let count = count.ok_or_else(|| malformed("line 2 should be the number of entries".into()))?;
    let mut entries = Vec::new();
    for (nth, line) in lines.enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let fields: [&str; FIELDS] = std::array::from_fn(|_| words.next().unwrap_or_default());
        let entry = entry(fields).filter(|_| words.next().is_none());
        entries.push(entry.ok_or_else(|| malformed(format!("line {} is {line:?}", nth + 3)))?);
    }
    if entries.len() != count {
        return Err(malformed(format!("it announces {count} entries and has {}", entries.len())));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    #[test]
    fn offsets_round_trip_in_apache_kafkas_words() {
        let disk = SimDisk::new();
        let path = Path::new(RECOVERY_POINT);
        assert!(read_offsets(&disk, path).unwrap().is_empty());
        let offsets = BTreeMap::from([
            (TopicPartition::new("orders", 1), Offset(12)),
            (TopicPartition::new("a", 0), Offset(i64::MAX)),
        ]);
        write_offsets(&disk, path, &offsets).unwrap();
        assert_eq!(disk.contents(path).unwrap(), b"0\n2\na 0 9223372036854775807\norders 1 12\n");
        assert_eq!(read_offsets(&disk, path).unwrap(), offsets);
    }

    #[test]
    fn malformed_files_are_named_with_their_line() {
        let disk = SimDisk::new();
        let path = Path::new(LEADER_EPOCH);
        for (text, reason) in [
            ("", "line 1"),
            ("1\n0\n", "line 1"),
            ("0\nx\n", "line 2"),
            ("0\n1\n5\n", "line 3"),
            ("0\n1\n5 6 7\n", "line 3"),
            ("0\n2\n5 6\n", "announces 2"),
        ] {
            disk.write_atomically(path, text.as_bytes()).unwrap();
            let error = read_epochs(&disk, path).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(LEADER_EPOCH), "{text:?}: {error}");
        }
    }
}

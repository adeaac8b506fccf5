//! One partition's folder.

use std::path::Path;

use millrace_wire::ids::Offset;

use super::Scrub;
use crate::checkpoint;
use crate::disk::{DirEntry, OpenMode};
use crate::partition_metadata;
use crate::producer::snapshot;
use crate::segment::scan::{Scanner, Step};
use crate::segment::{CLEANED, Found, SWAP, Suffix, file_name};

/// Ends the names of snapshots of the metadata log.
const METADATA_SNAPSHOT: &str = ".checkpoint";

impl Scrub<'_> {
    pub(super) fn partition(&mut self, dir: &Path, recovery_point: Offset) {
        self.report.partitions += 1;
        let entries = match self.disk.list(dir) {
            Ok(entries) => entries,
            Err(error) => return self.damage(dir, None, format_args!("cannot be listed: {error}")),
        };
        self.small_files(dir, &entries);
        for entry in entries.iter().filter(|entry| entry.name.ends_with(METADATA_SNAPSHOT)) {
            self.metadata_snapshot(&dir.join(&entry.name));
        }
        let found = Found::of(&entries);
        let mut next = found.segments.first().map_or(Offset(0), |first| first.base);
        for (nth, files) in found.segments.iter().enumerate() {
            let path = dir.join(file_name(files.base, Suffix::Log));
            if files.base < next {
                let what =
                    format_args!("the segment begins below offset {next}, where the one before it ends");
                self.damage(&path, Some(0), what);
            } else if files.base > next && next >= recovery_point && nth > 0 {
                let what = format_args!("the records from offset {next} on are missing before the segment");
                self.damage(&path, Some(0), what);
            }
            let is_last = nth + 1 == found.segments.len();
            next = next.max(self.segment(dir, files, is_last, recovery_point));
        }
        if next < recovery_point && !found.segments.is_empty() {
            let what =
                format_args!("the log ends at offset {next}, below its recovery point {recovery_point}");
            self.damage(dir, None, what);
        }
        for offset in found.snapshots {
            let path = dir.join(file_name(offset, Suffix::Snapshot));
            let bytes = self.disk.read_file(&path, snapshot::FILE_BYTES_MAX);
            match bytes.map(|bytes| snapshot::decode(&bytes)) {
                Ok(Ok(_)) => {}
                // Written anew by the next start.
                Ok(Err(reason)) => self.note(&path, None, &reason, self.is_clean || offset < recovery_point),
                Err(error) => self.damage(&path, None, format_args!("cannot be read: {error}")),
            }
        }
    }

    /// A snapshot of the metadata: batches back to back, from offset 0 on, a control batch last. What its records say is for a
    /// broker to judge.
    fn metadata_snapshot(&mut self, path: &Path) {
        let opened = self.disk.open(path, OpenMode::ReadOnly).and_then(|file| Ok((file.len()?, file)));
        let (len, file) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.damage(path, None, format_args!("cannot be read: {error}")),
        };
        let mut scanner = Scanner::new(file, 0, len);
        let (mut next, mut epoch, mut is_closed) = (Offset(0), None, false);
        loop {
            match scanner.step() {
                Ok(Step::Batch { position, batch }) => {
                    let header = &batch.header;
                    let same_epoch = *epoch.get_or_insert(header.partition_leader_epoch);
                    if header.base_offset != next || header.partition_leader_epoch != same_epoch {
                        let (offset, found) = (header.base_offset, header.partition_leader_epoch);
                        let what = format_args!(
                            "a batch of offset {offset} and epoch {found}, expected {next} and {same_epoch}"
                        );
                        return self.damage(path, Some(position), what);
                    }
                    next = batch.next_offset();
                    is_closed = batch.header.attributes.is_control();
                }
                Ok(Step::End) if is_closed => return,
                Ok(Step::End) => return self.damage(path, Some(len), "it ends without a footer"),
                Ok(Step::Bad { position, reason }) => return self.damage(path, Some(position), reason),
                Err(error) => return self.damage(path, None, format_args!("cannot be read: {error}")),
            }
        }
    }

    fn small_files(&mut self, dir: &Path, entries: &[DirEntry]) {
        let epochs_path = dir.join(checkpoint::LEADER_EPOCH);
        match checkpoint::read_epochs(self.disk, &epochs_path) {
            Ok(epochs) => {
                if let Some(pair) =
                    epochs.windows(2).find(|pair| pair[0].0 >= pair[1].0 || pair[0].1 >= pair[1].1)
                {
                    let ((epoch, start), (after, _)) = (pair[0], pair[1]);
                    let what =
                        format_args!("epoch {after} follows epoch {epoch} (offset {start}) out of order");
                    self.damage(&epochs_path, None, what);
                }
            }
            Err(error) => self.damage(&epochs_path, None, error),
        }
        let id_path = dir.join(partition_metadata::FILE_NAME);
        if entries.iter().any(|entry| entry.name == partition_metadata::FILE_NAME) {
            match partition_metadata::read(self.disk, dir) {
                Ok(Some(_)) => {}
                Ok(None) => self.damage(&id_path, None, "it has no topic id"),
                Err(error) => self.damage(&id_path, None, error),
            }
        }
        let unfinished = |entry: &&DirEntry| entry.name.ends_with(CLEANED) || entry.name.ends_with(SWAP);
        for entry in entries.iter().filter(unfinished) {
            self.remark(
                &dir.join(&entry.name),
                None,
                "a compaction was interrupted; the next start settles it",
            );
        }
    }
}

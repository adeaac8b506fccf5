//! What a crash left of an exchange of segments (see `log/replace.rs`): completed if it was decided, else undone.

use std::io;
use std::path::Path;

use millrace_wire::ids::Offset;

use super::files::parse_name;
use super::scan::{Scanner, Step};
use super::{CLEANED, FILES, SWAP, Suffix, file_name};
use crate::disk::{DirEntry, Disk, OpenMode};
use crate::error::{Error, io_error};
use crate::files::Files;

/// Settles every exchange in a folder; whether there was one. A crash in here changes nothing about the outcome.
pub(crate) fn settle(disk: &Files, dir: &Path, entries: &[DirEntry]) -> Result<bool, Error> {
    let named = |extension: &str| -> Vec<(Offset, Suffix)> {
        entries.iter().filter_map(|entry| parse_name(entry.name.strip_suffix(extension)?)).collect()
    };
    let (cleaned, swaps) = (named(CLEANED), named(SWAP));
    if cleaned.is_empty() && swaps.is_empty() {
        return Ok(false);
    }
    // Apache Kafka may exchange several segments at once: as long as one of them is `.cleaned`, nothing was decided. The
    // old ones are all there then; if they are not, this is all there is.
    let first_cleaned = cleaned.iter().map(|(base, _)| *base).min();
    let old_is_there = |base| entries.iter().any(|entry| entry.name == file_name(base, Suffix::Log));
    for (base, _) in swaps.iter().filter(|(_, suffix)| *suffix == Suffix::Log) {
        if first_cleaned.is_some_and(|first| first <= *base) && old_is_there(*base) {
            remove(disk, dir, &format!("{}{SWAP}", file_name(*base, Suffix::Log)))?;
        } else {
            complete(disk, dir, *base, entries)?;
        }
    }
    disk.sync_dir(dir).map_err(io_error("sync", dir))?;
    for (base, suffix) in swaps {
        remove(disk, dir, &format!("{}{SWAP}", file_name(base, suffix)))?;
    }
    for (base, suffix) in cleaned {
        remove(disk, dir, &format!("{}{CLEANED}", file_name(base, suffix)))?;
    }
    Ok(true)
}

/// Removes the segments that the new one was written from, and gives it its name, the log's last.
fn complete(disk: &Files, dir: &Path, base: Offset, entries: &[DirEntry]) -> Result<(), Error> {
    let path = dir.join(format!("{}{SWAP}", file_name(base, Suffix::Log)));
    let end = end_of(disk, &path, base)?;
    for (other, suffix) in entries.iter().filter_map(|entry| parse_name(&entry.name)) {
        let is_state_at_base = suffix == Suffix::Snapshot && other == base;
        if (base..end).contains(&other) && !is_state_at_base {
            remove(disk, dir, &file_name(other, suffix))?;
        }
    }
    for suffix in FILES {
        let name = file_name(base, suffix);
        let from = dir.join(format!("{name}{SWAP}"));
        match disk.rename(&from, &dir.join(&name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("rename", &from)(error));
            }
            _ => {}
        }
    }
    tracing::info!(path = %path.display(), "an exchange of segments was completed");
    Ok(())
}

/// The offset after the last batch. The file was durable before it got its name: a bad batch is damage.
fn end_of(disk: &Files, path: &Path, base: Offset) -> Result<Offset, Error> {
    let read = |error| io_error("read", path)(error);
    let file = disk.open(path, OpenMode::Existing).map_err(read)?;
    let len = file.len().map_err(read)?;
    let mut scanner = Scanner::new(file, 0, len);
    let mut end = base;
    loop {
        match scanner.step().map_err(read)? {
            Step::End => return Ok(end),
            Step::Batch { batch, .. } => end = batch.next_offset(),
            Step::Bad { position, reason } => {
                return Err(Error::Corrupt {
                    path: path.to_path_buf(),
                    position,
                    offset: end.0,
                    recovery_point: end.0,
                    reason,
                });
            }
        }
    }
}

fn remove(disk: &Files, dir: &Path, name: &str) -> Result<(), Error> {
    let path = dir.join(name);
    match disk.remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path)(error)),
        _ => Ok(()),
    }
}

//! Room on the disk: what earlier runs left is cleared before it fills the disk, and too little room is told at the start.
//!
//! Cargo keeps what it built for every clone and every version of a crate for ever: a folder that many clones build into
//! grows by gigabytes each day.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cache;
use crate::process::{self, Log};

/// Above this many bytes what was built of this workspace's own crates goes; its dependencies stay.
const TARGET_BYTES: u64 = 24 << 30;

/// Bytes that a run needs at most when nothing is built yet.
const FREE_BYTES: u64 = 16 << 30;

/// What was built before counts for this much of what a run needs, at most.
const BUILT_BYTES: u64 = 12 << 30;

/// Clears what is old, then looks whether the rest has room.
pub(crate) fn step(log: &Log) -> Result<()> {
    let target = cache::target_dir();
    fs::create_dir_all(&target).with_context(|| format!("{}", target.display()))?;
    if size(&target)? > TARGET_BYTES {
        log.run(&mut process::cargo(["clean", "--workspace", "--locked"]))?;
    }
    let needed = FREE_BYTES - size(&target)?.min(BUILT_BYTES);
    for folder in [target, std::env::temp_dir()] {
        let free = free(&folder)?;
        ensure!(
            free >= needed,
            "{}: {} MiB are free on its disk, the tests need {} MiB; make room there, or choose another disk with \
             CARGO_TARGET_DIR, MILLRACE_CACHE and TMPDIR",
            folder.display(),
            free >> 20,
            needed >> 20
        );
    }
    Ok(())
}

/// Bytes that a folder takes.
fn size(folder: &Path) -> Result<u64> {
    kibibytes(Command::new("du").arg("-sk").arg(folder), 0)
}

/// Bytes that are free on a folder's disk.
fn free(folder: &Path) -> Result<u64> {
    kibibytes(Command::new("df").arg("-Pk").arg(folder), 3)
}

/// The number of kibibytes in this column of the last line that a program prints, in bytes.
fn kibibytes(program: &mut Command, column: usize) -> Result<u64> {
    let output = program.output().with_context(|| format!("{program:?}: cannot be started"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    // A file that goes while du counts is an error of du's, its total is there all the same.
    let number =
        text.lines().last().and_then(|line| line.split_whitespace().nth(column)?.parse::<u64>().ok());
    let number =
        number.with_context(|| format!("{program:?}: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(number << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_disks_are_measured() {
        let folder = std::env::temp_dir().join(format!("xtask-room-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let empty = size(&folder).unwrap();
        fs::write(folder.join("file"), vec![7; 1 << 20]).unwrap();
        let full = size(&folder).unwrap();
        assert!((1 << 20..2 << 20).contains(&(full - empty)), "{empty} {full}");
        assert!(free(&folder).unwrap() > 0);
        fs::remove_dir_all(&folder).unwrap();
        assert!(size(&folder).is_err());
    }
}

//! Where a kill can hit a folder: before each step that changes the disk. Tests let it, by what they do to the bucket of their thread.

use std::fs::File;
use std::io;

use millrace_sdk::object_store::Refusal;

/// Makes a file, or a folder's names, durable. A killed process loses nothing that was written, so tests save the time.
pub(super) fn sync(file: &File) -> io::Result<()> {
    if cfg!(test) { Ok(()) } else { file.sync_all() }
}

/// Called before a step that changes the disk.
#[cfg(not(test))]
#[inline]
pub(super) fn step() -> Result<(), Refusal> {
    Ok(())
}

#[cfg(test)]
pub(super) fn step() -> Result<(), Refusal> {
    match millrace_sdk::object_store::Store::new("fault").head("nothing") {
        Ok(_) | Err(Refusal::Missing(_)) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

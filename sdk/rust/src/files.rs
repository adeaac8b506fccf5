//! Folders, as the sandbox shows them. Everything else about files is `std::fs`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;
use std::{io, thread};

use crate::error::Error;

/// How often a folder is listed anew because of files that go.
const TRIES_MAX: u32 = 1_000;
/// From here on with a pause between: many are at work in the folder.
const TRIES_AT_ONCE: u32 = 20;
const PAUSE: Duration = Duration::from_millis(1);

/// What the system says of a file that something was done to; one that may go away by itself is retriable. What it means that there is no file, the
/// caller knows.
pub fn failure(what: &str, path: &str, error: &io::Error) -> Error {
    use io::ErrorKind;
    let message = format!("cannot {what} {path}: {error}");
    match error.kind() {
        ErrorKind::PermissionDenied => {
            Error::fatal("file.denied", format!("{message}; check its mode and the grant"))
        }
        ErrorKind::InvalidInput | ErrorKind::IsADirectory => Error::fatal("file", message),
        ErrorKind::StorageFull => Error::retriable("file.full", format!("{message}; make room")),
        // All that is known in the sandbox of a write that failed is that it failed.
        _ if matches!(what, "write" | "copy" | "sync") => {
            Error::retriable("file", format!("{message}; is the disk full?"))
        }
        _ => Error::retriable("file", message),
    }
}

/// The names in a folder, in no order.
///
/// The sandbox asks about each file while it lists. One that goes in that moment, because somebody renames it, makes it say that the
/// folder isn't there: so it is listed again, for as long as it is there.
///
/// # Errors
/// What the system says of the folder; [`io::ErrorKind::ResourceBusy`] if files go faster than it can be listed.
pub fn names(folder: impl AsRef<Path>) -> io::Result<Vec<OsString>> {
    let folder = folder.as_ref();
    for tries in 0..TRIES_MAX {
        let listed = fs::read_dir(folder);
        match listed.and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => {
                if tries >= TRIES_AT_ONCE {
                    thread::sleep(PAUSE);
                }
            }
            names => return names,
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "files in it go faster than it can be listed"))
}

/// Opens a file to read it.
///
/// # Errors
/// What the system says; [`io::ErrorKind::InvalidInput`] for a pipe or a device: it has no positions to go on from, and opening
/// one may wait for ever.
pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
    let path = path.as_ref();
    let kind = fs::metadata(path)?;
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a pipe or a device; only files are read",
        ));
    }
    File::open(path)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert_eq!(open(&pipe).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(open(folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

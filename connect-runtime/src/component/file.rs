//! A component's file: its bytes and their digest, which is not made anew while nothing about the file has changed.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::{COMPONENT_BYTES_MAX, Digest, Error};

/// A file changed as recently as this is read anew: a second change might not show in its times.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// Files whose digests are remembered; past it all are forgotten.
const FILES_MAX: usize = 1_024;

/// Digests of the files that were read.
#[derive(Debug, Default)]
pub(super) struct Files(Mutex<BTreeMap<PathBuf, (Marks, Digest)>>);

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Marks {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Files {
    /// The digest of what is in the file now.
    pub(super) fn digest(&self, path: &Path) -> Result<Digest, Error> {
        let found = std::fs::metadata(path)
            .map_err(|source| Error::Read { path: path.to_owned(), source: source.into() })?;
        let marks = Marks {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        };
        if let Some((known, digest)) = self.0.lock().get(path)
            && *known == marks
        {
            return Ok(*digest);
        }
        let digest = Digest::of(&read(path)?);
        let age = found.modified().ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
        if age.is_some_and(|age| age > SETTLED_AFTER) {
            let mut known = self.0.lock();
            if known.len() >= FILES_MAX {
                known.clear();
            }
            known.insert(path.to_owned(), (marks, digest));
        }
        Ok(digest)
    }
}

/// The bytes of a component's file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let io = |source: std::io::Error| Error::Read { path: path.to_owned(), source: source.into() };
    if std::fs::metadata(path).map_err(io)?.len() > COMPONENT_BYTES_MAX {
        return Err(Error::TooLarge(path.to_owned()));
    }
    std::fs::read(path).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_whatever_the_times_say() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        let files = Files::default();
        let old = SystemTime::now() - Duration::from_secs(60);
        for text in ["one", "two"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(files.digest(&path).unwrap(), Digest::of(text.as_bytes()));
            std::fs::File::options().append(true).open(&path).unwrap().set_modified(old).unwrap();
            assert_eq!(files.digest(&path).unwrap(), Digest::of(text.as_bytes()));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(files.digest(&path), Err(Error::Read { .. })));
    }
}

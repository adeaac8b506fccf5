//! The snapshots in the metadata log's folder.
//!
//! One is written to `<name>.part`, synced, renamed, and its name synced, in this order: a name that ends in
//! `.checkpoint` has all of a snapshot behind it, whatever crash came. A `.part` is what a crash left, and is removed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_log::disk::{Disk, OpenMode};
use millrace_wire::ids::{LeaderEpoch, Offset};

use super::{Error, Image, SnapshotId, Unfit, Written};

const ENDING: &str = ".checkpoint";
const UNFINISHED: &str = ".checkpoint.part";

/// See the module's head.
#[derive(Debug)]
pub(crate) struct SnapshotFiles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl SnapshotFiles {
    /// The snapshots of this folder, which exists.
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        Self { disk, dir: dir.to_path_buf() }
    }

    /// Those that are there, the newest first, with their sizes.
    ///
    /// # Errors
    /// The folder can't be listed.
    pub(crate) fn list(&self) -> Result<Vec<(SnapshotId, u64)>, Error> {
        let entries = self.disk.list(&self.dir).map_err(self.io("list", &self.dir))?;
        let mut found: Vec<_> =
            entries.iter().filter_map(|entry| Some((parse(&entry.name)?, entry.len))).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// Writes one; it is durable when this returns. A failure leaves nothing.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn write(&self, id: SnapshotId, image: &Image) -> Result<(), Error> {
        let (path, part) = (self.path(id), self.dir.join(format!("{}{UNFINISHED}", stem(id))));
        let written = self.write_part(&part, id, image).and_then(|()| {
            self.disk.rename(&part, &path).map_err(self.io("rename", &part))?;
            self.disk.sync_dir(&self.dir).map_err(self.io("sync", &self.dir))
        });
        if written.is_err() {
            // Whichever of the two is there: a name that isn't durable is not to be relied on.
            for path in [&part, &path] {
                if let Err(error) = self.disk.remove_file(path)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    tracing::warn!(path = %path.display(), %error, "what is left of a snapshot cannot be removed");
                }
            }
        }
        written
    }

    fn write_part(&self, part: &Path, id: SnapshotId, image: &Image) -> Result<(), Error> {
        let file = self.disk.open(part, OpenMode::Truncate).map_err(self.io("create", part))?;
        super::write(&file, id, image).map_err(|error| match error {
            Written::Io(source) => self.io("write", part)(source),
            Written::Build(error) => Error::Build(error),
        })?;
        file.sync_data().map_err(self.io("sync", part))
    }

    /// Reads one.
    ///
    /// # Errors
    /// It can't be read or isn't whole.
    pub(crate) fn read(&self, id: SnapshotId) -> Result<Image, Error> {
        let path = self.path(id);
        let file = self.disk.open(&path, OpenMode::ReadOnly).map_err(self.io("open", &path))?;
        let len = file.len().map_err(self.io("read", &path))?;
        let mut image = super::read(file, len, id).map_err(|error| match error {
            Unfit::Io(source) => self.io("read", &path)(source),
            Unfit::Damaged(position, reason) => Error::Damaged { path: path.clone(), position, reason },
        })?;
        (image.offset, image.epoch) = (id.end.0 - 1, id.epoch);
        Ok(image)
    }

    /// Removes one.
    ///
    /// # Errors
    /// It can't be removed.
    pub(crate) fn remove(&self, id: SnapshotId) -> Result<(), Error> {
        let path = self.path(id);
        self.disk.remove_file(&path).map_err(self.io("remove", &path))
    }

    /// Removes what a crash left of snapshots that were being written.
    ///
    /// # Errors
    /// The folder can't be listed, or a file not removed.
    pub(crate) fn remove_unfinished(&self) -> Result<(), Error> {
        for entry in self.disk.list(&self.dir).map_err(self.io("list", &self.dir))? {
            if entry.name.ends_with(UNFINISHED) {
                let path = self.dir.join(&entry.name);
                self.disk.remove_file(&path).map_err(self.io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, id: SnapshotId) -> PathBuf {
        self.dir.join(format!("{}{ENDING}", stem(id)))
    }

    fn io<'p>(&self, action: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> Error + 'p {
        move |source| Error::Io { action, path: path.to_path_buf(), source }
    }
}

/// `00000000000000000042-0000000003`
fn stem(id: SnapshotId) -> String {
    format!("{:020}-{:010}", id.end.0, id.epoch.0)
}

fn parse(name: &str) -> Option<SnapshotId> {
    let (end, epoch) = name.strip_suffix(ENDING)?.split_once('-')?;
    let id = SnapshotId { end: Offset(end.parse().ok()?), epoch: LeaderEpoch(epoch.parse().ok()?) };
    // Only what this would write: no signs, no other number of digits.
    (format!("{}{ENDING}", stem(id)) == name).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let id = SnapshotId { end: Offset(42), epoch: LeaderEpoch(3) };
        assert_eq!(parse("00000000000000000042-0000000003.checkpoint"), Some(id));
        for other in [
            "42-3.checkpoint",
            "00000000000000000042-0000000003.checkpoint.part",
            "00000000000000000042-0000000003.checkpoint.deleted",
            "0000000000000000+042-0000000003.checkpoint",
            "leader-epoch-checkpoint",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}

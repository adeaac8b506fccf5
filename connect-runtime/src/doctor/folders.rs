//! Folders that components are granted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::Finding;
use crate::plan::{Access, GuestPlan};

/// Less room than this on a disk that is written to is worth a word.
const ROOM_BYTES_MIN: u64 = 1 << 30;
/// Less than this is as good as none.
const ROOM_BYTES_NEEDED: u64 = 64 << 20;

/// Each folder once, to write if anybody writes there.
pub(super) fn look(guests: &[&GuestPlan]) -> Vec<Finding> {
    let mut folders = BTreeMap::new();
    for grant in guests.iter().flat_map(|guest| &guest.grants.files) {
        let (shown, writes) = folders.entry(&grant.host).or_insert((&grant.guest, false));
        *writes |= grant.access == Access::Write;
        // The shorter spelling is the one that people wrote.
        *shown = std::cmp::min_by_key(*shown, &grant.guest, |guest| guest.len());
    }
    folders
        .into_iter()
        .map(|(path, (shown, writes))| if writes { writable(path, shown) } else { readable(path, shown) })
        .collect()
}

fn readable(path: &Path, shown: &str) -> Finding {
    let subject = format!("folder {shown}");
    match fs::read_dir(path) {
        Ok(_) => Finding::ok(subject, "can be read"),
        Err(error) => {
            let mend = "make it, or let the user that runs this read it";
            Finding::failed(subject, format!("{} can't be read: {error}", path.display()), mend)
        }
    }
}

/// A folder to write to is made when a pipeline starts: it need not be there, but what it is to be made in.
pub(super) fn writable(path: &Path, shown: &str) -> Finding {
    let subject = format!("folder {shown}");
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let path = whole.as_path();
    let Some(there) = path.ancestors().find(|folder| folder.exists()) else {
        return Finding::failed(subject, "nothing of its path is there", "correct the path");
    };
    if let Err(error) = try_to_write(there) {
        let mend = "let the user that runs this write there, or choose another folder";
        return Finding::failed(subject, format!("{} can't be written to: {error}", there.display()), mend);
    }
    let made = if there == path { "can be written to" } else { "will be made" };
    roomy(subject, made, there, room(there))
}

/// Whether the room that is left will do.
fn roomy(subject: String, made: &str, there: &Path, room: std::io::Result<u64>) -> Finding {
    let mend = format!("make room on that disk, or choose a folder on another: df -h {}", there.display());
    match room {
        Ok(room) if room < ROOM_BYTES_NEEDED => {
            Finding::failed(subject, format!("{} are left on its disk", megabytes(room)), mend)
        }
        Ok(room) if room < ROOM_BYTES_MIN => {
            let said = format!("{made}; only {} are left on its disk", megabytes(room));
            Finding::warning(subject, said, mend)
        }
        Ok(room) => Finding::ok(subject, format!("{made}, {} are left", megabytes(room))),
        Err(error) => {
            let said = format!("{made}; how much room is left can't be told: {error}");
            Finding::warning(subject, said, format!("look at the disk yourself: df -h {}", there.display()))
        }
    }
}

fn try_to_write(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(format!(".millrace-doctor-{}", std::process::id()));
    let tried = fs::File::options().write(true).create_new(true).open(&path).map(drop);
    if tried.is_ok() {
        fs::remove_file(&path)?;
    }
    tried
}

/// Bytes that this user may still write.
fn room(folder: &Path) -> std::io::Result<u64> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

fn megabytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Health;

    #[test]
    fn a_disk_that_is_full_or_nearly_so_is_told() {
        let look =
            |bytes| roomy("folder ./out".into(), "can be written to", Path::new("/srv/out"), Ok(bytes));
        for (bytes, health, said) in [
            (ROOM_BYTES_NEEDED - 1, Health::Failed, "63 MiB are left on its disk"),
            (ROOM_BYTES_NEEDED, Health::Warning, "can be written to; only 64 MiB are left on its disk"),
            (ROOM_BYTES_MIN - 1, Health::Warning, "can be written to; only 1023 MiB are left on its disk"),
            (ROOM_BYTES_MIN, Health::Ok, "can be written to, 1024 MiB are left"),
        ] {
            let found = look(bytes);
            assert_eq!((found.health, found.said.as_str()), (health, said));
            assert_eq!(found.mend.is_some_and(|mend| mend.ends_with("df -h /srv/out")), health != Health::Ok);
        }
    }

    #[test]
    fn folders_are_tried_and_left_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let there = writable(dir.path(), "./out");
        assert_eq!((there.health, there.subject.as_str()), (Health::Ok, "folder ./out"), "{there:?}");
        let to_be_made = writable(&dir.path().join("a/b"), "./out");
        assert!(to_be_made.said.starts_with("will be made"), "{to_be_made:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let missing = readable(&dir.path().join("in"), "./in");
        assert_eq!(missing.health, Health::Failed, "{missing:?}");
        fs::write(dir.path().join("file"), "").unwrap();
        let wrong = writable(&dir.path().join("file"), "./file");
        assert_eq!(wrong.health, Health::Failed, "a file is no folder: {wrong:?}");
    }
}

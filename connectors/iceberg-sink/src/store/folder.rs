//! A folder of this machine that behaves as a bucket does: a file is there whole and durable, or not at all.
//!
//! What is written grows under a hidden name in the scratch folder, which is the task's own; it is synced, then renamed, then the folder is
//! synced that it came to. What must not be there yet is linked instead: the system refuses that if somebody else's is there, at whatever moment. What a kill leaves is
//! hidden, and in the scratch folder of an instance that is dead.
//!
//! Not done: etags. What is there is replaced whatever it was.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};

use millrace_sdk::object_store::{Change, Condition, Listing, Meta, NewObject, Object, Part, Refusal, Whole};
use millrace_sdk::{Error, files};

use super::fault::{step, sync};
use crate::file::PART_BYTES;

/// Largest file that is read whole: metadata, manifests, data files that are merged.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A folder.
#[derive(Clone, Debug)]
pub struct Folder {
    root: String,
    /// The key of the folder of files that are not finished, with its slash.
    scratch: String,
}

impl Folder {
    /// This folder.
    pub fn new(root: &str, scratch: &str) -> Self {
        Self { root: root.trim_end_matches('/').to_owned(), scratch: scratch.to_owned() }
    }

    /// Where a key lies. One that would lead elsewhere comes of a table that somebody else wrote.
    fn path(&self, key: &str) -> Result<String, Refusal> {
        if key.split('/').any(|part| matches!(part, "" | "." | "..")) || key.contains('\\') {
            let message = format!("{key} is no place in the folder {}", self.root);
            return Err(Refusal::Failed(Error::fatal("table.location", message)));
        }
        Ok(format!("{}/{key}", self.root))
    }

    pub(super) fn get(&self, key: &str, bytes_max: u32) -> Result<Object, Refusal> {
        let path = self.path(key)?;
        let most = if bytes_max == 0 { FILE_BYTES_MAX } else { u64::from(bytes_max) };
        let mut body = Vec::new();
        files::open(&path)
            .and_then(|file| file.take(most + 1).read_to_end(&mut body))
            .map_err(|error| refusal("read", &path, error))?;
        if body.len() as u64 > most {
            let message = format!("{path} has more than {most} bytes");
            return Err(Refusal::Failed(Error::fatal("file.large", message)));
        }
        Ok(Object { meta: meta(key, body.len() as u64), body })
    }

    pub(super) fn head(&self, key: &str) -> Result<Meta, Refusal> {
        let path = self.path(key)?;
        let found = fs::metadata(&path).map_err(|error| refusal("read", &path, error))?;
        Ok(meta(key, found.len()))
    }

    /// Files of one folder, without hidden ones. Of those that come and go meanwhile some may be missing.
    pub(super) fn list(&self, prefix: &str, after: Option<&str>, max: u32) -> Result<Listing, Refusal> {
        let (folder, _) = prefix.rsplit_once('/').unwrap_or_default();
        let is_wanted =
            |key: &String| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after);
        let names = self.names(folder)?;
        let mut keys: Vec<String> = names
            .into_iter()
            .filter(|name| !name.starts_with('.'))
            .map(|name| format!("{folder}/{name}"))
            .filter(is_wanted)
            .collect();
        keys.sort_unstable();
        let more = keys.len() > max as usize;
        keys.truncate(max as usize);
        Ok(Listing { objects: keys.into_iter().map(|key| meta(&key, 0)).collect(), more })
    }

    /// What a kill left unfinished in this folder: keys of hidden files.
    pub(super) fn unfinished(&self, folder: &str) -> Result<Vec<String>, Refusal> {
        let folder = folder.trim_end_matches('/');
        let names = self.names(folder)?.into_iter();
        Ok(names.filter(|name| name.starts_with('.')).map(|name| format!("{folder}/{name}")).collect())
    }

    /// Folders that lie in this one, by their names, and whatever else does.
    pub fn names(&self, folder: &str) -> Result<Vec<String>, Refusal> {
        let path = self.path(folder)?;
        match files::names(&path) {
            Ok(names) => Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(refusal("list", &path, error)),
        }
    }

    pub(super) fn change(&self, change: &Change) -> Result<String, Refusal> {
        match change {
            Change::Put(object) => self.put(object).map(|()| String::new()),
            Change::Delete(key) => self.remove(key),
            Change::BeginUpload(new) => {
                let hidden = self.hidden(&new.key);
                self.write(&hidden, &[])?;
                Ok(hidden)
            }
            Change::PutPart(part) => self.put_part(part),
            Change::CompleteUpload(whole) => self.complete(whole),
            Change::AbortUpload(upload) => self.remove(&upload.id),
        }
    }

    /// The name under which a file grows. No two of a task have the same one at a time.
    fn hidden(&self, key: &str) -> String {
        let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
        format!("{}.{name}.new", self.scratch)
    }

    fn put(&self, object: &NewObject) -> Result<(), Refusal> {
        let (path, hidden) = (self.path(&object.key)?, self.hidden(&object.key));
        self.write(&hidden, &object.body)?;
        match object.condition {
            Condition::Always => self.give_name(&hidden, &object.key),
            Condition::Absent => {
                self.make_folder_of(&path)?;
                step()?;
                let linked = fs::hard_link(self.path(&hidden)?, &path);
                let linked = match linked {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                        Err(Refusal::Precondition(format!("{path} is there already")))
                    }
                    linked => linked.map_err(|error| refusal("link", &path, error)),
                };
                let synced = linked.and_then(|()| self.sync_folder_of(&path));
                // It is hidden, and removed with what the task leaves if not now.
                let _unneeded = self.remove(&hidden);
                synced
            }
            Condition::Unchanged(_) => {
                let message = format!("{path}: files have no etags");
                Err(Refusal::Failed(Error::fatal("file.etag", message)))
            }
        }
    }

    /// Writes a hidden file, synced.
    fn write(&self, key: &str, body: &[u8]) -> Result<(), Refusal> {
        let path = self.path(key)?;
        self.make_folder_of(&path)?;
        step()?;
        let mut file = File::create(&path).map_err(|error| refusal("create", &path, error))?;
        step()?;
        let written = file.write_all(body).and_then(|()| sync(&file));
        drop(file);
        written.map_err(|error| {
            // Room for others.
            let _unneeded = fs::remove_file(&path);
            refusal("write", &path, error)
        })
    }

    /// Gives a hidden file its name, in the place of whatever has it.
    fn give_name(&self, hidden: &str, key: &str) -> Result<(), Refusal> {
        let path = self.path(key)?;
        self.make_folder_of(&path)?;
        step()?;
        fs::rename(self.path(hidden)?, &path).map_err(|error| refusal("rename", &path, error))?;
        self.sync_folder_of(&path)
    }

    /// Writes a part where it belongs, so that it can be written again: all have one size but for the last.
    fn put_part(&self, part: &Part) -> Result<String, Refusal> {
        let path = self.path(&part.upload.id)?;
        let at = u64::from(part.number.saturating_sub(1)) * PART_BYTES as u64;
        step()?;
        let mut file =
            OpenOptions::new().write(true).open(&path).map_err(|error| refusal("open", &path, error))?;
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.write_all(&part.body))
            .and_then(|()| sync(&file))
            .map_err(|error| refusal("write", &path, error))?;
        Ok((at + part.body.len() as u64).to_string())
    }

    fn complete(&self, whole: &Whole) -> Result<String, Refusal> {
        let (hidden, key) = (&whole.upload.id, &whole.upload.key);
        let wanted = whole.parts.last().and_then(|(_, end)| end.parse().ok()).unwrap_or(0);
        match self.head(hidden) {
            Ok(found) if found.size == wanted => self.give_name(hidden, key)?,
            Ok(found) => {
                let message = format!("{hidden} has {} bytes, {wanted} were written", found.size);
                return Err(Refusal::Failed(Error::fatal("file.damaged", message)));
            }
            // It was renamed before, and whether that is durable is not known.
            Err(Refusal::Missing(_)) if self.head(key)?.size == wanted => {
                self.sync_folder_of(&self.path(key)?)?;
            }
            Err(why) => return Err(why),
        }
        Ok(String::new())
    }

    fn remove(&self, key: &str) -> Result<String, Refusal> {
        let path = self.path(key)?;
        step()?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(refusal("remove", &path, error)),
            _ => Ok(String::new()),
        }
    }

    /// Makes the folder of a file, and each above it, durable.
    fn make_folder_of(&self, path: &str) -> Result<(), Refusal> {
        let Some((folder, _)) = path.rsplit_once('/') else { return Ok(()) };
        if folder.len() <= self.root.len() || fs::metadata(folder).is_ok_and(|found| found.is_dir()) {
            return Ok(());
        }
        self.make_folder_of(folder)?;
        step()?;
        match fs::create_dir(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(refusal("create", folder, error)),
            _ => self.sync_folder_of(folder),
        }
    }

    /// Makes a name durable that came to its folder.
    fn sync_folder_of(&self, path: &str) -> Result<(), Refusal> {
        let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
        step()?;
        File::open(folder).and_then(|dir| sync(&dir)).map_err(|error| refusal("sync", folder, error))
    }
}

fn meta(key: &str, size: u64) -> Meta {
    Meta { key: key.to_owned(), size, etag: String::new() }
}

/// What the system says of a file.
fn refusal(what: &str, path: &str, error: io::Error) -> Refusal {
    let message = || format!("cannot {what} {path}: {error}");
    Refusal::Failed(match error.kind() {
        ErrorKind::NotFound if matches!(what, "read" | "open") => return Refusal::Missing(message()),
        ErrorKind::PermissionDenied | ErrorKind::Unsupported if what == "link" => Error::fatal(
            "file.link",
            format!("{}; a folder of tables needs a file system with hard links", message()),
        ),
        ErrorKind::NotADirectory => Error::fatal("file", message()),
        _ => files::failure(what, path, &error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_be_there_is_made_once_and_whole() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(&root.path().display().to_string(), "a/own/");
        let put = |body: &str| {
            let attributes =
                millrace_sdk::object_store::Attributes { content_type: None, content_encoding: None };
            let condition = Condition::Absent;
            folder.put(&NewObject { key: "a/v1".into(), body: body.into(), condition, attributes })
        };
        put("one").expect("it is not there");
        assert!(matches!(put("two"), Err(Refusal::Precondition(_))));
        assert_eq!(folder.get("a/v1", 0).expect("is there").body, b"one");
        assert_eq!(folder.unfinished("a/own/"), Ok(vec![]));
        assert!(matches!(folder.get("a/v1", 2), Err(Refusal::Failed(error)) if error.code == "file.large"));
    }

    #[test]
    fn no_key_leads_out() {
        let folder = Folder::new("root", "s/");
        for key in ["../x", "a/../x", "a//x", "/x", "a/.", "a\\x"] {
            assert!(
                matches!(folder.change(&Change::Delete(key.into())), Err(Refusal::Failed(error)) if error.code == "table.location"),
                "{key}"
            );
        }
    }
}

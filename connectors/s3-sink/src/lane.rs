//! One partition of the topic: its open files, what waits to be committed, and what is.
//!
//! The protocol, for each partition:
//! 1. Parts of files are uploaded. Nobody sees them: an upload is an object only once it is completed.
//! 2. A commit names the position, and the uploads that hold all before it ([`crate::state`]). It is a conditional write of one object.
//! 3. The uploads are completed. A kill before that leaves them named, and the next owner completes them.
//!
//! Files of other folders may still be open when one is committed. The position then stays before their first records, and the
//! commit says for each folder how far it got: what is read again and is there already is passed over. That needs records to go to
//! the same folder again, which [`crate::partition`] says when they do.

use std::collections::{BTreeMap, VecDeque};

use millrace_connector_encode::content::Kind;
use millrace_sdk::object_store::{Change, Upload, Whole};
use millrace_sdk::{Error, Task};

use crate::file::File;
use crate::settings::Settings;
use crate::state::{Finished, Held, State};

/// Most uploads of one commit: its state is one object, which is read again.
const UPLOADS_MAX: usize = if cfg!(test) { 3 } else { 5_000 };

/// One partition.
#[derive(Debug)]
pub struct Lane {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Key of its state.
    pub key: String,
    /// What is committed.
    pub held: Held,
    /// The next offset to take; none: whatever comes.
    pub next: Option<i64>,
    /// By folder, the offsets before which all is committed.
    pub done: BTreeMap<String, i64>,
    /// By folder.
    pub open: BTreeMap<String, File>,
    /// Files that are finished, with their folders.
    pub closed: Vec<(String, File)>,
    /// A commit that was begun; it is repeated as it is until its outcome is known.
    pub intent: Option<Intent>,
    /// Uploads that are committed and not completed yet.
    pub completing: VecDeque<Finished>,
}

/// A commit to be written.
#[derive(Debug)]
pub struct Intent {
    /// What it says.
    pub state: State,
    /// As it is written.
    pub bytes: Vec<u8>,
}

impl Lane {
    /// The position before which all is taken, and nothing is open or waits to be committed.
    fn position(&self) -> Option<i64> {
        let files = self.open.values().chain(self.closed.iter().map(|(_, file)| file));
        files.map(|file| file.first).min().or(self.next).or(self.held.state.position)
    }

    /// Finishes files that `wanted` says yes to.
    pub fn close(&mut self, kind: &Kind, mut wanted: impl FnMut(&File) -> bool) -> Result<(), Error> {
        let paths: Vec<String> =
            self.open.iter().filter(|(_, file)| wanted(file)).map(|(path, _)| path.clone()).collect();
        paths.iter().try_for_each(|path| self.close_one(kind, path))
    }

    /// Finishes a folder's file, if there is one.
    pub fn close_one(&mut self, kind: &Kind, path: &str) -> Result<(), Error> {
        // Finished first: what fails stays where it was.
        if let Some(file) = self.open.get_mut(path) {
            file.content.finish(kind)?;
        }
        self.closed.extend(self.open.remove_entry(path));
        Ok(())
    }

    /// Makes the commit of what is closed, or of as much of it as a state can name, all of whose parts must be there; or, if `even_nothing`, of a position that moved, or to say that what the
    /// last one named is done: whoever starts next does not look for it then, and others may do with the objects as they like.
    pub fn intend(&mut self, task: &Task, fingerprint: &str, even_nothing: bool) -> Result<(), Error> {
        if self.intent.is_some() || !self.completing.is_empty() {
            return Ok(());
        }
        // The first ones: what is said of a folder holds for all of its files up to there.
        let left = self.closed.split_off(self.closed.len().min(UPLOADS_MAX));
        let closed = std::mem::replace(&mut self.closed, left);
        let position = self.position();
        let is_news = position != self.held.state.position || !self.held.state.uploads.is_empty();
        if closed.is_empty() && !(even_nothing && is_news) {
            return Ok(());
        }
        for (path, file) in &closed {
            let done = self.done.entry(path.clone()).or_insert(file.end);
            *done = (*done).max(file.end);
        }
        self.done.retain(|_, end| position.is_some_and(|position| *end > position));
        let mut state = self.held.state.next(task);
        state.position = position;
        state.done.clone_from(&self.done);
        fingerprint.clone_into(&mut state.partitioner);
        state.uploads = closed.into_iter().map(|(_, file)| file.finished()).collect();
        let bytes = state.bytes()?;
        self.intent = Some(Intent { state, bytes });
        Ok(())
    }

    /// The commit is written.
    pub fn committed(&mut self, etag: String) {
        if let Some(Intent { state, .. }) = self.intent.take() {
            self.completing.extend(state.uploads.iter().cloned());
            self.held = Held { state, etag };
        }
    }

    /// Uploads that nobody has committed. Not those of an intent: it may have been written, and then its next owner completes them.
    pub fn uncommitted(&self) -> Vec<Upload> {
        let files = self.open.values().chain(self.closed.iter().map(|(_, file)| file));
        files.filter_map(|file| Some(Upload { key: file.key.clone(), id: file.upload.clone()? })).collect()
    }

    /// Whether a record of this folder is committed already.
    pub fn has(&self, path: &str, offset: i64) -> bool {
        self.done.get(path).is_some_and(|end| offset < *end)
    }

    /// Files that are finished and such as have grown to a part.
    pub fn files(&mut self) -> impl Iterator<Item = (bool, &mut File)> {
        let closed = self.closed.iter_mut().map(|(_, file)| (true, file));
        closed.chain(self.open.values_mut().map(|file| (false, file)))
    }

    /// Bytes that a folder's open file holds.
    pub fn held_of(&self, path: &str) -> usize {
        self.open.get(path).map_or(0, |file| file.content.held())
    }

    /// Whether a folder's last file ends with this offset's record.
    pub fn ends_at(&self, path: &str, offset: i64) -> bool {
        let closed = self.closed.iter().rev().filter(|(of, _)| of == path).map(|(_, file)| file);
        self.open.get(path).into_iter().chain(closed).any(|file| file.end == offset + 1)
    }

    /// Bytes that its files hold.
    pub fn held_bytes(&self) -> usize {
        let files = self.open.values().chain(self.closed.iter().map(|(_, file)| file));
        files.map(|file| file.content.held()).sum()
    }
}

/// The change that completes an upload.
pub fn complete(upload: &Finished) -> Change {
    let parts = (1..).zip(upload.parts.iter().cloned()).collect();
    let upload = Upload { key: upload.key.clone(), id: upload.id.clone() };
    Change::CompleteUpload(Whole { upload, parts })
}

/// The key of a file.
pub fn file_key(settings: &Settings, topic: &str, partition: i32, path: &str, first: i64) -> String {
    let (dir, extension) = (&settings.topics_dir, settings.extension());
    format!("{dir}/{topic}/{path}/{topic}+{partition}+{first:010}.{extension}")
}

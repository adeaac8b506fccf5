//! A file that is open while it is used and closed when another needs its place, without those who use it noticing.
//!
//! A closed file must not take a secret with it. The system tells the error of a write that it made on its own to whoever
//! syncs, but only while somebody has the file open: so what is not synced is synced before it is closed, and if that fails,
//! every later sync and write fails, as those of a file that had stayed open would.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Files, Loan, OpenFile};
use crate::disk::{DiskFile, OpenMode};

/// A path and, while it is used, the open file behind it.
#[derive(Debug)]
pub(crate) struct LazyFile(Arc<Slot>);

#[derive(Debug)]
pub(super) struct Slot {
    files: Files,
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<Arc<OpenFile>>,
    /// Where it stands in the clock while it is open.
    at: usize,
    /// Since the clock's hand came by.
    is_used: bool,
    contents: Contents,
    /// Why a sync failed: what was written is not to be relied on any more, whatever the system says later.
    lost: Option<Lost>,
}

/// What is known of the bytes in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Contents {
    /// Nothing was written here, nothing was synced.
    #[default]
    AsFound,
    Unsynced,
    /// Or a sync is under way, which holds the file.
    Synced,
}

/// An error, to be told again and again.
#[derive(Clone, Debug)]
struct Lost {
    code: Option<i32>,
    text: String,
}

impl LazyFile {
    pub(crate) fn new(files: &Files, path: PathBuf) -> Self {
        Self(Arc::new(Slot { files: files.clone(), path, state: Mutex::default() }))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// The file, which must exist, for reading.
    pub(crate) fn existing(&self) -> io::Result<Arc<OpenFile>> {
        self.0.open(&mut self.0.state.lock(), OpenMode::Existing)
    }

    /// Changes the file, which must exist.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&dyn DiskFile) -> io::Result<R>) -> io::Result<R> {
        self.change_as(OpenMode::Existing, change)
    }

    /// Changes the file, which is created if it doesn't exist.
    pub(crate) fn create<R>(&self, change: impl FnOnce(&dyn DiskFile) -> io::Result<R>) -> io::Result<R> {
        self.change_as(OpenMode::Create, change)
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let file = {
            let mut state = self.0.state.lock();
            state.check()?;
            if state.file.is_none() && state.contents == Contents::Synced {
                return Ok(());
            }
            let file = self.0.open(&mut state, OpenMode::Existing)?;
            // What is written from here on is not in this sync.
            state.contents = Contents::Synced;
            file
        };
        let synced = file.sync_data();
        if let Err(error) = &synced {
            self.0.state.lock().lost = Some(Lost::of(error));
        }
        synced
    }

    /// Whether a sync has failed. The file is not to be relied on before it was written anew.
    pub(crate) fn is_lost(&self) -> bool {
        self.0.state.lock().lost.is_some()
    }

    /// Closes the file, unless someone uses it just now or it is not synced; the next use opens it again.
    pub(crate) fn close_idle(&self) {
        let mut state = self.0.state.lock();
        if state.is_idle() && state.contents != Contents::Unsynced {
            self.0.close(&mut state);
        }
    }

    /// Keeps the file open for somebody slow, if that can be afforded.
    pub(crate) fn lend(&self) -> Option<Loan> {
        self.0.files.budget().lend()
    }

    /// Closes and removes the file, if there is one.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let mut state = self.0.state.lock();
        self.0.close(&mut state);
        (state.contents, state.lost) = (Contents::AsFound, None);
        match self.0.files.disk().remove_file(&self.0.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn change_as<R>(
        &self,
        mode: OpenMode,
        change: impl FnOnce(&dyn DiskFile) -> io::Result<R>,
    ) -> io::Result<R> {
        let file = {
            let mut state = self.0.state.lock();
            state.check()?;
            self.0.open(&mut state, mode)?
        };
        let result = change(&*file);
        // Noted while the file is still held: it can't have been closed meanwhile, and a sync that has begun meanwhile
        // doesn't count for it.
        self.0.state.lock().contents = Contents::Unsynced;
        result
    }
}

impl Slot {
    fn open(self: &Arc<Self>, state: &mut State, mode: OpenMode) -> io::Result<Arc<OpenFile>> {
        state.is_used = true;
        if let Some(file) = &state.file {
            return Ok(file.clone());
        }
        let file = Arc::new(self.files.open_counted(&self.path, mode)?);
        state.at = self.files.budget().enter(Arc::downgrade(self));
        state.file = Some(file.clone());
        Ok(file)
    }

    /// Closes the file for another's sake, if nobody uses it; whether it did. Never waits for a user of the file.
    pub(super) fn give_way(&self, even_unsynced: bool) -> bool {
        let Some(mut state) = self.state.try_lock() else { return false };
        if !state.is_idle() || std::mem::take(&mut state.is_used) {
            return false;
        }
        if state.contents == Contents::Unsynced {
            if !even_unsynced {
                return false;
            }
            state.sync_to_close(&self.path);
        }
        self.close(&mut state);
        true
    }

    fn close(&self, state: &mut State) {
        if state.file.take().is_some() {
            self.files.budget().leave(state.at);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = std::mem::take(self.state.get_mut());
        self.close(&mut state);
    }
}

impl State {
    /// Open, and nobody but the slot has it.
    fn is_idle(&self) -> bool {
        self.file.as_ref().is_some_and(|file| Arc::strong_count(file) == 1)
    }

    fn check(&self) -> io::Result<()> {
        self.lost.as_ref().map_or(Ok(()), |lost| Err(lost.error()))
    }

    fn sync_to_close(&mut self, path: &Path) {
        let Some(file) = &self.file else { return };
        match file.sync_data() {
            Ok(()) => self.contents = Contents::Synced,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "a file could not be synced before it was closed");
                self.lost = Some(Lost::of(&error));
            }
        }
    }
}

impl Lost {
    fn of(error: &io::Error) -> Self {
        Self { code: error.raw_os_error(), text: error.to_string() }
    }

    fn error(&self) -> io::Error {
        match self.code {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::other(self.text.clone()),
        }
    }
}

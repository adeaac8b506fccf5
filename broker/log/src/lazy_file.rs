//! A file that is opened when it is first needed, so that old segments cost no file descriptor until someone reads them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile, OpenMode};

/// Files that are open here.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// How many files of segments and indexes this process has open.
pub fn open_files() -> usize {
    OPEN.load(Ordering::Relaxed)
}

/// A path and, once used, the open file behind it.
#[derive(Debug)]
pub(crate) struct LazyFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    open: Mutex<Option<Arc<dyn DiskFile>>>,
}

impl LazyFile {
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Self { disk, path, open: Mutex::new(None) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file, which must exist.
    pub(crate) fn existing(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.get(OpenMode::Existing)
    }

    /// The file, created if it doesn't exist.
    pub(crate) fn created(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.get(OpenMode::Create)
    }

    /// Closes the file, unless someone reads it just now; the next use opens it again.
    pub(crate) fn close_idle(&self) {
        let mut open = self.open.lock();
        if open.as_ref().is_some_and(|file| Arc::strong_count(file) == 1) {
            let_go(&mut open);
        }
    }

    /// Closes and removes the file, if there is one.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let_go(&mut self.open.lock());
        match self.disk.remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn get(&self, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut open = self.open.lock();
        if let Some(file) = &*open {
            return Ok(file.clone());
        }
        let file = self.disk.open(&self.path, mode)?;
        *open = Some(file.clone());
        OPEN.fetch_add(1, Ordering::Relaxed);
        Ok(file)
    }
}

impl Drop for LazyFile {
    fn drop(&mut self) {
        let_go(self.open.get_mut());
    }
}

fn let_go(open: &mut Option<Arc<dyn DiskFile>>) {
    if open.take().is_some() {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

//! The files of a data directory, of which only so many are open at a time: a process has only so many descriptors, and
//! connections need them too.
//!
//! [`Files`] is a disk that counts. What is opened for a moment (a checkpoint, a folder to be synced) takes a place in the
//! budget for that moment. Segments and indexes stay open ([`LazyFile`]) until somebody else needs their place.
//!
//! Rooms: `budget` (how many, and which one gives way), `lazy` (files that come and go unnoticed), `open` (an open file and
//! its place).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::disk::{DirEntry, Disk, DiskFile, DiskLock, OpenMode};

mod budget;
mod lazy;
mod open;
#[cfg(test)]
mod tests;

pub use budget::FileBudget;
pub(crate) use budget::Loan;
pub(crate) use lazy::LazyFile;
use open::OpenFile;

/// A disk whose open files count. Clones share the budget.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
    budget: Arc<FileBudget>,
}

impl Files {
    pub(crate) fn new(disk: Arc<dyn Disk>, budget: Arc<FileBudget>) -> Self {
        Self { disk, budget }
    }

    /// The disk without the counting.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(crate) fn budget(&self) -> &Arc<FileBudget> {
        &self.budget
    }

    fn open_counted(&self, path: &Path, mode: OpenMode) -> io::Result<OpenFile> {
        self.counted(|place| Ok(OpenFile::new(self.disk.open(path, mode)?, place)))
    }

    /// Runs what takes a descriptor. Where the system has none left although the budget has (others in this process took
    /// them, or other processes), an idle file gives its own.
    fn counted<R>(&self, mut call: impl FnMut(budget::Place) -> io::Result<R>) -> io::Result<R> {
        let (began, may_wait) = (Instant::now(), !self.disk.is_simulated());
        loop {
            match call(self.budget.take(may_wait)) {
                Err(error) if is_out_of_descriptors(&error) => {
                    let patience = budget::PATIENCE_WITH_OTHERS;
                    let may_try_again = self.budget.evict() || may_wait && budget::wait(began, patience);
                    if !may_try_again {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }
}

impl Disk for Files {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.open_counted(path, mode)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.counted(|_place| self.disk.list(dir))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.counted(|_place| self.disk.sync_dir(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.disk.lock(path)
    }

    fn is_simulated(&self) -> bool {
        self.disk.is_simulated()
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let of = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
    of(Errno::MFILE) || of(Errno::NFILE)
}

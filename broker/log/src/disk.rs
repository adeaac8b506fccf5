//! The seam to the file system: everything the log does to a disk goes through [`Disk`] and [`DiskFile`].
//!
//! Two implementations stand behind it:
//! - [`RealDisk`]: the operating system's files, with vectored positioned writes and `fdatasync`;
//! - [`SimDisk`]: a file system in memory that forgets what was not synced when its power is cut, tears pages,
//!   fills up and fails on command, all from a seed.
//!
//! What the seam promises, and what the simulated disk checks its callers against:
//! 1. bytes are durable only once [`DiskFile::sync_data`] returned after they were written;
//! 2. a name (created, renamed or removed) is durable only once [`Disk::sync_dir`] of its folder returned;
//! 3. a failed sync loses what it should have saved: a later sync that succeeds says nothing about those bytes
//!    (the operating system has already marked the pages clean), so a caller must not go on after one;
//! 4. a failed write may have written any part of its bytes;
//! 5. only so many files may be open at a time.

use std::fmt;
use std::io;
use std::io::IoSlice;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

mod real;
mod sim;

pub use real::RealDisk;
pub use sim::{Fault, FaultOp, SimDisk};

/// How [`Disk::open`] treats a file that is there, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Only read a file that must exist.
    ReadOnly,
    /// Read and write a file that must exist.
    Existing,
    /// Read and write; an empty file is created where there is none.
    Create,
    /// Read and write an empty file: what was there is cut to nothing.
    Truncate,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name within its folder. Names that are not UTF-8 are not listed: nothing here writes one.
    pub name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// The file's length in bytes, 0 for a folder.
    pub len: u64,
}

/// Held while a data directory is in use; dropping it gives the lock back.
pub trait DiskLock: Send + Sync + fmt::Debug {}

/// A file system, as far as a log needs one. See the module's head for what is durable when.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// The names in a folder, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Creates a folder and its parents; a folder that is there already is no error.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Renames a file or folder, replacing a file that has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the exclusive lock of a lock file, creating the file; `None` when someone else has it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>>;
    /// Whether this disk is simulated (a simulation skips what only costs time on a real one).
    fn is_simulated(&self) -> bool {
        false
    }

    /// A whole file, which must not be larger than `max` bytes.
    fn read_file(&self, path: &Path, max: usize) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::ReadOnly)?;
        let len = file.len()?;
        if len > max as u64 {
            return Err(io::Error::other(format!("{} has {len} bytes, more than {max}", path.display())));
        }
        let mut bytes = Vec::new();
        file.read_into(&mut bytes, 0, len as usize)?;
        Ok(bytes)
    }

    /// Replaces a small file in one step that survives a power cut: a temporary beside it is written, synced and
    /// renamed over it, then the folder is synced.
    fn write_atomically(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let dir = path.parent().ok_or_else(|| io::Error::other("a file without a folder"))?;
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".tmp");
        let temporary = dir.join(name);
        let file = self.open(&temporary, OpenMode::Truncate)?;
        file.write_all_at(&[IoSlice::new(contents)], 0)?;
        file.sync_data()?;
        self.rename(&temporary, path)?;
        self.sync_dir(dir)
    }
}

/// An open file. All positions are given: there is no cursor, so one file serves many threads.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Writes all parts, one after the other, from `offset` on. On an error any part of them may be in the file.
    fn write_all_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Appends up to `len` bytes from `offset` on to `buffer`, fewer only at the end of the file; returns how many.
    fn read_into(&self, buffer: &mut Vec<u8>, offset: u64, len: usize) -> io::Result<usize>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts the file to `len` bytes, or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the contents and the length durable (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;
    /// The system's handle, for what only the system can do with a file; `None` if there is no real file behind it.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Fills `buffer` from `offset` on; an error if the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(buffer.len());
        if self.read_into(&mut bytes, offset, buffer.len())? < buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.copy_from_slice(&bytes);
        Ok(())
    }
}

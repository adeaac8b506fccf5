//! The operating system's files: positioned vectored writes, `fdatasync`, synced folders, lock files.

use std::fs;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fs::FlockOperation;

use super::{DirEntry, Disk, DiskFile, DiskLock, OpenMode};

/// How many slices one `pwritev` takes on Linux (`IOV_MAX`).
const SLICES_PER_WRITE_MAX: usize = 1024;

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile(File);

/// The open lock file: closing it gives both kinds of lock back.
#[derive(Debug)]
struct RealLock(#[allow(dead_code, reason = "held for its lock, never read")] File);

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(mode != OpenMode::ReadOnly);
        match mode {
            OpenMode::ReadOnly | OpenMode::Existing => {}
            OpenMode::Create => {
                options.create(true);
            }
            OpenMode::Truncate => {
                options.create(true).truncate(true);
            }
        }
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed between the listing and the look at it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let is_dir = metadata.is_dir();
            entries.push(DirEntry { name, is_dir, len: if is_dir { 0 } else { metadata.len() } });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // Two kinds, as they don't see each other: `flock` keeps a second broker of this process out,
        // the POSIX record lock keeps Apache Kafka out (java.nio takes that one).
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(RealLock(file)))),
            Err(rustix::io::Errno::ACCESS | rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl DiskLock for RealLock {}

impl DiskFile for RealFile {
    fn write_all_at(&self, parts: &[IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        if let [part] = parts {
            return self.0.write_all_at(part, offset);
        }
        for group in parts.chunks(SLICES_PER_WRITE_MAX) {
            offset += write_group(&self.0, group, offset)?;
        }
        Ok(())
    }

    fn read_into(&self, buffer: &mut Vec<u8>, mut offset: u64, len: usize) -> io::Result<usize> {
        let start = buffer.len();
        buffer.reserve_exact(len);
        while buffer.len() < start + len {
            let read = match rustix::io::pread(&self.0, spare_capacity(buffer), offset) {
                Ok(0) => break,
                Ok(read) => read,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            offset += read as u64;
        }
        // The allocator may have given more room than asked for, and the read filled it.
        buffer.truncate(start + len);
        Ok(buffer.len() - start)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

/// One `pwritev`, and after a short write the rest part by part; returns the bytes written.
#[cfg(target_os = "linux")]
fn write_group(file: &File, parts: &[IoSlice<'_>], offset: u64) -> io::Result<u64> {
    let mut written = loop {
        match rustix::io::pwritev(file, parts, offset) {
            Ok(written) => break written,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let mut position = offset;
    for part in parts {
        if written < part.len() {
            file.write_all_at(&part[written..], position + written as u64)?;
        }
        written = written.saturating_sub(part.len());
        position += part.len() as u64;
    }
    Ok(position - offset)
}

/// Systems without `pwritev`: part by part.
#[cfg(not(target_os = "linux"))]
fn write_group(file: &File, parts: &[IoSlice<'_>], offset: u64) -> io::Result<u64> {
    let mut position = offset;
    for part in parts {
        file.write_all_at(part, position)?;
        position += part.len() as u64;
    }
    Ok(position - offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_more_slices_than_one_call_takes() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.open(&dir.path().join("a"), OpenMode::Create).unwrap();
        let numbers: Vec<[u8; 4]> = (0..3000u32).map(u32::to_be_bytes).collect();
        let parts: Vec<IoSlice<'_>> = numbers.iter().map(|n| IoSlice::new(n)).collect();
        file.write_all_at(&parts, 10).unwrap();
        assert_eq!(file.len().unwrap(), 12_010);
        let mut read = Vec::new();
        assert_eq!(file.read_into(&mut read, 10, 12_000).unwrap(), 12_000);
        assert_eq!(read, numbers.concat());
        assert_eq!(file.read_into(&mut read, 12_000, 100).unwrap(), 10, "a read past the end is short");
        assert_eq!(read.len(), 12_010);
    }

    #[test]
    fn a_lock_is_held_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let held = RealDisk.lock(&path).unwrap();
        assert!(held.is_some());
        assert!(RealDisk.lock(&path).unwrap().is_none());
        drop(held);
        assert!(RealDisk.lock(&path).unwrap().is_some());
    }

    #[test]
    fn an_atomic_write_replaces_and_leaves_no_temporary() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        RealDisk.write_atomically(&path, b"one, the longer").unwrap();
        RealDisk.write_atomically(&path, b"two").unwrap();
        assert_eq!(RealDisk.read_file(&path, 100).unwrap(), b"two");
        assert!(RealDisk.read_file(&path, 2).is_err(), "larger than the caller allows");
        let names: Vec<_> = RealDisk.list(dir.path()).unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["checkpoint"]);
    }
}

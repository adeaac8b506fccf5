//! A disk that says it has synced and has not: what the simulation must be able to notice.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use millrace_log::disk::{DirEntry, Disk, DiskFile, DiskLock, OpenMode, SimDisk};

/// The folder of the metadata. A broker that misses some of it doesn't start, and what it lost of its clients' is not seen.
const HONEST: &str = "__cluster_metadata-0";

/// Everything as the simulated disk does it, but no file's sync, save for the metadata's.
#[derive(Debug)]
pub(crate) struct LyingDisk(pub(crate) Arc<SimDisk>);

#[derive(Debug)]
struct LyingFile(Arc<dyn DiskFile>);

impl Disk for LyingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.0.open(path, mode)?;
        let is_honest = path.iter().any(|part| part == HONEST);
        Ok(if is_honest { file } else { Arc::new(LyingFile(file)) })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.0.lock(path)
    }

    fn is_simulated(&self) -> bool {
        true
    }
}

impl DiskFile for LyingFile {
    fn write_all_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.0.write_all_at(parts, offset)
    }

    fn read_into(&self, buffer: &mut Vec<u8>, offset: u64, len: usize) -> io::Result<usize> {
        self.0.read_into(buffer, offset, len)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

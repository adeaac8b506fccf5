//! A file system in memory that behaves as badly as a real one may: what was not synced can be lost, in part or whole.
//!
//! Each file has two images: the one programs see and the one that is on the platter. A sync copies the pages
//! written since the last one from the first to the second. At a [`SimDisk::power_cut`] each unsynced page may or
//! may not have reached the platter, in any combination, and one may be torn in its middle; the file's length is
//! the old one, the new one or between. Names follow the same rule per folder: of the creations, renames and
//! removals since the folder's last sync an arbitrary prefix survives (file systems journal them in order).
//! A sync that fails marks its pages clean without having saved them, as Linux does.
//!
//! Everything random comes from the seeds given, so a failing run replays.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirEntry, Disk, DiskFile, DiskLock, OpenMode};
use file::Image;
use names::Names;

mod file;
mod names;
#[cfg(test)]
mod tests;

/// The bytes of a page: what a power cut keeps or loses as a whole, except for the one it tears.
pub(crate) const PAGE_BYTES: usize = 4096;
/// What a disk writes in one piece; a torn page is torn between two of these.
pub(crate) const SECTOR_BYTES: usize = 512;
/// `ENOSPC` of Linux, by number: `std` has the kind, but an injected error should look as the system's.
const NO_SPACE: i32 = 28;
/// `EIO`.
const IO_ERROR: i32 = 5;
/// `EMFILE`.
const TOO_MANY_OPEN: i32 = 24;

/// Which call an injected [`Fault`] hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultOp {
    /// A write: half of its bytes are written, then it fails.
    Write,
    /// A sync of a file: fails, and what it should have saved stays unsaved for good.
    Sync,
    /// The same, and programs see from now on what is on the platter: the system has dropped its pages.
    SyncAndDrop,
    /// Opening a file.
    Open,
    /// A read.
    Read,
    /// A change of length.
    SetLen,
    /// A sync of a folder.
    SyncDir,
    /// Creating, renaming or removing a name.
    Name,
}

/// An I/O error to come: the `after`-th call from now (0: the next) of this kind on a path that contains `path`.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which call.
    pub op: FaultOp,
    /// A part of the path, empty for any.
    pub path: String,
    /// How many such calls still succeed.
    pub after: u32,
}

/// The simulated disk; clones share it.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<u64, Image>,
    names: Names,
    next_file: u64,
    /// Counts power cuts: a handle of an earlier life is dead.
    life: u64,
    locks: BTreeSet<PathBuf>,
    faults: Vec<Fault>,
    /// Changes that still succeed before the machine dies, if it is to.
    fuse: Option<u32>,
    /// Bytes that fit, or no limit.
    capacity: Option<u64>,
    syncs: u64,
    /// Files that are open in this life, and how many may be.
    open: usize,
    open_max: Option<usize>,
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: u64,
    life: u64,
    path: PathBuf,
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    life: u64,
}

/// SplitMix64: small, good enough to choose pages, and the same everywhere.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..=max`.
    pub(crate) fn up_to(&mut self, max: u64) -> u64 {
        self.next() % max.saturating_add(1).max(1)
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        SimDisk::new()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimDisk")
    }
}

impl SimDisk {
    /// An empty disk without a limit.
    pub fn new() -> SimDisk {
        SimDisk { state: Arc::default() }
    }

    /// The power goes and comes back: unsynced bytes and names are lost as the seed decides, every open file and
    /// lock is gone (calls on old handles fail), injected faults are forgotten.
    pub fn power_cut(&self, seed: u64) {
        let mut dice = Dice::new(seed);
        let mut state = self.state.lock();
        state.names.power_cut(&mut dice);
        for image in state.files.values_mut() {
            image.power_cut(&mut dice);
        }
        state.begin_life();
    }

    /// The process dies, the machine lives: bytes and names stay as they are (the page cache has them), but open
    /// files and locks are gone.
    pub fn kill(&self) {
        self.state.lock().begin_life();
    }

    /// Makes a call to come fail with `EIO`.
    pub fn fail_next(&self, fault: Fault) {
        self.state.lock().faults.push(fault);
    }

    /// The machine dies after so many more changes (writes, syncs, names): every call fails from then on, until
    /// [`SimDisk::power_cut`] or [`SimDisk::kill`]. For crashes in the middle of something.
    pub fn die_after(&self, changes: u32) {
        self.state.lock().fuse = Some(changes);
    }

    /// Forgets the faults that have not struck.
    pub fn clear_faults(&self) {
        self.state.lock().faults.clear();
    }

    /// How many bytes fit on the disk; a write past it writes what fits and fails with `ENOSPC`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// How many files a process may have open; one more fails with `EMFILE`.
    pub fn set_open_max(&self, files: Option<usize>) {
        self.state.lock().open_max = files;
    }

    /// How many file syncs succeeded so far.
    pub fn sync_count(&self) -> u64 {
        self.state.lock().syncs
    }

    /// The bytes of a file as programs see them, synced or not; `None` if there is no such file.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let id = state.names.file(path)?;
        state.files.get(&id).map(|image| image.seen().to_vec())
    }

    /// Replaces the bytes of a file, on the platter too: rot, or an operator's hand.
    pub fn corrupt(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        if let Some(image) = state.names.file(path).and_then(|id| state.files.get_mut(&id)) {
            let mut bytes = image.seen().to_vec();
            change(&mut bytes);
            *image = Image::durable_with(bytes);
        }
    }
}

impl State {
    fn begin_life(&mut self) {
        self.life += 1;
        self.locks.clear();
        self.faults.clear();
        self.fuse = None;
        self.open = 0;
        let named = self.names.all_files();
        self.files.retain(|id, _| named.contains(id));
    }

    fn strike(&mut self, op: FaultOp, path: &Path) -> io::Result<()> {
        match &mut self.fuse {
            Some(0) => return Err(io::Error::from_raw_os_error(IO_ERROR)),
            Some(left) if op != FaultOp::Read => *left -= 1,
            _ => {}
        }
        if self.is_hit(op, path) { Err(io::Error::from_raw_os_error(IO_ERROR)) } else { Ok(()) }
    }

    /// Whether an injected fault strikes; it is used up then.
    fn is_hit(&mut self, op: FaultOp, path: &Path) -> bool {
        let path = path.to_string_lossy();
        for at in 0..self.faults.len() {
            let fault = &mut self.faults[at];
            if fault.op != op || !path.contains(&fault.path) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            self.faults.remove(at);
            return true;
        }
        false
    }

    /// How many of `wanted` further bytes fit.
    fn room(&self, wanted: u64) -> u64 {
        let Some(capacity) = self.capacity else { return wanted };
        let used: u64 = self.files.values().map(|image| image.seen().len() as u64).sum();
        wanted.min(capacity.saturating_sub(used))
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        if state.is_hit(FaultOp::Open, path) {
            return Err(io::Error::from_raw_os_error(IO_ERROR));
        }
        if state.open_max.is_some_and(|max| state.open >= max) {
            return Err(io::Error::from_raw_os_error(TOO_MANY_OPEN));
        }
        let found = state.names.file(path);
        let id = match (found, mode) {
            (Some(id), OpenMode::Truncate) => {
                if let Some(image) = state.files.get_mut(&id) {
                    image.set_len(0);
                }
                id
            }
            (Some(id), _) => id,
            (None, OpenMode::Existing | OpenMode::ReadOnly) => return Err(io::ErrorKind::NotFound.into()),
            (None, _) => {
                state.strike(FaultOp::Name, path)?;
                let id = state.next_file;
                state.names.create(path, id)?;
                state.next_file += 1;
                state.files.insert(id, Image::default());
                id
            }
        };
        state.open += 1;
        Ok(Arc::new(SimFile { disk: self.clone(), id, life: state.life, path: path.to_path_buf() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.state.lock();
        let mut entries = state.names.list(dir)?;
        for (entry, id) in &mut entries {
            entry.len = id.and_then(|id| state.files.get(&id)).map_or(0, |image| image.seen().len() as u64);
        }
        Ok(entries.into_iter().map(|(entry, _)| entry).collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.strike(FaultOp::Name, dir)?;
        state.names.create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.strike(FaultOp::Name, from)?;
        state.names.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.strike(FaultOp::Name, path)?;
        state.names.remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.strike(FaultOp::Name, dir)?;
        state.names.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.strike(FaultOp::SyncDir, dir)?;
        state.names.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.open(path, OpenMode::Create)?;
        let mut state = self.state.lock();
        if !state.locks.insert(path.to_path_buf()) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimLock { disk: self.clone(), path: path.to_path_buf(), life: state.life })))
    }

    fn is_simulated(&self) -> bool {
        true
    }
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        if state.life == self.life {
            state.open -= 1;
        }
    }
}

impl SimFile {
    /// Runs a call on the file's image, unless the handle is of an earlier life.
    fn with<R>(&self, call: impl FnOnce(&mut State, &mut Image) -> io::Result<R>) -> io::Result<R> {
        let mut state = self.disk.state.lock();
        if state.life != self.life {
            return Err(io::Error::other("the file was open when the power went"));
        }
        let mut image = state.files.remove(&self.id).ok_or(io::ErrorKind::NotFound)?;
        let result = call(&mut state, &mut image);
        state.files.insert(self.id, image);
        result
    }
}

impl DiskFile for SimFile {
    fn write_all_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.with(|state, image| {
            let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            if let Err(error) = state.strike(FaultOp::Write, &self.path) {
                image.write(offset, &bytes[..bytes.len() / 2]);
                return Err(error);
            }
            let len = image.seen().len() as u64;
            let growth = (offset + bytes.len() as u64).saturating_sub(len);
            // The image itself is out of the table while it is worked on.
            let missing = growth - state.room(len + growth).saturating_sub(len).min(growth);
            image.write(offset, &bytes[..bytes.len() - missing.min(bytes.len() as u64) as usize]);
            if missing > 0 { Err(io::Error::from_raw_os_error(NO_SPACE)) } else { Ok(()) }
        })
    }

    fn read_into(&self, buffer: &mut Vec<u8>, offset: u64, len: usize) -> io::Result<usize> {
        self.with(|state, image| {
            state.strike(FaultOp::Read, &self.path)?;
            let seen = image.seen();
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(seen.len());
            let end = start.saturating_add(len).min(seen.len());
            buffer.extend_from_slice(&seen[start..end]);
            Ok(end - start)
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|_, image| Ok(image.seen().len() as u64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|state, image| {
            state.strike(FaultOp::SetLen, &self.path)?;
            image.set_len(usize::try_from(len).map_err(io::Error::other)?);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state, image| {
            let struck = state.strike(FaultOp::Sync, &self.path);
            if struck.is_err() {
                image.forget_unsynced();
                return struck;
            }
            if state.is_hit(FaultOp::SyncAndDrop, &self.path) {
                image.drop_unsynced();
                return Err(io::Error::from_raw_os_error(IO_ERROR));
            }
            image.sync();
            state.syncs += 1;
            Ok(())
        })
    }
}

//! A sorted file of fixed-size entries, searched on disk, with its newest entries still in memory.

use std::io;
use std::io::IoSlice;
use std::path::PathBuf;

use crate::disk::DiskFile;
use crate::files::{Files, LazyFile};

/// Entries gathered in memory before they are written: one small write for about 2 MiB of log.
const UNWRITTEN_ENTRIES_MAX: usize = 512;

/// An entry of a sparse index. Keys ascend strictly within an index.
pub(crate) trait IndexEntry: Copy {
    /// Its size on disk.
    const BYTES: usize;
    /// What the index is sorted and searched by.
    fn key(&self) -> i64;
    /// Appends its form on disk, relative to the segment's base offset.
    fn encode(&self, base: i64, out: &mut Vec<u8>);
    /// Reads its form on disk; `bytes` has [`Self::BYTES`] bytes.
    fn decode(base: i64, bytes: &[u8]) -> Self;
}

/// Where a batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    /// The batch's last offset.
    pub(crate) offset: i64,
    /// The batch's first byte in the segment.
    pub(crate) position: u64,
}

/// The newest time up to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    /// Milliseconds since 1970.
    pub(crate) timestamp: i64,
    /// The last offset of the batch that has it.
    pub(crate) offset: i64,
}

impl IndexEntry for OffsetEntry {
    const BYTES: usize = 8;

    fn key(&self) -> i64 {
        self.offset
    }

    fn encode(&self, base: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&relative(self.offset, base));
        // A segment is at most 2 GiB.
        out.extend_from_slice(&(self.position as u32).to_be_bytes());
    }

    fn decode(base: i64, bytes: &[u8]) -> Self {
        let offset = absolute(&bytes[..4], base);
        Self { offset, position: u64::from(u32::from_be_bytes(array(&bytes[4..8]))) }
    }
}

impl IndexEntry for TimeEntry {
    const BYTES: usize = 12;

    fn key(&self) -> i64 {
        self.timestamp
    }

    fn encode(&self, base: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&relative(self.offset, base));
    }

    fn decode(base: i64, bytes: &[u8]) -> Self {
        Self { timestamp: i64::from_be_bytes(array(&bytes[..8])), offset: absolute(&bytes[8..12], base) }
    }
}

/// The segment is rolled before an offset is out of reach of four bytes.
fn relative(offset: i64, base: i64) -> [u8; 4] {
    ((offset - base) as i32).to_be_bytes()
}

fn absolute(bytes: &[u8], base: i64) -> i64 {
    base.saturating_add(i64::from(i32::from_be_bytes(array(bytes))))
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(bytes);
    out
}

/// One index of a segment.
///
/// Invariant: the entries in the file followed by those in memory are sorted strictly by key.
#[derive(Debug)]
pub(crate) struct SparseIndex<E> {
    file: LazyFile,
    base: i64,
    /// Entries in the file.
    written: u64,
    /// Newer entries, not yet in the file.
    unwritten: Vec<E>,
    /// The last entry; unknown until it is asked for the first time after opening.
    last: Option<Option<E>>,
}

impl<E: IndexEntry> SparseIndex<E> {
    /// An index that has nothing yet; a file of that name is overwritten with the first entries.
    pub(crate) fn empty(files: &Files, path: PathBuf, base: i64) -> Self {
        Self { file: LazyFile::new(files, path), base, written: 0, unwritten: Vec::new(), last: Some(None) }
    }

    /// The index in a file of `bytes` bytes, which is not opened yet. `None` if that is not the length of whole
    /// entries.
    pub(crate) fn open(files: &Files, path: PathBuf, base: i64, bytes: u64) -> Option<Self> {
        let mut index = Self::empty(files, path, base);
        index.written = bytes / E::BYTES as u64;
        if index.written > 0 {
            index.last = None;
        }
        bytes.is_multiple_of(E::BYTES as u64).then_some(index)
    }

    pub(crate) fn len(&self) -> u64 {
        self.written + self.unwritten.len() as u64
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.len() * E::BYTES as u64
    }

    pub(crate) fn last(&mut self) -> io::Result<Option<E>> {
        if let Some(last) = self.last {
            return Ok(last);
        }
        let last = self.len().checked_sub(1).map(|at| self.get(at)).transpose()?;
        self.last = Some(last);
        Ok(last)
    }

    /// Adds an entry; one whose key is not above the last one's is left out.
    pub(crate) fn push(&mut self, entry: E) -> io::Result<()> {
        if self.last()?.is_none_or(|last| last.key() < entry.key()) {
            self.unwritten.push(entry);
            self.last = Some(Some(entry));
        }
        Ok(())
    }

    /// Whether enough has gathered for a write.
    pub(crate) fn wants_write(&self) -> bool {
        self.unwritten.len() >= UNWRITTEN_ENTRIES_MAX
    }

    /// The last entry whose key is at most `key`.
    pub(crate) fn floor(&self, key: i64) -> io::Result<Option<E>> {
        self.last_where(|entry| entry.key() <= key)
    }

    /// The last entry of the front part for which `before` holds.
    pub(crate) fn last_where(&self, before: impl Fn(&E) -> bool) -> io::Result<Option<E>> {
        let after = self.partition_point(before)?;
        after.checked_sub(1).map(|at| self.get(at)).transpose()
    }

    /// Forgets all entries and removes the file.
    pub(crate) fn reset(&mut self) -> io::Result<()> {
        (self.written, self.last) = (0, Some(None));
        self.unwritten.clear();
        self.file.remove()
    }

    /// Writes what is in memory only. On an error it stays there, to be written the next time.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(self.unwritten.len() * E::BYTES);
        for entry in &self.unwritten {
            entry.encode(self.base, &mut bytes);
        }
        let end = self.written * E::BYTES as u64;
        self.file.create(|file| {
            if file.len()? > end {
                // A part of an earlier write that failed, or of an index that was given up.
                file.set_len(end)?;
            }
            file.write_all_at(&[IoSlice::new(&bytes)], end)
        })?;
        self.written += self.unwritten.len() as u64;
        self.unwritten.clear();
        Ok(())
    }

    /// Writes what is in memory and makes the file durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        self.file.sync()
    }

    /// Keeps the entries for which `keep` holds, which must be a front part of them.
    pub(crate) fn truncate(&mut self, keep: impl Fn(&E) -> bool) -> io::Result<()> {
        let kept = self.partition_point(keep)?;
        self.last = Some(kept.checked_sub(1).map(|at| self.get(at)).transpose()?);
        self.unwritten.truncate(kept.saturating_sub(self.written) as usize);
        if kept < self.written {
            self.file.change(|file| file.set_len(kept * E::BYTES as u64))?;
            self.written = kept;
        }
        Ok(())
    }

    pub(crate) fn file(&self) -> &LazyFile {
        &self.file
    }

    fn get(&self, at: u64) -> io::Result<E> {
        if let Some(memory) = at.checked_sub(self.written)
            && let Some(entry) = self.unwritten.get(memory as usize)
        {
            return Ok(*entry);
        }
        let mut bytes = [0; 16];
        self.file.existing()?.read_exact_at(&mut bytes[..E::BYTES], at * E::BYTES as u64)?;
        Ok(E::decode(self.base, &bytes[..E::BYTES]))
    }

    /// How many entries from the front satisfy `before`; the file is searched only if the answer lies in it.
    fn partition_point(&self, before: impl Fn(&E) -> bool) -> io::Result<u64> {
        let in_memory = self.unwritten.partition_point(&before) as u64;
        if in_memory > 0 || self.written == 0 {
            return Ok(self.written + in_memory);
        }
        let (mut low, mut high) = (0, self.written);
        while low < high {
            let middle = low + (high - low) / 2;
            if before(&self.get(middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::{Disk, SimDisk};

    fn entry(n: i64) -> OffsetEntry {
        OffsetEntry { offset: 100 + n * 10, position: n as u64 * 7 }
    }

    #[test]
    fn finds_entries_in_file_and_memory_and_after_a_reopen() {
        let files = Files::new(Arc::new(SimDisk::new()), Arc::default());
        let path = PathBuf::from("00.index");
        let mut index = SparseIndex::empty(&files, path.clone(), 100);
        assert_eq!(index.floor(1000).unwrap(), None);
        for n in 0..30 {
            index.push(entry(n)).unwrap();
            if n == 19 {
                index.write().unwrap();
            }
        }
        let check = |index: &SparseIndex<OffsetEntry>| {
            assert_eq!(index.floor(99).unwrap(), None);
            for n in 0..30 {
                assert_eq!(index.floor(100 + n * 10).unwrap(), Some(entry(n)));
                assert_eq!(index.floor(109 + n * 10).unwrap(), Some(entry(n)));
            }
        };
        check(&index);
        index.sync().unwrap();
        let mut index = SparseIndex::open(&files, path.clone(), 100, 240).unwrap();
        check(&index);
        index.push(entry(3)).unwrap();
        assert_eq!(index.len(), 30, "keys never go back");

        index.truncate(|e| e.offset < 150).unwrap();
        assert_eq!((index.len(), index.last().unwrap()), (5, Some(entry(4))));
        index.push(entry(5)).unwrap();
        index.truncate(|e| e.offset < 160).unwrap();
        index.sync().unwrap();
        assert_eq!(files.read_file(&path, 1000).unwrap().len(), 48);
        assert!(SparseIndex::<OffsetEntry>::open(&files, path, 100, 47).is_none());
    }

    #[test]
    fn entries_have_apache_kafkas_form() {
        let mut bytes = Vec::new();
        OffsetEntry { offset: 1_000_005, position: 0x0102_0304 }.encode(1_000_000, &mut bytes);
        TimeEntry { timestamp: 0x11_2233_4455, offset: 1_000_007 }.encode(1_000_000, &mut bytes);
        assert_eq!(bytes, [0, 0, 0, 5, 1, 2, 3, 4, 0, 0, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0, 0, 0, 7]);
        assert_eq!(TimeEntry::decode(1_000_000, &bytes[8..]).offset, 1_000_007);
    }
}

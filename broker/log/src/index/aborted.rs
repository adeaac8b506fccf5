//! `.txnindex`: the transactions aborted in a segment, so that a `read_committed` consumer can leave their records out.
//!
//! ```text
//! version i16 (0) | producer id i64 | first offset i64 | last offset i64 (the marker) | last stable offset i64
//! ```

use std::io;
use std::io::IoSlice;
use std::path::PathBuf;

use millrace_wire::ids::{Offset, ProducerId};

use crate::disk::DiskFile;
use crate::files::{Files, LazyFile};

const ENTRY_BYTES: usize = 34;
const VERSION: i16 = 0;
/// 34 bytes for each transaction aborted within one segment: a larger file is not an index.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    /// Whose.
    pub producer_id: ProducerId,
    /// Its first record in the partition.
    pub first_offset: Offset,
    /// Its marker.
    pub last_offset: Offset,
    /// The last stable offset once the marker was written.
    pub last_stable_offset: Offset,
}

impl AbortedTxn {
    /// Bytes of an entry in the file.
    pub(crate) const BYTES: usize = ENTRY_BYTES;

    /// An entry of the file; `None` for bytes of another length or version.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes.try_into().ok()?)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&VERSION.to_be_bytes());
        let numbers =
            [self.producer_id.0, self.first_offset.0, self.last_offset.0, self.last_stable_offset.0];
        for number in numbers {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }

    /// `None`: an entry of another version.
    fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let number = |at: usize| {
            let mut field = [0; 8];
            field.copy_from_slice(&bytes[at..at + 8]);
            i64::from_be_bytes(field)
        };
        (i16::from_be_bytes([bytes[0], bytes[1]]) == VERSION).then(|| Self {
            producer_id: ProducerId(number(2)),
            first_offset: Offset(number(10)),
            last_offset: Offset(number(18)),
            last_stable_offset: Offset(number(26)),
        })
    }
}

/// The aborted transactions of one segment, by ascending marker; read into memory when first asked for.
#[derive(Debug)]
pub(crate) struct AbortedIndex {
    file: LazyFile,
    /// Bytes in the file that count.
    written: u64,
    entries: Option<Vec<AbortedTxn>>,
    /// Entries of [`Self::entries`] that are in the file.
    saved: usize,
    /// A write failed: the file may have more than it should.
    torn: bool,
}

impl AbortedIndex {
    /// No aborted transaction; a file of that name is overwritten with the first one.
    pub(crate) fn empty(files: &Files, path: PathBuf) -> Self {
        Self {
            file: LazyFile::new(files, path),
            written: 0,
            entries: Some(Vec::new()),
            saved: 0,
            torn: false,
        }
    }

    /// The index in a file of `bytes` bytes, `None` if its length cannot be that of one.
    pub(crate) fn open(files: &Files, path: PathBuf, bytes: u64) -> Option<Self> {
        if !bytes.is_multiple_of(ENTRY_BYTES as u64) || bytes > FILE_BYTES_MAX {
            return None;
        }
        let mut index = Self::empty(files, path);
        if bytes > 0 {
            index.written = bytes;
            index.saved = (bytes / ENTRY_BYTES as u64) as usize;
            index.entries = None;
        }
        Some(index)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.written == 0 && self.entries.as_ref().is_some_and(Vec::is_empty)
    }

    /// Bytes in the file.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written
    }

    /// The entries, by ascending marker.
    pub(crate) fn entries(&mut self) -> io::Result<&[AbortedTxn]> {
        if self.entries.is_none() {
            let mut bytes = Vec::new();
            self.file.existing()?.read_into(&mut bytes, 0, self.written as usize)?;
            let (chunks, rest) = bytes.as_chunks::<ENTRY_BYTES>();
            let entries: Option<Vec<_>> = chunks.iter().map(AbortedTxn::decode).collect();
            let whole = rest.is_empty() && bytes.len() as u64 == self.written;
            let Some(entries) = entries.filter(|_| whole) else {
                let text = format!("{} has an entry of an unknown version", self.file.path().display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            };
            self.entries = Some(entries);
        }
        Ok(self.entries.get_or_insert_default())
    }

    /// Adds an entry; it is in memory, even if writing the file fails.
    pub(crate) fn push(&mut self, entry: AbortedTxn) -> io::Result<()> {
        self.entries()?;
        self.entries.get_or_insert_default().push(entry);
        self.write()
    }

    /// Forgets all entries and removes the file.
    pub(crate) fn reset(&mut self) -> io::Result<()> {
        (self.written, self.saved, self.entries) = (0, 0, Some(Vec::new()));
        self.file.remove()
    }

    /// Writes what is in memory only.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        let Some(unsaved) = self.entries.as_ref().and_then(|entries| entries.get(self.saved..)) else {
            return Ok(());
        };
        if unsaved.is_empty() && !self.torn {
            return Ok(());
        }
        self.torn = true;
        let mut bytes = Vec::with_capacity(unsaved.len() * ENTRY_BYTES);
        unsaved.iter().for_each(|entry| entry.encode(&mut bytes));
        let count = unsaved.len();
        let end = self.written;
        self.file.create(|file| {
            if file.len()? > end {
                file.set_len(end)?;
            }
            file.write_all_at(&[IoSlice::new(&bytes)], end)
        })?;
        self.written += bytes.len() as u64;
        self.saved += count;
        self.torn = false;
        Ok(())
    }

    /// Writes what is in memory only and makes the file durable, if there is one.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        if self.written > 0 { self.file.sync() } else { Ok(()) }
    }

    /// Forgets the transactions whose marker is at `end` or later, durably.
    pub(crate) fn truncate(&mut self, end: Offset) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let kept = self.entries()?.iter().take_while(|entry| entry.last_offset < end).count();
        self.entries.get_or_insert_default().truncate(kept);
        if kept < self.saved {
            self.written = (kept * ENTRY_BYTES) as u64;
            self.saved = kept;
            self.file.change(|file| file.set_len(self.written))?;
            // At once: of an index that is empty now, `sync` would find nothing to do, and a power cut would bring back
            // transactions whose records are gone.
            self.file.sync()?;
        }
        Ok(())
    }

    pub(crate) fn file(&self) -> &LazyFile {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::{Disk, SimDisk};

    fn txn(n: i64) -> AbortedTxn {
        AbortedTxn {
            producer_id: ProducerId(n),
            first_offset: Offset(n * 10),
            last_offset: Offset(n * 10 + 5),
            last_stable_offset: Offset(n * 10 + 6),
        }
    }

    #[test]
    fn entries_survive_a_reopen_and_a_cut() {
        let files = Files::new(Arc::new(SimDisk::new()), Arc::default());
        let path = PathBuf::from("0.txnindex");
        let mut index = AbortedIndex::empty(&files, path.clone());
        for n in 0..4 {
            index.push(txn(n)).unwrap();
        }
        let mut index = AbortedIndex::open(&files, path.clone(), 4 * 34).unwrap();
        assert!(!index.is_empty());
        assert_eq!(index.entries().unwrap(), [txn(0), txn(1), txn(2), txn(3)]);
        index.truncate(Offset(25)).unwrap();
        index.push(txn(7)).unwrap();
        assert_eq!(index.entries().unwrap(), [txn(0), txn(1), txn(7)]);
        let bytes = files.read_file(&path, 1000).unwrap();
        assert_eq!(bytes.len(), 3 * 34);
        assert_eq!(bytes[34..44], [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert!(AbortedIndex::open(&files, path, 35).is_none());
    }
}

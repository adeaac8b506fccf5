//! A file read in large pieces.
//!
//! The buffer holds what is not consumed yet and a few bytes before it, which become part of the position. Invariant:
//! `buffer[start]` is the byte at `offset` of the file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::position::{HEAD_BYTES, TAIL_BYTES};

/// Bytes asked for at once: what WASI's host gives at most.
const READ_BYTES: usize = 64 << 10;

/// An open file and the part of it that is in memory.
#[derive(Debug)]
pub struct Reader {
    file: File,
    buffer: Vec<u8>,
    start: usize,
    offset: u64,
    head: Vec<u8>,
}

impl Reader {
    /// Opens a file to read on from `offset`.
    pub fn open(path: &str, offset: u64) -> io::Result<Self> {
        let mut file = millrace_sdk::files::open(path)?;
        let mut head = Vec::new();
        Read::by_ref(&mut file).take(HEAD_BYTES as u64).read_to_end(&mut head)?;
        // The bytes before the offset belong into the buffer, for the next position.
        let tail = offset.min(TAIL_BYTES as u64);
        file.seek(SeekFrom::Start(offset - tail))?;
        let mut buffer = Vec::new();
        Read::by_ref(&mut file).take(tail).read_to_end(&mut buffer)?;
        if buffer.len() as u64 != tail {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file is shorter than what was read of it",
            ));
        }
        Ok(Self { file, start: buffer.len(), buffer, offset, head })
    }

    /// What is in memory and not consumed.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Moves past `bytes` of [`Self::unread`].
    pub fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Place in the file of the first byte that is not consumed.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads on; gives back how many bytes came, 0 at the end of the file. None: what stands before them is not what was read there before, so that
    /// they are another content's, and were left alone.
    pub fn fill(&mut self) -> io::Result<Option<usize>> {
        let keep = self.start.saturating_sub(TAIL_BYTES);
        if keep > 0 {
            self.buffer.drain(..keep);
            self.start -= keep;
        }
        let before = self.buffer.len();
        // Some of what is known is read once more, in the same go. The seek is needed at an end anyway: the C library of WASI remembers it, and what
        // a file grows by would never be seen.
        let known = before.min(TAIL_BYTES);
        let mut tail = [0; TAIL_BYTES];
        let tail = &mut tail[..known];
        tail.copy_from_slice(&self.buffer[before - known..]);
        let from = self.offset - self.start as u64 + (before - known) as u64;
        self.file.seek(SeekFrom::Start(from))?;
        self.buffer.resize(before - known + READ_BYTES, 0);
        let read = self.file.read(&mut self.buffer[before - known..]);
        let again = *read.as_ref().unwrap_or(&0);
        let is_same = self.buffer[before - known..].starts_with(&tail[..known.min(again)]);
        // A file that is shorter now has come to its end, and whoever follows it looks why.
        let new = if is_same { again.saturating_sub(known) } else { 0 };
        self.buffer.truncate(before + new);
        self.buffer[before - known..before].copy_from_slice(tail);
        read?;
        if !is_same {
            return Ok(None);
        }
        if self.head.len() < HEAD_BYTES && self.offset - (self.start as u64) < HEAD_BYTES as u64 {
            self.grow_head()?;
        }
        Ok(Some(new))
    }

    /// The first bytes of the file, up to the offset.
    pub fn head(&self) -> &[u8] {
        let len = usize::try_from(self.offset).unwrap_or(usize::MAX).min(self.head.len());
        &self.head[..len]
    }

    /// The last bytes before the offset.
    pub fn tail(&self) -> &[u8] {
        &self.buffer[self.start.saturating_sub(TAIL_BYTES)..self.start]
    }

    /// Size of the open file now, wherever its name points.
    pub fn file_len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// A file that was short when it was opened may have more of a head by now.
    fn grow_head(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.head.clear();
        Read::by_ref(&mut self.file).take(HEAD_BYTES as u64).read_to_end(&mut self.head)?;
        Ok(())
    }
}

//! Where the source stands in a file, and how it finds that file again.
//!
//! Names move when logs rotate, and the sandbox shows no inode numbers. So a position knows its file by content: a hash of the
//! first bytes and one of the last bytes before the offset. A file that has both is the one that was read, wherever it lies
//! now; one that has not is another file, even under the old name.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use millrace_connector_decode::hash::fnv1a;
use serde::{Deserialize, Serialize};

use crate::reader::Reader;

/// Most bytes of the beginning that are hashed.
pub const HEAD_BYTES: usize = 1024;
/// Most bytes before the offset that are hashed.
pub const TAIL_BYTES: usize = 256;

/// A place in a file; a checkpoint holds it as JSON.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct Position {
    /// The name under which the file was read last.
    pub file: String,
    /// Bytes consumed.
    pub offset: u64,
    /// Lines consumed, for messages.
    pub line: u64,
    /// Whether the offset lies within a line that is too long and is being passed over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipping: bool,
    head: Mark,
    tail: Mark,
}

/// Hash of some bytes.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Mark {
    len: u32,
    hash: u64,
}

impl Default for Mark {
    /// Of no bytes: every file begins with them.
    fn default() -> Self {
        Self::of(&[])
    }
}

impl Mark {
    fn of(bytes: &[u8]) -> Self {
        Self { len: bytes.len() as u32, hash: fnv1a(bytes) }
    }

    /// Of the bytes from there on.
    pub fn at(file: &mut File, from: u64, len: u32) -> io::Result<Self> {
        // What a checkpoint says is not trusted with memory.
        let mut bytes = Vec::with_capacity((len as usize).min(HEAD_BYTES));
        file.seek(SeekFrom::Start(from))?;
        file.take(u64::from(len)).read_to_end(&mut bytes)?;
        Ok(Self::of(&bytes))
    }

    /// How many they are.
    pub fn bytes(&self) -> u64 {
        u64::from(self.len)
    }

    /// Whether these bytes stand there.
    pub fn is_at(&self, file: &mut File, from: u64) -> io::Result<bool> {
        Ok(*self == Self::at(file, from, self.len)?)
    }
}

impl Position {
    /// The beginning of a file.
    pub fn start(file: &str) -> Self {
        Self { file: file.to_owned(), ..Self::default() }
    }

    /// Where the reader stands.
    pub fn of(file: &str, reader: &Reader, line: u64, skipping: bool) -> Self {
        let (head, tail) = (Mark::of(reader.head()), Mark::of(reader.tail()));
        Self { file: file.to_owned(), offset: reader.offset(), line, skipping, head, tail }
    }

    /// Behind all that is in memory of a file of which nothing is consumed yet: to know the file by, not to read on from.
    pub fn seen(file: &str, reader: &Reader) -> Self {
        let bytes = reader.unread();
        let head = Mark::of(&bytes[..bytes.len().min(HEAD_BYTES)]);
        Self { offset: reader.offset() + bytes.len() as u64, head, ..Self::start(file) }
    }

    /// The same place, now that the file has this name.
    pub fn in_file(&self, file: &str) -> Self {
        Self { file: file.to_owned(), ..self.clone() }
    }

    /// From a checkpoint; none if this version cannot read it.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Into a checkpoint.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of texts and numbers is always JSON")
    }

    /// Whether the file of this name is the one the position speaks of. One that is not there is not; at offset 0
    /// every other one is.
    pub fn matches(&self, path: &str) -> io::Result<bool> {
        match millrace_sdk::files::open(path) {
            Ok(mut file) => self.matches_file(&mut file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn matches_file(&self, file: &mut File) -> io::Result<bool> {
        let meta = file.metadata()?;
        if !meta.is_file() || meta.len() < self.offset {
            return Ok(false);
        }
        Ok(self.head.is_at(file, 0)?
            && self.tail.is_at(file, self.offset.saturating_sub(self.tail.bytes()))?)
    }
}

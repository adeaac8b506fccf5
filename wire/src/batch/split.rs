//! A byte string of batches back to back, cut into batches without copying.

use bytes::Bytes;

use super::{Error, HEADER_LEN, LENGTH_END, RawBatch};

/// Iterator of [`split`] and [`split_whole`]. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Split {
    rest: Bytes,
    partial_tail: PartialTail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PartialTail {
    Refused,
    Ignored,
}

/// Cuts `bytes` into batches; a batch cut off at the end is an error. For Produce and for files.
pub fn split(bytes: Bytes) -> Split {
    Split { rest: bytes, partial_tail: PartialTail::Refused }
}

/// Cuts `bytes` into batches; a batch cut off at the end is left out. For Fetch, where a broker may cut at its byte
/// limit.
pub fn split_whole(bytes: Bytes) -> Split {
    Split { rest: bytes, partial_tail: PartialTail::Ignored }
}

impl Split {
    /// Bytes that have not been cut off yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn tail_is_partial(&self) -> bool {
        match self.rest.get(8..LENGTH_END).and_then(|len| len.try_into().ok()) {
            None => true,
            Some(len) => {
                let len = i32::from_be_bytes(len);
                let size = usize::try_from(len).map_or(HEADER_LEN, |len| LENGTH_END + len);
                size >= HEADER_LEN && self.rest.len() < size
            }
        }
    }
}

impl Iterator for Split {
    type Item = Result<RawBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        if self.partial_tail == PartialTail::Ignored && self.tail_is_partial() {
            self.rest.clear();
            return None;
        }
        let batch = RawBatch::parse(&self.rest);
        match &batch {
            Ok(batch) => self.rest = self.rest.slice(batch.bytes.len()..),
            Err(_) => self.rest.clear(),
        }
        Some(batch)
    }
}

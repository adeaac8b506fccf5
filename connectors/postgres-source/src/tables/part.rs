//! A part of a table: its chunks, from its first key to its last.

use serde::{Deserialize, Serialize};

use super::{Key, Verdict, key_bytes};
use crate::lsn::Lsn;
use crate::snapshot::Snapshot;

/// Chunks of a part that the stream has not passed yet: past that, it is not read on.
pub(crate) const UNSETTLED_MAX: usize = 16;
/// Bytes of a part's checkpoint past which it is not read on either. The host takes 64 KiB: there is room for one more chunk, with the
/// largest key, the largest snapshot and the names of the key's columns; and without chunks, for the largest keys.
const CHECKPOINT_BYTES_FULL: usize = 24 << 10;
/// Bytes of a chunk in a checkpoint besides.
const CHUNK_BYTES: usize = 64;

/// How far a part's rows have been read. It is a checkpoint.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Part {
    /// The columns that rows are ordered by; none: it was not begun, or has no key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) key: Vec<String>,
    /// Its last key; the next part begins behind it. None: the end of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upto: Option<Key>,
    /// The last row of a settled chunk: all changes up to it belong into the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) settled: Option<Key>,
    /// Chunks that are not settled yet, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) chunks: Vec<Chunk>,
    /// Whether all rows have been read.
    #[serde(default)]
    pub(crate) is_read: bool,
    /// Rows read so far.
    #[serde(default)]
    pub(crate) rows: u64,
    /// In the first part: how many rows the whole table had, about, when it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows_expected: Option<u64>,
}

/// A chunk in the topic.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Chunk {
    /// Its last row; none: the end of the part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bound: Option<Key>,
    /// What it saw.
    pub(super) snapshot: Snapshot,
    /// Transactions that it saw are before this place.
    lsn: Lsn,
}

impl Part {
    /// Whether there is nothing left but the stream.
    pub(super) fn is_settled(&self) -> bool {
        self.is_read && self.chunks.is_empty()
    }

    /// Whether another chunk may be read now.
    pub(crate) fn wants_chunk(&self) -> bool {
        !self.is_read && self.chunks.len() < UNSETTLED_MAX && self.bytes() < CHECKPOINT_BYTES_FULL
    }

    /// Bytes of its checkpoint, but for the names of the key's columns.
    fn bytes(&self) -> usize {
        let key = |key: &Option<Key>| key.as_ref().map_or(0, key_bytes);
        let chunk = |chunk: &Chunk| key(&chunk.bound) + chunk.snapshot.bytes() + CHUNK_BYTES;
        key(&self.upto) + key(&self.settled) + self.chunks.iter().map(chunk).sum::<usize>()
    }

    /// The last row in the topic: the next chunk begins behind it.
    pub(crate) fn last(&self) -> Option<&Key> {
        self.chunks.last().and_then(|chunk| chunk.bound.as_ref()).or(self.settled.as_ref())
    }

    /// Whether a chunk has been read, or a part of one.
    pub(super) fn is_begun(&self) -> bool {
        self.is_read || self.last().is_some()
    }

    /// Rows of a chunk up to `bound` are in the topic; none: all of the part.
    pub(crate) fn read(&mut self, bound: Option<Key>, rows: u64, snapshot: &Snapshot, lsn: Lsn) {
        self.rows += rows;
        self.is_read = bound.is_none();
        match self.chunks.last_mut() {
            Some(last) if last.snapshot == *snapshot => {
                last.bound = bound;
                last.lsn = last.lsn.max(lsn);
            }
            _ => self.chunks.push(Chunk { bound, snapshot: snapshot.clone(), lsn }),
        }
    }

    /// The stream has given all transactions that committed before `lsn`; whether that changes anything.
    pub(super) fn passed(&mut self, lsn: Lsn) -> bool {
        let count = self.chunks.iter().take_while(|chunk| chunk.lsn <= lsn).count();
        for chunk in self.chunks.drain(..count) {
            self.settled = chunk.bound;
        }
        count > 0
    }

    /// What is done with changes by a transaction, by their key: those up to the first bound as the first verdict says, and so on. There may be one verdict
    /// more than bounds, for what is behind the last one.
    pub(super) fn verdicts<'a>(&'a self, xid: u32, bounds: &mut Vec<&'a Key>, verdicts: &mut Vec<Verdict>) {
        let mut upto = |bound: Option<&'a Key>, verdict| {
            bounds.extend(bound.or(self.upto.as_ref()));
            verdicts.push(verdict);
        };
        if self.is_settled() {
            return upto(None, Verdict::Tell);
        }
        if self.settled.is_some() {
            upto(self.settled.as_ref(), Verdict::Tell);
        }
        for chunk in &self.chunks {
            let is_seen = chunk.snapshot.sees(xid);
            upto(chunk.bound.as_ref(), if is_seen { Verdict::Skip } else { Verdict::Tell });
        }
        if !self.is_read {
            upto(None, Verdict::Skip);
        }
    }
}

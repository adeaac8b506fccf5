//! Batches on their way into the active segment: with offsets, not yet written.
//!
//! Everything staged leaves in one vectored write. Large batches are written from the bytes they came in, with a new
//! prefix before them; small ones are copied together, as a slice of their own would cost more than the copy.

use std::io::IoSlice;

use bytes::{BufMut, Bytes, BytesMut};
use millrace_wire::batch::{PREFIX_LEN, RawBatch};
use millrace_wire::ids::{LeaderEpoch, Offset};

use crate::cache::CachedBatch;
use crate::index::AbortedTxn;
use crate::producer::Undo;
use crate::segment::IndexedBatch;

/// Batches below this size are copied.
const COPY_BYTES_MAX: usize = 4096;

/// One staged batch; its prefix, or all of it, lies in the stage's chunk.
#[derive(Debug)]
struct Item {
    first: Offset,
    last: Offset,
    start: usize,
    end: usize,
    body: Option<Bytes>,
    max_timestamp: i64,
    epoch: LeaderEpoch,
}

impl Item {
    fn bytes(&self) -> u64 {
        (self.end - self.start) as u64 + self.body.as_ref().map_or(0, |body| body.len() as u64)
    }
}

/// Where a stage stood, to take back a request that turned out to be refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    items: usize,
    undos: usize,
    aborted: usize,
    chunk: usize,
    bytes: u64,
    next_offset: i64,
}

#[derive(Debug, Default)]
pub(super) struct Stage {
    items: Vec<Item>,
    chunk: BytesMut,
    bytes: u64,
    next_offset: i64,
    /// How to take the batches out of the producers' state again.
    pub(super) undos: Vec<Undo>,
    pub(super) aborted: Vec<AbortedTxn>,
    /// Which requests have batches here.
    pub(super) requests: Vec<usize>,
    pub(super) transactional: bool,
}

/// A stage whose bytes are laid out for writing.
#[derive(Debug)]
pub(super) struct Frozen {
    items: Vec<Item>,
    chunk: Bytes,
}

impl Stage {
    pub(super) fn at(next_offset: i64) -> Self {
        Self { next_offset, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The offset that the next batch gets.
    pub(super) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    pub(super) fn push(&mut self, batch: &RawBatch, first: Offset, epoch: LeaderEpoch) {
        let start = self.chunk.len();
        self.chunk.put_slice(&batch.header.prefix(first, epoch));
        let body = if batch.bytes.len() < COPY_BYTES_MAX {
            self.chunk.put_slice(&batch.bytes[PREFIX_LEN..]);
            None
        } else {
            Some(batch.after_prefix())
        };
        let last = Offset(first.0 + i64::from(batch.header.last_offset_delta));
        let max_timestamp = batch.header.max_timestamp;
        self.items.push(Item { first, last, start, end: self.chunk.len(), body, max_timestamp, epoch });
        self.bytes += batch.bytes.len() as u64;
        self.next_offset = last.0 + 1;
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            items: self.items.len(),
            undos: self.undos.len(),
            aborted: self.aborted.len(),
            chunk: self.chunk.len(),
            bytes: self.bytes,
            next_offset: self.next_offset,
        }
    }

    /// Drops what was staged since the mark; the caller undoes the returned steps.
    pub(super) fn back_to(&mut self, mark: Mark) -> Vec<Undo> {
        self.items.truncate(mark.items);
        self.aborted.truncate(mark.aborted);
        self.chunk.truncate(mark.chunk);
        self.bytes = mark.bytes;
        self.next_offset = mark.next_offset;
        self.undos.split_off(mark.undos)
    }

    /// Takes the bytes out for writing; what is to be undone on a failure stays.
    pub(super) fn freeze(&mut self) -> Frozen {
        let chunk = std::mem::take(&mut self.chunk).freeze();
        Frozen { items: std::mem::take(&mut self.items), chunk }
    }
}

impl Frozen {
    /// The bytes in order, neighbouring copies as one slice.
    pub(super) fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity(self.items.len() * 2);
        let mut start = 0;
        for item in &self.items {
            if let Some(body) = &item.body {
                slices.push(IoSlice::new(&self.chunk[start..item.end]));
                slices.push(IoSlice::new(body));
                start = item.end;
            }
        }
        if start < self.chunk.len() {
            slices.push(IoSlice::new(&self.chunk[start..]));
        }
        slices
    }

    /// The batches as the indexes want them, for a write at `position`.
    pub(super) fn indexed(&self, mut position: u64) -> impl Iterator<Item = IndexedBatch> {
        self.items.iter().map(move |item| {
            let bytes = item.bytes();
            position += bytes;
            IndexedBatch {
                last_offset: item.last.0,
                position: position - bytes,
                bytes,
                max_timestamp: item.max_timestamp,
            }
        })
    }

    /// Leader epochs with the offsets they wrote from.
    pub(super) fn epochs(&self) -> impl Iterator<Item = (LeaderEpoch, Offset)> {
        self.items.iter().map(|item| (item.epoch, item.first))
    }

    pub(super) fn cached(&self) -> impl Iterator<Item = CachedBatch> {
        self.items.iter().map(|item| CachedBatch {
            first: item.first,
            next: item.last.next(),
            chunk: self.chunk.clone(),
            start: item.start,
            end: item.end,
            body: item.body.clone(),
        })
    }
}

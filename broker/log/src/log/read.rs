//! Reading whole batches by offset.

use std::io;

use bytes::Bytes;
use millrace_wire::ids::Offset;

use super::Log;
use crate::error::{Error, io_error};
use crate::piece::Piece;
use crate::segment::Segment;

/// Batches, in order, as they stand in the log; `P` is [`Bytes`], or [`Piece`] where they may stay in their files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadResult<P = Bytes> {
    /// The bytes of whole batches, in pieces to be sent one after the other. The first batch may begin before the
    /// offset asked for.
    pub parts: Vec<P>,
    /// The sum of the parts.
    pub bytes: usize,
    /// Where the next read goes on: after the last record, or the offset asked for if nothing was read.
    pub next_offset: Offset,
}

/// What one segment gave.
struct Read<P> {
    part: P,
    bytes: usize,
    next: Offset,
}

impl Log {
    /// Reads from the batch that has `from` (or the first after it) on: whole batches, up to `bytes_max`, whose
    /// records are all below `upper`. With `at_least_one` the first batch may be larger than `bytes_max`.
    ///
    /// A read ends with its segment. Nothing to read is an empty result; an offset below the log start or above the
    /// log end is [`Error::OffsetOutOfRange`].
    pub fn read(
        &self,
        from: Offset,
        bytes_max: usize,
        upper: Offset,
        at_least_one: bool,
    ) -> Result<ReadResult, Error> {
        self.read_as(from, bytes_max, upper, at_least_one, |_, _| Ok(None))
    }

    /// The same, for sending: long runs of batches that are not in memory stay in their file.
    pub fn read_pieces(
        &self,
        from: Offset,
        bytes_max: usize,
        upper: Offset,
        at_least_one: bool,
    ) -> Result<ReadResult<Piece>, Error> {
        self.read_as(from, bytes_max, upper, at_least_one, |segment, upper| {
            let found = segment.slice(from, bytes_max, upper)?;
            Ok(found.map(|(slice, next)| Read { bytes: slice.len(), part: Piece::File(slice), next }))
        })
    }

    /// Asks `slice` first whether it knows a way without reading.
    fn read_as<P: From<Bytes>>(
        &self,
        from: Offset,
        bytes_max: usize,
        upper: Offset,
        at_least_one: bool,
        slice: impl Fn(&Segment, Offset) -> io::Result<Option<Read<P>>>,
    ) -> Result<ReadResult<P>, Error> {
        let _no_truncation = self.truncation.read();
        let (start, end) = (self.start_offset(), self.end_offset());
        if from < start || from > end {
            return Err(Error::OffsetOutOfRange {
                partition: self.partition.clone(),
                offset: from,
                start,
                end,
            });
        }
        let upper = upper.min(end);
        let nothing = ReadResult { parts: Vec::new(), bytes: 0, next_offset: from };
        if from >= upper {
            return Ok(nothing);
        }
        if let Some(read) = self.cache.read(from, bytes_max, upper, at_least_one) {
            let parts = read.parts.into_iter().map(P::from).collect();
            return Ok(ReadResult { parts, bytes: read.bytes, next_offset: read.next });
        }
        let mut segment = self.segment_of(from);
        while let Some(current) = segment {
            let found = match slice(&current, upper) {
                Ok(None) | Err(_) => current.read(from, bytes_max, upper, at_least_one).map(|read| {
                    read.map(|read| Read {
                        bytes: read.bytes.len(),
                        part: read.bytes.into(),
                        next: read.next,
                    })
                }),
                found => found,
            };
            match found {
                // Compaction may have left the end of a segment empty.
                Ok(None) => segment = self.segment_after(current.base()),
                Ok(Some(read)) if read.bytes == 0 => return Ok(nothing),
                Ok(Some(Read { part, bytes, next })) => {
                    return Ok(ReadResult { parts: vec![part], bytes, next_offset: next });
                }
                Err(_) if from < self.start_offset() => {
                    // Retention removed the file before it was opened.
                    let (start, end) = (self.start_offset(), self.end_offset());
                    let partition = self.partition.clone();
                    return Err(Error::OffsetOutOfRange { partition, offset: from, start, end });
                }
                Err(error) => return Err(io_error("read", current.path())(error)),
            }
        }
        Ok(nothing)
    }

    /// Whether a read from `from` on needs no disk: the offset is in the tail in memory, or at the log end.
    pub fn is_cached(&self, from: Offset) -> bool {
        from >= self.end_offset() || self.cache.reaches(from)
    }
}

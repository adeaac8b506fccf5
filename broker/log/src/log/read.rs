//! Reading whole batches by offset.

use bytes::Bytes;
use millrace_wire::ids::Offset;

use super::Log;
use crate::error::{Error, io_error};

/// Batches, in order, as they stand in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadResult {
    /// The bytes of whole batches, in pieces to be sent one after the other. The first batch may begin before the
    /// offset asked for.
    pub parts: Vec<Bytes>,
    /// The sum of the parts.
    pub bytes: usize,
    /// Where the next read goes on: after the last record, or the offset asked for if nothing was read.
    pub next_offset: Offset,
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
        let nothing = ReadResult { next_offset: from, ..ReadResult::default() };
        if from >= upper {
            return Ok(nothing);
        }
        if let Some(read) = self.cache.read(from, bytes_max, upper, at_least_one) {
            return Ok(ReadResult { parts: read.parts, bytes: read.bytes, next_offset: read.next });
        }
        let mut segment = self.segment_of(from);
        while let Some(current) = segment {
            match current.read(from, bytes_max, upper, at_least_one) {
                // Compaction may have left the end of a segment empty.
                Ok(None) => segment = self.segment_after(current.base()),
                Ok(Some(read)) if read.bytes.is_empty() => return Ok(nothing),
                Ok(Some(read)) => {
                    let bytes = read.bytes.len();
                    return Ok(ReadResult { parts: vec![read.bytes], bytes, next_offset: read.next });
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

//! Long runs of batches that needn't be read to be sent: their end is found by the index and a few headers.

use std::io;

use millrace_wire::ids::Offset;

use super::Segment;
use super::lookup::{First, Located};
use crate::piece::FileSlice;

/// Shorter runs are quicker read than sent from the file.
const SLICE_BYTES_MIN: u64 = 64 << 10;

impl Segment {
    /// Whole batches from the one that has `from` (or the first after it), at most `bytes_max` and below `upper`, and
    /// where the next read goes on. `None` if there are too few bytes for it, if the file can't be sent from or kept open, or if
    /// an index doesn't fit: [`Segment::read`] then reads them, or says what is wrong.
    pub(crate) fn slice(
        &self,
        from: Offset,
        bytes_max: usize,
        upper: Offset,
    ) -> io::Result<Option<(FileSlice, Offset)>> {
        let file = self.file()?;
        // Taken before the search: what is appended meanwhile may be at `upper` or above it.
        let size = self.size();
        if size.min(bytes_max as u64) < SLICE_BYTES_MIN || file.descriptor().is_none() {
            return Ok(None);
        }
        let Some(start) = self.locate(from)? else { return Ok(None) };
        if size < start.position.saturating_add(SLICE_BYTES_MIN) {
            return Ok(None);
        }
        let limit = self.locate(upper)?.map_or(size, |above| above.position.min(size));
        let mut end = start.position.saturating_add(bytes_max as u64);
        if end >= limit {
            end = limit;
        } else {
            end = self.indexed_position_before(end)?;
        }
        if end < start.position.saturating_add(SLICE_BYTES_MIN) {
            return Ok(None);
        }
        let near = self.indexed_position_before(end - 1)?.max(start.position);
        let ends_there = |batch: &Located| batch.position + batch.header.size() as u64 >= end;
        let Ok(Some(last)) = self.walk(near, First::BeginsAtLeast(self.base()), ends_there) else {
            return Ok(None);
        };
        let next = last.header.next_offset();
        if last.position + last.header.size() as u64 != end || next > upper {
            return Ok(None);
        }
        // Whoever is slow to take it keeps the file open: not more of them than leave room for others.
        let Some(loan) = self.lend() else { return Ok(None) };
        self.remember(next, end);
        let len = usize::try_from(end - start.position).unwrap_or(0);
        Ok(Some((FileSlice::new(file, start.position, len).on(loan), next)))
    }
}

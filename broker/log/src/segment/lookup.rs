//! Finding and reading batches of a segment by offset or time, through its sparse indexes.

use std::io;

use bytes::Bytes;
use millrace_wire::batch::{BatchHeader, HEADER_LEN};
use millrace_wire::ids::Offset;

use super::{HINTS_MAX, Segment};

/// Headers are walked in windows of this size: an index interval and a header of the next batch.
const WALK_BYTES: usize = 4096 + HEADER_LEN;

/// Whole batches read from one segment.
#[derive(Debug)]
pub(crate) struct SegmentRead {
    pub(crate) bytes: Bytes,
    pub(crate) next: Offset,
}

/// A batch's header and place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

/// What must be true of the batch that a walk begins with.
#[derive(Clone, Copy, Debug)]
pub(super) enum First {
    BeginsAtLeast(Offset),
    EndsAt(Offset),
}

impl First {
    fn allows(self, header: &BatchHeader) -> bool {
        match self {
            First::BeginsAtLeast(offset) => header.base_offset >= offset,
            First::EndsAt(offset) => header.last_offset() == offset,
        }
    }
}

impl Segment {
    /// The header of the batch that begins at `position`.
    pub(crate) fn header_at(&self, position: u64) -> io::Result<BatchHeader> {
        let mut bytes = [0; HEADER_LEN];
        self.file()?.read_exact_at(&mut bytes, position)?;
        BatchHeader::parse(&bytes).map_err(|error| self.bad_batch(position, &error))
    }

    /// The first batch that ends at `offset` or later.
    pub(crate) fn locate(&self, offset: Offset) -> io::Result<Option<Located>> {
        let wanted = |located: &Located| located.header.last_offset() >= offset;
        let hint = self.hints.lock().iter().find(|(next, _)| *next == offset.0).map(|(_, at)| *at);
        let (start, first) = match hint {
            Some(position) => (position, First::BeginsAtLeast(offset)),
            // The entry found is of the last batch that ends at the offset or before it.
            None => match self.indexes.read().offsets.floor(offset.0) {
                Ok(Some(entry)) if entry.position < self.size() => {
                    (entry.position, First::EndsAt(Offset(entry.offset)))
                }
                // No entry, none that can be read, or a damaged one: past the end a walk would find nothing and say so without
                // an error.
                _ => (0, First::BeginsAtLeast(self.base)),
            },
        };
        match self.walk(start, first, wanted) {
            // An index is derived: if it points to where no batch begins, or another one, the segment knows better.
            Err(_) if start > 0 || matches!(first, First::EndsAt(_)) => {
                self.walk(0, First::BeginsAtLeast(self.base), wanted)
            }
            result => result,
        }
    }

    /// The first batch, of those that end at `from` or later, that has a record of `timestamp` or newer.
    pub(crate) fn locate_timestamp(&self, timestamp: i64, from: Offset) -> io::Result<Option<Located>> {
        // Up to the entry found nothing is newer than its time; it may be `timestamp` itself, so one is stepped
        // back by asking for less.
        let entry = self.indexes.read().times.floor(timestamp.saturating_sub(1))?;
        let from = entry.map_or(from, |entry| Offset(entry.offset.max(from.0)));
        let Some(start) = self.locate(from)? else { return Ok(None) };
        let first = First::BeginsAtLeast(start.header.base_offset);
        self.walk(start.position, first, |located| located.header.max_timestamp >= timestamp)
    }

    /// The first batch from `position` on that `wanted` likes. Offsets that do not ascend are an error: a batch whose
    /// header was damaged must not be passed over in silence.
    pub(super) fn walk(
        &self,
        mut position: u64,
        first: First,
        wanted: impl Fn(&Located) -> bool,
    ) -> io::Result<Option<Located>> {
        let file = self.file()?;
        let size = self.size();
        let mut window = Vec::new();
        let mut before = first;
        while position < size {
            window.clear();
            file.read_into(&mut window, position, WALK_BYTES.min((size - position) as usize))?;
            let mut at = 0;
            loop {
                let header = BatchHeader::parse(&window[at..]);
                let header = header.map_err(|error| self.bad_batch(position + at as u64, &error))?;
                if !before.allows(&header) {
                    let text = format!("offset {} is out of order", header.base_offset);
                    return Err(self.bad_batch(position + at as u64, &text));
                }
                if header.size() as u64 > size - (position + at as u64) {
                    let text = format!("a batch of {} bytes reaches past the segment's end", header.size());
                    return Err(self.bad_batch(position + at as u64, &text));
                }
                before = First::BeginsAtLeast(header.next_offset());
                let located = Located { position: position + at as u64, header };
                if wanted(&located) {
                    return Ok(Some(located));
                }
                at += header.size();
                if window.len().saturating_sub(at) < HEADER_LEN {
                    break;
                }
            }
            position += at as u64;
        }
        Ok(None)
    }

    /// Whole batches from the one that has `from` (or the first after it), at most `bytes_max` and below `upper`;
    /// the first may be larger with `at_least_one`. `None` if the segment has nothing from there on.
    pub(crate) fn read(
        &self,
        from: Offset,
        bytes_max: usize,
        upper: Offset,
        at_least_one: bool,
    ) -> io::Result<Option<SegmentRead>> {
        let size = self.size();
        let Some(start) = self.locate(from)? else { return Ok(None) };
        let position = start.position;
        let one = if at_least_one { start.header.size() } else { 0 };
        let wanted = bytes_max.max(one).min((size - position) as usize);
        let mut buffer = Vec::new();
        self.file()?.read_into(&mut buffer, position, wanted)?;
        let (mut end, mut next) = (0, from);
        while buffer.len() - end >= HEADER_LEN {
            let header = BatchHeader::parse(&buffer[end..]);
            let header = header.map_err(|error| self.bad_batch(position + end as u64, &error))?;
            let in_order = end == 0 || header.base_offset >= next;
            if !in_order || header.next_offset() > upper || header.size() > buffer.len() - end {
                break;
            }
            end += header.size();
            next = header.next_offset();
        }
        buffer.truncate(end);
        if end > 0 {
            self.remember(next, position + end as u64);
        }
        Ok(Some(SegmentRead { bytes: Bytes::from(buffer), next }))
    }

    /// A reader that stopped before `next`, which begins at `position`, will go on there.
    pub(super) fn remember(&self, next: Offset, position: u64) {
        let mut hints = self.hints.lock();
        if hints.len() == HINTS_MAX {
            hints.remove(0);
        }
        hints.push((next.0, position));
    }

    fn bad_batch(&self, position: u64, error: &dyn std::fmt::Display) -> io::Error {
        let text = format!("{} at byte {position}: {error}", self.path().display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    }
}

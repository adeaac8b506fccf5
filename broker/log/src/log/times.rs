//! Offsets by time (ListOffsets).

use millrace_wire::batch::{BatchHeader, RawBatch, TimestampType};
use millrace_wire::ids::{LeaderEpoch, Offset};
use millrace_wire::record;

use super::Log;
use crate::error::{Error, io_error};
use crate::segment::Segment;

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The record's offset.
    pub offset: Offset,
    /// The leader epoch that wrote it.
    pub leader_epoch: LeaderEpoch,
}

impl Log {
    /// The first record with this time or a newer one; `None` if there is none.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<TimestampOffset>, Error> {
        let _no_truncation = self.truncation.read();
        let mut from = self.start_offset();
        let mut segment = self.segment_of(from);
        while let Some(current) = segment {
            let newest = current.newest().map_err(io_error("read the time index of", current.path()))?;
            loop {
                if newest.timestamp < timestamp {
                    break;
                }
                let found = current.locate_timestamp(timestamp, from);
                let Some(batch) = found.map_err(io_error("read", current.path()))? else { break };
                let wanted =
                    |record: &TimestampOffset| record.timestamp >= timestamp && record.offset >= from;
                if let Some(record) = self.record_in(&current, batch.position, &batch.header, wanted)? {
                    return Ok(Some(record));
                }
                // The header promised a time that no record at or after `from` has.
                from = batch.header.next_offset();
            }
            segment = self.segment_after(current.base());
        }
        Ok(None)
    }

    /// The first record with the newest time of all; `None` if no record has a time.
    pub fn max_timestamp_offset(&self) -> Result<Option<TimestampOffset>, Error> {
        let _no_truncation = self.truncation.read();
        let segments: Vec<_> = self.segments.read().values().cloned().collect();
        let mut newest = -1;
        let mut holder = None;
        for segment in &segments {
            let entry = segment.newest().map_err(io_error("read the time index of", segment.path()))?;
            if entry.timestamp > newest && segment.size() > 0 {
                (newest, holder) = (entry.timestamp, Some((segment, entry)));
            }
        }
        let Some((segment, entry)) = holder else { return Ok(None) };
        let batch = segment.locate(Offset(entry.offset)).map_err(io_error("read", segment.path()))?;
        let Some(batch) = batch else { return Ok(None) };
        self.record_in(segment, batch.position, &batch.header, |record| record.timestamp >= newest)
    }

    /// The first record of a batch that `wanted` likes.
    fn record_in(
        &self,
        segment: &Segment,
        position: u64,
        header: &BatchHeader,
        wanted: impl Fn(&TimestampOffset) -> bool,
    ) -> Result<Option<TimestampOffset>, Error> {
        let leader_epoch = header.partition_leader_epoch;
        if header.attributes.timestamp_type() == TimestampType::LogAppend {
            // All its records have one time; the first that counts is the answer, which needs no look inside.
            let at = |offset| TimestampOffset { timestamp: header.max_timestamp, offset, leader_epoch };
            let first = at(header.base_offset.max(self.start_offset()));
            return Ok(Some(first).filter(|first| wanted(first)));
        }
        let read = |error| io_error("read", segment.path())(error);
        let mut bytes = Vec::new();
        // A length that was damaged makes no room for itself.
        let len = (header.size() as u64).min(segment.size().saturating_sub(position)) as usize;
        segment.file().and_then(|file| file.read_into(&mut bytes, position, len)).map_err(read)?;
        let undecodable = |error: &dyn std::fmt::Display| Error::Undecodable {
            partition: self.partition.clone(),
            reason: error.to_string(),
        };
        let batch = RawBatch::parse(&bytes.into()).map_err(|error| undecodable(&error))?;
        let limit = self.config().max_uncompressed_bytes;
        let mut records = record::decode(&batch, limit).map_err(|error| undecodable(&error))?;
        while let Some(record) = records.next_ref() {
            let record = record.map_err(|error| undecodable(&error))?;
            let found =
                TimestampOffset { timestamp: record.timestamp, offset: Offset(record.offset), leader_epoch };
            if wanted(&found) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

//! An object in the making: its content, and its upload as far as it got.

use millrace_connector_encode::content::Content;
use millrace_sdk::object_store::{Change, PARTS_MAX, Part, Upload};

use crate::settings::Settings;
use crate::state::Finished;

/// One object, not committed yet.
#[derive(Debug)]
pub struct File {
    /// Its key.
    pub key: String,
    /// What it holds.
    pub content: Content,
    /// The first record's offset.
    pub first: i64,
    /// The one behind the last record's.
    pub end: i64,
    /// Records.
    pub records: u64,
    /// When it was begun.
    pub begun_ms: i64,
    /// When its last record came.
    pub touched_ms: i64,
    /// The first record's timestamp, as the extractor has it.
    pub timestamp: i64,
    /// The upload's id.
    pub upload: Option<String>,
    /// Etags of the parts that are there.
    pub parts: Vec<String>,
    /// Bytes of those parts.
    pub uploaded_bytes: u64,
}

impl File {
    /// Whether it has all it may have.
    pub fn is_full(&self, settings: &Settings) -> bool {
        self.records >= settings.flush_size
            || self.content.size() >= settings.rotate_bytes.bytes_u64()
            // One for what is left, one to spare.
            || self.parts.len() + 2 >= PARTS_MAX
    }

    /// Whether a record of this timestamp comes too late for it.
    pub fn ends_before(&self, timestamp: i64, settings: &Settings) -> bool {
        let span = settings.rotate_interval.map(|interval| i64::from(interval.ms()));
        span.is_some_and(|span| timestamp.saturating_sub(self.timestamp) >= span)
    }

    /// Whether the clock ends it.
    pub fn is_due(&self, now: i64, settings: &Settings) -> bool {
        let idle = settings.rotate_idle.map(|idle| i64::from(idle.ms()));
        let scheduled = settings.schedule().map(|every| i64::try_from(every.as_millis()).unwrap_or(i64::MAX));
        idle.is_some_and(|idle| now - self.touched_ms >= idle)
            || scheduled.is_some_and(|every| now.div_euclid(every) != self.begun_ms.div_euclid(every))
    }

    /// The next part: a whole one, or, of a closed file, what is left.
    pub fn part(&self, part_bytes: usize, closed: bool) -> Option<Change> {
        let length = self.content.out.len().min(part_bytes);
        if length == 0 || (length < part_bytes && !closed) {
            return None;
        }
        let upload = Upload { key: self.key.clone(), id: self.upload.clone()? };
        let number = u32::try_from(self.parts.len() + 1).unwrap_or(u32::MAX);
        Some(Change::PutPart(Part { upload, number, body: self.content.out[..length].to_vec() }))
    }

    /// Notes that a part of this length is there.
    pub fn uploaded(&mut self, length: usize, etag: String) {
        self.content.out.drain(..length);
        self.uploaded_bytes += length as u64;
        self.parts.push(etag);
    }

    /// The upload, to be committed.
    pub fn finished(self) -> Finished {
        Finished {
            key: self.key,
            id: self.upload.unwrap_or_default(),
            size: self.uploaded_bytes,
            parts: self.parts,
        }
    }
}

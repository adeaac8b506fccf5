//! What a start reads of the metadata: the newest snapshot that is whole, and the records after it.

use std::collections::BTreeSet;

use millrace_log::Log;
use millrace_wire::batch::{RawBatch, split};
use millrace_wire::ids::{LeaderEpoch, Offset};
use millrace_wire::record;
use tracing::error;
use uuid::Uuid;

use super::{Error, SnapshotFiles, SnapshotId};
use crate::controller::image::Image;
use crate::controller::record::MetadataRecord;

/// Bytes of log read at a time.
const READ_BYTES: usize = 1 << 20;
/// What a batch may unpack to.
const UNCOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// What snapshot and log add up to.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) image: Image,
    /// The newest epoch in which something was written.
    pub(crate) last_epoch: LeaderEpoch,
    /// Topics that were deleted after the snapshot. What was deleted before it had no files left when it was written.
    pub(crate) deleted: BTreeSet<Uuid>,
    /// Bytes of log that were read.
    pub(crate) bytes: u64,
}

/// Reads the newest usable snapshot, and the log from there on.
///
/// # Errors
/// Something can't be read or understood, or what was deleted of the log is in no snapshot.
pub(super) fn replay(log: &Log, snapshots: &SnapshotFiles) -> Result<Replayed, Error> {
    let (image, last_epoch, mut from) = match newest(log, snapshots)? {
        Some((image, id)) => (image, id.epoch, id.end),
        None => (Image::default(), LeaderEpoch(0), log.start_offset()),
    };
    let end = log.end_offset();
    let mut replayed = Replayed { image, last_epoch, deleted: BTreeSet::new(), bytes: 0 };
    while from < end {
        let read = log.read(from, READ_BYTES, end, true)?;
        if read.bytes == 0 {
            return Err(Error::Missing { offset: from });
        }
        for part in read.parts {
            for batch in split(part) {
                let batch = batch?;
                batch.verify_crc()?;
                replayed.take(&batch, from)?;
                from = batch.next_offset();
            }
        }
    }
    Ok(replayed)
}

/// The newest snapshot that is whole; none if the log has everything itself.
fn newest(log: &Log, snapshots: &SnapshotFiles) -> Result<Option<(Image, SnapshotId)>, Error> {
    let (start, end) = (log.start_offset(), log.end_offset());
    let dir = || snapshots.dir().display().to_string();
    let mut reasons = Vec::new();
    for (id, _) in snapshots.list()? {
        if id.end > end {
            // An older snapshot would do, and what came after it would be lost without a word.
            return Err(Error::LogTooShort { dir: dir(), end, snapshot: id.end });
        }
        if id.end < start {
            reasons.push(format!("the one of offset {} ends before", id.end));
            break;
        }
        match snapshots.read(id) {
            Ok(image) => return Ok(Some((image, id))),
            Err(error) => {
                error!(%error, "a metadata snapshot cannot be used; an older one and the log have the same");
                reasons.push(error.to_string());
            }
        }
    }
    if start > Offset(0) {
        let none = "there is none";
        let reasons = if reasons.is_empty() { none.to_owned() } else { reasons.join("; ") };
        return Err(Error::NoSnapshot { dir: dir(), start, reasons });
    }
    Ok(None)
}

impl Replayed {
    /// Applies the batch's records from offset `from` on.
    fn take(&mut self, batch: &RawBatch, from: Offset) -> Result<(), Error> {
        self.last_epoch = self.last_epoch.max(batch.header.partition_leader_epoch);
        self.bytes += batch.bytes.len() as u64;
        self.image.timestamp_ms = batch.header.max_timestamp;
        if batch.header.attributes.is_control() {
            return Ok(());
        }
        for record in record::decode(batch, UNCOMPRESSED_BYTES_MAX)? {
            let record = record?;
            if record.offset < from.0 {
                continue;
            }
            let decoded = MetadataRecord::decode(record.value.unwrap_or_default());
            let decoded = decoded.map_err(|error| Error::Record { offset: record.offset, error })?;
            if let MetadataRecord::RemoveTopic { id } = &decoded {
                self.deleted.insert(*id);
            }
            self.image.apply(&decoded);
        }
        Ok(())
    }
}

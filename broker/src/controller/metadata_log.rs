//! The metadata log on disk: its records in `__cluster_metadata-0`, and the snapshots that let it lose its front.
//!
//! What a start reads is the newest snapshot and the records after it. Nothing is deleted before what stands for it is
//! durable and was read once more, and the two newest snapshots stay, with the log from the older one on: a snapshot that turns out to
//! be damaged costs a longer replay, and nothing else.
//!
//! Rooms: `replay` (what a start reads).

mod replay;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use bytes::Bytes;
use millrace_log::disk::Disk;
use millrace_log::{AppendOrigin, AppendRequest, Log};
use millrace_wire::batch::RawBatch;
use millrace_wire::ids::{LeaderEpoch, Offset};
use millrace_wire::record::{self, BatchBuilder, BatchOptions};
use parking_lot::Mutex;
use tracing::{info, warn};

use super::image::Image;
use super::record::MetadataRecord;
use super::snapshot::{self, SnapshotFiles, SnapshotId};
use crate::config::Config;
use crate::env::Clock;

pub(crate) use replay::Replayed;

/// How long a snapshot that could not be written is not tried again.
const RETRY_MS: i64 = 30_000;

/// The metadata log can't be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It can't be read or written.
    #[error("metadata log: {0}")]
    Log(#[from] millrace_log::Error),
    /// It can't be appended to.
    #[error("metadata log: {0}")]
    Append(#[from] millrace_log::AppendError),
    /// What stands in it is not a batch of records.
    #[error("metadata log: {0}; restore its folder from a backup")]
    Batch(#[from] millrace_wire::batch::Error),
    /// See above.
    #[error("metadata log: {0}")]
    Records(#[from] record::Error),
    /// A record isn't one that this broker understands.
    #[error("metadata log, offset {offset}: {error}; it was written by a newer broker or is damaged")]
    Record { offset: i64, error: super::record::Error },
    /// The log ends later, and has nothing here.
    #[error("metadata log: nothing can be read from offset {offset} on; restore its folder from a backup")]
    Missing { offset: Offset },
    /// A snapshot can't be listed, read, written or removed.
    #[error("metadata log: {0}")]
    Snapshot(#[from] snapshot::Error),
    /// The log's front was deleted, and nothing that stood for it can be read.
    #[error(
        "metadata log: {dir} has nothing below offset {start}, and no snapshot that reaches it can be read ({reasons}); \
         restore the folder from a backup"
    )]
    NoSnapshot { dir: String, start: Offset, reasons: String },
    /// A snapshot has what the log has lost.
    #[error(
        "metadata log: {dir} ends at offset {end}, before its snapshot of offset {snapshot}: its last segments are missing; \
         restore the folder from a backup, or move the snapshots above {end} away to go back to what the log says"
    )]
    LogTooShort { dir: String, end: Offset, snapshot: Offset },
}

impl Error {
    /// Whether trying again is pointless: what is there is damaged, or is missing.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Log(error) => matches!(error, millrace_log::Error::Corrupt { .. }),
            Self::Append(_) | Self::Snapshot(_) => false,
            _ => true,
        }
    }

    /// Whether a commit that failed so has left nothing in the log, as long as that is online.
    pub(super) fn leaves_log_as_it_was(&self) -> bool {
        matches!(self, Self::Append(_) | Self::Batch(_) | Self::Records(_))
    }
}

/// When a snapshot is due, and how much log stays; Kafka's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// `metadata.log.max.record.bytes.between.snapshots`
    pub(crate) bytes_between: u64,
    /// `metadata.log.max.snapshot.interval.ms`; 0: no matter how old.
    pub(crate) interval_ms: i64,
    /// `metadata.max.retention.bytes`: log and snapshots together may have so many before the log loses its front.
    pub(crate) retention_bytes: u64,
}

impl Limits {
    /// As configured.
    pub(crate) fn of(config: &Config) -> Self {
        let bytes = |name| u64::try_from(config.long(name)).unwrap_or(u64::MAX);
        Self {
            bytes_between: bytes("metadata.log.max.record.bytes.between.snapshots"),
            interval_ms: config.long("metadata.log.max.snapshot.interval.ms"),
            retention_bytes: bytes("metadata.max.retention.bytes"),
        }
    }
}

/// See the module's head.
pub(crate) struct MetadataLog {
    log: Arc<Log>,
    snapshots: SnapshotFiles,
    node_id: i32,
    epoch: AtomicI32,
    clock: Clock,
    limits: Limits,
    since: Mutex<Since>,
}

/// What happened since the last snapshot.
#[derive(Debug)]
struct Since {
    /// Bytes that were appended.
    bytes: u64,
    /// When it was written, or else when the log was opened.
    written_ms: i64,
    /// When another one could not be written.
    failed_ms: Option<i64>,
}

impl MetadataLog {
    /// Reads everything and takes up the next epoch as leader.
    ///
    /// # Errors
    /// Something can't be read or appended to, is missing, or holds what this broker doesn't understand.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        log: Arc<Log>,
        node_id: i32,
        limits: Limits,
        clock: Clock,
    ) -> Result<(Self, Replayed), Error> {
        let snapshots = SnapshotFiles::new(disk, log.dir());
        let since = Since { bytes: 0, written_ms: clock.now_ms(), failed_ms: None };
        let epoch = AtomicI32::new(0);
        let this = Self { log, snapshots, node_id, epoch, clock, limits, since: Mutex::new(since) };
        let replayed = this.read()?;
        Ok((this, replayed))
    }

    /// Opens the log again after it has failed, and reads everything anew: what a failed commit has left in the log counts now.
    ///
    /// # Errors
    /// As for [`MetadataLog::open`]; it may be tried again.
    pub(crate) fn reopen(&self) -> Result<Replayed, Error> {
        self.log.reopen(self.clock.now_ms())?;
        self.read()
    }

    fn read(&self) -> Result<Replayed, Error> {
        self.snapshots.remove_unfinished()?;
        let mut replayed = replay::replay(&self.log, &self.snapshots)?;
        self.epoch.store(replayed.last_epoch.0.saturating_add(1), Ordering::Release);
        self.since.lock().bytes = replayed.bytes;
        self.append(super::record::leader_change(self.node_id, self.clock.now_ms())?)?;
        self.log.sync()?;
        self.stamp(&mut replayed.image);
        Ok(replayed)
    }

    /// The epoch in which this node leads the log.
    pub(crate) fn epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.epoch.load(Ordering::Acquire))
    }

    /// The offset that the next record gets.
    pub(crate) fn end_offset(&self) -> Offset {
        self.log.end_offset()
    }

    /// Whether the log can be written.
    pub(crate) fn is_online(&self) -> bool {
        self.log.offline_reason().is_none()
    }

    /// Makes records durable, as one batch: after a kill all of them are there, or none. `image`, which has them in it, is
    /// told its offset.
    ///
    /// # Errors
    /// The disk refuses; see [`Error::leaves_log_as_it_was`].
    pub(crate) fn commit(&self, records: &[MetadataRecord], image: &mut Image) -> Result<(), Error> {
        let now_ms = self.clock.now_ms();
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for record in records {
            let value = record.encode();
            builder.push(now_ms, None, Some(&value), std::iter::empty())?;
        }
        self.append(builder.build(Offset(0))?)?;
        self.log.sync()?;
        self.stamp(image);
        Ok(())
    }

    /// Whether so much, or so long ago, was written since the last snapshot that another is due.
    pub(crate) fn snapshot_is_due(&self) -> bool {
        let (now_ms, since, limits) = (self.clock.now_ms(), self.since.lock(), &self.limits);
        let waits = since.failed_ms.is_some_and(|failed| now_ms.saturating_sub(failed) < RETRY_MS);
        let old = limits.interval_ms > 0 && now_ms.saturating_sub(since.written_ms) >= limits.interval_ms;
        !waits && since.bytes > 0 && (old || since.bytes >= limits.bytes_between)
    }

    /// Bytes that were appended since the last snapshot.
    pub(crate) fn bytes_since_snapshot(&self) -> u64 {
        self.since.lock().bytes
    }

    /// Writes a snapshot of an image and lets go of what it makes needless. `covered`: the bytes since the last one, when
    /// the image was the newest. Commits may run meanwhile.
    ///
    /// # Errors
    /// The disk refuses; nothing was deleted that is needed.
    pub(crate) fn write_snapshot(&self, image: &Image, covered: u64) -> Result<(), Error> {
        let id = SnapshotId { end: Offset(image.offset + 1), epoch: image.epoch };
        let written = self.snapshots.write(id, image);
        let now_ms = self.clock.now_ms();
        {
            let mut since = self.since.lock();
            match &written {
                Ok(()) => {
                    since.bytes = since.bytes.saturating_sub(covered);
                    (since.written_ms, since.failed_ms) = (now_ms, None);
                }
                Err(_) => since.failed_ms = Some(now_ms),
            }
        }
        written?;
        info!(offset = image.offset, topics = image.topics.len(), "metadata snapshot written");
        self.prune(id, now_ms)
    }

    /// Removes the snapshots before the newest two that can be read, and then, if there is too much of it, the log before the older of the two.
    fn prune(&self, newest: SnapshotId, now_ms: i64) -> Result<(), Error> {
        let mut bytes = self.log.size_bytes();
        let mut kept = None;
        for (id, len) in self.snapshots.list()? {
            if id >= newest {
                bytes += len;
                continue;
            }
            if kept.is_none() {
                // What the log is about to be cut for must be good now, not only when it was written.
                match self.snapshots.read(id) {
                    Ok(_) => {
                        kept = Some(id);
                        bytes += len;
                        continue;
                    }
                    Err(error @ snapshot::Error::Damaged { .. }) => {
                        warn!(%error, "a metadata snapshot is given up");
                    }
                    Err(error) => {
                        // It may be whole, and the last that is: a disk that doesn't answer now may do so at the next start.
                        warn!(%error, "a metadata snapshot cannot be read; it stays for now");
                        bytes += len;
                        continue;
                    }
                }
            }
            self.snapshots.remove(id)?;
        }
        let Some(older) = kept.filter(|_| bytes > self.limits.retention_bytes) else { return Ok(()) };
        self.log.delete_records_to(older.end)?;
        // Whole segments go: the next time this one can.
        self.log.roll(now_ms)?;
        Ok(())
    }

    fn append(&self, batch: Bytes) -> Result<(), Error> {
        let batch = RawBatch::parse(&batch)?;
        let bytes = batch.bytes.len() as u64;
        let (batches, origin) = (&[batch], AppendOrigin::Coordinator);
        let request = AppendRequest { batches, leader_epoch: self.epoch(), origin };
        self.log.append(request, self.clock.now_ms())?;
        self.since.lock().bytes += bytes;
        Ok(())
    }

    fn stamp(&self, image: &mut Image) {
        (image.offset, image.epoch) = (self.log.end_offset().0 - 1, self.epoch());
        image.timestamp_ms = self.clock.now_ms();
    }
}

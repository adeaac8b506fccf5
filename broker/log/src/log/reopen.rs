//! Opening a log again that has failed, without a restart: its files are checked as after a kill, and it goes on.
//!
//! What a failed sync leaves (docs/adr/0009-failed-syncs.md): pages that the system calls clean and never wrote. They may still be
//! read back from its memory, or, once it has dropped them, come from the disk as they were before. So
//! - what was synced before the failure must be there: if it isn't, that is damage, nothing is touched, and the log stays offline;
//! - what was not is kept as far as it checks out, and written once more, from the bytes that were checked;
//! - where something is missing that readers may have seen (`flush.messages` above 1), its offsets are not given to anything else: a
//!   batch without records stands for them.
//!
//! Readers and appends are kept out only for the moment in which the new state takes the place of the old one.

use std::io::IoSlice;
use std::sync::atomic::Ordering;

use millrace_wire::batch::BatchHeader;
use millrace_wire::ids::{LeaderEpoch, Offset};
use millrace_wire::record;

use super::open::{OpenOptions, Opened, open_folder};
use super::{Log, RecoveryReport, State};
use crate::config::{CorruptionPolicy, LogConfig};
use crate::error::{Error, io_error};
use crate::partition_metadata;
use crate::segment::IndexedBatch;

impl Log {
    /// Whether an error has put the log offline, so that [`Log::reopen`] may help.
    pub fn has_failed(&self) -> bool {
        matches!(&*self.state.lock(), State::Failed(_))
    }

    /// Rises whenever the log is opened again. Offsets of an append are those of its own opening: what had not been synced then may be
    /// gone, and others have its offsets.
    pub fn opening(&self) -> u64 {
        self.opening.load(Ordering::Acquire)
    }

    /// Checks the files of a log that has failed, and takes appends again. Everything in it is durable then. Does nothing to
    /// one that is online. Reads and writes as much as recovery after a kill does.
    ///
    /// # Errors
    /// The disk still refuses, and it may be tried again; or what had been synced is damaged ([`Error::Corrupt`]), and trying again
    /// is pointless. A log that was closed or deleted stays so.
    pub fn reopen(&self, now_ms: i64) -> Result<RecoveryReport, Error> {
        let _no_flush = self.flushing.lock();
        let _no_sync = self.syncing.lock();
        match self.check_online() {
            Ok(()) => return Ok(RecoveryReport::default()),
            Err(error) if !self.has_failed() => return Err(error),
            Err(_) => {}
        }
        // Who was let in before the failure has finished; nobody is let in behind it.
        drop(self.writer.lock());
        let config = self.config();
        let options = OpenOptions {
            // Whether something durable may be cut off is asked at a start, not while clients rely on it.
            config: LogConfig { corruption_policy: CorruptionPolicy::Refuse, ..(*config).clone() },
            recovery_point: self.recovery_point(),
            synced_end: self.durable_end(),
            start_offset: self.start_offset(),
            files: self.disk.budget().clone(),
            ..OpenOptions::new((*config).clone(), now_ms)
        };
        let epochs = self.leader_epochs();
        let mut opened = open_folder(&self.disk, &self.dir, &self.partition, &options, Some(epochs))?;
        let shown = self.high_watermark().max(self.start_offset());
        if opened.writer.next_offset < shown.0 {
            self.fill(&mut opened, shown, config.index_interval_bytes)?;
        }
        // Written anew like the records: its sync may be the one that failed.
        if let Some(id) = partition_metadata::read(&self.disk, &self.dir)? {
            partition_metadata::write(&self.disk, &self.dir, id)?;
        }
        self.sync_files(&[], true, true)?;
        let report = opened.report.clone();
        self.take_over(opened);
        tracing::warn!(topic = %self.partition.topic, partition = self.partition.partition, ?report,
            "the log was checked and is online again");
        Ok(report)
    }

    /// Puts a batch without records where those below `shown` are missing.
    fn fill(&self, opened: &mut Opened, shown: Offset, interval_bytes: u64) -> Result<(), Error> {
        let first = Offset(opened.writer.next_offset);
        let active = opened.writer.active.clone();
        tracing::error!(topic = %self.partition.topic, partition = self.partition.partition, from = first.0, to = shown.0,
            "records that had not been synced are lost, although they had been acknowledged or read; their offsets stay empty");
        let write = |error| io_error("write", active.path())(error);
        let epoch = opened.epochs.latest().unwrap_or(LeaderEpoch(0));
        let bytes = record::gap(first, shown, epoch).ok_or_else(|| {
            write(std::io::Error::other(format!("offsets {first} to {shown} do not fit into one batch")))
        })?;
        let header = BatchHeader::parse(&bytes).map_err(|error| write(std::io::Error::other(error)))?;
        active.write(&[IoSlice::new(&bytes)]).map_err(write)?;
        let indexed = IndexedBatch::of(&header, active.size());
        active.publish(std::iter::once(indexed), interval_bytes).map_err(write)?;
        active.sync_log().map_err(write)?;
        opened.writer.next_offset = shown.0;
        opened.start = opened.start.max(self.start_offset());
        Ok(())
    }

    fn take_over(&self, opened: Opened) {
        let Opened { segments, mut epochs, start, writer, report } = opened;
        let _no_reader = self.truncation.write();
        let mut present = self.writer.lock();
        self.cache.clear();
        self.trash.lock().clear();
        *self.unflushed.lock() = report.unflushed(&segments);
        *self.segments.write() = segments;
        epochs.unsaved = true;
        *self.epochs.write() = epochs;
        self.start_offset.store(start.0, Ordering::Release);
        self.end_offset.store(writer.next_offset, Ordering::Release);
        self.durable_end.store(writer.next_offset, Ordering::Release);
        self.recovery_point.fetch_min(writer.next_offset, Ordering::AcqRel);
        self.unsynced_bytes.store(0, Ordering::Relaxed);
        self.publish_transactions(&writer.producers);
        *present = writer;
        self.opening.fetch_add(1, Ordering::AcqRel);
        self.go_online();
    }
}

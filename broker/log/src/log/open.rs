//! Opening a log: trusting it after a clean shutdown, recovering it after any other end.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use millrace_wire::ids::{LeaderEpoch, Offset};
use parking_lot::{Mutex, RwLock};

use super::recover::{Recovered, Recovery, RecoveryReport};
use super::{Log, Writer};
use crate::cache::{CacheBudget, TailCache};
use crate::checkpoint;
use crate::config::LogConfig;
use crate::disk::{DirEntry, Disk};
use crate::epochs::LeaderEpochs;
use crate::error::{Error, io_error};
use crate::files::{FileBudget, Files};
use crate::segment::{Found, Segment, swaps};
use crate::topic_partition::TopicPartition;

/// What is known about a log before it is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Its settings.
    pub config: LogConfig,
    /// The time, in milliseconds since 1970.
    pub now_ms: i64,
    /// Whether the last process closed all logs cleanly (`.kafka_cleanshutdown` was there).
    pub clean_shutdown: bool,
    /// From the recovery point checkpoint: everything below was durable.
    pub recovery_point: Offset,
    /// Everything below was synced by this process, which opens the log again after a failure. Indexes may not have been; so
    /// recovery begins at the recovery point all the same.
    pub synced_end: Offset,
    /// From the log start checkpoint: everything below was deleted.
    pub start_offset: Offset,
    /// What the tail cache may hold; shared by all logs.
    pub cache: Arc<CacheBudget>,
    /// How many files may be open; shared by all logs.
    pub files: Arc<FileBudget>,
}

impl OpenOptions {
    /// For a log about which nothing is known: everything is checked.
    pub fn new(config: LogConfig, now_ms: i64) -> Self {
        Self {
            config,
            now_ms,
            clean_shutdown: false,
            recovery_point: Offset(0),
            synced_end: Offset(0),
            start_offset: Offset(0),
            cache: Arc::default(),
            files: Arc::default(),
        }
    }

    /// What is missing or bad below this offset is damage, and no torn tail.
    pub(super) fn durable_end(&self) -> Offset {
        self.recovery_point.max(self.synced_end)
    }
}

/// What the files of a folder come to, whole and in order.
pub(super) struct Opened {
    pub(super) segments: BTreeMap<Offset, Arc<Segment>>,
    pub(super) epochs: LeaderEpochs,
    pub(super) start: Offset,
    pub(super) writer: Writer,
    pub(super) report: RecoveryReport,
}

impl Log {
    /// Opens the log in a folder, or creates an empty one. What recovery had to do stands in the report.
    ///
    /// Creating syncs nothing: the folder becomes durable with the first records ([`Log::sync`]).
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        partition: TopicPartition,
        options: OpenOptions,
    ) -> Result<(Log, RecoveryReport), Error> {
        let disk = Files::new(disk, options.files.clone());
        let Opened { segments, epochs, start, writer, report } =
            open_folder(&disk, dir, &partition, &options, None)?;
        let next_offset = writer.next_offset;
        let log = Log {
            dir: dir.to_path_buf(),
            config: RwLock::new(Arc::new(options.config)),
            start_offset: AtomicI64::new(start.0),
            durable_end: AtomicI64::new(next_offset),
            end_offset: AtomicI64::new(next_offset),
            recovery_point: AtomicI64::new(next_offset.min(options.recovery_point.0)),
            high_watermark: AtomicI64::new(start.0),
            unsynced_bytes: AtomicU64::new(0),
            unflushed: Mutex::new(report.unflushed(&segments)),
            segments: RwLock::new(segments),
            epochs: RwLock::new(epochs),
            stable: RwLock::default(),
            cache: TailCache::new(options.cache),
            writer: Mutex::new(writer),
            syncing: Mutex::new(()),
            flushing: Mutex::new(()),
            opening: AtomicU64::new(0),
            truncation: RwLock::new(()),
            state: Mutex::default(),
            online: true.into(),
            trash: Mutex::default(),
            partition,
            disk,
        };
        log.publish_transactions(&log.writer.lock().producers);
        // What recovery had to look into: with thousands of partitions nobody has so many files to spare.
        log.segments.read().values().for_each(|segment| segment.close_idle());
        Ok((log, report))
    }
}

/// Makes a whole log of a folder. `epochs`: the leader epochs, if they are known better than the file has them.
pub(super) fn open_folder(
    disk: &Files,
    dir: &Path,
    partition: &TopicPartition,
    options: &OpenOptions,
    epochs: Option<Vec<(LeaderEpoch, Offset)>>,
) -> Result<Opened, Error> {
    let (mut entries, newborn) = list_or_create(disk, dir)?;
    if swaps::settle(disk, dir, &entries)? {
        entries = disk.list(dir).map_err(io_error("list", dir))?;
    }
    let found = Found::of(&entries);
    for name in &found.stray {
        let path = dir.join(name);
        disk.remove_file(&path).map_err(io_error("remove", &path))?;
    }
    let epochs = epochs.unwrap_or_else(|| saved_epochs(disk, dir, partition, &entries));
    let recovery = Recovery::new(disk.clone(), dir, partition, options, found, epochs);
    let Recovered { segments, producers, mut epochs, next_offset, report } = recovery.run()?;

    let first = segments.first().map_or(Offset(next_offset), |segment| segment.base());
    let start = options.start_offset.max(first).min(Offset(next_offset));
    let active = segments.last().cloned();
    let (active, created) = match active {
        Some(active) => (active, false),
        None => {
            let segment = Segment::create(disk, dir, Offset(next_offset), options.now_ms);
            (Arc::new(segment.map_err(io_error("create a segment in", dir))?), true)
        }
    };
    let next_offset = next_offset.max(active.base().0);
    epochs.start_at(start);
    let mut segments: BTreeMap<_, _> =
        segments.into_iter().map(|segment| (segment.base(), segment)).collect();
    segments.insert(active.base(), active.clone());
    // After a kill names may be there and yet not be durable; those of an empty log never needed to be.
    let unsure = !options.clean_shutdown || next_offset == start.0;
    let writer = Writer {
        active,
        next_offset,
        producers,
        active_dirty: false,
        rolled_dirty: Vec::new(),
        dir_dirty: created || unsure,
        failing: false,
        closed: newborn || report.trusted,
        newborn: newborn || unsure,
    };
    Ok(Opened { segments, epochs, start, writer, report })
}

/// The leader epochs from their file.
fn saved_epochs(
    disk: &dyn Disk,
    dir: &Path,
    partition: &TopicPartition,
    entries: &[DirEntry],
) -> Vec<(LeaderEpoch, Offset)> {
    if !entries.iter().any(|entry| entry.name == checkpoint::LEADER_EPOCH) {
        return Vec::new();
    }
    // Rebuilt from the batches where they are read anyway; older ones are lost with the file.
    checkpoint::read_epochs(disk, &dir.join(checkpoint::LEADER_EPOCH)).unwrap_or_else(|error| {
        tracing::warn!(%partition, %error, "leader epochs are rebuilt as far as possible");
        Vec::new()
    })
}

/// The names in the folder; whether it had to be created.
fn list_or_create(disk: &dyn Disk, dir: &Path) -> Result<(Vec<DirEntry>, bool), Error> {
    match disk.list(dir) {
        Ok(entries) => Ok((entries, false)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            disk.create_dir_all(dir).map_err(io_error("create", dir))?;
            Ok((Vec::new(), true))
        }
        Err(error) => Err(io_error("list", dir)(error)),
    }
}

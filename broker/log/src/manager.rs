//! All logs of a data directory: found, recovered, created, deleted, checkpointed and closed together.
//!
//! ```text
//! data/
//!   .lock                              held while a broker runs
//!   meta.properties                    whose directory it is
//!   .kafka_cleanshutdown               only between a clean shutdown and the next start
//!   recovery-point-offset-checkpoint   below these offsets nothing needs to be read at start
//!   log-start-offset-checkpoint        below these offsets records were deleted
//!   replication-offset-checkpoint      high watermarks
//!   cleaner-offset-checkpoint          below these offsets compaction has been
//!   orders-0/                          a partition, see `crate::log`
//!   orders-1.<hex>-delete/             a deleted one, until its files are gone
//!   orders-2.<hex>-stray/              one that the metadata did not know, for an operator
//! ```
//!
//! A log that cannot be opened does not keep the others from serving: it is listed in [`LogManager::failed`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_wire::ids::Offset;
use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use crate::cache::CacheBudget;
use crate::checkpoint;
use crate::config::LogConfig;
use crate::disk::{Disk, DiskLock};
use crate::error::{Error, io_error};
use crate::files::{FileBudget, Files};
use crate::log::{Log, OpenOptions, RecoveryReport};
use crate::partition_metadata;
use crate::topic_partition::TopicPartition;

mod cleaning;
mod load;
mod meta;
mod stray;
#[cfg(test)]
mod tests;

pub use cleaning::Dirty;
pub use meta::MetaProperties;

pub(crate) const LOCK: &str = ".lock";
pub(crate) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// What Apache Kafka 4 writes when it does not know its broker epoch.
const CLEAN_SHUTDOWN_TEXT: &[u8] = b"{\"version\":0,\"brokerEpoch\":-1}";
/// Ends the names of folders whose partition was deleted.
const DELETED_SUFFIX: &str = "-delete";
/// Longest file name of the usual file systems.
const NAME_BYTES_MAX: usize = 255;

/// What the manager must know to open a directory.
#[derive(Clone, Debug)]
pub struct ManagerOptions {
    /// `node.id` of this broker; the directory must have been made by it.
    pub node_id: i32,
    /// The cluster's id, if it is known; the directory's must be the same.
    pub cluster_id: Option<String>,
    /// Settings of logs that have none of their own.
    pub config: LogConfig,
    /// The time, in milliseconds since 1970.
    pub now_ms: i64,
    /// What all tail caches together may hold.
    pub cache: Arc<CacheBudget>,
    /// How many files of logs may be open.
    pub files: Arc<FileBudget>,
    /// Ids to give to a new directory: the cluster's, if none is known, and the directory's.
    pub new_ids: [Uuid; 2],
}

impl ManagerOptions {
    /// The usual settings, with random ids for a new directory.
    pub fn new(node_id: i32, config: LogConfig, now_ms: i64) -> Self {
        let new_ids = [Uuid::new_v4(), Uuid::new_v4()];
        Self {
            node_id,
            cluster_id: None,
            config,
            now_ms,
            cache: Arc::default(),
            files: Arc::default(),
            new_ids,
        }
    }
}

/// What opening a directory had to do.
#[derive(Debug, Default)]
pub struct OpenReport {
    /// Whether the last process closed everything.
    pub clean_shutdown: bool,
    /// Logs that were opened.
    pub logs: usize,
    /// What recovery did, for the logs where it did something.
    pub recovered: BTreeMap<TopicPartition, RecoveryReport>,
}

/// A log and the id of its topic, if the folder has one.
#[derive(Clone, Debug)]
struct Entry {
    log: Arc<Log>,
    topic_id: Option<Uuid>,
}

/// The logs of one data directory. See the module's head.
#[derive(Debug)]
pub struct LogManager {
    disk: Files,
    data_dir: PathBuf,
    meta: MetaProperties,
    cache: Arc<CacheBudget>,
    logs: RwLock<BTreeMap<TopicPartition, Entry>>,
    failed: RwLock<BTreeMap<TopicPartition, Arc<Error>>>,
    /// What the checkpoint files hold; also keeps two checkpoints from running at once.
    written: Mutex<Checkpoints>,
    /// Makes the names of folders that are deleted or set aside different.
    renamed: Mutex<u64>,
    _lock: Box<dyn DiskLock>,
}

/// The offsets of all logs, as the checkpoint files have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Checkpoints {
    recovery_points: BTreeMap<TopicPartition, Offset>,
    start_offsets: BTreeMap<TopicPartition, Offset>,
    high_watermarks: BTreeMap<TopicPartition, Offset>,
    /// How far compaction came.
    clean_ends: BTreeMap<TopicPartition, Offset>,
}

impl LogManager {
    /// Whose directory it is.
    pub fn meta(&self) -> &MetaProperties {
        &self.meta
    }

    /// A partition's log.
    pub fn get(&self, partition: &TopicPartition) -> Option<Arc<Log>> {
        self.logs.read().get(partition).map(|entry| entry.log.clone())
    }

    /// All logs, by name, with their topics' ids.
    pub fn list(&self) -> Vec<(TopicPartition, Option<Uuid>, Arc<Log>)> {
        let logs = self.logs.read();
        logs.iter().map(|(partition, entry)| (partition.clone(), entry.topic_id, entry.log.clone())).collect()
    }

    /// Partitions whose logs could not be opened, and why. They are answered with `KAFKA_STORAGE_ERROR`.
    pub fn failed(&self) -> Vec<(TopicPartition, Arc<Error>)> {
        self.failed.read().iter().map(|(partition, error)| (partition.clone(), error.clone())).collect()
    }

    /// Creates an empty log. Nothing is synced: its folder becomes durable with its first records.
    ///
    /// A folder that a crash left without a topic id and without records is taken over.
    pub fn create(
        &self,
        partition: &TopicPartition,
        topic_id: Uuid,
        config: LogConfig,
        now_ms: i64,
    ) -> Result<Arc<Log>, Error> {
        let mut logs = self.logs.write();
        let adoptable = |entry: &Entry| entry.topic_id.is_none() && entry.log.end_offset() == Offset(0);
        let taken = logs.get(partition).is_some_and(|entry| !adoptable(entry));
        if taken || self.failed.read().contains_key(partition) {
            return Err(Error::PartitionExists(partition.clone()));
        }
        let dir = self.data_dir.join(partition.dir_name());
        let log = match logs.get(partition) {
            Some(entry) => {
                entry.log.set_config(config);
                entry.log.clone()
            }
            None => {
                let (cache, files) = (self.cache.clone(), self.disk.budget().clone());
                let options = OpenOptions { cache, files, ..OpenOptions::new(config, now_ms) };
                Arc::new(Log::open(self.disk.disk().clone(), &dir, partition.clone(), options)?.0)
            }
        };
        partition_metadata::write(&self.disk, &dir, topic_id)?;
        logs.insert(partition.clone(), Entry { log: log.clone(), topic_id: Some(topic_id) });
        Ok(log)
    }

    /// Deletes a partition; see [`LogManager::delete_all`]. Returns whether there was one.
    pub fn delete(&self, partition: &TopicPartition) -> Result<bool, Error> {
        Ok(self.delete_all(std::slice::from_ref(partition))? == 1)
    }

    /// Deletes partitions: their names are gone, durably, when this returns, and their files removed. Returns how many
    /// of them there were.
    pub fn delete_all(&self, partitions: &[TopicPartition]) -> Result<usize, Error> {
        let mut doomed = Vec::new();
        for partition in partitions {
            let entry = self.logs.write().remove(partition);
            let failed = self.failed.write().remove(partition);
            if entry.is_none() && failed.is_none() {
                continue;
            }
            if let Some(entry) = entry {
                entry.log.retire();
            }
            let dir = self.data_dir.join(partition.dir_name());
            let target = self.data_dir.join(self.other_name(partition, DELETED_SUFFIX));
            self.disk.rename(&dir, &target).map_err(io_error("rename", &dir))?;
            doomed.push(target);
        }
        if doomed.is_empty() {
            return Ok(0);
        }
        self.disk.sync_dir(&self.data_dir).map_err(io_error("sync", &self.data_dir))?;
        // What is known of them must not be held against partitions that get their names.
        self.change_checkpoints(|offsets| offsets.retain(|partition, _| !partitions.contains(partition)))?;
        doomed.iter().try_for_each(|dir| load::remove_tree(&self.disk, dir))?;
        Ok(doomed.len())
    }

    /// Removes every record of a partition from `offset` on; see the head of `log/truncate.rs`. The recovery point is
    /// lowered first, so that a crash in the middle does not look like damage.
    pub fn truncate_to(&self, partition: &TopicPartition, offset: Offset, now_ms: i64) -> Result<(), Error> {
        let Some(log) = self.get(partition) else { return Ok(()) };
        let point = log.truncation_point(offset)?;
        self.change_checkpoints(|offsets| {
            offsets.entry(partition.clone()).and_modify(|known| *known = point.min(*known));
        })?;
        log.truncate_to(offset, now_ms)
    }

    /// Changes what the checkpoint files say, durably.
    fn change_checkpoints(
        &self,
        change: impl Fn(&mut BTreeMap<TopicPartition, Offset>),
    ) -> Result<(), Error> {
        let mut written = self.written.lock();
        let mut changed = written.clone();
        change(&mut changed.recovery_points);
        change(&mut changed.start_offsets);
        change(&mut changed.high_watermarks);
        change(&mut changed.clean_ends);
        self.write_checkpoints(&written, &changed)?;
        *written = changed;
        Ok(())
    }

    /// Flushes every log and writes the checkpoint files, so that the next start has less to read. To be called now
    /// and then (`log.flush.offset.checkpoint.interval.ms`). The first error is returned after all was tried.
    pub fn checkpoint(&self) -> Result<(), Error> {
        let mut written = self.written.lock();
        let mut first_error = Ok(());
        let mut checkpoints =
            Checkpoints { clean_ends: written.clean_ends.clone(), ..Checkpoints::default() };
        for (partition, _, log) in self.list() {
            if log.offline_reason().is_none()
                && let Err(error) = log.flush()
            {
                first_error = first_error.and(Err(error));
            }
            checkpoints.recovery_points.insert(partition.clone(), log.recovery_point());
            checkpoints.start_offsets.insert(partition.clone(), log.start_offset());
            checkpoints.high_watermarks.insert(partition, log.high_watermark());
        }
        // What could not be opened keeps what is known of it: an operator may repair it.
        for (partition, _) in self.failed() {
            keep_known(&written.recovery_points, &mut checkpoints.recovery_points, &partition);
            keep_known(&written.start_offsets, &mut checkpoints.start_offsets, &partition);
            keep_known(&written.high_watermarks, &mut checkpoints.high_watermarks, &partition);
        }
        self.write_checkpoints(&written, &checkpoints)?;
        *written = checkpoints;
        first_error
    }

    /// Closes every log, and marks the directory as cleanly closed if all went well. Appends are refused from the
    /// beginning on.
    pub fn close(&self) -> Result<(), Error> {
        let logs: Vec<_> = self.list().into_iter().map(|(_, _, log)| log).collect();
        // Each waits for the disk a few times; side by side they share its journal's commits.
        let closed = on_threads(&logs, !self.disk.is_simulated(), |log| log.close_clean());
        self.checkpoint()?;
        closed.into_iter().collect::<Result<(), Error>>()?;
        if self.failed.read().is_empty() {
            let path = self.data_dir.join(CLEAN_SHUTDOWN);
            self.disk.write_atomically(&path, CLEAN_SHUTDOWN_TEXT).map_err(io_error("write", &path))?;
        }
        Ok(())
    }

    /// Closes idle files and caches of all logs.
    pub fn release_idle(&self) {
        for (_, _, log) in self.list() {
            log.release_idle();
        }
    }

    /// How many files are open.
    pub fn open_files(&self) -> usize {
        self.disk.budget().open()
    }

    /// Writes the files whose contents changed.
    fn write_checkpoints(&self, old: &Checkpoints, new: &Checkpoints) -> Result<(), Error> {
        let files = [
            (checkpoint::RECOVERY_POINT, &old.recovery_points, &new.recovery_points),
            (checkpoint::LOG_START, &old.start_offsets, &new.start_offsets),
            (checkpoint::HIGH_WATERMARK, &old.high_watermarks, &new.high_watermarks),
            (checkpoint::CLEAN_END, &old.clean_ends, &new.clean_ends),
        ];
        for (name, _, offsets) in files.into_iter().filter(|(_, old, new)| old != new) {
            checkpoint::write_offsets(&self.disk, &self.data_dir.join(name), offsets)?;
        }
        Ok(())
    }
}

fn keep_known(
    from: &BTreeMap<TopicPartition, Offset>,
    to: &mut BTreeMap<TopicPartition, Offset>,
    partition: &TopicPartition,
) {
    if let Some(offset) = from.get(partition) {
        to.insert(partition.clone(), *offset);
    }
}

/// Threads that open or close logs side by side (`num.recovery.threads.per.data.dir`).
const THREADS_MAX: usize = 8;
/// Below this many logs a thread is not worth starting.
const LOGS_PER_THREAD_MIN: usize = 8;

/// Does something for each item, on a few threads if there are many; the results are in the items' order. In order on
/// this thread, as a simulation needs it, if not `parallel`.
fn on_threads<T: Sync, R: Send>(items: &[T], parallel: bool, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = (items.len() / LOGS_PER_THREAD_MIN).min(THREADS_MAX);
    if !parallel || threads < 2 {
        return items.iter().map(work).collect();
    }
    std::thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = items
            .chunks(items.len().div_ceil(threads))
            .map(|chunk| scope.spawn(move || chunk.iter().map(work).collect::<Vec<_>>()))
            .collect();
        let joined = workers.into_iter().map(|worker| worker.join().expect("work on a log does not panic"));
        joined.flatten().collect()
    })
}

/// Whether a file is there.
fn exists(disk: &dyn Disk, path: &Path) -> Result<bool, Error> {
    match disk.open(path, crate::disk::OpenMode::Existing) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("open", path)(error)),
    }
}

//! Opening a data directory.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use millrace_wire::ids::Offset;
use parking_lot::{Mutex, RwLock};

use super::stray::STRAY_SUFFIX;
use super::{
    CLEAN_SHUTDOWN, Checkpoints, DELETED_SUFFIX, Entry, LOCK, LogManager, ManagerOptions, MetaProperties,
    OpenReport, exists, on_threads,
};
use crate::checkpoint;
use crate::disk::Disk;
use crate::error::{Error, io_error};
use crate::files::Files;
use crate::log::{Log, OpenOptions, RecoveryReport};
use crate::partition_metadata;
use crate::topic_partition::TopicPartition;

type Opened = (TopicPartition, Result<(Entry, RecoveryReport), Error>);

impl LogManager {
    /// Locks the directory, creating it if need be, and opens every log in it.
    pub fn open(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        options: ManagerOptions,
    ) -> Result<(LogManager, OpenReport), Error> {
        let disk = Files::new(disk, options.files.clone());
        disk.create_dir_all(data_dir).map_err(io_error("create", data_dir))?;
        let lock_path = data_dir.join(LOCK);
        let lock = disk.lock(&lock_path).map_err(io_error("lock", &lock_path))?;
        let lock = lock.ok_or_else(|| Error::Locked(data_dir.to_path_buf()))?;
        sync_ancestors(&disk, data_dir)?;
        let meta = MetaProperties::load(&disk, data_dir, &options)?;
        let clean_path = data_dir.join(CLEAN_SHUTDOWN);
        let clean_shutdown = exists(&disk, &clean_path)?;
        // Folders that a killed process made are about to be relied on.
        disk.sync_dir(data_dir).map_err(io_error("sync", data_dir))?;
        let checkpoints = Checkpoints {
            recovery_points: read_or_nothing(&disk, &data_dir.join(checkpoint::RECOVERY_POINT)),
            start_offsets: read_or_nothing(&disk, &data_dir.join(checkpoint::LOG_START)),
            high_watermarks: read_or_nothing(&disk, &data_dir.join(checkpoint::HIGH_WATERMARK)),
            clean_ends: read_or_nothing(&disk, &data_dir.join(checkpoint::CLEAN_END)),
        };

        let partitions = find_partitions(&disk, data_dir)?;
        let open = |partition: &TopicPartition| -> Opened {
            let log_options = OpenOptions {
                config: options.config.clone(),
                now_ms: options.now_ms,
                clean_shutdown,
                recovery_point: checkpoints.recovery_points.get(partition).copied().unwrap_or_default(),
                synced_end: Offset(0),
                start_offset: checkpoints.start_offsets.get(partition).copied().unwrap_or_default(),
                cache: options.cache.clone(),
                files: options.files.clone(),
            };
            (partition.clone(), open_log(&disk, data_dir, partition, log_options))
        };
        let mut report = OpenReport { clean_shutdown, ..OpenReport::default() };
        let mut logs = BTreeMap::new();
        let mut failed = BTreeMap::new();
        for (partition, opened) in on_threads(&partitions, !disk.is_simulated(), open) {
            match opened {
                Ok((entry, recovery)) => {
                    if recovery.did_something() {
                        report.recovered.insert(partition.clone(), recovery);
                    }
                    logs.insert(partition, entry);
                }
                Err(error) => {
                    tracing::error!(topic = %partition.topic, partition = partition.partition, %error,
                        "a log could not be opened; its partition is offline");
                    failed.insert(partition, Arc::new(error));
                }
            }
        }
        report.logs = logs.len();
        let known: Vec<_> = logs.keys().chain(failed.keys()).cloned().collect();
        if clean_shutdown {
            // From now on a crash is not clean; nothing has been appended yet.
            disk.remove_file(&clean_path).map_err(io_error("remove", &clean_path))?;
            disk.sync_dir(data_dir).map_err(io_error("sync", data_dir))?;
        }
        let manager = LogManager {
            disk,
            data_dir: data_dir.to_path_buf(),
            meta,
            cache: options.cache,
            logs: RwLock::new(logs),
            failed: RwLock::new(failed),
            written: Mutex::new(checkpoints),
            renamed: Mutex::new(options.now_ms.unsigned_abs()),
            _lock: lock,
        };
        // Lines of partitions that are gone must not be held against new ones of the same name.
        manager.change_checkpoints(|offsets| offsets.retain(|partition, _| known.contains(partition)))?;
        Ok((manager, report))
    }
}

fn open_log(
    disk: &Files,
    data_dir: &Path,
    partition: &TopicPartition,
    options: OpenOptions,
) -> Result<(Entry, RecoveryReport), Error> {
    let dir = data_dir.join(partition.dir_name());
    let topic_id = partition_metadata::read(disk, &dir)?;
    let (log, report) = Log::open(disk.disk().clone(), &dir, partition.clone(), options)?;
    Ok((Entry { log: Arc::new(log), topic_id }, report))
}

/// The partitions that have a folder; folders of deleted ones are removed on the way.
fn find_partitions(disk: &dyn Disk, data_dir: &Path) -> Result<Vec<TopicPartition>, Error> {
    let mut partitions = Vec::new();
    for entry in disk.list(data_dir).map_err(io_error("list", data_dir))? {
        let path = data_dir.join(&entry.name);
        if !entry.is_dir {
            continue;
        }
        if entry.name.ends_with(DELETED_SUFFIX) {
            remove_tree(disk, &path)?;
            continue;
        }
        if entry.name.ends_with(STRAY_SUFFIX) {
            tracing::warn!(path = %path.display(), "a folder that was set aside is still there: move it away or remove it");
            continue;
        }
        match entry.name.parse() {
            Ok(partition) => partitions.push(partition),
            Err(error) => {
                let error: crate::NotAPartition = error;
                tracing::warn!(path = %path.display(), %error, "a folder in the data directory is left alone");
            }
        }
    }
    Ok(partitions)
}

/// Removes a folder of files; those that are gone already don't matter.
pub(super) fn remove_tree(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let entries = disk.list(dir).map_err(io_error("list", dir))?;
    for entry in entries {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            remove_tree(disk, &path)?;
        } else {
            gone(disk.remove_file(&path)).map_err(io_error("remove", &path))?;
        }
    }
    gone(disk.remove_dir(dir)).map_err(io_error("remove", dir))
}

/// Makes the directory's own path durable. Folders above it that may not be opened, or lie on a file system that is read
/// only or knows no syncing, were not made by this process.
fn sync_ancestors(disk: &dyn Disk, data_dir: &Path) -> Result<(), Error> {
    for ancestor in data_dir.ancestors().skip(1) {
        let here =
            if ancestor.as_os_str().is_empty() && !disk.is_simulated() { Path::new(".") } else { ancestor };
        match disk.sync_dir(here) {
            Err(error) if above_us(error.kind()) => {}
            result => result.map_err(io_error("sync", here))?,
        }
    }
    Ok(())
}

fn above_us(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(kind, Kind::PermissionDenied | Kind::ReadOnlyFilesystem | Kind::InvalidInput | Kind::Unsupported)
}

/// A checkpoint that cannot be read is not believed: recovery reads more, and deleted records may come back, but
/// nothing is lost.
fn read_or_nothing(disk: &dyn Disk, path: &Path) -> BTreeMap<TopicPartition, Offset> {
    checkpoint::read_offsets(disk, path).unwrap_or_else(|error| {
        tracing::warn!(%error, "a checkpoint is left out; more is read at this start");
        BTreeMap::new()
    })
}

//! One partition's log: a row of segments, the newest of which is written to.
//!
//! Three offsets tell what a reader and a client may rely on:
//! ```text
//! log start ........ durable end ........ log end
//! deleted below      on disk below        written below, assigned next
//! ```
//! The caller acknowledges a record only when the durable end has passed it ([`Log::sync`]), and shows consumers
//! only what is below its high watermark.
//!
//! Threads: appends take the writer's lock; readers take none of it. A sync copies what it needs from the writer and
//! then works without its lock, so appends go on while the disk is busy, and whoever comes meanwhile shares the next
//! sync. Truncation alone keeps readers out.
//!
//! Failures: a write that fails is taken back and the log goes on; a sync that fails, or a write that cannot be
//! taken back, puts the log offline until it is opened again (its bytes may be lost while the system calls them
//! saved), because going on could acknowledge what is not there.
//!
//! Rooms: `open` and its `recover`, `reopen` (after a failure, in the same process), `append` (with `validate`, `stage` and `roll`), `read`, `sync`, `retention`, `truncate`,
//! `times`, `transactions`, `compact` (with `replace`), `trash`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use millrace_wire::ids::{LeaderEpoch, Offset};
use parking_lot::{Mutex, RwLock};

use crate::cache::TailCache;
use crate::config::LogConfig;
use crate::epochs::LeaderEpochs;
use crate::error::Error;
use crate::files::Files;
use crate::producer::{ActiveProducer, Producers, StableView};
use crate::segment::Segment;
use crate::topic_partition::TopicPartition;
use trash::Trash;

mod append;
mod compact;
mod open;
mod read;
mod recover;
mod reopen;
mod replace;
mod retention;
mod roll;
mod stage;
mod sync;
#[cfg(test)]
mod tests;
mod times;
mod transactions;
mod trash;
mod truncate;
mod validate;

pub use append::{AppendInfo, AppendRequest};
pub use open::OpenOptions;
pub use read::ReadResult;
pub use recover::RecoveryReport;
pub use times::TimestampOffset;
pub(crate) use transactions::marker_of;

/// A partition's log. Shared as `Arc<Log>`; see the module's head for what runs beside what.
#[derive(Debug)]
pub struct Log {
    disk: Files,
    dir: PathBuf,
    partition: TopicPartition,
    config: RwLock<Arc<LogConfig>>,
    start_offset: AtomicI64,
    durable_end: AtomicI64,
    end_offset: AtomicI64,
    /// Below this offset segments, indexes and snapshots are durable; see [`Log::flush`].
    recovery_point: AtomicI64,
    high_watermark: AtomicI64,
    /// How often the log was opened again; see [`Log::opening`].
    opening: AtomicU64,
    unsynced_bytes: AtomicU64,
    /// By base offset; never empty.
    segments: RwLock<BTreeMap<Offset, Arc<Segment>>>,
    epochs: RwLock<LeaderEpochs>,
    stable: RwLock<StableView>,
    cache: TailCache,
    writer: Mutex<Writer>,
    /// Held by whoever syncs, so that others wait and share.
    syncing: Mutex<()>,
    /// Held by whoever flushes or deletes segments. Taken before `syncing`, which is taken before `writer`.
    flushing: Mutex<()>,
    unflushed: Mutex<Unflushed>,
    /// Readers hold it shared, truncation alone.
    truncation: RwLock<()>,
    state: Mutex<State>,
    /// Whether the state is [`State::Online`], to be asked without a lock.
    online: AtomicBool,
    /// Files that wait to be deleted.
    trash: Mutex<Trash>,
}

/// Whether the log takes appends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Online,
    /// Not any more, for this reason, until it was opened again.
    Failed(String),
    /// Never again: it was closed or deleted.
    Closed(&'static str),
}

/// What a flush has to do besides the sync.
#[derive(Clone, Debug, Default)]
struct Unflushed {
    /// Full segments whose indexes are not durable.
    segments: Vec<Arc<Segment>>,
    /// Producer snapshots that are not durable.
    snapshots: Vec<Offset>,
}

/// What only the writer touches.
#[derive(Debug)]
struct Writer {
    active: Arc<Segment>,
    next_offset: i64,
    producers: Producers,
    /// Written since the last sync began.
    active_dirty: bool,
    /// Rolled since the last sync began.
    rolled_dirty: Vec<Arc<Segment>>,
    /// The folder has names that are not durable.
    dir_dirty: bool,
    /// The last write failed.
    failing: bool,
    /// The files are as a clean shutdown leaves them.
    closed: bool,
    /// The folder's own name, and its `partition.metadata`, are not durable.
    newborn: bool,
}

impl Log {
    /// Whose log it is.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<LogConfig> {
        self.config.read().clone()
    }

    /// Changes the settings; what is written already stays as it is.
    pub fn set_config(&self, config: LogConfig) {
        *self.config.write() = Arc::new(config);
    }

    /// The first offset that counts; what is below was deleted.
    pub fn start_offset(&self) -> Offset {
        Offset(self.start_offset.load(Ordering::Acquire))
    }

    /// The offset that the next record gets.
    pub fn end_offset(&self) -> Offset {
        Offset(self.end_offset.load(Ordering::Acquire))
    }

    /// Records below this offset survive a power cut.
    pub fn durable_end(&self) -> Offset {
        Offset(self.durable_end.load(Ordering::Acquire))
    }

    /// Bytes written since the last sync.
    pub fn unsynced_bytes(&self) -> u64 {
        self.unsynced_bytes.load(Ordering::Relaxed)
    }

    /// The size of all segments in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.segments.read().values().map(|segment| segment.size()).sum()
    }

    /// How many segments there are, the active one included.
    pub fn segment_count(&self) -> usize {
        self.segments.read().len()
    }

    /// The producers known, by id (DescribeProducers).
    pub fn active_producers(&self) -> Vec<ActiveProducer> {
        self.writer.lock().producers.active()
    }

    /// The newest leader epoch that wrote to the log.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.read().latest()
    }

    /// The leader epochs with their first offsets, ascending.
    pub fn leader_epochs(&self) -> Vec<(LeaderEpoch, Offset)> {
        self.epochs.read().entries().to_vec()
    }

    /// The largest epoch not above `epoch`, and the offset where it ends (OffsetForLeaderEpoch, KIP-101); `None`
    /// if no such epoch is known.
    pub fn epoch_end_offset(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.read().end_offset(epoch, self.end_offset())
    }

    /// Why the log refuses everything but reads, if it does.
    pub fn offline_reason(&self) -> Option<String> {
        if self.online.load(Ordering::Acquire) {
            return None;
        }
        match &*self.state.lock() {
            State::Online => None,
            State::Failed(reason) => Some(reason.clone()),
            State::Closed(reason) => Some((*reason).to_owned()),
        }
    }

    /// Tells how far records are committed; ended transactions below it need not be remembered.
    pub fn set_high_watermark(&self, high_watermark: Offset) {
        self.high_watermark.fetch_max(high_watermark.0, Ordering::AcqRel);
    }

    /// The newest high watermark the log was told.
    pub fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::Acquire))
    }

    /// The partition is deleted: waits for whoever works on the files and refuses everything from then on.
    pub(crate) fn retire(&self) {
        let _no_flush = self.flushing.lock();
        let _no_sync = self.syncing.lock();
        let _no_append = self.writer.lock();
        self.shut("the partition was deleted");
    }

    fn shut(&self, reason: &'static str) {
        self.cache.clear();
        let mut state = self.state.lock();
        if !matches!(*state, State::Closed(_)) {
            *state = State::Closed(reason);
        }
        self.online.store(false, Ordering::Release);
    }

    fn check_online(&self) -> Result<(), Error> {
        match self.offline_reason() {
            Some(reason) => Err(Error::Offline { partition: self.partition.clone(), reason }),
            None => Ok(()),
        }
    }

    /// The first failure counts; the error is the one to give to the caller.
    fn go_offline(&self, error: Error) -> Error {
        let mut state = self.state.lock();
        if *state == State::Online {
            tracing::error!(topic = %self.partition.topic, partition = self.partition.partition, %error,
                "log taken offline until it was opened again");
            *state = State::Failed(error.to_string());
        }
        self.online.store(false, Ordering::Release);
        error
    }

    /// After a failure to write: one that syncing has left behind doesn't pass by itself.
    fn or_offline(&self, segment: &Segment, error: Error) -> Error {
        if segment.is_lost() { self.go_offline(error) } else { error }
    }

    /// A log that failed is whole again.
    fn go_online(&self) {
        let mut state = self.state.lock();
        if matches!(*state, State::Failed(_)) {
            *state = State::Online;
            self.online.store(true, Ordering::Release);
        }
    }

    /// The segment that has `offset`, or the first after it.
    fn segment_of(&self, offset: Offset) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let below = segments.range(..=offset).next_back();
        below.or_else(|| segments.iter().next()).map(|(_, segment)| segment.clone())
    }

    fn segment_after(&self, base: Offset) -> Option<Arc<Segment>> {
        self.segments.read().range(base.next()..).next().map(|(_, segment)| segment.clone())
    }
}

//! One partition that this node leads.
//!
//! Invariants:
//! - the high watermark never moves back, and readers see nothing at or above it;
//! - with the default `flush.messages=1` it never passes what is durable, so that nothing read can be lost;
//! - only the holder of the writer's role appends (`append`).
//!
//! One node keeps one replica: the in-sync replicas are this node. Followers, their fetch offsets and the high
//! watermark as the least of them come with the cluster, behind the same methods.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};

use millrace_log::{Log, LogConfig, Piece};
use millrace_wire::ids::{LeaderEpoch, Offset};
use parking_lot::{Mutex, RwLock};

use super::Error;
use super::append::Writer;
use super::flush::Sync;
use crate::config::TopicConfig;
use crate::env::Clock;
use crate::metrics::Metrics;
use crate::purgatory::WaitList;

/// See the module's head.
pub(crate) struct Partition {
    pub(crate) topic: Arc<str>,
    pub(crate) index: i32,
    pub(super) log: Arc<Log>,
    pub(super) writer: Mutex<Writer>,
    pub(super) sync: Mutex<Sync>,
    pub(super) high_watermark: AtomicI64,
    pub(super) closed: AtomicBool,
    /// Who waits for the high watermark.
    pub(crate) waiters: Arc<WaitList>,
    pub(super) clock: Clock,
    pub(super) simulated: bool,
    pub(super) metrics: Arc<Metrics>,
    leader_epoch: AtomicI32,
    config: RwLock<Arc<TopicConfig>>,
}

/// Which part of a log a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Everything below the high watermark.
    ReadUncommitted,
    /// Everything below the last stable offset: no transaction that may still abort.
    ReadCommitted,
}

/// What a read found.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// Whole batches, one after the other.
    pub(crate) parts: Vec<Piece>,
    /// Their length together.
    pub(crate) bytes: usize,
    /// Producer and first offset of transactions that were aborted in what was read, by first offset; only for
    /// [`Isolation::ReadCommitted`].
    pub(crate) aborted: Vec<(i64, i64)>,
}

/// Where a log begins and how far readers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) log_start: Offset,
    pub(crate) last_stable: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) log_end: Offset,
}

impl Partition {
    /// A partition led by this node. Everything in `log` is durable: recovery and the last clean stop made it so.
    pub(super) fn new(
        (topic, index): (Arc<str>, i32),
        log: Arc<Log>,
        leader_epoch: LeaderEpoch,
        config: Arc<TopicConfig>,
        clock: Clock,
        simulated: bool,
        metrics: Arc<Metrics>,
    ) -> Self {
        let high_watermark = AtomicI64::new(log.end_offset().0);
        log.set_high_watermark(log.end_offset());
        Self {
            topic,
            index,
            log,
            writer: Mutex::default(),
            sync: Mutex::default(),
            high_watermark,
            closed: AtomicBool::new(false),
            waiters: Arc::default(),
            clock,
            simulated,
            metrics,
            leader_epoch: AtomicI32::new(leader_epoch.0),
            config: RwLock::new(config),
        }
    }

    /// Every record below is committed.
    pub(crate) fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::SeqCst))
    }

    /// The current leadership.
    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.leader_epoch.load(Ordering::Acquire))
    }

    /// A new leadership, with the same leader.
    pub(super) fn set_leader_epoch(&self, epoch: LeaderEpoch) {
        self.leader_epoch.fetch_max(epoch.0, Ordering::AcqRel);
    }

    /// The largest epoch not above `asked`, and where it ends; -1 and -1 if the log knows none (KIP-101). The current
    /// epoch ends at the log's end, also before anything was written in it.
    pub(crate) fn end_of_epoch(&self, asked: LeaderEpoch) -> (LeaderEpoch, Offset) {
        let (current, end) = (self.leader_epoch(), self.log.end_offset());
        if asked == current {
            return (current, end);
        }
        let unknown = (LeaderEpoch::NONE, Offset(-1));
        if asked > current { unknown } else { self.log.epoch_end_offset(asked).unwrap_or(unknown) }
    }

    /// The epoch in which the record at `offset` was written, or would be.
    pub(crate) fn epoch_at(&self, offset: Offset) -> LeaderEpoch {
        let epochs = self.log.leader_epochs();
        let found = epochs.iter().rev().find(|(_, first)| *first <= offset);
        found.map_or(self.leader_epoch(), |(epoch, _)| *epoch)
    }

    /// The topic's settings.
    pub(crate) fn config(&self) -> Arc<TopicConfig> {
        self.config.read().clone()
    }

    /// The topic's settings have changed.
    pub(super) fn set_config(self: &Arc<Self>, config: Arc<TopicConfig>, log_config: LogConfig) {
        self.log.set_config(log_config);
        *self.config.write() = config;
        // A topic that was relaxed may have become strict: catch up.
        self.appended();
    }

    /// The number of replicas in sync: on one node, this one.
    pub(crate) fn in_sync_replicas(&self) -> i32 {
        1
    }

    /// Refuses if the log has failed or the partition is closed.
    pub(crate) fn check_usable(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        if let Some(reason) = self.log.offline_reason() {
            let partition = self.log.partition().clone();
            return Err(millrace_log::Error::Offline { partition, reason }.into());
        }
        match &self.sync.lock().failed {
            Some(error) => Err(Error::Log(error.clone())),
            None => Ok(()),
        }
    }

    /// Whether the log has failed, and was not opened again yet.
    pub(crate) fn is_offline(&self) -> bool {
        self.log.offline_reason().is_some() || self.sync.lock().failed.is_some()
    }

    /// Whether the topic was deleted, or the broker stops.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Refuses a client that knows another leadership than the current one (KIP-320). -1: it doesn't say.
    pub(crate) fn check_epoch(&self, asked: i32) -> Result<(), Error> {
        let current = self.leader_epoch().0;
        match asked {
            -1 => Ok(()),
            asked if asked < current => Err(Error::FencedLeaderEpoch { asked, current }),
            asked if asked > current => Err(Error::UnknownLeaderEpoch { asked, current }),
            _ => Ok(()),
        }
    }

    /// How far the log reaches.
    pub(crate) fn bounds(&self) -> Bounds {
        let high_watermark = self.high_watermark();
        Bounds {
            log_start: self.log.start_offset(),
            last_stable: self.log.last_stable_offset(high_watermark),
            high_watermark,
            log_end: self.log.end_offset(),
        }
    }

    /// The offset that a reader of this isolation doesn't see any more.
    pub(crate) fn visible_end(&self, isolation: Isolation) -> Offset {
        let high_watermark = self.high_watermark();
        match isolation {
            Isolation::ReadUncommitted => high_watermark,
            Isolation::ReadCommitted => self.log.last_stable_offset(high_watermark),
        }
    }

    /// The log, for what only reads it (offsets by time, sizes, replay).
    pub(crate) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Reads whole batches from `from` on: about `bytes_max` of them, and at least one if `at_least_one` says so.
    ///
    /// # Errors
    /// An offset outside of the log; a log that can't be read.
    pub(crate) fn read(
        &self,
        from: Offset,
        bytes_max: usize,
        isolation: Isolation,
        at_least_one: bool,
    ) -> Result<Read, Error> {
        let upper = self.visible_end(isolation);
        let found = self.log.read_pieces(from, bytes_max, upper, at_least_one)?;
        let mut aborted = Vec::new();
        if isolation == Isolation::ReadCommitted && found.bytes > 0 {
            let transactions = self.log.aborted_transactions(from, found.next_offset)?;
            aborted = transactions.iter().map(|txn| (txn.producer_id.0, txn.first_offset.0)).collect();
            aborted.sort_by_key(|(_, first)| *first);
        }
        Ok(Read { parts: found.parts, bytes: found.bytes, aborted })
    }

    /// Takes no more appends and wakes everyone who waits.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waiters.wake_all();
    }
}

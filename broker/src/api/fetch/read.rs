//! One partition of a Fetch: checked, read, registered for the wait.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use millrace_wire::compression::Compression;
use millrace_wire::ids::{LeaderEpoch, Offset};

use super::TOPIC_IDS;
use super::encode::FetchedPartition;
use crate::api::RequestContext;
use crate::fetch_session::{Asked, Told};
use crate::purgatory::{Registration, Waiter};
use crate::replica::partition::Isolation;
use crate::replica::{Error, Partition};

/// The first version that may carry zstd.
const ZSTD_VERSION_MIN: i16 = 10;

/// Where a partition's records come from, and what was read so far.
pub(super) struct Source {
    pub(super) asked: Asked,
    partition: Option<Arc<Partition>>,
    from: Offset,
    bytes_max: usize,
    /// How far the last read could see; a read that could see no further would give the same.
    seen: Option<(Offset, Offset)>,
    pub(super) fetched: FetchedPartition,
}

impl Source {
    /// Checks what doesn't change while a request waits.
    pub(super) fn find(context: &RequestContext, asked: Asked) -> Self {
        let Asked { topic, partition: wanted } = &asked;
        let replicas = &context.broker.replicas;
        let found = if context.version >= TOPIC_IDS {
            replicas.partition_by_id(topic.id, wanted.partition)
        } else {
            replicas.partition(&topic.name, wanted.partition)
        };
        let mut fetched = FetchedPartition::empty(wanted.partition);
        let partition = match found {
            Ok(partition) => match partition.check_epoch(wanted.current_leader_epoch) {
                Ok(()) if context.version < ZSTD_VERSION_MIN && is_zstd(&partition) => {
                    fetched.error = ResponseError::UnsupportedCompressionType.code();
                    None
                }
                Ok(()) => Some(partition),
                Err(error) => {
                    fetched.error = error.code();
                    if fetched.error != ResponseError::UnknownLeaderEpoch.code() {
                        fetched.leader = Some((context.broker.node_id, partition.leader_epoch()));
                    }
                    None
                }
            },
            Err(error) => {
                fetched.error = error.code();
                None
            }
        };
        Self {
            partition,
            from: Offset(wanted.fetch_offset),
            bytes_max: usize::try_from(wanted.partition_max_bytes).unwrap_or(0),
            asked,
            seen: None,
            fetched,
        }
    }

    /// The most bytes that a read could bring, of `left` that are allowed.
    pub(super) fn bytes_wanted(&self, left: usize) -> usize {
        if self.partition.is_some() { self.bytes_max.min(left).max(self.fetched.bytes) } else { 0 }
    }

    /// Has `waiter` woken when there is more to read than was seen.
    pub(super) fn register(&self, waiter: &Waiter) -> Option<Registration> {
        let partition = self.partition.as_ref()?;
        let (high_watermark, _) = self.seen?;
        Some(partition.waiters.register(waiter, high_watermark.0))
    }

    /// Reads, unless nothing has changed since the last time. `bytes_left` of the request's limit are left; `first`:
    /// nothing has been read yet, so that one batch may be larger than the limits.
    pub(super) async fn read(
        &mut self,
        context: &RequestContext,
        isolation: Isolation,
        bytes_left: usize,
        first: bool,
    ) {
        let Some(partition) = self.partition.clone() else { return };
        if let Err(error) = partition.check_usable() {
            self.fetched.error = error.code();
            return;
        }
        let (high_watermark, end) = (partition.high_watermark(), partition.visible_end(isolation));
        if self.fetched.error != 0 || self.seen == Some((high_watermark, end)) {
            return;
        }
        self.seen = Some((high_watermark, end));
        match self.try_read(context, partition, isolation, bytes_left, first).await {
            Ok(()) => {}
            Err(error) => {
                self.fetched = FetchedPartition::empty(self.fetched.index);
                self.fetched.error = error.code();
            }
        }
    }

    async fn try_read(
        &mut self,
        context: &RequestContext,
        partition: Arc<Partition>,
        isolation: Isolation,
        bytes_left: usize,
        first: bool,
    ) -> Result<(), Error> {
        let bounds = partition.bounds();
        self.fetched.high_watermark = bounds.high_watermark;
        self.fetched.last_stable = bounds.last_stable;
        self.fetched.log_start = bounds.log_start;
        let last_fetched_epoch = self.asked.partition.last_fetched_epoch;
        if last_fetched_epoch >= 0 {
            let (epoch, end) = partition.end_of_epoch(LeaderEpoch(last_fetched_epoch));
            if epoch == LeaderEpoch::NONE {
                // The reader has been where this log never was.
                return Err(Error::OffsetOutOfRange {
                    asked: self.from,
                    start: bounds.log_start,
                    end: bounds.log_end,
                });
            }
            if epoch.0 < last_fetched_epoch || end < self.from {
                self.fetched.diverging = Some((epoch, end));
                return Ok(());
            }
        }
        let (from, isolated) = (self.from, partition.visible_end(isolation));
        if from < bounds.log_start || from > bounds.log_end {
            return Err(Error::OffsetOutOfRange {
                asked: from,
                start: bounds.log_start,
                end: bounds.log_end,
            });
        }
        let bytes_max = self.bytes_max.min(bytes_left);
        if from >= isolated || (bytes_max == 0 && !first) {
            return Ok(());
        }
        let read = if partition.log().is_cached(from) {
            partition.read(from, bytes_max, isolation, first)?
        } else {
            // May wait for the disk: not on a thread that others need, and only so many at a time, so that those who read
            // old records leave the disk to those who write.
            let _slot = context.broker.cold_reads.slot().await;
            let simulated = context.broker.replicas.simulated();
            crate::blocking::run(simulated, move || partition.read(from, bytes_max, isolation, first)).await?
        };
        self.fetched.parts = read.parts;
        self.fetched.bytes = read.bytes;
        self.fetched.aborted = read.aborted;
        Ok(())
    }

    /// What decides whether a session's answer has to have it.
    pub(super) fn told(&self) -> Told {
        Told {
            high_watermark: self.fetched.high_watermark,
            log_start: self.fetched.log_start,
            has_error: self.fetched.error != 0,
            has_more: self.fetched.bytes > 0 || self.fetched.diverging.is_some(),
        }
    }
}

/// Whether a topic asks for zstd, which older versions of Fetch don't know (KIP-110).
fn is_zstd(partition: &Partition) -> bool {
    partition.config().compression.is_some_and(|codec| codec.compression == Compression::Zstd)
}

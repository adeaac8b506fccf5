//! Runs commands: decide, append to the metadata log, sync, apply, publish, and let the replicas follow.
//!
//! One command batch at a time. A batch's records are one record batch of the log, so a kill leaves all of them or
//! none. A write that fails is taken back by the log, and its commands are refused. If no one knows what the log holds
//! (a sync failed, or a write could not be taken back), nothing more is decided until a restart has read it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use millrace_log::{AppendOrigin, AppendRequest, Log};
use millrace_wire::batch::{RawBatch, split};
use millrace_wire::ids::{LeaderEpoch, Offset};
use millrace_wire::record::{self, BatchBuilder, BatchOptions};
use parking_lot::RwLock;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::Image;
use super::record::MetadataRecord;
use super::step::{Command, Refusal, Reply, refuse, step};
use crate::env::Clock;
use crate::quota::Mutations;
use crate::replica::Replicas;

/// Bytes of metadata log read at a time while it is replayed.
const REPLAY_BYTES: usize = 1 << 20;
/// Most records that the commands of one request may come to, twice what the largest topic needs (Kafka has 10,000 as
/// `MAX_RECORDS_PER_USER_OP`). What goes beyond is refused, so that no request fills the disk with folders or makes a
/// batch that can't be read back.
const REQUEST_RECORDS_MAX: usize = 20_000;
/// What a batch of the metadata log may unpack to.
const UNCOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// The metadata log can't be opened.
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
}

impl Error {
    /// Whether a commit that failed so has left nothing in the log, as long as that is online.
    fn leaves_log_as_it_was(&self) -> bool {
        matches!(self, Self::Append(_) | Self::Batch(_) | Self::Records(_))
    }
}

/// See the module's head.
pub(crate) struct Controller {
    log: Arc<Log>,
    epoch: LeaderEpoch,
    clock: Clock,
    simulated: bool,
    published: RwLock<Arc<Image>>,
    /// Held while a batch of commands runs.
    running: tokio::sync::Mutex<()>,
    /// The log can no longer be written: nothing more is decided.
    failed: AtomicBool,
    replicas: Arc<Replicas>,
    /// Topics that had been deleted when the log was read.
    deleted: BTreeSet<Uuid>,
}

/// What a log's records add up to.
struct Replayed {
    image: Image,
    last_epoch: LeaderEpoch,
    deleted: BTreeSet<Uuid>,
}

impl Controller {
    /// Reads the metadata log and takes up the next epoch as its leader.
    ///
    /// # Errors
    /// The log can't be read or appended to, or holds what this broker doesn't understand.
    pub(crate) fn open(
        log: Arc<Log>,
        node_id: i32,
        replicas: Arc<Replicas>,
        clock: Clock,
        simulated: bool,
    ) -> Result<Self, Error> {
        let Replayed { mut image, last_epoch, deleted } = replay(&log)?;
        let epoch = LeaderEpoch(last_epoch.0.saturating_add(1));
        append(&log, super::record::leader_change(node_id, clock.now_ms())?, epoch, &clock)?;
        log.sync()?;
        image.offset = log.end_offset().0 - 1;
        info!(epoch = epoch.0, topics = image.topics.len(), "controller ready");
        let published = RwLock::new(Arc::new(image));
        let (running, failed) = (tokio::sync::Mutex::new(()), AtomicBool::new(false));
        Ok(Self { log, epoch, clock, simulated, published, running, failed, replicas, deleted })
    }

    /// Whether the log said at the start that a topic with this id had been deleted.
    pub(crate) fn was_deleted(&self, topic: Uuid) -> bool {
        self.deleted.contains(&topic)
    }

    /// All metadata, as of now.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.published.read().clone()
    }

    /// Whether the metadata log can no longer be written.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// The offset that the next record gets: unique over all restarts, which makes it a broker's epoch (KIP-500).
    pub(crate) fn next_offset(&self) -> i64 {
        self.log.end_offset().0
    }

    /// The epoch in which this node leads the metadata log.
    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Runs one command.
    ///
    /// # Errors
    /// The refusal to send back.
    pub(crate) async fn run_one(self: &Arc<Self>, command: Command) -> Result<Reply, Refusal> {
        let mut replies = self.run(vec![command], false).await;
        replies.pop().unwrap_or_else(|| refuse(ResponseError::UnknownServerError, "the command was not run"))
    }

    /// Runs commands, with no limit to what they change.
    pub(crate) async fn run(
        self: &Arc<Self>,
        commands: Vec<Command>,
        validate_only: bool,
    ) -> Vec<Result<Reply, Refusal>> {
        self.run_within(Mutations::unlimited(), commands, validate_only).await
    }

    /// Runs commands, each on what those before it left; what is refused changes nothing. With `validate_only`, says
    /// what would happen and changes nothing at all. What the client's quota does not pay for is refused. Goes on to its end if the caller stops waiting: a batch that is
    /// half done must not be overtaken by the next.
    pub(crate) async fn run_within(
        self: &Arc<Self>,
        mutations: Mutations,
        commands: Vec<Command>,
        validate_only: bool,
    ) -> Vec<Result<Reply, Refusal>> {
        if commands.is_empty() {
            return Vec::new();
        }
        let count = commands.len();
        let task = tokio::spawn(self.clone().run_to_end(mutations, commands, validate_only));
        task.await.unwrap_or_else(|_| (0..count).map(|_| storage_failed()).collect())
    }

    async fn run_to_end(
        self: Arc<Self>,
        mutations: Mutations,
        commands: Vec<Command>,
        validate_only: bool,
    ) -> Vec<Result<Reply, Refusal>> {
        let _running = self.running.lock().await;
        if self.has_failed() {
            return commands.iter().map(|_| storage_failed()).collect();
        }
        let mut image = (*self.image()).clone();
        let mut records = Vec::new();
        let mut replies = Vec::with_capacity(commands.len());
        for command in &commands {
            replies.push(decide(&image, command, records.len(), &mutations).map(|(new, reply)| {
                new.iter().for_each(|record| image.apply(record));
                records.extend(new);
                reply
            }));
        }
        if validate_only || records.is_empty() {
            return replies;
        }
        let this = self.clone();
        let done = crate::blocking::run(self.simulated, move || this.commit(&records, image)).await;
        match done {
            Ok(()) => replies,
            Err(error) => {
                if error.leaves_log_as_it_was() && self.log.offline_reason().is_none() {
                    warn!(%error, "metadata was not changed; free or repair the disk");
                } else {
                    self.failed.store(true, Ordering::Release);
                    error!(%error, "metadata can no longer be changed; free or repair the disk and restart the broker");
                }
                replies.into_iter().map(|reply| reply.and_then(|_| storage_failed())).collect()
            }
        }
    }

    /// Lets the replicas follow once more, for logs that could not be created the first time.
    pub(crate) async fn follow_again(self: &Arc<Self>) {
        let _no_change = self.running.lock().await;
        let this = self.clone();
        crate::blocking::run(self.simulated, move || this.replicas.follow(&this.image())).await;
    }

    /// Makes the records durable, publishes the image, and lets the replicas follow it.
    fn commit(&self, records: &[MetadataRecord], mut image: Image) -> Result<(), Error> {
        let now_ms = self.clock.now_ms();
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for record in records {
            let value = record.encode();
            builder.push(now_ms, None, Some(&value), std::iter::empty())?;
        }
        append(&self.log, builder.build(Offset(0))?, self.epoch, &self.clock)?;
        self.log.sync()?;
        image.offset = self.log.end_offset().0 - 1;
        let image = Arc::new(image);
        *self.published.write() = image.clone();
        self.replicas.follow(&image);
        Ok(())
    }
}

/// Decides a command of a request that has come to `before` records so far. The broker's own start is as large as its
/// topics are. What is not refused is paid for.
fn decide(
    image: &Image,
    command: &Command,
    before: usize,
    mutations: &Mutations,
) -> Result<(Vec<MetadataRecord>, Reply), Refusal> {
    let refused = || {
        let message = format!(
            "the request comes to more than {REQUEST_RECORDS_MAX} records of metadata; ask for less at a time"
        );
        refuse(ResponseError::PolicyViolation, message)
    };
    if matches!(command, Command::StartBroker { .. }) {
        return step(image, command);
    }
    if before >= REQUEST_RECORDS_MAX {
        return refused();
    }
    let (records, reply) = step(image, command)?;
    if before + records.len() > REQUEST_RECORDS_MAX {
        return refused();
    }
    match mutated_partitions(image, &records) {
        0 => {}
        partitions => mutations.pay(partitions)?,
    }
    Ok((records, reply))
}

/// How many partitions these records create or delete.
fn mutated_partitions(image: &Image, records: &[MetadataRecord]) -> usize {
    let of = |record: &MetadataRecord| match record {
        MetadataRecord::Partition { .. } => 1,
        MetadataRecord::RemoveTopic { id } => {
            image.topic_by_id(*id).map_or(0, |topic| topic.partitions.len())
        }
        _ => 0,
    };
    records.iter().map(of).sum()
}

fn storage_failed() -> Result<Reply, Refusal> {
    refuse(ResponseError::KafkaStorageError, "the metadata log cannot be written; see the broker's log")
}

fn append(log: &Log, batch: Bytes, epoch: LeaderEpoch, clock: &Clock) -> Result<(), Error> {
    let batch = RawBatch::parse(&batch)?;
    let request = AppendRequest { batches: &[batch], leader_epoch: epoch, origin: AppendOrigin::Coordinator };
    log.append(request, clock.now_ms())?;
    Ok(())
}

/// Reads the whole log.
fn replay(log: &Log) -> Result<Replayed, Error> {
    let mut replayed =
        Replayed { image: Image::default(), last_epoch: LeaderEpoch(0), deleted: BTreeSet::new() };
    let mut from = log.start_offset();
    let end = log.end_offset();
    while from < end {
        let read = log.read(from, REPLAY_BYTES, end, true)?;
        for part in read.parts {
            for batch in split(part) {
                let batch = batch?;
                batch.verify_crc()?;
                replayed.last_epoch = replayed.last_epoch.max(batch.header.partition_leader_epoch);
                from = batch.next_offset();
                if !batch.header.attributes.is_control() {
                    apply(&mut replayed, &batch)?;
                }
            }
        }
    }
    Ok(replayed)
}

fn apply(replayed: &mut Replayed, batch: &RawBatch) -> Result<(), Error> {
    for record in record::decode(batch, UNCOMPRESSED_BYTES_MAX)? {
        let record = record?;
        let value = record.value.unwrap_or_default();
        let decoded =
            MetadataRecord::decode(value).map_err(|error| Error::Record { offset: record.offset, error })?;
        if let MetadataRecord::RemoveTopic { id } = &decoded {
            replayed.deleted.insert(*id);
        }
        replayed.image.apply(&decoded);
    }
    Ok(())
}

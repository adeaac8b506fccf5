//! Runs commands: decide, append to the metadata log, sync, apply, publish, and let the replicas follow.
//!
//! One command batch at a time. A batch's records are one record batch of the log, so a kill leaves all of them or
//! none. A write that fails is taken back by the log, and its commands are refused. If no one knows what the log holds
//! (a sync failed, or a write could not be taken back), nothing more is decided until it was opened and read again
//! ([`Controller::recover`]): a command that was refused then may turn out to have been carried out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kafka_protocol::ResponseError;
use millrace_wire::ids::LeaderEpoch;
use parking_lot::RwLock;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::Image;
use super::metadata_log::{Error, MetadataLog, Replayed};
use super::record::MetadataRecord;
use super::step::{Command, Refusal, Reply, refuse, step};
use crate::quota::Mutations;
use crate::replica::Replicas;

/// Most records that the commands of one request may come to, twice what the largest topic needs (Kafka has 10,000 as
/// `MAX_RECORDS_PER_USER_OP`). What goes beyond is refused, so that no request fills the disk with folders or makes a
/// batch that can't be read back.
const REQUEST_RECORDS_MAX: usize = 20_000;

/// See the module's head.
pub(crate) struct Controller {
    log: MetadataLog,
    simulated: bool,
    published: RwLock<Arc<Image>>,
    /// Held while a batch of commands runs.
    running: tokio::sync::Mutex<()>,
    /// No one knows what the log holds: nothing more is decided until it was read again.
    failed: AtomicBool,
    replicas: Arc<Replicas>,
    /// Topics that had been deleted when the log was read.
    deleted: BTreeSet<Uuid>,
}

impl Controller {
    /// Takes over the metadata as it was read.
    pub(crate) fn new(
        (log, replayed): (MetadataLog, Replayed),
        replicas: Arc<Replicas>,
        simulated: bool,
    ) -> Self {
        let Replayed { image, deleted, .. } = replayed;
        info!(epoch = log.epoch().0, topics = image.topics.len(), "controller ready");
        let published = RwLock::new(Arc::new(image));
        let (running, failed) = (tokio::sync::Mutex::new(()), AtomicBool::new(false));
        Self { log, simulated, published, running, failed, replicas, deleted }
    }

    /// Whether the log said at the start that a topic with this id had been deleted.
    pub(crate) fn was_deleted(&self, topic: Uuid) -> bool {
        self.deleted.contains(&topic)
    }

    /// All metadata, as of now.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.published.read().clone()
    }

    /// Whether the metadata log cannot be written until it was opened again.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire) || !self.log.is_online()
    }

    /// The offset that the next record gets: unique over all restarts, which makes it a broker's epoch (KIP-500).
    pub(crate) fn next_offset(&self) -> i64 {
        self.log.end_offset().0
    }

    /// The epoch in which this node leads the metadata log.
    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.log.epoch()
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
                if error.leaves_log_as_it_was() && self.log.is_online() {
                    warn!(%error, "metadata was not changed; free or repair the disk");
                } else {
                    self.failed.store(true, Ordering::Release);
                    error!(%error, "metadata cannot be changed until its log was opened again; free or repair the disk");
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

    /// Writes a snapshot if one is due. Commands wait only until it has begun.
    pub(crate) async fn snapshot_if_due(self: &Arc<Self>) {
        if !self.log.snapshot_is_due() || self.has_failed() || self.replicas.has_leftovers() {
            return;
        }
        // Once the lock is there, the replicas have followed the image: the files of deleted topics are gone, and the records
        // that say so are needed no longer.
        let no_change = self.running.lock().await;
        let (this, image) = (self.clone(), self.image());
        let covered = self.log.bytes_since_snapshot();
        drop(no_change);
        crate::blocking::run(self.simulated, move || {
            if let Err(error) = this.log.write_snapshot(&image, covered) {
                warn!(%error, "the metadata snapshot cannot be written; it is tried again");
            }
        })
        .await;
    }

    /// Opens the metadata log again after it has failed, and takes over what it holds.
    ///
    /// # Errors
    /// The disk still refuses, or what had been synced is damaged.
    pub(crate) async fn recover(self: &Arc<Self>) -> Result<(), Error> {
        let _no_command = self.running.lock().await;
        let this = self.clone();
        crate::blocking::run(self.simulated, move || {
            // Until the end of it the log may be online, and its image is not known.
            this.failed.store(true, Ordering::Release);
            let Replayed { image, .. } = this.log.reopen()?;
            this.publish(image);
            this.failed.store(false, Ordering::Release);
            Ok(())
        })
        .await
    }

    /// Makes the records durable, publishes the image, and lets the replicas follow it.
    fn commit(&self, records: &[MetadataRecord], mut image: Image) -> Result<(), Error> {
        self.log.commit(records, &mut image)?;
        self.publish(image);
        Ok(())
    }

    fn publish(&self, image: Image) {
        let image = Arc::new(image);
        *self.published.write() = image.clone();
        self.replicas.follow(&image);
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

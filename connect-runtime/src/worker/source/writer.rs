//! Transactions of a source task: records and the position that speaks of them, both or neither.
//!
//! Chunks of records arrive from the reader while earlier ones are under way. A transaction takes chunks until it is large or
//! old enough, or until the reader has nothing more for now; then the positions are written to `connect-offsets` and the
//! transaction is committed. While the broker commits, the reader goes on: it may be [`CHUNKS_MAX`] chunks ahead.
//!
//! Invariant: a position is sent in the same transaction as all records before it, and reaches the guest's `commit` only after
//! the transaction's end is durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use millrace_client::{
    Client, Delivery, GroupMetadata, OffsetAndMetadata, ProduceRecord, Producer, TopicPartition,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::router::Routed;
use crate::component::Checkpoint;
use crate::metrics::TaskMetrics;
use crate::offsets::{self, Positions, encode};
use crate::redrive::inbox;
use crate::trace::context::Context;
use crate::trace::{Kind, LINKS_MAX, TaskTracer};
use crate::worker::progress::{Counters, Counts};

/// Chunks that may wait for the writer.
pub(crate) const CHUNKS_MAX: usize = 2;
/// Bytes of records after which a transaction is committed.
const TRANSACTION_BYTES: usize = 32 << 20;
/// Age at which it is.
const TRANSACTION_AGE: Duration = Duration::from_millis(200);

/// How long, and how often, the coordinator is asked to commit before the task starts again.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(120);
const COMMIT_PAUSE: Duration = Duration::from_millis(500);

/// Records, and the positions that are true once they are durable.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub batches: Vec<Routed>,
    pub dead_letters: Vec<ProduceRecord>,
    pub checkpoints: Vec<Checkpoint>,
    /// Places in the topic with retried records: those before them are in the chunk.
    pub retried: BTreeMap<TopicPartition, i64>,
    pub counts: Counts,
    /// The traces that its records belong to, as far as a span links to them.
    pub contexts: Vec<Context>,
    /// The reader has nothing more for now: commit at once.
    pub commit: bool,
}

impl Chunk {
    /// Whether a transaction would have nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
            && self.dead_letters.is_empty()
            && self.checkpoints.is_empty()
            && self.retried.is_empty()
    }
}

/// Positions that became durable, on their way to the guest.
pub(crate) type Durable = Arc<Mutex<Positions>>;

/// Writes what the reader hands over.
pub(crate) struct Writer {
    pub producer: Producer,
    pub client: Client,
    pub connector: String,
    /// Holds the places in the topic with retried records.
    pub group: String,
    /// Where its positions are held.
    pub offsets: TopicPartition,
    pub durable: Durable,
    pub counters: Counters,
    pub metrics: Arc<TaskMetrics>,
    pub tracer: Option<TaskTracer>,
}

/// A transaction that is under way.
struct Open {
    since: Instant,
    size_bytes: usize,
    deliveries: Vec<Delivery>,
    positions: Positions,
    retried: BTreeMap<TopicPartition, i64>,
    counts: Counts,
    /// When it began, and the traces of what is in it.
    begun: SystemTime,
    contexts: Vec<Context>,
}

impl Writer {
    /// Runs until the reader is gone and everything that it handed over is committed. Raises `progressed` when anything was.
    pub(crate) async fn run(
        self,
        mut chunks: mpsc::Receiver<Chunk>,
        progressed: Arc<std::sync::atomic::AtomicBool>,
    ) -> Result<(), millrace_client::Error> {
        let mut open: Option<Open> = None;
        loop {
            let deadline = open.as_ref().map(|open| open.since + TRANSACTION_AGE);
            let chunk = tokio::select! {
                biased;
                chunk = chunks.recv() => chunk,
                () = until(deadline) => Some(Chunk { commit: true, ..Chunk::default() }),
            };
            let ended = chunk.is_none();
            let commit = ended || chunk.as_ref().is_some_and(|chunk| chunk.commit);
            let result = async {
                if let Some(chunk) = chunk.filter(|chunk| !chunk.is_empty()) {
                    self.write(&mut open, chunk).await?;
                }
                let due = |open: &Open| {
                    commit || open.size_bytes >= TRANSACTION_BYTES || open.since.elapsed() >= TRANSACTION_AGE
                };
                if let Some(due) = open.take_if(|open| due(open)) {
                    self.commit(due).await?;
                    progressed.store(true, std::sync::atomic::Ordering::Relaxed);
                }
                Ok(())
            };
            if let Err(error) = result.await {
                self.metrics.commit_failed();
                self.metrics.dead_letters_failed(open.map_or(0, |open| open.counts.dead_lettered));
                self.give_up(&error).await;
                return Err(error);
            }
            if ended {
                return Ok(());
            }
        }
    }

    async fn write(&self, open: &mut Option<Open>, chunk: Chunk) -> Result<(), millrace_client::Error> {
        if open.is_none() {
            self.producer.begin_transaction()?;
        }
        let open = open.get_or_insert_with(|| Open {
            since: Instant::now(),
            size_bytes: 0,
            deliveries: Vec::new(),
            positions: Positions::default(),
            retried: BTreeMap::new(),
            counts: Counts::default(),
            begun: SystemTime::now(),
            contexts: Vec::new(),
        });
        open.counts.add(chunk.counts);
        for Routed { topic, partition, batch } in chunk.batches {
            open.size_bytes += batch.size_bytes();
            open.deliveries.push(self.producer.send_batch(&topic, partition, batch).await?);
        }
        for letter in chunk.dead_letters {
            open.deliveries.push(self.producer.send(letter).await?);
        }
        open.positions.merge(chunk.checkpoints);
        open.retried.extend(chunk.retried);
        let room = (LINKS_MAX + 1).saturating_sub(open.contexts.len());
        open.contexts.extend(chunk.contexts.into_iter().take(room));
        Ok(())
    }

    async fn commit(&self, mut open: Open) -> Result<(), millrace_client::Error> {
        let (contexts, at, records) = (std::mem::take(&mut open.contexts), open.begun, open.counts.records);
        let letters = open.counts.dead_lettered;
        let committed = self.try_commit(open).await;
        if committed.is_err() {
            self.metrics.dead_letters_failed(letters);
        }
        if let Some(tracer) = &self.tracer
            && records > 0
        {
            let span = tracer.begin("produce", Kind::Producer, &contexts, at);
            tracer.end(
                span,
                records as usize,
                committed.as_ref().err().map(|error| error as &dyn std::fmt::Display),
            );
        }
        committed
    }

    async fn try_commit(&self, mut open: Open) -> Result<(), millrace_client::Error> {
        let begun = Instant::now();
        for checkpoint in open.positions.checkpoints() {
            let (key, value) = encode(&self.connector, &checkpoint);
            let record = offsets::record(&self.offsets, key, value);
            open.deliveries.push(self.producer.send(record).await?);
        }
        if !open.retried.is_empty() {
            let places = open.retried.iter().map(|(tp, next)| (tp.clone(), OffsetAndMetadata::from(*next)));
            let group = GroupMetadata::outside(&self.group);
            self.producer.send_offsets_to_transaction(places.collect(), &group).await?;
        }
        self.producer.flush().await?;
        for delivery in open.deliveries {
            delivery.wait().await?;
        }
        let asked = Instant::now();
        while let Err(error) = self.producer.commit_transaction().await {
            // The answer is lost: asking again is harmless, and leaves no doubt.
            let again = (error.is_retriable() || error.is_in_doubt()) && !error.needs_abort();
            if !again || asked.elapsed() > COMMIT_TIMEOUT {
                return Err(error);
            }
            tracing::warn!(%error, "asking again whether the transaction is committed");
            tokio::time::sleep(COMMIT_PAUSE).await;
        }
        self.durable.lock().merge(open.positions.checkpoints());
        self.metrics.transaction(&open.counts, begun.elapsed());
        self.counters.add(open.counts);
        if !open.retried.is_empty() {
            inbox::sweep(&self.client, &open.retried).await;
        }
        Ok(())
    }

    /// Ends the transaction if that is still possible; else the next start of the task, or the broker's timeout, does.
    async fn give_up(&self, error: &millrace_client::Error) {
        if !error.is_fenced()
            && let Err(error) = self.producer.abort_transaction().await
        {
            tracing::debug!(%error, "the transaction could not be aborted");
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

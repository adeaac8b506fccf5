//! The single writer of a partition.
//!
//! There is no writer task: whoever comes first becomes the writer, appends its own batches, then those that others
//! queued meanwhile (gathered into one vectored write), until the queue is empty. So an append that nobody competes
//! with happens on the caller's own task, without a wake-up, and a queue can only build up while a write is under way.
//! Appends of one caller keep their order, because it queues them in order and the queue is served in order.
//!
//! The queue holds at most what the connections have in flight, which their limits and the shared byte budget bound.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use millrace_log::{AppendInfo, AppendOrigin, AppendRequest};
use millrace_wire::batch::RawBatch;
use millrace_wire::ids::Offset;
use tokio::sync::oneshot;

use super::verification::Verifications;
use super::{Error, Partition};
use crate::purgatory::{Registration, Waiter};

/// Most queued appends gathered into one write.
const GATHER_MAX: usize = 64;

/// Where batches ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Offset of the first record (of the original, for a duplicate).
    pub(crate) first_offset: Offset,
    /// Offset after the last record.
    pub(crate) next_offset: Offset,
    /// The broker's time, where the topic is stamped with it.
    pub(crate) log_append_time_ms: Option<i64>,
    /// The opening of the log that the offsets are of.
    opening: u64,
}

/// An append under way.
pub(crate) enum Ticket {
    /// In the log, or refused.
    Done(Result<Appended, Error>),
    /// Queued behind another caller's write.
    Queued(oneshot::Receiver<Result<Appended, Error>>),
}

impl Ticket {
    /// Where the batches ended up. They are in the log, not necessarily on disk.
    pub(crate) async fn appended(self) -> Result<Appended, Error> {
        match self {
            Self::Done(result) => result,
            // The writer answers everything it takes; a lost answer means that its task was aborted.
            Self::Queued(answer) => answer.await.unwrap_or(Err(Error::Closed)),
        }
    }
}

/// A batch to be appended, and who sends it.
pub(crate) struct Write {
    pub(crate) batch: RawBatch,
    pub(crate) origin: AppendOrigin,
}

/// The writer's queue.
#[derive(Default)]
pub(super) struct Writer {
    /// Somebody is writing.
    busy: bool,
    queue: VecDeque<Job>,
    /// Whose transactional batches are let in.
    pub(super) verifications: Verifications,
}

struct Job {
    write: Write,
    answer: oneshot::Sender<Result<Appended, Error>>,
}

impl Partition {
    /// Appends to the log, in the order of the calls. The call itself puts the batches in the log or in the queue: an
    /// append by the same caller after it comes after it.
    pub(crate) fn append(self: &Arc<Self>, write: Write) -> Ticket {
        {
            let mut writer = self.writer.lock();
            let header = &write.batch.header;
            if !writer.verifications.allow(header) {
                let producer = header.producer_id;
                return Ticket::Done(Err(Error::NotInTransaction { producer }));
            }
            writer.verifications.note(header);
            if writer.busy {
                let (answer, ticket) = oneshot::channel();
                writer.queue.push_back(Job { write, answer });
                return Ticket::Queued(ticket);
            }
            writer.busy = true;
        }
        let mut own = self.write(vec![write]);
        self.serve_queue();
        Ticket::Done(own.pop().unwrap_or(Err(Error::Closed)))
    }

    /// Appends what others queued, until there is nothing more.
    fn serve_queue(self: &Arc<Self>) {
        loop {
            let jobs: Vec<Job> = {
                let mut writer = self.writer.lock();
                if writer.queue.is_empty() {
                    writer.busy = false;
                    return;
                }
                let count = writer.queue.len().min(GATHER_MAX);
                writer.queue.drain(..count).collect()
            };
            let (writes, answers): (Vec<_>, Vec<_>) =
                jobs.into_iter().map(|job| (job.write, job.answer)).unzip();
            for (result, answer) in self.write(writes).into_iter().zip(answers) {
                // A caller that has gone (its client hung up) doesn't want to know.
                let _ = answer.send(result);
            }
        }
    }

    /// One gathered write. Only the writer calls this.
    fn write(self: &Arc<Self>, writes: Vec<Write>) -> Vec<Result<Appended, Error>> {
        if self.closed.load(Ordering::Acquire) {
            return writes.iter().map(|_| Err(Error::Closed)).collect();
        }
        let leader_epoch = self.leader_epoch();
        let requests: Vec<AppendRequest<'_>> = writes
            .iter()
            .map(|write| AppendRequest {
                batches: std::slice::from_ref(&write.batch),
                leader_epoch,
                origin: write.origin,
            })
            .collect();
        let results = self.log.append_many(&requests, self.clock.now_ms());
        if results.iter().any(Result::is_ok) {
            self.appended();
        }
        results.into_iter().map(|result| result.map(Appended::from).map_err(Error::from)).collect()
    }

    /// Waits until what was appended is committed: durable, unless the topic's syncing is relaxed.
    ///
    /// # Errors
    /// The log failed, or the partition was closed, before that.
    pub(crate) async fn committed(self: &Arc<Self>, appended: &Appended) -> Result<(), Error> {
        if self.is_committed(appended)? {
            // Without a place among those who wait: most writes that share a sync come here after it.
            return Ok(());
        }
        let waiter = Waiter::default();
        let _registration: Registration = self.waiters.register(&waiter, appended.next_offset.0 - 1);
        loop {
            if self.is_committed(appended)? {
                return Ok(());
            }
            self.check_usable()?;
            waiter.woken().await;
        }
    }

    /// Whether what was appended is committed.
    ///
    /// # Errors
    /// The log was opened again since then: it may have lost what was appended, and given others its offsets.
    fn is_committed(&self, appended: &Appended) -> Result<bool, Error> {
        let is_passed = self.high_watermark() >= appended.next_offset;
        // Asked last: the watermark passes records of a later opening only once that has begun.
        if self.log.opening() != appended.opening {
            return Err(Error::Reopened { topic: self.topic.to_string(), partition: self.index });
        }
        Ok(is_passed)
    }
}

impl From<AppendInfo> for Appended {
    fn from(info: AppendInfo) -> Self {
        Self {
            first_offset: info.first_offset,
            next_offset: info.last_offset.next(),
            log_append_time_ms: (info.log_append_time >= 0).then_some(info.log_append_time),
            opening: info.opening,
        }
    }
}

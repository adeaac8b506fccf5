//! Queues of batches by partition, and the rules of sequence numbers. No I/O and no waiting: the sender asks what may go
//! out now and says what came back.
//!
//! Rules (KIP-98, KIP-360):
//! - A batch gets its sequence number when it is first taken, and keeps it when it is sent again.
//! - The first batch of an identity travels alone, until the broker knows the partition's sequence.
//! - While a batch waits to be sent again, nothing behind it goes out; it goes first, once all answers are in.
//! - No batch goes out that is five or more behind one whose fate is unknown: brokers tell duplicates among the last five.
//! - When the broker refused a batch for good, the ones behind it (which it refused too, for the gap) take its place in the
//!   sequence.
//! - When a batch is given up that may be in the log, no sequence fits any more: the producer starts over with a new id,
//!   once all answers are in.

mod batch;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_wire::batch::HEADER_LEN;
use millrace_wire::compression::Compression;
use millrace_wire::ids::{ProducerEpoch, ProducerId};
use millrace_wire::record::{self, BatchBuilder, BatchOptions, ProducerStamp};
use tokio::time::Instant;

pub(super) use self::batch::Batch;
use self::queue::Queue;
use super::config::ProducerConfig;
use super::delivery::{Ack, Delivery};
use super::transaction::in_transaction;
use crate::error::{Error, Result};
use crate::topic::TopicPartition;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Accumulator {
    limits: Limits,
    queues: BTreeMap<TopicPartition, Queue>,
    /// Partitions with something queued.
    active: BTreeSet<TopicPartition>,
    /// Where the last request was full; the next one begins behind it.
    cursor: Option<TopicPartition>,
    identity: Option<(ProducerId, ProducerEpoch)>,
    /// No sequence fits any more; see the module's head.
    start_over: bool,
    in_flight: usize,
    /// Everything that was not answered, for `flush`.
    unfinished: BTreeMap<u64, Delivery>,
    next_id: u64,
    /// Batches with smaller ids do not linger.
    flush_below: u64,
    closed: bool,
    /// Failures of batches since the sender last looked.
    failures: Vec<Error>,
    freed: usize,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    linger: Duration,
    batch_size: usize,
    max_request_size: usize,
    max_in_flight: usize,
    delivery_timeout: Duration,
    compression: Compression,
    transactional: bool,
}

/// What may go out now.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Partitions whose next batch is due.
    pub(super) partitions: Vec<TopicPartition>,
    /// When to look again at the latest.
    pub(super) wake_at: Option<Instant>,
}

impl Accumulator {
    pub(super) fn new(config: &ProducerConfig) -> Self {
        let limits = Limits {
            linger: config.linger,
            batch_size: config.batch_size,
            max_request_size: config.max_request_size,
            max_in_flight: config.max_in_flight,
            delivery_timeout: config.delivery_timeout,
            compression: config.compression,
            transactional: config.transactional_id.is_some(),
        };
        Self {
            limits,
            queues: BTreeMap::new(),
            active: BTreeSet::new(),
            cursor: None,
            identity: None,
            start_over: false,
            in_flight: 0,
            unfinished: BTreeMap::new(),
            next_id: 0,
            flush_below: 0,
            closed: false,
            failures: Vec::new(),
            freed: 0,
        }
    }

    /// Appends a record of at most `size` bytes to the partition's open batch, or to a new one if it would be too full.
    /// Also says whether the sender should look.
    pub(super) fn push(
        &mut self,
        tp: TopicPartition,
        size: usize,
        append: impl FnOnce(&mut BatchBuilder) -> std::result::Result<(), record::Error>,
    ) -> Result<(Delivery, bool)> {
        self.check_open()?;
        let limits = self.limits;
        let queue = self.queues.entry(tp.clone()).or_default();
        let fits = |batch: &Batch| batch.open_size().is_some_and(|have| have + size <= limits.batch_size);
        let mut wake = false;
        if !queue.batches.back().is_some_and(fits) {
            // The batch before is full, or there was none: either way the sender has something to look at.
            wake = true;
            let options = BatchOptions {
                compression: limits.compression,
                capacity: limits.batch_size.max(size + HEADER_LEN),
                ..Default::default()
            };
            queue.seal_last();
            queue.batches.push_back(Batch::open(self.next_id, tp.clone(), BatchBuilder::new(options)));
            self.next_id += 1;
            self.active.insert(tp.clone());
        }
        let batch = queue.batches.back_mut().expect("a batch was pushed if there was none");
        let (delivery, full) = batch.push(size, limits.batch_size, append)?;
        self.unfinished.entry(batch.id).or_insert_with(|| delivery.clone());
        Ok((delivery, wake || full))
    }

    /// Queues a finished builder behind everything of its partition.
    pub(super) fn push_batch(
        &mut self,
        tp: TopicPartition,
        builder: BatchBuilder,
        size: usize,
    ) -> Result<Delivery> {
        self.check_open()?;
        let batch = Batch::sealed(self.next_id, tp.clone(), builder, size);
        self.next_id += 1;
        let delivery = batch.delivery();
        self.unfinished.insert(batch.id, delivery.clone());
        let queue = self.queues.entry(tp.clone()).or_default();
        queue.seal_last();
        queue.batches.push_back(batch);
        self.active.insert(tp);
        Ok(delivery)
    }

    fn check_open(&self) -> Result<()> {
        if self.closed { Err(Error::Closed("producer")) } else { Ok(()) }
    }

    /// Makes everything due and gives what is not answered yet.
    pub(super) fn flush(&mut self) -> Vec<Delivery> {
        self.hurry();
        self.unfinished.values().cloned().collect()
    }

    /// Makes everything due that is queued now.
    pub(super) fn hurry(&mut self) {
        self.flush_below = self.next_id;
    }

    /// Refuses records from now on.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Who the producer is, if it is known and still good.
    pub(super) fn identity(&self) -> Option<(ProducerId, ProducerEpoch)> {
        self.identity.filter(|_| !self.start_over)
    }

    /// Begins all sequences at 0 under a new identity.
    pub(super) fn start_identity(&mut self, identity: (ProducerId, ProducerEpoch)) {
        self.identity = Some(identity);
        self.start_over = false;
        self.queues.values_mut().for_each(Queue::start_over);
    }

    /// Whether the old identity is spent and all answers are in, so that a new one may be asked for. Batches that may
    /// be in the log under the old one fail.
    pub(super) fn may_start_over(&mut self) -> bool {
        if !self.start_over || self.in_flight > 0 {
            return false;
        }
        let doubtful: Vec<_> = self.queues.values_mut().flat_map(Queue::take_doubtful).collect();
        for batch in doubtful {
            let error = batch.in_doubt_error("the producer had to start over under a new id");
            self.fail(batch, error);
        }
        true
    }

    /// Partitions whose next batch is due.
    pub(super) fn ready(&mut self, now: Instant) -> Ready {
        self.expire(now);
        let mut ready = Ready::default();
        if self.start_over {
            return ready;
        }
        for tp in &self.active {
            let Some(queue) = self.queues.get_mut(tp) else { continue };
            if queue.may_send(self.limits.max_in_flight) {
                match queue.due_at(self.limits.linger, self.flush_below) {
                    Some(at) if at > now => ready.wake_at = earlier(ready.wake_at, at),
                    Some(_) => ready.partitions.push(tp.clone()),
                    None => {}
                }
            }
            if let Some(first) = queue.batches.front() {
                ready.wake_at = earlier(ready.wake_at, first.created_at + self.limits.delivery_timeout);
            }
        }
        // Begin behind the partition where the last request ended, so that none starves.
        if let Some(cursor) = &self.cursor {
            let start = ready.partitions.partition_point(|tp| tp <= cursor);
            ready.partitions.rotate_left(start);
        }
        ready
    }

    /// Takes one batch of each of `partitions` (all led by one broker) as far as they fit into a request, and gives
    /// them their sequence numbers. [`Self::ready`] must have named the partitions.
    pub(super) fn take(&mut self, partitions: &[TopicPartition]) -> Vec<Batch> {
        let Some((id, epoch)) = self.identity() else { return Vec::new() };
        let mut taken: Vec<Batch> = Vec::new();
        let mut size = 0;
        for tp in partitions {
            let Some(queue) = self.queues.get_mut(tp) else { continue };
            let Some(next) = queue.batches.front() else { continue };
            if !taken.is_empty() && size + next.size() > self.limits.max_request_size {
                self.cursor = taken.last().map(|batch| batch.tp.clone());
                break;
            }
            let Some(mut batch) = queue.take() else { continue };
            if queue.batches.is_empty() {
                self.active.remove(tp);
            }
            let base_sequence = queue.sequence_for(&mut batch);
            batch.stamp(ProducerStamp { id, epoch, base_sequence }, self.limits.transactional);
            size += batch.size();
            self.in_flight += 1;
            taken.push(batch);
        }
        taken.sort_by(|a, b| a.tp.cmp(&b.tp));
        taken
    }

    /// The batch is in the log.
    pub(super) fn succeed(&mut self, batch: Batch, ack: Ack) {
        if let Some(queue) = self.queues.get_mut(&batch.tp) {
            queue.acknowledged();
        }
        self.returned(&batch.tp, batch.id);
        self.finish(batch, Ok(ack));
    }

    /// The batch goes out again, not before `not_before`. `in_doubt`: it may be in the log already.
    pub(super) fn send_again(&mut self, mut batch: Batch, in_doubt: bool, not_before: Instant) {
        batch.in_doubt |= in_doubt;
        let (tp, id) = (batch.tp.clone(), batch.id);
        self.active.insert(tp.clone());
        let queue = self.queues.entry(tp.clone()).or_default();
        // Behind a gap it would get another number, though it may be in the log under this one.
        self.start_over |= batch.in_doubt && queue.has_gap();
        queue.put_back(batch, not_before);
        self.returned(&tp, id);
    }

    /// The broker refused the batch; this attempt did not write it. `start_over`: nor will be written what follows it in
    /// the sequence.
    pub(super) fn refuse(&mut self, batch: Batch, error: Error, start_over: bool) {
        // An earlier attempt may have written it, so its sequence number cannot be given to another, and nobody may take
        // the refusal for the whole truth. Who was fenced must hear that all the same.
        self.start_over |= start_over || batch.in_doubt;
        let error = match batch.in_doubt && !error.is_fatal() {
            true => batch.in_doubt_error(&error.to_string()),
            false => error,
        };
        if let Some(queue) = self.queues.get_mut(&batch.tp) {
            queue.note_gap(&batch);
            self.start_over |= queue.has_doubtful();
        }
        self.returned(&batch.tp, batch.id);
        self.fail(batch, error);
    }

    /// What the broker said about the batch makes no sense: it may be in the log.
    pub(super) fn doubt(&mut self, mut batch: Batch, error: Error) {
        batch.in_doubt = true;
        self.refuse(batch, error, true);
    }

    /// Whether a batch with an earlier sequence number of the same partition is not answered yet.
    pub(super) fn has_earlier(&self, batch: &Batch) -> bool {
        self.queues.get(&batch.tp).is_some_and(|queue| queue.has_earlier(batch))
    }

    /// Fails all that is queued. Gives the bytes of memory that became free.
    pub(super) fn fail_unsent(&mut self, error: &Error) -> usize {
        for tp in std::mem::take(&mut self.active) {
            let batches = self.queues.get_mut(&tp).map(|queue| std::mem::take(&mut queue.batches));
            for batch in batches.into_iter().flatten() {
                self.start_over |= batch.sequence.is_some();
                self.fail(batch, error.clone());
            }
        }
        self.take_freed()
    }

    /// Bytes of memory that became free since the last call.
    pub(super) fn take_freed(&mut self) -> usize {
        std::mem::take(&mut self.freed)
    }

    /// Whether the identity is spent: only a new one leads on.
    pub(super) fn is_spent(&self) -> bool {
        self.start_over
    }

    /// Failures since the last call.
    pub(super) fn take_failures(&mut self) -> Vec<Error> {
        std::mem::take(&mut self.failures)
    }

    /// Gives up batches that are older than `delivery.timeout.ms`.
    fn expire(&mut self, now: Instant) {
        let limit = self.limits.delivery_timeout;
        let mut expired = Vec::new();
        for tp in &self.active {
            let Some(queue) = self.queues.get_mut(tp) else { continue };
            while queue.batches.front().is_some_and(|batch| batch.created_at + limit <= now) {
                expired.extend(queue.batches.pop_front());
            }
        }
        for batch in expired {
            self.start_over |= batch.sequence.is_some();
            let error = if batch.in_doubt {
                batch.in_doubt_error("delivery.timeout.ms passed")
            } else {
                Error::Timeout { what: format!("delivering to {}", batch.tp), after_ms: limit.as_millis() }
            };
            if self.queues.get(&batch.tp).is_none_or(|queue| queue.batches.is_empty()) {
                self.active.remove(&batch.tp);
            }
            self.fail(batch, error);
        }
    }

    fn returned(&mut self, tp: &TopicPartition, id: u64) {
        self.in_flight -= 1;
        if let Some(queue) = self.queues.get_mut(tp) {
            queue.returned(id);
        }
    }

    fn fail(&mut self, batch: Batch, error: Error) {
        let error = if self.limits.transactional { in_transaction(error) } else { error };
        self.failures.push(error.clone());
        self.finish(batch, Err(error));
    }

    fn finish(&mut self, batch: Batch, result: Result<Ack>) {
        self.unfinished.remove(&batch.id);
        if let Some(queue) = self.queues.get_mut(&batch.tp) {
            queue.settled(&batch);
        }
        self.freed += batch.reserved;
        batch.completion.done(result);
    }

    /// Batches on their way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }
}

fn earlier(a: Option<Instant>, b: Instant) -> Option<Instant> {
    Some(a.map_or(b, |a| a.min(b)))
}

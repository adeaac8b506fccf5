//! How a transaction ends.
//!
//! 1. The decision is stored: `PrepareCommit` or `PrepareAbort`. From here on it cannot change, and the client is
//!    answered.
//! 2. A marker is written to every partition. Where that fails it is tried again for as long as it takes, and only there:
//!    a partition that is offline for a day must not fill the others with markers. One that is written twice does no harm.
//! 3. `CompleteCommit` or `CompleteAbort` is stored, and the next transaction may begin.
//!
//! The coordinator itself aborts a transaction that is open for longer than its timeout, or whose producer is
//! replaced. It does so under a bumped epoch, so that late records and a late EndTxn of the old producer are refused.

use crate::coordinators::{Producer, Token, TopicPartition};
use crate::transaction::config::RETRY_MS;
use crate::transaction::coordinator::{Coordinator, Deadline, Waiting};
use crate::transaction::event::{Effect, End, Markers, Reply};
use crate::transaction::state::{NO_EPOCH, State};
use kafka_protocol::ResponseError;

impl Coordinator {
    /// `Ok(Some(()))`: it had ended that way already; `Ok(None)`: the disk will answer.
    pub(super) fn end(&mut self, token: Token, request: &End) -> Result<Option<()>, ResponseError> {
        let transaction = self.owned(&request.transactional_id, request.producer)?;
        match (transaction.current.state, request.commit) {
            (State::Ongoing, commit) => {
                let mut next = transaction.current.clone();
                next.state = if commit { State::PrepareCommit } else { State::PrepareAbort };
                self.store(&request.transactional_id, next, Waiting::Done(token));
                Ok(None)
            }
            (State::CompleteCommit, true) | (State::CompleteAbort, false) => Ok(Some(())),
            (State::PrepareCommit, true) | (State::PrepareAbort, false) => {
                Err(ResponseError::ConcurrentTransactions)
            }
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// Aborts an open transaction and fences its producer.
    pub(super) fn abort_fenced(&mut self, id: &str, waiting: Waiting) {
        let Some(transaction) = self.transactions.get_mut(id) else { return };
        let mut next = transaction.current.clone();
        next.state = State::PrepareAbort;
        next.producer.epoch = next.producer.epoch.saturating_add(1);
        transaction.last_epoch = NO_EPOCH;
        self.store(id, next, waiting);
    }

    pub(super) fn timed_out(&mut self, id: &str) {
        let Some(transaction) = self.transactions.get(id) else { return };
        if transaction.current.state != State::Ongoing {
            return;
        }
        if transaction.pending.is_some() {
            // More partitions or its end are on their way to the disk; look again when that is settled.
            self.timers.set(Deadline::Timeout(id.to_owned()), self.now_ms.saturating_add(RETRY_MS));
            return;
        }
        let (producer, timeout_ms) = (transaction.current.producer, transaction.current.timeout_ms);
        tracing::info!(
            transactional_id = id,
            producer_id = producer.id,
            timeout_ms,
            "transaction timed out, aborting"
        );
        self.abort_fenced(id, Waiting::Nobody);
    }

    /// Has the markers of a decided transaction written.
    pub(super) fn tell_partitions(&mut self, id: &str) {
        let Some(transaction) = self.transactions.get(id) else { return };
        let (Some(commit), None) = (transaction.current.state.prepared(), &transaction.pending) else {
            return;
        };
        let markers = Markers {
            transactional_id: id.to_owned(),
            producer: transaction.current.producer,
            commit,
            partitions: match &transaction.untold {
                Some(untold) => untold.clone(),
                None => transaction.current.partitions.iter().cloned().collect(),
            },
        };
        self.effect(Effect::WriteMarkers(markers));
    }

    pub(super) fn marked(&mut self, id: &str, producer: Producer, untold: Vec<TopicPartition>) {
        let Some(transaction) = self.transactions.get_mut(id) else { return };
        let current = &transaction.current;
        let (Some(commit), None) = (current.state.prepared(), &transaction.pending) else { return };
        if current.producer != producer {
            return;
        }
        if !untold.is_empty() {
            transaction.untold = Some(untold);
            self.retry_later(id);
            return;
        }
        let mut next = current.clone();
        transaction.untold = None;
        next.state = if commit { State::CompleteCommit } else { State::CompleteAbort };
        next.partitions.clear();
        self.store(id, next, Waiting::Nobody);
    }

    /// Markers once more after a while. All are written again if only the `Complete` record failed. Who waits
    /// for that is told to come again.
    pub(super) fn retry_later(&mut self, id: &str) {
        if let Some((token, _)) = self.take_queued(id) {
            self.effect(Effect::Reply(token, Reply::Done(Err(ResponseError::ConcurrentTransactions))));
        }
        self.timers.set(Deadline::Retry(id.to_owned()), self.now_ms.saturating_add(RETRY_MS));
    }
}

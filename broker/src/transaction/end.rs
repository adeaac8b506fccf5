//! How a transaction ends.
//!
//! 1. The decision is stored: `PrepareCommit` or `PrepareAbort`. From here on it cannot change, and the client is
//!    answered.
//! 2. A marker is written to every partition. Where that fails it is tried again for as long as it takes, and only there:
//!    a partition that is offline for a day must not fill the others with markers. One that is written twice does no harm.
//! 3. `CompleteCommit` or `CompleteAbort` is stored, and the next transaction may begin.
//!
//! By the second protocol (KIP-890) the decision bumps the epoch, and the markers carry the bumped one: a late record, and a
//! late EndTxn, of the transaction before are refused wherever they come. The repeated EndTxn of a client that lost the
//! answer is known by the epoch before the bump.
//!
//! The coordinator itself aborts a transaction that is open for longer than its timeout, or whose producer is
//! replaced. It does so under a bumped epoch, so that late records and a late EndTxn of the old producer are refused.

use crate::coordinators::{Producer, Token, TopicPartition};
use crate::transaction::config::RETRY_MS;
use crate::transaction::coordinator::{Coordinator, Deadline, Waiting, check_owner};
use crate::transaction::event::{Effect, End, Markers, NeedsId, Reply};
use crate::transaction::state::{NO_EPOCH, NONE, Protocol, State};
use kafka_protocol::ResponseError;

impl Coordinator {
    /// `Ok(Some(producer))`: it had ended that way already; `Ok(None)`: the disk will answer.
    pub(super) fn end(&mut self, token: Token, request: End) -> Result<Option<Producer>, ResponseError> {
        let id = &request.transactional_id;
        if id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        let transaction = self.transactions.get(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        if transaction.pending.is_some() {
            return Err(ResponseError::ConcurrentTransactions);
        }
        let current = &transaction.current;
        let decided = match current.state {
            State::PrepareCommit | State::CompleteCommit => Some(true),
            State::PrepareAbort | State::CompleteAbort => Some(false),
            State::Empty | State::Ongoing | State::Dead => None,
        };
        // By the second protocol only the epoch before tells a repeated request; the current one speaks of what comes next,
        // also if the transaction before was ended by the first one: a write on its way must not find its epoch valid.
        let is_repeated = match (current.protocol, request.protocol) {
            (Protocol::Second, _) => decided.is_some() && current.was_ended_by(request.producer),
            (Protocol::First, Protocol::First) => {
                decided.is_some() && check_owner(current, request.producer).is_ok()
            }
            (Protocol::First, Protocol::Second) => false,
        };
        if !is_repeated {
            check_owner(current, request.producer)?;
            return match current.state {
                State::Ongoing => self.decide(token, request),
                // Nothing was written, but by the second protocol the producer moves on to an epoch of its own.
                State::Empty | State::CompleteCommit | State::CompleteAbort
                    if request.protocol == Protocol::Second && !request.commit =>
                {
                    self.decide(token, request)
                }
                _ => Err(ResponseError::InvalidTxnState),
            };
        }
        match current.state {
            _ if decided != Some(request.commit) => Err(ResponseError::InvalidTxnState),
            State::PrepareCommit | State::PrepareAbort => Err(ResponseError::ConcurrentTransactions),
            // It timed out in the last epoch of its id, and nobody is given the one that it was aborted under.
            _ if current.owner().epoch == i16::MAX => Err(ResponseError::ProducerFenced),
            _ => Ok(Some(current.owner())),
        }
    }

    /// Stores the decision, and by the second protocol the next epoch with it.
    fn decide(&mut self, token: Token, request: End) -> Result<Option<Producer>, ResponseError> {
        let id = request.transactional_id.clone();
        let Some(transaction) = self.transactions.get_mut(&id) else { return Ok(None) };
        let mut next = transaction.current.clone();
        if request.protocol == Protocol::Second {
            if transaction.epochs_exhausted() {
                let Some(fresh) = request.fresh_producer_id else {
                    self.effect(Effect::AllocateProducerId(token, NeedsId::End(request)));
                    return Ok(None);
                };
                next.next_producer_id = fresh;
            }
            transaction.last_epoch = next.producer.epoch;
            next.producer.epoch = next.producer.epoch.saturating_add(1);
        }
        next.protocol = request.protocol;
        next.state = if request.commit { State::PrepareCommit } else { State::PrepareAbort };
        if transaction.current.state != State::Ongoing {
            next.started_ms = self.now_ms;
            next.partitions.clear();
        }
        self.store(&id, next, Waiting::Ended(token));
        Ok(None)
    }

    /// Aborts an open transaction and fences its producer. With [`Protocol::First`] nobody is told the epoch that this takes.
    pub(super) fn abort_fenced(&mut self, id: &str, protocol: Protocol, waiting: Waiting) {
        let Some(transaction) = self.transactions.get_mut(id) else { return };
        let mut next = transaction.current.clone();
        next.state = State::PrepareAbort;
        next.producer.epoch = next.producer.epoch.saturating_add(1);
        next.protocol = protocol;
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
        let protocol = transaction.current.protocol;
        tracing::info!(
            transactional_id = id,
            producer_id = producer.id,
            timeout_ms,
            "transaction timed out, aborting"
        );
        // Who speaks the second protocol may abort what was aborted, and go on in the epoch after it.
        self.abort_fenced(id, protocol, Waiting::Nobody);
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
        if next.next_producer_id != NONE {
            next.previous_producer_id = next.producer.id;
            next.producer = next.owner();
            next.next_producer_id = NONE;
        }
        self.store(id, next, Waiting::Nobody);
    }

    /// Markers once more after a while. All are written again if only the `Complete` record failed. Who waits
    /// for that is told to come again.
    pub(super) fn retry_later(&mut self, id: &str) {
        for (token, _) in self.take_queued(id) {
            self.effect(Effect::Reply(token, Reply::Done(Err(ResponseError::ConcurrentTransactions))));
        }
        self.timers.set(Deadline::Retry(id.to_owned()), self.now_ms.saturating_add(RETRY_MS));
    }
}

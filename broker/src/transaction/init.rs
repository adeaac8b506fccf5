//! InitProducerId with a transactional id: who is the one producer, and with which epoch.
//!
//! - Every InitProducerId bumps the epoch, which fences whoever held the id before.
//! - If that one left a transaction open, it is aborted first under a bumped epoch that nobody is given; the newcomer
//!   is told CONCURRENT_TRANSACTIONS, comes again, and gets the epoch after that.
//! - A producer that recovers from an error names the id and epoch it has (KIP-360): it is fenced if somebody else
//!   came since; a repeated request gets the answer of the first.
//! - When the epochs of a producer id run out, the id is replaced.

use crate::coordinators::{Producer, Token};
use crate::transaction::config::TRANSACTIONS_MAX;
use crate::transaction::coordinator::{Coordinator, Waiting};
use crate::transaction::event::{Effect, Init, NeedsId};
use crate::transaction::state::{NO_EPOCH, NONE, Protocol, State, Stored, Transaction, is_last_epoch};
use kafka_protocol::ResponseError;
use std::collections::BTreeSet;

impl Coordinator {
    pub(super) fn init(&mut self, token: Token, request: Init) -> Result<(), ResponseError> {
        let id = request.transactional_id.clone();
        if id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        if request.timeout_ms <= 0 || request.timeout_ms > self.config.transaction_max_timeout_ms {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        if !self.transactions.contains_key(&id) {
            if self.transactions.len() >= TRANSACTIONS_MAX {
                return Err(ResponseError::CoordinatorNotAvailable);
            }
            let Some(fresh) = request.fresh_producer_id else {
                self.effect(Effect::AllocateProducerId(token, NeedsId::Init(request)));
                return Ok(());
            };
            let transaction = Transaction::new(id.clone(), fresh, request.timeout_ms, self.now_ms);
            self.transactions.insert(id.clone(), transaction);
        }
        let Some(transaction) = self.transactions.get(&id) else { return Ok(()) };
        if transaction.pending.is_some() {
            return Err(ResponseError::ConcurrentTransactions);
        }
        if request.expected.is_some_and(|expected| !may_be(transaction, expected)) {
            return Err(ResponseError::ProducerFenced);
        }
        match transaction.current.state {
            State::PrepareCommit | State::PrepareAbort | State::Dead => {
                Err(ResponseError::ConcurrentTransactions)
            }
            State::Ongoing => {
                self.abort_fenced(&id, Protocol::First, Waiting::Fence(token));
                Ok(())
            }
            State::Empty | State::CompleteCommit | State::CompleteAbort => self.bump(token, request),
        }
    }

    fn bump(&mut self, token: Token, request: Init) -> Result<(), ResponseError> {
        let id = request.transactional_id.clone();
        let Some(transaction) = self.transactions.get_mut(&id) else { return Ok(()) };
        let current = transaction.current.producer;
        let expected = request.expected.map(|expected| expected.epoch);
        let mut previous_producer_id = transaction.current.previous_producer_id;
        let exhausted = transaction.epochs_exhausted() && expected.is_none_or(|epoch| epoch == current.epoch);
        let (producer, last_epoch) = if exhausted {
            let Some(fresh) = request.fresh_producer_id else {
                self.effect(Effect::AllocateProducerId(token, NeedsId::Init(request)));
                return Ok(());
            };
            previous_producer_id = current.id;
            let last_epoch = if expected.is_some() { current.epoch } else { NO_EPOCH };
            (Producer { id: fresh, epoch: 0 }, last_epoch)
        } else {
            let bumped = Producer { id: current.id, epoch: current.epoch.saturating_add(1) };
            match expected {
                None => (bumped, NO_EPOCH),
                Some(epoch) if current.epoch == NO_EPOCH || epoch == current.epoch => (bumped, current.epoch),
                // The answer to the bump got lost: the same one again. Somebody else's bump would have cleared this.
                Some(epoch) if epoch == transaction.last_epoch => (current, transaction.last_epoch),
                Some(_) => return Err(ResponseError::ProducerFenced),
            }
        };
        transaction.last_epoch = last_epoch;
        let next = Stored {
            producer,
            previous_producer_id,
            next_producer_id: NONE,
            protocol: Protocol::First,
            timeout_ms: request.timeout_ms,
            state: State::Empty,
            partitions: BTreeSet::new(),
            updated_ms: self.now_ms,
            started_ms: NONE,
        };
        self.store(&id, next, Waiting::Init(token));
        Ok(())
    }
}

/// Whether a producer that names `expected` can be the owner of the id, now or before the last change of producer id.
fn may_be(transaction: &Transaction, expected: Producer) -> bool {
    transaction.current.producer.epoch == NO_EPOCH
        || expected.id == transaction.current.producer.id
        || (expected.id == transaction.current.previous_producer_id
            && expected.id != NONE
            && is_last_epoch(expected.epoch))
}

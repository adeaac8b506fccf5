//! The state machine of one partition of `__transaction_state`: all transactional ids that hash to it.
//!
//! Invariants:
//! - one transition at a time for each id: while one is on its way to the disk, or markers are being written, all else
//!   is told CONCURRENT_TRANSACTIONS;
//! - the epoch of a producer id never falls, and no request with an older epoch changes anything;
//! - markers are written only for a decision that is durable, and `Complete` is stored only after all markers are;
//! - every request gets exactly one reply.

use crate::coordinators::timers::Timers;
use crate::coordinators::{KeyValue, Producer, Token, WriteId};
use crate::transaction::config::{Config, QUEUED_MAX};
use crate::transaction::event::{AddPartitions, Effect, Event, NeedsId, Reply};
use crate::transaction::records;
use crate::transaction::state::{State, Stored, Transaction};
use kafka_protocol::ResponseError;
use std::collections::BTreeMap;

/// What a deadline is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deadline {
    /// A transaction has been open for its timeout.
    Timeout(String),
    /// A decided transaction's next step failed and is to be tried again.
    Retry(String),
    /// Time to look for ids that nobody uses.
    Expire,
}

/// Who waits for an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The producer that asked for its id.
    Init(Token),
    /// A producer that has to come again because its predecessor's transaction is being aborted.
    Fence(Token),
    /// A producer's requests that added partitions.
    Added(Vec<Token>),
    /// A producer that ended its transaction.
    Ended(Token),
    /// Nobody.
    Nobody,
}

/// Refuses a producer that is not the one that may speak.
pub(super) fn check_owner(current: &Stored, asked: Producer) -> Result<(), ResponseError> {
    let owner = current.owner();
    if owner.id != asked.id {
        return Err(ResponseError::InvalidProducerIdMapping);
    }
    if owner.epoch != asked.epoch { Err(ResponseError::ProducerFenced) } else { Ok(()) }
}

/// All transactional ids of one partition of `__transaction_state`.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(super) config: Config,
    pub(super) transactions: BTreeMap<String, Transaction>,
    pub(super) now_ms: i64,
    pub(super) timers: Timers<Deadline>,
    effects: Vec<Effect>,
    writes: BTreeMap<WriteId, (String, Waiting)>,
    next_write: u64,
}

impl Coordinator {
    /// A coordinator without transactions. Feed it its log (see [`super::replay`]) before the first step.
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            transactions: BTreeMap::new(),
            now_ms: 0,
            timers: Timers::new(),
            effects: Vec::new(),
            writes: BTreeMap::new(),
            next_write: 0,
        }
    }

    /// When to send the next [`Event::Tick`], in milliseconds since 1970.
    pub(crate) fn next_deadline(&self) -> Option<i64> {
        self.timers.next()
    }

    /// One step. Effects are to be carried out in their order.
    pub(crate) fn step(&mut self, event: Event, now_ms: i64) -> Vec<Effect> {
        self.now_ms = now_ms;
        match event {
            Event::Init(token, request) => {
                if let Err(error) = self.init(token, request) {
                    self.effect(Effect::Reply(token, Reply::Init(Err(error))));
                }
            }
            Event::NoProducerId(token, NeedsId::Init(_), error) => {
                self.effect(Effect::Reply(token, Reply::Init(Err(error))));
            }
            Event::NoProducerId(token, NeedsId::End(_), error) => {
                self.effect(Effect::Reply(token, Reply::Ended(Err(error))));
            }
            Event::AddPartitions(token, request) => self.add_or_queue(token, request),
            Event::End(token, request) => {
                if let Some(result) = self.end(token, request).transpose() {
                    self.effect(Effect::Reply(token, Reply::Ended(result)));
                }
            }
            Event::Marked { transactional_id, producer, untold } => {
                self.marked(&transactional_id, producer, untold)
            }
            Event::Written(id, result) => self.written(id, result),
            Event::Tick => self.tick(),
        }
        self.take_effects()
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Sends `next` to the disk; it becomes what is current when the disk has answered.
    pub(super) fn store(&mut self, id: &str, mut next: Stored, waiting: Waiting) {
        next.updated_ms = self.now_ms;
        let record = records::record(id, &next);
        if let Some(transaction) = self.transactions.get_mut(id) {
            transaction.pending = Some(next);
            self.append(id, record, waiting);
        }
    }

    fn append(&mut self, id: &str, record: KeyValue, waiting: Waiting) {
        let write = WriteId(self.next_write);
        self.next_write += 1;
        self.writes.insert(write, (id.to_owned(), waiting));
        self.effect(Effect::Append(write, record));
    }

    /// The transaction of a producer that must be its owner, with no transition under way.
    fn owned(&self, id: &str, producer: Producer) -> Result<&Transaction, ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        let transaction = self.transactions.get(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        if transaction.pending.is_some() {
            return Err(ResponseError::ConcurrentTransactions);
        }
        check_owner(&transaction.current, producer)?;
        Ok(transaction)
    }

    /// Adds partitions at once, or when what is under way is over: the producer would otherwise be told
    /// CONCURRENT_TRANSACTIONS and sleep for longer than that takes.
    fn add_or_queue(&mut self, token: Token, request: AddPartitions) {
        if let Some(transaction) = self.transactions.get_mut(&request.transactional_id)
            && transaction.current.owner() == request.producer
            && transaction.queued.len() < QUEUED_MAX
            && transaction.is_soon_ready()
        {
            transaction.queued.push((token, request));
            return;
        }
        let id = request.transactional_id.clone();
        self.add_partitions(&id, vec![(token, request)]);
    }

    /// Adds the partitions of all requests with one record, and answers those that need none.
    fn add_partitions(&mut self, id: &str, requests: Vec<(Token, AddPartitions)>) {
        let (mut next, mut waiting) = (None, Vec::new());
        for (token, request) in requests {
            match self.with_partitions(&request) {
                Ok(None) => self.effect(Effect::Reply(token, Reply::Done(Ok(())))),
                Ok(Some(stored)) => {
                    next.get_or_insert(stored).partitions.extend(request.partitions);
                    waiting.push(token);
                }
                Err(error) => self.effect(Effect::Reply(token, Reply::Done(Err(error)))),
            }
        }
        if let Some(next) = next {
            self.store(id, next, Waiting::Added(waiting));
        }
    }

    /// What is to be stored for the partitions, without them; nothing if they are part of the transaction.
    fn with_partitions(&self, request: &AddPartitions) -> Result<Option<Stored>, ResponseError> {
        let transaction = self.owned(&request.transactional_id, request.producer)?;
        let mut next = transaction.current.clone();
        match next.state {
            State::PrepareCommit | State::PrepareAbort | State::Dead => {
                return Err(ResponseError::ConcurrentTransactions);
            }
            State::Ongoing => {
                if request.partitions.iter().all(|partition| next.partitions.contains(partition)) {
                    return Ok(None);
                }
            }
            State::Empty | State::CompleteCommit | State::CompleteAbort => {
                next.state = State::Ongoing;
                next.started_ms = self.now_ms;
                next.partitions.clear();
            }
        }
        next.protocol = request.protocol;
        Ok(Some(next))
    }

    fn written(&mut self, write: WriteId, result: Result<(), ResponseError>) {
        let Some((id, waiting)) = self.writes.remove(&write) else { return };
        self.settle(&id, result);
        let current = self.transactions.get(&id).map(|transaction| &transaction.current);
        let owner = current.map(Stored::owner).ok_or(ResponseError::InvalidProducerIdMapping);
        match waiting {
            Waiting::Nobody => {}
            Waiting::Fence(token) => {
                self.effect(Effect::Reply(token, Reply::Init(Err(ResponseError::ConcurrentTransactions))));
            }
            Waiting::Added(tokens) => {
                tokens.into_iter().for_each(|token| self.effect(Effect::Reply(token, Reply::Done(result))));
            }
            Waiting::Ended(token) => self.effect(Effect::Reply(token, Reply::Ended(result.and(owner)))),
            Waiting::Init(token) => self.effect(Effect::Reply(token, Reply::Init(result.and(owner)))),
        }
        if result.is_ok() {
            self.tell_partitions(&id);
        }
        if self.transactions.get(&id).is_some_and(|transaction| !transaction.is_soon_ready()) {
            let queued = self.take_queued(&id);
            self.add_partitions(&id, queued);
        }
    }

    /// What is pending becomes current, or is dropped, and the deadlines follow.
    fn settle(&mut self, id: &str, result: Result<(), ResponseError>) {
        let Some(transaction) = self.transactions.get_mut(id) else { return };
        let before = transaction.current.state;
        match (result, transaction.pending.take()) {
            (Ok(()), Some(next)) if next.state == State::Dead => drop(self.transactions.remove(id)),
            (Ok(()), Some(next)) => {
                let open = next.state == State::Ongoing;
                transaction.current = next;
                transaction.untold = None;
                transaction.in_log = true;
                if !open {
                    self.timers.cancel(&Deadline::Timeout(id.to_owned()));
                } else if before != State::Ongoing {
                    self.watch(id);
                }
            }
            (Err(_), _) if !transaction.in_log => drop(self.transactions.remove(id)),
            (Err(_), _) if before.prepared().is_some() => self.retry_later(id),
            (Err(_), _) if before == State::Ongoing => self.watch(id),
            _ => {}
        }
    }

    /// The requests that wait for what is under way.
    pub(super) fn take_queued(&mut self, id: &str) -> Vec<(Token, AddPartitions)> {
        self.transactions.get_mut(id).map(|found| std::mem::take(&mut found.queued)).unwrap_or_default()
    }

    /// Sets the deadline of an open transaction.
    pub(super) fn watch(&mut self, id: &str) {
        let Some(transaction) = self.transactions.get(id) else { return };
        let current = &transaction.current;
        let at_ms = current.started_ms.saturating_add(i64::from(current.timeout_ms)).max(self.now_ms + 1);
        self.timers.set(Deadline::Timeout(id.to_owned()), at_ms);
    }

    fn tick(&mut self) {
        while let Some(deadline) = self.timers.pop_due(self.now_ms) {
            match deadline {
                Deadline::Timeout(id) => self.timed_out(&id),
                Deadline::Retry(id) => self.tell_partitions(&id),
                Deadline::Expire => self.expire(),
            }
        }
    }

    /// Begins to look for ids that nobody uses, from now on at every interval.
    pub(crate) fn schedule_expiry(&mut self, now_ms: i64) {
        let interval_ms = self.config.transaction_remove_expired_transaction_cleanup_interval_ms.max(1);
        self.timers.set(Deadline::Expire, now_ms.saturating_add(interval_ms));
    }

    fn expire(&mut self) {
        let longest_ms = self.config.transactional_id_expiration_ms;
        let idle = |transaction: &Transaction| {
            let done = matches!(
                transaction.current.state,
                State::Empty | State::CompleteCommit | State::CompleteAbort
            );
            let idle_ms = self.now_ms.saturating_sub(transaction.current.updated_ms);
            done && transaction.pending.is_none() && idle_ms >= longest_ms
        };
        let expired: Vec<_> = self
            .transactions
            .values()
            .filter(|transaction| idle(transaction))
            .map(|t| t.id.clone())
            .collect();
        for id in expired {
            if let Some(transaction) = self.transactions.get_mut(&id) {
                transaction.pending = Some(Stored { state: State::Dead, ..transaction.current.clone() });
            }
            self.append(&id, records::tombstone(&id), Waiting::Nobody);
        }
        self.schedule_expiry(self.now_ms);
    }
}

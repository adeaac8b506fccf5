//! Transactions (KIP-98, with KIP-360's epoch bump and KIP-447's group metadata): the producer tells the coordinator which
//! partitions take part, then how it ends.
//!
//! Where the cluster's `transaction.version` is 2 the second protocol is spoken (KIP-890): brokers add partitions when they are
//! first written to, and every end gives the producer the epoch of its next transaction. Which one holds is decided when a
//! transaction begins.
//!
//! ```text
//! New ──init──> Ready ──begin──> Open ──commit──> Ready
//!                                 │ a batch or a request fails
//!                                 ▼
//!                               Failed ──abort──> Ready (under a new epoch)
//! any ──fenced, or an error that no abort mends──> Dead
//! ```
//!
//! A commit whose answer is lost stays `Committing`: calling commit again asks the coordinator again, which is harmless.

mod markers;
mod offsets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse,
    InitProducerIdRequest, InitProducerIdResponse,
};
use millrace_wire::ids::{ProducerEpoch, ProducerId};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::backoff::BackoffConfig;
use crate::cluster::{Cluster, CoordinatorKind, Coordinators};
use crate::error::{Error, Result};
use crate::topic::{TopicPartition, by_topic, topic_name, transactional_id};

/// The coordinator is busy ending the transaction before for some milliseconds; waiting longer would set the pace.
const BUSY_BACKOFF: BackoffConfig =
    BackoffConfig { initial: Duration::from_millis(5), max: Duration::from_millis(200) };

/// The last version of Produce that belongs to the first protocol.
const PRODUCE_FIRST: i16 = 11;
/// The same of EndTxn.
const END_TXN_FIRST: i16 = 4;
/// The same of TxnOffsetCommit.
const TXN_OFFSET_COMMIT_FIRST: i16 = 4;

/// A producer id and its epoch.
type Identity = (ProducerId, ProducerEpoch);

/// The transactional side of a producer.
#[derive(Debug)]
pub(super) struct Transactions {
    cluster: Arc<Cluster>,
    coordinator: Coordinators,
    id: String,
    timeout: Duration,
    state: Mutex<State>,
    groups: Mutex<BTreeMap<String, Arc<Coordinators>>>,
}

#[derive(Debug, Default)]
struct State {
    status: Status,
    identity: Option<Identity>,
    /// Partitions that the coordinator knows to take part, or hears of by the writes that are under way.
    partitions: BTreeSet<TopicPartition>,
    /// Those of them whose first write is not answered yet.
    adding: BTreeSet<TopicPartition>,
    /// Whether a group's offsets take part.
    has_offsets: bool,
    /// Sequence numbers may be spent; the next transaction needs a new epoch.
    needs_new_epoch: bool,
    protocol: Protocol,
    /// Transactions so far.
    begun: u64,
    /// When the transaction before ended; none: its markers are there, or it is not known.
    ended: Option<Instant>,
}

impl State {
    /// By the second protocol: which of `partitions` may be written to now. Those that are new are of one broker.
    fn writable(
        &mut self,
        mut partitions: Vec<TopicPartition>,
        leader: impl Fn(&TopicPartition) -> Option<i32>,
    ) -> Vec<TopicPartition> {
        let may_add = self.adding.is_empty();
        let mut broker = None;
        partitions.retain(|tp| {
            if self.partitions.contains(tp) {
                return true;
            }
            // Without a leader it is looked for, and may be found and written before it is asked for again here: it takes part, or a commit
            // would pass over what was written.
            let Some(leader) = leader(tp) else {
                self.partitions.insert(tp.clone());
                return true;
            };
            let is_added = may_add && *broker.get_or_insert(leader) == leader;
            if is_added {
                self.partitions.insert(tp.clone());
                self.adding.insert(tp.clone());
            }
            is_added
        });
        partitions
    }
}

/// See the module's head.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    #[default]
    First,
    Second,
}

impl Protocol {
    /// The newest version of a request that belongs to this protocol, if `last` is the last one of the first.
    fn version_max(self, last: i16) -> i16 {
        match self {
            Self::First => last,
            Self::Second => i16::MAX,
        }
    }
}

#[derive(Debug, Default, Clone)]
enum Status {
    #[default]
    New,
    Ready,
    Open,
    Committing,
    Failed(Arc<Error>),
    Aborting,
    Dead(Arc<Error>),
}

/// What an error means inside a transaction.
pub(super) fn in_transaction(error: Error) -> Error {
    match error {
        Error::Abort(_) | Error::Fatal(_) => error,
        error if is_deadly(&error) => Error::Fatal(Arc::new(error)),
        error => Error::Abort(Arc::new(error)),
    }
}

fn is_deadly(error: &Error) -> bool {
    let deadly = [
        Code::InvalidProducerIdMapping,
        Code::InvalidTxnState,
        Code::TransactionalIdAuthorizationFailed,
        Code::ClusterAuthorizationFailed,
        Code::UnsupportedVersion,
        Code::UnsupportedForMessageFormat,
    ];
    error.is_fatal()
        || error.code().is_some_and(|code| deadly.contains(&code))
        || matches!(error, Error::Unsupported { .. })
}

impl Transactions {
    pub(super) fn new(cluster: Arc<Cluster>, id: &str, timeout: Duration) -> Self {
        Self {
            coordinator: Coordinators::new(cluster.clone(), CoordinatorKind::Transaction, id),
            cluster,
            id: id.to_owned(),
            timeout,
            state: Mutex::default(),
            groups: Mutex::default(),
        }
    }

    /// Gets the producer id and an epoch that fences earlier ones.
    pub(super) async fn init(&self) -> Result<Identity> {
        match &self.state.lock().status {
            Status::New | Status::Ready => {}
            Status::Dead(error) => return Err(Error::Fatal(error.clone())),
            other => return Err(refused("init_transactions", other)),
        }
        let identity = self.watched(self.init_producer_id(None).await)?;
        let mut state = self.state.lock();
        state.status = Status::Ready;
        state.identity = Some(identity);
        Ok(identity)
    }

    pub(super) fn begin(&self) -> Result<()> {
        let mut state = self.state.lock();
        match &state.status {
            Status::Ready => {
                state.status = Status::Open;
                state.begun += 1;
                let is_second = self.cluster.transaction_version() >= 2;
                state.protocol = if is_second { Protocol::Second } else { Protocol::First };
            }
            Status::Dead(error) => return Err(Error::Fatal(error.clone())),
            Status::Failed(error) => return Err(Error::Abort(error.clone())),
            other => return Err(refused("begin_transaction", other)),
        }
        Ok(())
    }

    /// Whether a transaction is open and nothing has failed.
    pub(super) fn check_open(&self, call: &'static str) -> Result<()> {
        match &self.state.lock().status {
            Status::Open => Ok(()),
            Status::Committing if call == "committing" => Ok(()),
            Status::Dead(error) => Err(Error::Fatal(error.clone())),
            Status::Failed(error) => Err(Error::Abort(error.clone())),
            other => Err(refused(call, other)),
        }
    }

    /// Whether batches may go out.
    pub(super) fn may_send(&self) -> bool {
        matches!(self.state.lock().status, Status::Open)
    }

    /// Notes a failure; the first one counts, unless a deadly one follows.
    pub(super) fn fail(&self, error: &Error) {
        let mut state = self.state.lock();
        match in_transaction(error.clone()) {
            Error::Fatal(cause) => state.status = Status::Dead(cause),
            Error::Abort(cause) if matches!(state.status, Status::Open) => {
                state.status = Status::Failed(cause);
                state.needs_new_epoch = true;
            }
            // A batch that fails while the transaction is being aborted may leave a hole in the sequence.
            _ => state.needs_new_epoch = true,
        }
    }

    /// The newest version of Produce that belongs to the protocol that is spoken.
    pub(super) fn produce_version_max(&self) -> i16 {
        self.state.lock().protocol.version_max(PRODUCE_FIRST)
    }

    /// Tells the coordinator of partitions it does not know yet, and gives those that may be written to now: none, where the transaction
    /// ended meanwhile.
    ///
    /// By the second protocol the write itself tells it. The coordinator takes one broker's partitions at a time, and a broker that comes
    /// while it is busy waits for 20 ms: so the first writes to the partitions of another broker wait for the answer of the one before.
    pub(super) async fn add_partitions(
        &self,
        partitions: Vec<TopicPartition>,
        leader: impl Fn(&TopicPartition) -> Option<i32>,
    ) -> Result<Vec<TopicPartition>> {
        let begun = self.state.lock().begun;
        self.wait_for_markers().await;
        let (new, (id, epoch)) = {
            let mut state = self.state.lock();
            if state.begun != begun || !matches!(state.status, Status::Open) {
                return Ok(Vec::new());
            }
            if state.protocol == Protocol::Second {
                return Ok(state.writable(partitions, leader));
            }
            let new: Vec<_> =
                partitions.iter().filter(|tp| !state.partitions.contains(tp)).cloned().collect();
            (new, self.identity_in(&state)?)
        };
        if new.is_empty() {
            return Ok(partitions);
        }
        let topics = by_topic(new.iter().map(|tp| (tp, ()))).into_iter().map(|(topic, partitions)| {
            let partitions = partitions.into_iter().map(|(partition, ())| partition).collect();
            AddPartitionsToTxnTopic::default().with_name(topic_name(&topic)).with_partitions(partitions)
        });
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(transactional_id(&self.id))
            .with_v3_and_below_producer_id(id.0.into())
            .with_v3_and_below_producer_epoch(epoch.0)
            .with_v3_and_below_topics(topics.collect());
        self.coordinator.request_with_pauses(&request, check_added, BUSY_BACKOFF).await?;
        self.state.lock().partitions.extend(new);
        Ok(partitions)
    }

    /// A write was answered, whatever the answer.
    pub(super) fn answered(&self, tp: &TopicPartition) {
        self.state.lock().adding.remove(tp);
    }

    /// Commits, or says why not. Gives the identity of the next transaction, if it is a new one.
    pub(super) async fn commit(&self) -> Result<Option<Identity>> {
        {
            let mut state = self.state.lock();
            match &state.status {
                Status::Open | Status::Committing => {}
                Status::Dead(error) => return Err(Error::Fatal(error.clone())),
                Status::Failed(error) => return Err(Error::Abort(error.clone())),
                other => return Err(refused("commit_transaction", other)),
            }
            if state.partitions.is_empty() && !state.has_offsets {
                // The coordinator never heard of it.
                state.status = Status::Ready;
                return Ok(None);
            }
            state.status = Status::Committing;
        }
        match self.end(true).await {
            // Unknown: the caller may commit again.
            Err(error) if error.is_retriable() => Err(error),
            Err(error) => self.watched(Err(error)),
            Ok(next) => {
                self.ended(next);
                Ok(next)
            }
        }
    }

    /// Stops sending. From here only the abort leads on.
    pub(super) fn begin_abort(&self) -> Result<()> {
        let mut state = self.state.lock();
        match &state.status {
            Status::Open | Status::Failed(_) | Status::Aborting => state.status = Status::Aborting,
            Status::Dead(error) => return Err(Error::Fatal(error.clone())),
            other => return Err(refused("abort_transaction", other)),
        }
        Ok(())
    }

    /// Aborts. Gives the identity of the next transaction, if it is a new one: because the protocol says so, or because the
    /// old one's sequence numbers are spent, as `is_spent` or a failure says.
    pub(super) async fn abort(&self, is_spent: bool) -> Result<Option<Identity>> {
        let (is_known, needs_new_epoch) = {
            let mut state = self.state.lock();
            state.needs_new_epoch |= is_spent;
            (!state.partitions.is_empty() || state.has_offsets, state.needs_new_epoch)
        };
        let mut next = None;
        if is_known {
            match self.end(false).await {
                Err(error) if error.is_retriable() => return Err(error),
                Err(error) => return self.watched(Err(error)),
                Ok(identity) => next = identity,
            }
        }
        if needs_new_epoch && next.is_none() {
            let current = self.state.lock().identity;
            next = Some(self.watched(self.init_producer_id(current).await)?);
        }
        self.ended(next);
        self.state.lock().needs_new_epoch = false;
        Ok(next)
    }

    fn ended(&self, next: Option<Identity>) {
        let mut state = self.state.lock();
        state.status = Status::Ready;
        state.ended = Some(Instant::now());
        state.partitions.clear();
        state.adding.clear();
        state.has_offsets = false;
        state.identity = next.or(state.identity);
    }

    /// Ends the transaction; by the second protocol the answer says who the producer is from now on.
    async fn end(&self, committed: bool) -> Result<Option<Identity>> {
        let ((id, epoch), protocol) = {
            let state = self.state.lock();
            (self.identity_in(&state)?, state.protocol)
        };
        let request = EndTxnRequest::default()
            .with_transactional_id(transactional_id(&self.id))
            .with_producer_id(id.0.into())
            .with_producer_epoch(epoch.0)
            .with_committed(committed);
        let check = |response: &EndTxnResponse| {
            Error::check("EndTxn", || self.coordinator.subject(), response.error_code)
        };
        let version_max = protocol.version_max(END_TXN_FIRST);
        let response = self.coordinator.request_up_to(&request, check, BUSY_BACKOFF, version_max).await?;
        let is_told = response.producer_id.0 >= 0 && protocol == Protocol::Second;
        Ok(is_told.then_some((ProducerId(response.producer_id.0), ProducerEpoch(response.producer_epoch))))
    }

    async fn init_producer_id(&self, current: Option<Identity>) -> Result<Identity> {
        let (id, epoch) = current.unwrap_or((ProducerId::NONE, ProducerEpoch::NONE));
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(transactional_id(&self.id)))
            .with_transaction_timeout_ms(i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX))
            .with_producer_id(id.0.into())
            .with_producer_epoch(epoch.0);
        let check = |response: &InitProducerIdResponse| {
            Error::check("InitProducerId", || self.coordinator.subject(), response.error_code)
        };
        let response = self.coordinator.request_with_pauses(&request, check, BUSY_BACKOFF).await?;
        Ok((ProducerId(response.producer_id.0), ProducerEpoch(response.producer_epoch)))
    }

    /// Remembers an error that nothing mends.
    fn watched<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            if is_deadly(&error) {
                self.fail(&error);
                return in_transaction(error);
            }
            error
        })
    }

    fn identity_in(&self, state: &State) -> Result<Identity> {
        state.identity.ok_or_else(|| refused("a transaction", &state.status))
    }
}

fn check_added(response: &AddPartitionsToTxnResponse) -> Result<()> {
    for topic in &response.results_by_topic_v3_and_below {
        for partition in &topic.results_by_partition {
            // 55 only says that another partition of the request failed.
            if partition.partition_error_code == Code::OperationNotAttempted.code() {
                continue;
            }
            let subject = || format!("topic {} partition {}", topic.name.0, partition.partition_index);
            Error::check("AddPartitionsToTxn", subject, partition.partition_error_code)?;
        }
    }
    Ok(())
}

fn refused(call: &'static str, status: &Status) -> Error {
    let reason = match status {
        Status::New => "init_transactions was not called",
        Status::Ready => "no transaction is open; call begin_transaction",
        Status::Open => "a transaction is open",
        Status::Committing => "a commit is not answered yet; call commit_transaction again",
        Status::Failed(_) | Status::Aborting => "the transaction must be aborted first",
        Status::Dead(_) => "the producer failed",
    };
    Error::State { call, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(of: &[(&str, i32)]) -> Vec<TopicPartition> {
        of.iter().map(|(topic, partition)| TopicPartition::new(*topic, *partition)).collect()
    }

    /// Partitions of the topics a and b are led by brokers 1 and 2, others by none.
    fn leader(tp: &TopicPartition) -> Option<i32> {
        match &*tp.topic {
            "a" => Some(1),
            "b" => Some(2),
            _ => None,
        }
    }

    #[test]
    fn one_brokers_partitions_are_added_at_a_time() {
        let mut state = State::default();
        let all = partitions(&[("a", 0), ("a", 1), ("b", 0), ("c", 0)]);
        let first = partitions(&[("a", 0), ("a", 1), ("c", 0)]);
        assert_eq!(state.writable(all.clone(), leader), first);
        // What has no leader takes part, too: it may have one before it is sent. What is new waits.
        assert!(state.partitions.contains(&all[3]));
        assert_eq!(state.writable(all.clone(), leader), first);
        state.adding.remove(&all[0]);
        assert_eq!(state.writable(all.clone(), leader), first);
        state.adding.remove(&all[1]);
        assert_eq!(state.writable(all.clone(), leader), all);
        assert_eq!(state.partitions.len(), 4);
    }
}

//! The consumer: partitions by hand ([`Consumer::assign`]) or by group ([`Consumer::subscribe`]).
//!
//! ```text
//! fetcher task: one Fetch per leader, long polling ──> batches, checked and filtered ──> buffer per partition
//!                                                                                            │ bounded by bytes
//! poll() ── hands out what is there, moves the position <────────────────────────────────────┘
//!        └─ group: joins, tells of revoked and assigned partitions; heartbeats in a task of their own
//! ```
//!
//! Invariants:
//! - `position` is the offset after the last record that `poll` handed out; it passes control records and aborted
//!   transactions without handing them out, and never goes back but by `seek`.
//! - With [`crate::Isolation::ReadCommitted`] no record of an aborted or open transaction is handed out.
//! - Memory is bounded: `buffer_bytes` plus one response per leader.

mod aborted;
mod config;
mod fetched;
mod fetcher;
mod group;
mod positions;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

pub use self::config::{ConsumerConfig, OffsetReset};
pub use self::fetched::FetchedPartition;
pub use self::group::Assignor;
use self::group::{Group, GroupEvent};
use self::state::State;
use crate::client::Client;
use crate::cluster::{Cluster, CoordinatorKind, Coordinators};
use crate::error::{Error, Result};
use crate::offsets::{self, GroupMetadata, ListedOffset, OffsetAndMetadata, OffsetSpec};
use crate::topic::TopicPartition;

/// Where reading a partition begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// At this offset.
    Offset(i64),
    /// At the first record that is there.
    Earliest,
    /// Behind the last record.
    Latest,
    /// Where the group committed; by `auto.offset.reset` if it did not.
    Committed,
}

/// What a [`Consumer::poll`] brought.
#[derive(Debug)]
pub enum Polled {
    /// Records, one entry per partition that has some.
    Records(Vec<FetchedPartition>),
    /// The group rebalances and takes these partitions away. Commit now if need be; the next poll gives them up.
    Revoking(Vec<TopicPartition>),
    /// The membership was lost, these partitions with it; commits for them would be refused.
    Lost(Vec<TopicPartition>),
    /// The group gave these partitions.
    Assigned(Vec<TopicPartition>),
    /// Nothing in time.
    Nothing,
}

/// Reads records. Belongs to one task; dropping it ends its tasks, without leaving the group ([`Consumer::close`] does).
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    group: Option<Group>,
    fetcher: AbortHandle,
    next_auto_commit: Option<Instant>,
}

/// What the handle and the fetcher share.
#[derive(Debug)]
struct Shared {
    config: ConsumerConfig,
    /// Connections for fetching; long polls stand in nobody's way there.
    cluster: Arc<Cluster>,
    /// The group's coordinator, over connections of its own.
    coordinator: Option<Coordinators>,
    state: Mutex<State>,
    /// Something is there for `poll`.
    arrived: Notify,
    /// There is something to do for the fetcher.
    wanted: Notify,
}

impl Consumer {
    /// Starts a consumer that reads nothing yet.
    pub async fn start(client: &Client, config: ConsumerConfig) -> Result<Self> {
        config.check()?;
        let side = Arc::new(client.cluster());
        let coordinator = |id: &String| Coordinators::new(side.clone(), CoordinatorKind::Group, id);
        let shared = Arc::new(Shared {
            cluster: Arc::new(client.cluster()),
            coordinator: config.group_id.as_ref().map(coordinator),
            state: Mutex::default(),
            arrived: Notify::new(),
            wanted: Notify::new(),
            config,
        });
        let group = shared.config.group_id.as_ref().map(|id| Group::new(side.clone(), id, &shared.config));
        let fetcher = tokio::spawn(fetcher::run(shared.clone())).abort_handle();
        Ok(Self { shared, group, fetcher, next_auto_commit: None })
    }

    /// Reads exactly these partitions from now on, from the given positions. Not together with [`Self::subscribe`].
    pub fn assign(&mut self, partitions: BTreeMap<TopicPartition, Position>) -> Result<()> {
        if self.group.as_ref().is_some_and(Group::is_subscribed) {
            let reason = "the consumer is subscribed to topics".to_owned();
            return Err(Error::State { call: "assigning partitions", reason });
        }
        let committed = partitions.values().any(|position| *position == Position::Committed);
        if committed && self.shared.coordinator.is_none() {
            let reason = "a committed position needs a group.id".to_owned();
            return Err(Error::State { call: "assigning partitions", reason });
        }
        self.shared.replace_assignment(partitions);
        Ok(())
    }

    /// Joins the group for these topics; [`Self::poll`] tells which partitions it gave.
    pub fn subscribe<T: AsRef<str>>(&mut self, topics: &[T]) -> Result<()> {
        let Some(group) = &mut self.group else {
            let reason = "the consumer has no group.id".to_owned();
            return Err(Error::State { call: "subscribing", reason });
        };
        let topics: BTreeSet<Arc<str>> = topics.iter().map(|topic| topic.as_ref().into()).collect();
        for topic in &topics {
            self.shared.cluster.watch_topic(topic);
        }
        group.subscribe(topics);
        Ok(())
    }

    /// Waits at most `max_wait` for records or for news of the group. Cancel-safe: nothing is lost if it is dropped.
    pub async fn poll(&mut self, max_wait: Duration) -> Result<Polled> {
        let deadline = Instant::now() + max_wait;
        loop {
            if let Some(event) = self.poll_group(deadline).await? {
                return Ok(event);
            }
            self.auto_commit().await?;
            let arrived = self.shared.arrived.notified();
            let (records, error) = self.shared.take_records();
            if !records.is_empty() {
                return Ok(Polled::Records(records));
            }
            if let Some(error) = error {
                return Err(error);
            }
            let group_news = async {
                match &self.group {
                    Some(group) => group.news().await,
                    None => std::future::pending().await,
                }
            };
            let waiting = async {
                tokio::select! {
                    biased;
                    () = group_news => {}
                    () = arrived => {}
                }
            };
            if timeout_at(deadline, waiting).await.is_err() {
                return Ok(Polled::Nothing);
            }
        }
    }

    async fn poll_group(&mut self, deadline: Instant) -> Result<Option<Polled>> {
        let Some(group) = self.group.as_mut().filter(|group| group.is_subscribed()) else { return Ok(None) };
        Ok(match group.poll(deadline).await? {
            None => None,
            Some(GroupEvent::Revoking) => {
                let owned = self.shared.pause_all();
                if self.shared.config.auto_commit_interval.is_some()
                    && let Err(error) = self.commit_positions().await
                {
                    // The next owner reads these records again.
                    tracing::warn!(%error, "offsets were not committed before a rebalance");
                }
                Some(Polled::Revoking(owned))
            }
            Some(GroupEvent::Lost) => Some(Polled::Lost(self.shared.clear_assignment())),
            Some(GroupEvent::Revoked) => {
                self.shared.clear_assignment();
                None
            }
            Some(GroupEvent::Assigned(partitions)) => {
                let positions = partitions.iter().map(|tp| (tp.clone(), Position::Committed)).collect();
                self.shared.replace_assignment(positions);
                Some(Polled::Assigned(partitions))
            }
        })
    }

    /// Offset of the next record of a partition that [`Self::poll`] will hand out; `None` if that is not known yet.
    pub fn position(&self, tp: &TopicPartition) -> Option<i64> {
        self.shared.state.lock().partitions.get(tp)?.position
    }

    /// Offset after the last record of a partition, as the last fetch told; `None` before the first.
    pub fn high_watermark(&self, tp: &TopicPartition) -> Option<i64> {
        self.shared.state.lock().partitions.get(tp)?.high_watermark
    }

    /// Partitions that are read now.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.state.lock().partitions.keys().cloned().collect()
    }

    /// Goes on from another position.
    pub fn seek(&mut self, tp: &TopicPartition, position: Position) -> Result<()> {
        let mut state = self.shared.state.lock();
        let partition = state.partitions.get_mut(tp).ok_or_else(|| not_assigned("seeking", tp))?;
        partition.seek(position);
        drop(state);
        self.shared.wanted.notify_one();
        Ok(())
    }

    /// Hands out nothing of these partitions until [`Self::resume`].
    pub fn pause(&mut self, partitions: &[TopicPartition]) {
        self.set_paused(partitions, true);
    }

    /// Ends [`Self::pause`].
    pub fn resume(&mut self, partitions: &[TopicPartition]) {
        self.set_paused(partitions, false);
    }

    fn set_paused(&self, partitions: &[TopicPartition], paused: bool) {
        let mut state = self.shared.state.lock();
        for tp in partitions {
            if let Some(partition) = state.partitions.get_mut(tp) {
                partition.is_paused = paused;
            }
        }
        drop(state);
        self.shared.wanted.notify_one();
    }

    /// Commits offsets for the group.
    pub async fn commit(&self, offsets: BTreeMap<TopicPartition, OffsetAndMetadata>) -> Result<()> {
        offsets::commit(self.coordinator()?, &self.group_metadata()?, &offsets).await
    }

    /// Commits the positions of all assigned partitions.
    pub async fn commit_positions(&self) -> Result<()> {
        let positions = self.shared.positions();
        self.commit(positions).await
    }

    /// The group's committed offsets; partitions without one are left out.
    pub async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
        let group = self.group_metadata()?.group_id;
        offsets::committed(self.coordinator()?, &group, Some(partitions)).await
    }

    /// Who this consumer is to its group; for transactions that commit offsets.
    pub fn group_metadata(&self) -> Result<GroupMetadata> {
        let group = self.group.as_ref().ok_or_else(no_group)?;
        Ok(group.metadata())
    }

    /// Asks the leaders for offsets, under this consumer's isolation.
    pub async fn list_offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
    ) -> Result<BTreeMap<TopicPartition, ListedOffset>> {
        offsets::list_offsets(&self.shared.cluster, wanted, self.shared.config.isolation).await
    }

    /// Number of partitions of a topic.
    pub async fn partition_count(&self, topic: &str) -> Result<i32> {
        Ok(self.shared.cluster.topic(topic).await?.partitions.len() as i32)
    }

    async fn auto_commit(&mut self) -> Result<()> {
        let Some(interval) = self.shared.config.auto_commit_interval else { return Ok(()) };
        let now = Instant::now();
        let due = *self.next_auto_commit.get_or_insert(now + interval);
        if due > now {
            return Ok(());
        }
        self.next_auto_commit = Some(now + interval);
        match self.commit_positions().await {
            // A rebalance is under way; the next poll sees to it.
            Err(error) if error.code().is_some() => {
                tracing::warn!(%error, "offsets were not committed");
                Ok(())
            }
            done => done,
        }
    }

    fn coordinator(&self) -> Result<&Coordinators> {
        self.shared.coordinator.as_ref().ok_or_else(no_group)
    }

    /// Commits if that is automatic, leaves the group and closes the connections.
    pub async fn close(mut self) -> Result<()> {
        let mut done = Ok(());
        if self.shared.config.auto_commit_interval.is_some() {
            done = self.commit_positions().await;
        }
        if let Some(group) = &mut self.group {
            group.leave().await;
        }
        self.shared.cluster.close();
        done
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.fetcher.abort();
    }
}

fn no_group() -> Error {
    Error::State { call: "committing", reason: "the consumer has no group.id".to_owned() }
}

fn not_assigned(call: &'static str, tp: &TopicPartition) -> Error {
    Error::State { call, reason: format!("{tp} is not assigned") }
}

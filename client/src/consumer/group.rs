//! Membership in a classic consumer group: join, sync, heartbeat, leave (KIP-62, KIP-345, KIP-394), with eager rebalancing:
//! all partitions are given up before a member joins again.
//!
//! Joining and heartbeats run in tasks of their own, so that a [`super::Consumer::poll`] can time out meanwhile. Poll
//! walks through the stages; what tasks find out is left in [`Signals`].

mod assignor;
mod heartbeat;
mod join;

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, timeout_at};

pub use self::assignor::Assignor;
use self::join::Joined;
use super::config::ConsumerConfig;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::group::{GroupConfig, GroupRequests};
use crate::offsets::GroupMetadata;
use crate::topic::TopicPartition;

/// A consumer's side of its group.
#[derive(Debug)]
pub(super) struct Group {
    shared: Arc<Membership>,
    stage: Stage,
    /// Set by `subscribe`.
    is_subscribed: bool,
    heartbeat: Option<AbortHandle>,
}

/// What the tasks share.
#[derive(Debug)]
struct Membership {
    cluster: Arc<Cluster>,
    requests: GroupRequests,
    config: ConsumerConfig,
    topics: Mutex<BTreeSet<Arc<str>>>,
    signals: Mutex<Signals>,
    /// A signal was set.
    news: Notify,
}

/// What the heartbeat task and the application tell each other.
#[derive(Debug)]
struct Signals {
    /// The group rebalances.
    rejoin: bool,
    /// The coordinator does not know this member any more.
    lost: bool,
    /// Nothing goes on.
    fatal: Option<Error>,
    last_poll: Instant,
}

#[derive(Debug)]
enum Stage {
    /// Not in the group.
    Out,
    Joining(JoinHandle<Result<Joined>>),
    Stable,
    /// The application was told that its partitions go; the next poll joins again.
    Revoking,
}

/// What poll must do.
#[derive(Debug)]
pub(super) enum GroupEvent {
    /// Tell the application that its partitions go.
    Revoking,
    /// They are gone.
    Revoked,
    /// They are gone without warning.
    Lost,
    /// Read these.
    Assigned(Vec<TopicPartition>),
}

impl Group {
    pub(super) fn new(cluster: Arc<Cluster>, id: &str, config: &ConsumerConfig) -> Self {
        let group = GroupConfig {
            group_id: id.to_owned(),
            group_instance_id: config.group_instance_id.clone(),
            protocol_type: join::PROTOCOL_TYPE,
            session_timeout: config.session_timeout,
            rebalance_timeout: config.max_poll_interval,
            heartbeat_interval: config.heartbeat_interval,
        };
        let shared = Membership {
            // Heartbeats end before a join begins, so they need no connection of their own.
            requests: GroupRequests::new(cluster.clone(), cluster.clone(), group),
            cluster,
            config: config.clone(),
            topics: Mutex::default(),
            signals: Mutex::new(Signals {
                rejoin: false,
                lost: false,
                fatal: None,
                last_poll: Instant::now(),
            }),
            news: Notify::new(),
        };
        Self { shared: Arc::new(shared), stage: Stage::Out, is_subscribed: false, heartbeat: None }
    }

    pub(super) fn is_subscribed(&self) -> bool {
        self.is_subscribed
    }

    pub(super) fn subscribe(&mut self, topics: BTreeSet<Arc<str>>) {
        *self.shared.topics.lock() = topics;
        self.is_subscribed = true;
        self.shared.signals.lock().rejoin = true;
    }

    pub(super) fn metadata(&self) -> GroupMetadata {
        self.shared.requests.metadata()
    }

    /// Waits until [`Self::poll`] has something to say.
    pub(super) async fn news(&self) {
        self.shared.news.notified().await;
    }

    /// Goes on to the next stage if it is time. Waits for a join at most until `deadline`.
    pub(super) async fn poll(&mut self, deadline: Instant) -> Result<Option<GroupEvent>> {
        let (rejoin, lost) = {
            let mut signals = self.shared.signals.lock();
            signals.last_poll = Instant::now();
            if let Some(error) = signals.fatal.clone() {
                return Err(error);
            }
            (signals.rejoin, signals.lost)
        };
        match &mut self.stage {
            Stage::Stable if lost => {
                self.stop_heartbeat();
                self.shared.requests.forget_member();
                self.stage = Stage::Out;
                return Ok(Some(GroupEvent::Lost));
            }
            Stage::Stable if rejoin => {
                self.stage = Stage::Revoking;
                return Ok(Some(GroupEvent::Revoking));
            }
            Stage::Stable => return Ok(None),
            Stage::Revoking => {
                // Heartbeats end here: joining is a sign of life too.
                self.stop_heartbeat();
                self.stage = Stage::Out;
                return Ok(Some(GroupEvent::Revoked));
            }
            Stage::Out => self.begin_join(),
            Stage::Joining(_) => {}
        }
        self.finish_join(deadline).await
    }

    fn begin_join(&mut self) {
        {
            let mut signals = self.shared.signals.lock();
            (signals.rejoin, signals.lost) = (false, false);
        }
        self.stage = Stage::Joining(tokio::spawn(join::join(self.shared.clone())));
    }

    async fn finish_join(&mut self, deadline: Instant) -> Result<Option<GroupEvent>> {
        let Stage::Joining(task) = &mut self.stage else { return Ok(None) };
        let Ok(joined) = timeout_at(deadline, task).await else { return Ok(None) };
        self.stage = Stage::Out;
        let joined = joined.map_err(|_| Error::Closed("consumer"))??;
        self.stage = Stage::Stable;
        let heartbeat = heartbeat::run(self.shared.clone(), joined.partition_counts);
        self.heartbeat = Some(tokio::spawn(heartbeat).abort_handle());
        Ok(Some(GroupEvent::Assigned(joined.partitions)))
    }

    fn stop_heartbeat(&mut self) {
        if let Some(task) = self.heartbeat.take() {
            task.abort();
        }
    }

    /// Tells the coordinator, unless the member is static: such a one is expected back.
    pub(super) async fn leave(&mut self) {
        self.stop_heartbeat();
        if let Stage::Joining(task) = std::mem::replace(&mut self.stage, Stage::Out) {
            task.abort();
        }
        if let Err(error) = self.shared.requests.leave().await {
            tracing::debug!(%error, group = self.shared.id(), "leaving failed; the session will time out");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.stop_heartbeat();
        if let Stage::Joining(task) = &self.stage {
            task.abort();
        }
    }
}

impl Membership {
    fn id(&self) -> &str {
        &self.requests.config().group_id
    }

    fn signal(&self, change: impl FnOnce(&mut Signals)) {
        change(&mut self.signals.lock());
        self.news.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;
    use crate::client::{Client, ClientConfig};
    use crate::transport::{BoxFuture, Stream, Transport};

    /// Nobody answers.
    #[derive(Debug)]
    struct Silence;

    impl Transport for Silence {
        fn connect<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
            Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_polls_too_late_stays_who_it_was_until_it_hears_of_it() {
        let client = Client::new(ClientConfig {
            bootstrap: vec!["nobody:9092".to_owned()],
            transport: Arc::new(Silence),
            seed: Some(0),
            ..ClientConfig::default()
        })
        .unwrap();
        let config =
            ConsumerConfig { max_poll_interval: Duration::from_secs(1), ..ConsumerConfig::default() };
        let mut group = Group::new(Arc::new(client.cluster()), "g", &config);
        group.stage = Stage::Stable;
        group.shared.requests.become_member("m", 3);
        heartbeat::run(group.shared.clone(), None).await;
        let before = group.metadata();
        assert_eq!((before.generation_id, before.member_id.as_str()), (3, "m"));
        assert!(matches!(group.poll(Instant::now()).await, Ok(Some(GroupEvent::Lost))));
        assert_eq!(group.metadata(), GroupMetadata::outside("g"));
    }
}

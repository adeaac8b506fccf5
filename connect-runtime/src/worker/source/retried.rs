//! Retried dead letters of a source ([`crate::redrive`]): read beside what its guest brings, by its first task.
//!
//! A cluster that can't be read now holds nothing up here: whoever writes what the guest brings notices it, too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::{
    Admin, Consumer, ConsumerConfig, Error, FetchedPartition, Isolation, OffsetReset, OffsetSpec, Polled,
    Position, TopicPartition,
};
use tokio::time::Instant;

use crate::component::batch::is_topic_name;
use crate::redrive::inbox::LOOK_EVERY;
use crate::redrive::retry_topic;
use crate::worker::sink::group;
use crate::worker::{Shared, topics};

/// How long one wait for records may take while the rest is read.
const POLL_WAIT: Duration = Duration::from_millis(20);
/// Bytes that the consumer may hold.
const BUFFER_BYTES: usize = 4 << 20;

/// Where retried records come from.
pub(crate) struct Inbox {
    shared: Arc<Shared>,
    topic: Arc<str>,
    group: String,
    /// Whether this task reads them.
    is_open: bool,
    consumer: Option<Consumer>,
    partitions: Vec<TopicPartition>,
    /// When the topic is looked for next.
    next_look: Instant,
    /// What came while nobody asked.
    waiting: Vec<FetchedPartition>,
}

impl Inbox {
    /// `is_open`: this task reads them. The task must have fenced the one before it.
    pub(crate) fn new(shared: &Arc<Shared>, connector: &str, is_open: bool) -> Self {
        let topic = retry_topic(connector);
        Self {
            shared: Arc::clone(shared),
            is_open: is_open && is_topic_name(&topic),
            topic: topic.into(),
            group: group(connector),
            consumer: None,
            partitions: Vec::new(),
            next_look: Instant::now(),
            waiting: Vec::new(),
        }
    }

    /// What is there now. Costs nothing worth mentioning: a source asks after each poll.
    pub(crate) async fn take(&mut self) -> Vec<FetchedPartition> {
        let is_looked_for = self.is_open && Instant::now() >= self.next_look;
        if self.consumer.is_none() && is_looked_for {
            self.wait(Duration::ZERO).await;
        } else if self.consumer.is_some() {
            // Not with a time limit of nothing: timers take a millisecond.
            tokio::select! {
                biased;
                () = self.wait(POLL_WAIT) => {}
                () = std::future::ready(()) => {}
            }
        }
        std::mem::take(&mut self.waiting)
    }

    /// Waits until something is there for [`Self::take`], at most `pause`. Cancel-safe.
    pub(crate) async fn wait(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        while self.waiting.is_empty() {
            let Some(consumer) = &mut self.consumer else {
                if !self.is_open || until < self.next_look {
                    return tokio::time::sleep_until(until).await;
                }
                tokio::time::sleep_until(self.next_look).await;
                self.next_look = Instant::now() + LOOK_EVERY;
                if let Err(error) = self.look().await {
                    tracing::warn!(topic = &*self.topic, %error, "retried records can't be read now");
                }
                continue;
            };
            match consumer.poll(until.saturating_duration_since(Instant::now())).await {
                Ok(Polled::Records(fetched)) => self.waiting = fetched,
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(topic = &*self.topic, %error, "retried records can't be read now");
                    (self.consumer, self.next_look) = (None, Instant::now() + LOOK_EVERY);
                }
            }
        }
    }

    /// The next of all that is there when the source has ended; none: nothing is left. `ends` is filled at the first call.
    pub(crate) async fn rest(
        &mut self,
        ends: &mut Option<BTreeMap<TopicPartition, i64>>,
    ) -> Result<Option<Vec<FetchedPartition>>, Error> {
        if self.is_open && self.consumer.is_none() {
            self.look().await?;
        }
        let Some(consumer) = &mut self.consumer else { return Ok(None) };
        if !self.waiting.is_empty() {
            return Ok(Some(std::mem::take(&mut self.waiting)));
        }
        let ends = match ends {
            Some(ends) => ends,
            None => {
                let wanted = self.partitions.iter().map(|tp| (tp.clone(), OffsetSpec::Latest)).collect();
                let admin = Admin::new(&self.shared.client);
                let found = admin.list_offsets(&wanted, Isolation::ReadCommitted).await?;
                ends.insert(found.into_iter().map(|(tp, end)| (tp, end.offset.unwrap_or(0))).collect())
            }
        };
        let is_left = |consumer: &Consumer| {
            ends.iter().any(|(tp, end)| *end > 0 && consumer.position(tp).is_none_or(|at| at < *end))
        };
        while is_left(consumer) {
            if let Polled::Records(fetched) = consumer.poll(POLL_WAIT).await? {
                return Ok(Some(fetched));
            }
        }
        Ok(None)
    }

    /// Begins to read if the topic is there.
    async fn look(&mut self) -> Result<(), Error> {
        let client = &self.shared.client;
        let Some(count) = topics::partitions_if_there(client, &self.topic).await? else { return Ok(()) };
        let config = ConsumerConfig {
            group_id: Some(self.group.clone()),
            auto_offset_reset: OffsetReset::Earliest,
            isolation: Isolation::ReadCommitted,
            auto_commit_interval: None,
            buffer_bytes: BUFFER_BYTES,
            ..ConsumerConfig::default()
        };
        let mut consumer = Consumer::start(client, config).await?;
        self.partitions = (0..count).map(|at| TopicPartition::new(Arc::clone(&self.topic), at)).collect();
        consumer.assign(self.partitions.iter().map(|tp| (tp.clone(), Position::Committed)).collect())?;
        self.consumer = Some(consumer);
        Ok(())
    }
}

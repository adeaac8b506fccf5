//! Where a start of the task begins, and in which topics.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_client::{OffsetSpec, Position, TopicPartition};
use tokio::time::Instant;
use uuid::Uuid;

use super::SinkTask;
use crate::component::TopicPartition as GuestPartition;
use crate::failure::TaskError;
use crate::worker::sink::offsets::{self, Commit, Topic};
use crate::worker::sink::{group, identity};

impl SinkTask<'_> {
    /// Finds out where to begin: at the position that the target holds, else at the group's, else at the first record; see
    /// `offsets` for when the group's counts though the target holds one.
    pub(super) async fn assign(&mut self) -> Result<(), TaskError> {
        let guest =
            |tp: &TopicPartition| GuestPartition { topic: tp.topic.to_string(), partition: tp.partition };
        let partitions: Vec<_> = self.partitions.iter().map(guest).collect();
        let held = loop {
            match self.sink.assigned(&partitions).await {
                Ok(held) => break held,
                Err(failure) => self.retry.pause(failure).await?,
            }
        };
        let held: BTreeMap<TopicPartition, i64> = held
            .into_iter()
            .map(|held| (TopicPartition::new(held.topic, held.partition), held.offset))
            .collect();
        let committed = self.consumer.committed(&self.partitions).await;
        let committed = committed.map_err(|source| self.cluster("reading the group's offsets", source))?;
        let begins = self.list_offsets(OffsetSpec::Earliest).await?;
        let ends = self.list_offsets(OffsetSpec::Latest).await?;
        let is_forgotten =
            self.partitions.iter().any(|tp| held.contains_key(tp) && !committed.contains_key(tp));
        let before = self.identify(is_forgotten).await?;
        let (mut from, mut news) = (BTreeMap::new(), BTreeMap::new());
        for tp in &self.partitions {
            let topic =
                Topic { now: self.identities.get(&tp.topic).copied(), before: before.get(tp).copied() };
            let (held, committed) = (held.get(tp).copied(), committed.get(tp));
            let start = offsets::start(held, committed, topic)
                .map_err(|offsets::Stranger| self.another_topic(tp, held.unwrap_or(0), topic))?;
            let end = ends.get(tp).copied().unwrap_or(0);
            if let Some(start) = start.filter(|start| *start > end) {
                return Err(self.past_the_end(tp, start, end, held.is_some()));
            }
            let begin = begins.get(tp).copied().unwrap_or(0);
            if let Some(start) = start.filter(|start| *start < begin) {
                tracing::warn!(
                    connector = self.connector.plan.name,
                    topic = &*tp.topic,
                    partition = tp.partition,
                    "offsets {start} to {begin} were removed from the topic before they were read; see retention.ms and \
                     retention.bytes"
                );
            }
            let start_at = start.unwrap_or(begin).max(begin);
            // Without a start, what the group knows is of another topic.
            if let (Some(committed), None) = (committed, start) {
                tracing::warn!(
                    connector = self.connector.plan.name,
                    topic = &*tp.topic,
                    partition = tp.partition,
                    "offset {} was committed in another topic of that name ({}, now {:?}); this one is read from its first record",
                    committed.offset,
                    committed.metadata,
                    topic.now
                );
            }
            let known = committed.filter(|_| start.is_some());
            self.places.start(tp, start_at, held, known.map(|known| known.offset));
            let begin = Commit { next: start_at, held };
            if !known.is_some_and(|known| offsets::says(known, begin, topic.now)) {
                news.insert(tp.clone(), begin);
            }
            from.insert(tp.clone(), Position::Offset(start_at));
        }
        self.commit_first(&news, &before).await?;
        self.consumer.assign(from).map_err(|source| self.cluster("starting to read", source))
    }

    /// Finds out which topics these are; gives back which they were, if that has to be asked.
    async fn identify(&mut self, asked: bool) -> Result<BTreeMap<TopicPartition, Uuid>, TaskError> {
        self.identities = self.identities_now().await?;
        let shared = &self.connector.shared;
        if !asked || self.identities.is_empty() {
            return Ok(BTreeMap::new());
        }
        let before = identity::before(shared, &self.connector.plan.name).await;
        before.map_err(|source| self.cluster("reading which topic it read", source))
    }

    async fn identities_now(&mut self) -> Result<BTreeMap<Arc<str>, Uuid>, TaskError> {
        let mut topics: Vec<&str> = self.partitions.iter().map(|tp| &*tp.topic).collect();
        topics.dedup();
        let now = identity::now(&self.connector.shared.client, &topics).await;
        now.map_err(|source| self.cluster("looking for the topic", source))
    }

    /// Commits again what was committed last, so that the group doesn't forget it. Gives back whether the topic is another one now, in
    /// which nothing can be said.
    pub(super) async fn remind(&mut self) -> Result<bool, TaskError> {
        if self.identities_now().await? != self.identities {
            return Ok(true);
        }
        self.commit_dead_letters().await?;
        let known = self.places.known();
        self.tell_group(&known, Instant::now()).await?;
        Ok(false)
    }

    /// Notes where reading begins, and in which topics, before anything is read: from then on a position in the target is known to
    /// speak of them.
    async fn commit_first(
        &mut self,
        news: &BTreeMap<TopicPartition, Commit>,
        before: &BTreeMap<TopicPartition, Uuid>,
    ) -> Result<(), TaskError> {
        if news.is_empty() {
            return Ok(());
        }
        let (shared, name) = (&self.connector.shared, &self.connector.plan.name);
        let records: Vec<_> = news
            .keys()
            .filter_map(|tp| self.identities.get(&tp.topic).map(|id| (tp, *id)))
            .filter(|(tp, id)| before.get(tp) != Some(id))
            .map(|(tp, id)| identity::record(shared, name, tp, id))
            .collect();
        let committed = self.commit(news, records).await;
        committed.map_err(|source| self.cluster("noting where it begins", source))?;
        self.places.committed(news);
        Ok(())
    }

    /// Going on at that position would pass over what is before it.
    fn another_topic(&self, tp: &TopicPartition, held: i64, topic: Topic) -> TaskError {
        let group = group(&self.connector.plan.name);
        let what = match topic.before {
            Some(_) => "of another topic of that name, before this one was made".to_owned(),
            None => format!(
                "it is not known of which topic: the group {group} has no offset, as on another cluster, after the topic was made anew, or \
                 when nothing was committed for as long as the cluster keeps offsets (offsets.retention.minutes)"
            ),
        };
        let message = format!(
            "its target stands at offset {held} of {tp}, but {what}; if this topic has the same records at the same offsets, say so by \
             setting the group {group} to {held}; otherwise remove what the connector wrote together with its state, or give it another \
             place, to begin at the first record"
        );
        self.connector.invalid(self.task, message)
    }

    /// Waiting until the topic has grown that far would pass over what is in it now.
    fn past_the_end(&self, tp: &TopicPartition, start: i64, end: i64, held: bool) -> TaskError {
        let reset = format!("reset the group {}", group(&self.connector.plan.name));
        let way_out = match held {
            true => {
                format!("remove what it wrote together with its state and {reset}, or give it another place")
            }
            false => reset,
        };
        let message = format!(
            "it stands at offset {start} of {tp}, which ends at {end}: the topic is another one, or lost records; \
             to begin anew, {way_out}"
        );
        self.connector.invalid(self.task, message)
    }
}

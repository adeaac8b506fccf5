//! The topics that a source's records go to beside the pipeline's own: which ones may be written to, and making them.
//!
//! A connector or a transform may choose a topic for each record. One that isn't there is made like the pipeline's own
//! (Kafka Connect: `topic.creation`, KIP-158), whatever the cluster's `auto.create.topics.enable` says.

use std::sync::Arc;
use std::time::Duration;

use millrace_client::Error;
use tokio::time::Instant;

use crate::plan::TopicPlan;
use crate::spec::is_internal_topic;
use crate::worker::{Shared, topics};

/// Most topics that a task makes within [`CREATED_WITHIN`]: records routed by something as fine as an id would fill the cluster.
const CREATED_MAX: usize = 1_000;
const CREATED_WITHIN: Duration = Duration::from_secs(3_600);

/// The topics that a task may write to.
pub(crate) struct Routes {
    shared: Arc<Shared>,
    /// How the pipeline's own topic is made.
    like: Arc<TopicPlan>,
    created: usize,
    /// When counting began.
    since: Instant,
}

/// Why records can't go to a topic.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The cluster doesn't answer, or refuses to make it.
    #[error(transparent)]
    Cluster(#[from] Error),
    /// It must not be written to.
    #[error("{0}")]
    Forbidden(String),
}

impl Routes {
    pub(crate) fn new(shared: &Arc<Shared>, like: &Arc<TopicPlan>) -> Self {
        Self { shared: Arc::clone(shared), like: Arc::clone(like), created: 0, since: Instant::now() }
    }

    /// The number of partitions of `topic`, which is made if it isn't there.
    pub(crate) async fn partitions(&mut self, topic: &str) -> Result<i32, Refusal> {
        if self.is_reserved(topic) {
            return Err(Refusal::Forbidden(format!(
                "records were addressed to topic {topic}, which holds the state of the cluster or of its workers; \
                 the connector must choose another"
            )));
        }
        let client = &self.shared.client;
        if let Some(count) = topics::partitions_if_there(client, topic).await? {
            return Ok(count);
        }
        if self.since.elapsed() >= CREATED_WITHIN {
            (self.created, self.since) = (0, Instant::now());
        }
        if self.created >= CREATED_MAX {
            return Err(Refusal::Forbidden(format!(
                "topic {topic} is not there, and the task has made {CREATED_MAX} topics within the hour, the most it may; \
                 route to fewer, or create them"
            )));
        }
        let new = TopicPlan { name: topic.to_owned(), ..TopicPlan::clone(&self.like) };
        topics::create(client, &[topics::new(&new)]).await?;
        self.created += 1;
        Ok(topics::partition_count(client, topic).await?)
    }

    /// Whether only the brokers and workers themselves write to this topic: a position that a guest made up would count for
    /// any connector.
    fn is_reserved(&self, topic: &str) -> bool {
        let shared = &self.shared;
        *topic == *shared.offsets_topic
            || shared.state_topics.iter().any(|state| state == topic)
            || topic.starts_with("__")
            || is_internal_topic(topic)
    }
}

//! What a sink's task reads: its topic, and the topic with records that are retried.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_client::TopicPartition;

use super::SinkConnector;
use crate::component::batch::{Batch, is_topic_name};
use crate::redrive::inbox::Origin;
use crate::worker::topics;

/// Records that were read, and what is known of them beside.
pub(super) struct Read {
    pub(super) batch: Batch,
    /// What has been read with them.
    pub(super) nexts: BTreeMap<TopicPartition, i64>,
    /// Where they were read.
    pub(super) topic: Arc<str>,
    /// What each retried record was before; none: they are the topic's own.
    pub(super) origins: Option<Vec<Origin>>,
}

impl Read {
    /// Retried records go on to the sink as what they are: records of the retry topic.
    pub(super) fn settled(&self, batch: &Batch) -> Option<Batch> {
        self.origins.as_ref()?;
        let mut moved = batch.slice(0..batch.len());
        moved.move_to(&self.topic);
        Some(moved)
    }

    /// What a retried record was before.
    pub(super) fn first(&self, index: u32) -> Option<&Origin> {
        self.origins.as_ref()?.get(index as usize)
    }
}

/// The partitions of the topic with retried records that belong to a task; none: it isn't there.
pub(super) async fn retried_partitions(
    connector: &SinkConnector,
    topic: &Arc<str>,
    task: u32,
    tasks: u32,
) -> Result<Option<Vec<TopicPartition>>, millrace_client::Error> {
    if connector.plan.errors.dead_letter_topic.is_none() || !is_topic_name(topic) {
        return Ok(None);
    }
    let count = topics::partitions_if_there(&connector.shared.client, topic).await?;
    let share = |count: i32| (0..count).filter(|p| p.unsigned_abs() % tasks.max(1) == task);
    let partition = |p| TopicPartition::new(Arc::clone(topic), p);
    Ok(count.map(|count| share(count).map(partition).collect()))
}

//! Names of things in a cluster.

use std::fmt;
use std::sync::Arc;

use kafka_protocol::messages::{GroupId, TopicName, TransactionalId};
use kafka_protocol::protocol::StrBytes;

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Name of the topic.
    pub topic: Arc<str>,
    /// Number of the partition, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {} partition {}", self.topic, self.partition)
    }
}

pub(crate) fn str_bytes(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn topic_name(topic: &str) -> TopicName {
    TopicName(str_bytes(topic))
}

pub(crate) fn group_id(group: &str) -> GroupId {
    GroupId(str_bytes(group))
}

pub(crate) fn transactional_id(id: &str) -> TransactionalId {
    TransactionalId(str_bytes(id))
}

/// Groups a map of partitions by topic, as most requests want it.
pub(crate) fn by_topic<'a, V: 'a>(
    partitions: impl IntoIterator<Item = (&'a TopicPartition, V)>,
) -> std::collections::BTreeMap<Arc<str>, Vec<(i32, V)>> {
    let mut topics: std::collections::BTreeMap<Arc<str>, Vec<(i32, V)>> = Default::default();
    for (tp, value) in partitions {
        topics.entry(tp.topic.clone()).or_default().push((tp.partition, value));
    }
    topics
}

//! Topics: create, grow, look at, cut, delete.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
};

use super::{Admin, Each};
use crate::backoff::Retry;
use crate::cluster::TopicInfo;
use crate::error::{Error, Result};
use crate::topic::{TopicPartition, by_topic, str_bytes, topic_name};

/// A topic to be created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Name.
    pub name: String,
    /// Number of partitions; -1 for the cluster's `num.partitions`.
    pub partitions: i32,
    /// Copies of each partition; -1 for the cluster's `default.replication.factor`.
    pub replication_factor: i16,
    /// Settings that differ from the cluster's.
    pub configs: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic with the cluster's replication factor and settings.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self { name: name.into(), partitions, replication_factor: -1, configs: BTreeMap::new() }
    }
}

impl Admin {
    /// Creates topics. One that exists gives `TOPIC_ALREADY_EXISTS`.
    pub async fn create_topics(&self, topics: &[NewTopic]) -> Result<Each<()>> {
        self.creating(topics, false).await
    }

    /// What [`Self::create_topics`] would answer, without creating anything.
    pub async fn check_topics(&self, topics: &[NewTopic]) -> Result<Each<()>> {
        self.creating(topics, true).await
    }

    async fn creating(&self, topics: &[NewTopic], validate_only: bool) -> Result<Each<()>> {
        let creatable = topics.iter().map(|topic| {
            let configs = topic.configs.iter().map(|(name, value)| {
                CreatableTopicConfig::default().with_name(str_bytes(name)).with_value(Some(str_bytes(value)))
            });
            CreatableTopic::default()
                .with_name(topic_name(&topic.name))
                .with_num_partitions(topic.partitions)
                .with_replication_factor(topic.replication_factor)
                .with_configs(configs.collect())
        });
        let request = CreateTopicsRequest::default()
            .with_topics(creatable.collect())
            .with_validate_only(validate_only)
            .with_timeout_ms(self.timeout_ms());
        let response = self.request(&request, |_| Ok(())).await?;
        let results = response.topics.into_iter().map(|topic| {
            let name = topic.name.0.to_string();
            let subject = || format!("topic {name}");
            let message = topic.error_message.as_deref();
            let result = Error::check_with("CreateTopics", subject, topic.error_code, message);
            (name, result)
        });
        Ok(results.collect())
    }

    /// Creates what is not there yet.
    pub async fn ensure_topics(&self, topics: &[NewTopic]) -> Result<()> {
        for (_, result) in self.create_topics(topics).await? {
            match result {
                Err(error) if error.code() == Some(ResponseError::TopicAlreadyExists) => {}
                result => result?,
            }
        }
        Ok(())
    }

    /// Deletes topics with all their records.
    pub async fn delete_topics(&self, topics: &[&str]) -> Result<Each<()>> {
        let request = DeleteTopicsRequest::default()
            .with_topic_names(topics.iter().map(|topic| topic_name(topic)).collect())
            .with_timeout_ms(self.timeout_ms());
        let response = self.request(&request, |_| Ok(())).await?;
        let results = response.responses.into_iter().map(|topic| {
            let name = topic.name.map(|name| name.0.to_string()).unwrap_or_default();
            let subject = || format!("topic {name}");
            let message = topic.error_message.as_deref();
            let result = Error::check_with("DeleteTopics", subject, topic.error_code, message);
            (name, result)
        });
        Ok(results.collect())
    }

    /// Gives topics more partitions: name to the new total.
    pub async fn create_partitions(&self, totals: &BTreeMap<String, i32>) -> Result<Each<()>> {
        let topics = totals.iter().map(|(topic, total)| {
            CreatePartitionsTopic::default()
                .with_name(topic_name(topic))
                .with_count(*total)
                .with_assignments(None)
        });
        let request = CreatePartitionsRequest::default()
            .with_topics(topics.collect())
            .with_timeout_ms(self.timeout_ms());
        let response = self.request(&request, |_| Ok(())).await?;
        let results = response.results.into_iter().map(|topic| {
            let name = topic.name.0.to_string();
            let subject = || format!("topic {name}");
            let message = topic.error_message.as_deref();
            let result = Error::check_with("CreatePartitions", subject, topic.error_code, message);
            (name, result)
        });
        Ok(results.collect())
    }

    /// All topics, internal ones too.
    pub async fn list_topics(&self) -> Result<BTreeMap<Arc<str>, TopicInfo>> {
        self.metadata(None).await
    }

    /// These topics; one that does not exist carries its error. Creates none.
    pub async fn describe_topics(&self, topics: &[&str]) -> Result<BTreeMap<Arc<str>, TopicInfo>> {
        let topics: Vec<Arc<str>> = topics.iter().map(|topic| Arc::from(*topic)).collect();
        self.metadata(Some(&topics)).await
    }

    /// Waits until every partition of the topics has a leader, as after creating them.
    pub async fn await_topics(&self, topics: &[&str]) -> Result<()> {
        for topic in topics {
            let mut retry = Retry::new(self.cluster.config().api_timeout, self.cluster.backoff());
            loop {
                let found = self.describe_topics(&[topic]).await?;
                let info = found.get(*topic);
                let leaderless = info.is_none_or(|info| {
                    info.partitions.is_empty() || info.partitions.iter().any(|partition| partition.leader < 0)
                });
                if !leaderless {
                    break;
                }
                let code = info.and_then(|info| info.error).unwrap_or(ResponseError::LeaderNotAvailable);
                let error = Error::broker("Metadata", format!("topic {topic}"), code);
                if !retry.again(&error).await {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn metadata(&self, topics: Option<&[Arc<str>]>) -> Result<BTreeMap<Arc<str>, TopicInfo>> {
        let mut retry = Retry::new(self.cluster.config().api_timeout, self.cluster.backoff());
        loop {
            match self.cluster.fetch_metadata(topics, 0, false).await {
                Err(error) if retry.again(&error).await => {}
                done => return done.map(|metadata| metadata.topics),
            }
        }
    }

    /// Deletes all records before the given offsets (-1: before the high watermark). Gives the new first offsets.
    pub async fn delete_records(
        &self,
        before: &BTreeMap<TopicPartition, i64>,
    ) -> Result<BTreeMap<TopicPartition, Result<i64>>> {
        let mut by_leader: BTreeMap<i32, BTreeMap<TopicPartition, i64>> = BTreeMap::new();
        let mut results = BTreeMap::new();
        for topic in by_topic(before).into_keys() {
            self.cluster.topic(&topic).await?;
        }
        let metadata = self.cluster.metadata();
        for (tp, offset) in before {
            match metadata.leader(tp) {
                Some(leader) => drop(by_leader.entry(leader).or_default().insert(tp.clone(), *offset)),
                None => {
                    let code = ResponseError::LeaderNotAvailable;
                    results.insert(tp.clone(), Err(Error::broker("DeleteRecords", tp.to_string(), code)));
                }
            }
        }
        for (leader, offsets) in by_leader {
            let topics = by_topic(&offsets).into_iter().map(|(topic, partitions)| {
                let partitions = partitions.into_iter().map(|(partition, offset)| {
                    DeleteRecordsPartition::default().with_partition_index(partition).with_offset(*offset)
                });
                DeleteRecordsTopic::default()
                    .with_name(topic_name(&topic))
                    .with_partitions(partitions.collect())
            });
            let request = DeleteRecordsRequest::default()
                .with_topics(topics.collect())
                .with_timeout_ms(self.timeout_ms());
            let response = self.cluster.broker(leader).await?.request(&request).await?;
            for topic in response.topics {
                let name: Arc<str> = topic.name.0.as_str().into();
                for partition in topic.partitions {
                    let tp = TopicPartition::new(name.clone(), partition.partition_index);
                    let result = Error::check("DeleteRecords", || tp.to_string(), partition.error_code);
                    results.insert(tp, result.map(|()| partition.low_watermark));
                }
            }
        }
        Ok(results)
    }
}

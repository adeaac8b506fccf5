//! Brokers, topics, partitions and leaders, as the cluster last told.
//!
//! Metadata is fetched for the topics somebody here has asked about, when it is missing, when a broker said that it is
//! wrong, and when it is old. Whoever needs fresh metadata says which version it saw fail; if another caller has fetched
//! a newer one meanwhile, nothing is sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use tokio::time::Instant;

use super::Cluster;
use crate::error::{Error, Result};
use crate::topic::{TopicPartition, topic_name};

/// A snapshot of the cluster.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// Counts the snapshots; 0 is "nothing fetched yet".
    pub version: u64,
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// Id of the controller, or -1.
    pub controller: i32,
    /// Live brokers by id.
    pub brokers: BTreeMap<i32, Broker>,
    /// Topics by name; only those that were asked for.
    pub topics: BTreeMap<Arc<str>, TopicInfo>,
    fetched_at: Option<Instant>,
}

/// A broker's advertised address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// `node.id`
    pub id: i32,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
    /// `broker.rack`
    pub rack: Option<String>,
}

/// A topic, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// What the broker said about it, if it said an error.
    pub error: Option<ResponseError>,
    /// Its id, if brokers have ids.
    pub id: uuid::Uuid,
    /// Whether the cluster made it for itself.
    pub is_internal: bool,
    /// Its partitions, sorted by number.
    pub partitions: Vec<PartitionInfo>,
}

/// A partition's placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Number, from 0.
    pub index: i32,
    /// Id of the leader, or -1.
    pub leader: i32,
    /// Epoch of the leader, or -1.
    pub leader_epoch: i32,
    /// Brokers that have a copy.
    pub replicas: Vec<i32>,
    /// Those that are in sync.
    pub isr: Vec<i32>,
    /// What the broker said about it, if it said an error.
    pub error: Option<ResponseError>,
}

impl Metadata {
    /// The partition's leader, if it has one that is alive.
    pub fn leader(&self, tp: &TopicPartition) -> Option<i32> {
        let leader = self.partition(tp)?.leader;
        self.brokers.contains_key(&leader).then_some(leader)
    }

    /// The partition, if it is known.
    pub fn partition(&self, tp: &TopicPartition) -> Option<&PartitionInfo> {
        let partitions = &self.topics.get(&tp.topic)?.partitions;
        partitions.binary_search_by_key(&tp.partition, |p| p.index).ok().map(|at| &partitions[at])
    }
}

impl Cluster {
    /// The latest snapshot.
    pub(crate) fn metadata(&self) -> Arc<Metadata> {
        self.metadata.borrow().clone()
    }

    /// Adds a topic to those that metadata is fetched for.
    pub(crate) fn watch_topic(&self, topic: &str) {
        let mut topics = self.topics.lock();
        if !topics.contains(topic) {
            topics.insert(topic.into());
        }
    }

    /// Whether the snapshot has outlived `metadata.max.age.ms`.
    pub(crate) fn metadata_is_stale(&self) -> bool {
        let fetched_at = self.metadata.borrow().fetched_at;
        fetched_at.is_none_or(|at| at.elapsed() > self.config.metadata_max_age)
    }

    /// Fetches metadata unless there is some newer than version `seen` by now.
    pub(crate) async fn refresh(&self, seen: u64) -> Result<Arc<Metadata>> {
        let _one_at_a_time = self.refreshing.lock().await;
        let current = self.metadata();
        if current.version > seen {
            return Ok(current);
        }
        let topics: Vec<_> = self.topics.lock().iter().cloned().collect();
        let fresh = self.fetch_metadata(Some(&topics), current.version + 1, true).await?;
        let fresh = Arc::new(fresh);
        self.metadata.send_replace(fresh.clone());
        Ok(fresh)
    }

    /// Asks any broker about `topics` (`None`: about all). Does not change the snapshot.
    pub(crate) async fn fetch_metadata(
        &self,
        topics: Option<&[Arc<str>]>,
        version: u64,
        allow_auto_create: bool,
    ) -> Result<Metadata> {
        let topics = topics.map(|topics| {
            topics.iter().map(|t| MetadataRequestTopic::default().with_name(Some(topic_name(t)))).collect()
        });
        let request =
            MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(allow_auto_create);
        let response = self.request_any(&request).await?;
        Ok(Metadata::from_response(response, version))
    }

    /// The topic, fetched if need be; retries while it is being created or has no leader.
    pub(crate) async fn topic(&self, topic: &str) -> Result<TopicInfo> {
        self.watch_topic(topic);
        let mut metadata = self.metadata();
        let limit = self.config.api_timeout;
        let deadline = Instant::now() + limit;
        let mut backoff = self.backoff();
        loop {
            let error = match metadata.topics.get(topic) {
                Some(info) if info.error.is_none() && !info.partitions.is_empty() => return Ok(info.clone()),
                Some(TopicInfo { error: Some(code), .. }) => {
                    Error::broker("Metadata", format!("topic {topic}"), *code)
                }
                _ => Error::broker(
                    "Metadata",
                    format!("topic {topic}"),
                    ResponseError::UnknownTopicOrPartition,
                ),
            };
            if metadata.topics.contains_key(topic) {
                if !error.is_retriable() || Instant::now() >= deadline {
                    return Err(error);
                }
                backoff.pause().await;
            }
            match self.refresh(metadata.version).await {
                Ok(fresh) => metadata = fresh,
                Err(error) if error.is_retriable() && Instant::now() < deadline => backoff.pause().await,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Metadata {
    fn from_response(response: MetadataResponse, version: u64) -> Self {
        let brokers = response.brokers.into_iter().filter_map(|broker| {
            // A port that is none makes a broker that cannot be reached.
            let port = u16::try_from(broker.port).ok()?;
            let rack = broker.rack.map(|rack| rack.to_string());
            let id = broker.node_id.0;
            Some((id, Broker { id, host: broker.host.to_string(), port, rack }))
        });
        Self {
            version,
            cluster_id: response.cluster_id.map(|id| id.to_string()),
            controller: response.controller_id.0,
            brokers: brokers.collect(),
            topics: response.topics.into_iter().filter_map(topic_info).collect(),
            fetched_at: Some(Instant::now()),
        }
    }
}

fn topic_info(topic: MetadataResponseTopic) -> Option<(Arc<str>, TopicInfo)> {
    let name: Arc<str> = topic.name?.0.as_str().into();
    let mut partitions: Vec<_> = topic
        .partitions
        .into_iter()
        .map(|partition| PartitionInfo {
            index: partition.partition_index,
            leader: partition.leader_id.0,
            leader_epoch: partition.leader_epoch,
            replicas: partition.replica_nodes.iter().map(|id| id.0).collect(),
            isr: partition.isr_nodes.iter().map(|id| id.0).collect(),
            error: ResponseError::try_from_code(partition.error_code),
        })
        .collect();
    partitions.sort_by_key(|partition| partition.index);
    let error = ResponseError::try_from_code(topic.error_code);
    Some((name, TopicInfo { error, id: topic.topic_id, is_internal: topic.is_internal, partitions }))
}

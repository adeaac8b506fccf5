//! Offsets that are asked for: by time (ListOffsets) at the leaders, and a group's committed ones at its coordinator.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
    OffsetFetchResponse,
};

use crate::backoff::Retry;
use crate::cluster::{Cluster, Coordinators, Metadata};
use crate::error::{Error, Result};
use crate::topic::{TopicPartition, by_topic, group_id, str_bytes, topic_name};

/// An offset to commit: the next record to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// Offset of the next record.
    pub offset: i64,
    /// Epoch of the leader that gave the last record, if known (KIP-320).
    pub leader_epoch: Option<i32>,
    /// Whatever the application wants to keep with it, at most 4096 bytes.
    pub metadata: String,
}

impl From<i64> for OffsetAndMetadata {
    fn from(offset: i64) -> Self {
        Self { offset, ..Self::default() }
    }
}

/// Who commits offsets for a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMetadata {
    /// The group.
    pub group_id: String,
    /// Generation of the group that the member belongs to; -1 outside of a membership.
    pub generation_id: i32,
    /// The member, empty outside of a membership.
    pub member_id: String,
    /// `group.instance.id` of a static member (KIP-345).
    pub group_instance_id: Option<String>,
}

impl GroupMetadata {
    /// A committer that is not a member; brokers accept it only while the group has no members.
    pub fn outside(group_id: &str) -> Self {
        Self {
            group_id: group_id.to_owned(),
            generation_id: -1,
            member_id: String::new(),
            group_instance_id: None,
        }
    }
}

/// Which records a reader sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// All up to the high watermark, also of open and aborted transactions.
    #[default]
    ReadUncommitted,
    /// Up to the last stable offset, without aborted transactions.
    ReadCommitted,
}

impl Isolation {
    pub(crate) fn level(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// Which offset of a partition is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first one that is there.
    Earliest,
    /// The one after the last (the last stable offset under [`Isolation::ReadCommitted`]).
    Latest,
    /// That of the record with the highest timestamp.
    MaxTimestamp,
    /// The first one whose timestamp is at least this many milliseconds since 1970.
    Timestamp(i64),
}

impl OffsetSpec {
    fn timestamp(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::Timestamp(ms) => ms,
        }
    }
}

/// An offset that a leader named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset; `None` if no record is that late.
    pub offset: Option<i64>,
    /// Milliseconds since 1970 of that record; -1 for earliest and latest.
    pub timestamp: i64,
}

/// Asks the leaders, again while a leader is missing or has moved.
pub(crate) async fn list_offsets(
    cluster: &Cluster,
    wanted: &BTreeMap<TopicPartition, OffsetSpec>,
    isolation: Isolation,
) -> Result<BTreeMap<TopicPartition, ListedOffset>> {
    let mut missing = wanted.clone();
    let mut found = BTreeMap::new();
    let mut retry = Retry::new(cluster.config().api_timeout, cluster.backoff());
    for topic in by_topic(wanted.keys().map(|tp| (tp, ()))).into_keys() {
        cluster.topic(&topic).await?;
    }
    while !missing.is_empty() {
        let metadata = cluster.metadata();
        let Err(error) = list_once(cluster, &metadata, &mut missing, &mut found, isolation).await else {
            continue;
        };
        if !retry.again(&error).await {
            return Err(error);
        }
        if error.wants_metadata() {
            // If this fails, the next attempt says why.
            let _ = cluster.refresh(metadata.version).await;
        }
    }
    Ok(found)
}

/// One round over all leaders; moves what was answered from `missing` to `found`.
async fn list_once(
    cluster: &Cluster,
    metadata: &Metadata,
    missing: &mut BTreeMap<TopicPartition, OffsetSpec>,
    found: &mut BTreeMap<TopicPartition, ListedOffset>,
    isolation: Isolation,
) -> Result<()> {
    let mut by_leader: BTreeMap<i32, Vec<(TopicPartition, OffsetSpec)>> = BTreeMap::new();
    let mut failed = Ok(());
    for (tp, spec) in missing.iter() {
        match metadata.leader(tp) {
            Some(leader) => by_leader.entry(leader).or_default().push((tp.clone(), *spec)),
            None => {
                failed = Err(Error::broker("ListOffsets", tp.to_string(), ResponseError::LeaderNotAvailable))
            }
        }
    }
    for (leader, partitions) in by_leader {
        let topics =
            by_topic(partitions.iter().map(|(tp, spec)| (tp, *spec))).into_iter().map(|(topic, specs)| {
                let partitions = specs.into_iter().map(|(partition, spec)| {
                    ListOffsetsPartition::default()
                        .with_partition_index(partition)
                        .with_timestamp(spec.timestamp())
                });
                ListOffsetsTopic::default()
                    .with_name(topic_name(&topic))
                    .with_partitions(partitions.collect())
            });
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_isolation_level(isolation.level())
            .with_topics(topics.collect());
        let response = match cluster.broker(leader).await {
            Ok(connection) => connection.request(&request).await?,
            Err(error) => {
                failed = Err(error);
                continue;
            }
        };
        if let Err(error) = take_listed(response, missing, found) {
            failed = Err(error);
        }
    }
    failed
}

fn take_listed(
    response: ListOffsetsResponse,
    missing: &mut BTreeMap<TopicPartition, OffsetSpec>,
    found: &mut BTreeMap<TopicPartition, ListedOffset>,
) -> Result<()> {
    let mut failed = Ok(());
    for topic in response.topics {
        let name: Arc<str> = topic.name.0.as_str().into();
        for partition in topic.partitions {
            let tp = TopicPartition::new(name.clone(), partition.partition_index);
            match Error::check("ListOffsets", || tp.to_string(), partition.error_code) {
                Err(error) => failed = Err(error),
                Ok(()) => {
                    missing.remove(&tp);
                    let offset = Some(partition.offset).filter(|offset| *offset >= 0);
                    found.insert(tp, ListedOffset { offset, timestamp: partition.timestamp });
                }
            }
        }
    }
    failed
}

/// Commits a group's offsets.
pub(crate) async fn commit(
    coordinator: &Coordinators,
    group: &GroupMetadata,
    offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
) -> Result<()> {
    if offsets.is_empty() {
        return Ok(());
    }
    let topics = by_topic(offsets).into_iter().map(|(topic, offsets)| {
        let partitions = offsets.into_iter().map(|(partition, offset)| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(partition)
                .with_committed_offset(offset.offset)
                .with_committed_leader_epoch(offset.leader_epoch.unwrap_or(-1))
                .with_committed_metadata(Some(str_bytes(&offset.metadata)))
        });
        OffsetCommitRequestTopic::default()
            .with_name(topic_name(&topic))
            .with_partitions(partitions.collect())
    });
    let request = OffsetCommitRequest::default()
        .with_group_id(group_id(&group.group_id))
        .with_generation_id_or_member_epoch(group.generation_id)
        .with_member_id(str_bytes(&group.member_id))
        .with_group_instance_id(group.group_instance_id.as_deref().map(str_bytes))
        .with_topics(topics.collect());
    coordinator.request_until_done(&request, |response| check_commit(response, group)).await.map(drop)
}

fn check_commit(response: &OffsetCommitResponse, group: &GroupMetadata) -> Result<()> {
    for topic in &response.topics {
        for partition in &topic.partitions {
            let subject = || {
                format!(
                    "group {} topic {} partition {}",
                    group.group_id, topic.name.0, partition.partition_index
                )
            };
            Error::check("OffsetCommit", subject, partition.error_code)?;
        }
    }
    Ok(())
}

/// Reads a group's committed offsets; partitions without one are left out. `None` asks for all partitions. Waits for
/// open transactions that may change them (`require_stable`, KIP-447).
pub(crate) async fn committed(
    coordinator: &Coordinators,
    group: &str,
    partitions: Option<&[TopicPartition]>,
) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
    let topics = partitions.map(|partitions| {
        let topics = by_topic(partitions.iter().map(|tp| (tp, ()))).into_iter().map(|(topic, partitions)| {
            let indexes = partitions.into_iter().map(|(partition, ())| partition).collect();
            OffsetFetchRequestTopic::default().with_name(topic_name(&topic)).with_partition_indexes(indexes)
        });
        topics.collect()
    });
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id(group))
        .with_topics(topics)
        .with_require_stable(true);
    let response = coordinator.request_until_done(&request, |response| check_fetch(response, group)).await?;
    let mut offsets = BTreeMap::new();
    for topic in response.topics {
        let name: Arc<str> = topic.name.0.as_str().into();
        for partition in topic.partitions {
            if partition.committed_offset < 0 {
                continue;
            }
            let offset = OffsetAndMetadata {
                offset: partition.committed_offset,
                leader_epoch: Some(partition.committed_leader_epoch).filter(|epoch| *epoch >= 0),
                metadata: partition.metadata.map(|text| text.to_string()).unwrap_or_default(),
            };
            offsets.insert(TopicPartition::new(name.clone(), partition.partition_index), offset);
        }
    }
    Ok(offsets)
}

fn check_fetch(response: &OffsetFetchResponse, group: &str) -> Result<()> {
    Error::check("OffsetFetch", || format!("group {group}"), response.error_code)?;
    for topic in &response.topics {
        for partition in &topic.partitions {
            let subject =
                || format!("group {group} topic {} partition {}", topic.name.0, partition.partition_index);
            Error::check("OffsetFetch", subject, partition.error_code)?;
        }
    }
    Ok(())
}

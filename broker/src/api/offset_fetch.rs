//! OffsetFetch (key 9), versions 1 to 9. KIP-447 (`require_stable`, v7), KIP-709 (many groups, v8), KIP-848 (v9).
//!
//! No commit is offset -1 without an error, also in a group that nobody knows. Null topics (v2 and up) mean all that were
//! committed. With `require_stable`, a partition whose offset a transaction is about to change is
//! UNSTABLE_OFFSET_COMMIT. Version 1 has no error for the whole: its partitions carry it.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};

use super::{RequestContext, reply};
use crate::coordinators::TopicPartition;
use crate::group::coordinator::Coordinator;
use crate::group::offsets::CommittedOffset;
use crate::group::query::FetchedOffset;

/// The version from which on many groups are asked for at once.
const MANY_GROUPS: i16 = 8;

/// What one group is asked for: everything, or these partitions.
type Asked = Option<Vec<TopicPartition>>;

/// What is answered for one group.
type Answer = Result<Vec<(TopicPartition, FetchedOffset)>, ResponseError>;

/// Gives committed offsets.
pub(super) async fn handle(ctx: &RequestContext, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let stable = request.require_stable;
    if ctx.version >= MANY_GROUPS {
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in request.groups {
            let asked = group.topics.map(|topics| {
                topics.into_iter().flat_map(|topic| named(&topic.name, &topic.partition_indexes)).collect()
            });
            let member = group.member_id.as_ref().map(ToString::to_string);
            let answer = fetch(ctx, &group.group_id, asked, stable, (member, group.member_epoch)).await;
            groups.push(group_response(answer).with_group_id(group.group_id));
        }
        return OffsetFetchResponse::default().with_groups(groups);
    }
    let asked: Asked = request.topics.map(|topics| {
        topics.into_iter().flat_map(|topic| named(&topic.name, &topic.partition_indexes)).collect()
    });
    let partitions = asked.clone().unwrap_or_default();
    let answer = fetch(ctx, &request.group_id, asked, stable, (None, -1)).await;
    single_response(ctx.version, answer, partitions)
}

fn named(topic: &TopicName, partitions: &[i32]) -> Vec<TopicPartition> {
    partitions.iter().map(|partition| TopicPartition::new(&***topic, *partition)).collect()
}

async fn fetch(
    ctx: &RequestContext,
    group: &str,
    asked: Asked,
    stable: bool,
    (member, epoch): (Option<String>, i32),
) -> Answer {
    let shard = ctx.broker.coordinators.group(&ctx.broker, group).await?;
    let group = group.to_owned();
    let look = move |coordinator: &Coordinator| {
        coordinator.validate_fetch(&group, member.as_deref(), epoch)?;
        Ok(coordinator.fetch_offsets(&group, asked.as_deref(), stable))
    };
    shard.look(look).await?
}

/// Partitions by topic, in the order of the names.
fn by_topic<P>(
    found: Vec<(TopicPartition, FetchedOffset)>,
    make: impl Fn(i32, CommittedOffset, i16) -> P,
) -> BTreeMap<String, Vec<P>> {
    let nothing = || CommittedOffset {
        offset: -1,
        leader_epoch: -1,
        metadata: String::new(),
        commit_ms: 0,
        expire_ms: None,
    };
    let mut topics: BTreeMap<String, Vec<P>> = BTreeMap::new();
    for (TopicPartition { topic, partition }, offset) in found {
        let (committed, code) = match offset {
            FetchedOffset::Committed(committed) => (committed, 0),
            FetchedOffset::None => (nothing(), 0),
            FetchedOffset::Unstable => (nothing(), ResponseError::UnstableOffsetCommit.code()),
        };
        topics.entry(topic).or_default().push(make(partition, committed, code));
    }
    topics
}

fn group_response(answer: Answer) -> OffsetFetchResponseGroup {
    let found = match answer {
        Ok(found) => found,
        Err(error) => return OffsetFetchResponseGroup::default().with_error_code(error.code()),
    };
    let topics = by_topic(found, |partition, committed, code| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(partition)
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_metadata(Some(reply::text(committed.metadata)))
            .with_error_code(code)
    });
    let topics = topics.into_iter().map(|(name, partitions)| {
        OffsetFetchResponseTopics::default()
            .with_name(TopicName(reply::text(name)))
            .with_partitions(partitions)
    });
    OffsetFetchResponseGroup::default().with_topics(topics.collect())
}

fn single_response(version: i16, answer: Answer, asked: Vec<TopicPartition>) -> OffsetFetchResponse {
    let (found, error) = match answer {
        Ok(found) => (found, 0),
        Err(error) => {
            let each = asked.into_iter().map(|partition| (partition, FetchedOffset::None));
            (each.collect(), error.code())
        }
    };
    let topics = by_topic(found, |partition, committed, code| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(partition)
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(if version >= 5 { committed.leader_epoch } else { -1 })
            .with_metadata(Some(reply::text(committed.metadata)))
            .with_error_code(if error != 0 { error } else { code })
    });
    let topics = topics.into_iter().map(|(name, partitions)| {
        OffsetFetchResponseTopic::default()
            .with_name(TopicName(reply::text(name)))
            .with_partitions(partitions)
    });
    let response = OffsetFetchResponse::default().with_topics(topics.collect());
    if version >= 2 { response.with_error_code(error) } else { response }
}

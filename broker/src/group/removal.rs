//! How offsets and groups end: by an administrator, with their topic, or by age.
//!
//! Offsets do not age while their group lives. Once it is empty they stay for `offsets.retention.minutes`, counted from
//! the moment it became empty (KIP-211); offsets of a group that never had members count from their own commit. A
//! group of consumers that is stable loses old offsets of topics that nobody in it subscribes to any more.

use crate::coordinators::{KeyValue, Token, TopicPartition};
use crate::group::classic::{CONSUMER, Group, State};
use crate::group::consumer::change::difference;
use crate::group::context::{Context, Write};
use crate::group::event::Reply;
use crate::group::offsets::CommittedOffset;
use crate::group::{records, subscription};
use kafka_protocol::ResponseError;

/// What became of an attempt to end a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// There was nothing on disk: forget it now.
    Now,
    /// When the tombstones are durable.
    Later,
}

/// Deletes an empty group with all its offsets.
pub(crate) fn delete(
    group: &mut Group,
    cx: &mut Context,
    token: Option<Token>,
) -> Result<Ended, ResponseError> {
    match group.state {
        State::Dead => return Err(ResponseError::GroupIdNotFound),
        _ if group.is_vacant() => {}
        _ => return Err(ResponseError::NonEmptyGroup),
    }
    let mut partitions = group.offsets.partitions();
    for write in cx.writes.values() {
        if let Write::Commit { group: id, offsets, .. } = write
            && *id == group.id
        {
            partitions.extend(offsets.iter().map(|(partition, _)| partition.clone()));
        }
    }
    partitions.sort_unstable();
    partitions.dedup();
    let mut tombstones = tombstones(group, &partitions);
    if group.consumer.is_some() {
        tombstones.extend(difference(&group.id, group.consumer.as_ref(), None));
    } else if group.stored || group.writes_in_flight > 0 {
        tombstones.push(records::group_tombstone(&group.id));
    }
    if tombstones.is_empty() {
        return Ok(Ended::Now);
    }
    group.enter(State::Dead, cx.now_ms);
    cx.append(group, tombstones, None, Write::DeleteGroup { group: group.id.clone(), token });
    Ok(Ended::Later)
}

fn tombstones(group: &Group, partitions: &[TopicPartition]) -> Vec<KeyValue> {
    partitions.iter().map(|partition| records::offset_tombstone(&group.id, partition)).collect()
}

/// Deletes single offsets on an administrator's behalf (KIP-496): not of topics that members subscribe to.
pub(crate) fn delete_offsets(
    group: &mut Group,
    cx: &mut Context,
    token: Token,
    partitions: Vec<TopicPartition>,
) {
    let subscribed = match group.state {
        State::Dead => {
            cx.reply(token, Reply::Partitions(Err(ResponseError::GroupIdNotFound)));
            return;
        }
        State::Empty if group.consumer.is_none() => Some(Vec::new()),
        _ => subscription::topics(group),
    };
    let Some(subscribed) = subscribed else {
        cx.reply(token, Reply::Partitions(Err(ResponseError::NonEmptyGroup)));
        return;
    };
    let in_use = |partition: &TopicPartition| subscribed.contains(&partition.topic);
    let results = partitions
        .iter()
        .map(|partition| if in_use(partition) { Err(ResponseError::GroupSubscribedToTopic) } else { Ok(()) })
        .collect();
    let gone: Vec<_> =
        partitions.into_iter().filter(|partition| !in_use(partition) && knows(group, partition)).collect();
    let reply = Reply::Partitions(Ok(results));
    if gone.is_empty() {
        cx.reply(token, reply);
    } else {
        remove(group, cx, gone, Some((token, reply)));
    }
}

fn knows(group: &Group, partition: &TopicPartition) -> bool {
    group.offsets.get(partition).is_some() || group.offsets.is_pending(partition)
}

fn remove(
    group: &mut Group,
    cx: &mut Context,
    partitions: Vec<TopicPartition>,
    answer: Option<(Token, Reply)>,
) {
    let tombstones = tombstones(group, &partitions);
    let write = Write::RemoveOffsets { group: group.id.clone(), answer, partitions };
    cx.append(group, tombstones, None, write);
}

/// Drops the offsets of topics that are gone.
pub(crate) fn topics_deleted(group: &mut Group, cx: &mut Context, topics: &[String]) {
    if group.state == State::Dead {
        return;
    }
    let mut gone = group.offsets.partitions();
    gone.retain(|partition| topics.contains(&partition.topic));
    if !gone.is_empty() {
        remove(group, cx, gone, None);
    }
}

/// Drops what is too old. A group that is empty and has nothing left goes as well.
pub(crate) fn expire(group: &mut Group, cx: &mut Context) -> Option<Ended> {
    if group.state == State::Dead || group.writes_in_flight > 0 {
        return None;
    }
    let retention_ms = i64::from(cx.config.offsets_retention_minutes).saturating_mul(60_000);
    let subscribed = if group.state == State::Stable || group.consumer.is_some() {
        subscription::topics(group)
    } else {
        None
    };
    let expired: Vec<_> = group
        .offsets
        .committed()
        .filter(|(partition, offset)| {
            is_expired(group, partition, offset, subscribed.as_deref(), retention_ms, cx.now_ms)
                && !group.offsets.is_pending(partition)
        })
        .map(|(partition, _)| partition.clone())
        .collect();
    let all = group.offsets.partitions().len() == expired.len();
    if all && group.is_vacant() {
        return delete(group, cx, None).ok();
    }
    if !expired.is_empty() {
        remove(group, cx, expired, None);
    }
    None
}

fn is_expired(
    group: &Group,
    partition: &TopicPartition,
    offset: &CommittedOffset,
    subscribed: Option<&[String]>,
    retention_ms: i64,
    now_ms: i64,
) -> bool {
    let since = match (&group.protocol_type, group.state) {
        // While nobody subscribes to the topic, offsets of a consumer group count from their own commit.
        (_, _) if group.consumer.is_some() => match subscribed {
            Some(topics) if topics.contains(&partition.topic) => return false,
            _ => offset.commit_ms,
        },
        (None, _) => offset.commit_ms,
        (Some(_), State::Empty) => group.state_since_ms.unwrap_or(offset.commit_ms).max(offset.commit_ms),
        (Some(kind), State::Stable) if kind == CONSUMER => match subscribed {
            Some(topics) if !topics.contains(&partition.topic) => offset.commit_ms,
            _ => return false,
        },
        _ => return false,
    };
    match offset.expire_ms {
        Some(expire_ms) => now_ms >= expire_ms,
        None => now_ms.saturating_sub(since) >= retention_ms,
    }
}

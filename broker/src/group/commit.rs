//! OffsetCommit and TxnOffsetCommit: who may commit, and what happens once it is durable.
//!
//! - A client outside the group management (generation -1) may commit only while the group is empty; a group that
//!   does not exist is made.
//! - A member must name its own generation. Between the end of a rebalance and the assignment it is told to wait
//!   (REBALANCE_IN_PROGRESS); a commit is also a sign of life.
//! - A transactional commit may go without a generation, then only the producer's epoch protects it (KIP-447).

use crate::controller::Image;
use crate::coordinators::{Producer, Token, TopicPartition};
use crate::group::classic::{Group, State};
use crate::group::consumer::ConsumerGroup;
use crate::group::consumer::query::check_epoch;
use crate::group::context::{Context, Write};
use crate::group::event::{Commit, MemberRef, Reply};
use crate::group::records;
use kafka_protocol::ResponseError;

/// Checks a commit and sends what is acceptable to the disk.
pub(crate) fn commit(
    group: &mut Group,
    cx: &mut Context,
    token: Token,
    producer: Option<Producer>,
    commit: Commit,
) {
    let valid = match &group.consumer {
        Some(consumer) if group.state != State::Dead => {
            validate_epoch(consumer, &commit, producer.is_some(), &cx.image)
        }
        _ => validate(group, &commit.member, producer.is_some()),
    };
    if let Err(error) = valid {
        cx.reply(token, Reply::Partitions(Err(error)));
        return;
    }
    if producer.is_none()
        && group.consumer.is_none()
        && matches!(group.state, State::Stable | State::Preparing)
    {
        cx.keep_alive(group, &commit.member.member_id);
    }
    let longest = usize::try_from(cx.config.offset_metadata_max_bytes).unwrap_or(0);
    let mut results = Vec::with_capacity(commit.offsets.len());
    let mut offsets = Vec::with_capacity(commit.offsets.len());
    for (partition, mut offset) in commit.offsets {
        if offset.metadata.len() > longest {
            results.push(Err(ResponseError::OffsetMetadataTooLarge));
            continue;
        }
        results.push(Ok(()));
        offset.commit_ms = cx.now_ms;
        offsets.push((partition, offset));
    }
    if offsets.is_empty() {
        cx.reply(token, Reply::Partitions(Ok(results)));
        return;
    }
    let records =
        offsets.iter().map(|(partition, offset)| records::offset(&group.id, partition, offset)).collect();
    let write = Write::Commit { group: group.id.clone(), token, producer, offsets, results };
    cx.append(group, records, producer, write);
}

/// In a consumer group the member has to name its epoch, in a version that knows epochs; or an older one, if it has had
/// every partition since then (KIP-1251): it may not have been told yet that the others of the group moved on.
fn validate_epoch(
    group: &ConsumerGroup,
    commit: &Commit,
    transactional: bool,
    image: &Image,
) -> Result<(), ResponseError> {
    let (id, epoch) = (&commit.member.member_id, commit.member.generation);
    if epoch < 0 && group.members.is_empty() {
        return Ok(());
    }
    if transactional && epoch < 0 && id.is_empty() {
        // Only the producer's epoch protects it.
        return Ok(());
    }
    let member = group.member(id).map_err(|refused| refused.error)?;
    if !transactional && member.classic.is_none() && !commit.knows_epochs {
        return Err(ResponseError::UnsupportedVersion);
    }
    let had = |partition: &TopicPartition| {
        let topic = image.topic(&partition.topic)?;
        member.since.get(&(topic.id, partition.partition)).copied()
    };
    if member.classic.is_none()
        && epoch < member.epoch
        && commit.offsets.iter().all(|(partition, _)| had(partition).is_some_and(|since| since <= epoch))
    {
        return Ok(());
    }
    match check_epoch(member, epoch) {
        // A name that TxnOffsetCommit has.
        Err(ResponseError::StaleMemberEpoch) if transactional => Err(ResponseError::IllegalGeneration),
        result => result,
    }
}

fn validate(group: &Group, member: &MemberRef, transactional: bool) -> Result<(), ResponseError> {
    if group.state == State::Dead {
        return Err(ResponseError::CoordinatorNotAvailable);
    }
    if member.generation < 0 && group.state == State::Empty {
        return Ok(());
    }
    if member.generation >= 0 || !member.member_id.is_empty() || member.instance.is_some() {
        group.validate(&member.member_id, member.instance.as_deref())?;
        if member.generation != group.generation {
            return Err(ResponseError::IllegalGeneration);
        }
    } else if !transactional {
        return Err(ResponseError::UnknownMemberId);
    }
    if !transactional && group.state == State::Completing {
        return Err(ResponseError::RebalanceInProgress);
    }
    Ok(())
}

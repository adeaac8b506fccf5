//! A classic group becomes a consumer group when the first member of the new protocol joins, and a classic one again
//! when the last of them is gone, as far as `group.consumer.migration.policy` allows.
//!
//! The generation becomes the group epoch and the other way round, and everybody keeps what it has: members of the
//! classic protocol do not notice but for one rebalance.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::member::{ClassicProtocol, Member, MemberState};
use super::{Assignment, ConsumerGroup, Refused, embedded, insert, partitions};
use crate::controller::Image;
use crate::group::classic::{CONSUMER, Group, State};
use crate::group::config::Config;
use crate::group::member::Member as Classic;

/// The consumer group that a classic group with members becomes.
///
/// # Errors
/// GROUP_ID_NOT_FOUND (to be read: there is no such consumer group) if it may or can not become one.
pub(crate) fn to_consumer(group: &Group, image: &Image, config: &Config) -> Result<ConsumerGroup, Refused> {
    let refuse = |why: &str| {
        let message = format!("group {} uses the classic protocol and {why}", group.id);
        Err(Refused::new(ResponseError::GroupIdNotFound, message))
    };
    if !config.group_consumer_migration_policy.upgrades() {
        return refuse("group.consumer.migration.policy does not let it change");
    }
    if group.protocol_type.as_deref() != Some(CONSUMER) {
        return refuse("is not a group of consumers");
    }
    if group.members.len() > usize::try_from(config.group_consumer_max_size).unwrap_or(0) {
        return refuse("has more members than group.consumer.max.size");
    }
    let protocol = group.protocol.clone().or_else(|| group.select_protocol());
    let mut consumer =
        ConsumerGroup { epoch: group.generation, assignment_epoch: group.generation, ..Default::default() };
    let mut taken = BTreeSet::new();
    for classic in group.members.values() {
        let Some(member) = to_member(classic, protocol.as_deref(), group.generation, image, &mut taken)
        else {
            return refuse("has members whose metadata is not that of a consumer");
        };
        consumer.targets.insert(member.id.clone(), Arc::new(member.assigned.clone()));
        consumer.members.insert(member.id.clone(), Arc::new(member));
    }
    Ok(consumer)
}

fn to_member(
    classic: &Classic,
    protocol: Option<&str>,
    generation: i32,
    image: &Image,
    taken: &mut BTreeSet<(Uuid, i32)>,
) -> Option<Member> {
    let subscription = embedded::read_subscription(classic.metadata(protocol)).ok()?;
    let has = embedded::read_assignment(classic.assignment.clone()).ok()?;
    // What a client's assignor gave to two members goes to the first: here a partition has one owner.
    let mut assigned = Assignment::new();
    for partition in partitions(&embedded::by_id(&has, image)).filter(|partition| taken.insert(*partition)) {
        insert(&mut assigned, partition);
    }
    let mut member = Member {
        id: classic.id.clone(),
        instance: classic.instance.clone(),
        rack: subscription.rack,
        client_id: classic.client_id.clone(),
        client_host: classic.client_host.clone(),
        topics: subscription.topics,
        rebalance_timeout_ms: classic.rebalance_timeout_ms,
        classic: Some(ClassicProtocol {
            session_timeout_ms: classic.session_timeout_ms,
            protocols: classic.protocols.clone(),
        }),
        epoch: generation,
        previous_epoch: generation,
        state: MemberState::Stable,
        assigned,
        ..Member::default()
    };
    member.mark_since();
    Some(member)
}

/// The classic group that a consumer group becomes, if nobody in it needs the new protocol any more and the policy
/// lets it.
pub(crate) fn to_classic(
    id: &str,
    consumer: &ConsumerGroup,
    image: &Image,
    config: &Config,
    now_ms: i64,
) -> Option<Group> {
    let members = consumer.members.len();
    let allowed = config.group_consumer_migration_policy.downgrades()
        && members > 0
        && consumer.classic_members() == members
        && members <= usize::try_from(config.group_max_size).unwrap_or(0);
    if !allowed {
        return None;
    }
    let mut group = Group::new(id.to_owned());
    group.generation = consumer.epoch;
    for member in consumer.members.values() {
        group.add(to_classic_member(member)?, CONSUMER);
    }
    group.protocol = group.select_protocol();
    group.enter(State::Stable, now_ms);
    let protocol = group.protocol.clone();
    for member in group.members.values_mut() {
        let metadata = member.metadata(protocol.as_deref());
        let version = embedded::read_subscription(metadata).ok()?.version;
        member.assignment = embedded::write_assignment(version, &consumer.target(&member.id), image);
    }
    Some(group)
}

fn to_classic_member(member: &Member) -> Option<Classic> {
    let classic = member.classic.clone()?;
    Some(Classic {
        id: member.id.clone(),
        instance: member.instance.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        session_timeout_ms: classic.session_timeout_ms,
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        protocols: classic.protocols,
        assignment: Bytes::new(),
        awaiting_join: None,
        awaiting_sync: None,
        is_new: false,
    })
}

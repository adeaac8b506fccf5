//! ConsumerGroupHeartbeat: a member joins (epoch 0), stays, or leaves (-1, or -2 for a static member that comes back).
//!
//! Everything here takes a group as it is and gives the group as it would be: the caller stores that and answers then.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;

use super::advance::{View, advance};
use super::member::{LEAVE_FOR_A_WHILE, Member};
use super::{Assignment, ConsumerGroup, Refused, partitions, subscription};

/// A ConsumerGroupHeartbeat request. `None` is what did not change since the last one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heartbeat {
    /// The group.
    pub(crate) group: String,
    /// The member's id; made by the member since version 1, by the service for version 0.
    pub(crate) member_id: String,
    /// 0 to join, [`super::member::LEAVE`], [`LEAVE_FOR_A_WHILE`], or the epoch it was told last.
    pub(crate) epoch: i32,
    /// `group.instance.id`
    pub(crate) instance: Option<String>,
    /// `client.rack`
    pub(crate) rack: Option<String>,
    /// `max.poll.interval.ms`
    pub(crate) rebalance_timeout_ms: Option<i32>,
    /// Subscribed names.
    pub(crate) topics: Option<BTreeSet<String>>,
    /// Subscribed pattern; empty for none.
    pub(crate) pattern: Option<String>,
    /// `group.remote.assignor`
    pub(crate) assignor: Option<String>,
    /// What it has.
    pub(crate) owned: Option<Assignment>,
    /// `client.id`
    pub(crate) client_id: String,
    /// Where it connects from.
    pub(crate) client_host: String,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heartbeated {
    /// The member's id.
    pub(crate) member_id: String,
    /// The epoch to name from now on.
    pub(crate) epoch: i32,
    /// When to come again.
    pub(crate) interval_ms: i32,
    /// What the member is to have, if that changed or it asked for everything.
    pub(crate) assignment: Option<Assignment>,
}

/// The group after the heartbeat of somebody who joins or stays, if anything is different, and the answer.
///
/// # Errors
/// The heartbeat is refused; the group stays as it is.
pub(crate) fn heartbeat(
    group: &ConsumerGroup,
    request: &Heartbeat,
    view: View<'_>,
) -> Result<(Option<ConsumerGroup>, Heartbeated), Refused> {
    let before = place(group, request, view)?;
    let mut member = before.as_deref().cloned().unwrap_or_default();
    let rejoins_as = (member.id != request.member_id).then(|| member.id.clone());
    update(&mut member, request);
    let subscription_changed = before
        .as_deref()
        .is_none_or(|before| before.topics != member.topics || before.pattern != member.pattern);
    let quiet = rejoins_as.is_none()
        && before.as_deref() == Some(&member)
        && group.epoch == group.assignment_epoch
        && member.is_at(group.assignment_epoch)
        && group.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, view.image));
    let assigned_before = member.assigned.clone();
    let mut next = None;
    if !quiet {
        let mut changed = group.clone();
        if let (Some(old), true) = (rejoins_as, before.is_some()) {
            changed.replace(&old, &request.member_id);
            (member.epoch, member.previous_epoch) = (0, 0);
        }
        changed.members.insert(member.id.clone(), Arc::new(member.clone()));
        advance(&mut changed, &member.id, subscription_changed, request.owned.as_ref(), view)?;
        member = changed.member(&request.member_id)?.as_ref().clone();
        next = Some(changed);
    }
    let asked_for_all = request.epoch == 0
        || (request.rebalance_timeout_ms.is_some()
            && (request.topics.is_some() || request.pattern.is_some())
            && request.owned.is_some());
    let answer = Heartbeated {
        epoch: member.epoch,
        interval_ms: view.config.consumer_heartbeat_interval_ms(view.image, &request.group),
        assignment: (asked_for_all || assigned_before != member.assigned).then_some(member.assigned),
        member_id: member.id,
    };
    Ok((next, answer))
}

/// The member whose heartbeat this is: known, new (`None`), or a static one whose place is taken over.
fn place(group: &ConsumerGroup, request: &Heartbeat, view: View<'_>) -> Result<Option<Arc<Member>>, Refused> {
    if let Some(pattern) = request.pattern.as_deref().filter(|pattern| !pattern.is_empty()) {
        subscription::compile(pattern)?;
    }
    let joins = request.epoch == 0;
    let holder = request.instance.as_deref().and_then(|instance| group.static_member(instance));
    if !joins {
        let member = group.holder(&request.member_id, request.instance.as_deref())?;
        check_epoch(member, request)?;
        return Ok(Some(member.clone()));
    }
    if let Some(holder) = holder {
        if holder.id != request.member_id && holder.classic.is_none() && holder.epoch != LEAVE_FOR_A_WHILE {
            let message = format!(
                "instance id {} belongs to member {}, which has not left",
                request.instance.as_deref().unwrap_or_default(),
                holder.id
            );
            return Err(Refused::new(ResponseError::UnreleasedInstanceId, message));
        }
        return Ok(Some(holder.clone()));
    }
    let known = group.members.get(&request.member_id);
    let most = usize::try_from(view.config.group_consumer_max_size).unwrap_or(0);
    if known.is_none() && group.members.len() >= most {
        let message = format!("group {} has {most} members, the most that it may", request.group);
        return Err(Refused::new(ResponseError::GroupMaxSizeReached, message));
    }
    Ok(known.cloned())
}

/// A member names its epoch, or the one before if the answer with the new one was lost.
fn check_epoch(member: &Member, request: &Heartbeat) -> Result<(), Refused> {
    let missed_the_answer = || {
        request.epoch == member.previous_epoch
            && request.owned.as_ref().is_some_and(|owned| is_part_of(owned, &member.assigned))
    };
    if request.epoch == member.epoch || (request.epoch < member.epoch && missed_the_answer()) {
        return Ok(());
    }
    let message = format!(
        "member {} is at epoch {}, not {}; give up all partitions and join again",
        member.id, member.epoch, request.epoch
    );
    Err(Refused::new(ResponseError::FencedMemberEpoch, message))
}

fn is_part_of(owned: &Assignment, assigned: &Assignment) -> bool {
    partitions(owned).all(|(topic, partition)| {
        assigned.get(&topic).is_some_and(|partitions| partitions.contains(&partition))
    })
}

/// Takes over what the request says about the member.
fn update(member: &mut Member, request: &Heartbeat) {
    member.id.clone_from(&request.member_id);
    member.client_id.clone_from(&request.client_id);
    member.client_host.clone_from(&request.client_host);
    member.classic = None;
    if request.instance.is_some() {
        member.instance.clone_from(&request.instance);
    }
    if request.rack.is_some() {
        member.rack.clone_from(&request.rack);
    }
    if request.assignor.is_some() {
        member.assignor.clone_from(&request.assignor);
    }
    if let Some(timeout_ms) = request.rebalance_timeout_ms {
        member.rebalance_timeout_ms = timeout_ms;
    }
    if let Some(topics) = &request.topics {
        member.topics.clone_from(topics);
    }
    if let Some(pattern) = &request.pattern {
        member.pattern = Some(pattern.clone()).filter(|pattern| !pattern.is_empty());
    }
}

/// The group after a member left, for good or for a while.
///
/// # Errors
/// UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID.
pub(crate) fn leave(group: &ConsumerGroup, request: &Heartbeat) -> Result<ConsumerGroup, Refused> {
    let member = group.holder(&request.member_id, request.instance.as_deref())?;
    let mut next = group.clone();
    if request.instance.is_some() && request.epoch == LEAVE_FOR_A_WHILE {
        let mut away = member.as_ref().clone();
        away.epoch = LEAVE_FOR_A_WHILE;
        away.revoking = Assignment::new();
        away.mark_since();
        next.members.insert(away.id.clone(), Arc::new(away));
    } else {
        next.remove(&member.id.clone());
    }
    Ok(next)
}

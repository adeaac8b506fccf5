//! How a rebalance begins and ends.
//!
//! It begins when somebody joins, leaves, is expired or changes its metadata, and ends when all members have joined
//! again or the longest rebalance timeout is up: then those that did not come back are dropped (static members keep
//! their place until their session ends). An empty group is different: its first rebalance waits
//! `group.initial.rebalance.delay.ms` so that a fleet that starts together needs one rebalance, and each newcomer extends
//! that delay up to the rebalance timeout.

use crate::group::classic::{Group, State};
use crate::group::context::{Context, Deadline, Write};
use crate::group::event::{Joined, Reply};
use crate::group::records;
use bytes::Bytes;
use kafka_protocol::ResponseError;

/// Begins a rebalance, or looks whether the one that runs is complete.
pub(crate) fn prepare_or_complete(group: &mut Group, cx: &mut Context) {
    match group.state {
        State::Stable | State::Completing | State::Empty => prepare(group, cx),
        State::Preparing => complete_if_all_joined(group, cx),
        State::Dead => {}
    }
}

fn prepare(group: &mut Group, cx: &mut Context) {
    if group.state == State::Completing {
        cancel_assignment(group, cx, ResponseError::RebalanceInProgress);
    }
    cx.timers.cancel(&Deadline::PendingSync(group.id.clone()));
    group.pending_syncs.clear();
    group.initial_rebalance = group.state == State::Empty;
    group.enter(State::Preparing, cx.now_ms);
    if group.initial_rebalance {
        let delay = i64::from(cx.config.group_initial_rebalance_delay_ms.max(0));
        group.new_member_added = false;
        group.initial_remaining_ms = (group.rebalance_timeout_ms() - delay).max(0);
        schedule(group, cx, delay);
    } else if group.all_joined() {
        complete(group, cx);
    } else {
        schedule(group, cx, group.rebalance_timeout_ms());
    }
}

fn schedule(group: &Group, cx: &mut Context, delay_ms: i64) {
    cx.timers.set(Deadline::Rebalance(group.id.clone()), cx.now_ms.saturating_add(delay_ms));
}

/// Tells all that wait for the assignment of this generation that there will be none.
pub(crate) fn cancel_assignment(group: &mut Group, cx: &mut Context, error: ResponseError) {
    for member in group.members.values_mut() {
        member.assignment = Bytes::new();
    }
    group.assignment_in_flight = false;
    for (id, token) in group.take_syncs() {
        cx.keep_alive(group, &id);
        cx.reply(token, Reply::Sync(Err(error)));
    }
}

/// The group is a consumer group from now on: who waits has to join that one.
pub(crate) fn abandon(group: &mut Group, cx: &mut Context) {
    cancel_assignment(group, cx, ResponseError::RebalanceInProgress);
    for (id, token) in group.take_joins() {
        cx.refuse_join(token, ResponseError::RebalanceInProgress, &id);
    }
    for id in group.members.keys().chain(&group.pending_joins) {
        cx.forget_member(group, id);
    }
    cx.timers.cancel(&Deadline::Rebalance(group.id.clone()));
    cx.timers.cancel(&Deadline::PendingSync(group.id.clone()));
    group.become_classic(Group::new(group.id.clone()));
    group.stored = false;
}

/// Ends the rebalance if nobody is missing. An initial rebalance waits for its delay in any case.
pub(crate) fn complete_if_all_joined(group: &mut Group, cx: &mut Context) {
    if group.state == State::Preparing && !group.initial_rebalance && group.all_joined() {
        complete(group, cx);
    }
}

/// The rebalance has waited long enough.
pub(crate) fn timed_out(group: &mut Group, cx: &mut Context) {
    if group.state != State::Preparing {
        return;
    }
    if group.initial_rebalance && group.new_member_added && group.initial_remaining_ms > 0 {
        let delay =
            i64::from(cx.config.group_initial_rebalance_delay_ms.max(0)).min(group.initial_remaining_ms);
        group.new_member_added = false;
        group.initial_remaining_ms -= delay;
        schedule(group, cx, delay);
        return;
    }
    complete(group, cx);
}

fn complete(group: &mut Group, cx: &mut Context) {
    cx.timers.cancel(&Deadline::Rebalance(group.id.clone()));
    let absent: Vec<String> = group
        .members
        .values()
        .filter(|member| member.awaiting_join.is_none() && member.instance.is_none())
        .map(|member| member.id.clone())
        .collect();
    for id in absent {
        group.remove(&id);
        cx.forget_member(group, &id);
    }
    if !group.elect_joined_leader() && !group.members.is_empty() {
        // Only static members, none of them back: wait on; their sessions will end or they will return.
        schedule(group, cx, group.rebalance_timeout_ms().max(1));
        return;
    }
    group.initial_rebalance = false;
    group.next_generation(cx.now_ms);
    if group.state == State::Empty {
        store_empty(group, cx);
    } else {
        answer_joins(group, cx);
    }
}

/// Puts the empty generation on disk, so that its number is not used again after a restart.
fn store_empty(group: &mut Group, cx: &mut Context) {
    let record = records::group(&group.id, &group.to_stored(|_| Bytes::new()));
    cx.append(group, vec![record], None, Write::EmptyGroup { group: group.id.clone() });
}

fn answer_joins(group: &mut Group, cx: &mut Context) {
    group.pending_syncs = group.members.keys().cloned().collect();
    for member in group.members.values_mut() {
        member.is_new = false;
    }
    for (id, token) in group.take_joins() {
        let leads = group.leader.as_deref() == Some(id.as_str());
        let joined = joined(group, &id, leads);
        cx.reply(token, Reply::Join(Box::new(joined)));
    }
    for id in group.members.keys() {
        cx.keep_alive(group, id);
    }
    let at_ms = cx.now_ms.saturating_add(group.rebalance_timeout_ms());
    cx.timers.set(Deadline::PendingSync(group.id.clone()), at_ms);
}

/// The answer to a join in the current generation, with the list of members if `with_members`.
pub(crate) fn joined(group: &Group, member_id: &str, with_members: bool) -> Joined {
    let protocol = group.protocol.as_deref();
    let members =
        group.members.values().filter(|_| with_members).map(|member| member.joined(protocol)).collect();
    Joined {
        error: None,
        generation: group.generation,
        protocol_type: group.protocol_type.clone(),
        protocol: group.protocol.clone(),
        leader: group.leader.clone().unwrap_or_default(),
        member_id: member_id.to_owned(),
        skip_assignment: false,
        members,
    }
}

/// Members that joined have not asked for their assignment within the rebalance timeout: they are dropped.
pub(crate) fn sync_timed_out(group: &mut Group, cx: &mut Context) {
    if !matches!(group.state, State::Completing | State::Stable) || group.pending_syncs.is_empty() {
        return;
    }
    for id in std::mem::take(&mut group.pending_syncs) {
        group.remove(&id);
        cx.forget_member(group, &id);
    }
    prepare(group, cx);
}

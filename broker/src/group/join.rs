//! JoinGroup: becoming a member, and when a rebalance begins.
//!
//! Three ways in:
//! - without an id: a new one is made. Clients since version 4 are told to come back with it (MEMBER_ID_REQUIRED,
//!   KIP-394), so that a retry over a broken connection does not become a second member;
//! - without an id but with a `group.instance.id` that is known: the member takes its predecessor's place and, if the
//!   group is stable and would choose the same protocol, its assignment too: no rebalance (KIP-345, KIP-814);
//! - with an id: a rejoin. In Stable it starts a rebalance if the leader asks or the metadata changed; else it is
//!   a lost answer, given again.
//!
//! The completion of a rebalance is in [`super::rebalance`].

use crate::coordinators::Token;
use crate::group::classic::{Group, State};
use crate::group::config::{NEW_MEMBER_JOIN_TIMEOUT_MS, PENDING_JOINS_MAX};
use crate::group::context::{Context, Write};
use crate::group::event::{Join, Joined, Reply};
use crate::group::member::Member;
use crate::group::{rebalance, records};
use kafka_protocol::ResponseError;

/// Lets somebody into `group`, or refuses.
pub(crate) fn join(group: &mut Group, cx: &mut Context, token: Token, join: &Join) {
    if !group.has_room(join, cx.config.group_max_size) {
        if group.pending_joins.remove(&join.member_id) {
            cx.forget_member(group, &join.member_id);
        }
        cx.refuse_join(token, ResponseError::GroupMaxSizeReached, "");
        return;
    }
    let result = if join.member_id.is_empty() {
        join_new(group, cx, token, join)
    } else {
        join_existing(group, cx, token, join)
    };
    if let Err(error) = result {
        cx.refuse_join(token, error, &join.member_id);
    }
}

fn join_new(group: &mut Group, cx: &mut Context, token: Token, join: &Join) -> Result<(), ResponseError> {
    check(group, join)?;
    let id = &join.fresh_member_id;
    let predecessor = join.instance.as_ref().and_then(|instance| group.instances.get(instance)).cloned();
    if let Some(old) = predecessor {
        replace(group, cx, token, join, &old);
    } else if join.instance.is_none() && join.knows_member_id_required {
        if group.pending_joins.len() >= PENDING_JOINS_MAX {
            return Err(ResponseError::GroupMaxSizeReached);
        }
        group.pending_joins.insert(id.clone());
        cx.expire_member(group, id, i64::from(join.session_timeout_ms));
        cx.refuse_join(token, ResponseError::MemberIdRequired, id);
    } else {
        add(group, cx, token, join, id.clone());
    }
    Ok(())
}

fn join_existing(
    group: &mut Group,
    cx: &mut Context,
    token: Token,
    join: &Join,
) -> Result<(), ResponseError> {
    check(group, join)?;
    let id = join.member_id.as_str();
    if group.pending_joins.contains(id) {
        if join.instance.is_some() {
            return Err(ResponseError::UnknownMemberId);
        }
        add(group, cx, token, join, id.to_owned());
        return Ok(());
    }
    group.validate(id, join.instance.as_deref())?;
    let member = group.members.get(id).ok_or(ResponseError::UnknownMemberId)?;
    let unchanged = member.protocols == join.protocols;
    let leads = group.leader.as_deref() == Some(id);
    match group.state {
        State::Completing if unchanged => answer_again(group, cx, token, id, leads),
        State::Stable if unchanged && !leads => {
            answer_again(group, cx, token, id, false);
            cx.keep_alive(group, id);
        }
        State::Preparing | State::Completing | State::Stable => {
            update(group, cx, token, join, id);
            rebalance::prepare_or_complete(group, cx);
        }
        State::Empty | State::Dead => return Err(ResponseError::UnknownMemberId),
    }
    Ok(())
}

fn check(group: &Group, join: &Join) -> Result<(), ResponseError> {
    if group.state == State::Dead {
        return Err(ResponseError::CoordinatorNotAvailable);
    }
    if !group.accepts_protocols(join) {
        return Err(ResponseError::InconsistentGroupProtocol);
    }
    Ok(())
}

/// The answer to the current generation once more, for a member that seems to have missed it.
fn answer_again(group: &Group, cx: &mut Context, token: Token, member_id: &str, leads: bool) {
    let joined = rebalance::joined(group, member_id, leads);
    cx.reply(token, Reply::Join(Box::new(joined)));
}

fn add(group: &mut Group, cx: &mut Context, token: Token, join: &Join, id: String) {
    if group.state == State::Preparing && group.initial_rebalance {
        group.new_member_added = true;
    }
    group.add(Member::new(id.clone(), join, token), &join.protocol_type);
    cx.expire_member(group, &id, NEW_MEMBER_JOIN_TIMEOUT_MS);
    rebalance::prepare_or_complete(group, cx);
}

/// Takes over what a known member says about itself now, and lets its join wait.
fn update(group: &mut Group, cx: &mut Context, token: Token, join: &Join, id: &str) {
    let Some(member) = group.members.get_mut(id) else { return };
    member.session_timeout_ms = join.session_timeout_ms;
    member.rebalance_timeout_ms = join.rebalance_timeout_ms;
    member.protocols = join.protocols.clone();
    if let Some(stale) = member.awaiting_join.replace(token) {
        cx.refuse_join(stale, ResponseError::RebalanceInProgress, id);
    }
}

/// Puts a static member under its new id in the place of `old`, whose requests are fenced.
fn replace(group: &mut Group, cx: &mut Context, token: Token, join: &Join, old: &str) {
    let leader_before = group.leader.clone().unwrap_or_default();
    let id = join.fresh_member_id.clone();
    let Some(mut member) = group.members.remove(old) else { return };
    cx.forget_member(group, old);
    if let Some(stale) = member.awaiting_join.take() {
        cx.refuse_join(stale, ResponseError::FencedInstanceId, old);
    }
    if let Some(stale) = member.awaiting_sync.take() {
        cx.reply(stale, Reply::Sync(Err(ResponseError::FencedInstanceId)));
    }
    member.id.clone_from(&id);
    member.client_id.clone_from(&join.client_id);
    member.client_host.clone_from(&join.client_host);
    member.session_timeout_ms = join.session_timeout_ms;
    member.rebalance_timeout_ms = join.rebalance_timeout_ms;
    member.protocols = join.protocols.clone();
    if let Some(instance) = &join.instance {
        group.instances.insert(instance.clone(), id.clone());
    }
    if group.pending_syncs.remove(old) {
        group.pending_syncs.insert(id.clone());
    }
    let leads = group.leader.as_deref() == Some(old);
    if leads {
        group.leader = Some(id.clone());
    }
    group.members.insert(id.clone(), member);
    cx.keep_alive(group, &id);

    if group.state == State::Stable && group.select_protocol() == group.protocol {
        let mut joined = rebalance::joined(group, &id, leads && join.knows_skip_assignment);
        if join.knows_skip_assignment {
            joined.skip_assignment = leads;
        } else {
            // An old client that believed it led would send an assignment to a stable group and see it ignored.
            joined.leader = leader_before;
        }
        let record = records::group(&group.id, &group.to_stored(|member| member.assignment.clone()));
        let write = Write::StaticMember { group: group.id.clone(), token, joined: Box::new(joined) };
        cx.append(group, vec![record], None, write);
    } else {
        if let Some(member) = group.members.get_mut(&id) {
            member.awaiting_join = Some(token);
        }
        rebalance::prepare_or_complete(group, cx);
    }
}

/// The disk has answered: the static member is in its place, or has to try again. What is stored then names its
/// predecessor, so the group goes through a rebalance, which stores the members anew.
pub(crate) fn static_member_written(
    group: &mut Group,
    cx: &mut Context,
    token: Token,
    joined: Joined,
    result: Result<(), ResponseError>,
) {
    match result {
        Ok(()) => cx.reply(token, Reply::Join(Box::new(joined))),
        Err(error) => {
            cx.refuse_join(token, error, "");
            if group.state == State::Stable {
                rebalance::prepare_or_complete(group, cx);
            }
        }
    }
}

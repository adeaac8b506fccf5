//! Heartbeats, leaving, and what happens to members that fall silent.

use crate::coordinators::Token;
use crate::group::classic::{Group, State};
use crate::group::context::Context;
use crate::group::event::{Leave, MemberRef, Reply};
use crate::group::rebalance;
use kafka_protocol::ResponseError;

/// A sign of life. REBALANCE_IN_PROGRESS in the answer is how members learn that they have to join again.
pub(crate) fn heartbeat(group: &Group, cx: &mut Context, member: &MemberRef) -> Result<(), ResponseError> {
    if group.state == State::Dead {
        return Err(ResponseError::CoordinatorNotAvailable);
    }
    group.validate(&member.member_id, member.instance.as_deref())?;
    if member.generation != group.generation {
        return Err(ResponseError::IllegalGeneration);
    }
    match group.state {
        State::Empty | State::Dead => Err(ResponseError::UnknownMemberId),
        State::Preparing => {
            cx.keep_alive(group, &member.member_id);
            Err(ResponseError::RebalanceInProgress)
        }
        State::Completing | State::Stable => {
            cx.keep_alive(group, &member.member_id);
            Ok(())
        }
    }
}

/// Members go. An administrator names static members by their instance id alone.
pub(crate) fn leave(group: &mut Group, cx: &mut Context, token: Token, leave: &Leave) {
    if group.state == State::Dead {
        cx.reply(token, Reply::Leave(Err(ResponseError::CoordinatorNotAvailable)));
        return;
    }
    let mut results = Vec::with_capacity(leave.members.len());
    let mut gone = false;
    for (member_id, instance) in &leave.members {
        let result = leave_one(group, cx, member_id, instance.as_deref());
        gone |= result.is_ok();
        results.push(result);
    }
    cx.reply(token, Reply::Leave(Ok(results)));
    if gone {
        after_removal(group, cx);
    }
}

fn leave_one(
    group: &mut Group,
    cx: &mut Context,
    member_id: &str,
    instance: Option<&str>,
) -> Result<(), ResponseError> {
    let id = if member_id.is_empty() {
        let holder = instance.and_then(|instance| group.instances.get(instance));
        holder.cloned().ok_or(ResponseError::UnknownMemberId)?
    } else {
        if !group.pending_joins.contains(member_id) {
            group.validate(member_id, instance)?;
        }
        member_id.to_owned()
    };
    remove(group, cx, &id);
    Ok(())
}

/// Takes a member out and tells its requests that wait.
fn remove(group: &mut Group, cx: &mut Context, id: &str) {
    cx.forget_member(group, id);
    let Some(member) = group.remove(id) else { return };
    if let Some(token) = member.awaiting_join {
        cx.refuse_join(token, ResponseError::UnknownMemberId, "");
    }
    if let Some(token) = member.awaiting_sync {
        cx.reply(token, Reply::Sync(Err(ResponseError::UnknownMemberId)));
    }
}

fn after_removal(group: &mut Group, cx: &mut Context) {
    match group.state {
        State::Stable | State::Completing | State::Preparing => rebalance::prepare_or_complete(group, cx),
        State::Empty | State::Dead => {}
    }
}

/// A member or a pending id has been silent for too long. One that waits for our answer is not silent, except a new
/// member, which nobody would miss if its connection broke.
pub(crate) fn session_ended(group: &mut Group, cx: &mut Context, id: &str) {
    if group.pending_joins.remove(id) {
        rebalance::complete_if_all_joined(group, cx);
        return;
    }
    let Some(member) = group.members.get(id) else { return };
    let waits = member.awaiting_join.is_some() || member.awaiting_sync.is_some();
    if waits && !member.is_new {
        // It will be given a new session with the answer it waits for.
        return;
    }
    tracing::info!(group = %group.id, member = %id, "member is silent, its session has ended");
    remove(group, cx, id);
    after_removal(group, cx);
}

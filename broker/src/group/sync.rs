//! SyncGroup: the leader's assignment goes to the disk first and to the members then.
//!
//! The membership record is the only moment at which a classic group is stored; a coordinator that restarts finds the
//! last stable generation and lets its members go on with their heartbeats as if nothing had happened.

use crate::coordinators::Token;
use crate::group::classic::{Group, State};
use crate::group::context::{Context, Deadline, Write};
use crate::group::event::{Reply, Sync, Synced};
use crate::group::{rebalance, records};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use std::collections::BTreeMap;

/// Answers a sync, or lets it wait for the leader's.
pub(crate) fn sync(group: &mut Group, cx: &mut Context, token: Token, sync: Sync) {
    if let Err(error) = accept(group, cx, token, sync) {
        cx.reply(token, Reply::Sync(Err(error)));
    }
}

fn accept(group: &mut Group, cx: &mut Context, token: Token, sync: Sync) -> Result<(), ResponseError> {
    if group.state == State::Dead {
        return Err(ResponseError::CoordinatorNotAvailable);
    }
    let id = sync.member.member_id.as_str();
    group.validate(id, sync.member.instance.as_deref())?;
    if sync.member.generation != group.generation {
        return Err(ResponseError::IllegalGeneration);
    }
    let differs = |said: &Option<String>, is: &Option<String>| said.is_some() && said != is;
    if differs(&sync.protocol_type, &group.protocol_type) || differs(&sync.protocol, &group.protocol) {
        return Err(ResponseError::InconsistentGroupProtocol);
    }
    match group.state {
        State::Empty | State::Dead => Err(ResponseError::UnknownMemberId),
        State::Preparing => Err(ResponseError::RebalanceInProgress),
        State::Completing => {
            group.pending_syncs.remove(id);
            let leads = group.leader.as_deref() == Some(id);
            if let Some(member) = group.members.get_mut(id)
                && let Some(stale) = member.awaiting_sync.replace(token)
            {
                cx.reply(stale, Reply::Sync(Err(ResponseError::RebalanceInProgress)));
            }
            if leads && !group.assignment_in_flight {
                store(group, cx, sync.assignments);
            }
            Ok(())
        }
        State::Stable => {
            group.pending_syncs.remove(id);
            cx.keep_alive(group, id);
            let synced = synced(group, id);
            cx.reply(token, Reply::Sync(Ok(synced)));
            Ok(())
        }
    }
}

/// Sends the assignment to the disk. Who is not in it gets an empty one; who is not a member is left out.
fn store(group: &mut Group, cx: &mut Context, assignments: Vec<(String, Bytes)>) {
    let mut assignments: BTreeMap<String, Bytes> = assignments.into_iter().collect();
    for member in group.members.values_mut() {
        member.assignment = assignments.remove(&member.id).unwrap_or_default();
    }
    group.assignment_in_flight = true;
    let record = records::group(&group.id, &group.to_stored(|member| member.assignment.clone()));
    let write = Write::Assignment { group: group.id.clone(), generation: group.generation };
    cx.append(group, vec![record], None, write);
}

/// The disk has answered: the group is stable, or everybody has to join again. Meanwhile the group may have moved on,
/// then this assignment is history.
pub(crate) fn written(
    group: &mut Group,
    cx: &mut Context,
    generation: i32,
    result: Result<(), ResponseError>,
) {
    if group.state != State::Completing || group.generation != generation || !group.assignment_in_flight {
        return;
    }
    match result {
        Ok(()) => {
            group.assignment_in_flight = false;
            group.enter(State::Stable, cx.now_ms);
            if group.pending_syncs.is_empty() {
                cx.timers.cancel(&Deadline::PendingSync(group.id.clone()));
            }
            for (id, token) in group.take_syncs() {
                cx.keep_alive(group, &id);
                let synced = synced(group, &id);
                cx.reply(token, Reply::Sync(Ok(synced)));
            }
        }
        Err(error) => {
            // A membership that no batch can hold has no name in this API; as in Kafka it is the unknown error.
            let told = if error == ResponseError::InvalidCommitOffsetSize {
                ResponseError::UnknownServerError
            } else {
                error
            };
            tracing::warn!(group = %group.id, generation, %error, "an assignment was not stored");
            rebalance::cancel_assignment(group, cx, told);
            rebalance::prepare_or_complete(group, cx);
        }
    }
}

fn synced(group: &Group, id: &str) -> Synced {
    Synced {
        protocol_type: group.protocol_type.clone(),
        protocol: group.protocol.clone(),
        assignment: group.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default(),
    }
}

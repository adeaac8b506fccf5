//! Members that speak the classic protocol in a consumer group (KIP-848's online migration).
//!
//! Their JoinGroup is a heartbeat that tells everything; the generation is their member epoch; the assignment waits in
//! SyncGroup. That they have to come again they learn as ever: REBALANCE_IN_PROGRESS to their heartbeat.

use std::sync::Arc;

use kafka_protocol::ResponseError;

use super::advance::{View, advance};
use super::embedded;
use super::member::{ClassicProtocol, Member, MemberState};
use super::{ConsumerGroup, Refused};
use crate::group::classic::CONSUMER;
use crate::group::event::{Join, Joined, MemberRef, Sync, Synced};

/// The group after somebody joined, and the answer.
///
/// # Errors
/// The join is refused, with the member id to answer with; MEMBER_ID_REQUIRED is one way.
pub(crate) fn join(
    group: &ConsumerGroup,
    request: &Join,
    view: View<'_>,
) -> Result<(ConsumerGroup, Joined), (ResponseError, String)> {
    let is_new = request.member_id.is_empty();
    let id = if is_new { &request.fresh_member_id } else { &request.member_id };
    let refuse = |error| (error, request.member_id.clone());
    if request.protocol_type != CONSUMER || !understood(group, request) {
        return Err(refuse(ResponseError::InconsistentGroupProtocol));
    }
    let holder = request.instance.as_deref().and_then(|instance| group.static_member(instance));
    let most = usize::try_from(view.config.group_consumer_max_size).unwrap_or(0);
    if holder.is_none() && !group.members.contains_key(id) && group.members.len() >= most {
        return Err(refuse(ResponseError::GroupMaxSizeReached));
    }
    if is_new && request.instance.is_none() && request.knows_member_id_required {
        return Err((ResponseError::MemberIdRequired, id.clone()));
    }
    let first = request.protocols.first().cloned().unwrap_or_default();
    let subscription =
        embedded::read_subscription(first.1).map_err(|_| refuse(ResponseError::InconsistentGroupProtocol))?;

    let mut next = group.clone();
    if let Some(instance) = request.instance.as_deref() {
        match holder {
            Some(holder) if is_new => next.replace(&holder.id.clone(), id),
            None if is_new => {}
            _ => drop(group.holder(id, Some(instance)).map_err(|refused| refuse(refused.error))?),
        }
    }
    let before = next.members.get(id).cloned();
    let mut member = before.as_deref().cloned().unwrap_or_default();
    id.clone_into(&mut member.id);
    if request.instance.is_some() {
        member.instance.clone_from(&request.instance);
    }
    member.rack = subscription.rack.or(member.rack);
    member.client_id.clone_from(&request.client_id);
    member.client_host.clone_from(&request.client_host);
    member.rebalance_timeout_ms = request.rebalance_timeout_ms;
    member.topics = subscription.topics;
    member.pattern = None;
    member.classic = Some(ClassicProtocol {
        session_timeout_ms: request.session_timeout_ms,
        protocols: request.protocols.clone(),
    });
    let changed = before.is_none_or(|before| before.topics != member.topics || before.pattern.is_some());
    next.members.insert(id.clone(), Arc::new(member));
    let owned = embedded::by_id(&subscription.owned, view.image);
    advance(&mut next, id, changed, Some(&owned), view).map_err(|refused| refuse(refused.error))?;
    let joined = Joined {
        generation: next.members.get(id).map_or(-1, |member| member.epoch),
        protocol_type: Some(CONSUMER.to_owned()),
        protocol: Some(first.0),
        member_id: id.clone(),
        ..Joined::default()
    };
    Ok((next, joined))
}

/// Whether one of the offered protocols is known to every other member of the classic protocol.
fn understood(group: &ConsumerGroup, request: &Join) -> bool {
    let knows = |member: &Member, name: &str| {
        let protocols = member.classic.as_ref().map(|classic| classic.protocols.as_slice());
        protocols.is_none_or(|protocols| protocols.iter().any(|(known, _)| known == name))
    };
    let offered = request.protocols.iter();
    offered.into_iter().any(|(name, _)| group.members.values().all(|member| knows(member, name)))
}

/// Checks who is speaking.
fn speaker<'a>(group: &'a ConsumerGroup, who: &MemberRef) -> Result<&'a Arc<Member>, Refused> {
    let member = group.holder(&who.member_id, who.instance.as_deref())?;
    if member.classic.is_none() {
        let message = format!("member {} does not use the classic protocol", member.id);
        return Err(Refused::new(ResponseError::UnknownMemberId, message));
    }
    if member.epoch != who.generation {
        return Err(ResponseError::IllegalGeneration.into());
    }
    Ok(member)
}

/// A member's assignment.
///
/// # Errors
/// It is not who it says, or has to join again.
pub(crate) fn sync(group: &ConsumerGroup, request: &Sync, view: View<'_>) -> Result<Synced, ResponseError> {
    let member = speaker(group, &request.member).map_err(|refused| refused.error)?;
    let first = member.classic.as_ref().and_then(|classic| classic.protocols.first()).cloned();
    let (protocol, metadata) = first.unwrap_or_default();
    let differs = |said: &Option<String>, is: &str| said.as_deref().is_some_and(|said| said != is);
    if differs(&request.protocol_type, CONSUMER) || differs(&request.protocol, &protocol) {
        return Err(ResponseError::InconsistentGroupProtocol);
    }
    if group.epoch > member.epoch && member.state != MemberState::UnrevokedPartitions {
        return Err(ResponseError::RebalanceInProgress);
    }
    let version = embedded::read_subscription(metadata).map_or(0, |subscription| subscription.version);
    Ok(Synced {
        protocol_type: Some(CONSUMER.to_owned()),
        protocol: Some(protocol),
        assignment: embedded::write_assignment(version, &member.assigned, view.image),
    })
}

/// A sign of life.
///
/// # Errors
/// It is not who it says, or (REBALANCE_IN_PROGRESS) has to join again.
pub(crate) fn heartbeat(group: &ConsumerGroup, who: &MemberRef) -> Result<(), ResponseError> {
    let member = speaker(group, who).map_err(|refused| refused.error)?;
    let has_to_join = match member.state {
        _ if member.epoch < group.epoch => true,
        MemberState::UnrevokedPartitions => true,
        MemberState::UnreleasedPartitions => !group.waits_for_others(member),
        MemberState::Stable | MemberState::Unknown => false,
    };
    if has_to_join { Err(ResponseError::RebalanceInProgress) } else { Ok(()) }
}

/// The member that leaves: named by its id, or by its instance id alone.
///
/// # Errors
/// There is none, or it is another one's.
pub(crate) fn leaver(
    group: &ConsumerGroup,
    member_id: &str,
    instance: Option<&str>,
) -> Result<String, ResponseError> {
    let found = match instance {
        Some(instance) if member_id.is_empty() => group.static_member(instance),
        instance => Some(group.holder(member_id, instance).map_err(|refused| refused.error)?),
    };
    match found.filter(|member| member.classic.is_some()) {
        Some(member) => Ok(member.id.clone()),
        None => Err(ResponseError::UnknownMemberId),
    }
}

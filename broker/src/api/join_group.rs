//! JoinGroup (key 11), versions 0 to 9. KIP-62, KIP-345 (v5), KIP-394 (v4), KIP-559 (v7), KIP-800 (v8), KIP-814 (v9).
//!
//! Answered when the rebalance ends. The member id is made here, from the instance id or the client id and a random
//! part, so that the coordinator stays without randomness. An empty group id is INVALID_GROUP_ID.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::{RequestContext, reply};
use crate::group::event::{Event, Join, Joined, Reply};

/// The version from which on protocol type and name may be null.
const NULLABLE_PROTOCOL: i16 = 7;

/// Lets a member join.
pub(super) async fn handle(ctx: &RequestContext, request: JoinGroupRequest) -> JoinGroupResponse {
    let member_id = request.member_id.to_string();
    let joined = match join(ctx, request).await {
        Ok(joined) => joined,
        Err(error) => Joined::refused(error, &member_id),
    };
    response(ctx.version, joined)
}

async fn join(ctx: &RequestContext, request: JoinGroupRequest) -> Result<Joined, ResponseError> {
    if request.group_id.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    let shard = ctx.broker.coordinators.group(&ctx.broker, &request.group_id).await?;
    let join = translate(ctx, request);
    match shard.ask(move |token| Event::Join(token, join)).await? {
        Reply::Join(joined) => Ok(*joined),
        _ => Err(ResponseError::UnknownServerError),
    }
}

fn translate(ctx: &RequestContext, request: JoinGroupRequest) -> Join {
    let client_id = ctx.client_id.as_ref().map(ToString::to_string).unwrap_or_default();
    let instance = request.group_instance_id.map(|id| id.to_string());
    let stem = instance.as_deref().unwrap_or(&client_id);
    let fresh_member_id = format!("{stem}-{}", ctx.broker.env.random.uuid());
    // Version 0 knows one timeout for both.
    let rebalance_timeout_ms =
        if ctx.version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms };
    let protocols = request.protocols.into_iter();
    Join {
        group: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        fresh_member_id,
        instance,
        client_id,
        client_host: ctx.client_host.to_string(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols.map(|protocol| (protocol.name.to_string(), protocol.metadata)).collect(),
        knows_member_id_required: ctx.version >= 4,
        knows_skip_assignment: ctx.version >= 9,
    }
}

fn response(version: i16, joined: Joined) -> JoinGroupResponse {
    let nullable = version >= NULLABLE_PROTOCOL;
    let members = joined.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(reply::text(member.id))
            .with_group_instance_id(member.instance.filter(|_| version >= 5).map(reply::text))
            .with_metadata(member.metadata)
    });
    let protocol = if nullable { joined.protocol } else { Some(joined.protocol.unwrap_or_default()) };
    JoinGroupResponse::default()
        .with_error_code(joined.error.map_or(0, |error| error.code()))
        .with_generation_id(joined.generation)
        .with_protocol_type(joined.protocol_type.filter(|_| nullable).map(reply::text))
        .with_protocol_name(protocol.map(reply::text))
        .with_leader(reply::text(joined.leader))
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(reply::text(joined.member_id))
        .with_members(members.collect())
}

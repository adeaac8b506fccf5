//! LeaveGroup (key 13), versions 0 to 5. KIP-345 (many members, v3), KIP-800 (v5).
//!
//! Up to version 2 one member goes and the response has one error. From version 3 on each member has its own.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::RequestContext;
use crate::group::event::{Event, Leave, Reply};

/// The version from which on many members go at once.
const MANY_MEMBERS: i16 = 3;

/// Lets members go.
pub(super) async fn handle(ctx: &RequestContext, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let members: Vec<_> = if ctx.version < MANY_MEMBERS {
        vec![(request.member_id, None)]
    } else {
        request.members.into_iter().map(|member| (member.member_id, member.group_instance_id)).collect()
    };
    let asked =
        members.iter().map(|(id, instance)| (id.to_string(), instance.as_ref().map(ToString::to_string)));
    let leave = Leave { group: request.group_id.to_string(), members: asked.collect() };
    let results = match leave_group(ctx, leave).await {
        Ok(results) => results,
        Err(error) => return LeaveGroupResponse::default().with_error_code(error.code()),
    };
    let code = |result: Result<(), ResponseError>| result.map_or_else(|error| error.code(), |()| 0);
    if ctx.version < MANY_MEMBERS {
        let only = results.into_iter().next().map_or(0, code);
        return LeaveGroupResponse::default().with_error_code(only);
    }
    let members = members.into_iter().zip(results).map(|((id, instance), result)| {
        MemberResponse::default()
            .with_member_id(id)
            .with_group_instance_id(instance)
            .with_error_code(code(result))
    });
    LeaveGroupResponse::default().with_members(members.collect())
}

async fn leave_group(
    ctx: &RequestContext,
    leave: Leave,
) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
    if leave.group.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    let shard = ctx.broker.coordinators.group(&ctx.broker, &leave.group).await?;
    match shard.ask(move |token| Event::Leave(token, leave)).await? {
        Reply::Leave(result) => result,
        _ => Err(ResponseError::UnknownServerError),
    }
}

//! Heartbeat (key 12), versions 0 to 4. KIP-345 (v3).
//!
//! REBALANCE_IN_PROGRESS in the answer is how a member learns that it has to join again.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::RequestContext;
use crate::group::event::{Event, MemberRef, Reply};

/// Takes a sign of life.
pub(super) async fn handle(ctx: &RequestContext, request: HeartbeatRequest) -> HeartbeatResponse {
    let code = heartbeat(ctx, request).await.map_or_else(|error| error.code(), |()| 0);
    HeartbeatResponse::default().with_error_code(code)
}

async fn heartbeat(ctx: &RequestContext, request: HeartbeatRequest) -> Result<(), ResponseError> {
    if request.group_id.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    let shard = ctx.broker.coordinators.group(&ctx.broker, &request.group_id).await?;
    let member = MemberRef {
        group: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        instance: request.group_instance_id.map(|id| id.to_string()),
        generation: request.generation_id,
    };
    match shard.ask(move |token| Event::Heartbeat(token, member)).await? {
        Reply::Done(result) => result,
        _ => Err(ResponseError::UnknownServerError),
    }
}

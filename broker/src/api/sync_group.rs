//! SyncGroup (key 14), versions 0 to 5. KIP-345 (v3), KIP-559 (v5).
//!
//! The leader brings everybody's assignment; all are answered when it is durable.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::{RequestContext, reply};
use crate::group::event::{Event, MemberRef, Reply, Sync, Synced};

/// The version from which on protocol type and name are answered.
const WITH_PROTOCOL: i16 = 5;

/// Gives a member its assignment.
pub(super) async fn handle(ctx: &RequestContext, request: SyncGroupRequest) -> SyncGroupResponse {
    match sync(ctx, request).await {
        Ok(synced) => {
            let known = ctx.version >= WITH_PROTOCOL;
            SyncGroupResponse::default()
                .with_protocol_type(synced.protocol_type.filter(|_| known).map(reply::text))
                .with_protocol_name(synced.protocol.filter(|_| known).map(reply::text))
                .with_assignment(synced.assignment)
        }
        Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
    }
}

async fn sync(ctx: &RequestContext, request: SyncGroupRequest) -> Result<Synced, ResponseError> {
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
    let assignments = request.assignments.into_iter();
    let sync = Sync {
        member,
        protocol_type: request.protocol_type.map(|text| text.to_string()),
        protocol: request.protocol_name.map(|text| text.to_string()),
        assignments: assignments.map(|each| (each.member_id.to_string(), each.assignment)).collect(),
    };
    match shard.ask(move |token| Event::Sync(token, sync)).await? {
        Reply::Sync(result) => result,
        _ => Err(ResponseError::UnknownServerError),
    }
}

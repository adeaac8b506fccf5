//! DeleteGroups (key 42), versions 0 to 2. KIP-229.
//!
//! Only a group without members can be deleted (NON_EMPTY_GROUP); its offsets go with it. One that nobody knows is
//! GROUP_ID_NOT_FOUND.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::RequestContext;
use crate::group::event::{Event, Reply};

/// Deletes groups.
pub(super) async fn handle(ctx: &RequestContext, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group in request.groups_names {
        let code = delete(ctx, &group).await.map_or_else(|error| error.code(), |()| 0);
        results.push(DeletableGroupResult::default().with_group_id(group).with_error_code(code));
    }
    DeleteGroupsResponse::default().with_results(results)
}

async fn delete(ctx: &RequestContext, group: &str) -> Result<(), ResponseError> {
    let shard = ctx.broker.coordinators.group(&ctx.broker, group).await?;
    let group = group.to_owned();
    match shard.ask(move |token| Event::Delete(token, group)).await? {
        Reply::Done(result) => result,
        _ => Err(ResponseError::UnknownServerError),
    }
}

//! ListGroups (key 16), versions 0 to 5. KIP-518 (states, v4), KIP-848 (types, v5).
//!
//! All groups on this node, by partition and name. Filters ignore case; an unknown state or type matches nothing. The
//! types are `classic` and `consumer`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{RequestContext, reply};
use crate::group::query::Listed;

/// Lists groups.
pub(super) async fn handle(ctx: &RequestContext, request: ListGroupsRequest) -> ListGroupsResponse {
    let wanted = |filter: &[StrBytes], name: &str| {
        filter.is_empty() || filter.iter().any(|word| word.eq_ignore_ascii_case(name))
    };
    let listed = match list(ctx).await {
        Ok(listed) => listed,
        Err(error) => return ListGroupsResponse::default().with_error_code(error.code()),
    };
    let groups = listed
        .into_iter()
        .filter(|group| {
            wanted(&request.states_filter, group.state) && wanted(&request.types_filter, group.kind)
        })
        .map(|group| {
            let listed = ListedGroup::default()
                .with_group_id(GroupId(reply::text(group.group)))
                .with_protocol_type(reply::text(group.protocol_type));
            match ctx.version {
                ..4 => listed,
                4 => listed.with_group_state(reply::text(group.state)),
                _ => {
                    listed.with_group_state(reply::text(group.state)).with_group_type(reply::text(group.kind))
                }
            }
        });
    ListGroupsResponse::default().with_groups(groups.collect())
}

async fn list(ctx: &RequestContext) -> Result<Vec<Listed>, ResponseError> {
    let mut all = Vec::new();
    for shard in ctx.broker.coordinators.groups.all() {
        all.extend(shard.look(|coordinator| coordinator.list()).await?);
    }
    Ok(all)
}

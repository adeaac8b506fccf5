//! DescribeGroups (key 15), versions 0 to 6. KIP-345 (v4), KIP-1043 (v6).
//!
//! A group that nobody knows is `Dead` without an error up to version 5 and GROUP_ID_NOT_FOUND from version 6 on.
//! A group that is named twice is answered once. Authorized operations, where asked for: all of them (there is no
//! authorizer).

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};

use super::{RequestContext, operations, reply};
use crate::group::classic::State;
use crate::group::query::Description;

/// The version from which on an unknown group is an error.
const UNKNOWN_IS_AN_ERROR: i16 = 6;

/// Describes groups.
pub(super) async fn handle(ctx: &RequestContext, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let mut groups = Vec::with_capacity(request.groups.len());
    let mut seen = BTreeSet::new();
    for id in request.groups.into_iter().filter(|id| seen.insert(id.to_string())) {
        let described = describe(ctx, &id).await;
        let group = response(ctx.version, id, described);
        let told = request.include_authorized_operations && group.error_code == 0;
        groups.push(group.with_authorized_operations(operations::told(told, operations::GROUP)));
    }
    DescribeGroupsResponse::default().with_groups(groups)
}

async fn describe(ctx: &RequestContext, id: &GroupId) -> Result<Option<Description>, ResponseError> {
    let shard = ctx.broker.coordinators.group(&ctx.broker, id).await?;
    let id = id.to_string();
    shard.look(move |coordinator| coordinator.describe(&id)).await
}

fn response(
    version: i16,
    id: GroupId,
    described: Result<Option<Description>, ResponseError>,
) -> DescribedGroup {
    let group = DescribedGroup::default().with_group_id(id.clone());
    let described = match described {
        Ok(Some(described)) => described,
        Ok(None) if version >= UNKNOWN_IS_AN_ERROR => {
            let message = format!("group {} not found", id.as_str());
            return group
                .with_error_code(ResponseError::GroupIdNotFound.code())
                .with_error_message(Some(reply::text(message)))
                .with_group_state(reply::text(State::Dead.name()));
        }
        Ok(None) => return group.with_group_state(reply::text(State::Dead.name())),
        Err(error) => return group.with_error_code(error.code()),
    };
    let members = described.members.into_iter().map(|member| {
        DescribedGroupMember::default()
            .with_member_id(reply::text(member.id))
            .with_group_instance_id(member.instance.filter(|_| version >= 4).map(reply::text))
            .with_client_id(reply::text(member.client_id))
            .with_client_host(reply::text(member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment)
    });
    group
        .with_group_state(reply::text(described.state.name()))
        .with_protocol_type(reply::text(described.protocol_type))
        .with_protocol_data(reply::text(described.protocol))
        .with_members(members.collect())
}

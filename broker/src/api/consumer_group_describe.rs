//! ConsumerGroupDescribe (key 69), versions 0 and 1. KIP-848; the type of each member since version 1.
//!
//! A group that nobody knows, or a classic one, is GROUP_ID_NOT_FOUND: tools then ask DescribeGroups. Authorized operations
//! are not told: there is no authorizer.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment as WireAssignment, DescribedGroup, Member as WireMember, TopicPartitions,
};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId, TopicName,
};

use super::{RequestContext, reply};
use crate::controller::Image;
use crate::group::consumer::member::Member;
use crate::group::consumer::query::Described;
use crate::group::consumer::{Assignment, insert, partitions};

/// What a member speaks, in the answer.
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

/// Describes groups, each once however often it is named.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let mut seen = std::collections::BTreeSet::new();
    let mut groups = Vec::with_capacity(request.group_ids.len());
    for id in request.group_ids.into_iter().filter(|id| seen.insert(id.clone())) {
        let described = describe(ctx, &id).await;
        groups.push(response(ctx, id, described));
    }
    ConsumerGroupDescribeResponse::default().with_groups(groups)
}

async fn describe(ctx: &RequestContext, id: &GroupId) -> Result<Option<Described>, ResponseError> {
    if id.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    let shard = ctx.broker.coordinators.group(&ctx.broker, id).await?;
    let id = id.to_string();
    shard.look(move |coordinator| coordinator.describe_consumer(&id)).await
}

fn response(
    ctx: &RequestContext,
    id: GroupId,
    described: Result<Option<Described>, ResponseError>,
) -> DescribedGroup {
    let group = DescribedGroup::default().with_group_id(id.clone());
    let described = match described {
        Ok(Some(described)) => described,
        Ok(None) => {
            let message = format!("group {} is not a consumer group", id.as_str());
            return group
                .with_error_code(ResponseError::GroupIdNotFound.code())
                .with_error_message(Some(reply::text(message)));
        }
        Err(error) => return group.with_error_code(error.code()),
    };
    let image = ctx.broker.image();
    let members = described.members.iter();
    group
        .with_group_state(reply::text(described.state))
        .with_group_epoch(described.epoch)
        .with_assignment_epoch(described.assignment_epoch)
        .with_assignor_name(reply::text(described.assignor))
        .with_members(
            members.map(|(described, target)| member(ctx.version, described, target, &image)).collect(),
        )
}

fn member(version: i16, member: &Arc<Member>, target: &Assignment, image: &Image) -> WireMember {
    let topics = member.topics.iter().map(|name| TopicName(reply::text(name.clone())));
    let mut held = member.assigned.clone();
    partitions(&member.revoking).for_each(|partition| insert(&mut held, partition));
    let described = WireMember::default()
        .with_member_id(reply::text(member.id.clone()))
        .with_instance_id(member.instance.clone().map(reply::text))
        .with_rack_id(member.rack.clone().map(reply::text))
        .with_member_epoch(member.epoch)
        .with_client_id(reply::text(member.client_id.clone()))
        .with_client_host(reply::text(member.client_host.clone()))
        .with_subscribed_topic_names(topics.collect())
        .with_subscribed_topic_regex(Some(reply::text(member.pattern.clone().unwrap_or_default())))
        .with_assignment(assignment(&held, image))
        .with_target_assignment(assignment(target, image));
    match version {
        0 => described,
        _ if member.classic.is_some() => described.with_member_type(CLASSIC_MEMBER),
        _ => described.with_member_type(CONSUMER_MEMBER),
    }
}

/// Topics that were deleted meanwhile have no name and are left out.
fn assignment(assignment: &Assignment, image: &Image) -> WireAssignment {
    let topics = assignment.iter().filter_map(|(id, partitions)| {
        let name = image.topic_by_id(*id)?.name.to_string();
        let partitions = partitions.iter().copied().collect();
        Some(
            TopicPartitions::default()
                .with_topic_id(*id)
                .with_topic_name(TopicName(reply::text(name)))
                .with_partitions(partitions),
        )
    });
    WireAssignment::default().with_topic_partitions(topics.collect())
}

//! ConsumerGroupHeartbeat (key 68), versions 0 and 1. KIP-848; patterns and member ids made by the client since version 1.
//!
//! Answered when what the heartbeat changed is durable. What a request must say stands here; what becomes of it, in
//! `group/consumer/heartbeat.rs`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_heartbeat_response::{
    Assignment as WireAssignment, TopicPartitions,
};
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_protocol::protocol::StrBytes;

use super::{RequestContext, reply};
use crate::config::setting::items;
use crate::controller::feature::GROUP;
use crate::group::consumer::assignor::Assignor;
use crate::group::consumer::heartbeat::{Heartbeat, Heartbeated};
use crate::group::consumer::member::{LEAVE, LEAVE_FOR_A_WHILE};
use crate::group::consumer::{Assignment, Refused};
use crate::group::event::{Event, Reply};

/// The version from which on the client makes the member id.
const CLIENT_MADE_ID: i16 = 1;

/// Takes a heartbeat.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    match heartbeat(ctx, request).await {
        Ok(heartbeated) => ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(reply::text(heartbeated.member_id)))
            .with_member_epoch(heartbeated.epoch)
            .with_heartbeat_interval_ms(heartbeated.interval_ms)
            .with_assignment(heartbeated.assignment.as_ref().map(assignment)),
        Err(refused) => ConsumerGroupHeartbeatResponse::default()
            .with_error_code(refused.error.code())
            .with_error_message(Some(reply::text(refused.message))),
    }
}

async fn heartbeat(
    ctx: &RequestContext,
    request: ConsumerGroupHeartbeatRequest,
) -> Result<Heartbeated, Refused> {
    if ctx.broker.image().features.get(GROUP).is_none_or(|level| *level < 1) {
        let message = format!("{GROUP} is 0; raise it with kafka-features.sh to use consumer groups");
        return Err(Refused::new(ResponseError::UnsupportedVersion, message));
    }
    check(ctx.version, &request)?;
    let shard = ctx.broker.coordinators.group(&ctx.broker, &request.group_id).await?;
    let heartbeat = Box::new(translate(ctx, request)?);
    match shard.ask(move |token| Event::ConsumerHeartbeat(token, heartbeat)).await? {
        Reply::ConsumerHeartbeat(result) => result,
        _ => Err(ResponseError::UnknownServerError.into()),
    }
}

fn check(version: i16, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refused> {
    let invalid = |message: &str| Err(Refused::new(ResponseError::InvalidRequest, message));
    let empty = |text: &Option<StrBytes>| text.as_ref().is_some_and(|text| text.is_empty());
    let joins = request.member_epoch == 0;
    if request.group_id.is_empty() {
        return invalid("GroupId can't be empty");
    }
    if request.member_id.is_empty() && (version >= CLIENT_MADE_ID || !joins) {
        return invalid("MemberId can't be empty");
    }
    if empty(&request.instance_id) {
        return invalid("InstanceId can't be empty");
    }
    if empty(&request.rack_id) {
        return invalid("RackId can't be empty");
    }
    match request.member_epoch {
        0 if request.rebalance_timeout_ms == -1 => {
            invalid("RebalanceTimeoutMs must be provided in first request")
        }
        0 if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            invalid("TopicPartitions must be empty when (re-)joining")
        }
        0 if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() => {
            invalid("either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining")
        }
        LEAVE_FOR_A_WHILE if request.instance_id.is_none() => invalid("InstanceId can't be null"),
        LEAVE | LEAVE_FOR_A_WHILE | 0.. => Ok(()),
        other => invalid(&format!("MemberEpoch {other} is invalid")),
    }
}

fn translate(ctx: &RequestContext, request: ConsumerGroupHeartbeatRequest) -> Result<Heartbeat, Refused> {
    let text = |text: Option<StrBytes>| text.map(|text| text.to_string());
    let assignor = text(request.server_assignor);
    let configured = ctx.broker.config.current("group.consumer.assignors");
    let supported =
        |name: &String| Assignor::named(name).is_some() && items(&configured).any(|known| known == name);
    if let Some(name) = assignor.as_ref().filter(|name| !supported(name)) {
        let message = format!("ServerAssignor {name} is not supported; {configured} are");
        return Err(Refused::new(ResponseError::UnsupportedAssignor, message));
    }
    let member_id = if request.member_id.is_empty() {
        ctx.broker.env.random.uuid().to_string()
    } else {
        request.member_id.to_string()
    };
    let names = request.subscribed_topic_names;
    Ok(Heartbeat {
        group: request.group_id.to_string(),
        member_id,
        epoch: request.member_epoch,
        instance: text(request.instance_id),
        rack: text(request.rack_id),
        rebalance_timeout_ms: Some(request.rebalance_timeout_ms).filter(|timeout_ms| *timeout_ms != -1),
        topics: names.map(|names| names.iter().map(|name| name.to_string()).collect()),
        pattern: text(request.subscribed_topic_regex),
        assignor,
        owned: request.topic_partitions.map(|owned| {
            let mut assignment = Assignment::new();
            for topic in owned.into_iter().filter(|topic| !topic.partitions.is_empty()) {
                assignment.entry(topic.topic_id).or_default().extend(topic.partitions);
            }
            assignment
        }),
        client_id: ctx.client_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        client_host: ctx.client_host.to_string(),
    })
}

fn assignment(assignment: &Assignment) -> WireAssignment {
    let topics = assignment.iter().map(|(topic, partitions)| {
        TopicPartitions::default().with_topic_id(*topic).with_partitions(partitions.iter().copied().collect())
    });
    WireAssignment::default().with_topic_partitions(topics.collect())
}

//! DeleteTopics (key 20), versions 1 to 6. KIP-4, KIP-516 (by id, v6), KIP-599.
//!
//! A topic named or identified twice, or by both name and id, is INVALID_REQUEST. `delete.topic.enable=false` refuses
//! with TOPIC_DELETION_DISABLED. Answered once the deletion is durable; the files go later (`file.delete.delay.ms`).

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::{RequestContext, reply};
use crate::controller::{Command, Image, Refusal, topic_name};

/// From this version on clients know THROTTLING_QUOTA_EXCEEDED.
const STRICT_SINCE: i16 = 5;

/// Deletes topics; and how long the client's quota makes it wait.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: DeleteTopicsRequest,
) -> (DeleteTopicsResponse, Duration) {
    let broker = &ctx.broker;
    let mutations = ctx.mutations(STRICT_SINCE);
    let asked: Vec<DeleteTopicState> = if ctx.version >= 6 {
        request.topics
    } else {
        let by_name = |name: TopicName| DeleteTopicState::default().with_name(Some(name));
        request.topic_names.into_iter().map(by_name).collect()
    };
    let image = broker.image();
    let enabled = broker.config.boolean("delete.topic.enable");
    let found: Vec<Result<Uuid, Refusal>> = asked
        .iter()
        .enumerate()
        .map(|(at, topic)| find(&image, &asked[..at], &asked[at + 1..], topic, enabled))
        .collect();
    let commands = found.iter().flatten().map(|id| Command::DeleteTopic { id: *id }).collect();
    let mut replies = broker.controller.run_within(mutations.clone(), commands, false).await.into_iter();
    let mut deleted = Vec::new();
    let mut responses = Vec::with_capacity(asked.len());
    for (topic, found) in asked.into_iter().zip(found) {
        let done = match found {
            Ok(id) => match replies.next() {
                Some(Ok(_)) => Ok(id),
                Some(Err(refusal)) => Err(refusal),
                None => Err(refused(ResponseError::UnknownServerError, "the command was not run")),
            },
            Err(refusal) => Err(refusal),
        };
        if let Some(known) = done.as_ref().ok().and_then(|id| image.topic_by_id(*id)) {
            deleted.push(known.name.to_string());
        }
        responses.push(result(&image, topic, done));
    }
    if !deleted.is_empty() {
        broker.coordinators.topics_deleted(&deleted);
    }
    (DeleteTopicsResponse::default().with_responses(responses), mutations.wait())
}

fn refused(error: ResponseError, message: &str) -> Refusal {
    Refusal { error, message: message.to_owned() }
}

fn find(
    image: &Image,
    before: &[DeleteTopicState],
    after: &[DeleteTopicState],
    topic: &DeleteTopicState,
    enabled: bool,
) -> Result<Uuid, Refusal> {
    let by_id = topic.topic_id != Uuid::nil();
    if by_id == topic.name.is_some() {
        let message = "a topic must be given either by name or by id";
        return Err(refused(ResponseError::InvalidRequest, message));
    }
    if !enabled {
        let message = "delete.topic.enable is false on this broker";
        return Err(refused(ResponseError::TopicDeletionDisabled, message));
    }
    let known = match &topic.name {
        Some(name) => image.topic(name),
        None => image.topic_by_id(topic.topic_id),
    };
    let Some(known) = known else {
        return Err(if by_id {
            refused(ResponseError::UnknownTopicId, "no topic has this id")
        } else {
            refused(ResponseError::UnknownTopicOrPartition, "this topic does not exist")
        });
    };
    let same = |other: &DeleteTopicState| {
        other.topic_id == known.id || other.name.as_ref().is_some_and(|name| name.as_str() == &*known.name)
    };
    if before.iter().chain(after).any(same) {
        return Err(refused(ResponseError::InvalidRequest, "the topic is given twice"));
    }
    debug_assert!(topic_name::refuse(&known.name).is_none(), "{} was let in", known.name);
    Ok(known.id)
}

fn result(image: &Image, topic: DeleteTopicState, done: Result<Uuid, Refusal>) -> DeletableTopicResult {
    let mut result = DeletableTopicResult::default().with_name(topic.name).with_topic_id(topic.topic_id);
    match done {
        Ok(id) => {
            result.topic_id = id;
            if let Some(known) = image.topic_by_id(id) {
                result.name = Some(TopicName(reply::text(&*known.name)));
            }
        }
        Err(refusal) => {
            result.error_code = refusal.error.code();
            result.error_message = Some(StrBytes::from_string(refusal.message));
        }
    }
    result
}

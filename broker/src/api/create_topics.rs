//! CreateTopics (key 19), versions 2 to 7. KIP-4, KIP-464, KIP-525, KIP-516, KIP-599.
//!
//! - Partitions and replication factor of -1 mean the broker's defaults (`num.partitions`,
//!   `default.replication.factor`).
//! - The same name twice in one request is INVALID_REQUEST for each of its mentions.
//! - From version 5 on the answer tells what was created, with the settings that hold.
//! - Topics that the broker itself writes are created with the settings that they need.
//! - Answered once the topics are durable and their partitions ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use tracing::{info, warn};

use super::describe_configs::describe_topic;
use super::{RequestContext, reply};
use crate::controller::{Command, NewTopic, Refusal, Reply, topic_name};
use crate::internal_topic::InternalTopic;
use crate::shared::Shared;

/// From this version on clients know THROTTLING_QUOTA_EXCEEDED.
const STRICT_SINCE: i16 = 6;

/// Creates topics, or says whether they could be; and how long the client's quota makes it wait.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: CreateTopicsRequest,
) -> (CreateTopicsResponse, Duration) {
    let broker = &ctx.broker;
    let mutations = ctx.mutations(STRICT_SINCE);
    let mut mentions: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &request.topics {
        *mentions.entry(&topic.name).or_default() += 1;
    }
    let mut told: BTreeSet<&str> = BTreeSet::new();
    let mut results = Vec::with_capacity(request.topics.len());
    let mut commands = Vec::new();
    for topic in &request.topics {
        if mentions.get(&**topic.name).is_some_and(|count| *count > 1) {
            // One result for all its mentions.
            if !told.insert(&topic.name) {
                continue;
            }
            results.push((
                topic,
                None,
                Err(refused(ResponseError::InvalidRequest, "the topic is named twice")),
            ));
        } else {
            match new_topic(broker, topic) {
                Ok(new) => {
                    results.push((topic, Some(new.clone()), Ok(())));
                    commands.push(Command::CreateTopic(new));
                }
                Err(refusal) => results.push((topic, None, Err(refusal))),
            }
        }
    }
    let mut replies =
        broker.controller.run_within(mutations.clone(), commands, request.validate_only).await.into_iter();
    let topics = results.into_iter().map(|(topic, new, checked)| {
        let done = checked.and_then(|()| {
            replies
                .next()
                .unwrap_or_else(|| Err(refused(ResponseError::UnknownServerError, "it was not run")))
        });
        result(ctx, topic, new.as_ref(), done)
    });
    (CreateTopicsResponse::default().with_topics(topics.collect()), mutations.wait())
}

fn refused(error: ResponseError, message: &str) -> Refusal {
    Refusal { error, message: message.to_owned() }
}

/// A topic as asked for, with the broker's defaults where the client leaves them to it.
fn new_topic(broker: &Shared, topic: &CreatableTopic) -> Result<NewTopic, Refusal> {
    if !topic.assignments.is_empty() && (topic.num_partitions != -1 || topic.replication_factor != -1) {
        let message = "partitions and replication factor must be -1 where replicas are assigned";
        return Err(refused(ResponseError::InvalidRequest, message));
    }
    let mut configs = BTreeMap::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            let message = format!("setting {} has no value", config.name);
            return Err(Refusal { error: ResponseError::InvalidConfig, message });
        };
        configs.insert(config.name.to_string(), value.to_string());
    }
    let default = |given: i32, setting: &str| if given == -1 { broker.config.int(setting) } else { given };
    let assignments = topic
        .assignments
        .iter()
        .map(|assigned| (assigned.partition_index, assigned.broker_ids.iter().map(|id| id.0).collect()));
    Ok(NewTopic {
        name: topic.name.to_string(),
        id: broker.env.random.uuid(),
        partitions: default(topic.num_partitions, "num.partitions"),
        replication_factor: default(topic.replication_factor.into(), "default.replication.factor"),
        assignments: assignments.collect(),
        configs,
        directory: broker.replicas.directory_id(),
    })
}

fn result(
    ctx: &RequestContext,
    topic: &CreatableTopic,
    new: Option<&NewTopic>,
    done: Result<Reply, Refusal>,
) -> CreatableTopicResult {
    let mut result = CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_configs(Some(Vec::new()))
        .with_error_message(None);
    match (done, new) {
        (Ok(Reply::Created { partitions, replication_factor }), Some(new)) => {
            result.topic_id = new.id;
            if ctx.version >= 5 {
                result.num_partitions = partitions;
                result.replication_factor = replication_factor;
                result.configs = Some(settings(&ctx.broker, &new.configs));
            }
        }
        (Ok(_), _) => result.error_code = ResponseError::UnknownServerError.code(),
        (Err(refusal), _) => {
            result.error_code = refusal.error.code();
            result.error_message = Some(reply::text(refusal.message));
            result.num_partitions = -1;
            result.replication_factor = -1;
        }
    }
    result
}

/// The settings that hold for a new topic.
fn settings(broker: &Shared, configs: &BTreeMap<String, String>) -> Vec<CreatableTopicConfigs> {
    describe_topic(&broker.config, configs)
        .into_iter()
        .map(|setting| {
            CreatableTopicConfigs::default()
                .with_name(setting.name)
                .with_value(setting.value)
                .with_read_only(false)
                .with_config_source(setting.source)
                .with_is_sensitive(setting.is_sensitive)
        })
        .collect()
}

/// Creates a topic with the broker's defaults.
pub(super) async fn create_default(broker: &Arc<Shared>, name: &str) {
    debug_assert!(
        !topic_name::is_internal(name),
        "{} has settings of its own",
        InternalTopic::ConsumerOffsets.name()
    );
    let new = NewTopic {
        name: name.to_owned(),
        id: broker.env.random.uuid(),
        partitions: broker.config.int("num.partitions"),
        replication_factor: broker.config.int("default.replication.factor"),
        directory: broker.replicas.directory_id(),
        ..NewTopic::default()
    };
    match broker.controller.run_one(Command::CreateTopic(new)).await {
        Ok(_) => info!(topic = name, "topic created because a client asked for it"),
        Err(refusal) if refusal.error == ResponseError::TopicAlreadyExists => {}
        Err(refusal) => warn!(topic = name, error = %refusal, "topic cannot be created"),
    }
}

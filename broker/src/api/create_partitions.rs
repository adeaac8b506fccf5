//! CreatePartitions (key 37), versions 0 to 3. KIP-195, KIP-599.
//!
//! One result for each topic of the request. The new count must be larger than the present one (INVALID_PARTITIONS);
//! given replicas must be as many lists as there are new partitions (INVALID_REPLICA_ASSIGNMENT). A topic named twice is
//! INVALID_REQUEST.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::{RequestContext, reply};
use crate::controller::{Command, Refusal};

/// From this version on clients know THROTTLING_QUOTA_EXCEEDED.
const STRICT_SINCE: i16 = 3;

/// Adds partitions, or says whether they could be added; and how long the client's quota makes it wait.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: CreatePartitionsRequest,
) -> (CreatePartitionsResponse, Duration) {
    let mutations = ctx.mutations(STRICT_SINCE);
    let mut mentions: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &request.topics {
        *mentions.entry(&topic.name).or_default() += 1;
    }
    let twice = |name: &str| mentions.get(name).is_some_and(|count| *count > 1);
    let wanted = request.topics.iter().filter(|topic| !twice(&topic.name));
    let commands = wanted.map(|topic| Command::CreatePartitions {
        name: topic.name.to_string(),
        count: topic.count,
        assignments: topic.assignments.as_ref().map(|assignments| {
            assignments.iter().map(|assigned| assigned.broker_ids.iter().map(|id| id.0).collect()).collect()
        }),
    });
    let controller = &ctx.broker.controller;
    let replies = controller.run_within(mutations.clone(), commands.collect(), request.validate_only).await;
    let mut replies = replies.into_iter();
    let mut told: BTreeSet<&str> = BTreeSet::new();
    let each_once = request.topics.iter().filter(|topic| told.insert(&topic.name));
    let results = each_once.map(|topic| {
        let done = if twice(&topic.name) {
            let message = "the topic is named twice".to_owned();
            Err(Refusal { error: ResponseError::InvalidRequest, message })
        } else {
            replies.next().map_or(Ok(()), |reply| reply.map(|_| ()))
        };
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        match done {
            Ok(()) => result.with_error_message(None),
            Err(refusal) => result
                .with_error_code(refusal.error.code())
                .with_error_message(Some(reply::text(refusal.message))),
        }
    });
    (CreatePartitionsResponse::default().with_results(results.collect()), mutations.wait())
}

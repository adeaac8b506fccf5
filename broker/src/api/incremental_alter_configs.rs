//! IncrementalAlterConfigs (key 44), versions 0 and 1. KIP-339.
//!
//! Operations: 0 set, 1 delete (back to the broker's value), 2 append to and 3 subtract from a list. Append and subtract
//! on what is not a list are INVALID_CONFIG; so is an unknown name or a value that is not allowed. A name twice for one
//! resource, or a resource twice, is INVALID_REQUEST. A resource's changes are made together or not at all.
//!
//! A broker's loggers: see [`super::broker_loggers`]. Else a resource is a topic, this broker (by its number), all brokers
//! (the empty name) or a group, whether it is there or not (KIP-848). A broker's setting that is read at start, like an
//! unknown one or a bad value, is INVALID_REQUEST (KIP-226).

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::broker_loggers::{self, RESOURCE_BROKER_LOGGER};
use super::{RequestContext, reply};
use crate::config::group::Limits;
use crate::config::setting::{Kind, items};
use crate::config::{broker_setting, group, topic};
use crate::controller::record::{RESOURCE_GROUP, RESOURCE_TOPIC};
use crate::controller::{Command, Refusal};
use crate::shared::Shared;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// What has become of a resource that was not refused.
enum Step {
    /// It is changed.
    Done,
    /// The controller was asked.
    Asked,
}

/// Changes settings, or says whether they could be changed.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut mentions: BTreeMap<(i8, &str), usize> = BTreeMap::new();
    for resource in &request.resources {
        *mentions.entry((resource.resource_type, &resource.resource_name)).or_default() += 1;
    }
    let mut commands = Vec::new();
    let mut checked = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let twice =
            mentions.get(&(resource.resource_type, &*resource.resource_name)).is_some_and(|count| *count > 1);
        if resource.resource_type == RESOURCE_BROKER_LOGGER && !twice {
            checked.push(
                broker_loggers::alter(&ctx.broker, resource, request.validate_only).map(|()| Step::Done),
            );
            continue;
        }
        let changes = if twice {
            refuse(ResponseError::InvalidRequest, "the resource is named twice".to_owned())
        } else {
            changes(&ctx.broker, resource)
        };
        checked.push(changes.map(|changes| {
            commands.push(command(&ctx.broker, resource.resource_type, &resource.resource_name, changes));
            Step::Asked
        }));
    }
    let mut replies = ctx.broker.controller.run(commands, request.validate_only).await.into_iter();
    let responses = request.resources.iter().zip(checked).map(|(resource, checked)| {
        let done = checked.and_then(|step| match step {
            Step::Done => Ok(()),
            Step::Asked => replies.next().map_or(Ok(()), |reply| reply.map(|_| ())),
        });
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_message(None);
        match done {
            Ok(()) => response,
            Err(refusal) => response
                .with_error_code(refusal.error.code())
                .with_error_message(Some(reply::text(refusal.message))),
        }
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

/// What the controller is asked for a resource's changes.
pub(super) fn command(
    broker: &Shared,
    resource_type: i8,
    resource: &str,
    changes: Vec<(String, Option<String>)>,
) -> Command {
    let resource = resource.to_owned();
    match resource_type {
        RESOURCE_GROUP => {
            Command::AlterGroupConfig { group: resource, changes, limits: Limits::of(&broker.config) }
        }
        _ => Command::AlterConfig { resource_type, resource, changes },
    }
}

fn refuse<T>(error: ResponseError, message: String) -> Result<T, Refusal> {
    Err(Refusal { error, message })
}

/// The new values that a resource's operations come to.
fn changes(
    broker: &Shared,
    resource: &AlterConfigsResource,
) -> Result<Vec<(String, Option<String>)>, Refusal> {
    if resource.resource_type == RESOURCE_TOPIC && resource.resource_name.is_empty() {
        return refuse(ResponseError::InvalidRequest, "a topic without a name has no settings".to_owned());
    }
    let mut changes: Vec<(String, Option<String>)> = Vec::with_capacity(resource.configs.len());
    for config in &resource.configs {
        if changes.iter().any(|(name, _)| *name == *config.name) {
            return refuse(ResponseError::InvalidRequest, format!("setting {} is named twice", config.name));
        }
        let value = new_value(broker, resource, config)?;
        changes.push((config.name.to_string(), value));
    }
    Ok(changes)
}

fn new_value(
    broker: &Shared,
    resource: &AlterConfigsResource,
    config: &AlterableConfig,
) -> Result<Option<String>, Refusal> {
    let name = &*config.name;
    let given = match (&config.value, config.config_operation) {
        (_, DELETE) => return Ok(None),
        (Some(value), SET) => return Ok(Some(value.to_string())),
        (Some(value), APPEND | SUBTRACT) => value,
        (None, SET | APPEND | SUBTRACT) => {
            return refuse(ResponseError::InvalidRequest, format!("setting {name} has no value"));
        }
        (_, other) => {
            return refuse(ResponseError::InvalidRequest, format!("operation {other} is not one of 0 to 3"));
        }
    };
    let row = match resource.resource_type {
        RESOURCE_TOPIC => topic::setting(name),
        RESOURCE_GROUP => group::setting(name),
        _ => broker_setting(name),
    };
    if row.is_none_or(|row| row.kind != Kind::List) {
        return refuse(ResponseError::InvalidConfig, format!("setting {name} is not a list to append to"));
    }
    let present = present(broker, resource, name)?;
    let mut list: Vec<&str> = items(&present).collect();
    if config.config_operation == APPEND {
        for item in items(given) {
            if !list.contains(&item) {
                list.push(item);
            }
        }
    } else {
        let gone: Vec<&str> = items(given).collect();
        list.retain(|item| !gone.contains(item));
    }
    Ok(Some(list.join(",")))
}

/// A list as it is now, for a topic or a broker.
fn present(broker: &Shared, resource: &AlterConfigsResource, name: &str) -> Result<String, Refusal> {
    if resource.resource_type != RESOURCE_TOPIC {
        return Ok(broker.config.current(name));
    }
    match broker.image().topic(&resource.resource_name) {
        Some(found) => Ok(topic::effective(name, &found.config, &broker.config)),
        None => {
            let message = format!("topic {} does not exist", resource.resource_name);
            refuse(ResponseError::UnknownTopicOrPartition, message)
        }
    }
}

//! AlterConfigs (key 33), versions 0 to 2. KIP-133; KIP-339 replaced it, older clients still send it.
//!
//! The settings given become all that a topic, broker or group has of its own: those not named are taken back. A resource's
//! changes are made together or not at all.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::incremental_alter_configs::command;
use super::{RequestContext, reply};
use crate::controller::record::{RESOURCE_BROKER, RESOURCE_GROUP, RESOURCE_TOPIC};
use crate::controller::{Image, Refusal};

/// Replaces settings, or says whether they could be replaced.
pub(super) async fn handle(ctx: &RequestContext, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut mentions: BTreeMap<(i8, &str), usize> = BTreeMap::new();
    for resource in &request.resources {
        *mentions.entry((resource.resource_type, &resource.resource_name)).or_default() += 1;
    }
    let image = ctx.broker.image();
    let mut commands = Vec::new();
    let mut checked = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let key = (resource.resource_type, &*resource.resource_name);
        checked.push(if mentions.get(&key).is_some_and(|count| *count > 1) {
            let message = "the resource is named twice".to_owned();
            Err(Refusal { error: ResponseError::InvalidRequest, message })
        } else {
            let changes = changes(&image, resource);
            commands.push(command(&ctx.broker, resource.resource_type, &resource.resource_name, changes));
            Ok(())
        });
    }
    let mut replies = ctx.broker.controller.run(commands, request.validate_only).await.into_iter();
    let responses = request.resources.iter().zip(checked).map(|(resource, checked)| {
        let done = checked.and_then(|()| replies.next().map_or(Ok(()), |reply| reply.map(|_| ())));
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
    AlterConfigsResponse::default().with_responses(responses.collect())
}

/// What is named gets its value; what the resource has beside that is taken back.
fn changes(image: &Image, resource: &AlterConfigsResource) -> Vec<(String, Option<String>)> {
    let named: BTreeMap<String, Option<String>> = resource
        .configs
        .iter()
        .map(|config| (config.name.to_string(), config.value.as_ref().map(|value| value.to_string())))
        .collect();
    let name = &*resource.resource_name;
    let present = match resource.resource_type {
        RESOURCE_TOPIC => image.topic(name).map(|topic| &topic.config),
        RESOURCE_BROKER => Some(image.broker_config(name)),
        RESOURCE_GROUP => Some(image.group_config(name)),
        _ => None,
    };
    let others = present.into_iter().flat_map(BTreeMap::keys);
    let dropped = others.filter(|name| !named.contains_key(*name)).map(|name| (name.clone(), None));
    let dropped: Vec<_> = dropped.collect();
    named.into_iter().chain(dropped).collect()
}

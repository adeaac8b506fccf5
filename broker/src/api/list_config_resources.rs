//! ListConfigResources (key 74), versions 0 and 1. KIP-1000, KIP-1142.
//!
//! What can be asked for its settings: topics, brokers, brokers as owners of loggers, groups. An empty list of types means
//! all of them; of groups those that have settings of their own. There are no client metrics subscriptions. Version 0 asks for
//! client metrics only. An unknown type makes the whole request UNSUPPORTED_VERSION.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use super::{RequestContext, reply};

/// Resource types in the protocol's numbers, in the order in which Kafka lists them.
const TYPES: [i8; 5] = [GROUP, CLIENT_METRICS, BROKER_LOGGER, BROKER, TOPIC];
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// Lists resources.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let response = ListConfigResourcesResponse::default();
    let asked = match ctx.version {
        0 => vec![CLIENT_METRICS],
        _ if request.resource_types.is_empty() => TYPES.to_vec(),
        _ => request.resource_types,
    };
    if asked.iter().any(|kind| !TYPES.contains(kind)) {
        return response.with_error_code(ResponseError::UnsupportedVersion.code());
    }
    let image = ctx.broker.image();
    let mut resources = Vec::new();
    for kind in TYPES.into_iter().filter(|kind| asked.contains(kind)) {
        let mut list = |name: &str| {
            let resource = ConfigResource::default().with_resource_name(reply::text(name));
            resources.push(if ctx.version >= 1 { resource.with_resource_type(kind) } else { resource });
        };
        match kind {
            TOPIC => image.topics.keys().for_each(|name| list(name)),
            GROUP => image.group_configs.keys().for_each(|name| list(name)),
            BROKER | BROKER_LOGGER => image.brokers.keys().for_each(|id| list(&id.to_string())),
            _ => {}
        }
    }
    response.with_config_resources(resources)
}

//! DescribeClientQuotas (key 48), versions 0 and 1. KIP-546, KIP-612 (addresses).
//!
//! A filter has for each type of entity what it must be: this name (0), the default (1), or named at all (2). Types
//! that the filter doesn't mention may be there too, unless it is strict. An unknown type is UNSUPPORTED_VERSION, one
//! named twice or a filter that makes no sense INVALID_REQUEST.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use kafka_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use super::{RequestContext, reply};
use crate::quota::Entity;
use crate::quota::entity::{CLIENT, IP, USER};

/// What a component of the filter asks for.
enum Wanted {
    Named(String),
    Default,
    Any,
}

/// Lists the quotas that the filter lets through.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let filter = match filter(&request.components) {
        Ok(filter) => filter,
        Err((error, message)) => {
            return DescribeClientQuotasResponse::default()
                .with_error_code(error.code())
                .with_error_message(Some(reply::text(message)))
                .with_entries(None);
        }
    };
    let image = ctx.broker.image();
    let found = image.quotas.iter().filter(|(entity, _)| matches(entity, &filter, request.strict));
    let entries = found.map(|(entity, quotas)| {
        let parts = entity.parts().map(|(kind, name)| {
            EntityData::default().with_entity_type(reply::text(kind)).with_entity_name(name.map(reply::text))
        });
        let values = quotas
            .iter()
            .map(|(key, value)| ValueData::default().with_key(reply::text(key)).with_value(*value));
        EntryData::default().with_entity(parts.collect()).with_values(values.collect())
    });
    DescribeClientQuotasResponse::default().with_error_message(None).with_entries(Some(entries.collect()))
}

fn filter(components: &[ComponentData]) -> Result<BTreeMap<&str, Wanted>, (ResponseError, String)> {
    let invalid = |message: String| (ResponseError::InvalidRequest, message);
    let mut filter = BTreeMap::new();
    for component in components {
        let kind = &*component.entity_type;
        if ![USER, CLIENT, IP].contains(&kind) {
            let message = format!("entity type {kind:?} is not one of user, client-id and ip");
            let error = if kind.is_empty() {
                ResponseError::InvalidRequest
            } else {
                ResponseError::UnsupportedVersion
            };
            return Err((error, message));
        }
        let wanted = match (component.match_type, &component._match) {
            (0, Some(name)) => Wanted::Named(name.to_string()),
            (1, None) => Wanted::Default,
            (2, None) => Wanted::Any,
            (0, None) => return Err(invalid(format!("the exact match of {kind} has no name"))),
            (1 | 2, Some(_)) => return Err(invalid(format!("the match of {kind} must have no name"))),
            (other, _) => return Err(invalid(format!("match type {other} is not one of 0 to 2"))),
        };
        if filter.insert(kind, wanted).is_some() {
            return Err(invalid(format!("entity type {kind} is named twice")));
        }
    }
    if filter.contains_key(IP) && filter.len() > 1 {
        return Err(invalid("an address cannot be combined with a user or a client id".to_owned()));
    }
    Ok(filter)
}

fn matches(entity: &Entity, filter: &BTreeMap<&str, Wanted>, strict: bool) -> bool {
    let parts: BTreeMap<&str, Option<&str>> = entity.parts().collect();
    let all = filter.iter().all(|(kind, wanted)| match (wanted, parts.get(kind)) {
        (Wanted::Named(wanted), Some(Some(name))) => wanted == name,
        (Wanted::Default, Some(None)) | (Wanted::Any, Some(_)) => true,
        _ => false,
    });
    all && (!strict || parts.len() == filter.len())
}

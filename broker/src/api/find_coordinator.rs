//! FindCoordinator (key 10), versions 0 to 6. KIP-98, KIP-699 (many keys, v4), KIP-890 (v5), KIP-932 (v6).
//!
//! Groups (key type 0) and transactional ids (1) are both coordinated here; the internal topic they need is made when
//! the first of them is asked for. Key type 2, share groups, is INVALID_REQUEST.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::{RequestContext, reply};
use crate::internal_topic::InternalTopic;

/// The version from which on many keys are asked for at once.
const MANY_KEYS: i16 = 4;

/// Says where the coordinator is.
pub(super) async fn handle(ctx: &RequestContext, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let result = prepare(ctx, request.key_type).await;
    let keys = if ctx.version < MANY_KEYS { vec![request.key] } else { request.coordinator_keys };
    let mut found: Vec<_> = keys.into_iter().map(|key| coordinator(ctx, key, result)).collect();
    if ctx.version >= MANY_KEYS {
        return FindCoordinatorResponse::default().with_coordinators(found);
    }
    let Some(one) = found.pop() else { return FindCoordinatorResponse::default() };
    FindCoordinatorResponse::default()
        .with_error_code(one.error_code)
        .with_error_message(one.error_message)
        .with_node_id(one.node_id)
        .with_host(one.host)
        .with_port(one.port)
}

async fn prepare(ctx: &RequestContext, key_type: i8) -> Result<(), ResponseError> {
    let topic = match key_type {
        0 => InternalTopic::ConsumerOffsets,
        1 => InternalTopic::TransactionState,
        _ => return Err(ResponseError::InvalidRequest),
    };
    ctx.broker.ensure_internal(topic).await
}

fn coordinator(ctx: &RequestContext, key: StrBytes, result: Result<(), ResponseError>) -> Coordinator {
    let coordinator = Coordinator::default().with_key(key);
    match result {
        Ok(()) => coordinator
            .with_node_id(BrokerId(ctx.broker.node_id))
            .with_host(reply::text(&*ctx.broker.advertised.host))
            .with_port(i32::from(ctx.broker.advertised.port)),
        Err(error) => coordinator
            .with_error_code(error.code())
            .with_error_message(Some(reply::text(error.to_string())))
            .with_node_id(BrokerId(-1))
            .with_port(-1),
    }
}

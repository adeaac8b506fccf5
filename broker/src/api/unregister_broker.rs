//! UnregisterBroker (key 64), version 0. KIP-631.
//!
//! Takes a broker that is gone for good out of the metadata. The only broker is the one that answers: any other id is
//! BROKER_ID_NOT_REGISTERED. Its own is refused with INVALID_REQUEST; Kafka would take itself off the list and go on
//! without leaders, which helps nobody.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::{RequestContext, reply};

/// Refuses.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: UnregisterBrokerRequest,
) -> UnregisterBrokerResponse {
    let id = request.broker_id.0;
    let (error, message) = if id == ctx.broker.node_id {
        (ResponseError::InvalidRequest, format!("broker {id} runs and is the only one; stop it instead"))
    } else {
        (ResponseError::BrokerIdNotRegistered, format!("broker {id} is not registered"))
    };
    UnregisterBrokerResponse::default()
        .with_error_code(error.code())
        .with_error_message(Some(reply::text(message)))
}

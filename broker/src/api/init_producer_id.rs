//! InitProducerId (key 22), versions 0 to 5. KIP-98, KIP-360, KIP-447.
//!
//! Without a transactional id: a fresh producer id with epoch 0. With one: the transaction coordinator decides. An empty
//! transactional id is INVALID_REQUEST.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::RequestContext;

/// No producer id, and no epoch.
const NONE: i64 = -1;

/// Gives out a producer id.
pub(super) async fn handle(ctx: &RequestContext, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let response = InitProducerIdResponse::default().with_producer_id(ProducerId(-1)).with_producer_epoch(-1);
    match &request.transactional_id {
        // Who names a producer says its epoch, too.
        _ if (request.producer_id.0 == NONE) != (i64::from(request.producer_epoch) == NONE) => {
            response.with_error_code(ResponseError::InvalidRequest.code())
        }
        Some(id) if id.is_empty() => response.with_error_code(ResponseError::InvalidRequest.code()),
        Some(_) => ctx.broker.coordinators.init_producer_id(ctx, request).await,
        None => match ctx.broker.next_producer_id().await {
            Ok(id) => response.with_producer_id(ProducerId(id.0)).with_producer_epoch(0),
            Err(error) => response.with_error_code(error.code()),
        },
    }
}

//! EndTxn (key 26), versions 0 to 5. KIP-98, KIP-360 (v2), KIP-890 (v4, v5).
//!
//! Answered when the decision is durable; the partitions are told right after. Version 5 is the second transaction protocol:
//! the answer names the producer id and epoch of the next transaction.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse, ProducerId};

use super::RequestContext;
use crate::coordinators::Producer;
use crate::transaction::event::{End, Event, Reply};
use crate::transaction::state::Protocol;

/// The version from which on PRODUCER_FENCED is understood.
const KNOWS_FENCED: i16 = 2;
/// The version of the second protocol.
const BUMPS_EPOCH: i16 = 5;

/// Ends a transaction.
pub(super) async fn handle(ctx: &RequestContext, request: EndTxnRequest) -> EndTxnResponse {
    let ended = end(ctx, request).await;
    let code = super::fenced_code(ended.map(drop), ctx.version >= KNOWS_FENCED);
    let response = EndTxnResponse::default().with_error_code(code);
    match ended {
        Ok(next) if ctx.version >= BUMPS_EPOCH => {
            response.with_producer_id(ProducerId(next.id)).with_producer_epoch(next.epoch)
        }
        _ => response,
    }
}

async fn end(ctx: &RequestContext, request: EndTxnRequest) -> Result<Producer, ResponseError> {
    let shard = ctx.broker.coordinators.transaction(&ctx.broker, &request.transactional_id).await?;
    let end = End {
        transactional_id: request.transactional_id.to_string(),
        producer: Producer { id: request.producer_id.0, epoch: request.producer_epoch },
        commit: request.committed,
        protocol: if ctx.version >= BUMPS_EPOCH { Protocol::Second } else { Protocol::First },
        fresh_producer_id: None,
    };
    match shard.ask(move |token| Event::End(token, end)).await? {
        Reply::Ended(result) => result,
        _ => Err(ResponseError::UnknownServerError),
    }
}

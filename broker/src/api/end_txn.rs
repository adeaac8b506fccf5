//! EndTxn (key 26), versions 0 to 4. KIP-98, KIP-360 (v2), KIP-890 (v4).
//!
//! Answered when the decision is durable; the partitions are told right after. Version 5, which bumps the epoch, belongs to
//! the second transaction protocol and is not served.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse};

use super::RequestContext;
use crate::coordinators::Producer;
use crate::transaction::event::{End, Event, Reply};

/// The version from which on PRODUCER_FENCED is understood.
const KNOWS_FENCED: i16 = 2;

/// Ends a transaction.
pub(super) async fn handle(ctx: &RequestContext, request: EndTxnRequest) -> EndTxnResponse {
    let code = super::fenced_code(end(ctx, request).await, ctx.version >= KNOWS_FENCED);
    EndTxnResponse::default().with_error_code(code)
}

async fn end(ctx: &RequestContext, request: EndTxnRequest) -> Result<(), ResponseError> {
    let shard = ctx.broker.coordinators.transaction(&ctx.broker, &request.transactional_id).await?;
    let end = End {
        transactional_id: request.transactional_id.to_string(),
        producer: Producer { id: request.producer_id.0, epoch: request.producer_epoch },
        commit: request.committed,
    };
    match shard.ask(move |token| Event::End(token, end)).await? {
        Reply::Done(result) => result,
        Reply::Init(_) => Err(ResponseError::UnknownServerError),
    }
}

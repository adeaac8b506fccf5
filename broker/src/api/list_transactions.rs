//! ListTransactions (key 66), versions 0 to 2. KIP-664, KIP-994 (duration, v1), KIP-1152 (pattern, v2).
//!
//! All transactional ids on this node, by partition and name, filtered by state, producer id, how long the transaction has been
//! open, and a pattern that the whole id must match. Unknown states in the filter are told back; a pattern that cannot be
//! read is INVALID_REGULAR_EXPRESSION.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_transactions_response::TransactionState;
use kafka_protocol::messages::{
    ListTransactionsRequest, ListTransactionsResponse, ProducerId, TransactionalId,
};

use regex_lite::Regex;

use super::{RequestContext, reply};
use crate::transaction::state::{State, Transaction};

/// Longest pattern that is read.
const PATTERN_BYTES_MAX: usize = 1024;

/// Lists transactions.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let known = |name: &str| State::ALL.iter().any(|state| state.name() == name);
    let unknown = request.state_filters.iter().filter(|name| !known(name)).cloned().collect();
    let response = ListTransactionsResponse::default().with_unknown_state_filters(unknown);
    let pattern = match pattern(request.transactional_id_pattern.as_deref()) {
        Ok(pattern) => pattern,
        Err(error) => return response.with_error_code(error.code()),
    };
    let now_ms = ctx.broker.now_ms();
    let wanted = |transaction: &Transaction| {
        let stored = &transaction.current;
        let open_ms = if stored.started_ms < 0 { 0 } else { now_ms.saturating_sub(stored.started_ms) };
        let states = &request.state_filters;
        let producers = &request.producer_id_filters;
        (states.is_empty() || states.iter().any(|name| name.as_str() == stored.state.name()))
            && (producers.is_empty() || producers.contains(&ProducerId(stored.producer.id)))
            && (request.duration_filter < 0 || open_ms > request.duration_filter)
            && pattern.as_ref().is_none_or(|pattern| pattern.is_match(&transaction.id))
    };
    let listed = match list(ctx).await {
        Ok(listed) => listed,
        Err(error) => return response.with_error_code(error.code()),
    };
    let states = listed.into_iter().filter(wanted).map(|transaction| {
        TransactionState::default()
            .with_transactional_id(TransactionalId(reply::text(transaction.id)))
            .with_producer_id(ProducerId(transaction.current.producer.id))
            .with_transaction_state(reply::text(transaction.current.state.name()))
    });
    response.with_transaction_states(states.collect())
}

/// The filter by name; an empty one is none.
fn pattern(text: Option<&str>) -> Result<Option<Regex>, ResponseError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.len() > PATTERN_BYTES_MAX {
        return Err(ResponseError::InvalidRegularExpression);
    }
    let whole = format!("^(?:{text})$");
    Regex::new(&whole).map(Some).map_err(|_| ResponseError::InvalidRegularExpression)
}

async fn list(ctx: &RequestContext) -> Result<Vec<Transaction>, ResponseError> {
    let mut all = Vec::new();
    for shard in ctx.broker.coordinators.transactions.all() {
        all.extend(shard.look(|coordinator| coordinator.list().cloned().collect::<Vec<_>>()).await?);
    }
    Ok(all)
}

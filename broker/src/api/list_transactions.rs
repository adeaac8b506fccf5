//! ListTransactions (key 66), versions 0 and 1. KIP-664, KIP-994 (duration, v1).
//!
//! All transactional ids on this node, by partition and name, filtered by state, producer id and how long the transaction
//! has been open. Unknown states in the filter are told back.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_transactions_response::TransactionState;
use kafka_protocol::messages::{
    ListTransactionsRequest, ListTransactionsResponse, ProducerId, TransactionalId,
};

use super::{RequestContext, reply};
use crate::transaction::state::{State, Transaction};

/// Lists transactions.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let known = |name: &str| State::ALL.iter().any(|state| state.name() == name);
    let unknown = request.state_filters.iter().filter(|name| !known(name)).cloned().collect();
    let response = ListTransactionsResponse::default().with_unknown_state_filters(unknown);
    let now_ms = ctx.broker.now_ms();
    let wanted = |transaction: &Transaction| {
        let stored = &transaction.current;
        let open_ms = if stored.started_ms < 0 { 0 } else { now_ms.saturating_sub(stored.started_ms) };
        let states = &request.state_filters;
        let producers = &request.producer_id_filters;
        (states.is_empty() || states.iter().any(|name| name.as_str() == stored.state.name()))
            && (producers.is_empty() || producers.contains(&ProducerId(stored.producer.id)))
            && (request.duration_filter < 0 || open_ms > request.duration_filter)
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

async fn list(ctx: &RequestContext) -> Result<Vec<Transaction>, ResponseError> {
    let mut all = Vec::new();
    for shard in ctx.broker.coordinators.transactions.all() {
        all.extend(shard.look(|coordinator| coordinator.list().cloned().collect::<Vec<_>>()).await?);
    }
    Ok(all)
}

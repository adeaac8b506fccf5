//! DescribeTransactions (key 65), version 0. KIP-664.
//!
//! An id that nobody knows is TRANSACTIONAL_ID_NOT_FOUND.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ProducerId, TopicName, TransactionalId,
};

use super::{RequestContext, reply};
use crate::transaction::state::Stored;

/// Describes transactions.
pub(super) async fn handle(
    ctx: &RequestContext,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut states = Vec::with_capacity(request.transactional_ids.len());
    for id in request.transactional_ids {
        let described = describe(ctx, &id).await;
        states.push(response(id, described));
    }
    DescribeTransactionsResponse::default().with_transaction_states(states)
}

async fn describe(ctx: &RequestContext, id: &TransactionalId) -> Result<Stored, ResponseError> {
    if id.is_empty() {
        return Err(ResponseError::InvalidRequest);
    }
    let shard = ctx.broker.coordinators.transaction(&ctx.broker, id).await?;
    let id = id.to_string();
    let found = shard.look(move |coordinator| coordinator.describe(&id).cloned()).await?;
    found.ok_or(ResponseError::TransactionalIdNotFound)
}

fn response(id: TransactionalId, described: Result<Stored, ResponseError>) -> TransactionState {
    let state = TransactionState::default().with_transactional_id(id);
    let stored = match described {
        Ok(stored) => stored,
        Err(error) => return state.with_error_code(error.code()),
    };
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for partition in stored.partitions {
        topics.entry(partition.topic).or_default().push(partition.partition);
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        TopicData::default().with_topic(TopicName(reply::text(name))).with_partitions(partitions)
    });
    state
        .with_transaction_state(reply::text(stored.state.name()))
        .with_transaction_timeout_ms(stored.timeout_ms)
        .with_transaction_start_time_ms(stored.started_ms)
        .with_producer_id(ProducerId(stored.producer.id))
        .with_producer_epoch(stored.producer.epoch)
        .with_topics(topics.collect())
}

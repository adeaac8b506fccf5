//! The way to one broker: puts requests on the connection in the order the sender decided, and reports each answer.

use std::sync::Arc;

use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use tokio::sync::mpsc;

use super::Shared;
use super::accumulator::Batch;
use super::request::encode;
use super::transaction::Transactions;
use crate::connection::Pending;
use crate::error::Result;

/// Batches that were sent together, and what came of it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) broker: i32,
    pub(super) batches: Vec<Batch>,
    pub(super) result: Result<ProduceResponse>,
}

/// Runs until the sender drops its end. The sender limits how many requests are under way.
pub(super) async fn run(
    shared: Arc<Shared>,
    broker: i32,
    mut requests: mpsc::UnboundedReceiver<Vec<Batch>>,
    answers: mpsc::UnboundedSender<Answer>,
) {
    while let Some(batches) = requests.recv().await {
        let answers = answers.clone();
        let limit = shared.cluster.config().request_timeout;
        match submit(&shared, broker, &batches).await {
            Ok(pending) => {
                tokio::spawn(async move {
                    let result = pending.wait::<ProduceRequest>(limit).await;
                    let _ = answers.send(Answer { broker, batches, result });
                });
            }
            Err(error) => {
                let _ = answers.send(Answer { broker, batches, result: Err(error) });
            }
        }
    }
}

async fn submit(shared: &Shared, broker: i32, batches: &[Batch]) -> Result<Pending> {
    let connection = shared.cluster.broker(broker).await?;
    let limit = shared.transactions.as_ref().map_or(i16::MAX, Transactions::produce_version_max);
    let version = connection.version_up_to::<ProduceRequest>(limit)?;
    let timeout_ms = i32::try_from(shared.cluster.config().request_timeout.as_millis()).unwrap_or(i32::MAX);
    let body = encode(version, shared.config.transactional_id.as_deref(), timeout_ms, batches);
    connection.submit::<ProduceRequest>(body, version).await
}

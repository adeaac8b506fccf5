//! Whether the markers of the transaction before are written.
//!
//! A coordinator may answer EndTxn before that (Apache Kafka does), and takes no partition into the next transaction until then. By the
//! second protocol it is the write itself that adds its partition: a broker that gets it too early keeps it for 20 ms and asks again
//! (`add.partitions.to.txn.retry.backoff.ms`), where the markers take one to five. So the coordinator is asked first, which costs less.
//! It only ever saves time: whatever is answered, the write follows.

use std::time::Duration;

use kafka_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use tokio::time::{sleep, timeout_at};

use super::{Protocol, Transactions};
use crate::error::{Error, Result};
use crate::topic::transactional_id;

/// Longer than this after the end of a transaction its markers are taken to be there.
const WAIT_MAX: Duration = Duration::from_millis(50);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(1);

impl Transactions {
    /// Waits until the markers of the transaction before are there, if that may be a matter of moments.
    pub(super) async fn wait_for_markers(&self) {
        let ended = {
            let mut state = self.state.lock();
            match state.ended.take() {
                Some(ended) if state.protocol == Protocol::Second && ended.elapsed() < WAIT_MAX => ended,
                _ => return,
            }
        };
        // Also where the coordinator doesn't answer.
        let _ = timeout_at(ended + WAIT_MAX, async {
            while !self.are_markers_written().await.unwrap_or_else(|error| {
                tracing::debug!(%error, "not known whether the last transaction's markers are written");
                true
            }) {
                sleep(PAUSE).await;
            }
        })
        .await;
    }

    async fn are_markers_written(&self) -> Result<bool> {
        let request =
            DescribeTransactionsRequest::default().with_transactional_ids(vec![transactional_id(&self.id)]);
        let check = |response: &DescribeTransactionsResponse| {
            let code = response.transaction_states.first().map_or(0, |state| state.error_code);
            Error::check("DescribeTransactions", || self.coordinator.subject(), code)
        };
        let response = self.coordinator.request(&request, check).await?;
        let state = response.transaction_states.first().map(|state| state.transaction_state.as_str());
        Ok(!matches!(state, Some("PrepareCommit" | "PrepareAbort")))
    }
}

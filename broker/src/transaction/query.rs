//! What can be asked of the coordinator without changing anything.

use crate::coordinators::TopicPartition;
use crate::transaction::coordinator::{Coordinator, check_owner};
use crate::transaction::event::AddPartitions;
use crate::transaction::state::{Stored, Transaction};
use kafka_protocol::ResponseError;

impl Coordinator {
    /// What is stored of a transactional id (DescribeTransactions).
    pub(crate) fn describe(&self, id: &str) -> Option<&Stored> {
        self.transactions.get(id).map(|transaction| &transaction.current)
    }

    /// Which of `asked` are not part of the producer's transaction (KIP-890's first part). What is on its way to the disk
    /// is not part of it yet.
    ///
    /// # Errors
    /// The producer is not the owner, or its transaction is being ended.
    pub(crate) fn missing(&self, asked: &AddPartitions) -> Result<Vec<TopicPartition>, ResponseError> {
        if asked.transactional_id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        let transaction =
            self.transactions.get(&asked.transactional_id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        let current = &transaction.current;
        check_owner(current, asked.producer)?;
        if current.state.prepared().is_some() {
            return Err(ResponseError::ConcurrentTransactions);
        }
        let unknown = asked.partitions.iter().filter(|partition| !current.partitions.contains(partition));
        Ok(unknown.cloned().collect())
    }

    /// All transactional ids by name (ListTransactions).
    pub(crate) fn list(&self) -> impl Iterator<Item = &Transaction> {
        self.transactions.values()
    }
}

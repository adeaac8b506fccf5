//! What can be asked of the coordinator without changing anything.

use crate::transaction::coordinator::Coordinator;
use crate::transaction::state::{Stored, Transaction};

impl Coordinator {
    /// What is stored of a transactional id (DescribeTransactions).
    pub(crate) fn describe(&self, id: &str) -> Option<&Stored> {
        self.transactions.get(id).map(|transaction| &transaction.current)
    }

    /// All transactional ids by name (ListTransactions).
    pub(crate) fn list(&self) -> impl Iterator<Item = &Transaction> {
        self.transactions.values()
    }
}

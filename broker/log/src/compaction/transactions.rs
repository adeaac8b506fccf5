//! Transactions as compaction comes by them: whose data is aborted, and which markers still have data.
//!
//! Follows Apache Kafka's `CleanedTransactionMetadata`. Batches are to be shown in the log's order; the state goes on
//! over all groups of a round.

use std::collections::{BTreeMap, BTreeSet};

use millrace_wire::batch::RawBatch;
use millrace_wire::ids::{Offset, ProducerId};

use crate::error::AppendError;
use crate::index::AbortedTxn;
use crate::log::marker_of;

/// What a control batch means for compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Control {
    /// None of its transaction's data was met: nobody needs it, in time.
    pub(crate) is_idle: bool,
    /// The transaction that it ends, if that was aborted and has data left: to be kept in the index.
    pub(crate) aborted: Option<AbortedTxn>,
}

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct CleanedTransactions {
    /// Aborted transactions to come, by first offset.
    ahead: BTreeMap<(Offset, ProducerId), AbortedTxn>,
    /// Aborted transactions that have begun and not ended, and whether data of them was met.
    aborted: BTreeMap<ProducerId, (AbortedTxn, bool)>,
    /// Producers with data met since their last marker that was not aborted.
    committed: BTreeSet<ProducerId>,
}

impl CleanedTransactions {
    /// Tells of the aborted transactions that touch what comes next; one may be told twice.
    pub(crate) fn expect(&mut self, aborted: impl IntoIterator<Item = AbortedTxn>) {
        self.ahead.extend(aborted.into_iter().map(|txn| ((txn.first_offset, txn.producer_id), txn)));
    }

    /// A data batch: whether it belongs to an aborted transaction.
    pub(crate) fn is_aborted(&mut self, batch: &RawBatch) -> bool {
        self.begin_up_to(batch.last_offset());
        let header = &batch.header;
        if !header.attributes.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some((_, met)) => {
                *met = true;
                true
            }
            None => {
                self.committed.insert(header.producer_id);
                false
            }
        }
    }

    /// A control batch.
    ///
    /// # Errors
    /// It is no control batch that can be read.
    pub(crate) fn end(&mut self, batch: &RawBatch) -> Result<Control, AppendError> {
        self.begin_up_to(batch.last_offset());
        let producer = batch.header.producer_id;
        if batch.header.record_count == 0 {
            // Its record was removed by an earlier round.
            return Ok(Control { is_idle: true, aborted: None });
        }
        Ok(match marker_of(batch)? {
            Some(marker) if marker.aborts => {
                let aborted = self.aborted.remove(&producer).filter(|(_, met)| *met).map(|(txn, _)| txn);
                Control { is_idle: aborted.is_none(), aborted }
            }
            Some(_) => Control { is_idle: !self.committed.remove(&producer), aborted: None },
            None => Control { is_idle: false, aborted: None },
        })
    }

    fn begin_up_to(&mut self, offset: Offset) {
        while let Some(first) = self.ahead.first_entry().filter(|entry| entry.key().0 <= offset) {
            let txn = first.remove();
            self.aborted.entry(txn.producer_id).or_insert((txn, false));
        }
    }
}

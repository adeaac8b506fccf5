//! Reading `__transaction_state` again: the state of a coordinator that starts.

use crate::coordinators::KeyValue;
use crate::coordinators::codec::Error;
use crate::transaction::coordinator::Coordinator;
use crate::transaction::event::Effect;
use crate::transaction::records;
use crate::transaction::state::{NO_EPOCH, State, Transaction};

impl Coordinator {
    /// Applies a record, in the order of the log.
    ///
    /// # Errors
    /// If the record is not one of Kafka's; the caller goes on with the next one.
    pub(crate) fn load(&mut self, record: KeyValue) -> Result<(), Error> {
        let id = records::read_key(record.key)?;
        match record.value.map(records::read).transpose()? {
            Some(current) => {
                let transaction = Transaction {
                    id: id.clone(),
                    current,
                    pending: None,
                    last_epoch: NO_EPOCH,
                    in_log: true,
                    queued: Vec::new(),
                    untold: None,
                };
                self.transactions.insert(id, transaction);
            }
            None => drop(self.transactions.remove(&id)),
        }
        Ok(())
    }

    /// The log is read to its end: open transactions get their deadlines, and decided ones their markers once more.
    pub(crate) fn loaded(&mut self, now_ms: i64) -> Vec<Effect> {
        self.now_ms = now_ms;
        self.transactions.retain(|_, transaction| transaction.current.state != State::Dead);
        let ids: Vec<_> = self.transactions.keys().cloned().collect();
        for id in ids {
            if self
                .transactions
                .get(&id)
                .is_some_and(|transaction| transaction.current.state == State::Ongoing)
            {
                self.watch(&id);
            }
            self.tell_partitions(&id);
        }
        self.schedule_expiry(now_ms);
        self.take_effects()
    }
}

//! The calls of a sink (`wit/sink.wit`), with what they hand back checked.

use super::batch::Batch;
use super::bindings::exports::millrace::connect::sink::{Guest, GuestIndices};
use super::instance::Instance;
use super::source::check_rejected;
use super::{CallError, Durable, PutOutcome, TaskContext, TopicOffset, TopicPartition};

/// One sink task's instance.
pub struct SinkInstance {
    instance: Instance,
    guest: Guest,
}

impl SinkInstance {
    pub(super) fn new(mut instance: Instance, indices: &GuestIndices) -> Result<Self, CallError> {
        let guest = indices.load(&mut instance.store, &instance.instance);
        let guest = guest.map_err(|error| instance.watch.failed("instantiate", &error))?;
        Ok(Self { instance, guest })
    }

    /// Starts.
    ///
    /// # Errors
    /// What the guest says, or how it failed.
    pub async fn open(&mut self, task: &TaskContext) -> Result<(), CallError> {
        let Instance { store, watch, .. } = &mut self.instance;
        watch.begin();
        store.set_epoch_deadline(1);
        watch.run_fallible("open", self.guest.call_open(store, task)).await
    }

    /// Gives it partitions; answers with the positions that the target holds, each of one of `partitions`.
    ///
    /// # Errors
    /// What the guest says, how it failed, or the rule that its answer breaks.
    pub async fn assigned(&mut self, partitions: &[TopicPartition]) -> Result<Vec<TopicOffset>, CallError> {
        let Instance { store, watch, .. } = &mut self.instance;
        watch.begin();
        store.set_epoch_deadline(1);
        let held = watch.run_fallible("assigned", self.guest.call_assigned(store, partitions)).await?;
        let known = |held: &TopicOffset| {
            partitions.iter().any(|tp| tp.topic == held.topic && tp.partition == held.partition)
        };
        match held.iter().find(|held| held.offset < 0 || !known(held)) {
            Some(bad) => {
                let place = format!("{} partition {} offset {}", bad.topic, bad.partition, bad.offset);
                Err(watch.broke("assigned", format!("topic {place} was not assigned, or is below 0")))
            }
            None => Ok(held),
        }
    }

    /// Takes partitions away.
    ///
    /// # Errors
    /// What the guest says, or how it failed.
    pub async fn revoked(&mut self, partitions: &[TopicPartition]) -> Result<(), CallError> {
        let Instance { store, watch, .. } = &mut self.instance;
        watch.begin();
        store.set_epoch_deadline(1);
        watch.run_fallible("revoked", self.guest.call_revoked(store, partitions)).await
    }

    /// Offers records.
    ///
    /// # Errors
    /// What the guest says, how it failed, or the rule that its answer breaks.
    pub async fn put(&mut self, batch: &Batch) -> Result<PutOutcome, CallError> {
        let Instance { store, watch, .. } = &mut self.instance;
        watch.begin();
        store.set_epoch_deadline(1);
        let outcome = watch.run_fallible("put", self.guest.call_put(store, batch.columns())).await?;
        let accepted =
            check_taken(outcome.accepted, batch.len()).map_err(|reason| watch.broke("put", reason))?;
        let rejected =
            check_rejected(outcome.rejected, accepted).map_err(|reason| watch.broke("put", reason))?;
        Ok(PutOutcome { accepted: outcome.accepted, rejected })
    }

    /// Makes durable what was taken.
    ///
    /// # Errors
    /// What the guest says, or how it failed.
    pub async fn flush(&mut self) -> Result<Durable, CallError> {
        let Instance { store, watch, .. } = &mut self.instance;
        watch.begin();
        store.set_epoch_deadline(1);
        watch.run_fallible("flush", self.guest.call_flush(store)).await
    }

    /// The last call: nothing may be asked of it behind that.
    ///
    /// # Errors
    /// What the guest says, or how it failed.
    pub async fn close(&mut self) -> Result<(), CallError> {
        let Instance { store, watch, .. } = &mut self.instance;
        watch.begin();
        store.set_epoch_deadline(1);
        watch.run_fallible("close", self.guest.call_close(store)).await
    }
}

/// A sink can't have taken more than it was offered.
pub(super) fn check_taken(accepted: u32, offered: usize) -> Result<usize, String> {
    match usize::try_from(accepted) {
        Ok(taken) if taken <= offered => Ok(taken),
        _ => Err(format!("{accepted} records taken of {offered}")),
    }
}

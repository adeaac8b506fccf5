//! The calls of a transform (`wit/transform.wit`), with what they hand back checked.

use super::batch::Batch;
use super::bindings::exports::millrace::connect::transform::{Guest, GuestIndices};
use super::instance::Instance;
use super::source::check_rejected;
use super::{CallError, RecordError, TaskContext};

/// What a transform made of a batch, checked.
#[derive(Debug)]
pub struct ApplyOutcome {
    /// The records that go on.
    pub batch: Batch,
    /// Per output record the input record that it came from, never falling; empty: one to one.
    pub origin: Vec<u32>,
    /// Input records that could not be processed, rising; none of them is in `origin`.
    pub rejected: Vec<RecordError>,
}

/// One transform's instance within a task.
pub struct TransformInstance {
    instance: Instance,
    guest: Guest,
}

impl TransformInstance {
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

    /// Changes a batch.
    ///
    /// # Errors
    /// What the guest says, how it failed, or the rule that its answer breaks.
    pub async fn apply(&mut self, input: &Batch) -> Result<ApplyOutcome, CallError> {
        let Instance { store, watch, .. } = &mut self.instance;
        watch.begin();
        store.set_epoch_deadline(1);
        let outcome = watch.run_fallible("apply", self.guest.call_apply(store, input.columns())).await?;
        let batch = watch.checked("apply", outcome.batch)?;
        let rejected =
            check_rejected(outcome.rejected, input.len()).map_err(|reason| watch.broke("apply", reason))?;
        check_origin(&outcome.origin, input.len(), batch.len(), &rejected)
            .map_err(|reason| watch.broke("apply", reason))?;
        Ok(ApplyOutcome { batch, origin: outcome.origin, rejected })
    }

    /// The last call.
    ///
    /// # Errors
    /// What the guest says, or how it failed.
    pub async fn close(mut self) -> Result<(), CallError> {
        let Instance { store, watch, .. } = &mut self.instance;
        watch.begin();
        store.set_epoch_deadline(1);
        watch.run_fallible("close", self.guest.call_close(store)).await
    }
}

pub(super) fn check_origin(
    origin: &[u32],
    input: usize,
    output: usize,
    rejected: &[RecordError],
) -> Result<(), String> {
    if origin.is_empty() {
        // Nothing came out, or everything did.
        return if output == 0 || (output == input && rejected.is_empty()) {
            Ok(())
        } else {
            Err(format!("{output} records made of {input}, {} rejected, without origins", rejected.len()))
        };
    }
    if origin.len() != output {
        return Err(format!("{} origins for {output} records", origin.len()));
    }
    if origin.last().is_some_and(|last| *last as usize >= input)
        || origin.windows(2).any(|pair| pair[0] > pair[1])
    {
        return Err(format!("origins fall, or point past the {input} records of the input"));
    }
    let also_made = |error: &&RecordError| origin.binary_search(&error.index).is_ok();
    match rejected.iter().find(also_made) {
        Some(error) => Err(format!("record {} is rejected and has an output", error.index)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_never_fall_and_stay_within_the_input() {
        let rejected = [RecordError { index: 1, code: String::new(), message: String::new() }];
        check_origin(&[], 3, 3, &[]).unwrap();
        check_origin(&[], 3, 0, &[]).unwrap();
        check_origin(&[0, 0, 2], 3, 3, &rejected).unwrap();
        check_origin(&[], 3, 2, &[]).unwrap_err();
        check_origin(&[], 3, 3, &rejected).unwrap_err();
        check_origin(&[0], 3, 2, &[]).unwrap_err();
        check_origin(&[2, 0], 3, 2, &[]).unwrap_err();
        check_origin(&[0, 3], 3, 2, &[]).unwrap_err();
        check_origin(&[0, 1], 3, 2, &rejected).unwrap_err();
    }
}

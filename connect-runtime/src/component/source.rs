//! The calls of a source (`wit/source.wit`), with what they hand back checked.

use std::time::Duration;

use super::batch::{BATCH_RECORDS_MAX, Batch};
use super::bindings::exports::millrace::connect::source::{Guest, GuestIndices};
use super::instance::{Instance, cut};
use super::{CallError, Checkpoint, Flow, RecordError, TaskContext};

/// Most task settings that a plan may have.
pub(super) const TASKS_MAX: usize = 1_000;
/// Most checkpoints in one answer.
pub(super) const CHECKPOINTS_MAX: usize = 100_000;
/// Longest partition name and position of a checkpoint.
pub(super) const CHECKPOINT_BYTES_MAX: usize = 64 << 10;

/// What a poll brought, checked.
#[derive(Debug)]
pub struct PollOutcome {
    /// The records, good and bad.
    pub batch: Batch,
    /// Those that are bad: rising, within the batch.
    pub rejected: Vec<RecordError>,
    /// Valid once the batch is durable.
    pub checkpoints: Vec<Checkpoint>,
    /// How to go on.
    pub flow: Flow,
    /// When idle: the shortest pause.
    pub next_poll: Duration,
}

/// One source task's instance.
pub struct SourceInstance {
    instance: Instance,
    guest: Guest,
}

impl SourceInstance {
    pub(super) fn new(mut instance: Instance, indices: &GuestIndices) -> Result<Self, CallError> {
        let guest = indices.load(&mut instance.store, &instance.instance);
        let guest = guest.map_err(|error| instance.watch.failed("instantiate", &error))?;
        Ok(Self { instance, guest })
    }

    /// Splits the work into task settings, each a JSON object.
    ///
    /// # Errors
    /// What the guest says, or how it failed.
    pub async fn plan(&mut self, config: &str, tasks_max: u32) -> Result<Vec<String>, CallError> {
        let Instance { store, watch, .. } = &mut self.instance;
        watch.begin();
        store.set_epoch_deadline(1);
        let tasks = watch.run_fallible("plan", self.guest.call_plan(store, config, tasks_max)).await?;
        if tasks.len() > tasks_max as usize || tasks.len() > TASKS_MAX {
            return Err(watch.broke("plan", format!("{} tasks where {tasks_max} are the most", tasks.len())));
        }
        let object = |text: &String| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text);
        match tasks.iter().find_map(|task| object(task).err()) {
            Some(error) => {
                Err(watch.broke("plan", format!("a task's settings are not a JSON object: {error}")))
            }
            None => Ok(tasks),
        }
    }

    /// Starts from positions.
    ///
    /// # Errors
    /// What the guest says, or how it failed.
    pub async fn open(&mut self, task: &TaskContext, resume: &[Checkpoint]) -> Result<(), CallError> {
        let Instance { store, watch, .. } = &mut self.instance;
        watch.begin();
        store.set_epoch_deadline(1);
        watch.run_fallible("open", self.guest.call_open(store, task, resume)).await
    }

    /// Asks for records.
    ///
    /// # Errors
    /// What the guest says, how it failed, or the rule that its answer breaks.
    pub async fn poll(
        &mut self,
        records_max: u32,
        bytes_max: u32,
        wait: Duration,
    ) -> Result<PollOutcome, CallError> {
        let Instance { store, watch, .. } = &mut self.instance;
        watch.begin();
        store.set_epoch_deadline(1);
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let call = self.guest.call_poll(store, records_max, bytes_max, wait_ms);
        let outcome = watch.run_fallible("poll", call).await?;
        let batch = watch.checked("poll", outcome.batch)?;
        let rejected =
            check_rejected(outcome.rejected, batch.len()).map_err(|reason| watch.broke("poll", reason))?;
        check_checkpoints(&outcome.checkpoints).map_err(|reason| watch.broke("poll", reason))?;
        let next_poll = Duration::from_millis(u64::from(outcome.next_poll_ms));
        Ok(PollOutcome { batch, rejected, checkpoints: outcome.checkpoints, flow: outcome.flow, next_poll })
    }

    /// Tells that positions are durable.
    ///
    /// # Errors
    /// What the guest says, or how it failed.
    pub async fn commit(&mut self, done: &[Checkpoint]) -> Result<(), CallError> {
        let Instance { store, watch, .. } = &mut self.instance;
        watch.begin();
        store.set_epoch_deadline(1);
        watch.run_fallible("commit", self.guest.call_commit(store, done)).await
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

/// Checks that rejected records lie within the batch, in rising order, and bounds their words.
pub(super) fn check_rejected(
    mut rejected: Vec<RecordError>,
    count: usize,
) -> Result<Vec<RecordError>, String> {
    if rejected.len() > count.min(BATCH_RECORDS_MAX) {
        return Err(format!("{} records rejected of {count}", rejected.len()));
    }
    let mut lowest = 0;
    for error in &mut rejected {
        if u64::from(error.index) < lowest || error.index as usize >= count {
            return Err(format!(
                "record {} is rejected out of order or past the {count} of the batch",
                error.index
            ));
        }
        lowest = u64::from(error.index) + 1;
        error.code = cut(std::mem::take(&mut error.code));
        error.message = cut(std::mem::take(&mut error.message));
    }
    Ok(rejected)
}

pub(super) fn check_checkpoints(checkpoints: &[Checkpoint]) -> Result<(), String> {
    if checkpoints.len() > CHECKPOINTS_MAX {
        return Err(format!("{} checkpoints; at most {CHECKPOINTS_MAX} are taken", checkpoints.len()));
    }
    let long =
        |c: &&Checkpoint| c.partition.len() > CHECKPOINT_BYTES_MAX || c.position.len() > CHECKPOINT_BYTES_MAX;
    match checkpoints.iter().find(long) {
        Some(_) => Err(format!("a checkpoint of more than {CHECKPOINT_BYTES_MAX} bytes")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_records_rise_within_the_batch() {
        let errors = |indexes: &[u32]| {
            let error =
                |index: &u32| RecordError { index: *index, code: String::new(), message: "a\nb".into() };
            check_rejected(indexes.iter().map(error).collect(), 3)
        };
        assert_eq!(errors(&[0, 2]).unwrap()[1].message, "a b");
        assert!(errors(&[1, 1]).is_err());
        assert!(errors(&[3]).is_err());
        assert!(errors(&[0, 1, 2, 2]).is_err());
    }
}

//! The transforms of one task, one after another.
//!
//! What leaves the chain knows which record of the chain's input it came from, also after several transforms, so that a sink's
//! position and a dead letter always speak of the record in the topic.

use std::sync::Arc;

use crate::capability::control::Stopping;
use crate::capability::metrics::GuestMetrics;
use crate::component::batch::Batch;
use crate::component::{
    ComponentHost, Environment, Error as ComponentError, Label, RecordError, TaskContext, TransformInstance,
};
use crate::failure::TaskError;
use crate::failure::retry::Retry;
use crate::plan::{GuestPlan, TransformPlan};

/// Ready to be applied.
pub(crate) struct Chain {
    links: Vec<Link>,
}

struct Link {
    /// The component, for messages and dead letters.
    name: Arc<str>,
    instance: TransformInstance,
}

/// What came out of the chain.
pub(crate) struct Chained {
    /// The records that go on.
    pub batch: Batch,
    /// Per output record the record of the chain's input; none: one to one.
    pub origin: Option<Vec<u32>>,
    /// Records of the chain's input that failed, rising, with the component that refused them.
    pub rejected: Vec<(Arc<str>, RecordError)>,
}

impl Chained {
    /// The input record that output record `index` came from.
    pub(crate) fn origin_of(&self, index: usize) -> usize {
        self.origin.as_ref().map_or(index, |origin| origin[index] as usize)
    }

    /// How many of `input` records were dropped on purpose.
    pub(crate) fn dropped(&self, input: usize) -> usize {
        let went_on = self.origin.as_ref().map_or(input, |origin| origin.chunk_by(|a, b| a == b).count());
        input.saturating_sub(went_on + self.rejected.len())
    }
}

/// What all instances of a task share.
pub(crate) struct TaskEnvironment<'a> {
    pub host: &'a ComponentHost,
    pub connector: &'a str,
    pub task: u32,
    pub tasks: u32,
    pub generation: u64,
    pub stopping: &'a Stopping,
    pub metrics: &'a GuestMetrics,
}

impl TaskEnvironment<'_> {
    /// What an instance of `guest` is started with.
    pub(crate) fn of(&self, guest: &GuestPlan) -> Environment {
        Environment {
            label: Label { connector: self.connector.into(), task: self.task },
            grants: guest.grants.clone(),
            limits: guest.limits,
            stopping: self.stopping.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// What a guest is told when it starts, with `config` as its settings.
    pub(crate) fn context(&self, config: String, formats: (String, String)) -> TaskContext {
        TaskContext {
            connector_name: self.connector.to_owned(),
            task: self.task,
            tasks: self.tasks,
            config,
            key_format: formats.0,
            value_format: formats.1,
            generation: self.generation,
        }
    }

    /// Words for a component that can't be loaded.
    pub(crate) fn not_loaded(&self, error: &ComponentError) -> TaskError {
        TaskError::Invalid {
            connector: self.connector.to_owned(),
            task: self.task,
            message: error.to_string(),
        }
    }
}

impl Chain {
    /// Starts an instance of every transform.
    pub(crate) async fn open(plans: &[TransformPlan], task: &TaskEnvironment<'_>) -> Result<Self, TaskError> {
        let mut links = Vec::with_capacity(plans.len());
        for plan in plans {
            let guest = &plan.guest;
            let component =
                task.host.load(&guest.component).await.map_err(|error| task.not_loaded(&error))?;
            let mut instance = component.transform(task.of(guest)).await?;
            let config = serde_json::Value::Object(guest.settings.clone()).to_string();
            instance.open(&task.context(config, crate::convert::formats(component.describe()))).await?;
            links.push(Link { name: plan.name.as_str().into(), instance });
        }
        Ok(Self { links })
    }

    /// Whether there is no transform.
    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Sends a batch through. A chain without transforms gives nothing: use the input.
    pub(crate) async fn apply(&mut self, input: &Batch, retry: &mut Retry) -> Result<Chained, TaskError> {
        let mut chained = Chained { batch: Batch::default(), origin: None, rejected: Vec::new() };
        for (step, link) in self.links.iter_mut().enumerate() {
            let input = if step == 0 { input } else { &chained.batch };
            if input.is_empty() {
                break;
            }
            let outcome = loop {
                match link.instance.apply(input).await {
                    Ok(outcome) => break outcome,
                    Err(failure) => retry.pause(failure).await?,
                }
            };
            retry.succeeded();
            for mut error in outcome.rejected {
                error.index = chained.origin_of(error.index as usize) as u32;
                chained.rejected.push((Arc::clone(&link.name), error));
            }
            if !outcome.origin.is_empty() || outcome.batch.is_empty() {
                chained.origin = Some(compose(chained.origin.as_deref(), outcome.origin));
            }
            chained.batch = outcome.batch;
        }
        // Several pieces of one record may have failed; it is one record all the same.
        chained.rejected.sort_by_key(|(_, error)| error.index);
        chained.rejected.dedup_by_key(|(_, error)| error.index);
        Ok(chained)
    }

    /// Ends every instance.
    pub(crate) async fn close(self) -> Result<(), TaskError> {
        for link in self.links {
            link.instance.close().await?;
        }
        Ok(())
    }
}

/// Where records came from that went through two steps.
fn compose(first: Option<&[u32]>, second: Vec<u32>) -> Vec<u32> {
    match first {
        None => second,
        Some(first) => second.into_iter().map(|index| first[index as usize]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_go_through_several_steps() {
        assert_eq!(compose(None, vec![0, 2]), [0, 2]);
        assert_eq!(compose(Some(&[1, 3, 3, 7]), vec![0, 2, 3]), [1, 3, 7]);
        assert_eq!(compose(Some(&[1, 3]), vec![]), [] as [u32; 0]);
    }
}

//! The transforms of one task, one after another.
//!
//! What leaves the chain knows which record of the chain's input it came from, also after several transforms, so that a sink's
//! position and a dead letter always speak of the record in the topic.
//!
//! A record goes on whole or not at all: when one of the pieces that it became is refused, the others end here, too. So what
//! stands in a dead letter topic was not also written.

use std::sync::Arc;

use super::predicate::{self, Picked, Predicate};
use crate::capability::control::Stopping;
use crate::capability::metrics::GuestMetrics;
use crate::component::batch::Batch;
use crate::component::{
    ApplyOutcome, ComponentHost, Environment, Error as ComponentError, Label, RecordError, TaskContext,
    TransformInstance,
};
use crate::convert::looks_into;
use crate::failure::TaskError;
use crate::failure::retry::Retry;
use crate::plan::{GuestPlan, TransformPlan};

/// Ready to be applied.
pub(crate) struct Chain {
    links: Vec<Link>,
    /// Of records that name none.
    topic: Arc<str>,
    /// Whether keys, and values, are looked into.
    seen: (bool, bool),
}

struct Link {
    /// The component, for messages and dead letters.
    name: Arc<str>,
    instance: TransformInstance,
    /// Which records it is given; none: all.
    predicate: Option<Predicate>,
}

/// What came out of the chain.
pub(crate) struct Chained {
    /// The records that go on; none: those of the input, as they are.
    pub batch: Option<Batch>,
    /// Per output record the record of the chain's input; none: one to one.
    pub origin: Option<Vec<u32>>,
    /// Records of the chain's input that failed, rising, with the component that refused them. None of them goes on.
    pub rejected: Vec<(Arc<str>, RecordError)>,
}

impl Chained {
    /// The input record that output record `index` came from.
    pub(crate) fn origin_of(&self, index: usize) -> usize {
        self.origin.as_ref().map_or(index, |origin| origin[index] as usize)
    }

    /// Ends the pieces of records of which another piece was refused. Several may have been; it is one record all the same, and
    /// the first refusal counts.
    fn settle(&mut self) {
        self.rejected.sort_by_key(|(_, error)| error.index);
        self.rejected.dedup_by_key(|(_, error)| error.index);
        let (Some(batch), Some(origin)) = (&self.batch, &mut self.origin) else { return };
        let rejected = &self.rejected;
        let refused = |index: &u32| rejected.binary_search_by_key(index, |(_, error)| error.index).is_ok();
        if !rejected.is_empty() && origin.iter().any(refused) {
            self.batch = Some(batch.filtered(|index| !refused(&origin[index])));
            origin.retain(|index| !refused(index));
        }
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
            metrics: self.metrics.instance(&guest.component.to_string()),
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
        self.invalid(error.to_string())
    }

    fn invalid(&self, message: String) -> TaskError {
        TaskError::Invalid { connector: self.connector.to_owned(), task: self.task, message }
    }
}

impl Chain {
    /// Starts an instance of every transform. Records that name no topic are of `topic`.
    pub(crate) async fn open(
        plans: &[TransformPlan],
        task: &TaskEnvironment<'_>,
        topic: &Arc<str>,
    ) -> Result<Self, TaskError> {
        let mut links = Vec::with_capacity(plans.len());
        let mut seen = (false, false);
        for plan in plans {
            let guest = &plan.guest;
            let component =
                task.host.load(&guest.component).await.map_err(|error| task.not_loaded(&error))?;
            let said = component.describe();
            seen.0 |= looks_into(&said.key_formats);
            seen.1 |= looks_into(&said.value_formats);
            let mut instance = component.transform(task.of(guest)).await?;
            let config = serde_json::Value::Object(guest.settings.clone()).to_string();
            instance.open(&task.context(config, crate::convert::formats(said))).await?;
            let predicate = plan.predicate.as_ref().map(Predicate::new).transpose();
            let predicate = predicate.map_err(|error| task.invalid(format!("{}: {error}", plan.name)))?;
            links.push(Link { name: plan.name.as_str().into(), instance, predicate });
        }
        Ok(Self { links, topic: Arc::clone(topic), seen })
    }

    /// Whether transforms look into keys, and into values.
    pub(crate) fn seen(&self) -> (bool, bool) {
        self.seen
    }

    /// Whether there is no transform.
    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Sends a batch through.
    pub(crate) async fn apply(&mut self, input: &Batch, retry: &mut Retry) -> Result<Chained, TaskError> {
        let mut chained = Chained { batch: None, origin: None, rejected: Vec::new() };
        for step in 0..self.links.len() {
            let input = chained.batch.as_ref().unwrap_or(input);
            let Some(outcome) = self.step(step, input, retry).await? else { continue };
            for mut error in outcome.rejected {
                error.index = chained.origin_of(error.index as usize) as u32;
                chained.rejected.push((Arc::clone(&self.links[step].name), error));
            }
            if !outcome.origin.is_empty() || outcome.batch.is_empty() {
                chained.origin = Some(compose(chained.origin.as_deref(), outcome.origin));
            }
            chained.batch = Some(outcome.batch);
        }
        chained.settle();
        Ok(chained)
    }

    /// Sends a batch through one transform; none: no record is for it, all go on as they are.
    pub(crate) async fn step(
        &mut self,
        step: usize,
        input: &Batch,
        retry: &mut Retry,
    ) -> Result<Option<ApplyOutcome>, TaskError> {
        let link = &mut self.links[step];
        let picked = match &link.predicate {
            _ if input.is_empty() => Picked::None,
            None => Picked::All,
            Some(predicate) => predicate.pick(input, &self.topic),
        };
        Ok(match picked {
            Picked::None => None,
            Picked::All => Some(link.call(input, &self.topic, retry).await?),
            Picked::Some(picked) => {
                let made = link.call(&predicate::take(input, &picked), &self.topic, retry).await?;
                Some(predicate::merge(input, &picked, made))
            }
        })
    }

    /// Ends every instance.
    pub(crate) async fn close(self) -> Result<(), TaskError> {
        for link in self.links {
            link.instance.close().await?;
        }
        Ok(())
    }
}

impl Link {
    async fn call(
        &mut self,
        input: &Batch,
        topic: &str,
        retry: &mut Retry,
    ) -> Result<ApplyOutcome, TaskError> {
        loop {
            match self.instance.apply(input).await {
                Ok(mut outcome) => {
                    retry.succeeded();
                    outcome.batch.name_topic(topic);
                    return Ok(outcome);
                }
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }
}

/// Where records came from that went through two steps.
pub(crate) fn compose(first: Option<&[u32]>, second: Vec<u32>) -> Vec<u32> {
    match first {
        None => second,
        Some(first) => second.into_iter().map(|index| first[index as usize]).collect(),
    }
}

#[cfg(test)]
mod tests;

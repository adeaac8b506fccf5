//! A pipeline's transforms outside of any task: records in, and what each step makes of them.
//!
//! | room | what is there |
//! |---|---|
//! | `record` | records that belong to nobody's batch |
//! | `case` | a pipeline's test cases: run, compared, mismatches in words |
//!
//! Nothing is written and nobody's position moves: `millrace test` runs cases without any cluster, `millrace preview` looks at
//! records that are in a topic. Transforms hold no state, so that one record at a time tells the same as a batch.

mod case;
mod record;

use std::sync::Arc;

use millrace_client::Random;

use crate::capability::control::Stopping;
use crate::capability::metrics::GuestMetrics;
use crate::component::ComponentHost;
use crate::component::batch::Batch;
use crate::convert::{self, Converters, Direction};
use crate::failure::TaskError;
use crate::failure::retry::Retry;
use crate::plan::{ErrorPlan, SinkPlan, TransformPlan};
use crate::worker::chain::{Chain, TaskEnvironment};

pub use self::case::{Mismatch, run};
pub use self::record::Record;

/// What the step before the transforms is called, in which a record gets the format that a sink's connector understands.
pub const CONVERTER: &str = "converter";

/// The transforms of a source or a sink.
pub struct Rehearsal {
    /// Of a sink whose records have to be converted before its transforms see them.
    converters: Option<Converters>,
    chain: Chain,
    /// The component of each.
    names: Vec<String>,
    retry: Retry,
}

/// What one transform, or the converter before them, made of a record.
#[derive(Clone, Debug)]
pub struct Step {
    /// The component, or [`CONVERTER`].
    pub transform: String,
    /// What became of the record.
    pub outcome: Outcome,
}

/// What became of a record in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The transform's predicate did not match it, nor any piece of it.
    PassedBy,
    /// These records: none is dropped, several are pieces.
    Became(Vec<Record>),
    /// It was refused.
    Rejected {
        /// For machines.
        code: String,
        /// For people.
        message: String,
    },
}

impl Rehearsal {
    /// Starts the transforms of the connector `name`, for records of `topic`.
    ///
    /// # Errors
    /// When one can't be started, or says so.
    pub async fn open(
        host: &ComponentHost,
        name: &str,
        transforms: &[TransformPlan],
        topic: &str,
    ) -> Result<Self, TaskError> {
        let (stopping, metrics) = (Stopping::never(), GuestMetrics::default());
        let environment = TaskEnvironment {
            host,
            connector: name,
            task: 0,
            tasks: 1,
            generation: 0,
            stopping: &stopping,
            metrics: &metrics,
        };
        let chain = Chain::open(transforms, &environment, &Arc::from(topic)).await?;
        let names = transforms.iter().map(|transform| transform.guest.component.to_string()).collect();
        // Somebody waits for the answer: a transform that asks for another try has failed.
        let errors = ErrorPlan { retry_timeout: std::time::Duration::ZERO, ..ErrorPlan::default() };
        Ok(Self { converters: None, chain, names, retry: Retry::new(&errors, stopping, Random::new(0)) })
    }

    /// The same for a sink, whose records stand in the topic as its formats say.
    ///
    /// # Errors
    /// When its component or a transform can't be started, or says so.
    pub async fn of_sink(host: &ComponentHost, sink: &SinkPlan, topic: &str) -> Result<Self, TaskError> {
        let mut rehearsal = Self::open(host, &sink.name, &sink.transforms, topic).await?;
        let component = host.load(&sink.guest.component).await.map_err(|error| TaskError::Invalid {
            connector: sink.name.clone(),
            task: 0,
            message: error.to_string(),
        })?;
        let told =
            convert::told(component.describe(), &sink.formats, Direction::FromTopic, rehearsal.chain.seen());
        let converters = Converters::new(&sink.formats, &told, Direction::FromTopic);
        rehearsal.converters = Some(converters).filter(|converters| !converters.is_idle());
        Ok(rehearsal)
    }

    /// Sends one record through, as far as it comes: a step for each transform that it, or a piece of it, got to.
    ///
    /// # Errors
    /// When a transform fails as a whole.
    pub async fn record(&mut self, record: &Record) -> Result<Vec<Step>, TaskError> {
        let mut steps = Vec::new();
        let mut batch = record::batch(std::slice::from_ref(record));
        if let Some(converters) = &mut self.converters {
            let topic = record.topic.as_deref().unwrap_or_default();
            let converted = converters.convert(&batch, 0, topic).await;
            let converted = converted.map_err(|failure| failure.of_task(CONVERTER, 0))?;
            let outcome = match converted.rejected.into_iter().next() {
                Some((_, error)) => Outcome::Rejected { code: error.code, message: error.message },
                None => Outcome::Became(record::records(&converted.batch)),
            };
            steps.push(Step { transform: CONVERTER.to_owned(), outcome });
            batch = converted.batch;
        }
        for (step, name) in self.names.iter().enumerate() {
            if batch.is_empty() {
                break;
            }
            let (outcome, next) = match self.chain.step(step, &batch, &mut self.retry).await? {
                None => (Outcome::PassedBy, batch),
                Some(made) => match made.rejected.into_iter().next() {
                    Some(error) => {
                        (Outcome::Rejected { code: error.code, message: error.message }, Batch::default())
                    }
                    None => (Outcome::Became(record::records(&made.batch)), made.batch),
                },
            };
            batch = next;
            steps.push(Step { transform: name.clone(), outcome });
        }
        Ok(steps)
    }

    /// Ends the transforms.
    ///
    /// # Errors
    /// When one says so.
    pub async fn close(self) -> Result<(), TaskError> {
        self.chain.close().await
    }
}

/// What `record` is after these steps; none: it was rejected.
#[must_use]
pub fn after(record: &Record, steps: &[Step]) -> Option<Vec<Record>> {
    let last = steps.iter().rev().find(|step| step.outcome != Outcome::PassedBy);
    match last.map(|step| &step.outcome) {
        None | Some(Outcome::PassedBy) => Some(vec![record.clone()]),
        Some(Outcome::Became(records)) => Some(records.clone()),
        Some(Outcome::Rejected { .. }) => None,
    }
}

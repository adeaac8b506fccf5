//! The three traits a connector can implement, and what their methods are given and give back.
//!
//! The host makes one value per task, by `open`, and drops it with the task. It never calls two methods at once.

use serde::de::DeserializeOwned;

use crate::batch::{BatchBuilder, RecordRef, Records};
use crate::bindings::connector::millrace::connect::types;
use crate::error::{Error, Rejection};
use crate::{Checkpoint, TopicOffset, TopicPartition};

/// What a connector says about itself.
#[derive(Clone, Debug)]
pub struct Description {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) summary: String,
    pub(crate) settings: String,
    pub(crate) key_formats: Vec<String>,
    pub(crate) value_formats: Vec<String>,
    pub(crate) extra: Vec<(String, String)>,
}

impl Description {
    /// A connector with the name used in pipelines, its version and one sentence for lists. It has no settings, keys are text
    /// and values JSON, unless said otherwise.
    pub fn new(name: &str, version: &str, summary: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            summary: summary.to_owned(),
            settings: r#"{"type":"object","properties":{},"additionalProperties":false}"#.to_owned(),
            key_formats: vec!["utf8".to_owned()],
            value_formats: vec!["json".to_owned()],
            extra: Vec::new(),
        }
    }

    /// JSON Schema of the settings, as a rule `include_str!("settings.schema.json")`.
    #[must_use]
    pub fn settings(mut self, schema: &str) -> Self {
        schema.clone_into(&mut self.settings);
        self
    }

    /// Encodings of keys, best first: `json`, `utf8`, `bytes`.
    #[must_use]
    pub fn key_formats(mut self, formats: &[&str]) -> Self {
        self.key_formats = formats.iter().map(|format| (*format).to_owned()).collect();
        self
    }

    /// Encodings of values, best first: `json`, `utf8`, `bytes`.
    #[must_use]
    pub fn value_formats(mut self, formats: &[&str]) -> Self {
        self.value_formats = formats.iter().map(|format| (*format).to_owned()).collect();
        self
    }

    /// A further property, such as (`delivery`, `exactly-once`).
    #[must_use]
    pub fn extra(mut self, name: &str, value: &str) -> Self {
        self.extra.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The JSON Schema.
    pub fn schema(&self) -> &str {
        &self.settings
    }

    /// Name, version, summary, schema, key formats, value formats, extra: for the export macros.
    #[doc(hidden)]
    pub fn into_parts(self) -> DescriptionParts {
        (
            self.name,
            self.version,
            self.summary,
            self.settings,
            self.key_formats,
            self.value_formats,
            self.extra,
        )
    }
}

#[doc(hidden)]
pub type DescriptionParts = (String, String, String, String, Vec<String>, Vec<String>, Vec<(String, String)>);

/// What `validate` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer into the settings; empty: the whole.
    pub path: String,
    /// For people.
    pub message: String,
    /// Whether the pipeline may run all the same.
    pub warning: bool,
}

impl Problem {
    /// A problem that keeps the pipeline from running.
    pub fn error(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), warning: false }
    }

    /// A problem worth a warning.
    pub fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), warning: true }
    }
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// As it should be.
    Ok,
    /// It works now, and may not for long; or it can't be told.
    Warning,
    /// The connector won't run.
    Failed,
}

/// What `diagnose` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: `table public.orders`.
    pub subject: String,
    /// How it is.
    pub health: Health,
    /// The same in words.
    pub said: String,
    /// What to do about it, as a rule a statement to run; empty: nothing.
    pub mend: String,
}

impl Finding {
    /// All is well.
    pub fn ok(subject: impl Into<String>, said: impl Into<String>) -> Self {
        Self { subject: subject.into(), health: Health::Ok, said: said.into(), mend: String::new() }
    }

    /// See [`Health::Warning`].
    pub fn warning(subject: impl Into<String>, said: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { health: Health::Warning, mend: mend.into(), ..Self::ok(subject, said) }
    }

    /// See [`Health::Failed`].
    pub fn failed(subject: impl Into<String>, said: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { health: Health::Failed, ..Self::warning(subject, said, mend) }
    }

    /// An error whose words end with the way out, behind a semicolon.
    pub fn of(subject: impl Into<String>, error: &Error) -> Self {
        let (said, mend) = error.message.split_once("; ").unwrap_or((&error.message, ""));
        Self::failed(subject, said, mend)
    }
}

/// Which task this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Unique in the cluster: `<pipeline>.<source or sink>`.
    pub connector: String,
    /// This task, from 0.
    pub number: u32,
    /// How many the connector has.
    pub count: u32,
    /// Encoding of keys that the host chose from the description.
    pub key_format: String,
    /// Encoding of values that the host chose from the description.
    pub value_format: String,
    /// The fence: higher at every start of this task, in whichever process.
    pub generation: u64,
}

/// Most that one poll should give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollLimits {
    /// Records.
    pub records: u32,
    /// Bytes of keys and values; one record may be larger.
    pub bytes: u32,
    /// How long to wait for data, in milliseconds.
    pub wait_ms: u32,
}

/// What comes after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Poll again at once.
    More,
    /// Nothing for now; poll again after this many milliseconds, or later.
    Idle(u32),
    /// A bounded source is at its end.
    End,
}

/// What a poll fills: records, the positions after them, and records that are no good.
#[derive(Debug, Default)]
pub struct Poll {
    /// The records.
    pub batch: BatchBuilder,
    pub(crate) rejected: Vec<types::RecordError>,
    pub(crate) checkpoints: Vec<Checkpoint>,
}

impl Poll {
    /// Where the source stands once the records of this poll are durable. The newest per partition counts; an empty position
    /// forgets the partition.
    pub fn checkpoint(&mut self, partition: impl Into<String>, position: impl Into<Vec<u8>>) {
        let (partition, position) = (partition.into(), position.into());
        match self.checkpoints.iter_mut().find(|known| known.partition == partition) {
            Some(known) => known.position = position,
            None => self.checkpoints.push(Checkpoint { partition, position }),
        }
    }

    /// What was read in place of a record and cannot be one. It is not produced; the pipeline's `errors` decide.
    pub fn reject(&mut self, raw: &[u8], why: Rejection) {
        let index = self.batch.len();
        self.batch.push_value(raw);
        self.rejected.push(types::RecordError { index, code: why.code, message: why.message });
    }
}

/// Brings records in.
pub trait Source: Sized {
    /// The settings; see [`crate::settings`].
    type Settings: DeserializeOwned;

    /// What the connector says about itself. Needs no settings.
    fn describe() -> Description;

    /// Checks beyond the schema.
    fn validate(_settings: &Self::Settings) -> Result<Vec<Problem>, Error> {
        Ok(Vec::new())
    }

    /// Looks at what a connector with these settings works with, for `millrace doctor`, and changes nothing of it. `topics`: where records go.
    fn diagnose(_settings: &Self::Settings, _topics: &[String]) -> Result<Vec<Finding>, Error> {
        Ok(Vec::new())
    }

    /// Splits the work into at most `max_tasks` settings, each one JSON object. `config` is the original text of `settings`.
    fn plan(_settings: &Self::Settings, config: &str, _max_tasks: u32) -> Result<Vec<String>, Error> {
        Ok(vec![config.to_owned()])
    }

    /// Starts a task. `resume` holds the newest durable position of each partition, of all tasks.
    fn open(task: &Task, settings: Self::Settings, resume: Vec<Checkpoint>) -> Result<Self, Error>;

    /// Adds records and checkpoints to `out`. After an error what was added is dropped, and the same call may come again.
    fn poll(&mut self, limits: PollLimits, out: &mut Poll) -> Result<Flow, Error>;

    /// These positions are durable: the upstream may be told.
    fn commit(&mut self, _done: &[Checkpoint]) -> Result<(), Error> {
        Ok(())
    }

    /// The last call.
    fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// How much of a batch a sink took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// All of it.
    All,
    /// The first so many records; the host offers the rest again.
    First(u32),
}

/// What a flush made safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Durable {
    /// Everything taken so far.
    Everything,
    /// Per partition the next offset to read; those not named stay where they were.
    UpTo(Vec<TopicOffset>),
}

/// Records of a batch that could not be processed.
#[derive(Debug, Default)]
pub struct Rejected {
    pub(crate) list: Vec<types::RecordError>,
}

impl Rejected {
    /// Gives back a record; the pipeline's `errors` decide what happens to it. Call it in the order of the batch.
    pub fn push(&mut self, record: &RecordRef<'_>, why: Rejection) {
        self.list.push(types::RecordError { index: record.index, code: why.code, message: why.message });
    }
}

/// Brings records out.
pub trait Sink: Sized {
    /// The settings; see [`crate::settings`].
    type Settings: DeserializeOwned;

    /// What the connector says about itself. Needs no settings.
    fn describe() -> Description;

    /// Checks beyond the schema.
    fn validate(_settings: &Self::Settings) -> Result<Vec<Problem>, Error> {
        Ok(Vec::new())
    }

    /// Looks at what a connector with these settings works with, for `millrace doctor`, and changes nothing of it. `topics`: what it reads.
    fn diagnose(_settings: &Self::Settings, _topics: &[String]) -> Result<Vec<Finding>, Error> {
        Ok(Vec::new())
    }

    /// Starts a task.
    fn open(task: &Task, settings: Self::Settings) -> Result<Self, Error>;

    /// These partitions are this task's. Gives back the positions that the target holds: what makes a sink exactly-once.
    fn assigned(&mut self, _partitions: &[TopicPartition]) -> Result<Vec<TopicOffset>, Error> {
        Ok(Vec::new())
    }

    /// These partitions are no longer this task's.
    fn revoked(&mut self, _partitions: &[TopicPartition]) -> Result<(), Error> {
        Ok(())
    }

    /// Takes records. After an error the same records come again.
    fn put(&mut self, records: &Records<'_>, rejected: &mut Rejected) -> Result<Taken, Error>;

    /// Makes durable what was taken.
    fn flush(&mut self) -> Result<Durable, Error>;

    /// The last call.
    fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// What a transform fills for one input record: nothing, one record or several.
#[derive(Debug)]
pub struct Output<'a> {
    pub(crate) batch: &'a mut BatchBuilder,
    pub(crate) origin: &'a mut Vec<u32>,
    pub(crate) index: u32,
}

impl Output<'_> {
    /// The record as it came in.
    pub fn keep(&mut self, record: &RecordRef<'_>) {
        self.origin.push(self.index);
        self.batch.push(record);
    }

    /// The record with another value.
    pub fn with_value(&mut self, record: &RecordRef<'_>, value: Option<&[u8]>) {
        self.origin.push(self.index);
        self.batch.push(&RecordRef { value, ..*record });
    }

    /// The record with a value that `write` appends to the batch in place. When it fails, nothing was added.
    pub fn write_value<E>(
        &mut self,
        record: &RecordRef<'_>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.batch.push_with(record, write)?;
        self.origin.push(self.index);
        Ok(())
    }

    /// Any record, for instance with another key or topic. `offset` of it is not used.
    pub fn push(&mut self, record: &RecordRef<'_>) {
        self.keep(record);
    }
}

/// Changes, drops or multiplies records on their way.
pub trait Transform: Sized {
    /// The settings; see [`crate::settings`].
    type Settings: DeserializeOwned;

    /// What the connector says about itself. Needs no settings.
    fn describe() -> Description;

    /// Checks beyond the schema.
    fn validate(_settings: &Self::Settings) -> Result<Vec<Problem>, Error> {
        Ok(Vec::new())
    }

    /// Starts a task.
    fn open(task: &Task, settings: Self::Settings) -> Result<Self, Error>;

    /// One record in; adds what comes out to `out`. After a rejection, what was added for this record is dropped.
    fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection>;

    /// The last call.
    fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

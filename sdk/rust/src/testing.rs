//! Runs a connector's logic natively: no sandbox, no host, a debugger works.
//!
//! ```
//! # use millrace_sdk::{Description, Error, Output, RecordRef, Rejection, Task, Transform};
//! # struct Keyed;
//! # #[derive(serde::Deserialize)] struct Settings {}
//! # impl Transform for Keyed {
//! #     type Settings = Settings;
//! #     fn describe() -> Description { Description::new("keyed", "0.1.0", "") }
//! #     fn open(_: &Task, _: Settings) -> Result<Self, Error> { Ok(Keyed) }
//! #     fn apply(&mut self, r: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
//! #         if r.key.is_some() { out.keep(r); }
//! #         Ok(())
//! #     }
//! # }
//! use millrace_sdk::testing::{Record, TransformTest};
//!
//! let mut keyed = TransformTest::<Keyed>::open("{}")?;
//! let out = keyed.apply(&[Record::value("without"), Record::keyed("k", "with")])?;
//! assert_eq!(out.records, [Record::keyed("k", "with")]);
//! # Ok::<(), Error>(())
//! ```

pub mod clock;
mod deliver;
pub mod http;
pub mod http_listener;
pub mod object_store;
pub mod postgres;

pub use self::deliver::again;
use crate::batch::Records;
use crate::bindings::connector::millrace::connect::types;
use crate::connector::{Durable, Flow, Poll, PollLimits, Rejected, Sink, Source, Taken, Task, Transform};
use crate::error::{Error, Rejection};
use crate::{BatchBuilder, Checkpoint, RecordBatch, TopicOffset, TopicPartition, export, settings};

/// An owned record, to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Topic; empty: the pipeline's.
    pub topic: String,
    /// Partition; -1: unset.
    pub partition: i32,
    /// Offset; -1: unset.
    pub offset: i64,
    /// Milliseconds since the epoch; -1: unset.
    pub timestamp: i64,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Option<Vec<u8>>,
    /// Headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// A record that has a value only.
    pub fn value(value: impl Into<Vec<u8>>) -> Self {
        Self {
            topic: String::new(),
            partition: -1,
            offset: -1,
            timestamp: -1,
            key: None,
            value: Some(value.into()),
            headers: Vec::new(),
        }
    }

    /// A record with key and value.
    pub fn keyed(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), ..Self::value(value) }
    }

    /// The record at a place in a topic.
    #[must_use]
    pub fn at(mut self, topic: &str, partition: i32, offset: i64) -> Self {
        (self.topic, self.partition, self.offset) = (topic.to_owned(), partition, offset);
        self
    }

    /// The value as text, for messages of tests; null is empty.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }
}

/// A batch of these records.
pub fn batch(records: &[Record]) -> RecordBatch {
    let mut builder = BatchBuilder::default();
    for record in records {
        // Headers can be written by a RecordWriter only, a topic and an offset only copied: so build a batch of one to copy.
        let mut one = BatchBuilder::default();
        let mut writer = one.record();
        for (name, value) in &record.headers {
            writer.header(name, value.as_deref());
        }
        writer.end();
        let one = one.finish();
        let Some(blank) = Records::new(&one).ok().and_then(|records| records.iter().next()) else { continue };
        builder.push(&crate::RecordRef {
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            ..blank
        });
    }
    builder.finish()
}

/// The records of a batch, owned.
pub fn records(batch: &RecordBatch) -> Result<Vec<Record>, Error> {
    Ok(Records::new(batch)?
        .iter()
        .map(|record| Record {
            topic: record.topic.to_owned(),
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.map(|h| (h.name.to_owned(), h.value.map(<[u8]>::to_vec))).collect(),
        })
        .collect())
}

/// The task that tests run as: `test`, number 0 of 1, generation 1.
pub fn task() -> Task {
    Task {
        connector: "test".to_owned(),
        number: 0,
        count: 1,
        key_format: "utf8".to_owned(),
        value_format: "json".to_owned(),
        generation: 1,
    }
}

fn rejections(list: Vec<types::RecordError>) -> Vec<(u32, Rejection)> {
    list.into_iter().map(|error| (error.index, Rejection::new(error.code, error.message))).collect()
}

/// What a poll gave.
#[derive(Debug)]
pub struct Polled {
    /// Records, rejected ones included.
    pub records: Vec<Record>,
    /// Index and reason of the rejected ones.
    pub rejected: Vec<(u32, Rejection)>,
    /// Positions.
    pub checkpoints: Vec<Checkpoint>,
    /// What comes next.
    pub flow: Flow,
}

/// Drives a source.
#[derive(Debug)]
pub struct SourceTest<T> {
    /// The open source.
    pub source: T,
}

impl<T: Source> SourceTest<T> {
    /// Opens the source with these settings (JSON) and positions.
    pub fn open(config: &str, resume: Vec<Checkpoint>) -> Result<Self, Error> {
        Ok(Self { source: T::open(&task(), settings::parse(config)?, resume)? })
    }

    /// One poll with usual limits.
    pub fn poll(&mut self) -> Result<Polled, Error> {
        self.poll_within(PollLimits { records: 1000, bytes: 1 << 20, wait_ms: 0 })
    }

    /// One poll with these limits.
    pub fn poll_within(&mut self, limits: PollLimits) -> Result<Polled, Error> {
        let mut out = Poll::default();
        let flow = self.source.poll(limits, &mut out)?;
        Ok(Polled {
            records: records(&out.batch.finish())?,
            rejected: rejections(out.rejected),
            checkpoints: out.checkpoints,
            flow,
        })
    }
}

/// Drives a sink.
#[derive(Debug)]
pub struct SinkTest<T> {
    /// The open sink.
    pub sink: T,
}

impl<T: Sink> SinkTest<T> {
    /// Opens the sink with these settings (JSON) as [`task`].
    pub fn open(config: &str) -> Result<Self, Error> {
        Self::open_as(&task(), config)
    }

    /// Opens the sink as another task.
    pub fn open_as(task: &Task, config: &str) -> Result<Self, Error> {
        Ok(Self { sink: T::open(task, settings::parse(config)?)? })
    }

    /// Assigns partitions of one topic; gives back the positions that the target holds.
    pub fn assign(&mut self, topic: &str, partitions: &[i32]) -> Result<Vec<TopicOffset>, Error> {
        let partitions: Vec<_> = partitions
            .iter()
            .map(|&partition| TopicPartition { topic: topic.to_owned(), partition })
            .collect();
        self.sink.assigned(&partitions)
    }

    /// Puts records; gives back how many were taken and which were rejected.
    pub fn put(&mut self, records: &[Record]) -> Result<(usize, Vec<(u32, Rejection)>), Error> {
        let batch = batch(records);
        let mut rejected = Rejected::default();
        let taken = match self.sink.put(&Records::new(&batch)?, &mut rejected)? {
            Taken::All => records.len(),
            Taken::First(count) => count as usize,
        };
        Ok((taken, rejections(rejected.list)))
    }

    /// Flushes.
    pub fn flush(&mut self) -> Result<Durable, Error> {
        self.sink.flush()
    }

    /// Flushes and closes, as the host ends a task.
    pub fn close(mut self) -> Result<(), Error> {
        self.sink.flush()?;
        self.sink.close()
    }
}

/// What a transform made of a batch.
#[derive(Debug)]
pub struct Applied {
    /// Records that came out.
    pub records: Vec<Record>,
    /// For each of them the input record it came from.
    pub origin: Vec<u32>,
    /// Index and reason of input records that were rejected.
    pub rejected: Vec<(u32, Rejection)>,
}

/// Drives a transform.
#[derive(Debug)]
pub struct TransformTest<T> {
    /// The open transform.
    pub transform: T,
}

impl<T: Transform> TransformTest<T> {
    /// Opens the transform with these settings (JSON).
    pub fn open(config: &str) -> Result<Self, Error> {
        Ok(Self { transform: T::open(&task(), settings::parse(config)?)? })
    }

    /// Transforms a batch.
    pub fn apply(&mut self, input: &[Record]) -> Result<Applied, Error> {
        let (out, origin, rejected) = export::apply(&mut self.transform, &batch(input))?;
        Ok(Applied { records: records(&out)?, origin, rejected: rejections(rejected) })
    }
}

/// Checks what every description must fulfil: a schema that is JSON, an object that refuses unknown settings, a text for each
/// property.
pub fn check_description(description: &crate::Description) -> Result<(), Error> {
    let wrong = |what: String| Error::fatal("describe", what);
    let schema: serde_json::Value = serde_json::from_str(description.schema())
        .map_err(|error| wrong(format!("the schema is not JSON: {error}")))?;
    if schema["type"] != "object" || schema["additionalProperties"] != false {
        return Err(wrong("the schema is not an object that refuses unknown settings".to_owned()));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if property["description"].as_str().is_none_or(str::is_empty) {
            return Err(wrong(format!("setting {name} has no description")));
        }
    }
    Ok(())
}

//! Formats of keys and values: what stands in the topic, and what a connector is told.
//!
//! A connector understands `json`, `utf8` or `bytes`, three views of the same bytes from strict to lax; or `connect-json`, Kafka Connect's
//! JSON with a schema beside each value, where it knows types, or wants to. What stands in the topic is
//! the pipeline's choice (`key_format`, `value_format`); the host converts between the two, for a source behind its transforms, for
//! a sink before them. Without a choice, and where nothing is to be converted, the bytes pass untouched.
//!
//! | room | what is there |
//! |---|---|
//! | `side` | one side, key or value: which schema, and one record with it |
//! | `registry` | a client of a schema registry |
//! | `framing` | Confluent's wire format: magic byte, schema id, message path |
//! | `avro`, `protobuf` | records to JSON and back |
//! | `connect` | Kafka Connect's schemas, as JSON, Avro and JSON Schema, and values of them |
//! | `derived` | the schemas that a typed source's values are written with |
//! | `raw`, `time`, `decimal` | JSON in its parts; what JSON has no types for, as text without loss |
//!
//! A record that can't be converted is a record error, with the stage of its side; a registry that can't be reached is an outage,
//! after which the same batch is converted again. The mapping is described in docs/FORMATS.md.

mod avro;
mod connect;
mod decimal;
mod derived;
mod framing;
mod protobuf;
mod raw;
pub(crate) mod registry;
mod side;
#[cfg(test)]
mod tests;
mod time;

use std::ops::Range;

use millrace_schema::Kind;

use crate::component::batch::{Batch, BatchBuilder, RecordView};
use crate::component::{CallError, Description, Failure as Words, Label, RecordError};
use crate::failure::dead_letter::Stage;
use crate::plan::{Decimals, Format, Formats, RegisteredFormat};

pub(crate) use self::registry::Failure;
use self::side::Side;
pub use self::time::civil;

/// The encodings that this host knows of any topic, strictest first.
pub const FORMATS: [&str; 3] = ["json", "utf8", "bytes"];

/// Largest JSON document that a record may become: a few bytes of Avro can stand for very many.
const JSON_BYTES_MAX: usize = 8 << 20;
/// Bytes of converted records after which a batch is cut, however many more there are.
const BATCH_BYTES: usize = 8 << 20;

/// The encodings of keys and values that a component is told: its own best of those that the host knows.
#[must_use]
pub fn formats(description: &Description) -> (String, String) {
    (best(&description.key_formats), best(&description.value_formats))
}

/// The encoding of values that bring their types along.
pub(crate) const TYPED: &str = connect::ENCODING;

/// Whether a component with these encodings looks into what it is given: not if it takes anything.
pub(crate) fn looks_into(formats: &[String]) -> bool {
    formats.iter().any(|format| format != "bytes")
}

/// Whether this host can feed the component.
#[must_use]
pub fn is_known(description: &Description) -> bool {
    let is_known = |format: &String| FORMATS.contains(&format.as_str()) || format == connect::ENCODING;
    let known = |formats: &[String]| formats.is_empty() || formats.iter().any(is_known);
    known(&description.key_formats) && known(&description.value_formats)
}

/// What is told to a connector whose pipeline says how its keys and values stand in the topic. JSON, text and bytes reach it as they
/// are, if it understands them. Values come with their types if it knows types and the format does; not if a transform between
/// looks into them, which knows nothing of types (`seen`: of keys, of values).
pub(crate) fn told(
    description: &Description,
    formats: &Formats,
    direction: Direction,
    seen: (bool, bool),
) -> (String, String) {
    let side = |known: &[String], format: &Format, seen: bool| {
        let wanted = match format {
            Format::Json => "json",
            Format::String => "utf8",
            Format::Bytes => "bytes",
            Format::Envelope { .. } if !seen => connect::ENCODING,
            Format::Registered(of) if !seen && has_types(of, direction) => connect::ENCODING,
            Format::AsIs | Format::Envelope { .. } | Format::Registered(_) => return best(known),
        };
        if known.iter().any(|format| format == wanted) { wanted.to_owned() } else { best(known) }
    };
    let key = side(&description.key_formats, &formats.key, seen.0);
    (key, side(&description.value_formats, &formats.value, seen.1))
}

/// Whether a schema of this format is made of Kafka Connect's, or the other way round.
fn has_types(of: &RegisteredFormat, direction: Direction) -> bool {
    match direction {
        Direction::ToTopic => of.may_derive(),
        Direction::FromTopic => of.kind == Kind::Avro,
    }
}

fn best(formats: &[String]) -> String {
    let plain = formats.iter().find(|format| FORMATS.contains(&format.as_str()));
    let typed = || formats.iter().find(|format| *format == connect::ENCODING);
    plain.or_else(typed).map_or_else(|| "bytes".to_owned(), Clone::clone)
}

/// What a connector was told of keys or values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    /// Text: strings without quotes, everything else as JSON.
    Text,
    /// JSON.
    Json,
    /// JSON with a schema beside it.
    Typed,
}

impl Speech {
    fn of(told: &str) -> Self {
        match told {
            "json" => Self::Json,
            connect::ENCODING => Self::Typed,
            _ => Self::Text,
        }
    }
}

/// Which way records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From a source to the topic.
    ToTopic,
    /// From the topic to a sink.
    FromTopic,
}

/// Converts the records of one task.
#[derive(Debug)]
pub(crate) struct Converters {
    key: Side,
    value: Side,
    direction: Direction,
}

/// What came out, of the records from where it began up to `next`.
#[derive(Debug)]
pub(crate) struct Converted {
    /// Converted records.
    pub batch: Batch,
    /// Per record of `batch` its number in the input.
    pub origin: Vec<u32>,
    /// Records of the input that could not be converted, rising.
    pub rejected: Vec<(Stage, RecordError)>,
    /// The first record of the input that was not looked at.
    pub next: usize,
}

impl Converters {
    /// For a connector that was told these encodings.
    pub(crate) fn new(formats: &Formats, told: &(String, String), direction: Direction) -> Self {
        Self {
            key: Side::new(&formats.key, &told.0, "key"),
            value: Side::new(&formats.value, &told.1, "value"),
            direction,
        }
    }

    /// Whether all bytes pass untouched.
    pub(crate) fn is_idle(&self) -> bool {
        self.key.is_idle() && self.value.is_idle()
    }

    /// Converts records from number `from` on, as many as make a batch. Records without a topic belong to `topic`.
    ///
    /// # Errors
    /// A schema that is needed can't be had. The same call may be made again.
    pub(crate) async fn convert(
        &mut self,
        input: &Batch,
        from: usize,
        topic: &str,
    ) -> Result<Converted, Failure> {
        let mut end = input.len();
        match self.direction {
            Direction::FromTopic => {
                let records = || input.iter().enumerate().skip(from);
                let keys = records().filter_map(|(number, record)| Some((number, record.key?)));
                end = self.key.learn_ids(keys).await?.unwrap_or(end);
                let values =
                    records().take(end - from).filter_map(|(number, record)| Some((number, record.value?)));
                end = self.value.learn_ids(values).await?.unwrap_or(end);
            }
            Direction::ToTopic => {
                let named = input.topics().chain([topic]);
                for topic in named {
                    self.key.learn_topic(topic).await?;
                    self.value.learn_topic(topic).await?;
                }
                let records = || input.iter().enumerate().skip(from);
                let keys = records().filter_map(|(number, record)| {
                    Some((number, record.topic.unwrap_or(topic), record.key?))
                });
                end = self.key.learn_envelopes(keys).await?.unwrap_or(end);
                let values = records().take(end - from).filter_map(|(number, record)| {
                    Some((number, record.topic.unwrap_or(topic), record.value?))
                });
                end = self.value.learn_envelopes(values).await?.unwrap_or(end);
            }
        }
        Ok(self.convert_all(input, from..end, topic))
    }

    fn convert_all(&mut self, input: &Batch, range: Range<usize>, topic: &str) -> Converted {
        let mut builder = BatchBuilder::default();
        let mut done =
            Converted { batch: Batch::default(), origin: Vec::new(), rejected: Vec::new(), next: range.end };
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for (index, record) in input.iter().enumerate().take(range.end).skip(range.start) {
            if builder.size_bytes() >= BATCH_BYTES {
                done.next = index;
                break;
            }
            let topic = record.topic.unwrap_or(topic);
            let both = self
                .key
                .convert(self.direction, topic, record.key, &mut key)
                .map_err(|bad| (Stage::KeyConverter, bad))
                .and_then(|has_key| {
                    let has_value = self.value.convert(self.direction, topic, record.value, &mut value);
                    has_value
                        .map(|has_value| (has_key, has_value))
                        .map_err(|bad| (Stage::ValueConverter, bad))
                });
            match both {
                Ok((has_key, has_value)) => {
                    builder.push(&RecordView {
                        key: has_key.then_some(key.as_slice()),
                        value: has_value.then_some(value.as_slice()),
                        ..record
                    });
                    done.origin.push(index as u32);
                }
                Err((stage, bad)) => {
                    let error = RecordError {
                        index: index as u32,
                        code: "format".to_owned(),
                        message: bad.to_string(),
                    };
                    done.rejected.push((stage, error));
                }
            }
        }
        done.batch = builder.build();
        done
    }
}

impl Failure {
    /// As a failed call of the task: it is repeated, or fails the task, like any other.
    pub(crate) fn of_task(self, connector: &str, task: u32) -> CallError {
        let label = Label { connector: connector.into(), task };
        let words =
            |code: &str| Words { code: code.to_owned(), message: self.to_string(), retry_after_ms: None };
        match self {
            Self::Outage { .. } => {
                CallError::Retriable { label, call: "converter", failure: words("registry.outage") }
            }
            Self::Unknown { .. } | Self::Refused { .. } => {
                CallError::Fatal { label, call: "converter", failure: words("registry.refused") }
            }
        }
    }
}

/// A record that can't be converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad {
    path: String,
    message: String,
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, message } = self;
        if path.is_empty() { f.write_str(message) } else { write!(f, "at {path}: {message}") }
    }
}

impl Bad {
    fn new(message: impl Into<String>) -> Self {
        Self { path: String::new(), message: message.into() }
    }

    /// The same, seen from one level further out.
    fn within(mut self, name: &str) -> Self {
        self.path.insert_str(0, name);
        self.path.insert(0, '/');
        self
    }
}

/// A number of Avro and Protobuf: seven bits a byte, the lowest first.
fn varint(bytes: &mut &[u8]) -> Result<u64, Bad> {
    let mut value = 0;
    for shift in 0..10 {
        let (first, rest) = bytes.split_first().ok_or_else(|| Bad::new("it ends too early"))?;
        *bytes = rest;
        let bits = u64::from(first & 0x7f);
        if shift == 9 && bits > 1 {
            break;
        }
        value |= bits << (7 * shift);
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Bad::new("a number of more than 64 bits"))
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Text as a JSON string.
fn put_text(text: &str, out: &mut Vec<u8>) {
    // Writing text to a Vec doesn't fail.
    let _ = serde_json::to_writer(out, text);
}

//! Schemas to write with, made of those that stand beside the values of a typed source.
//!
//! They are found again by their very text, per topic. At most [`SCHEMAS_MAX`] of at most [`TEXT_BYTES_MAX`] together are kept; past that they
//! are made again as they are needed.

use std::collections::{BTreeMap, HashMap};

use millrace_schema::{Kind, Schema};

use super::Bad;
use super::connect::{ConnectSchema, avro, json_schema};
use super::side::Target;

const SCHEMAS_MAX: usize = 1_000;
const TEXT_BYTES_MAX: usize = 8 << 20;

/// What became of a schema; or why nothing did.
type Outcome = Result<(ConnectSchema, Target), Bad>;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Derived {
    by_topic: BTreeMap<String, HashMap<String, Outcome>>,
    count: usize,
    text_bytes: usize,
}

/// A schema of Kafka Connect, and the text of what it becomes.
pub(super) struct Made {
    pub(super) connect: ConnectSchema,
    pub(super) text: String,
}

impl Made {
    /// Of the schema of an envelope.
    pub(super) fn of(kind: Kind, text: &str) -> Result<(Self, Schema), Bad> {
        let connect = ConnectSchema::parse(text)?;
        let text = match kind {
            Kind::Avro => avro::to_avro(&connect)?,
            Kind::Json => json_schema::to_json_schema(&connect)?,
            Kind::Protobuf => return Err(Bad::new("no protobuf schema is made of Kafka Connect's")),
        };
        let schema = Schema::parse(kind, &text, &[]).map_err(|error| Bad::new(error.to_string()))?;
        Ok((Self { connect, text }, schema))
    }
}

impl Derived {
    pub(super) fn get(&self, topic: &str, text: &str) -> Option<&Outcome> {
        self.by_topic.get(topic)?.get(text)
    }

    /// Whether no more find room.
    pub(super) fn is_full(&self) -> bool {
        self.count >= SCHEMAS_MAX || self.text_bytes >= TEXT_BYTES_MAX
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn insert(&mut self, topic: &str, text: &str, made: Outcome) {
        self.count += 1;
        self.text_bytes += text.len();
        self.by_topic.entry(topic.to_owned()).or_default().insert(text.to_owned(), made);
    }
}

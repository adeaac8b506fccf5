//! Kafka Connect's schemas and values, as `JsonConverter` writes them beside each other: `{"schema": ..., "payload": ...}`.
//!
//! | room | what is there |
//! |---|---|
//! | `text` | a schema as JSON, both ways |
//! | `semantics` | what a name such as `org.apache.kafka.connect.data.Date` makes of a type |
//! | `value` | a payload to the JSON that connectors see, and back |
//! | `avro` | a schema as an Avro schema, both ways, as Confluent's `AvroConverter` has it |
//! | `json_schema` | a schema as a JSON Schema, as Confluent's `JsonSchemaConverter` has it |
//!
//! Invariant: from an envelope to Avro and back nothing is lost, neither of the schema nor of the value; a null where the schema has a
//! default is the default, as in Kafka Connect.
//!
//! Limits: [`DEPTH_MAX`] levels, [`TYPES_MAX`] types in one schema.

pub(super) mod avro;
pub(super) mod json_schema;
mod semantics;
#[cfg(test)]
mod tests;
mod text;
pub(super) mod value;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Bad;

/// The encoding that a component names when it gives or takes envelopes.
pub(super) const ENCODING: &str = "connect-json";

/// Deepest nesting of a schema or a value.
const DEPTH_MAX: usize = 64;
/// Most types in one schema: one that refers to others again and again stands for very many.
const TYPES_MAX: usize = 5_000;

/// A schema.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ConnectSchema {
    is: Is,
    optional: bool,
    /// What it stands for: a logical type, or the name of a struct.
    name: Option<String>,
    version: Option<i64>,
    doc: Option<String>,
    parameters: BTreeMap<String, String>,
    /// What stands for null, as a payload; never null.
    default: Option<Value>,
}

/// A type.
#[derive(Clone, Debug, PartialEq)]
enum Is {
    Int8,
    Int16,
    Int32,
    Int64,
    Float,
    Double,
    Boolean,
    String,
    Bytes,
    Array(Box<ConnectSchema>),
    /// Keys and values.
    Map(Box<ConnectSchema>, Box<ConnectSchema>),
    Struct(Vec<Field>),
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq)]
struct Field {
    name: String,
    schema: ConnectSchema,
}

impl ConnectSchema {
    /// One that is required and says nothing else.
    fn of(is: Is) -> Self {
        let (name, version, doc, default) = (None, None, None, None);
        Self { is, optional: false, name, version, doc, parameters: BTreeMap::new(), default }
    }

    /// With a name, in the first version.
    fn named(is: Is, name: &str) -> Self {
        Self { name: Some(name.to_owned()), version: Some(1), ..Self::of(is) }
    }

    /// Whether it is exactly a required text: the keys of a map that every format has.
    fn is_plain_text(&self) -> bool {
        *self == Self::of(Is::String)
    }
}

/// A record with its schema, both as they stand there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Envelope<'r> {
    #[serde(borrow)]
    schema: &'r RawValue,
    #[serde(borrow)]
    payload: &'r RawValue,
}

impl<'r> Envelope<'r> {
    /// Takes a record apart.
    pub(super) fn parse(record: &'r [u8]) -> Result<Self, Bad> {
        serde_json::from_slice::<serde::de::IgnoredAny>(record)
            .map_err(|error| Bad::new(format!("not JSON: {error}")))?;
        serde_json::from_slice(record).map_err(|_| {
            Bad::new(r#"it has to be {"schema": ..., "payload": ...}; is `schemas_enable` meant?"#)
        })
    }

    /// None: there is none beside this value.
    pub(super) fn schema(&self) -> Option<&'r str> {
        Some(self.schema.get()).filter(|schema| *schema != "null")
    }

    /// None: it is null.
    pub(super) fn payload(&self) -> Option<&'r str> {
        Some(self.payload.get()).filter(|payload| *payload != "null")
    }
}

/// Begins an envelope; the payload and a closing brace follow.
pub(super) fn begin(schema: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"schema":"#);
    out.extend_from_slice(schema.as_bytes());
    out.extend_from_slice(br#","payload":"#);
}

//! Typed rows as JSON: with the meaning that docs/FORMATS.md gives to what JSON has no types for, or as Kafka Connect's JsonConverter writes
//! them, with a schema beside each.

mod envelope;
mod time;
mod value;

use millrace_connector_encode::datum::Datum;
use millrace_connector_encode::types::Schema;
use millrace_sdk::{Error, Poll, Rejection};

use crate::keys::Keys;
use crate::options::Key;

/// Most values of one row, lists and maps included.
pub const VALUES_MAX: usize = 1 << 20;

/// How JSON has what it has no type for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Connect,
}

/// Writes the rows of one file.
#[derive(Debug)]
pub struct Rows {
    schema: Schema,
    keys: Keys,
    /// What stands before each row, if it has its schema beside it.
    envelope: Option<Vec<u8>>,
    text: Vec<u8>,
}

impl Rows {
    /// Of a file with these columns.
    pub fn new(schema: Schema, key: Option<&Key>, typed: bool) -> Result<Self, Error> {
        let keys = Keys::new(key)?;
        if let Some(name) = key.map(Key::fields).unwrap_or_default().iter().find(|name| !has(&schema, name)) {
            let columns: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
            let message = format!("there is no column {name:?}; there are {}", columns.join(", "));
            return Err(Error::fatal("key.column", message));
        }
        let envelope = typed.then(|| envelope::begin(&schema));
        Ok(Self { schema, keys, envelope, text: Vec::new() })
    }

    /// The columns.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Adds a row that was made for this schema.
    pub fn push(&mut self, row: &[Datum], out: &mut Poll) -> Result<(), Rejection> {
        let form = if self.envelope.is_some() { Form::Connect } else { Form::Plain };
        self.text.clear();
        value::put_fields(row, &self.schema.fields, form, &mut self.text);
        if !self.keys.is_none() {
            // It was written here, so it is JSON; but deep as a file can nest, a document may not.
            self.keys.find(&self.text).map_err(|error| Rejection::new("json.syntax", error.to_string()))?;
        }
        let mut record = out.batch.record();
        self.keys.write(&self.text, &mut record);
        let value = record.value();
        if let Some(envelope) = &self.envelope {
            value.extend_from_slice(envelope);
        }
        value.extend_from_slice(&self.text);
        if self.envelope.is_some() {
            value.push(b'}');
        }
        record.end();
        Ok(())
    }
}

/// Whether a path begins with a column.
fn has(schema: &Schema, path: &str) -> bool {
    schema.fields.iter().any(|field| {
        path == field.name
            || path.strip_prefix(field.name.as_str()).is_some_and(|rest| rest.starts_with(['.', '[']))
            || path.starts_with(&format!("\"{}\"", field.name))
    })
}

/// `0f0e0d0c-0b0a-0908-0706-050403020100`
pub(crate) fn uuid(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

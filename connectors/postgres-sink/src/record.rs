//! A record taken apart: which fields it has, and whether its row is written or deleted.
//!
//! Values are JSON objects: plain ones; Kafka Connect's with its schema beside it (`schema`, `payload`); Debezium's envelope of a
//! change (`before`, `after`, `op`, `source`), with or without schema. Nothing is copied but names with escapes.

use std::borrow::Cow;
use std::rc::Rc;

use millrace_connector_fields::{Member, document, members};
use millrace_sdk::{RecordRef, Rejection};

use crate::schema::{Known, Type};

/// What Debezium writes for a value that its database did not send, so that the column stays as it is: as text, as bytes (base64) and
/// as an array.
const UNAVAILABLE: [&str; 3] = [
    "\"__debezium_unavailable_value\"",
    "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"",
    "[\"__debezium_unavailable_value\"]",
];

/// A field: its name, its value as it stands in the document, what the schema says of it.
#[derive(Clone, Debug)]
pub struct Field<'r> {
    /// Name.
    pub name: Cow<'r, str>,
    /// JSON.
    pub value: &'r str,
    /// Its type, if there is a schema.
    pub kind: Option<Rc<Type>>,
}

/// What a value says.
#[derive(Debug)]
pub enum Value<'r> {
    /// There is none.
    Tombstone,
    /// A row as it is; true: but for values that its database did not send.
    Row(Vec<Field<'r>>, bool),
    /// A row as it was, which is gone; none: only the key knows which.
    Gone(Option<Vec<Field<'r>>>),
    /// Nothing about a row.
    Nothing,
}

/// A value, and the table that an envelope says it is from: schema and table.
#[derive(Debug)]
pub struct Read<'r> {
    /// What it says.
    pub value: Value<'r>,
    /// `source.schema` and `source.table`.
    pub source: Option<(String, String)>,
}

/// What a key says.
#[derive(Debug)]
pub enum Key<'r> {
    /// There is none.
    None,
    /// Fields.
    Fields(Vec<Field<'r>>),
    /// One value: JSON, or text that is no JSON.
    One(Cow<'r, str>, Option<Rc<Type>>),
}

/// Takes a record's value apart.
pub fn value<'r>(record: &RecordRef<'r>, known: &mut Known) -> Result<Read<'r>, Rejection> {
    let plain = |value| Ok(Read { value, source: None });
    let Some(bytes) = record.value else { return plain(Value::Tombstone) };
    let text = text(bytes)?;
    let (text, schema) = unwrapped(text, known)?;
    if text.trim() == "null" {
        return plain(Value::Tombstone);
    }
    let Some(mut fields) = fields(text, schema.as_deref())? else {
        return Err(Rejection::new("record.shape", "the value is no JSON object, so it has no columns"));
    };
    if let Some(read) = envelope(&fields)? {
        return Ok(read);
    }
    let is_partial = leave_out_unavailable(&mut fields);
    // Debezium's flat form says so in a field of its own.
    if let Some(at) = fields.iter().position(|field| field.name == "__deleted") {
        let (mut fields, gone) = (fields, at);
        let deleted = fields.remove(gone).value;
        return plain(match deleted.contains("true") {
            true => Value::Gone(Some(fields)),
            false => Value::Row(fields, is_partial),
        });
    }
    plain(Value::Row(fields, is_partial))
}

/// Whether there was something to leave out.
fn leave_out_unavailable(fields: &mut Vec<Field<'_>>) -> bool {
    let count = fields.len();
    fields.retain(|field| !UNAVAILABLE.contains(&field.value));
    fields.len() < count
}

/// Takes a record's key apart.
pub fn key<'r>(record: &RecordRef<'r>, known: &mut Known) -> Result<Key<'r>, Rejection> {
    let Some(bytes) = record.key else { return Ok(Key::None) };
    let text =
        std::str::from_utf8(bytes).map_err(|_| Rejection::new("record.key", "the key is not UTF-8"))?;
    let as_text = || Ok(Key::One(Cow::Owned(serde_json::Value::from(text).to_string()), None));
    if serde_json::from_str::<&serde_json::value::RawValue>(text).is_err() {
        return as_text();
    }
    let (inner, schema) = unwrapped(text, known)?;
    match fields(inner, schema.as_deref())? {
        Some(fields) => Ok(Key::Fields(fields)),
        None if inner.trim() == "null" => Ok(Key::None),
        None => Ok(Key::One(Cow::Borrowed(inner.trim()), schema)),
    }
}

fn text(bytes: &[u8]) -> Result<&str, Rejection> {
    document(bytes).map_err(|error| Rejection::new("json.syntax", error.to_string()))
}

/// Without Kafka Connect's `schema` and `payload` around it.
fn unwrapped<'r>(text: &'r str, known: &mut Known) -> Result<(&'r str, Option<Rc<Type>>), Rejection> {
    let mut found = Vec::new();
    let is_object =
        members(text, &mut found).map_err(|error| Rejection::new("json.syntax", error.to_string()))?;
    if !is_object || found.len() != 2 {
        return Ok((text, None));
    }
    let part = |name: &str| {
        let is_it = |member: &&Member| member.plain_name(text) == name;
        found.iter().find(is_it).map(|member| &text[member.value.clone()])
    };
    match (part("schema"), part("payload")) {
        (Some("null"), Some(payload)) => Ok((payload, None)),
        (Some(schema), Some(payload)) if schema.starts_with('{') => Ok((payload, Some(known.read(schema)))),
        _ => Ok((text, None)),
    }
}

fn fields<'r>(text: &'r str, schema: Option<&Type>) -> Result<Option<Vec<Field<'r>>>, Rejection> {
    let mut found = Vec::new();
    let is_object =
        members(text, &mut found).map_err(|error| Rejection::new("json.syntax", error.to_string()))?;
    let mut fields: Vec<Field<'r>> = Vec::with_capacity(found.len());
    for member in &found {
        let name = member.plain_name(text);
        let value = &text[member.value.clone()];
        let kind = schema.and_then(|schema| schema.field(&name)).cloned();
        // Of a name that is there twice the last one counts, as everywhere.
        match fields.iter_mut().find(|field| field.name == name) {
            Some(first) => first.value = value,
            None => fields.push(Field { name, value, kind }),
        }
    }
    Ok(is_object.then_some(fields))
}

/// What an envelope says; none: it is none.
fn envelope<'r>(fields: &[Field<'r>]) -> Result<Option<Read<'r>>, Rejection> {
    let part = |name: &str| fields.iter().find(|field| field.name == name);
    let (Some(op), Some(source)) = (part("op"), part("source")) else { return Ok(None) };
    if part("before").is_none() && part("after").is_none() && op.value != "\"t\"" && op.value != "\"m\"" {
        return Ok(None);
    }
    let row = |name: &str| -> Result<Option<Vec<Field<'r>>>, Rejection> {
        match part(name).filter(|field| field.value != "null") {
            Some(field) => self::fields(field.value, field.kind.as_deref()),
            None => Ok(None),
        }
    };
    let value = match op.value.trim_matches('"') {
        "c" | "r" | "u" => {
            let mut after = row("after")?
                .ok_or_else(|| Rejection::new("envelope.after", "an envelope of a change without `after`"))?;
            let is_partial = leave_out_unavailable(&mut after);
            Value::Row(after, is_partial)
        }
        "d" => Value::Gone(row("before")?),
        "m" => Value::Nothing,
        "t" => {
            let message = "the source's table was truncated, which is not done here; empty this one by hand";
            return Err(Rejection::new("envelope.truncate", message));
        }
        _ => {
            return Err(Rejection::new(
                "envelope.op",
                format!("an envelope with an unknown `op` {}", op.value),
            ));
        }
    };
    let origin = self::fields(source.value, None)?.unwrap_or_default();
    let name = |wanted: &str| {
        let field = origin.iter().find(|field| field.name == wanted)?;
        serde_json::from_str::<String>(field.value).ok()
    };
    let source = name("table").map(|table| (name("schema").unwrap_or_default(), table));
    Ok(Some(Read { value, source }))
}

//! Records of changes and of rows: Debezium's envelope, or the row itself.

#[cfg(test)]
mod tests;

use std::io::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millrace_sdk::{BatchBuilder, RecordRef};

use crate::lsn::Lsn;
use crate::pgoutput::Value;
use crate::settings::{Format, Settings};
use crate::shape::{Field, Shape};
use crate::types::{Scalar, Type};
use crate::value::{self, Style, UNAVAILABLE};

/// What happened to a row, as Debezium calls it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Op {
    Create,
    Update,
    Delete,
    /// It was there when the table was read.
    Read,
    /// All rows are gone.
    Truncate,
}

impl Op {
    fn code(self) -> &'static str {
        match self {
            Self::Create => "c",
            Self::Update => "u",
            Self::Delete => "d",
            Self::Read => "r",
            Self::Truncate => "t",
        }
    }
}

/// Where a record comes from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    /// When the transaction committed, or the chunk was read; milliseconds since 1970.
    pub(crate) ts_ms: i64,
    /// Of the change; of a row: where the log was when its chunk was read.
    pub(crate) lsn: Lsn,
    /// Of a change.
    pub(crate) transaction: Option<Place>,
}

/// A change's place in its transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) xid: u32,
    pub(crate) commit_lsn: Lsn,
    /// Among all changes of the transaction, from 0.
    pub(crate) index: u64,
    /// Among those of its table, from 0.
    pub(crate) index_in_table: u64,
}

/// A change, or a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    pub(crate) op: Op,
    pub(crate) before: Option<&'a [Value<'a>]>,
    pub(crate) after: Option<&'a [Value<'a>]>,
}

/// Writes records as the settings say.
#[derive(Debug)]
pub(crate) struct Writer {
    format: Format,
    tombstones: bool,
    marks_deletes: bool,
    transactions: bool,
    key_style: Style,
    value_style: Style,
    /// `{"version":...,"name":...`
    source: String,
    database: String,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(settings: &Settings, database: &str) -> Self {
        let mut name = Vec::new();
        value::string(&mut name, settings.name());
        Self {
            format: settings.format,
            tombstones: settings.tombstones,
            marks_deletes: settings.marks_deletes(),
            transactions: settings.transactions,
            key_style: Style { is_iso_zoned: settings.typed_keys() },
            value_style: Style { is_iso_zoned: settings.typed_values() },
            source: format!(
                "{{\"version\":\"{}\",\"connector\":\"postgresql\",\"name\":{}",
                env!("CARGO_PKG_VERSION"),
                String::from_utf8_lossy(&name)
            ),
            database: database.to_owned(),
            key: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Adds the records of a change.
    pub(crate) fn write(
        &mut self,
        out: &mut BatchBuilder,
        shape: &Shape,
        change: Change<'_>,
        origin: &Origin,
        now_ms: i64,
    ) {
        let keyed = change.after.or(change.before).filter(|_| !shape.key.is_empty());
        if let Some(row) = keyed {
            self.key(shape, row);
        }
        let has_value = self.value(shape, change, origin, now_ms);
        let record = |key, value| RecordRef {
            topic: &shape.topic,
            timestamp: if change.op == Op::Read { -1 } else { origin.ts_ms },
            ..RecordRef::new(key, value)
        };
        let key = keyed.map(|_| self.key.as_slice());
        if has_value {
            out.push(&record(key, Some(&self.value)));
        }
        let wants_tombstone = self.tombstones || !has_value;
        if change.op == Op::Delete && key.is_some() && wants_tombstone {
            out.push(&record(key, None));
        }
    }

    fn key(&mut self, shape: &Shape, row: &[Value<'_>]) {
        let out = &mut self.key;
        out.clear();
        let is_typed = wrapped(out, shape.schemas.key.as_ref());
        let columns = shape.key.iter().map(|place| (&shape.columns[*place], row.get(*place)));
        object(out, columns, self.key_style, is_typed, None);
        if is_typed {
            out.push(b'}');
        }
    }

    /// Whether there is a value; else the record is a tombstone, or none at all.
    fn value(&mut self, shape: &Shape, change: Change<'_>, origin: &Origin, now_ms: i64) -> bool {
        let out = &mut self.value;
        out.clear();
        let is_typed = wrapped(out, shape.schemas.value.as_ref());
        let style = self.value_style;
        let row = |out: &mut Vec<u8>, row: &[Value<'_>], deleted| {
            let columns = shape.columns.iter().enumerate().map(|(place, column)| (column, row.get(place)));
            object(out, columns, style, is_typed, deleted);
        };
        match self.format {
            Format::Flat => {
                let deleted = self.marks_deletes.then_some(change.op == Op::Delete);
                match (change.after, change.before) {
                    (Some(after), _) => row(out, after, deleted),
                    (None, Some(before)) if self.marks_deletes => row(out, before, deleted),
                    _ => return false,
                }
            }
            Format::Debezium => {
                for (name, values) in [("{\"before\":", change.before), (",\"after\":", change.after)] {
                    out.extend_from_slice(name.as_bytes());
                    match values {
                        Some(values) => row(out, values, None),
                        None => out.extend_from_slice(b"null"),
                    }
                }
                out.extend_from_slice(b",\"source\":");
                source(out, &self.source, &self.database, shape, change.op, origin);
                out.extend_from_slice(b",\"transaction\":");
                match origin.transaction.filter(|_| self.transactions) {
                    Some(place) => {
                        let _ = write!(
                            out,
                            "{{\"id\":\"{}:{}\",\"total_order\":{},\"data_collection_order\":{}}}",
                            place.xid,
                            place.commit_lsn.0,
                            place.index + 1,
                            place.index_in_table + 1
                        );
                    }
                    None => out.extend_from_slice(b"null"),
                }
                let _ = write!(out, ",\"op\":\"{}\",\"ts_ms\":{now_ms}}}", change.op.code());
            }
        }
        if is_typed {
            out.push(b'}');
        }
        true
    }
}

/// Begins an envelope with this schema; whether there is one.
fn wrapped(out: &mut Vec<u8>, schema: Option<&String>) -> bool {
    let Some(schema) = schema else { return false };
    out.extend_from_slice(b"{\"schema\":");
    out.extend_from_slice(schema.as_bytes());
    out.extend_from_slice(b",\"payload\":");
    true
}

fn source(out: &mut Vec<u8>, beginning: &str, database: &str, shape: &Shape, op: Op, origin: &Origin) {
    let snapshot = if op == Op::Read { "incremental" } else { "false" };
    let _ = write!(out, "{beginning},\"ts_ms\":{},\"snapshot\":\"{snapshot}\"", origin.ts_ms);
    for (name, text) in [("db", database), ("schema", &shape.schema), ("table", &shape.table)] {
        let _ = write!(out, ",\"{name}\":");
        value::string(out, text);
    }
    match origin.transaction {
        Some(place) => {
            let _ = write!(out, ",\"txId\":{}", place.xid);
        }
        None => out.extend_from_slice(b",\"txId\":null"),
    }
    let _ = write!(out, ",\"lsn\":{},\"xmin\":null}}", origin.lsn.0);
}

fn object<'a>(
    out: &mut Vec<u8>,
    columns: impl Iterator<Item = (&'a Field, Option<&'a Value<'a>>)>,
    style: Style,
    is_typed: bool,
    deleted: Option<bool>,
) {
    out.push(b'{');
    let mut is_first = true;
    for (field, cell) in columns {
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        out.extend_from_slice(&field.label);
        match cell {
            Some(Value::Text(text)) => value::write(out, &field.kind, text, style),
            Some(Value::Unchanged) => unavailable(out, &field.kind, is_typed),
            Some(Value::Null) | None => out.extend_from_slice(b"null"),
        }
    }
    if let Some(deleted) = deleted {
        if !is_first {
            out.push(b',');
        }
        let _ = write!(out, "\"__deleted\":\"{deleted}\"");
    }
    out.push(b'}');
}

/// Debezium's word for a value that was not sent, in a form that fits the type where there is a schema.
fn unavailable(out: &mut Vec<u8>, kind: &Type, is_typed: bool) {
    match kind {
        Type::Scalar(Scalar::Bytes) if is_typed => value::string(out, &STANDARD.encode(UNAVAILABLE)),
        Type::Array { .. } if is_typed => {
            out.push(b'[');
            value::string(out, UNAVAILABLE);
            out.push(b']');
        }
        _ => value::string(out, UNAVAILABLE),
    }
}

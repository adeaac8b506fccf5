//! What a record says of a row, where rows are upserted: it is this from now on, or it is gone.
//!
//! Values are rows; or Debezium's envelope of a change (`before`, `after`, `op`, `source`); or its flat form, in which `__deleted` may say that a row is gone.
//! Either with Kafka Connect's schema beside it or without. A record without a value is a tombstone: the row with its key is gone.

use std::borrow::Cow;

use millrace_connector_encode::content::NullValues;
use millrace_connector_encode::json::Json;
use millrace_sdk::{RecordRef, Rejection};

use crate::rows::{Reader, Value};
use crate::settings::{PkMode, Settings};

/// What Debezium writes for a value that its database did not send: as text, and as bytes (base64).
const UNAVAILABLE: [&str; 2] = ["__debezium_unavailable_value", "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="];
/// Says so in Debezium's flat form.
const DELETED: &str = "__deleted";

/// What a record says.
#[derive(Debug)]
pub enum Change<'a> {
    /// A row, and what the record's key says, if that names it.
    Row(Value<'a>, Option<Value<'a>>),
    /// The row that this names is gone.
    Gone(Value<'a>),
    /// Nothing about a row.
    Nothing,
}

/// What a value says, before it is known which row is meant.
enum Said<'a> {
    Row(Value<'a>),
    /// With what is left of it.
    Gone(Option<Value<'a>>),
    Nothing,
}

/// Takes records apart.
#[derive(Debug)]
pub struct Changes {
    keys: Reader,
}

impl Changes {
    /// With a reader of keys.
    pub fn new(keys: Reader) -> Self {
        Self { keys }
    }

    /// Takes a record apart; `values` reads its value.
    pub fn read<'a>(
        &mut self,
        record: &RecordRef<'a>,
        values: &mut Reader,
        settings: &Settings,
    ) -> Result<Change<'a>, Rejection> {
        let by_key = settings.pk_mode == PkMode::RecordKey;
        let value = match record.value {
            Some(value) => values.read(value)?,
            None => return self.tombstone(record, settings),
        };
        if value.json == Json::Null {
            return self.tombstone(record, settings);
        }
        match said(value, values)? {
            Said::Nothing => Ok(Change::Nothing),
            Said::Gone(_) if !settings.delete_enabled => Err(Rejection::new(
                "record.tombstone",
                "the record says that a row is gone, and rows are not deleted; set delete_enabled, or drop such records with a transform",
            )),
            Said::Gone(_) if by_key => Ok(Change::Gone(self.key(record, settings)?)),
            Said::Gone(Some(row)) => Ok(Change::Gone(row)),
            Said::Gone(None) => Err(no_key("the record says that a row is gone, and not which one")),
            Said::Row(row) => {
                let key = by_key.then(|| self.key(record, settings)).transpose()?;
                if let Some(name) = unavailable(&row.json) {
                    let message = format!(
                        "{name}: its database did not send the value, and a row is written whole here; give the source's table REPLICA IDENTITY FULL"
                    );
                    return Err(Rejection::new("record.partial", message));
                }
                Ok(Change::Row(row, key))
            }
        }
    }

    fn tombstone<'a>(
        &mut self,
        record: &RecordRef<'a>,
        settings: &Settings,
    ) -> Result<Change<'a>, Rejection> {
        match (settings.delete_enabled, settings.behavior_on_null_values) {
            (true, _) if settings.pk_mode == PkMode::RecordKey => {
                Ok(Change::Gone(self.key(record, settings)?))
            }
            // It stands behind an envelope, which has said which row is gone.
            (true, _) | (false, NullValues::Ignore) => Ok(Change::Nothing),
            (false, NullValues::Fail) => Err(Rejection::new("iceberg.null", NullValues::MISSING)),
        }
    }

    fn key<'a>(&mut self, record: &RecordRef<'a>, settings: &Settings) -> Result<Value<'a>, Rejection> {
        let key =
            record.key.ok_or_else(|| no_key("the record has no key, which pk_mode record_key needs"))?;
        self.keys.key(key, &settings.pk_fields)
    }
}

/// A key that names no row.
pub fn no_key(why: impl Into<String>) -> Rejection {
    Rejection::new("record.key", why)
}

fn said<'a>(value: Value<'a>, reader: &mut Reader) -> Result<Said<'a>, Rejection> {
    let Some(op) = op(&value.json) else { return Ok(flat(value, reader)) };
    let bad = |code: &str, why: String| Err(Rejection::new(code, why));
    match op.as_str() {
        "c" | "r" | "u" => match part(value, "after", reader)? {
            Some(row) => Ok(Said::Row(row)),
            None => bad("envelope.after", "an envelope of a change without `after`".to_owned()),
        },
        "d" => Ok(Said::Gone(part(value, "before", reader)?)),
        "m" => Ok(Said::Nothing),
        "t" => bad(
            "envelope.truncate",
            "the source's table was truncated, which is not done here; empty this one by hand".to_owned(),
        ),
        other => bad("envelope.op", format!("an envelope with an unknown `op` {other:?}")),
    }
}

/// What an envelope does; none: it is none.
fn op(json: &Json<'_>) -> Option<String> {
    let op = json.member("op")?.text()?;
    json.member("source")?;
    let has_row = json.member("before").is_some() || json.member("after").is_some();
    (has_row || matches!(op, "t" | "m")).then(|| op.to_owned())
}

/// A row out of an envelope; none: it is not there.
fn part<'a>(value: Value<'a>, name: &str, reader: &mut Reader) -> Result<Option<Value<'a>>, Rejection> {
    let schema = match &value.schema {
        Some(schema) if value.is_described => Some(reader.part(schema, name)?),
        schema => schema.clone(),
    };
    Ok(value.part(|json| take(json, name).filter(|row| *row != Json::Null), schema))
}

fn flat<'a>(mut value: Value<'a>, reader: &mut Reader) -> Said<'a> {
    let deleted = match value.json.member(DELETED) {
        None => return Said::Row(value),
        Some(Json::Bool(deleted)) => *deleted,
        Some(other) => other.text() == Some("true"),
    };
    if let Json::Object(members) = &mut value.json {
        members.retain(|(name, _)| name != DELETED);
    }
    if value.is_described {
        value.schema = value.schema.map(|schema| reader.without(&schema, DELETED));
    }
    if deleted { Said::Gone(Some(value)) } else { Said::Row(value) }
}

fn take<'a>(json: Json<'a>, name: &str) -> Option<Json<'a>> {
    let Json::Object(members) = json else { return None };
    members.into_iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
}

/// The first column whose value was not sent.
fn unavailable<'j>(json: &'j Json<'_>) -> Option<&'j str> {
    let Json::Object(members) = json else { return None };
    let is_mark = |value: &Json<'_>| value.text().is_some_and(|text| UNAVAILABLE.contains(&text));
    let is_it = |(_, value): &&(Cow<'_, str>, Json<'_>)| match value {
        Json::Array(values) => matches!(values.as_slice(), [one] if is_mark(one)),
        value => is_mark(value),
    };
    members.iter().find(is_it).map(|(name, _)| name.as_ref())
}

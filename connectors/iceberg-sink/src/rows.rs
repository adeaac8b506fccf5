//! Records into rows of the table.
//!
//! What a record says of its types decides how its values are read: the schema in the settings, or that in its envelope. Without either
//! the table's columns do. Then each value becomes one of its column's type, or the record is refused: nothing is cut off or guessed.

use std::sync::Arc;

use millrace_connector_encode::datum::{Datum, Form, row};
use millrace_connector_encode::json::Json;
use millrace_connector_encode::types::{Field, Schema, Slot, Type, Unit, connect};
use millrace_sdk::Rejection;

use crate::schema::names;

/// A record's value, taken apart.
#[derive(Debug)]
pub struct Value<'a> {
    /// The document.
    pub json: Json<'a>,
    /// What it says of its types.
    pub schema: Option<Arc<Schema>>,
    form: Form,
}

/// Takes values apart.
#[derive(Debug)]
pub struct Reader {
    /// The schema in the settings.
    schema: Option<Arc<Schema>>,
    /// The envelope's schema that was last read: its text and what it says.
    last: Option<(String, Arc<Schema>)>,
}

/// A record that doesn't fit.
pub fn misfit(why: impl Into<String>) -> Rejection {
    Rejection::new("schema.misfit", why)
}

impl Reader {
    /// By the schema in the settings, if there is one.
    pub fn new(schema: Option<Schema>) -> Self {
        Self { schema: schema.map(Arc::new), last: None }
    }

    /// Reads a value.
    pub fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<Value<'a>, Rejection> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Rejection::new("json.syntax", "not a JSON document: it is not UTF-8"))?;
        let (enveloped, payload) = match connect::envelope(text) {
            Some(("null", payload)) => (None, payload),
            Some((schema, payload)) => (Some(schema), payload),
            None => (None, text),
        };
        let json = Json::read(payload).map_err(|error| Rejection::new("json.syntax", error.to_string()))?;
        let schema = match (&self.schema, enveloped) {
            (Some(schema), _) => Some(Arc::clone(schema)),
            (None, Some(text)) => Some(self.of_envelope(text)?),
            (None, None) => None,
        };
        let form = match (&schema, enveloped) {
            (Some(_), Some(_)) => Form::Connect,
            (Some(_), None) => Form::Plain,
            (None, _) => Form::Table,
        };
        Ok(Value { json, schema, form })
    }

    fn of_envelope(&mut self, text: &str) -> Result<Arc<Schema>, Rejection> {
        if let Some((known, schema)) = &self.last
            && known == text
        {
            return Ok(Arc::clone(schema));
        }
        let read = connect::read(text).and_then(|(name, slot)| Schema::of(&name, slot.ty));
        let schema = read.map_err(|why| Rejection::new("schema", format!("the record's schema: {why}")))?;
        let schema = Arc::new(schema);
        self.last = Some((text.to_owned(), Arc::clone(&schema)));
        Ok(schema)
    }
}

impl Value<'_> {
    /// The row for these columns.
    pub fn row(&self, columns: &[Field]) -> Result<Vec<Datum>, Rejection> {
        match &self.schema {
            None => row(&self.json, columns, self.form)
                .map_err(|why| misfit(misnamed(&self.json, columns).unwrap_or(why))),
            Some(schema) => {
                let values = row(&self.json, &schema.fields, self.form).map_err(misfit)?;
                fit(values, &schema.fields, columns).map_err(misfit)
            }
        }
    }
}

/// Whether an object has members that are no columns. What has no type has a column everywhere.
pub fn has_more(json: &Json<'_>, columns: &[Field]) -> bool {
    let Json::Object(members) = json else { return false };
    let more = |(name, value): &(std::borrow::Cow<'_, str>, Json<'_>)| {
        let column = columns.iter().find(|column| column.name == *name);
        column.map_or(!value.is_nothing(), |column| has_more_within(value, &column.slot.ty))
    };
    members.iter().any(more)
}

fn has_more_within(json: &Json<'_>, ty: &Type) -> bool {
    match (ty, json) {
        (Type::Struct(fields), json) => has_more(json, fields),
        (Type::List(element), Json::Array(values)) => {
            values.iter().any(|value| has_more_within(value, &element.ty))
        }
        (Type::Map(inner), Json::Object(members)) => {
            members.iter().any(|(_, value)| has_more_within(value, &inner.ty))
        }
        _ => false,
    }
}

/// The first member that is no column and can't become one, and why.
pub fn misnamed(json: &Json<'_>, columns: &[Field]) -> Option<String> {
    let Json::Object(members) = json else { return None };
    members.iter().enumerate().find_map(|(at, (name, value))| {
        let name = name.as_ref();
        let why = match columns.iter().find(|column| column.name == name) {
            Some(column) => misnamed_within(value, &column.slot.ty)?,
            None if value.is_nothing() => return None,
            None => {
                let known = columns.iter().map(|column| column.name.as_str());
                let before = members[..at].iter().map(|(name, _)| name.as_ref());
                format!(": {}", names::fault(name, known.chain(before))?)
            }
        };
        Some(format!("{}{why}", names::shown(name)))
    })
}

/// The same behind a column's name.
fn misnamed_within(json: &Json<'_>, ty: &Type) -> Option<String> {
    match (ty, json) {
        (Type::Struct(fields), json) => misnamed(json, fields).map(|why| format!(".{why}")),
        (Type::List(element), Json::Array(values)) => {
            let within = values.iter().find_map(|value| misnamed_within(value, &element.ty));
            within.map(|why| format!("[]{why}"))
        }
        (Type::Map(inner), Json::Object(members)) => {
            let within = members.iter().find_map(|(_, value)| misnamed_within(value, &inner.ty));
            within.map(|why| format!(".*{why}"))
        }
        _ => None,
    }
}

/// Values of fields as values of columns, by name.
fn fit(values: Vec<Datum>, fields: &[Field], columns: &[Field]) -> Result<Vec<Datum>, String> {
    let mut row = vec![Datum::Null; columns.len()];
    for (value, field) in values.into_iter().zip(fields) {
        let place = |why: String| match why.starts_with(['.', '[']) {
            true => format!("{}{why}", field.name),
            false => format!("{}: {why}", field.name),
        };
        match columns.iter().position(|column| column.name == field.name) {
            Some(at) => row[at] = cast(value, &field.slot.ty, &columns[at].slot).map_err(place)?,
            None if value == Datum::Null => {}
            None => {
                let fault = names::fault(&field.name, columns.iter().map(|column| column.name.as_str()));
                let why = fault.unwrap_or_else(|| "the table has no such column".to_owned());
                return Err(format!("{}: {why}", names::shown(&field.name)));
            }
        }
    }
    let missing =
        row.iter().zip(columns).find(|(value, column)| **value == Datum::Null && !column.slot.optional);
    match missing {
        Some((_, column)) => {
            Err(format!("{}: it is missing or null, and the table wants a value", column.name))
        }
        None => Ok(row),
    }
}

fn micros(nanos: i64) -> Result<i64, String> {
    match nanos % 1_000 {
        0 => Ok(nanos / 1_000),
        _ => Err("it has nanoseconds, and the table's column microseconds".to_owned()),
    }
}

fn cast(value: Datum, from: &Type, to: &Slot) -> Result<Datum, String> {
    let range = || "it is out of the column's range".to_owned();
    Ok(match (value, from, &to.ty) {
        (Datum::Null, _, _) if to.optional => Datum::Null,
        (Datum::Null, _, _) => return Err("it is null, and the table wants a value".to_owned()),
        (Datum::Int(value), Type::Int, Type::Long) => Datum::Long(value.into()),
        (Datum::Float(value), Type::Float, Type::Double) => Datum::Double(value.into()),
        (Datum::Decimal(digits), Type::Decimal { scale, .. }, Type::Decimal { precision, scale: same })
            if scale == same =>
        {
            let most = 10_i128.checked_pow(*precision).ok_or_else(range)?;
            if digits.unsigned_abs() >= most.unsigned_abs() {
                return Err(range());
            }
            Datum::Decimal(digits)
        }
        (Datum::Int(value), Type::Time(Unit::Millis), Type::Time(Unit::Micros)) => {
            Datum::Long(i64::from(value) * 1000)
        }
        (
            Datum::Long(value),
            Type::Timestamp { unit: Unit::Millis, local },
            Type::Timestamp { unit: Unit::Micros, local: same },
        ) if local == same => Datum::Long(value.checked_mul(1000).ok_or_else(range)?),
        (Datum::Long(value), Type::Time(Unit::Nanos), Type::Time(Unit::Micros)) => {
            Datum::Long(micros(value)?)
        }
        (
            Datum::Long(value),
            Type::Timestamp { unit: Unit::Nanos, local },
            Type::Timestamp { unit: Unit::Micros, local: same },
        ) if local == same => Datum::Long(micros(value)?),
        (Datum::List(values), Type::List(from), Type::List(to)) => {
            let element = |(at, value)| cast(value, &from.ty, to).map_err(|why| format!("[{at}]: {why}"));
            Datum::List(values.into_iter().enumerate().map(element).collect::<Result<_, _>>()?)
        }
        (Datum::Map(entries), Type::Map(from), Type::Map(to)) => {
            let entry = |(key, value): (String, Datum)| match cast(value, &from.ty, to) {
                Ok(value) => Ok((key, value)),
                Err(why) => Err(format!(".{key}: {why}")),
            };
            Datum::Map(entries.into_iter().map(entry).collect::<Result<_, _>>()?)
        }
        (Datum::Struct(values), Type::Struct(fields), Type::Struct(columns)) => {
            Datum::Struct(fit(values, fields, columns).map_err(|why| format!(".{why}"))?)
        }
        (value, from, to) if from == to => value,
        _ => return Err("the table's column has another type than the record's schema says".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use millrace_connector_encode::types::avro;
    use serde_json::json;

    use super::*;

    fn table(fields: serde_json::Value) -> Vec<Field> {
        let schema = json!({ "type": "record", "name": "R", "fields": fields });
        avro::read(&schema.to_string()).expect("a schema").fields
    }

    fn read(reader: &mut Reader, text: &str, columns: &[Field]) -> Result<Vec<Datum>, String> {
        reader.read(text.as_bytes()).and_then(|value| value.row(columns)).map_err(|why| why.message)
    }

    #[test]
    fn values_become_what_the_column_holds_or_are_refused() {
        let columns = table(json!([
            { "name": "n", "type": "long" },
            { "name": "at", "type": ["null", { "type": "long", "logicalType": "timestamp-micros" }] },
            { "name": "d", "type": ["null", { "type": "bytes", "logicalType": "decimal", "precision": 3, "scale": 1 }] },
        ]));
        let mut plain = Reader::new(None);
        assert_eq!(
            read(&mut plain, r#"{"at":1,"n":5}"#, &columns),
            Ok(vec![Datum::Long(5), Datum::Long(1000), Datum::Null])
        );
        let envelope = |fields: serde_json::Value, payload: serde_json::Value| {
            json!({ "schema": { "type": "struct", "fields": fields }, "payload": payload }).to_string()
        };
        let n = json!({ "field": "n", "type": "int32" });
        let at = json!({ "field": "at", "type": "int64", "name": "org.apache.kafka.connect.data.Timestamp", "optional": true });
        let all = envelope(json!([at, n]), json!({ "at": 7, "n": 5 }));
        assert_eq!(
            read(&mut plain, &all, &columns),
            Ok(vec![Datum::Long(5), Datum::Long(7000), Datum::Null])
        );
        let none = envelope(json!([at]), json!({ "at": 7 }));
        assert_eq!(
            read(&mut plain, &none, &columns),
            Err("n: it is missing or null, and the table wants a value".into())
        );
        let text = envelope(json!([{ "field": "n", "type": "string" }]), json!({ "n": "5" }));
        assert!(
            read(&mut plain, &text, &columns)
                .expect_err("refused")
                .starts_with("n: the table's column has another")
        );
        let more = envelope(json!([n, { "field": "x", "type": "int32" }]), json!({ "n": 1, "x": 1 }));
        assert_eq!(read(&mut plain, &more, &columns), Err("x: the table has no such column".into()));
    }

    #[test]
    fn members_that_are_no_columns_are_seen_at_any_depth() {
        let inner = json!({ "type": "record", "name": "S", "fields": [{ "name": "x", "type": "int" }] });
        let columns = table(json!([{ "name": "l", "type": { "type": "array", "items": inner } }]));
        let more = |text: &str| has_more(&Json::read(text).expect("JSON"), &columns);
        assert!(!more(r#"{"l":[{"x":1},{}]}"#));
        assert!(more(r#"{"l":[{"x":1},{"y":1}]}"#));
        assert!(more(r#"{"m":[1]}"#) && more(r#"{"m":{"x":null}}"#));
        for nothing in [r#"{"m":null}"#, r#"{"m":[]}"#, r#"{"m":[null,[]]}"#, r#"{"m":{}}"#] {
            assert!(!more(nothing), "{nothing}");
        }
    }
}

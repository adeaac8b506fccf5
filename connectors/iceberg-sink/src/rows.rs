//! Records into rows of the table.
//!
//! What a record says of its types decides how its values are read: the schema in the settings, or that in its envelope. Without either
//! the table's columns do. Then each value becomes one of its column's type, or the record is refused: nothing is cut off or guessed.

use std::sync::Arc;

use millrace_connector_encode::datum::{Datum, Form, row};
use millrace_connector_encode::json::Json;
use millrace_connector_encode::types::{Field, Schema, Slot, Type, Unit, connect};
use millrace_sdk::Rejection;

use crate::change::no_key;
use crate::schema::names;

/// A record's value, taken apart.
#[derive(Debug)]
pub struct Value<'a> {
    /// The document.
    pub json: Json<'a>,
    /// What it says of its types.
    pub schema: Option<Arc<Schema>>,
    /// Whether its schema came with it.
    pub is_described: bool,
    form: Form,
    /// Of a key that is one value without a type: its text.
    text: Option<&'a str>,
}

/// Takes values apart.
#[derive(Debug)]
pub struct Reader {
    /// The schema in the settings.
    schema: Option<Arc<Schema>>,
    /// The envelope's schema that was last read: its text and what it says.
    last: Option<(String, Arc<Schema>)>,
    /// Parts of schemas: of which one, of what name, and what they say.
    parts: Vec<(Arc<Schema>, String, Arc<Schema>)>,
}

/// Parts of schemas that are remembered.
const PARTS_MAX: usize = 8;

/// A record that doesn't fit.
pub fn misfit(why: impl Into<String>) -> Rejection {
    Rejection::new("schema.misfit", why)
}

impl Reader {
    /// By the schema in the settings, if there is one.
    pub fn new(schema: Option<Schema>) -> Self {
        Self { schema: schema.map(Arc::new), last: None, parts: Vec::new() }
    }

    /// Reads a value.
    pub fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<Value<'a>, Rejection> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Rejection::new("json.syntax", "not a JSON document: it is not UTF-8"))?;
        let (enveloped, payload) = unwrapped(text);
        let json = Json::read(payload).map_err(|error| Rejection::new("json.syntax", error.to_string()))?;
        let schema = match (&self.schema, enveloped) {
            (Some(schema), _) => Some(Arc::clone(schema)),
            (None, Some(text)) => Some(self.of_envelope(text, None)?),
            (None, None) => None,
        };
        Ok(self.value(json, schema, enveloped.is_some()))
    }

    fn value<'a>(&self, json: Json<'a>, schema: Option<Arc<Schema>>, is_enveloped: bool) -> Value<'a> {
        let form = match (&schema, is_enveloped) {
            (Some(_), true) => Form::Connect,
            (Some(_), false) => Form::Plain,
            (None, _) => Form::Table,
        };
        Value { json, schema, is_described: self.schema.is_none() && is_enveloped, form, text: None }
    }

    /// Reads a key: an object, or one value, which is that of the only name.
    pub fn key<'a>(&mut self, bytes: &'a [u8], names: &[String]) -> Result<Value<'a>, Rejection> {
        let text = std::str::from_utf8(bytes).map_err(|_| no_key("the key is not UTF-8"))?;
        let (enveloped, payload) = unwrapped(text);
        let json = match Json::read(payload) {
            Ok(json) => json,
            Err(error) if enveloped.is_some() => return Err(no_key(error.to_string())),
            Err(_) => Json::Text(text.into()),
        };
        match json {
            Json::Null => Err(no_key("the record's key is null")),
            Json::Object(_) => {
                let schema = match (&self.schema, enveloped) {
                    (Some(schema), _) => Some(Arc::clone(schema)),
                    (None, Some(text)) => Some(self.of_envelope(text, None)?),
                    (None, None) => None,
                };
                Ok(self.value(json, schema, enveloped.is_some()))
            }
            one => {
                let [name] = names else {
                    return Err(no_key("the key is one value; name its column, and no other, in pk_fields"));
                };
                let schema = match (&self.schema, enveloped) {
                    (Some(schema), _) => Some(Arc::clone(schema)),
                    (None, Some(text)) => Some(self.of_envelope(text, Some(name))?),
                    (None, None) => None,
                };
                let json = Json::Object(vec![(name.clone().into(), one)]);
                let mut value = self.value(json, schema, enveloped.is_some());
                value.text = enveloped.is_none().then_some(text);
                Ok(value)
            }
        }
    }

    /// What a schema says of one of its fields, which has fields itself.
    pub fn part(&mut self, schema: &Arc<Schema>, name: &str) -> Result<Arc<Schema>, Rejection> {
        self.derived(schema, name, |schema| {
            let field = schema.fields.iter().find(|field| field.name == name);
            let ty = field.map_or_else(|| Type::Struct(Vec::new()), |field| field.slot.ty.clone());
            Schema::of(name, ty)
                .map_err(|why| Rejection::new("schema", format!("the record's schema: {name}: {why}")))
        })
    }

    /// A schema without one of its fields.
    pub fn without(&mut self, schema: &Arc<Schema>, name: &str) -> Arc<Schema> {
        let make = |schema: &Schema| {
            let mut schema = schema.clone();
            schema.fields.retain(|field| field.name != name);
            Ok(schema)
        };
        self.derived(schema, name, make).unwrap_or_else(|_| Arc::clone(schema))
    }

    fn derived(
        &mut self,
        of: &Arc<Schema>,
        name: &str,
        make: impl FnOnce(&Schema) -> Result<Schema, Rejection>,
    ) -> Result<Arc<Schema>, Rejection> {
        let known = self.parts.iter().find(|(known, part, _)| Arc::ptr_eq(known, of) && part == name);
        if let Some((_, _, part)) = known {
            return Ok(Arc::clone(part));
        }
        let part = Arc::new(make(of)?);
        if self.parts.len() >= PARTS_MAX {
            self.parts.remove(0);
        }
        self.parts.push((Arc::clone(of), name.to_owned(), Arc::clone(&part)));
        Ok(part)
    }

    /// The schema of an envelope; of one value, as that of a field of this name.
    fn of_envelope(&mut self, text: &str, name: Option<&str>) -> Result<Arc<Schema>, Rejection> {
        if let Some((known, schema)) = &self.last
            && known == text
        {
            return Ok(Arc::clone(schema));
        }
        let read = connect::read(text).and_then(|(own, slot)| match name {
            None => Schema::of(&own, slot.ty),
            Some(name) => Ok(Schema { name: own, fields: vec![Field { name: name.to_owned(), slot }] }),
        });
        let schema = read.map_err(|why| Rejection::new("schema", format!("the record's schema: {why}")))?;
        let schema = Arc::new(schema);
        self.last = Some((text.to_owned(), Arc::clone(&schema)));
        Ok(schema)
    }
}

/// The schema in an envelope, if there is one, and what is in it.
fn unwrapped(text: &str) -> (Option<&str>, &str) {
    match connect::envelope(text) {
        Some(("null", payload)) => (None, payload),
        Some((schema, payload)) => (Some(schema), payload),
        None => (None, text),
    }
}

impl<'a> Value<'a> {
    /// What is in it, and what is said of that; none: there is nothing.
    pub fn part(
        self,
        part: impl FnOnce(Json<'a>) -> Option<Json<'a>>,
        schema: Option<Arc<Schema>>,
    ) -> Option<Self> {
        Some(Self { json: part(self.json)?, schema, ..self })
    }
}

impl Value<'_> {
    /// The values of these columns, none of which may be null, whatever else there is.
    pub fn key(&self, columns: &[Field]) -> Result<Vec<Datum>, Rejection> {
        let mut members = Vec::with_capacity(columns.len());
        for column in columns {
            let value = match self.json.member(&column.name) {
                None | Some(Json::Null) => {
                    return Err(no_key(format!("{}: the row's key has no value for it", column.name)));
                }
                Some(value) => value.clone(),
            };
            // A word is text, whatever else it looks like.
            let value = match self.text.filter(|_| column.slot.ty == Type::Text && value.text().is_none()) {
                Some(text) => Json::Text(text.into()),
                None => value,
            };
            members.push((column.name.as_str().into(), value));
        }
        // A schema that doesn't know all of them is of something else.
        let schema = self.schema.as_ref().and_then(|schema| {
            let of = |column: &Field| schema.fields.iter().find(|field| field.name == column.name).cloned();
            let fields: Option<Vec<Field>> = columns.iter().map(of).collect();
            Some(Arc::new(Schema { name: schema.name.clone(), fields: fields? }))
        });
        let form = if schema.is_some() { self.form } else { Form::Table };
        let key = Value { json: Json::Object(members), schema, is_described: false, form, text: None };
        key.row(columns).map_err(|why| no_key(why.message))
    }

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

//! A value of a [`Type`], out of JSON.
//!
//! What JSON has no type for stands in it in one of two forms. In Kafka Connect's envelope as its JsonConverter writes it: numbers for
//! dates and times, base64 for bytes and for a decimal's two's complement. Otherwise also as people write it: `"12.50"`,
//! `"2026-11-27"`, `"08:30:00.5"`, `"2026-11-27T08:30:00Z"`.

pub mod decimal;
mod time;

use std::cmp::Ordering;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::json::Json;
use crate::types::{Field, Slot, Type, Unit};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// Nothing
    Null,
    /// Boolean
    Boolean(bool),
    /// Int, date, time in milliseconds
    Int(i32),
    /// Long, timestamp, time in microseconds
    Long(i64),
    /// Float
    Float(f32),
    /// Double
    Double(f64),
    /// Text
    Text(String),
    /// Bytes
    Bytes(Vec<u8>),
    /// A decimal's digits without its point
    Decimal(i128),
    /// Values
    List(Vec<Datum>),
    /// Values by text
    Map(Vec<(String, Datum)>),
    /// A value for each field
    Struct(Vec<Datum>),
}

/// How JSON has what it has no type for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As Kafka Connect's JsonConverter writes it.
    Connect,
    /// As people write it.
    Plain,
    /// The same, by a schema that was made of the values: what it left out has no columns.
    Inferred,
    /// As people write it, by the schema of a table, which counts microseconds: numbers for times and moments are milliseconds. Null has
    /// a column everywhere.
    Table,
}

impl Datum {
    /// Rough size in memory.
    pub fn bytes(&self) -> usize {
        16 + match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(values) | Self::Struct(values) => values.iter().map(Self::bytes).sum(),
            Self::Map(entries) => entries.iter().map(|(key, value)| key.len() + value.bytes()).sum(),
            _ => 0,
        }
    }

    /// The order of two values of one kind that has an order.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Boolean(one), Self::Boolean(other)) => Some(one.cmp(other)),
            (Self::Int(one), Self::Int(other)) => Some(one.cmp(other)),
            (Self::Long(one), Self::Long(other)) => Some(one.cmp(other)),
            (Self::Float(one), Self::Float(other)) => one.partial_cmp(other),
            (Self::Double(one), Self::Double(other)) => one.partial_cmp(other),
            (Self::Text(one), Self::Text(other)) => Some(one.cmp(other)),
            (Self::Bytes(one), Self::Bytes(other)) => Some(one.cmp(other)),
            (Self::Decimal(one), Self::Decimal(other)) => Some(one.cmp(other)),
            _ => None,
        }
    }

    /// The lesser of the two; the first one, if they have no order.
    #[must_use]
    pub fn least(self, other: Self) -> Self {
        if other.order(&self) == Some(Ordering::Less) { other } else { self }
    }

    /// The greater of the two; the first one, if they have no order.
    #[must_use]
    pub fn most(self, other: Self) -> Self {
        if other.order(&self) == Some(Ordering::Greater) { other } else { self }
    }
}

/// A row: a value for each column. The error names the column.
pub fn row(json: &Json<'_>, fields: &[Field], form: Form) -> Result<Vec<Datum>, String> {
    let Json::Object(members) = json else {
        return Err(format!("rows are made of objects, this value is {}", json.kind()));
    };
    let counts = |value: &Json<'_>| match form {
        Form::Inferred => false,
        Form::Table => !value.is_nothing(),
        Form::Connect | Form::Plain => true,
    };
    let mut unknown = members.iter().filter(|(_, value)| counts(value));
    if let Some((name, _)) = unknown.find(|(name, _)| fields.iter().all(|field| field.name != *name)) {
        return Err(format!("{name}: the schema has no such field"));
    }
    let value = |field: &Field| {
        let found = json.member(&field.name).unwrap_or(&Json::Null);
        slot(found, &field.slot, form).map_err(|why| match why.starts_with([' ', '.', '[']) {
            true => format!("{}{why}", field.name),
            false => format!("{}: {why}", field.name),
        })
    };
    fields.iter().map(value).collect()
}

fn slot(json: &Json<'_>, slot: &Slot, form: Form) -> Result<Datum, String> {
    match json {
        Json::Null if slot.optional => Ok(Datum::Null),
        Json::Null => Err("it is missing or null, and the schema wants a value".to_owned()),
        value => convert(value, &slot.ty, form),
    }
}

fn convert(json: &Json<'_>, ty: &Type, form: Form) -> Result<Datum, String> {
    let misfit = || Err(format!("{} is no {}", json.kind(), name(ty)));
    let range = |text: &str| format!("{text} is no {} or out of its range", name(ty));
    Ok(match (ty, json) {
        (Type::Boolean, Json::Bool(value)) => Datum::Boolean(*value),
        (Type::Int, Json::Number(text)) => Datum::Int(text.parse().map_err(|_| range(text))?),
        (Type::Long, Json::Number(text)) => Datum::Long(text.parse().map_err(|_| range(text))?),
        // What is too large is parsed as infinity.
        (Type::Float, Json::Number(text)) => Datum::Float(
            text.parse().ok().filter(|value: &f32| value.is_finite()).ok_or_else(|| range(text))?,
        ),
        (Type::Double, Json::Number(text)) => Datum::Double(
            text.parse().ok().filter(|value: &f64| value.is_finite()).ok_or_else(|| range(text))?,
        ),
        // JSON has no numbers for these.
        (Type::Float, Json::Text(text)) => Datum::Float(special(text).ok_or_else(|| range(text))? as f32),
        (Type::Double, Json::Text(text)) => Datum::Double(special(text).ok_or_else(|| range(text))?),
        (Type::Text, Json::Text(text)) => Datum::Text(text.to_string()),
        (Type::Bytes, Json::Text(text)) => Datum::Bytes(base64(text)?),
        (Type::Decimal { precision, scale }, json) => {
            let digits = match (json, form) {
                (Json::Text(text), Form::Connect) => decimal::unscaled(&base64(text)?),
                (Json::Text(text), _) => decimal::parse(text, *scale),
                (Json::Number(text), _) => decimal::parse(text, *scale),
                _ => return misfit(),
            };
            let digits = digits.filter(|digits| decimal::fits(*digits, *precision));
            Datum::Decimal(digits.ok_or_else(|| {
                format!(
                    "it doesn't fit into a decimal of {precision} digits, {scale} of them behind the point"
                )
            })?)
        }
        (Type::Date, Json::Number(text)) => Datum::Int(text.parse().map_err(|_| range(text))?),
        (Type::Date, Json::Text(text)) if form != Form::Connect => {
            Datum::Int(time::date(text).ok_or_else(|| range(text))?)
        }
        (Type::Time(unit), Json::Number(text)) => {
            let count = counted(text, *unit, form).filter(|count| time::is_of_day(*count, *unit));
            time::datum(count.ok_or_else(|| range(text))?, *unit)
        }
        (Type::Time(unit), Json::Text(text)) if form != Form::Connect => {
            time::datum(time::of_day(text, *unit).ok_or_else(|| range(text))?, *unit)
        }
        (Type::Timestamp { unit, .. }, Json::Number(text)) => {
            Datum::Long(counted(text, *unit, form).ok_or_else(|| range(text))?)
        }
        (Type::Timestamp { unit, local }, Json::Text(text)) if form != Form::Connect => {
            Datum::Long(time::moment(text, *unit, *local).ok_or_else(|| range(text))?)
        }
        (Type::List(element), Json::Array(values)) => {
            let value = |(at, value)| {
                slot(value, element, form).map_err(|why| match why.starts_with(['.', '[']) {
                    true => format!("[{at}]{why}"),
                    false => format!("[{at}]: {why}"),
                })
            };
            Datum::List(values.iter().enumerate().map(value).collect::<Result<_, _>>()?)
        }
        (Type::Map(values), Json::Object(members)) => {
            let mut entries: Vec<(String, Datum)> = Vec::with_capacity(members.len());
            for (key, value) in members {
                let datum = slot(value, values, form).map_err(|why| format!(".{key}: {why}"))?;
                match entries.iter_mut().find(|(known, _)| known == key) {
                    Some((_, known)) => *known = datum,
                    None => entries.push((key.to_string(), datum)),
                }
            }
            Datum::Map(entries)
        }
        (Type::Struct(fields), Json::Object(_)) => {
            Datum::Struct(row(json, fields, form).map_err(|why| format!(".{why}"))?)
        }
        _ => return misfit(),
    })
}

/// What a number for a time counts, in the column's unit.
fn counted(text: &str, unit: Unit, form: Form) -> Option<i64> {
    let count: i64 = text.parse().ok()?;
    match form {
        Form::Table => count.checked_mul(unit.per_second() / Unit::Millis.per_second()),
        _ => Some(count),
    }
}

fn base64(text: &str) -> Result<Vec<u8>, String> {
    BASE64_STANDARD.decode(text).map_err(|_| "text that is no base64".to_owned())
}

fn special(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// A type, for messages.
fn name(ty: &Type) -> &'static str {
    match ty {
        Type::Boolean => "boolean",
        Type::Int => "32-bit integer",
        Type::Long => "64-bit integer",
        Type::Float => "float",
        Type::Double => "double",
        Type::Text => "text",
        Type::Bytes => "bytes (base64)",
        Type::Decimal { .. } => "decimal",
        Type::Date => "date",
        Type::Time(_) => "time of day",
        Type::Timestamp { .. } => "timestamp",
        Type::List(_) => "array",
        Type::Map(_) => "map",
        Type::Struct(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Unit;

    fn one(ty: Type, json: &str, form: Form) -> Result<Datum, String> {
        let field = Field { name: "f".into(), slot: Slot { ty, optional: true } };
        let text = format!("{{\"f\":{json}}}");
        let mut row = row(&Json::read(&text).expect("JSON"), &[field], form)?;
        Ok(row.remove(0))
    }

    #[test]
    fn values_are_exact_or_refused() {
        let money = Type::Decimal { precision: 5, scale: 2 };
        assert_eq!(one(money.clone(), "\"12.5\"", Form::Plain), Ok(Datum::Decimal(1250)));
        assert_eq!(one(money.clone(), "-0.01", Form::Plain), Ok(Datum::Decimal(-1)));
        assert_eq!(one(money.clone(), "\"BOI=\"", Form::Connect), Ok(Datum::Decimal(1250)));
        assert_eq!(one(money.clone(), "\"/w==\"", Form::Connect), Ok(Datum::Decimal(-1)));
        for bad in ["1234.5", "0.001", "\"x\"", "true"] {
            assert!(one(money.clone(), bad, Form::Plain).is_err(), "{bad}");
        }
        assert_eq!(one(Type::Date, "\"1970-01-11\"", Form::Plain), Ok(Datum::Int(10)));
        assert_eq!(one(Type::Time(Unit::Millis), "\"00:00:01.5\"", Form::Plain), Ok(Datum::Int(1500)));
        let utc = Type::Timestamp { unit: Unit::Micros, local: false };
        assert_eq!(
            one(utc.clone(), "\"1970-01-01T01:00:00.5+01:00\"", Form::Plain),
            Ok(Datum::Long(500_000))
        );
        assert!(one(utc, "\"1970-01-01T01:00:00\"", Form::Plain).is_err(), "a moment needs its offset");
        let local = Type::Timestamp { unit: Unit::Millis, local: true };
        assert_eq!(one(local, "\"1970-01-01 00:00:01\"", Form::Plain), Ok(Datum::Long(1000)));
        assert!(one(Type::Int, "2147483648", Form::Plain).is_err());
        assert!(one(Type::Int, "1.0", Form::Plain).is_err());
        assert!(one(Type::Text, "1", Form::Plain).is_err());
        assert_eq!(one(Type::Double, "1.7976931348623157e308", Form::Plain), Ok(Datum::Double(f64::MAX)));
        assert_eq!(one(Type::Double, "\"-Infinity\"", Form::Plain), Ok(Datum::Double(f64::NEG_INFINITY)));
        let why = one(Type::Double, "1e400", Form::Plain).expect_err("no infinity");
        assert_eq!(why, "f: 1e400 is no double or out of its range");
        assert!(one(Type::Double, "-1e400", Form::Connect).is_err());
        assert!(one(Type::Float, "1e39", Form::Plain).is_err());
        assert_eq!(one(Type::Bytes, "\"AAE=\"", Form::Plain), Ok(Datum::Bytes(vec![0, 1])));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let inner = Field { name: "b".into(), slot: Slot { ty: Type::Long, optional: false } };
        let list = Type::List(Box::new(Slot { ty: Type::Struct(vec![inner]), optional: false }));
        let why = |json: &str| one(list.clone(), json, Form::Plain).expect_err("refused");
        assert_eq!(why("[{\"b\":1},{\"b\":\"x\"}]"), "f[1].b: text is no 64-bit integer");
        assert_eq!(why("[{}]"), "f[0].b: it is missing or null, and the schema wants a value");
        assert_eq!(why("[{\"b\":1,\"c\":2}]"), "f[0].c: the schema has no such field");
        assert_eq!(why("7"), "f: a number is no array");
    }
}

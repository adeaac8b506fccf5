//! JSON to Avro.
//!
//! The text is cut into its parts without being decoded (`RawValue`), so that a decimal of forty digits reaches its field as it was
//! written. A field that is missing takes its default, or null where its type allows that; a field that the schema doesn't have is an
//! error, because its value would be lost.
//!
//! Few bytes of JSON may stand for very many: defaults are filled in, and may hold what has defaults. [`FILLED_MAX`] and
//! [`RECORD_BYTES_MAX`] end that.

use std::borrow::Cow;
use std::cell::Cell;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millrace_schema::avro::{Avro, Fixed, Logical, Record, Type, TypeId};
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Bad, branch_name, branches, check_depth};
use crate::convert::raw::{Members, expected, members, parts, text};
use crate::convert::time::{self, Unit};
use crate::convert::{decimal, put_varint, zigzag};

/// Most values of one record that its JSON doesn't have: defaults, and what they are made of.
const FILLED_MAX: usize = 1 << 20;
/// Largest record.
const RECORD_BYTES_MAX: usize = 8 << 20;

/// Writes a JSON document as an Avro record behind what is in `out`.
pub(in crate::convert) fn from_json(schema: &Avro, json: &[u8], out: &mut Vec<u8>) -> Result<(), Bad> {
    let raw: &RawValue =
        serde_json::from_slice(json).map_err(|error| Bad::new(format!("not JSON: {error}")))?;
    let writer = Writer { schema, limit: out.len() + RECORD_BYTES_MAX, left: Cell::new(FILLED_MAX) };
    writer.value(schema.root(), raw.get(), out, 0)
}

struct Writer<'s> {
    schema: &'s Avro,
    /// Length of the output at which it is given up.
    limit: usize,
    /// How many values may still be filled in.
    left: Cell<usize>,
}

impl Writer<'_> {
    /// Before one more value.
    fn check(&self, out: &[u8], depth: usize) -> Result<(), Bad> {
        check_depth(depth)?;
        if out.len() > self.limit {
            return Err(Bad::new(format!("it comes to more than {RECORD_BYTES_MAX} bytes of Avro")));
        }
        Ok(())
    }

    /// Before so many values that the JSON doesn't have.
    fn fill(&self, count: usize) -> Result<(), Bad> {
        let left = self.left.get().checked_sub(count);
        self.left
            .set(left.ok_or_else(|| Bad::new(format!("more than {FILLED_MAX} values would be filled in")))?);
        Ok(())
    }

    /// `json` is one valid JSON value without white space around it.
    fn value(&self, id: TypeId, json: &str, out: &mut Vec<u8>, depth: usize) -> Result<(), Bad> {
        self.check(out, depth)?;
        match self.schema.get(id) {
            Type::Null if json == "null" => {}
            Type::Null => return Err(expected("null", json)),
            Type::Boolean => out.push(match json {
                "true" => 1,
                "false" => 0,
                _ => return Err(expected("true or false", json)),
            }),
            Type::Int(logical) => {
                let value = number(json, *logical)?;
                let value =
                    i32::try_from(value).map_err(|_| Bad::new(format!("{value} has no room in an int")))?;
                put_long(value.into(), out);
            }
            Type::Long(logical) => put_long(number(json, *logical)?, out),
            Type::Float => out.extend_from_slice(&float::<f32>(json)?.to_le_bytes()),
            Type::Double => out.extend_from_slice(&float::<f64>(json)?.to_le_bytes()),
            Type::Bytes(logical) => put_counted(&bytes(json, *logical)?, out),
            Type::String(_) => put_counted(text(json)?.as_bytes(), out),
            Type::Fixed(of) => out.extend_from_slice(&fixed(of, json)?),
            Type::Enum(of) => {
                let symbol = text(json)?;
                let place = of.symbols.iter().position(|known| *known == symbol);
                let place =
                    place.ok_or_else(|| Bad::new(format!("enum {} has no such symbol", of.names.full)))?;
                put_long(place as i64, out);
            }
            Type::Array(items) => {
                let parts: Vec<&RawValue> = parts(json, "an array", b'[')?;
                if !parts.is_empty() {
                    put_long(parts.len() as i64, out);
                }
                for (place, part) in parts.iter().enumerate() {
                    let within = |bad: Bad| bad.within(&place.to_string());
                    self.value(*items, part.get(), out, depth + 1).map_err(within)?;
                }
                put_long(0, out);
            }
            Type::Map(values) => {
                let Members(members) = members(json)?;
                if !members.is_empty() {
                    put_long(members.len() as i64, out);
                }
                for (name, part) in members {
                    put_counted(name.as_bytes(), out);
                    self.value(*values, part.get(), out, depth + 1).map_err(|bad| bad.within(&name))?;
                }
                put_long(0, out);
            }
            Type::Union(variants) => self.union(variants, json, out, depth)?,
            Type::Record(of) => self.record(of, json, out, depth)?,
        }
        Ok(())
    }

    fn record(&self, of: &Record, json: &str, out: &mut Vec<u8>, depth: usize) -> Result<(), Bad> {
        if !json.starts_with('{') {
            return Err(expected("an object", json));
        }
        let mut parts = vec![None; of.fields.len()];
        let fields = Fields { of, parts: &mut parts };
        serde_json::Deserializer::from_str(json)
            .deserialize_map(fields)
            .map_err(|error| Bad::new(without_place(&error)))?;
        self.fill(parts.iter().filter(|part| part.is_none()).count())?;
        for (field, part) in of.fields.iter().zip(parts) {
            let within = |bad: Bad| bad.within(&field.name);
            match (part, &field.default) {
                (Some(part), _) => self.value(field.is, part.get(), out, depth + 1).map_err(within)?,
                (None, Some(default)) => self.default(field.is, default, out, depth + 1).map_err(within)?,
                (None, None) if self.takes_null(field.is) => self.value(field.is, "null", out, depth + 1)?,
                (None, None) => return Err(Bad::new("it is missing and has no default").within(&field.name)),
            }
        }
        Ok(())
    }

    fn takes_null(&self, id: TypeId) -> bool {
        let is_null = |id: &TypeId| matches!(self.schema.get(*id), Type::Null);
        is_null(&id) || matches!(self.schema.get(id), Type::Union(variants) if variants.iter().any(is_null))
    }

    fn union(&self, variants: &[TypeId], json: &str, out: &mut Vec<u8>, depth: usize) -> Result<(), Bad> {
        let mut branch = |place: usize, json: &str| {
            put_long(place as i64, out);
            self.value(variants[place], json, out, depth + 1)
        };
        let of = |place: &usize| self.schema.get(variants[*place]);
        if json == "null" {
            let null = (0..variants.len()).find(|place| matches!(of(place), Type::Null));
            return null.map_or_else(
                || Err(Bad::new("null is not among the union's types")),
                |place| branch(place, json),
            );
        }
        let others = (0..variants.len()).filter(|place| !matches!(of(place), Type::Null));
        if branches(self.schema, variants) < 2 {
            let mut others = others;
            return others.next().map_or_else(|| Err(expected("null", json)), |place| branch(place, json));
        }
        // `{"<type>": value}` says which; else there must be one that it can be.
        if json.starts_with('{') {
            let Members(members) = members(json)?;
            if let [(name, part)] = members.as_slice()
                && let Some(place) = others.clone().find(|place| branch_name(of(place)) == name)
            {
                return branch(place, part.get());
            }
        }
        let mut fitting = others.filter(|place| may_be(of(place), json));
        match (fitting.next(), fitting.next()) {
            (Some(place), None) => branch(place, json),
            (None, _) => Err(Bad::new("it fits none of the union's types")),
            (Some(_), Some(_)) => {
                Err(Bad::new(r#"it fits several of the union's types; say which: {"<type>": value}"#))
            }
        }
    }

    /// A default of the schema, where bytes are texts of the characters 0 to 255, and a union is its first type (or, as Avro
    /// takes it since 1.12, any).
    fn default(&self, id: TypeId, default: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), Bad> {
        self.check(out, depth)?;
        self.fill(1)?;
        let latin = |text: &str| -> Result<Vec<u8>, Bad> {
            text.chars()
                .map(|c| u8::try_from(u32::from(c)).map_err(|_| Bad::new("its default is no bytes")))
                .collect()
        };
        match (self.schema.get(id), default) {
            (Type::Bytes(_), Value::String(text)) => put_counted(&latin(text)?, out),
            (Type::Fixed(of), Value::String(text)) => {
                let bytes = latin(text)?;
                if bytes.len() != of.size {
                    return Err(Bad::new(format!("its default has {} bytes, not {}", bytes.len(), of.size)));
                }
                out.extend_from_slice(&bytes);
            }
            (Type::Array(items), Value::Array(values)) => {
                if !values.is_empty() {
                    put_long(values.len() as i64, out);
                }
                values.iter().try_for_each(|value| self.default(*items, value, out, depth + 1))?;
                put_long(0, out);
            }
            (Type::Map(of), Value::Object(values)) => {
                if !values.is_empty() {
                    put_long(values.len() as i64, out);
                }
                for (name, value) in values {
                    put_counted(name.as_bytes(), out);
                    self.default(*of, value, out, depth + 1)?;
                }
                put_long(0, out);
            }
            (Type::Union(variants), value) => {
                for (place, variant) in variants.iter().enumerate() {
                    let mut tried = Vec::new();
                    put_long(place as i64, &mut tried);
                    if self.default(*variant, value, &mut tried, depth + 1).is_ok() {
                        out.extend_from_slice(&tried);
                        return Ok(());
                    }
                }
                return Err(Bad::new("its default fits none of the union's types"));
            }
            (Type::Record(of), Value::Object(values)) => {
                for field in &of.fields {
                    let value = values.get(&field.name).or(field.default.as_ref());
                    let value =
                        value.ok_or_else(|| Bad::new("its default is incomplete").within(&field.name))?;
                    self.default(field.is, value, out, depth + 1)?;
                }
            }
            (_, value) => self.value(id, &value.to_string(), out, depth + 1)?,
        }
        Ok(())
    }
}

/// Whether a value that is not null may be of this type, by its first character.
fn may_be(of: &Type, json: &str) -> bool {
    let first = json.as_bytes().first().copied().unwrap_or_default();
    match of {
        Type::Null | Type::Union(_) => false,
        Type::Boolean => matches!(first, b't' | b'f'),
        Type::Int(Logical::None) | Type::Long(Logical::None) => {
            matches!(first, b'-' | b'0'..=b'9') && !json.contains(['.', 'e', 'E'])
        }
        Type::Float | Type::Double => matches!(first, b'-' | b'0'..=b'9'),
        Type::Int(_) | Type::Long(_) => matches!(first, b'"' | b'-' | b'0'..=b'9'),
        Type::Bytes(Logical::Decimal { .. }) => matches!(first, b'"' | b'-' | b'0'..=b'9'),
        Type::Bytes(_) | Type::String(_) => first == b'"',
        Type::Enum(of) => text(json).is_ok_and(|symbol| of.symbols.iter().any(|known| *known == symbol)),
        Type::Fixed(Fixed { logical: Logical::Duration, .. }) | Type::Map(_) | Type::Record(_) => {
            first == b'{'
        }
        Type::Fixed(_) => first == b'"',
        Type::Array(_) => first == b'[',
    }
}

fn number(json: &str, logical: Logical) -> Result<i64, Bad> {
    if !json.starts_with('"') {
        return decimal::whole(json).ok_or_else(|| expected("a whole number of 64 bits", json));
    }
    let text = text(json)?;
    let (parsed, shape) = match logical {
        Logical::Date => (time::date(&text), "a date such as 2026-01-31"),
        Logical::TimeMillis => (time::time(&text, Unit::Millis), "a time such as 12:34:56.789"),
        Logical::TimeMicros => (time::time(&text, Unit::Micros), "a time such as 12:34:56.789012"),
        Logical::TimestampMillis => {
            (time::timestamp(&text, Unit::Millis, true), "an instant such as 2026-01-31T12:34:56.789Z")
        }
        Logical::TimestampMicros => {
            (time::timestamp(&text, Unit::Micros, true), "an instant such as 2026-01-31T12:34:56.789012Z")
        }
        Logical::TimestampNanos => {
            (time::timestamp(&text, Unit::Nanos, true), "an instant such as 2026-01-31T12:34:56.789012345Z")
        }
        Logical::LocalTimestampMillis => {
            (time::timestamp(&text, Unit::Millis, false), "a date and time such as 2026-01-31T12:34:56.789")
        }
        Logical::LocalTimestampMicros => (
            time::timestamp(&text, Unit::Micros, false),
            "a date and time such as 2026-01-31T12:34:56.789012",
        ),
        Logical::LocalTimestampNanos => (
            time::timestamp(&text, Unit::Nanos, false),
            "a date and time such as 2026-01-31T12:34:56.789012345",
        ),
        _ => (None, "a whole number of 64 bits"),
    };
    parsed.ok_or_else(|| expected(shape, json))
}

fn float<T: std::str::FromStr + From<f32> + PartialEq>(json: &str) -> Result<T, Bad> {
    match json {
        "\"NaN\"" => Ok(f32::NAN.into()),
        "\"Infinity\"" => Ok(f32::INFINITY.into()),
        "\"-Infinity\"" => Ok(f32::NEG_INFINITY.into()),
        json if json.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) => {
            let value: T = json.parse().map_err(|_| expected("a number", json))?;
            if value == f32::INFINITY.into() || value == f32::NEG_INFINITY.into() {
                return Err(Bad::new("the number is out of range"));
            }
            Ok(value)
        }
        json => Err(expected("a number", json)),
    }
}

fn bytes(json: &str, logical: Logical) -> Result<Vec<u8>, Bad> {
    if let Logical::Decimal { precision, scale } = logical {
        return Ok(decimal::unscaled(&decimal_text(json)?, precision, scale)?.to_signed_bytes_be());
    }
    let text = text(json)?;
    STANDARD.decode(text.as_bytes()).map_err(|error| Bad::new(format!("it is not base64: {error}")))
}

/// Decimals are texts or numbers, either way exact.
fn decimal_text(json: &str) -> Result<Cow<'_, str>, Bad> {
    if json.starts_with('"') { text(json) } else { Ok(Cow::Borrowed(json)) }
}

fn fixed(of: &Fixed, json: &str) -> Result<Vec<u8>, Bad> {
    let made = match of.logical {
        Logical::Decimal { precision, scale } => {
            let value = decimal::unscaled(&decimal_text(json)?, precision, scale)?;
            let digits = value.to_signed_bytes_be();
            let sign = if value.sign() == num_bigint::Sign::Minus { 0xff } else { 0 };
            let room = of
                .size
                .checked_sub(digits.len())
                .ok_or_else(|| Bad::new("the decimal is too large for its fixed"))?;
            std::iter::repeat_n(sign, room).chain(digits).collect()
        }
        Logical::Duration => {
            let Members(members) = members(json)?;
            let part = |name: &str| {
                let found = members.iter().find(|(of, _)| of == name).map(|(_, part)| part.get());
                found
                    .and_then(|json| json.parse::<u32>().ok())
                    .ok_or_else(|| Bad::new("a duration has months, days and millis"))
            };
            [part("months")?, part("days")?, part("millis")?]
                .iter()
                .flat_map(|part| part.to_le_bytes())
                .collect()
        }
        Logical::Uuid => {
            let text = text(json)?;
            let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
            let pairs = digits.chunks(2).map(|pair| {
                std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())
            });
            let bytes: Option<Vec<u8>> = pairs.collect();
            bytes.filter(|bytes| bytes.len() == 16).ok_or_else(|| expected("a UUID", json))?
        }
        logical => bytes(json, logical)?,
    };
    if made.len() == of.size {
        Ok(made)
    } else {
        Err(Bad::new(format!("{} bytes instead of {}", made.len(), of.size)))
    }
}

fn put_long(value: i64, out: &mut Vec<u8>) {
    put_varint(zigzag(value), out);
}

fn put_counted(bytes: &[u8], out: &mut Vec<u8>) {
    put_long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

/// serde_json's messages without line and column of a part that nobody sees.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

/// Puts the members of an object where their fields are.
struct Fields<'r, 'p, 'de> {
    of: &'r Record,
    parts: &'p mut Vec<Option<&'de RawValue>>,
}

impl<'de> Visitor<'de> for Fields<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut next = 0;
        while let Some(place) = map.next_key_seed(Place { of: self.of, next })? {
            if self.parts[place].is_some() {
                return Err(A::Error::custom(format!(
                    "field `{}` is there twice",
                    self.of.fields[place].name
                )));
            }
            self.parts[place] = Some(map.next_value()?);
            next = place + 1;
        }
        Ok(())
    }
}

/// Finds a name among the fields of a record; members usually come in their order.
struct Place<'r> {
    of: &'r Record,
    next: usize,
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<usize, E> {
        let fields = &self.of.fields;
        if fields.get(self.next).is_some_and(|field| field.name == name) {
            return Ok(self.next);
        }
        let found = fields.iter().position(|field| field.name == name);
        found.ok_or_else(|| {
            E::custom(format!(
                "record {} has no field `{name}`, and its value would be lost",
                self.of.names.full
            ))
        })
    }
}

//! Payloads to the JSON that connectors see (docs/FORMATS.md), and back: what a number or a text in base64 stands for becomes text
//! that says so.
//!
//! Recursive, up to [`DEPTH_MAX`]. A default may stand for a null again and again: the output ends at [`JSON_BYTES_MAX`].

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::semantics::Semantics;
use super::{ConnectSchema, DEPTH_MAX, Field, Is};
use crate::convert::raw::{Members, expected, members, parts, text};
use crate::convert::time;
use crate::convert::{Bad, Decimals, JSON_BYTES_MAX, decimal, put_text};

/// Writes a payload as plain JSON behind what is in `out`.
pub(in crate::convert) fn to_plain(
    schema: &ConnectSchema,
    payload: &str,
    decimals: Decimals,
    out: &mut Vec<u8>,
) -> Result<(), Bad> {
    Writer { way: Way::ToPlain(decimals), limit: out.len() + JSON_BYTES_MAX }.put(schema, payload, out, 0)
}

/// Writes plain JSON as a payload behind what is in `out`.
pub(in crate::convert) fn to_payload(
    schema: &ConnectSchema,
    plain: &str,
    out: &mut Vec<u8>,
) -> Result<(), Bad> {
    Writer { way: Way::ToPayload, limit: out.len() + JSON_BYTES_MAX }.put(schema, plain, out, 0)
}

#[derive(Clone, Copy)]
enum Way {
    ToPlain(Decimals),
    ToPayload,
}

struct Writer {
    way: Way,
    /// Length of the output at which it is given up.
    limit: usize,
}

impl Writer {
    fn put(&self, schema: &ConnectSchema, json: &str, out: &mut Vec<u8>, depth: usize) -> Result<(), Bad> {
        if depth > DEPTH_MAX {
            return Err(Bad::new(format!("nested more than {DEPTH_MAX} levels")));
        }
        if out.len() > self.limit {
            return Err(Bad::new(format!("it comes to more than {JSON_BYTES_MAX} bytes of JSON")));
        }
        if json == "null" {
            return self.null(schema, out, depth);
        }
        match &schema.is {
            Is::Array(items) => {
                let parts = parts(json, "an array", b'[')?;
                list(b"[]", parts.iter().enumerate(), out, |(place, part), out| {
                    let within = |bad: Bad| bad.within(&place.to_string());
                    self.put(items, part.get(), out, depth + 1).map_err(within)
                })
            }
            Is::Map(keys, values) => self.map(keys, values, json, out, depth),
            Is::Struct(fields) => self.record(fields, json, out, depth),
            _ => match self.way {
                Way::ToPlain(decimals) => plain(schema, json, decimals, out),
                Way::ToPayload => payload(schema, json, out),
            },
        }
    }

    fn null(&self, schema: &ConnectSchema, out: &mut Vec<u8>, depth: usize) -> Result<(), Bad> {
        match (&schema.default, self.way) {
            // Kafka Connect: `replace.null.with.default`.
            (Some(default), Way::ToPlain(_)) => self.put(schema, &default.to_string(), out, depth + 1),
            _ if schema.optional => {
                out.extend_from_slice(b"null");
                Ok(())
            }
            _ => Err(Bad::new("it is null or missing, and is not optional")),
        }
    }

    /// A member that the schema doesn't have is passed over, as Kafka Connect does.
    fn record(&self, fields: &[Field], json: &str, out: &mut Vec<u8>, depth: usize) -> Result<(), Bad> {
        let Members(members) = members(json)?;
        let find = |place: usize, name: &str| -> Option<&RawValue> {
            // Members usually come in the order of the fields.
            let here = members.get(place).filter(|(known, _)| known == name);
            here.or_else(|| members.iter().find(|(known, _)| known == name)).map(|(_, part)| *part)
        };
        list(b"{}", fields.iter().enumerate(), out, |(place, Field { name, schema }), out| {
            put_text(name, out);
            out.push(b':');
            let part = find(place, name).map_or("null", RawValue::get);
            self.put(schema, part, out, depth + 1).map_err(|bad| bad.within(name))
        })
    }

    /// A map is an object if its keys are texts, else a list: of pairs in a payload, of `{"key": ..., "value": ...}` in plain JSON,
    /// where a text that is more than that is no plain key, either.
    fn map(
        &self,
        keys: &ConnectSchema,
        values: &ConnectSchema,
        json: &str,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Bad> {
        let made;
        let entries: Vec<(&str, &RawValue)> = if json.starts_with('{') {
            let Members(members) = members(json)?;
            let quoted = members.into_iter().map(|(name, part)| {
                let mut text = Vec::new();
                put_text(&name, &mut text);
                (String::from_utf8(text).unwrap_or_default(), part)
            });
            made = quoted.collect::<Vec<_>>();
            made.iter().map(|(name, part)| (name.as_str(), *part)).collect()
        } else {
            let pairs = parts(json, "a map", b'[')?;
            pairs.iter().map(|pair| self.entry(pair.get())).collect::<Result<_, _>>()?
        };
        let as_object = match self.way {
            Way::ToPlain(_) => keys.is_plain_text(),
            Way::ToPayload => keys.is == Is::String,
        };
        list(if as_object { b"{}" } else { b"[]" }, entries.into_iter(), out, |(key, value), out| {
            let (before, between, behind): (&[u8], &[u8], &[u8]) = match (as_object, self.way) {
                (true, _) => (b"", b":", b""),
                (false, Way::ToPlain(_)) => (br#"{"key":"#, br#","value":"#, b"}"),
                (false, Way::ToPayload) => (b"[", b",", b"]"),
            };
            out.extend_from_slice(before);
            if as_object && !key.starts_with('"') {
                return Err(expected("text as a key", key));
            }
            self.put(keys, key, out, depth + 1).map_err(|bad| bad.within("key"))?;
            out.extend_from_slice(between);
            self.put(values, value.get(), out, depth + 1).map_err(|bad| bad.within("value"))?;
            out.extend_from_slice(behind);
            Ok(())
        })
    }

    /// Key and value of an entry of a map that is a list.
    fn entry<'j>(&self, json: &'j str) -> Result<(&'j str, &'j RawValue), Bad> {
        let broken = || Bad::new("an entry of a map is no pair");
        match self.way {
            Way::ToPlain(_) => match parts(json, "a pair", b'[')?.as_slice() {
                [key, value] => Ok((key.get(), *value)),
                _ => Err(broken()),
            },
            Way::ToPayload => {
                let Members(members) = members(json)?;
                let find =
                    |name: &str| members.iter().find(|(known, _)| known == name).map(|(_, part)| *part);
                let (key, value) = find("key").zip(find("value")).ok_or_else(broken)?;
                Ok((key.get(), value))
            }
        }
    }
}

/// Something between brackets, with commas.
fn list<T>(
    brackets: &[u8; 2],
    items: impl Iterator<Item = T>,
    out: &mut Vec<u8>,
    mut put: impl FnMut(T, &mut Vec<u8>) -> Result<(), Bad>,
) -> Result<(), Bad> {
    out.push(brackets[0]);
    for (place, item) in items.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        put(item, out)?;
    }
    out.push(brackets[1]);
    Ok(())
}

/// A value without parts, of a payload.
fn plain(schema: &ConnectSchema, json: &str, decimals: Decimals, out: &mut Vec<u8>) -> Result<(), Bad> {
    let semantics = Semantics::of(schema);
    if let Semantics::Decimal(scale) = semantics {
        let quote: &[u8] = if decimals == Decimals::Text { b"\"" } else { b"" };
        out.extend_from_slice(quote);
        match json.starts_with('"') {
            true => decimal::put(&base64(json)?, scale, out)?,
            // `decimal.format=NUMERIC` of the converter that wrote it.
            false => out.extend_from_slice(number(json)?.as_bytes()),
        }
        out.extend_from_slice(quote);
        return Ok(());
    }
    let Some(value) = whole(&schema.is, json)? else { return checked(&schema.is, json, out) };
    out.push(b'"');
    match semantics {
        Semantics::Date => time::put_date(value, out),
        Semantics::Instant(unit) => {
            time::put_timestamp(value, unit, out);
            out.push(b'Z');
        }
        Semantics::Local(unit) => time::put_timestamp(value, unit, out),
        Semantics::Time(unit) if time::put_time(value, unit, out) => {}
        _ => {
            // A number after all.
            out.pop();
            put_number(value, out);
            return Ok(());
        }
    }
    out.push(b'"');
    Ok(())
}

/// A value without parts, of plain JSON.
fn payload(schema: &ConnectSchema, json: &str, out: &mut Vec<u8>) -> Result<(), Bad> {
    let semantics = Semantics::of(schema);
    if let Semantics::Decimal(scale) = semantics {
        let text = if json.starts_with('"') { text(json)? } else { json.into() };
        let unscaled = decimal::unscaled(&text, usize::MAX, scale)?;
        put_text(&STANDARD.encode(unscaled.to_signed_bytes_be()), out);
        return Ok(());
    }
    if !json.starts_with('"') {
        return match whole(&schema.is, json)? {
            Some(value) => {
                put_number(value, out);
                Ok(())
            }
            None => checked(&schema.is, json, out),
        };
    }
    let shown = text(json)?;
    let value = match semantics {
        Semantics::Date => time::date(&shown),
        Semantics::Time(unit) => time::time(&shown, unit),
        Semantics::Instant(unit) => time::timestamp(&shown, unit, true),
        Semantics::Local(unit) => time::timestamp(&shown, unit, false),
        Semantics::None | Semantics::Uuid | Semantics::Decimal(_) => return checked(&schema.is, json, out),
    };
    put_number(value.ok_or_else(|| expected("a date or time", json))?, out);
    Ok(())
}

/// The number, if it is one of the types that are whole.
fn whole(is: &Is, json: &str) -> Result<Option<i64>, Bad> {
    let (least, most) = match is {
        Is::Int8 => (i8::MIN.into(), i8::MAX.into()),
        Is::Int16 => (i16::MIN.into(), i16::MAX.into()),
        Is::Int32 => (i32::MIN.into(), i32::MAX.into()),
        Is::Int64 => (i64::MIN, i64::MAX),
        _ => return Ok(None),
    };
    let value = decimal::whole(json).ok_or_else(|| expected("a whole number of 64 bits", json))?;
    match (least..=most).contains(&value) {
        true => Ok(Some(value)),
        false => Err(Bad::new(format!("{value} is not between {least} and {most}"))),
    }
}

/// As it stands there, if it is of the type.
fn checked(is: &Is, json: &str, out: &mut Vec<u8>) -> Result<(), Bad> {
    let first = json.as_bytes().first().copied().unwrap_or_default();
    let fits = match is {
        Is::Boolean => matches!(first, b't' | b'f'),
        Is::String | Is::Bytes => first == b'"',
        _ => {
            matches!(first, b'-' | b'0'..=b'9')
                || matches!(json, r#""NaN""# | r#""Infinity""# | r#""-Infinity""#)
        }
    };
    if !fits {
        let what = match is {
            Is::Boolean => "true or false",
            Is::String => "text",
            Is::Bytes => "text in base64",
            _ => "a number",
        };
        return Err(expected(what, json));
    }
    out.extend_from_slice(json.as_bytes());
    Ok(())
}

fn number(json: &str) -> Result<&str, Bad> {
    match json.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Ok(json),
        _ => Err(expected("a number", json)),
    }
}

fn base64(json: &str) -> Result<Vec<u8>, Bad> {
    STANDARD.decode(text(json)?.as_bytes()).map_err(|error| Bad::new(format!("it is not base64: {error}")))
}

fn put_number(value: i64, out: &mut Vec<u8>) {
    // Writing to a Vec doesn't fail.
    let _ = write!(out, "{value}");
}

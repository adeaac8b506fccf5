//! Kafka Connect's JSON with a schema beside each value: `{"schema": ..., "payload": ...}` (`JsonConverter` with
//! `schemas.enable=true`), to plain JSON.
//!
//! Logical types become what they are in Avro's mapping: Connect's `Decimal` (base64 of the unscaled value) text or a number,
//! `Date`, `Time` and `Timestamp` ISO 8601. A map whose keys are not texts, an array of pairs in the envelope, stays one.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::time::{self, Unit};
use super::{Bad, Decimals, JSON_BYTES_MAX, decimal, put_text};

/// Deepest nesting of a payload.
const DEPTH_MAX: usize = 64;

/// Writes the payload as JSON behind what is in `out`; false: the whole is null.
pub(super) fn to_json(bytes: &[u8], decimals: Decimals, out: &mut Vec<u8>) -> Result<bool, Bad> {
    let envelope: Value =
        serde_json::from_slice(bytes).map_err(|error| Bad::new(format!("not JSON: {error}")))?;
    let parts = envelope
        .as_object()
        .filter(|parts| parts.len() == 2)
        .and_then(|parts| parts.get("schema").zip(parts.get("payload")));
    let Some((schema, payload)) = parts else {
        let hint = "it has to be {\"schema\": ..., \"payload\": ...}; is `schemas_enable` meant?";
        return Err(Bad::new(hint));
    };
    if schema.is_null() {
        if payload.is_null() {
            return Ok(false);
        }
        put_value(payload, out);
        return Ok(true);
    }
    if payload.is_null() {
        return Ok(false);
    }
    Writer { decimals, limit: out.len() + JSON_BYTES_MAX }.put(schema, payload, out, 0)?;
    Ok(true)
}

struct Writer {
    decimals: Decimals,
    /// Length of the output at which it is given up.
    limit: usize,
}

impl Writer {
    fn put(&self, schema: &Value, payload: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), Bad> {
        if depth > DEPTH_MAX {
            return Err(Bad::new(format!("nested more than {DEPTH_MAX} levels")));
        }
        // Names and defaults of the schema may stand for very little of the payload.
        if out.len() > self.limit {
            return Err(Bad::new(format!("it comes to more than {JSON_BYTES_MAX} bytes of JSON")));
        }
        let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
        match (kind, payload) {
            (_, Value::Null) => {
                let default = schema.get("default").unwrap_or(&Value::Null);
                match default {
                    Value::Null => out.extend_from_slice(b"null"),
                    default => self.put(schema, default, out, depth + 1)?,
                }
            }
            ("struct", Value::Object(members)) => {
                out.push(b'{');
                let fields = schema.get("fields").and_then(Value::as_array);
                for (place, field) in fields.into_iter().flatten().enumerate() {
                    let name = field
                        .get("field")
                        .and_then(Value::as_str)
                        .ok_or_else(|| Bad::new("a field of its schema has no name"))?;
                    if place > 0 {
                        out.push(b',');
                    }
                    put_text(name, out);
                    out.push(b':');
                    let member = members.get(name).unwrap_or(&Value::Null);
                    self.put(field, member, out, depth + 1).map_err(|bad| bad.within(name))?;
                }
                out.push(b'}');
            }
            ("array", Value::Array(items)) => {
                let of = schema.get("items").unwrap_or(&Value::Null);
                list(items, out, |item, out| self.put(of, item, out, depth + 1))?;
            }
            ("map", Value::Object(members)) => {
                let of = schema.get("values").unwrap_or(&Value::Null);
                out.push(b'{');
                for (place, (name, member)) in members.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    put_text(name, out);
                    out.push(b':');
                    self.put(of, member, out, depth + 1).map_err(|bad| bad.within(name))?;
                }
                out.push(b'}');
            }
            ("map", Value::Array(pairs)) => {
                let (keys, values) = (
                    schema.get("keys").unwrap_or(&Value::Null),
                    schema.get("values").unwrap_or(&Value::Null),
                );
                list(pairs, out, |pair, out| {
                    let Some([key, value]) = pair.as_array().map(Vec::as_slice) else {
                        return Err(Bad::new("an entry of a map is no pair"));
                    };
                    out.push(b'[');
                    self.put(keys, key, out, depth + 1)?;
                    out.push(b',');
                    self.put(values, value, out, depth + 1)?;
                    out.push(b']');
                    Ok(())
                })?;
            }
            _ => logical(schema, payload, self.decimals, out)?,
        }
        Ok(())
    }
}

fn list<'v>(
    items: &'v [Value],
    out: &mut Vec<u8>,
    mut put: impl FnMut(&'v Value, &mut Vec<u8>) -> Result<(), Bad>,
) -> Result<(), Bad> {
    out.push(b'[');
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        put(item, out).map_err(|bad| bad.within(&place.to_string()))?;
    }
    out.push(b']');
    Ok(())
}

fn logical(schema: &Value, payload: &Value, decimals: Decimals, out: &mut Vec<u8>) -> Result<(), Bad> {
    let name = schema.get("name").and_then(Value::as_str).unwrap_or_default();
    match (name.strip_prefix("org.apache.kafka.connect.data."), payload) {
        // `decimal.format=NUMERIC` of the converter that wrote it.
        (Some("Decimal"), Value::Number(number)) if decimals == Decimals::Text => {
            put_text(&number.to_string(), out)
        }
        (Some("Decimal"), Value::String(text)) => {
            let scale = schema
                .pointer("/parameters/scale")
                .and_then(Value::as_str)
                .and_then(|scale| scale.parse().ok());
            let scale = scale.ok_or_else(|| Bad::new("a decimal without a scale of 0 or more"))?;
            let unscaled = STANDARD
                .decode(text)
                .map_err(|error| Bad::new(format!("a decimal is not base64: {error}")))?;
            let quote: &[u8] = if decimals == Decimals::Text { b"\"" } else { b"" };
            out.extend_from_slice(quote);
            decimal::put(&unscaled, scale, out)?;
            out.extend_from_slice(quote);
        }
        (Some("Date"), Value::Number(number)) if number.is_i64() => {
            out.push(b'"');
            time::put_date(
                i64::from(number.as_i64().and_then(|days| i32::try_from(days).ok()).unwrap_or_default()),
                out,
            );
            out.push(b'"');
        }
        (Some("Timestamp"), Value::Number(number)) if number.is_i64() => {
            out.push(b'"');
            time::put_timestamp(number.as_i64().unwrap_or_default(), Unit::Millis, out);
            out.extend_from_slice(b"Z\"");
        }
        (Some("Time"), Value::Number(number))
            if number.as_i64().is_some_and(|ms| (0..86_400_000).contains(&ms)) =>
        {
            out.push(b'"');
            time::put_time(number.as_i64().unwrap_or_default(), Unit::Millis, out);
            out.push(b'"');
        }
        _ => put_value(payload, out),
    }
    Ok(())
}

fn put_value(value: &Value, out: &mut Vec<u8>) {
    // Writing to a Vec doesn't fail.
    let _ = write!(out, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str, decimals: Decimals) -> Result<String, String> {
        let mut out = Vec::new();
        let is_there = to_json(text.as_bytes(), decimals, &mut out).map_err(|bad| bad.to_string())?;
        Ok(if is_there { String::from_utf8(out).unwrap() } else { "-".to_owned() })
    }

    #[test]
    fn logical_types_become_what_they_stand_for() {
        let field = |name: &str, more: &str| format!(r#"{{"field":"{name}","optional":true,{more}}}"#);
        let logical = |name: &str| format!(r#""type":"int64","name":"org.apache.kafka.connect.data.{name}""#);
        let schema = [
            field(
                "price",
                r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}"#,
            ),
            field("day", &logical("Date")),
            field("at", &logical("Timestamp")),
            field("time", &logical("Time")),
            field("n", r#""type":"int64""#),
            field("tags", r#""type":"array","items":{"type":"string"}"#),
            field("missing", r#""type":"string""#),
        ]
        .join(",");
        let text = format!(
            r#"{{"schema":{{"type":"struct","fields":[{schema}]}},"payload":{{"price":"BNI=","day":19782,"at":-1,"time":1,"n":9223372036854775807,"tags":["a"]}}}}"#
        );
        let rest = r#","day":"2024-02-29","at":"1969-12-31T23:59:59.999Z","time":"00:00:00.001","n":9223372036854775807,"tags":["a"],"missing":null}"#;
        assert_eq!(plain(&text, Decimals::Text).unwrap(), format!(r#"{{"price":"12.34"{rest}"#));
        assert_eq!(plain(&text, Decimals::Numbers).unwrap(), format!(r#"{{"price":12.34{rest}"#));
    }

    #[test]
    fn nulls_and_what_is_no_envelope() {
        assert_eq!(plain(r#"{"schema":null,"payload":null}"#, Decimals::Text).unwrap(), "-");
        assert_eq!(plain(r#"{"schema":null,"payload":[1]}"#, Decimals::Text).unwrap(), "[1]");
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"schema":{},"payload":1,"more":2}"#,
            r#"{"schema":{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal"},"payload":"!"}"#,
        ] {
            assert!(plain(bad, Decimals::Text).is_err(), "{bad}");
        }
        let deep = format!(
            r#"{{"schema":{}"x"{},"payload":{}1{}}}"#,
            r#"{"type":"array","items":"#.repeat(60),
            "}".repeat(60),
            "[".repeat(60),
            "]".repeat(60)
        );
        assert!(plain(&deep, Decimals::Text).is_ok());
    }

    #[test]
    fn a_default_that_is_large_very_often_ends_at_a_limit() {
        let text = format!(
            r#"{{"schema":{{"type":"array","items":{{"type":"string","default":"{}"}}}},"payload":[{}null]}}"#,
            "x".repeat(100_000),
            "null,".repeat(1_000)
        );
        assert_eq!(
            plain(&text, Decimals::Text).unwrap_err(),
            "at /84: it comes to more than 8388608 bytes of JSON"
        );
    }
}

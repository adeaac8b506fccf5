//! A schema as it stands in an envelope.

use std::io::Write;

use serde_json::{Map, Value};

use super::{ConnectSchema, DEPTH_MAX, Field, Is};
use crate::convert::{Bad, put_text};

/// Names of the types without parts.
const PLAIN: &[(&str, Is)] = &[
    ("int8", Is::Int8),
    ("int16", Is::Int16),
    ("int32", Is::Int32),
    ("int64", Is::Int64),
    ("float", Is::Float),
    ("double", Is::Double),
    ("boolean", Is::Boolean),
    ("string", Is::String),
    ("bytes", Is::Bytes),
];

impl ConnectSchema {
    /// Reads the schema of an envelope.
    pub(in crate::convert) fn parse(text: &str) -> Result<Self, Bad> {
        let value = serde_json::from_str(text).map_err(|error| Bad::new(format!("not JSON: {error}")))?;
        of(&value, 0).map_err(|bad| bad.within("schema"))
    }

    /// The same as it is written.
    pub(in crate::convert) fn print(&self) -> String {
        let mut out = Vec::new();
        put(self, None, &mut out);
        String::from_utf8(out).unwrap_or_default()
    }
}

/// Recursive, up to [`DEPTH_MAX`].
fn of(value: &Value, depth: usize) -> Result<ConnectSchema, Bad> {
    if depth > DEPTH_MAX {
        return Err(Bad::new(format!("nested more than {DEPTH_MAX} levels")));
    }
    let Value::Object(members) = value else { return Err(Bad::new("a schema has to be an object")) };
    let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
    let kind = text("type").ok_or_else(|| Bad::new("a schema without a type"))?;
    let part = |name: &str| match members.get(name) {
        Some(part) => of(part, depth + 1).map(Box::new).map_err(|bad| bad.within(name)),
        None => Err(Bad::new(format!("a schema of type {kind} without `{name}`"))),
    };
    let is = match kind.as_str() {
        "array" => Is::Array(part("items")?),
        "map" => Is::Map(part("keys")?, part("values")?),
        "struct" => Is::Struct(fields(members, depth)?),
        plain => match PLAIN.iter().find(|(name, _)| *name == plain) {
            Some((_, is)) => is.clone(),
            None => return Err(Bad::new(format!("a schema of the unknown type {kind}"))),
        },
    };
    let parameters = members.get("parameters").and_then(Value::as_object).into_iter().flatten();
    let parameter = |(name, value): (&String, &Value)| match value {
        Value::String(text) => (name.clone(), text.clone()),
        other => (name.clone(), other.to_string()),
    };
    Ok(ConnectSchema {
        is,
        optional: members.get("optional").and_then(Value::as_bool).unwrap_or(false),
        name: text("name"),
        version: members.get("version").and_then(Value::as_i64),
        doc: text("doc"),
        parameters: parameters.map(parameter).collect(),
        default: members.get("default").filter(|default| !default.is_null()).cloned(),
    })
}

fn fields(members: &Map<String, Value>, depth: usize) -> Result<Vec<Field>, Bad> {
    let fields = members.get("fields").and_then(Value::as_array).into_iter().flatten();
    let mut made: Vec<Field> = Vec::new();
    for field in fields {
        let name = field.get("field").and_then(Value::as_str);
        let name = name.ok_or_else(|| Bad::new("a field of a struct has no name"))?.to_owned();
        let schema = of(field, depth + 1).map_err(|bad| bad.within(&name))?;
        made.push(Field { name, schema });
    }
    let mut names: Vec<&str> = made.iter().map(|field| field.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Bad::new(format!("field `{}` is there twice", pair[0]))),
        None => Ok(made),
    }
}

/// In Kafka Connect's order.
fn put(schema: &ConnectSchema, field: Option<&str>, out: &mut Vec<u8>) {
    let member = |name: &str, out: &mut Vec<u8>| {
        out.push(b',');
        put_text(name, out);
        out.push(b':');
    };
    out.extend_from_slice(br#"{"type":"#);
    match &schema.is {
        Is::Array(items) => {
            out.extend_from_slice(br#""array""#);
            member("items", out);
            put(items, None, out);
        }
        Is::Map(keys, values) => {
            out.extend_from_slice(br#""map""#);
            member("keys", out);
            put(keys, None, out);
            member("values", out);
            put(values, None, out);
        }
        Is::Struct(fields) => {
            out.extend_from_slice(br#""struct""#);
            member("fields", out);
            out.push(b'[');
            for (place, field) in fields.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                put(&field.schema, Some(&field.name), out);
            }
            out.push(b']');
        }
        plain => put_text(plain_name(plain), out),
    }
    member("optional", out);
    out.extend_from_slice(if schema.optional { b"true" } else { b"false" });
    for (name, text) in [("name", &schema.name), ("doc", &schema.doc)] {
        if let Some(text) = text {
            member(name, out);
            put_text(text, out);
        }
    }
    // Writing to a Vec doesn't fail.
    if let Some(version) = schema.version {
        member("version", out);
        let _ = write!(out, "{version}");
    }
    if !schema.parameters.is_empty() {
        member("parameters", out);
        let _ = serde_json::to_writer(&mut *out, &schema.parameters);
    }
    if let Some(default) = &schema.default {
        member("default", out);
        let _ = write!(out, "{default}");
    }
    if let Some(name) = field {
        member("field", out);
        put_text(name, out);
    }
    out.push(b'}');
}

fn plain_name(is: &Is) -> &'static str {
    PLAIN.iter().find(|(_, known)| known == is).map_or("", |(name, _)| *name)
}

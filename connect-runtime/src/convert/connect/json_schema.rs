//! A schema as a JSON Schema, as Confluent's `JsonSchemaConverter` writes it (with `decimal.format` at its default, base64): the payload is
//! the document that it describes.

use serde_json::{Map, Value, json};

use super::{ConnectSchema, DEPTH_MAX, Is};
use crate::convert::Bad;

/// The text of a JSON Schema for payloads of this schema.
///
/// # Errors
/// A map has keys that are no texts: its payload would be a list of pairs, which Confluent's converters write otherwise.
pub(in crate::convert) fn to_json_schema(schema: &ConnectSchema) -> Result<String, Bad> {
    put(schema, None, 0).map(|made| made.to_string())
}

/// Recursive, up to [`DEPTH_MAX`]. `index`: of a field.
fn put(schema: &ConnectSchema, index: Option<usize>, depth: usize) -> Result<Value, Bad> {
    if depth > DEPTH_MAX {
        return Err(Bad::new(format!("nested more than {DEPTH_MAX} levels")));
    }
    let (kind, connect) = match &schema.is {
        Is::Int8 => ("integer", Some("int8")),
        Is::Int16 => ("integer", Some("int16")),
        Is::Int32 => ("integer", Some("int32")),
        Is::Int64 => ("integer", Some("int64")),
        Is::Float => ("number", Some("float32")),
        Is::Double => ("number", Some("float64")),
        Is::Boolean => ("boolean", None),
        Is::String => ("string", None),
        Is::Bytes => ("string", Some("bytes")),
        Is::Array(_) => ("array", None),
        Is::Map(..) => ("object", Some("map")),
        Is::Struct(_) => ("object", None),
    };
    let mut made = Map::from_iter([("type".to_owned(), Value::from(kind))]);
    let mut set = |name: &str, value: Value| made.insert(name.to_owned(), value);
    if let Some(connect) = connect {
        set("connect.type", connect.into());
    }
    match &schema.is {
        Is::Array(items) => {
            set("items", put(items, None, depth + 1)?);
        }
        Is::Map(keys, values) if keys.is == Is::String => {
            set("additionalProperties", put(values, None, depth + 1)?);
        }
        Is::Map(..) => return Err(Bad::new("a map whose keys are no texts has no place in json-schema")),
        Is::Struct(fields) => {
            let mut properties = Map::new();
            for (place, field) in fields.iter().enumerate() {
                let of = put(&field.schema, Some(place), depth + 1).map_err(|bad| bad.within(&field.name))?;
                properties.insert(field.name.clone(), of);
            }
            set("properties", properties.into());
        }
        _ => {}
    }
    let parameters = Some(&schema.parameters).filter(|all| !all.is_empty());
    let all = [
        ("title", schema.name.as_deref().map(Value::from)),
        ("connect.version", schema.version.map(Value::from)),
        ("description", schema.doc.as_deref().map(Value::from)),
        ("connect.parameters", parameters.map(|all| json!(all))),
        ("default", schema.default.clone()),
        ("connect.index", index.filter(|_| !schema.optional).map(Value::from)),
    ];
    made.extend(all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    if !schema.optional {
        return Ok(Value::Object(made));
    }
    let mut either = Map::from_iter([("oneOf".to_owned(), json!([{ "type": "null" }, made]))]);
    if let Some(index) = index {
        either.insert("connect.index".to_owned(), index.into());
    }
    Ok(Value::Object(either))
}

//! Kafka Connect's schemas and Avro's, as Confluent's `AvroConverter` translates them: what Avro has no place for goes into properties
//! (`connect.name`, `connect.version`, `connect.doc`, `connect.parameters`, `connect.default`, `connect.type`), so that it comes back.
//!
//! More than there: types of Debezium that Avro has a logical type for get it, and names that Avro doesn't allow for records are adapted
//! (`connect.name` keeps them).

mod read;
mod write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

pub(in crate::convert) use read::from_avro;
pub(in crate::convert) use write::to_avro;

use super::{ConnectSchema, Is};
use crate::convert::Bad;

/// Where names without a place of their own are.
const NAMESPACE: &str = "io.confluent.connect.avro";
/// The record that a struct without a name becomes.
const DEFAULT_NAME: &str = "ConnectDefault";
/// The record that an entry of a map becomes whose keys are more than texts.
const ENTRY_NAME: &str = "MapEntry";
/// The struct that a union of several types becomes, with an optional field for each.
const UNION_NAME: &str = "io.confluent.connect.avro.Union";
/// The property of an array that is a map.
const INTERNAL_TYPE: &str = "connect.internal.type";
/// The parameter that keeps a decimal's precision.
const PRECISION: &str = "connect.decimal.precision";
/// Digits of a decimal that doesn't say how many it has.
const PRECISION_DEFAULT: usize = 64;

/// Which way a default goes.
#[derive(Clone, Copy)]
enum Way {
    ToAvro,
    FromAvro,
}

/// A default in the other form: in Avro's, bytes are text of the characters 0 to 255. None: it is of another type.
fn default(schema: &ConnectSchema, value: &Value, way: Way) -> Option<Value> {
    Some(match (&schema.is, value) {
        (_, Value::Null) => Value::Null,
        (Is::Bytes, Value::String(text)) => match way {
            Way::ToAvro => STANDARD.decode(text).ok()?.into_iter().map(char::from).collect::<String>().into(),
            Way::FromAvro => {
                let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
                STANDARD.encode(bytes?).into()
            }
        },
        (Is::Array(items), Value::Array(values)) => {
            values.iter().map(|value| default(items, value, way)).collect::<Option<_>>()?
        }
        (Is::Map(keys, of), Value::Array(pairs)) => {
            let pair = |pair: &Value| match pair.as_array()?.as_slice() {
                [key, value] => Some(Value::from(vec![default(keys, key, way)?, default(of, value, way)?])),
                _ => None,
            };
            pairs.iter().map(pair).collect::<Option<_>>()?
        }
        (Is::Map(_, of), Value::Object(members)) => {
            let member = |(name, value): (&String, &Value)| Some((name.clone(), default(of, value, way)?));
            Value::Object(members.iter().map(member).collect::<Option<_>>()?)
        }
        (Is::Struct(fields), Value::Object(members)) => {
            let mut made = Map::new();
            for field in fields {
                if let Some(value) = members.get(&field.name) {
                    made.insert(field.name.clone(), default(&field.schema, value, way)?);
                }
            }
            Value::Object(made)
        }
        (Is::Boolean, Value::Bool(_)) | (Is::String, Value::String(_)) => value.clone(),
        (Is::Array(_) | Is::Map(..) | Is::Struct(_) | Is::Boolean | Is::String | Is::Bytes, _) => {
            return None;
        }
        // NaN and its like are texts.
        (_, Value::Number(_) | Value::String(_)) => value.clone(),
        _ => return None,
    })
}

fn too_many() -> Bad {
    Bad::new(format!("a schema of more than {} types", super::TYPES_MAX))
}

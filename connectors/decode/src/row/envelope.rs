//! A file's columns as Kafka Connect's schema, named by Debezium where Kafka Connect has no type for it.

use millrace_connector_encode::types::{Schema, Slot, Type, Unit};
use serde_json::{Map, Value, json};

/// `{"schema":{...},"payload":`; the row and a closing brace follow.
pub(super) fn begin(schema: &Schema) -> Vec<u8> {
    let row = Slot { ty: Type::Struct(schema.fields.clone()), optional: false };
    let mut of = describe(&row);
    of.insert("name".to_owned(), schema.name.clone().into());
    format!("{{\"schema\":{},\"payload\":", Value::Object(of)).into_bytes()
}

fn describe(slot: &Slot) -> Map<String, Value> {
    let named = |base: &str, name: &str| json!({ "type": base, "name": name, "version": 1 });
    let connect = |base: &str, name: &str| named(base, &format!("org.apache.kafka.connect.data.{name}"));
    let debezium = |base: &str, name: &str| named(base, &format!("io.debezium.time.{name}"));
    let of = match &slot.ty {
        Type::Boolean => json!({ "type": "boolean" }),
        Type::Int => json!({ "type": "int32" }),
        Type::Long => json!({ "type": "int64" }),
        Type::Float => json!({ "type": "float" }),
        Type::Double => json!({ "type": "double" }),
        Type::Text => json!({ "type": "string" }),
        Type::Bytes => json!({ "type": "bytes" }),
        Type::Decimal { precision, scale } => {
            let mut of = connect("bytes", "Decimal");
            of["parameters"] = json!({
                "scale": scale.to_string(), "connect.decimal.precision": precision.to_string(),
            });
            of
        }
        Type::Date => connect("int32", "Date"),
        Type::Time(Unit::Millis) => connect("int32", "Time"),
        Type::Time(Unit::Micros) => debezium("int64", "MicroTime"),
        Type::Time(Unit::Nanos) => debezium("int64", "NanoTime"),
        Type::Timestamp { unit: Unit::Millis, local: false } => connect("int64", "Timestamp"),
        Type::Timestamp { local: false, .. } => debezium("string", "ZonedTimestamp"),
        Type::Timestamp { unit: Unit::Millis, local: true } => debezium("int64", "Timestamp"),
        Type::Timestamp { unit: Unit::Micros, local: true } => debezium("int64", "MicroTimestamp"),
        Type::Timestamp { unit: Unit::Nanos, local: true } => debezium("int64", "NanoTimestamp"),
        Type::List(element) => json!({ "type": "array", "items": describe(element) }),
        Type::Map(values) => {
            json!({ "type": "map", "keys": { "type": "string", "optional": false }, "values": describe(values) })
        }
        Type::Struct(fields) => {
            let field = |field: &millrace_connector_encode::types::Field| {
                let mut of = describe(&field.slot);
                of.insert("field".to_owned(), field.name.clone().into());
                Value::Object(of)
            };
            json!({ "type": "struct", "fields": fields.iter().map(field).collect::<Vec<_>>() })
        }
    };
    let Value::Object(mut of) = of else { return Map::new() };
    of.insert("optional".to_owned(), slot.optional.into());
    of
}

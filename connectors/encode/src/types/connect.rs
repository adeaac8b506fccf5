//! Kafka Connect's schemas, as its JsonConverter puts them beside the value: `{"schema": {...}, "payload": ...}`.

use millrace_connector_fields::{Member, members};

use super::{Field, PRECISION_MAX, Slot, Type, Unit};
use crate::json::Json;

/// Schema and value of an envelope, as they stand in its text. None: it is no envelope.
pub fn envelope(text: &str) -> Option<(&str, &str)> {
    // Cheap for what is none: an envelope begins with one of the two.
    let start = text.trim_start().strip_prefix('{')?.trim_start();
    if !start.starts_with("\"schema\"") && !start.starts_with("\"payload\"") {
        return None;
    }
    let mut found: Vec<Member> = Vec::new();
    if !members(text, &mut found).ok()? || found.len() != 2 {
        return None;
    }
    let part = |name: &str| {
        let member = found.iter().find(|member| member.plain_name(text) == name)?;
        Some(text[member.value.clone()].trim())
    };
    let (schema, payload) = (part("schema")?, part("payload")?);
    (schema.starts_with('{') || schema == "null").then_some((schema, payload))
}

/// The type that a schema describes, and its name.
pub fn read(text: &str) -> Result<(String, Slot), String> {
    let schema = Json::read(text).map_err(|error| error.to_string())?;
    let name = schema.member("name").and_then(Json::text).unwrap_or("ConnectDefault").to_owned();
    Ok((name, slot(&schema)?))
}

fn slot(schema: &Json<'_>) -> Result<Slot, String> {
    let optional = schema.member("optional") == Some(&Json::Bool(true));
    Ok(Slot { ty: ty(schema)?, optional })
}

fn ty(schema: &Json<'_>) -> Result<Type, String> {
    let base = schema.member("type").and_then(Json::text).ok_or("a schema without a type")?;
    let name = schema.member("name").and_then(Json::text).unwrap_or_default();
    Ok(match (base, name) {
        ("int32", "org.apache.kafka.connect.data.Date" | "io.debezium.time.Date") => Type::Date,
        ("int32", "org.apache.kafka.connect.data.Time" | "io.debezium.time.Time") => Type::Time(Unit::Millis),
        ("int64", "io.debezium.time.MicroTime") => Type::Time(Unit::Micros),
        ("int64", "org.apache.kafka.connect.data.Timestamp") => {
            Type::Timestamp { unit: Unit::Millis, local: false }
        }
        ("int64", "io.debezium.time.Timestamp") => Type::Timestamp { unit: Unit::Millis, local: true },
        ("int64", "io.debezium.time.NanoTime") => Type::Time(Unit::Nanos),
        ("int64", "io.debezium.time.MicroTimestamp") => Type::Timestamp { unit: Unit::Micros, local: true },
        ("int64", "io.debezium.time.NanoTimestamp") => Type::Timestamp { unit: Unit::Nanos, local: true },
        ("bytes", "org.apache.kafka.connect.data.Decimal") => decimal(schema)?,
        ("int8" | "int16" | "int32", _) => Type::Int,
        ("int64", _) => Type::Long,
        ("float" | "float32", _) => Type::Float,
        ("double" | "float64", _) => Type::Double,
        ("boolean", _) => Type::Boolean,
        ("string", _) => Type::Text,
        ("bytes", _) => Type::Bytes,
        ("array", _) => {
            Type::List(Box::new(slot(schema.member("items").ok_or("an array without a schema of items")?)?))
        }
        ("map", _) => {
            let keys = schema.member("keys").and_then(|keys| keys.member("type")).and_then(Json::text);
            if keys != Some("string") {
                return Err("a map whose keys are no text".to_owned());
            }
            Type::Map(Box::new(slot(schema.member("values").ok_or("a map without a schema of values")?)?))
        }
        ("struct", _) => {
            let Some(Json::Array(fields)) = schema.member("fields") else {
                return Err("a struct without fields".to_owned());
            };
            let field = |field: &Json<'_>| {
                let name = field.member("field").and_then(Json::text).ok_or("a field without a name")?;
                Ok(Field {
                    name: name.to_owned(),
                    slot: slot(field).map_err(|why| format!("{name}: {why}"))?,
                })
            };
            Type::Struct(fields.iter().map(field).collect::<Result<_, String>>()?)
        }
        (other, _) => return Err(format!("a type {other:?} that Kafka Connect doesn't have")),
    })
}

fn decimal(schema: &Json<'_>) -> Result<Type, String> {
    let parameter = |name: &str| {
        let parameters = schema.member("parameters")?;
        match parameters.member(name)? {
            Json::Text(text) => text.parse::<u32>().ok(),
            Json::Number(text) => text.parse::<u32>().ok(),
            _ => None,
        }
    };
    let scale = parameter("scale").ok_or("a decimal without a scale")?;
    let precision = parameter("connect.decimal.precision").unwrap_or(PRECISION_MAX);
    if precision == 0 || precision > PRECISION_MAX || scale > precision {
        return Err(format!(
            "a decimal of {precision} digits, {scale} of them behind the point; at most {PRECISION_MAX} fit"
        ));
    }
    Ok(Type::Decimal { precision, scale })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_are_told_from_values_that_look_alike() {
        assert_eq!(
            envelope(" {\"schema\": {\"type\":\"int32\"}, \"payload\": 7 }"),
            Some(("{\"type\":\"int32\"}", "7"))
        );
        assert_eq!(envelope("{\"payload\":[1],\"schema\":null}"), Some(("null", "[1]")));
        for other in [
            "{\"schema\":1,\"payload\":2}",
            "{\"schema\":{}}",
            "{\"schema\":{},\"payload\":1,\"a\":2}",
            "[]",
            "{}",
        ] {
            assert_eq!(envelope(other), None, "{other}");
        }
    }

    #[test]
    fn logical_types_are_what_they_say() {
        let schema = r#"{"type":"struct","name":"orders.Value","fields":[
            {"field":"id","type":"int64","optional":false},
            {"field":"price","type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2","connect.decimal.precision":"10"},"optional":true},
            {"field":"at","type":"int64","name":"org.apache.kafka.connect.data.Timestamp","optional":true},
            {"field":"tags","type":"array","items":{"type":"string","optional":true},"optional":false},
            {"field":"by","type":"map","keys":{"type":"string"},"values":{"type":"int32"},"optional":false}]}"#;
        let (name, slot) = read(schema).expect("read");
        let Type::Struct(fields) = slot.ty else { panic!("{slot:?}") };
        assert_eq!((name.as_str(), fields.len()), ("orders.Value", 5));
        assert_eq!(fields[1].slot.ty, Type::Decimal { precision: 10, scale: 2 });
        assert_eq!(fields[2].slot.ty, Type::Timestamp { unit: Unit::Millis, local: false });
        assert!(fields[1].slot.optional && !fields[0].slot.optional);
        for bad in [
            r#"{}"#,
            r#"{"type":"complex"}"#,
            r#"{"type":"array"}"#,
            r#"{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}

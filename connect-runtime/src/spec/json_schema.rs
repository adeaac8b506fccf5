//! The whole format as a JSON Schema (2020-12), for editors and for whoever checks files elsewhere.
//!
//! Which keys there are is taken from the tables that the readers check files with; `shape` adds what each takes. Which settings a block
//! has follows from the name behind its `connector:`. The schema is wider than the format: what only shows when several
//! parts are looked at together (names that repeat, topics of dead letters, a connector's own checks) is left to
//! `millrace validate`.

mod shape;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use self::shape::Place;
use super::connector::{ERRORS_KEYS, FILES_KEYS, LIMITS_KEYS, RESERVED};
use super::deployment::Role;
use super::format::FORMAT_KEYS;
use super::{cases, file, pipeline, predicate};
use crate::plan::Description;

/// The keys of every place that has its own, as the readers know them.
const TABLES: [(Place, &[&str]); 14] = [
    (Place::Top, file::TOP_KEYS),
    (Place::Broker, file::BROKER_KEYS),
    (Place::Kafka, file::KAFKA_KEYS),
    (Place::Pipeline, pipeline::PIPELINE_KEYS),
    (Place::Topic, pipeline::TOPIC_KEYS),
    (Place::Connector, RESERVED),
    (Place::Files, FILES_KEYS),
    (Place::Limits, LIMITS_KEYS),
    (Place::Errors, ERRORS_KEYS),
    (Place::Format, FORMAT_KEYS),
    (Place::Predicate, predicate::KEYS),
    (Place::Case, cases::CASE_KEYS),
    (Place::Record, cases::RECORD_KEYS),
    (Place::Rejection, cases::REJECTED_KEYS),
];

/// Keys of a connector block that belong to blocks of other roles.
const ELSEWHERE: [(Role, &[&str]); 3] = [
    (Role::Source, &["transforms", "flush_interval", "predicate", "negate"]),
    (Role::Sink, &["predicate", "negate"]),
    (Role::Transform, &["tasks", "errors", "transforms", "flush_interval", "key_format", "value_format"]),
];

/// Units of settings (`x-unit`) that have a definition.
const UNITS: [&str; 2] = ["duration", "size"];

/// The schema, with the settings of these connectors.
#[must_use]
pub fn json_schema(connectors: &[Description]) -> Value {
    let mut defs = Map::new();
    for (place, keys) in TABLES {
        if !matches!(place, Place::Top | Place::Connector) {
            defs.insert(place.name().to_owned(), place.object(keys));
        }
    }
    for (role, _) in ELSEWHERE {
        let of_role: Vec<&Description> = connectors.iter().filter(|c| c.roles.contains(&role)).collect();
        defs.insert(role_name(role).to_owned(), block(role, &of_role));
        defs.insert(format!("{}.wasm", role_name(role)), with_settings(role, &json!({})));
        for connector in of_role {
            let name = format!("{}.{}", role_name(role), connector.name);
            let settings = own_settings(&connector.config_schema, &name, &mut defs);
            defs.insert(name, with_settings(role, &settings));
        }
    }
    defs.extend(shape::shared().into_iter().map(|(name, schema)| (name.to_owned(), schema)));
    let mut schema = Place::Top.object(file::TOP_KEYS);
    if let Value::Object(top) = &mut schema {
        top.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        top.insert("title".to_owned(), "Pipelines of Millrace".into());
        top.insert(
            "description".to_owned(),
            "Described in docs/PIPELINES.md. Written by `cargo xtask docs`.".into(),
        );
        top.insert("$defs".to_owned(), Value::Object(defs));
    }
    schema
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Source => "source",
        Role::Sink => "sink",
        Role::Transform => "transform",
    }
}

/// A block of which the connector decides the settings.
fn block(role: Role, connectors: &[&Description]) -> Value {
    let role = role_name(role);
    let names: Vec<&str> = connectors.iter().map(|connector| connector.name.as_str()).collect();
    let titles: Vec<&str> = connectors.iter().map(|connector| connector.summary.as_str()).collect();
    let case = |is: Value, then: String| {
        json!({
            "if": { "required": ["connector"], "properties": { "connector": is } },
            "then": { "$ref": format!("#/$defs/{then}") },
        })
    };
    let named = names.iter().map(|name| case(json!({ "const": name }), format!("{role}.{name}")));
    let by_path = case(json!({ "pattern": shape::COMPONENT_PATH }), format!("{role}.wasm"));
    json!({
        "type": "object",
        "required": ["connector"],
        "properties": { "connector": {
            "description": "The name of a bundled connector, or the path of a .wasm file.",
            "anyOf": [
                { "enum": names, "enumDescriptions": titles },
                { "type": "string", "pattern": shape::COMPONENT_PATH },
                { "$ref": "#/$defs/reference" },
            ],
        } },
        "allOf": named.chain([by_path]).collect::<Vec<_>>(),
    })
}

/// A connector's settings with the pipeline's own keys beside them.
fn with_settings(role: Role, settings: &Value) -> Value {
    let elsewhere = ELSEWHERE.iter().find(|(known, _)| *known == role).map_or(&[][..], |(_, keys)| keys);
    let mut schema = settings.clone();
    if let Value::Object(schema) = &mut schema {
        let properties = schema.entry("properties").or_insert_with(|| json!({}));
        for key in RESERVED.iter().filter(|key| !elsewhere.contains(key)) {
            properties[*key] = Place::Connector.value(key);
        }
        // A path's connector is not known: nothing but what belongs elsewhere can be refused.
        if !schema.contains_key("additionalProperties") {
            let refused = elsewhere.iter().map(|key| ((*key).to_owned(), Value::Bool(false)));
            properties_of(schema).extend(refused);
        }
        if role == Role::Transform {
            schema.insert("dependentRequired".to_owned(), merged(schema.get("dependentRequired")));
        }
    }
    schema
}

fn properties_of(schema: &mut Map<String, Value>) -> &mut Map<String, Value> {
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if !properties.is_object() {
        *properties = json!({});
    }
    // Made an object just above.
    properties.as_object_mut().expect("an object")
}

/// `negate` says something of a predicate only.
fn merged(own: Option<&Value>) -> Value {
    let mut all = own.and_then(Value::as_object).cloned().unwrap_or_default();
    all.insert("negate".to_owned(), json!(["predicate"]));
    Value::Object(all)
}

/// A connector's schema as a part of this one: its definitions move to ours, and a reference may stand where a scalar is asked for.
fn own_settings(schema: &Value, name: &str, defs: &mut Map<String, Value>) -> Value {
    let Value::Object(schema) = schema else {
        return json!({ "type": "object", "additionalProperties": false });
    };
    let mut schema = schema.clone();
    for key in ["$schema", "title"] {
        schema.remove(key);
    }
    if let Some(Value::Object(own)) = schema.remove("$defs") {
        for (key, value) in own {
            defs.insert(format!("{name}.{key}"), moved(value, name, true));
        }
    }
    moved(Value::Object(schema), name, false)
}

/// Rewrites references to definitions. `is_value`: the schema is one of a value, and not of the whole block.
/// Recursive, but a connector's schema was read from JSON, whose reader limits the depth.
fn moved(schema: Value, name: &str, is_value: bool) -> Value {
    let Value::Object(mut schema) = schema else { return schema };
    // A text that is a duration or a size has a shape of its own here.
    if let Some(unit) = schema.get("x-unit").and_then(Value::as_str).filter(|unit| UNITS.contains(unit)) {
        let shape = format!("#/$defs/{unit}");
        schema.remove("type");
        schema.insert("$ref".to_owned(), shape.into());
        return Value::Object(schema);
    }
    let mut out = Map::new();
    for (key, value) in schema {
        let value = match (key.as_str(), value) {
            ("$ref", Value::String(target)) => {
                target.replacen("#/$defs/", &format!("#/$defs/{name}."), 1).into()
            }
            ("properties" | "patternProperties", Value::Object(all)) => all
                .into_iter()
                .map(|(key, value)| (key, moved(value, name, true)))
                .collect::<Map<_, _>>()
                .into(),
            ("items" | "additionalProperties" | "not", value) => moved(value, name, true),
            ("oneOf" | "anyOf" | "allOf", Value::Array(all)) => {
                all.into_iter().map(|value| moved(value, name, is_value)).collect()
            }
            (_, value) => value,
        };
        out.insert(key, value);
    }
    if is_value && refuses_references(&out) { or_reference(out) } else { Value::Object(out) }
}

/// Whether text with a reference in it, such as `${env:PORT}`, would be taken for wrong.
fn refuses_references(schema: &Map<String, Value>) -> bool {
    let is_scalar = |kind: &Value| !matches!(kind.as_str(), Some("object" | "array"));
    let kinds: Vec<&Value> = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().collect(),
        Some(kind) => vec![kind],
        None => Vec::new(),
    };
    let narrow = ["enum", "const", "pattern", "maxLength"].iter().any(|key| schema.contains_key(*key));
    match kinds.is_empty() {
        true => narrow,
        false => {
            kinds.iter().all(|kind| is_scalar(kind))
                && (narrow || !kinds.iter().any(|kind| *kind == "string"))
        }
    }
}

fn or_reference(mut schema: Map<String, Value>) -> Value {
    let mut out = Map::new();
    for key in ["description", "default"] {
        out.extend(schema.remove(key).map(|value| (key.to_owned(), value)));
    }
    out.insert("anyOf".to_owned(), json!([schema, { "$ref": "#/$defs/reference" }]));
    Value::Object(out)
}

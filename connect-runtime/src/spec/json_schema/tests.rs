//! That the schema has all that the readers know.

use super::*;

#[test]
fn every_key_of_the_tables_is_described() {
    for (place, keys) in TABLES {
        for key in keys {
            let shape = place
                .shape(key)
                .unwrap_or_else(|| panic!("{place:?} `{key}`: add what it takes to shape.rs"));
            assert!(shape["description"].is_string(), "{place:?} `{key}` has no description");
        }
    }
}

#[test]
fn a_connectors_schema_becomes_a_part_of_it() {
    let config_schema = json!({
        "type": "object", "additionalProperties": false, "required": ["size"],
        "properties": {
            "size": { "$ref": "#/$defs/size" },
            "mode": { "enum": ["a", "b"], "description": "Which." },
            "name": { "type": "string" },
            "every": { "type": "string", "x-unit": "duration", "default": "5s" },
        },
        "$defs": { "size": { "type": "integer" } },
    });
    let own = Description {
        name: "own".to_owned(),
        config_schema,
        roles: vec![Role::Sink],
        ..Description::default()
    };
    let schema = json_schema(&[own]);
    let sink = &schema["$defs"]["sink.own"];
    assert_eq!(sink["properties"]["size"]["$ref"], "#/$defs/sink.own.size");
    assert_eq!(schema["$defs"]["sink.own.size"]["anyOf"][0], json!({ "type": "integer" }));
    assert_eq!(sink["properties"]["mode"]["anyOf"][1]["$ref"], "#/$defs/reference");
    assert_eq!(sink["properties"]["mode"]["description"], "Which.");
    assert_eq!(sink["properties"]["name"], json!({ "type": "string" }));
    assert_eq!(sink["properties"]["every"]["$ref"], "#/$defs/duration");
    assert!(sink["properties"]["errors"].is_object() && sink["properties"]["predicate"].is_null());
    // A component by its path: its settings are not known, keys of other roles are.
    assert_eq!(schema["$defs"]["sink.wasm"]["properties"]["predicate"], json!(false));
}

#[test]
fn every_reference_leads_somewhere() {
    let schema = json_schema(&[]);
    let mut stack = vec![&schema];
    while let Some(value) = stack.pop() {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(target)) = map.get("$ref") {
                    let pointer = target.strip_prefix('#').unwrap_or(target);
                    assert!(schema.pointer(pointer).is_some(), "{target}");
                }
                stack.extend(map.values());
            }
            Value::Array(all) => stack.extend(all),
            _ => {}
        }
    }
}

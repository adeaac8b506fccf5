//! Confluent's rules for JSON Schema, one by one.

use serde_json::json;

use super::*;

fn schema(value: Value) -> Json {
    Json::parse(&value.to_string(), &[]).unwrap()
}

/// Whether the first accepts all that the second does.
fn accepts(new: Value, old: Value) -> bool {
    unaccepted(&schema(new), &schema(old)).is_empty()
}

fn object(properties: Value, more: Value) -> Value {
    let mut of = json!({ "type": "object", "properties": properties });
    of.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    of
}

/// References that lead in a circle without a step into the document: validating ends.
#[test]
fn circles_of_references_end() {
    for text in [
        r##"{"$ref":"#"}"##,
        r##"{"allOf":[{"$ref":"#"}]}"##,
        r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"anyOf":[{"$ref":"#/$defs/a"}]}},"$ref":"#/$defs/a"}"##,
        r##"{"not":{"$ref":"#"}}"##,
        r##"{"if":{"$ref":"#"},"then":true}"##,
    ] {
        if let Ok(schema) = Json::parse(text, &[]) {
            let _ = schema.validate(&serde_json::json!({ "a": [1] }));
        }
    }
}

#[test]
fn types_and_limits_may_widen() {
    for (wide, narrow) in [
        (json!({ "type": "number" }), json!({ "type": "integer" })),
        (json!({ "type": ["string", "null"] }), json!({ "type": "string" })),
        (json!({}), json!({ "type": "string" })),
        (json!({ "maximum": 9 }), json!({ "maximum": 5 })),
        (json!({ "minimum": 1 }), json!({ "minimum": 5 })),
        (json!({ "type": "string" }), json!({ "type": "string", "maxLength": 3, "pattern": "^a" })),
        (json!({ "multipleOf": 2 }), json!({ "multipleOf": 4 })),
        (json!({ "enum": ["a", "b"] }), json!({ "enum": ["a"] })),
        (json!({ "type": "string" }), json!({ "enum": ["a"] })),
        (json!({ "oneOf": [{ "type": "string" }, { "type": "null" }] }), json!({ "type": "string" })),
        (
            json!({ "type": ["string", "null"] }),
            json!({ "oneOf": [{ "type": "string" }, { "type": "null" }] }),
        ),
        (
            json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }),
            json!({ "oneOf": [{ "type": "null" }] }),
        ),
        (
            json!({ "type": "array", "items": { "type": "number" } }),
            json!({ "type": "array", "items": { "type": "integer" } }),
        ),
        (json!({ "type": "string" }), json!({ "allOf": [{ "type": "string" }, { "minLength": 1 }] })),
        (json!({ "type": "string" }), json!({ "type": "string", "not": { "const": "x" } })),
    ] {
        assert!(accepts(wide.clone(), narrow.clone()), "{wide} accepts {narrow}");
        assert!(!accepts(narrow.clone(), wide.clone()), "{narrow} does not accept {wide}");
        assert!(accepts(wide.clone(), wide.clone()) && accepts(narrow.clone(), narrow.clone()));
    }
}

#[test]
fn open_objects_lose_and_closed_objects_gain_properties() {
    let closed = json!({ "additionalProperties": false });
    let a = json!({ "a": { "type": "string" } });
    let ab = json!({ "a": { "type": "string" }, "b": { "type": "string" } });
    assert!(accepts(object(a.clone(), json!({})), object(ab.clone(), json!({}))));
    assert!(!accepts(object(ab.clone(), json!({})), object(a.clone(), json!({}))));
    assert!(accepts(object(ab.clone(), closed.clone()), object(a.clone(), closed.clone())));
    assert!(!accepts(object(a.clone(), closed.clone()), object(ab.clone(), closed.clone())));
    assert!(!accepts(object(a.clone(), closed.clone()), object(a.clone(), json!({}))));
    assert!(accepts(object(a.clone(), json!({})), object(a.clone(), closed)));
    let texts = json!({ "additionalProperties": { "type": "string" } });
    assert!(accepts(object(ab, texts.clone()), object(a, texts)));
}

#[test]
fn a_required_property_needs_a_default() {
    let closed = |required: Value, default: bool| {
        let b =
            if default { json!({ "type": "string", "default": "" }) } else { json!({ "type": "string" }) };
        object(json!({ "b": b }), json!({ "additionalProperties": false, "required": required }))
    };
    assert!(!accepts(closed(json!(["b"]), false), closed(json!([]), false)));
    assert!(accepts(closed(json!(["b"]), true), closed(json!([]), false)));
    assert!(accepts(closed(json!([]), false), closed(json!(["b"]), false)));
}

#[test]
fn references_are_followed_and_may_go_round() {
    let list = |of: &str| {
        json!({ "$ref": "#/definitions/list", "definitions": { "list": {
            "type": "object", "additionalProperties": false,
            "properties": { "value": { "type": of }, "next": { "$ref": "#/definitions/list" } } } } })
    };
    assert!(accepts(list("number"), list("integer")));
    assert!(!accepts(list("integer"), list("number")));
}

#[test]
fn what_is_not_known_must_stay() {
    let with = |keyword: &str, value: Value| json!({ "type": "object", keyword: value });
    for keyword in ["if", "contains", "propertyNames", "dependentSchemas", "unevaluatedProperties"] {
        let value =
            if keyword == "dependentSchemas" { json!({ "a": {} }) } else { json!({ "type": "string" }) };
        assert!(!accepts(with(keyword, value.clone()), json!({ "type": "object" })), "{keyword}");
        assert!(accepts(with(keyword, value.clone()), with(keyword, value)), "{keyword}");
    }
}

#[test]
fn references_of_a_registry_are_found_by_name() {
    let money = |of: &str| Dependency { name: "money.json".into(), text: format!(r#"{{"type":"{of}"}}"#) };
    let text = r#"{"type":"object","properties":{"total":{"$ref":"money.json"}}}"#;
    let parse = |of: &str| Json::parse(text, &[money(of)]).unwrap();
    assert!(parse("integer").validate(&json!({ "total": 5 })).is_ok());
    let error = parse("integer").validate(&json!({ "total": "secret" })).unwrap_err();
    assert!(error.starts_with("/total: ") && !error.contains("secret"), "{error}");
    assert!(unaccepted(&parse("number"), &parse("integer")).is_empty());
    assert!(!unaccepted(&parse("integer"), &parse("number")).is_empty());
    assert!(Json::parse(text, &[]).is_err());
}

#[test]
fn hostile_texts_are_refused() {
    for text in [
        "",
        "[]",
        "5",
        r#"{"type":"nonsense"}"#,
        r#"{"type":"object","properties":5}"#,
        r#"{"$ref":"http://127.0.0.1:1/x"}"#,
        r#"{"pattern":"(?=a)b"}"#,
    ] {
        assert!(Json::parse(text, &[]).is_err(), "{text}");
    }
    let deep = format!("{}{{}}{}", r#"{"items":"#.repeat(500), "}".repeat(500));
    assert!(Json::parse(&deep, &[]).is_err());
    // Alternatives of alternatives end at a limit.
    let mut wide = json!({ "type": "string" });
    for _ in 0..9 {
        wide = json!({ "anyOf": [wide.clone(), wide.clone(), wide.clone()] });
    }
    let _ = accepts(wide.clone(), wide);
}

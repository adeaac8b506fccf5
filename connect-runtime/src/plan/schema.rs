//! Checks settings against a connector's JSON Schema.
//!
//! A subset of JSON Schema 2020-12, on purpose: the schema comes out of a component, so it is untrusted. There is nothing to
//! fetch (`$ref` reaches `#/$defs/...` only), patterns run in linear time, work is bounded, and a keyword that isn't known is
//! refused rather than silently not checked (docs/CONNECTORS.md has the list).
//!
//! Findings say where (a JSON pointer) and what was expected; they never hold the value.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::spec::{DURATION_SHAPE, SIZE_SHAPE, is_duration, is_size, nearest};

/// Schemas may refer to themselves: past this depth of checking the settings are refused.
const DEPTH_MAX: usize = 64;
/// Steps of one check. A hostile schema (alternatives of alternatives) ends here.
const STEPS_MAX: usize = 100_000;

/// Keywords that are checked.
const CHECKED: &[&str] = &[
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "pattern",
    "oneOf",
    "anyOf",
    "allOf",
    "not",
    "$ref",
    "dependentRequired",
    "x-unit",
];
/// Keywords that only say something to people or to the planner.
const NOTES: &[&str] = &[
    "$schema",
    "$id",
    "$defs",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "x-connection",
    "x-location-of",
    "x-secret",
    "x-path",
    "x-path-kind",
];

/// One thing that doesn't fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// JSON pointer of the node.
    pub(crate) pointer: String,
    /// True if it is about the key, not the value.
    pub(crate) at_key: bool,
    /// What is wrong, without the value.
    pub(crate) message: String,
    pub(crate) expected: Option<String>,
    pub(crate) suggestion: Option<String>,
}

/// Why a schema can't be used at all: the connector's fault, not the user's.
pub(crate) type Unusable = String;

/// All that doesn't fit.
pub(crate) fn check(schema: &Value, settings: &Value) -> Result<Vec<Finding>, Unusable> {
    let mut checker = Checker { root: schema, steps: 0 };
    let mut findings = Vec::new();
    checker.node(schema, settings, "", 0, &mut findings)?;
    Ok(findings)
}

struct Checker<'s> {
    root: &'s Value,
    steps: usize,
}

impl<'s> Checker<'s> {
    fn node(
        &mut self,
        schema: &'s Value,
        value: &Value,
        at: &str,
        depth: usize,
        out: &mut Vec<Finding>,
    ) -> Result<(), Unusable> {
        self.steps += 1;
        if depth > DEPTH_MAX || self.steps > STEPS_MAX {
            return Err("the schema takes too long to check".into());
        }
        let schema = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Bool(false) => {
                out.push(finding(at, "this setting is not allowed here"));
                return Ok(());
            }
            Value::Object(schema) => schema,
            _ => return Err("a schema is an object or a boolean".into()),
        };
        if let Some(unknown) =
            schema.keys().find(|k| !CHECKED.contains(&k.as_str()) && !NOTES.contains(&k.as_str()))
        {
            return Err(format!("keyword `{unknown}` is not supported"));
        }
        if let Some(target) = schema.get("$ref") {
            let target = self.target(target)?;
            self.node(target, value, at, depth + 1, out)?;
        }
        if !typed(schema, value, at, out)? {
            return Ok(());
        }
        choices(schema, value, at, out)?;
        match value {
            Value::Object(map) => self.object(schema, map, at, depth, out)?,
            Value::Array(items) => self.array(schema, items, at, depth, out)?,
            Value::String(text) => string(schema, text, at, out)?,
            Value::Number(number) => numeric(schema, number.as_f64().unwrap_or(f64::NAN), at, out),
            Value::Null | Value::Bool(_) => {}
        }
        self.combined(schema, value, at, depth, out)
    }

    fn target(&self, reference: &Value) -> Result<&'s Value, Unusable> {
        let pointer =
            reference.as_str().and_then(|r| r.strip_prefix('#')).filter(|p| p.starts_with("/$defs/"));
        pointer
            .and_then(|pointer| self.root.pointer(pointer))
            .ok_or_else(|| format!("`$ref` {reference} doesn't lead into its own `$defs`"))
    }

    fn object(
        &mut self,
        schema: &'s Map<String, Value>,
        map: &Map<String, Value>,
        at: &str,
        depth: usize,
        out: &mut Vec<Finding>,
    ) -> Result<(), Unusable> {
        bounds(schema, "minProperties", "maxProperties", map.len(), "entries", at, out);
        let empty = Map::new();
        let properties = match schema.get("properties") {
            None => None,
            Some(Value::Object(properties)) => Some(properties),
            Some(_) => return Err("`properties` is not an object".into()),
        };
        for (key, value) in map {
            let pointer = step(at, key);
            if let Some(schema) = properties.and_then(|p| p.get(key)) {
                self.node(schema, value, &pointer, depth + 1, out)?;
                continue;
            }
            match schema.get("additionalProperties") {
                None | Some(Value::Bool(true)) => {}
                Some(Value::Bool(false)) => {
                    let mut known: Vec<&str> =
                        properties.unwrap_or(&empty).keys().map(String::as_str).collect();
                    known.sort_unstable();
                    out.push(Finding {
                        at_key: true,
                        expected: Some(format!("one of {}", known.join(", "))),
                        suggestion: nearest(key, known).map(str::to_owned),
                        ..finding(&pointer, format!("unknown setting `{key}`"))
                    });
                }
                Some(other) => self.node(other, value, &pointer, depth + 1, out)?,
            }
        }
        for name in names(schema.get("required"))? {
            require(map, name, "", properties, at, out);
        }
        if let Some(Value::Object(dependent)) = schema.get("dependentRequired") {
            for (present, needed) in dependent.iter().filter(|(present, _)| map.contains_key(*present)) {
                for name in names(Some(needed))? {
                    require(map, name, &format!(", needed with `{present}`"), properties, at, out);
                }
            }
        }
        Ok(())
    }

    fn array(
        &mut self,
        schema: &'s Map<String, Value>,
        items: &[Value],
        at: &str,
        depth: usize,
        out: &mut Vec<Finding>,
    ) -> Result<(), Unusable> {
        bounds(schema, "minItems", "maxItems", items.len(), "items", at, out);
        if let Some(schema) = schema.get("items") {
            for (index, item) in items.iter().enumerate() {
                self.node(schema, item, &format!("{at}/{index}"), depth + 1, out)?;
            }
        }
        Ok(())
    }

    fn combined(
        &mut self,
        schema: &'s Map<String, Value>,
        value: &Value,
        at: &str,
        depth: usize,
        out: &mut Vec<Finding>,
    ) -> Result<(), Unusable> {
        for schema in list(schema.get("allOf"))? {
            self.node(schema, value, at, depth + 1, out)?;
        }
        for (keyword, exactly_one) in [("anyOf", false), ("oneOf", true)] {
            let alternatives = list(schema.get(keyword))?;
            if alternatives.is_empty() {
                continue;
            }
            let mut fitting = 0;
            let mut closest: Option<Vec<Finding>> = None;
            for alternative in alternatives {
                let mut found = Vec::new();
                self.node(alternative, value, at, depth + 1, &mut found)?;
                if found.is_empty() {
                    fitting += 1;
                } else if closest.as_ref().is_none_or(|c| rank(&found) < rank(c)) {
                    closest = Some(found);
                }
            }
            if fitting == 0 {
                out.extend(explain(alternatives, at, closest.unwrap_or_default()));
            } else if exactly_one && fitting > 1 {
                let mut both = finding(at, "these settings exclude each other");
                both.expected = alternatives_in_words(alternatives);
                out.push(both);
            }
        }
        if let Some(refused) = schema.get("not") {
            let mut found = Vec::new();
            self.node(refused, value, at, depth + 1, &mut found)?;
            if found.is_empty() {
                let why = refused.get("description").and_then(Value::as_str);
                out.push(finding(at, why.unwrap_or("this combination is not allowed")));
            }
        }
        Ok(())
    }
}

/// How far off an alternative is: those that fail deep inside are nearer than those of another type.
fn rank(found: &[Finding]) -> (bool, usize) {
    (found.iter().any(|f| f.message.starts_with("can't be")), found.len())
}

/// Alternatives that only differ in what they require are told in one sentence; else the nearest one speaks.
fn explain(alternatives: &[Value], at: &str, closest: Vec<Finding>) -> Vec<Finding> {
    match alternatives_in_words(alternatives) {
        Some(words) => {
            vec![Finding { expected: Some(words), ..finding(at, "a setting is missing") }]
        }
        None => closest,
    }
}

/// "`path`, `folder` or `glob`", if the alternatives are just that.
fn alternatives_in_words(alternatives: &[Value]) -> Option<String> {
    let each: Option<Vec<String>> = alternatives
        .iter()
        .map(|alternative| {
            let required = alternative.as_object().filter(|o| o.len() == 1)?.get("required")?.as_array()?;
            let names: Option<Vec<String>> =
                required.iter().map(|n| Some(format!("`{}`", n.as_str()?))).collect();
            Some(names?.join(" with "))
        })
        .collect();
    Some(format!("one of {}", each?.join(", ")))
}

fn typed(
    schema: &Map<String, Value>,
    value: &Value,
    at: &str,
    out: &mut Vec<Finding>,
) -> Result<bool, Unusable> {
    let allowed = match schema.get("type") {
        None => return Ok(true),
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        Some(_) => return Err("`type` is neither a name nor a list".into()),
    };
    let fits = allowed.iter().any(|name| match (*name, value) {
        ("null", Value::Null)
        | ("boolean", Value::Bool(_))
        | ("string", Value::String(_))
        | ("array", Value::Array(_))
        | ("object", Value::Object(_))
        | ("number", Value::Number(_)) => true,
        ("integer", Value::Number(n)) => n.is_i64() || n.is_u64(),
        _ => false,
    });
    if !fits {
        let mut expected = allowed.iter().map(|name| in_words(name)).collect::<Vec<_>>().join(" or ");
        if let Some(options) = schema.get("enum") {
            expected = options_in_words(options);
        }
        // A bare number is what people write first.
        match schema.get("x-unit").and_then(Value::as_str) {
            Some("duration") => DURATION_SHAPE.clone_into(&mut expected),
            Some("size") => SIZE_SHAPE.clone_into(&mut expected),
            _ => {}
        }
        let found = match value {
            Value::Null => "empty",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Array(_) => "a list",
            Value::Object(_) => "a mapping",
        };
        out.push(Finding { expected: Some(expected), ..finding(at, format!("can't be {found}")) });
    }
    Ok(fits)
}

fn in_words(name: &str) -> &str {
    match name {
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a mapping",
        "null" => "null",
        other => other,
    }
}

fn options_in_words(options: &Value) -> String {
    let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
    let words: Vec<String> =
        options.iter().map(|o| o.as_str().map_or_else(|| o.to_string(), str::to_owned)).collect();
    format!("one of {}", words.join(", "))
}

fn choices(
    schema: &Map<String, Value>,
    value: &Value,
    at: &str,
    out: &mut Vec<Finding>,
) -> Result<(), Unusable> {
    if let Some(options) = schema.get("enum") {
        let Value::Array(all) = options else { return Err("`enum` is not a list".into()) };
        if !all.contains(value) {
            let known = all.iter().filter_map(Value::as_str);
            out.push(Finding {
                expected: Some(options_in_words(options)),
                suggestion: value.as_str().and_then(|v| nearest(v, known)).map(str::to_owned),
                ..finding(at, "is not among the known values")
            });
        }
    }
    if let Some(only) = schema.get("const")
        && only != value
    {
        out.push(Finding { expected: Some(only.to_string()), ..finding(at, "has only one allowed value") });
    }
    Ok(())
}

fn string(schema: &Map<String, Value>, text: &str, at: &str, out: &mut Vec<Finding>) -> Result<(), Unusable> {
    bounds(schema, "minLength", "maxLength", text.chars().count(), "characters", at, out);
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        let regex =
            regex_lite::Regex::new(pattern).map_err(|error| format!("`pattern` {pattern}: {error}"))?;
        if !regex.is_match(text) {
            let expected = Some(format!("text that matches {pattern}"));
            out.push(Finding { expected, ..finding(at, "has the wrong form") });
        }
    }
    let unit = schema.get("x-unit").and_then(Value::as_str);
    let shape = match unit {
        Some("duration") => is_duration(text).err(),
        Some("size") => is_size(text).err(),
        Some(other) => return Err(format!("`x-unit` {other} is neither duration nor size")),
        None => None,
    };
    if let Some(shape) = shape {
        out.push(Finding { expected: Some(shape.into()), ..finding(at, "has the wrong form") });
    }
    Ok(())
}

fn numeric(schema: &Map<String, Value>, number: f64, at: &str, out: &mut Vec<Finding>) {
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
    for (keyword, words) in [
        ("minimum", "at least"),
        ("maximum", "at most"),
        ("exclusiveMinimum", "more than"),
        ("exclusiveMaximum", "less than"),
    ] {
        let Some(bound) = bound(keyword) else { continue };
        let fits = match keyword {
            "minimum" => number >= bound,
            "maximum" => number <= bound,
            "exclusiveMinimum" => number > bound,
            _ => number < bound,
        };
        if !fits {
            out.push(Finding {
                expected: Some(format!("{words} {bound}")),
                ..finding(at, "is out of range")
            });
        }
    }
}

fn bounds(
    schema: &Map<String, Value>,
    least: &str,
    most: &str,
    count: usize,
    of: &str,
    at: &str,
    out: &mut Vec<Finding>,
) {
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_u64);
    if bound(least).is_some_and(|least| (count as u64) < least) {
        let message = if count == 0 { "is empty" } else { "is too short" };
        let expected = format!("at least {}", counted(bound(least).unwrap_or(0), of));
        out.push(Finding { expected: Some(expected), ..finding(at, message) });
    }
    if bound(most).is_some_and(|most| (count as u64) > most) {
        let expected = format!("at most {}", counted(bound(most).unwrap_or(0), of));
        let message = if of == "entries" { "has too many entries" } else { "is too long" };
        out.push(Finding { expected: Some(expected), ..finding(at, message) });
    }
}

/// So many characters or entries.
fn counted(count: u64, of: &str) -> String {
    match (count, of) {
        (1, "characters") => "1 character".to_owned(),
        (1, "entries") => "1 entry".to_owned(),
        _ => format!("{count} {of}"),
    }
}

fn require(
    map: &Map<String, Value>,
    name: &str,
    why: &str,
    properties: Option<&Map<String, Value>>,
    at: &str,
    out: &mut Vec<Finding>,
) {
    if map.contains_key(name) {
        return;
    }
    let describe = |schema: &Value| schema.get("description").and_then(Value::as_str).map(str::to_owned);
    let expected = properties.and_then(|p| p.get(name)).and_then(describe);
    out.push(Finding {
        at_key: true,
        expected: expected.map(|text| format!("`{name}`: {text}")),
        ..finding(at, format!("setting `{name}` is missing{why}"))
    });
}

fn names(list: Option<&Value>) -> Result<Vec<&str>, Unusable> {
    match list {
        None => Ok(Vec::new()),
        Some(Value::Array(names)) => Ok(names.iter().filter_map(Value::as_str).collect()),
        Some(_) => Err("`required` is not a list".into()),
    }
}

fn list(value: Option<&Value>) -> Result<&[Value], Unusable> {
    match value {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err("a list of schemas is expected in `allOf`, `anyOf` and `oneOf`".into()),
    }
}

fn finding(pointer: &str, message: impl Into<String>) -> Finding {
    Finding {
        pointer: pointer.to_owned(),
        at_key: false,
        message: message.into(),
        expected: None,
        suggestion: None,
    }
}

fn step(at: &str, key: &str) -> String {
    crate::spec::pointer_join(at, key)
}

/// Properties of the root that carry a note, by name: `x-path`, `x-secret`, ...
pub(crate) fn noted<'s>(schema: &'s Value, note: &str) -> BTreeMap<&'s str, &'s Map<String, Value>> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let all = properties
        .into_iter()
        .flatten()
        .filter_map(|(name, schema)| Some((name.as_str(), schema.as_object()?)));
    all.filter(|(_, schema)| schema.contains_key(note)).collect()
}

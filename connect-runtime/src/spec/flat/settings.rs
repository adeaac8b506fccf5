//! A connector's own settings as JSON, and as dotted names with text.
//!
//! The schema decides what a text means: `5` is a number where it asks for one, and text where it asks for text. Where it
//! allows several kinds, or says nothing, a text that is JSON of an allowed kind is that, and anything else is text; so text
//! that looks like JSON is written in quotes. A list is comma separated, or JSON; a mapping is dotted, or JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::spec::settings::pointer_join;

/// How deep references between schemas are followed: they come out of a component.
const SCHEMA_DEPTH_MAX: usize = 16;
/// How deep dotted names nest.
const NESTING_MAX: usize = 32;

/// The kinds of JSON values; empty: any.
type Kinds = BTreeSet<&'static str>;

/// A schema and the one that its `$ref`s lead into.
#[derive(Clone, Copy)]
struct Typed<'s> {
    root: &'s Value,
    /// None: nothing is said about this value.
    schema: Option<&'s Value>,
}

impl<'s> Typed<'s> {
    /// The schema of a setting within a mapping.
    fn property(self, name: &str) -> Self {
        let mut found = None;
        self.each(0, &mut |schema| {
            let property = schema.get("properties").and_then(|properties| properties.get(name));
            found = found.or(property);
        });
        if found.is_none() {
            self.each(0, &mut |schema| {
                found = found.or(schema.get("additionalProperties").filter(|schema| schema.is_object()));
            });
        }
        Self { schema: found, ..self }
    }

    fn declares(self, name: &str) -> bool {
        let mut declared = false;
        self.each(0, &mut |schema| {
            declared |= schema.get("properties").is_some_and(|properties| properties.get(name).is_some());
        });
        declared
    }

    fn items(self) -> Self {
        let mut found = None;
        self.each(0, &mut |schema| found = found.or(schema.get("items")));
        Self { schema: found, ..self }
    }

    fn kinds(self) -> Kinds {
        let mut kinds = Kinds::new();
        self.each(0, &mut |schema| {
            let named = match schema.get("type") {
                Some(Value::String(one)) => vec![one.as_str()],
                Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
                _ => Vec::new(),
            };
            let known = ["null", "boolean", "number", "string", "array", "object"];
            for name in named {
                let name = if name == "integer" { "number" } else { name };
                kinds.extend(known.iter().find(|known| **known == name));
            }
            let choices = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
            kinds.extend(choices.chain(schema.get("const")).map(kind));
        });
        kinds
    }

    /// This schema, what it refers to, and its alternatives.
    fn each(self, depth: usize, visit: &mut dyn FnMut(&'s Map<String, Value>)) {
        let Some(Value::Object(schema)) = self.schema.filter(|_| depth <= SCHEMA_DEPTH_MAX) else { return };
        visit(schema);
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
        let alternatives = ["anyOf", "oneOf", "allOf"].iter().filter_map(|of| schema.get(*of)?.as_array());
        let target = target.and_then(|pointer| self.root.pointer(pointer));
        for schema in target.into_iter().chain(alternatives.flatten()) {
            Self { schema: Some(schema), ..self }.each(depth + 1, visit);
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What a text means.
fn meaning(text: &str, typed: Typed<'_>) -> Value {
    let kinds = typed.kinds();
    let allowed = |kind| kinds.is_empty() || kinds.contains(kind);
    if kinds.len() == 1 && allowed("string") {
        return text.into();
    }
    if let Ok(value) = serde_json::from_str::<Value>(text)
        && allowed(kind(&value))
    {
        return value;
    }
    if allowed("string") || !allowed("array") {
        return text.into();
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Value::Array(items.map(|item| meaning(item, typed.items())).collect())
}

/// A text that means `value`; none: there is none, because the schema doesn't allow it.
fn text(value: &Value, typed: Typed<'_>) -> Option<String> {
    let plain = match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(|item| text(item, typed.items())).collect();
            items.map(|items| items.join(","))
        }
        _ => None,
    };
    plain.into_iter().chain([value.to_string()]).find(|text| meaning(text, typed) == *value)
}

/// Settings as dotted names. The error is the name of a setting that the schema doesn't allow.
pub(super) fn flatten(
    settings: &Map<String, Value>,
    schema: &Value,
) -> Result<BTreeMap<String, String>, String> {
    let mut flat = BTreeMap::new();
    let typed = Typed { root: schema, schema: Some(schema) };
    flatten_into(settings, typed, "", &mut flat)?;
    Ok(flat)
}

fn flatten_into(
    settings: &Map<String, Value>,
    typed: Typed<'_>,
    prefix: &str,
    flat: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    for (name, value) in settings {
        let path = format!("{prefix}{name}");
        let typed = typed.property(name);
        let dotted = |inner: &&Map<String, Value>| {
            !inner.is_empty() && inner.keys().all(|name| !name.is_empty() && !name.contains('.'))
        };
        match value.as_object().filter(dotted) {
            Some(inner) => flatten_into(inner, typed, &format!("{path}."), flat)?,
            None => {
                let text = text(value, typed).ok_or_else(|| path.clone())?;
                flat.insert(path, text);
            }
        }
    }
    Ok(())
}

/// Settings, and the dotted name of each JSON pointer that has one.
pub(super) type Unflattened = (Map<String, Value>, BTreeMap<String, String>);

/// Dotted names as settings. The error is a name that is a mapping and a value at once.
pub(super) fn unflatten(flat: &BTreeMap<&str, &str>, schema: &Value) -> Result<Unflattened, String> {
    let mut pointers = BTreeMap::new();
    let typed = Typed { root: schema, schema: Some(schema) };
    let flat = flat.iter().map(|(name, text)| (*name, *name, *text)).collect();
    let settings = unflatten_level(flat, typed, "", &mut pointers, 0)?;
    Ok((settings, pointers))
}

fn unflatten_level(
    entries: Vec<(&str, &str, &str)>,
    typed: Typed<'_>,
    pointer: &str,
    pointers: &mut BTreeMap<String, String>,
    depth: usize,
) -> Result<Map<String, Value>, String> {
    let mut settings = Map::new();
    let mut nested: BTreeMap<&str, Vec<(&str, &str, &str)>> = BTreeMap::new();
    for (full, rest, text) in entries {
        match rest.split_once('.').filter(|_| !typed.declares(rest) && depth < NESTING_MAX) {
            Some((name, rest)) => nested.entry(name).or_default().push((full, rest, text)),
            None => {
                pointers.insert(pointer_join(pointer, rest), full.to_owned());
                settings.insert(rest.to_owned(), meaning(text, typed.property(rest)));
            }
        }
    }
    for (name, entries) in nested {
        let at = pointer_join(pointer, name);
        let first = entries.first().map_or(name, |(full, ..)| *full);
        pointers.entry(at.clone()).or_insert_with(|| first.to_owned());
        let inner = unflatten_level(entries.clone(), typed.property(name), &at, pointers, depth + 1)?;
        match settings.entry(name).or_insert_with(|| Map::new().into()) {
            Value::Object(outer) => outer.extend(inner),
            _ => return Err(first.to_owned()),
        }
    }
    Ok(settings)
}

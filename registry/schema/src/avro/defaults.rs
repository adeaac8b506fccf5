//! What it would cost to check a schema's defaults, before a library does.
//!
//! A default that is a record is completed by the defaults of its fields, and those by theirs: a few lines of schema can say a
//! value of billions of parts, or one that contains itself. So the defaults are followed here first, with so many steps and no
//! deeper than so far.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::Dependency;

/// Most values, one within the other, that are not written in a default but follow from it.
const DEPTH_MAX: usize = 8;
/// Most values in all defaults of a schema together.
const STEPS_MAX: usize = 20_000;

/// Whether the defaults of a schema can be checked in a reasonable time.
pub(super) fn check(text: &str, dependencies: &[Dependency]) -> Result<(), String> {
    let texts = dependencies.iter().map(|dependency| dependency.text.as_str()).chain([text]);
    // What isn't JSON is refused by the parser, in its own words.
    let schemas: Vec<Value> = texts.filter_map(|text| serde_json::from_str(text).ok()).collect();
    let mut defaults = Defaults { records: HashMap::new(), steps: 0 };
    schemas.iter().for_each(|schema| defaults.declare(schema));
    schemas.iter().try_for_each(|schema| defaults.check(schema))
}

struct Defaults<'a> {
    /// Records by their names without namespaces; of several with one name any may be meant.
    records: HashMap<&'a str, Vec<&'a Map<String, Value>>>,
    steps: usize,
}

impl<'a> Defaults<'a> {
    fn declare(&mut self, schema: &'a Value) {
        match schema {
            Value::Array(branches) => branches.iter().for_each(|branch| self.declare(branch)),
            Value::Object(object) => {
                if let (Some(name), Some(_)) =
                    (object.get("name").and_then(Value::as_str), object.get("fields"))
                {
                    self.records.entry(short(name)).or_default().push(object);
                }
                inner(object).for_each(|inner| self.declare(inner));
                fields(object).filter_map(|field| field.get("type")).for_each(|is| self.declare(is));
            }
            _ => {}
        }
    }

    /// Follows each default that stands in a schema.
    fn check(&mut self, schema: &Value) -> Result<(), String> {
        match schema {
            Value::Array(branches) => branches.iter().try_for_each(|branch| self.check(branch)),
            Value::Object(object) => {
                inner(object).try_for_each(|inner| self.check(inner))?;
                fields(object).try_for_each(|field| {
                    let Some(is) = field.get("type") else { return Ok(()) };
                    self.check(is)?;
                    field.get("default").map_or(Ok(()), |default| self.follow(is, default, 0))
                })
            }
            _ => Ok(()),
        }
    }

    /// Follows a value of a type, `depth` defaults away from the one that it is a part of.
    fn follow(&mut self, is: &Value, value: &Value, depth: usize) -> Result<(), String> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(format!("its defaults come to more than {STEPS_MAX} values"));
        }
        if depth > DEPTH_MAX {
            return Err(format!("its defaults lead to others more than {DEPTH_MAX} deep, or in a circle"));
        }
        if !value.is_object() && !value.is_array() {
            return Ok(());
        }
        match is {
            // A reference.
            Value::String(name) => {
                let meant = self.records.get(short(name)).cloned().unwrap_or_default();
                meant.into_iter().try_for_each(|record| self.complete(record, value, depth))
            }
            Value::Array(branches) => {
                branches.iter().try_for_each(|branch| self.follow(branch, value, depth))
            }
            Value::Object(object) if object.contains_key("fields") => self.complete(object, value, depth),
            Value::Object(object) => match value {
                Value::Array(items) => inner(object)
                    .try_for_each(|is| items.iter().try_for_each(|item| self.follow(is, item, depth))),
                Value::Object(entries) => inner(object)
                    .try_for_each(|is| entries.values().try_for_each(|entry| self.follow(is, entry, depth))),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Follows the fields of a record: as they are given, or else by their own defaults.
    fn complete(&mut self, record: &Map<String, Value>, value: &Value, depth: usize) -> Result<(), String> {
        for field in fields(record) {
            let (Some(name), Some(is)) = (field.get("name").and_then(Value::as_str), field.get("type"))
            else {
                continue;
            };
            match (value.get(name), field.get("default")) {
                (Some(given), _) => self.follow(is, given, depth)?,
                (None, Some(default)) => self.follow(is, default, depth + 1)?,
                (None, None) => {}
            }
        }
        Ok(())
    }
}

/// The types that a type is made of, other than those of fields.
fn inner(object: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    ["type", "items", "values"].into_iter().filter_map(|key| object.get(key))
}

fn fields(object: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    object.get("fields").and_then(Value::as_array).into_iter().flatten()
}

fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or_default()
}

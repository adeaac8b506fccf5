//! Whether one schema accepts every document that another accepted, found by their structure.
//!
//! After Confluent's rules: an open object (`additionalProperties` missing or true) takes away properties and adds none that
//! says anything, a closed one adds and takes none away, numbers and lengths may only widen, `oneOf` and `anyOf` may grow, and so
//! on. What the rules don't know (`if`, `contains`, `unevaluatedProperties`, ...) must be gone, or stay as it was: where it isn't
//! clear, the answer is no.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::Json;

/// Deepest nesting that is followed.
const DEPTH_MAX: usize = 128;
/// Pairs of schemas that are compared before the answer is no.
const STEPS_MAX: usize = 200_000;
/// Most reasons that are collected.
const REASONS_MAX: usize = 20;
/// `$ref`s that are followed one after another.
const HOPS_MAX: usize = 32;

/// Keywords that [`Check`] looks at one by one.
const KNOWN: &[&str] = &[
    "type",
    "enum",
    "const",
    "maximum",
    "minimum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "multipleOf",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "items",
    "prefixItems",
    "additionalItems",
    "required",
    "maxProperties",
    "minProperties",
    "properties",
    "patternProperties",
    "additionalProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "$ref",
];
/// Keywords that constrain, but of which the rules don't know more than whether they stayed as they were.
const OPAQUE: &[&str] = &[
    "contains",
    "minContains",
    "maxContains",
    "propertyNames",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "if",
    "then",
    "else",
    "unevaluatedItems",
    "unevaluatedProperties",
    "format",
    "$dynamicRef",
    "$recursiveRef",
];
/// Upper limits, and lower ones: for numbers, lengths and counts.
const AT_MOST: &[&str] = &["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"];
const AT_LEAST: &[&str] = &["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"];

/// Why `new` doesn't accept all that `old` accepts; empty: it does.
#[must_use]
pub fn unaccepted(new: &Json, old: &Json) -> Vec<String> {
    let mut check = Check { new, old, seen: HashSet::new(), found: Vec::new(), steps: 0 };
    let (n, o) =
        (At { document: &new.root, schema: &new.root }, At { document: &old.root, schema: &old.root });
    check.schemas(n, o, "#", 0);
    check.found
}

/// A schema and the document that its `$ref`s start from.
#[derive(Clone, Copy)]
struct At<'a> {
    document: &'a Value,
    schema: &'a Value,
}

impl<'a> At<'a> {
    fn of(self, schema: &'a Value) -> Self {
        Self { schema, ..self }
    }

    fn get(self, keyword: &str) -> Option<&'a Value> {
        self.schema.get(keyword)
    }

    fn list(self, keyword: &str) -> &'a [Value] {
        self.get(keyword).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn map(self, keyword: &str) -> Option<&'a Map<String, Value>> {
        self.get(keyword).and_then(Value::as_object)
    }

    /// Accepts every document.
    fn is_anything(self) -> bool {
        match self.schema {
            Value::Bool(all) => *all,
            Value::Object(map) => {
                !map.keys().any(|key| KNOWN.contains(&key.as_str()) || OPAQUE.contains(&key.as_str()))
            }
            _ => false,
        }
    }

    fn is_nothing(self) -> bool {
        *self.schema == Value::Bool(false)
    }

    fn is_closed(self) -> bool {
        self.get("additionalProperties") == Some(&Value::Bool(false))
    }
}

struct Check<'a> {
    new: &'a Json,
    old: &'a Json,
    seen: HashSet<(*const Value, *const Value)>,
    found: Vec<String>,
    steps: usize,
}

impl<'a> Check<'a> {
    fn refuse(&mut self, path: &str, why: impl std::fmt::Display) {
        if self.found.len() < REASONS_MAX {
            self.found.push(format!("{path}: {why}"));
        }
    }

    fn accepts(&mut self, new: At<'a>, old: At<'a>, depth: usize) -> bool {
        self.steps += self.seen.len() / 8;
        let (before, seen) = (std::mem::take(&mut self.found), self.seen.clone());
        self.schemas(new, old, "", depth);
        let accepts = self.found.is_empty();
        self.found = before;
        if !accepts {
            self.seen = seen;
        }
        accepts
    }

    fn schemas(&mut self, new: At<'a>, old: At<'a>, path: &str, depth: usize) {
        self.steps += 1;
        if depth > DEPTH_MAX || self.steps > STEPS_MAX {
            return self.refuse(path, "the schemas are too deep to be compared");
        }
        if new.is_anything() || old.is_nothing() || !self.seen.insert((new.schema, old.schema)) {
            return;
        }
        let (Some(old), Some(target)) = (follow(old, self.old), follow(new, self.new)) else {
            return self.refuse(path, "a $ref that can't be followed");
        };
        if !std::ptr::eq(target.schema, new.schema) {
            self.schemas(target, old, path, depth + 1);
            // What stands beside a $ref counts in the newer drafts.
            if !has_keywords(new.schema, |keyword| keyword != "$ref") {
                return;
            }
        }
        if old.is_nothing() {
            return;
        }
        if new.is_nothing() {
            return self.refuse(path, "nothing is accepted any more");
        }
        let before = self.found.len();
        self.keywords(new, old, path, depth);
        // What the old schema says in its combinations may be enough, though its own keywords are not.
        if self.found.len() > before && self.is_covered_in_parts(new, old, depth) {
            self.found.truncate(before);
        }
    }

    fn is_covered_in_parts(&mut self, new: At<'a>, old: At<'a>, depth: usize) -> bool {
        let any = |check: &mut Self| {
            ["anyOf", "oneOf"].into_iter().any(|keyword| {
                let parts = old.list(keyword);
                !parts.is_empty() && parts.iter().all(|part| check.accepts(new, old.of(part), depth + 1))
            })
        };
        any(self) || old.list("allOf").iter().any(|part| self.accepts(new, old.of(part), depth + 1))
    }

    fn keywords(&mut self, new: At<'a>, old: At<'a>, path: &str, depth: usize) {
        for keyword in OPAQUE {
            if let Some(value) = new.get(keyword)
                && (old.get(keyword) != Some(value) || mentions_reference(value))
            {
                self.refuse(path, format_args!("`{keyword}` was added or changed"));
            }
        }
        let whole = ["unevaluatedProperties", "unevaluatedItems"];
        if whole.iter().any(|keyword| new.get(keyword).is_some()) && new.schema != old.schema {
            self.refuse(path, "a schema with unevaluated properties or items was changed");
        }
        self.types(new, old, path);
        self.values(new, old, path);
        self.limits(new, old, path);
        self.items(new, old, path, depth);
        self.properties(new, old, path, depth);
        self.combinations(new, old, path, depth);
    }

    fn types(&mut self, new: At<'a>, old: At<'a>, path: &str) {
        let Some(allowed) = types(new) else { return };
        let written = types(old)
            .or_else(|| listed(old).map(|values| values.iter().map(|value| type_of(value)).collect()));
        let fits = |of: &&str| allowed.contains(of) || (*of == "integer" && allowed.contains(&"number"));
        match written {
            Some(written) if written.iter().all(fits) => {}
            Some(written) => self.refuse(
                path,
                format_args!("type {} was allowed, {} is", written.join(" or "), allowed.join(" or ")),
            ),
            None => self.refuse(path, format_args!("any type was allowed, {} is", allowed.join(" or "))),
        }
    }

    fn values(&mut self, new: At<'a>, old: At<'a>, path: &str) {
        let Some(allowed) = listed(new) else { return };
        match listed(old) {
            Some(written) if written.iter().all(|value| allowed.contains(value)) => {}
            Some(_) => self.refuse(path, "values of `enum` or `const` were taken away"),
            None => self.refuse(path, "`enum` or `const` was added"),
        }
    }

    fn limits(&mut self, new: At<'a>, old: At<'a>, path: &str) {
        let mut narrowed = |keyword: &&str, is_wider: fn(f64, f64) -> bool| {
            let Some(value) = new.get(keyword) else { return };
            let pair = value.as_f64().zip(old.get(keyword).and_then(Value::as_f64));
            // Draft 4 has booleans here; then nothing may change.
            let fits = match pair {
                Some((new, old)) => is_wider(new, old),
                None => old.get(keyword) == Some(value),
            };
            if !fits {
                self.refuse(path, format_args!("`{keyword}` was added or narrowed"));
            }
        };
        AT_MOST.iter().for_each(|keyword| narrowed(keyword, |new, old| new >= old));
        AT_LEAST.iter().for_each(|keyword| narrowed(keyword, |new, old| new <= old));
        narrowed(&"multipleOf", |new, old| new > 0.0 && (old / new).fract() == 0.0);
        for keyword in ["pattern", "uniqueItems"] {
            let value = new.get(keyword).filter(|value| **value != Value::Bool(false));
            if value.is_some() && value != old.get(keyword) {
                self.refuse(path, format_args!("`{keyword}` was added or changed"));
            }
        }
    }

    fn items(&mut self, new: At<'a>, old: At<'a>, path: &str, depth: usize) {
        static ANYTHING: Value = Value::Bool(true);
        // Both forms of tuples: `prefixItems` with `items`, and the older `items` with `additionalItems`.
        fn tuple<'v>(of: At<'v>) -> (&'v [Value], &'v Value) {
            match of.get("items") {
                Some(Value::Array(first)) => {
                    (first.as_slice(), of.get("additionalItems").unwrap_or(&ANYTHING))
                }
                rest => (of.list("prefixItems"), rest.unwrap_or(&ANYTHING)),
            }
        }
        let ((new_first, new_rest), (old_first, old_rest)) = (tuple(new), tuple(old));
        for place in 0..new_first.len().max(old_first.len()) {
            let n = new.of(new_first.get(place).unwrap_or(new_rest));
            let o = old.of(old_first.get(place).unwrap_or(old_rest));
            self.schemas(n, o, &format!("{path}/items/{place}"), depth + 1);
        }
        self.schemas(new.of(new_rest), old.of(old_rest), &format!("{path}/items"), depth + 1);
    }

    fn properties(&mut self, new: At<'a>, old: At<'a>, path: &str, depth: usize) {
        static ANYTHING: Value = Value::Bool(true);
        let rest = |of: At<'a>| of.of(of.get("additionalProperties").unwrap_or(&ANYTHING));
        let (new_known, old_known) = (new.map("properties"), old.map("properties"));
        let (new_patterns, old_patterns) = (new.map("patternProperties"), old.map("patternProperties"));
        for name in new.list("required").iter().filter_map(Value::as_str) {
            let was = old.list("required").iter().any(|required| required.as_str() == Some(name));
            let default = new_known.and_then(|known| known.get(name)).and_then(|of| of.get("default"));
            if !was && default.is_none() {
                self.refuse(path, format_args!("property `{name}` is required and has no default"));
            }
        }
        for (name, schema) in new_known.into_iter().flatten() {
            let path = format!("{path}/properties/{name}");
            let n = new.of(schema);
            match old_known.and_then(|known| known.get(name)) {
                Some(was) => self.schemas(n, old.of(was), &path, depth + 1),
                None if n.is_anything() => {}
                None if old_patterns.is_some() => self.refuse(&path, "added beside `patternProperties`"),
                None if rest(old).is_anything() => {
                    self.refuse(&path, "added to an object that was open: it may hold anything")
                }
                None => self.schemas(n, rest(old), &path, depth + 1),
            }
        }
        for (name, schema) in old_known.into_iter().flatten() {
            if new_known.is_some_and(|known| known.contains_key(name)) || *schema == Value::Bool(false) {
                continue;
            }
            let path = format!("{path}/properties/{name}");
            if new_patterns.is_some() {
                self.refuse(&path, "taken away beside `patternProperties`");
            } else if new.is_closed() {
                self.refuse(&path, "taken away from an object that is closed");
            } else {
                self.schemas(rest(new), old.of(schema), &path, depth + 1);
            }
        }
        for (pattern, schema) in new_patterns.into_iter().flatten() {
            match old_patterns.and_then(|known| known.get(pattern)) {
                Some(was) => {
                    self.schemas(new.of(schema), old.of(was), &format!("{path}/patternProperties"), depth + 1)
                }
                None => self.refuse(path, format_args!("`patternProperties` has the new pattern {pattern}")),
            }
        }
        for (pattern, schema) in old_patterns.into_iter().flatten() {
            if !new_patterns.is_some_and(|known| known.contains_key(pattern)) {
                self.schemas(rest(new), old.of(schema), &format!("{path}/patternProperties"), depth + 1);
            }
        }
        if new.is_closed() && !old.is_closed() {
            self.refuse(path, "the object was open, and is closed");
        } else {
            self.schemas(rest(new), rest(old), &format!("{path}/additionalProperties"), depth + 1);
        }
    }

    fn combinations(&mut self, new: At<'a>, old: At<'a>, path: &str, depth: usize) {
        for (place, part) in new.list("allOf").iter().enumerate() {
            let part = new.of(part);
            if !self.accepts(part, old, depth + 1)
                && !old.list("allOf").iter().any(|was| self.accepts(part, old.of(was), depth + 1))
            {
                self.refuse(path, format_args!("`allOf/{place}` was added or narrowed"));
            }
        }
        for keyword in ["anyOf", "oneOf"] {
            let parts = new.list(keyword);
            if parts.is_empty() {
                continue;
            }
            // A document of one part may fit two parts of a `oneOf` that was an `anyOf`.
            let from = if keyword == "oneOf" { &["oneOf"][..] } else { &["anyOf", "oneOf"][..] };
            let mut covers =
                |was: At<'a>| parts.iter().any(|part| self.accepts(new.of(part), was, depth + 1));
            let fits = covers(old)
                || from.iter().any(|keyword| {
                    let earlier = old.list(keyword);
                    !earlier.is_empty() && earlier.iter().all(|was| covers(old.of(was)))
                });
            if !fits {
                self.refuse(path, format_args!("`{keyword}` doesn't cover what was accepted"));
            }
        }
        if let Some(refused) = new.get("not") {
            // Turned round: what is refused now must have been refused before.
            let same = old.get("not").is_some_and(|was| was == refused && !mentions_reference(was));
            if !same {
                self.refuse(path, "`not` was added or changed");
            }
        }
    }
}

/// The schema at the end of its `$ref`s; none: one can't be followed.
fn follow<'a>(mut at: At<'a>, of: &'a Json) -> Option<At<'a>> {
    for _ in 0..HOPS_MAX {
        let Some(reference) = at.get("$ref") else { return Some(at) };
        let (name, fragment) = reference.as_str()?.split_once('#').unwrap_or((reference.as_str()?, ""));
        let document = if name.is_empty() { at.document } else { of.references.get(name)? };
        at = At { document, schema: document.pointer(&fragment.replace("%25", "%"))? };
    }
    None
}

fn types(of: At<'_>) -> Option<Vec<&str>> {
    match of.get("type")? {
        Value::String(one) => Some(vec![one]),
        Value::Array(several) => Some(several.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The values of `enum`, or of `const`.
fn listed(of: At<'_>) -> Option<&[Value]> {
    match (of.get("const"), of.get("enum")) {
        (Some(one), _) => Some(std::slice::from_ref(one)),
        (None, Some(Value::Array(several))) => Some(several),
        _ => None,
    }
}

fn has_keywords(schema: &Value, wanted: impl Fn(&str) -> bool) -> bool {
    let keys = schema.as_object().into_iter().flat_map(Map::keys);
    keys.map(String::as_str).any(|key| wanted(key) && (KNOWN.contains(&key) || OPAQUE.contains(&key)))
}

/// Whether the same words may mean something else in another document.
fn mentions_reference(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.contains_key("$ref") || map.values().any(mentions_reference),
        Value::Array(items) => items.iter().any(mentions_reference),
        _ => false,
    }
}

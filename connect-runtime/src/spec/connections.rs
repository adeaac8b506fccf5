//! `connections: { NAME: { KIND: { settings } } }`, each checked by its kind's schema and by the kind itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::connector::json;
use super::deployment::ConnectionSpec;
use super::names::{self, NAME_SHAPE, nearest};
use super::read::{Field, Fields, Reader};
use super::settings::{Place, Settings, pointer_join};
use super::source_file::Span;
use super::tree::Data;
use crate::connection::{Connection, Fault, KINDS, Kind, Surroundings, kind};
use crate::plan::guest::typed_references;
use crate::plan::schema::{self, Finding};

/// Most connections of a file.
const CONNECTIONS_MAX: usize = 1_000;

/// All connections of a file, by name; those that can't be used among them, so that who names one is not told of it again.
pub(super) fn read(reader: &mut Reader<'_>, top: &mut Fields<'_>) -> BTreeMap<String, ConnectionSpec> {
    let mut specs = BTreeMap::new();
    let Some(field) = top.take("connections") else { return specs };
    let entries = reader.entries(&field, "a mapping of names to connections");
    if entries.len() > CONNECTIONS_MAX {
        let message = format!("{} connections, at most {CONNECTIONS_MAX} fit in one file", entries.len());
        let problem = reader.at(field.key.span, message).help("split the file");
        reader.push(problem);
    }
    for entry in entries.iter().take(CONNECTIONS_MAX) {
        if !names::is_name(&entry.key.name) {
            let message = format!("a connection can't be called `{}`", entry.key.name);
            let problem = reader.at(entry.key.span, message).expected(NAME_SHAPE);
            reader.push(problem);
        }
        let kind = kind_of(reader, entry);
        let connection = kind.as_ref().and_then(|(kind, block)| connection(reader, entry, kind, block));
        let spec = ConnectionSpec {
            span: entry.key.span,
            kind: kind.map(|(kind, _)| kind.name),
            connection: connection.map(Arc::new),
        };
        specs.insert(entry.key.name.clone(), spec);
    }
    specs
}

fn kind_of<'n>(reader: &mut Reader<'_>, entry: &Field<'n>) -> Option<(&'static Kind, Field<'n>)> {
    let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let block = match &entry.node.data {
        Data::Map(kinds) if kinds.len() == 1 => kinds.first().map(|(key, node)| Field { key, node }),
        _ => None,
    };
    let Some(block) = block else {
        let problem = reader
            .at(entry.key.span, format!("connection `{}` has no kind", entry.key.name))
            .expected(format!(
                "one kind with its settings, such as `{{ {}: {{...}} }}`",
                known.join(": {...} }` or `{ ")
            ));
        reader.push(problem);
        return None;
    };
    let name = &block.key.name;
    let found = kind(name);
    if found.is_none() {
        let problem = reader
            .at(block.key.span, format!("connections of kind `{name}` are not supported by this version"))
            .expected(super::read::one_of(&known))
            .suggest(nearest(name, known.iter().copied()))
            .help("docs/NOT_SUPPORTED.md; files need no connection");
        reader.push(problem);
    }
    found.map(|kind| (kind, block))
}

fn connection(
    reader: &mut Reader<'_>,
    entry: &Field<'_>,
    kind: &Kind,
    block: &Field<'_>,
) -> Option<Connection> {
    let settings = settings(reader, block)?;
    let schema: Value = serde_json::from_str(kind.schema).unwrap_or_default();
    let map = typed_references(&settings, &schema);
    if !fits(reader, kind, block, &settings, &schema, &map) || !settings.is_whole() {
        return None;
    }
    if reader.env.elsewhere().is_some() {
        // What stands for references here is no setting to check.
        return None;
    }
    let file = Arc::clone(&reader.file);
    let around = Surroundings { folder: file.folder(), env: reader.env };
    match Connection::open(&entry.key.name, kind, map, &around) {
        Ok(connection) => Some(connection),
        Err(faults) => {
            for Fault { pointer, message, expected } in faults {
                let span = settings.place(&pointer).map_or(block.key.span, |place| place.value);
                let problem =
                    reader.at(span, format!("`{}` {message}", dotted(&pointer, kind))).expected(expected);
                reader.push(problem);
            }
            None
        }
    }
}

/// The block as JSON with places.
fn settings(reader: &mut Reader<'_>, block: &Field<'_>) -> Option<Settings> {
    let mut settings = Settings::default();
    let Data::Map(entries) = &block.node.data else {
        let expected = format!("a mapping with the settings of `{}`", block.key.name);
        reader.entries(block, &expected);
        return None;
    };
    for (key, node) in entries {
        let pointer = pointer_join("", &key.name);
        let place = Place { key: key.span, value: Field { key, node }.place() };
        settings.places.insert(pointer.clone(), place);
        let value = json(reader, node, &pointer, &mut settings);
        settings.value.insert(key.name.clone(), value);
    }
    Some(settings)
}

fn fits(
    reader: &mut Reader<'_>,
    kind: &Kind,
    block: &Field<'_>,
    settings: &Settings,
    schema: &Value,
    map: &Map<String, Value>,
) -> bool {
    let findings = schema::check(schema, &Value::Object(map.clone())).unwrap_or_else(|why| {
        debug_assert!(false, "the schema of {} can't be used: {why}", kind.name);
        Vec::new()
    });
    let fit = findings.is_empty();
    // What a reference that can't be filled in would have given is not known.
    for found in findings.into_iter().filter(|found| !settings.is_unresolved(&found.pointer)) {
        let problem = report(reader, kind, block.key.span, settings, found);
        reader.push(problem);
    }
    fit
}

fn report(
    reader: &Reader<'_>,
    kind: &Kind,
    span: Span,
    settings: &Settings,
    found: Finding,
) -> super::Diagnostic {
    let span = match settings.place(&found.pointer) {
        Some(place) if found.at_key => place.key,
        Some(place) => place.value,
        None => span,
    };
    let message = match found.at_key {
        true => format!("connection of kind `{}`: {}", kind.name, found.message),
        false => format!("`{}` {}", dotted(&found.pointer, kind), found.message),
    };
    let mut problem = reader.at(span, message).suggest(found.suggestion);
    problem.expected = found.expected;
    problem
}

fn dotted(pointer: &str, kind: &Kind) -> String {
    match pointer.strip_prefix('/') {
        Some(path) => path.replace('/', ".").replace("~1", "/").replace("~0", "~"),
        None => kind.name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_schema_that_can_be_used_and_says_what_each_setting_is() {
        for kind in KINDS {
            let schema: Value = serde_json::from_str(kind.schema).unwrap();
            schema::check(&schema, &serde_json::json!({ "url": "https://a.example" })).unwrap();
            assert_eq!(schema["additionalProperties"], false, "{}", kind.name);
            for (name, about) in schema["properties"].as_object().unwrap() {
                assert!(about["description"].is_string(), "{}: {name}", kind.name);
            }
        }
    }
}

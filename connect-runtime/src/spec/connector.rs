//! A source, a sink or a transform as the file declares it.
//!
//! The connector's own settings stand flat beside `connector:`; the keys in [`RESERVED`] are ours in every connector block,
//! whether or not the role has a use for them, so that a connector's schema can't claim one.

use std::path::Path;

use serde_json::{Map, Value};

use crate::plan::{Access, ComponentRef, ErrorPlan, FolderGrant, Limits, Tolerance};

use super::deployment::{ConnectorSpec, Role, TransformSpec};
use super::format;
use super::names::nearest;
use super::pipeline::topic_name;
use super::predicate;
use super::read::{Field, Fields, Reader, Text};
use super::settings::{Place, Settings, pointer_join};
use super::source_file::Span;
use super::tree::{Data, Node, Plain, plain_type};

/// Keys of a connector block that are not the connector's settings.
pub const RESERVED: &[&str] = &[
    "connector",
    "tasks",
    "files",
    "limits",
    "errors",
    "transforms",
    "flush_interval",
    "predicate",
    "negate",
    "key_format",
    "value_format",
];

/// Keys of `files`, `limits` and `errors`.
pub(super) const FILES_KEYS: &[&str] = &["read", "write"];
pub(super) const LIMITS_KEYS: &[&str] = &["memory", "call_timeout"];
pub(super) const ERRORS_KEYS: &[&str] =
    &["tolerance", "dead_letter_topic", "retry_timeout", "retry_delay_max"];

/// Most tasks of one connector.
pub(super) const TASKS_MAX: i64 = 1_000;
/// Longest chain of transforms.
pub(super) const TRANSFORMS_MAX: usize = 32;
/// Least memory that a component can start in.
pub(super) const MEMORY_BYTES_MIN: u64 = 1 << 20;
/// The address space of a component: it can't use more.
pub(super) const MEMORY_BYTES_MAX: u64 = 4 << 30;

/// A source or a sink.
pub(super) fn read(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    role: Role,
    name: String,
) -> Option<ConnectorSpec> {
    let mut fields = reader.fields(field, RESERVED)?;
    let component = component(reader, &mut fields, field);
    let formats = format::read(reader, &mut fields, role);
    let tasks_max = fields.take("tasks").and_then(|field| reader.whole(&field, 1..=TASKS_MAX));
    let files = files(reader, &mut fields);
    let limits = limits(reader, &mut fields);
    let errors = errors(reader, &mut fields);
    let flush_interval = fields.take("flush_interval").and_then(|field| {
        if role != Role::Sink {
            misplaced(reader, &field, "only sinks are flushed");
        }
        reader.duration(&field)
    });
    let transforms = match fields.take("transforms") {
        Some(field) if role == Role::Source => {
            misplaced(
                reader,
                &field,
                "a source's transforms stand beside it, as `transforms` of the pipeline",
            );
            Vec::new()
        }
        Some(field) => transforms(reader, &field),
        None => Vec::new(),
    };
    for name in ["predicate", "negate"] {
        if let Some(field) = fields.take(name) {
            misplaced(reader, &field, "predicates say which records a transform is given; put it there");
        }
    }
    let settings = settings(reader, &fields);
    let Named { component, span } = component;
    Some(ConnectorSpec {
        name,
        role,
        span,
        component,
        tasks_max: tasks_max.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
        settings,
        files,
        limits,
        errors,
        formats,
        flush_interval,
        transforms,
    })
}

/// A chain of transforms.
pub(super) fn transforms(reader: &mut Reader<'_>, field: &Field<'_>) -> Vec<TransformSpec> {
    let items = reader.items(field, "a list of `{ connector: ..., ... }`");
    if items.len() > TRANSFORMS_MAX {
        let message = format!("{} transforms, at most {TRANSFORMS_MAX} make a chain", items.len());
        let problem = reader.at(field.key.span, message);
        reader.push(problem);
    }
    items.iter().take(TRANSFORMS_MAX).filter_map(|node| transform(reader, field, node)).collect()
}

fn transform(reader: &mut Reader<'_>, chain: &Field<'_>, node: &Node) -> Option<TransformSpec> {
    let key = super::tree::Key { name: chain.key.name.clone(), span: Span { width: 1, ..node.span } };
    let field = Field { key: &key, node };
    let mut fields = reader.fields(&field, RESERVED)?;
    let component = component(reader, &mut fields, &field);
    for name in ["tasks", "errors", "transforms", "flush_interval", "key_format", "value_format"] {
        if let Some(field) = fields.take(name) {
            misplaced(reader, &field, "a transform runs inside the task of its source or sink; put it there");
        }
    }
    let files = files(reader, &mut fields);
    let limits = limits(reader, &mut fields);
    let predicate = predicate::read(reader, &mut fields);
    let settings = settings(reader, &fields);
    let Named { component, span } = component;
    Some(TransformSpec { span, component, settings, files, limits, predicate })
}

fn misplaced(reader: &mut Reader<'_>, field: &Field<'_>, why: &str) {
    let problem = reader.at(field.key.span, format!("`{}` has no place here", field.key.name)).help(why);
    reader.push(problem);
}

/// What stands behind `connector:`.
struct Named {
    /// `None`: it was refused.
    component: Option<ComponentRef>,
    /// Where it stands, or the block if it is missing.
    span: Span,
}

/// A bundled name (looked up later) or a `.wasm` file (must be there).
fn component(reader: &mut Reader<'_>, fields: &mut Fields<'_>, block: &Field<'_>) -> Named {
    let expected = "the name of a bundled connector, or the path of a `.wasm` file";
    let Some(field) = fields.take("connector") else {
        let problem =
            reader.at(block.key.span, format!("`{}` names no connector", block.key.name)).expected(expected);
        let guess = fields.rest().iter().find_map(|field| nearest(&field.key.name, ["connector"]));
        reader.push(problem.suggest(guess));
        return Named { component: None, span: block.key.span };
    };
    let Some(text) = reader.text(&field, expected) else {
        return Named { component: None, span: field.place() };
    };
    let component = component_ref(reader, &text, expected);
    Named { component, span: text.span }
}

fn component_ref(reader: &mut Reader<'_>, text: &Text, expected: &str) -> Option<ComponentRef> {
    if text.value.ends_with(".wasm") {
        let path = reader.absolute(&text.value);
        if reader.exists(&path) {
            return Some(ComponentRef::Path(path));
        }
        let problem = reader
            .at(text.span, format!("component {} is not there", text.shown()))
            .help("paths start from the folder of this YAML file; is the component built?");
        reader.push(problem);
        return None;
    }
    if text.value.is_empty() || text.value.contains(['/', '\\']) {
        let problem =
            reader.at(text.span, format!("no connector is called {}", text.shown())).expected(expected);
        reader.push(problem);
        return None;
    }
    Some(ComponentRef::Bundled(text.value.clone()))
}

/// `files: { read: [folder, ...], write: [folder, ...] }`.
fn files(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Vec<FolderGrant> {
    let mut grants = Vec::new();
    let Some(field) = fields.take("files") else { return grants };
    let Some(mut kinds) = reader.fields(&field, FILES_KEYS) else { return grants };
    for (name, access) in [("read", Access::Read), ("write", Access::Write)] {
        let Some(field) = kinds.take(name) else { continue };
        for node in reader.items(&field, "a list of folders") {
            let item = Field { key: field.key, node };
            if let Some(text) = reader.text(&item, "a folder") {
                grants.push(FolderGrant { host: reader.absolute(&text.value), guest: text.value, access });
            }
        }
    }
    kinds.finish(reader);
    grants
}

/// `limits: { memory: 256MiB, call_timeout: 60s }`.
fn limits(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Limits {
    let mut limits = Limits::default();
    let Some(field) = fields.take("limits") else { return limits };
    let Some(mut known) = reader.fields(&field, LIMITS_KEYS) else { return limits };
    if let Some(field) = known.take("memory")
        && let Some(bytes) = reader.size(&field)
    {
        limits.memory_bytes_max = bytes;
        if !(MEMORY_BYTES_MIN..=MEMORY_BYTES_MAX).contains(&bytes) {
            let problem =
                reader.at(field.place(), "`memory` is out of range").expected("a size from 1MiB to 4GiB");
            reader.push(problem);
        }
    }
    if let Some(field) = known.take("call_timeout")
        && let Some(timeout) = reader.duration(&field)
    {
        limits.call_timeout = timeout;
        if timeout.is_zero() {
            let problem =
                reader.at(field.place(), "`call_timeout` can't be zero").expected("such as \"60s\"");
            reader.push(problem);
        }
    }
    known.finish(reader);
    limits
}

/// `errors: { tolerance, dead_letter_topic, retry_timeout, retry_delay_max }`.
fn errors(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> ErrorPlan {
    let mut plan = ErrorPlan::default();
    let Some(field) = fields.take("errors") else { return plan };
    let Some(mut fields) = reader.fields(&field, ERRORS_KEYS) else { return plan };
    if let Some(field) = fields.take("tolerance") {
        let words = [("none", Tolerance::None), ("all", Tolerance::All)];
        plan.tolerance = reader.word(&field, &words).unwrap_or_default();
    }
    if let Some(field) = fields.take("dead_letter_topic") {
        plan.dead_letter_topic = topic_name(reader, &field);
        if plan.tolerance == Tolerance::None {
            let problem = reader
                .at(field.key.span, "a dead letter topic with tolerance `none` would stay empty")
                .help("add `tolerance: all`, or remove it: with `none` the first bad record fails the task");
            reader.push(problem);
        }
    }
    if let Some(field) = fields.take("retry_timeout") {
        plan.retry_timeout = reader.duration(&field).unwrap_or(plan.retry_timeout);
    }
    if let Some(field) = fields.take("retry_delay_max") {
        plan.retry_delay_max = reader.duration(&field).unwrap_or(plan.retry_delay_max);
    }
    fields.finish(reader);
    plan
}

/// What is left of the block, as JSON with places.
fn settings(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Settings {
    let mut settings = Settings::default();
    for field in fields.rest() {
        let pointer = pointer_join("", &field.key.name);
        settings.places.insert(pointer.clone(), Place { key: field.key.span, value: field.place() });
        let value = json(reader, field.node, &pointer, &mut settings);
        settings.raw.insert(field.key.name.clone(), unresolved(field.node));
        settings.value.insert(field.key.name.clone(), value);
    }
    settings
}

/// A node as JSON. Recursive, but no deeper than the tree's own limit.
pub(super) fn json(reader: &mut Reader<'_>, node: &Node, pointer: &str, settings: &mut Settings) -> Value {
    match &node.data {
        Data::Scalar { text, plain } => {
            let Some(resolved) = reader.resolved(text, node.span) else {
                settings.unresolved.insert(pointer.to_owned());
                return Value::Null;
            };
            if resolved.referenced {
                settings.referenced.insert(pointer.to_owned());
            }
            match plain_type(text) {
                Plain::Null if *plain => Value::Null,
                Plain::Bool(value) if *plain => Value::Bool(value),
                Plain::Int(value) if *plain => value.into(),
                Plain::Float(value) if *plain => value.into(),
                _ => Value::String(resolved.value),
            }
        }
        Data::List(items) => {
            let item = |(at, node): (usize, &Node)| {
                let pointer = format!("{pointer}/{at}");
                settings.places.insert(pointer.clone(), Place { key: node.span, value: node.span });
                json(reader, node, &pointer, settings)
            };
            Value::Array(items.iter().enumerate().map(item).collect())
        }
        Data::Map(entries) => {
            let mut map = Map::new();
            for (key, node) in entries {
                let pointer = pointer_join(pointer, &key.name);
                let place = Place { key: key.span, value: Field { key, node }.place() };
                settings.places.insert(pointer.clone(), place);
                map.insert(key.name.clone(), json(reader, node, &pointer, settings));
            }
            Value::Object(map)
        }
    }
}

/// A node as JSON with its references as they are written. Recursive like [`json`].
fn unresolved(node: &Node) -> Value {
    match &node.data {
        Data::Scalar { text, plain: true } => match plain_type(text) {
            Plain::Null => Value::Null,
            Plain::Bool(value) => Value::Bool(value),
            Plain::Int(value) => value.into(),
            Plain::Float(value) => value.into(),
            Plain::Text => text.as_str().into(),
        },
        Data::Scalar { text, .. } => text.as_str().into(),
        Data::List(items) => Value::Array(items.iter().map(unresolved).collect()),
        Data::Map(entries) => {
            Value::Object(entries.iter().map(|(key, node)| (key.name.clone(), unresolved(node))).collect())
        }
    }
}

/// True if `path` may be the path of a component rather than a name.
#[must_use]
pub fn is_component_path(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wasm")
}

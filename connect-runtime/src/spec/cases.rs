//! Cases that a pipeline is tested with, without a cluster: `tests:` of a pipeline, or the same beside it in
//! `<file>.tests.yaml`, as `tests: { <pipeline>: [...] }`.
//!
//! A record is a mapping of `value`, `key`, `headers`, `topic`, `partition`, `offset`, `timestamp`. Text stands for its bytes, null
//! for null, anything else for its JSON. Of an expected record only what is written is compared.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::connector::json;
use super::deployment::{Case, CaseStart, Content, Deployment, Expected, RecordSpec, RejectionSpec};
use super::diagnostic::{Diagnostic, Problems};
use super::names::nearest;
use super::read::{Field, Fields, Reader};
use super::reference::Environment;
use super::settings::Settings;
use super::source_file::SourceFile;
use super::tree::{self, Data, Key, Node, Plain, plain_type};

pub(super) const CASE_KEYS: &[&str] = &["name", "start", "input", "topic", "sinks", "rejected"];
pub(super) const RECORD_KEYS: &[&str] =
    &["value", "key", "headers", "topic", "partition", "offset", "timestamp"];
pub(super) const REJECTED_KEYS: &[&str] = &["record", "code", "message"];
const RECORDS: &str = "a list of records, such as `[{ value: { id: 1 } }]`";
/// How a file of cases ends; what comes before it is the name of the pipelines' file.
const ENDING: &str = ".tests.yaml";
/// Most records of one list.
const RECORDS_MAX: i64 = 10_000;

/// Whether a file holds cases and no pipelines.
pub(super) fn is_cases_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ENDING))
}

/// Where the cases of a file of pipelines stand, if they stand beside it.
pub(super) fn beside(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}{ENDING}"))
}

/// `tests:` of a pipeline.
pub(super) fn read(reader: &mut Reader<'_>, field: &Field<'_>) -> Vec<Case> {
    let items = reader.items(field, "a list of cases, each `{ name, input, ... }`");
    items.iter().filter_map(|node| case(reader, field, node)).collect()
}

/// The cases of a file of their own, with the pipeline of each.
pub(super) fn read_file(
    file: &Arc<SourceFile>,
    env: &dyn Environment,
    pipelines: Option<&Deployment>,
) -> (Vec<(String, Case)>, Vec<Diagnostic>) {
    let mut reader = Reader { file: Arc::clone(file), env, problems: Problems::new(file) };
    let mut all = Vec::new();
    if let Some(root) = tree::parse(file.text(), &mut reader.problems) {
        let key = Key { name: "the file".into(), span: root.span };
        if let Some(mut top) = reader.fields(&Field { key: &key, node: &root }, &["tests"]) {
            let tests = top.take("tests");
            top.finish(&mut reader);
            for entry in tests
                .map(|field| reader.entries(&field, "a mapping of pipelines to cases"))
                .unwrap_or_default()
            {
                let name = &entry.key.name;
                if let Some(deployment) = pipelines {
                    check_name(&mut reader, &entry, deployment);
                }
                all.extend(read(&mut reader, &entry).into_iter().map(|case| (name.clone(), case)));
            }
        }
    }
    (all, reader.problems.into_sorted())
}

fn check_name(reader: &mut Reader<'_>, entry: &Field<'_>, deployment: &Deployment) {
    let name = &entry.key.name;
    let known: Vec<&str> = deployment.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
    if !known.contains(&name.as_str()) {
        let message = format!("{} has no pipeline `{name}`", deployment.file.path().display());
        let problem = reader.at(entry.key.span, message).suggest(nearest(name, known));
        reader.push(problem);
    }
}

fn case(reader: &mut Reader<'_>, list: &Field<'_>, node: &Node) -> Option<Case> {
    let key = item_key(list, node);
    let field = Field { key: &key, node };
    let mut fields = reader.fields(&field, CASE_KEYS)?;
    let name = fields.take("name").and_then(|field| reader.text(&field, "what the case shows"));
    let start = fields
        .take("start")
        .and_then(|field| reader.word(&field, &[("source", CaseStart::Source), ("topic", CaseStart::Topic)]));
    let input = fields.take("input");
    let topic = fields.take("topic").map(|field| expected(reader, &field));
    let mut sinks = Vec::new();
    if let Some(field) = fields.take("sinks") {
        for entry in reader.entries(&field, "a mapping of sinks to records") {
            sinks.push((entry.key.name.clone(), expected(reader, &entry)));
        }
    }
    let rejected = fields.take("rejected").map(|field| rejections(reader, &field)).unwrap_or_default();
    fields.finish(reader);
    let missing = |what: &str, expected: &str, reader: &mut Reader<'_>| {
        let problem = reader.at(key.span, format!("the case has no {what}")).expected(expected);
        reader.push(problem);
    };
    if name.is_none() {
        missing("name", "`name`: what it shows", reader);
    }
    if topic.is_none() && sinks.is_empty() && rejected.is_empty() {
        missing("expectation", "`topic`, `sinks` or `rejected`: what comes out", reader);
    }
    let Some(input) = input else {
        missing("input", RECORDS, reader);
        return None;
    };
    Some(Case {
        file: Arc::clone(&reader.file),
        span: key.span,
        name: name?.value,
        start: start.unwrap_or_default(),
        input: records(reader, &input),
        topic,
        sinks,
        rejected,
    })
}

/// A key to point at, for an item of a list.
fn item_key(list: &Field<'_>, node: &Node) -> Key {
    Key { name: list.key.name.clone(), span: super::Span { width: 1, ..node.span } }
}

fn expected(reader: &mut Reader<'_>, field: &Field<'_>) -> Expected {
    Expected { span: field.key.span, records: records(reader, field) }
}

fn records(reader: &mut Reader<'_>, field: &Field<'_>) -> Vec<RecordSpec> {
    let items = reader.items(field, RECORDS);
    items.iter().filter_map(|node| record(reader, field, node)).collect()
}

fn record(reader: &mut Reader<'_>, list: &Field<'_>, node: &Node) -> Option<RecordSpec> {
    let key = item_key(list, node);
    let mut fields = reader.fields(&Field { key: &key, node }, RECORD_KEYS)?;
    let partition = number("partition", reader, &mut fields);
    let offset = number("offset", reader, &mut fields);
    let timestamp_ms = number("timestamp", reader, &mut fields);
    let topic = fields.take("topic").and_then(|field| reader.text(&field, "a topic")).map(|text| text.value);
    let spec = RecordSpec {
        span: key.span,
        topic,
        partition: partition.and_then(|partition| i32::try_from(partition).ok()),
        offset,
        timestamp_ms,
        key: fields.take("key").map(|field| content(reader, field.node)),
        value: fields.take("value").map(|field| content(reader, field.node)),
        headers: fields.take("headers").map(|field| {
            let entries = reader.entries(&field, "a mapping of names to values");
            entries.into_iter().map(|entry| (entry.key.name.clone(), content(reader, entry.node))).collect()
        }),
    };
    fields.finish(reader);
    Some(spec)
}

/// A number that is not negative.
fn number(name: &'static str, reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<i64> {
    fields.take(name).and_then(|field| reader.whole(&field, 0..=i64::MAX))
}

fn content(reader: &mut Reader<'_>, node: &Node) -> Content {
    match &node.data {
        Data::Scalar { text, plain: true } if matches!(plain_type(text), Plain::Null) => Content::Null,
        Data::Scalar { .. } => match json(reader, node, "", &mut Settings::default()) {
            Value::String(text) => Content::Text(text),
            other => Content::Json(other.to_string()),
        },
        Data::List(_) | Data::Map(_) => Content::Json(document(reader, node)),
    }
}

/// A node as a JSON document, its members in the order in which they are written. Recursive, but no deeper than the tree's
/// own limit.
fn document(reader: &mut Reader<'_>, node: &Node) -> String {
    match &node.data {
        Data::Scalar { .. } => json(reader, node, "", &mut Settings::default()).to_string(),
        Data::List(items) => {
            let items: Vec<String> = items.iter().map(|item| document(reader, item)).collect();
            format!("[{}]", items.join(","))
        }
        Data::Map(members) => {
            let member = |(key, node): &(Key, Node)| {
                format!("{}:{}", Value::from(key.name.as_str()), document(reader, node))
            };
            let members: Vec<String> = members.iter().map(member).collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

fn rejections(reader: &mut Reader<'_>, field: &Field<'_>) -> Vec<RejectionSpec> {
    let items = reader.items(field, "a list such as `[{ record: 0, code: json }]`");
    let mut all = Vec::new();
    for node in items {
        let key = item_key(field, node);
        let Some(mut fields) = reader.fields(&Field { key: &key, node }, REJECTED_KEYS) else { continue };
        let record = fields.take("record").and_then(|field| reader.whole(&field, 0..=RECORDS_MAX));
        let mut text = |name, reader: &mut Reader<'_>| {
            fields.take(name).and_then(|field| reader.text(&field, "text")).map(|text| text.value)
        };
        let (code, message) = (text("code", reader), text("message", reader));
        fields.finish(reader);
        match record {
            Some(record) => {
                let record = usize::try_from(record).unwrap_or(usize::MAX);
                all.push(RejectionSpec { span: key.span, record, code, message });
            }
            None => {
                let problem = reader
                    .at(key.span, "a rejection names no record")
                    .expected("`record`: its place in `input`, from 0");
                reader.push(problem);
            }
        }
    }
    all
}

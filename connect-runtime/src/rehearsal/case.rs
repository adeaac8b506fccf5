//! A test case: its records through the pipeline's transforms, and what came out beside what was expected.
//!
//! The way of a record is that of the running pipeline: source's transforms, topic, each sink's transforms. What is routed to
//! another topic is expected under `topic`, too, and goes to no sink.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::record::Record;
use super::{Outcome, Rehearsal, after};
use crate::component::ComponentHost;
use crate::failure::TaskError;
use crate::plan::{PipelinePlan, TransformPlan};
use crate::spec::{Case, CaseStart, Content, Diagnostic, Expected, RecordSpec, RejectionSpec, nearest};

/// One difference between what was expected and what came out.
#[derive(Debug)]
pub struct Mismatch {
    /// Where the expectation stands, and what is wrong with it.
    pub place: Diagnostic,
    /// What was expected, if something was.
    pub expected: Option<String>,
    /// What came out, if something did.
    pub found: Option<String>,
}

/// A record that a transform refused.
struct Refused {
    /// Its place in the input.
    record: usize,
    /// Source or sink.
    side: String,
    transform: String,
    code: String,
    message: String,
}

/// Runs a case; no mismatch: it holds.
///
/// # Errors
/// When a transform can't be started, or fails as a whole.
pub async fn run(host: &ComponentHost, plan: &PipelinePlan, case: &Case) -> Result<Vec<Mismatch>, TaskError> {
    let mut refused = Vec::new();
    let input = case.input.iter().map(|spec| record(spec, plan)).enumerate().collect::<Vec<_>>();
    let in_topic = match &plan.source {
        Some(source) if case.start == CaseStart::Source => {
            let side = ("source", source.name.as_str());
            through(host, side, &source.transforms, plan, input, &mut refused).await?
        }
        _ => input,
    };
    let mut mismatches = Vec::new();
    if let Some(expected) = &case.topic {
        compare(case, "topic", expected, &in_topic, &mut mismatches);
    }
    // A place in the topic, for what will ask for it.
    let own = |record: &Record| record.topic.as_deref().is_none_or(|topic| topic == plan.topic.name);
    let mut read: Vec<(usize, Record)> = in_topic.into_iter().filter(|(_, record)| own(record)).collect();
    let mut ends = BTreeMap::new();
    for (_, record) in &mut read {
        let end = ends.entry(*record.partition.get_or_insert(0)).or_insert(0);
        *end = *record.offset.get_or_insert(*end) + 1;
        record.topic = Some(plan.topic.name.clone());
    }
    for (name, expected) in &case.sinks {
        let sinks = || plan.sinks.iter().map(|sink| (sink, short(&sink.name)));
        let Some((sink, _)) = sinks().find(|(_, known)| known == name) else {
            let message = format!("pipeline {} has no sink `{name}`", plan.name);
            let near = nearest(name, sinks().map(|(_, known)| known));
            mismatches.push(mismatch(Diagnostic::new(&case.file, expected.span, message).suggest(near)));
            continue;
        };
        let side = (name.as_str(), sink.name.as_str());
        let given = through(host, side, &sink.transforms, plan, read.clone(), &mut refused).await?;
        compare(case, &format!("sink {name}"), expected, &given, &mut mismatches);
    }
    compare_refused(case, &refused, &mut mismatches);
    Ok(mismatches)
}

/// The sink's name within its pipeline.
fn short(name: &str) -> &str {
    name.split_once('.').map_or(name, |(_, sink)| sink)
}

/// Records through the transforms of one side.
async fn through(
    host: &ComponentHost,
    (side, connector): (&str, &str),
    transforms: &[TransformPlan],
    plan: &PipelinePlan,
    records: Vec<(usize, Record)>,
    refused: &mut Vec<Refused>,
) -> Result<Vec<(usize, Record)>, TaskError> {
    let mut rehearsal = Rehearsal::open(host, connector, transforms, &plan.topic.name).await?;
    let mut out = Vec::new();
    for (number, record) in records {
        let steps = rehearsal.record(&record).await?;
        match after(&record, &steps) {
            Some(records) => out.extend(records.into_iter().map(|record| (number, record))),
            None => refused.extend(steps.into_iter().filter_map(|step| match step.outcome {
                Outcome::Rejected { code, message } => Some(Refused {
                    record: number,
                    side: side.to_owned(),
                    transform: step.transform,
                    code,
                    message,
                }),
                _ => None,
            })),
        }
    }
    rehearsal.close().await?;
    Ok(out)
}

/// A case's record as a record.
fn record(spec: &RecordSpec, plan: &PipelinePlan) -> Record {
    Record {
        topic: Some(spec.topic.clone().unwrap_or_else(|| plan.topic.name.clone())),
        partition: spec.partition,
        offset: spec.offset,
        timestamp_ms: spec.timestamp_ms,
        key: spec.key.as_ref().and_then(bytes),
        value: spec.value.as_ref().and_then(bytes),
        headers: spec.headers.iter().flatten().map(|(name, value)| (name.clone(), bytes(value))).collect(),
    }
}

fn bytes(content: &Content) -> Option<Vec<u8>> {
    match content {
        Content::Null => None,
        Content::Text(text) => Some(text.clone().into_bytes()),
        Content::Json(document) => Some(document.clone().into_bytes()),
    }
}

fn compare(
    case: &Case,
    at: &str,
    expected: &Expected,
    found: &[(usize, Record)],
    mismatches: &mut Vec<Mismatch>,
) {
    let mut found = found.iter().map(|(_, record)| record);
    for (number, wanted) in expected.records.iter().enumerate() {
        let found = found.next();
        if found.is_some_and(|found| matches(wanted, found)) {
            continue;
        }
        let message = match found {
            Some(_) => format!("{at}: record {number} is another"),
            None => format!("{at}: record {number} is missing"),
        };
        mismatches.push(Mismatch {
            place: Diagnostic::new(&case.file, wanted.span, message),
            expected: Some(written(wanted)),
            found: found.map(|found| shown(found, Some(wanted))),
        });
    }
    for (number, extra) in (expected.records.len()..).zip(found) {
        mismatches.push(Mismatch {
            place: Diagnostic::new(
                &case.file,
                expected.span,
                format!("{at}: record {number} was not expected"),
            ),
            expected: None,
            found: Some(shown(extra, None)),
        });
    }
}

/// Whether a record is as written, in all that is written.
fn matches(wanted: &RecordSpec, found: &Record) -> bool {
    let part = |wanted: &Option<Content>, found: &Option<Vec<u8>>| {
        wanted.as_ref().is_none_or(|wanted| is(wanted, found.as_deref()))
    };
    let headers = |wanted: &Vec<(String, Content)>| {
        let fits = |(name, value): &(String, Content)| {
            found
                .headers
                .iter()
                .rfind(|(known, _)| known == name)
                .is_some_and(|(_, found)| is(value, found.as_deref()))
        };
        let known = |name: &String| wanted.iter().any(|(wanted, _)| wanted == name);
        wanted.iter().all(fits) && found.headers.iter().all(|(name, _)| known(name))
    };
    part(&wanted.key, &found.key)
        && part(&wanted.value, &found.value)
        && wanted.headers.as_ref().is_none_or(headers)
        && (wanted.topic.is_none() || wanted.topic == found.topic)
        && (wanted.partition.is_none() || wanted.partition == found.partition)
        && (wanted.offset.is_none() || wanted.offset == found.offset)
        && (wanted.timestamp_ms.is_none() || wanted.timestamp_ms == found.timestamp_ms)
}

/// Whether bytes are as written: a document by what it says, text by its bytes.
fn is(wanted: &Content, found: Option<&[u8]>) -> bool {
    match (wanted, found) {
        (Content::Null, None) => true,
        (Content::Text(text), Some(found)) => text.as_bytes() == found,
        (Content::Json(wanted), Some(found)) => {
            let value = |text| serde_json::from_slice::<Value>(text).ok();
            value(wanted.as_bytes()).zip(value(found)).is_some_and(|(wanted, found)| same(&wanted, &found))
        }
        _ => false,
    }
}

/// Whether two documents say the same; 1 and 1.0 do.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            x == y || (x.is_f64() || y.is_f64()) && x.as_f64() == y.as_f64()
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(name, x)| y.get(name).is_some_and(|y| same(x, y)))
        }
        (a, b) => a == b,
    }
}

fn compare_refused(case: &Case, refused: &[Refused], mismatches: &mut Vec<Mismatch>) {
    let fits = |wanted: &RejectionSpec, found: &Refused| {
        wanted.record == found.record
            && wanted.code.as_ref().is_none_or(|code| *code == found.code)
            && wanted.message.as_ref().is_none_or(|part| found.message.contains(part))
    };
    let words = |found: &Refused| {
        let Refused { side, transform, code, message, .. } = found;
        format!("{transform} of {side}: {message} ({code})")
    };
    for wanted in &case.rejected {
        if refused.iter().any(|found| fits(wanted, found)) {
            continue;
        }
        let message = format!("record {} was not rejected so", wanted.record);
        let known = [("code", &wanted.code), ("message", &wanted.message)];
        let known = known.into_iter().filter_map(|(name, text)| Some(format!("{name} {}", text.as_ref()?)));
        mismatches.push(Mismatch {
            place: Diagnostic::new(&case.file, wanted.span, message),
            expected: Some(known.collect::<Vec<_>>().join(", ")).filter(|known| !known.is_empty()),
            found: refused.iter().find(|found| found.record == wanted.record).map(words),
        });
    }
    for found in refused {
        if case.rejected.iter().any(|wanted| wanted.record == found.record) {
            continue;
        }
        let span = case.input.get(found.record).map_or(case.span, |record| record.span);
        let message = format!("record {} was rejected", found.record);
        mismatches.push(Mismatch {
            place: Diagnostic::new(&case.file, span, message),
            expected: None,
            found: Some(words(found)),
        });
    }
}

fn mismatch(place: Diagnostic) -> Mismatch {
    Mismatch { place, expected: None, found: None }
}

/// An expected record in one line.
fn written(spec: &RecordSpec) -> String {
    let mut line = Map::new();
    let content = |content: &Content| match content {
        Content::Null => Value::Null,
        Content::Text(text) => text.as_str().into(),
        Content::Json(document) => serde_json::from_str(document).unwrap_or_default(),
    };
    let mut add = |name: &str, value: Option<Value>| value.map(|value| line.insert(name.to_owned(), value));
    add("key", spec.key.as_ref().map(content));
    add("value", spec.value.as_ref().map(content));
    let headers = |headers: &Vec<(String, Content)>| {
        headers.iter().map(|(name, value)| (name.clone(), content(value))).collect::<Map<_, _>>().into()
    };
    add("headers", spec.headers.as_ref().map(headers));
    add("topic", spec.topic.clone().map(Value::from));
    add("partition", spec.partition.map(Value::from));
    add("offset", spec.offset.map(Value::from));
    add("timestamp", spec.timestamp_ms.map(Value::from));
    Value::Object(line).to_string()
}

/// A record in one line, with what `beside` has; none: key and value.
fn shown(record: &Record, beside: Option<&RecordSpec>) -> String {
    let mut line = Map::new();
    let content = |bytes: &Option<Vec<u8>>, as_text: bool| match bytes {
        None => Value::Null,
        Some(bytes) => {
            let text = || Value::from(String::from_utf8_lossy(bytes));
            if as_text { text() } else { serde_json::from_slice(bytes).unwrap_or_else(|_| text()) }
        }
    };
    let is_text = |content: &Option<Content>| matches!(content, Some(Content::Text(_)));
    let has = |has: fn(&RecordSpec) -> bool| beside.is_some_and(has);
    if beside.is_none_or(|beside| beside.key.is_some()) {
        line.insert("key".to_owned(), content(&record.key, beside.is_none_or(|beside| is_text(&beside.key))));
    }
    if beside.is_none_or(|beside| beside.value.is_some()) {
        let as_text = beside.is_some_and(|beside| is_text(&beside.value));
        line.insert("value".to_owned(), content(&record.value, as_text));
    }
    if has(|beside| beside.headers.is_some()) {
        let headers = record.headers.iter().map(|(name, value)| (name.clone(), content(value, true)));
        line.insert("headers".to_owned(), Value::Object(headers.collect()));
    }
    if has(|beside| beside.topic.is_some()) {
        line.insert("topic".to_owned(), json!(record.topic));
    }
    if has(|beside| beside.partition.is_some()) {
        line.insert("partition".to_owned(), json!(record.partition));
    }
    if has(|beside| beside.offset.is_some()) {
        line.insert("offset".to_owned(), json!(record.offset));
    }
    if has(|beside| beside.timestamp_ms.is_some()) {
        line.insert("timestamp".to_owned(), json!(record.timestamp_ms));
    }
    Value::Object(line).to_string()
}

//! Which records a transform is given: `predicate` and `negate`, with the names of Kafka Connect's predicates (KIP-585).

use crate::plan::{PredicatePlan, RecordTest};

use super::read::{Field, Fields, Reader};

/// A predicate's keys.
const KEYS: &[&str] = &["type", "pattern", "name"];

/// The types, by the names of Kafka's classes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    TopicNameMatches,
    HasHeaderKey,
    RecordIsTombstone,
}

/// The types and the one setting that each takes.
const TYPES: [(&str, Type, Option<&str>); 3] = [
    ("TopicNameMatches", Type::TopicNameMatches, Some("pattern")),
    ("HasHeaderKey", Type::HasHeaderKey, Some("name")),
    ("RecordIsTombstone", Type::RecordIsTombstone, None),
];

/// `predicate: { type: TopicNameMatches, pattern: ... }` and `negate: true`; none: every record.
pub(super) fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<PredicatePlan> {
    let negate = fields.take("negate");
    let Some(field) = fields.take("predicate") else {
        if let Some(negate) = negate {
            let problem = reader
                .at(negate.key.span, "`negate` without a `predicate`")
                .help("give the transform a `predicate`, or remove it");
            reader.push(problem);
        }
        return None;
    };
    let negate =
        negate.and_then(|field| reader.word(&field, &[("true", true), ("false", false)])).unwrap_or_default();
    Some(PredicatePlan { test: test(reader, &field)?, negate })
}

fn test(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<RecordTest> {
    let mut fields = reader.fields(field, KEYS)?;
    let Some(kind) = fields.take("type") else {
        let problem = reader
            .at(field.key.span, "the predicate has no `type`")
            .expected("such as `{ type: HasHeaderKey, name: ... }`");
        reader.push(problem);
        return None;
    };
    let kind = reader.word(&kind, &TYPES.map(|(name, kind, _)| (name, kind)))?;
    let (name, _, setting) = TYPES.into_iter().find(|(_, known, _)| *known == kind)?;
    let value = match setting {
        None => Some(String::new()),
        Some(setting) => match fields.take(setting) {
            Some(field) => value(reader, &field, kind),
            None => {
                let problem = reader
                    .at(field.key.span, format!("{name} needs a `{setting}`"))
                    .expected(format!("`{{ type: {name}, {setting}: ... }}`"));
                reader.push(problem);
                None
            }
        },
    };
    for other in ["pattern", "name"] {
        if let Some(field) = fields.take(other).filter(|_| setting != Some(other)) {
            let problem = reader
                .at(field.key.span, format!("{name} takes no `{other}`"))
                .help("remove it, or choose another type");
            reader.push(problem);
        }
    }
    fields.finish(reader);
    let value = value?;
    Some(match kind {
        Type::TopicNameMatches => RecordTest::TopicNameMatches(value),
        Type::HasHeaderKey => RecordTest::HasHeaderKey(value),
        Type::RecordIsTombstone => RecordTest::RecordIsTombstone,
    })
}

/// The setting of a predicate; a pattern has to be one.
fn value(reader: &mut Reader<'_>, field: &Field<'_>, kind: Type) -> Option<String> {
    let expected = if kind == Type::TopicNameMatches { "a regular expression" } else { "a header's name" };
    let text = reader.text(field, expected)?;
    if kind == Type::TopicNameMatches
        && let Err(error) = regex_lite::Regex::new(&text.value)
    {
        let problem = reader
            .at(text.span, format!("{} is no regular expression: {error}", text.shown()))
            .expected("one of Rust's crate `regex-lite`; it has to match the whole name");
        reader.push(problem);
        return None;
    }
    Some(text.value)
}

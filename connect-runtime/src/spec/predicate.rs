//! Which records a transform is given: `predicate` and `negate`, with the names of Kafka Connect's predicates (KIP-585).

use crate::plan::{PredicatePlan, RecordTest};

use super::read::{Field, Fields, Reader};

/// A predicate's keys.
pub(super) const KEYS: &[&str] = &["type", "pattern", "name"];

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
    Some(kind.test(value?))
}

impl Type {
    fn test(self, value: String) -> RecordTest {
        match self {
            Self::TopicNameMatches => RecordTest::TopicNameMatches(value),
            Self::HasHeaderKey => RecordTest::HasHeaderKey(value),
            Self::RecordIsTombstone => RecordTest::RecordIsTombstone,
        }
    }
}

/// The names of all types.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TYPES.into_iter().map(|(name, ..)| name)
}

/// The setting that a type of this name takes, if it takes one; none: there is no such type.
pub(super) fn setting_of(name: &str) -> Option<Option<&'static str>> {
    TYPES.into_iter().find(|(known, ..)| *known == name).map(|(.., setting)| setting)
}

/// The test of a type's name and its setting's value.
///
/// # Errors
/// What is wrong with the value, or that there is no such type.
pub(super) fn named(name: &str, value: String) -> Result<RecordTest, String> {
    let kind = TYPES.into_iter().find(|(known, ..)| *known == name).map(|(_, kind, _)| kind);
    let kind = kind.ok_or_else(|| format!("no such predicate: `{name}`"))?;
    if kind == Type::TopicNameMatches {
        check_pattern(&value)?;
    }
    Ok(kind.test(value))
}

/// The type's name of a test, and its setting with its value.
pub(super) fn parts_of(test: &RecordTest) -> (&'static str, Option<(&'static str, &str)>) {
    match test {
        RecordTest::TopicNameMatches(pattern) => ("TopicNameMatches", Some(("pattern", pattern))),
        RecordTest::HasHeaderKey(name) => ("HasHeaderKey", Some(("name", name))),
        RecordTest::RecordIsTombstone => ("RecordIsTombstone", None),
    }
}

fn check_pattern(pattern: &str) -> Result<(), String> {
    regex_lite::Regex::new(pattern).map(drop).map_err(|error| format!("is no regular expression: {error}"))
}

/// The setting of a predicate; a pattern has to be one.
fn value(reader: &mut Reader<'_>, field: &Field<'_>, kind: Type) -> Option<String> {
    let expected = if kind == Type::TopicNameMatches { "a regular expression" } else { "a header's name" };
    let text = reader.text(field, expected)?;
    if kind == Type::TopicNameMatches
        && let Err(why) = check_pattern(&text.value)
    {
        let problem = reader
            .at(text.span, format!("{} {why}", text.shown()))
            .expected("one of Rust's crate `regex-lite`; it has to match the whole name");
        reader.push(problem);
        return None;
    }
    Some(text.value)
}

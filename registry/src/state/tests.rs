//! The state from records, as ours and as Confluent write them.

use serde_json::json;

use super::*;
use crate::record::Record;

fn schema(subject: &str, version: u32, id: u32, text: &str) -> Record {
    let key = Key::Schema { subject: subject.into(), version };
    Record::new(
        key,
        &json!({ "subject": subject, "version": version, "id": id, "schema": text, "deleted": false }),
    )
}

fn state(records: &[Record]) -> State {
    let mut state = State::default();
    for record in records {
        state.apply(&record.key.to_bytes(), record.value.as_deref());
    }
    state
}

#[test]
fn subjects_share_ids_within_a_context() {
    let state = state(&[
        schema("a", 1, 1, "\"int\""),
        schema("b", 1, 1, " \"int\" "),
        schema(":.other:a", 1, 1, "\"string\""),
        schema("a", 2, 7, "\"long\""),
    ]);
    assert_eq!(state.max_id("."), 7);
    assert_eq!(state.max_id(".other"), 1);
    let used: Vec<_> = state.with_id(".", 1).map(|(subject, version, _)| (subject, version)).collect();
    assert_eq!(used, [("a", 1), ("b", 1)]);
    assert_eq!(state.schema(".other", 1).unwrap().text, "\"string\"");
    assert_eq!(state.contexts().into_iter().collect::<Vec<_>>(), [".", ".other"]);
    let text = Text { kind: Kind::Avro, text: "\"int\"".into(), references: Vec::new() };
    assert_eq!(state.id_of(".", &text.fingerprint()), Some(1));
    assert_eq!(state.id_of(".other", &text.fingerprint()), None);
}

/// As Confluent's registry writes a soft deletion of a subject, a new version after it, and the end of the old one.
#[test]
fn deletions_count_in_the_order_of_the_topic() {
    let deleted =
        Record::new(Key::DeleteSubject { subject: "a".into() }, &json!({ "subject": "a", "version": 2 }));
    let mut records = vec![
        schema("a", 1, 1, "\"int\""),
        schema("a", 2, 2, "\"long\""),
        deleted,
        schema("a", 3, 1, "\"int\""),
    ];
    let before = state(&records);
    let live: Vec<u32> =
        before.versions("a").unwrap().iter().filter(|(_, v)| !v.is_deleted).map(|(n, _)| *n).collect();
    assert_eq!(live, [3]);
    records.push(Record::tombstone(Key::Schema { subject: "a".into(), version: 2 }));
    let after = state(&records);
    assert!(after.schema(".", 2).is_none() && after.schema(".", 1).is_some());
    assert_eq!(after.max_id("."), 2, "an id is not given again");
    assert!(after.size_bytes() < before.size_bytes());
}

#[test]
fn the_highest_id_outlives_its_schema_and_compaction() {
    let kept = Record::new(Key::Noop, &NoopValue { max_ids: BTreeMap::from([(".".into(), 9)]) });
    assert_eq!(state(&[kept, schema("a", 1, 3, "\"int\"")]).max_id("."), 9);
    // Confluent's own has no value.
    assert_eq!(state(&[Record::tombstone(Key::Noop)]).max_id("."), 0);
}

#[test]
fn settings_of_a_subject_count_before_those_of_all() {
    let level = |subject: Option<&str>, level: &str| {
        Record::new(Key::Config { subject: subject.map(Into::into) }, &json!({ "compatibilityLevel": level }))
    };
    let mode = |subject: Option<&str>, mode: &str| {
        Record::new(Key::Mode { subject: subject.map(Into::into) }, &json!({ "mode": mode }))
    };
    let mut records = vec![level(None, "FULL"), level(Some("a"), "NONE"), mode(Some("a"), "IMPORT")];
    let set = state(&records);
    assert_eq!((set.effective_level("a"), set.effective_level("b")), (Level::None, Level::Full));
    assert_eq!((set.effective_mode("a"), set.effective_mode("b")), (Mode::Import, Mode::ReadWrite));
    records.extend([
        mode(None, "READONLY_OVERRIDE"),
        Record::tombstone(Key::Config { subject: Some("a".into()) }),
    ]);
    let set = state(&records);
    assert_eq!((set.effective_mode("a"), set.effective_level("a")), (Mode::ReadOnlyOverride, Level::Full));
}

#[test]
fn dependencies_come_in_order_and_only_once() {
    let refer = |subject: &str, id: u32, to: &[&str]| {
        let references: Vec<_> =
            to.iter().map(|to| json!({ "name": to, "subject": to, "version": 1 })).collect();
        let value = json!({ "subject": subject, "version": 1, "id": id, "schema": format!("\"{subject}\""), "references": references });
        Record::new(Key::Schema { subject: subject.into(), version: 1 }, &value)
    };
    let state = state(&[refer("a", 1, &[]), refer("b", 2, &["a"]), refer("c", 3, &["b", "a"])]);
    let text = state.schema(".", 3).unwrap();
    let names: Vec<_> = state.dependencies(text).unwrap().into_iter().map(|of| of.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(state.referring("a", 1).into_iter().collect::<Vec<_>>(), [2, 3]);
    let lost = Text {
        references: vec![Reference { name: "x".into(), subject: "x".into(), version: 1 }],
        ..(**text).clone()
    };
    assert_eq!(state.dependencies(&lost).unwrap_err().code, 42201);
}

#[test]
fn records_of_others_are_passed_over() {
    let mut state = State::default();
    for (key, value) in [
        (&b"nonsense"[..], Some(&b"x"[..])),
        (br#"{"keytype":"SCHEMA","subject":"a","version":1,"magic":1}"#, Some(b"{")),
        (
            br#"{"keytype":"SCHEMA","subject":"a","version":1,"magic":1}"#,
            Some(br#"{"subject":"a","version":1,"id":1,"schema":"x","schemaType":"NEW"}"#),
        ),
        (br#"{"keytype":"CONTEXT","context":"x","magic":0}"#, None),
    ] {
        state.apply(key, value);
    }
    assert_eq!(state.subject_count(), 0);
}

//! Records as they are, for each format.

use serde_json::{Value as Json, json};

use super::*;
use crate::pgoutput::Column;
use crate::types::Types;

/// Topic, key and value of each record of a change.
fn records(settings: Json, change: Change<'_>) -> Vec<(String, Json, Json)> {
    let mut all = json!({ "connection": "db", "topic_prefix": "shop" });
    all.as_object_mut().expect("an object").extend(settings.as_object().expect("an object").clone());
    let settings: Settings = serde_json::from_value(all).expect("settings");
    let column =
        |name: &str, type_oid| Column { is_identity: false, name: name.into(), type_oid, type_modifier: -1 };
    let columns = [column("id", 20), column("at", 1114), column("big", 17)];
    let shape = Shape::new(&settings, &Types::default(), ("public", "a b"), &columns, &["id".to_owned()]);
    let place = Place { xid: 7, commit_lsn: Lsn(99), index: 1, index_in_table: 0 };
    let transaction = Some(place).filter(|_| change.op != Op::Read);
    let origin = Origin { ts_ms: 5, lsn: Lsn(90), transaction };
    let mut out = BatchBuilder::default();
    Writer::new(&settings, "db").write(&mut out, &shape, change, &origin, 6);
    let parse =
        |bytes: Option<&[u8]>| bytes.map_or(Json::Null, |bytes| serde_json::from_slice(bytes).expect("JSON"));
    let batch = out.finish();
    let records = millrace_sdk::Records::new(&batch).expect("a batch");
    records.iter().map(|record| (record.topic.to_owned(), parse(record.key), parse(record.value))).collect()
}

const BEFORE: [Value<'_>; 3] = [Value::Text("1"), Value::Null, Value::Null];
const AFTER: [Value<'_>; 3] = [Value::Text("1"), Value::Text("2026-01-01 00:00:00"), Value::Unchanged];

fn update() -> Change<'static> {
    Change { op: Op::Update, before: None, after: Some(&AFTER) }
}

fn delete() -> Change<'static> {
    Change { op: Op::Delete, before: Some(&BEFORE), after: None }
}

#[test]
fn debezium() {
    let source = |snapshot: &str, xid: Json| {
        json!({
            "version": env!("CARGO_PKG_VERSION"), "connector": "postgresql", "name": "shop", "ts_ms": 5, "snapshot": snapshot,
            "db": "db", "schema": "public", "table": "a b", "txId": xid, "lsn": 90, "xmin": null
        })
    };
    let after = json!({ "id": 1, "at": "2026-01-01T00:00:00", "big": UNAVAILABLE });
    let envelope = |before: Json, after: Json, op: &str, xid: Json, transaction: Json| {
        let snapshot = if op == "r" { "incremental" } else { "false" };
        json!({ "before": before, "after": after, "source": source(snapshot, xid), "transaction": transaction, "op": op, "ts_ms": 6 })
    };
    let topic = "shop.public.a_b".to_owned();
    let key = json!({ "id": 1 });
    let whole = envelope(Json::Null, after.clone(), "u", json!(7), Json::Null);
    assert_eq!(records(json!({}), update()), [(topic.clone(), key.clone(), whole)]);
    let gone = envelope(json!({ "id": 1, "at": null, "big": null }), Json::Null, "d", json!(7), Json::Null);
    let both = [(topic.clone(), key.clone(), gone), (topic.clone(), key.clone(), Json::Null)];
    assert_eq!(records(json!({}), delete()), both);
    assert_eq!(records(json!({ "tombstones": false }), delete()), both[..1]);
    let place = json!({ "id": "7:99", "total_order": 2, "data_collection_order": 1 });
    let marked = envelope(Json::Null, after.clone(), "u", json!(7), place);
    assert_eq!(records(json!({ "transactions": true }), update())[0].2, marked);
    let read = envelope(Json::Null, after, "r", Json::Null, Json::Null);
    let change = Change { op: Op::Read, ..update() };
    assert_eq!(records(json!({ "transactions": true }), change)[0].2, read);
    let truncated = Change { op: Op::Truncate, before: None, after: None };
    let nothing = envelope(Json::Null, Json::Null, "t", json!(7), Json::Null);
    let other = json!({ "topics": { "public.a b": "other" } });
    assert_eq!(records(other, truncated), [("other".to_owned(), Json::Null, nothing)]);
}

#[test]
fn flat() {
    let flat = |more: Json| {
        let mut settings = json!({ "format": "flat" });
        settings.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        settings
    };
    let values = |settings: Json, change| -> Vec<Json> {
        records(settings, change).into_iter().map(|(_, _, value)| value).collect()
    };
    let row = json!({ "id": 1, "at": "2026-01-01T00:00:00", "big": UNAVAILABLE });
    assert_eq!(values(flat(json!({})), update()), [row]);
    for settings in [json!({}), json!({ "tombstones": false })] {
        assert_eq!(values(flat(settings), delete()), [Json::Null], "there is no other word for it");
    }
    let marked = flat(json!({ "rewrite_deletes": true }));
    assert_eq!(values(marked.clone(), update())[0]["__deleted"], "false");
    let gone = json!({ "id": 1, "at": null, "big": null, "__deleted": "true" });
    assert_eq!(values(marked, delete()), [gone.clone(), Json::Null]);
    let alone = flat(json!({ "rewrite_deletes": true, "tombstones": false }));
    assert_eq!(values(alone, delete()), [gone]);
    let truncated = Change { op: Op::Truncate, before: None, after: None };
    assert_eq!(values(flat(json!({})), truncated), [Json::Null; 0]);
}

/// Whether a value has the form that its schema says.
fn fits(schema: &Json, value: &Json) -> bool {
    if value.is_null() {
        return schema["optional"] == true;
    }
    match schema["type"].as_str().expect("a type") {
        "struct" => {
            let fields = schema["fields"].as_array().expect("fields");
            let known: Vec<_> = fields.iter().map(|field| field["field"].as_str().expect("a name")).collect();
            let has_others = value
                .as_object()
                .is_none_or(|object| object.keys().any(|name| !known.contains(&name.as_str())));
            !has_others && fields.iter().zip(known).all(|(field, name)| fits(field, &value[name]))
        }
        "string" | "bytes" => value.is_string(),
        "int64" => value.is_i64(),
        kind => panic!("type {kind}"),
    }
}

#[test]
fn schemas_describe_what_they_come_with() {
    for settings in [
        json!({ "schemas": true, "transactions": true }),
        json!({ "schemas": true, "format": "flat", "rewrite_deletes": true }),
    ] {
        for change in [update(), delete(), Change { op: Op::Read, ..update() }] {
            let (_, key, value) = records(settings.clone(), change).remove(0);
            for document in [&key, &value] {
                assert!(fits(&document["schema"], &document["payload"]), "{document}");
            }
            assert_eq!(key["schema"]["name"], "shop.public.a b.Key");
        }
    }
    let (_, _, value) = records(json!({ "schemas": true }), update()).remove(0);
    let columns = &value["schema"]["fields"][1]["fields"];
    assert_eq!(columns[0], json!({ "type": "int64", "optional": false, "field": "id" }));
    let named = json!({ "type": "string", "optional": true, "name": "io.debezium.time.IsoTimestamp", "version": 1, "field": "at" });
    assert_eq!(columns[1], named);
    assert_eq!(value["payload"]["after"]["at"], "2026-01-01T00:00:00Z");
    assert_eq!(value["payload"]["after"]["big"], STANDARD.encode(UNAVAILABLE), "bytes stay bytes");
}

//! Rows that take the place of others: whatever comes in whatever commits, and whatever is killed, the table is what the records say up to the positions
//! that stand in it.

use std::collections::BTreeMap;

use millrace_sdk::testing::Record;
use millrace_sdk::testing::clock::advance;
use millrace_sdk::testing::object_store::bucket;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::kill::{finish, two_tasks};
use super::read::{entries, files, metadata, rows, unreachable};
use super::{Case, run_error};

/// Rows by key.
type Rows = BTreeMap<i64, Value>;

fn upserting(further: Value) -> Case {
    let mut settings = json!({ "insert_mode": "upsert", "pk_mode": "record_key", "delete_enabled": true });
    settings.as_object_mut().expect("an object").extend(further.as_object().expect("an object").clone());
    Case::new(settings)
}

/// What was done to a key; none: its row was deleted.
type Step = (i64, Option<i64>);

/// A record for each step, in the partition of its key. From the tenth on there is a column more.
fn records(steps: &[Step]) -> Vec<Record> {
    let mut next = [0, 0];
    let record = |(at, (k, v)): (usize, &Step)| {
        let partition = (k % 2) as usize;
        let mut value = json!({ "k": k, "v": v });
        if at >= 10 {
            value["late"] = json!(at);
        }
        let key = json!({ "k": k }).to_string();
        let mut record = Record::keyed(key, value.to_string()).at("t", partition as i32, next[partition]);
        next[partition] += 1;
        if v.is_none() {
            record.value = None;
        }
        record
    };
    steps.iter().enumerate().map(record).collect()
}

/// The rows behind so many records of each partition.
fn wanted(steps: &[Step], positions: [i64; 2]) -> Rows {
    let mut rows = Rows::new();
    for ((at, (k, v)), record) in steps.iter().enumerate().zip(records(steps)) {
        if record.offset >= positions[record.partition as usize] {
            continue;
        }
        match v {
            None => rows.remove(k),
            Some(v) => rows.insert(*k, json!([v, (at >= 10).then_some(at)])),
        };
    }
    rows
}

fn is_there() -> bool {
    super::catalog::table().is_some() || bucket().objects().keys().any(|key| key.ends_with(".metadata.json"))
}

/// The rows that are there; none of them twice.
fn found() -> Rows {
    let mut found = Rows::new();
    for row in is_there().then(rows).into_iter().flatten() {
        let key = row["k"].as_i64().expect("a key");
        let twice = found.insert(key, json!([row["v"], row.get("late").cloned().unwrap_or_default()]));
        assert_eq!(twice, None, "{key} is there twice");
    }
    found
}

/// The positions that stand in the table.
fn positions() -> [i64; 2] {
    if !is_there() {
        return [0, 0];
    }
    let table = metadata();
    [0, 1].map(|partition| {
        let text = table["properties"][format!("millrace.position.test/t/{partition}")].as_str();
        let mark: Value = text.map_or(Value::Null, |text| serde_json::from_str(text).expect("JSON"));
        mark["offset"].as_i64().unwrap_or(0)
    })
}

/// From the positions that the sink holds to the end of the topic.
fn drive(case: &mut Case, steps: &[Step], batch: usize) -> Result<(), millrace_sdk::Error> {
    case.open().deliver(&[0, 1], records(steps), batch, 4_000)
}

fn all_settings() -> Vec<Value> {
    let merge = json!({ "commit.manifest.min-count-to-merge": 2 });
    vec![
        json!({ "auto_evolve": true, "commit_interval": "9s" }),
        json!({ "auto_evolve": true, "commit_interval": "9s", "catalog_connection": "catalog", "catalog_warehouse": "birds" }),
        json!({ "auto_evolve": true, "commit_interval": "5s", "partition_by": ["bucket(k, 3)"], "table_properties": merge }),
        json!({ "auto_evolve": true, "commit_interval": "1h", "partition_by": ["bucket(k, 3)"], "target_file_size": "40B" }),
        json!({ "auto_evolve": true, "commit_interval": "5s", "expire_snapshots": true, "table_properties": {
            "commit.manifest.min-count-to-merge": 3, "history.expire.max-snapshot-age-ms": 1, "history.expire.min-snapshots-to-keep": 2 } }),
    ]
}

/// Every key some times, with deletes between.
fn some_steps() -> Vec<Step> {
    (0..18).map(|at| (at * 7 % 5, (at % 4 != 3).then_some(at))).collect()
}

#[test]
fn a_kill_at_any_request_leaves_what_the_records_say() {
    let (steps, mut points) = (some_steps(), 0);
    // What the first and the fourth are about comes with other kills.
    for settings in [1, 2, 4].map(|which| all_settings().swap_remove(which)) {
        for done in [false, true] {
            for number in 0.. {
                let mut case = upserting(settings.clone());
                bucket().kill_at(number, done);
                let result = drive(&mut case, &steps, 5);
                bucket().interfere(None);
                assert_eq!(
                    found(),
                    wanted(&steps, positions()),
                    "{settings} killed at {number} (done: {done})"
                );
                drive(&mut case, &steps, 4).expect("runs after the kill");
                assert_eq!(
                    found(),
                    wanted(&steps, [100, 100]),
                    "{settings} killed at {number} (done: {done})"
                );
                let left: Vec<_> =
                    unreachable().into_iter().filter(|key| !key.contains("/00-claim-")).collect();
                assert_eq!(left, [""; 0], "{settings} killed at {number} (done: {done})");
                points += 1;
                match result {
                    Ok(()) => break,
                    Err(error) => assert_eq!(error.code, "killed"),
                }
            }
        }
    }
    assert!(points > 150, "{points} points were tried");
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec((0_i64..9, proptest::option::weighted(0.7, 0_i64..1000)), 1..90)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Many kills in a row, with answers lost and requests refused between them.
    #[test]
    fn whatever_happens_the_table_is_what_the_records_say(
        steps in steps(),
        which in 0_usize..5,
        kills in proptest::collection::vec((0_u32..50, any::<bool>()), 0..5),
        trouble in proptest::collection::vec(0_u8..12, 1..100),
        batch in 1_usize..30,
    ) {
        // Now and then the store is quiet for long enough to get on.
        let trouble: Vec<u8> = trouble.into_iter().chain([11; 12]).collect();
        let mut case = upserting(all_settings().swap_remove(which));
        for (number, done) in kills {
            bucket().kill_in_trouble(number, done, trouble.clone());
            if let Err(error) = drive(&mut case, &steps, batch) {
                prop_assert_eq!(error.code, "killed");
            }
            bucket().interfere(None);
            prop_assert_eq!(found(), wanted(&steps, positions()));
            advance(13_000);
        }
        drive(&mut case, &steps, batch).expect("the last run ends well");
        prop_assert_eq!(found(), wanted(&steps, [100, 100]));
    }

    /// Two tasks take turns in any order, with commits of one on top of those of the other.
    #[test]
    fn tasks_that_upsert_into_one_table_do_each_their_part(
        steps in steps(),
        turns in proptest::collection::vec((0_usize..2, any::<bool>()), 1..60),
        trouble in proptest::collection::vec(0_u8..8, 1..50),
        which in 0_usize..5,
    ) {
        let trouble: Vec<u8> = trouble.into_iter().chain([7; 12]).collect();
        let mut settings = all_settings().swap_remove(which);
        settings["commit_interval"] = json!("5s");
        let mut case = upserting(settings);
        let mut tasks = two_tasks(&mut case, records(&steps));
        bucket().trouble(trouble, 2_000);
        for (which, flush) in turns {
            let (sink, left) = &mut tasks[which];
            if let Some(some) = left.get(..left.len().min(4)).filter(|some| !some.is_empty())
                && let Ok((taken, _)) = sink.put(some)
            {
                left.drain(..taken);
            }
            advance(3_000);
            if flush {
                // It is repeated with the next turn.
                let _later = sink.flush();
            }
        }
        tasks.into_iter().for_each(finish);
        bucket().interfere(None);
        prop_assert_eq!(found(), wanted(&steps, [100, 100]));
    }
}

/// Keyed records, a value each, from an offset on, and closes; gives back what was refused.
fn run(case: &mut Case, records: &[(&str, Option<&str>)]) -> Vec<String> {
    let mut sink = case.open();
    let held = sink.assign("t", &[0]).expect("assigned");
    let first = held.first().map_or(0, |at| at.offset);
    let record = |((key, value), at): (&(&str, Option<&str>), i64)| {
        let mut record = Record::keyed(*key, value.unwrap_or_default()).at("t", 0, at);
        record.value = value.map(Into::into);
        record.key = (!key.is_empty()).then(|| (*key).into());
        record
    };
    let records: Vec<Record> = records.iter().zip(first..).map(record).collect();
    let mut left = &records[..];
    let mut refused = Vec::new();
    while !left.is_empty() {
        let (taken, rejected) = sink.put(left).expect("taken");
        refused.extend(rejected.into_iter().map(|(_, why)| format!("{}: {}", why.code, why.message)));
        left = &left[taken..];
    }
    sink.close().expect("closes");
    refused
}

#[test]
fn a_commit_says_what_it_deletes() {
    let mut case = upserting(json!({}));
    let refused = run(
        &mut case,
        &[
            (r#"{"k":1}"#, Some(r#"{"k":1,"v":"a"}"#)),
            (r#"{"k":2}"#, Some(r#"{"k":2,"v":"b"}"#)),
            (r#"{"k":1}"#, Some(r#"{"k":1,"v":"c"}"#)),
            (r#"{"k":3}"#, None),
        ],
    );
    assert_eq!(refused, [""; 0]);
    let table = metadata();
    assert_eq!(table["schemas"][0]["identifier-field-ids"], json!([1]));
    let k = &table["schemas"][0]["fields"][0];
    assert_eq!((&k["name"], &k["required"]), (&json!("k"), &json!(true)));
    let summary = &table["snapshots"][0]["summary"];
    for (name, value) in [
        ("operation", "overwrite"),
        ("added-data-files", "1"),
        ("added-records", "3"),
        ("added-delete-files", "2"),
        ("added-equality-delete-files", "1"),
        ("added-equality-deletes", "3"),
        ("added-position-delete-files", "1"),
        ("added-position-deletes", "1"),
    ] {
        assert_eq!(summary[name], value, "{name}");
    }
    let of = |content: i64| {
        let entries = entries();
        let entry = entries.iter().find(|entry| entry["data_file"]["content"] == content);
        entry.unwrap_or_else(|| panic!("no file of content {content}"))["data_file"].clone()
    };
    assert_eq!(of(2)["equality_ids"], json!([1]));
    // A reader of another file sees by the bounds that the deletes are none of it.
    let bound = |name: &str| {
        let positions = of(1);
        let bounds = positions[name].as_array().expect("bounds").clone();
        let of_path = bounds.into_iter().find(|bound| bound["key"] == 2_147_483_546_i64).expect("a bound");
        let bytes = of_path["value"]
            .as_array()
            .expect("bytes")
            .iter()
            .map(|byte| byte.as_u64().expect("a byte") as u8);
        String::from_utf8(bytes.collect()).expect("text")
    };
    let path = of(0)["file_path"].as_str().expect("a path").to_owned();
    assert_eq!((bound("lower_bounds"), bound("upper_bounds")), (path.clone(), path));
    // One that only deletes.
    assert_eq!(run(&mut case, &[(r#"{"k":2}"#, None)]), [""; 0]);
    assert_eq!(metadata()["snapshots"][1]["summary"]["operation"], "delete");
    assert_eq!(rows(), [json!({ "k": 1, "v": "c" })]);
}

/// Debezium's envelope.
fn envelope(op: &str, before: Value, after: Value) -> String {
    json!({ "before": before, "after": after, "op": op, "source": { "table": "t" } }).to_string()
}

#[test]
fn envelopes_and_flat_rows_say_what_becomes_of_a_row() {
    let row = |k: i64, v: &str| json!({ "k": k, "v": v });
    for (pk_mode, pk_fields) in [("record_key", json!([])), ("record_value", json!(["k"]))] {
        let mut case = upserting(json!({ "pk_mode": pk_mode, "pk_fields": pk_fields }));
        let key = |k: i64| json!({ "k": k }).to_string();
        let keys = [key(1), key(2), key(3), key(4)];
        let values = [
            envelope("r", Value::Null, row(1, "a")),
            envelope("c", Value::Null, row(2, "b")),
            envelope("c", Value::Null, row(3, "c")),
            envelope("u", Value::Null, row(1, "d")),
            envelope("d", json!({ "k": 2, "v": null }), Value::Null),
            json!({ "op": "m", "source": {}, "message": {} }).to_string(),
            json!({ "k": 4, "v": "e", "__deleted": "false" }).to_string(),
            json!({ "k": 3, "v": null, "__deleted": "true" }).to_string(),
        ];
        let of = [0, 1, 2, 0, 1, 0, 3, 2];
        let mut all: Vec<(&str, Option<&str>)> =
            values.iter().zip(of).map(|(value, of)| (keys[of].as_str(), Some(value.as_str()))).collect();
        // Debezium puts a tombstone behind each delete.
        all.insert(5, (&keys[1], None));
        assert_eq!(run(&mut case, &all), [""; 0]);
        let mut found = rows();
        found.sort_by_key(ToString::to_string);
        assert_eq!(found, [row(1, "d"), row(4, "e")], "{pk_mode}");
    }
}

#[test]
fn types_are_those_of_the_envelopes_schema() {
    let fields = json!([
        { "field": "k", "type": "int32", "optional": false },
        { "field": "at", "type": "int64", "optional": true, "name": "io.debezium.time.MicroTimestamp" },
    ]);
    let of = |name: &str| json!({ "field": name, "type": "struct", "optional": true, "fields": fields });
    let schema = json!({ "type": "struct", "fields": [of("before"), of("after"),
        { "field": "source", "type": "struct", "fields": [{ "field": "table", "type": "string" }] },
        { "field": "op", "type": "string" }] });
    let value = |op: &str, before: Value, after: Value| {
        let payload: Value = serde_json::from_str(&envelope(op, before, after)).expect("JSON");
        json!({ "schema": schema, "payload": payload }).to_string()
    };
    let key = json!({ "schema": { "type": "struct", "fields": [{ "field": "k", "type": "int32" }] }, "payload": { "k": 7 } });
    let key = key.to_string();
    let mut case = upserting(json!({ "auto_evolve": true }));
    let created = value("c", Value::Null, json!({ "k": 7, "at": 1_000 }));
    let updated = value("u", Value::Null, json!({ "k": 7, "at": 2_000 }));
    assert_eq!(run(&mut case, &[(&key, Some(&created)), (&key, Some(&updated))]), [""; 0]);
    let columns = metadata()["schemas"][0]["fields"].clone();
    assert_eq!((&columns[0]["type"], &columns[1]["type"]), (&json!("int"), &json!("timestamp")));
    assert_eq!(rows(), [json!({ "k": 7, "at": "at 2000" })]);
    let gone = value("d", json!({ "k": 7, "at": null }), Value::Null);
    assert_eq!(run(&mut case, &[(&key, Some(&gone)), (&key, None)]), [""; 0]);
    assert_eq!(rows(), [Value::Null; 0]);
    assert_eq!(metadata()["schemas"].as_array().map(Vec::len), Some(1));
}

#[test]
fn keys_that_are_one_value_or_not_in_the_row_are_columns() {
    let mut case = upserting(json!({ "pk_fields": ["id"] }));
    let refused = run(
        &mut case,
        &[
            ("gull", Some(r#"{"v":1}"#)),
            ("34", Some(r#"{"v":2}"#)),
            ("\"gull\"", Some(r#"{"v":3,"id":"other"}"#)),
            ("34", None),
            ("", Some(r#"{"v":4}"#)),
            ("null", Some(r#"{"v":5}"#)),
            (r#"{"x":1}"#, Some(r#"{"v":6}"#)),
        ],
    );
    assert_eq!(
        refused,
        [
            "record.key: the record has no key, which pk_mode record_key needs",
            "record.key: the record's key is null",
            "record.key: id: the row's key has no value for it",
        ]
    );
    assert_eq!(rows(), [json!({ "id": "gull", "v": 3 })]);
    let id = metadata()["schemas"][0]["fields"][1].clone();
    assert_eq!((&id["name"], &id["required"]), (&json!("id"), &json!(true)));
    // The table knows its key from now on.
    case.settings["pk_fields"] = json!([]);
    assert_eq!(run(&mut case, &[(r#"{"id":"gull"}"#, Some(r#"{"v":7}"#))]), [""; 0]);
    assert_eq!(rows(), [json!({ "id": "gull", "v": 7 })]);
    let refused = run(&mut case, &[("gull", Some(r#"{"v":8}"#))]);
    assert_eq!(refused, ["record.key: the key is one value; name its column, and no other, in pk_fields"]);
}

#[test]
fn what_can_not_be_upserted_is_refused() {
    let mut case = upserting(json!({ "delete_enabled": false }));
    let key = r#"{"k":1}"#;
    let gone = envelope("d", Value::Null, Value::Null);
    let partial = r#"{"k":1,"v":"__debezium_unavailable_value"}"#;
    let truncated = json!({ "op": "t", "source": {} }).to_string();
    let refused = run(
        &mut case,
        &[
            (key, Some(r#"{"k":1,"v":"x"}"#)),
            (key, None),
            (key, Some(&gone)),
            (key, Some(partial)),
            (key, Some(&truncated)),
            (key, Some(&envelope("c", Value::Null, Value::Null))),
            (key, Some(&envelope("x", Value::Null, json!({})))),
        ],
    );
    let codes: Vec<&str> = refused.iter().map(|why| why.split(": ").next().expect("a code")).collect();
    assert_eq!(
        codes,
        [
            "iceberg.null",
            "record.tombstone",
            "record.partial",
            "envelope.truncate",
            "envelope.after",
            "envelope.op"
        ],
        "{refused:?}"
    );
    assert_eq!(rows(), [json!({ "k": 1, "v": "x" })]);
    case.settings["behavior_on_null_values"] = json!("ignore");
    assert_eq!(run(&mut case, &[(key, None)]), [""; 0]);
    assert_eq!(rows().len(), 1);
}

#[test]
fn tables_whose_key_or_division_is_another_are_refused() {
    let error = |case: &mut Case| case.open().assign("t", &[0]).expect_err("refused");
    let mut case = upserting(json!({ "pk_fields": ["k"] }));
    run(&mut case, &[(r#"{"k":1}"#, Some(r#"{"k":1,"v":2,"f":0.5}"#))]);
    for (fields, told) in [
        (
            json!(["v"]),
            "pk_fields says v, but the identifier fields of the table db.t are k: make it the same, or leave it out",
        ),
        (
            json!(["k", "v"]),
            "pk_fields says k, v, but the identifier fields of the table db.t are k: make it the same, or leave it out",
        ),
    ] {
        case.settings["pk_fields"] = fields;
        let error = error(&mut case);
        assert_eq!((error.code.as_str(), error.message.as_str()), ("table.key", told));
    }
    // One that was made without a key, and divided.
    let mut case = Case::new(json!({ "partition_by": ["truncate(v, 10)"] }));
    assert_eq!(case.run(&[r#"{"k":1,"v":2,"f":0.5}"#]), [""; 0]);
    case.settings = upserting_settings(&case.settings);
    let mut told = |fields: Value| {
        case.settings["pk_fields"] = fields;
        case.settings["partition_by"] = json!([]);
        error(&mut case).message
    };
    assert_eq!(
        told(json!([])),
        "the table db.t has no identifier fields that would be its key; name the key's columns in pk_fields"
    );
    assert_eq!(told(json!(["x"])), "pk_fields: the table db.t has no column x");
    assert!(told(json!(["f"])).starts_with("pk_fields: the column f can't be in a key: "));
    assert!(told(json!(["k"])).starts_with("the table is divided by v_trunc, which is not of the key (k): "));
    case.settings["pk_fields"] = json!(["k", "v"]);
    assert_eq!(run(&mut case, &[(r#"{"k":1,"v":2}"#, Some(r#"{"k":1,"v":2,"f":1.5}"#))]), [""; 0]);
    assert_eq!(rows(), [json!({ "k": 1, "v": 2, "f": 1.5 })]);
    // One that would be made.
    let made = |settings: Value, key: &str, value: &str| {
        let mut sink = upserting(settings).assigned();
        let record = Record::keyed(key, value).at("t", 0, 0);
        sink.put(&[record]).expect_err("refused").message
    };
    let value = r#"{"k":1,"f":0.5,"l":[1]}"#;
    assert!(made(json!({}), r#"{"f":0.5}"#, value).contains("the column f can't be in a key"));
    assert!(made(json!({}), r#"{"l":[1]}"#, value).contains("the column l can't be in a key"));
    assert!(made(json!({}), "{}", value).contains("no fields that could be the table's key"));
    assert!(
        made(json!({ "partition_by": ["bucket(k, 2)"] }), r#"{"x":1}"#, value)
            .contains("is divided by k_bucket")
    );
}

/// Settings that upsert, instead of such that add.
fn upserting_settings(settings: &Value) -> Value {
    let mut settings = settings.clone();
    settings["insert_mode"] = json!("upsert");
    settings["pk_mode"] = json!("record_key");
    settings
}

#[test]
fn rows_that_were_only_added_are_replaced_by_their_key() {
    let mut case = Case::new(json!({}));
    assert_eq!(case.run(&[r#"{"n":1,"v":1}"#, r#"{"n":1,"v":2}"#, r#"{"n":2,"v":3}"#]), [""; 0]);
    case.settings = upserting_settings(&case.settings);
    case.settings["pk_fields"] = json!(["n"]);
    assert_eq!(run(&mut case, &[("1", Some(r#"{"n":1,"v":4}"#))]), [""; 0]);
    let mut found = rows();
    found.sort_by_key(ToString::to_string);
    assert_eq!(found, [json!({ "n": 1, "v": 4 }), json!({ "n": 2, "v": 3 })]);
}

#[test]
fn a_table_that_was_divided_otherwise_is_not_upserted_into() {
    use millrace_sdk::object_store::{Condition, Store};
    let mut case = upserting(json!({}));
    run(&mut case, &[(r#"{"k":1}"#, Some(r#"{"k":1,"v":2}"#))]);
    let mut theirs = metadata();
    theirs["partition-specs"].as_array_mut().expect("specs").push(json!({ "spec-id": 1, "fields": [
        { "source-id": 1, "field-id": 1000, "name": "k_bucket", "transform": "bucket[4]" }] }));
    theirs["default-spec-id"] = json!(1);
    let next = bucket().objects().keys().filter(|key| key.ends_with(".metadata.json")).count() + 1;
    Store::new("lake")
        .put(&format!("db/t/metadata/v{next}.metadata.json"), theirs.to_string(), Condition::Absent)
        .expect("put");
    let mut sink = case.assigned();
    let record = Record::keyed(r#"{"k":1}"#, r#"{"k":1,"v":3}"#).at("t", 0, 1);
    sink.put(&[record]).expect("taken");
    let error = sink.close().expect_err("refused");
    assert_eq!(error.code, "table.partition");
    assert!(error.message.contains("divided in another way (spec 0) than its new ones (spec 1)"), "{error}");
    assert_eq!(rows(), [json!({ "k": 1, "v": 2 })]);
}

#[test]
fn many_keys_make_a_commit_due() {
    let mut case = upserting(json!({ "commit_interval": "1h" }));
    let mut sink = case.assigned();
    let record = |n: i64| Record::keyed(format!("{{\"n\":{n}}}"), format!("{{\"n\":{n}}}")).at("t", 0, n);
    let records: Vec<Record> = (0..100).map(record).collect();
    let (taken, _) = sink.put(&records).expect("taken");
    assert_eq!(taken, 40);
    let (taken, _) = sink.put(&records[40..]).expect("taken");
    assert_eq!(taken, 40, "what was there is committed first");
    sink.put(&records[80..]).expect("taken");
    assert_eq!(rows().len(), 80);
    sink.close().expect("closes");
    assert_eq!(rows().len(), 100);
    assert_eq!(metadata()["snapshots"].as_array().map(Vec::len), Some(3));
    assert_eq!(files().len(), 3);
}

#[test]
fn rows_that_are_only_added_take_envelopes_as_they_are() {
    let mut case = Case::new(json!({}));
    assert_eq!(case.run(&[&envelope("c", Value::Null, json!({ "k": 1 }))]), [""; 0]);
    assert_eq!(rows()[0]["after"], json!({ "k": 1 }));
    assert!(run_error(json!({ "insert_mode": "update" })).message.contains("insert_mode"));
}

//! The sink as the host drives it, over a bucket that loses requests and answers; the table is read back from its newest metadata down.

mod catalog;
mod expire;
mod folder;
mod kill;
mod merge;
mod read;
mod refused;
mod upsert;

use millrace_sdk::testing::clock::advance;
use millrace_sdk::testing::object_store::bucket;
use millrace_sdk::testing::{Record, SinkTest, check_description, task};
use millrace_sdk::{Durable, Error, Sink, Task};
use serde_json::{Value, json};

use self::read::{metadata, rows, unreachable};
use crate::IcebergSink;

/// A connector and its bucket.
struct Case {
    settings: Value,
    task: Task,
}

impl Case {
    fn new(further: Value) -> Self {
        bucket().clear();
        catalog::start();
        let mut settings =
            json!({ "connection": "lake", "warehouse": "s3://b/w", "table": "db.t", "auto_create": true });
        settings.as_object_mut().expect("an object").extend(further.as_object().expect("an object").clone());
        folder::start(&mut settings);
        Self { settings, task: task() }
    }

    /// The next start of the task.
    fn open(&mut self) -> SinkTest<IcebergSink> {
        self.task.generation += 1;
        SinkTest::open_as(&self.task, &self.settings.to_string()).expect("opens")
    }

    /// The same with partition 0 assigned.
    fn assigned(&mut self) -> SinkTest<IcebergSink> {
        let mut sink = self.open();
        sink.assign("t", &[0]).expect("assigned");
        sink
    }

    /// Opens, puts these values behind what is there, and closes.
    fn run(&mut self, values: &[&str]) -> Vec<String> {
        let mut sink = self.open();
        let held = sink.assign("t", &[0]).expect("assigned");
        let first = held.first().map_or(0, |at| at.offset);
        let records: Vec<Record> =
            values.iter().zip(first..).map(|(value, at)| Record::value(*value).at("t", 0, at)).collect();
        let (taken, rejected) = sink.put(&records).expect("taken");
        assert_eq!(taken, records.len());
        sink.close().expect("closes");
        rejected.into_iter().map(|(_, why)| format!("{}: {}", why.code, why.message)).collect()
    }
}

fn numbers(from: i64, until: i64) -> Vec<Record> {
    (from..until).map(|n| Record::value(format!("{{\"n\":{n}}}")).at("t", 0, n)).collect()
}

fn position(durable: &Durable) -> Option<i64> {
    let Durable::UpTo(offsets) = durable else { panic!("positions are in the table") };
    offsets.first().map(|at| at.offset)
}

/// The numbers that are there, in order.
fn numbers_there() -> Vec<i64> {
    let mut all: Vec<i64> = rows().iter().map(|row| row["n"].as_i64().expect("a number")).collect();
    all.sort_unstable();
    all
}

#[test]
fn the_description_is_complete() {
    check_description(&IcebergSink::describe()).expect("a complete description");
}

#[test]
fn a_table_is_made_and_commits_come_by_the_clock() {
    let mut case = Case::new(json!({ "commit_interval": "1m" }));
    let mut sink = case.assigned();
    sink.put(&numbers(0, 5)).expect("taken");
    assert_eq!(position(&sink.flush().expect("flushed")), None);
    assert_eq!(rows(), [Value::Null; 0]);
    advance(60_000);
    assert_eq!(position(&sink.flush().expect("flushed")), Some(5));
    assert_eq!(numbers_there(), [0, 1, 2, 3, 4]);
    sink.put(&numbers(5, 7)).expect("taken");
    sink.close().expect("closes");
    assert_eq!(numbers_there(), [0, 1, 2, 3, 4, 5, 6]);
    let table = metadata();
    assert_eq!(
        table["schemas"][0]["fields"][0],
        json!({ "id": 1, "name": "n", "required": false, "type": "long" })
    );
    assert_eq!(table["snapshots"].as_array().map(Vec::len), Some(2));
    assert_eq!(table["snapshots"][1]["summary"]["total-records"], "7");
    assert_eq!(table["snapshots"][1]["parent-snapshot-id"], table["snapshots"][0]["snapshot-id"]);
    assert_eq!(unreachable(), [""; 0]);
}

#[test]
fn a_table_that_is_missing_is_told() {
    let mut case = Case::new(json!({ "auto_create": false }));
    let error = case.open().assign("t", &[0]).expect_err("no table");
    assert_eq!(error.message, "there is no table db.t; make it, or set auto_create");
    bucket().clear();
    let store = millrace_sdk::object_store::Store::new("lake");
    store
        .put("db/t/metadata/00000-1.metadata.json", "{}", millrace_sdk::object_store::Condition::Always)
        .expect("put");
    assert_eq!(case.open().assign("t", &[0]).expect_err("another's").code, "table.foreign");
}

#[test]
fn types_are_those_of_the_schema_and_of_the_envelope() {
    let mut case = Case::new(json!({}));
    let envelope = |n: i64| {
        json!({ "schema": { "type": "struct", "optional": false, "fields": [
            { "field": "n", "type": "int32", "optional": false },
            { "field": "at", "type": "int64", "optional": true, "name": "org.apache.kafka.connect.data.Timestamp" },
            { "field": "price", "type": "bytes", "optional": true, "name": "org.apache.kafka.connect.data.Decimal",
              "parameters": { "scale": "2", "connect.decimal.precision": "9" } }] },
            "payload": { "n": n, "at": 1000, "price": "BOI=" } })
        .to_string()
    };
    assert_eq!(case.run(&[&envelope(1), &envelope(2)]), [""; 0]);
    let fields = metadata()["schemas"][0]["fields"].clone();
    assert_eq!((&fields[0]["type"], &fields[0]["required"]), (&json!("int"), &json!(true)));
    assert_eq!((&fields[1]["type"], &fields[2]["type"]), (&json!("timestamptz"), &json!("decimal(9, 2)")));
    assert_eq!(rows()[0]["at"], "at 1000000");
    // Without a schema, values are read as the columns want them, and what doesn't fit is refused with its place.
    let refused = case.run(&[
        r#"{"n":3,"at":2000}"#,
        r#"{"n":4,"at":"1970-01-01T00:00:03Z"}"#,
        r#"{"at":1}"#,
        r#"{"n":5,"x":1}"#,
    ]);
    assert_eq!(
        refused,
        [
            "schema.misfit: n: it is missing or null, and the schema wants a value",
            "schema.misfit: x: the schema has no such field"
        ]
    );
    let at: Vec<Value> = rows().iter().map(|row| row["at"].clone()).collect();
    assert!(at.contains(&json!("at 2000000")) && at.contains(&json!("at 3000000")), "{at:?}");
}

#[test]
fn columns_are_added_and_widened() {
    let mut case = Case::new(json!({ "auto_evolve": true }));
    let envelope = |ty: &str, n: i64| {
        json!({ "schema": { "type": "struct", "fields": [{ "field": "n", "type": ty, "optional": true }] }, "payload": { "n": n } })
            .to_string()
    };
    assert_eq!(case.run(&[&envelope("int32", 1)]), [""; 0]);
    assert_eq!(case.run(&[&envelope("int64", 1 << 40), &envelope("int32", 2)]), [""; 0]);
    assert_eq!(
        case.run(&[r#"{"n":3,"x":{"y":"text","z":null}}"#, r#"{"n":4,"x":{"y":"u","z":[1.5]}}"#]),
        [""; 0]
    );
    let table = metadata();
    let schemas = table["schemas"].as_array().expect("schemas");
    assert_eq!((schemas.len(), &table["current-schema-id"]), (3, &json!(2)));
    assert_eq!(schemas[1]["fields"][0]["type"], "long");
    let x = &schemas[2]["fields"][1];
    assert_eq!((&x["id"], &x["type"]["fields"][1]["type"]["element"]), (&json!(2), &json!("double")));
    assert_eq!(table["last-column-id"], 5);
    assert_eq!(numbers_there(), [1, 2, 3, 4, 1 << 40]);
    let refused = case.run(&[&envelope("string", 1)]);
    assert_eq!(refused.len(), 1, "{refused:?}");
}

#[test]
fn rows_are_divided_by_the_spec() {
    let mut case = Case::new(json!({ "partition_by": ["k", "bucket(n, 4)"] }));
    let values: Vec<String> =
        (0..40).map(|n| format!("{{\"n\":{n},\"k\":\"{}\"}}", ["a", "b"][n % 2])).collect();
    assert_eq!(case.run(&values.iter().map(String::as_str).collect::<Vec<_>>()), [""; 0]);
    assert_eq!(numbers_there(), (0..40).collect::<Vec<_>>());
    let files = read::files();
    assert!(files.len() > 4 && files.len() <= 8, "{} files", files.len());
    for (partition, rows) in files {
        assert!(rows.iter().all(|row| row["k"] == partition["k"]), "{partition}: {rows:?}");
    }
    let error =
        Case::new(json!({ "partition_by": ["day(n)"] })).assigned().put(&numbers(0, 1)).expect_err("refused");
    assert_eq!(
        error.message,
        "the table can't be made: partition_by: day(n): day needs a date or a timestamp; a `schema` gives columns types"
    );
}

#[test]
fn a_large_file_goes_in_parts_and_memory_stays_within_the_budget() {
    let mut case = Case::new(json!({ "buffer": "9MiB", "compression": "none", "target_file_size": "20MiB" }));
    write_a_large_file(&mut case);
    assert_eq!(bucket().unfinished(), []);
}

fn write_a_large_file(case: &mut Case) {
    let mut sink = case.assigned();
    // Nothing that repeats: dictionaries would make it small.
    let body = |n: i64| -> String {
        (0..25_000_i64)
            .map(|at| {
                format!("{:016x}", (at + n * 25_000 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64))
            })
            .collect()
    };
    let records: Vec<Record> = (0..100)
        .map(|n| Record::value(format!("{{\"n\":{n},\"s\":\"{}\"}}", body(n))).at("t", 0, n))
        .collect();
    let mut left = &records[..];
    while !left.is_empty() {
        let (taken, _) = sink.put(left).expect("taken");
        let held = sink.sink.writer.as_ref().map_or(0, crate::writer::Writer::held);
        assert!(held <= 11 << 20, "{held}");
        left = &left[taken..];
    }
    sink.close().expect("closes");
    assert_eq!(numbers_there(), (0..100).collect::<Vec<_>>());
    assert!(read::files().len() >= 2);
}

#[test]
fn a_zombie_commits_nothing_and_leaves_nothing() {
    let mut case = Case::new(json!({}));
    case.run(&[r#"{"n":0}"#]);
    let mut zombie = case.assigned();
    zombie.put(&numbers(1, 3)).expect("taken");
    let mut next = case.assigned();
    next.put(&numbers(1, 5)).expect("taken");
    assert_eq!(zombie.close().expect_err("fenced").code, "fenced");
    next.close().expect("closes");
    assert_eq!(numbers_there(), [0, 1, 2, 3, 4]);
    assert_eq!(unreachable(), [""; 0]);
    // One that starts late is told at once.
    case.task.generation -= 3;
    let error = case.open().assign("t", &[0]).expect_err("fenced");
    assert_eq!(error.code, "fenced");
    assert!(
        error
            .message
            .starts_with("the table's property millrace.task.test/0 was written by start 4 of this task"),
        "{error}"
    );
}

#[test]
fn partitions_come_and_go_with_what_they_hold() {
    let mut case = Case::new(json!({}));
    let mut first = case.assigned();
    first.put(&numbers(0, 3)).expect("taken");
    let gone = [millrace_sdk::TopicPartition { topic: "t".into(), partition: 0 }];
    first.sink.revoked(&gone).expect("revoked");
    assert_eq!(numbers_there(), [0, 1, 2], "what it held is there before another one has it");
    case.task.number = 1;
    let mut second = case.open();
    assert_eq!(second.assign("t", &[0]).expect("assigned")[0].offset, 3);
    assert_eq!(first.put(&numbers(3, 4)).expect_err("not its own").code, "iceberg.partition");
}

#[test]
fn what_other_writers_do_to_the_table_is_kept() {
    use millrace_sdk::object_store::{Condition, Store};
    let mut case = Case::new(json!({}));
    let mut sink = case.assigned();
    sink.put(&numbers(0, 2)).expect("taken");
    // A column and a property more, by somebody who knows nothing of this sink.
    let mut theirs = metadata();
    theirs["properties"]["theirs"] = json!("1");
    theirs["schemas"].as_array_mut().expect("schemas").push(json!({ "type": "struct", "schema-id": 1, "fields": [
        { "id": 1, "name": "m", "required": false, "type": "long" }, { "id": 2, "name": "n", "required": false, "type": "string" }] }));
    theirs["current-schema-id"] = json!(1);
    theirs["last-column-id"] = json!(2);
    Store::new("lake")
        .put("db/t/metadata/v2.metadata.json", theirs.to_string(), Condition::Absent)
        .expect("put");
    advance(300_000);
    assert_eq!(position(&sink.flush().expect("flushed")), Some(2));
    let records = [Record::value(r#"{"m":7,"n":"x"}"#).at("t", 0, 2)];
    let (taken, rejected) = sink.put(&records).expect("taken");
    assert_eq!((taken, rejected.len()), (1, 0));
    sink.close().expect("closes");
    let table = metadata();
    assert_eq!(table["properties"]["theirs"], "1");
    // Columns are known by their ids, and files by the names of their time.
    let last = rows().into_iter().find(|row| row["n"] == "x").expect("the last row");
    assert_eq!(last["m"], 7);
    assert_eq!(rows().len(), 3);
}

fn run_error(settings: Value) -> Error {
    let mut all = json!({ "connection": "lake", "warehouse": "s3://b", "table": "a.b" });
    all.as_object_mut().expect("an object").extend(settings.as_object().expect("an object").clone());
    SinkTest::<IcebergSink>::open(&all.to_string()).map(drop).expect_err("refused")
}

#[test]
fn settings_that_make_no_sense_are_told() {
    for (settings, pointer) in [
        (json!({ "warehouse": "lake" }), "/warehouse"),
        (json!({ "folder": "lake" }), "/folder"),
        (json!({ "connection": null }), ""),
        (json!({ "connection": null, "folder": "lake" }), "/warehouse"),
        (
            json!({ "connection": null, "folder": "lake", "warehouse": "file:///lake", "catalog_connection": "c" }),
            "/catalog_connection",
        ),
        (json!({ "catalog_warehouse": "x" }), "/catalog_warehouse"),
        (json!({ "table": "orders" }), "/table"),
        (json!({ "table": "a..b" }), "/table"),
        (json!({ "table": "a.b/c" }), "/table"),
        (json!({ "schema": "{}" }), "/schema"),
        (json!({ "partition_by": ["x", "day(at"] }), "/partition_by/1"),
        (json!({ "buffer": "1MiB" }), "/buffer"),
        (json!({ "table_properties": { "millrace.x": "1" } }), "/table_properties/millrace.x"),
        (json!({ "table_properties": { "format-version": 3 } }), "/table_properties/format-version"),
        (
            json!({ "table_properties": { "history.expire.max-snapshot-age-ms": "soon" } }),
            "/table_properties/history.expire.max-snapshot-age-ms",
        ),
        (
            json!({ "table_properties": { "commit.manifest-merge.enabled": "yes" } }),
            "/table_properties/commit.manifest-merge.enabled",
        ),
        (json!({ "target_file_size": "0B" }), "/target_file_size"),
        (json!({ "insert_mode": "upsert" }), "/pk_mode"),
        (json!({ "pk_mode": "record_key" }), "/pk_mode"),
        (json!({ "pk_fields": ["n"] }), "/pk_fields"),
        (json!({ "delete_enabled": true }), "/delete_enabled"),
        (json!({ "insert_mode": "upsert", "pk_mode": "record_key", "merge_files": true }), "/merge_files"),
        (json!({ "insert_mode": "upsert", "pk_mode": "record_value" }), "/pk_fields"),
        (
            json!({ "insert_mode": "upsert", "pk_mode": "record_key", "pk_fields": ["n", "m", "n"] }),
            "/pk_fields/2",
        ),
        (
            json!({ "insert_mode": "upsert", "pk_mode": "record_key", "pk_fields": ["n"], "partition_by": ["bucket(n, 4)", "day(at)"] }),
            "/partition_by/1",
        ),
        (
            json!({ "insert_mode": "upsert", "pk_mode": "record_key", "delete_enabled": true, "behavior_on_null_values": "ignore" }),
            "/behavior_on_null_values",
        ),
        (
            json!({ "insert_mode": "upsert", "pk_mode": "record_key", "pk_fields": ["x"], "schema":
                json!({ "type": "record", "name": "R", "fields": [{ "name": "x", "type": "double" }] }).to_string() }),
            "/pk_fields/0",
        ),
    ] {
        let error = run_error(settings.clone());
        assert!(error.message.starts_with(&format!("{pointer}: ")), "{settings}: {error}");
    }
}

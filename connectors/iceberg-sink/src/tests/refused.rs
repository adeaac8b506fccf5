//! What doesn't fit: it is told by the setting or the column that it is about, and holds nobody up.

use millrace_sdk::testing::Record;
use millrace_sdk::testing::clock::advance;
use serde_json::{Value, json};

use super::read::{metadata, rows};
use super::{Case, numbers, numbers_there, position};

#[test]
fn columns_that_engines_can_not_tell_apart_are_not_made() {
    let mut case = Case::new(json!({ "auto_evolve": true }));
    // Whatever else is in the batch has its columns.
    let refused = case.run(&[r#"{"n":1,"N":2}"#, r#"{"n":1}"#, r#"{"n":2,"":2}"#, r#"{"n":3,"ok":1}"#]);
    assert_eq!(
        refused,
        [
            "schema.misfit: N: the table has n, and engines don't tell names apart that differ in case only",
            "schema.misfit: \"\": a field without a name can't be a column",
        ]
    );
    let refused = case.run(&[
        r#"{"n":4,"more":{"x":1}}"#,
        r#"{"n":5,"more":{"X":1}}"#,
        r#"{"n":6,"oK":1}"#,
        r#"{"n":7,"late":1,"Late":1}"#,
        r#"{"n":8,"é":1}"#,
        r#"{"n":9,"É":1}"#,
        r#"{"n":10,"":null,"N":null}"#,
    ]);
    let places: Vec<&str> = refused.iter().map(|why| why.split(": ").nth(1).expect("a place")).collect();
    assert_eq!(places, ["more.X", "oK", "Late", "É"], "{refused:?}");
    let names = |schema: &Value| -> Vec<String> {
        let fields = schema["fields"].as_array().expect("fields");
        fields.iter().map(|field| field["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(
        names(metadata()["schemas"].as_array().and_then(|all| all.last()).expect("a schema")),
        ["n", "ok", "more", "é"]
    );
    assert_eq!(numbers_there(), [1, 3, 4, 8, 10]);
}

#[test]
fn schemas_whose_names_differ_in_case_only_are_refused() {
    let envelope = |names: &[&str]| {
        let fields: Vec<Value> =
            names.iter().map(|name| json!({ "field": name, "type": "int64", "optional": true })).collect();
        json!({ "schema": { "type": "struct", "fields": fields }, "payload": { names[0]: 1, "n": 1 } })
            .to_string()
    };
    let mut case = Case::new(json!({ "auto_evolve": true }));
    assert_eq!(case.run(&[&envelope(&["n"])]), [""; 0]);
    let refused = case.run(&[&envelope(&["N", "n"]), &envelope(&["", "n"])]);
    assert_eq!(
        refused,
        [
            "schema.misfit: N: the table has n, and engines don't tell names apart that differ in case only",
            "schema.misfit: \"\": a field without a name can't be a column",
        ]
    );
    assert_eq!(metadata()["schemas"].as_array().map(Vec::len), Some(1));
    let error = Case::new(json!({}))
        .assigned()
        .put(&[Record::value(envelope(&["n", "N"])).at("t", 0, 0)])
        .expect_err("refused");
    assert_eq!(
        error.message,
        "the table can't be made: N: the table has n, and engines don't tell names apart that differ in case only"
    );
}

#[test]
fn another_division_than_the_tables_is_told() {
    let mut case = Case::new(json!({ "partition_by": ["k", "bucket(n, 4)"] }));
    assert_eq!(case.run(&[r#"{"n":1,"k":"a"}"#]), [""; 0]);
    // In any order, and without saying.
    for same in [json!(["bucket(n, 4)", "k"]), json!([])] {
        case.settings["partition_by"] = same;
        assert_eq!(case.run(&[r#"{"n":2,"k":"a"}"#]), [""; 0]);
    }
    for (other, said) in
        [(json!(["k"]), "k"), (json!(["bucket(n, 8)", "k"]), "bucket(n, 8), k"), (json!(["x"]), "x")]
    {
        case.settings["partition_by"] = other;
        let error = case.open().assign("t", &[0]).expect_err("refused");
        assert_eq!(error.code, "table.partition");
        assert_eq!(
            error.message,
            format!(
                "partition_by says {said}, but the table db.t is divided by k, bucket(n, 4): make it the same, or leave it out; how a table is \
                 divided is changed by an engine"
            )
        );
    }
    let mut case = Case::new(json!({}));
    case.run(&[r#"{"n":1}"#]);
    case.settings["partition_by"] = json!(["n"]);
    let error = case.open().assign("t", &[0]).expect_err("refused");
    assert!(error.message.contains("the table db.t is divided by nothing: "), "{error}");
}

#[test]
fn records_that_were_refused_are_not_read_again() {
    let bad = |from: i64, until: i64| -> Vec<Record> {
        (from..until).map(|n| Record::value("{").at("t", 0, n)).collect()
    };
    for catalog in [json!({}), json!({ "catalog_connection": "catalog", "catalog_warehouse": "birds" })] {
        let mut case = Case::new(catalog);
        // Without a table nothing that was taken waits for a commit.
        let mut sink = case.assigned();
        assert_eq!(sink.put(&bad(0, 3)).map(|(_, refused)| refused.len()), Ok(3));
        assert_eq!(position(&sink.flush().expect("flushed")), Some(3));
        sink.put(&numbers(3, 5)).expect("taken");
        assert_eq!(position(&sink.flush().expect("flushed")), None, "rows wait for a commit");
        sink.close().expect("closes");
        // With one, the position is the table's.
        let mut sink = case.assigned();
        sink.put(&bad(5, 9)).expect("taken");
        assert_eq!(position(&sink.flush().expect("flushed")), Some(5));
        advance(300_000);
        assert_eq!(position(&sink.flush().expect("flushed")), Some(9));
        drop(sink);
        let mut sink = case.open();
        assert_eq!(sink.assign("t", &[0]).expect("assigned")[0].offset, 9);
        sink.put(&bad(9, 10)).expect("taken");
        sink.close().expect("closes");
        assert_eq!(case.open().assign("t", &[0]).expect("assigned")[0].offset, 10);
        assert_eq!(rows().len(), 2);
        assert_eq!(numbers_there(), [3, 4]);
    }
}

//! The sink as the host drives it, against a database that is a function: what only a lost answer shows. The rest is tested against
//! a real server (`tests/postgres`).

use std::cell::RefCell;
use std::rc::Rc;

use millrace_sdk::postgres::{Failure, Rows, SqlError};
use millrace_sdk::testing::postgres::{Answer, Call, serve};
use millrace_sdk::testing::{Record, SinkTest, check_description};
use millrace_sdk::{Error, RecordRef, Sink};
use serde_json::json;

use crate::PostgresSink;
use crate::record::{self, Value};
use crate::schema::Known;
use crate::settings::Settings;

/// What a database holds that knows one partition.
#[derive(Debug, Default)]
struct Held {
    committed: i64,
    open: i64,
    rows: u32,
    /// The COMMIT of this number is done, and its answer lost.
    lost: u32,
    commits: u32,
}

fn database(held: &Rc<RefCell<Held>>) {
    let held = Rc::clone(held);
    serve(move |call| {
        let mut held = held.borrow_mut();
        match call {
            Call::Rows(_) | Call::Open(..) | Call::Close => Ok(Answer::Done),
            Call::Run("COMMIT") => {
                held.committed = held.open;
                held.commits += 1;
                if held.commits == held.lost {
                    return Err(Failure::Session(Error::retriable("postgres.lost", "gone")));
                }
                Ok(Answer::Done)
            }
            Call::Query(statement) if statement.sql.contains("to_regclass($1::text) AND") => {
                let column =
                    [Some("n"), Some("bigint"), Some("N"), Some("int8"), Some(""), Some("f"), Some("f")];
                Ok(Answer::Rows(Rows::of(&["a", "b", "c", "d", "e", "f", "g"], &[&column])))
            }
            Call::Query(statement) if statement.sql.contains("to_regclass") => {
                Ok(Answer::Rows(Rows::of(&["r"], &[&[Some("there")]])))
            }
            Call::Query(statement) if statement.sql.contains("RETURNING 1") => {
                Ok(Answer::Rows(Rows::of(&["r"], &[&[Some("1")]])))
            }
            Call::Query(statement) if statement.sql.starts_with("UPDATE") => {
                let next = statement.params[3].as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                held.open = next.trim_matches(['{', '}', '"']).parse().unwrap_or(-1);
                Ok(Answer::Count(1))
            }
            Call::Query(statement) if statement.sql.contains("next_offset") => {
                let next = held.committed.to_string();
                Ok(Answer::Rows(Rows::of(&["t", "p", "n"], &[&[Some("t"), Some("0"), Some(&next)]])))
            }
            Call::Query(statement) if statement.sql.starts_with("INSERT") => {
                held.rows += 1;
                let refused = SqlError { code: "40001".into(), retriable: true, ..SqlError::default() };
                if held.rows == 99 {
                    Err(Failure::Statement(Box::new(refused)))
                } else {
                    Ok(Answer::Count(1))
                }
            }
            _ => Ok(Answer::Done),
        }
    });
}

#[test]
fn the_description_is_complete() {
    check_description(&PostgresSink::describe()).expect("a complete description");
}

#[test]
fn settings_that_contradict_each_other_are_told() {
    let problems = |mut settings: serde_json::Value| {
        settings["connection"] = "db".into();
        let settings: Settings = serde_json::from_value(settings).expect("settings");
        settings.problems().into_iter().map(|problem| problem.path).collect::<Vec<_>>()
    };
    assert_eq!(problems(json!({})), [""; 0]);
    assert_eq!(
        problems(json!({ "table_name_format": "a.${source.table}", "positions_table": "x.y" })),
        [""; 0]
    );
    assert_eq!(problems(json!({ "insert_mode": "upsert" })), ["/pk_mode"]);
    assert_eq!(problems(json!({ "insert_mode": "update", "pk_mode": "kafka" })), ["/pk_mode"]);
    assert_eq!(problems(json!({ "pk_mode": "record_value" })), ["/pk_fields"]);
    assert_eq!(problems(json!({ "pk_mode": "kafka", "pk_fields": ["a"] })), ["/pk_fields"]);
    assert_eq!(
        problems(json!({ "pk_fields": ["a"], "delete_enabled": true })),
        ["/pk_fields", "/delete_enabled"]
    );
    assert_eq!(
        problems(json!({ "table_name_format": "${tpoic}", "positions_table": "a.b.c" })),
        ["/table_name_format", "/positions_table"]
    );
}

#[test]
fn a_commit_whose_answer_was_lost_is_not_done_again() {
    let held = Rc::new(RefCell::new(Held { committed: -1, open: -1, lost: 2, ..Held::default() }));
    database(&held);
    let mut sink = SinkTest::<PostgresSink>::open(r#"{"connection":"db"}"#).expect("opens");
    sink.assign("t", &[0]).expect("assigned");
    let record = |offset: i64| Record::value(r#"{"n":1}"#).at("t", 0, offset);
    // The first COMMIT was that of the claim.
    let error = sink.put(&[record(0), record(1)]).expect_err("its answer was lost");
    assert_eq!(error.code, "postgres.lost");
    let rows = held.borrow().rows;
    assert_eq!(sink.put(&[record(0), record(1)]).expect("puts").0, 2);
    assert_eq!((held.borrow().rows, held.borrow().committed), (rows, 2), "nothing is written again");
    assert_eq!(sink.put(&[record(2)]).expect("puts").0, 1);
    assert_eq!(held.borrow().committed, 3);
}

#[test]
fn a_value_that_was_not_sent_leaves_its_column_alone_in_every_form() {
    let base64 = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";
    let row = format!(
        r#"{{"id":1,"a":"__debezium_unavailable_value","b":"{base64}","c":["__debezium_unavailable_value"],"d":"kept"}}"#
    );
    let envelope = format!(r#"{{"before":null,"after":{row},"source":{{"table":"t"}},"op":"u"}}"#);
    for value in [row, envelope] {
        let record = RecordRef::new(None, Some(value.as_bytes()));
        let read = record::value(&record, &mut Known::default()).expect("a row");
        let Value::Row(fields, true) = read.value else { panic!("{value} is no row") };
        let names: Vec<_> = fields.iter().map(|field| field.name.as_ref()).collect();
        assert_eq!(names, ["id", "d"], "{value}");
    }
}

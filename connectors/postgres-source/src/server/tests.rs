//! What is asked of a server, word for word, and what its errors mean. What it answers is tested against a real one.

use std::cmp::Ordering;

use millrace_sdk::ErrorKind;
use millrace_sdk::postgres::SqlError;
use millrace_sdk::testing::postgres::{Answer, Call, serve};
use serde_json::json;

use super::table::{Description, KeyColumn};
use super::*;
use crate::pgoutput::Column;

fn server() -> Server {
    Server::new(
        &serde_json::from_value(json!({ "connection": "db", "slot": "s", "publication": "p" }))
            .expect("settings"),
    )
}

fn column(name: &str, type_oid: u32, type_name: &str, collation: Option<&str>) -> KeyColumn {
    KeyColumn {
        name: name.into(),
        type_name: type_name.into(),
        type_oid,
        collation: collation.map(str::to_owned),
    }
}

fn key(parts: &[&str]) -> Key {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

#[test]
fn keys_are_compared_here_where_their_order_is_known() {
    let of = |columns: &[KeyColumn]| Description { key: columns.to_vec(), ..Description::default() };
    let number = column("n", 20, "bigint", None);
    let plain = column("c", 25, "text", Some("pg_catalog.\"C\""));
    let local = column("l", 25, "text", Some("pg_catalog.\"default\""));
    let compared =
        |columns: &[KeyColumn], one: &[&str], other: &[&str]| of(columns).compared(&key(one), &key(other));
    assert_eq!(compared(std::slice::from_ref(&number), &["-9"], &["-10"]), Some(Ordering::Greater));
    assert_eq!(compared(&[number.clone(), plain.clone()], &["1", "b"], &["1", "a"]), Some(Ordering::Greater));
    assert_eq!(compared(&[plain], &["B"], &["a"]), Some(Ordering::Less));
    assert_eq!(compared(&[number.clone(), local.clone()], &["1", "x"], &["2", "a"]), Some(Ordering::Less));
    assert_eq!(compared(&[number.clone(), local.clone()], &["1", "x"], &["1", "x"]), Some(Ordering::Equal));
    assert_eq!(compared(&[number.clone(), local.clone()], &["1", "x"], &["1", "a"]), None);
    assert_eq!(compared(std::slice::from_ref(&number), &["x"], &["1"]), None);
    let bounds = ["3", "5", "5", "9"].map(|bound| key(&[bound]));
    let bounds: Vec<&Key> = bounds.iter().collect();
    let place = |text: &str| of(std::slice::from_ref(&number)).place(&key(&[text]), &bounds);
    assert_eq!(["3", "4", "5", "6", "9", "10"].map(place), [0, 1, 1, 3, 3, 4].map(Some));
    assert_eq!(place("x"), None);
    assert_eq!(
        of(&[number, local]).comparison(&key(&["1", "it's"]), &[&key(&["1", "a"]), &key(&["2", "b"])]),
        "SELECT (ROW('1'::bigint, 'it''s'::text COLLATE pg_catalog.\"default\") > ROW('1'::bigint, 'a'::text COLLATE pg_catalog.\"default\"))::int \
         + (ROW('1'::bigint, 'it''s'::text COLLATE pg_catalog.\"default\") > ROW('2'::bigint, 'b'::text COLLATE pg_catalog.\"default\"))::int"
    );
}

#[test]
fn rows_are_asked_for_in_the_order_of_the_key() {
    let named =
        |name: &str| Column { is_identity: false, name: name.into(), type_oid: 25, type_modifier: -1 };
    let mut description = Description {
        columns: vec![named("a"), named("B \"x\"")],
        key: vec![column("B \"x\"", 25, "text", None), column("a", 20, "bigint", None)],
        is_only: true,
        filter: None,
    };
    assert_eq!(
        description.select("s.T", None, None, Some(5)),
        r#"SELECT "a", "B ""x""" FROM ONLY "s"."T" ORDER BY "B ""x""", "a" LIMIT 5"#
    );
    description.filter = Some("a > 3".into());
    (description.is_only, description.columns) = (false, vec![named("a")]);
    assert_eq!(
        description.select("s.T", Some(&key(&["x'", "7"])), Some(&key(&["y", "1"])), Some(5)),
        r#"SELECT "a" FROM "s"."T" WHERE (a > 3) AND ROW("B ""x""", "a") > ROW('x'''::text, '7'::bigint) AND ROW("B ""x""", "a") <= ROW('y'::text, '1'::bigint) ORDER BY "B ""x""", "a" LIMIT 5"#
    );
    description.key.clear();
    assert_eq!(description.select("s.T", None, None, None), r#"SELECT "a" FROM "s"."T" WHERE (a > 3)"#);
}

#[test]
fn what_ends_a_stream_is_told_with_the_way_out() {
    let failing = |code: &'static str, message: &'static str| {
        serve(move |call| match call {
            Call::Copy(sql) => {
                let wanted =
                    "START_REPLICATION SLOT \"s\" LOGICAL 1/A (proto_version '1', publication_names '\"p\"')";
                assert_eq!(sql, wanted);
                let error = SqlError { code: code.into(), message: message.into(), ..SqlError::default() };
                Err(Failure::Statement(Box::new(SqlError { retriable: code == "55006", ..error })))
            }
            _ => Ok(Answer::Done),
        });
        let error = server().start(Lsn(0x1_0000_000a)).expect_err("it is refused");
        (error.kind, error.code, error.message)
    };
    let (kind, code, message) = failing("42704", "replication slot \"s\" does not exist");
    assert_eq!((kind, code.as_str()), (ErrorKind::Fatal, "postgres.slot"));
    assert!(message.contains("run: SELECT pg_drop_replication_slot('s')"), "{message}");
    let (_, code, message) = failing("42704", "publication \"p\" does not exist");
    assert_eq!(code, "postgres.publication", "{message}");
    let (kind, code, _) = failing("55000", "can no longer get changes from replication slot \"s\"");
    assert_eq!((kind, code.as_str()), (ErrorKind::Fatal, "postgres.slot"));
    let (kind, ..) = failing("55006", "replication slot \"s\" is active for PID 1");
    assert_eq!(kind, ErrorKind::Retriable, "the one before it may not be gone yet");
}

//! What is asked of a server, word for word, and what its errors mean. What it answers is tested against a real one.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::rc::Rc;

use millrace_sdk::ErrorKind;
use millrace_sdk::postgres::{Rows as Found, SqlError};
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

/// A table of three numbers on a server that has so many sessions; what they are asked.
fn numbers(sessions_max: usize) -> Rc<RefCell<Vec<String>>> {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let (log, mut sessions, mut is_given) = (Rc::clone(&asked), 0, false);
    serve(move |call| match call {
        Call::Open(..) if sessions == sessions_max => {
            Err(Failure::Session(Error::retriable("sql.53300", "too many connections for role")))
        }
        Call::Open(..) => {
            sessions += 1;
            log.borrow_mut().push("open".to_owned());
            Ok(Answer::Done)
        }
        Call::Close => {
            sessions -= 1;
            log.borrow_mut().push("close".to_owned());
            Ok(Answer::Done)
        }
        Call::Run(sql) | Call::Rows(sql) | Call::Send(sql) => {
            let is_asked = |word: &str| sql.contains(word);
            log.borrow_mut().push(sql.to_owned());
            let columns = r#"[["id",20,-1]]"#;
            let key = r#"[["id","bigint",20,null]]"#;
            Ok(match sql {
                _ if is_asked("FETCH") && std::mem::take(&mut is_given) => {
                    Answer::Rows(Found::of(&["id"], &[&[Some("1")], &[Some("2")], &[Some("3")]]))
                }
                _ if is_asked("FETCH") => Answer::Rows(Found::of(&["id"], &[])),
                _ if is_asked("pg_current_snapshot") => {
                    is_given = true;
                    let row = [Some("10:10:"), Some("0/10"), Some("r"), Some(columns), Some(key), None, None];
                    Answer::Rows(Found::of(&[""; 7], &[&row]))
                }
                _ => Answer::Done,
            })
        }
        _ => Ok(Answer::Done),
    });
    asked
}

/// Reads the table with this reader; the numbers.
fn read(server: &mut Server, reader: usize) -> String {
    let mut numbers = String::new();
    for _ in 0..10 {
        match server.next(reader, 0, &mut |_| true).expect("something") {
            Read::Begun(begun) => assert_eq!(begun.key, ["id"]),
            Read::Rows(rows) => numbers.push_str(std::str::from_utf8(&rows.data).expect("numbers")),
            Read::End { rows, is_last } => {
                assert!(is_last);
                return numbers + std::str::from_utf8(&rows.data).expect("numbers");
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("no end");
}

#[test]
fn rows_are_read_where_no_other_session_can_be_had() {
    let range = Range { table: "public.t", key: &[], after: None, upto: None };
    for threads in [1, 4] {
        let asked = numbers(1);
        let mut server = server();
        server.settings.snapshot_max_threads = threads;
        // There is the one that asks.
        server.published().expect("an answer");
        for _ in 0..2 {
            assert!(server.begin(0, &range).expect("a reader"));
            if threads > 1 {
                assert!(!server.begin(1, &range).expect("it says so"));
            }
            assert_eq!(read(&mut server, 0), "123");
            assert_eq!(
                asked.borrow().last().map(String::as_str),
                Some("COMMIT"),
                "before its rows are given"
            );
        }
        assert_eq!(asked.borrow().iter().filter(|asked| *asked == "open").count(), 1);
    }
    // By one reader the main session is used though there are others.
    let asked = numbers(9);
    let mut server = server();
    server.published().expect("an answer");
    assert!(server.begin(0, &range).expect("a reader"));
    assert_eq!(read(&mut server, 0), "123");
    assert_eq!(asked.borrow().iter().filter(|asked| *asked == "open").count(), 1);
}

#[test]
fn readers_have_sessions_where_there_are_some() {
    let range = Range { table: "public.t", key: &[], after: None, upto: None };
    let asked = numbers(3);
    let mut server = server();
    server.settings.snapshot_max_threads = 4;
    server.published().expect("an answer");
    assert!(server.begin(0, &range).expect("a reader"));
    assert_eq!(read(&mut server, 0), "123");
    assert!(server.begin(1, &range).expect("a reader"));
    assert!(!server.begin(2, &range).expect("it says so"));
    assert_eq!(read(&mut server, 1), "123");
    let asked = asked.borrow();
    assert_eq!(asked.iter().filter(|asked| *asked == "open").count(), 3);
    let guarded = asked.iter().filter(|asked| asked.contains("idle_in_transaction_session_timeout = '60s'"));
    assert_eq!(guarded.count(), 2, "readers");
}

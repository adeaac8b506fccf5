//! Servers that don't keep to the protocol, and settings that can't be used. Real servers: `tests/postgres`.

mod server;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use self::server::{Reply, auth_ok, error, message, ready, serve};
use super::connect::Target;
use super::open;
use super::session::Session;
use crate::component::bindings::millrace::connect::postgres::{Mode, Problem, Status};
use crate::component::bindings::millrace::connect::types::Error as GuestError;
use crate::connection::{self, Fault, Surroundings};
use crate::spec::ProcessEnvironment;

fn read(settings: Value) -> Result<Box<Target>, Vec<Fault>> {
    let around = Surroundings { folder: Path::new("."), env: &ProcessEnvironment };
    match open(settings.as_object().unwrap(), &around)? {
        connection::Target::Postgres(target) => Ok(target),
        _ => unreachable!("settings of postgres make a target of postgres"),
    }
}

fn target(port: u16, more: Value) -> Box<Target> {
    let mut settings = json!({
        "url": format!("postgres://me@127.0.0.1:{port}/shop"), "password": "hunter2", "tls": "disable",
        "connect_timeout": "500ms",
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    read(settings).unwrap()
}

fn words(problem: &Problem) -> String {
    match problem {
        Problem::Session(GuestError::Retriable(failure)) => {
            format!("retriable {}: {}", failure.code, failure.message)
        }
        Problem::Session(GuestError::Fatal(failure)) => {
            format!("fatal {}: {}", failure.code, failure.message)
        }
        Problem::Statement(error) => format!("statement {}: {}", error.code, error.message),
    }
}

/// What comes of opening a session with a server that answers the greeting so.
async fn greeted(answers: Vec<Reply>) -> String {
    let port = serve(answers).await;
    let Err(problem) = target(port, json!({})).open(Mode::Plain).await else { return "open".to_owned() };
    let said = words(&problem).replace(&port.to_string(), "PORT");
    assert!(!said.contains("hunter2"), "{said}");
    said
}

/// A session with a server that is ready, then answers so.
async fn session(answer: Reply) -> Session {
    let port = serve(vec![Reply::Is(auth_ok() + &ready()), Reply::Is(ready()), answer]).await;
    target(port, json!({ "result_max": "1KiB" }))
        .open(Mode::Plain)
        .await
        .unwrap_or_else(|p| panic!("{}", words(&p)))
}

#[tokio::test]
async fn whoever_does_not_keep_to_the_protocol_is_left() {
    for (answer, said) in [
        (Reply::Is("HTTP/1.1 400 Bad Request\r\n\r\n".into()), "fatal postgres."),
        (Reply::Is(message(b'R', &[0, 0, 0, 99])), "fatal postgres."),
        (
            Reply::Is(message(b'R', &[0, 0, 0, 7])),
            "fatal postgres.auth: 127.0.0.1:PORT/shop wants an authentication",
        ),
        (
            Reply::Is(message(b'R', b"\0\0\0\x0aSCRAM-SHA-1\0\0")),
            "fatal postgres.auth: 127.0.0.1:PORT/shop offers no",
        ),
        // Without its side of the proof.
        (Reply::Is(message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0") + &auth_ok()), "fatal postgres."),
        (Reply::Is(message(b'R', b"\0\0\0\x0b")), "fatal postgres.protocol: "),
        (
            Reply::Is(message(b'R', &[0, 0, 0, 3])),
            "fatal postgres.auth: 127.0.0.1:PORT/shop wants the password in clear",
        ),
        (Reply::Is("R\u{7f}\u{7f}\u{7f}\u{7f}".into()), "fatal postgres.result-size: "),
        (Reply::Is("R\0\0\0\u{1}".into()), "fatal postgres.protocol: "),
        (Reply::Is(error("FATAL", "57P03", "the database system is starting up")), "retriable sql.57P03: "),
        (Reply::Is(error("FATAL", "53300", "too many clients")), "retriable sql.53300: "),
        (Reply::Is(error("FATAL", "28P01", "no")), "fatal sql.28P01: 127.0.0.1:PORT/shop: no"),
        (Reply::Close, "retriable postgres.lost: "),
        (Reply::Silence, "retriable postgres.timeout: 127.0.0.1:PORT/shop: "),
    ] {
        let shown = format!("{answer:?}");
        let found = greeted(vec![answer]).await;
        assert!(found.starts_with(said), "{shown}: {found}");
    }
}

#[tokio::test]
async fn a_session_ends_where_an_answer_can_not_be_understood() {
    let row = |count: u8, length: u8| message(b'D', &[0, count, 0, 0, 0, length, b'x']);
    let columns = message(b'T', b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\0\x04\xff\xff\xff\xff\0\0");
    for (answer, said) in [
        (columns.clone() + &row(1, 9), "fatal postgres.protocol: "),
        (columns.clone() + &row(2, 1), "fatal postgres.protocol: "),
        (message(b'D', &[]), "fatal postgres.protocol: "),
        (message(b'R', &[0, 0, 0, 0]), "fatal postgres.protocol: "),
        (message(b'?', b"x"), "fatal postgres.protocol: "),
        (message(b'C', b"no end"), "fatal postgres.protocol: "),
        (columns.clone() + &message(b'D', &[7; 2000]), "fatal postgres.result-size: "),
        (error("PANIC", "XX000", "broken"), "retriable sql.XX000: "),
        (error("FATAL", "57P01", "bye"), "retriable sql.57P01: "),
        (columns.clone(), "retriable postgres.lost: "),
    ] {
        let mut session = session(Reply::Is(answer.clone())).await;
        let Err(problem) = session.rows_of("SELECT 1").await else { panic!("{answer:?} is understood") };
        assert!(words(&problem).starts_with(said), "{answer:?}: {}", words(&problem));
        assert_eq!(session.status(), Status::Closed);
        assert!(words(&session.run("").await.unwrap_err()).starts_with("retriable postgres.closed: "));
    }
    let mut well = session(Reply::Is(columns + &row(1, 1) + &message(b'C', b"SELECT 1\0") + &ready())).await;
    let rows = well.rows_of("SELECT 1").await.unwrap_or_else(|problem| panic!("{}", words(&problem)));
    assert_eq!((rows.count, rows.lens, rows.data), (1, vec![1], b"x".to_vec()));
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_closes_the_session() {
    let mut session = session(Reply::Silence).await;
    assert!(tokio::time::timeout(Duration::from_millis(50), session.run("SELECT 1")).await.is_err());
    assert_eq!(session.status(), Status::Closed);
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_batch_is_of_that_statement() {
    let answer =
        message(b'1', b"") + &message(b'C', b"INSERT 0 7\0") + &error("ERROR", "23505", "twice") + &ready();
    let mut session = session(Reply::Is(answer)).await;
    let statements = vec![
        crate::component::bindings::millrace::connect::postgres::Statement {
            sql: "x".into(),
            params: vec![None]
        };
        3
    ];
    let failed = session.batch(&statements).await.unwrap_err();
    assert_eq!((failed.index, words(&failed.problem)), (1, "statement 23505: twice".to_owned()));
    assert_eq!(session.status(), Status::Idle);
}

#[test]
fn settings_that_can_not_be_used_are_told_with_their_place() {
    let faults = |settings: Value| -> Vec<String> {
        read(settings).err().unwrap_or_default().into_iter().map(|fault| fault.pointer).collect()
    };
    let url = "postgres://me@db.example.com/shop";
    assert_eq!(faults(json!({ "url": url })), [""; 0]);
    assert_eq!(faults(json!({ "host": "a,b:5433,[::1]", "user": "me" })), [""; 0]);
    assert_eq!(faults(json!({})), [""]);
    assert_eq!(faults(json!({ "host": "a" })), [""], "no user");
    for bad in ["db", "postgres://u:p@h", "postgres://u@h?x=1"] {
        assert_eq!(faults(json!({ "url": bad })), ["/url"], "{bad}");
    }
    assert_eq!(
        faults(json!({ "url": url, "host": "x", "port": 1, "database": "x", "user": "x" })),
        ["/host", "/port", "/database", "/user"]
    );
    assert_eq!(faults(json!({ "host": "a b", "user": "me" })), ["/host"]);
    assert_eq!(
        faults(json!({
            "url": url, "parameters": { "a b": "", "ok.x": "1", "n": "\0" }, "connect_timeout": "0s", "result_max": "65MiB",
            "ca": "not there.pem",
        })),
        ["/parameters/a b", "/parameters/n", "/connect_timeout", "/result_max", "/ca"]
    );
}

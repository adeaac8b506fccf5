//! `millrace doctor` beside a real server: what it says of connections, and that it mends with words only.

use std::fs;

use millrace_tests::binary;
use millrace_tests::process::command;

use crate::database;

#[test]
fn a_database_says_who_it_is_and_why_it_lets_nobody_in() {
    let server = database("doctor");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (good, lost) = (server.url("doctor"), server.url("nowhere"));
    let pipeline = format!(
        "version: 1
connections:
  good: {{ postgres: {{ url: \"{good}\", password: hunter2 }} }}
  lost: {{ postgres: {{ url: \"{lost}\", password: hunter2 }} }}
pipelines:
  orders:
    topic: orders
    sinks:
      a: {{ connector: postgres-sink, connection: good }}
      b: {{ connector: postgres-sink, connection: lost }}
"
    );
    fs::write(folder.path().join("p.yaml"), pipeline).expect("the temporary folder can be written");
    let tried = command(binary()).args(["doctor", "p.yaml"]).current_dir(folder.path()).output();
    let tried = tried.expect("the binary can be run");
    let said = String::from_utf8_lossy(&tried.stdout).into_owned();
    assert_eq!(tried.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&tried.stderr));
    for line in [
        "ok       connection good: PostgreSQL ",
        "wal_level logical, ",
        "failed   connection lost: ",
        "-> correct `database` of the connection, or make the database",
    ] {
        assert!(said.contains(line), "{line}:\n{said}");
    }
    assert!(!said.contains("clocks") && !said.contains("hunter2"), "{said}");
    assert_eq!(
        server.sql("doctor", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").trim(),
        "0"
    );
}

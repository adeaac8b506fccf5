//! Rows that several sessions read at once: of several tables, and of parts of one.

use std::collections::BTreeSet;

use millrace_tests::Postgres;
use millrace_tests::process::wait_until;
use serde_json::Value;

use super::{LIMIT, Pipeline, replay, rows};

/// Keys of each kind of order: the server's only, one that is known here, one over partitions; and a table that no part of can be told.
const TABLES: &str = "
    CREATE TABLE texts (id text, n int, v int, PRIMARY KEY (id, n));
    INSERT INTO texts SELECT 'Key ' || n % 3000, n / 3000, 0 FROM generate_series(0, 8999) n;
    CREATE TABLE numbers (id bigint PRIMARY KEY, v int, filler text DEFAULT repeat('x', 300));
    INSERT INTO numbers SELECT n * n, 0 FROM generate_series(1, 12000) n;
    CREATE TABLE days (id int, day date, v int, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
    CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
    INSERT INTO days SELECT n, '2026-01-01'::date + n % 50, 0 FROM generate_series(1, 9000) n;
    CREATE TABLE loose (id int, v int);
    INSERT INTO loose SELECT n, 0 FROM generate_series(1, 3000) n;
    ANALYZE;
    CREATE PUBLICATION parallel FOR ALL TABLES WITH (publish_via_partition_root = true)";

#[test]
fn parts_of_tables_are_read_at_once_and_each_row_comes_once() {
    let server = Postgres::start(&["log_statement = all", "log_line_prefix = '%p '"]);
    server.create("parallel");
    let sql = |sql: &str| server.sql("parallel", sql);
    sql(TABLES);
    let mut pipeline = Pipeline::new(
        &server.url("parallel"),
        "parallel",
        "transactions: true\nchunk_rows: 500\nsnapshot_max_threads: 4",
    );
    pipeline.start();
    // While they are read, everything changes, also from one part to another.
    for round in 1..=10 {
        sql(&format!(
            "UPDATE texts SET v = {round} WHERE n = 1 AND id LIKE '%{round}'; DELETE FROM texts WHERE id = 'Key 7{round}';
             INSERT INTO texts VALUES ('between {round}', 5, {round});
             UPDATE numbers SET id = -id, v = {round} WHERE id % 1000 = {round}; UPDATE days SET v = {round} WHERE id % 100 = {round};"
        ));
    }
    // What comes behind the last row comes by the stream, behind all else.
    wait_until("all rows to be read", LIMIT, || {
        let process = pipeline.process.as_mut().expect("it runs");
        assert!(process.ended().is_none(), "{}", process.output());
        process.output().contains("tables left: 0")
    });
    sql("INSERT INTO numbers VALUES (0, 111111, '')");
    let values = pipeline.values_with(r#""v":111111"#);
    // Of tables whose key is `id` alone, each record has to fit the one before it.
    let numbers: Vec<Value> =
        values.iter().filter(|value| value["source"]["table"] == "numbers").cloned().collect();
    let told = &replay(&numbers)["public.numbers"];
    let wanted = rows(&server, "parallel", "numbers");
    assert_eq!(told.len(), wanted.len());
    assert!(wanted.iter().all(|(id, row)| told.get(id) == Some(row)));
    for (table, key) in [("texts", ["id", "n"]), ("days", ["day", "id"]), ("loose", ["id", "id"])] {
        let is_read = |value: &&Value| value["source"]["table"] == table && value["op"] == "r";
        let all: Vec<String> = values
            .iter()
            .filter(is_read)
            .map(|value| format!("{} {}", value["after"][key[0]], value["after"][key[1]]))
            .collect();
        let once: BTreeSet<&String> = all.iter().collect();
        assert_eq!(all.len(), once.len(), "{table}: rows that were read twice");
        assert!(all.len() >= 3_000, "{table}: {} rows", all.len());
    }
    let log = server.log();
    for table in ["texts", "numbers", "days"] {
        let is_part = |line: &&str| line.contains("DECLARE millrace_rows") && line.contains(table);
        let sessions: BTreeSet<&str> =
            log.lines().filter(is_part).filter_map(|line| line.split(' ').next()).collect();
        let ends = log.lines().filter(is_part).filter(|line| line.contains("<= ROW(")).count();
        assert!(sessions.len() > 1 && ends > 1, "{table}: sessions {sessions:?}, {ends} parts");
    }
    let said = pipeline.process.as_ref().expect("it runs").output();
    let is_progress =
        |line: &&str| line.contains(" so far: ") && line.contains(" of about ") && line.contains("; parts: ");
    assert!(said.lines().any(|line| is_progress(&line)), "{said}");
}

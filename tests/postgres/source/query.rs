//! The mode query against a real server: transactions that take their values early and commit late, kills, and cursors that are refused.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use millrace_tests::process::{Process, wait_until};
use millrace_tests::random::{Random, between, seed};
use serde_json::Value;

use super::{LIMIT, Pipeline};
use crate::database;

/// Kills of the process.
const KILLS: u32 = 6;
/// It lives this long between two kills, milliseconds.
const LIFE_MS: (u64, u64) = (700, 2_000);
/// How long transactions are open behind the moment at which they took their values, milliseconds at most.
const OPEN_MS_MAX: u32 = 400;

/// Takes its values first, and commits some time later; others overtake it.
const SCRIPT: &str = "\\set id random(1, 200)
\\set before random(0, OPEN)
\\set after random(0, OPEN)
BEGIN;
SELECT now();
\\sleep :before ms
INSERT INTO events (client) VALUES (:client_id);
INSERT INTO orders (id, edits) VALUES (:id * 100 + :client_id, 0) ON CONFLICT (id) DO UPDATE SET edits = orders.edits + 1, updated_at = now();
\\sleep :after ms
COMMIT;
";

#[test]
fn rows_that_commit_late_are_not_missed_through_kills() {
    let seed = seed();
    println!("seed {seed}: MILLRACE_SEED={seed} tries the same moments");
    let mut random = Random::new(seed);
    let server = database("query");
    let sql = |sql: &str| server.sql("query", sql);
    // A role that may read these tables, and nothing else.
    sql("CREATE TABLE events (id bigserial PRIMARY KEY, client int);
         CREATE TABLE orders (id int PRIMARY KEY, edits int NOT NULL, updated_at timestamptz NOT NULL DEFAULT now());
         CREATE INDEX ON orders (updated_at, id);
         INSERT INTO events (client) SELECT 0 FROM generate_series(1, 700); INSERT INTO orders SELECT n, 0 FROM generate_series(1, 700) n;
         CREATE ROLE query_reader LOGIN; GRANT SELECT ON events, orders TO query_reader");
    let url = server.url("query").replace("postgres@", "query_reader@");
    let settings = "mode: query\ncursors: { public.events: [id], public.orders: [updated_at, id] }\npoll_every: 100ms\nchunk_rows: 100";
    let mut pipeline = Pipeline::new(&url, "query", settings);
    let script = pipeline.folder.path().join("script.sql");
    fs::write(&script, SCRIPT.replace("OPEN", &OPEN_MS_MAX.to_string())).expect("written");
    let mut bench = server.pgbench("query");
    let seconds = u64::from(KILLS) * LIFE_MS.1 / 1000;
    bench.args(["-n", "-c", "12", "-j", "1", "-T", &seconds.to_string(), "-f"]).arg(&script);
    let mut bench = Process::spawn(&mut bench, pipeline.folder.path().join("pgbench.txt"));
    for _ in 0..KILLS {
        pipeline.start();
        thread::sleep(Duration::from_millis(between(&mut random, LIFE_MS)));
        pipeline.kill();
    }
    pipeline.start();
    bench.succeed(LIMIT);
    sql("INSERT INTO events (client) VALUES (-1); INSERT INTO orders VALUES (1000000, 0)");
    pipeline.values_with("\"client\":-1");
    let values = pipeline.values_with("\"id\":1000000");
    let of = |table: &str| -> Vec<&Value> {
        values.iter().filter(|value| value["source"]["table"] == table).map(|value| &value["after"]).collect()
    };
    let events: Vec<u64> = of("events").iter().map(|row| row["id"].as_u64().expect("a number")).collect();
    assert!(events.windows(2).all(|pair| pair[0] < pair[1]), "an event twice, or out of order");
    let there: Vec<u64> =
        sql("SELECT id FROM events ORDER BY id").lines().map(|id| id.parse().expect("a number")).collect();
    assert_eq!(events, there, "of {} events {} were told", there.len(), events.len());
    let mut orders = BTreeMap::new();
    let mut versions = std::collections::BTreeSet::new();
    for row in of("orders") {
        assert!(versions.insert(row.to_string()), "told twice: {row}");
        orders.insert(row["id"].as_u64().expect("a number"), row["edits"].as_u64().expect("a number"));
    }
    let there = sql("SELECT id, edits FROM orders ORDER BY id");
    let told: Vec<String> = orders.iter().map(|(id, edits)| format!("{id}|{edits}")).collect();
    assert_eq!(told.join("\n"), there);
    println!(
        "{KILLS} kills: {} events, {} versions of {} orders",
        events.len(),
        versions.len(),
        orders.len()
    );
}

#[test]
fn an_open_transaction_is_waited_for_and_cursors_are_checked() {
    let server = database("query_checks");
    let sql = |sql: &str| server.sql("query_checks", sql);
    sql("CREATE TABLE loose (id int, at timestamptz, v text); CREATE TABLE ahead (id bigserial PRIMARY KEY);
         ALTER SEQUENCE ahead_id_seq CACHE 10; CREATE SEQUENCE shared CACHE 50; CREATE TABLE borrowed (id bigint PRIMARY KEY DEFAULT nextval('shared'));
         CREATE VIEW seen AS SELECT * FROM ahead;
         CREATE TABLE good (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text); INSERT INTO good (v) VALUES ('first')");
    let url = server.url("query_checks");
    let fails = |cursors: &str| {
        let mut pipeline =
            Pipeline::new(&url, "query_checks", &format!("mode: query\ncursors: {{ {cursors} }}"));
        pipeline.start();
        pipeline.fails()
    };
    for (cursors, words) in [
        ("public.nowhere: [id]", "there is no table public.nowhere"),
        ("public.seen: [id]", "public.seen is no table"),
        ("public.loose: [at]", "run: ALTER TABLE \"public\".\"loose\" ALTER \"at\" SET NOT NULL"),
        ("public.ahead: [id]", "run: ALTER SEQUENCE ahead_id_seq CACHE 1"),
        ("public.borrowed: [id]", "run: ALTER SEQUENCE shared CACHE 1"),
        ("public.good: [v, id]", "ALTER \"v\" SET NOT NULL"),
    ] {
        let said = fails(cursors);
        assert!(said.contains(words), "{words}:\n{said}");
    }
    sql("ALTER TABLE loose ALTER at SET NOT NULL");
    let said = fails("public.loose: [at]");
    assert!(said.contains("may have the same at, and some of them would be missed"), "{said}");

    // Someone is in the middle of something, and has written nothing yet.
    let mut open = server.pgbench("query_checks");
    let script = server.socket_folder().join("open.sql");
    fs::write(
        &script,
        "BEGIN;\nSELECT now();\n\\sleep 4 s\nINSERT INTO good (v) VALUES ('late');\nCOMMIT;\n",
    )
    .expect("written");
    open.args(["-n", "-c", "1", "-t", "1", "-f"]).arg(&script);
    let mut open = Process::spawn(&mut open, server.socket_folder().join("open.txt"));
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'query_checks' AND state = 'idle in transaction'";
    wait_until("a transaction that is open", LIMIT, || sql(sleeping) == "1");
    let mut pipeline = Pipeline::new(&url, "query_checks", "mode: query\ncursors: { public.good: [id] }");
    pipeline.start();
    let mut process = pipeline.process.take().expect("it was started");
    // One round: it ends by itself, and not before that transaction.
    let ended = process.wait(LIMIT);
    assert!(ended.success(), "{}", process.output());
    assert_eq!(sql(sleeping), "0", "the round was over before a transaction that was open at its begin");
    open.succeed(LIMIT);
}

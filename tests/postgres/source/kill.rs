//! The worker is killed, the server crashes, sessions break off, while rows are read and everything changes: in the end the topic comes
//! to the tables, and tells every change once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use millrace_tests::Postgres;
use millrace_tests::random::{Random, between, seed};
use serde_json::Value;

use super::{Pipeline, replay, rows};

/// Kills of the worker, and of the server.
const KILLS: u32 = 14;
const CRASH_EVERY: u32 = 5;
/// The process lives this long between two kills, milliseconds.
const LIFE_MS: (u64, u64) = (500, 2_500);

/// A few changes: of rows that were there, of new ones, of keys, in two tables at once.
fn changes(random: &mut Random, count: u64) -> String {
    let mut sql = String::from("BEGIN;");
    for _ in 0..between(random, (1, 6)) {
        let id = between(random, (1, 3_000));
        let other = between(random, (3_000, 9_000));
        sql.push_str(&match between(random, (0, 6)) {
            0 => format!("INSERT INTO a VALUES ({id}, {count}, repeat('{count}', 700)) ON CONFLICT (id) DO UPDATE SET v = {count};"),
            1 => format!("DELETE FROM a WHERE id = {id};"),
            2 => format!("UPDATE a SET v = {count} WHERE id BETWEEN {id} AND {id} + 5;"),
            3 => format!("UPDATE a SET id = {other} WHERE id = {id} AND NOT EXISTS (SELECT FROM a WHERE id = {other});"),
            4 => format!("INSERT INTO b VALUES ('key {id}', {count}) ON CONFLICT (id) DO UPDATE SET v = {count};"),
            _ => format!("DELETE FROM b WHERE id = 'key {id}';"),
        });
    }
    sql.push_str(if between(random, (0, 9)) == 0 { "ROLLBACK" } else { "COMMIT" });
    sql
}

#[test]
fn kills_and_crashes_lose_nothing_and_tell_nothing_twice() {
    let seed = seed();
    println!("seed {seed}: MILLRACE_SEED={seed} tries the same moments");
    let mut random = Random::new(seed);
    let mut server = Postgres::start(&[]);
    server.create("kill");
    let sql = |server: &Postgres, sql: &str| server.sql("kill", sql);
    // Large values out of line, so that they are not sent with each change; texts in an order that the server only knows.
    sql(&server, "CREATE TABLE a (id int PRIMARY KEY, v int, large text); ALTER TABLE a ALTER large SET STORAGE EXTERNAL;
         CREATE TABLE b (id text PRIMARY KEY, v int);
         INSERT INTO a SELECT n, 0, repeat(n::text, 700) FROM generate_series(1, 3000) n;
         INSERT INTO b SELECT 'key ' || n, 0 FROM generate_series(1, 3000) n;
         CREATE PUBLICATION kill FOR ALL TABLES");
    // More than the connection has sessions for.
    let mut pipeline = Pipeline::new(
        &server.url("kill"),
        "kill",
        "transactions: true\nchunk_rows: 50\nsnapshot_max_threads: 7",
    );
    let mut count = 0;
    for kill in 1..=KILLS {
        pipeline.start();
        let is_over = Arc::new(AtomicBool::new(false));
        thread::scope(|scope| {
            let writers: Vec<_> = (0..2)
                .map(|writer| {
                    let (server, is_over) = (&server, Arc::clone(&is_over));
                    let mut random = Random::new(seed ^ u64::from(kill) << 8 ^ writer);
                    let first = count + writer * 1_000_000;
                    scope.spawn(move || {
                        let mut count = first;
                        while !is_over.load(Ordering::Relaxed) {
                            count += 1;
                            // A deadlock or two keys that collide undo a transaction, which is as good.
                            server.try_sql("kill", &changes(&mut random, count));
                        }
                    })
                })
                .collect();
            thread::sleep(Duration::from_millis(between(&mut random, LIFE_MS)));
            is_over.store(true, Ordering::Relaxed);
            writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
        });
        count += 1_000;
        if kill == KILLS / 2 {
            sql(
                &server,
                "ALTER TABLE b ADD COLUMN extra int DEFAULT 7; CREATE TABLE c (id int PRIMARY KEY, v int);
                 INSERT INTO c SELECT n, 0 FROM generate_series(1, 300) n",
            );
        }
        if kill % CRASH_EVERY == 0 {
            server.crash();
            server.restart();
        }
        pipeline.kill();
    }
    pipeline.start();
    // The rows of `c` come last; a change behind them is behind all others.
    sql(&server, "INSERT INTO c VALUES (1000, 111111)");
    pipeline.values_with(r#"{"id":1000,"v":111111}"#);
    sql(&server, "INSERT INTO c VALUES (1001, 222222)");
    let values = pipeline.values_with(r#"{"id":1001,"v":222222}"#);
    let told = replay(&values);
    for table in ["a", "b", "c"] {
        let (told, wanted) = (&told[&format!("public.{table}")], rows(&server, "kill", table));
        let wrong = wanted.iter().find(|(id, row)| told.get(*id).is_none_or(|told| !is_like(told, row)));
        assert!(
            wrong.is_none(),
            "{table}: {wrong:?} was told as {:?}",
            wrong.and_then(|(id, _)| told.get(id))
        );
        assert_eq!(told.len(), wanted.len(), "{table}: rows that are not there any more");
    }
    let count = |op: &str| values.iter().filter(|value| value["op"] == op).count();
    println!(
        "{KILLS} kills: {} rows read, {} created, {} updated, {} deleted",
        count("r"),
        count("c"),
        count("u"),
        count("d")
    );
}

/// A row as it was told and as it is. A column that was added is told with the row's next change, and a large value that moved to
/// another key was not sent.
fn is_like(told: &Value, row: &Value) -> bool {
    let fields = row.as_object().expect("a row");
    fields.iter().all(|(name, cell)| match told.get(name) {
        None => name == "extra",
        Some(told) => told == cell || told == "__debezium_unavailable_value",
    })
}

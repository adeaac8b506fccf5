//! `millrace run` is killed, the database crashes, stops in order and cuts sessions off, while a growing file goes through a topic
//! into two tables: each row is there once, in both, and so is each dead letter (at least).

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use millrace_tests::broker::free_address;
use millrace_tests::process::{Process, command};
use millrace_tests::random::{Random, between, seed};
use millrace_tests::{Postgres, binary};

/// Things that happen.
const EVENTS: u32 = 24;
/// Between two of them, milliseconds.
const PAUSE_MS: (u64, u64) = (100, 900);
/// Lines that the file grows by meanwhile.
const LINES: (u64, u64) = (50, 400);
/// A row that the table refuses.
const BAD_EVERY: u64 = 97;
/// Longest time of the last run, which nobody disturbs.
const FINISH_LIMIT: Duration = Duration::from_secs(180);

fn pipeline(follow: bool, url: &str) -> String {
    let sink = |name: &str, settings: &str| {
        format!(
            "
      {name}:
        connector: postgres-sink
        connection: db
        table_name_format: {name}
        flush_interval: 100ms
        errors: {{ tolerance: all, dead_letter_topic: letters-{name}, retry_timeout: 120s, retry_delay_max: 200ms }}
        {settings}"
        )
    };
    let letters = |name: &str| {
        format!(
            "
  letters-{name}:
    topic: {{ name: letters-{name}, partitions: 1 }}
    sinks: {{ file: {{ connector: file-sink, path: out/{name}.jsonl, flush_interval: 100ms }} }}"
        )
    };
    format!(
        "version: 1
connections:
  db: {{ postgres: {{ url: \"{url}\", statement_timeout: 10s }} }}
pipelines:
  numbers:
    source: {{ connector: file-source, path: ./numbers.jsonl, format: jsonl, follow: {follow}, key: k }}
    topic: {{ name: numbers, partitions: 3 }}
    sinks:{}{}{}{}
",
        // No constraint would hide what is written twice.
        sink("inserted", "tasks: 2"),
        sink("upserted", "insert_mode: upsert\n        pk_mode: record_value\n        pk_fields: [n]"),
        letters("inserted"),
        letters("upserted"),
    )
}

fn run(folder: &Path, address: SocketAddr, options: &[&str]) -> Process {
    let mut run = command(binary());
    run.args(["run", "numbers.yaml", "--data-dir", "data", "--listen", &address.to_string()]).args(options);
    Process::spawn(run.current_dir(folder).env("MILLRACE_LOG", "warn"), folder.join("run.txt"))
}

#[test]
fn every_row_is_there_once_whatever_is_killed() {
    let seed = seed();
    println!("seed {seed}: MILLRACE_SEED={seed} tries the same moments");
    let mut random = Random::new(seed);
    let mut server = Postgres::start(&["synchronous_commit = off"]);
    server.create("numbers");
    let table = |name: &str| format!("CREATE TABLE {name} (n bigint, k text, v text CHECK (v <> 'bad'))");
    server.sql(
        "numbers",
        &format!("{}; {}; ALTER TABLE upserted ADD PRIMARY KEY (n)", table("inserted"), table("upserted")),
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let address = free_address();
    fs::write(folder.join("numbers.yaml"), pipeline(true, &server.url("numbers"))).expect("written");
    let source = OpenOptions::new().create(true).append(true).open(folder.join("numbers.jsonl"));
    let mut source = source.expect("the temporary folder can be written");
    let mut total = 0;
    let mut running = run(folder, address, &[]);
    for _ in 0..EVENTS {
        for _ in 0..between(&mut random, LINES) {
            let value = if total % BAD_EVERY == 13 { "bad".to_owned() } else { format!("v{total}") };
            writeln!(source, "{{\"n\":{total},\"k\":\"k{}\",\"v\":\"{value}\"}}", total % 7)
                .expect("written");
            total += 1;
        }
        thread::sleep(Duration::from_millis(between(&mut random, PAUSE_MS)));
        let ended = running.ended();
        assert!(ended.is_none(), "the pipeline ended by itself: {ended:?}\n{}", running.output());
        match between(&mut random, (0, 9)) {
            0..=4 => {
                running.kill();
                running = run(folder, address, &[]);
            }
            5 => {
                server.crash();
                server.restart();
            }
            6 => {
                server.stop();
                thread::sleep(Duration::from_millis(between(&mut random, PAUSE_MS)));
                server.restart();
            }
            _ => {
                let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'numbers' AND pid <> pg_backend_pid()";
                let _ = server.try_sql("numbers", cut);
            }
        }
    }
    running.kill();
    fs::write(folder.join("numbers.yaml"), pipeline(false, &server.url("numbers"))).expect("written");
    run(folder, address, &["--exit-when-done"]).succeed(FINISH_LIMIT);

    let good: Vec<u64> = (0..total).filter(|n| n % BAD_EVERY != 13).collect();
    let expected: Vec<String> = good.iter().map(|n| format!("{n}|k{}|v{n}", n % 7)).collect();
    for name in ["inserted", "upserted"] {
        let rows = server.sql("numbers", &format!("SELECT n, k, v FROM {name} ORDER BY n"));
        let rows: Vec<&str> = rows.lines().collect();
        let wrong = rows.iter().zip(&expected).find(|(row, expected)| *row != expected);
        assert!(
            rows.len() == expected.len() && wrong.is_none(),
            "{name}: {} rows of {}, {wrong:?}",
            rows.len(),
            expected.len()
        );
        let letters =
            fs::read_to_string(folder.join("out").join(format!("{name}.jsonl"))).unwrap_or_default();
        let number = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["n"].as_u64();
        let letters: BTreeSet<Option<u64>> = letters.lines().map(number).collect();
        let bad: BTreeSet<Option<u64>> = (0..total).filter(|n| n % BAD_EVERY == 13).map(Some).collect();
        assert_eq!(letters, bad, "{name}: dead letters");
    }
    println!("{EVENTS} events, {total} lines");
}
